//! Cohere's own wire, `/v2/chat`: typed events, or one whole body.
//!
//! Sources: `wire.md`'s table; <https://docs.cohere.com/v2/docs/streaming>. There is one choice. A tool plan is thinking.
//! The event's type stands in its data, so that its `event:` line does not matter.

use super::{
    chunk::{Chunk, Opaque, Source},
    gather::{Gather, MAX_DEPTH},
    json::{each_entry, each_item, says_nothing, string},
    request::Request,
};

/// Reads one event's data, or a whole body.
#[must_use]
pub fn read(payload: &str) -> Chunk<'_> {
    if payload.trim_ascii() == "[DONE]" {
        return Chunk { done: true, known: true, ..Chunk::default() };
    }
    let mut kind = None;
    let mut index = 0;
    let walked = each_entry(payload, |key, raw| match key {
        "type" => kind = string(raw),
        "index" => index = raw.parse().unwrap_or(0),
        _ => {}
    });
    let mut reader = Reader { gather: Gather::new(payload), call: index, finished: false };
    match kind.as_deref() {
        Some(kind) => reader.event(payload, kind),
        None => reader.whole(payload),
    }
    let Reader { gather, finished, .. } = reader;
    let mut chunk = gather.chunk;
    chunk.known &= walked;
    chunk.done |= finished && kind.is_some();
    if chunk.known && !(chunk.error && chunk.pieces.is_empty() && !finished) {
        chunk.choices.push((0, finished));
    }
    chunk
}

struct Reader<'de> {
    gather: Gather<'de>,
    /// The tool call that the event belongs to, if it is one's.
    call: u32,
    finished: bool,
}

// === impl Reader ===

impl<'de> Reader<'de> {
    fn event(&mut self, payload: &'de str, kind: &str) {
        self.gather.chunk.known = true;
        let is_known = matches!(
            kind,
            "message-start"
                | "content-start"
                | "content-delta"
                | "content-end"
                | "tool-plan-delta"
                | "tool-call-start"
                | "tool-call-delta"
                | "tool-call-end"
                | "citation-start"
                | "citation-end"
                | "message-end"
        );
        each_entry(payload, |key, raw| match key {
            "id" => self.gather.chunk.envelope.id = Some(raw),
            "delta" if is_known => self.delta(raw),
            "logprobs" => self.logprobs(raw),
            "type" | "index" => {}
            // An event that is not known may show text all the same.
            _ => self.gather.every_string(raw, MAX_DEPTH),
        });
        self.finished |= kind == "message-end";
    }

    fn delta(&mut self, raw: &'de str) {
        each_entry(raw, |key, raw| match key {
            "message" => self.message(raw),
            "usage" => self.gather.chunk.usage = (raw != "null").then_some(raw),
            "error" if !says_nothing(raw) => self.gather.chunk.error = true,
            "finish_reason" | "error" => {}
            _ => self.gather.opaque(Opaque::Field, raw),
        });
    }

    fn whole(&mut self, payload: &'de str) {
        each_entry(payload, |key, raw| match key {
            "id" => self.gather.chunk.envelope.id = Some(raw),
            "message" if raw.starts_with('"') => {
                self.gather.chunk.known = true;
                self.gather.chunk.error = true;
            }
            "message" => {
                self.gather.chunk.known = true;
                self.finished = true;
                self.message(raw);
            }
            "usage" => self.gather.chunk.usage = (raw != "null").then_some(raw),
            "logprobs" => {
                each_item(raw, |entry| self.logprobs(entry));
            }
            "finish_reason" => {}
            _ => self.gather.opaque(Opaque::Field, raw),
        });
    }

    fn message(&mut self, raw: &'de str) {
        each_entry(raw, |key, raw| match key {
            "content" => self.one_or_many(raw, Self::content),
            "tool_plan" => self.gather.text(Source::ThinkingPart, raw),
            "tool_calls" if raw.starts_with('[') => {
                let mut position = 0;
                each_item(raw, |call| {
                    self.tool_call(position, call);
                    position += 1;
                });
            }
            "tool_calls" => self.tool_call(self.call, raw),
            // They quote the answer, and the documents that it rests on.
            "citations" => self.gather.every_string(raw, MAX_DEPTH),
            "role" => {}
            _ => self.gather.opaque(Opaque::Field, raw),
        });
    }

    fn one_or_many(&mut self, raw: &'de str, mut read: impl FnMut(&mut Self, &'de str)) {
        if raw.starts_with('[') {
            each_item(raw, |item| read(self, item));
        } else {
            read(self, raw);
        }
    }

    fn content(&mut self, raw: &'de str) {
        if raw.starts_with('"') {
            return self.gather.text(Source::Content, raw);
        }
        each_entry(raw, |key, raw| match key {
            "text" => self.gather.text(Source::Content, raw),
            "thinking" => self.gather.text(Source::ThinkingPart, raw),
            "type" => {}
            _ => self.gather.opaque(Opaque::Field, raw),
        });
    }

    fn tool_call(&mut self, index: u32, raw: &'de str) {
        if says_nothing(raw) {
            return;
        }
        self.gather.call(index, raw);
        each_entry(raw, |key, raw| match key {
            "function" => {
                each_entry(raw, |key, raw| match key {
                    "arguments" => self.gather.arguments(index, raw),
                    "name" => {}
                    _ => self.gather.opaque(Opaque::Field, raw),
                });
            }
            "id" | "type" => {}
            _ => self.gather.opaque(Opaque::Field, raw),
        });
    }

    fn logprobs(&mut self, raw: &'de str) {
        each_entry(raw, |key, raw| match key {
            "text" => self.gather.text(Source::TextBesideDelta, raw),
            "logprobs" => {}
            _ => self.gather.opaque(Opaque::Field, raw),
        });
    }
}

/// Reads a request. Inspected is what is new since the last assistant turn, or `whole_prompt`, and every document.
#[must_use]
pub fn read_request(body: &str, whole_prompt: bool) -> Request<'_> {
    let mut request = Request::default();
    let walked = each_entry(body, |key, raw| match key {
        "messages" => request.messages(raw, whole_prompt),
        "documents" => request.every_string(raw, MAX_DEPTH),
        "model" => request.model = string(raw),
        "stream" => request.stream = raw == "true",
        _ => {}
    });
    request.known &= walked;
    request
}

#[cfg(test)]
mod tests {
    use super::*;

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
            (r#"{"type":"novel","delta":{"words":"d"}}"#, vec![(Source::Beside, "d")]),
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

    #[test]
    fn reads_requests() {
        let body = r#"{"model":"m","stream":true,"documents":["d",{"id":"1","data":{"text":"e"}}],"messages":[
            {"role":"user","content":"old"},{"role":"assistant","tool_plan":"p","tool_calls":[{"function":{"arguments":"{}"}}]},
            {"role":"tool","tool_call_id":"c","content":[{"type":"document","document":{"data":{"result":"r"}}}]},
            {"role":"user","content":[{"type":"text","text":"new"},{"type":"image_url","image_url":{"url":"x"}}]}]}"#;
        let request = read_request(body, false);
        assert!(request.known && request.stream);
        assert_eq!(request.texts, ["d", "e", "r", "new"]);
        assert_eq!(request.media_bytes, 11);
        assert_eq!(read_request(body, true).texts, ["d", "e", "old", "p", "{}", "r", "new"]);
    }
}
