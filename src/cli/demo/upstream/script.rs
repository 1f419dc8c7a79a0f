//! What a model writes, in the order in which it writes it: the parts that a dialect's chunks carry.

use crate::cli::demo::{
    tokens::tokens,
    traces::{Choice, Dialect, Trace},
};

/// One step of a choice; each becomes one chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The choice begins.
    Role,
    /// A token of thinking, in the dialect's own field.
    Thinking(String),
    /// All of the thinking as an opaque blob.
    Encrypted,
    /// A token of content.
    Content(String),
    /// A tool call begins.
    CallStart { index: usize, id: String, name: String },
    /// A token of a tool call's arguments.
    CallArguments { index: usize, text: String },
    /// The choice ends.
    Finish(&'static str),
}

/// The parts of `choice` as `trace`'s dialect streams it.
pub(super) fn parts(trace: &Trace, choice: &Choice) -> Vec<Part> {
    let mut parts = vec![Part::Role];
    if trace.encrypted {
        parts.push(Part::Encrypted);
    } else if in_content(trace.dialect) {
        parts.extend(inline_thinking(trace.dialect, &choice.thinking));
    } else {
        parts.extend(tokens(&choice.thinking).into_iter().map(Part::Thinking));
    }
    parts.extend(tokens(&choice.answer).into_iter().map(Part::Content));
    for (index, call) in choice.tool_calls.iter().enumerate() {
        parts.push(Part::CallStart { index, id: call.id.clone(), name: call.name.clone() });
        parts.extend(
            tokens(&call.arguments).into_iter().map(|text| Part::CallArguments { index, text }),
        );
    }
    parts.push(Part::Finish(if choice.tool_calls.is_empty() { "stop" } else { "tool_calls" }));
    parts
}

/// The whole content of a choice whose thinking stands in it.
pub(super) fn inline_content(dialect: Dialect, choice: &Choice) -> String {
    let mut content = String::new();
    for part in inline_thinking(dialect, &choice.thinking) {
        if let Part::Content(text) = part {
            content.push_str(&text);
        }
    }
    content.push_str(&choice.answer);
    content
}

/// Whether the dialect has no field for thinking.
pub(super) fn in_content(dialect: Dialect) -> bool {
    match dialect {
        Dialect::ThinkTags | Dialect::CloseOnly => true,
        Dialect::Deepseek | Dialect::Vllm | Dialect::Openrouter | Dialect::Mistral => false,
    }
}

/// Thinking between tags; the tags are split as a tokenizer without a token for them splits them.
fn inline_thinking(dialect: Dialect, thinking: &str) -> Vec<Part> {
    let open: &[&str] = match dialect {
        Dialect::CloseOnly => &[],
        _ => &["<th", "ink", ">", "\n"],
    };
    let close = ["\n", "</", "think", ">", "\n\n"];
    let pieces = open.iter().map(ToString::to_string);
    let pieces = pieces.chain(tokens(thinking)).chain(close.iter().map(ToString::to_string));
    pieces.map(Part::Content).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice() -> Choice {
        Choice {
            outcome: "benign".into(),
            thinking: "Hm.".into(),
            answer: "Yes.".into(),
            tool_calls: Vec::new(),
        }
    }

    #[test]
    fn tags_are_split_over_parts() {
        assert_eq!(
            inline_thinking(Dialect::ThinkTags, "Hm."),
            ["<th", "ink", ">", "\n", "Hm", ".", "\n", "</", "think", ">", "\n\n"]
                .map(|text| Part::Content(text.into()))
        );
    }

    #[test]
    fn raw_r1_only_closes() {
        assert_eq!(inline_content(Dialect::CloseOnly, &choice()), "Hm.\n</think>\n\nYes.");
    }
}
