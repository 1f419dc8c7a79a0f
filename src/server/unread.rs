//! Streams of HTTP/2 whose client takes nothing are let go.
//!
//! On HTTP/1 a client that does not read runs into the write timeout of its socket. On HTTP/2 the socket stays writable
//! while one stream's window is used up, and hyper waits for the window as long as the connection lives: it holds one
//! frame of the response and asks the body for no other. So each stream's task keeps its own time: it ends once a frame
//! has waited for the timeout, which resets the stream, drops the body and with it the upstream.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use tokio::{runtime::Handle, time::Sleep};
use tokio_util::task::TaskTracker;

tokio::task_local! {
    /// Of the stream whose task this is; there is none on HTTP/1.
    static HANDED_OVER: Arc<HandedOver>;
}

/// Runs the streams of a connection, each until its client has taken nothing for too long.
#[derive(Clone, Debug)]
pub(super) struct StreamExecutor {
    /// The streams' owner.
    pub(super) tasks: TaskTracker,
    /// Where they run.
    pub(super) runtime: Handle,
    /// How long a frame may wait for the client.
    pub(super) write_timeout: Duration,
}

/// What of a stream's response was handed to the connection. Only the stream's own task touches it.
#[derive(Debug, Default)]
struct HandedOver {
    frames: AtomicU64,
    /// The last one may still wait; otherwise the body was asked for the next.
    waits: AtomicBool,
}

/// A body that notes when a frame is taken out of it.
#[derive(Debug)]
pub(super) struct NotedBody<B> {
    body: B,
    noted: Option<Arc<HandedOver>>,
}

/// Measures how long the same frame waits.
#[derive(Debug)]
struct Patience {
    limit: Duration,
    /// The frame, and when it has waited for too long.
    waiting: Option<(u64, Pin<Box<Sleep>>)>,
}

// === impl StreamExecutor ===

impl<F> hyper::rt::Executor<F> for StreamExecutor
where
    F: Future + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.tasks.spawn_on(until_unread(stream, self.write_timeout), &self.runtime);
    }
}

/// Runs `stream` to its end, or until a frame of its response has waited for `limit`.
async fn until_unread(stream: impl Future, limit: Duration) {
    let handed_over = Arc::new(HandedOver::default());
    let mut stream = pin!(HANDED_OVER.scope(Arc::clone(&handed_over), stream));
    let mut patience = Patience { limit, waiting: None };
    poll_fn(|context| {
        if stream.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        if patience.is_over(handed_over.waiting(), context) {
            tracing::debug!(code = "stream_not_read");
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

// === impl HandedOver ===

impl HandedOver {
    fn note(&self, waits: bool) {
        self.frames.fetch_add(u64::from(waits), Ordering::Relaxed);
        self.waits.store(waits, Ordering::Relaxed);
    }

    /// The frame that waits for the client.
    fn waiting(&self) -> Option<u64> {
        self.waits.load(Ordering::Relaxed).then(|| self.frames.load(Ordering::Relaxed))
    }
}

// === impl Patience ===

impl Patience {
    /// Whether `frame` has waited for too long; where not, the task is woken when it has.
    fn is_over(&mut self, frame: Option<u64>, context: &mut Context<'_>) -> bool {
        let Some(frame) = frame else {
            self.waiting = None;
            return false;
        };
        if self.waiting.as_ref().is_none_or(|(waiting, _)| *waiting != frame) {
            self.waiting = Some((frame, Box::pin(tokio::time::sleep(self.limit))));
        }
        self.waiting.as_mut().is_some_and(|(_, sleep)| sleep.as_mut().poll(context).is_ready())
    }
}

// === impl NotedBody ===

impl<B> NotedBody<B> {
    /// The response with its body noted, where this is a stream's task.
    pub(super) fn of(response: Response<B>) -> Response<Self> {
        let noted = HANDED_OVER.try_with(Arc::clone).ok();
        response.map(|body| Self { body, noted })
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for NotedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let Some(noted) = &self.noted {
            noted.note(matches!(frame, Poll::Ready(Some(Ok(_)))));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::Full;
    use tokio::time::{Instant, sleep, timeout};

    use super::*;

    const LIMIT: Duration = Duration::from_mins(1);
    const NOT_YET: Duration = Duration::from_secs(59);

    /// The body of an upstream that says nothing.
    struct Silent;

    impl Body for Silent {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    fn noted<B>(body: B) -> NotedBody<B> {
        NotedBody::of(Response::new(body)).into_body()
    }

    async fn take<B: Body<Data = Bytes> + Unpin>(body: &mut NotedBody<B>) -> bool {
        poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await.is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn ends_a_stream_whose_frame_has_waited() {
        let begin = Instant::now();
        let stream = async {
            let mut body = noted(Full::new(Bytes::from_static(b"a frame")));
            take(&mut body).await;
            std::future::pending::<()>().await;
        };
        until_unread(stream, LIMIT).await;
        assert_eq!(begin.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn lets_a_stream_wait_for_its_upstream() {
        let stream = async {
            take(&mut noted(Silent)).await;
        };
        assert!(timeout(100 * LIMIT, until_unread(stream, LIMIT)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn lets_a_slow_client_take_frame_after_frame() {
        let begin = Instant::now();
        let stream = async {
            let frames = [Bytes::from_static(b"one"), Bytes::from_static(b"two")];
            for frame in frames.iter().cycle().take(10) {
                take(&mut noted(Full::new(frame.clone()))).await;
                sleep(NOT_YET).await;
            }
        };
        until_unread(stream, LIMIT).await;
        assert_eq!(begin.elapsed(), 10 * NOT_YET);
    }
}
