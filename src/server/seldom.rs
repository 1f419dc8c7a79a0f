//! A future that is polled when one of its kind was woken, not whenever its task was.
//!
//! A connection's task is woken for every chunk; the futures that it waits for beside the connection (cancellation,
//! a timer) take locks in every poll, and those of the cancellation are shared by all connections.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

/// How often any of many futures was woken: one number for all, which stays in the processor's caches, while what is
/// each one's own has to come from memory for every chunk. All are polled when one was woken; they are woken seldom.
#[derive(Clone, Debug, Default)]
pub struct Rung(Arc<AtomicUsize>);

/// A future that is polled only when one of those that share its [`Rung`] was woken.
#[derive(Debug)]
pub(super) struct Seldom<F> {
    future: Pin<Box<F>>,
    rung: Rung,
    /// What `rung` was when the future was polled last.
    heard: Option<usize>,
    bell: Arc<Bell>,
    /// The task that the bell wakes.
    task: Waker,
    /// The bell as the future knows it.
    waker: Waker,
}

#[derive(Debug)]
struct Bell {
    rung: Rung,
    task: Mutex<Waker>,
}

// === impl Seldom ===

impl<F: Future> Seldom<F> {
    pub(super) fn new(rung: &Rung, future: F) -> Self {
        let task = Waker::noop().clone();
        let bell = Arc::new(Bell { rung: rung.clone(), task: Mutex::new(task.clone()) });
        Self {
            future: Box::pin(future),
            rung: rung.clone(),
            heard: None,
            waker: Waker::from(Arc::clone(&bell)),
            bell,
            task,
        }
    }
}

impl<F: Future> Future for Seldom<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if !self.task.will_wake(context.waker()) {
            self.task.clone_from(context.waker());
            self.bell.wakes(context.waker());
        }
        // Who rings after this is heard: the task it wakes is the one noted above.
        let rung = Some(self.rung.0.load(Ordering::Acquire));
        if self.heard == rung {
            return Poll::Pending;
        }
        self.heard = rung;
        let Self { future, waker, .. } = &mut *self;
        future.as_mut().poll(&mut Context::from_waker(waker))
    }
}

// === impl Bell ===

impl Bell {
    /// Notes the task to be woken.
    fn wakes(&self, waker: &Waker) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        task.clone_from(waker);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.0.fetch_add(1, Ordering::Release);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        task.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicBool, time::Duration};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ends_when_the_future_does_and_sleeps_until_then() {
        let polls = AtomicBool::new(false);
        let notify = Notify::new();
        let inner = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            polls.store(true, Ordering::Relaxed);
            notify.notified().await;
        };
        let mut seldom = Seldom::new(&Rung::default(), inner);
        let early = tokio::time::timeout(Duration::from_secs(5), &mut seldom).await;
        assert!(early.is_err() && polls.load(Ordering::Relaxed));
        notify.notify_one();
        // Another task polls on: it is the one that is woken from now on.
        let late = async { tokio::time::timeout(Duration::from_secs(5), seldom).await };
        assert!(late.await.is_ok());
    }
}
