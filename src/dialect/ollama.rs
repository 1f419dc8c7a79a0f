//! Ollama's own wire: `/api/chat` and `/api/generate`, a JSON object a line or one whole body.
//!
//! Sources: `wire.md`'s table; <https://docs.ollama.com/api>. There is one choice. Tool calls come whole, their
//! arguments as objects. `context` holds the token ids of the conversation: nobody reads them, so they are counted.

use super::{
    chunk::{Chunk, Opaque, Source},
    gather::Gather,
    json::{each_entry, each_item, says_nothing, string},
    request::Request,
};

/// Reads the lines of one exchange, in their order.
#[derive(Debug, Default)]
pub struct Reader {
    /// Tool calls so far: their own indices are not told apart by every version.
    calls: u32,
}

// === impl Reader ===

impl Reader {
    /// Reads one line, or a whole body.
    #[must_use]
    pub fn read<'de>(&mut self, payload: &'de str) -> Chunk<'de> {
        let mut gather = Gather::new(payload);
        let mut finished = false;
        let walked = each_entry(payload, |key, raw| match key {
            "model" => gather.chunk.envelope.model = Some(raw),
            "created_at" => gather.chunk.envelope.created = Some(raw),
            "message" => {
                gather.chunk.known = true;
                self.message(&mut gather, raw);
            }
            "response" => {
                gather.chunk.known = true;
                gather.field(Source::Content, raw);
            }
            "thinking" => gather.field(Source::ReasoningContent, raw),
            "done" => {
                gather.chunk.known = true;
                finished |= raw == "true";
            }
            "error" if !says_nothing(raw) => {
                gather.chunk.known = true;
                gather.chunk.error = true;
            }
            "logprobs" => gather.logprobs(Source::ContentLogprobs, raw),
            "image" | "images" => gather.opaque(Opaque::Media, raw),
            "done_reason" | "remote_model" | "remote_host" => {}
            _ => gather.opaque(Opaque::Field, raw),
        });
        let mut chunk = gather.chunk;
        chunk.known &= walked;
        chunk.done = finished;
        if chunk.known && !chunk.error {
            chunk.choices.push((0, finished));
        }
        chunk
    }

    fn message<'de>(&mut self, gather: &mut Gather<'de>, raw: &'de str) {
        each_entry(raw, |key, raw| match key {
            "content" => gather.field(Source::Content, raw),
            "thinking" => gather.field(Source::ReasoningContent, raw),
            "tool_calls" => {
                each_item(raw, |call| self.tool_call(gather, call));
            }
            "images" => gather.opaque(Opaque::Media, raw),
            "role" | "tool_name" | "tool_call_id" => {}
            _ => gather.opaque(Opaque::Field, raw),
        });
    }

    fn tool_call<'de>(&mut self, gather: &mut Gather<'de>, call: &'de str) {
        let index = self.calls;
        self.calls = self.calls.saturating_add(1);
        gather.call(index, call);
        each_entry(call, |key, raw| match key {
            "function" => {
                each_entry(raw, |key, raw| match key {
                    "arguments" => gather.arguments(index, raw),
                    "name" | "index" | "description" => {}
                    _ => gather.opaque(Opaque::Field, raw),
                });
            }
            "id" | "type" => {}
            _ => gather.opaque(Opaque::Field, raw),
        });
    }
}

/// Reads a request to `/api/chat`. Without messages it only loads the model.
#[must_use]
pub fn read_chat_request(body: &str, whole_prompt: bool) -> Request<'_> {
    read_request(body, |request, key, raw| {
        if key == "messages" {
            request.messages(raw, whole_prompt);
        }
    })
}

/// Reads a request to `/api/generate`. Without a prompt it only loads the model.
#[must_use]
pub fn read_generate_request(body: &str) -> Request<'_> {
    read_request(body, |request, key, raw| match key {
        "prompt" | "system" | "suffix" | "template" => request.text(raw),
        "images" if !says_nothing(raw) => request.media_bytes += raw.len(),
        "context" if !says_nothing(raw) => request.opaque_bytes += raw.len(),
        _ => {}
    })
}

/// What is streamed unless it is asked not to be.
fn read_request<'de>(
    body: &'de str,
    mut field: impl FnMut(&mut Request<'de>, &str, &'de str),
) -> Request<'de> {
    let mut request = Request { known: true, stream: true, ..Request::default() };
    let mut named = false;
    let walked = each_entry(body, |key, raw| match key {
        "model" => {
            request.model = string(raw);
            named = true;
        }
        "stream" => request.stream = raw != "false",
        _ => field(&mut request, key, raw),
    });
    request.known &= walked && named;
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces<'de>(reader: &mut Reader, payload: &'de str) -> Vec<(Source, String, &'de str)> {
        let chunk = reader.read(payload);
        assert!(chunk.known, "{payload}");
        let shown = |piece: super::super::chunk::Piece<'de>| {
            (piece.source, piece.text.into_owned(), &payload[piece.json])
        };
        chunk.pieces.into_iter().map(shown).collect()
    }

    #[test]
    fn reads_chat_and_generate() {
        let mut reader = Reader::default();
        let mut read = |payload| pieces(&mut reader, payload);
        let (thinking, answer) = (Source::ReasoningContent, Source::Content);
        assert_eq!(
            read(r#"{"message":{"role":"assistant","content":"","thinking":"a"},"done":false}"#),
            [(thinking, "a".into(), "\"a\"")]
        );
        assert_eq!(
            read(r#"{"model":"m","response":"\u00e9","thinking":"","done":false}"#),
            [(answer, "é".into(), r#""\u00e9""#)]
        );
        let call = r#"{"id":"c","function":{"index":0,"name":"f","arguments":{"city":"x"}}}"#;
        for index in 0..2 {
            let payload = format!(r#"{{"message":{{"tool_calls":[{call}]}},"done":false}}"#);
            let source = Source::ToolArguments(index);
            assert_eq!(
                read(Box::leak(payload.into_boxed_str())),
                [
                    (source, String::new(), call),
                    (source, r#"{"city":"x"}"#.into(), r#"{"city":"x"}"#)
                ]
            );
        }
    }

    #[test]
    fn reads_the_end_and_counts_the_token_ids() {
        let payload = r#"{"model":"m","created_at":"t","response":"","done":true,"done_reason":"stop","context":[1,2],"eval_count":7}"#;
        let chunk = Reader::default().read(payload);
        assert_eq!(chunk.choices, [(0, true)]);
        assert!(chunk.done && chunk.pieces.is_empty());
        assert_eq!(chunk.opaque, [(0, Opaque::Field, 5)]);
        assert_eq!((chunk.envelope.model, chunk.envelope.created), (Some("\"m\""), Some("\"t\"")));
    }

    #[test]
    fn knows_an_error_and_other_shapes() {
        let error = Reader::default().read(r#"{"error":"an error was encountered"}"#);
        assert!(error.known && error.error && error.choices.is_empty());
        for payload in ["", "7", "[]", "{}", r#"{"choices":[]}"#, r#"{"message":{"content":"a""#] {
            assert!(!Reader::default().read(payload).known, "{payload}");
        }
        let novel = Reader::default().read(r#"{"done":false,"novel":{"x":"y"},"n":1}"#);
        assert_eq!(novel.opaque, [(0, Opaque::Field, 9)]);
    }

    #[test]
    fn all_values_of_a_repeated_key_are_pieces() {
        let read = pieces(&mut Reader::default(), r#"{"response":"a","response":"b"}"#);
        assert_eq!(
            read,
            [(Source::RepeatedKey, "a".into(), "\"a\""), (Source::Content, "b".into(), "\"b\"")]
        );
    }

    #[test]
    fn reads_requests() {
        let chat = r#"{"model":"m","messages":[{"role":"system","content":"s"},{"role":"assistant","content":"a","thinking":"t"},
            {"role":"tool","content":"result","tool_name":"f"},{"role":"user","content":"new","images":["aaaa"]}]}"#;
        let request = read_chat_request(chat, false);
        assert!(request.known && request.stream);
        assert_eq!(request.texts, ["result", "new"]);
        assert_eq!(request.media_bytes, 8);
        assert_eq!(read_chat_request(chat, true).texts, ["s", "a", "t", "result", "new"]);
        let generate = r#"{"model":"m","prompt":"p","system":"s","context":[1,2],"stream":false}"#;
        let request = read_generate_request(generate);
        assert!(request.known && !request.stream);
        assert_eq!((request.texts.len(), request.opaque_bytes), (2, 5));
        assert!(read_generate_request(r#"{"model":"m"}"#).known);
        assert!(!read_generate_request("{}").known);
        assert!(!read_chat_request(r#"{"model":"m","messages":7}"#, false).known);
    }

    #[test]
    fn reads_tool_calls_of_the_prompt() {
        let body = r#"{"model":"m","messages":[{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{"a":"b"}}}]}]}"#;
        assert_eq!(read_chat_request(body, true).texts, [r#"{"a":"b"}"#]);
    }
}
