//! Requests of the dialects whose prompts are not only messages.
//!
//! In: a request's body. Out: the prompt's text. The same holds as for others: what is new since the model's last turn
//! is read, or the whole prompt.

use super::{
    fields::Fields,
    json::{each_item, says_nothing},
    pieces::MAX_DEPTH,
    request::Request,
};

/// Keys that Ollama reads of a request and of its messages. It takes them in any spelling of upper and lower case; what
/// is spelled otherwise than here is not read.
const OLLAMA_KEYS: [&str; 12] = [
    "messages",
    "prompt",
    "system",
    "suffix",
    "template",
    "images",
    "context",
    "model",
    "stream",
    "role",
    "content",
    "tool_calls",
];

/// Reads a request to Ollama's `/api/chat`. Without messages it only loads the model.
pub(super) fn ollama_chat(body: &str, whole_prompt: bool) -> Request<'_> {
    let (mut request, fields) = ollama(body);
    for (_, messages) in fields.iter().filter(|(key, _)| *key == "messages") {
        let mut known = request.known;
        request.messages(messages, whole_prompt);
        each_item(messages, |message| known &= is_spelled_as_known(&Fields::read(message)));
        request.known &= known;
    }
    request
}

/// Reads a request to Ollama's `/api/generate`. Without a prompt it only loads the model.
pub(super) fn ollama_generate(body: &str) -> Request<'_> {
    let (mut request, fields) = ollama(body);
    for (key, raw) in fields.iter() {
        match key {
            "prompt" | "system" | "suffix" | "template" => request.text(raw),
            "images" if !says_nothing(raw) => request.media_bytes += raw.len(),
            "context" if !says_nothing(raw) => request.opaque_bytes += raw.len(),
            _ => {}
        }
    }
    request
}

/// What both have; they are streamed unless they ask not to be.
fn ollama(body: &str) -> (Request<'_>, Fields<'_>) {
    let fields = Fields::read(body);
    let known = fields.whole && fields.get("model").is_some() && is_spelled_as_known(&fields);
    let request = Request {
        known,
        model: fields.string("model"),
        stream: fields.get("stream") != Some("false"),
        ..Request::default()
    };
    (request, fields)
}

fn is_spelled_as_known(fields: &Fields<'_>) -> bool {
    let odd = |key: &str| {
        OLLAMA_KEYS.iter().any(|known| *known != key && known.eq_ignore_ascii_case(key))
    };
    !fields.iter().any(|(key, _)| odd(key))
}

/// Reads a request to Gemini.
pub(super) fn gemini(body: &str, whole_prompt: bool) -> Request<'_> {
    let fields = Fields::read(body);
    let mut request = Request { model: fields.string("model"), ..Request::default() };
    let (mut turns, mut system) = (Vec::new(), Vec::new());
    for (key, raw) in fields.iter() {
        match key {
            "contents" => {
                request.known = fields.whole;
                if !each_item(raw, |turn| turns.push(turn)) {
                    turns.push(raw);
                }
            }
            "systemInstruction" | "system_instruction" => system.push(raw),
            _ => {}
        }
    }
    let is_of_model = |turn: &&str| Fields::read(turn).get("role") == Some("\"model\"");
    let last_turn = turns.iter().rposition(is_of_model).filter(|_| !whole_prompt);
    let begin = last_turn.map_or(0, |turn| turn + 1);
    let system = system.into_iter().filter(|_| last_turn.is_none());
    for turn in system.chain(turns.into_iter().skip(begin)) {
        read_turn(&mut request, turn);
    }
    request
}

fn read_turn<'de>(request: &mut Request<'de>, turn: &'de str) {
    if turn.starts_with('"') {
        return request.text(turn);
    }
    for (_, parts) in Fields::read(turn).iter().filter(|(key, _)| *key == "parts") {
        if !each_item(parts, |part| read_part(request, part)) {
            read_part(request, parts);
        }
    }
}

fn read_part<'de>(request: &mut Request<'de>, part: &'de str) {
    if part.starts_with('"') {
        return request.text(part);
    }
    for (key, raw) in Fields::read(part).iter() {
        match key {
            "text" => request.text(raw),
            "functionResponse"
            | "function_response"
            | "functionCall"
            | "function_call"
            | "executableCode"
            | "executable_code"
            | "codeExecutionResult"
            | "code_execution_result" => request.every_string(raw, MAX_DEPTH),
            "inlineData" | "inline_data" | "fileData" | "file_data" => {
                request.media_bytes += raw.len();
            }
            _ => {}
        }
    }
}

/// Reads a request to Cohere; its documents are part of the prompt.
pub(super) fn cohere(body: &str, whole_prompt: bool) -> Request<'_> {
    let fields = Fields::read(body);
    let mut request = Request::default();
    for (key, raw) in fields.iter() {
        match key {
            "messages" => request.messages(raw, whole_prompt),
            "documents" => request.every_string(raw, MAX_DEPTH),
            "model" => request.model = fields.string(key),
            "stream" => request.stream = raw == "true",
            _ => {}
        }
    }
    request.known &= fields.whole;
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_requests_to_ollama() {
        let chat = r#"{"model":"m","messages":[{"role":"system","content":"s"},{"role":"assistant","content":"a","thinking":"t",
            "tool_calls":[{"function":{"name":"f","arguments":{"a":"b"}}}]},
            {"role":"tool","content":"result","tool_name":"f"},{"role":"user","content":"new","images":["aaaa"]}]}"#;
        let request = ollama_chat(chat, false);
        assert!(request.known && request.stream);
        assert_eq!(request.texts, ["result", "new"]);
        assert_eq!(request.media_bytes, 8);
        let whole = ollama_chat(chat, true);
        assert_eq!(whole.texts, ["s", "a", "t", r#"{"a":"b"}"#, "result", "new"]);
        let generate = r#"{"model":"m","prompt":"p","system":"s","context":[1,2],"stream":false}"#;
        let request = ollama_generate(generate);
        assert!(request.known && !request.stream);
        assert_eq!((request.texts.len(), request.opaque_bytes), (2, 5));
        assert!(ollama_generate(r#"{"model":"m"}"#).known);
        assert!(!ollama_generate("{}").known);
        for other in [
            r#"{"model":"m","messages":7}"#,
            r#"{"model":"m","Messages":[{"role":"user","content":"a"}]}"#,
            r#"{"model":"m","messages":[{"role":"user","CONTENT":"a"}]}"#,
        ] {
            assert!(!ollama_chat(other, false).known, "{other}");
        }
    }

    #[test]
    fn reads_requests_to_gemini() {
        let body = r#"{"system_instruction":{"parts":[{"text":"s"}]},"contents":[{"role":"user","parts":[{"text":"old"}]},
            {"role":"model","parts":[{"functionCall":{"name":"f","args":{"x":"y"}}}]},
            {"role":"user","parts":[{"functionResponse":{"name":"f","response":{"result":"r"}}},{"inline_data":{"data":"AA"}}]}]}"#;
        let request = gemini(body, false);
        assert!(request.known);
        assert_eq!(request.texts, ["f", "r"]);
        assert_eq!(request.media_bytes, 13);
        assert_eq!(gemini(body, true).texts, ["s", "old", "f", "y", "f", "r"]);
        let first =
            r#"{"systemInstruction":{"parts":{"text":"s"}},"contents":{"parts":{"text":"q"}}}"#;
        assert_eq!(gemini(first, false).texts, ["s", "q"]);
        for body in ["", "[]", "{}", r#"{"contents":["#] {
            assert!(!gemini(body, false).known, "{body}");
        }
    }

    #[test]
    fn reads_requests_to_cohere() {
        let body = r#"{"model":"m","stream":true,"documents":["d",{"id":"1","data":{"text":"e"}}],"messages":[
            {"role":"user","content":"old"},{"role":"assistant","tool_plan":"p","tool_calls":[{"function":{"arguments":"{}"}}]},
            {"role":"tool","tool_call_id":"c","content":[{"type":"document","document":{"data":{"result":"r"}}}]},
            {"role":"user","content":[{"type":"text","text":"new"},{"type":"image_url","image_url":{"url":"x"}}]}]}"#;
        let request = cohere(body, false);
        assert!(request.known && request.stream);
        assert_eq!(request.texts, ["d", "e", "r", "new"]);
        assert_eq!(request.media_bytes, 11);
        assert_eq!(cohere(body, true).texts, ["d", "e", "old", "p", "{}", "r", "new"]);
    }
}
