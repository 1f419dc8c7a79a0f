//! From findings to a verdict, and from the verdict to the action that the mode allows.

mod asking_again;
mod outcomes;
mod steering;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    channel::Channel,
    rules::{Category, RuleAction, Severity},
    trace::Outcome,
};

pub use asking_again::{AskAgain, AskAgainWhen};
pub use outcomes::{ImpossibleAction, OutcomeAction, Outcomes};
pub use steering::{SteerWhen, Steering};

/// What thinkgate does with what it sees.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Nothing is inspected; bytes are counted as unscanned.
    Off,
    /// Everything is inspected and recorded, nothing is changed.
    #[default]
    Shadow,
    /// Verdicts are carried out.
    Enforce,
}

/// What policy concludes of a finding, and the gravest of them of a channel or an exchange.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing to object to.
    #[default]
    Pass,
    /// For people to look at.
    Flag,
    /// The span is masked.
    Redact,
    /// The exchange ends.
    Block,
}

/// What was really done. In shadow mode always [`Action::Forward`].
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The bytes went on as they came.
    #[default]
    Forward,
    /// Spans were masked.
    Redact,
    /// The thinking was inspected but not delivered.
    HideThinking,
    /// The model was asked with safety rules or options of the policy's own.
    Steer,
    /// Something could not be inspected in time and was let through all the same.
    FailOpen,
    /// Something could not be inspected in time and the exchange was ended.
    FailClosed,
    /// The exchange was ended with a refusal.
    Block,
}

/// What happens in enforce mode to what could not be inspected: a body too large, undecodable, of unknown shape.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum OnUnscanned {
    /// It passes and is counted.
    Pass,
    /// It is blocked.
    #[default]
    Block,
}

/// What happens in enforce mode where a detector that may end the exchange has failed.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The exchange is ended (`fail_closed`).
    #[default]
    Closed,
    /// It goes on without the detector (`fail_open`), and is recorded so.
    Open,
}

/// What happens in enforce mode to request options that open a side channel around the inspection
/// (token ids, hidden states, echo, prompt logprobs).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum SideChannels {
    /// They are left in the request.
    Allow,
    /// The request is answered with 400.
    Refuse,
    /// They are taken out of the request.
    #[default]
    Strip,
}

/// How a blocked prompt is answered.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum PromptBlock {
    /// Status 400 with code `content_policy_violation`: one request everywhere, no retry.
    #[default]
    Status400,
    /// Status 200 with finish reason `content_filter`, for deployments behind a router that falls back on 4xx.
    Status200,
}

/// What stands in the place of a redacted span.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Mask {
    /// `█` for each of its characters: lengths stay, and are told.
    Blocks,
    /// `[redacted]`.
    #[default]
    Label,
}

/// What a channel may set apart from the rest.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct ChannelPolicy {
    /// The channel's mode; the global one where absent.
    #[serde(default)]
    pub mode: Option<Mode>,
}

/// What a category may set apart from the rest.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct CategoryPolicy {
    /// The category's mode; the channel's or the global one where absent.
    #[serde(default)]
    pub mode: Option<Mode>,
    /// What a match of the category asks for, over the rule's own action.
    #[serde(default)]
    pub action: Option<RuleAction>,
}

/// The operator's decisions for one route.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The mode where nothing more special is said.
    pub mode: Mode,
    /// What a severity asks for, over the default (critical and high block, medium and low flag).
    pub severity: BTreeMap<Severity, RuleAction>,
    /// What is different for a channel.
    pub channels: BTreeMap<Channel, ChannelPolicy>,
    /// What is different for a category.
    pub categories: BTreeMap<Category, CategoryPolicy>,
    /// What happens in enforce mode to what could not be inspected.
    pub on_unscanned: OnUnscanned,
    /// What happens in enforce mode to request options that open a side channel.
    pub side_channels: SideChannels,
    /// How a blocked prompt is answered.
    pub prompt_block: PromptBlock,
    /// What stands in the place of a redacted span.
    pub mask: Mask,
    /// Whether the thinking is inspected but not delivered, where its mode is enforce.
    pub hide_thinking: bool,
    /// What is changed in requests.
    pub steering: Steering,
    /// When a blocked answer is asked for once more.
    pub ask_again: AskAgain,
    /// What the outcomes of traces ask for.
    pub outcomes: Outcomes,
    /// Whether rules are looked for only as they are written, and not through disguises.
    pub plain_only: bool,
}

// === impl Verdict ===

impl Verdict {
    /// All of them, the gravest last.
    pub const ALL: [Self; 4] = [Self::Pass, Self::Flag, Self::Redact, Self::Block];

    /// The verdict's name in metrics and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Flag => "flag",
            Self::Redact => "redact",
            Self::Block => "block",
        }
    }
}

impl From<RuleAction> for Verdict {
    fn from(action: RuleAction) -> Self {
        match action {
            RuleAction::None => Self::Pass,
            RuleAction::Flag => Self::Flag,
            RuleAction::Redact => Self::Redact,
            RuleAction::Block => Self::Block,
        }
    }
}

// === impl Action ===

impl Action {
    /// The action's name in metrics and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Redact => "redact",
            Self::HideThinking => "hide_thinking",
            Self::Steer => "steer",
            Self::FailOpen => "fail_open",
            Self::FailClosed => "fail_closed",
            Self::Block => "block",
        }
    }
}

// === impl Mode ===

impl Mode {
    /// The mode's name in configuration, metrics and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Shadow => "shadow",
            Self::Enforce => "enforce",
        }
    }
}

// === impl Policy ===

impl Policy {
    /// The mode that holds for findings of `category` in `channel`.
    ///
    /// A global `off` is final. Otherwise what is said for the channel or for the category beats the global
    /// mode, and where both are said the weaker holds.
    #[must_use]
    pub fn mode_of(&self, channel: Channel, category: Option<Category>) -> Mode {
        if self.mode == Mode::Off {
            return Mode::Off;
        }
        let of_channel = self.channels.get(&channel).and_then(|policy| policy.mode);
        let of_category = category
            .and_then(|category| self.categories.get(&category))
            .and_then(|policy| policy.mode);
        match (of_channel, of_category) {
            (Some(channel), Some(category)) => channel.min(category),
            (Some(mode), None) | (None, Some(mode)) => mode,
            (None, None) => self.mode,
        }
    }

    /// Whether any finding in `channel` may be carried out.
    #[must_use]
    pub fn may_enforce(&self, channel: Channel) -> bool {
        self.mode_of(channel, None) == Mode::Enforce
            || self
                .categories
                .keys()
                .any(|&category| self.mode_of(channel, Some(category)) == Mode::Enforce)
    }

    /// Whether the thinking is not delivered.
    #[must_use]
    pub fn hides_thinking(&self) -> bool {
        self.hide_thinking && self.mode_of(Channel::Thinking, None) == Mode::Enforce
    }

    /// Whether thinking that turns out to be unsafe is hidden from there on, in place of what blocks in it.
    #[must_use]
    pub fn hides_leaky_thinking(&self) -> bool {
        self.outcomes.action(Outcome::LeakyThinking) == OutcomeAction::Hide
            && self.mode == Mode::Enforce
            && self.mode_of(Channel::Thinking, None) == Mode::Enforce
    }

    /// Whether an outcome may end an exchange for what a detector flags in `channel`.
    #[must_use]
    pub fn outcome_may_block(&self, channel: Channel) -> bool {
        let outcomes: &[Outcome] = match channel {
            Channel::Thinking => &[Outcome::LeakyThinking, Outcome::SelfJailbreak],
            Channel::Answer | Channel::ToolCall => &[Outcome::Unsafe, Outcome::SelfJailbreak],
            Channel::Prompt | Channel::Refusal => &[],
        };
        let blocks = |&outcome: &Outcome| self.outcomes.action(outcome) == OutcomeAction::Block;
        self.mode == Mode::Enforce && outcomes.iter().any(blocks)
    }

    /// Whether an outcome acts on whatever is flagged in `channel`, whatever came before.
    #[must_use]
    pub fn outcome_acts_on_flags(&self, channel: Channel) -> bool {
        let outcome = match channel {
            Channel::Thinking => Outcome::LeakyThinking,
            Channel::Answer | Channel::ToolCall => Outcome::Unsafe,
            Channel::Prompt | Channel::Refusal => return false,
        };
        self.mode == Mode::Enforce && self.outcomes.action(outcome).is_live()
    }

    /// What a risk rule's match asks for: configuration beats the rule, the rule beats its severity's default.
    #[must_use]
    pub fn verdict_of(
        &self,
        severity: Severity,
        category: Option<Category>,
        action: Option<RuleAction>,
    ) -> Verdict {
        let configured = category
            .and_then(|category| self.categories.get(&category))
            .and_then(|policy| policy.action);
        if let Some(action) =
            configured.or_else(|| self.severity.get(&severity).copied()).or(action)
        {
            return action.into();
        }
        match severity {
            Severity::Critical | Severity::High => Verdict::Block,
            Severity::Medium | Severity::Low => Verdict::Flag,
            Severity::Info => Verdict::Pass,
        }
    }
}
