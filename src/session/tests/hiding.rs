//! The thinking is read, but the client gets the answer alone.

use super::*;
use crate::{channel::Channel, channel::ThinkingStart};

fn hiding() -> Arc<Plan> {
    hiding_from(ThinkingStart::Detect)
}

fn hiding_from(thinking: ThinkingStart) -> Arc<Plan> {
    let policy = Policy { mode: Mode::Enforce, hide_thinking: true, ..Policy::default() };
    plan(policy, Settings { thinking, ..Settings::default() })
}

fn chunk(choice: &Value) -> String {
    format!("data: {}\n\n", json!({"id": "up", "choices": [choice]}))
}

fn of(choices: &[Value]) -> Vec<String> {
    choices.iter().map(chunk).chain([DONE.to_owned()]).collect()
}

fn delivered(sent: &str) -> Vec<Value> {
    sent_chunks(sent).into_iter().map(|chunk| chunk["choices"][0].clone()).collect()
}

fn entries(tokens: &[&str]) -> Value {
    tokens.iter().map(|token| json!({"token": token, "bytes": token.as_bytes()})).collect()
}

#[test]
fn takes_the_thinking_out_of_a_stream_in_each_dialects_way() {
    let role =
        json!({"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": null});
    let answer = json!({"index": 0, "delta": {"content": "42"}, "finish_reason": null});
    let end = json!({"index": 0, "delta": {}, "finish_reason": "stop"});
    let thinking: Vec<(&str, Vec<Value>)> = vec![
        ("reasoning_content", vec![json!({"delta": {"content": null, "reasoning_content": "hm"}})]),
        (
            "both fields, a role each",
            vec![
                json!({"delta": {"role": "assistant", "reasoning": "hm", "reasoning_content": "hm", "content": ""}}),
            ],
        ),
        (
            "details",
            vec![
                json!({"delta": {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}}),
                json!({"delta": {"reasoning_details": [{"type": "reasoning.encrypted", "data": "gAAA"}]}}),
                json!({"delta": {"reasoning_details": [{"type": "reasoning.text", "signature": "c2ln"}]}}),
            ],
        ),
        (
            "tags",
            vec![
                json!({"delta": {"content": "\n<th"}}),
                json!({"delta": {"content": "ink>h"}}),
                json!({"delta": {"content": "m</think>"}}),
            ],
        ),
        (
            "close tag alone",
            vec![
                json!({"delta": {"content": "h"}}),
                json!({"delta": {"content": "m</thi"}}),
                json!({"delta": {"content": "nk>"}}),
            ],
        ),
        (
            "parts",
            vec![
                json!({"delta": {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}}),
            ],
        ),
        (
            "blocks",
            vec![
                json!({"delta": {"thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "c2ln"}]}}),
            ],
        ),
        (
            "logprobs and ids",
            vec![
                json!({"delta": {"reasoning": "hm"}, "logprobs": {"content": entries(&["hm"])}, "token_ids": [1]}),
                json!({"delta": {"content": ""}, "logprobs": {"content": entries(&["</think>"])}, "token_ids": [2]}),
            ],
        ),
        (
            "a copy",
            vec![
                json!({"delta": {"content": "<think>hm</think>"}, "message": {"content": "<think>hm</think>"}, "text": "<think>hm</think>"}),
            ],
        ),
        ("an unknown field", vec![json!({"delta": {"reasoning": "hm", "thoughts": "so: hm"}})]),
    ];
    for (name, thoughts) in thinking {
        let choices: Vec<Value> =
            [&role].into_iter().chain(&thoughts).chain([&answer, &end]).cloned().collect();
        let run = run(&hiding(), &of(&choices));
        assert_eq!(delivered(&run.sent), [role.clone(), answer.clone(), end.clone()], "{name}");
        assert_eq!(run.report.action, Action::HideThinking, "{name}");
        assert_eq!(
            run.report.bytes.released.get(&Some(Channel::Thinking)).copied().unwrap_or_default(),
            0,
            "{name}"
        );
        if name != "details" {
            assert_eq!(
                run.report.choices[0].thinking.text.as_deref().map(str::trim),
                Some("hm"),
                "{name}"
            );
        }
        assert!(
            run.report.bytes.unscanned.keys().all(|(_, why)| *why == UnscannedReason::Field),
            "{name}"
        );
    }
}

#[test]
fn keeps_what_a_thinking_chunk_tells_beside_the_thinking() {
    let events = of(&[
        json!({"index": 0, "delta": {"role": "assistant", "reasoning": "h"}}),
        json!({"index": 0, "delta": {"role": "assistant", "reasoning": "m"}}),
        json!({"index": 1, "delta": {"role": "assistant", "content": "<think>"}}),
        json!({"index": 1, "delta": {"content": "hm</think>\n\n42"}, "logprobs": {"content": entries(&["hm", "</think>", "\n\n", "42"])}}),
        json!({"index": 0, "delta": {"reasoning": "."}, "finish_reason": "length"}),
    ]);
    let run = run(&hiding(), &events);
    assert_eq!(
        delivered(&run.sent),
        [
            json!({"index": 0, "delta": {"role": "assistant"}}),
            json!({"index": 1, "delta": {"role": "assistant", "content": ""}}),
            json!({"index": 1, "delta": {"content": "\n\n42"}, "logprobs": {"content": entries(&["\n\n", "42"])}}),
            json!({"index": 0, "delta": {}, "finish_reason": "length"}),
        ]
    );
    assert!(run.sent.ends_with(DONE));
}

#[test]
fn takes_apart_a_chunk_of_several_choices() {
    let told = |choices: Value| format!("data: {}\n\n", json!({"choices": choices}));
    let events = [
        told(
            json!([{"index": 0, "delta": {"role": "assistant", "reasoning": "hm"}}, {"index": 1, "delta": {"content": "1"}, "token_ids": [4]}]),
        ),
        told(
            json!([{"index": 0, "delta": {"reasoning": "hm"}}, {"index": 1, "delta": {"reasoning": "hm"}}]),
        ),
        told(json!([{"index": 0, "delta": {"content": ""}, "token_ids": [5]}])),
        told(json!([{"index": 0, "delta": {"content": "0"}}])),
        DONE.to_owned(),
    ];
    let run = run(&hiding_from(ThinkingStart::Closed), &events);
    let left = [
        told(
            json!([{"index": 0, "delta": {"role": "assistant"}}, {"index": 1, "delta": {"content": "1"}}]),
        ),
        told(json!([{"index": 0, "delta": {"content": "0"}}])),
        DONE.to_owned(),
    ];
    assert_eq!(run.sent, left.concat());
}

#[test]
fn sends_the_usage_of_a_thinking_chunk() {
    let with_usage = "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning\":\"hm\"}}],\"usage\":{\"n\":1}}\n\n";
    let run = run(&hiding(), &[with_usage.to_owned(), DONE.to_owned()]);
    let left = "data: {\"choices\":[{\"index\":0,\"delta\":{}}],\"usage\":{\"n\":1}}\n\n";
    assert_eq!(run.sent, format!("{left}{DONE}"));
}

#[test]
fn takes_the_thinking_out_of_whole_bodies() {
    let usage = json!({"completion_tokens_details": {"reasoning_tokens": 9}});
    let cases = [
        (
            json!({"index": 0, "message": {"role": "assistant", "reasoning_content": "hm", "reasoning": "hm", "reasoning_details": [{"data": "x"}], "content": "42"}, "finish_reason": "stop"}),
            json!({"index": 0, "message": {"role": "assistant", "content": "42"}, "finish_reason": "stop"}),
        ),
        (
            json!({"index": 0, "message": {"content": "<think>hm</think>42"}, "logprobs": {"content": entries(&["<think>", "hm", "</think>", "4", "2"])}}),
            json!({"index": 0, "message": {"content": "42"}, "logprobs": {"content": entries(&["4", "2"])}}),
        ),
        (
            // The thinking's tokens and the answer's in one list: nobody knows which are which.
            json!({"index": 0, "message": {"reasoning": "hm", "content": "42"}, "logprobs": {"content": entries(&["hm", "</think>", "42"])}}),
            json!({"index": 0, "message": {"content": "42"}, "logprobs": {"content": []}}),
        ),
        (
            json!({"index": 0, "text": "hm</think> 42", "logprobs": {"tokens": ["hm", "</think>", " 42"], "token_logprobs": [0, 0, 0]}, "prompt_token_ids": [1]}),
            json!({"index": 0, "text": " 42"}),
        ),
        (
            json!({"index": 0, "message": {"role": "assistant", "reasoning": "nothing but thinking", "content": null}, "finish_reason": "length"}),
            json!({"index": 0, "message": {"role": "assistant", "content": null}, "finish_reason": "length"}),
        ),
    ];
    for (choice, left) in cases {
        let body = |choice: &Value| json!({"choices": [choice], "usage": usage}).to_string();
        let run = run_chunks(&hiding(), "application/json", &[body(&choice).as_bytes()]);
        assert_eq!(
            serde_json::from_str::<Value>(&run.sent).unwrap(),
            serde_json::from_str::<Value>(&body(&left)).unwrap()
        );
        assert_eq!(run.report.action, Action::HideThinking);
    }
}

#[test]
fn changes_nothing_of_an_exchange_without_thinking() {
    let events = [
        ": ping\n\n".to_owned(),
        event(&json!({"role": "assistant", "content": "", "reasoning_content": null}), None),
        event(&json!({"content": "a < b, <think> is a tag"}), None),
        event(&json!({"content": " and more"}), Some("stop")),
        DONE.to_owned(),
    ];
    let run = run(&hiding(), &events);
    assert_eq!(run.sent, events.concat());
    assert_eq!((run.report.action, run.report.would), (Action::Forward, Action::Forward));
}

#[test]
fn delivers_nothing_that_may_still_be_thinking() {
    let texts = ["so ", "what", " now", "</think>", "the ", "answer"];
    let steps = |thinking: ThinkingStart| -> Vec<String> {
        let (mut session, _) = start(&hiding_from(thinking), "text/event-stream");
        let step = |text: &&str| {
            session.on_chunk(some_time(), event(&json!({"content": text}), None).into());
            let mut sent = String::new();
            drain(&mut session, &mut sent);
            // Neither a tag nor a rule waits, and the close tag may come at any time: no deadline holds.
            assert_eq!(session.deadline(), None, "{text}");
            sent_text(&sent, "content")
        };
        texts.iter().map(step).collect()
    };
    assert_eq!(steps(ThinkingStart::Detect), ["", "", "", "", "the ", "answer"]);
    assert_eq!(steps(ThinkingStart::Open), ["", "", "", "", "the ", "answer"]);
    assert_eq!(steps(ThinkingStart::Closed), texts);
}

#[test]
fn lets_undecided_content_go_at_its_end_and_ends_what_grows_too_large() {
    let events = of(&[
        json!({"delta": {"content": "an "}}),
        json!({"delta": {"content": "answer"}, "finish_reason": "stop"}),
    ]);
    let whole = run(&hiding(), &events);
    assert_eq!(whole.sent, events.concat());
    for (on_deadline, action) in
        [(OnDeadline::Block, Action::FailClosed), (OnDeadline::Release, Action::FailOpen)]
    {
        let hold = Hold { max_bytes: 200, on_deadline, ..Hold::default() };
        let policy = Policy { mode: Mode::Enforce, hide_thinking: true, ..Policy::default() };
        let small = plan(policy, Settings { hold, ..Settings::default() });
        let run = run(&small, &of(&vec![json!({"delta": {"content": "text "}}); 9]));
        assert_eq!(run.report.action, action);
        assert_eq!(run.sent.contains("text "), on_deadline == OnDeadline::Release);
    }
}

#[test]
fn still_blocks_for_what_it_hides() {
    for key in ["content", "reasoning"] {
        let text =
            if key == "content" { "<think>the forbidden falcon." } else { "the forbidden falcon." };
        let run = run(
            &hiding(),
            &[event(&json!({key: text}), None), event(&json!({"content": "ok"}), None)],
        );
        assert!(run.stopped && run.report.action == Action::Block);
        assert_eq!(sent_text(&run.sent, "content"), DEFAULT_NOTICE);
    }
    // What would be masked is hidden, signed or not.
    let detail = json!({"reasoning_details": [{"type": "reasoning.text", "text": "at sesame street", "signature": "c2ln"}]});
    let run = run(
        &hiding(),
        &[event(&detail, None), event(&json!({"content": "at sesame street"}), Some("stop"))],
    );
    assert_eq!(sent_text(&run.sent, "content"), "at [redacted]");
    assert_eq!((run.report.action, run.report.verdict), (Action::HideThinking, Verdict::Redact));
    assert!(!run.sent.contains("c2ln"));
}

#[test]
fn says_in_shadow_mode_what_it_would_do() {
    let shadow = plan(Policy { hide_thinking: true, ..Policy::default() }, Settings::default());
    let would = |delta: &Value| {
        let run = run(&shadow, &[event(delta, Some("stop"))]);
        assert_eq!((run.sent.as_str(), run.report.action), ("", Action::Forward));
        run.report.would
    };
    assert_eq!(would(&json!({"reasoning": "hm"})), Action::HideThinking);
    assert_eq!(would(&json!({"reasoning_details": [{"data": "x"}]})), Action::HideThinking);
    assert_eq!(would(&json!({"reasoning": "sesame street"})), Action::HideThinking);
    assert_eq!(would(&json!({"reasoning": "forbidden falcon"})), Action::Block);
    assert_eq!(would(&json!({"content": "no thinking"})), Action::Forward);
}

/// Content with tags, and what is answer in it.
fn contents() -> impl Strategy<Value = (String, String)> {
    let words = || {
        let word = prop::sample::select(vec![
            "so", " ", "\n", "a<b", "<", "</", "é", "sesame", " street ",
        ]);
        prop::collection::vec(word, 0..6).prop_map(|words| words.concat())
    };
    (0..3_u8, words(), words()).prop_map(|(kind, thinking, answer)| match kind {
        0 => (format!("<think>{thinking}</think>{answer}"), answer),
        1 => (format!("x{thinking}</think>{answer}"), answer),
        _ => (format!("x{answer}"), format!("x{answer}")),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn delivers_the_answer_whatever_the_deltas(
        contents in prop::collection::vec(contents(), 1..3),
        widths in prop::collection::vec((0..2_usize, 1..9_usize), 1..60),
        text_completion: bool,
    ) {
        let mut rest: Vec<&str> = contents.iter().map(|(content, _)| content.as_str()).collect();
        let told = |index: usize, text: &str| if text_completion {
            json!({"index": index, "text": text})
        } else {
            json!({"index": index, "delta": {"content": text}})
        };
        let mut choices = Vec::new();
        for (index, width) in widths {
            let index = index % rest.len();
            let at = rest[index].ceil_char_boundary(width.min(rest[index].len()));
            let (text, after) = rest[index].split_at(at);
            choices.push(told(index, text));
            rest[index] = after;
        }
        for (index, text) in rest.iter().enumerate() {
            choices.push(told(index, text));
        }
        let run = run(&hiding(), &of(&choices));
        for (index, (_, answer)) in contents.iter().enumerate() {
            let place = if text_completion { "/text" } else { "/delta/content" };
            let sent = delivered(&run.sent);
            let of_choice = sent.iter().filter(|choice| choice["index"] == index);
            let text: String = of_choice.filter_map(|choice| choice.pointer(place)?.as_str()).collect();
            // The rule wants whole words.
            let report = &run.report.choices.iter().find(|choice| choice.index as usize == index);
            let findings: Vec<_> = report.iter().flat_map(|choice| &choice.findings).filter(|finding| finding.channel == Channel::Answer).cloned().collect();
            prop_assert_eq!(text, masked(answer, &findings));
        }
    }
}
