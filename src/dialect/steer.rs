//! A request with safety rules put into its system prompt, and with other options.
//!
//! In: a completion request's body. Out: the same body, every part that is not changed byte for byte as it came.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    Endpoint,
    json::{each_entry, each_item, string},
};

/// What is changed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Changes<'c> {
    /// Text for the system prompt; none where empty.
    pub system: &'c str,
    /// Options by name, with their values in JSON; they stand in place of the request's own.
    pub parameters: Option<&'c BTreeMap<String, String>>,
}

/// The body with `changes`; none where it is no request of this endpoint, or has no place for them.
#[must_use]
pub fn steered(endpoint: Endpoint, body: &str, changes: Changes<'_>) -> Option<String> {
    let mut object = Object::default();
    let (mut placed, mut is_request) = (changes.system.is_empty(), false);
    let walked = each_entry(body, |key, raw| {
        if changes.parameters.is_some_and(|parameters| parameters.contains_key(key)) {
            return;
        }
        is_request |= matches!(key, "messages" | "input" | "prompt" | "contents");
        if raw == "null" && system_field(endpoint) == Some(key) && !placed {
            return;
        }
        let changed = match (key, endpoint) {
            _ if changes.system.is_empty() => None,
            (
                "messages",
                Endpoint::ChatCompletions | Endpoint::OllamaChat | Endpoint::CohereChat,
            ) => with_system_message(raw, changes.system),
            ("system", Endpoint::Messages | Endpoint::OllamaGenerate)
            | ("instructions", Endpoint::Responses) => with_content(raw, changes.system),
            (
                "systemInstruction" | "system_instruction",
                Endpoint::GeminiGenerate | Endpoint::GeminiArray | Endpoint::GeminiEvents,
            ) => with_part(raw, changes.system),
            ("prompt", Endpoint::Completions) => {
                string(raw).map(|prompt| quoted(&format!("{}\n\n{prompt}", changes.system)))
            }
            _ => None,
        };
        placed |= changed.is_some();
        object.push(key, changed.as_deref().unwrap_or(raw));
    });
    if let Some(field) = system_field(endpoint).filter(|_| !placed && is_request) {
        let is_text = field != "systemInstruction";
        let own = if is_text { quoted(changes.system) } else { parts(changes.system) };
        object.push(field, &own);
        placed = true;
    }
    for (key, value) in changes.parameters.into_iter().flatten() {
        object.push(key, value);
    }
    (walked && placed).then(|| object.finish())
}

/// The request's field that holds the system prompt, where it is no message.
const fn system_field(endpoint: Endpoint) -> Option<&'static str> {
    match endpoint {
        Endpoint::Messages | Endpoint::OllamaGenerate => Some("system"),
        Endpoint::Responses => Some("instructions"),
        Endpoint::GeminiGenerate | Endpoint::GeminiArray | Endpoint::GeminiEvents => {
            Some("systemInstruction")
        }
        Endpoint::ChatCompletions
        | Endpoint::Completions
        | Endpoint::OllamaChat
        | Endpoint::CohereChat
        | Endpoint::StoredResponse => None,
    }
}

/// Gemini's content of one part.
fn parts(text: &str) -> String {
    let mut part = Object::default();
    part.push("text", &quoted(text));
    format!("{{\"parts\":[{}]}}", part.finish())
}

/// Gemini's content with `text` in a part behind its own.
fn with_part(raw: &str, text: &str) -> Option<String> {
    let mut object = Object::default();
    let mut placed = false;
    let walked = each_entry(raw, |key, raw| {
        let items = raw.strip_prefix('[').and_then(|raw| raw.strip_suffix(']')).unwrap_or(raw);
        if key == "parts" && !items.trim().is_empty() {
            placed = true;
            let own = format!("{{\"text\":{}}}", quoted(text));
            object.push(key, &format!("[{items},{own}]"));
        } else {
            object.push(key, raw);
        }
    });
    (walked && placed).then(|| object.finish())
}

/// The messages with `text` in the leading system message, or in one of its own before all others.
fn with_system_message(raw: &str, text: &str) -> Option<String> {
    let mut messages = Vec::new();
    if !each_item(raw, |message| messages.push(message)) {
        return None;
    }
    let changed = messages.first().and_then(|first| with_text(first, text));
    let own = changed.is_none().then(|| {
        let mut own = Object::default();
        own.push("role", "\"system\"");
        own.push("content", &quoted(text));
        own.finish()
    });
    let kept = messages.into_iter().skip(usize::from(changed.is_some()));
    let first = changed.as_deref().or(own.as_deref());
    Some(format!("[{}]", first.into_iter().chain(kept).collect::<Vec<_>>().join(",")))
}

/// A system message with `text` behind its own; none where it is another message.
fn with_text(message: &str, text: &str) -> Option<String> {
    let mut object = Object::default();
    let (mut is_system, mut placed) = (false, false);
    let walked = each_entry(message, |key, raw| {
        let changed = match key {
            "role" => {
                is_system |= matches!(raw, "\"system\"" | "\"developer\"");
                None
            }
            "content" => with_content(raw, text),
            _ => None,
        };
        placed |= changed.is_some();
        object.push(key, changed.as_deref().unwrap_or(raw));
    });
    (walked && is_system && placed).then(|| object.finish())
}

fn with_content(raw: &str, text: &str) -> Option<String> {
    if let Some(own) = string(raw) {
        return Some(quoted(&format!("{own}\n\n{text}")));
    }
    let mut part = Object::default();
    part.push("type", "\"text\"");
    part.push("text", &quoted(text));
    let items = raw.trim_end().strip_prefix('[')?.strip_suffix(']')?;
    let comma = if items.trim().is_empty() { "" } else { "," };
    Some(format!("[{items}{comma}{}]", part.finish()))
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A JSON object that is put together again.
#[derive(Debug, Default)]
struct Object(String);

// === impl Object ===

impl Object {
    fn push(&mut self, key: &str, raw: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push_str(&quoted(key));
        self.0.push(':');
        self.0.push_str(raw);
    }

    fn finish(mut self) -> String {
        if self.0.is_empty() {
            self.0.push('{');
        }
        self.0.push('}');
        self.0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn chat(body: &Value) -> Value {
        let changes = Changes { system: "Stay \"safe\".", parameters: None };
        let steered = steered(Endpoint::ChatCompletions, &body.to_string(), changes).unwrap();
        serde_json::from_str(&steered).unwrap()
    }

    #[test]
    fn the_rules_stand_in_the_system_message() {
        let user = json!({"role": "user", "content": "hi", "name": "x"});
        let rules = "Stay \"safe\".";
        for (first, expected) in [
            (
                json!({"role": "system", "content": "Be brief."}),
                json!({"role": "system", "content": format!("Be brief.\n\n{rules}")}),
            ),
            (
                json!({"role": "developer", "content": [{"type": "text", "text": "a"}]}),
                json!({"role": "developer", "content":
                    [{"type": "text", "text": "a"}, {"type": "text", "text": rules}]}),
            ),
            (
                json!({"role": "system", "content": []}),
                json!({"role": "system", "content": [{"type": "text", "text": rules}]}),
            ),
        ] {
            let body = json!({"model": "m", "messages": [first, user], "n": 2});
            let expected = json!({"model": "m", "messages": [expected, user], "n": 2});
            assert_eq!(chat(&body), expected);
        }
        let own = json!({"role": "system", "content": rules});
        assert_eq!(chat(&json!({"messages": [user]})), json!({"messages": [own, user]}));
        assert_eq!(chat(&json!({"messages": []})), json!({"messages": [own]}));
        let nothing = json!({"role": "system", "content": null});
        assert_eq!(
            chat(&json!({"messages": [nothing, user]})),
            json!({"messages": [own, nothing, user]})
        );
    }

    #[test]
    fn options_stand_in_place_of_the_requests_own() {
        let parameters = [("temperature", "0.2"), ("chat_template_kwargs", "{\"a\":false}")];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let changes = Changes { system: "", parameters: Some(&parameters) };
        let body = "{\"temperature\": 1.0, \"seed\":18446744073709551616,\"messages\":[ ]}";
        assert_eq!(
            steered(Endpoint::ChatCompletions, body, changes).unwrap(),
            "{\"seed\":18446744073709551616,\"messages\":[ ],\
             \"chat_template_kwargs\":{\"a\":false},\"temperature\":0.2}"
        );
    }

    #[test]
    fn other_dialects_are_told_in_their_own_places() {
        let changes = Changes { system: "Safe.", parameters: None };
        for (endpoint, body, expected) in [
            (
                Endpoint::OllamaChat,
                r#"{"model":"m","messages":[{"role":"user","content":"a"}]}"#,
                r#"{"model":"m","messages":[{"role":"system","content":"Safe."},{"role":"user","content":"a"}]}"#,
            ),
            (
                Endpoint::OllamaGenerate,
                r#"{"prompt":"a","system":"s"}"#,
                r#"{"prompt":"a","system":"s\n\nSafe."}"#,
            ),
            (Endpoint::OllamaGenerate, r#"{"prompt":"a"}"#, r#"{"prompt":"a","system":"Safe."}"#),
            (
                Endpoint::GeminiArray,
                r#"{"contents":[],"system_instruction":{"parts":[{"text":"s"}]}}"#,
                r#"{"contents":[],"system_instruction":{"parts":[{"text":"s"},{"text":"Safe."}]}}"#,
            ),
            (
                Endpoint::GeminiGenerate,
                r#"{"contents":[]}"#,
                r#"{"contents":[],"systemInstruction":{"parts":[{"text":"Safe."}]}}"#,
            ),
            (
                Endpoint::CohereChat,
                r#"{"messages":[]}"#,
                r#"{"messages":[{"role":"system","content":"Safe."}]}"#,
            ),
        ] {
            assert_eq!(steered(endpoint, body, changes).unwrap(), expected);
        }
        assert_eq!(steered(Endpoint::GeminiArray, "{}", changes), None);
    }

    #[test]
    fn other_wires_have_a_field_for_the_system_prompt() {
        let changes = Changes { system: "Safe.", parameters: None };
        for (endpoint, body, expected) in [
            (Endpoint::Responses, r#"{"input":"go"}"#, r#"{"input":"go","instructions":"Safe."}"#),
            (
                Endpoint::Responses,
                r#"{"instructions":null,"input":[ ]}"#,
                r#"{"input":[ ],"instructions":"Safe."}"#,
            ),
            (
                Endpoint::Responses,
                r#"{"instructions":"Be brief.","input":"go"}"#,
                r#"{"instructions":"Be brief.\n\nSafe.","input":"go"}"#,
            ),
            (
                Endpoint::Messages,
                r#"{"messages":[],"system":[{"type":"text","text":"a"}]}"#,
                r#"{"messages":[],"system":[{"type":"text","text":"a"},{"type":"text","text":"Safe."}]}"#,
            ),
            (Endpoint::Messages, r#"{"messages":[]}"#, r#"{"messages":[],"system":"Safe."}"#),
        ] {
            assert_eq!(steered(endpoint, body, changes).unwrap(), expected);
        }
        assert_eq!(steered(Endpoint::Messages, "{}", changes), None);
    }

    #[test]
    fn a_text_completion_is_told_before_its_prompt() {
        let changes = Changes { system: "Safe.", parameters: None };
        let completion = |body: &str| steered(Endpoint::Completions, body, changes);
        assert_eq!(completion("{\"prompt\":\"go\"}").unwrap(), "{\"prompt\":\"Safe.\\n\\ngo\"}");
        // Token ids and what is no request have no place for text.
        assert_eq!(completion("{\"prompt\":[1,2]}"), None);
        assert_eq!(completion("[]"), None);
        assert_eq!(steered(Endpoint::ChatCompletions, "{\"prompt\":\"go\"}", changes), None);
    }
}
