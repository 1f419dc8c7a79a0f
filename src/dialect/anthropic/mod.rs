//! Anthropic Messages: a message of blocks, streamed as events that open, fill and close them.
//!
//! What an event is, its data's `type` says; the `event:` line beside it is not looked at, since clients read the data.
//! A message is one choice. Its thinking is signed or encrypted ([`Opaque`]); other servers that speak this dialect
//! leave signatures out.

mod ending;

use super::{
    chunk::{Chunk, Envelope, Opaque, Source},
    fields::Fields,
    json::{each_item, says_nothing},
    pieces::{MAX_DEPTH, Pieces},
};

pub(super) use ending::{Sent, error_body, whole_body};

/// Types of the events of a stream, by which one tells it.
const EVENTS: [&str; 8] = [
    "\"message_start\"",
    "\"content_block_start\"",
    "\"content_block_delta\"",
    "\"content_block_stop\"",
    "\"message_delta\"",
    "\"message_stop\"",
    "\"message\"",
    "\"ping\"",
];

/// Whether an event's or a body's type is one of this dialect and of no other.
pub(super) fn is_told_by(kind: &str) -> bool {
    EVENTS.contains(&kind)
}

/// Reads one event's data, or a whole body.
pub(super) fn read(payload: &str) -> Chunk<'_> {
    let mut chunk = Chunk::default();
    if payload.trim_ascii() == "[DONE]" {
        // Some servers that speak this dialect end like those of the other.
        return Chunk { done: true, known: true, ..chunk };
    }
    let mut pieces = Pieces::new(payload, &mut chunk);
    let fields = pieces.fields(payload);
    let known = Reader { pieces }.frame(&fields);
    chunk.known = known && fields.whole;
    chunk
}

/// Whether an event of which something was hidden tells its client nothing any more.
pub(super) fn tells_nothing(payload: &str) -> bool {
    let fields = Fields::read(payload);
    let delta = fields.get("delta").map(Fields::read);
    fields.get("type") == Some("\"content_block_delta\"")
        && delta.is_some_and(|delta| {
            delta.iter().all(|(key, value)| key == "type" || says_nothing(value))
        })
}

struct Reader<'c, 'de> {
    pieces: Pieces<'c, 'de>,
}

// === impl Reader ===

impl<'de> Reader<'_, 'de> {
    /// Reads a frame; false where it is none of this dialect.
    fn frame(&mut self, fields: &Fields<'de>) -> bool {
        let index = fields.number("index").unwrap_or(0);
        match fields.get("type").map(|kind| kind.trim_matches('"')) {
            Some("message_start") => {
                let message = self.pieces.fields(fields.get("message").unwrap_or_default());
                self.message(&message);
            }
            Some("message") => self.message(fields),
            Some("content_block_start") => {
                let block = fields.get("content_block").unwrap_or_default();
                self.block(index, block, true);
                self.names(false);
            }
            Some("content_block_delta") => {
                self.delta(index, fields.get("delta").unwrap_or_default());
            }
            Some("content_block_stop") => {
                self.pieces.chunk.ended_calls.push((self.pieces.choice, index));
            }
            Some("message_delta") => self.message_delta(fields),
            Some("message_stop") => self.pieces.chunk.done = true,
            Some("ping") => {}
            Some("error") => self.pieces.chunk.error = true,
            None if fields.get("error").is_some_and(|error| !says_nothing(error)) => {
                self.pieces.chunk.error = true;
            }
            // Events that came after this was written pass, and are counted.
            Some(_) => self.pieces.unread(self.pieces.payload),
            None => return false,
        }
        true
    }

    fn message(&mut self, fields: &Fields<'de>) {
        self.pieces.chunk.envelope =
            Envelope { id: fields.get("id"), model: fields.get("model"), ..Envelope::default() };
        let streamed = fields.get("stop_reason").is_none_or(says_nothing);
        for (key, raw) in fields.iter() {
            match key {
                "content" => {
                    let mut index = 0;
                    let is_array = each_item(raw, |block| {
                        self.block(index, block, false);
                        index += 1;
                    });
                    if !is_array {
                        self.pieces.text(Source::Content, raw);
                    }
                }
                "usage" => self.usage(raw),
                "id" | "type" | "role" | "model" | "stop_reason" | "stop_sequence"
                | "stop_details" | "container" | "context_management" | "base_resp"
                | "service_tier" => {}
                _ => self.pieces.unread(raw),
            }
        }
        self.names(!streamed);
    }

    fn message_delta(&mut self, fields: &Fields<'de>) {
        let mut finished = false;
        for (key, raw) in fields.iter() {
            match key {
                "delta" => {
                    let delta = Fields::read(raw);
                    finished |= delta.get("stop_reason").is_some_and(|raw| !says_nothing(raw));
                }
                "usage" => self.usage(raw),
                "type" | "context_management" => {}
                _ => self.pieces.unread(raw),
            }
        }
        self.names(finished);
    }

    /// A block, whole or as it is opened; the first input of a call that is opened is empty.
    fn block(&mut self, index: u32, raw: &'de str, opens: bool) {
        let fields = self.pieces.fields(raw);
        let kind = fields.string("type").unwrap_or_default();
        let is_call = kind.ends_with("tool_use");
        if is_call {
            self.pieces.call(index, raw);
        }
        for (key, value) in fields.iter() {
            match (&*kind, key) {
                ("text", "text") => self.pieces.text(Source::Content, value),
                ("thinking", "thinking") => self.pieces.text(Source::ReasoningContent, value),
                ("thinking", "signature") => self.pieces.opaque(Opaque::Signature, value),
                ("redacted_thinking", "data") => self.pieces.opaque(Opaque::Encrypted, value),
                (_, "input") if is_call => {
                    if !(opens && says_nothing(value)) {
                        self.pieces.arguments(index, value);
                    }
                }
                (
                    _,
                    "type" | "id" | "tool_use_id" | "name" | "server_name" | "caller"
                    | "cache_control" | "is_error",
                ) => {}
                _ if says_nothing(value) => {}
                // Citations, and what the server's own tools have found.
                _ => self.pieces.every_string(value, MAX_DEPTH),
            }
        }
    }

    fn delta(&mut self, index: u32, raw: &'de str) {
        for (key, value) in self.pieces.fields(raw).iter() {
            match key {
                "text" => self.pieces.text(Source::Content, value),
                "thinking" => self.pieces.text(Source::ReasoningContent, value),
                "partial_json" => self.pieces.arguments(index, value),
                "signature" => self.pieces.opaque(Opaque::Signature, value),
                "citation" => self.pieces.every_string(value, MAX_DEPTH),
                "type" | "estimated_tokens" => {}
                _ => self.pieces.unread(value),
            }
        }
    }

    fn usage(&mut self, raw: &'de str) {
        if raw != "null" {
            self.pieces.chunk.usage = Some(raw);
        }
    }

    fn names(&mut self, finished: bool) {
        self.pieces.chunk.choices.push((self.pieces.choice, finished));
    }
}

#[cfg(test)]
mod tests;
