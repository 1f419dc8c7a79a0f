//! How a refusal is written: what ends a stream, a whole body or a request the way that the dialect's clients expect.
//! Here are chat and text completions; other dialects have theirs beside their readers.
//!
//! Finish reason `content_filter` is the one ending that no measured client library takes for an error and that
//! all report as a filter stop (`docs/dialects.md` names those tried). There is never an `error` key in a chunk.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Dialect, anthropic, chunk::Envelope, cohere, gemini, ollama, openai_responses};

/// What the refusal's chunks say of themselves: raw JSON values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The value of `id`.
    pub id: String,
    /// The value of `created`.
    pub created: String,
    /// The value of `model`.
    pub model: String,
}

/// How one choice ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChoiceEnd {
    /// The choice's index.
    pub index: u32,
    /// Whether the role is still to be told.
    pub role: bool,
    /// The tag that ends the thinking, where content itself has opened it. It is a delta of its own: clients that
    /// split streamed content know a tag only when it stands alone.
    pub close_tag: Option<&'static str>,
    /// The notice, where the choice has sent no answer text.
    pub notice: Option<String>,
}

/// How a stream ends.
#[derive(Clone, Copy, Debug)]
pub struct Ending<'e> {
    /// What its events say of themselves.
    pub identity: &'e Identity,
    /// The choices that are not finished.
    pub choices: &'e [ChoiceEnd],
    /// The usage that is still to be told, as it stood in the JSON.
    pub usage: Option<&'e str>,
}

/// The events that end a stream of completions.
#[must_use]
pub fn stream_end(dialect: Dialect, ending: &Ending<'_>) -> Bytes {
    let Ending { identity, choices, usage } = *ending;
    let mut events = ends_of(dialect, identity, choices);
    if let Some(usage) = usage {
        push_event(&mut events, dialect, identity, "", &format!(",\"usage\":{usage}"));
    }
    events.push_str("data: [DONE]\n\n");
    events.into()
}

/// The events that end choices of a stream that goes on.
#[must_use]
pub fn choice_ends(dialect: Dialect, identity: &Identity, choices: &[ChoiceEnd]) -> Bytes {
    ends_of(dialect, identity, choices).into()
}

/// The event that adds text to a choice's content.
#[must_use]
pub fn text_event(dialect: Dialect, identity: &Identity, index: u32, text: &str) -> Bytes {
    let mut event = String::new();
    push_text(&mut event, dialect, identity, index, text);
    event.into()
}

fn ends_of(dialect: Dialect, identity: &Identity, choices: &[ChoiceEnd]) -> String {
    let mut events = String::new();
    for choice in choices {
        if choice.role && dialect == Dialect::OpenAiChat {
            let delta = json!({"role": "assistant", "content": ""});
            push_choice(&mut events, dialect, identity, &chat_choice(choice.index, &delta, None));
        }
        for text in choice.close_tag.into_iter().chain(choice.notice.as_deref()) {
            push_text(&mut events, dialect, identity, choice.index, text);
        }
    }
    for choice in choices {
        let body = match dialect {
            Dialect::OpenAiCompletions => text_choice(choice.index, "", Some("content_filter")),
            _ => chat_choice(choice.index, &json!({}), Some("content_filter")),
        };
        push_choice(&mut events, dialect, identity, &body);
    }
    events
}

/// A whole body in which every choice holds the notice.
#[must_use]
pub fn whole_body(
    dialect: Dialect,
    identity: &Identity,
    choices: &[u32],
    notice: &str,
    usage: Option<&str>,
) -> Bytes {
    let object = match dialect {
        Dialect::Anthropic => return anthropic::whole_body(identity, notice, usage),
        Dialect::OpenAiResponses => return openai_responses::whole_body(identity, notice, usage),
        Dialect::Gemini => return gemini::whole_body(identity, choices, notice, usage),
        Dialect::Cohere => return cohere::whole_body(identity, notice, usage),
        Dialect::OpenAiCompletions => "text_completion",
        _ => "chat.completion",
    };
    let choices: Vec<String> = choices
        .iter()
        .map(|&index| {
            let choice = match dialect {
                Dialect::OpenAiCompletions => text_choice(index, notice, Some("content_filter")),
                _ => json!({
                    "index": index,
                    "message": {"role": "assistant", "content": notice},
                    "logprobs": null,
                    "finish_reason": "content_filter",
                }),
            };
            choice.to_string()
        })
        .collect();
    let mut body = format!(
        r#"{{"id":{},"object":"{object}","created":{},"model":{},"choices":[{}]"#,
        identity.id,
        identity.created,
        identity.model,
        choices.join(","),
    );
    if let Some(usage) = usage {
        body.push_str(",\"usage\":");
        body.push_str(usage);
    }
    body.push('}');
    body.into()
}

/// An error body in the dialect's shape, which is OpenAI's where the dialect has none of its own.
#[must_use]
pub fn error_body(
    dialect: Dialect,
    message: &str,
    kind: &str,
    param: Option<&str>,
    code: &str,
) -> Bytes {
    let body = match dialect {
        Dialect::Anthropic => anthropic::error_body(message, kind),
        Dialect::Ollama => ollama::error_body(message),
        Dialect::Gemini => gemini::error_body(message, kind),
        Dialect::Cohere => cohere::error_body(message),
        Dialect::OpenAiChat
        | Dialect::OpenAiCompletions
        | Dialect::OpenAiResponses
        | Dialect::Trace
        | Dialect::Unknown => {
            json!({"error": {"message": message, "type": kind, "param": param, "code": code}})
        }
    };
    body.to_string().into()
}

/// An event with its type as its name.
pub(super) fn named_event(event: &Value) -> String {
    let name = event.get("type").and_then(Value::as_str).unwrap_or_default();
    format!("event: {name}\ndata: {event}\n\n")
}

fn chat_choice(index: u32, delta: &Value, finish_reason: Option<&str>) -> Value {
    json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": finish_reason})
}

fn text_choice(index: u32, text: &str, finish_reason: Option<&str>) -> Value {
    json!({"index": index, "text": text, "logprobs": null, "finish_reason": finish_reason})
}

fn push_text(events: &mut String, dialect: Dialect, identity: &Identity, index: u32, text: &str) {
    let body = match dialect {
        Dialect::OpenAiCompletions => text_choice(index, text, None),
        _ => chat_choice(index, &json!({"content": text}), None),
    };
    push_choice(events, dialect, identity, &body);
}

fn push_choice(events: &mut String, dialect: Dialect, identity: &Identity, choice: &Value) {
    push_event(events, dialect, identity, &choice.to_string(), "");
}

fn push_event(
    events: &mut String,
    dialect: Dialect,
    identity: &Identity,
    choice: &str,
    more: &str,
) {
    let object = match dialect {
        Dialect::OpenAiCompletions => "text_completion",
        _ => "chat.completion.chunk",
    };
    let Identity { id, created, model } = identity;
    let head = [
        "data: {\"id\":",
        id,
        ",\"object\":\"",
        object,
        "\",\"created\":",
        created,
        ",\"model\":",
        model,
    ];
    events.push_str(&head.concat());
    events.push_str(&[",\"choices\":[", choice, "]", more, "}\n\n"].concat());
}

// === impl Identity ===

impl Identity {
    /// The upstream's names where it gave them, else these.
    #[must_use]
    pub fn of(envelope: &Envelope<'_>, id: &str, created: u64, model: &str) -> Self {
        let quoted = |text: &str| Value::from(text).to_string();
        Self {
            id: envelope.id.map_or_else(|| quoted(id), str::to_owned),
            created: envelope.created.map_or_else(|| created.to_string(), str::to_owned),
            model: envelope.model.map_or_else(|| quoted(model), str::to_owned),
        }
    }

    pub(super) fn id_value(&self) -> Value {
        serde_json::from_str(&self.id).unwrap_or_default()
    }

    pub(super) fn model_value(&self) -> Value {
        serde_json::from_str(&self.model).unwrap_or_default()
    }

    /// When the response was created, as text: seconds since 1970 where the upstream has told no text.
    pub(super) fn created_as_time(&self) -> Value {
        let time = |seconds: i64| jiff::Timestamp::from_second(seconds).ok();
        match self.created.parse().ok().and_then(time) {
            Some(time) => time.to_string().into(),
            None => serde_json::from_str(&self.created).unwrap_or_default(),
        }
    }
}

/// The data of the events with which `end` ends a stream of one choice; their names are their types.
#[cfg(test)]
pub(super) fn events_at_end(
    id: &str,
    notice: Option<&str>,
    end: impl FnOnce(&Ending<'_>) -> Bytes,
) -> Vec<Value> {
    let quoted = |text: &str| Value::from(text).to_string();
    let identity = Identity { id: quoted(id), created: "7".into(), model: quoted("m") };
    let notice = notice.map(str::to_owned);
    let choices = [ChoiceEnd { index: 0, role: true, close_tag: None, notice }];
    let events = end(&Ending { identity: &identity, choices: &choices, usage: None });
    let read = |event: &str| {
        let (name, data) = event.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(name, format!("event: {}", data["type"].as_str().unwrap()));
        data
    };
    str::from_utf8(&events).unwrap().split_terminator("\n\n").map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity { id: "\"x\"".into(), created: "7".into(), model: "\"m\"".into() }
    }

    #[test]
    fn ends_a_chat_stream_with_notice_finish_usage_and_done() {
        let choices = [
            ChoiceEnd { index: 0, role: true, close_tag: None, notice: Some("stopped".into()) },
            ChoiceEnd { index: 1, role: false, close_tag: None, notice: None },
        ];
        let ending = Ending {
            identity: &identity(),
            choices: &choices,
            usage: Some(r#"{"total_tokens":3}"#),
        };
        let bytes = stream_end(Dialect::OpenAiChat, &ending);
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let events: Vec<&str> = text.trim_end().split("\n\n").map(|event| &event[6..]).collect();
        assert_eq!(events.len(), 6);
        let json: Vec<Value> =
            events[..5].iter().map(|event| serde_json::from_str(event).unwrap()).collect();
        assert_eq!(json[0]["choices"][0]["delta"]["role"], "assistant");
        assert_eq!(json[1]["choices"][0]["delta"]["content"], "stopped");
        assert_eq!(json[2]["choices"][0]["finish_reason"], "content_filter");
        assert_eq!(json[3]["choices"][0]["index"], 1);
        assert_eq!(json[4]["usage"]["total_tokens"], 3);
        assert_eq!(json[4]["choices"], json!([]));
        assert_eq!(events[5], "[DONE]");
        assert!(json.iter().all(|event| event.get("error").is_none() && event["id"] == "x"));
    }

    #[test]
    fn writes_whole_bodies_of_both_kinds() {
        let chat: Value = serde_json::from_slice(&whole_body(
            Dialect::OpenAiChat,
            &identity(),
            &[0, 1],
            "n",
            None,
        ))
        .unwrap();
        assert_eq!(chat["choices"][1]["message"]["content"], "n");
        let text: Value = serde_json::from_slice(&whole_body(
            Dialect::OpenAiCompletions,
            &identity(),
            &[0],
            "n",
            Some("{}"),
        ))
        .unwrap();
        assert_eq!(text["choices"][0]["text"], "n");
        assert_eq!(text["usage"], json!({}));
    }
}
