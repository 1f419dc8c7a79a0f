//! What a client gets: a streamed response put together again, as an SDK does it.

use std::collections::BTreeMap;

use serde_json::Value;

/// A response as far as it has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    /// The choices by index.
    pub(crate) choices: BTreeMap<u64, ReceivedChoice>,
    /// Whether `[DONE]` has come.
    pub(crate) done: bool,
    /// Bytes of the body.
    pub(crate) bytes: usize,
    /// Bytes of a line whose end has not come yet.
    rest: Vec<u8>,
}

/// One choice as far as it has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReceivedChoice {
    /// The thinking.
    pub(crate) thinking: String,
    /// The answer.
    pub(crate) answer: String,
    /// Arguments of the tool calls, joined with nothing between.
    pub(crate) arguments: String,
    /// The `finish_reason`, once it has come.
    pub(crate) finish: Option<String>,
    /// `content` as it came, where tags may stand in it.
    content: String,
    /// Whether a field of its own has carried thinking.
    thinking_field: bool,
}

// === impl Received ===

impl Received {
    /// Reads more of the body.
    pub(crate) fn read(&mut self, chunk: &[u8]) {
        self.bytes += chunk.len();
        self.rest.extend_from_slice(chunk);
        while let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            if let Some(data) = line.strip_prefix(b"data: ") {
                self.read_data(data.trim_ascii());
            }
        }
    }

    /// Reads one event.
    fn read_data(&mut self, data: &[u8]) {
        if data == b"[DONE]" {
            self.done = true;
            return;
        }
        let Ok(chunk) = serde_json::from_slice::<Value>(data) else { return };
        let choices = chunk.get("choices").and_then(Value::as_array);
        for choice in choices.into_iter().flatten() {
            let index = choice.get("index").and_then(Value::as_u64).unwrap_or(0);
            self.choices.entry(index).or_default().read(choice);
        }
    }

    /// Characters of thinking, answer and arguments, over all choices.
    pub(crate) fn chars(&self) -> usize {
        self.choices.values().map(ReceivedChoice::chars).sum()
    }
}

// === impl ReceivedChoice ===

impl ReceivedChoice {
    /// Reads one entry of a chunk's `choices`.
    fn read(&mut self, choice: &Value) {
        if let Some(reason) = choice.get("finish_reason").and_then(Value::as_str) {
            self.finish = Some(reason.to_owned());
        }
        let Some(delta) = choice.get("delta") else { return };
        for field in ["reasoning_content", "reasoning"] {
            if let Some(text) = delta.get(field).and_then(Value::as_str) {
                self.thinking.push_str(text);
                self.thinking_field |= !text.is_empty();
            }
        }
        match delta.get("content") {
            Some(Value::String(text)) => self.read_content(text),
            Some(Value::Array(parts)) => self.read_parts(parts),
            _ => {}
        }
        let calls = delta.get("tool_calls").and_then(Value::as_array);
        for call in calls.into_iter().flatten() {
            if let Some(text) = call.pointer("/function/arguments").and_then(Value::as_str) {
                self.arguments.push_str(text);
            }
        }
    }

    /// Reads a piece of `content`; a close tag turns what came before it into thinking.
    fn read_content(&mut self, text: &str) {
        self.content.push_str(text);
        if self.thinking_field {
            self.answer.push_str(text);
            return;
        }
        let after_open = self.content.strip_prefix("<think>");
        match self.content.split_once("</think>") {
            Some((thinking, answer)) => {
                thinking.strip_prefix("<think>").unwrap_or(thinking).clone_into(&mut self.thinking);
                answer.clone_into(&mut self.answer);
            }
            None if after_open.is_some() => {
                after_open.unwrap_or_default().clone_into(&mut self.thinking);
                self.answer.clear();
            }
            None => self.content.clone_into(&mut self.answer),
        }
    }

    /// Reads Mistral's array of parts.
    fn read_parts(&mut self, parts: &[Value]) {
        for part in parts {
            if let Some(text) = part.get("text").and_then(Value::as_str) {
                self.answer.push_str(text);
            }
            let thoughts = part.get("thinking").and_then(Value::as_array);
            for thought in thoughts.into_iter().flatten() {
                if let Some(text) = thought.get("text").and_then(Value::as_str) {
                    self.thinking.push_str(text);
                    self.thinking_field = true;
                }
            }
        }
    }

    /// Characters of thinking, answer and arguments.
    fn chars(&self) -> usize {
        self.thinking.chars().count() + self.answer.chars().count() + self.arguments.chars().count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(events: &[&str]) -> ReceivedChoice {
        let mut received = Received::default();
        for event in events {
            let line = format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{event}}}]}}\n\n");
            for byte in line.bytes() {
                received.read(&[byte]);
            }
        }
        received.choices.remove(&0).unwrap()
    }

    #[test]
    fn reads_the_fields_of_thinking() {
        let choice =
            read(&[r#"{"reasoning_content":"a"}"#, r#"{"reasoning":"b"}"#, r#"{"content":"c"}"#]);
        assert_eq!((choice.thinking.as_str(), choice.answer.as_str()), ("ab", "c"));
    }

    #[test]
    fn splits_tags_over_deltas() {
        let choice =
            read(&[r#"{"content":"<th"}"#, r#"{"content":"ink>a</t"}"#, r#"{"content":"hink>b"}"#]);
        assert_eq!((choice.thinking.as_str(), choice.answer.as_str()), ("a", "b"));
    }

    #[test]
    fn a_lone_close_tag_ends_the_thinking() {
        let choice = read(&[r#"{"content":"a"}"#, r#"{"content":"</think>b"}"#]);
        assert_eq!((choice.thinking.as_str(), choice.answer.as_str()), ("a", "b"));
    }

    #[test]
    fn reads_arrays_of_parts() {
        let choice = read(&[
            r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"a"}]}]}"#,
            r#"{"content":"b"}"#,
        ]);
        assert_eq!((choice.thinking.as_str(), choice.answer.as_str()), ("a", "b"));
    }
}
