//! Dialects whose wires are not completions: what their clients get, in each way that a body is cut.

use super::*;
use crate::policy::Mask;

/// A wire, as its server writes it and its clients read it.
struct Wire {
    endpoint: Endpoint,
    content_type: &'static str,
    /// What stands before all frames, and behind them.
    around: (&'static str, &'static str),
    frame: fn(usize, &Said) -> String,
    read: fn(&str) -> Seen,
}

/// What one frame says.
enum Said {
    Start,
    Thinking(&'static str),
    Answer(&'static str),
    Call(Value),
    End,
}

/// What a client makes of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    thinking: String,
    answer: String,
    calls: usize,
    finish: Option<String>,
}

const FILTERED: [&str; 3] = ["content_filter", "SAFETY", "ERROR_TOXIC"];

fn wires() -> [Wire; 5] {
    let array = ("[", "\n]\n");
    [
        wire(Endpoint::OllamaChat, "application/x-ndjson", ("", ""), ollama_chat, read_lines),
        wire(Endpoint::OllamaGenerate, "application/x-ndjson", ("", ""), generate, read_lines),
        wire(Endpoint::GeminiEvents, "text/event-stream", ("", ""), gemini_event, read_gemini),
        wire(Endpoint::GeminiArray, "application/json", array, gemini_item, read_array),
        wire(Endpoint::CohereChat, "text/event-stream", ("", ""), cohere, read_cohere),
    ]
}

fn wire(
    endpoint: Endpoint,
    content_type: &'static str,
    around: (&'static str, &'static str),
    frame: fn(usize, &Said) -> String,
    read: fn(&str) -> Seen,
) -> Wire {
    Wire { endpoint, content_type, around, frame, read }
}

fn ollama_chat(_: usize, said: &Said) -> String {
    let message = match said {
        Said::Start | Said::End => json!({"role": "assistant", "content": ""}),
        Said::Thinking(text) => json!({"role": "assistant", "content": "", "thinking": text}),
        Said::Answer(text) => json!({"role": "assistant", "content": text}),
        Said::Call(arguments) => {
            let call = json!({"function": {"index": 0, "name": "f", "arguments": arguments}});
            json!({"role": "assistant", "content": "", "tool_calls": [call]})
        }
    };
    let done = matches!(said, Said::End);
    let mut line = json!({"model": "m", "created_at": "2026-01-02T03:04:05Z", "message": message, "done": done});
    if done {
        line["done_reason"] = "stop".into();
    }
    format!("{line}\n")
}

fn generate(_: usize, said: &Said) -> String {
    let mut line =
        json!({"model": "m", "created_at": "2026-01-02T03:04:05Z", "response": "", "done": false});
    match said {
        Said::Start | Said::Call(_) => {}
        Said::Thinking(text) => line["thinking"] = (*text).into(),
        Said::Answer(text) => line["response"] = (*text).into(),
        Said::End => {
            line["done"] = true.into();
            line["done_reason"] = "stop".into();
            line["context"] = json!([1, 2, 3]);
        }
    }
    format!("{line}\n")
}

fn read_lines(sent: &str) -> Seen {
    let mut seen = Seen::default();
    for line in sent.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        for place in ["/thinking", "/message/thinking"] {
            seen.thinking += line.pointer(place).and_then(Value::as_str).unwrap_or_default();
        }
        for place in ["/response", "/message/content"] {
            seen.answer += line.pointer(place).and_then(Value::as_str).unwrap_or_default();
        }
        seen.calls += line.pointer("/message/tool_calls").map_or(0, |_| 1);
        assert!(seen.finish.is_none(), "a line behind the end");
        if line["done"] == true {
            seen.finish = line["done_reason"].as_str().map(str::to_owned);
        }
    }
    seen
}

fn gemini(said: &Said) -> Value {
    let part = match said {
        Said::Start | Said::End => json!({"text": ""}),
        Said::Thinking(text) => json!({"text": text, "thought": true}),
        Said::Answer(text) => json!({"text": text}),
        Said::Call(arguments) => json!({"functionCall": {"name": "f", "args": arguments}}),
    };
    let mut candidate = json!({"content": {"parts": [part], "role": "model"}, "index": 0});
    if let Said::End = said {
        candidate["finishReason"] = "STOP".into();
    }
    json!({"candidates": [candidate], "usageMetadata": {"totalTokenCount": 3}, "modelVersion": "m", "responseId": "r"})
}

fn gemini_event(_: usize, said: &Said) -> String {
    format!("data: {}\r\n\r\n", gemini(said))
}

fn gemini_item(position: usize, said: &Said) -> String {
    let before = if position == 0 { "" } else { "\n,\r\n" };
    format!("{before}{}", gemini(said))
}

fn read_gemini(sent: &str) -> Seen {
    // The last line feed of an event that was hidden stays: a blank line more.
    let events = sent.split_terminator("\r\n\r\n").map(|event| event.trim_start_matches('\n'));
    let data = events.filter_map(|event| event.strip_prefix("data: "));
    let chunks: Vec<Value> = data.map(|data| serde_json::from_str(data).unwrap()).collect();
    read_chunks(&chunks)
}

fn read_array(sent: &str) -> Seen {
    read_chunks(&serde_json::from_str::<Vec<Value>>(sent).unwrap())
}

fn read_chunks(chunks: &[Value]) -> Seen {
    let mut seen = Seen::default();
    for candidate in chunks.iter().flat_map(|chunk| chunk["candidates"].as_array().unwrap()) {
        for part in candidate["content"]["parts"].as_array().unwrap() {
            let text = part["text"].as_str().unwrap_or_default();
            let to = if part["thought"] == true { &mut seen.thinking } else { &mut seen.answer };
            to.push_str(text);
            seen.calls += part.get("functionCall").map_or(0, |_| 1);
        }
        assert!(seen.finish.is_none(), "a chunk behind the end");
        seen.finish = candidate["finishReason"].as_str().map(str::to_owned);
    }
    seen
}

fn cohere(_: usize, said: &Said) -> String {
    let content = |index: u32, content: Value| json!({"type": "content-delta", "index": index, "delta": {"message": {"content": content}}});
    let opened = |index: u32, kind: &str| json!({"type": "content-start", "index": index, "delta": {"message": {"content": {"type": kind}}}});
    let event =
        |event: Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
    match said {
        Said::Start => {
            let start = json!({"id": "x", "type": "message-start", "delta": {"message": {"role": "assistant"}}});
            event(start) + &event(opened(0, "thinking"))
        }
        Said::Thinking(text) => event(content(0, json!({"thinking": text}))),
        // Each stretch of answer is a block of its own here.
        Said::Answer(text) => {
            event(opened(1, "text"))
                + &event(content(1, json!({"text": text})))
                + &event(json!({"type": "content-end", "index": 1}))
        }
        Said::Call(arguments) => {
            let call = |kind: &str, call: Value| {
                event(json!({"type": kind, "index": 0, "delta": {"message": {"tool_calls": call}}}))
            };
            let function =
                json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}});
            call("tool-call-start", function)
                + &call(
                    "tool-call-delta",
                    json!({"function": {"arguments": arguments.to_string()}}),
                )
                + &event(json!({"type": "tool-call-end", "index": 0}))
        }
        Said::End => {
            event(
                json!({"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": {}}}),
            ) + "data: [DONE]\n\n"
        }
    }
}

fn read_cohere(sent: &str) -> Seen {
    let mut seen = Seen::default();
    let events = sent.strip_suffix("data: [DONE]\n\n").expect("the end mark");
    let mut begun = false;
    for event in events.split_terminator("\n\n") {
        let (name, data) = event.split_once("\ndata: ").unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(name.strip_prefix("event: ").unwrap(), data["type"].as_str().unwrap());
        begun |= data["type"] == "message-start";
        assert!(begun && seen.finish.is_none());
        let content = data.pointer("/delta/message/content");
        let text =
            |key: &str| content.and_then(|content| content[key].as_str()).unwrap_or_default();
        seen.thinking += text("thinking");
        seen.answer += text("text");
        seen.calls += usize::from(data["type"] == "tool-call-start");
        seen.finish =
            data.pointer("/delta/finish_reason").and_then(Value::as_str).map(str::to_owned);
    }
    seen
}

fn body(wire: &Wire, said: &[Said]) -> String {
    let frames: String =
        said.iter().enumerate().map(|(position, said)| (wire.frame)(position, said)).collect();
    format!("{}{frames}{}", wire.around.0, wire.around.1)
}

fn run_wire(plan: &Arc<Plan>, wire: &Wire, body: &str, step: usize) -> Run {
    let (session, delivery) = start_at(plan, wire.endpoint, wire.content_type);
    assert_eq!(delivery, Delivery::Held);
    let chunks: Vec<&[u8]> = body.as_bytes().chunks(step).collect();
    run_session(session, &chunks)
}

/// The client's view of a stream, the same for every cut.
fn seen(plan: &Arc<Plan>, wire: &Wire, said: &[Said]) -> (Seen, Run) {
    let body = body(wire, said);
    let run = run_wire(plan, wire, &body, body.len());
    for step in [1, 7, 64] {
        assert_eq!(run_wire(plan, wire, &body, step).sent, run.sent, "{:?}", wire.endpoint);
    }
    ((wire.read)(&run.sent), run)
}

fn is_filtered(seen: &Seen) -> bool {
    seen.finish.as_deref().is_some_and(|finish| FILTERED.contains(&finish))
}

#[test]
fn good_streams_pass_byte_for_byte() {
    for wire in wires() {
        let said = [
            Said::Start,
            Said::Thinking("about a falcon, "),
            Said::Thinking("the forbidden"),
            Said::Answer(" fruit"),
            Said::Call(json!({"bird": "kestrel"})),
            Said::End,
        ];
        let (seen, run) = seen(&enforce(), &wire, &said);
        assert_eq!(run.sent, body(&wire, &said));
        assert_eq!(
            (seen.thinking.as_str(), seen.answer.as_str()),
            ("about a falcon, the forbidden", " fruit")
        );
        assert!(!run.stopped && !is_filtered(&seen));
        assert_eq!(run.report.dialect, wire.endpoint.dialect());
    }
}

#[test]
fn a_stream_that_is_blocked_in_its_thinking_ends_with_the_notice() {
    for wire in wires() {
        let said = [
            Said::Start,
            Said::Thinking("a thought. "),
            Said::Thinking("the forbidden "),
            Said::Thinking("falcon flies"),
            Said::Answer("never"),
            Said::End,
        ];
        let (seen, run) = seen(&enforce(), &wire, &said);
        assert_eq!((seen.thinking.as_str(), seen.answer.as_str()), ("a thought. ", DEFAULT_NOTICE));
        assert!(run.stopped && is_filtered(&seen), "{:?}", wire.endpoint);
        assert_eq!(run.report.action, Action::Block);
    }
}

#[test]
fn a_stream_that_is_blocked_in_its_answer_keeps_what_came_before() {
    for wire in wires() {
        let said = [
            Said::Start,
            Said::Thinking("a thought. "),
            Said::Answer("an answer, "),
            Said::Answer("and a forbidden "),
            Said::Answer("falcon"),
            Said::End,
        ];
        let (seen, run) = seen(&enforce(), &wire, &said);
        assert_eq!((seen.thinking.as_str(), seen.answer.as_str()), ("a thought. ", "an answer, "));
        assert!(run.stopped && is_filtered(&seen));
    }
}

#[test]
fn nothing_of_a_blocked_call_arrives() {
    for wire in wires().iter().filter(|wire| wire.endpoint != Endpoint::OllamaGenerate) {
        let bird = json!({"bird": "forbidden falcon"});
        let said = [Said::Start, Said::Thinking("a thought"), Said::Call(bird), Said::End];
        let (seen, run) = seen(&enforce(), wire, &said);
        assert_eq!((seen.answer.as_str(), seen.calls), (DEFAULT_NOTICE, 0));
        assert!(run.stopped && is_filtered(&seen));
    }
}

#[test]
fn spans_are_masked_across_frames_and_in_calls() {
    for wire in wires() {
        let said = [
            Said::Start,
            Said::Thinking("at sesame "),
            Said::Thinking("street, "),
            Said::Answer("not sesame street"),
            Said::Call(json!({"at": "sesame street 7"})),
            Said::End,
        ];
        let (seen, run) = seen(&enforce(), &wire, &said);
        assert_eq!(seen.thinking, "at [redacted], ");
        assert_eq!(seen.answer, "not [redacted]");
        assert!(!run.sent.contains("sesame") && !run.stopped);
        if wire.endpoint == Endpoint::OllamaGenerate {
            assert!(run.sent.contains("\"context\":null"), "token ids tell what was masked");
        } else {
            assert!(run.sent.contains("[redacted] 7"));
        }
    }
}

#[test]
fn thinking_is_hidden_and_the_answer_stays() {
    let policy = Policy { mode: Mode::Enforce, hide_thinking: true, ..Policy::default() };
    let plan = plan(policy, Settings::default());
    for wire in wires() {
        let said = [
            Said::Start,
            Said::Thinking("about a falcon"),
            Said::Answer("an answer"),
            Said::Call(json!({"bird": "kestrel"})),
            Said::End,
        ];
        let (seen, run) = seen(&plan, &wire, &said);
        assert_eq!((seen.thinking.as_str(), seen.answer.as_str()), ("", "an answer"));
        assert!(seen.finish.is_some() && !is_filtered(&seen));
        assert_eq!(run.report.action, Action::HideThinking);
        assert!(!run.sent.contains("[1,2,3]"), "token ids tell what is hidden");
        let hides = json!({"thinking": "about a falcon"}).to_string();
        assert!(!run.sent.contains(&hides));
    }
}

type Body<'b> = &'b dyn Fn(&str) -> Value;

#[test]
fn whole_bodies_are_masked_or_replaced() {
    let generate = |text: &str| json!({"model": "m", "response": text, "thinking": "t", "done": true, "context": [1, 2]});
    let candidate = |text: &str| {
        let parts = json!([{"text": "t", "thought": true}, {"text": text}]);
        json!({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}], "modelVersion": "m"})
    };
    let message = |text: &str| {
        let content =
            json!([{"type": "thinking", "thinking": "t"}, {"type": "text", "text": text}]);
        json!({"id": "x", "finish_reason": "COMPLETE", "message": {"role": "assistant", "content": content}})
    };
    let cases: [(Endpoint, Body<'_>, &str, &str); 3] = [
        (Endpoint::OllamaGenerate, &generate, "/response", "/done_reason"),
        (
            Endpoint::GeminiGenerate,
            &candidate,
            "/candidates/0/content/parts/0/text",
            "/candidates/0/finishReason",
        ),
        (Endpoint::CohereChat, &message, "/message/content/0/text", "/finish_reason"),
    ];
    for (endpoint, body, text, finish) in cases {
        let run_whole = |text: &str| {
            let (session, delivery) = start_at(&enforce(), endpoint, "application/json");
            assert_eq!(delivery, Delivery::Whole);
            run_session(session, &[body(text).to_string().as_bytes()])
        };
        let good = run_whole("fine");
        assert_eq!(good.sent, body("fine").to_string());
        let masked = run_whole("at sesame street");
        let mut expected = body("at [redacted]");
        if endpoint == Endpoint::OllamaGenerate {
            expected["context"] = Value::Null;
        }
        assert_eq!(serde_json::from_str::<Value>(&masked.sent).unwrap(), expected);
        let blocked = run_whole("a forbidden falcon").responded.unwrap();
        assert_eq!((blocked.status, blocked.content_type), (200, "application/json"));
        let blocked: Value = serde_json::from_slice(&blocked.body).unwrap();
        assert_eq!(blocked.pointer(text).unwrap(), DEFAULT_NOTICE);
        assert!(FILTERED.contains(&blocked.pointer(finish).unwrap().as_str().unwrap()));
    }
}

#[test]
fn blocked_prompts_are_answered_in_the_dialects_words() {
    let ollama = r#"{"model":"m","messages":[{"role":"user","content":"a forbidden falcon"}]}"#;
    let generate = r#"{"model":"m","prompt":"a forbidden falcon"}"#;
    let gemini = r#"{"contents":[{"parts":[{"text":"a forbidden falcon"}]}]}"#;
    let cohere = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"a forbidden falcon"}]}"#;
    for (wire, prompt, message) in [
        (0, ollama, "/error"),
        (1, generate, "/error"),
        (2, gemini, "/error/message"),
        (3, gemini, "/error/message"),
        (4, cohere, "/message"),
    ] {
        let wire = &wires()[wire];
        let ask = |prompt_block| {
            let policy = Policy { mode: Mode::Enforce, prompt_block, ..Policy::default() };
            let plan = plan(policy, Settings::default());
            let mut session = Session::new(plan, Some(wire.endpoint), Identity::default());
            match session.on_request(Bytes::from_static(prompt.as_bytes())) {
                RequestDecision::Respond(response) => response,
                RequestDecision::Forward(_) => panic!("{:?} went on", wire.endpoint),
            }
        };
        let refused = ask(PromptBlock::Status400);
        let error: Value = serde_json::from_slice(&refused.body).unwrap();
        assert_eq!(
            (refused.status, error.pointer(message).unwrap()),
            (400, &json!(DEFAULT_NOTICE))
        );
        let answered = ask(PromptBlock::Status200);
        assert_eq!((answered.status, answered.content_type), (200, wire.content_type));
        let seen = (wire.read)(std::str::from_utf8(&answered.body).unwrap());
        assert_eq!(seen.answer, DEFAULT_NOTICE);
        assert!(is_filtered(&seen));
    }
}

#[test]
fn bad_input_is_counted_in_shadow_and_blocked_in_enforce() {
    let shadow = plan(Policy::default(), Settings::default());
    let large =
        format!("{{\"message\":{{\"content\":\"{}\"}},\"done\":false}}\n", "x".repeat(10 << 20));
    let good = ollama_chat(0, &Said::Answer("good"));
    let item = gemini_item(0, &Said::Answer("good"));
    let event = cohere(0, &Said::Start) + &cohere(1, &Said::Answer("good"));
    for (wire, body, reason) in [
        (0, format!("{good}{{\"message\":{{\"content\":\"cut\n{good}"), UnscannedReason::Shape),
        (0, format!("{good}{{\"message\":{{\"cont"), UnscannedReason::Shape),
        (0, format!("{large}{good}"), UnscannedReason::FrameTooLarge),
        (2, "data: {\"candidates\":[{\"content\":\r\n\r\n".to_owned(), UnscannedReason::Shape),
        (3, format!("[{item},{{\"candidates\":["), UnscannedReason::Shape),
        (3, format!("[{item},7]"), UnscannedReason::Shape),
        (4, format!("{event}data: {{\"type\":\"content-delta\"\n\n"), UnscannedReason::Shape),
    ] {
        let wire = &wires()[wire];
        for plan in [&shadow, &enforce()] {
            let (session, _) = start_at(plan, wire.endpoint, wire.content_type);
            let chunks: Vec<&[u8]> = body.as_bytes().chunks(64 << 10).collect();
            let run = run_session(session, &chunks);
            if plan.policy().mode == Mode::Shadow {
                let counted = |(_, counted): &(_, UnscannedReason)| *counted == reason;
                assert!(run.report.bytes.unscanned.keys().any(counted), "{body:.80}");
            } else {
                assert_eq!(run.report.action, Action::FailClosed, "{body:.80}");
                assert!(is_filtered(&(wire.read)(&run.sent)), "{body:.80}");
            }
        }
    }
}

#[test]
fn what_is_new_to_a_dialect_passes_and_is_counted() {
    let item = |extra: &str| {
        format!(
            "[{{\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":\"a\"}}]}},\"novel\":{extra}}}]}}]"
        )
    };
    for (wire, body) in [
        (
            0,
            "{\"message\":{\"content\":\"a\",\"novel\":{\"x\":\"y\"}},\"done\":false}\n".to_owned(),
        ),
        (3, item("{\"x\":\"y\"}")),
        (4, "event: novel\ndata: {\"type\":\"novel\",\"x\":\"y\"}\n\n".to_owned()),
    ] {
        let wire = &wires()[wire];
        let run = run_wire(&enforce(), wire, &body, body.len());
        assert_eq!(run.sent, body);
        let counted = |(_, reason): &(_, UnscannedReason)| *reason == UnscannedReason::Field;
        assert!(run.report.bytes.unscanned.keys().any(counted));
    }
}

#[test]
fn lines_are_held_back_whatever_they_call_themselves() {
    for (request, delivery) in [
        (r#"{"model":"m","messages":[]}"#, Delivery::Held),
        (r#"{"model":"m","messages":[],"stream":false}"#, Delivery::Whole),
    ] {
        let mut session = Session::new(enforce(), Some(Endpoint::OllamaChat), Identity::default());
        session.on_request(Bytes::from_static(request.as_bytes()));
        let content_type = Some("application/json".to_owned());
        let head = ResponseHead { status: 200, content_type, undecodable: false };
        assert_eq!(session.on_response(&head), delivery);
    }
}

#[test]
fn an_error_line_passes_and_is_noted() {
    let body = ollama_chat(0, &Said::Answer("a")) + "{\"error\":\"an error was encountered\"}\n";
    let run = run_wire(&enforce(), &wires()[0], &body, 9);
    assert_eq!(run.sent, body);
    assert!(run.report.upstream_error);
}

const HARMONY: &str =
    "<|channel|>analysis<|message|>about it<|end|><|start|>assistant<|channel|>final<|message|>";

fn completion(text: &str) -> String {
    let choice = json!({"index": 0, "text": text, "finish_reason": null});
    format!("data: {}\n\n", json!({"id": "x", "object": "text_completion", "choices": [choice]}))
}

fn run_harmony(plan: &Arc<Plan>, texts: &[&str]) -> (String, Run) {
    let (session, _) = start_at(plan, Endpoint::Completions, "text/event-stream");
    let events: Vec<String> = texts.iter().map(|text| completion(text)).collect();
    let chunks: Vec<&[u8]> = events.iter().map(String::as_bytes).collect();
    let run = run_session(session, &chunks);
    let chunks = sent_chunks(&run.sent);
    let text = chunks.iter().filter_map(|chunk| chunk["choices"][0]["text"].as_str()).collect();
    (text, run)
}

#[test]
fn harmony_channels_are_read_apart() {
    let call = "<|end|><|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{\"a\":1}<|call|>";
    let content = format!("{HARMONY}an answer{call}");
    for step in [1, 5, content.len()] {
        let texts: Vec<&str> = content
            .as_bytes()
            .chunks(step)
            .map(|part| std::str::from_utf8(part).unwrap())
            .collect();
        let (text, run) = run_harmony(&enforce(), &texts);
        assert_eq!(text, content);
        let choice = &run.report.choices[0];
        assert_eq!(choice.thinking.text.as_deref(), Some("about it"));
        assert_eq!(choice.answer.text.as_deref(), Some("an answer"));
        assert_eq!(choice.tool_call.text.as_deref(), Some("{\"a\":1}"));
    }
}

#[test]
fn harmony_is_hidden_masked_and_blocked() {
    let policy = Policy { mode: Mode::Enforce, hide_thinking: true, ..Policy::default() };
    let hides = plan(policy, Settings::default());
    let (text, _) = run_harmony(&hides, &[HARMONY, "an answer", "<|return|>"]);
    assert_eq!(text, "<|channel|>final<|message|>an answer<|return|>");
    let (text, run) = run_harmony(&enforce(), &[HARMONY, "at sesame ", "street"]);
    assert_eq!((text, run.stopped), (format!("{HARMONY}at [redacted]"), false));
    let blocked = ["<|channel|>analysis<|message|>a thought. ", "the forbidden ", "falcon"];
    let (text, run) = run_harmony(&enforce(), &blocked);
    assert!(run.stopped);
    assert_eq!(
        text,
        format!(
            "{}<|end|><|start|>assistant<|channel|>final<|message|>{DEFAULT_NOTICE}",
            blocked[0]
        )
    );
    let call = "<|channel|>commentary to=functions.f<|message|>";
    for bad in ["{\"a\":\"forbidden falcon\"}", "{\"a\":\"sesame street\"}"] {
        let (text, run) = run_harmony(&enforce(), &[call, bad, "<|call|>"]);
        assert!(run.stopped && text == DEFAULT_NOTICE, "{text}");
    }
}

#[test]
fn masks_keep_lengths_in_arrays_too() {
    let plan = plan(
        Policy { mode: Mode::Enforce, mask: Mask::Blocks, ..Policy::default() },
        Settings::default(),
    );
    let (seen, _) = seen(&plan, &wires()[3], &[Said::Answer("at sesame street."), Said::End]);
    assert_eq!(seen.answer, format!("at {}.", "█".repeat(13)));
}
