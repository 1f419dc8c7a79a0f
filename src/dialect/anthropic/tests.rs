use serde_json::{Value, json};

use super::*;
use crate::dialect::refusal::events_at_end;

fn texts(payload: &str) -> Vec<(Source, String)> {
    read(payload).pieces.into_iter().map(|piece| (piece.source, piece.text.into_owned())).collect()
}

fn told(source: Source, text: &str) -> Vec<(Source, String)> {
    vec![(source, text.to_owned())]
}

#[test]
fn reads_the_text_of_every_delta() {
    for (payload, expected) in [
        (
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"a"}}"#,
            told(Source::ReasoningContent, "a"),
        ),
        (
            r#"{"index":1,"delta":{"text":"a\u00e9","type":"text_delta"},"type":"content_block_delta"}"#,
            told(Source::Content, "aé"),
        ),
        (
            r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"a"}}"#,
            told(Source::ToolArguments(2), "{\"a"),
        ),
        (
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"citations_delta","citation":{"type":"x","cited_text":"a"}}}"#,
            told(Source::Beside, "a"),
        ),
        (
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"a","text":"b"}}"#,
            [told(Source::Beside, "a"), told(Source::Content, "b")].concat(),
        ),
        (r#"{"type":"ping"}"#, Vec::new()),
    ] {
        assert_eq!(texts(payload), expected, "{payload}");
        assert!(read(payload).known, "{payload}");
    }
}

#[test]
fn reads_a_whole_message_block_by_block() {
    let body = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[
        {"type":"thinking","thinking":"t","signature":"c2ln"},{"type":"redacted_thinking","data":"gAAA"},
        {"type":"text","text":"a"},{"type":"tool_use","id":"toolu_1","name":"f","input":{"q":1}}],
        "stop_reason":"tool_use","usage":{"input_tokens":1}}"#;
    assert_eq!(
        texts(body),
        [
            told(Source::ReasoningContent, "t"),
            told(Source::Content, "a"),
            told(Source::ToolArguments(3), ""),
            told(Source::ToolArguments(3), "{\"q\":1}"),
        ]
        .concat()
    );
    let chunk = read(body);
    assert_eq!(chunk.opaque, [(0, Opaque::Signature, 6), (0, Opaque::Encrypted, 6)]);
    assert_eq!(chunk.choices, [(0, true)]);
    assert_eq!(chunk.envelope.id, Some("\"msg_1\""));
    assert_eq!(chunk.usage, Some("{\"input_tokens\":1}"));
}

#[test]
fn a_call_that_is_opened_has_no_arguments_yet() {
    let open = r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#;
    assert_eq!(texts(open), told(Source::ToolArguments(2), ""));
    assert_eq!(read(r#"{"type":"content_block_stop","index":2}"#).ended_calls, [(0, 2)]);
}

#[test]
fn knows_its_shape_and_counts_what_it_does_not_know() {
    let unknown = r#"{"type":"content_block_pondered","index":0,"note":"x"}"#;
    let chunk = read(unknown);
    assert!(chunk.known && chunk.pieces.is_empty());
    assert_eq!(chunk.opaque, [(0, Opaque::Field, unknown.len())]);
    assert_eq!(chunk.unread.first(), Some(&(0..unknown.len())));
    assert!(read(r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#).error);
    assert!(read(r#"{"type":"message_stop"}"#).done);
    for payload in ["", "[]", "x", r#"{"choices":[]}"#, r#"{"type":"ping""#] {
        assert!(!read(payload).known, "{payload}");
    }
}

fn end_of(sent: &[Value], notice: Option<&str>) -> Vec<Value> {
    let mut state = Sent::default();
    for event in sent {
        state.note(&event.to_string());
    }
    events_at_end("msg_x", notice, |ending| state.end(ending))
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

#[test]
fn closes_what_is_open_and_puts_the_notice_into_a_text_block() {
    let start = json!({"type": "message_start", "message": {}});
    let opens = |index: u32, kind: &str| json!({"type": "content_block_start", "index": index, "content_block": {"type": kind}});
    let thinking = end_of(&[start.clone(), opens(0, "thinking")], Some("stopped"));
    assert_eq!(
        types(&thinking),
        [
            "content_block_stop",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop"
        ]
    );
    assert_eq!((&thinking[0]["index"], &thinking[1]["index"]), (&json!(0), &json!(1)));
    assert_eq!(thinking[2]["delta"]["text"], "stopped");
    assert_eq!(thinking[4]["delta"]["stop_reason"], "refusal");
    let stop = json!({"type": "content_block_stop", "index": 0});
    let sent = [start, opens(0, "thinking"), stop, opens(1, "text")];
    assert_eq!(
        types(&end_of(&sent, None)),
        ["content_block_stop", "message_delta", "message_stop"]
    );
    let nothing = end_of(&[], Some("stopped"));
    assert_eq!(nothing[0]["type"], "message_start");
    assert_eq!(nothing[0]["message"]["id"], "msg_x");
}
