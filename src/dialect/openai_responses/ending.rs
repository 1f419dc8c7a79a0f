//! What a client has been sent of a response, and how the response ends when it is refused: open parts and items are
//! closed with what was sent of them, the notice is a message where no answer was sent, and the response is incomplete
//! for `content_filter`.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{PartOf, Place, part_of};
use crate::dialect::{
    fields::Fields,
    refusal::{Ending, Identity, named_event},
};

/// Bytes of what was sent that are kept: as many as the longest frame by default. Past them, text is left out of the
/// closing events.
const MAX_KEPT: usize = 4 << 20;

/// Items, and parts of one, that are remembered; one more is not closed when the response is refused.
const MAX_ITEMS: usize = 1024;

/// A response's own fields are told again at its end up to this size; a longer one (long instructions, many tools) is
/// told without them.
const MAX_RESPONSE: usize = 16 << 10;

/// What the client was sent.
#[derive(Debug, Default)]
pub(in crate::dialect) struct Sent {
    /// The number of the last event, where events are numbered.
    number: Option<u64>,
    begun: bool,
    /// The response as it was opened.
    response: Option<String>,
    items: Vec<Item>,
    kept: usize,
}

/// An item that the client was sent.
#[derive(Clone, Debug)]
struct Item {
    index: u32,
    /// As it was opened, or as it ended.
    raw: String,
    done: bool,
    parts: Vec<Part>,
}

/// A part of an item that is open.
#[derive(Clone, Debug)]
struct Part {
    of: PartOf,
    text: String,
    /// Its text was told whole.
    told: bool,
    /// It is closed.
    done: bool,
}

// === impl Sent ===

impl Sent {
    /// Takes note of an event as it was sent.
    pub(in crate::dialect) fn note(&mut self, payload: &str) {
        let fields = Fields::read(payload);
        let Some(kind) = fields.string("type") else { return };
        let number = fields.get("sequence_number").and_then(|number| number.parse().ok());
        self.number = number.or(self.number);
        let kind = kind.strip_prefix("response.").unwrap_or(&kind);
        let item = fields.number("output_index").unwrap_or(0);
        match kind {
            "created" | "in_progress" | "queued" => {
                self.begun = true;
                let response = fields.get("response").filter(|raw| raw.len() <= MAX_RESPONSE);
                self.response = response.map(str::to_owned);
            }
            "output_item.added" => self.put_item(item, &fields, false),
            "output_item.done" => self.put_item(item, &fields, true),
            "content_part.added" | "reasoning_part.added" | "reasoning_summary_part.added" => {
                if let Some(part) = part_told(&fields) {
                    self.part(Place { item, part });
                }
            }
            "content_part.done" | "reasoning_part.done" | "reasoning_summary_part.done" => {
                if let Some(part) =
                    part_told(&fields).and_then(|part| self.part(Place { item, part }))
                {
                    part.done = true;
                }
            }
            _ => {
                if let Some(part) = part_of(kind, &fields) {
                    self.note_text(Place { item, part }, kind, &fields);
                }
            }
        }
    }

    fn put_item(&mut self, index: u32, fields: &Fields<'_>, done: bool) {
        let raw = fields.get("item").unwrap_or_default();
        let raw = if self.keep(raw) { raw.to_owned() } else { String::new() };
        let item = Item { index, raw, done, parts: Vec::new() };
        if let Some(known) = self.items.iter_mut().find(|item| item.index == index) {
            *known = item;
        } else if self.items.len() < MAX_ITEMS {
            self.items.push(item);
        }
    }

    fn note_text(&mut self, place: Place, kind: &str, fields: &Fields<'_>) {
        let delta = fields.string("delta").unwrap_or_default();
        let keeps = self.keep(&delta);
        let Some(part) = self.part(place) else { return };
        if kind.ends_with("done") {
            part.told = true;
        } else if keeps {
            part.text.push_str(&delta);
        }
    }

    /// The part at this place of an item that is open.
    fn part(&mut self, place: Place) -> Option<&mut Part> {
        let item = self.items.iter_mut().find(|item| item.index == place.item && !item.done)?;
        let known = item.parts.iter().position(|part| part.of == place.part);
        if known.is_none() && item.parts.len() < MAX_ITEMS {
            item.parts.push(Part::new(place.part));
            return item.parts.last_mut();
        }
        item.parts.get_mut(known?)
    }

    /// Whether there is room to keep this.
    fn keep(&mut self, text: &str) -> bool {
        self.kept = self.kept.saturating_add(text.len());
        self.kept <= MAX_KEPT
    }

    /// The events that end the stream behind what was sent.
    pub(in crate::dialect) fn end(&self, ending: &Ending<'_>) -> Bytes {
        let mut events = Events { text: String::new(), number: self.number };
        let Some(end) = ending.choices.first() else { return Bytes::new() };
        let mut response = self.response_of(ending.identity);
        if !self.begun {
            events.number = None;
            events.push_first("created", json!({"response": &response}));
            events.push("in_progress", json!({"response": &response}));
        }
        let texts: Vec<&str> = end.close_tag.into_iter().chain(end.notice.as_deref()).collect();
        let mut items = self.items.clone();
        items.sort_by_key(|item| item.index);
        if !texts.is_empty() && !items.iter().any(Item::has_open_text) {
            let next = items.last().map_or(0, |item| item.index.saturating_add(1));
            items.push(Item::notice(next, ending.identity, &mut events));
        }
        if let Some(item) = items.iter_mut().rev().find(|item| item.has_open_text()) {
            item.say(&texts, &mut events);
        }
        let output: Vec<Value> = items
            .into_iter()
            .map(|item| item.close(&mut events))
            .filter(Value::is_object)
            .collect();
        refuse(&mut response, output, ending.usage);
        events.push("incomplete", json!({"response": response}));
        events.text.into()
    }

    /// The response as it was opened.
    fn response_of(&self, identity: &Identity) -> Map<String, Value> {
        let told = self.response.as_deref().and_then(|raw| serde_json::from_str(raw).ok());
        told.unwrap_or_else(|| plain_response(identity))
    }
}

/// A whole response that holds nothing but the notice.
pub(in crate::dialect) fn whole_body(
    identity: &Identity,
    notice: &str,
    usage: Option<&str>,
) -> Bytes {
    let mut response = plain_response(identity);
    let part = text_part(notice);
    let message = json!({"id": message_id(identity), "type": "message", "role": "assistant",
        "status": "incomplete", "content": [part]});
    refuse(&mut response, vec![message], usage);
    Value::Object(response).to_string().into()
}

/// A response with what every client counts on.
fn plain_response(identity: &Identity) -> Map<String, Value> {
    let fields = [
        ("id", raw(&identity.id)),
        ("object", json!("response")),
        ("created_at", raw(&identity.created)),
        ("status", json!("in_progress")),
        ("error", Value::Null),
        ("incomplete_details", Value::Null),
        ("instructions", Value::Null),
        ("metadata", json!({})),
        ("model", raw(&identity.model)),
        ("output", json!([])),
        ("parallel_tool_calls", json!(true)),
        ("temperature", Value::Null),
        ("tool_choice", json!("auto")),
        ("tools", json!([])),
        ("top_p", Value::Null),
        ("usage", Value::Null),
    ];
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Makes it the response that a filter has stopped.
fn refuse(response: &mut Map<String, Value>, output: Vec<Value>, usage: Option<&str>) {
    response.insert("status".into(), json!("incomplete"));
    response.insert("incomplete_details".into(), json!({"reason": "content_filter"}));
    response.insert("output".into(), Value::Array(output));
    if let Some(usage) = usage {
        response.insert("usage".into(), raw(usage));
    }
}

fn text_part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn message_id(identity: &Identity) -> String {
    let id: String = serde_json::from_str(&identity.id).unwrap_or_default();
    format!("msg_{}", id.trim_start_matches("resp_"))
}

fn raw(value: &str) -> Value {
    serde_json::from_str(value).unwrap_or_default()
}

/// The part that an event about parts names.
fn part_told(fields: &Fields<'_>) -> Option<PartOf> {
    let content = fields.number("content_index").unwrap_or(0);
    let part = Fields::read(fields.get("part")?);
    Some(match part.string("type")?.as_ref() {
        "summary_text" => PartOf::Summary(fields.number("summary_index").unwrap_or(0)),
        "reasoning_text" => PartOf::Reasoning(content),
        "refusal" => PartOf::Refusal(content),
        _ => PartOf::Text(content),
    })
}

// === impl Item ===

impl Item {
    /// A message for the notice, opened.
    fn notice(index: u32, identity: &Identity, events: &mut Events) -> Self {
        let item = json!({"id": message_id(identity), "type": "message", "role": "assistant",
            "status": "in_progress", "content": []});
        events.push("output_item.added", json!({"output_index": index, "item": &item}));
        let opened = Self {
            index,
            raw: item.to_string(),
            done: false,
            parts: vec![Part::new(PartOf::Text(0))],
        };
        let about = opened.about("content_index", 0);
        events.push_about("content_part.added", about, json!({"part": text_part("")}));
        opened
    }

    fn has_open_text(&self) -> bool {
        !self.done && self.parts.iter().any(Part::is_open_text)
    }

    /// Goes on in its open text part.
    fn say(&mut self, texts: &[&str], events: &mut Events) {
        for &text in texts {
            let Some(part) = self.parts.iter_mut().rfind(|part| part.is_open_text()) else {
                return;
            };
            part.text.push_str(text);
            let PartOf::Text(index) = part.of else { return };
            let about = self.about("content_index", index);
            events.push_about("output_text.delta", about, json!({"delta": text, "logprobs": []}));
        }
    }

    /// Closes its parts, then itself; gives back what it is then.
    fn close(mut self, events: &mut Events) -> Value {
        let mut item = raw(&self.raw);
        let (false, Some(fields)) = (self.done, item.as_object_mut()) else { return item };
        let parts = std::mem::take(&mut self.parts);
        let (mut content, mut summary) = (Vec::new(), Vec::new());
        for Part { of, text, told, done } in &parts {
            let Some(shape) = Shape::of(*of) else {
                let key = match fields.get("type").and_then(Value::as_str) {
                    Some("custom_tool_call") => "input",
                    Some("code_interpreter_call") => "code",
                    _ => "arguments",
                };
                fields.insert(key.into(), json!(text));
                continue;
            };
            let whole = shape.part(text);
            let about = self.about(shape.index_key, shape.index);
            if !told {
                let told = if shape.kind == "output_text" {
                    json!({"text": text, "logprobs": []})
                } else {
                    json!({ shape.text_key: text })
                };
                events.push_about(&format!("{}.done", shape.event), about.clone(), told);
            }
            if !done {
                events.push_about(
                    &format!("{}.done", shape.part_event),
                    about,
                    json!({"part": &whole}),
                );
            }
            let list = if shape.kind == "summary_text" { &mut summary } else { &mut content };
            list.push(whole);
        }
        fields.insert("status".into(), json!("incomplete"));
        for (key, parts) in [("content", content), ("summary", summary)] {
            if !parts.is_empty() {
                fields.insert(key.into(), Value::Array(parts));
            }
        }
        events.push("output_item.done", json!({"output_index": self.index, "item": &item}));
        item
    }

    fn about(&self, index_key: &str, index: u32) -> Value {
        let id = raw(&self.raw).get("id").cloned();
        json!({"item_id": id, "output_index": self.index, index_key: index})
    }
}

// === impl Part ===

impl Part {
    const fn new(of: PartOf) -> Self {
        Self { of, text: String::new(), told: false, done: false }
    }

    const fn is_open_text(&self) -> bool {
        !self.told && !self.done && matches!(self.of, PartOf::Text(_))
    }
}

/// How a part is told.
struct Shape {
    kind: &'static str,
    event: &'static str,
    part_event: &'static str,
    text_key: &'static str,
    index_key: &'static str,
    index: u32,
}

// === impl Shape ===

impl Shape {
    /// None for arguments, which are no part.
    const fn of(part: PartOf) -> Option<Self> {
        let (kind, event, part_event, text_key, index_key, index) = match part {
            PartOf::Summary(index) => (
                "summary_text",
                "reasoning_summary_text",
                "reasoning_summary_part",
                "text",
                "summary_index",
                index,
            ),
            PartOf::Reasoning(index) => {
                ("reasoning_text", "reasoning_text", "content_part", "text", "content_index", index)
            }
            PartOf::Text(index) => {
                ("output_text", "output_text", "content_part", "text", "content_index", index)
            }
            PartOf::Refusal(index) => {
                ("refusal", "refusal", "content_part", "refusal", "content_index", index)
            }
            PartOf::Arguments => return None,
        };
        Some(Self { kind, event, part_event, text_key, index_key, index })
    }

    fn part(&self, text: &str) -> Value {
        if self.kind == "output_text" {
            return text_part(text);
        }
        json!({"type": self.kind, self.text_key: text})
    }
}

/// Events while they are written.
struct Events {
    text: String,
    /// The number of the last one, where they are numbered.
    number: Option<u64>,
}

// === impl Events ===

impl Events {
    /// The first event of a stream, from which on events are numbered.
    fn push_first(&mut self, kind: &str, fields: Value) {
        self.write(kind, fields, Some(0));
    }

    fn push(&mut self, kind: &str, fields: Value) {
        self.write(kind, fields, self.number.map(|number| number.saturating_add(1)));
    }

    /// An event about a part of an item.
    fn push_about(&mut self, kind: &str, mut about: Value, fields: Value) {
        if let (Some(about), Value::Object(fields)) = (about.as_object_mut(), fields) {
            about.extend(fields);
        }
        self.push(kind, about);
    }

    fn write(&mut self, kind: &str, mut fields: Value, number: Option<u64>) {
        self.number = number;
        if let Some(fields) = fields.as_object_mut() {
            fields.insert("type".into(), json!(format!("response.{kind}")));
            fields.extend(number.map(|number| ("sequence_number".into(), json!(number))));
        }
        self.text.push_str(&named_event(&fields));
    }
}
