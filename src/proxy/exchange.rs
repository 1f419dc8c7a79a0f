//! One exchange's record: its session, its bytes, and the one place where its end is noted.

use std::{sync::Arc, task::Context, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    capture::Recording,
    closing::{Closing, add_bytes},
    failure::Failure,
    handler::{Proxy, RouteState},
    remote::{Consultation, Remote},
    stretch::Stretch,
};
use crate::{
    dialect::Dialect,
    policy::Mode,
    record::{
        ByteCounts, HoldReason, Truncated, UnscannedReason,
        audit::{ExchangeEnd, ExchangeHead},
    },
    scorer::{Awaited, Lane},
    session::{BodyEnd, Delivery, Identity, LocalResponse, ResponseHead, Session},
};

/// How often an open exchange is folded into the metrics: more often than they are asked for.
const FOLD_EVERY: Duration = Duration::from_secs(1);

/// How long the session may be behind what has gone on to the client.
const READ_WITHIN: Duration = Duration::from_millis(500);

/// A caller's request id is kept up to this length.
const REQUEST_ID_BYTES: usize = 128;

/// The name of the field that carries a request's id.
pub(super) const REQUEST_ID: &str = "x-request-id";

/// An exchange that is open. Dropped before [`Exchange::finish`], it is one whose client went away.
///
/// Its fields are laid out in this order: what is touched for every chunk comes first and together, for with many streams
/// it has to come from memory each time.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Exchange {
    /// What has gone on to the client and the session has yet to read. It is read in stretches: a stream that is paced
    /// finds everything it needs to read with gone from the processor's caches, each time, and the classifier reads
    /// eight tokens at once.
    unread: Stretch,
    /// When the first of it came.
    unread_since: Instant,
    /// Boxed: it is large, and looked at less often than what stands around it.
    session: Option<Box<Session>>,
    /// What is kept of the exchange with its content, if anything is.
    recording: Option<Box<Recording>>,
    folded_at: Instant,
    held: Option<(HoldReason, u64)>,
    /// Scores may end the exchange.
    acts_on_scores: bool,
    session_ended: bool,
    seen_text: bool,
    /// There may be something to fold: for every chunk, the session would have to come from memory.
    has_news: bool,
    finished: bool,
    /// Why bytes that no session reads pass.
    passing: UnscannedReason,
    status: u16,
    proxy: Arc<Proxy>,
    route: Arc<RouteState>,
    /// The session's way to the classifier, if there is one.
    lane: Option<Lane>,
    /// Its way to a guard model elsewhere, if there is one.
    consultation: Option<Consultation>,
    id: Uuid,
    request_id: Option<String>,
    started: Instant,
    started_at: jiff::Timestamp,
    /// Bytes that the shell counts itself.
    own_bytes: ByteCounts,
    own_bytes_folded: ByteCounts,
    prompt_hash: Option<String>,
}

// === impl Exchange ===

impl Exchange {
    pub(super) fn begin(proxy: Arc<Proxy>, route: Arc<RouteState>, headers: &HeaderMap) -> Self {
        proxy.metrics.exchange_begins();
        let now = Instant::now();
        let passing = if route.mode() == Mode::Off {
            UnscannedReason::ModeOff
        } else {
            UnscannedReason::Path
        };
        Self {
            id: Uuid::now_v7(),
            request_id: headers.get(REQUEST_ID).and_then(readable_id),
            started: now,
            started_at: jiff::Timestamp::now(),
            // 499 stands for "the client went away before any answer"; every answer replaces it.
            status: 499,
            session: None,
            lane: None,
            consultation: None,
            recording: None,
            acts_on_scores: false,
            session_ended: false,
            unread: Stretch::default(),
            unread_since: now,
            passing,
            own_bytes: ByteCounts::default(),
            own_bytes_folded: ByteCounts::default(),
            prompt_hash: None,
            seen_text: false,
            has_news: true,
            folded_at: now,
            held: None,
            finished: false,
            proxy,
            route,
        }
    }

    pub(super) fn id(&self) -> String {
        self.id.to_string()
    }

    /// Names for a response that thinkgate begins itself.
    pub(super) fn identity(&self) -> Identity {
        let created = u64::try_from(self.started_at.as_second()).unwrap_or_default();
        Identity { id: self.id(), created }
    }

    pub(super) fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    pub(super) fn route(&self) -> &RouteState {
        &self.route
    }

    pub(super) fn set_session(&mut self, session: Session) {
        let session = self.session.insert(Box::new(session));
        self.acts_on_scores = session.acts_on_scores();
        let awaited = Awaited::by(session);
        self.lane = self.proxy.scorers.as_ref().map(|scorers| scorers.lane(awaited));
        self.consultation = self.proxy.remote.as_ref().map(Remote::consultation);
    }

    /// Waits until the prompt has been scored, where it has to be; the answer, if the request does not go on.
    pub(super) async fn settle_prompt(&mut self) -> Option<LocalResponse> {
        let (Some(lane), Some(session)) = (&self.lane, &mut self.session) else { return None };
        if session.prompt_waits() {
            let settled = tokio::time::timeout(self.proxy.hold_deadline, lane.settle());
            if settled.await.is_err() {
                lane.give_up();
            }
            lane.follow(Instant::now(), session);
        }
        session.on_prompt_scored()
    }

    /// Whether scores have come that may end the exchange; where not, the task is woken when they do.
    pub(super) fn poll_scores(&self, context: &mut Context<'_>) -> bool {
        if !self.acts_on_scores {
            return false;
        }
        let scores = self.lane.as_ref().is_some_and(|lane| lane.poll_news(context));
        // Both are asked, so that both wake the task.
        let answers = self.consultation.as_ref().is_some_and(|answers| answers.poll_news(context));
        scores || answers
    }

    /// Whether the body has ended and something of it waits for its scores.
    pub(super) fn awaits_scores(&self) -> bool {
        self.session.as_deref().is_some_and(Session::awaits_scores)
    }

    /// Lets classifier and guard model have what the session has read, and the session what they have found.
    pub(super) fn follow(&mut self, now: Instant) {
        let Some(session) = &mut self.session else { return };
        if let Some(lane) = &self.lane {
            lane.follow(now, session);
        }
        if let Some(consultation) = &self.consultation {
            consultation.follow(now, session);
        }
    }

    /// The dialect that its client speaks, as far as that is known.
    pub(super) fn dialect(&self) -> Dialect {
        self.session.as_deref().map_or(Dialect::Unknown, Session::dialect)
    }

    pub(super) fn session(&mut self) -> Option<&mut Session> {
        self.session.as_deref_mut()
    }

    /// Begins to keep the exchange with its content, where its route has that done.
    pub(super) fn begin_recording(&mut self, path: &str) {
        let capture = self.route.capture.as_ref();
        self.recording = capture.and_then(|capture| capture.begin(&self.id, path));
    }

    /// Takes note that the request's body, of at least so many bytes, is not read.
    pub(super) fn note_request_unread(&mut self, reason: UnscannedReason, bytes: u64) {
        if let Some(recording) = &mut self.recording {
            recording.request_unread(reason, bytes);
        }
    }

    /// Lets the session read the response's head. Without one, the body goes on as it comes.
    pub(super) fn read_head(&mut self, head: &ResponseHead) -> Delivery {
        if let Some(recording) = &mut self.recording {
            recording.head(head);
        }
        self.session.as_mut().map_or(Delivery::AsRead, |session| session.on_response(head))
    }

    /// Takes note that nothing more of the response will be known.
    pub(super) fn note_truncated(&mut self, why: Truncated) {
        if let Some(recording) = &mut self.recording {
            recording.truncate(why);
        }
    }

    fn record_chunk(&mut self, now: Instant, chunk: &[u8]) {
        if let Some(recording) = &mut self.recording {
            recording.chunk(now.saturating_duration_since(self.started), chunk);
        }
    }

    /// Lets the session read a chunk at once.
    pub(super) fn read(&mut self, now: Instant, chunk: Bytes) {
        self.record_chunk(now, &chunk);
        self.take_in(now, chunk);
    }

    /// Lets the session read a chunk that goes on to the client whatever it finds: soon, and at once where text is
    /// still awaited.
    pub(super) fn read_along(&mut self, now: Instant, chunk: &Bytes) {
        self.record_chunk(now, chunk);
        if self.session.is_none() || self.put_off(now, chunk) {
            return;
        }
        self.read_unread(now);
        if !self.put_off(now, chunk) {
            self.take_in(now, chunk.clone());
        }
    }

    /// Keeps a chunk to be read later, if the first text has come and there is room for it.
    fn put_off(&mut self, now: Instant, chunk: &[u8]) -> bool {
        if self.unread.is_empty() {
            self.unread_since = now;
        }
        self.seen_text && self.unread.push(chunk)
    }

    /// When what is unread has to be read, or what is held to be told, if anything is.
    pub(super) fn reads_by(&self) -> Option<Instant> {
        if !self.unread.is_empty() {
            // The session is behind, so it holds nothing; it is not looked at for every chunk.
            return Some(self.unread_since + READ_WITHIN);
        }
        // A stream that stalls while frames wait is the one whose figures an operator asks for.
        (self.has_news || self.holds_otherwise()).then(|| self.folded_at + FOLD_EVERY)
    }

    /// Whether the session has begun or ceased to hold since that was told.
    fn holds_otherwise(&self) -> bool {
        self.session.as_deref().is_some_and(Session::is_holding) != self.held.is_some()
    }

    /// Lets the session read what it has yet to read.
    pub(super) fn read_unread(&mut self, now: Instant) {
        if !self.unread.is_empty() {
            let unread = self.unread.take();
            self.take_in(now, unread);
        }
    }

    /// Lets the session read a chunk, and those who judge have what it has read.
    fn take_in(&mut self, now: Instant, chunk: Bytes) {
        if let Some(session) = &mut self.session {
            session.on_chunk(now.into_std(), chunk);
            self.has_news = true;
            self.follow(now);
        }
    }

    pub(super) fn set_status(&mut self, status: u16) {
        self.status = status;
    }

    /// Notes the request's bytes: under the operator's key, if there is an audit log, and as they are, if that is wanted.
    pub(super) fn note_request(&mut self, body: &[u8]) {
        self.prompt_hash = self.proxy.audit.as_ref().map(|audit| audit.hash_key().hash(body));
        if let Some(recording) = &mut self.recording {
            recording.request(body);
        }
    }

    /// Counts response bytes that pass without a session.
    pub(super) fn note_passed(&mut self, bytes: usize) {
        self.note_unscanned(self.passing, bytes);
    }

    /// Counts response bytes that pass unread although there is a session.
    pub(super) fn note_unscanned(&mut self, reason: UnscannedReason, bytes: usize) {
        let bytes = bytes as u64;
        self.has_news = true;
        *self.own_bytes.released.entry(None).or_default() += bytes;
        *self.own_bytes.unscanned.entry((None, reason)).or_default() += bytes;
    }

    /// Notes that the exchange broke.
    pub(super) fn note_failure(&mut self, failure: Failure) {
        self.proxy.metrics.note_error(failure.source, failure.kind);
        tracing::info!(
            id = %self.id,
            source = failure.source.name(),
            code = failure.kind.name(),
            "exchange broke"
        );
    }

    /// Folds what has happened into the metrics, if that is due or the first text is still awaited; gives back
    /// whether it did.
    pub(super) fn fold_if_due(&mut self, now: Instant) -> bool {
        let due = now.saturating_duration_since(self.folded_at) >= FOLD_EVERY;
        let has_news = self.has_news || (self.unread.is_empty() && self.holds_otherwise());
        let folds = (due && has_news) || (self.session.is_some() && !self.seen_text);
        if folds {
            self.fold(now);
        }
        folds
    }

    fn fold(&mut self, now: Instant) {
        self.folded_at = now;
        self.has_news = false;
        let metrics = &self.proxy.metrics;
        if let Some(session) = &mut self.session {
            let progress = session.take_progress();
            metrics.note_progress(&progress);
            if progress.held != self.held {
                metrics.note_held(self.held, progress.held);
                self.held = progress.held;
            }
            if progress.first_text && !self.seen_text {
                self.seen_text = true;
                metrics.note_first_token(now.saturating_duration_since(self.started));
            }
        }
        let own = std::mem::take(&mut self.own_bytes);
        metrics.note_bytes(&own);
        add_bytes(&mut self.own_bytes_folded, own);
    }

    /// Tells the session, once, that the response body has ended.
    pub(super) fn end_body(&mut self, now: Instant, end: BodyEnd) {
        self.read_unread(now);
        if let Some(recording) = &mut self.recording {
            recording.ended(now.saturating_duration_since(self.started));
        }
        if let Some(session) = &mut self.session
            && (!self.session_ended || (end == BodyEnd::ClientGone && session.awaits_scores()))
        {
            self.session_ended = true;
            session.on_end(now.into_std(), end);
            self.follow(now);
        }
    }

    /// Takes note that another response follows in the same body.
    pub(super) fn begin_again(&mut self) {
        self.session_ended = false;
    }

    /// Has metrics, audit line and log line written; further calls do nothing.
    pub(super) fn finish(&mut self, end: ExchangeEnd) {
        if self.finished {
            return;
        }
        self.finished = true;
        let now = Instant::now();
        self.read_unread(now);
        let done = self.session.as_deref().is_some_and(Session::is_done);
        // Some client libraries hang up right behind the end mark.
        let end = if end == ExchangeEnd::ClientGone && done { ExchangeEnd::Complete } else { end };
        self.end_body(
            now,
            match end {
                ExchangeEnd::Complete => BodyEnd::Complete,
                ExchangeEnd::UpstreamFailed => BodyEnd::Reset,
                ExchangeEnd::ClientGone => BodyEnd::ClientGone,
            },
        );
        self.fold(now);
        self.proxy.metrics.note_held(self.held.take(), None);
        let took = now.saturating_duration_since(self.started);
        if let Some(recording) = self.recording.take() {
            recording.finish(self.id(), self.started_at.to_string(), self.status, end);
        }
        let head = ExchangeHead {
            id: self.id(),
            request_id: self.request_id.take(),
            started_at: self.started_at.to_string(),
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            route: self.route.route.name.clone(),
            status: self.status,
            end,
            prompt_hmac_sha256: self.prompt_hash.take(),
        };
        let closing = Closing {
            proxy: Arc::clone(&self.proxy),
            head,
            mode: self.route.mode(),
            session: self.session.take(),
            own_bytes: std::mem::take(&mut self.own_bytes_folded),
            took,
        };
        closing.finish(self.lane.take(), self.consultation.take());
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.finish(ExchangeEnd::ClientGone);
    }
}

/// A request id that may stand in a record: visible ASCII, and not long.
fn readable_id(value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?;
    (text.len() <= REQUEST_ID_BYTES).then(|| text.to_owned())
}
