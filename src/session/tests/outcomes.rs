//! What is done about the outcome of a trace.

use super::*;
use crate::policy::OutcomeAction;

fn acting(mode: Mode, actions: &[(Outcome, OutcomeAction)], tell: bool) -> Arc<Plan> {
    let mut policy = Policy { mode, ..Policy::default() };
    for &(outcome, action) in actions {
        policy.outcomes.set(outcome, action).unwrap();
    }
    policy.outcomes.tell = tell;
    plan(policy, Settings::default())
}

fn enforcing(outcome: Outcome, action: OutcomeAction) -> Arc<Plan> {
    acting(Mode::Enforce, &[(outcome, action)], false)
}

fn thought(text: &str) -> String {
    event(&json!({"reasoning_content": text}), None)
}

fn said(text: &str) -> String {
    event(&json!({"content": text}), None)
}

fn end() -> [String; 2] {
    [event(&json!({}), Some("stop")), DONE.to_owned()]
}

#[test]
fn ends_the_stream_where_the_model_overrides_itself() {
    let events = [
        thought("this is risky, so no. "),
        thought("but it is only a game, "),
        thought("go on"),
        said("never seen"),
    ];
    let plan = enforcing(Outcome::SelfJailbreak, OutcomeAction::Block);
    let ended = run(&plan, &events);
    assert!(ended.stopped);
    assert_eq!(sent_text(&ended.sent, "reasoning_content"), "this is risky, so no. ");
    assert_eq!(sent_text(&ended.sent, "content"), DEFAULT_NOTICE);
    let report = ended.report;
    assert_eq!((report.action, report.verdict), (Action::Block, Verdict::Block));
    let act = report.outcome_act.unwrap();
    assert_eq!(
        (act.outcome, act.channel, act.char),
        (Outcome::SelfJailbreak, Channel::Thinking, 43)
    );
    assert_eq!(report.cut.map(|cut| (cut.channel, cut.char)), Some((Channel::Thinking, 43)));
    // Without safety thinking before it, nothing is overridden.
    let innocent = [&[thought("but it is only a game")][..], &[said("ok")], &end()].concat();
    let passed = run(&plan, &innocent);
    assert_eq!((passed.sent, passed.report.outcome_act), (innocent.concat(), None));
}

#[test]
fn ends_the_stream_where_the_answer_is_what_the_thinking_saw() {
    let events = [thought("this is risky"), said("Sure: "), said("flag me now"), said(" and more")];
    let ended = run(&enforcing(Outcome::SelfJailbreak, OutcomeAction::Block), &events);
    assert_eq!((ended.stopped, sent_text(&ended.sent, "content")), (true, "Sure: ".to_owned()));
    assert_eq!(ended.report.choices[0].outcome, Outcome::SelfJailbreak);
    let unseen = [said("Sure: "), said("flag me now"), said(" and more")];
    assert!(!run(&enforcing(Outcome::SelfJailbreak, OutcomeAction::Block), &unseen).stopped);
    assert!(run(&enforcing(Outcome::Unsafe, OutcomeAction::Block), &unseen).stopped);
}

#[test]
fn hides_the_rest_of_leaky_thinking_and_lets_the_answer_go_on() {
    let hiding = enforcing(Outcome::LeakyThinking, OutcomeAction::Hide);
    // One is flagged, the other would be blocked.
    for bad in ["flag me now", "the forbidden falcon"] {
        let events = [
            &[thought("hm. "), thought(bad), thought(" more")][..],
            &[said("A safe answer.")],
            &end(),
        ]
        .concat();
        let run = run(&hiding, &events);
        assert!(!run.stopped, "{bad}");
        assert_eq!(sent_text(&run.sent, "reasoning_content"), "hm. ");
        assert_eq!(run.sent, [&events[..1], &events[3..]].concat().concat());
        let report = run.report;
        assert_eq!((report.action, report.would), (Action::HideThinking, Action::HideThinking));
        assert_eq!((report.cut, report.choices[0].outcome), (None, Outcome::LeakyThinking));
        assert_eq!(report.bytes.released.get(&Some(Channel::Thinking)), Some(&4));
        assert_eq!(report.bytes.scanned.get(&Channel::Thinking), Some(&(9 + bad.len() as u64)));
    }
    // The answer is guarded as ever.
    let events = [thought("flag me now"), said("a forbidden falcon "), said("more")];
    let run = run(&hiding, &events);
    assert!(run.stopped && !run.sent.contains("forbidden"));
    assert_eq!(run.report.action, Action::Block);
}

#[test]
fn no_byte_of_a_flagged_match_leaves_where_its_outcome_acts() {
    let pieces = ["well, please fl", "ag ", "me", " now, "];
    let acting = [
        (Outcome::LeakyThinking, OutcomeAction::Hide, "reasoning_content"),
        (Outcome::LeakyThinking, OutcomeAction::Block, "reasoning_content"),
        (Outcome::Unsafe, OutcomeAction::Block, "content"),
    ];
    for (outcome, action, key) in acting {
        let mut events = vec![event(&json!({key: "first, "}), None)];
        events.extend(pieces.map(|piece| event(&json!({key: piece}), None)));
        let run = run(&enforcing(outcome, action), &events);
        assert_eq!(run.stopped, action == OutcomeAction::Block);
        assert_eq!(sent_text(&run.sent, key).replace(DEFAULT_NOTICE, ""), "first, ", "{outcome:?}");
    }
    // A tool call waits for its end.
    let call = |arguments: &str| json!({"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]});
    let events = [
        event(&call("{\"q\":\"flag"), None),
        event(&call(" me\"}"), None),
        event(&json!({}), Some("tool_calls")),
    ];
    let called = run(&enforcing(Outcome::Unsafe, OutcomeAction::Block), &events);
    assert!(called.stopped && !called.sent.contains("tool_calls"));
}

#[test]
fn leaves_no_tag_open_where_thinking_stands_in_content() {
    let hiding = enforcing(Outcome::LeakyThinking, OutcomeAction::Hide);
    let events = |first: &str| {
        let more = [said("flag me now"), said(" more"), said("</think>"), said("42")];
        [&[said(first)][..], &more, &end()].concat()
    };
    let begun = run(&hiding, &events("<think>hm. "));
    assert_eq!(sent_text(&begun.sent, "content"), "<think>hm. </think>42");
    assert_eq!(begun.report.bytes.released.get(&Some(Channel::Thinking)), Some(&4));
    // Nothing of it was sent: the tags go with it.
    let whole = run(
        &hiding,
        &[&[said("<think>flag me now")][..], &[said(" x</think>42")], &end()].concat(),
    );
    assert_eq!(sent_text(&whole.sent, "content"), "42");
    // A block behind it closes what is open.
    let cut = run(
        &hiding,
        &[said("<think>hm. "), said("flag me now "), said("</think>a forbidden falcon ")],
    );
    assert_eq!(sent_text(&cut.sent, "content"), format!("<think>hm. </think>{DEFAULT_NOTICE}"));
}

#[test]
fn thinking_that_was_sent_in_part_is_not_signed() {
    let signature = json!({"reasoning_details": [{"type": "reasoning.text", "signature": "c2ln"}]});
    let events = [
        event(
            &json!({"reasoning": "hm. ", "reasoning_details": [{"type": "reasoning.text", "text": "hm. "}]}),
            None,
        ),
        thought("flag me now"),
        event(&signature, None),
        said("42"),
    ];
    let run = run(&enforcing(Outcome::LeakyThinking, OutcomeAction::Hide), &events);
    assert!(run.stopped && !run.sent.contains("c2ln"));
}

#[test]
fn hides_all_of_it_in_a_whole_body() {
    let body = json!({"id": "b", "choices": [{"index": 0, "finish_reason": "stop",
        "message": {"role": "assistant", "content": "42", "reasoning_content": "so: flag me now"}}]});
    let hiding = enforcing(Outcome::LeakyThinking, OutcomeAction::Hide);
    let run = run_chunks(&hiding, "application/json", &[body.to_string().as_bytes()]);
    let sent: Value = serde_json::from_str(&run.sent).unwrap();
    assert_eq!(sent["choices"][0]["message"], json!({"role": "assistant", "content": "42"}));
}

#[test]
fn says_in_shadow_mode_what_it_would_have_done() {
    let block = [(Outcome::SelfJailbreak, OutcomeAction::Block)];
    let hide = [(Outcome::LeakyThinking, OutcomeAction::Hide)];
    let events = [
        &[thought("this is risky. but it is only a game")][..],
        &[thought(" flag me now"), said("ok")],
        &end(),
    ]
    .concat();
    for (actions, would, action) in [
        (&block, Action::Block, OutcomeAction::Block),
        (&hide, Action::HideThinking, OutcomeAction::Hide),
    ] {
        let run = run(&acting(Mode::Shadow, actions, true), &events);
        assert_eq!(run.sent, "", "the shell has forwarded it already");
        assert_eq!((run.report.action, run.report.would), (Action::Forward, would));
        assert_eq!(run.report.outcome_act.unwrap().action, action);
        assert_eq!(run.report.cut.is_some(), would == Action::Block);
    }
}

#[test]
fn an_outcome_that_is_flagged_is_a_verdict_and_nothing_more() {
    let plan = acting(Mode::Enforce, &[(Outcome::OverSensitive, OutcomeAction::Flag)], false);
    let events = [&[thought("this is risky"), said("I cannot help.")][..], &end()].concat();
    let mut session = start(&plan, "text/event-stream").0;
    let body = json!({"messages": [{"role": "user", "content": "hi"}]}).to_string();
    session.on_request(body.into());
    let mut sent = String::new();
    for event in &events {
        session.on_chunk(some_time(), event.clone().into());
    }
    drain(&mut session, &mut sent);
    let report = session.report();
    assert_eq!(sent, events.concat());
    assert_eq!(report.choices[0].outcome, Outcome::OverSensitive);
    assert_eq!((report.verdict, report.action), (Verdict::Flag, Action::Forward));
}

#[test]
fn only_findings_that_are_carried_out_count() {
    let mut policy = Policy { mode: Mode::Enforce, ..Policy::default() };
    policy.outcomes.set(Outcome::Unsafe, OutcomeAction::Block).unwrap();
    let shadow = crate::policy::CategoryPolicy { mode: Some(Mode::Shadow), action: None };
    policy.categories.insert(crate::rules::Category::Rumors, shadow);
    let run = run(&plan(policy, Settings::default()), &[said("flag me now"), said(" and more")]);
    assert!(!run.stopped && sent_text(&run.sent, "content").ends_with("more"));
}

#[test]
fn tells_the_outcome_in_the_last_choices_last_chunk_and_changes_nothing_else() {
    let telling = acting(Mode::Enforce, &[], true);
    let usage = format!("data: {}\n\n", json!({"choices": [], "usage": {"total_tokens": 3}}));
    let events = [
        thought("flag me now"),
        event_of(1, &json!({"content": "b"}), None),
        said("42"),
        event_of(1, &json!({}), Some("stop")),
        event(&json!({}), Some("stop")),
        usage,
        DONE.to_owned(),
    ];
    let sent = run(&telling, &events).sent;
    let told = "\"thinkgate\":{\"outcomes\":[{\"index\":0,\"outcome\":\"leaky_thinking\"},{\"index\":1,\"outcome\":\"benign\"}]}";
    let last = events[4].replace("}\n\n", &format!(",{told}}}\n\n"));
    let mut expected = events.to_vec();
    expected[4] = last;
    assert_eq!(sent, expected.concat());
    // A stream that never says that a choice is finished is told in a comment.
    let unfinished = [said("42"), DONE.to_owned()];
    let sent = run(&telling, &unfinished).sent;
    assert_eq!(sent, format!("{}: {OUTCOME_FIELD}: benign\n\n{DONE}", unfinished[0]));
}

#[test]
fn tells_the_outcome_of_a_whole_body_in_its_head() {
    let body = json!({"choices": [{"index": 0, "message": {"content": "flag me"}, "finish_reason": "stop"}]}).to_string();
    let (mut session, _) = start(&acting(Mode::Enforce, &[], true), "application/json");
    session.on_chunk(some_time(), body.clone().into());
    session.on_end(some_time(), BodyEnd::Complete);
    let effects: Vec<Effect> = std::iter::from_fn(|| session.next_effect()).collect();
    assert_eq!(effects, [Effect::Forward(body.into()), Effect::Tell("unsafe".into())]);
}
