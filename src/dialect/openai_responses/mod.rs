//! `OpenAI` Responses: a response of items, streamed as events that open, fill and close them.
//!
//! What an event is, its data's `type` says; the `event:` line beside it is not looked at, since clients read the data
//! (and `OpenRouter` sends none). A response is one choice. The text of items comes again at several ends ([`parts`]);
//! what an end tells otherwise than its deltas is read beside them. Text that no delta brought is read where it stands
//! first, so that a response that is fetched whole and one whose events are out of order are read by the same code.

mod ending;
mod parts;

use std::borrow::Cow;

use super::{
    chunk::{Chunk, Envelope, Opaque, Source},
    fields::Fields,
    json::{each_item, says_nothing, string},
    pieces::{MAX_DEPTH, Pieces},
};
use parts::{BLANK_LINE, PartOf, Parts, Place, Told};

pub(super) use ending::whole_body;

/// What a session remembers of a response.
#[derive(Debug, Default)]
pub(super) struct Responses {
    parts: Parts,
    /// What the client was sent.
    pub(super) sent: ending::Sent,
}

/// Whether a frame is one of this dialect and of no other.
pub(super) fn is_told_by(fields: &Fields<'_>) -> bool {
    fields.get("type").is_some_and(|kind| kind.starts_with("\"response."))
        || fields.get("object") == Some("\"response\"")
}

/// Whether an event of which something was hidden tells its client nothing any more.
pub(super) fn tells_nothing(payload: &str) -> bool {
    let fields = Fields::read(payload);
    let is_delta = fields.get("type").is_some_and(|kind| kind.ends_with(".delta\""));
    is_delta && fields.get("delta").is_some_and(says_nothing)
}

// === impl Responses ===

impl Responses {
    /// Reads one event's data, or a whole body.
    pub(super) fn read<'de>(&mut self, payload: &'de str) -> Chunk<'de> {
        let mut chunk = Chunk::default();
        if payload.trim_ascii() == "[DONE]" {
            return Chunk { done: true, known: true, ..chunk };
        }
        let mut pieces = Pieces::new(payload, &mut chunk);
        let fields = pieces.fields(payload);
        let known = Reader { pieces, parts: &mut self.parts }.frame(&fields);
        chunk.known = known && fields.whole;
        chunk
    }

    /// Takes note of more text of the part that was read last.
    pub(super) fn go_on(&mut self, text: &str) {
        self.parts.go_on(text);
    }
}

struct Reader<'c, 'de> {
    pieces: Pieces<'c, 'de>,
    parts: &'c mut Parts,
}

// === impl Reader ===

impl<'de> Reader<'_, 'de> {
    /// Reads a frame; false where it is none of this dialect.
    fn frame(&mut self, fields: &Fields<'de>) -> bool {
        let Some(kind) = fields.string("type") else { return self.frame_without_type(fields) };
        let kind = kind.strip_prefix("response.").unwrap_or(&kind);
        match kind {
            "created" | "in_progress" | "queued" | "completed" | "incomplete" | "failed"
            | "cancelled" => {
                let response = self.pieces.fields(fields.get("response").unwrap_or_default());
                self.response(&response);
                if kind == "created" {
                    self.names(false);
                }
            }
            "output_item.added" => self.item_event(fields, false),
            "output_item.done" => self.item_event(fields, true),
            "content_part.added"
            | "content_part.done"
            | "reasoning_part.added"
            | "reasoning_part.done"
            | "reasoning_summary_part.added"
            | "reasoning_summary_part.done" => self.part_event(fields),
            "error" => self.pieces.chunk.error = true,
            "keepalive" => {}
            _ => match part_of(kind, fields) {
                Some(part) => self.text_event(kind, part, fields),
                None if tells_progress(kind) => {}
                // Events that came after this was written pass, and are counted.
                None => self.other_event(kind, fields),
            },
        }
        true
    }

    fn frame_without_type(&mut self, fields: &Fields<'de>) -> bool {
        if fields.get("object") == Some("\"response\"") {
            self.response(fields);
        } else if fields.get("error").is_some_and(|error| !says_nothing(error)) {
            self.pieces.chunk.error = true;
        } else {
            return false;
        }
        true
    }

    fn response(&mut self, fields: &Fields<'de>) {
        self.pieces.chunk.envelope = Envelope {
            id: fields.get("id"),
            created: fields.get("created_at"),
            model: fields.get("model"),
            ..Envelope::default()
        };
        let mut item = 0;
        for (key, raw) in fields.iter() {
            match key {
                "output" => {
                    each_item(raw, |raw| {
                        self.item(item, raw);
                        item += 1;
                    });
                }
                "output_text" => self.pieces.text(Source::CumulativeContent, raw),
                // mistral.rs tells thinking here; elsewhere it is an option. It goes where thinking is hidden.
                "reasoning" if raw.starts_with('"') => self.pieces.text(Source::RepeatedKey, raw),
                "usage" if raw != "null" => self.pieces.chunk.usage = Some(raw),
                "error" => self.pieces.chunk.error |= !says_nothing(raw),
                _ if is_of_response(key) => {}
                _ => self.pieces.unread(raw),
            }
        }
        let status = fields.string("status");
        let over =
            matches!(status.as_deref(), Some("completed" | "incomplete" | "failed" | "cancelled"));
        self.pieces.chunk.done |= over;
        if over || item > 0 {
            self.names(over);
        }
    }

    fn item_event(&mut self, fields: &Fields<'de>, done: bool) {
        let index = fields.number("output_index").unwrap_or(0);
        let raw = fields.get("item").unwrap_or_default();
        if !done && is_call(&Fields::read(raw)) {
            self.pieces.call(index, raw);
        }
        self.item(index, raw);
        if done {
            self.pieces.chunk.ended_calls.push((self.pieces.choice, index));
        }
        self.others(fields, &["item"]);
        self.names(false);
    }

    fn item(&mut self, item: u32, raw: &'de str) {
        let fields = self.pieces.fields(raw);
        let is_reasoning = fields.get("type") == Some("\"reasoning\"");
        let arguments = Place { item, part: PartOf::Arguments };
        for (key, raw) in fields.iter() {
            match key {
                "content" | "summary" if raw.starts_with('[') => {
                    let mut index = 0;
                    each_item(raw, |part| {
                        self.part(item, index, part);
                        index += 1;
                    });
                }
                "encrypted_content" if is_reasoning => {
                    self.pieces.opaque(Opaque::Encrypted, raw);
                }
                "arguments" | "input" | "code" if is_call(&fields) => self.whole(arguments, raw),
                "result" | "image_url" | "partial_image_b64" => {
                    self.pieces.opaque(Opaque::Media, raw);
                }
                "id"
                | "type"
                | "status"
                | "role"
                | "phase"
                | "name"
                | "call_id"
                | "server_label"
                | "approval_request_id"
                | "container_id"
                | "namespace" => {}
                _ if says_nothing(raw) => {}
                // What tools were asked and what they found.
                _ => self.pieces.every_string(raw, MAX_DEPTH),
            }
        }
    }

    fn part_event(&mut self, fields: &Fields<'de>) {
        let item = fields.number("output_index").unwrap_or(0);
        let index = fields.number("summary_index").or_else(|| fields.number("content_index"));
        self.part(item, index.unwrap_or(0), fields.get("part").unwrap_or_default());
        self.others(fields, &["part"]);
    }

    fn part(&mut self, item: u32, index: u32, raw: &'de str) {
        let fields = self.pieces.fields(raw);
        let part = match fields.string("type").as_deref() {
            Some("summary_text") => PartOf::Summary(index),
            Some("reasoning_text") => PartOf::Reasoning(index),
            _ => PartOf::Text(index),
        };
        for (key, raw) in fields.iter() {
            match key {
                "text" => self.whole(Place { item, part }, raw),
                "refusal" => self.whole(Place { item, part: PartOf::Refusal(index) }, raw),
                "logprobs" => self.pieces.logprobs(Source::ContentLogprobs, raw),
                "transcript" => self.pieces.text(Source::Transcript, raw),
                "data" | "image_url" => self.pieces.opaque(Opaque::Media, raw),
                "annotations" if !says_nothing(raw) => self.pieces.every_string(raw, MAX_DEPTH),
                "annotations" | "type" => {}
                _ => self.pieces.unread(raw),
            }
        }
    }

    /// An event that brings text, or tells at its end what all of it was.
    fn text_event(&mut self, kind: &str, part: PartOf, fields: &Fields<'de>) {
        let place = Place { item: fields.number("output_index").unwrap_or(0), part };
        for (key, raw) in fields.iter() {
            match key {
                "delta" => self.delta(place, raw),
                "text" | "refusal" | "arguments" | "input" | "code" if kind.ends_with("done") => {
                    self.whole(place, raw);
                }
                "logprobs" => self.pieces.logprobs(Source::ContentLogprobs, raw),
                _ => {}
            }
        }
        self.others(
            fields,
            &["delta", "text", "refusal", "arguments", "input", "code", "logprobs"],
        );
    }

    fn other_event(&mut self, kind: &str, fields: &Fields<'de>) {
        match kind {
            "output_text.annotation.added" => {
                self.pieces.every_string(fields.get("annotation").unwrap_or_default(), MAX_DEPTH);
            }
            "audio.transcript.delta" => {
                self.pieces.text(Source::Transcript, fields.get("delta").unwrap_or_default());
            }
            "audio.delta" | "image_generation_call.partial_image" => {
                self.pieces.opaque(Opaque::Media, self.pieces.payload);
            }
            _ => self.pieces.unread(self.pieces.payload),
        }
    }

    /// What an event tells beside what was read of it.
    fn others(&mut self, fields: &Fields<'de>, read: &[&str]) {
        for (key, raw) in fields.iter().filter(|(key, _)| !read.contains(key)) {
            match key {
                "type" | "item_id" | "output_index" | "content_index" | "summary_index"
                | "sequence_number" | "obfuscation" | "name" | "status" => {}
                _ => self.pieces.unread(raw),
            }
        }
    }

    fn delta(&mut self, place: Place, raw: &'de str) {
        match text_of(raw) {
            Some(text) => self.take(place, text, raw),
            None => self.pieces.unread(raw),
        }
    }

    fn take(&mut self, place: Place, text: Cow<'de, str>, raw: &'de str) {
        if text.is_empty() {
            return;
        }
        if self.parts.add(place, &text) {
            self.pieces.unseen(place.source(), BLANK_LINE);
        }
        self.pieces.piece(place.source(), text, raw);
    }

    /// The whole text of a part, which may have come before.
    fn whole(&mut self, place: Place, raw: &'de str) {
        let Some(text) = text_of(raw) else { return self.pieces.unread(raw) };
        if text.is_empty() {
            return;
        }
        match self.parts.tell(place, &text) {
            Told::First => self.take(place, text, raw),
            Told::Again(at) => self.pieces.piece(Source::Again(place.origin(), at), text, raw),
            Told::Otherwise => self.pieces.piece(Source::Beside, text, raw),
        }
    }

    fn names(&mut self, finished: bool) {
        self.pieces.chunk.choices.push((self.pieces.choice, finished));
    }
}

/// A string's text; an object stands for itself, null for nothing.
fn text_of(raw: &str) -> Option<Cow<'_, str>> {
    match raw.as_bytes() {
        [b'{', ..] => Some(Cow::Borrowed(raw)),
        b"null" | b"" => Some(Cow::Borrowed("")),
        _ => string(raw),
    }
}

/// The part that an event's text belongs to, told by the event's type.
fn part_of(kind: &str, fields: &Fields<'_>) -> Option<PartOf> {
    let (name, _) = kind.rsplit_once('.')?;
    let content = || fields.number("content_index").unwrap_or(0);
    Some(match name {
        "reasoning_summary_text" | "reasoning_summary" => {
            PartOf::Summary(fields.number("summary_index").unwrap_or(0))
        }
        "reasoning_text" | "reasoning" => PartOf::Reasoning(content()),
        "output_text" => PartOf::Text(content()),
        "refusal" => PartOf::Refusal(content()),
        "function_call_arguments"
        | "mcp_call_arguments"
        | "mcp_call.arguments"
        | "custom_tool_call_input"
        | "code_interpreter_call_code"
        | "code_interpreter_call.code" => PartOf::Arguments,
        _ => return None,
    })
}

/// Whether an item is a call whose arguments the model has written.
fn is_call(item: &Fields<'_>) -> bool {
    let kind = item.get("type").unwrap_or_default();
    matches!(
        kind,
        "\"function_call\"" | "\"mcp_call\"" | "\"custom_tool_call\"" | "\"code_interpreter_call\""
    )
}

/// Whether an event says only how far a tool of the server is.
fn tells_progress(kind: &str) -> bool {
    let ends = ["in_progress", "searching", "generating", "interpreting", "completed", "failed"];
    kind.rsplit_once('.').is_some_and(|(tool, end)| {
        (tool.ends_with("_call") || tool == "mcp_list_tools") && ends.contains(&end)
    })
}

/// Fields of a response that are no text of the model: what it is, and what of the request it tells again.
fn is_of_response(key: &str) -> bool {
    const KEYS: [&str; 45] = [
        "background",
        "billing",
        "completed_at",
        "content_filters",
        "conversation",
        "created_at",
        "frequency_penalty",
        "id",
        "incomplete_details",
        "input",
        "input_messages",
        "instructions",
        "kv_transfer_params",
        "max_output_tokens",
        "max_tool_calls",
        "metadata",
        "min_p",
        "model",
        "moderation",
        "next_response_ids",
        "object",
        "parallel_tool_calls",
        "presence_penalty",
        "previous_response_id",
        "prompt",
        "prompt_cache_key",
        "prompt_cache_retention",
        "provider",
        "reasoning",
        "repetition_penalty",
        "safety_identifier",
        "seed",
        "service_tier",
        "status",
        "store",
        "temperature",
        "text",
        "tool_choice",
        "tool_usage",
        "tools",
        "top_k",
        "top_logprobs",
        "top_p",
        "truncation",
        "user",
    ];
    KEYS.binary_search(&key).is_ok()
}

#[cfg(test)]
mod tests;
