//! The facts that metrics, audit lines and `scan` are written from.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    channel::Channel,
    dialect::Dialect,
    policy::{Action, Mode, OutcomeAction, Verdict},
    rules::{Category, Kind, Severity},
    trace::{Harm, HealthNote, Outcome, Scenario},
};

/// Why bytes were released without having been scanned.
#[derive(
    Clone,
    Copy,
    Debug,
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
pub enum UnscannedReason {
    /// The mode is off.
    ModeOff,
    /// The path is not an inspected one.
    Path,
    /// The content type is not one that the endpoint's dialect uses.
    ContentType,
    /// A content encoding that cannot be decoded, or bytes that are no UTF-8.
    Encoding,
    /// JSON that is not of the dialect's shape, or no JSON.
    Shape,
    /// A field that the dialect does not know.
    Field,
    /// One frame was larger than the limit.
    FrameTooLarge,
    /// The body was larger than the limit.
    BodyTooLarge,
    /// Encrypted reasoning.
    Encrypted,
    /// An image, audio or another medium.
    Media,
    /// A detector failed.
    DetectorFailed,
    /// A detector was too late.
    Deadline,
}

/// Why the classifier has no scores for a text, or not for all of it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ClassifierFailure {
    /// The scores came too late.
    Deadline,
    /// The model, or what runs it, failed.
    Error,
    /// More text came than may wait.
    Overflow,
}

/// Why a question to a guard model elsewhere has no answer.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RemoteFailure {
    /// It cannot be reached, or broke off.
    Connection,
    /// It answered what no guard answers.
    Malformed,
    /// Too many questions wait for it.
    Overflow,
    /// It answered with another status than 200.
    Status,
    /// It did not answer in time.
    Timeout,
    /// Its answer is larger than any should be.
    TooLarge,
}

/// Why bytes wait before they are released (enforce mode only).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum HoldReason {
    /// A rule that may redact or block can still match.
    Rules,
    /// The start of what may be a think tag.
    Tag,
    /// Content that may turn out to be thinking, where thinking is hidden.
    Undecided,
    /// A tool call that is not complete.
    ToolCall,
    /// A body that is judged as a whole.
    Body,
    /// Text that the classifier may block and has not scored.
    Classifier,
}

/// Bytes of channel text by what became of them; unknown shapes count wire bytes under no channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByteCounts {
    /// Bytes that every configured detector has read.
    pub scanned: BTreeMap<Channel, u64>,
    /// Bytes written to the client (or, for the prompt, to the upstream), scanned or not; `None` is unknown.
    pub released: BTreeMap<Option<Channel>, u64>,
    /// Of the released, those that no detector has read.
    pub unscanned: BTreeMap<(Option<Channel>, UnscannedReason), u64>,
}

/// One detector's claim about a span of a channel's text.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Finding {
    /// `rules`, `classifier` or `remote`.
    pub detector: &'static str,
    /// The rule's id, or the classifier's label.
    pub id: String,
    /// What the finding says about the text.
    pub kind: Kind,
    /// The kind of harm; absent for other kinds than risk.
    pub category: Option<Category>,
    /// How grave it is.
    pub severity: Severity,
    /// Where it stands.
    pub channel: Channel,
    /// First byte of the span in the channel's original text.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// First character (Unicode scalar value) of the span.
    pub start_char: u64,
    /// One past the last character.
    pub end_char: u64,
    /// Weight of the claim in 0..=1.
    pub score: f64,
    /// Whether it stands in a repeat of the channel's text, or in text beside it, rather than in the text itself.
    pub repeat: bool,
    /// What policy concluded of it (not part of `scan`'s lines).
    #[serde(skip)]
    pub verdict: Verdict,
}

/// What one channel of a choice has shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, schemars::JsonSchema)]
pub struct ChannelReport {
    /// Length in Unicode scalar values.
    pub chars: u64,
    /// The channel's aggregated risk in 0..=1; it ranks exchanges.
    pub risk: f64,
    /// The gravest verdict.
    pub verdict: Verdict,
    /// Characters read when the verdict first was not `pass`.
    pub first_flag_char: Option<u64>,
    /// SHA-256 of the channel's text in hexadecimal digits, where the text was asked for and is whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_sha256: Option<String>,
    /// How surely the text holds safety thinking, in 0..=1.
    pub safety_thinking: f64,
    /// Characters read when safety thinking was first seen.
    pub first_safety_thinking_char: Option<u64>,
    /// How surely the text is a refusal, in 0..=1.
    pub refusal: f64,
    /// `[[char, risk], …]`: every change of the risk, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk_at: Option<Vec<(u64, f64)>>,
    /// The text, where it was asked for. Untrusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Whether the end of `text` was cut off; only there if so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(default)]
    pub text_cut: bool,
}

/// What a finding means to the outcome.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The prompt tries to talk the model, or what guards it, out of its rules.
    Attack,
    /// The prompt is risky.
    PromptRisk,
    /// The model sees the risk, or decides to stay safe.
    SafetyThinking,
    /// The thinking becomes unsafe.
    ThinkingRisk,
    /// The model talks itself past the risk that it has seen.
    Override,
    /// The answer becomes unsafe (or a tool call does).
    AnswerRisk,
    /// The answer refuses.
    Refusal,
}

/// A finding on which an outcome rests: the first of its role.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Ground {
    /// What it means to the outcome.
    pub role: Role,
    /// Where it stands.
    pub channel: Channel,
    /// `rules`, `classifier` or `refusal_channel`.
    pub detector: &'static str,
    /// The finding's id; the channel's name where the refusal channel itself is the ground.
    pub id: String,
    /// Its first character in the channel's text; the classifier's claims begin where they were made.
    pub start_char: u64,
    /// One past its last character.
    pub end_char: u64,
}

/// What one choice has shown.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct ChoiceReport {
    /// The choice's index on the wire.
    pub index: u32,
    /// The prompt, where it is known; the same for every choice.
    pub prompt: Option<ChannelReport>,
    /// The thinking.
    pub thinking: ChannelReport,
    /// The answer.
    pub answer: ChannelReport,
    /// The refusal channel.
    pub refusal: ChannelReport,
    /// Tool-call arguments, joined with nothing between.
    pub tool_call: ChannelReport,
    /// The joint verdict.
    pub outcome: Outcome,
    /// How safety is superficial, if it is.
    pub scenario: Option<Scenario>,
    /// What the outcome rests on, in the order of the exchange.
    pub evidence: Vec<Ground>,
    /// How actionable the harm is, 0 (none) to 4.
    pub harm: u8,
    /// What that is made of.
    pub harm_parts: Harm,
    /// Characters of thinking read when the model overrode its own safety thinking.
    pub override_char: Option<u64>,
    /// Notes on the trace's health.
    pub health: Vec<HealthNote>,
    /// Characters of thinking read when each of them was made.
    pub health_chars: Vec<u64>,
    /// Every finding, in the order of its end.
    pub findings: Vec<Finding>,
}

/// Where an exchange is ended that is blocked, and what its client has seen by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Cut {
    /// The choice's index on the wire; absent where the prompt is blocked.
    pub choice: Option<u32>,
    /// The channel in which it is blocked.
    pub channel: Channel,
    /// Characters of that channel before it.
    pub char: u64,
    /// Characters of the choice's thinking and answer before it, whatever their channel.
    pub seen_chars: u64,
}

/// What policy has done about the outcome of a trace, or in shadow mode would have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct OutcomeAct {
    /// The outcome that it was for. What the rest of the exchange would have shown is not known where it was ended.
    pub outcome: Outcome,
    /// What was done: `hide` or `block`.
    pub action: OutcomeAction,
    /// The choice's index on the wire.
    pub choice: u32,
    /// The channel in which the outcome became plain.
    pub channel: Channel,
    /// Characters of that channel read by then.
    pub char: u64,
}

/// What came of asking the model again.
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
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum AskAgainResult {
    /// The new answer was delivered.
    Answered,
    /// The new answer was blocked as well.
    Blocked,
    /// The client went away before there was one.
    ClientGone,
    /// There was none: the upstream could not be reached, answered an error or something else, or broke off.
    Failed,
    /// The request was not sent: it has no place for safety rules, or could not be read.
    NotSteerable,
    /// The request was not sent: it is larger than those that are kept.
    RequestTooLarge,
    /// The first text of the new answer did not come in time.
    #[default]
    TimedOut,
}

/// How the model was asked again after its thinking was blocked, and what came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AskedAgain {
    /// What came of it.
    pub result: AskAgainResult,
    /// Requests sent beside the caller's own.
    pub attempts: u8,
    /// Where the first answer was ended.
    pub cut: Option<Cut>,
    /// The ids of the findings that ended answers.
    pub findings: Vec<String>,
    /// The outcome that ended one, where that did.
    pub outcome: Option<OutcomeAct>,
    /// The categories whose safety rules the last request carried.
    pub categories: Vec<Category>,
    /// The names of the options that it set.
    pub parameters: Vec<String>,
    /// The usage objects of all requests, the caller's first, as they came; none where it was not told.
    pub usages: Vec<Option<String>>,
    /// The choices of the answers that were ended.
    pub choices: Vec<ChoiceReport>,
}

/// What one exchange has shown and what was done.
#[derive(Clone, Debug, PartialEq)]
pub struct ExchangeReport {
    /// The dialect as it was read.
    pub dialect: Dialect,
    /// The mode of the route.
    pub mode: Mode,
    /// The model that the request named.
    pub model: Option<String>,
    /// Whether the upstream answered with an error.
    pub upstream_error: bool,
    /// The choices in the order of their index.
    pub choices: Vec<ChoiceReport>,
    /// What the prompt has shown; also there when no choice ever came.
    pub prompt: Option<ChannelReport>,
    /// Findings in the prompt.
    pub prompt_findings: Vec<Finding>,
    /// The gravest verdict.
    pub verdict: Verdict,
    /// What was done.
    pub action: Action,
    /// What would have been done in enforce mode; equal to `action` there.
    pub would: Action,
    /// Where enforce mode would have ended the exchange, or has.
    pub cut: Option<Cut>,
    /// What policy has done about an outcome, or would have.
    pub outcome_act: Option<OutcomeAct>,
    /// How the model was asked again, if it was to be.
    pub asked_again: Option<Box<AskedAgain>>,
    /// Bytes by what became of them.
    pub bytes: ByteCounts,
    /// The upstream's own usage object, as it came; the sum of all requests where the model was asked again.
    pub usage: Option<String>,
}

// === impl ExchangeReport ===

impl ExchangeReport {
    /// Of an exchange under `mode` that nobody has read.
    #[must_use]
    pub fn unread(mode: Mode) -> Self {
        Self {
            dialect: Dialect::Unknown,
            mode,
            model: None,
            upstream_error: false,
            choices: Vec::new(),
            prompt: None,
            prompt_findings: Vec::new(),
            verdict: Verdict::Pass,
            action: Action::Forward,
            would: Action::Forward,
            cut: None,
            outcome_act: None,
            asked_again: None,
            bytes: ByteCounts::default(),
            usage: None,
        }
    }
}

/// What has changed since the last look: for metrics while a stream is open.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Bytes since the last look.
    pub bytes: ByteCounts,
    /// Findings since the last look.
    pub findings: Vec<Finding>,
    /// How long released frames had waited, by why; only frames that did wait.
    pub holds: Vec<(HoldReason, Duration)>,
    /// Bytes of frames held now, and why the first of them is.
    pub held: Option<(HoldReason, u64)>,
    /// Whether the first answer or thinking text was read since the last look.
    pub first_text: bool,
    /// Why the session itself has given the classifier up, for each voice.
    pub classifier_failures: Vec<ClassifierFailure>,
}

// === impl ExchangeReport ===

impl ExchangeReport {
    /// Every choice that the model gave, those of answers that were ended included.
    pub fn all_choices(&self) -> impl Iterator<Item = &ChoiceReport> {
        let earlier = self.asked_again.iter().flat_map(|asked| &asked.choices);
        self.choices.iter().chain(earlier)
    }
}
