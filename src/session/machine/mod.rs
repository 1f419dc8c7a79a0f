//! The state machine: its state, what it is told, what it tells.
//!
//! How frames are read is in `frames`, how they leave in `delivery`, how an exchange ends that is not let through in `endings`.

mod delivery;
mod endings;
mod frames;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use bytes::{Bytes, BytesMut};

use crate::{
    channel::Channel,
    classify::{CHANNELS, Passage, Scores, Voice},
    consult::{Opinion, Question},
    dialect::{Dialect, Endpoint, chunk::Envelope, request::Request, vocabulary::Vocabulary},
    policy::{Action, Mode, OnFailure},
    record::{
        ByteCounts, ClassifierFailure, ExchangeReport, HoldReason, Progress, RemoteFailure,
        UnscannedReason,
    },
    wire::{Frame, Framer, Payload, is_stream},
};

use super::{
    asking_again::Again,
    choice::{Choice, Reading},
    effect::{BodyEnd, Delivery, Effect, Identity, ResponseHead},
    hold_back::HoldBack,
    plan::Plan,
    report,
    text_stream::ReadText,
    together::Together,
};

pub(super) use endings::json_response;

/// What a session keeps beside what it must.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// The channels' texts, for a report with texts and their digests: at most so many bytes of each text (a prompt,
    /// a choice's thinking, one tool call's arguments), and 16 times as many of all of them. None where absent.
    pub text: Option<usize>,
    /// How the risk rose along the text.
    pub trajectory: bool,
}

/// One exchange.
#[derive(Debug)]
pub struct Session {
    pub(super) reading: Reading,
    pub(super) endpoint: Option<Endpoint>,
    pub(super) keep: Keep,
    /// What is kept to ask again, where policy may.
    pub(super) again: Option<Box<Again>>,
    /// How often the model was asked again.
    pub(super) attempt: u8,
    /// The client was told the outcome.
    pub(super) told_outcome: bool,
    identity: Identity,
    pub(super) model: Option<String>,
    pub(super) wants_usage: bool,
    pub(super) wants_stream: bool,
    pub(super) prompt: Option<ReadText>,
    pub(super) delivery: Delivery,
    /// When the first bytes of a body that is delivered whole came, and how many have come.
    gathered: Option<(Instant, u64)>,
    pub(super) content_type: Option<String>,
    body: Body,
    pub(super) together: Together,
    pub(super) vocabulary: Vocabulary,
    pub(super) dialect: Dialect,
    pub(super) choices: Vec<Choice>,
    envelope: OwnedEnvelope,
    pub(super) usage: Option<String>,
    usage_sent: bool,
    hold: HoldBack,
    pub(super) effects: VecDeque<Effect>,
    pub(super) upstream_error: bool,
    /// Some frame, or all of the body, could not be read.
    pub(super) unreadable: bool,
    pub(super) action: Action,
    /// Policy would have changed the request, were it not for the mode.
    pub(super) would_steer: bool,
    /// The request was answered here, and never sent.
    pub(super) refused: bool,
    /// The body has ended, and what is held waits for its scores alone.
    over: bool,
    ended: bool,
    /// The end mark was read.
    done: bool,
    pub(super) unscanned: BTreeMap<(Option<Channel>, UnscannedReason), u64>,
    told: ByteCounts,
    holds: Vec<(HoldReason, std::time::Duration)>,
    first_text_told: bool,
}

/// How far the body's framing is known.
#[derive(Debug)]
enum Body {
    /// Bytes that do not tell yet.
    Sniffing(BytesMut),
    Framed(Framer),
    /// Not to be read, for this reason.
    Opaque(UnscannedReason),
}

/// Raw JSON values of the first frame that named itself.
#[derive(Debug, Default)]
struct OwnedEnvelope {
    id: Option<String>,
    created: Option<String>,
    model: Option<String>,
}

// === impl Session ===

impl Session {
    /// A session for a request to `endpoint`; without one, the first frame that tells the dialect decides how the
    /// response is read.
    #[must_use]
    pub fn new(plan: Arc<Plan>, endpoint: Option<Endpoint>, identity: Identity) -> Self {
        Self {
            reading: Reading::new(plan),
            endpoint,
            keep: Keep::default(),
            again: None,
            attempt: 0,
            told_outcome: false,
            identity,
            model: None,
            wants_usage: false,
            wants_stream: false,
            prompt: None,
            delivery: Delivery::AsRead,
            gathered: None,
            content_type: None,
            body: Body::Sniffing(BytesMut::new()),
            together: Together::default(),
            vocabulary: Vocabulary::of(endpoint),
            dialect: endpoint.map_or(Dialect::Unknown, Endpoint::dialect),
            choices: Vec::new(),
            envelope: OwnedEnvelope::default(),
            usage: None,
            usage_sent: false,
            hold: HoldBack::default(),
            effects: VecDeque::new(),
            upstream_error: false,
            unreadable: false,
            action: Action::Forward,
            would_steer: false,
            refused: false,
            over: false,
            ended: false,
            done: false,
            unscanned: BTreeMap::new(),
            told: ByteCounts::default(),
            holds: Vec::new(),
            first_text_told: false,
        }
    }

    /// Keeps more than is needed; call it before anything else.
    #[must_use]
    pub fn keeping(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self.reading.keep_texts(keep.text);
        self
    }

    pub(super) fn plan(&self) -> &Arc<Plan> {
        &self.reading.plan
    }

    // --- the response ---

    /// Reads the response's head.
    pub fn on_response(&mut self, head: &ResponseHead) -> Delivery {
        self.content_type.clone_from(&head.content_type);
        let good = (200..300).contains(&head.status);
        self.upstream_error |= head.status >= 400;
        if head.undecodable {
            self.body = Body::Opaque(UnscannedReason::Encoding);
            self.unreadable = true;
        }
        if good && self.plan().enforces_responses() {
            let streams =
                head.content_type.as_deref().is_some_and(is_stream) || self.streams_json();
            self.delivery = if streams { Delivery::Held } else { Delivery::Whole };
            self.reading.holding = true;
        }
        self.delivery
    }

    /// Whether the response is a stream that may call itself plain JSON.
    fn streams_json(&self) -> bool {
        self.endpoint == Some(Endpoint::GeminiArray)
            || (self.wants_stream && self.dialect == Dialect::Ollama)
    }

    /// Reads a chunk of the (decoded) response body.
    pub fn on_chunk(&mut self, now: Instant, chunk: Bytes) {
        if self.ended {
            return;
        }
        if self.delivery == Delivery::Whole {
            let (_, bytes) = self.gathered.get_or_insert((now, 0));
            *bytes += chunk.len() as u64;
        }
        match &mut self.body {
            Body::Sniffing(head) => {
                head.extend_from_slice(&chunk);
                self.sniff(now, false);
            }
            Body::Framed(framer) => {
                framer.push(chunk);
                self.read_frames(now);
            }
            Body::Opaque(reason) => {
                let reason = *reason;
                self.pass_unread(
                    now,
                    Frame { raw: chunk, payload: Payload::Empty, error_field: false },
                    reason,
                );
            }
        }
    }

    /// Tells that [`Session::deadline`] has passed.
    pub fn on_timeout(&mut self, now: Instant) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            if self.new_text_due().is_some_and(|due| due <= now) {
                return self.stop_awaiting();
            }
            self.stop_holding(now);
        }
    }

    /// Tells that the response body has ended.
    pub fn on_end(&mut self, now: Instant, end: BodyEnd) {
        if self.ended {
            return;
        }
        if self.over {
            // Only a client that leaves can change anything.
            if end == BodyEnd::ClientGone {
                self.drop_held();
                self.ended = true;
            }
            return;
        }
        if let Body::Sniffing(_) = self.body {
            self.sniff(now, true);
        }
        // Half a frame of a body that broke off is nobody's text; where it is held, it is dropped.
        let broken = self.reading.holding && end != BodyEnd::Complete;
        let last = match &mut self.body {
            Body::Framed(framer) if !broken => framer.finish(),
            Body::Framed(_) | Body::Sniffing(_) | Body::Opaque(_) => None,
        };
        if let Some(frame) = last {
            self.read_frame(now, frame);
        }
        if self.awaits_response() && end != BodyEnd::ClientGone || self.fails_again(end) {
            return;
        }
        self.finish_choices();
        self.reading.end_detectors();
        if end == BodyEnd::ClientGone {
            self.drop_held();
            self.ended = true;
            return;
        }
        self.over = true;
        self.act(now);
        self.end_if_over(now);
    }

    fn drop_held(&mut self) {
        self.hold.clear();
        self.effects.clear();
    }

    /// Ends with the body, once nothing of it waits for its scores.
    fn end_if_over(&mut self, now: Instant) {
        let waits = matches!(self.hold.front(self.deciding()), Some((HoldReason::Classifier, _)));
        if self.over && !self.ended && !waits {
            self.tell_outcome_in_head();
            self.note_whole_body_released(now);
            self.ended = true;
        }
    }

    /// Whether the body has ended and something of it waits for its scores.
    #[must_use]
    pub const fn awaits_scores(&self) -> bool {
        self.over && !self.ended
    }

    /// Notes how long a body that is delivered whole, and now is, had waited.
    fn note_whole_body_released(&mut self, now: Instant) {
        if let Some((since, _)) = self.gathered {
            let waited = now.saturating_duration_since(since);
            if !waited.is_zero() {
                self.holds.push((HoldReason::Body, waited));
            }
        }
    }

    /// Reads a trace instead of a wire: its texts, whole.
    pub fn on_trace(&mut self, prompt: Option<&str>, thinking: Option<&str>, answer: Option<&str>) {
        self.dialect = Dialect::Trace;
        if let Some(prompt) = prompt {
            self.read_prompt(&Request { texts: vec![prompt.into()], ..Request::default() });
        }
        let mut choice = Choice::new(0, 0, &self.reading.plan);
        self.reading.speak(Voice::Choice(0));
        for (channel, text) in [(Channel::Thinking, thinking), (Channel::Answer, answer)] {
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                choice.take_text(&mut self.reading, channel, text);
            }
        }
        choice.finish(&mut self.reading);
        self.choices.push(choice);
        self.ended = true;
        self.reading.end_detectors();
    }

    /// Whether the stream's end mark was read: a client that leaves behind it has got everything.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.done
    }

    /// The next thing to do.
    pub fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    // --- the classifier ---

    /// The next stretch of text that is to be scored, where a classifier reads along.
    pub fn next_passage(&mut self) -> Option<Passage> {
        self.reading.scoring.as_mut()?.next_passage()
    }

    /// Takes in what a voice's text has shown so far; it replaces what was told before.
    pub fn on_scores(&mut self, now: Instant, voice: Voice, scores: Scores) {
        let is_current = self.is_current_voice(voice);
        let Reading { plan, scoring, blocked, has_news, .. } = &mut self.reading;
        let Some(scoring) = scoring else { return };
        *blocked |= scoring.take_scores(plan, voice, scores) && is_current;
        *has_news = true;
        self.act(now);
        self.end_if_over(now);
    }

    /// Takes note that a voice's scores end where they stand. Where they could have ended the exchange in enforce mode,
    /// this ends it, or is recorded as a failure that let it pass.
    pub fn on_classifier_failure(
        &mut self,
        now: Instant,
        voice: Voice,
        failure: ClassifierFailure,
    ) {
        let Reading { plan, scoring: Some(scoring), .. } = &mut self.reading else { return };
        scoring.fail(voice, failure);
        let (stops, on_failure) = (plan.classifier_stops(channels_of(voice)), scoring.on_failure());
        self.note_failure(stops && self.is_current_voice(voice), on_failure);
        self.act(now);
        self.end_if_over(now);
    }

    /// Whether scores or opinions may end the exchange, so that they should be told at once.
    #[must_use]
    pub fn acts_on_scores(&self) -> bool {
        let plan = self.plan();
        plan.classifier_stops(&CHANNELS)
            || plan.consultant_stops(&CHANNELS)
            || plan.acts_on_outcomes()
    }

    /// Whether some text waits until it has been scored.
    #[must_use]
    pub fn gates(&self) -> bool {
        self.plan().gates(&CHANNELS)
    }

    // --- the guard model elsewhere ---

    /// The next question that is to be asked, where a guard model is.
    pub fn next_question(&mut self) -> Option<Question> {
        self.reading.consulting.as_mut()?.next_question()
    }

    /// Takes in the answer to a question, or why there is none.
    pub fn on_opinion(&mut self, now: Instant, id: u64, answer: Result<Opinion, RemoteFailure>) {
        let consulting = self.reading.consulting.as_deref();
        let voice = consulting.and_then(|consulting| consulting.voice_of(id));
        let is_current = voice.is_some_and(|voice| self.is_current_voice(voice));
        let Reading { plan, consulting: Some(consulting), blocked, has_news, .. } =
            &mut self.reading
        else {
            return;
        };
        let Some(consultant) = plan.consultant() else { return };
        if let Ok(opinion) = answer {
            *blocked |= consulting.take_opinion(plan, consultant, id, &opinion) && is_current;
            *has_news = true;
        } else {
            let channels = consulting.fail(id);
            let (stops, on_failure) = (plan.consultant_stops(channels), consultant.on_failure);
            self.note_failure(stops && is_current, on_failure);
        }
        self.act(now);
        self.end_if_over(now);
    }

    /// A detector has failed; `stops` says whether it could have ended the exchange.
    fn note_failure(&mut self, stops: bool, on_failure: OnFailure) {
        // What has left cannot be ended any more.
        if stops && (self.ended || on_failure == OnFailure::Open) {
            self.action = self.action.max(Action::FailOpen);
        } else {
            self.reading.failed |= stops;
        }
    }

    /// Nobody waits for scores and answers any more: what has none has failed.
    pub fn close(&mut self) {
        if let Some(scoring) = &mut self.reading.scoring {
            scoring.close();
        }
        if let Some(consulting) = &mut self.reading.consulting {
            consulting.close();
        }
    }

    /// When [`Session::on_timeout`] is due, if ever.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.ended || self.delivery == Delivery::AsRead {
            return None;
        }
        self.new_text_due().into_iter().chain(self.held_until()).min()
    }

    /// How long the first frame may still be held, if that is bounded.
    fn held_until(&self) -> Option<Instant> {
        let (reason, since) = self.hold.front(self.deciding())?;
        let waits_for_a_detector = match reason {
            HoldReason::Classifier => true,
            HoldReason::Rules | HoldReason::Tag => self.delivery == Delivery::Held,
            HoldReason::Undecided | HoldReason::ToolCall | HoldReason::Body => false,
        };
        waits_for_a_detector.then(|| since + self.plan().settings().hold.deadline)
    }

    /// Whether anything is held.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        !self.ended && (self.gathered.is_some() || self.hold.bytes() > 0)
    }

    /// What has changed since the last call.
    pub fn take_progress(&mut self) -> Progress {
        let now = report::totals(self, self.delivery == Delivery::AsRead);
        let bytes = report::difference(&now, &self.told);
        self.told = now;
        let first_text =
            !self.first_text_told && self.choices.iter().any(|choice| !choice.texts.is_empty());
        self.first_text_told |= first_text;
        let held = if let Some((_, bytes)) = self.gathered {
            (!self.ended).then_some((HoldReason::Body, bytes))
        } else {
            let front = self.hold.front(self.deciding());
            front.map(|(reason, _)| (reason, self.hold.bytes() as u64))
        };
        let scoring = self.reading.scoring.as_mut();
        Progress {
            bytes,
            classifier_failures: scoring.map(|scoring| scoring.take_failures()).unwrap_or_default(),
            findings: report::new_findings(self),
            holds: std::mem::take(&mut self.holds),
            held,
            first_text,
        }
    }

    /// What the exchange has shown; call it once, after the end.
    pub fn report(&mut self) -> ExchangeReport {
        self.close();
        report::report(self, self.delivery == Delivery::AsRead)
    }

    // --- what is known of it ---

    pub(super) fn note_unscanned(
        &mut self,
        channel: Option<Channel>,
        reason: UnscannedReason,
        bytes: u64,
    ) {
        *self.unscanned.entry((channel, reason)).or_default() += bytes;
    }

    /// The dialect of the exchange, once it is known.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The mode that the exchange runs under.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.plan().policy().mode
    }
}

// === impl OwnedEnvelope ===

impl OwnedEnvelope {
    /// Keeps the first values that say something (Azure's first chunk has an empty id).
    fn keep(&mut self, envelope: &Envelope<'_>) {
        let names = [
            (&mut self.id, envelope.id),
            (&mut self.created, envelope.created),
            (&mut self.model, envelope.model),
        ];
        for (kept, value) in names {
            if kept.is_none()
                && let Some(value) = value.filter(|value| !matches!(*value, "\"\"" | "null" | "0"))
            {
                *kept = Some(value.to_owned());
            }
        }
    }

    fn borrow(&self) -> Envelope<'_> {
        Envelope {
            id: self.id.as_deref(),
            created: self.created.as_deref(),
            model: self.model.as_deref(),
            object: None,
        }
    }
}

/// The channels that have no whole scores where a voice has none: without the prompt's no choice's are.
const fn channels_of(voice: Voice) -> &'static [Channel] {
    match voice {
        Voice::Prompt => &CHANNELS,
        Voice::Choice(_) => &[Channel::Thinking, Channel::Answer],
    }
}
