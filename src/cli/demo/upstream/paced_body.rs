//! A response body that comes at the pace of a model.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::ledger::Entry;

/// Steps of a stream, one a tick.
#[derive(Debug)]
pub(super) struct PacedBody {
    steps: VecDeque<Bytes>,
    ticks: Option<Interval>,
    entry: Arc<Entry>,
}

// === impl PacedBody ===

impl PacedBody {
    /// A body that gives one of `steps` every `pause`, or all of them at once; `entry` counts what has left.
    pub(super) fn new(steps: Vec<Bytes>, pause: Option<Duration>, entry: Arc<Entry>) -> Self {
        let ticks = pause.map(|pause| {
            let mut ticks = interval(pause);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        Self { steps: steps.into(), ticks, entry }
    }
}

impl Body for PacedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let body = self.get_mut();
        if let Some(ticks) = &mut body.ticks
            && !body.steps.is_empty()
        {
            ready!(ticks.poll_tick(cx));
        }
        let step = body.steps.pop_front();
        if step.is_some() {
            body.entry.step();
        }
        Poll::Ready(step.map(|step| Ok(Frame::data(step))))
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_step_a_tick() {
        let steps = vec![Bytes::from("a"), Bytes::from("b"), Bytes::from("c")];
        let body = PacedBody::new(steps, Some(Duration::from_millis(20)), Arc::default());
        let start = Instant::now();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abc");
        assert_eq!(start.elapsed(), Duration::from_millis(40));
    }

    #[tokio::test]
    async fn all_at_once_without_a_pause() {
        let entry = Arc::default();
        let body = PacedBody::new(vec![Bytes::from("a")], None, Arc::clone(&entry));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "a");
        assert_eq!(entry.written(), 1);
    }
}
