//! Ollama's own wire: `/api/chat` and `/api/generate`, a JSON object a line or one whole body.
//!
//! Source: <https://docs.ollama.com/api>. There is one choice. Tool calls come whole, their
//! arguments as objects. `context` holds the token ids of the conversation: nobody reads them, so they are counted.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    chunk::{Chunk, Opaque, Source},
    fields::Fields,
    json::{each_item, says_nothing},
    pieces::Pieces,
    refusal::{Ending, Identity},
};

/// An exchange, and what its lines have told so far.
#[derive(Debug)]
pub(super) struct Ollama {
    shape: Shape,
    /// Tool calls so far: their own indices are not told apart by every version.
    calls: u32,
}

/// Where a line shows text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `message`.
    Chat,
    /// `response`.
    Generate,
}

/// The shape of a line that is beyond doubt of this dialect.
pub(super) fn shape_of(has: &dyn Fn(&str) -> bool) -> Option<Shape> {
    if !has("done") {
        None
    } else if has("message") {
        Some(Shape::Chat)
    } else {
        has("response").then_some(Shape::Generate)
    }
}

// === impl Ollama ===

impl Ollama {
    pub(super) const fn new(shape: Shape) -> Self {
        Self { shape, calls: 0 }
    }

    /// Reads one line, or a whole body.
    pub(super) fn read<'de>(&mut self, payload: &'de str) -> Chunk<'de> {
        let mut chunk = Chunk::default();
        let mut pieces = Pieces::new(payload, &mut chunk);
        let fields = pieces.fields(payload);
        let mut finished = false;
        for (key, raw) in fields.iter() {
            pieces.chunk.known |= matches!(key, "message" | "response" | "done" | "error");
            match key {
                "model" => pieces.chunk.envelope.model = Some(raw),
                "created_at" => pieces.chunk.envelope.created = Some(raw),
                "message" => self.message(&mut pieces, raw),
                "response" => pieces.text(Source::Content, raw),
                "thinking" => pieces.text(Source::ReasoningContent, raw),
                "done" => finished = raw == "true",
                "error" => pieces.chunk.error |= !says_nothing(raw),
                "logprobs" => pieces.logprobs(Source::ContentLogprobs, raw),
                "image" | "images" => pieces.opaque(Opaque::Media, raw),
                "done_reason" | "remote_model" | "remote_host" => {}
                _ => pieces.unread(raw),
            }
        }
        chunk.known &= fields.whole;
        chunk.done = finished;
        if chunk.known && !chunk.error {
            chunk.choices.push((0, finished));
        }
        chunk
    }

    fn message<'de>(&mut self, pieces: &mut Pieces<'_, 'de>, raw: &'de str) {
        for (key, raw) in pieces.fields(raw).iter() {
            match key {
                "content" => pieces.text(Source::Content, raw),
                "thinking" => pieces.text(Source::ReasoningContent, raw),
                "tool_calls" => {
                    each_item(raw, |call| self.tool_call(pieces, call));
                }
                "images" => pieces.opaque(Opaque::Media, raw),
                "role" | "tool_name" | "tool_call_id" => {}
                _ => pieces.unread(raw),
            }
        }
    }

    fn tool_call<'de>(&mut self, pieces: &mut Pieces<'_, 'de>, call: &'de str) {
        let index = self.calls;
        self.calls = self.calls.saturating_add(1);
        pieces.call(index, call);
        for (key, raw) in pieces.fields(call).iter() {
            match key {
                "function" => pieces.function(index, raw),
                "id" | "type" => {}
                _ => pieces.unread(raw),
            }
        }
        pieces.chunk.ended_calls.push((0, index));
    }

    /// The lines that end the stream. The text is a line of its own: some clients pass over what stands in the last.
    pub(super) fn end(&self, ending: &Ending<'_>) -> Bytes {
        let Some(end) = ending.choices.first() else { return Bytes::new() };
        let texts = end.close_tag.into_iter().chain(end.notice.as_deref());
        let text = texts.collect::<String>();
        let mut lines = String::new();
        let mut push = |line: &Value| lines.push_str(&[&line.to_string(), "\n"].concat());
        if !text.is_empty() {
            push(&self.line(ending.identity, &text, &json!({"done": false})));
        }
        push(&self.line(ending.identity, "", &filtered()));
        lines.into()
    }

    /// A whole body that holds nothing but the notice.
    pub(super) fn whole_body(&self, identity: &Identity, notice: &str) -> Bytes {
        self.line(identity, notice, &filtered()).to_string().into()
    }

    fn line(&self, identity: &Identity, text: &str, end: &Value) -> Value {
        let (key, value) = match self.shape {
            Shape::Chat => ("message", json!({"role": "assistant", "content": text})),
            Shape::Generate => ("response", text.into()),
        };
        let told = [
            ("model", identity.model_value()),
            ("created_at", identity.created_as_time()),
            (key, value),
        ];
        let told = told.into_iter().map(|(key, value)| (key.to_owned(), value));
        told.chain(
            end.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())),
        )
        .collect()
    }
}

/// The end of a response that was stopped. Ollama has no such reason of its own; clients hand on any, and some know this
/// one from completions.
fn filtered() -> Value {
    json!({"done": true, "done_reason": "content_filter"})
}

/// Whether a line of which something was hidden tells its client nothing any more.
pub(super) fn tells_nothing(payload: &str) -> bool {
    Fields::read(payload).iter().all(|(key, raw)| match key {
        "model" | "created_at" => true,
        "message" => Fields::read(raw).iter().all(|(key, raw)| key == "role" || says_nothing(raw)),
        "done" => raw == "false",
        _ => says_nothing(raw),
    })
}

/// An error in the shape that this dialect's clients read.
pub(super) fn error_body(message: &str) -> Value {
    json!({"error": message})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::refusal::ChoiceEnd;

    fn pieces(ollama: &mut Ollama, payload: &str) -> Vec<(Source, String, String)> {
        let chunk = ollama.read(payload);
        assert!(chunk.known, "{payload}");
        let pieces = chunk.pieces.into_iter();
        pieces
            .map(|piece| (piece.source, piece.text.into_owned(), payload[piece.json].to_owned()))
            .collect()
    }

    fn told(source: Source, text: &str, json: &str) -> (Source, String, String) {
        (source, text.into(), json.into())
    }

    #[test]
    fn reads_chat_and_generate() {
        let mut ollama = Ollama::new(Shape::Chat);
        let mut read = |payload: &str| pieces(&mut ollama, payload);
        assert_eq!(
            read(r#"{"message":{"role":"assistant","content":"","thinking":"a"},"done":false}"#),
            [told(Source::ReasoningContent, "a", "\"a\"")]
        );
        assert_eq!(
            read(r#"{"model":"m","response":"\u00e9","thinking":"","done":false}"#),
            [told(Source::Content, "é", r#""\u00e9""#)]
        );
        let call = r#"{"id":"c","function":{"index":0,"name":"f","arguments":{"city":"x"}}}"#;
        for index in 0..2 {
            let payload = format!(r#"{{"message":{{"tool_calls":[{call}]}},"done":false}}"#);
            let source = Source::ToolArguments(index);
            let arguments = r#"{"city":"x"}"#;
            let expected = [told(source, "", call), told(source, arguments, arguments)];
            assert_eq!(read(&payload), expected);
        }
    }

    #[test]
    fn reads_the_end_and_counts_the_token_ids() {
        let payload = r#"{"model":"m","created_at":"t","response":"","done":true,"done_reason":"stop","context":[1,2],"eval_count":7}"#;
        let chunk = Ollama::new(Shape::Generate).read(payload);
        assert_eq!(chunk.choices, [(0, true)]);
        assert!(chunk.done && chunk.pieces.is_empty());
        assert_eq!(chunk.opaque, [(0, Opaque::Field, 5)]);
        assert_eq!(&payload[chunk.unread[0].clone()], "[1,2]");
        assert_eq!((chunk.envelope.model, chunk.envelope.created), (Some("\"m\""), Some("\"t\"")));
    }

    #[test]
    fn knows_an_error_and_other_shapes() {
        let error = Ollama::new(Shape::Chat).read(r#"{"error":"an error was encountered"}"#);
        assert!(error.known && error.error && error.choices.is_empty());
        for payload in ["", "7", "[]", "{}", r#"{"choices":[]}"#, r#"{"message":{"content":"a""#] {
            assert!(!Ollama::new(Shape::Chat).read(payload).known, "{payload}");
        }
        let novel = Ollama::new(Shape::Chat).read(r#"{"done":false,"novel":{"x":"y"},"n":1}"#);
        assert_eq!(novel.opaque, [(0, Opaque::Field, 9)]);
    }

    #[test]
    fn all_values_of_a_repeated_key_are_pieces() {
        let read = pieces(&mut Ollama::new(Shape::Generate), r#"{"response":"a","response":"b"}"#);
        assert_eq!(read, [told(Source::Beside, "a", "\"a\""), told(Source::Content, "b", "\"b\"")]);
    }

    #[test]
    fn knows_lines_that_tell_nothing() {
        let empty = r#"{"model":"m","message":{"role":"assistant","content":"","thinking":""},"done":false}"#;
        assert!(tells_nothing(empty));
        for says in [
            r#"{"model":"m","message":{"role":"assistant","content":"a"},"done":false}"#,
            r#"{"model":"m","message":{"role":"assistant","content":""},"done":true}"#,
            r#"{"message":{"tool_calls":[{}]},"done":false}"#,
        ] {
            assert!(!tells_nothing(says), "{says}");
        }
    }

    #[test]
    fn ends_in_a_line_of_its_shape() {
        let identity = Identity { id: "\"x\"".into(), created: "7".into(), model: "\"m\"".into() };
        let notice = Some("stopped".to_owned());
        let choices = [ChoiceEnd { index: 0, role: true, close_tag: None, notice }];
        let ending = Ending { identity: &identity, choices: &choices, usage: None };
        for (shape, text) in [(Shape::Chat, "/message/content"), (Shape::Generate, "/response")] {
            let ollama = Ollama::new(shape);
            let lines = String::from_utf8(ollama.end(&ending).to_vec()).unwrap();
            let lines: Vec<Value> = lines
                .split_terminator('\n')
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            let told = lines.iter().map(|line| (line["done"] == true, line.pointer(text).unwrap()));
            assert!(told.eq([(false, &json!("stopped")), (true, &json!(""))]));
            assert!(lines.iter().all(|line| line["model"] == "m"));
            assert_eq!(lines[1]["created_at"], "1970-01-01T00:00:07Z");
            let body: Value =
                serde_json::from_slice(&ollama.whole_body(&identity, "stopped")).unwrap();
            assert_eq!(body.pointer(text).unwrap(), "stopped");
            assert_eq!(
                (&body["done"], &body["done_reason"]),
                (&json!(true), &json!("content_filter"))
            );
        }
        assert!(Ollama::new(Shape::Chat).end(&Ending { choices: &[], ..ending }).is_empty());
    }
}
