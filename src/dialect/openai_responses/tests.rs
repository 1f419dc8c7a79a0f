use serde_json::{Value, json};

use super::*;
use crate::dialect::{chunk::Origin, refusal::events_at_end};

fn texts(responses: &mut Responses, payload: &str) -> Vec<(Source, String)> {
    let chunk = responses.read(payload);
    assert!(chunk.known, "{payload}");
    chunk.pieces.into_iter().map(|piece| (piece.source, piece.text.into_owned())).collect()
}

fn all_texts(payloads: &[Value]) -> Vec<(Source, String)> {
    let mut responses = Responses::default();
    payloads.iter().flat_map(|payload| texts(&mut responses, &payload.to_string())).collect()
}

fn delta(name: &str, item: u32, index: u32, text: &str) -> Value {
    let part = if name == "reasoning_summary_text" { "summary_index" } else { "content_index" };
    json!({"type": format!("response.{name}.delta"), "output_index": item, part: index, "delta": text})
}

fn said(source: Source, text: &str) -> (Source, String) {
    (source, text.to_owned())
}

#[test]
fn reads_the_text_of_every_delta() {
    use Source::*;
    for (name, source) in [
        ("reasoning_summary_text", ReasoningContent),
        ("reasoning_text", ReasoningContent),
        ("output_text", Content),
        ("refusal", Refusal),
        ("function_call_arguments", ToolArguments(2)),
        ("mcp_call_arguments", ToolArguments(2)),
        ("custom_tool_call_input", ToolArguments(2)),
        ("code_interpreter_call_code", ToolArguments(2)),
    ] {
        assert_eq!(all_texts(&[delta(name, 2, 0, "a")]), [said(source, "a")], "{name}");
    }
}

#[test]
fn a_blank_line_stands_between_the_parts_of_summaries() {
    let summary = |item, index, text| delta("reasoning_summary_text", item, index, text);
    let read = all_texts(&[
        summary(0, 0, "a"),
        summary(0, 0, "b"),
        summary(0, 1, "c"),
        summary(2, 0, "d"),
    ]);
    let text: String = read.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(text, "ab\n\nc\n\nd");
    let mut responses = Responses::default();
    responses.read(&summary(0, 0, "a").to_string());
    let next = summary(0, 1, "b").to_string();
    let places = responses.read(&next).pieces.into_iter().map(|piece| piece.json.len());
    assert_eq!(places.collect::<Vec<_>>(), [0, 3]);
}

#[test]
fn a_text_that_comes_again_is_known_and_one_that_differs_is_read_beside() {
    let message =
        |text: &str| json!({"type": "message", "content": [{"type": "output_text", "text": text}]});
    let again = |at| Source::Again(Origin::Content, at);
    let read = all_texts(&[
        delta("output_text", 1, 0, "he"),
        delta("output_text", 1, 0, "llo"),
        json!({"type": "response.output_text.done", "output_index": 1, "content_index": 0, "text": "hello"}),
        delta("output_text", 1, 1, "you"),
        json!({"type": "response.content_part.done", "output_index": 1, "content_index": 1,
            "part": {"type": "output_text", "text": "you"}}),
        json!({"type": "response.output_item.done", "output_index": 1, "item": message("hell")}),
        json!({"type": "response.completed", "response": {"output": [message("new"), message("hello")]}}),
    ]);
    let expected = [
        said(Source::Content, "he"),
        said(Source::Content, "llo"),
        said(again(0), "hello"),
        said(Source::Content, "you"),
        said(again(5), "you"),
        said(Source::Beside, "hell"),
        said(Source::Content, "new"),
        said(again(0), "hello"),
    ];
    assert_eq!(read, expected);
}

#[test]
fn parts_whose_deltas_are_mixed_are_read_again_beside() {
    let done = |index: u32, text: &str| json!({"type": "response.output_text.done", "content_index": index, "text": text});
    let read = all_texts(&[
        delta("output_text", 0, 0, "a"),
        delta("output_text", 0, 1, "x"),
        delta("output_text", 0, 0, "b"),
        done(0, "ab"),
        done(1, "x"),
    ]);
    assert_eq!(
        read[3..],
        [said(Source::Beside, "ab"), said(Source::Again(Origin::Content, 1), "x")]
    );
}

#[test]
fn reads_a_whole_response() {
    let body = r#"{"id":"resp_1","object":"response","created_at":7,"model":"m","status":"completed","output":[
        {"type":"reasoning","id":"rs_1","encrypted_content":"gAAA","summary":[{"type":"summary_text","text":"t"}]},
        {"type":"message","content":[{"type":"output_text","text":"a","annotations":[]},{"type":"refusal","refusal":"r"}]},
        {"type":"function_call","name":"f","call_id":"c","arguments":"{}"},
        {"type":"web_search_call","id":"ws","status":"completed","action":{"type":"search","query":"q"}}],
        "output_text":"a","usage":{"input_tokens":1}}"#;
    let mut responses = Responses::default();
    let chunk = responses.read(body);
    assert_eq!(chunk.opaque, [(0, Opaque::Encrypted, 6)]);
    assert!(chunk.done && chunk.choices == [(0, true)]);
    assert_eq!(chunk.usage, Some("{\"input_tokens\":1}"));
    assert_eq!(chunk.envelope.created, Some("7"));
    assert_eq!(
        texts(&mut Responses::default(), body),
        [
            said(Source::ReasoningContent, "t"),
            said(Source::Content, "a"),
            said(Source::Refusal, "r"),
            said(Source::ToolArguments(2), "{}"),
            said(Source::Beside, "q"),
            said(Source::CumulativeContent, "a"),
        ]
    );
}

#[test]
fn knows_its_shape_and_counts_what_it_does_not_know() {
    let unknown = r#"{"type":"response.pondering.delta","delta":"x"}"#;
    let chunk = Responses::default().read(unknown);
    assert_eq!(chunk.opaque, [(0, Opaque::Field, unknown.len())]);
    let more = r#"{"type":"response.output_text.delta","delta":"a","novel":"x"}"#;
    assert_eq!(Responses::default().read(more).unread.len(), 1);
    for payload in ["", "[]", "{}", r#"{"choices":[]}"#, r#"{"type":"response.completed""#] {
        assert!(!Responses::default().read(payload).known, "{payload}");
    }
    assert!(Responses::default().read(r#"{"type":"error","message":"m"}"#).error);
    for key in ["user", "background", "output_messages"] {
        assert_eq!(is_of_response(key), key != "output_messages");
    }
}

fn end_of(sent: &[Value], notice: Option<&str>) -> Vec<Value> {
    let mut state = ending::Sent::default();
    for event in sent {
        state.note(&event.to_string());
    }
    events_at_end("resp_x", notice, |ending| state.end(ending))
}

fn types(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["type"].as_str().unwrap().trim_start_matches("response."))
        .collect()
}

const MESSAGE: [&str; 6] = [
    "output_item.added",
    "content_part.added",
    "output_text.delta",
    "output_text.done",
    "content_part.done",
    "output_item.done",
];

#[test]
fn closes_the_thinking_and_tells_the_notice_in_a_message() {
    let sent = [
        json!({"type": "response.created", "sequence_number": 0, "response": {"id": "resp_u", "metadata": {"a": "b"}}}),
        json!({"type": "response.output_item.added", "sequence_number": 1, "output_index": 0,
            "item": {"id": "rs_1", "type": "reasoning", "summary": []}}),
        json!({"type": "response.reasoning_summary_part.added", "sequence_number": 2, "output_index": 0,
            "summary_index": 0, "part": {"type": "summary_text", "text": ""}}),
        json!({"type": "response.reasoning_summary_text.delta", "sequence_number": 3, "output_index": 0,
            "summary_index": 0, "delta": "so far"}),
    ];
    let events = end_of(&sent, Some("stopped"));
    let closing =
        ["reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"];
    let (first, last) = (types(&events)[..3].to_vec(), types(&events)[3..].to_vec());
    assert_eq!(first, MESSAGE[..3]);
    assert_eq!(last, [&closing[..], &MESSAGE[3..], &["incomplete"]].concat());
    let numbers: Vec<u64> =
        events.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (4..14).collect::<Vec<u64>>());
    assert_eq!((&events[3]["text"], &events[3]["item_id"]), (&json!("so far"), &json!("rs_1")));
    let response = &events.last().unwrap()["response"];
    assert_eq!(response["incomplete_details"]["reason"], "content_filter");
    assert_eq!(response["metadata"]["a"], "b");
    assert_eq!(response["output"][0]["summary"][0]["text"], "so far");
    assert_eq!(response["output"][1]["content"][0]["text"], "stopped");
}

#[test]
fn closes_an_answer_where_it_stands() {
    let sent = [
        json!({"type": "response.created", "response": {"id": "resp_u"}}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"id": "m", "type": "message", "content": []}}),
        json!({"type": "response.content_part.added", "output_index": 0, "content_index": 0,
            "part": {"type": "output_text", "text": ""}}),
        delta("output_text", 0, 0, "so far"),
    ];
    let events = end_of(&sent, None);
    assert_eq!(
        types(&events),
        ["output_text.done", "content_part.done", "output_item.done", "incomplete"]
    );
    assert_eq!(events[2]["item"]["content"][0]["text"], "so far");
    assert_eq!(events[2]["item"]["status"], "incomplete");
    assert!(events.iter().all(|event| event.get("sequence_number").is_none()));
}

#[test]
fn begins_a_response_of_which_nothing_was_sent() {
    let events = end_of(&[], Some("stopped"));
    let begin = ["created", "in_progress"];
    assert_eq!(types(&events), [&begin[..], &MESSAGE, &["incomplete"]].concat());
    assert_eq!(events[0]["response"]["id"], "resp_x");
    assert_eq!(events[8]["sequence_number"], 8);
}

#[test]
fn items_that_are_no_objects_end_without_harm() {
    let sent = [
        json!({"type": "response.output_item.added", "output_index": 0, "item": "x"}),
        delta("function_call_arguments", 0, 0, "{"),
        json!({"type": "response.output_item.done", "output_index": 4_000_000_000_u64, "item": [1]}),
    ];
    assert_eq!(types(&end_of(&sent, None)).last(), Some(&"incomplete"));
}
