//! Gemini's own wire: `:generateContent` and `:streamGenerateContent`, as events, as an array that grows, or whole.
//!
//! Sources: `wire.md`'s table; <https://ai.google.dev/api/generate-content>. A chunk is a whole response that holds
//! what is new. Field names come in two spellings, `thoughtSignature` and `thought_signature`, and mean the same.

use super::{
    chunk::{Array, Chunk, Opaque, Source},
    gather::{Gather, MAX_DEPTH},
    json::{each_entry, each_item, says_nothing, string},
    request::Request,
};

/// Reads the chunks of one exchange, in their order.
#[derive(Debug, Default)]
pub struct Reader {
    candidates: Vec<Candidate>,
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

// === impl Reader ===

impl Reader {
    /// Reads one chunk, or a whole body.
    #[must_use]
    pub fn read<'de>(&mut self, payload: &'de str) -> Chunk<'de> {
        let mut gather = Gather::new(payload);
        let walked = each_entry(payload, |key, raw| match key {
            "candidates" => {
                gather.chunk.known = true;
                let mut position = 0;
                each_item(raw, |candidate| {
                    self.candidate(&mut gather, position, candidate);
                    position += 1;
                });
            }
            "promptFeedback" | "prompt_feedback" => gather.chunk.known = true,
            "usageMetadata" | "usage_metadata" => {
                gather.chunk.known = true;
                gather.chunk.usage = (raw != "null").then_some(raw);
            }
            "responseId" | "response_id" => gather.chunk.envelope.id = Some(raw),
            "modelVersion" | "model_version" => gather.chunk.envelope.model = Some(raw),
            "error" if !says_nothing(raw) => {
                gather.chunk.known = true;
                gather.chunk.error = true;
            }
            "createTime" | "create_time" | "modelStatus" => {}
            _ => gather.opaque(Opaque::Field, raw),
        });
        let mut chunk = gather.chunk;
        chunk.known &= walked;
        chunk
    }

    fn candidate<'de>(&mut self, gather: &mut Gather<'de>, position: u32, raw: &'de str) {
        let mut index = position;
        let mut finished = false;
        each_entry(raw, |key, raw| match key {
            "index" => index = raw.parse().unwrap_or(position),
            "finishReason" | "finish_reason" => finished |= !says_nothing(raw),
            _ => {}
        });
        gather.begin_choice(index);
        gather.chunk.choices.push((index, finished));
        each_entry(raw, |key, raw| match key {
            "content" => self.content(gather, raw),
            "logprobsResult" | "logprobs_result" => logprobs(gather, raw),
            "groundingMetadata" | "grounding_metadata" | "citationMetadata"
            | "citation_metadata" | "finishMessage" | "finish_message" => {
                gather.every_string(raw, MAX_DEPTH);
            }
            "index"
            | "finishReason"
            | "finish_reason"
            | "safetyRatings"
            | "safety_ratings"
            | "urlContextMetadata"
            | "url_context_metadata"
            | "groundingAttributions" => {}
            _ => gather.opaque(Opaque::Field, raw),
        });
    }

    fn content<'de>(&mut self, gather: &mut Gather<'de>, raw: &'de str) {
        each_entry(raw, |key, raw| match key {
            "parts" => {
                each_item(raw, |part| self.part(gather, part));
            }
            "role" => {}
            _ => gather.opaque(Opaque::Field, raw),
        });
    }

    fn part<'de>(&mut self, gather: &mut Gather<'de>, part: &'de str) {
        let thought = is_thought(part);
        let source = if thought { Source::ThinkingPart } else { Source::Content };
        let index = gather.choice;
        each_entry(part, |key, raw| match key {
            "text" => gather.text(source, raw),
            "functionCall" | "function_call" => self.function_call(gather, raw),
            "thoughtSignature" | "thought_signature" => {
                if let Some(sealed) = self.signature(index, thought) {
                    gather.opaque(sealed, raw);
                }
            }
            "executableCode"
            | "executable_code"
            | "codeExecutionResult"
            | "code_execution_result"
            | "functionResponse"
            | "function_response" => {
                gather.every_string(raw, MAX_DEPTH);
            }
            "inlineData" | "inline_data" | "fileData" | "file_data" => {
                gather.opaque(Opaque::Media, raw);
            }
            "thought" | "partMetadata" | "part_metadata" | "videoMetadata" | "video_metadata" => {}
            _ => gather.opaque(Opaque::Field, raw),
        });
        if thought && let Some(candidate) = self.candidate_of(index) {
            candidate.thinks = true;
        }
    }

    /// What a signature is. It seals what the model thought: beside a thought, that thought; elsewhere the thinking
    /// whose summary was read, which it says nothing of, or else thinking that nobody can read.
    fn signature(&mut self, index: u32, thought: bool) -> Option<Opaque> {
        if thought {
            return Some(Opaque::Signature);
        }
        let thinks = self.candidate_of(index).is_some_and(|candidate| candidate.thinks);
        (!thinks).then_some(Opaque::Encrypted)
    }

    /// A call is whole unless it says that its arguments go on.
    fn function_call<'de>(&mut self, gather: &mut Gather<'de>, raw: &'de str) {
        let mut goes_on = false;
        each_entry(raw, |key, raw| {
            goes_on |= matches!(key, "willContinue" | "will_continue") && raw == "true";
        });
        let Some(candidate) = self.candidate_of(gather.choice) else { return };
        if !std::mem::replace(&mut candidate.call_is_open, goes_on) {
            candidate.calls = candidate.calls.saturating_add(1);
        }
        let index = candidate.calls.saturating_sub(1);
        gather.call(index, raw);
        each_entry(raw, |key, raw| match key {
            "args" => gather.arguments(index, raw),
            "partialArgs" | "partial_args" => {
                each_item(raw, |part| partial_argument(gather, index, part));
            }
            "name" | "id" | "willContinue" | "will_continue" => {}
            _ => gather.opaque(Opaque::Field, raw),
        });
    }

    fn candidate_of(&mut self, index: u32) -> Option<&mut Candidate> {
        let position = self.candidates.iter().position(|candidate| candidate.index == index);
        if position.is_none() && self.candidates.len() < MAX_CANDIDATES {
            let candidate = Candidate { index, calls: 0, call_is_open: false, thinks: false };
            self.candidates.push(candidate);
        }
        let last = self.candidates.len().checked_sub(1)?;
        let found = self.candidates.get_mut(position.unwrap_or(last))?;
        (found.index == index).then_some(found)
    }
}

fn is_thought(part: &str) -> bool {
    let mut thought = false;
    each_entry(part, |key, raw| thought |= key == "thought" && raw == "true");
    thought
}

fn partial_argument<'de>(gather: &mut Gather<'de>, index: u32, part: &'de str) {
    each_entry(part, |key, raw| match key {
        "stringValue" | "string_value" => gather.text(Source::ToolArguments(index), raw),
        "jsonPath" | "json_path" | "willContinue" | "will_continue" => {}
        _ => gather.opaque(Opaque::Field, raw),
    });
}

fn logprobs<'de>(gather: &mut Gather<'de>, raw: &'de str) {
    each_entry(raw, |key, raw| match key {
        "chosenCandidates" | "chosen_candidates" => {
            gather.logprobs(Source::ContentLogprobs, raw);
        }
        "topCandidates" | "top_candidates" => {
            let mut entries = Vec::new();
            each_item(raw, |entry| {
                entries.push(gather.place(entry));
                each_entry(entry, |_, tokens| gather.alternatives(tokens, entry));
            });
            let json = gather.place(raw);
            gather.chunk.arrays.push(Array { json, entries });
        }
        _ => gather.opaque(Opaque::Field, raw),
    });
}

/// Reads a request. Inspected is what is new since the model's last turn, or `whole_prompt`.
#[must_use]
pub fn read_request(body: &str, whole_prompt: bool) -> Request<'_> {
    let mut request = Request::default();
    let (mut system, mut contents) = ("", "");
    let walked = each_entry(body, |key, raw| match key {
        "contents" => {
            request.known = true;
            contents = raw;
        }
        "systemInstruction" | "system_instruction" => system = raw,
        "model" => request.model = string(raw),
        _ => {}
    });
    request.known &= walked;
    let mut turns = Vec::new();
    if !each_item(contents, |turn| turns.push(turn)) {
        turns.push(contents);
    }
    let last_turn = turns.iter().rposition(|turn| is_of_model(turn)).filter(|_| !whole_prompt);
    if last_turn.is_none() {
        read_turn(&mut request, system);
    }
    for turn in turns.into_iter().skip(last_turn.map_or(0, |turn| turn + 1)) {
        read_turn(&mut request, turn);
    }
    request
}

fn is_of_model(turn: &str) -> bool {
    let mut of_model = false;
    each_entry(turn, |key, raw| of_model |= key == "role" && raw == "\"model\"");
    of_model
}

fn read_turn<'de>(request: &mut Request<'de>, turn: &'de str) {
    if turn.starts_with('"') {
        return request.text(turn);
    }
    each_entry(turn, |key, raw| {
        if key == "parts" && !each_item(raw, |part| read_part(request, part)) {
            read_part(request, raw);
        }
    });
}

fn read_part<'de>(request: &mut Request<'de>, part: &'de str) {
    if part.starts_with('"') {
        return request.text(part);
    }
    each_entry(part, |key, raw| match key {
        "text" => request.text(raw),
        "functionResponse"
        | "function_response"
        | "functionCall"
        | "function_call"
        | "executableCode"
        | "executable_code"
        | "codeExecutionResult"
        | "code_execution_result" => request.every_string(raw, MAX_DEPTH),
        "inlineData" | "inline_data" | "fileData" | "file_data" => request.media_bytes += raw.len(),
        _ => {}
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(reader: &mut Reader, payload: &str) -> Vec<(u32, Source, String)> {
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
        let mut reader = Reader::default();
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
        let mut reader = Reader::default();
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
        assert_eq!(Reader::default().read(&signed).opaque, [(0, Opaque::Encrypted, 6)]);
        let mut reader = Reader::default();
        let _ = reader.read(&candidate(r#"{"text":"a","thought":true}"#));
        assert!(reader.read(&signed).opaque.is_empty());
        let both = candidate(r#"{"thoughtSignature":"AAAA","text":"a","thought":true}"#);
        assert_eq!(Reader::default().read(&both).opaque, [(0, Opaque::Signature, 6)]);
    }

    #[test]
    fn reads_what_stands_beside_the_answer() {
        let payload = r#"{"candidates":[{"content":{"parts":[{"text":"ab"},{"inlineData":{"data":"AAAA"}}]},"finishReason":"STOP","index":3,
            "groundingMetadata":{"groundingSupports":[{"segment":{"text":"ab"}}]},
            "logprobsResult":{"chosenCandidates":[{"token":"ab","logProbability":-1}],"topCandidates":[{"candidates":[{"token":"abc"}]}]}}],
            "usageMetadata":{"totalTokenCount":3},"modelVersion":"m","responseId":"r"}"#;
        let chunk = Reader::default().read(payload);
        assert_eq!(chunk.choices, [(3, true)]);
        assert_eq!(chunk.usage, Some(r#"{"totalTokenCount":3}"#));
        assert_eq!((chunk.envelope.id, chunk.envelope.model), (Some("\"r\""), Some("\"m\"")));
        assert_eq!(chunk.opaque, [(3, Opaque::Media, 15)]);
        let sources: Vec<Source> = chunk.pieces.iter().map(|piece| piece.source).collect();
        let expected =
            [Source::Content, Source::Beside, Source::ContentLogprobs, Source::TopLogprob];
        assert_eq!(sources, expected);
        for array in &chunk.arrays {
            assert!(payload[array.json.clone()].starts_with('['));
            assert!(payload[array.entries[0].clone()].starts_with('{'));
        }
    }

    #[test]
    fn knows_errors_blocked_prompts_and_other_shapes() {
        let error = Reader::default().read(r#"{"error":{"code":503,"message":"busy"}}"#);
        assert!(error.known && error.error);
        assert!(Reader::default().read(r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#).known);
        for payload in ["", "7", "[]", "{}", r#"{"choices":[]}"#, r#"{"candidates":["#] {
            assert!(!Reader::default().read(payload).known, "{payload}");
        }
    }

    #[test]
    fn reads_requests() {
        let body = r#"{"system_instruction":{"parts":[{"text":"s"}]},"contents":[{"role":"user","parts":[{"text":"old"}]},
            {"role":"model","parts":[{"functionCall":{"name":"f","args":{"x":"y"}}}]},
            {"role":"user","parts":[{"functionResponse":{"name":"f","response":{"result":"r"}}},{"inline_data":{"data":"AA"}}]}]}"#;
        let request = read_request(body, false);
        assert!(request.known);
        assert_eq!(request.texts, ["f", "r"]);
        assert_eq!(request.media_bytes, 13);
        assert_eq!(read_request(body, true).texts, ["s", "old", "f", "y", "f", "r"]);
        let first =
            r#"{"systemInstruction":{"parts":{"text":"s"}},"contents":{"parts":{"text":"q"}}}"#;
        assert_eq!(read_request(first, false).texts, ["s", "q"]);
        for body in ["", "[]", "{}", r#"{"contents":["#] {
            assert!(!read_request(body, false).known, "{body}");
        }
    }
}
