//! What a guard model elsewhere is asked, and what becomes of its answers.

use super::*;
use crate::{
    classify::CHANNELS,
    consult::{Asked, Guard, Opinion, Risk},
    policy::{OnFailure, OutcomeAction},
    record::RemoteFailure,
    rules::{Category, RuleAction},
};

fn consultant() -> Consultant {
    Consultant {
        guard: Guard::Qwen3Guard,
        action: RuleAction::Flag,
        on_failure: OnFailure::Closed,
        channels: CHANNELS.to_vec(),
        every_chars: None,
        max_chars: 100,
    }
}

fn asking(mode: Mode, consultant: Consultant) -> Session {
    let rules = Arc::new(RuleSet::compile(Vec::new()).unwrap());
    let policy = Policy { mode, ..Policy::default() };
    let plan = Plan::new(rules, policy, Settings::default()).with_consultant(consultant);
    start(&Arc::new(plan), "text/event-stream").0
}

fn say(session: &mut Session, key: &str, text: &str) {
    session.on_chunk(some_time(), event(&json!({key: text}), None).into());
}

fn prompt(session: &mut Session, text: &str) {
    let body = json!({"messages": [{"role": "user", "content": text}]}).to_string();
    assert!(matches!(session.on_request(body.into()), RequestDecision::Forward(_)));
}

fn end(session: &mut Session) {
    session.on_end(some_time(), BodyEnd::Complete);
}

/// What is asked, with its number.
fn questions(session: &mut Session) -> Vec<(u64, String)> {
    std::iter::from_fn(|| session.next_question())
        .map(|question| (question.id, question.text))
        .collect()
}

fn texts(session: &mut Session) -> Vec<String> {
    questions(session).into_iter().map(|(_, text)| text).collect()
}

fn opinion(risk: Risk, categories: &[Category]) -> Opinion {
    Opinion { risk, categories: categories.to_vec(), refusal: false }
}

fn unscanned(report: &ExchangeReport, channel: Channel) -> Option<u64> {
    report.bytes.unscanned.get(&(Some(channel), UnscannedReason::DetectorFailed)).copied()
}

#[test]
fn asks_about_the_prompt_and_about_each_channel_at_its_end() {
    let mut session = asking(Mode::Shadow, consultant());
    prompt(&mut session, "what is it?");
    let first = session.next_question().unwrap();
    assert_eq!((first.asked, first.text.as_str()), (Asked::Prompt, "what is it?"));
    say(&mut session, "reasoning_content", "let us ");
    say(&mut session, "reasoning_content", "see");
    assert_eq!(session.next_question(), None);
    say(&mut session, "content", "it is");
    let second = session.next_question().unwrap();
    assert_eq!((second.asked, second.text.as_str()), (Asked::Response, "let us see"));
    assert_eq!(second.prompt, "what is it?");
    assert_eq!(session.next_question(), None);
    end(&mut session);
    assert_eq!(texts(&mut session), ["it is"]);
}

#[test]
fn asks_every_so_many_characters_with_what_came_before() {
    let consultant = Consultant { every_chars: Some(4), max_chars: 6, ..consultant() };
    for step in 1..12 {
        let mut session = asking(Mode::Shadow, consultant.clone());
        for piece in "ab制de1234-x".chars().collect::<Vec<_>>().chunks(step) {
            say(&mut session, "content", &piece.iter().collect::<String>());
        }
        assert_eq!(texts(&mut session), ["ab制d", "制de123"]);
        end(&mut session);
        assert_eq!(texts(&mut session), ["234-x"], "{step}");
    }
}

#[test]
fn asks_about_all_of_a_text_that_is_longer_than_a_question() {
    let consultant = Consultant { max_chars: 4, ..consultant() };
    let mut session = asking(Mode::Shadow, consultant);
    session.on_trace(None, Some("0123456789"), None);
    assert_eq!(texts(&mut session), ["0123", "4567", "89"]);
}

#[test]
fn asks_only_about_the_channels_that_it_may() {
    let consultant = Consultant { channels: vec![Channel::Answer], ..consultant() };
    let mut session = asking(Mode::Shadow, consultant);
    prompt(&mut session, "what is it?");
    session.on_trace(None, Some("a thought"), Some("an answer"));
    assert_eq!(texts(&mut session), ["an answer"]);
}

#[test]
fn an_opinion_is_a_finding_about_what_was_asked() {
    let consultant = Consultant { max_chars: 4, ..consultant() };
    let mut session = asking(Mode::Shadow, consultant);
    session.on_trace(None, Some("制bcdefg"), Some("no"));
    let asked = questions(&mut session);
    let now = some_time();
    let unsafe_ = opinion(Risk::Unsafe, &[Category::Cbrn, Category::Cybercrime]);
    session.on_opinion(now, asked[1].0, Ok(unsafe_));
    session.on_opinion(now, asked[0].0, Ok(opinion(Risk::Safe, &[])));
    let refusal = Opinion { refusal: true, ..opinion(Risk::Controversial, &[]) };
    session.on_opinion(now, asked[2].0, Ok(refusal));
    // Answered already, and never asked.
    session.on_opinion(now, asked[2].0, Ok(opinion(Risk::Unsafe, &[])));
    session.on_opinion(now, 99, Ok(opinion(Risk::Unsafe, &[])));
    let told = session.take_progress().findings;
    let report = session.report();
    let choice = &report.choices[0];
    assert_eq!(told.len(), choice.findings.len());
    let found: Vec<_> = choice
        .findings
        .iter()
        .map(|finding| (finding.id.as_str(), finding.start, finding.end, finding.end_char))
        .collect();
    let expected =
        [("cbrn", 6, 9, 7), ("cybercrime", 6, 9, 7), ("risk", 0, 2, 2), ("refusal", 0, 2, 2)];
    assert_eq!(found, expected);
    assert!(choice.findings.iter().all(|finding| finding.detector == "remote"));
    assert!((choice.thinking.risk - 0.99).abs() < 1e-9, "{}", choice.thinking.risk);
    assert_eq!((choice.thinking.verdict, choice.answer.verdict), (Verdict::Flag, Verdict::Flag));
    assert_eq!(choice.thinking.first_flag_char, Some(7));
    assert_eq!((report.action, unscanned(&report, Channel::Thinking)), (Action::Forward, None));
}

#[test]
fn what_is_undecided_is_counted_to_what_it_turns_out_to_be() {
    let consultant = Consultant { every_chars: Some(5), ..consultant() };
    let mut session = asking(Mode::Shadow, consultant);
    say(&mut session, "content", "so it is");
    let asked = questions(&mut session);
    assert_eq!(asked.len(), 1);
    session.on_opinion(some_time(), asked[0].0, Ok(opinion(Risk::Unsafe, &[])));
    assert_eq!(session.take_progress().findings, []);
    say(&mut session, "content", "</think>yes");
    end(&mut session);
    assert_eq!(session.take_progress().findings[0].channel, Channel::Thinking);
    for (id, _) in questions(&mut session) {
        session.on_opinion(some_time(), id, Ok(opinion(Risk::Safe, &[])));
    }
    let report = session.report();
    assert_eq!(report.choices[0].outcome, Outcome::LeakyThinking);
    assert_eq!(report.bytes.scanned[&Channel::Thinking], 8);
}

#[test]
fn an_answer_that_does_not_come_leaves_its_text_unscanned_and_the_choice_unjudged() {
    let consultant = Consultant { max_chars: 4, ..consultant() };
    for fails in [true, false] {
        let mut session = asking(Mode::Shadow, consultant.clone());
        session.on_trace(None, Some("0123456789"), Some("yes"));
        let asked = questions(&mut session);
        let now = some_time();
        for place in [0, 2, 3] {
            session.on_opinion(now, asked[place].0, Ok(opinion(Risk::Safe, &[])));
        }
        let before = session.take_progress().bytes.scanned[&Channel::Thinking];
        assert_eq!(before, 4);
        if fails {
            session.on_opinion(now, asked[1].0, Err(RemoteFailure::Timeout));
        }
        let report = session.report();
        // What lies behind a gap is not called scanned.
        assert_eq!(report.bytes.scanned[&Channel::Thinking], 4);
        assert_eq!(unscanned(&report, Channel::Thinking), Some(6));
        assert_eq!(unscanned(&report, Channel::Answer), None);
        assert_eq!(report.choices[0].outcome, Outcome::Unjudged);
    }
}

#[test]
fn where_it_enforces_it_ends_the_exchange_when_the_answer_comes() {
    let consultant = Consultant { action: RuleAction::Block, every_chars: Some(4), ..consultant() };
    for (risk, stopped) in [(Risk::Unsafe, true), (Risk::Controversial, false), (Risk::Safe, false)]
    {
        let mut session = asking(Mode::Enforce, consultant.clone());
        assert!(session.acts_on_scores());
        say(&mut session, "content", "so it is");
        let mut sent = String::new();
        assert!(!drain(&mut session, &mut sent).0);
        let asked = questions(&mut session);
        session.on_opinion(some_time(), asked[0].0, Ok(opinion(risk, &[])));
        assert_eq!(drain(&mut session, &mut sent).0, stopped, "{risk:?}");
        let action = if stopped { Action::Block } else { Action::Forward };
        assert_eq!(session.report().action, action);
    }
}

#[test]
fn where_it_enforces_a_failure_ends_the_exchange_or_is_recorded_as_having_let_it_pass() {
    use RemoteFailure::{Connection, Malformed, Overflow, Status, Timeout, TooLarge};
    for failure in [Connection, Malformed, Overflow, Status, Timeout, TooLarge] {
        for (on_failure, action) in
            [(OnFailure::Open, Action::FailOpen), (OnFailure::Closed, Action::FailClosed)]
        {
            let action_of = RuleAction::Block;
            let consultant =
                Consultant { action: action_of, on_failure, every_chars: Some(4), ..consultant() };
            let mut session = asking(Mode::Enforce, consultant);
            say(&mut session, "content", "so it is");
            let asked = questions(&mut session);
            session.on_opinion(some_time(), asked[0].0, Err(failure));
            let mut sent = String::new();
            let stopped = drain(&mut session, &mut sent).0;
            assert_eq!(stopped, on_failure == OnFailure::Closed, "{failure:?}");
            end(&mut session);
            let report = session.report();
            assert_eq!((report.action, report.choices[0].outcome), (action, Outcome::Unjudged));
            assert_eq!(unscanned(&report, Channel::Answer), Some(8));
        }
    }
}

#[test]
fn thinking_that_it_calls_unsafe_is_hidden_where_policy_says_so() {
    let mut policy = Policy { mode: Mode::Enforce, ..Policy::default() };
    policy.outcomes.set(Outcome::LeakyThinking, OutcomeAction::Hide).unwrap();
    let rules = Arc::new(RuleSet::compile(Vec::new()).unwrap());
    let consultant = Consultant { action: RuleAction::Block, every_chars: Some(4), ..consultant() };
    let plan = Plan::new(rules, policy, Settings::default()).with_consultant(consultant);
    let mut session = start(&Arc::new(plan), "text/event-stream").0;
    say(&mut session, "reasoning_content", "what");
    let [(id, _)] = questions(&mut session)[..] else { panic!("one question") };
    session.on_opinion(some_time(), id, Ok(opinion(Risk::Unsafe, &[])));
    say(&mut session, "reasoning_content", "ever");
    say(&mut session, "content", "42");
    let mut sent = String::new();
    assert_eq!(drain(&mut session, &mut sent), (false, None));
    assert_eq!(sent_text(&sent, "reasoning_content"), "what");
    assert_eq!(sent_text(&sent, "content"), "42");
}
