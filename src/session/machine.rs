//! The state machine.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
    sync::Arc,
    time::Instant,
};

use bytes::{Bytes, BytesMut};

use crate::{
    channel::Channel,
    classify::{CHANNELS, Passage, Scores, Voice},
    consult::{Opinion, Question},
    dialect::{
        Dialect, Endpoint,
        chunk::{Array, Chunk, Envelope, Opaque, Piece},
        refusal::{self, Ending},
        request::Request,
        vocabulary::Vocabulary,
    },
    policy::{Action, Mode, OnFailure, OnUnscanned},
    record::{
        ByteCounts, ClassifierFailure, ExchangeReport, HoldReason, Progress, RemoteFailure,
        UnscannedReason,
    },
    wire::{Frame, Framer, Framing, Payload, is_stream, sniff},
};

use super::{
    asking_again::Again,
    choice::{Choice, Leaf, Reading, Shows},
    effect::{BodyEnd, Delivery, Effect, Identity, LocalResponse, ResponseHead},
    hold_back::{Deciding, HeldFrame, HoldBack},
    plan::{OnDeadline, Plan},
    redaction::{self, Edited, Editing},
    report,
    text_stream::ReadText,
    together::Together,
};

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

    // --- frames ---

    fn sniff(&mut self, now: Instant, at_end: bool) {
        let Body::Sniffing(head) = &mut self.body else { return };
        let framing = match sniff(self.content_type.as_deref(), head) {
            Ok(Some(framing)) => framing,
            Ok(None) if !at_end => return,
            Ok(None) => Framing::Sse,
            Err(_) => {
                let head = std::mem::take(head).freeze();
                self.body = Body::Opaque(UnscannedReason::ContentType);
                self.unreadable = true;
                self.on_chunk(now, head);
                return;
            }
        };
        let head = std::mem::take(head).freeze();
        self.vocabulary.note_framing(framing);
        let mut framer = Framer::new(framing, self.plan().settings().limits.frame_bytes);
        framer.push(head);
        self.body = Body::Framed(framer);
        self.read_frames(now);
    }

    fn read_frames(&mut self, now: Instant) {
        while !self.ended {
            let Body::Framed(framer) = &mut self.body else { break };
            if let Some(length) = framer.rest().and_then(|bytes| self.together.takes_next(bytes)) {
                framer.pass(length);
                continue;
            }
            let Some(frame) = framer.next_frame() else { break };
            if !self.together.takes(&frame) {
                self.read_together();
                self.read_frame(now, frame);
            }
        }
        self.read_together();
    }

    /// Reads the text of frames that were like the one before them.
    fn read_together(&mut self) {
        let Some(piece) = self.together.take() else { return };
        self.vocabulary.go_on(&piece.text);
        let mut carries = Carries::default();
        self.read_pieces(&[piece], &mut carries);
        self.note_passed(&carries.unscanned);
    }

    fn read_frame(&mut self, now: Instant, frame: Frame) {
        self.together.forget();
        match &frame.payload {
            Payload::TooLarge => {
                let whole = matches!(&self.body, Body::Framed(Framer::Whole(_)));
                let reason = if whole {
                    UnscannedReason::BodyTooLarge
                } else {
                    UnscannedReason::FrameTooLarge
                };
                return self.pass_unread(now, frame, reason);
            }
            Payload::Empty => return self.hold_frame(now, HeldFrame::new(frame, now)),
            Payload::Slice(_) | Payload::Joined(_) => {}
        }
        if frame.data().trim_ascii().is_empty() {
            return self.hold_frame(now, HeldFrame::new(frame, now));
        }
        if let Some(held) = self.read_payload(now, frame) {
            self.hold_frame(now, held);
        }
    }

    /// Reads the frame's text; gives it back with what it carries where it has to wait its turn.
    fn read_payload(&mut self, now: Instant, frame: Frame) -> Option<HeldFrame> {
        let data = frame.data();
        // The lossy reading checks byte by byte, the strict one many at a time.
        let payload = str::from_utf8(data)
            .map_or_else(|_| String::from_utf8_lossy(data), std::borrow::Cow::Borrowed);
        let chunk = self.vocabulary.read(&payload, frame.error_field);
        let mut carries = Carries::default();
        if matches!(payload, std::borrow::Cow::Owned(_)) {
            // What a tolerant client would read was read; the rest is nobody's.
            carries.unscanned.push((None, UnscannedReason::Encoding, data.len() as u64));
        }
        self.read_chunk(&chunk, &mut carries);
        // When a guard model is asked may depend on how the text came.
        if !self.reading.holding && self.reading.consulting.is_none() {
            self.together.begin(&frame, &chunk);
        }
        let (known, is_error) = (chunk.known, chunk.error);
        drop(chunk);
        drop(payload);
        if !known {
            self.pass_unread(now, frame, UnscannedReason::Shape);
            return None;
        }
        if is_error && self.fails_again(BodyEnd::Reset) {
            return None;
        }
        if !self.reading.holding {
            self.note_passed(&carries.unscanned);
            return None;
        }
        Some(carries.of(frame, now))
    }

    fn read_chunk(&mut self, chunk: &Chunk<'_>, carries: &mut Carries) {
        self.upstream_error |= chunk.error;
        self.envelope.keep(&chunk.envelope);
        if let Some(usage) = chunk.usage {
            let kept = self.usage.get_or_insert_default();
            kept.clear();
            kept.push_str(usage);
        }
        carries.tells_usage = chunk.usage.is_some() && chunk.choices.is_empty();
        if self.dialect == Dialect::Unknown {
            self.dialect = self.vocabulary.dialect(chunk).unwrap_or_default();
        }
        self.read_pieces(&chunk.pieces, carries);
        for &(index, kind, bytes) in &chunk.opaque {
            self.note_opaque(index, kind, bytes, carries);
        }
        for &(index, call) in &chunk.ended_calls {
            if let Some(position) = self.choice(index)
                && let Some(choice) = self.choices.get_mut(position)
            {
                choice.end_call(&mut self.reading, call);
            }
        }
        for &(index, finished) in &chunk.choices {
            let Some(position) = self.choice(index) else { continue };
            if self.reading.holding {
                carries.names.push((position, finished));
            }
            if finished && let Some(choice) = self.choices.get_mut(position) {
                choice.pause_all(&mut self.reading);
            }
        }
        if self.reading.holding {
            carries.arrays.clone_from(&chunk.arrays);
            carries.unread.clone_from(&chunk.unread);
        }
        if chunk.done {
            self.done = true;
            self.finish_choices();
        }
    }

    fn read_pieces(&mut self, pieces: &[Piece<'_>], carries: &mut Carries) {
        for pieces in pieces.chunk_by(|left, right| left.choice == right.choice) {
            let Some(first) = pieces.first() else { continue };
            if let Some(position) = self.choice(first.choice)
                && let Some(choice) = self.choices.get_mut(position)
            {
                self.reading.speak(Voice::Choice(position));
                choice.take(&mut self.reading, pieces, &mut carries.leaves);
            } else {
                let bytes = pieces.iter().map(|piece| piece.text.len() as u64).sum();
                carries.unscanned.push((None, UnscannedReason::Field, bytes));
                self.unreadable = true;
            }
        }
    }

    fn note_opaque(&mut self, index: u32, kind: Opaque, bytes: usize, carries: &mut Carries) {
        let (channel, reason) = match kind {
            // What it signs was read.
            Opaque::Signature => return self.note_signature(index, carries),
            Opaque::Field => (None, UnscannedReason::Field),
            Opaque::Encrypted => (Some(Channel::Thinking), UnscannedReason::Encrypted),
            Opaque::Media => (Some(Channel::Answer), UnscannedReason::Media),
        };
        carries.unscanned.push((channel, reason, bytes as u64));
        if channel.is_some()
            && let Some(position) = self.choice(index)
            && let Some(choice) = self.choices.get_mut(position)
        {
            choice.unjudged = true;
            choice.encrypted |= kind == Opaque::Encrypted;
        }
    }

    fn note_signature(&mut self, index: u32, carries: &mut Carries) {
        if let Some(position) = self.choice(index)
            && let Some(choice) = self.choices.get_mut(position)
        {
            choice.signed = true;
            carries.signs.push(position);
        }
    }

    /// The position of the choice with this index; none past the limit.
    fn choice(&mut self, index: u32) -> Option<usize> {
        let is_it = |choice: &Choice| choice.index == index && self.is_current(choice);
        if let Some(position) = self.choices.iter().position(is_it) {
            return Some(position);
        }
        let own = self.choices.iter().filter(|choice| self.is_current(choice)).count();
        if own >= self.plan().settings().limits.choices {
            return None;
        }
        let position = self.choices.len();
        let mut choice = Choice::new(index, position, &self.reading.plan);
        self.begin_choice(&mut choice);
        // Nearly every exchange has one.
        self.choices.reserve_exact(1);
        self.choices.push(choice);
        Some(position)
    }

    fn finish_choices(&mut self) {
        for choice in &mut self.choices {
            choice.finish(&mut self.reading);
        }
    }

    // --- what leaves ---

    /// Takes a frame that was read: in enforce mode it waits its turn, else the shell has forwarded it already.
    fn hold_frame(&mut self, now: Instant, mut frame: HeldFrame) {
        if self.reading.holding {
            if self.gates() {
                frame.wait_for_scores();
            }
            self.hold.push(frame);
            self.act(now);
        } else {
            self.note_passed(&frame.unscanned);
        }
    }

    /// Notes what nobody has read of a frame that has left.
    fn note_passed(&mut self, unscanned: &[Unscanned]) {
        let hides_sealed =
            self.reading.holding && self.hides_thinking() && self.dialect.hides_whole_fields();
        for &(channel, reason, bytes) in unscanned {
            if !(hides_sealed && reason == UnscannedReason::Encrypted) {
                self.note_unscanned(channel, reason, bytes);
            }
        }
    }

    /// Bytes that nobody can read: counted, and in enforce mode blocked unless policy lets them pass.
    fn pass_unread(&mut self, now: Instant, frame: Frame, reason: UnscannedReason) {
        self.unreadable = true;
        let mut held = HeldFrame::new(frame, now);
        held.unscanned.push((None, reason, held.frame.raw.len() as u64));
        if self.reading.holding && self.plan().policy().on_unscanned == OnUnscanned::Block {
            return self.fail_closed();
        }
        self.hold_frame(now, held);
    }

    /// Carries out what was found, then lets go whatever is decided.
    fn act(&mut self, now: Instant) {
        if !self.reading.holding || self.ended {
            return;
        }
        if self.plan().acts_on_outcomes() {
            self.act_on_outcomes();
        }
        if self.reading.blocked {
            if self.asks_again(now) {
                return;
            }
            self.action = Action::Block;
            return self.stop();
        }
        if self.reading.failed {
            return self.fail_closed();
        }
        while let Some(frame) = self.pop_decided() {
            self.release(now, &frame);
            if self.ended {
                return;
            }
        }
        if self.delivery == Delivery::Held
            && self.hold.bytes() > self.plan().settings().hold.max_bytes
        {
            self.stop_holding(now);
        }
    }

    fn pop_decided(&mut self) -> Option<HeldFrame> {
        let scoring = self.reading.scoring.as_deref();
        self.hold.pop_decided(Deciding { choices: &self.choices, scoring })
    }

    fn deciding(&self) -> Deciding<'_> {
        Deciding { choices: &self.choices, scoring: self.reading.scoring.as_deref() }
    }

    fn release(&mut self, now: Instant, held: &HeldFrame) {
        let edited = redaction::edited(held, &self.choices, self.editing());
        let Some(edited) = edited.filter(|edited| self.leaves_signed_thinking_alone(held, edited))
        else {
            // A text that must be masked and cannot be: nothing of it may leave.
            self.action = Action::Block;
            return self.stop();
        };
        if edited.masked {
            self.action = self.action.max(Action::Redact);
        }
        if edited.hid {
            self.action = self.action.max(Action::HideThinking);
        }
        for &position in &edited.altered_thinking {
            if let Some(choice) = self.choices.get_mut(position) {
                choice.altered_thinking = true;
            }
        }
        for leaf in &held.leaves {
            if let Some(choice) = self.choices.get_mut(leaf.choice) {
                choice.masked |= edited.masked;
            }
            if let Shows::Source { source, span } = &leaf.shows
                && let Some(choice) = self.choices.get_mut(leaf.choice)
                && let Some(source) = choice.sources.get_mut(*source)
            {
                source.released = source.released.max(span.end);
            }
        }
        let Some(bytes) = edited.bytes else { return };
        self.vocabulary
            .note_sent(edited.data.as_deref().map_or_else(|| held.frame.data(), str::as_bytes));
        self.note_passed(&held.unscanned);
        self.write_seam(held);
        for &(position, finished) in &held.names {
            if let Some(choice) = self.choices.get_mut(position) {
                choice.named = true;
                choice.finished |= finished;
            }
        }
        self.usage_sent |= held.tells_usage;
        let waited = now.saturating_duration_since(held.arrived);
        if !waited.is_zero() && self.delivery == Delivery::Held {
            self.holds.push((held.waited_for.unwrap_or(HoldReason::Rules), waited));
        }
        let bytes = self.with_outcome(held, self.behind_seam(bytes));
        self.effects.push_back(Effect::Forward(bytes));
    }

    fn editing(&self) -> Editing<'_> {
        let spliced = self.again.as_deref().filter(|_| self.attempt > 0);
        Editing {
            dialect: self.dialect,
            mask: self.plan().policy().mask,
            hides_thinking: self.hides_thinking(),
            whole: self.reads_one_body() || matches!(&self.body, Body::Framed(Framer::Array(_))),
            splice: spliced.map(|again| &again.splice),
        }
    }

    /// Whether thinking is not delivered, from the beginning or by now.
    fn hides_thinking(&self) -> bool {
        self.plan().hides_thinking() || self.reading.hides_from_here
    }

    /// Whether the body is one frame.
    pub(super) fn reads_one_body(&self) -> bool {
        matches!(&self.body, Body::Framed(Framer::Whole(_)))
    }

    /// Whether no signature is sent for thinking that was altered.
    fn leaves_signed_thinking_alone(&self, held: &HeldFrame, edited: &Edited) -> bool {
        let choice = |position: &usize| self.choices.get(*position);
        let mut altered = edited.altered_thinking.iter().filter_map(choice);
        let mut signs = held.signs.iter().filter_map(choice);
        self.plan().hides_thinking()
            || !(altered.any(|choice| choice.signed) || signs.any(|choice| choice.altered_thinking))
    }

    /// Frames have waited too long, or are too many.
    fn stop_holding(&mut self, now: Instant) {
        let front = self.hold.front(self.deciding());
        match self.plan().settings().hold.on_deadline {
            OnDeadline::Block => self.fail_closed(),
            OnDeadline::Release => {
                self.action = self.action.max(Action::FailOpen);
                if let Some((HoldReason::Classifier, _)) = front
                    && let Some(scoring) = &mut self.reading.scoring
                {
                    // The rules have read it; what has no score is counted as such.
                    scoring.give_up();
                    self.act(now);
                    return self.end_if_over(now);
                }
                while let Some(mut frame) = self.hold.pop() {
                    let undecided = frame.leaves.iter().map(|leaf| leaf.json.len() as u64).sum();
                    frame.unscanned.push((None, UnscannedReason::Deadline, undecided));
                    self.unreadable = true;
                    self.release(now, &frame);
                }
            }
        }
    }

    fn fail_closed(&mut self) {
        self.action = Action::FailClosed;
        if self.delivery == Delivery::Whole {
            self.hold.clear();
            self.ended = true;
            self.reading.end_detectors();
            let message = "the upstream's response could not be inspected";
            let (kind, code) = ("upstream_error", "uninspectable_response");
            let body = refusal::error_body(self.dialect, message, kind, None, code);
            self.effects.push_back(Effect::Respond(json_response(502, body)));
        } else {
            self.stop();
        }
    }

    /// Ends the exchange with a refusal; what was held is dropped.
    pub(super) fn stop(&mut self) {
        self.finish_choices();
        self.hold.clear();
        self.ended = true;
        self.reading.end_detectors();
        let effect = match self.delivery {
            Delivery::Whole => {
                self.effects.clear();
                Effect::Respond(json_response(200, self.whole_refusal()))
            }
            Delivery::Held | Delivery::AsRead => Effect::Stop(self.stream_refusal()),
        };
        self.effects.push_back(effect);
    }

    /// Leaves the answer that is being read for another one: nothing of it is delivered any more.
    pub(super) fn leave_answer(&mut self) {
        self.finish_choices();
        self.hold.clear();
        if self.delivery == Delivery::Whole {
            self.effects.clear();
        }
        self.reading.end_detectors();
        self.reading.blocked = false;
        self.body = Body::Sniffing(BytesMut::new());
        self.together.forget();
        self.over = false;
        self.done = false;
        self.attempt += 1;
    }

    /// Takes the names of the answer to come, where the client has seen none yet.
    pub(super) fn forget_identity(&mut self) {
        self.envelope = OwnedEnvelope::default();
    }

    /// How a choice that is not finished ends.
    pub(super) fn end_of(&self, choice: &Choice) -> refusal::ChoiceEnd {
        // Where content itself is inside the thinking, the notice would be read as thinking.
        let notice = (!choice.answer_sent()).then(|| self.plan().notice().to_owned());
        refusal::ChoiceEnd {
            index: choice.index,
            role: !choice.named,
            close_tag: notice.as_ref().and_then(|_| choice.tag_to_close()),
            notice,
        }
    }

    fn stream_refusal(&self) -> Bytes {
        let mut ends: Vec<refusal::ChoiceEnd> = self
            .last_choices()
            .filter(|choice| !choice.finished)
            .map(|choice| self.end_of(choice))
            .collect();
        if self.choices.is_empty() {
            let notice = Some(self.plan().notice().to_owned());
            ends.push(refusal::ChoiceEnd { index: 0, role: true, close_tag: None, notice });
        }
        ends.sort_by_key(|end| end.index);
        let wanted = self.wants_usage || self.dialect.tells_usage_unasked();
        let usage = self.usage_of_all().filter(|_| wanted && !self.usage_sent);
        self.stream_end(&ends, usage.as_deref())
    }

    /// What ends a stream in which these choices are not finished.
    pub(super) fn stream_end(&self, choices: &[refusal::ChoiceEnd], usage: Option<&str>) -> Bytes {
        let identity = &self.refusal_identity();
        self.vocabulary.stream_end(self.dialect, &Ending { identity, choices, usage })
    }

    pub(super) fn whole_refusal(&self) -> Bytes {
        let mut indices: Vec<u32> = self.last_choices().map(|choice| choice.index).collect();
        indices.sort_unstable();
        if indices.is_empty() {
            indices.push(0);
        }
        self.vocabulary.whole_body(
            self.dialect,
            &self.refusal_identity(),
            &indices,
            self.plan().notice(),
            self.usage_of_all().as_deref(),
        )
    }

    pub(super) fn refusal_identity(&self) -> refusal::Identity {
        let id = format!("{}{}", self.dialect.id_prefix(), self.identity.id);
        let model = self.model.as_deref().unwrap_or_default();
        refusal::Identity::of(&self.envelope.borrow(), &id, self.identity.created, model)
    }

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

/// Bytes that nobody has read, and why.
type Unscanned = (Option<Channel>, UnscannedReason, u64);

/// What a frame carries, while it is read.
#[derive(Debug, Default)]
struct Carries {
    leaves: Vec<Leaf>,
    arrays: Vec<Array>,
    names: Vec<(usize, bool)>,
    signs: Vec<usize>,
    unread: Vec<Range<usize>>,
    unscanned: Vec<Unscanned>,
    tells_usage: bool,
}

// === impl Carries ===

impl Carries {
    fn of(self, frame: Frame, arrived: Instant) -> HeldFrame {
        let Self { leaves, arrays, names, signs, unread, unscanned, tells_usage } = self;
        HeldFrame {
            leaves,
            arrays,
            names,
            signs,
            unread,
            unscanned,
            tells_usage,
            ..HeldFrame::new(frame, arrived)
        }
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

pub(super) fn json_response(status: u16, body: Bytes) -> LocalResponse {
    LocalResponse { status, content_type: "application/json", body }
}
