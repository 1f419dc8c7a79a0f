//! The token counts at the end of a response.

use std::fmt;

use crate::cli::demo::{tokens::tokens, traces::Trace};

/// How many tokens an exchange took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Usage {
    prompt: usize,
    thinking: usize,
    rest: usize,
}

// === impl Usage ===

impl Usage {
    /// The usage of the first `choices` choices of `trace`.
    pub(super) fn of(trace: &Trace, choices: usize) -> Self {
        let mut usage = Self { prompt: tokens(&trace.prompt).len(), thinking: 0, rest: 0 };
        for choice in trace.choices.iter().take(choices) {
            usage.thinking += tokens(&choice.thinking).len();
            usage.rest += tokens(&choice.answer).len();
            for call in &choice.tool_calls {
                usage.rest += tokens(&call.arguments).len();
            }
        }
        usage
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { prompt, thinking, rest } = self;
        let completion = thinking + rest;
        let total = prompt + completion;
        write!(
            f,
            r#"{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{total},"completion_tokens_details":{{"reasoning_tokens":{thinking}}}}}"#
        )
    }
}
