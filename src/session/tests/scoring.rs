//! What a session does with scores, with those that are late, and with those that never come.
//!
//! The network of these tests hears each letter as a token, and only `!` as risky: with a mean of 0.6 at the ends of two
//! chunks of eight in a row a text is flagged.

use std::collections::BTreeMap;

use super::*;
use crate::{
    classify::{
        Batch, Network as _, Readers, Voice,
        tests::{Letters, Shouting, rubric, stages},
    },
    policy::{AskAgainWhen, ChannelPolicy, OnFailure, OutcomeAction},
    record::{ByteCounts, ClassifierFailure, HoldReason},
    rules::RuleAction,
};

const SECOND: Duration = Duration::from_secs(1);

const CHOICE: Voice = Voice::Choice(0);

/// Eight letters, all of them risky.
const LOUD: &str = "!!!!!!! ";

/// Eight letters, none of them risky.
const CALM: &str = "so calm ";

fn judge(hold: ClassifierHold, on_failure: OnFailure) -> Judge {
    Judge { hold, on_failure, ..Judge::new(rubric(), RuleAction::Block) }
}

fn judged_plan(policy: Policy, settings: Settings, judge: Judge) -> Arc<Plan> {
    let rules = Arc::new(RuleSet::compile(Vec::new()).unwrap());
    Arc::new(Plan::new(rules, policy, settings).with_classifier(judge))
}

fn enforcing(hold: ClassifierHold, on_failure: OnFailure) -> Arc<Plan> {
    let policy = Policy { mode: Mode::Enforce, ..Policy::default() };
    judged_plan(policy, Settings::default(), judge(hold, on_failure))
}

fn gate() -> Arc<Plan> {
    enforcing(ClassifierHold::Gate, OnFailure::Closed)
}

/// A session and what scores it.
struct Rig {
    session: Session,
    readers: Readers,
    now: Instant,
    sent: String,
    stopped: bool,
    /// All that the metrics were told.
    told: ByteCounts,
}

impl Rig {
    fn new(plan: &Arc<Plan>) -> Self {
        Self::reading(plan, "text/event-stream")
    }

    fn reading(plan: &Arc<Plan>, content_type: &str) -> Self {
        let (session, _) = start(plan, content_type);
        let readers = Readers::new(stages(), false);
        let readers = if session.gates() { readers.with_tails() } else { readers };
        let (sent, told) = (String::new(), ByteCounts::default());
        Self { session, readers, now: some_time(), sent, stopped: false, told }
    }

    fn say(&mut self, key: &str, text: &str) {
        self.read(&event(&json!({key: text}), None));
    }

    fn read(&mut self, wire: &str) {
        self.session.on_chunk(self.now, Bytes::copy_from_slice(wire.as_bytes()));
        self.take();
    }

    fn take(&mut self) {
        self.stopped |= drain(&mut self.session, &mut self.sent).0;
        let more = self.session.take_progress().bytes;
        add(&mut self.told.scanned, more.scanned);
        add(&mut self.told.released, more.released);
        add(&mut self.told.unscanned, more.unscanned);
    }

    /// Scores all that there is, and tells it.
    fn score(&mut self) {
        let mut network = Shouting::default();
        let mut batch = Batch::default();
        let mut voices = Vec::new();
        while let Some(passage) = self.session.next_passage() {
            voices.push(passage.voice);
            self.readers.take(&mut Letters, &passage).unwrap();
        }
        self.readers.run(&mut network, None, &mut batch).unwrap();
        self.readers.begin_tails(&mut Letters).unwrap();
        while let Some(voice) = self.readers.next_tail(&[]) {
            batch.clear();
            self.readers.fill_tail(voice, &mut batch);
            network.run(&mut batch).unwrap();
            self.readers.take_in_tail(voice, &batch, 0).unwrap();
        }
        for voice in voices {
            if let Some(scores) = self.readers.scores(voice) {
                self.session.on_scores(self.now, voice, scores);
            }
        }
        self.take();
    }

    fn end(&mut self) {
        self.session.on_end(self.now, BodyEnd::Complete);
        self.take();
    }

    fn fail(&mut self, failure: ClassifierFailure) {
        self.session.on_classifier_failure(self.now, CHOICE, failure);
        self.take();
    }

    fn sent_text(&self, key: &str) -> String {
        sent_text(&self.sent, key)
    }

    /// The report; all that it counts was told to the metrics, once.
    fn report(&mut self) -> ExchangeReport {
        self.score();
        let report = self.session.report();
        let told = |bytes: &ByteCounts| {
            let mut bytes = bytes.clone();
            bytes.scanned.retain(|_, bytes| *bytes > 0);
            bytes.released.retain(|_, bytes| *bytes > 0);
            bytes
        };
        assert_eq!(told(&report.bytes), self.told);
        report
    }
}

/// Adds up what the metrics were told.
fn add<K: Ord>(to: &mut BTreeMap<K, u64>, more: BTreeMap<K, u64>) {
    for (key, bytes) in more {
        *to.entry(key).or_default() += bytes;
    }
}

fn unscanned(report: &ExchangeReport, channel: Channel) -> u64 {
    let key = (Some(channel), UnscannedReason::DetectorFailed);
    report.bytes.unscanned.get(&key).copied().unwrap_or(0)
}

fn scanned(report: &ExchangeReport, channel: Channel) -> u64 {
    report.bytes.scanned.get(&channel).copied().unwrap_or(0)
}

#[test]
fn what_has_no_score_when_the_classifier_fails_is_unscanned_and_counted_once() {
    use ClassifierFailure::{Deadline, Error, Overflow};
    for failure in [Deadline, Error, Overflow] {
        let policy = Policy::default();
        let judge = judge(ClassifierHold::Follow, OnFailure::Closed);
        let plan = judged_plan(policy, Settings::default(), judge);
        let mut rig = Rig::new(&plan);
        rig.say("reasoning_content", "twelve bytes and four");
        rig.score();
        rig.say("reasoning_content", " more");
        rig.fail(failure);
        // What is scored all the same comes too late.
        rig.score();
        rig.say("content", "an answer");
        let call = json!([{"index": 0, "function": {"arguments": "{}"}}]);
        rig.read(&event(&json!({"tool_calls": call}), None));
        rig.end();
        let report = rig.report();
        // Two chunks of eight were scored, the second up to the middle of a word.
        assert_eq!(scanned(&report, Channel::Thinking), 13);
        assert_eq!(unscanned(&report, Channel::Thinking), 13);
        assert_eq!(unscanned(&report, Channel::Answer), 9);
        assert_eq!(
            (scanned(&report, Channel::Answer), scanned(&report, Channel::ToolCall)),
            (0, 2)
        );
        assert_eq!(report.choices[0].outcome, Outcome::Unjudged);
        assert_eq!((report.verdict, report.action), (Verdict::Pass, Action::Forward));
    }
}

#[test]
fn what_is_scored_is_scanned_and_what_nobody_would_ever_score_is_not() {
    let plan = judged_plan(
        Policy::default(),
        Settings::default(),
        judge(ClassifierHold::Follow, OnFailure::Closed),
    );
    for scores in [true, false] {
        let mut rig = Rig::new(&plan);
        rig.say("content", "<think>so it");
        rig.say("content", " is</think>  ");
        rig.end();
        if scores {
            rig.score();
        }
        rig.take();
        let report = rig.session.report();
        let lost = if scores { 0 } else { 8 };
        assert_eq!(scanned(&report, Channel::Thinking), 8 - lost);
        assert_eq!(unscanned(&report, Channel::Thinking), lost);
        let outcome = if scores { Outcome::Benign } else { Outcome::Unjudged };
        assert_eq!(report.choices[0].outcome, outcome);
    }
}

#[test]
fn undecided_text_that_turns_out_as_thinking_is_counted_there() {
    let plan = judged_plan(
        Policy::default(),
        Settings::default(),
        judge(ClassifierHold::Follow, OnFailure::Closed),
    );
    let mut rig = Rig::new(&plan);
    rig.say("content", "01234567 and");
    rig.score();
    // The scores do not know yet that it was thinking.
    rig.say("content", " so</think>yes");
    rig.fail(ClassifierFailure::Overflow);
    rig.end();
    let report = rig.report();
    assert_eq!(
        (scanned(&report, Channel::Thinking), unscanned(&report, Channel::Thinking)),
        (0, 15)
    );
    assert_eq!((scanned(&report, Channel::Answer), unscanned(&report, Channel::Answer)), (0, 3));
}

#[test]
fn a_gate_lets_go_what_was_scored_and_nothing_else() {
    let mut rig = Rig::new(&gate());
    rig.say("reasoning_content", "let us see");
    assert_eq!(rig.sent, "");
    assert_eq!(rig.session.take_progress().held.unwrap().0, HoldReason::Classifier);
    rig.score();
    // The word that is not complete, too: nothing more need come for it.
    assert_eq!(rig.sent_text("reasoning_content"), "let us see");
    rig.say("content", "yes");
    rig.say("content", " and no");
    assert_eq!(rig.sent_text("content"), "");
    rig.score();
    assert_eq!(rig.sent_text("content"), "yes and no");
    rig.read(DONE);
    rig.end();
    rig.score();
    assert!(rig.sent.ends_with(DONE) && !rig.session.awaits_scores());
    let report = rig.report();
    assert_eq!((report.action, report.choices[0].outcome), (Action::Forward, Outcome::Benign));
}

#[test]
fn a_gate_holds_the_end_of_the_body_until_its_text_was_scored() {
    for (loud, action) in [(false, Action::Forward), (true, Action::Block)] {
        let text = if loud { "!!!!" } else { "calm" };
        for kind in ["text/event-stream", "application/json"] {
            let mut rig = Rig::reading(&gate(), kind);
            let message = json!({"index": 0, "message": {"content": text}});
            let whole = json!({"id": "up-1", "object": "chat.completion", "choices": [message]});
            if kind == "application/json" {
                rig.read(&whole.to_string());
            } else {
                rig.say("content", text);
            }
            rig.end();
            assert!(rig.session.awaits_scores() && rig.sent.is_empty() && !rig.stopped);
            assert_eq!(rig.session.deadline(), Some(rig.now + Hold::default().deadline));
            rig.score();
            assert!(!rig.session.awaits_scores() && rig.session.deadline().is_none());
            assert_eq!((rig.sent.contains(text), rig.stopped), (!loud, loud));
            assert_eq!(rig.report().action, action);
        }
    }
}

#[test]
fn a_client_that_leaves_while_scores_are_awaited_gets_nothing_more() {
    let mut rig = Rig::new(&gate());
    rig.say("content", "calm");
    rig.end();
    rig.session.on_end(rig.now, BodyEnd::ClientGone);
    assert!(!rig.session.awaits_scores());
    rig.score();
    assert_eq!(rig.sent, "");
    assert_eq!(rig.report().bytes.released.get(&Some(Channel::Answer)), Some(&0));
}

#[test]
fn nothing_behind_the_flag_leaves_however_the_text_comes() {
    let text = format!("{CALM}{}and what comes then", LOUD.repeat(9));
    let alone = {
        let plan = judged_plan(
            Policy::default(),
            Settings::default(),
            judge(ClassifierHold::Follow, OnFailure::Closed),
        );
        let mut rig = Rig::new(&plan);
        rig.say("reasoning_content", &text);
        rig.end();
        rig.score();
        rig.report()
    };
    let flag = alone.choices[0].thinking.first_flag_char.unwrap();
    for step in 1..text.len() {
        // Each piece is scored as it comes, and all of them late.
        for late in [false, true] {
            let mut rig = Rig::new(&gate());
            for piece in text.as_bytes().chunks(step) {
                rig.say("reasoning_content", std::str::from_utf8(piece).unwrap());
                if !late {
                    rig.score();
                }
            }
            rig.end();
            rig.score();
            let sent = rig.sent_text("reasoning_content");
            assert!(rig.stopped && (sent.len() as u64) < flag, "{step}: {sent}");
            assert!(text.starts_with(&sent) && (!late || sent.is_empty()));
            let report = rig.report();
            assert_eq!(report.action, Action::Block);
            // It does not lie in the cuts where the flag stands.
            assert_eq!(report.choices[0].thinking.first_flag_char, Some(flag));
        }
    }
}

#[test]
fn what_follows_flows_until_the_score_comes() {
    let mut rig = Rig::new(&enforcing(ClassifierHold::Follow, OnFailure::Closed));
    rig.say("content", &LOUD.repeat(3));
    rig.say("content", "and more");
    assert_eq!(rig.sent_text("content").len(), 32);
    rig.score();
    assert!(rig.stopped);
    assert_eq!(rig.report().action, Action::Block);
}

#[test]
fn a_tail_that_would_be_flagged_waits_for_what_comes() {
    let mut rig = Rig::new(&gate());
    rig.say("content", "!!!");
    rig.score();
    assert_eq!(rig.sent, "");
    rig.say("content", " no, it is as calm as can be ");
    rig.score();
    assert_eq!(rig.sent_text("content"), "!!! no, it is as calm as can be ");
}

#[test]
fn tool_calls_refusals_and_what_only_shadows_do_not_wait() {
    let mut policy = Policy { mode: Mode::Enforce, ..Policy::default() };
    policy.channels.insert(Channel::Thinking, ChannelPolicy { mode: Some(Mode::Shadow) });
    let judge = judge(ClassifierHold::Gate, OnFailure::Closed);
    let mut rig = Rig::new(&judged_plan(policy, Settings::default(), judge));
    rig.say("reasoning_content", "thinking");
    rig.say("refusal", "no");
    let call = json!([{"index": 0, "function": {"arguments": "{}"}}]);
    rig.read(&event(&json!({"tool_calls": call}), None));
    for sent in ["thinking", "\"no\"", "{}"] {
        assert!(rig.sent.contains(sent), "{sent}");
    }
    rig.say("content", "answer");
    assert!(!rig.sent.contains("answer"));
    rig.score();
    assert!(rig.sent.contains("answer"));
}

#[test]
fn content_that_may_be_a_tag_waits_with_its_own_text() {
    let mut rig = Rig::new(&gate());
    rig.say("content", "so <");
    rig.score();
    assert_eq!(rig.sent, "");
    // It was a tag: nothing of it is text, and nothing more need come.
    rig.say("content", "/think>");
    rig.score();
    assert_eq!(rig.sent_text("content"), "so </think>");

    let mut rig = Rig::new(&gate());
    rig.say("content", "1 <");
    rig.score();
    rig.say("content", " 2");
    assert_eq!(rig.sent, "");
    rig.score();
    assert_eq!(rig.sent_text("content"), "1 < 2");
}

#[test]
fn a_gate_ends_with_its_deadline_and_with_its_room() {
    for (on_deadline, action) in
        [(OnDeadline::Block, Action::FailClosed), (OnDeadline::Release, Action::FailOpen)]
    {
        for too_much in [false, true] {
            let max_bytes = if too_much { 300 } else { 3000 };
            let hold = Hold { max_bytes, deadline: SECOND, on_deadline };
            let policy = Policy { mode: Mode::Enforce, ..Policy::default() };
            let settings = Settings { hold, ..Settings::default() };
            let judge = judge(ClassifierHold::Gate, OnFailure::Closed);
            let mut rig = Rig::new(&judged_plan(policy, settings, judge));
            rig.say("content", "calm");
            rig.score();
            assert_eq!(rig.sent_text("content"), "calm");
            rig.say("content", " and late");
            assert_eq!(rig.session.deadline(), Some(rig.now + SECOND));
            if too_much {
                rig.say("content", " and more");
            } else {
                rig.now += SECOND;
                rig.session.on_timeout(rig.now);
                rig.take();
            }
            let released = on_deadline == OnDeadline::Release;
            assert_eq!((rig.sent.contains("late"), rig.stopped), (released, !released));
            rig.end();
            let report = rig.report();
            let outcome = if released { Outcome::Unjudged } else { Outcome::Benign };
            assert_eq!((report.action, report.choices[0].outcome), (action, outcome));
            // Where it was let go, all that was sent had no score: the tail's is none.
            let sent = report.bytes.released[&Some(Channel::Answer)];
            let unscanned = unscanned(&report, Channel::Answer);
            assert_eq!(unscanned, if released { sent } else { 0 });
        }
    }
}

#[test]
fn gives_up_in_the_metrics_what_waited_too_long() {
    let hold = Hold { deadline: SECOND, on_deadline: OnDeadline::Release, ..Hold::default() };
    let policy = Policy { mode: Mode::Enforce, ..Policy::default() };
    let judge = judge(ClassifierHold::Gate, OnFailure::Closed);
    let settings = Settings { hold, ..Settings::default() };
    let mut rig = Rig::new(&judged_plan(policy, settings, judge));
    rig.say("content", "calm");
    rig.session.on_timeout(rig.now + SECOND);
    let progress = rig.session.take_progress();
    assert_eq!(progress.classifier_failures, [ClassifierFailure::Deadline]);
    assert_eq!(progress.holds, [(HoldReason::Classifier, SECOND)]);
    assert_eq!(rig.session.take_progress().classifier_failures, []);
}

#[test]
fn a_classifier_that_fails_ends_the_exchange_or_is_recorded_as_having_let_it_pass() {
    use ClassifierFailure::{Deadline, Error, Overflow};
    use ClassifierHold::{Follow, Gate};
    use OnFailure::{Closed, Open};
    for failure in [Deadline, Error, Overflow] {
        for hold in [Follow, Gate] {
            for on_failure in [Open, Closed] {
                let name = format!("{failure:?} {hold:?} {on_failure:?}");
                let mut rig = Rig::new(&enforcing(hold, on_failure));
                rig.say("content", "calm");
                rig.fail(failure);
                rig.say("content", " and so on");
                rig.read(DONE);
                rig.end();
                let (action, text) = match (on_failure, hold) {
                    (Open, _) => (Action::FailOpen, "calm and so on".to_owned()),
                    (Closed, Follow) => (Action::FailClosed, "calm".to_owned()),
                    (Closed, Gate) => (Action::FailClosed, DEFAULT_NOTICE.to_owned()),
                };
                assert_eq!(rig.sent_text("content"), text, "{name}");
                assert!(rig.sent.ends_with(DONE), "{name}");
                assert_eq!(rig.sent.contains("content_filter"), on_failure == Closed, "{name}");
                let report = rig.report();
                assert_eq!((report.action, report.verdict), (action, Verdict::Pass), "{name}");
                assert_eq!(report.choices[0].outcome, Outcome::Unjudged, "{name}");
                let sent = report.bytes.released[&Some(Channel::Answer)];
                assert_eq!(unscanned(&report, Channel::Answer), sent, "{name}");
            }
        }
    }
}

#[test]
fn a_classifier_that_fails_changes_nothing_where_it_ends_nothing() {
    let shadow = Policy::default();
    let enforce = Policy { mode: Mode::Enforce, ..Policy::default() };
    for (policy, action) in [(shadow, RuleAction::Block), (enforce, RuleAction::Flag)] {
        let judge = Judge::new(rubric(), action);
        let mut rig = Rig::new(&judged_plan(policy, Settings::default(), judge));
        rig.say("content", "calm");
        rig.fail(ClassifierFailure::Error);
        rig.say("content", " and so on");
        rig.end();
        let report = rig.report();
        assert_eq!(
            (report.action, report.choices[0].outcome),
            (Action::Forward, Outcome::Unjudged)
        );
        // In shadow mode the shell forwards what it reads.
        let shadows = report.mode == Mode::Shadow;
        let sent = rig.sent_text("content");
        assert_eq!(sent, if shadows { "" } else { "calm and so on" });
    }
}

#[test]
fn a_failure_that_comes_behind_the_end_has_let_everything_pass() {
    let mut rig = Rig::new(&enforcing(ClassifierHold::Follow, OnFailure::Closed));
    rig.say("content", "calm");
    rig.end();
    rig.fail(ClassifierFailure::Deadline);
    assert!(!rig.stopped);
    assert_eq!(rig.report().action, Action::FailOpen);
}

#[test]
fn a_prompt_that_is_gated_is_answered_by_its_scores() {
    let body = |words: &str| {
        let message = json!({"role": "user", "content": words});
        Bytes::from(json!({"model": "m", "messages": [message]}).to_string())
    };
    let asked = |words: &str, on_failure: OnFailure| {
        let mut rig = Rig::new(&enforcing(ClassifierHold::Gate, on_failure));
        assert!(matches!(rig.session.on_request(body(words)), RequestDecision::Forward(_)));
        assert!(rig.session.prompt_waits());
        rig
    };
    let mut calm = asked("calm", OnFailure::Closed);
    calm.score();
    assert!(!calm.session.prompt_waits());
    assert_eq!(calm.session.on_prompt_scored(), None);

    let mut loud = asked("!!!!", OnFailure::Closed);
    loud.score();
    assert_eq!(loud.session.on_prompt_scored().unwrap().status, 400);
    assert_eq!(loud.session.report().action, Action::Block);

    // Where nothing waits, what came early does not count either.
    let mut followed = Rig::new(&enforcing(ClassifierHold::Follow, OnFailure::Closed));
    assert!(matches!(followed.session.on_request(body("!!!!")), RequestDecision::Forward(_)));
    followed.score();
    assert_eq!(followed.session.on_prompt_scored(), None);

    for (on_failure, status) in [(OnFailure::Closed, Some(503)), (OnFailure::Open, None)] {
        let mut failed = asked("calm", on_failure);
        failed.session.on_classifier_failure(
            failed.now,
            Voice::Prompt,
            ClassifierFailure::Deadline,
        );
        assert!(!failed.session.prompt_waits());
        let answer = failed.session.on_prompt_scored();
        assert_eq!(answer.map(|answer| answer.status), status);
        let action = if status.is_some() { Action::FailClosed } else { Action::FailOpen };
        let report = failed.session.report();
        assert_eq!(report.action, action);
        assert_eq!(unscanned(&report, Channel::Prompt), if status.is_some() { 0 } else { 4 });
    }

    // Where text follows, a prompt does not wait either.
    let plan = enforcing(ClassifierHold::Follow, OnFailure::Closed);
    let mut rig = Rig::new(&plan);
    rig.session.on_request(body("calm"));
    assert!(!rig.session.prompt_waits());
}

fn acting(
    action: RuleAction,
    hold: ClassifierHold,
    outcome: (Outcome, OutcomeAction),
) -> Arc<Plan> {
    let mut policy = Policy { mode: Mode::Enforce, ..Policy::default() };
    policy.outcomes.set(outcome.0, outcome.1).unwrap();
    let judge = Judge { action, ..judge(hold, OnFailure::Closed) };
    judged_plan(policy, Settings::default(), judge)
}

#[test]
fn thinking_that_is_scored_as_unsafe_is_hidden_from_there_on_and_ends_nothing() {
    let hide = (Outcome::LeakyThinking, OutcomeAction::Hide);
    // What the flag needed is out, but where a gate waits: of two chunks the second.
    for (hold, shown) in [(ClassifierHold::Follow, 24), (ClassifierHold::Gate, 8)] {
        for action in [RuleAction::Block, RuleAction::Flag] {
            let mut rig = Rig::new(&acting(action, hold, hide));
            for _ in 0..4 {
                rig.say("reasoning_content", LOUD);
                rig.score();
            }
            rig.say("content", "a calm answer to it");
            rig.score();
            rig.end();
            let report = rig.report();
            assert!(!rig.stopped, "{hold:?} {action:?}");
            assert_eq!(rig.sent_text("reasoning_content").len(), shown, "{hold:?} {action:?}");
            assert_eq!(rig.sent_text("content"), "a calm answer to it");
            assert_eq!(report.choices[0].outcome, Outcome::LeakyThinking);
            assert_eq!((report.action, report.cut), (Action::HideThinking, None));
            assert_eq!(report.bytes.released[&Some(Channel::Thinking)], shown as u64);
        }
    }
}

#[test]
fn an_outcome_blocks_for_scores_that_alone_would_be_flagged() {
    let block = (Outcome::Unsafe, OutcomeAction::Block);
    for (hold, shown) in [(ClassifierHold::Follow, 24), (ClassifierHold::Gate, 8)] {
        let mut rig = Rig::new(&acting(RuleAction::Flag, hold, block));
        assert!(rig.session.acts_on_scores());
        for text in [LOUD, LOUD, CALM] {
            rig.say("content", text);
            rig.score();
        }
        let report = rig.report();
        assert!(rig.stopped, "{hold:?}");
        assert_eq!(rig.sent_text("content").len(), shown, "{hold:?}");
        assert_eq!(report.outcome_act.map(|act| act.outcome), Some(Outcome::Unsafe));
        // A classifier that fails might have ended it.
        let mut rig = Rig::new(&acting(RuleAction::Flag, hold, block));
        rig.say("content", CALM);
        rig.fail(ClassifierFailure::Error);
        assert!(rig.stopped);
        assert_eq!(rig.report().action, Action::FailClosed);
    }
}

#[test]
fn scores_of_an_answer_that_was_left_end_nothing_of_the_next_one() {
    let mut policy = Policy { mode: Mode::Enforce, ..Policy::default() };
    policy.ask_again.when = AskAgainWhen::BlockedThinking;
    let plan =
        judged_plan(policy, Settings::default(), judge(ClassifierHold::Follow, OnFailure::Closed));
    let mut rig = Rig::new(&plan);
    rig.session
        .on_request(json!({"messages": [{"role": "user", "content": "hi"}]}).to_string().into());
    rig.say("reasoning_content", LOUD);
    rig.say("reasoning_content", LOUD);
    // The end of what was read before the scores came is still to be scored.
    rig.say("reasoning_content", LOUD);
    let mut network = Shouting::default();
    let mut left = None;
    while let Some(passage) = rig.session.next_passage() {
        rig.readers.take(&mut Letters, &passage).unwrap();
        left = Some(passage.voice);
    }
    rig.readers.run(&mut network, None, &mut Batch::default()).unwrap();
    let scores = rig.readers.scores(left.unwrap()).unwrap();
    rig.session.on_scores(rig.now, CHOICE, scores.clone());
    while let Some(effect) = rig.session.next_effect() {
        if let Effect::AskAgain(_) = effect {
            let head = ResponseHead {
                status: 200,
                content_type: Some("text/event-stream".to_owned()),
                undecodable: false,
            };
            assert!(rig.session.on_response_again(&head));
        }
    }
    assert!(rig.session.new_text_due().is_some());
    // They are told once more, and then fail: it is about another answer.
    rig.session.on_scores(rig.now, CHOICE, scores);
    rig.fail(ClassifierFailure::Error);
    rig.say("content", CALM);
    assert!(!rig.stopped && rig.sent_text("content") == CALM);
    for _ in 0..6 {
        rig.say("content", LOUD);
        rig.score();
    }
    assert!(rig.stopped, "the new answer is scored as well");
}
