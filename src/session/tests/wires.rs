//! Other vendors' wires: Responses and Messages are masked, hidden and ended in their own words.

use super::*;

pub(super) fn named(event: &Value) -> String {
    format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())
}

fn run_at(plan: &Arc<Plan>, endpoint: Endpoint, events: &[Value]) -> Run {
    let events: Vec<String> = events.iter().map(named).collect();
    let chunks: Vec<&[u8]> = events.iter().map(String::as_bytes).collect();
    run_session(start_at(plan, endpoint, "text/event-stream").0, &chunks)
}

fn events_of(sent: &str) -> Vec<Value> {
    let data = sent.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

fn hiding() -> Arc<Plan> {
    let policy = Policy { mode: Mode::Enforce, hide_thinking: true, ..Policy::default() };
    plan(policy, Settings::default())
}

/// A response that thinks `thinking` and answers `answer`, each in its deltas, with every repeat.
pub(super) fn response(thinking: &[&str], answer: &[&str]) -> Vec<Value> {
    let summary = json!({"type": "summary_text", "text": thinking.concat()});
    let text = json!({"type": "output_text", "text": answer.concat(), "annotations": []});
    let reasoning =
        json!({"type": "reasoning", "id": "rs", "summary": [summary], "encrypted_content": "gAAA"});
    let message = json!({"type": "message", "id": "msg", "role": "assistant", "content": [text]});
    let delta = |name: &str, item: u32, index: &str, text: &str| json!({"type": format!("response.{name}.delta"), "output_index": item, index: 0, "delta": text});
    let thoughts =
        thinking.iter().map(|text| delta("reasoning_summary_text", 0, "summary_index", text));
    let answers = answer.iter().map(|text| delta("output_text", 1, "content_index", text));
    let mut events = vec![
        json!({"type": "response.created", "response": {"id": "resp_1", "object": "response", "output": []}}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning", "id": "rs", "summary": []}}),
    ];
    events.extend(thoughts);
    events.extend([
        json!({"type": "response.reasoning_summary_text.done", "output_index": 0, "summary_index": 0, "text": thinking.concat()}),
        json!({"type": "response.reasoning_summary_part.done", "output_index": 0, "summary_index": 0, "part": summary}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": reasoning}),
        json!({"type": "response.output_item.added", "output_index": 1, "item": {"type": "message", "id": "msg", "content": []}}),
    ]);
    events.extend(answers);
    events.extend([
        json!({"type": "response.output_text.done", "output_index": 1, "content_index": 0, "text": answer.concat()}),
        json!({"type": "response.content_part.done", "output_index": 1, "content_index": 0, "part": text}),
        json!({"type": "response.output_item.done", "output_index": 1, "item": message}),
        json!({"type": "response.completed", "response": {"id": "resp_1", "object": "response", "status": "completed",
            "output": [reasoning, message], "output_text": answer.concat(), "usage": {"total_tokens": 3}}}),
    ]);
    events
}

pub(super) fn message(blocks: &[(&str, &[&str])]) -> Vec<Value> {
    let mut events = vec![
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message",
        "role": "assistant", "model": "m", "content": [], "stop_reason": null, "usage": {"input_tokens": 3, "output_tokens": 1}}}),
    ];
    for (index, (kind, texts)) in blocks.iter().enumerate() {
        events.push(json!({"type": "content_block_start", "index": index, "content_block": {"type": kind, *kind: ""}}));
        for text in *texts {
            let delta = json!({"type": format!("{kind}_delta"), *kind: text});
            events.push(json!({"type": "content_block_delta", "index": index, "delta": delta}));
        }
        if *kind == "thinking" {
            let delta = json!({"type": "signature_delta", "signature": "c2ln"});
            events.push(json!({"type": "content_block_delta", "index": index, "delta": delta}));
        }
        events.push(json!({"type": "content_block_stop", "index": index}));
    }
    events.extend([
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}),
        json!({"type": "message_stop"}),
    ]);
    events
}

const THINKS: &[&str] = &["a ", "thought"];

#[test]
fn good_streams_go_through_byte_for_byte_and_repeats_are_not_counted() {
    let answer: &[&str] = &["the forbidden", " fruit"];
    let blocks = [("thinking", THINKS), ("text", answer)];
    for (endpoint, events) in
        [(Endpoint::Responses, response(THINKS, answer)), (Endpoint::Messages, message(&blocks))]
    {
        let run = run_at(&enforce(), endpoint, &events);
        assert_eq!(run.sent, events.iter().map(named).collect::<String>());
        let choice = &run.report.choices[0];
        assert_eq!(choice.thinking.text.as_deref(), Some("a thought"));
        assert_eq!(choice.answer.text.as_deref(), Some("the forbidden fruit"));
        assert_eq!(run.report.bytes.released[&Some(Channel::Answer)], 19);
        assert_eq!(run.report.dialect, endpoint.dialect());
    }
}

#[test]
fn a_mask_stands_wherever_the_text_comes_again() {
    let events =
        response(&["at sesame", " street now"], &["go to sesame ", "street, ", "sesame street!"]);
    let run = run_at(&enforce(), Endpoint::Responses, &events);
    assert!(!run.stopped && !run.sent.contains("sesame") && !run.sent.contains("street"));
    let sent = events_of(&run.sent);
    assert_eq!(sent.len(), events.len());
    let (thinking, answer) = ("at [redacted] now", "go to [redacted], [redacted]!");
    let deltas = |kind: &str| -> String {
        let own = sent.iter().filter(|event| event["type"] == format!("response.{kind}.delta"));
        own.map(|event| event["delta"].as_str().unwrap()).collect()
    };
    assert_eq!(
        (deltas("reasoning_summary_text").as_str(), deltas("output_text").as_str()),
        (thinking, answer)
    );
    let last = &sent[sent.len() - 1]["response"];
    assert_eq!(last["output"][0]["summary"][0]["text"], thinking);
    assert_eq!(last["output"][1]["content"][0]["text"], answer);
    assert_eq!(last["output_text"], answer);
    assert_eq!(sent[sent.len() - 4]["text"], answer);
    assert_eq!(run.report.action, Action::Redact);
    let findings = &run.report.choices[0].findings;
    assert!(findings.iter().all(|finding| !finding.repeat) && findings.len() == 3, "{findings:?}");
}

#[test]
fn what_an_end_tells_otherwise_than_its_deltas_is_read_as_well() {
    let mut events = response(THINKS, &["fine"]);
    let last = events.len() - 1;
    events[last]["response"]["output"][1]["content"][0]["text"] = json!("a forbidden falcon");
    let run = run_at(&enforce(), Endpoint::Responses, &events);
    assert!(run.stopped && !run.sent.contains("falcon"));
    assert_eq!(events_of(&run.sent).last().unwrap()["type"], "response.incomplete");
    events[last]["response"]["output"][1]["content"][0]["text"] = json!("sesame street");
    let run = run_at(&enforce(), Endpoint::Responses, &events);
    assert!(!run.stopped && !run.sent.contains("sesame"));
}

#[test]
fn a_block_in_the_thinking_closes_it_and_tells_the_notice() {
    let thinking: &[&str] = &["so the ", "forbidden ", "falcon", " flies"];
    let run = run_at(&enforce(), Endpoint::Responses, &response(thinking, &["x"]));
    assert!(run.stopped && !run.sent.contains("forbidden"));
    let last = events_of(&run.sent).pop().unwrap();
    assert_eq!(last["response"]["incomplete_details"]["reason"], "content_filter");
    assert_eq!(last["response"]["output"][0]["summary"][0]["text"], "so the ");
    assert_eq!(last["response"]["output"][1]["content"][0]["text"], DEFAULT_NOTICE);

    let blocks = [("thinking", thinking), ("text", &["x"] as &[&str])];
    let run = run_at(&enforce(), Endpoint::Messages, &message(&blocks));
    assert!(run.stopped && !run.sent.contains("forbidden"));
    let sent = events_of(&run.sent);
    let types: Vec<&str> = sent.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let end = [
        "content_block_stop",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(types[3..], end);
    assert_eq!(sent[5]["delta"]["text"], DEFAULT_NOTICE);
    assert_eq!(sent[7]["delta"]["stop_reason"], "refusal");
    assert_eq!(sent[7]["usage"]["input_tokens"], 3);
}

#[test]
fn a_block_in_the_answer_closes_it_without_a_notice() {
    let answer: &[&str] = &["here: ", "forbidden ", "falcon", " flies"];
    for (endpoint, events) in [
        (Endpoint::Responses, response(THINKS, answer)),
        (Endpoint::Messages, message(&[("thinking", THINKS), ("text", answer)])),
    ] {
        let run = run_at(&enforce(), endpoint, &events);
        assert!(run.stopped && !run.sent.contains("forbidden") && !run.sent.contains("policy"));
        assert_eq!(run.report.action, Action::Block);
    }
}

#[test]
fn hidden_thinking_leaves_the_places_of_its_items_and_its_seals() {
    let run = run_at(&hiding(), Endpoint::Responses, &response(&["deep ", "thought"], &["fine"]));
    assert!(!run.stopped && !run.sent.contains("thought") && run.sent.contains("gAAA"));
    let sent = events_of(&run.sent);
    assert!(sent.iter().all(|event| event["type"] != "response.reasoning_summary_text.delta"));
    assert_eq!(sent[sent.len() - 1]["response"]["output"][1]["content"][0]["text"], "fine");
    let unscanned = (Some(Channel::Thinking), UnscannedReason::Encrypted);
    assert_eq!(run.report.bytes.unscanned[&unscanned], 12);

    let blocks = [("thinking", &["deep ", "thought"] as &[&str]), ("text", &["fine"])];
    let run = run_at(&hiding(), Endpoint::Messages, &message(&blocks));
    assert!(!run.stopped && !run.sent.contains("thought") && run.sent.contains("c2ln"));
    assert_eq!(events_of(&run.sent).len(), message(&blocks).len() - 2);
    assert_eq!(run.report.action, Action::HideThinking);
}

#[test]
fn thinking_that_was_masked_is_not_signed() {
    let blocks = [("thinking", &["at sesame street"] as &[&str]), ("text", &["fine"])];
    let run = run_at(&enforce(), Endpoint::Messages, &message(&blocks));
    assert!(run.stopped && !run.sent.contains("c2ln") && !run.sent.contains("sesame"));
}

#[test]
fn calls_are_whole_before_they_leave() {
    let item = |arguments: &str| json!({"type": "function_call", "id": "fc", "call_id": "c", "name": "f", "arguments": arguments});
    let delta = |text: &str| json!({"type": "response.function_call_arguments.delta", "output_index": 0, "delta": text});
    let mut events = vec![
        json!({"type": "response.created", "response": {"id": "resp_1"}}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": item("")}),
        delta("{\"to\":\"sesame"),
    ];
    let (mut session, _) = start_at(&enforce(), Endpoint::Responses, "text/event-stream");
    let now = some_time();
    let mut sent = String::new();
    for event in &events {
        session.on_chunk(now, named(event).into());
    }
    drain(&mut session, &mut sent);
    assert_eq!(events_of(&sent).len(), 1);
    let more = [
        delta(" street\"}"),
        json!({"type": "response.output_item.done", "output_index": 0, "item": item("{\"to\":\"sesame street\"}")}),
    ];
    for event in &more {
        session.on_chunk(now, named(event).into());
    }
    drain(&mut session, &mut sent);
    events.extend(more);
    let told = events_of(&sent);
    assert_eq!(told.len(), events.len());
    assert_eq!(told[told.len() - 1]["item"]["arguments"], "{\"to\":\"[redacted]\"}");
}

#[test]
fn whole_bodies_hold_the_notice() {
    let body = json!({"id": "resp_1", "object": "response", "created_at": 7, "model": "m", "status": "completed",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "a forbidden falcon"}]}],
        "usage": {"total_tokens": 3}});
    let blocked = |endpoint: Endpoint, body: &Value| -> Value {
        let session = start_at(&enforce(), endpoint, "application/json").0;
        let response = run_session(session, &[body.to_string().as_bytes()]).responded.unwrap();
        assert_eq!(response.status, 200);
        serde_json::from_slice(&response.body).unwrap()
    };
    let response = blocked(Endpoint::StoredResponse, &body);
    assert_eq!((&response["id"], &response["status"]), (&json!("resp_1"), &json!("incomplete")));
    assert_eq!(response["output"][0]["content"][0]["text"], DEFAULT_NOTICE);
    assert_eq!(response["usage"]["total_tokens"], 3);
    let body = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m",
        "content": [{"type": "text", "text": "a forbidden falcon"}], "stop_reason": "end_turn", "usage": {"output_tokens": 3}});
    let message = blocked(Endpoint::Messages, &body);
    assert_eq!(
        (&message["content"][0]["text"], &message["stop_reason"]),
        (&json!(DEFAULT_NOTICE), &json!("refusal"))
    );
}

#[test]
fn prompts_are_blocked_in_the_words_of_their_wire() {
    let settings = Settings::default();
    let streaming = plan(
        Policy { mode: Mode::Enforce, prompt_block: PromptBlock::Status200, ..Policy::default() },
        settings,
    );
    let asked = |plan: &Arc<Plan>, endpoint: Endpoint, body: &Value| {
        let (mut session, _) = start_at(plan, endpoint, "text/event-stream");
        match session.on_request(body.to_string().into()) {
            RequestDecision::Respond(response) => response,
            RequestDecision::Forward(_) => panic!("forwarded: {body}"),
        }
    };
    let bad = "a forbidden falcon";
    for body in [
        json!({"model": "m", "input": bad}),
        json!({"model": "m", "input": "x", "instructions": bad}),
        json!({"input": [{"role": "assistant", "content": "x"}, {"type": "function_call_output", "output": bad}]}),
        json!({"input": [{"role": "user", "content": [{"type": "input_text", "text": bad}]}]}),
    ] {
        let response = asked(&enforce(), Endpoint::Responses, &body);
        let error: Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!((response.status, &error["error"]["param"]), (400, &json!("input")));
    }
    for body in [
        json!({"messages": [{"role": "user", "content": bad}]}),
        json!({"messages": [], "system": [{"type": "text", "text": bad}]}),
        json!({"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t",
            "content": [{"type": "text", "text": bad}]}]}]}),
        json!({"messages": [{"role": "user", "content": [{"type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": bad}}]}]}),
    ] {
        let response = asked(&enforce(), Endpoint::Messages, &body);
        let error: Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!((response.status, &error["type"]), (400, &json!("error")));
    }
    let body = json!({"model": "m", "input": bad, "stream": true});
    let response = asked(&streaming, Endpoint::Responses, &body);
    let sent = events_of(std::str::from_utf8(&response.body).unwrap());
    assert_eq!(sent[0]["type"], "response.created");
    assert_eq!(sent[sent.len() - 1]["type"], "response.incomplete");
    let body =
        json!({"model": "m", "messages": [{"role": "user", "content": bad}], "stream": true});
    let response = asked(&streaming, Endpoint::Messages, &body);
    let sent = events_of(std::str::from_utf8(&response.body).unwrap());
    assert_eq!(
        (&sent[0]["type"], &sent[0]["message"]["model"]),
        (&json!("message_start"), &json!("m"))
    );
}

#[test]
fn events_out_of_order_without_names_or_unknown_pass_and_are_read() {
    let mut events = response(THINKS, &["please ", "flag me", " now"]);
    events.swap(2, 3);
    events.reverse();
    events.push(json!({"type": "response.pondering", "note": "x"}));
    let plain: Vec<String> = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    let chunks: Vec<&[u8]> = plain.iter().map(String::as_bytes).chain([DONE.as_bytes()]).collect();
    let run =
        run_session(start_at(&enforce(), Endpoint::Responses, "text/event-stream").0, &chunks);
    assert_eq!(run.sent, plain.concat() + DONE);
    assert_eq!(run.report.verdict, Verdict::Flag);
    assert_eq!(run.report.bytes.unscanned[&(None, UnscannedReason::Field)], 40);
}

#[test]
fn no_cut_matters_to_either_wire() {
    let answer: &[&str] = &["go to sesame ", "street ", "falcon-12", "x"];
    for (endpoint, events) in [
        (Endpoint::Responses, response(&["at sesame", " street"], answer)),
        (Endpoint::Messages, message(&[("text", answer)])),
    ] {
        let body: String = events.iter().map(named).collect();
        let whole = run_at(&enforce(), endpoint, &events);
        for step in [1, 7, 64, 1000] {
            let chunks: Vec<&[u8]> = body.as_bytes().chunks(step).collect();
            let cut = run_session(start_at(&enforce(), endpoint, "text/event-stream").0, &chunks);
            assert_eq!((cut.sent, cut.report), (whole.sent.clone(), whole.report.clone()));
        }
    }
}

/// A text in deltas, some of which hold parts of what is masked.
fn deltas() -> impl Strategy<Value = Vec<&'static str>> {
    let parts = [
        "sesame",
        " ",
        "street",
        "at ",
        "ses",
        "ame str",
        "eet",
        "é",
        "\n",
        "\"x\" ",
        "sesame street",
    ];
    prop::collection::vec(prop::sample::select(parts.to_vec()), 1..14)
}

/// Whether a text has the masked words, as words.
fn tells_the_street(text: &str) -> bool {
    let bare = |char: Option<char>| !char.is_some_and(char::is_alphanumeric);
    text.match_indices("sesame street").any(|(at, found)| {
        bare(text[..at].chars().next_back()) && bare(text[at + found.len()..].chars().next())
    })
}

proptest! {
    #[test]
    fn every_repeat_tells_what_the_deltas_told(thinking in deltas(), answer in deltas(), hides in any::<bool>()) {
        let plan = if hides { hiding() } else { enforce() };
        let events = response(&thinking, &answer);
        let run = run_at(&plan, Endpoint::Responses, &events);
        prop_assert!(!run.stopped);
        let sent = events_of(&run.sent);
        let told = |kind: &str| -> String {
            let kind = format!("response.{kind}.delta");
            let own = sent.iter().filter(|event| event["type"] == kind);
            own.map(|event| event["delta"].as_str().unwrap()).collect()
        };
        let (thinking, answer) = (told("reasoning_summary_text"), told("output_text"));
        let last = &sent[sent.len() - 1]["response"];
        for (whole, text) in [
            (&last["output"][0]["summary"][0]["text"], &thinking),
            (&last["output"][1]["content"][0]["text"], &answer),
            (&last["output_text"], &answer),
            (&sent[sent.len() - 4]["text"], &answer),
            (&sent[sent.len() - 3]["part"]["text"], &answer),
            (&sent[sent.len() - 2]["item"]["content"][0]["text"], &answer),
        ] {
            prop_assert_eq!(whole.as_str().unwrap(), text);
        }
        prop_assert_eq!(thinking.is_empty(), hides);
        prop_assert!(!tells_the_street(&thinking) && !tells_the_street(&answer));
    }
}
