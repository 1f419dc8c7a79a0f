//! Cohere's own wire, `/v2/chat`: typed events, or one whole body.
//!
//! Source: <https://docs.cohere.com/v2/docs/streaming>. There is one choice. A tool plan is thinking.
//! The event's type stands in its data, so that its `event:` line does not matter.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    chunk::{Chunk, Source},
    fields::Fields,
    json::{each_item, says_nothing},
    pieces::{MAX_DEPTH, Pieces},
    refusal::{Ending, Identity, named_event},
};

/// Types of the events of a stream, by which one tells it.
const EVENTS: [&str; 11] = [
    "message-start",
    "content-start",
    "content-delta",
    "content-end",
    "tool-plan-delta",
    "tool-call-start",
    "tool-call-delta",
    "tool-call-end",
    "citation-start",
    "citation-end",
    "message-end",
];

/// A filter's finish reason. It is of the dialect's first version; clients of both hand it on, and those that know
/// any reason for a filter know this one.
const FILTERED: &str = "ERROR_TOXIC";

/// Whether an event's type is one of this dialect and of no other.
pub(super) fn is_told_by(kind: &str) -> bool {
    EVENTS.contains(&kind.trim_matches('"'))
}

/// Whether a whole body without a type is beyond doubt of this dialect.
pub(super) fn is_whole(has: &dyn Fn(&str) -> bool) -> bool {
    has("message") && has("finish_reason") && !has("choices")
}

/// Reads one event's data, or a whole body.
pub(super) fn read(payload: &str) -> Chunk<'_> {
    if payload.trim_ascii() == "[DONE]" {
        return Chunk { done: true, known: true, ..Chunk::default() };
    }
    let mut chunk = Chunk::default();
    let mut pieces = Pieces::new(payload, &mut chunk);
    let fields = pieces.fields(payload);
    let call = fields.number("index").unwrap_or(0);
    let mut reader = Reader { pieces, call, finished: false };
    match fields.string("type") {
        Some(kind) => reader.event(&fields, &kind),
        None => reader.whole(&fields),
    }
    let finished = reader.finished;
    chunk.known &= fields.whole;
    chunk.done = finished && fields.get("type").is_some();
    if chunk.known && (finished || !chunk.error) {
        chunk.choices.push((0, finished));
    }
    chunk
}

/// Whether an event of which something was hidden tells its client nothing any more.
pub(super) fn tells_nothing(payload: &str) -> bool {
    let fields = Fields::read(payload);
    let kind = fields.string("type").unwrap_or_default();
    let message = fields.get("delta").map(Fields::read).unwrap_or_default();
    let message = message.get("message").map(Fields::read).unwrap_or_default();
    let nothing = |raw: &str| {
        says_nothing(raw)
            || Fields::read(raw).iter().all(|(key, raw)| key == "type" || says_nothing(raw))
    };
    matches!(&*kind, "content-delta" | "tool-plan-delta")
        && message.iter().all(|(_, raw)| nothing(raw))
}

struct Reader<'c, 'de> {
    pieces: Pieces<'c, 'de>,
    /// The tool call that the event belongs to, if it is one's.
    call: u32,
    finished: bool,
}

// === impl Reader ===

impl<'de> Reader<'_, 'de> {
    fn event(&mut self, fields: &Fields<'de>, kind: &str) {
        self.pieces.chunk.known = true;
        if !EVENTS.contains(&kind) {
            // Events that came after this was written pass, and are counted.
            return self.pieces.unread(self.pieces.payload);
        }
        for (key, raw) in fields.iter() {
            match key {
                "id" => self.pieces.chunk.envelope.id = Some(raw),
                "delta" => self.delta(raw),
                "logprobs" => self.logprobs(raw),
                "type" | "index" => {}
                _ => self.pieces.unread(raw),
            }
        }
        if kind == "tool-call-end" {
            self.pieces.chunk.ended_calls.push((0, self.call));
        }
        self.finished = kind == "message-end";
    }

    fn delta(&mut self, raw: &'de str) {
        for (key, raw) in self.pieces.fields(raw).iter() {
            match key {
                "message" => self.message(raw),
                "usage" => self.usage(raw),
                "error" => self.pieces.chunk.error |= !says_nothing(raw),
                "finish_reason" => {}
                _ => self.pieces.unread(raw),
            }
        }
    }

    fn whole(&mut self, fields: &Fields<'de>) {
        for (key, raw) in fields.iter() {
            match key {
                "id" => self.pieces.chunk.envelope.id = Some(raw),
                "message" => {
                    self.pieces.chunk.known = true;
                    self.pieces.chunk.error = raw.starts_with('"');
                    self.finished = raw.starts_with('{');
                    self.message(raw);
                }
                "usage" => self.usage(raw),
                "logprobs" => {
                    each_item(raw, |entry| self.logprobs(entry));
                }
                "finish_reason" => {}
                _ => self.pieces.unread(raw),
            }
        }
    }

    fn message(&mut self, raw: &'de str) {
        for (key, raw) in self.pieces.fields(raw).iter() {
            match key {
                "content" if raw.starts_with('[') => {
                    each_item(raw, |part| self.content(part));
                }
                "content" => self.content(raw),
                "tool_plan" => self.pieces.text(Source::ThinkingPart, raw),
                "tool_calls" if raw.starts_with('[') => {
                    let mut position = 0;
                    each_item(raw, |call| {
                        self.tool_call(position, call);
                        position += 1;
                    });
                }
                "tool_calls" => self.tool_call(self.call, raw),
                // They quote the answer, and the documents that it rests on.
                "citations" if !says_nothing(raw) => self.pieces.every_string(raw, MAX_DEPTH),
                "citations" | "role" => {}
                _ => self.pieces.unread(raw),
            }
        }
    }

    fn content(&mut self, raw: &'de str) {
        if raw.starts_with('"') {
            return self.pieces.text(Source::Content, raw);
        }
        for (key, raw) in self.pieces.fields(raw).iter() {
            match key {
                "text" => self.pieces.text(Source::Content, raw),
                "thinking" => self.pieces.text(Source::ThinkingPart, raw),
                "type" => {}
                _ => self.pieces.unread(raw),
            }
        }
    }

    fn tool_call(&mut self, index: u32, raw: &'de str) {
        if says_nothing(raw) {
            return;
        }
        self.pieces.call(index, raw);
        for (key, raw) in self.pieces.fields(raw).iter() {
            match key {
                "function" => self.pieces.function(index, raw),
                "id" | "type" => {}
                _ => self.pieces.unread(raw),
            }
        }
    }

    /// Tokens in parallel lists, and their text.
    fn logprobs(&mut self, raw: &'de str) {
        for (key, raw) in self.pieces.fields(raw).iter() {
            match key {
                "text" => self.pieces.text(Source::TextBesideDelta, raw),
                "logprobs" => {}
                _ => self.pieces.unread(raw),
            }
        }
    }

    fn usage(&mut self, raw: &'de str) {
        self.pieces.chunk.usage = (raw != "null").then_some(raw);
    }
}

/// What the client was sent of the message's frame.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// `message-start`.
    begun: bool,
    /// The content that is open, and whether it is text.
    content: Option<(u32, bool)>,
    /// The tool call that is open.
    call: Option<u32>,
    /// The index behind all content.
    next: u32,
    /// `message-end`.
    ended: bool,
}

// === impl Sent ===

impl Sent {
    /// Takes note of an event as it was sent.
    pub(super) fn note(&mut self, payload: &str) {
        let fields = Fields::read(payload);
        let index = fields.number("index").unwrap_or(0);
        match fields.string("type").as_deref() {
            Some("message-start") => self.begun = true,
            Some("content-start") => {
                self.content = Some((index, is_text(&fields)));
                self.next = index.saturating_add(1);
            }
            Some("content-end") => self.content = None,
            Some("tool-call-start") => self.call = Some(index),
            Some("tool-call-end") => self.call = None,
            Some("message-end") => self.ended = true,
            _ => {}
        }
    }

    /// The events that end the stream behind what was sent.
    pub(super) fn end(&self, ending: &Ending<'_>) -> Bytes {
        let mut events = String::new();
        let mut push = |event: Value| events.push_str(&named_event(&event));
        if !self.begun {
            let message = json!({"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []});
            let id = ending.identity.id_value();
            push(json!({"id": id, "type": "message-start", "delta": {"message": message}}));
        }
        if let Some(index) = self.call {
            push(json!({"type": "tool-call-end", "index": index}));
        }
        let end = ending.choices.first();
        let texts =
            end.into_iter().flat_map(|end| end.close_tag.into_iter().chain(end.notice.as_deref()));
        let text: String = texts.collect();
        let mut open = self.content;
        if !text.is_empty() && !matches!(open, Some((_, true))) {
            if let Some((index, _)) = open {
                push(json!({"type": "content-end", "index": index}));
            }
            open = Some((self.next, true));
            push(content(self.next, "content-start", &json!({"type": "text", "text": ""})));
        }
        if let Some((index, _)) = open {
            if !text.is_empty() {
                push(content(index, "content-delta", &json!({"text": text})));
            }
            push(json!({"type": "content-end", "index": index}));
        }
        if !self.ended {
            push(
                json!({"type": "message-end", "delta": {"finish_reason": FILTERED, "usage": usage(ending.usage)}}),
            );
        }
        events.push_str("data: [DONE]\n\n");
        events.into()
    }
}

/// Whether a block that opens is to hold text.
fn is_text(fields: &Fields<'_>) -> bool {
    let delta = fields.get("delta").map(Fields::read).unwrap_or_default();
    let message = delta.get("message").map(Fields::read).unwrap_or_default();
    let content = message.get("content").map(Fields::read).unwrap_or_default();
    content.get("type") == Some("\"text\"")
}

fn content(index: u32, kind: &str, content: &Value) -> Value {
    json!({"type": kind, "index": index, "delta": {"message": {"content": content}}})
}

/// What the upstream has told of the usage. Clients count on the fields: where nothing was told, nothing was used yet.
fn usage(told: Option<&str>) -> Value {
    let none = json!({"input_tokens": 0, "output_tokens": 0});
    told.and_then(|told| serde_json::from_str(told).ok())
        .unwrap_or_else(|| json!({"billed_units": none, "tokens": none}))
}

/// A whole message that holds nothing but the notice.
pub(super) fn whole_body(identity: &Identity, notice: &str, told_usage: Option<&str>) -> Bytes {
    let content = [json!({"type": "text", "text": notice})];
    let body = json!({
        "id": identity.id_value(),
        "finish_reason": FILTERED,
        "message": {"role": "assistant", "content": content},
        "usage": usage(told_usage),
    });
    body.to_string().into()
}

/// An error in the shape that this dialect's clients read.
pub(super) fn error_body(message: &str) -> Value {
    json!({"message": message})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::refusal::events_at_end;

    fn pieces(payload: &str) -> Vec<(Source, String)> {
        let chunk = read(payload);
        assert!(chunk.known, "{payload}");
        chunk.pieces.into_iter().map(|piece| (piece.source, piece.text.into_owned())).collect()
    }

    #[test]
    fn reads_events() {
        let (thinking, answer) = (Source::ThinkingPart, Source::Content);
        for (payload, expected) in [
            (
                r#"{"id":"x","type":"message-start","delta":{"message":{"role":"assistant","content":[],"tool_plan":"","tool_calls":[],"citations":[]}}}"#,
                vec![],
            ),
            (
                r#"{"type":"content-start","index":0,"delta":{"message":{"content":{"type":"thinking","thinking":"a"}}}}"#,
                vec![(thinking, "a")],
            ),
            (
                r#"{"type":"content-delta","index":1,"delta":{"message":{"content":{"text":"b"}}},"logprobs":{"text":"b","token_ids":[1],"logprobs":[0.1]}}"#,
                vec![(answer, "b"), (Source::TextBesideDelta, "b")],
            ),
            (
                r#"{"type":"tool-plan-delta","delta":{"message":{"tool_plan":"c"}}}"#,
                vec![(thinking, "c")],
            ),
            (
                r#"{"type":"tool-call-delta","index":2,"delta":{"message":{"tool_calls":{"function":{"arguments":"{\"x"}}}}}"#,
                vec![(Source::ToolArguments(2), ""), (Source::ToolArguments(2), "{\"x")],
            ),
            (
                r#"{"type":"citation-start","index":0,"delta":{"message":{"citations":{"start":1,"text":"b","sources":[{"type":"document","id":"d"}]}}}}"#,
                vec![(Source::Beside, "b")],
            ),
            (r#"{"type":"novel","delta":{"words":"d"}}"#, vec![]),
            ("[DONE]", vec![]),
        ] {
            let expected: Vec<_> =
                expected.into_iter().map(|(source, text)| (source, text.to_owned())).collect();
            assert_eq!(pieces(payload), expected, "{payload}");
        }
    }

    #[test]
    fn reads_the_end() {
        let chunk = read(
            r#"{"type":"message-end","delta":{"finish_reason":"COMPLETE","usage":{"tokens":{"output_tokens":3}}}}"#,
        );
        assert!(chunk.done && !chunk.error);
        assert_eq!(chunk.choices, [(0, true)]);
        assert_eq!(chunk.usage, Some(r#"{"tokens":{"output_tokens":3}}"#));
        let failed = read(
            r#"{"type":"message-end","delta":{"finish_reason":"ERROR","error":"NETWORK_ERROR"}}"#,
        );
        assert!(failed.error && failed.done);
    }

    #[test]
    fn reads_whole_bodies() {
        let payload = r#"{"id":"x","finish_reason":"TOOL_CALL","message":{"role":"assistant","tool_plan":"p",
            "content":[{"type":"thinking","thinking":"t"},{"type":"text","text":"b"}],
            "tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},"usage":{}}"#;
        assert_eq!(
            pieces(payload),
            [
                (Source::ThinkingPart, "p".to_owned()),
                (Source::ThinkingPart, "t".to_owned()),
                (Source::Content, "b".to_owned()),
                (Source::ToolArguments(0), String::new()),
                (Source::ToolArguments(0), "{}".to_owned()),
            ]
        );
        assert_eq!(read(payload).choices, [(0, true)]);
        let error = read(r#"{"message":"invalid request"}"#);
        assert!(error.known && error.error && error.choices.is_empty());
        for payload in ["", "7", "[]", "{}", r#"{"choices":[]}"#, r#"{"type":"content-delta","#] {
            assert!(!read(payload).known, "{payload}");
        }
    }

    fn end_of(sent: &[Value], notice: Option<&str>) -> Vec<Value> {
        let mut state = Sent::default();
        for event in sent {
            state.note(&event.to_string());
        }
        events_at_end("x", notice, |ending| {
            let end = state.end(ending);
            let events = end.strip_suffix(b"data: [DONE]\n\n").unwrap();
            end.slice_ref(events)
        })
    }

    fn kinds(events: &[Value]) -> Vec<(&str, Option<u64>)> {
        let kind = |event: &Value| event["index"].as_u64();
        events.iter().map(|event| (event["type"].as_str().unwrap(), kind(event))).collect()
    }

    #[test]
    fn closes_what_is_open_and_puts_the_notice_into_text_of_its_own() {
        let start = json!({"type": "message-start"});
        let thinking = content(0, "content-start", &json!({"type": "thinking", "thinking": ""}));
        let text = content(1, "content-start", &json!({"type": "text", "text": ""}));
        let end = ("message-end", None);
        let own = |at| {
            [("content-start", Some(at)), ("content-delta", Some(at)), ("content-end", Some(at))]
        };
        let nothing = end_of(&[], Some("n"));
        assert_eq!(kinds(&nothing), [&[("message-start", None)], &own(0)[..], &[end]].concat());
        assert_eq!(nothing[2]["delta"]["message"]["content"]["text"], "n");
        assert_eq!(nothing[4]["delta"]["finish_reason"], FILTERED);
        let sent = [start.clone(), thinking.clone()];
        let in_thinking = end_of(&sent, Some("n"));
        assert_eq!(
            kinds(&in_thinking),
            [&[("content-end", Some(0))], &own(1)[..], &[end]].concat()
        );
        let closed = json!({"type": "content-end", "index": 0});
        let in_text = end_of(&[start.clone(), thinking, closed, text], None);
        assert_eq!(kinds(&in_text), [("content-end", Some(1)), end]);
        let call = json!({"type": "tool-call-start", "index": 2});
        let in_call = end_of(&[start, call], Some("n"));
        assert_eq!(kinds(&in_call), [&[("tool-call-end", Some(2))], &own(0)[..], &[end]].concat());
    }

    #[test]
    fn knows_events_that_tell_nothing() {
        let empty = content(0, "content-delta", &json!({"thinking": ""}));
        let says = content(0, "content-delta", &json!({"thinking": "", "text": "a"}));
        assert!(tells_nothing(&empty.to_string()) && !tells_nothing(&says.to_string()));
        assert!(!tells_nothing(r#"{"type":"content-end","index":0}"#));
    }
}
