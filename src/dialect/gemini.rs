//! Gemini's own wire: `:generateContent` and `:streamGenerateContent`, as events, as an array that grows, or whole.
//!
//! Source: <https://ai.google.dev/api/generate-content>. A chunk is a whole response that holds
//! what is new. Field names come in two spellings, `thoughtSignature` and `thought_signature`, and mean the same.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    chunk::{Chunk, Opaque, Source},
    fields::Fields,
    json::{each_entry, each_item, says_nothing},
    pieces::{MAX_DEPTH, Pieces},
    refusal::{Ending, Identity},
};
use crate::wire::Framing;

/// An exchange, and what its chunks have told so far.
#[derive(Debug, Default)]
pub(super) struct Gemini {
    candidates: Vec<Candidate>,
    framing: Option<Framing>,
    sent: Sent,
}

/// What of an array the client was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sent {
    #[default]
    Nothing,
    /// Its bracket.
    Bracket,
    /// Items.
    Items,
}

/// What is known of a candidate.
#[derive(Debug)]
struct Candidate {
    index: u32,
    /// Function calls so far, the present one included.
    calls: u32,
    /// The last call's arguments go on in the next part.
    call_is_open: bool,
    /// It has brought thoughts that can be read.
    thinks: bool,
}

/// Candidates whose state is kept; more than any session reads.
const MAX_CANDIDATES: usize = 1024;

/// Whether a chunk is beyond doubt of this dialect.
pub(super) fn is_told_by(has: &dyn Fn(&str) -> bool) -> bool {
    has("candidates") || has("usageMetadata") || has("promptFeedback")
}

// === impl Gemini ===

impl Gemini {
    /// An exchange whose answer is cut in this way, unless it says otherwise.
    pub(super) fn framed(framing: Framing) -> Self {
        Self { framing: Some(framing), ..Self::default() }
    }

    /// Takes note of how the body is cut.
    pub(super) const fn note_framing(&mut self, framing: Framing) {
        self.framing = Some(framing);
    }

    /// Takes note of a frame that is sent to the client.
    pub(super) const fn note_sent(&mut self, payload: &[u8]) {
        self.sent = match (payload, self.sent) {
            ([], Sent::Nothing | Sent::Bracket) => Sent::Bracket,
            _ => Sent::Items,
        };
    }

    /// The content type of the stream.
    pub(super) const fn stream_type(&self) -> &'static str {
        match self.framing {
            Some(Framing::Array) => "application/json",
            Some(Framing::Sse | Framing::Whole | Framing::Lines) | None => "text/event-stream",
        }
    }

    /// Reads one chunk, or a whole body.
    pub(super) fn read<'de>(&mut self, payload: &'de str) -> Chunk<'de> {
        let mut chunk = Chunk::default();
        let mut pieces = Pieces::new(payload, &mut chunk);
        let fields = pieces.fields(payload);
        for (key, raw) in fields.iter() {
            match key {
                "candidates" => {
                    pieces.chunk.known = true;
                    let mut position = 0;
                    each_item(raw, |candidate| {
                        self.candidate(&mut pieces, position, candidate);
                        position += 1;
                    });
                    pieces.choice = 0;
                }
                "promptFeedback" | "prompt_feedback" => pieces.chunk.known = true,
                "usageMetadata" | "usage_metadata" => {
                    pieces.chunk.known = true;
                    pieces.chunk.usage = (raw != "null").then_some(raw);
                }
                "responseId" | "response_id" => pieces.chunk.envelope.id = Some(raw),
                "modelVersion" | "model_version" => pieces.chunk.envelope.model = Some(raw),
                "error" if !says_nothing(raw) => {
                    pieces.chunk.known = true;
                    pieces.chunk.error = true;
                }
                "createTime" | "create_time" | "modelStatus" => {}
                _ => pieces.unread(raw),
            }
        }
        chunk.known &= fields.whole;
        chunk
    }

    fn candidate<'de>(&mut self, pieces: &mut Pieces<'_, 'de>, position: u32, raw: &'de str) {
        let fields = Fields::read(raw);
        let index = fields.number("index").unwrap_or(position);
        let reason = fields.get("finishReason").or_else(|| fields.get("finish_reason"));
        pieces.choice = index;
        pieces.chunk.choices.push((index, reason.is_some_and(|reason| !says_nothing(reason))));
        for (key, raw) in pieces.fields(raw).iter() {
            match key {
                "content" => self.content(pieces, raw),
                "logprobsResult" | "logprobs_result" => logprobs(pieces, raw),
                "groundingMetadata" | "grounding_metadata" | "citationMetadata"
                | "citation_metadata" | "finishMessage" | "finish_message" => {
                    pieces.every_string(raw, MAX_DEPTH);
                }
                "index"
                | "finishReason"
                | "finish_reason"
                | "safetyRatings"
                | "safety_ratings"
                | "urlContextMetadata"
                | "url_context_metadata"
                | "groundingAttributions" => {}
                _ => pieces.unread(raw),
            }
        }
    }

    fn content<'de>(&mut self, pieces: &mut Pieces<'_, 'de>, raw: &'de str) {
        for (key, raw) in pieces.fields(raw).iter() {
            match key {
                "parts" => {
                    each_item(raw, |part| self.part(pieces, part));
                }
                "role" => {}
                _ => pieces.unread(raw),
            }
        }
    }

    fn part<'de>(&mut self, pieces: &mut Pieces<'_, 'de>, raw: &'de str) {
        let fields = pieces.fields(raw);
        let thought = fields.get("thought") == Some("true");
        let source = if thought { Source::ThinkingPart } else { Source::Content };
        for (key, raw) in fields.iter() {
            match key {
                "text" => pieces.text(source, raw),
                "functionCall" | "function_call" => self.function_call(pieces, raw),
                "thoughtSignature" | "thought_signature" => {
                    if let Some(sealed) = self.signature(pieces.choice, thought) {
                        pieces.opaque(sealed, raw);
                    }
                }
                "executableCode"
                | "executable_code"
                | "codeExecutionResult"
                | "code_execution_result"
                | "functionResponse"
                | "function_response" => {
                    pieces.every_string(raw, MAX_DEPTH);
                }
                "inlineData" | "inline_data" | "fileData" | "file_data" => {
                    pieces.opaque(Opaque::Media, raw);
                }
                "thought" | "partMetadata" | "part_metadata" | "videoMetadata"
                | "video_metadata" => {}
                _ => pieces.unread(raw),
            }
        }
        if thought && let Some(candidate) = self.candidate_of(pieces.choice) {
            candidate.thinks = true;
        }
    }

    /// What a signature is. It seals what the model thought: beside a thought, that thought; elsewhere the thinking
    /// whose summary was read, which it does not bind to its wording, or else thinking that nobody can read.
    fn signature(&mut self, index: u32, thought: bool) -> Option<Opaque> {
        if thought {
            return Some(Opaque::Signature);
        }
        let thinks = self.candidate_of(index).is_some_and(|candidate| candidate.thinks);
        (!thinks).then_some(Opaque::Encrypted)
    }

    /// A call is whole unless it says that its arguments go on.
    fn function_call<'de>(&mut self, pieces: &mut Pieces<'_, 'de>, raw: &'de str) {
        let fields = pieces.fields(raw);
        let goes_on = ["willContinue", "will_continue"];
        let goes_on = goes_on.into_iter().any(|key| fields.get(key) == Some("true"));
        let Some(candidate) = self.candidate_of(pieces.choice) else {
            return pieces.unread(raw);
        };
        if !std::mem::replace(&mut candidate.call_is_open, goes_on) {
            candidate.calls = candidate.calls.saturating_add(1);
        }
        let index = candidate.calls.saturating_sub(1);
        pieces.call(index, raw);
        for (key, raw) in fields.iter() {
            match key {
                "args" => pieces.arguments(index, raw),
                "partialArgs" | "partial_args" => {
                    each_item(raw, |part| partial_argument(pieces, index, part));
                }
                "name" | "id" | "willContinue" | "will_continue" => {}
                _ => pieces.unread(raw),
            }
        }
        if !goes_on {
            pieces.chunk.ended_calls.push((pieces.choice, index));
        }
    }

    fn candidate_of(&mut self, index: u32) -> Option<&mut Candidate> {
        let known = self.candidates.iter().position(|candidate| candidate.index == index);
        if known.is_none() && self.candidates.len() < MAX_CANDIDATES {
            let candidate = Candidate { index, calls: 0, call_is_open: false, thinks: false };
            self.candidates.push(candidate);
        }
        let position = known.or_else(|| self.candidates.len().checked_sub(1))?;
        self.candidates.get_mut(position).filter(|candidate| candidate.index == index)
    }

    /// What ends the stream: one more chunk, in which every candidate is finished.
    pub(super) fn end(&self, ending: &Ending<'_>) -> Bytes {
        let chunk = chunk_of(ending.identity, ending.usage, |candidates| {
            for end in ending.choices {
                let texts = end.close_tag.into_iter().chain(end.notice.as_deref());
                candidates.push(candidate(end.index, texts));
            }
        });
        match self.framing {
            Some(Framing::Array) => {
                let before = match self.sent {
                    _ if ending.choices.is_empty() => return Bytes::from_static(b"]"),
                    Sent::Nothing => "[",
                    Sent::Bracket => "",
                    Sent::Items => ",\r\n",
                };
                format!("{before}{chunk}\n]").into()
            }
            _ if ending.choices.is_empty() => Bytes::new(),
            Some(Framing::Whole | Framing::Lines) => format!("{chunk}\n").into(),
            Some(Framing::Sse) | None => format!("data: {chunk}\r\n\r\n").into(),
        }
    }
}

/// Whether a chunk of which something was hidden tells its client nothing any more. The usage that it may tell is told
/// again by the next.
pub(super) fn tells_nothing(payload: &str) -> bool {
    let fields = Fields::read(payload);
    let mut nothing = fields.get("promptFeedback").is_none() && fields.get("error").is_none();
    each_item(fields.get("candidates").unwrap_or_default(), |candidate| {
        for (key, raw) in Fields::read(candidate).iter() {
            nothing &= match key {
                "content" => content_tells_nothing(raw),
                "index" | "safetyRatings" => true,
                _ => says_nothing(raw),
            };
        }
    });
    nothing
}

fn content_tells_nothing(raw: &str) -> bool {
    let mut nothing = true;
    each_item(Fields::read(raw).get("parts").unwrap_or_default(), |part| {
        nothing &= Fields::read(part).iter().all(|(_, raw)| says_nothing(raw));
    });
    nothing
}

/// A whole body in which every candidate holds nothing but the notice.
pub(super) fn whole_body(
    identity: &Identity,
    choices: &[u32],
    notice: &str,
    usage: Option<&str>,
) -> Bytes {
    let body = chunk_of(identity, usage, |candidates| {
        candidates.extend(choices.iter().map(|&index| candidate(index, [notice].into_iter())));
    });
    body.to_string().into()
}

/// An error in the shape that this dialect's clients read.
pub(super) fn error_body(message: &str, kind: &str) -> Value {
    let (code, status) = match kind {
        "invalid_request_error" => (400, "INVALID_ARGUMENT"),
        "upstream_error" => (502, "UNAVAILABLE"),
        _ => (503, "UNAVAILABLE"),
    };
    json!({"error": {"code": code, "message": message, "status": status}})
}

fn chunk_of(identity: &Identity, usage: Option<&str>, fill: impl FnOnce(&mut Vec<Value>)) -> Value {
    let mut candidates = Vec::new();
    fill(&mut candidates);
    let mut chunk = json!({
        "candidates": candidates,
        "modelVersion": identity.model_value(),
        "responseId": identity.id_value(),
    });
    let usage = usage.and_then(|usage| serde_json::from_str(usage).ok());
    if let (Value::Object(fields), Some(usage)) = (&mut chunk, usage) {
        fields.insert("usageMetadata".to_owned(), usage);
    }
    chunk
}

fn candidate<'t>(index: u32, texts: impl Iterator<Item = &'t str>) -> Value {
    let parts: Vec<Value> = texts.map(|text| json!({"text": text})).collect();
    json!({"content": {"parts": parts, "role": "model"}, "finishReason": "SAFETY", "index": index})
}

fn partial_argument<'de>(pieces: &mut Pieces<'_, 'de>, index: u32, part: &'de str) {
    for (key, raw) in pieces.fields(part).iter() {
        match key {
            "stringValue" | "string_value" => pieces.text(Source::ToolArguments(index), raw),
            "jsonPath" | "json_path" | "willContinue" | "will_continue" => {}
            _ => pieces.unread(raw),
        }
    }
}

/// Two lists side by side: the tokens, and what might have stood in their place.
fn logprobs<'de>(pieces: &mut Pieces<'_, 'de>, raw: &'de str) {
    let fields = pieces.fields(raw);
    let either = |one, other| fields.get(one).or_else(|| fields.get(other)).unwrap_or_default();
    let chosen = either("chosenCandidates", "chosen_candidates");
    let top = either("topCandidates", "top_candidates");
    pieces.logprobs(Source::ContentLogprobs, chosen);
    let mut tokens = Vec::new();
    each_item(chosen, |entry| tokens.push(Fields::read(entry).string("token")));
    let mut tokens = tokens.into_iter();
    let mut entries = Vec::new();
    each_item(top, |entry| {
        entries.push(pieces.place(entry));
        // What stands beside a token goes with it: a second list of the same text.
        if let Some(token) = tokens.next().flatten() {
            pieces.piece(Source::RefusalLogprobs, token, entry);
        }
        each_entry(entry, |_, raw| pieces.alternatives(raw, entry));
    });
    pieces.array(top, entries);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::refusal::ChoiceEnd;

    fn pieces(reader: &mut Gemini, payload: &str) -> Vec<(u32, Source, String)> {
        let chunk = reader.read(payload);
        assert!(chunk.known, "{payload}");
        chunk
            .pieces
            .into_iter()
            .map(|piece| (piece.choice, piece.source, piece.text.into_owned()))
            .collect()
    }

    fn candidate(parts: &str) -> String {
        format!(
            r#"{{"candidates":[{{"content":{{"parts":[{parts}],"role":"model"}},"index":0}}]}}"#
        )
    }

    #[test]
    fn reads_thoughts_answers_and_calls() {
        let mut reader = Gemini::default();
        let payload = candidate(
            r#"{"text":"a","thought":true},{"text":"b"},{"functionCall":{"name":"f","args":{"x":"y"}}}"#,
        );
        let call = Source::ToolArguments(0);
        assert_eq!(
            pieces(&mut reader, &payload),
            [
                (0, Source::ThinkingPart, "a".into()),
                (0, Source::Content, "b".into()),
                (0, call, String::new()),
                (0, call, r#"{"x":"y"}"#.into()),
            ]
        );
        let next = pieces(&mut reader, &candidate(r#"{"functionCall":{"name":"g","args":{}}}"#));
        assert_eq!(next.last().unwrap().1, Source::ToolArguments(1));
    }

    #[test]
    fn arguments_in_parts_belong_to_one_call() {
        let mut reader = Gemini::default();
        for (call, index, text) in [
            (r#"{"name":"f","willContinue":true}"#, 0, ""),
            (
                r#"{"partialArgs":[{"jsonPath":"$.x","stringValue":"ab"}],"willContinue":true}"#,
                0,
                "ab",
            ),
            ("{}", 0, ""),
            (r#"{"name":"g","args":{}}"#, 1, "{}"),
        ] {
            let read = pieces(&mut reader, &candidate(&format!(r#"{{"functionCall":{call}}}"#)));
            assert!(read.iter().all(|(_, source, _)| *source == Source::ToolArguments(index)));
            assert_eq!(read.last().unwrap().2, text);
        }
    }

    #[test]
    fn a_signature_without_thoughts_is_thinking_that_nobody_can_read() {
        let signed = candidate(r#"{"text":"b","thoughtSignature":"AAAA"}"#);
        assert_eq!(Gemini::default().read(&signed).opaque, [(0, Opaque::Encrypted, 6)]);
        let mut reader = Gemini::default();
        let _ = reader.read(&candidate(r#"{"text":"a","thought":true}"#));
        assert!(reader.read(&signed).opaque.is_empty());
        let both = candidate(r#"{"thoughtSignature":"AAAA","text":"a","thought":true}"#);
        assert_eq!(Gemini::default().read(&both).opaque, [(0, Opaque::Signature, 6)]);
    }

    #[test]
    fn reads_what_stands_beside_the_answer() {
        let payload = r#"{"candidates":[{"content":{"parts":[{"text":"ab"},{"inlineData":{"data":"AAAA"}}]},"finishReason":"STOP","index":3,
            "groundingMetadata":{"groundingSupports":[{"segment":{"text":"ab"}}]},
            "logprobsResult":{"chosenCandidates":[{"token":"ab","logProbability":-1}],"topCandidates":[{"candidates":[{"token":"abc"}]}]}}],
            "usageMetadata":{"totalTokenCount":3},"modelVersion":"m","responseId":"r"}"#;
        let chunk = Gemini::default().read(payload);
        assert_eq!(chunk.choices, [(3, true)]);
        assert_eq!(chunk.usage, Some(r#"{"totalTokenCount":3}"#));
        assert_eq!((chunk.envelope.id, chunk.envelope.model), (Some("\"r\""), Some("\"m\"")));
        assert_eq!(chunk.opaque, [(3, Opaque::Media, 15)]);
        let sources: Vec<Source> = chunk.pieces.iter().map(|piece| piece.source).collect();
        let expected = [
            Source::Content,
            Source::Beside,
            Source::ContentLogprobs,
            Source::RefusalLogprobs,
            Source::TopLogprob,
        ];
        assert_eq!(sources, expected);
        for array in &chunk.arrays {
            assert!(payload[array.json.clone()].starts_with('['));
            assert!(payload[array.entries[0].clone()].starts_with('{'));
        }
    }

    #[test]
    fn knows_errors_blocked_prompts_and_other_shapes() {
        let error = Gemini::default().read(r#"{"error":{"code":503,"message":"busy"}}"#);
        assert!(error.known && error.error);
        assert!(Gemini::default().read(r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#).known);
        for payload in ["", "7", "[]", "{}", r#"{"choices":[]}"#, r#"{"candidates":["#] {
            assert!(!Gemini::default().read(payload).known, "{payload}");
        }
    }

    #[test]
    fn knows_chunks_that_tell_nothing() {
        assert!(tells_nothing(&candidate(r#"{"text":"","thought":true}"#)));
        for says in [
            candidate(r#"{"text":"","thought":true},{"text":"a"}"#),
            candidate(r#"{"functionCall":{"name":"f"}}"#),
            r#"{"candidates":[{"finishReason":"STOP"}]}"#.to_owned(),
            r#"{"promptFeedback":{}}"#.to_owned(),
        ] {
            assert!(!tells_nothing(&says), "{says}");
        }
    }

    #[test]
    fn ends_in_the_way_that_the_body_is_cut() {
        let identity = Identity { id: "\"x\"".into(), created: "7".into(), model: "\"m\"".into() };
        let notice = Some("stopped".to_owned());
        let choices = [ChoiceEnd { index: 1, role: true, close_tag: None, notice }];
        let ending = Ending { identity: &identity, choices: &choices, usage: Some("{\"n\":1}") };
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let mut gemini = Gemini::default();
        let events = text(gemini.end(&ending));
        let chunk: Value = serde_json::from_str(&events[6..]).unwrap();
        let candidate = &chunk["candidates"][0];
        assert_eq!(
            (&candidate["index"], &candidate["finishReason"]),
            (&json!(1), &json!("SAFETY"))
        );
        assert_eq!(candidate["content"]["parts"], json!([{"text": "stopped"}]));
        assert_eq!((&chunk["responseId"], &chunk["usageMetadata"]["n"]), (&json!("x"), &json!(1)));
        gemini.note_framing(Framing::Array);
        let whole = text(gemini.end(&ending));
        for sent in ["[", "[{\"a\":1}", "[{\"a\":1}\n,{\"a\":2}"] {
            gemini.note_sent(if sent == "[" { b"" } else { b"{}" });
            let array = format!("{sent}{}", text(gemini.end(&ending)));
            let array: Vec<Value> = serde_json::from_str(&array).unwrap();
            assert_eq!(array.last().unwrap(), &chunk);
        }
        assert_eq!(serde_json::from_str::<Vec<Value>>(&whole).unwrap(), [chunk]);
        assert_eq!(gemini.end(&Ending { choices: &[], ..ending }), "]");
    }
}
