//! The response body: pulls the upstream's chunks through and lets the session read along.
//!
//! It queues nothing: a chunk is read when the client's connection asks for one. Dropping it drops the
//! upstream's body, which cancels the upstream.

use std::{
    error::Error as StdError,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use smallvec::SmallVec;
use tokio::time::{Instant, Sleep};

use super::{
    asking_again::{Answer, Asked, AskingAgain},
    body::WireBody,
    decode::{Decoder, Encoding},
    exchange::Exchange,
    failure::Failure,
    handler::response_head,
};
use crate::{
    record::{
        Truncated, UnscannedReason,
        audit::ExchangeEnd,
        metrics::{AddedDelays, ErrorKind},
    },
    session::{BodyEnd, Effect, LocalResponse, Session},
};

/// Chunks that follow each other this closely come from one read of the upstream's connection, or might as well.
const CLOSE_TOGETHER: Duration = Duration::from_millis(2);

/// Chunks that are put into one frame at most.
const TOGETHER: usize = 64;

/// How often a body that gathers is found waiting before it gives up. hyper asks a body twice in one turn of its
/// task: the first two times, the upstream's connection has not had its turn yet.
const PATIENCE: u8 = 2;

/// Chunks of this many bytes are worth a write of their own.
const LARGE: usize = 4 << 10;

/// A timer that is set seldom and asked with every chunk, so that asking must not cost a look into the runtime.
#[derive(Debug)]
struct IdleTimer {
    due: Instant,
    sleep: Pin<Box<Sleep>>,
    /// The task that the timer wakes.
    task: Waker,
}

/// The upstream's body broke, and so does the client's: a truncated body must not look like a whole one.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The upstream broke its body off.
    #[error("upstream broke its body off")]
    Broken(#[source] Box<dyn StdError + Send + Sync>),
    /// The upstream was silent for too long.
    #[error("upstream silent for too long")]
    Idle,
    /// The body does not decode, and only decoded bytes may be delivered.
    #[error("upstream body does not decode")]
    Undecodable,
}

/// How bytes get from the upstream to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Nobody reads along.
    Unread,
    /// As read; the session gets a copy.
    AsRead,
    /// Only what the session's effects say.
    Effects,
}

/// What follows when nothing is left to write.
#[derive(Debug)]
enum Ending {
    Complete,
    Failed(BodyError),
    /// The end was told already.
    Over,
}

/// An upstream's body on its way to the client.
///
/// Its fields are laid out in this order: what is touched for every chunk comes first and together, for with many streams
/// it has to come from memory each time. The exchange begins with what is touched of it.
#[derive(Debug)]
#[repr(C)]
pub struct GuardedBody<B = Incoming> {
    way: Way,
    decoder_failed: bool,
    /// The last chunk followed closely on the one before.
    in_burst: bool,
    /// A frame was handed over and the connection has had no turn since.
    unflushed: bool,
    /// How often it was found waiting for more of a burst.
    waited: u8,
    /// Whether the response's head is still to come, so that a failure can be told by its status.
    before_head: bool,
    ending: Option<Ending>,
    ready: SmallVec<[Bytes; 1]>,
    deadline: Option<Pin<Box<Sleep>>>,
    decoder: Option<Decoder>,
    upstream: Option<B>,
    /// When the first of what is ready was read.
    read_at: Option<Instant>,
    last_read: Instant,
    idle: IdleTimer,
    delays: AddedDelays,
    exchange: Exchange,
    idle_limit: Duration,
    trailers: Option<HeaderMap>,
    replacement: Option<LocalResponse>,
    /// What the head tells beside the upstream's own.
    outcome: Option<String>,
    /// What it takes to ask again, where the session may.
    asking_again: Option<Box<AskingAgain<B>>>,
    /// The answer that is awaited after that.
    asked: Option<Asked<B>>,
}

// === impl IdleTimer ===

impl IdleTimer {
    fn new(due: Instant) -> Self {
        let sleep = Box::pin(tokio::time::sleep_until(due));
        Self { due, sleep, task: Waker::noop().clone() }
    }

    fn set(&mut self, due: Instant) {
        self.due = due;
        self.sleep.as_mut().reset(due);
        // It forgets whom it wakes.
        self.task.clone_from(Waker::noop());
    }

    /// Whether it is due; where not, it wakes the task when it is.
    fn is_due(&mut self, context: &mut Context<'_>) -> bool {
        if self.task.will_wake(context.waker()) && Instant::now() < self.due {
            return false;
        }
        self.task.clone_from(context.waker());
        self.sleep.as_mut().poll(context).is_ready()
    }
}

// === impl BodyError ===

impl BodyError {
    /// What the client is told where the head has not gone out yet.
    pub(super) fn failure(&self) -> Failure {
        Failure::upstream(match self {
            Self::Broken(_) => ErrorKind::Reset,
            Self::Idle => ErrorKind::IdleTimeout,
            Self::Undecodable => ErrorKind::Decode,
        })
    }
}

// === impl GuardedBody ===

impl<B: WireBody> GuardedBody<B> {
    pub(super) fn new(upstream: B, exchange: Exchange, way: Way, decoder: Option<Decoder>) -> Self {
        let now = Instant::now();
        let idle_limit = exchange.proxy().timeouts.upstream_idle;
        let delays = exchange.proxy().metrics.added_delays();
        let mut body = Self {
            upstream: Some(upstream),
            exchange,
            way,
            decoder,
            decoder_failed: false,
            ready: SmallVec::new(),
            read_at: None,
            in_burst: false,
            unflushed: false,
            waited: 0,
            delays,
            trailers: None,
            ending: None,
            replacement: None,
            outcome: None,
            asking_again: None,
            asked: None,
            before_head: false,
            idle_limit,
            last_read: now,
            idle: IdleTimer::new(now + idle_limit),
            deadline: None,
        };
        body.notice_end(now);
        body.arm_deadline();
        body
    }

    /// The answer that the session gives in place of the body, if it does.
    pub(super) fn take_replacement(&mut self) -> Option<LocalResponse> {
        self.replacement.take()
    }

    /// The outcome that the head is to tell, if it is.
    pub(super) fn take_outcome(&mut self) -> Option<String> {
        self.outcome.take()
    }

    /// Gives what it takes to ask again.
    #[must_use]
    pub(super) fn asking_again(mut self, asking_again: Option<Box<AskingAgain<B>>>) -> Self {
        self.asking_again = asking_again;
        self
    }

    /// Says that the response's head waits for the body's end.
    #[must_use]
    pub(super) fn before_head(mut self) -> Self {
        self.before_head = true;
        self
    }

    /// Gives back bytes that were taken out, to be told again before everything else; the head does not wait longer.
    pub(super) fn put_back(&mut self, bytes: Bytes) {
        self.before_head = false;
        self.ready.insert(0, bytes);
    }

    /// The upstream's body is over as soon as its length says so: nobody may ask for another frame.
    fn notice_end(&mut self, now: Instant) {
        if self.upstream.as_ref().is_some_and(Body::is_end_stream) {
            self.on_complete(now);
        }
    }

    fn on_data(&mut self, now: Instant, chunk: Bytes) {
        self.in_burst = now.saturating_duration_since(self.last_read) < CLOSE_TOGETHER;
        self.last_read = now;
        self.read_at.get_or_insert(now);
        match self.way {
            Way::Unread => {
                self.exchange.note_passed(chunk.len());
                self.ready.push(chunk);
            }
            Way::AsRead => {
                self.feed(now, &chunk);
                if self.decoder_failed {
                    self.exchange.note_unscanned(UnscannedReason::Encoding, chunk.len());
                }
                self.ready.push(chunk);
            }
            Way::Effects => {
                self.feed(now, &chunk);
                self.take_effects(now);
                if self.decoder_failed {
                    self.on_failure(now, BodyError::Undecodable);
                }
            }
        }
        if self.exchange.fold_if_due(now) {
            self.delays.flush();
        }
        self.notice_end(now);
        if self.way == Way::Effects {
            self.arm_deadline();
        }
    }

    /// Gives the session the decoded chunk.
    fn feed(&mut self, now: Instant, chunk: &Bytes) {
        if self.decoder_failed {
            return;
        }
        let Some(decoder) = &mut self.decoder else {
            if self.way == Way::AsRead {
                return self.exchange.read_along(now, chunk);
            }
            return self.exchange.read(now, chunk.clone());
        };
        let exchange = &mut self.exchange;
        if decoder.push(chunk, |bytes| exchange.read(now, bytes)).is_err() {
            self.decoder_failed = true;
            self.exchange.note_truncated(Truncated::Undecodable);
            self.exchange.note_failure(Failure::upstream(ErrorKind::Decode));
        }
    }

    fn take_effects(&mut self, now: Instant) {
        while let Some(effect) = self.exchange.session().and_then(Session::next_effect) {
            match effect {
                Effect::Forward(bytes) => self.ready.push(bytes),
                Effect::Stop(bytes) => {
                    self.ready.push(bytes);
                    self.stop(now);
                    return;
                }
                Effect::Respond(response) => {
                    self.ready.clear();
                    self.exchange.set_status(response.status);
                    self.replacement = Some(response);
                    self.stop(now);
                    return;
                }
                Effect::AskAgain(body) => self.ask_again(body),
                Effect::Tell(outcome) => self.outcome = Some(outcome),
            }
        }
    }

    /// Cancels the upstream: what it would have said is not known.
    fn leave_upstream(&mut self) {
        if self.upstream.take().is_some() {
            self.exchange.note_truncated(Truncated::Stopped);
        }
    }

    /// Leaves the upstream's answer for another one.
    fn ask_again(&mut self, body: Bytes) {
        self.leave_upstream();
        self.trailers = None;
        self.ending = None;
        self.decoder = None;
        self.exchange.begin_again();
        self.asked = self.asking_again.as_ref().map(|asking| asking.ask(body));
        if self.asked.is_none() {
            self.give_up_asking();
        }
    }

    /// Tells the session that there is no other answer.
    fn give_up_asking(&mut self) {
        if let Some(session) = self.exchange.session() {
            session.on_no_response_again();
        }
    }

    /// Whether the answer to the second request has come, or failed; then the session has been told.
    fn poll_asked(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(asked) = &mut self.asked else { return Poll::Ready(()) };
        let Poll::Ready(answer) = asked.poll(context) else { return Poll::Pending };
        self.asked = None;
        let now = Instant::now();
        self.on_answer(now, answer);
        self.take_effects(now);
        self.arm_deadline();
        Poll::Ready(())
    }

    fn on_answer(&mut self, now: Instant, answer: Answer<B>) {
        let cap = self.exchange.proxy().limits.frame_bytes;
        let response = match answer {
            Ok(response) => response,
            Err(failure) => {
                self.exchange.note_failure(failure);
                return self.give_up_asking();
            }
        };
        let (parts, body) = response.into_parts();
        let encoding = Encoding::of(&parts.headers, cap);
        let head = response_head(&parts, &encoding);
        if self.exchange.session().is_some_and(|session| session.on_response_again(&head)) {
            self.decoder = encoding.into_decoder();
            self.last_read = now;
            self.idle.set(now + self.idle_limit);
            self.upstream = Some(body);
        }
    }

    /// Ends the client's body normally and cancels the upstream.
    fn stop(&mut self, now: Instant) {
        self.leave_upstream();
        self.asked = None;
        self.trailers = None;
        self.ending = Some(Ending::Complete);
        self.exchange.end_body(now, BodyEnd::Complete);
    }

    fn on_complete(&mut self, now: Instant) {
        if self.ending.is_some() {
            return;
        }
        self.upstream = None;
        self.ending = Some(Ending::Complete);
        self.exchange.end_body(now, BodyEnd::Complete);
        if self.way == Way::Effects {
            self.take_effects(now);
            self.arm_deadline();
        }
    }

    fn on_failure(&mut self, now: Instant, error: BodyError) {
        if self.ending.is_some() {
            return;
        }
        self.upstream = None;
        self.exchange.end_body(now, BodyEnd::Reset);
        if self.way == Way::Effects {
            self.take_effects(now);
            self.arm_deadline();
        }
        // The session may have ended the body well; what it has not ended breaks off.
        if self.ending.is_none() && self.asked.is_none() {
            self.ending = Some(Ending::Failed(error));
        }
    }

    fn on_upstream_frame(&mut self, frame: Option<Result<Frame<Bytes>, B::Error>>) {
        let now = Instant::now();
        match frame {
            None => self.on_complete(now),
            Some(Err(error)) => {
                self.exchange.note_failure(Failure::of_chain(&error));
                self.on_failure(now, BodyError::Broken(error.into()));
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(chunk) => self.on_data(now, chunk),
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers()
                        && self.way != Way::Effects
                    {
                        self.trailers = Some(trailers);
                    }
                    self.last_read = now;
                }
            },
        }
    }

    /// Sets the timer to the session's deadline.
    fn arm_deadline(&mut self) {
        let due = self.exchange.session().and_then(|session| session.deadline());
        match (due.map(Instant::from_std), &mut self.deadline) {
            (None, deadline) => *deadline = None,
            (Some(due), Some(timer)) => {
                if timer.deadline() != due {
                    timer.as_mut().reset(due);
                }
            }
            (Some(due), deadline) => *deadline = Some(Box::pin(tokio::time::sleep_until(due))),
        }
    }

    /// Whether the session's deadline has passed; then it has been told.
    fn poll_deadline(&mut self, context: &mut Context<'_>) -> bool {
        let Some(timer) = &mut self.deadline else { return false };
        if timer.as_mut().poll(context).is_pending() {
            return false;
        }
        self.deadline = None;
        let now = Instant::now();
        if let Some(session) = self.exchange.session() {
            session.on_timeout(now.into_std());
        }
        if self.way == Way::Effects {
            self.take_effects(now);
        }
        self.arm_deadline();
        true
    }

    /// Whether scores have come that may end the exchange; then the session has been told.
    fn poll_scores(&mut self, context: &mut Context<'_>) -> bool {
        if self.way != Way::Effects || !self.exchange.poll_scores(context) {
            return false;
        }
        let now = Instant::now();
        self.exchange.follow(now);
        self.take_effects(now);
        self.arm_deadline();
        true
    }

    /// Whether the upstream was silent for too long; then the body has failed.
    fn poll_idle(&mut self, context: &mut Context<'_>) -> bool {
        if let Some(due) = self.exchange.reads_by().filter(|&due| due < self.idle.due) {
            self.idle.set(due);
        }
        while self.idle.is_due(context) {
            let now = Instant::now();
            if self.exchange.reads_by().is_some_and(|due| due <= now) {
                self.exchange.read_unread(now);
                self.exchange.fold_if_due(now);
            }
            let due = self.last_read + self.idle_limit;
            if due <= now {
                self.exchange.note_failure(Failure::upstream(ErrorKind::IdleTimeout));
                self.on_failure(now, BodyError::Idle);
                return true;
            }
            self.idle.set(self.exchange.reads_by().map_or(due, |reads| due.min(reads)));
        }
        false
    }

    /// Whether something is ready that shall wait until the upstream's connection has had a turn.
    ///
    /// That connection hands its chunks on one by one, however many a read has brought. Each would be a write of its
    /// own, by far the most expensive thing that happens to it; a turn of the scheduler costs a fraction of that.
    fn gathers(&self) -> bool {
        self.in_burst
            && self.upstream.is_some()
            && self.ready.len() < TOGETHER
            && self.ready.last().is_some_and(|chunk| chunk.len() < LARGE)
    }

    /// What one upstream read brought, as one frame.
    fn take_ready(&mut self) -> Option<Bytes> {
        let bytes = match self.ready.len() {
            0 => return None,
            1 => self.ready.pop().unwrap_or_default(),
            _ => {
                let mut merged = BytesMut::with_capacity(self.ready.iter().map(Bytes::len).sum());
                for bytes in self.ready.drain(..) {
                    merged.extend_from_slice(&bytes);
                }
                merged.freeze()
            }
        };
        if bytes.is_empty() {
            return None;
        }
        if let Some(read_at) = self.read_at.take() {
            self.delays.note(read_at.elapsed());
        }
        Some(bytes)
    }

    /// What can be told the client without asking the upstream, the end included.
    fn poll_told(&mut self) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(bytes) = self.take_ready() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        // A session that is not needed is not looked at: for every chunk, it would have to come from memory.
        if self.ending.is_none() || self.exchange.awaits_scores() {
            return Poll::Pending;
        }
        let Some(ending) = self.ending.take() else { return Poll::Pending };
        match ending {
            Ending::Complete => {
                if let Some(trailers) = self.trailers.take() {
                    self.ending = Some(Ending::Complete);
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                self.ending = Some(Ending::Over);
                self.exchange.finish(ExchangeEnd::Complete);
                Poll::Ready(None)
            }
            Ending::Failed(error) => {
                self.ending = Some(Ending::Over);
                if self.before_head {
                    self.exchange.set_status(error.failure().status().as_u16());
                }
                self.exchange.finish(ExchangeEnd::UpstreamFailed);
                Poll::Ready(Some(Err(error)))
            }
            Ending::Over => {
                self.ending = Some(Ending::Over);
                Poll::Ready(None)
            }
        }
    }
}

impl<B: WireBody> Body for GuardedBody<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            if this.poll_scores(context) {
                continue;
            }
            // A failure ends the client's connection with all that it has not written yet: it gets a turn first.
            if this.unflushed
                && this.ready.is_empty()
                && matches!(this.ending, Some(Ending::Failed(_)))
            {
                this.unflushed = false;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !this.gathers()
                && let Poll::Ready(frame) = this.poll_told()
            {
                this.waited = 0;
                this.unflushed = matches!(&frame, Some(Ok(_)));
                return Poll::Ready(frame);
            }
            if this.poll_deadline(context) {
                continue;
            }
            let Some(upstream) = &mut this.upstream else {
                if this.exchange.awaits_scores() {
                    return Poll::Pending;
                }
                if this.asked.is_some() {
                    if this.poll_asked(context).is_pending() {
                        return Poll::Pending;
                    }
                    continue;
                }
                // Without an upstream an ending is set, and the next turn tells it.
                this.ending.get_or_insert(Ending::Complete);
                continue;
            };
            match Pin::new(upstream).poll_frame(context) {
                Poll::Ready(frame) => {
                    this.waited = 0;
                    this.on_upstream_frame(frame);
                }
                Poll::Pending if this.gathers() => {
                    if this.waited == PATIENCE {
                        this.in_burst = false;
                        continue;
                    }
                    this.waited += 1;
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Pending => {
                    if !this.poll_idle(context) {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_told()
    }

    fn size_hint(&self) -> SizeHint {
        if self.way == Way::Effects {
            return SizeHint::default();
        }
        let ready: u64 = self.ready.iter().map(|bytes| bytes.len() as u64).sum();
        match &self.upstream {
            None => SizeHint::with_exact(ready),
            Some(upstream) => {
                let left = upstream.size_hint();
                let mut hint = SizeHint::new();
                hint.set_lower(left.lower().saturating_add(ready));
                if let Some(upper) = left.upper() {
                    hint.set_upper(upper.saturating_add(ready));
                }
                hint
            }
        }
    }
}

impl<B> GuardedBody<B> {
    /// Whether the client has been told everything.
    fn is_told(&self) -> bool {
        self.ready.is_empty()
            && self.trailers.is_none()
            && matches!(self.ending, Some(Ending::Complete | Ending::Over))
            && !self.exchange.awaits_scores()
    }
}

impl<B> Drop for GuardedBody<B> {
    fn drop(&mut self) {
        // With a known length nobody asks for the frame after the last.
        if self.is_told() {
            self.exchange.finish(ExchangeEnd::Complete);
        }
    }
}
