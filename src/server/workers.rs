//! Threads that each run connections of their own.
//!
//! A stream of tokens is a chain of small wake-ups: the upstream's connection, the exchange, the client's connection.
//! Where threads take tasks from each other, every token wakes another thread that looks whether there is something to
//! take. Here a connection stays with one thread, and so does what it asks of the upstream.

use std::{
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// The threads. Dropped, they end with all that they run.
#[derive(Debug)]
pub struct Workers {
    handles: Vec<Handle>,
    next: AtomicUsize,
    stop: CancellationToken,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// One of the threads.
#[derive(Clone, Copy, Debug)]
pub struct Worker<'w> {
    /// Its number, from 0.
    pub number: usize,
    /// Its runtime.
    pub handle: &'w Handle,
}

// === impl Workers ===

impl Workers {
    /// Starts so many threads, or half as many as there are cores and two at least; never more than there are.
    ///
    /// The fewer they are, the more tokens each finds when it wakes; and scoring a token takes about as long as passing
    /// it on. But where there is one alone, all streams wait while it does not run.
    pub fn start(count: Option<usize>) -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let count = count.unwrap_or_else(|| cores.div_ceil(2).max(2)).clamp(1, cores);
        let stop = CancellationToken::new();
        let (mut handles, mut threads) = (Vec::new(), Vec::new());
        for number in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            handles.push(runtime.handle().clone());
            let (name, stop) = (format!("worker-{number}"), stop.clone());
            let work = move || runtime.block_on(stop.cancelled_owned());
            threads.push(thread::Builder::new().name(name).spawn(work)?);
        }
        Ok(Self { handles, next: AtomicUsize::new(0), stop, threads: Mutex::new(threads) })
    }

    /// How many threads there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.handles.len()
    }

    /// The thread for the next connection: each in its turn.
    #[must_use]
    pub fn next(&self) -> Option<Worker<'_>> {
        let number = self.next.fetch_add(1, Ordering::Relaxed) % self.handles.len().max(1);
        self.handles.get(number).map(|handle| Worker { number, handle })
    }

    /// Ends the threads, and what they still run, and waits for them.
    pub fn close(&self) {
        self.stop.cancel();
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!(code = "worker_panicked");
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_as_many_as_asked_for_and_never_more_than_cores() {
        let cores = thread::available_parallelism().unwrap().get();
        for (asked, started) in
            [(None, cores.div_ceil(2).max(2).min(cores)), (Some(1), 1), (Some(cores + 9), cores)]
        {
            let workers = Workers::start(asked).unwrap();
            assert_eq!(workers.count(), started, "{asked:?}");
            let numbers: Vec<_> = (0..=started).map(|_| workers.next().unwrap().number).collect();
            assert_eq!(numbers, (0..started).chain([0]).collect::<Vec<_>>());
            workers.close();
        }
    }
}
