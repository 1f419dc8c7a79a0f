//! The streams that the built-in upstream replays: data files, written for this project.
//!
//! A trace names harms and teaches none: its sentences are short and empty of instructions.

use std::fmt;

use serde::Deserialize;

/// The data files, in the order in which the demo shows them.
const FILES: [(&str, &str); 16] = [
    ("primes", include_str!("traces/primes.yaml")),
    ("refused-stealer", include_str!("traces/refused-stealer.yaml")),
    ("workshop-scene", include_str!("traces/workshop-scene.yaml")),
    ("mail-drill", include_str!("traces/mail-drill.yaml")),
    ("office-network", include_str!("traces/office-network.yaml")),
    ("upload-key", include_str!("traces/upload-key.yaml")),
    ("gunpowder-plot", include_str!("traces/gunpowder-plot.yaml")),
    ("zombie-process", include_str!("traces/zombie-process.yaml")),
    ("pills-by-mail", include_str!("traces/pills-by-mail.yaml")),
    ("two-drafts", include_str!("traces/two-drafts.yaml")),
    ("status-page", include_str!("traces/status-page.yaml")),
    ("zh-neighbour", include_str!("traces/zh-neighbour.yaml")),
    ("refused-prompt", include_str!("traces/refused-prompt.yaml")),
    ("binary-search", include_str!("traces/binary-search.yaml")),
    ("fever", include_str!("traces/fever.yaml")),
    ("sealed-thinking", include_str!("traces/sealed-thinking.yaml")),
];

/// A server family whose chunks the upstream imitates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Dialect {
    /// DeepSeek's API: `reasoning_content`, usage on the finish chunk.
    Deepseek,
    /// vLLM with a reasoning parser: `reasoning`.
    Vllm,
    /// No reasoning parser: `<think>` … `</think>` inside `content`.
    ThinkTags,
    /// Raw R1 whose template opens the thinking: only `</think>` stands in `content`.
    CloseOnly,
    /// OpenRouter: `reasoning` and `reasoning_details`, comments while it waits.
    Openrouter,
    /// Mistral: `content` is an array while the model thinks.
    Mistral,
}

/// What the client of the enforcing proxy gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Delivery {
    /// The response as the upstream wrote it.
    #[default]
    Whole,
    /// The response with spans masked.
    Masked,
    /// The response up to what was blocked, and a notice.
    Cut,
    /// An error in place of a response; the upstream is never asked.
    Refused,
}

/// One exchange as a model would have held it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trace {
    /// The name by which the `model` field of a request chooses it.
    pub(crate) name: String,
    /// What it shows, in a few words.
    pub(crate) title: String,
    /// The server family whose chunks carry it.
    pub(crate) dialect: Dialect,
    /// What the user asks.
    pub(crate) prompt: String,
    /// Whether the thinking reaches the client only as an opaque blob.
    #[serde(default)]
    pub(crate) encrypted: bool,
    /// What the enforcing proxy's client is expected to get, with the shipped rules.
    #[serde(default)]
    pub(crate) delivery: Delivery,
    /// The model's choices, in the order of their index.
    pub(crate) choices: Vec<Choice>,
}

/// One of the answers that the model gives to a prompt.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Choice {
    /// The outcome that the shipped rules are expected to conclude.
    pub(crate) outcome: String,
    /// The reasoning.
    pub(crate) thinking: String,
    /// The answer.
    pub(crate) answer: String,
    /// Tools that the model calls after the answer.
    #[serde(default)]
    pub(crate) tool_calls: Vec<ToolCall>,
}

/// A call of one of the caller's tools.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToolCall {
    /// The call's id.
    pub(crate) id: String,
    /// The tool.
    pub(crate) name: String,
    /// Its arguments: JSON in a string, as it is on the wire.
    pub(crate) arguments: String,
}

/// A data file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("read the trace {name}: {reason}")]
pub(crate) struct BrokenTrace {
    name: &'static str,
    reason: String,
}

/// Reads every trace, in the order in which the demo shows them.
pub(crate) fn all() -> Result<Vec<Trace>, BrokenTrace> {
    let mut traces = Vec::with_capacity(FILES.len());
    for (name, text) in FILES {
        let broken = |reason: String| BrokenTrace { name, reason };
        let trace: Trace =
            serde_saphyr::from_str(text).map_err(|error| broken(error.to_string()))?;
        if trace.name != name {
            return Err(broken(format!("it calls itself {}", trace.name)));
        }
        traces.push(trace);
    }
    Ok(traces)
}

// === impl Trace ===

impl Trace {
    /// The model's name in requests for this trace.
    pub(crate) fn model(&self) -> String {
        format!("demo/{}", self.name)
    }
}

// === impl Dialect ===

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deepseek => "DeepSeek reasoning_content",
            Self::Vllm => "vLLM reasoning",
            Self::ThinkTags => "<think> tags in content",
            Self::CloseOnly => "raw R1, </think> only",
            Self::Openrouter => "OpenRouter reasoning_details",
            Self::Mistral => "Mistral content arrays",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::tokens::tokens;

    #[test]
    fn every_trace_is_long_enough_to_be_watched() {
        for trace in all().unwrap() {
            let length: usize = trace
                .choices
                .iter()
                .map(|choice| tokens(&choice.thinking).len() + tokens(&choice.answer).len())
                .sum();
            assert!(length >= 150, "{} has {length} tokens", trace.name);
        }
    }

    #[test]
    fn every_outcome_is_shown() {
        let traces = all().unwrap();
        let shown: Vec<&str> = traces
            .iter()
            .flat_map(|trace| &trace.choices)
            .map(|choice| choice.outcome.as_str())
            .collect();
        for outcome in [
            "benign",
            "safety_aware",
            "leaky_thinking",
            "superficial",
            "self_jailbreak",
            "unsafe",
            "over_sensitive",
            "unjudged",
        ] {
            assert!(shown.contains(&outcome), "no trace is {outcome}");
        }
    }
}
