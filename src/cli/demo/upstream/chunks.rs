//! Streamed responses: a trace's parts as the chunks of its dialect.

use std::fmt::Write as _;

use bytes::Bytes;

use super::script::{Part, parts};
use super::{CREATED, usage::Usage};
use crate::cli::demo::traces::{Dialect, Trace};

/// How often OpenRouter shows that it is still there, in tokens.
const COMMENT_EVERY: usize = 40;

/// A streamed response, about to be written.
#[derive(Debug)]
pub(super) struct Stream<'a> {
    /// The trace.
    pub(super) trace: &'a Trace,
    /// The id of every chunk.
    pub(super) id: &'a str,
    /// How many of the trace's choices are asked for.
    pub(super) choices: usize,
    /// Whether the caller asked for a usage chunk.
    pub(super) include_usage: bool,
}

// === impl Stream ===

impl Stream<'_> {
    /// The body, cut into what leaves at one time: a token of each choice.
    pub(super) fn steps(&self) -> Vec<Bytes> {
        let mut choices: Vec<_> = self
            .trace
            .choices
            .iter()
            .take(self.choices)
            .map(|choice| parts(self.trace, choice).into_iter())
            .collect();
        let mut steps = Vec::new();
        if self.trace.dialect == Dialect::Openrouter {
            steps.push(Bytes::from_static(
                b": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n",
            ));
        }
        loop {
            let mut step = String::new();
            for (index, parts) in choices.iter_mut().enumerate() {
                if let Some(part) = parts.next() {
                    self.write_part(&mut step, index, &part);
                }
            }
            if step.is_empty() {
                break;
            }
            if self.trace.dialect == Dialect::Openrouter && steps.len() % COMMENT_EVERY == 0 {
                step.push_str(": OPENROUTER PROCESSING\n\n");
            }
            steps.push(step.into());
        }
        steps.push(self.end().into());
        steps
    }

    /// Writes the chunk of one part.
    fn write_part(&self, step: &mut String, index: usize, part: &Part) {
        let finish = match part {
            Part::Finish(reason) => quoted(reason),
            _ => "null".to_owned(),
        };
        let delta = delta(self.trace.dialect, part);
        let choice = match self.trace.dialect {
            Dialect::Mistral => {
                format!(r#"{{"index":{index},"delta":{delta},"finish_reason":{finish}}}"#)
            }
            Dialect::Openrouter => format!(
                r#"{{"index":{index},"delta":{delta},"finish_reason":{finish},"native_finish_reason":{finish},"logprobs":null}}"#
            ),
            Dialect::Vllm if matches!(part, Part::Finish(_)) => format!(
                r#"{{"index":{index},"delta":{delta},"logprobs":null,"finish_reason":{finish},"stop_reason":null,"token_ids":null}}"#
            ),
            Dialect::Deepseek | Dialect::Vllm | Dialect::ThinkTags | Dialect::CloseOnly => format!(
                r#"{{"index":{index},"delta":{delta},"logprobs":null,"finish_reason":{finish}}}"#
            ),
        };
        self.write_chunk(step, &choice, &self.usage_beside(part));
    }

    /// What the dialect adds to a chunk after its choices.
    fn usage_beside(&self, part: &Part) -> String {
        let finished = matches!(part, Part::Finish(_));
        match self.trace.dialect {
            Dialect::Deepseek | Dialect::Mistral if finished => {
                format!(r#","usage":{}"#, self.usage())
            }
            Dialect::Deepseek => r#","usage":null"#.to_owned(),
            _ => String::new(),
        }
    }

    /// What comes after the last choice's end.
    fn end(&self) -> String {
        let mut end = String::new();
        let usage = format!(r#","usage":{}"#, self.usage());
        match self.trace.dialect {
            Dialect::Openrouter => {
                let choice = r#"{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null,"native_finish_reason":null,"logprobs":null}"#;
                self.write_chunk(&mut end, choice, &usage);
            }
            Dialect::Vllm | Dialect::ThinkTags | Dialect::CloseOnly if self.include_usage => {
                self.write_chunk(&mut end, "", &usage);
            }
            _ => {}
        }
        end.push_str("data: [DONE]\n\n");
        end
    }

    /// Writes one event.
    fn write_chunk(&self, step: &mut String, choices: &str, tail: &str) {
        let id = quoted(self.id);
        let model = quoted(&self.trace.model());
        let head = match self.trace.dialect {
            Dialect::Openrouter => format!(
                r#""id":{id},"provider":"Demo","model":{model},"object":"chat.completion.chunk","created":{CREATED}"#
            ),
            Dialect::Deepseek => format!(
                r#""id":{id},"object":"chat.completion.chunk","created":{CREATED},"model":{model},"system_fingerprint":"fp_demo""#
            ),
            Dialect::Vllm | Dialect::ThinkTags | Dialect::CloseOnly | Dialect::Mistral => format!(
                r#""id":{id},"object":"chat.completion.chunk","created":{CREATED},"model":{model}"#
            ),
        };
        // Writing to a string cannot fail.
        let _ok = writeln!(step, "data: {{{head},\"choices\":[{choices}]{tail}}}\n");
    }

    /// The numbers at the end.
    fn usage(&self) -> Usage {
        Usage::of(self.trace, self.choices)
    }
}

/// The `delta` object of a part.
fn delta(dialect: Dialect, part: &Part) -> String {
    match part {
        Part::Role => role(dialect).to_owned(),
        Part::Thinking(text) => thinking(dialect, &quoted(text)),
        Part::Encrypted => encrypted().to_owned(),
        Part::Content(text) => content(dialect, &quoted(text)),
        Part::CallStart { index, id, name } => format!(
            r#"{{"tool_calls":[{{"id":{},"type":"function","index":{index},"function":{{"name":{},"arguments":""}}}}]}}"#,
            quoted(id),
            quoted(name)
        ),
        Part::CallArguments { index, text } => format!(
            r#"{{"tool_calls":[{{"index":{index},"function":{{"arguments":{}}}}}]}}"#,
            quoted(text)
        ),
        Part::Finish(_) => last(dialect).to_owned(),
    }
}

/// The delta of a choice's first chunk.
fn role(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Deepseek => r#"{"role":"assistant","content":null,"reasoning_content":""}"#,
        Dialect::Openrouter => {
            r#"{"role":"assistant","content":"","reasoning":null,"reasoning_details":[]}"#
        }
        Dialect::Vllm | Dialect::ThinkTags | Dialect::CloseOnly | Dialect::Mistral => {
            r#"{"role":"assistant","content":""}"#
        }
    }
}

/// The delta of a token of thinking, given as a JSON string.
fn thinking(dialect: Dialect, text: &str) -> String {
    match dialect {
        Dialect::Deepseek => format!(r#"{{"content":null,"reasoning_content":{text}}}"#),
        Dialect::Vllm | Dialect::ThinkTags | Dialect::CloseOnly => {
            format!(r#"{{"reasoning":{text}}}"#)
        }
        Dialect::Openrouter => format!(
            r#"{{"role":"assistant","content":"","reasoning":{text},"reasoning_details":[{{"type":"reasoning.text","text":{text},"format":"unknown","index":0}}]}}"#
        ),
        Dialect::Mistral => format!(
            r#"{{"content":[{{"type":"thinking","thinking":[{{"type":"text","text":{text}}}]}}]}}"#
        ),
    }
}

/// The delta of thinking that only the server can read.
fn encrypted() -> &'static str {
    r#"{"role":"assistant","content":"","reasoning":null,"reasoning_details":[{"type":"reasoning.encrypted","data":"gAAAAABkZW1vLW9wYXF1ZS1ibG9i","id":"rs_demo","format":"openai-responses-v1","index":0}]}"#
}

/// The delta of a token of content, given as a JSON string.
fn content(dialect: Dialect, text: &str) -> String {
    match dialect {
        Dialect::Deepseek => format!(r#"{{"content":{text},"reasoning_content":null}}"#),
        Dialect::Openrouter => format!(
            r#"{{"role":"assistant","content":{text},"reasoning":null,"reasoning_details":[]}}"#
        ),
        Dialect::Vllm | Dialect::ThinkTags | Dialect::CloseOnly | Dialect::Mistral => {
            format!(r#"{{"content":{text}}}"#)
        }
    }
}

/// The delta of a choice's last chunk.
fn last(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Deepseek => r#"{"content":"","reasoning_content":null}"#,
        Dialect::Openrouter => {
            r#"{"role":"assistant","content":"","reasoning":null,"reasoning_details":[]}"#
        }
        Dialect::Vllm | Dialect::ThinkTags | Dialect::CloseOnly => "{}",
        Dialect::Mistral => r#"{"content":""}"#,
    }
}

/// `text` as a JSON string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::traces;

    fn body(name: &str) -> String {
        let traces = traces::all().unwrap();
        let trace = traces.iter().find(|trace| trace.name == name).unwrap();
        let stream = Stream { trace, id: "id", choices: trace.choices.len(), include_usage: true };
        stream.steps().iter().map(|step| String::from_utf8(step.to_vec()).unwrap()).collect()
    }

    #[test]
    fn every_event_is_json_until_the_done() {
        for trace in traces::all().unwrap() {
            let body = body(&trace.name);
            assert!(body.ends_with("data: [DONE]\n\n"), "{}", trace.name);
            for event in body.split("\n\n").filter(|event| !event.is_empty()) {
                if event.starts_with(": ") || event == "data: [DONE]" {
                    continue;
                }
                let data = event.strip_prefix("data: ").unwrap();
                let chunk: serde_json::Value = serde_json::from_str(data).unwrap();
                assert_eq!(chunk["object"], "chat.completion.chunk", "{event}");
            }
        }
    }

    #[test]
    fn deepseek_counts_usage_on_the_finish_chunk() {
        let body = body("primes");
        let finish = body.lines().find(|line| line.contains(r#""finish_reason":"stop""#)).unwrap();
        assert!(finish.contains(r#""usage":{"prompt_tokens":"#), "{finish}");
    }

    #[test]
    fn openrouter_says_the_thinking_twice_and_comments() {
        let body = body("fever");
        assert!(body.starts_with(": OPENROUTER PROCESSING\n\n"));
        assert!(body.contains(
            r#""reasoning":" adult","reasoning_details":[{"type":"reasoning.text","text":" adult""#
        ));
    }

    #[test]
    fn two_choices_come_in_turns() {
        let body = body("two-drafts");
        let indexes: Vec<bool> = body
            .lines()
            .filter(|line| line.contains(r#""reasoning":"#))
            .map(|line| line.contains(r#""index":1"#))
            .take(4)
            .collect();
        assert_eq!(indexes, [false, true, false, true]);
    }

    #[test]
    fn a_tool_call_begins_with_its_name() {
        let body = body("status-page");
        assert!(body.contains(r#""function":{"name":"post_status","arguments":""}"#));
        assert!(body.contains(r#""finish_reason":"tool_calls""#));
    }
}
