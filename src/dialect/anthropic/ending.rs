//! What a client has been sent of a message, and how the message ends when it is refused: open blocks are closed, the
//! notice is a text block where no answer was sent, the stop reason is `refusal`.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::dialect::{
    fields::Fields,
    refusal::{Ending, Identity, named_event},
};

/// Blocks that are open at once; one more is not closed when the message is refused.
const MAX_OPEN: usize = 128;

/// What the client was sent of the message's frame.
#[derive(Debug, Default)]
pub(in crate::dialect) struct Sent {
    /// `message_start`.
    begun: bool,
    /// The blocks that are open, and whether they hold text.
    open: Vec<(u32, bool)>,
    /// The index behind all blocks.
    next: u32,
}

// === impl Sent ===

impl Sent {
    /// Takes note of an event as it was sent.
    pub(in crate::dialect) fn note(&mut self, payload: &str) {
        let fields = Fields::read(payload);
        let index = fields.number("index").unwrap_or(0);
        match fields.get("type") {
            Some("\"message_start\"") => self.begun = true,
            Some("\"content_block_start\"") => {
                let block = fields.get("content_block").map(Fields::read).unwrap_or_default();
                if self.open.len() < MAX_OPEN {
                    self.open.push((index, block.get("type") == Some("\"text\"")));
                }
                self.next = self.next.max(index.saturating_add(1));
            }
            Some("\"content_block_stop\"") => self.open.retain(|&(open, _)| open != index),
            _ => {}
        }
    }

    /// The events that end the stream behind what was sent.
    pub(in crate::dialect) fn end(&self, ending: &Ending<'_>) -> Bytes {
        let mut events = String::new();
        if let Some(end) = ending.choices.first() {
            if !self.begun {
                let message = message(ending.identity, &[], &Value::Null, None);
                push(&mut events, &json!({"type": "message_start", "message": message}));
            }
            let texts: Vec<&str> = end.close_tag.into_iter().chain(end.notice.as_deref()).collect();
            let text_block = self.open.iter().rev().find(|(_, is_text)| *is_text);
            if let Some(&(index, _)) = text_block {
                push_texts(&mut events, index, &texts);
            }
            for &(index, _) in &self.open {
                push(&mut events, &json!({"type": "content_block_stop", "index": index}));
            }
            if text_block.is_none() && !texts.is_empty() {
                let (index, block) = (self.next, json!({"type": "text", "text": ""}));
                push(
                    &mut events,
                    &json!({"type": "content_block_start", "index": index, "content_block": block}),
                );
                push_texts(&mut events, index, &texts);
                push(&mut events, &json!({"type": "content_block_stop", "index": index}));
            }
            let delta = json!({"stop_reason": "refusal", "stop_sequence": null});
            let usage = usage(ending.usage);
            push(&mut events, &json!({"type": "message_delta", "delta": delta, "usage": usage}));
        }
        push(&mut events, &json!({"type": "message_stop"}));
        events.into()
    }
}

/// A whole message that holds nothing but the notice.
pub(in crate::dialect) fn whole_body(
    identity: &Identity,
    notice: &str,
    told_usage: Option<&str>,
) -> Bytes {
    let content = [json!({"type": "text", "text": notice})];
    message(identity, &content, &json!("refusal"), told_usage).to_string().into()
}

/// An error in the shape that this dialect's clients read.
pub(in crate::dialect) fn error_body(message: &str, kind: &str) -> Value {
    let kind = if kind == "invalid_request_error" { kind } else { "api_error" };
    json!({"type": "error", "error": {"type": kind, "message": message}})
}

fn message(
    identity: &Identity,
    content: &[Value],
    stop_reason: &Value,
    told_usage: Option<&str>,
) -> Value {
    json!({
        "id": raw(&identity.id),
        "type": "message",
        "role": "assistant",
        "model": raw(&identity.model),
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": null,
        "usage": usage(told_usage),
    })
}

/// What the upstream has told of the usage. Clients count on the field: where nothing was told, nothing was used yet.
fn usage(told: Option<&str>) -> Value {
    told.map_or_else(|| json!({"input_tokens": 0, "output_tokens": 0}), raw)
}

fn raw(value: &str) -> Value {
    serde_json::from_str(value).unwrap_or_default()
}

fn push_texts(events: &mut String, index: u32, texts: &[&str]) {
    for text in texts {
        let delta = json!({"type": "text_delta", "text": text});
        push(events, &json!({"type": "content_block_delta", "index": index, "delta": delta}));
    }
}

fn push(events: &mut String, event: &Value) {
    events.push_str(&named_event(event));
}
