//! A bounded queue before one writing thread: a full queue refuses, and nobody ever waits for a disk.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How long a thread waits that nothing but an item, or a waking, concerns.
const LONG: Duration = Duration::from_hours(1);

/// The queue's near end, and the thread behind it.
#[derive(Debug)]
pub(super) struct Writer<T> {
    /// Nothing wakes the thread and is no item.
    items: SyncSender<Option<T>>,
    reopen: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The queue's far end.
#[derive(Debug)]
pub(super) struct Queue<T> {
    items: Receiver<Option<T>>,
    /// The thread is to go over to another file.
    reopen: Arc<AtomicBool>,
}

/// What a wait has brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Came<T> {
    Item(T),
    /// The time has passed, or the thread was woken to look around.
    Nothing,
    /// Nothing can come any more.
    End,
}

/// The queue is full, or its thread is gone.
#[derive(Debug)]
pub(super) struct Full;

// === impl Writer ===

impl<T: Send + 'static> Writer<T> {
    /// Starts the thread; `room` items may wait for it.
    pub(super) fn start(
        name: &str,
        room: usize,
        run: impl FnOnce(Queue<T>) + Send + 'static,
    ) -> io::Result<Self> {
        let (items, queue) = queue(room);
        let reopen = Arc::clone(&queue.reopen);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || run(queue))?;
        Ok(Self { items, reopen, thread: Mutex::new(Some(thread)) })
    }

    /// Hands an item to the thread; never waits.
    pub(super) fn send(&self, item: T) -> Result<(), Full> {
        self.items.try_send(Some(item)).map_err(|_| Full)
    }

    /// Has the thread go over to another file.
    pub(super) fn reopen(&self) {
        self.reopen.store(true, Ordering::Release);
        // A thread whose queue is full needs no waking.
        drop(self.items.try_send(None));
    }

    /// Waits until the thread has written what waits, and ends it.
    pub(super) fn close(self) {
        drop(self.items);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let name = thread.thread().name().unwrap_or_default().to_owned();
            if thread.join().is_err() {
                tracing::error!(code = "writer_panicked", thread = name);
            }
        }
    }
}

/// Both ends of a queue.
pub(super) fn queue<T>(room: usize) -> (SyncSender<Option<T>>, Queue<T>) {
    let (sender, items) = sync_channel(room);
    (sender, Queue { items, reopen: Arc::default() })
}

// === impl Queue ===

impl<T> Queue<T> {
    /// Waits for an item, for a waking, or for so long.
    pub(super) fn next(&self, patience: Option<Duration>) -> Came<T> {
        match self.items.recv_timeout(patience.unwrap_or(LONG)) {
            Ok(Some(item)) => Came::Item(item),
            Ok(None) | Err(RecvTimeoutError::Timeout) => Came::Nothing,
            Err(RecvTimeoutError::Disconnected) => Came::End,
        }
    }

    /// An item that waits already.
    pub(super) fn waiting(&self) -> Option<T> {
        self.items.try_recv().ok().flatten()
    }

    /// Whether the thread is to go over to another file; says so once.
    pub(super) fn is_to_reopen(&self) -> bool {
        self.reopen.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_thread_that_stalls_delays_nobody_and_loses_nothing_that_was_taken() {
        let (go_on, stalled) = channel::<()>();
        let (wrote, written) = channel();
        let writer = Writer::start("slow", 2, move |queue| {
            while let Came::Item(item) = queue.next(None) {
                stalled.recv().unwrap();
                wrote.send(item).unwrap();
            }
        })
        .unwrap();
        // The thread has at most one in hand and two wait; each of the others is refused at once.
        let taken: Vec<i32> = (0..50).filter(|&item| writer.send(item).is_ok()).collect();
        assert!((2..=3).contains(&taken.len()), "{taken:?}");
        for _ in &taken {
            go_on.send(()).unwrap();
        }
        writer.close();
        assert_eq!(written.iter().collect::<Vec<_>>(), taken);
    }

    #[test]
    fn a_waking_is_no_item_and_is_told_once() {
        let (sender, queue) = queue::<u8>(2);
        queue.reopen.store(true, Ordering::Release);
        sender.send(None).unwrap();
        assert_eq!(queue.next(None), Came::Nothing);
        assert!(queue.is_to_reopen() && !queue.is_to_reopen());
        assert_eq!(queue.next(Some(Duration::ZERO)), Came::Nothing);
        drop(sender);
        assert_eq!(queue.next(None), Came::End);
    }
}
