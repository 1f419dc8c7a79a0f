//! One exchange's state machine: bytes and the time go in, effects come out.
//!
//! The session is the one interface between the core and whatever drives it: the proxy, `scan`, the
//! benches and the fuzzers all drive this same code. It knows no socket, no clock and no runtime.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    dialect::Endpoint,
    policy::Policy,
    record::{ExchangeReport, Progress, UnscannedReason},
};

/// How the beginning of a content is read before a think tag has been seen.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ThinkingStart {
    /// Told from what comes: a reasoning field, a tag, or neither.
    #[default]
    Detect,
    /// The chat template opens the thinking: content begins inside it.
    Open,
    /// Content is never thinking unless a tag opens it.
    Closed,
}

/// Sizes that no exchange may exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request body that are kept for inspection, default 32 MiB.
    pub request_bytes: usize,
    /// Bytes of one frame (an event, a line, a whole body), default 4 MiB.
    pub frame_bytes: usize,
    /// Choices of one exchange, default 128.
    pub choices: usize,
    /// Tool calls of one choice, default 128.
    pub tool_calls: usize,
}

/// What may be held back, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Bytes of frames held per stream, default 256 KiB.
    pub max_bytes: usize,
    /// The longest that a frame may wait, default 10 s.
    pub deadline: Duration,
    /// What happens then (and when `max_bytes` is exceeded).
    pub on_deadline: OnDeadline,
}

/// What happens to frames that were held too long, or too many.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum OnDeadline {
    /// The exchange is ended with a refusal (`fail_closed`).
    #[default]
    Block,
    /// They are released (`fail_open`), and recorded so.
    Release,
}

/// The upstream's response head, as far as a session needs it.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    /// The status code.
    pub status: u16,
    /// The content type's value.
    pub content_type: Option<String>,
    /// Whether the body carries a content encoding that the shell cannot decode.
    pub undecodable: bool,
}

/// How the response's bytes reach the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// As read: the shell forwards every chunk at once and feeds the session a (decoded) copy. No effect comes.
    AsRead,
    /// Only as [`Effect`]s; the content length is not known beforehand.
    Held,
    /// The whole body is fed first; the effects then give the whole response.
    Whole,
}

/// A response that thinkgate itself gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalResponse {
    /// The status code.
    pub status: u16,
    /// The content type.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum RequestDecision {
    /// It goes to the upstream with this body (the same bytes unless a policy changed them).
    Forward(Bytes),
    /// It is answered here and never reaches the upstream.
    Respond(LocalResponse),
}

/// How a response body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// It was read to its end.
    Complete,
    /// The upstream broke it off, or was silent for too long.
    Reset,
    /// The client went away.
    ClientGone,
}

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write these bytes to the client.
    Forward(Bytes),
    /// Write these bytes, end the client's body normally and drop the upstream.
    Stop(Bytes),
    /// Answer with this instead of the upstream's response; only under [`Delivery::Whole`].
    Respond(LocalResponse),
}

/// What the exchanges of a route share.
#[derive(Debug)]
pub struct Plan {
    /// The operator's decisions.
    pub policy: Policy,
    /// Sizes.
    pub limits: Limits,
    /// Hold-back.
    pub hold: Hold,
    /// How content begins.
    pub thinking: ThinkingStart,
    /// The text of a refusal.
    pub notice: String,
}

/// One exchange.
#[derive(Debug)]
pub struct Session {
    plan: Arc<Plan>,
}

impl Session {
    /// A session for a request to `endpoint`.
    #[must_use]
    pub fn new(plan: Arc<Plan>, endpoint: Endpoint) -> Self {
        let _ = endpoint;
        Self { plan }
    }
    /// Reads the request's body and decides what becomes of it.
    pub fn on_request(&mut self, body: Bytes) -> RequestDecision {
        RequestDecision::Forward(body)
    }
    /// Notes a request body of `bytes` bytes that cannot be inspected; answers it where policy blocks that.
    pub fn on_request_unscanned(
        &mut self,
        reason: UnscannedReason,
        bytes: u64,
    ) -> Option<LocalResponse> {
        let _ = (reason, bytes);
        None
    }
    /// Reads the response's head.
    pub fn on_response(&mut self, head: &ResponseHead) -> Delivery {
        let _ = (head, &self.plan);
        Delivery::AsRead
    }
    /// Reads a chunk of the (decoded) response body.
    pub fn on_chunk(&mut self, now: Instant, chunk: Bytes) {
        let _ = (now, chunk);
    }
    /// Tells that [`Session::deadline`] has passed.
    pub fn on_timeout(&mut self, now: Instant) {
        let _ = now;
    }
    /// Tells that the response body has ended.
    pub fn on_end(&mut self, now: Instant, end: BodyEnd) {
        let _ = (now, end);
    }
    /// The next thing to do.
    pub fn next_effect(&mut self) -> Option<Effect> {
        None
    }
    /// When [`Session::on_timeout`] is due, if ever.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        None
    }
    /// What has changed since the last call.
    pub fn take_progress(&mut self) -> Progress {
        Progress::default()
    }
    /// What the exchange has shown; call it once, after the end.
    pub fn report(&mut self) -> ExchangeReport {
        unreachable!()
    }
}
