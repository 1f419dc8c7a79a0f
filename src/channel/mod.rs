//! The channels of an exchange, and how a choice's deltas are split into them.

mod harmony;
mod think_tags;

use serde::{Deserialize, Serialize};

pub use think_tags::{Part, Segment, ThinkTags, ThinkingStart};

/// Where in an exchange a text stands.
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
pub enum Channel {
    /// What the caller sent.
    Prompt,
    /// The model's reasoning.
    Thinking,
    /// The model's answer.
    Answer,
    /// Arguments of the tools that the model calls.
    ToolCall,
    /// Text that the server marks as a refusal.
    Refusal,
}

// === impl Channel ===

impl Channel {
    /// Every channel, in the order of an exchange.
    pub const ALL: [Self; 5] =
        [Self::Prompt, Self::Thinking, Self::Answer, Self::ToolCall, Self::Refusal];

    /// The channel's name in configuration, metrics and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Thinking => "thinking",
            Self::Answer => "answer",
            Self::ToolCall => "tool_call",
            Self::Refusal => "refusal",
        }
    }
}
