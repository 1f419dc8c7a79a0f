//! The model is asked again, steered, where its thinking was blocked: the new answer goes on in the stream that the
//! client has open, and is guarded as the first one was.
//!
//! The session says when and with what ([`Effect::AskAgain`]); its driver sends the request and tells what comes back.

use std::time::Instant;

use bytes::Bytes;

use crate::{
    channel::Channel,
    classify::Voice,
    dialect::{
        Endpoint, refusal,
        splice::{self, Splice},
        steer::{self, Changes},
    },
    policy::{Action, Mode, OutcomeAction, Verdict},
    record::{AskAgainResult, AskedAgain, ChoiceReport, Cut, Finding, OutcomeAct, UnscannedReason},
    rules::Category,
    wire::is_stream,
};

use super::{
    choice::Choice,
    effect::{BodyEnd, Delivery, Effect, ResponseHead},
    hold_back::HeldFrame,
    judgement::begin,
    machine::Session,
    outcomes, report,
};

/// What is kept to ask again, and how far that is.
#[derive(Debug)]
pub(super) struct Again {
    /// The request as the caller meant it, without what policy has added; else why it cannot be sent again.
    request: Result<Bytes, AskAgainResult>,
    phase: Phase,
    pub(super) splice: Splice,
    record: AskedAgain,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nobody has been asked again.
    Ready,
    /// The request is on its way; the first text of the answer is due then.
    Asked(Instant),
    /// The answer has begun.
    Answered(Instant),
    /// It was to be asked again and was not, or there is no answer.
    Failed,
}

/// Why an answer is blocked in its thinking.
struct Why {
    /// What was found in the thinking of the choice that it is about.
    findings: Vec<Finding>,
    cut: Cut,
    /// The outcome that blocks.
    act: Option<OutcomeAct>,
}

/// A request that is sent again.
struct Steered {
    body: Bytes,
    categories: Vec<Category>,
    /// The names of the options that it sets.
    parameters: Vec<String>,
}

// === impl Again ===

impl Again {
    fn new(request: Result<Bytes, AskAgainResult>) -> Box<Self> {
        Box::new(Self {
            request,
            phase: Phase::Ready,
            splice: Splice::default(),
            record: AskedAgain::default(),
        })
    }

    fn fail(&mut self, result: AskAgainResult) {
        self.phase = Phase::Failed;
        self.record.result = result;
    }
}

// === impl AskedAgain ===

impl AskedAgain {
    /// Notes why an answer was blocked; the place is that of the first one.
    fn note(&mut self, why: &Why) {
        self.cut.get_or_insert(why.cut);
        self.outcome = self.outcome.or(why.act);
        for finding in why.findings.iter().filter(|finding| blocks(finding)) {
            if !self.findings.contains(&finding.id) {
                self.findings.push(finding.id.clone());
            }
        }
    }
}

// === impl Session ===

impl Session {
    /// Keeps the request's body, where policy may ask again with it.
    pub(super) fn keep_request(&mut self, body: &Bytes) {
        let ask_again = &self.plan().policy().ask_again;
        if ask_again.is_on() && self.mode() == Mode::Enforce {
            let fits = body.len() <= ask_again.max_request_bytes;
            let kept = if fits { Ok(body.clone()) } else { Err(AskAgainResult::RequestTooLarge) };
            self.again = Some(Again::new(kept));
        }
    }

    /// Takes note that the request cannot be sent again.
    pub(super) fn keep_no_request(&mut self, reason: UnscannedReason) {
        if self.plan().policy().ask_again.is_on() && self.mode() == Mode::Enforce {
            let why = match reason {
                UnscannedReason::BodyTooLarge => AskAgainResult::RequestTooLarge,
                _ => AskAgainResult::NotSteerable,
            };
            self.again = Some(Again::new(Err(why)));
        }
    }

    /// Whether the request may be sent again, so that its driver should keep its head.
    #[must_use]
    pub fn may_ask_again(&self) -> bool {
        self.again.as_ref().is_some_and(|again| again.request.is_ok())
    }

    /// Reads the head of the response to the request of [`Effect::AskAgain`]. Says whether its body is wanted.
    pub fn on_response_again(&mut self, head: &ResponseHead) -> bool {
        let Some(again) = &mut self.again else { return false };
        let Phase::Asked(due) = again.phase else { return false };
        let events = head.content_type.as_deref().is_some_and(is_stream);
        let fits = (200..300).contains(&head.status)
            && !head.undecodable
            && events == (self.delivery == Delivery::Held);
        if fits {
            again.phase = Phase::Answered(due);
            self.content_type.clone_from(&head.content_type);
        } else {
            self.give_up_asking(AskAgainResult::Failed);
        }
        fits
    }

    /// Takes note that there is no response to the request of [`Effect::AskAgain`].
    pub fn on_no_response_again(&mut self) {
        if let Some(Phase::Asked(_)) = self.again.as_ref().map(|again| again.phase) {
            self.give_up_asking(AskAgainResult::Failed);
        }
    }

    /// Until when the first text of the new answer is due, if it is awaited.
    pub(super) fn new_text_due(&self) -> Option<Instant> {
        let again = self.again.as_ref()?;
        match again.phase {
            Phase::Asked(due) => Some(due),
            Phase::Answered(due) => {
                let has_text =
                    |choice: &Choice| self.is_current(choice) && !choice.texts.is_empty();
                (!self.choices.iter().any(has_text)).then_some(due)
            }
            Phase::Ready | Phase::Failed => None,
        }
    }

    /// Takes note that it did not come.
    pub(super) fn stop_awaiting(&mut self) {
        self.give_up_asking(AskAgainResult::TimedOut);
    }

    /// Whether the request of [`Effect::AskAgain`] is on its way.
    pub(super) fn awaits_response(&self) -> bool {
        matches!(self.again.as_ref().map(|again| again.phase), Some(Phase::Asked(_)))
    }

    /// Whether the upstream fails before the client has been sent some of the new answer; then the exchange is ended.
    pub(super) fn fails_again(&mut self, end: BodyEnd) -> bool {
        if !matches!(self.again.as_ref().map(|again| again.phase), Some(Phase::Answered(_))) {
            return false;
        }
        let mut own = self.choices.iter().filter(|choice| self.is_current(choice));
        let fails = match end {
            BodyEnd::ClientGone => false,
            BodyEnd::Reset => !own.any(Choice::has_answered),
            BodyEnd::Complete => own.next().is_none(),
        };
        if fails {
            self.give_up_asking(AskAgainResult::Failed);
        }
        fails
    }

    /// There is no new answer: the first one's end is that of the exchange.
    fn give_up_asking(&mut self, result: AskAgainResult) {
        if let Some(again) = &mut self.again {
            again.fail(result);
        }
        self.action = Action::Block;
        self.stop();
    }

    /// Asks again in place of a block, where policy says so and it can be done.
    pub(super) fn asks_again(&mut self, now: Instant) -> bool {
        let Some(mut again) = self.again.take() else { return false };
        let request = self.new_request(&mut again);
        let asks = request.is_some();
        if let Some(request) = request {
            self.restart(now, &mut again, request);
        }
        self.again = Some(again);
        asks
    }

    /// The request that is sent in place of a block, if one is.
    fn new_request(&self, again: &mut Again) -> Option<Bytes> {
        if again.phase == Phase::Failed || !self.can_go_on() {
            return None;
        }
        let why = self.why_thinking_is_blocked()?;
        again.record.note(&why);
        if again.record.attempts >= self.plan().policy().ask_again.attempts {
            return None;
        }
        match again.request.clone().and_then(|body| self.steered_again(&body, &why.findings)) {
            Ok(Steered { body, categories, parameters }) => {
                again.record.attempts += 1;
                again.record.categories = categories;
                again.record.parameters = parameters;
                Some(body)
            }
            Err(result) => {
                again.fail(result);
                None
            }
        }
    }

    /// Whether another answer can take the place of this one.
    fn can_go_on(&self) -> bool {
        let mut own = self.choices.iter().filter(|choice| self.is_current(choice));
        let in_one_piece = match self.delivery {
            Delivery::Held => true,
            Delivery::Whole => self.reads_one_body(),
            Delivery::AsRead => false,
        };
        in_one_piece && !own.any(Choice::has_answered)
    }

    /// What blocks the thinking, if anything does.
    fn why_thinking_is_blocked(&self) -> Option<Why> {
        let policy = self.plan().policy();
        let is_hidden = self.plan().hides_leaky_thinking();
        let mut why: Option<Why> = None;
        for choice in self.choices.iter().filter(|choice| self.is_current(choice)) {
            let mut findings = report::choice_findings(self, choice);
            findings.retain(|finding| {
                finding.channel == Channel::Thinking
                    && policy.mode_of(finding.channel, finding.category) == Mode::Enforce
            });
            let act = outcomes::act_on(policy, choice.index, &findings);
            let act = act.filter(|act| act.action == OutcomeAction::Block);
            let blocks = findings.iter().filter(|finding| blocks(finding) && !is_hidden);
            let places = blocks.map(begin).chain(act.map(|act| act.char));
            let Some(char) = places.min() else { continue };
            let (choice, channel) = (Some(choice.index), Channel::Thinking);
            let cut = Cut { choice, channel, char, seen_chars: char };
            if why.as_ref().is_none_or(|why| cut.seen_chars < why.cut.seen_chars) {
                why = Some(Why { findings, cut, act });
            }
        }
        why
    }

    /// The request with safety rules for what was flagged in the prompt and in the thinking.
    fn steered_again(&self, body: &Bytes, findings: &[Finding]) -> Result<Steered, AskAgainResult> {
        if !self.dialect.is_completions() {
            return Err(AskAgainResult::NotSteerable);
        }
        let policy = self.plan().policy();
        let flagged = findings.iter().filter(|finding| finding.verdict >= Verdict::Flag);
        let (mut categories, _) = self.flagged_in_prompt();
        categories.extend(flagged.filter_map(|finding| finding.category));
        categories.sort_unstable();
        categories.dedup();
        let parameters = policy.ask_again.parameters(&policy.steering);
        let endpoint = self.endpoint.unwrap_or(Endpoint::ChatCompletions);
        let text = std::str::from_utf8(body).map_err(|_| AskAgainResult::NotSteerable)?;
        let changed = |system: &str| {
            steer::steered(endpoint, text, Changes { system, parameters: Some(&parameters) })
        };
        // A prompt of token ids has no place for rules; options alone may do.
        let bare = || changed("").filter(|_| !parameters.is_empty());
        let body = changed(&policy.steering.text(&categories)).or_else(bare);
        let body = body.ok_or(AskAgainResult::NotSteerable)?.into();
        Ok(Steered { body, categories, parameters: parameters.into_keys().collect() })
    }

    /// Leaves the answer that was blocked, and reads another one from now on.
    fn restart(&mut self, now: Instant, again: &mut Again, request: Bytes) {
        self.leave_answer();
        let usage = self.usage.take();
        again.splice.usage = match (again.splice.usage.take(), &usage) {
            (Some(before), Some(usage)) => splice::sum(&before, usage).or(Some(before)),
            (before, usage) => before.or_else(|| usage.clone()),
        };
        again.record.usages.push(usage);
        if self.choices.iter().any(|choice| choice.named) {
            again.splice.identity.get_or_insert_with(|| self.refusal_identity());
        } else {
            self.forget_identity();
        }
        self.action = self.action.max(Action::Steer);
        again.phase = Phase::Asked(now + self.plan().policy().ask_again.timeout);
        self.effects.push_back(Effect::AskAgain(request));
    }

    /// How a choice of the present answer begins.
    pub(super) fn begin_choice(&self, choice: &mut Choice) {
        choice.attempt = self.attempt;
        let earlier = self.choices.iter().rfind(|earlier| earlier.index == choice.index);
        if self.attempt > 0 {
            let settings = self.plan().settings();
            let start = self.plan().policy().ask_again.thinking.unwrap_or(settings.thinking);
            choice.go_on_from(earlier, start);
        }
        if self.reading.hides_from_here {
            choice.hide_from_here();
        }
    }

    /// What is written before a frame so that it may follow what an earlier answer has sent.
    pub(super) fn write_seam(&mut self, held: &HeldFrame) {
        if self.attempt == 0 || self.delivery != Delivery::Held {
            return;
        }
        for leaf in &held.leaves {
            let Some(choice) = self.choices.get_mut(leaf.choice) else { continue };
            let index = choice.index;
            if let Some(tag) = choice.tag_before(leaf.content_end()) {
                let event = refusal::text_event(self.dialect, &self.refusal_identity(), index, tag);
                self.effects.push_back(Effect::Forward(event));
            }
        }
        if held.is_end_mark() {
            let missing: Vec<_> = self
                .last_choices()
                .filter(|choice| !self.is_current(choice) && choice.named)
                .map(|choice| self.end_of(choice))
                .collect();
            if !missing.is_empty() {
                let ends = refusal::choice_ends(self.dialect, &self.refusal_identity(), &missing);
                self.effects.push_back(Effect::Forward(ends));
            }
        }
    }

    /// A frame's bytes in the stream of an earlier answer: a byte order mark stands at a stream's beginning alone.
    pub(super) fn behind_seam(&self, bytes: Bytes) -> Bytes {
        let spliced = self.attempt > 0 && self.delivery == Delivery::Held;
        if spliced && bytes.starts_with(b"\xef\xbb\xbf") { bytes.slice(3..) } else { bytes }
    }

    /// Whether a choice belongs to the answer that is being read.
    pub(super) fn is_current(&self, choice: &Choice) -> bool {
        choice.attempt == self.attempt
    }

    /// Whether a choice belongs to the last answer that has any.
    pub(super) fn is_of_last(&self, choice: &Choice) -> bool {
        self.choices.last().is_none_or(|last| last.attempt == choice.attempt)
    }

    /// The choices as the client knows them: those of the last answer, and others that only an earlier one had.
    pub(super) fn last_choices(&self) -> impl Iterator<Item = &Choice> {
        self.choices.iter().filter(|choice| {
            let is_later =
                |other: &Choice| other.index == choice.index && other.attempt > choice.attempt;
            !self.choices.iter().any(is_later)
        })
    }

    /// Whether what is said of a voice is about what is being read.
    pub(super) fn is_current_voice(&self, voice: Voice) -> bool {
        match voice {
            Voice::Prompt => true,
            Voice::Choice(position) => {
                self.choices.get(position).is_none_or(|choice| self.is_current(choice))
            }
        }
    }

    /// The usage of all requests.
    pub(super) fn usage_of_all(&self) -> Option<String> {
        let before = self.again.as_ref().and_then(|again| again.splice.usage.as_deref());
        match (before, self.usage.as_deref()) {
            (Some(before), Some(last)) => splice::sum(before, last),
            (before, last) => last.or(before).map(str::to_owned),
        }
    }

    /// How the model was asked again, if it was to be; `earlier` gives the choices of the answers that were ended.
    pub(super) fn asked_again(
        &self,
        earlier: impl FnOnce() -> Vec<ChoiceReport>,
    ) -> Option<Box<AskedAgain>> {
        let again = self.again.as_ref()?;
        let result = match again.phase {
            Phase::Ready => return None,
            Phase::Failed => again.record.result,
            _ if matches!(self.action, Action::Block | Action::FailClosed) => {
                AskAgainResult::Blocked
            }
            Phase::Asked(_) => AskAgainResult::ClientGone,
            Phase::Answered(_) if !self.choices.iter().any(|choice| self.is_current(choice)) => {
                AskAgainResult::ClientGone
            }
            Phase::Answered(_) => AskAgainResult::Answered,
        };
        let mut record = again.record.clone();
        record.result = result;
        if record.attempts > 0 {
            record.usages.push(self.usage.clone());
        }
        record.choices = earlier();
        Some(Box::new(record))
    }
}

fn blocks(finding: &Finding) -> bool {
    finding.verdict == Verdict::Block
}
