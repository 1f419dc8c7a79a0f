//! The bodies of both directions, pulled through without a queue.

use std::{
    collections::VecDeque,
    error::Error as StdError,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::guarded_body::{BodyError, GuardedBody};

/// A body as it comes from a wire.
pub trait WireBody:
    Body<Data = Bytes, Error: StdError + Send + Sync> + Unpin + Send + 'static
{
}

impl<B> WireBody for B where
    B: Body<Data = Bytes, Error: StdError + Send + Sync> + Unpin + Send + 'static
{
}

/// What the client gets.
#[derive(Debug)]
pub enum ResponseBody<B = Incoming> {
    /// Bytes of our own.
    Local(Full<Bytes>),
    /// The upstream's body, read along until its end.
    Whole(Full<Bytes>),
    /// The upstream's body, read along.
    Upstream(Box<GuardedBody<B>>),
}

/// What the upstream gets. Boxed: every upstream connection has a queue with room for 32 requests.
#[derive(Debug)]
pub struct RequestBody<B = Incoming>(Box<Sent<B>>);

/// Where what the upstream gets comes from.
#[derive(Debug)]
enum Sent<B> {
    /// It was read whole.
    Whole(Full<Bytes>),
    /// What was read already, then the rest from the wire.
    Passing(Passing<B>),
}

/// A body that goes on as it comes.
#[derive(Debug)]
struct Passing<B> {
    /// Chunks that were read already.
    prefix: VecDeque<Bytes>,
    /// The rest.
    rest: B,
    /// Told whenever a chunk goes on.
    activity: Arc<Activity>,
}

/// When something last moved, for the timeout of silence.
#[derive(Debug)]
pub struct Activity {
    origin: Instant,
    last_millis: AtomicU64,
}

// === impl ResponseBody ===

impl<B> ResponseBody<B> {
    /// A body of our own.
    #[must_use]
    pub fn local(bytes: impl Into<Bytes>) -> Self {
        Self::Local(Full::new(bytes.into()))
    }
}

impl<B: WireBody> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Local(body) | Self::Whole(body) => Pin::new(body)
                .poll_frame(context)
                .map(|frame| frame.map(|frame| frame.map_err(|never| match never {}))),
            Self::Upstream(body) => Pin::new(body.as_mut()).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Local(body) | Self::Whole(body) => body.is_end_stream(),
            Self::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Local(body) | Self::Whole(body) => body.size_hint(),
            Self::Upstream(body) => body.size_hint(),
        }
    }
}

// === impl RequestBody ===

impl<B> RequestBody<B> {
    /// A body that was read whole.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        Self(Box::new(Sent::Whole(Full::new(bytes))))
    }

    /// A body that goes on as it comes.
    #[must_use]
    pub fn passing(prefix: VecDeque<Bytes>, rest: B, activity: Arc<Activity>) -> Self {
        Self(Box::new(Sent::Passing(Passing { prefix, rest, activity })))
    }

    /// Whether it was read whole.
    pub(super) fn is_whole(&self) -> bool {
        matches!(*self.0, Sent::Whole(_))
    }
}

impl<B: WireBody> Body for RequestBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.get_mut().0.as_mut() {
            Sent::Whole(body) => Pin::new(body)
                .poll_frame(context)
                .map(|frame| frame.map(|frame| frame.map_err(|never| match never {}))),
            Sent::Passing(Passing { prefix, rest, activity }) => {
                activity.note();
                if let Some(chunk) = prefix.pop_front() {
                    return Poll::Ready(Some(Ok(Frame::data(chunk))));
                }
                let frame = ready!(Pin::new(rest).poll_frame(context));
                activity.note();
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self.0.as_ref() {
            Sent::Whole(body) => body.is_end_stream(),
            Sent::Passing(body) => body.prefix.is_empty() && body.rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.0.as_ref() {
            Sent::Whole(body) => body.size_hint(),
            Sent::Passing(Passing { prefix, rest, .. }) => {
                let read: u64 = prefix.iter().map(|chunk| chunk.len() as u64).sum();
                let left = rest.size_hint();
                let mut hint = SizeHint::new();
                hint.set_lower(left.lower().saturating_add(read));
                if let Some(upper) = left.upper() {
                    hint.set_upper(upper.saturating_add(read));
                }
                hint
            }
        }
    }
}

// === impl Activity ===

impl Activity {
    /// Begins now.
    #[must_use]
    pub fn new() -> Self {
        Self { origin: Instant::now(), last_millis: AtomicU64::new(0) }
    }

    fn note(&self) {
        let millis = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_millis.store(millis, Ordering::Relaxed);
    }

    /// Waits until nothing has moved for `idle`.
    pub async fn silence(&self, idle: Duration) {
        loop {
            let last = Duration::from_millis(self.last_millis.load(Ordering::Relaxed));
            let due = self.origin + last + idle;
            if due <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(due).await;
        }
    }
}

impl Default for Activity {
    fn default() -> Self {
        Self::new()
    }
}
