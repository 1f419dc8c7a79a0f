//! The session as a whole: what leaves, when, and how it ends.

mod asking_again;
mod consulting;
mod hiding;
mod hold_back;
mod native;
mod waiting;
mod outcomes;
mod redaction;
mod scoring;
mod together;
mod wires;

use std::{
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    channel::Channel,
    dialect::Endpoint,
    policy::{Action, Mode, OnUnscanned, Policy, PromptBlock, Verdict},
    record::{ExchangeReport, UnscannedReason},
    rules::{Pack, RuleSet},
    trace::Outcome,
};

const PACK: &str = r#"
pack: test
version: 1
rules:
  - id: test.block
    description: blocks
    category: cybercrime
    severity: high
    any: [{literal: "forbidden falcon"}, {regex: 'falcon-[0-9]{4}'}]
    examples: {match: ["a forbidden falcon flies"], pass: ["a falcon flies"]}
  - id: test.redact
    description: masks
    category: secrets
    severity: high
    action: redact
    any: [{literal: "sesame street"}]
    examples: {match: ["at sesame street now"], pass: ["at the street now"]}
  - id: test.flag
    description: flags
    category: rumors
    severity: low
    any: [{literal: "flag me"}]
    examples: {match: ["please flag me now"], pass: ["the flag is red"]}
  - id: test.safety
    description: safety thinking
    kind: safety_thinking
    severity: info
    channels: [thinking]
    any: [{literal: "this is risky"}]
    examples: {match: ["I think this is risky."], pass: ["It is fine."]}
  - id: test.rationalisation
    description: the model talks itself over it
    kind: rationalisation
    severity: info
    channels: [thinking]
    any: [{literal: "but it is only a game"}]
    examples: {match: ["Well, but it is only a game."], pass: ["It is a game."]}
  - id: test.refusal
    description: refusal
    kind: refusal
    severity: info
    channels: [answer]
    any: [{literal: "i cannot help"}]
    examples: {match: ["Sorry, I cannot help."], pass: ["I can help."]}
"#;

fn plan(policy: Policy, settings: Settings) -> Arc<Plan> {
    let pack = Pack::parse("test", PACK, &|_| Err(String::new())).unwrap();
    Arc::new(Plan::new(Arc::new(RuleSet::compile(vec![pack]).unwrap()), policy, settings))
}

fn enforce() -> Arc<Plan> {
    plan(Policy { mode: Mode::Enforce, ..Policy::default() }, Settings::default())
}

fn event(delta: &Value, finish: Option<&str>) -> String {
    event_of(0, delta, finish)
}

fn event_of(index: u32, delta: &Value, finish: Option<&str>) -> String {
    let choice = json!({"index": index, "delta": delta, "finish_reason": finish});
    let chunk = json!({"id": "up-1", "object": "chat.completion.chunk", "created": 7, "model": "m", "choices": [choice]});
    format!("data: {chunk}\n\n")
}

/// What a client and an operator get of one exchange.
struct Run {
    sent: String,
    stopped: bool,
    responded: Option<LocalResponse>,
    report: ExchangeReport,
}

fn start(plan: &Arc<Plan>, content_type: &str) -> (Session, Delivery) {
    start_at(plan, Endpoint::ChatCompletions, content_type)
}

fn start_at(plan: &Arc<Plan>, endpoint: Endpoint, content_type: &str) -> (Session, Delivery) {
    let mut session =
        Session::new(Arc::clone(plan), Some(endpoint), Identity { id: "own".into(), created: 9 })
            .keeping(Keep { text: Some(usize::MAX), trajectory: false });
    let head = ResponseHead {
        status: 200,
        content_type: Some(content_type.to_owned()),
        undecodable: false,
    };
    let delivery = session.on_response(&head);
    (session, delivery)
}

#[expect(clippy::disallowed_methods, reason = "a test needs some time to begin with")]
fn some_time() -> Instant {
    Instant::now()
}

fn drain(session: &mut Session, sent: &mut String) -> (bool, Option<LocalResponse>) {
    while let Some(effect) = session.next_effect() {
        match effect {
            Effect::Forward(bytes) => sent.push_str(std::str::from_utf8(&bytes).unwrap()),
            Effect::Stop(bytes) => {
                sent.push_str(std::str::from_utf8(&bytes).unwrap());
                return (true, None);
            }
            Effect::Respond(response) => return (true, Some(response)),
            Effect::AskAgain(_) | Effect::Tell(_) => panic!("nobody asked for {effect:?}"),
        }
    }
    (false, None)
}

fn run_chunks(plan: &Arc<Plan>, content_type: &str, chunks: &[&[u8]]) -> Run {
    run_session(start(plan, content_type).0, chunks)
}

fn run_session(mut session: Session, chunks: &[&[u8]]) -> Run {
    let now = some_time();
    let mut sent = String::new();
    let mut end = (false, None);
    for chunk in chunks {
        session.on_chunk(now, Bytes::copy_from_slice(chunk));
        end = drain(&mut session, &mut sent);
        if end.0 {
            break;
        }
    }
    if !end.0 {
        session.on_end(now, BodyEnd::Complete);
        end = drain(&mut session, &mut sent);
    }
    Run { sent, stopped: end.0, responded: end.1, report: session.report() }
}

fn run(plan: &Arc<Plan>, events: &[String]) -> Run {
    let chunks: Vec<&[u8]> = events.iter().map(String::as_bytes).collect();
    run_chunks(plan, "text/event-stream", &chunks)
}

fn sent_chunks(sent: &str) -> Vec<Value> {
    let data = sent.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

fn sent_text(sent: &str, key: &str) -> String {
    let chunks = sent_chunks(sent);
    chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"][key].as_str()).collect()
}

const DONE: &str = "data: [DONE]\n\n";

#[test]
fn lets_a_good_stream_through_byte_for_byte() {
    let events = [
        ": OPENROUTER PROCESSING\n\n".to_owned(),
        event(&json!({"role": "assistant", "content": "", "reasoning_content": null}), None),
        event(&json!({"reasoning_content": "think about a falcon"}), None),
        event(&json!({"content": "the forbidden"}), None),
        event(&json!({"content": " fruit"}), None),
        event(&json!({}), Some("stop")),
        DONE.to_owned(),
    ];
    let run = run(&enforce(), &events);
    assert_eq!(run.sent, events.concat());
    assert!(!run.stopped);
    assert_eq!((run.report.verdict, run.report.action), (Verdict::Pass, Action::Forward));
}

#[test]
fn holds_only_what_can_still_become_a_match() {
    let (mut session, delivery) = start(&enforce(), "text/event-stream");
    assert_eq!(delivery, Delivery::Held);
    let now = some_time();
    let mut steps = Vec::new();
    for text in ["the ", "forb", "idden", " fal", "afel", " and a", " for", " you"] {
        session.on_chunk(now, event(&json!({"content": text}), None).into());
        let mut sent = String::new();
        drain(&mut session, &mut sent);
        steps.push(sent_text(&sent, "content"));
    }
    assert_eq!(steps, ["the ", "", "", "", "forbidden falafel", " and a", "", " for you"]);
}

#[test]
fn sees_what_lies_across_the_end_of_the_thinking() {
    let block = |events: &[String]| run(&enforce(), events);
    let field = [
        event(&json!({"reasoning_content": "we take the forbidden"}), None),
        event(&json!({"content": "\n\n"}), None),
        event(&json!({"content": "falcon "}), None),
    ];
    let tags = [
        event(&json!({"content": "<think>we take the forbidden"}), None),
        event(&json!({"content": "</think>\n"}), None),
        event(&json!({"content": "falcon now"}), None),
    ];
    for events in [&field, &tags] {
        let run = block(events);
        assert!(run.stopped && !run.sent.contains("forbidden"), "{}", run.sent);
        let found: Vec<_> = run.report.choices.iter().flat_map(|choice| &choice.findings).collect();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].channel, found[0].start), (Channel::Answer, 0));
    }
    // What ends otherwise is let through whole, tool calls without waiting.
    let harmless = [&field[0], &event(&json!({"content": "bird"}), None)].map(String::clone);
    assert_eq!(block(&harmless).sent, harmless.concat());
    let call = json!({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{}"}}]});
    let tool = [field[0].clone(), event(&call, None), event(&json!({"content": "falcon "}), None)];
    assert_eq!(block(&tool).sent, tool.concat());
}

#[test]
fn masks_both_sides_of_the_end_of_the_thinking() {
    let events = [
        event(&json!({"reasoning": "at the old sesame"}), None),
        event(&json!({"content": "street, now"}), None),
    ];
    let run = run(&enforce(), &events);
    assert_eq!(sent_text(&run.sent, "reasoning"), "at the old [redacted]");
    assert_eq!(sent_text(&run.sent, "content"), "[redacted], now");
}

#[test]
fn ends_mid_thinking_with_a_notice_and_mid_answer_without() {
    let thinking = [
        event(&json!({"role": "assistant", "content": ""}), None),
        event(&json!({"reasoning_content": "a safe thought, then the forbidden"}), None),
        event(&json!({"reasoning_content": " falcon, which"}), None),
        event(&json!({"content": "never seen"}), None),
    ];
    let run_thinking = run(&enforce(), &thinking);
    assert!(run_thinking.stopped);
    assert!(!run_thinking.sent.contains("forbidden"));
    assert_eq!(sent_text(&run_thinking.sent, "content"), DEFAULT_NOTICE);
    assert!(run_thinking.sent.ends_with(DONE));
    let chunks = sent_chunks(&run_thinking.sent);
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "content_filter");
    assert!(
        chunks
            .iter()
            .all(|chunk| chunk["id"] == "up-1" && chunk["created"] == 7 && chunk["model"] == "m")
    );
    assert_eq!(run_thinking.report.action, Action::Block);

    let answer = [
        event(&json!({"role": "assistant", "content": "Sure. "}), None),
        event(&json!({"content": "The forbidden falcon "}), None),
        event(&json!({"content": "flies"}), None),
    ];
    let run_answer = run(&enforce(), &answer);
    assert_eq!(sent_text(&run_answer.sent, "content"), "Sure. ");
    assert!(run_answer.sent.contains("content_filter"));
}

#[test]
fn begins_the_stream_itself_when_nothing_was_sent() {
    let run = run(&enforce(), &[event(&json!({"content": "forbidden falcon "}), None)]);
    let chunks = sent_chunks(&run.sent);
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(chunks[1]["choices"][0]["delta"]["content"], DEFAULT_NOTICE);
    assert_eq!(chunks[2]["choices"][0]["finish_reason"], "content_filter");
    assert_eq!(chunks.len(), 3);
}

#[test]
fn ends_every_choice_that_is_not_finished() {
    let events = [
        event_of(0, &json!({"content": "done"}), Some("stop")),
        event_of(1, &json!({"content": "half "}), None),
        event_of(2, &json!({"content": "forbidden falcon."}), None),
    ];
    let run = run(&enforce(), &events);
    let ends: Vec<(u64, String)> = sent_chunks(&run.sent)
        .iter()
        .filter_map(|chunk| {
            let choice = &chunk["choices"][0];
            Some((choice["index"].as_u64()?, choice["finish_reason"].as_str()?.to_owned()))
        })
        .collect();
    assert_eq!(
        ends,
        [(0, "stop".into()), (1, "content_filter".into()), (2, "content_filter".into())]
    );
    let notices: Vec<u64> = sent_chunks(&run.sent)
        .iter()
        .filter(|chunk| chunk["choices"][0]["delta"]["content"] == DEFAULT_NOTICE)
        .map(|chunk| chunk["choices"][0]["index"].as_u64().unwrap())
        .collect();
    assert_eq!(notices, [2]);
}

#[test]
fn closes_the_tag_before_the_notice_where_content_is_inside_the_thinking() {
    let thought = event(&json!({"content": "<think>a thought. "}), None);
    // The frame that is dropped may hold the tag.
    for bad in ["forbidden falcon.", "</think>A forbidden falcon."] {
        let run = run(&enforce(), &[thought.clone(), event(&json!({"content": bad}), None)]);
        let expected = format!("<think>a thought. </think>{DEFAULT_NOTICE}");
        assert_eq!(sent_text(&run.sent, "content"), expected);
    }
}

#[test]
fn masks_a_span_wherever_it_stands() {
    let delta = |text: &str| json!({"reasoning": text, "reasoning_details": [{"type": "reasoning.text", "text": text}]});
    let events = [
        event(&delta("go to sesame"), None),
        event(&delta(" street, "), None),
        event(&json!({"content": "ok"}), Some("stop")),
        DONE.to_owned(),
    ];
    let run = run(&enforce(), &events);
    assert_eq!(sent_text(&run.sent, "reasoning"), "go to [redacted], ");
    assert!(!run.sent.contains("sesame") && !run.sent.contains("street"));
    assert!(run.sent.contains("\"text\":\"go to [redacted]\""));
    assert_eq!(run.report.action, Action::Redact);
}

#[test]
fn drops_the_logprobs_of_a_masked_span() {
    let entry = |token: &str| json!({"token": token, "logprob": -0.1, "bytes": token.as_bytes(), "top_logprobs": []});
    let tokens = ["at ", "sesame", " street", "!"];
    let choice = json!({
        "index": 0, "delta": {"content": "at sesame street!"}, "finish_reason": null,
        "logprobs": {"content": tokens.map(entry)},
    });
    let events =
        [format!("data: {}\n\n", json!({"id": "x", "choices": [choice]})), DONE.to_owned()];
    let run = run(&enforce(), &events);
    let chunk = &sent_chunks(&run.sent)[0]["choices"][0];
    assert_eq!(chunk["delta"]["content"], "at [redacted]!");
    let left: Vec<&str> = chunk["logprobs"]["content"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["token"].as_str().unwrap())
        .collect();
    assert_eq!(left, ["at ", "!"]);
}

#[test]
fn holds_tool_arguments_to_the_end_of_the_call() {
    let call = |arguments: &str| json!({"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]});
    let (mut session, _) = start(&enforce(), "text/event-stream");
    let now = some_time();
    let mut sent = String::new();
    for arguments in ["{\"a\":", "\"harmless\"}"] {
        session.on_chunk(now, event(&call(arguments), None).into());
        drain(&mut session, &mut sent);
        assert_eq!(sent, "");
    }
    session.on_chunk(now, event(&json!({}), Some("tool_calls")).into());
    drain(&mut session, &mut sent);
    assert_eq!(sent_chunks(&sent).len(), 3);

    let events = [
        event(&call("{\"q\":\"forbidden"), None),
        event(&call(" falcon\"}"), None),
        event(&json!({}), Some("tool_calls")),
    ];
    let blocked = run(&enforce(), &events);
    assert!(!blocked.sent.contains("tool_calls") && blocked.sent.contains("content_filter"));
}

#[test]
fn answers_whole_bodies_whole() {
    let body = |content: &str| {
        json!({"id": "b", "created": 3, "model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}], "usage": {"total_tokens": 5}}).to_string()
    };
    let good = body("all is well");
    let passed = run_chunks(&enforce(), "application/json", &[good.as_bytes()]);
    assert_eq!(passed.sent, good);
    let blocked =
        run_chunks(&enforce(), "application/json", &[body("the forbidden falcon").as_bytes()]);
    let response = blocked.responded.unwrap();
    assert_eq!(response.status, 200);
    let answer: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(answer["choices"][0]["message"]["content"], DEFAULT_NOTICE);
    assert_eq!(answer["choices"][0]["finish_reason"], "content_filter");
    assert_eq!((&answer["id"], &answer["usage"]["total_tokens"]), (&json!("b"), &json!(5)));
    let masked =
        run_chunks(&enforce(), "application/json", &[body("at sesame street now").as_bytes()]);
    assert_eq!(masked.sent, body("at [redacted] now"));
}

#[test]
fn blocks_what_nobody_can_read_unless_policy_lets_it_pass() {
    let unreadable = [
        ("text/event-stream", "data: {broken\n\n", UnscannedReason::Shape),
        ("text/event-stream", "data: {\"type\":\"message_start\"}\n\n", UnscannedReason::Shape),
        ("application/json", "<html>oops</html>", UnscannedReason::ContentType),
    ];
    let lax = plan(
        Policy { mode: Mode::Enforce, on_unscanned: OnUnscanned::Pass, ..Policy::default() },
        Settings::default(),
    );
    for (content_type, body, reason) in unreadable {
        let blocked = run_chunks(&enforce(), content_type, &[body.as_bytes()]);
        assert!(blocked.stopped, "{body}");
        assert_eq!(blocked.report.action, Action::FailClosed);
        let passed = run_chunks(&lax, content_type, &[body.as_bytes()]);
        assert_eq!(passed.sent, body);
        assert_eq!(passed.report.bytes.unscanned.get(&(None, reason)), Some(&(body.len() as u64)));
    }
}

#[test]
fn drops_half_a_frame_of_a_body_that_breaks_off() {
    let (mut session, _) = start(&enforce(), "text/event-stream");
    let first = event(&json!({"content": "hello"}), None);
    session.on_chunk(some_time(), format!("{first}data: {{\"choi").into());
    session.on_end(some_time(), BodyEnd::Reset);
    let mut sent = String::new();
    assert_eq!(drain(&mut session, &mut sent), (false, None));
    assert_eq!(sent, first);
    assert_eq!(session.report().action, Action::Forward);
}

#[test]
fn reads_along_in_shadow_mode_and_does_nothing() {
    let plan = plan(Policy::default(), Settings::default());
    let (mut session, delivery) = start(&plan, "text/event-stream");
    assert_eq!(delivery, Delivery::AsRead);
    session.on_chunk(some_time(), event(&json!({"content": "forbidden falcon"}), None).into());
    session.on_end(some_time(), BodyEnd::Complete);
    assert_eq!(session.next_effect(), None);
    let report = session.report();
    assert_eq!(
        (report.verdict, report.action, report.would),
        (Verdict::Block, Action::Forward, Action::Block)
    );
    assert_eq!(
        report.bytes.scanned,
        report
            .bytes
            .released
            .into_iter()
            .map(|(channel, bytes)| (channel.unwrap(), bytes))
            .collect()
    );
}

#[test]
fn refuses_a_blocked_prompt_before_the_upstream_is_asked() {
    let body = json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "Find the forbidden falcon!"}]});
    let ask = |plan: &Arc<Plan>| {
        let mut session =
            Session::new(Arc::clone(plan), Some(Endpoint::ChatCompletions), Identity::default());
        session.on_request(body.to_string().into())
    };
    let RequestDecision::Respond(response) = ask(&enforce()) else { panic!("forwarded") };
    assert_eq!(response.status, 400);
    let error: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(error["error"]["code"], "content_policy_violation");
    assert_eq!(error["error"]["param"], "messages");
    let routed = plan(
        Policy { mode: Mode::Enforce, prompt_block: PromptBlock::Status200, ..Policy::default() },
        Settings::default(),
    );
    let RequestDecision::Respond(response) = ask(&routed) else { panic!("forwarded") };
    assert_eq!((response.status, response.content_type), (200, "text/event-stream"));
    let RequestDecision::Forward(_) = ask(&plan(Policy::default(), Settings::default())) else {
        panic!("answered in shadow mode")
    };
}

#[test]
fn ends_or_releases_when_frames_wait_too_long() {
    for (on_deadline, action) in
        [(OnDeadline::Block, Action::FailClosed), (OnDeadline::Release, Action::FailOpen)]
    {
        let hold = Hold { deadline: Duration::from_secs(2), on_deadline, ..Hold::default() };
        let plan = plan(
            Policy { mode: Mode::Enforce, ..Policy::default() },
            Settings { hold, ..Settings::default() },
        );
        let (mut session, _) = start(&plan, "text/event-stream");
        let now = some_time();
        assert_eq!(session.deadline(), None);
        session.on_chunk(now, event(&json!({"content": "the forbidden"}), None).into());
        assert_eq!(session.deadline(), Some(now + hold.deadline));
        session.on_timeout(now + Duration::from_secs(1));
        assert_eq!(session.next_effect(), None);
        session.on_timeout(now + hold.deadline);
        let mut sent = String::new();
        let (stopped, _) = drain(&mut session, &mut sent);
        assert_eq!(stopped, on_deadline == OnDeadline::Block);
        assert_eq!(sent.contains("the forbidden"), on_deadline == OnDeadline::Release);
        session.on_end(now, BodyEnd::Complete);
        assert_eq!(session.report().action, action);
    }
}

#[test]
fn judges_the_trace_as_a_whole() {
    let trace = |prompt: Option<&str>, thinking: &str, answer: &str| {
        let plan = plan(Policy::default(), Settings::default());
        let mut session = Session::new(plan, None, Identity::default());
        session.on_trace(prompt, Some(thinking), Some(answer));
        session.report().choices[0].outcome
    };
    let harmless = Some("a question");
    let risky = Some("flag me");
    assert_eq!(trace(harmless, "fine", "well"), Outcome::Benign);
    assert_eq!(trace(risky, "this is risky", "no"), Outcome::SafetyAware);
    assert_eq!(trace(harmless, "flag me", "no"), Outcome::LeakyThinking);
    assert_eq!(trace(risky, "fine", "well"), Outcome::Superficial);
    assert_eq!(trace(None, "this is risky but", "flag me"), Outcome::SelfJailbreak);
    assert_eq!(trace(None, "flag me, this is risky", "flag me"), Outcome::Unsafe);
    assert_eq!(trace(None, "fine", "flag me"), Outcome::Unsafe);
    assert_eq!(trace(harmless, "this is risky", "I cannot help"), Outcome::OverSensitive);
}

#[test]
fn reads_undecided_content_under_both_channels_rules() {
    // The rule looks at thinking alone; content without a tag may still turn out to be thinking.
    let run = run(
        &plan(Policy::default(), Settings::default()),
        &[
            event(&json!({"content": "this is risky"}), None),
            event(&json!({"content": " indeed</think>I cannot help"}), None),
        ],
    );
    let choice = &run.report.choices[0];
    assert_eq!(choice.thinking.text.as_deref(), Some("this is risky indeed"));
    assert!(choice.thinking.safety_thinking > 0.0 && choice.answer.refusal > 0.0);
}

#[test]
fn takes_equal_reasoning_once_and_reads_what_differs_beside_it() {
    let shadow = plan(Policy::default(), Settings::default());
    let run = run(
        &shadow,
        &[
            event(&json!({"reasoning_content": "one ", "reasoning": "one "}), None),
            event(&json!({"reasoning_content": "two", "reasoning": "please flag"}), None),
            event(&json!({"reasoning": " me now", "reasoning_content": " three"}), None),
        ],
    );
    let choice = &run.report.choices[0];
    assert_eq!(choice.thinking.text.as_deref(), Some("one two three"));
    assert_eq!(choice.thinking.verdict, Verdict::Flag);
    assert_eq!(choice.findings.len(), 1);
    assert!(choice.findings[0].repeat);
}

#[test]
fn reads_a_cumulative_message_only_where_it_says_something_else() {
    let with_message = |content: &str, message: &str| {
        let choice =
            json!({"index": 0, "delta": {"content": content}, "message": {"content": message}});
        format!("data: {}\n\n", json!({"choices": [choice]}))
    };
    let shadow = plan(Policy::default(), Settings::default());
    let events = [with_message("flag ", "flag "), with_message("me now", "flag me now")];
    let copied = run(&shadow, &events);
    assert_eq!(copied.report.choices[0].findings.len(), 1);
    assert!(!copied.report.choices[0].findings[0].repeat);
    let other = run(&shadow, &[with_message("a ", "a "), with_message("b", "flag me now")]);
    assert_eq!(other.report.choices[0].answer.text.as_deref(), Some("a b"));
    assert!(other.report.choices[0].findings[0].repeat);
}

#[test]
fn calls_a_choice_with_encrypted_thinking_unjudged_and_one_with_an_unknown_field_what_it_is() {
    let shadow = plan(Policy::default(), Settings::default());
    let sealed = json!({"reasoning_details": [{"type": "reasoning.encrypted", "data": "gAAAA"}]});
    let run_sealed = run(&shadow, &[event(&sealed, None), event(&json!({"content": "ok"}), None)]);
    assert_eq!(run_sealed.report.choices[0].outcome, Outcome::Unjudged);
    let run_novel = run(&shadow, &[event(&json!({"content": "ok", "novel": "text"}), None)]);
    assert_eq!(run_novel.report.choices[0].outcome, Outcome::Benign);
    assert_eq!(run_novel.report.bytes.unscanned.get(&(None, UnscannedReason::Field)), Some(&6));
}

/// Text made of pieces that nearly match.
fn texts() -> impl Strategy<Value = Vec<String>> {
    let piece = prop::sample::select(vec![
        "for",
        "bidden",
        " ",
        "forbidden",
        "fal",
        "con",
        "falcon-",
        "12",
        "345",
        "sesame",
        " street",
        "x",
        "é",
        "禁",
        "</think>",
        "<thi",
        "nk>",
    ]);
    prop::collection::vec(
        prop::collection::vec(piece, 0..3).prop_map(|pieces| pieces.concat()),
        1..12,
    )
}

/// The text with every span of a redaction masked.
fn masked(whole: &str, findings: &[crate::record::Finding]) -> String {
    let mut masked = String::new();
    let mut at = 0;
    for finding in findings.iter().filter(|finding| finding.verdict == Verdict::Redact) {
        let start = usize::try_from(finding.start).unwrap();
        masked.push_str(&whole[at..start]);
        masked.push_str(MASK);
        at = usize::try_from(finding.end).unwrap();
    }
    masked + &whole[at..]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn never_releases_a_byte_of_what_blocks_or_is_masked(deltas in texts(), key in prop::sample::select(vec!["content", "reasoning_content"])) {
        let mut events: Vec<String> = deltas.iter().map(|text| event(&json!({key: text}), None)).collect();
        events.push(event(&json!({}), Some("stop")));
        events.push(DONE.to_owned());
        let shadow = run(&plan(Policy::default(), Settings::default()), &events);
        let enforced = run(&enforce(), &events);
        let sent = sent_text(&enforced.sent, key);
        let whole = deltas.concat();
        let findings: Vec<_> = shadow.report.choices.iter().flat_map(|choice| choice.findings.clone()).collect();
        let blocks = findings.iter().any(|finding| finding.verdict == Verdict::Block);
        prop_assert_eq!(enforced.stopped, blocks);
        if !blocks && findings.is_empty() {
            prop_assert_eq!(&enforced.sent, &events.concat());
        }
        let tagged = key == "content" && whole.contains(['<', '>']);
        if !blocks && !tagged {
            prop_assert_eq!(&sent, &masked(&whole, &findings));
        }
        if blocks && !tagged {
            let sent = sent.strip_suffix(DEFAULT_NOTICE).unwrap_or(&sent);
            let first = findings.iter().filter(|finding| finding.verdict == Verdict::Block).map(|finding| finding.start).min();
            let before = usize::try_from(first.unwrap()).unwrap();
            let earlier: Vec<_> = findings.iter().filter(|finding| finding.end <= first.unwrap()).cloned().collect();
            let allowed = masked(&whole[..before], &earlier);
            prop_assert!(allowed.starts_with(sent), "{} of {}", sent, allowed);
        }
    }

    #[test]
    fn any_cut_of_the_bytes_gives_the_same_findings_and_the_same_bytes(deltas in texts(), cuts in prop::collection::vec(0..2000usize, 0..12)) {
        let mut body = String::new();
        for text in &deltas {
            body.push_str(&event(&json!({"content": text}), None));
        }
        write!(body, "{DONE}").unwrap();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
        cuts.sort_unstable();
        cuts.push(body.len());
        let mut begin = 0;
        let mut chunks: Vec<&[u8]> = Vec::new();
        for end in cuts {
            chunks.push(&body.as_bytes()[begin..end]);
            begin = end;
        }
        let cut = run_chunks(&enforce(), "text/event-stream", &chunks);
        let whole = run_chunks(&enforce(), "text/event-stream", &[body.as_bytes()]);
        prop_assert_eq!(cut.sent, whole.sent);
        prop_assert_eq!(cut.report.choices, whole.report.choices);
    }
}
