//! What the exchanges of a route share.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    channel::{Channel, ThinkingStart},
    classify::CHANNELS,
    policy::{Mode, Policy, Verdict},
    rules::{Kind, Rule, RuleAction, RuleIndex, RuleSet, Watch},
};

use super::{
    consulting::Consultant,
    scoring::{ClassifierHold, Judge, may_stop, verdict_of_claim},
};

/// The notice that a client reads in place of what was stopped.
pub const DEFAULT_NOTICE: &str = "This response was stopped by a safety policy.";

/// What replaces a redacted span.
pub const MASK: &str = "[redacted]";

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
    /// The longest that a frame may wait for a detector, default 60 s. Tool calls and whole bodies, which wait
    /// for their own end, are bounded by their size alone.
    pub deadline: Duration,
    /// What happens then, and when `max_bytes` is exceeded.
    pub on_deadline: OnDeadline,
}

/// What happens to frames that were held too long, or too many.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum OnDeadline {
    /// The exchange is ended with a refusal (`fail_closed`).
    #[default]
    Block,
    /// They are released (`fail_open`), and recorded so.
    Release,
}

/// The settings of a route beside its rules and its policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Sizes.
    pub limits: Limits,
    /// Hold-back.
    pub hold: Hold,
    /// How content begins.
    pub thinking: ThinkingStart,
    /// The text of a refusal; [`DEFAULT_NOTICE`] where absent.
    pub notice: Option<String>,
    /// Whether the whole prompt is inspected, and not only what is new since the last assistant turn.
    pub whole_prompt: bool,
}

/// What a text is known to be while it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// Text of this channel.
    Known(Channel),
    /// Thinking or answer: read under the rules of both, the stricter mode winning.
    Undecided,
}

/// What the exchanges of a route share: rules, decisions, sizes.
#[derive(Debug)]
pub struct Plan {
    rules: Arc<RuleSet>,
    policy: Policy,
    settings: Settings,
    watches: [Arc<Watch>; 6],
    judge: Option<Judge>,
    /// Whether the classifier may end an exchange for what stands in prompt, thinking, answer.
    judge_stops: [bool; CHANNELS.len()],
    consultant: Option<Consultant>,
    /// Whether the guard model elsewhere may.
    consultant_stops: [bool; CHANNELS.len()],
    /// Whether the classifier may change what the client gets of prompt, thinking, answer, so that a gate waits for it.
    judge_gates: [bool; CHANNELS.len()],
    acts_on_outcomes: bool,
    /// Whether some rule may redact or block in a tool call's arguments.
    holds_tool_calls: bool,
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self { request_bytes: 32 << 20, frame_bytes: 4 << 20, choices: 128, tool_calls: 128 }
    }
}

// === impl Hold ===

impl Default for Hold {
    fn default() -> Self {
        Self {
            max_bytes: 256 << 10,
            deadline: Duration::from_mins(1),
            on_deadline: OnDeadline::default(),
        }
    }
}

// === impl Label ===

impl Label {
    const ALL: [Self; 6] = [
        Self::Known(Channel::Prompt),
        Self::Known(Channel::Thinking),
        Self::Known(Channel::Answer),
        Self::Known(Channel::ToolCall),
        Self::Known(Channel::Refusal),
        Self::Undecided,
    ];

    /// The channels whose rules read the text.
    pub(super) const fn channels(self) -> &'static [Channel] {
        match self {
            Self::Known(Channel::Prompt) => &[Channel::Prompt],
            Self::Known(Channel::Thinking) => &[Channel::Thinking],
            Self::Known(Channel::Answer) => &[Channel::Answer],
            Self::Known(Channel::ToolCall) => &[Channel::ToolCall],
            Self::Known(Channel::Refusal) => &[Channel::Refusal],
            Self::Undecided => &[Channel::Thinking, Channel::Answer],
        }
    }

    /// The channel that the text is counted to; undecided text is answer at the end.
    pub(super) const fn channel(self) -> Channel {
        match self {
            Self::Known(channel) => channel,
            Self::Undecided => Channel::Answer,
        }
    }
}

// === impl Plan ===

impl Plan {
    /// Compiles what a route's exchanges share.
    #[must_use]
    pub fn new(rules: Arc<RuleSet>, policy: Policy, settings: Settings) -> Self {
        let watches = Label::ALL.map(|label| {
            let watch =
                Watch::new(&rules, &|rule| mode_of(&policy, label, rule) != Mode::Off, &|rule| {
                    mode_of(&policy, label, rule) == Mode::Enforce && is_held(&policy, label, rule)
                });
            Arc::new(if policy.plain_only { watch.plain() } else { watch })
        });
        let arguments = Label::Known(Channel::ToolCall);
        let is_held_there = |rule: &Rule| {
            mode_of(&policy, arguments, rule) == Mode::Enforce && is_held(&policy, arguments, rule)
        };
        Self {
            holds_tool_calls: rules.rules().iter().any(is_held_there),
            acts_on_outcomes: policy.mode == Mode::Enforce && policy.outcomes.act(),
            rules,
            policy,
            settings,
            watches,
            judge: None,
            judge_stops: [false; CHANNELS.len()],
            judge_gates: [false; CHANNELS.len()],
            consultant: None,
            consultant_stops: [false; CHANNELS.len()],
        }
    }

    /// Lets a classifier read along.
    #[must_use]
    pub fn with_classifier(self, judge: Judge) -> Self {
        let judge_stops = CHANNELS.map(|channel| self.may_stop(judge.action, channel));
        let judge_gates = CHANNELS.map(|channel| self.may_act(judge.action, channel));
        Self { judge: Some(judge), judge_stops, judge_gates, ..self }
    }

    /// Has a guard model elsewhere asked.
    #[must_use]
    pub fn with_consultant(self, consultant: Consultant) -> Self {
        let consultant_stops = CHANNELS.map(|channel| {
            consultant.channels.contains(&channel) && self.may_stop(consultant.action, channel)
        });
        Self { consultant: Some(consultant), consultant_stops, ..self }
    }

    /// Whether a risk that a detector with this action claims in `channel` may end the exchange, for itself or for the
    /// outcome.
    fn may_stop(&self, action: RuleAction, channel: Channel) -> bool {
        let hides = channel == Channel::Thinking && self.hides_leaky_thinking();
        (may_stop(&self.policy, action, channel) && !hides)
            || (self.flags(action) && self.policy.outcome_may_block(channel))
    }

    /// Whether it may change what the client gets.
    fn may_act(&self, action: RuleAction, channel: Channel) -> bool {
        may_stop(&self.policy, action, channel)
            || self.may_stop(action, channel)
            || (self.flags(action) && self.policy.outcome_acts_on_flags(channel))
    }

    /// Whether a risk that a detector with this action claims is flagged.
    fn flags(&self, action: RuleAction) -> bool {
        verdict_of_claim(&self.policy, action, None) >= Verdict::Flag
    }

    /// Whether outcomes change what the client gets.
    pub(super) const fn acts_on_outcomes(&self) -> bool {
        self.acts_on_outcomes
    }

    /// Whether the client is told the outcome.
    pub(super) fn tells_outcomes(&self) -> bool {
        self.policy.mode == Mode::Enforce && self.policy.outcomes.tell
    }

    /// Whether thinking that turns out to be unsafe is hidden, and ends nothing.
    pub(super) fn hides_leaky_thinking(&self) -> bool {
        self.policy.hides_leaky_thinking()
    }

    /// The guard model's part, where one is asked.
    pub(super) const fn consultant(&self) -> Option<&Consultant> {
        self.consultant.as_ref()
    }

    /// Whether the classifier may end an exchange for what stands in one of `channels`.
    pub(super) fn classifier_stops(&self, channels: &[Channel]) -> bool {
        any_of(channels, self.judge_stops)
    }

    /// The verdict from which on its claims about `channel` end the exchange by themselves, if they may.
    pub(super) fn classifier_stops_from(&self, channel: Channel) -> Option<Verdict> {
        let hides = channel == Channel::Thinking && self.hides_leaky_thinking();
        (self.classifier_stops(&[channel]) && !hides).then_some(Verdict::Redact)
    }

    /// The verdict from which on its claims about `channel` change what the client gets, if they may.
    pub(super) fn acts_from(&self, channel: Channel) -> Option<Verdict> {
        let from = if self.policy.outcome_acts_on_flags(channel) {
            Verdict::Flag
        } else {
            Verdict::Redact
        };
        any_of(&[channel], self.judge_gates).then_some(from)
    }

    /// Whether the guard model may.
    pub(super) fn consultant_stops(&self, channels: &[Channel]) -> bool {
        any_of(channels, self.consultant_stops)
    }

    /// Whether text of one of `channels` waits until the classifier has scored it.
    pub(super) fn gates(&self, channels: &[Channel]) -> bool {
        let gates = |judge: &Judge| judge.hold == ClassifierHold::Gate;
        self.judge.as_ref().is_some_and(gates) && any_of(channels, self.judge_gates)
    }

    /// The classifier's part, where one reads along.
    pub(super) const fn classifier(&self) -> Option<&Judge> {
        self.judge.as_ref()
    }

    /// The operator's decisions.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Sizes, hold-back and the rest.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The text of a refusal.
    #[must_use]
    pub fn notice(&self) -> &str {
        self.settings.notice.as_deref().unwrap_or(DEFAULT_NOTICE)
    }

    /// Whether the thinking is not delivered.
    pub(super) fn hides_thinking(&self) -> bool {
        self.policy.hides_thinking()
    }

    pub(super) fn watch(&self, label: Label) -> &Arc<Watch> {
        let [prompt, thinking, answer, tool_call, refusal, undecided] = &self.watches;
        match label {
            Label::Known(Channel::Prompt) => prompt,
            Label::Known(Channel::Thinking) => thinking,
            Label::Known(Channel::Answer) => answer,
            Label::Known(Channel::ToolCall) => tool_call,
            Label::Known(Channel::Refusal) => refusal,
            Label::Undecided => undecided,
        }
    }

    pub(super) fn rule(&self, index: RuleIndex) -> Option<&Rule> {
        self.rules.rules().get(index.0 as usize)
    }

    /// What policy concludes of a match of `rule`, and the mode that holds for it in a text of this label.
    pub(super) fn judge(&self, label: Label, rule: &Rule) -> (Verdict, Mode) {
        (verdict_of(&self.policy, rule), mode_of(&self.policy, label, rule))
    }

    /// Whether anything reads the channel's text.
    pub(super) fn reads(&self, channel: Channel) -> bool {
        self.policy.mode_of(channel, None) != Mode::Off
            || self
                .policy
                .categories
                .keys()
                .any(|&category| self.policy.mode_of(channel, Some(category)) != Mode::Off)
    }

    /// Whether some match in a response may be carried out.
    pub(super) fn enforces_responses(&self) -> bool {
        [Channel::Thinking, Channel::Answer, Channel::ToolCall, Channel::Refusal]
            .into_iter()
            .any(|channel| self.policy.may_enforce(channel))
    }

    /// Whether some rule may redact or block in a tool call's arguments.
    pub(super) const fn holds_tool_calls(&self) -> bool {
        self.holds_tool_calls
    }
}

/// Whether something holds for one of `channels`; `holds` is in the order of [`CHANNELS`].
fn any_of(channels: &[Channel], holds: [bool; CHANNELS.len()]) -> bool {
    let held = CHANNELS.iter().zip(holds).filter(|&(_, holds)| holds);
    held.into_iter().any(|(channel, _)| channels.contains(channel))
}

/// The mode for matches of `rule`: off where the rule does not look; the stricter of two channels.
fn mode_of(policy: &Policy, label: Label, rule: &Rule) -> Mode {
    let looked_at = label.channels().iter().filter(|channel| rule.channels.contains(channel));
    looked_at.map(|&channel| policy.mode_of(channel, rule.category)).max().unwrap_or(Mode::Off)
}

/// Whether what may be a match of `rule` waits, where it is enforced: it is masked or blocks, or its outcome does.
fn is_held(policy: &Policy, label: Label, rule: &Rule) -> bool {
    let outcome_acts = |&channel: &Channel| policy.outcome_acts_on_flags(channel);
    match verdict_of(policy, rule) {
        Verdict::Pass => false,
        Verdict::Flag => label.channels().iter().any(outcome_acts),
        Verdict::Redact | Verdict::Block => true,
    }
}

fn verdict_of(policy: &Policy, rule: &Rule) -> Verdict {
    match rule.kind {
        Kind::Risk => policy.verdict_of(rule.severity, rule.category, rule.action),
        Kind::SafetyThinking | Kind::Rationalisation | Kind::Refusal => Verdict::Pass,
    }
}
