//! What a session has to do with the classifier: text goes out as passages, scores come back, whenever they come.
//!
//! Text is handed out once, in the order of its arrival, and nothing waits for its scores. A voice whose classifier
//! has failed is no longer handed out, and what was concluded of it is never called the whole.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    channel::Channel,
    classify::{CHANNELS, Head, News, PartScores, Passage, Rubric, Said, Scores, Voice},
    policy::{Mode, OnFailure, Policy, Verdict},
    record::{ClassifierFailure, Finding},
    rules::{Category, Kind, RuleAction, Severity},
    text::offsets::Origin,
};

use super::{
    plan::{Label, Plan},
    report::CLASSIFIER,
};

/// Whether text waits for its scores, in enforce mode and where the classifier may end the exchange for it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ClassifierHold {
    /// It flows, and the exchange is ended when the score comes.
    #[default]
    Follow,
    /// It waits until it has been scored.
    Gate,
}

/// The classifier's part in a route's plan.
#[derive(Clone, Debug)]
pub struct Judge {
    /// What the scores mean.
    pub rubric: Arc<Rubric>,
    /// What a text that is flagged for its risk asks for.
    pub action: RuleAction,
    /// Whether text waits for its scores.
    pub hold: ClassifierHold,
    /// What happens where scores do not come.
    pub on_failure: OnFailure,
}

/// The classifier's side of one exchange.
#[derive(Debug)]
pub(super) struct Scoring {
    judge: Judge,
    /// Whose text comes.
    voice: Voice,
    passages: VecDeque<Passage>,
    voices: BTreeMap<Voice, Scored>,
    /// Failures that the session has found itself, and not handed to the metrics yet.
    own_failures: Vec<ClassifierFailure>,
}

/// What is known of one voice.
#[derive(Debug, Default)]
struct Scored {
    scores: Scores,
    failed: Option<ClassifierFailure>,
    ended: bool,
    /// Bytes of each channel's text that there are to score, in the order of [`CHANNELS`]. What is undecided counts as
    /// answer.
    said: [u64; CHANNELS.len()],
    /// What undecided text has turned out to be.
    decided: Option<Channel>,
    /// Bytes of text handed out, in the order of arrival.
    heard: u64,
    /// The end of the last of these that waits for its score.
    gated: u64,
    /// Bytes that may leave: they were scored and ask for nothing.
    cleared: u64,
    /// Findings already handed to the metrics.
    told: Vec<(Channel, String)>,
}

/// One channel's scores with what they mean.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opinion<'s> {
    rubric: &'s Rubric,
    pub(super) part: &'s PartScores,
}

// === impl Judge ===

impl Judge {
    /// Follows, and fails closed.
    #[must_use]
    pub const fn new(rubric: Arc<Rubric>, action: RuleAction) -> Self {
        Self { rubric, action, hold: ClassifierHold::Follow, on_failure: OnFailure::Closed }
    }
}

/// Whether a risk that is claimed in `channel` could end the exchange, where `action` is the detector's own.
pub(super) fn may_stop(policy: &Policy, action: RuleAction, channel: Channel) -> bool {
    let stops = |category| {
        verdict_of_claim(policy, action, category) >= Verdict::Redact
            && policy.mode_of(channel, category) == Mode::Enforce
    };
    // Every category whose answer differs from that of none is one that the policy names.
    stops(None) || policy.categories.keys().any(|&category| stops(Some(category)))
}

/// What policy concludes of a risk that a detector claims of a whole text, where `action` is the detector's own.
pub(super) fn verdict_of_claim(
    policy: &Policy,
    action: RuleAction,
    category: Option<Category>,
) -> Verdict {
    let of_category = category.and_then(|category| policy.categories.get(&category));
    let action = of_category.and_then(|policy| policy.action).unwrap_or(action);
    match Verdict::from(action) {
        // No span can be masked that tells a text's risk.
        Verdict::Redact => Verdict::Block,
        verdict => verdict,
    }
}

// === impl Scoring ===

impl Scoring {
    pub(super) const fn new(judge: Judge) -> Self {
        Self {
            judge,
            voice: Voice::Prompt,
            passages: VecDeque::new(),
            voices: BTreeMap::new(),
            own_failures: Vec::new(),
        }
    }

    /// Says whose text comes from here on.
    pub(super) const fn speak(&mut self, voice: Voice) {
        self.voice = voice;
    }

    /// Takes in text of the voice that speaks.
    pub(super) fn say(&mut self, plan: &Plan, label: Label, text: &str) {
        let said = match label {
            Label::Known(Channel::Prompt) => Said::Prompt,
            Label::Known(Channel::Thinking) => Said::Thinking,
            Label::Known(Channel::Answer) => Said::Answer,
            Label::Undecided => Said::Undecided,
            Label::Known(Channel::ToolCall | Channel::Refusal) => return,
        };
        let is_read = label.channels().iter().any(|&channel| plan.reads(channel));
        let scored = self.voices.entry(self.voice).or_default();
        if text.is_empty() || !is_read {
            return;
        }
        if let Some(bytes) = scored.said.get_mut(said.number()) {
            *bytes += text.len() as u64;
        }
        if scored.failed.is_none() {
            scored.heard += text.len() as u64;
            if plan.gates(label.channels()) {
                scored.gated = scored.heard;
            }
            self.hand_out(News::Text(said, text.to_owned()));
        }
    }

    /// Takes note that the undecided text of the voice that speaks is of this channel.
    pub(super) fn decide(&mut self, channel: Channel) {
        let scored = self.voices.entry(self.voice).or_default();
        if scored.decided.replace(channel).is_none() && channel == Channel::Thinking {
            // Undecided text stands before everything else.
            let [_, thinking, answer] = &mut scored.said;
            *thinking += std::mem::take(answer);
        }
        self.hand_out(News::Decided(channel));
    }

    /// Takes note that no more text of the voice that speaks comes.
    pub(super) fn end(&mut self) {
        let voice = self.voice;
        if let Some(scored) = self.voices.get_mut(&voice).filter(|scored| !scored.ended) {
            scored.ended = true;
            self.hand_out(News::End);
        }
    }

    /// Takes note that no more text comes.
    pub(super) fn end_all(&mut self) {
        for voice in self.voices.keys().copied().collect::<Vec<_>>() {
            self.speak(voice);
            self.end();
        }
    }

    fn hand_out(&mut self, news: News) {
        let next = Passage { voice: self.voice, news };
        let next = match self.passages.back_mut() {
            Some(last) => last.join(next),
            None => Some(next),
        };
        self.passages.extend(next);
    }

    /// The next passage to be scored.
    pub(super) fn next_passage(&mut self) -> Option<Passage> {
        self.passages.pop_front()
    }

    /// Takes in what a voice has shown so far; once it has failed, its scores stay what they are. Says whether they ask
    /// for the exchange's end.
    pub(super) fn take_scores(&mut self, plan: &Plan, voice: Voice, scores: Scores) -> bool {
        if self.failure(voice).is_some() {
            return false;
        }
        let stops = self.stops(plan, &scores);
        let acts = |scores| self.claims_at_least(plan, scores, |channel| plan.acts_from(channel));
        let tail = scores.tail.as_deref().filter(|tail| acts(&scores) || !acts(tail));
        let clear = if stops { 0 } else { tail.map_or(0, |tail| tail.bytes).max(scores.bytes) };
        let scored = self.voices.entry(voice).or_default();
        scored.cleared = scored.cleared.max(clear);
        scored.scores = scores;
        stops
    }

    /// Where a voice's text ends that waits for its score.
    pub(super) fn mark(&self, voice: Voice) -> u64 {
        self.voices.get(&voice).map_or(0, |scored| scored.gated)
    }

    /// Whether a voice's text may leave up to `mark`.
    pub(super) fn is_clear(&self, voice: Voice, mark: u64) -> bool {
        let cleared = self.voices.get(&voice).map_or(0, |scored| scored.cleared);
        cleared >= mark || self.failure(voice).is_some()
    }

    /// Waits no longer for any text that is held for its score.
    pub(super) fn give_up(&mut self) {
        for scored in self.voices.values_mut() {
            if scored.cleared < scored.gated && scored.failed.is_none() {
                scored.failed = Some(ClassifierFailure::Deadline);
                self.own_failures.push(ClassifierFailure::Deadline);
            }
        }
    }

    /// Failures that the session has found itself and that were not told yet.
    pub(super) fn take_failures(&mut self) -> Vec<ClassifierFailure> {
        std::mem::take(&mut self.own_failures)
    }

    /// What happens where scores do not come.
    pub(super) const fn on_failure(&self) -> OnFailure {
        self.judge.on_failure
    }

    /// Takes note that a voice's scores end where they stand. Without the prompt's no choice's are whole.
    pub(super) fn fail(&mut self, voice: Voice, failure: ClassifierFailure) {
        self.voices.entry(voice).or_default().failed.get_or_insert(failure);
    }

    /// Why a voice's scores are not whole, if they are not.
    pub(super) fn failure(&self, voice: Voice) -> Option<ClassifierFailure> {
        let of = |voice: Voice| self.voices.get(&voice).and_then(|scored| scored.failed);
        of(voice).or_else(|| of(Voice::Prompt))
    }

    /// Lets every voice fail whose scores are not whole: nobody waits for them any more.
    pub(super) fn close(&mut self) {
        for scored in self.voices.values_mut() {
            if CHANNELS.into_iter().any(|channel| scored.unscored(channel) > 0) {
                scored.failed.get_or_insert(ClassifierFailure::Error);
            }
        }
    }

    /// Bytes of a voice's text in `channel` that have no score, not yet or not ever.
    pub(super) fn unscored(&self, voice: Voice, channel: Channel) -> u64 {
        self.voices.get(&voice).map_or(0, |scored| scored.unscored(channel))
    }

    /// What one channel of a voice has shown.
    pub(super) fn opinion(&self, voice: Voice, channel: Channel) -> Option<Opinion<'_>> {
        self.opinion_in(&self.voices.get(&voice)?.scores, channel)
    }

    fn opinion_in<'s>(&'s self, scores: &'s Scores, channel: Channel) -> Option<Opinion<'s>> {
        Some(Opinion { rubric: &self.judge.rubric, part: scores.of(channel)? })
    }

    /// Whether what was scored is to end the exchange by itself.
    fn stops(&self, plan: &Plan, scores: &Scores) -> bool {
        self.claims_at_least(plan, scores, |channel| plan.classifier_stops_from(channel))
    }

    /// Whether something is claimed in a channel that asks for what `least` says of that, and is carried out.
    fn claims_at_least(
        &self,
        plan: &Plan,
        scores: &Scores,
        least: impl Fn(Channel) -> Option<Verdict>,
    ) -> bool {
        CHANNELS.into_iter().any(|channel| {
            let opinion = self.opinion_in(scores, channel);
            let mut findings =
                opinion.into_iter().flat_map(|opinion| self.claims(plan, channel, opinion));
            least(channel).is_some_and(|least| {
                findings.any(|finding| {
                    finding.verdict >= least
                        && plan.policy().mode_of(channel, finding.category) == Mode::Enforce
                })
            })
        })
    }

    /// What the scores claim of one channel of a voice.
    pub(super) fn findings(&self, plan: &Plan, voice: Voice, channel: Channel) -> Vec<Finding> {
        let opinion = self.opinion(voice, channel);
        opinion.into_iter().flat_map(|opinion| self.claims(plan, channel, opinion)).collect()
    }

    fn claims<'s>(
        &'s self,
        plan: &'s Plan,
        channel: Channel,
        opinion: Opinion<'s>,
    ) -> impl Iterator<Item = Finding> + 's {
        let flags = opinion.part.flags.iter();
        flags.filter_map(move |&(head, end)| self.finding(plan, channel, opinion, head, end))
    }

    fn finding(
        &self,
        plan: &Plan,
        channel: Channel,
        opinion: Opinion<'_>,
        head: Head,
        end: Origin,
    ) -> Option<Finding> {
        let (kind, category, end) = match head {
            Head::Risk => (Kind::Risk, None, end),
            // It says of what kind a risk is, and nothing by itself.
            Head::Category(category) => {
                let risk = opinion.part.flag(Head::Risk)?;
                (Kind::Risk, Some(category), if risk.byte > end.byte { risk } else { end })
            }
            Head::SafetyThinking if channel == Channel::Thinking => {
                (Kind::SafetyThinking, None, end)
            }
            Head::Refusal if channel == Channel::Answer => (Kind::Refusal, None, end),
            Head::SafetyThinking | Head::Refusal => return None,
        };
        if plan.policy().mode_of(channel, category) == Mode::Off {
            return None;
        }
        let is_risk = kind == Kind::Risk;
        Some(Finding {
            detector: CLASSIFIER,
            id: head.name().to_owned(),
            kind,
            category,
            severity: if is_risk { Severity::Medium } else { Severity::Info },
            channel,
            start: 0,
            end: end.byte,
            start_char: 0,
            end_char: end.char,
            score: opinion.probability(head),
            repeat: false,
            verdict: if is_risk {
                verdict_of_claim(plan.policy(), self.judge.action, category)
            } else {
                Verdict::Pass
            },
        })
    }

    /// Findings that were not told yet. Those of undecided text wait until it is known for what it is.
    pub(super) fn new_findings(&mut self, plan: &Plan) -> Vec<Finding> {
        let mut new = Vec::new();
        for voice in self.voices.keys().copied().collect::<Vec<_>>() {
            if self.voices.get(&voice).is_some_and(|scored| scored.scores.undecided) {
                continue;
            }
            let of_channel = |&channel: &Channel| self.findings(plan, voice, channel);
            let findings: Vec<Finding> = CHANNELS.iter().flat_map(of_channel).collect();
            let Some(Scored { told, .. }) = self.voices.get_mut(&voice) else { continue };
            for finding in findings {
                let name = (finding.channel, finding.id.clone());
                if !told.contains(&name) {
                    told.push(name);
                    new.push(finding);
                }
            }
        }
        new
    }
}

// === impl Scored ===

impl Scored {
    fn unscored(&self, channel: Channel) -> u64 {
        let Some(place) = CHANNELS.iter().position(|&known| known == channel) else { return 0 };
        let mut read = self.scores.read;
        if self.scores.undecided && self.decided == Some(Channel::Thinking) {
            // The scores do not know it yet.
            let [_, thinking, answer] = &mut read;
            *thinking += std::mem::take(answer);
        }
        let (said, read) = (self.said.get(place), read.get(place));
        said.copied().unwrap_or(0).saturating_sub(read.copied().unwrap_or(0))
    }
}

// === impl Opinion ===

impl Opinion<'_> {
    /// A head's pooled probability; 0 for a head that the model lacks.
    pub(super) fn probability(&self, head: Head) -> f64 {
        self.part.probability(self.rubric, head).map_or(0.0, f64::from)
    }
}
