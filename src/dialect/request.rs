//! A completion request: the prompt's new text, and the options that matter to a guard.

use std::borrow::Cow;

use super::{
    Endpoint,
    fields::Fields,
    json::{each_entry, each_item, says_nothing, string},
    native_request,
    pieces::MAX_DEPTH,
};

/// Options that show text, or its tokens, at places which are not inspected.
const SIDE_CHANNELS: [&str; 9] = [
    "echo",
    "enable_response_messages",
    "logprob_start_len",
    "prompt_logprobs",
    "return_hidden_states",
    "return_prompt_token_ids",
    "return_token_ids",
    "return_tokens_as_token_ids",
    "top_logprobs_num",
];

/// What a request says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Request<'de> {
    /// The body is a JSON object with messages or a prompt.
    pub known: bool,
    /// The model asked for.
    pub model: Option<Cow<'de, str>>,
    /// Whether a stream is asked for.
    pub stream: bool,
    /// Whether the stream is to end with a usage chunk.
    pub include_usage: bool,
    /// The prompt's text to be inspected, one item a message part.
    pub texts: Vec<Cow<'de, str>>,
    /// Bytes of images and other media to be inspected by nobody.
    pub media_bytes: usize,
    /// Bytes of a prompt given in another shape than text (token ids).
    pub opaque_bytes: usize,
    /// Options that open a side channel around the inspection.
    pub side_channels: Vec<&'static str>,
}

/// Reads a request's body. Inspected is what is new since the last assistant turn, or `whole_prompt`.
#[must_use]
pub fn read_request(endpoint: Endpoint, body: &str, whole_prompt: bool) -> Request<'_> {
    match endpoint {
        Endpoint::OllamaChat => return native_request::ollama_chat(body, whole_prompt),
        Endpoint::OllamaGenerate => return native_request::ollama_generate(body),
        Endpoint::GeminiGenerate | Endpoint::GeminiArray | Endpoint::GeminiEvents => {
            let stream = endpoint != Endpoint::GeminiGenerate;
            return Request { stream, ..native_request::gemini(body, whole_prompt) };
        }
        Endpoint::CohereChat => return native_request::cohere(body, whole_prompt),
        Endpoint::ChatCompletions
        | Endpoint::Completions
        | Endpoint::Responses
        | Endpoint::StoredResponse
        | Endpoint::Messages => {}
    }
    let mut request = Request::default();
    let walked = each_entry(body, |key, raw| match (key, endpoint) {
        ("messages", Endpoint::ChatCompletions | Endpoint::Messages) => {
            request.messages(raw, whole_prompt);
        }
        ("system", Endpoint::Messages) => request.content(raw),
        ("input", Endpoint::Responses) => request.input(raw, whole_prompt),
        ("prompt", Endpoint::Completions) => request.prompt(raw),
        ("suffix", Endpoint::Completions) | ("instructions", Endpoint::Responses) => {
            request.text(raw);
        }
        ("model", _) => request.model = string(raw),
        ("stream", _) => request.stream = raw == "true",
        ("stream_options", _) => {
            each_entry(raw, |key, raw| {
                if key == "include_usage" {
                    request.include_usage = raw == "true";
                }
            });
        }
        _ => {
            let option = SIDE_CHANNELS.iter().find(|option| **option == key);
            if let Some(option) = option.filter(|_| !matches!(raw, "false" | "null" | "0" | "-1")) {
                request.side_channels.push(option);
            }
        }
    });
    request.known &= walked;
    // A stored prompt stands in place of the input.
    request.known |= endpoint == Endpoint::Responses && walked;
    request
}

/// The body without the options that open a side channel.
#[must_use]
pub fn without_side_channels(body: &str) -> String {
    let mut kept = String::with_capacity(body.len());
    each_entry(body, |key, raw| {
        if !SIDE_CHANNELS.contains(&key) {
            kept.push(if kept.is_empty() { '{' } else { ',' });
            kept.push_str(&serde_json::Value::from(key).to_string());
            kept.push(':');
            kept.push_str(raw);
        }
    });
    if kept.is_empty() {
        kept.push('{');
    }
    kept.push('}');
    kept
}

// === impl Request ===

impl<'de> Request<'de> {
    pub(super) fn messages(&mut self, raw: &'de str, whole_prompt: bool) {
        let mut messages = Vec::new();
        self.known = each_item(raw, |message| messages.push(message));
        let last_turn = messages.iter().rposition(|message| is_assistant(message));
        let begin = last_turn.filter(|_| !whole_prompt).map_or(0, |turn| turn + 1);
        for message in messages.into_iter().skip(begin) {
            each_entry(message, |key, raw| match key {
                "content" => self.content(raw),
                "reasoning_content" | "reasoning" | "refusal" | "thinking" | "tool_plan" => {
                    self.text(raw);
                }
                "images" if !says_nothing(raw) => self.media_bytes += raw.len(),
                "tool_calls" => self.tool_calls(raw),
                _ => {}
            });
        }
    }

    /// A response's input: a text, or items, of which those since the last that the model made are new.
    fn input(&mut self, raw: &'de str, whole_prompt: bool) {
        if !raw.starts_with('[') {
            return self.text(raw);
        }
        let mut items = Vec::new();
        each_item(raw, |item| items.push(Fields::read(item)));
        let last_turn = items.iter().rposition(is_of_model);
        let begin = last_turn.filter(|_| !whole_prompt).map_or(0, |turn| turn + 1);
        for (key, raw) in items.iter().skip(begin).flat_map(Fields::iter) {
            match key {
                "content" | "output" | "summary" => self.content(raw),
                "arguments" | "input" | "code" => self.text(raw),
                _ => {}
            }
        }
    }

    fn tool_calls(&mut self, raw: &'de str) {
        each_item(raw, |call| {
            each_entry(call, |key, raw| {
                if key == "function" {
                    each_entry(raw, |key, raw| match key {
                        "arguments" if raw.starts_with('{') => self.texts.push(raw.into()),
                        "arguments" => self.text(raw),
                        _ => {}
                    });
                }
            });
        });
    }

    fn content(&mut self, raw: &'de str) {
        if !raw.starts_with('[') {
            return self.text(raw);
        }
        each_item(raw, |part| {
            if part.starts_with('"') {
                return self.text(part);
            }
            self.part(part);
        });
    }

    /// A part of content: text, a tool's call or result, a document, or a medium.
    fn part(&mut self, part: &'de str) {
        let fields = Fields::read(part);
        let kind = fields.string("type").unwrap_or_default();
        for (key, raw) in fields.iter() {
            match key {
                "text" | "refusal" | "thinking" if raw.starts_with('"') => self.text(raw),
                "document" => self.every_string(raw, MAX_DEPTH),
                "content" if kind.ends_with("_result") => self.content(raw),
                "input" if kind.ends_with("tool_use") => self.texts.push(raw.into()),
                "source" if raw.contains("\"text\"") => self.source(raw),
                "type" | "id" | "tool_use_id" | "name" | "cache_control" | "is_error"
                | "signature" | "title" | "citations" => {}
                _ if !says_nothing(raw) => self.media_bytes += raw.len(),
                _ => {}
            }
        }
    }

    /// What a document is made of.
    fn source(&mut self, raw: &'de str) {
        let fields = Fields::read(raw);
        match (fields.get("type"), fields.get("data"), fields.get("content")) {
            (Some("\"text\""), Some(data), _) => self.text(data),
            (Some("\"content\""), _, Some(content)) => self.content(content),
            _ => self.media_bytes += raw.len(),
        }
    }

    fn prompt(&mut self, raw: &'de str) {
        self.known = true;
        if raw.starts_with('[') {
            each_item(raw, |item| self.text(item));
        } else {
            self.text(raw);
        }
    }

    pub(super) fn text(&mut self, raw: &'de str) {
        match string(raw) {
            Some(text) if text.is_empty() => {}
            Some(text) => self.texts.push(text),
            None if raw == "null" => {}
            None => self.opaque_bytes += raw.len(),
        }
    }

    /// Every string leaf of a tool's result or a document; what lies deeper is not read.
    pub(super) fn every_string(&mut self, raw: &'de str, depth: usize) {
        match (raw.as_bytes().first(), depth.checked_sub(1)) {
            (Some(b'"'), _) => self.text(raw),
            (Some(b'['), Some(depth)) => {
                each_item(raw, |item| self.every_string(item, depth));
            }
            (Some(b'{'), Some(depth)) => {
                each_entry(raw, |key, value| {
                    if !matches!(key, "type" | "id") {
                        self.every_string(value, depth);
                    }
                });
            }
            _ if says_nothing(raw) => {}
            _ => self.opaque_bytes += raw.len(),
        }
    }
}

/// Whether an item of a response's input is one that the model made.
fn is_of_model(item: &Fields<'_>) -> bool {
    let kind = item.string("type").unwrap_or_default();
    item.get("role") == Some("\"assistant\"") || kind == "reasoning" || kind.ends_with("_call")
}

fn is_assistant(message: &str) -> bool {
    let mut assistant = false;
    each_entry(message, |key, raw| {
        if key == "role" {
            assistant = string(raw).is_some_and(|role| role == "assistant");
        }
    });
    assistant
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inspects_what_is_new_since_the_last_assistant_turn() {
        let body = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[
            {"role":"system","content":"s"},{"role":"user","content":"old"},{"role":"assistant","content":"a"},
            {"role":"tool","content":"result"},
            {"role":"user","content":[{"type":"text","text":"new"},{"type":"image_url","image_url":{"url":"x"}}]}]}"#;
        let request = read_request(Endpoint::ChatCompletions, body, false);
        assert!(request.known && request.stream && request.include_usage);
        assert_eq!(request.texts, ["result", "new"]);
        assert_eq!(request.media_bytes, 11);
        let whole = read_request(Endpoint::ChatCompletions, body, true);
        assert_eq!(whole.texts, ["s", "old", "a", "result", "new"]);
    }

    #[test]
    fn reads_prompts_of_text_completions() {
        let request =
            read_request(Endpoint::Completions, r#"{"prompt":["a","b"],"suffix":"c"}"#, false);
        assert_eq!(request.texts, ["a", "b", "c"]);
        let request = read_request(Endpoint::Completions, r#"{"prompt":[1,2]}"#, false);
        assert_eq!((request.texts.len(), request.opaque_bytes), (0, 2));
    }

    #[test]
    fn finds_and_strips_side_channels() {
        let body = r#"{"echo":true, "prompt":"a","return_token_ids":false}"#;
        assert_eq!(read_request(Endpoint::Completions, body, false).side_channels, ["echo"]);
        assert_eq!(without_side_channels(body), r#"{"prompt":"a"}"#);
        assert_eq!(without_side_channels(r#"{"echo":true}"#), "{}");
    }

    #[test]
    fn does_not_know_other_shapes() {
        for body in ["", "[]", "{\"messages\":[", "{\"messages\":7}", "{}"] {
            assert!(!read_request(Endpoint::ChatCompletions, body, false).known, "{body}");
        }
    }
}
