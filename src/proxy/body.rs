//! The bodies of both directions, pulled through without a queue.

use std::{
    collections::VecDeque,
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

/// What the client gets.
#[derive(Debug)]
pub enum ResponseBody {
    /// Bytes of our own.
    Local(Full<Bytes>),
    /// The upstream's body, read along.
    Upstream(Box<GuardedBody>),
}

/// What the upstream gets.
#[derive(Debug)]
pub enum RequestBody {
    /// A body that was read whole.
    Whole(Full<Bytes>),
    /// What was read already, then the rest from the wire. Boxed: every upstream connection has a queue with room
    /// for 32 requests.
    Passing(Box<Passing>),
}

/// A body that goes on as it comes.
#[derive(Debug)]
pub struct Passing {
    /// Chunks that were read already.
    prefix: VecDeque<Bytes>,
    /// The rest.
    rest: Incoming,
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

impl ResponseBody {
    /// A body of our own.
    #[must_use]
    pub fn local(bytes: impl Into<Bytes>) -> Self {
        Self::Local(Full::new(bytes.into()))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Local(body) => Pin::new(body)
                .poll_frame(context)
                .map(|frame| frame.map(|frame| frame.map_err(|never| match never {}))),
            Self::Upstream(body) => Pin::new(body.as_mut()).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Local(body) => body.is_end_stream(),
            Self::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Local(body) => body.size_hint(),
            Self::Upstream(body) => body.size_hint(),
        }
    }
}

// === impl RequestBody ===

impl RequestBody {
    /// A body that was read whole.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        Self::Whole(Full::new(bytes))
    }

    /// A body that goes on as it comes.
    #[must_use]
    pub fn passing(prefix: VecDeque<Bytes>, rest: Incoming, activity: Arc<Activity>) -> Self {
        Self::Passing(Box::new(Passing { prefix, rest, activity }))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body)
                .poll_frame(context)
                .map(|frame| frame.map(|frame| frame.map_err(|never| match never {}))),
            Self::Passing(passing) => {
                let Passing { prefix, rest, activity } = passing.as_mut();
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
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Passing(body) => body.prefix.is_empty() && body.rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Passing(body) => {
                let Passing { prefix, rest, .. } = body.as_ref();
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
