//! The threads and the ways to them, with the tests' model: its only risky word is `harm`.

use std::{
    future::poll_fn,
    path::{Path, PathBuf},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use serde_json::json;
use tokio::time::Instant;

use super::{
    lane::{ALL_WAITING_BYTES, Lane},
    threads::{Scorers, ScoringLimits, Shared},
    *,
};
use crate::{
    classify::{News, Passage, Said, Voice},
    config::Classifier,
    policy::{Mode, Policy},
    record::{ExchangeReport, metrics::Metrics},
    rules::{RuleAction, RuleSet},
    session::{BodyEnd, ClassifierHold, Identity, Plan, ResponseHead, Session, Settings},
    trace::Outcome,
};

const LIMITS: ScoringLimits =
    ScoringLimits { deadline: Duration::from_mins(1), waiting_bytes: 16 << 10 };

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples").join(name)
}

fn models() -> Models {
    let config = Classifier { model: Some(sample("classifier")), ..Classifier::default() };
    Models::configured(&config).unwrap().unwrap()
}

/// The model of words, and where that is unsure the one of windows.
fn both() -> Classifier {
    Classifier {
        model: Some(sample("classifier")),
        second: Some(sample("window")),
        deadline: Duration::from_mins(1),
        ..Classifier::default()
    }
}

fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new().unwrap())
}

/// A session that reads a stream.
fn session(model: &Models) -> Session {
    let rules = Arc::new(RuleSet::compile(Vec::new()).unwrap());
    let plan = Plan::new(rules, Policy::default(), Settings::default());
    reading(Arc::new(plan.with_classifier(model.judge(RuleAction::Flag))))
}

fn reading(plan: Arc<Plan>) -> Session {
    let mut session = Session::new(plan, None, Identity::default());
    let content_type = Some("text/event-stream".to_owned());
    session.on_response(&ResponseHead { status: 200, content_type, undecodable: false });
    session
}

fn say(session: &mut Session, text: &str) {
    let choice = json!({"index": 0, "delta": {"content": text}, "finish_reason": null});
    let event = json!({"object": "chat.completion.chunk", "choices": [choice]});
    session.on_chunk(Instant::now().into_std(), Bytes::from(format!("data: {event}\n\n")));
}

/// A lane into a queue that nobody reads.
fn blocked_lane(model: &Models, limits: ScoringLimits) -> (Lane, Arc<Shared>, impl Sized) {
    let (shared, queue) = Shared::unread(metrics(), limits);
    let readers = model.readers(false);
    (Lane::new(Arc::clone(&shared), 0, readers), shared, queue)
}

fn report(mut session: Session) -> ExchangeReport {
    session.on_end(Instant::now().into_std(), BodyEnd::Complete);
    session.report()
}

fn failures(shared: &Shared, reason: &str) -> u64 {
    shared.metrics.classifier().failures.with_label_values(&[reason]).get()
}

#[test]
fn more_text_than_may_wait_ends_the_scores_for_good() {
    let model = models();
    let (lane, shared, _queue) =
        blocked_lane(&model, ScoringLimits { waiting_bytes: 12, ..LIMITS });
    let mut session = session(&model);
    for text in ["a long beginning ", "and a little ", "and so ", "on "] {
        say(&mut session, text);
        lane.follow(Instant::now(), &mut session);
    }
    // What came first waits, what came then did not fit, and what came after that was not even offered.
    assert_eq!((failures(&shared, "overflow"), shared.waiting_bytes()), (1, 17));
    assert_eq!(report(session).choices[0].outcome, Outcome::Unjudged);
    drop(lane);
}

#[test]
fn a_prompt_that_waits_leaves_the_answer_its_room() {
    let model = models();
    let limits = ScoringLimits { waiting_bytes: 12, ..LIMITS };
    let (lane, shared, _queue) = blocked_lane(&model, limits);
    let mut session = session(&model);
    session.on_request(Bytes::from(r#"{"messages":[{"role":"user","content":"do it"}]}"#));
    lane.follow(Instant::now(), &mut session);
    session.on_trace(None, Some("let us see first"), Some("a whole answer at once"));
    lane.follow(Instant::now(), &mut session);
    assert_eq!((failures(&shared, "overflow"), shared.waiting_bytes()), (0, 5 + 16 + 22));
}

#[test]
fn all_exchanges_together_have_a_bound() {
    let model = models();
    let (shared, queue) = Shared::unread(metrics(), LIMITS);
    let words = "word ".repeat(1 << 20);
    let lanes: Vec<Lane> = (0..8)
        .map(|_| {
            let readers = model.readers(false);
            let lane = Lane::new(Arc::clone(&shared), 0, readers);
            let mut session = session(&model);
            session.on_trace(None, None, Some(&words));
            lane.follow(Instant::now(), &mut session);
            lane
        })
        .collect();
    // Six of five MiB fit into 32 MiB.
    assert_eq!((failures(&shared, "overflow"), shared.waiting_bytes()), (2, 30 << 20));
    assert_eq!(shared.metrics.classifier().queue_depth.get(), 12);
    drop((lanes, queue));
    assert_eq!((shared.waiting_bytes(), shared.metrics.classifier().queue_depth.get()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn scores_that_do_not_come_are_waited_for_until_the_deadline() {
    let model = models();
    let (lane, shared, _queue) = blocked_lane(&model, LIMITS);
    let mut session = session(&model);
    say(&mut session, "harm harm harm ");
    lane.follow(Instant::now(), &mut session);
    let begun = Instant::now();
    lane.settle().await;
    assert_eq!(begun.elapsed(), LIMITS.deadline);
    lane.follow(Instant::now(), &mut session);
    assert_eq!((failures(&shared, "deadline"), shared.waiting_bytes()), (1, 0));
    assert_eq!(report(session).choices[0].outcome, Outcome::Unjudged);
}

#[tokio::test]
async fn many_exchanges_in_batches_get_what_each_gets_alone() {
    let metrics = metrics();
    let config = Classifier { threads: Some(2), ..both() };
    let scorers = Scorers::configured(&config, Arc::clone(&metrics)).unwrap().unwrap();
    let model = Models::configured(&config).unwrap().unwrap();
    let text = |number: usize| {
        let words = (0..60).map(|word| if word * number % 7 < 3 { "harm " } else { "calm " });
        words.collect::<Vec<_>>()
    };
    let mut open: Vec<(Session, Lane)> =
        (0..40).map(|_| (session(&model), scorers.lane(Awaited::ByNobody))).collect();
    for word in 0..60 {
        for (number, (session, lane)) in open.iter_mut().enumerate() {
            say(session, text(number)[word]);
            lane.follow(Instant::now(), session);
        }
    }
    let mut alone = LocalScorer::new(&model).unwrap();
    for (number, (mut session, lane)) in open.into_iter().enumerate() {
        session.on_end(Instant::now().into_std(), BodyEnd::Complete);
        lane.follow(Instant::now(), &mut session);
        lane.settle().await;
        lane.follow(Instant::now(), &mut session);
        let mut other = self::session(&model);
        other.on_trace(None, None, Some(&text(number).concat()));
        let mut readers = alone.readers(false);
        alone.follow(&mut readers, &mut other, Instant::now().into_std());
        assert_eq!(session.report().choices[0].answer, other.report().choices[0].answer);
    }
    let metrics = metrics.classifier();
    assert!(metrics.second_windows.get() >= 40);
    for reason in ["deadline", "error", "overflow", "second_deadline", "second_error"] {
        assert_eq!(metrics.failures.with_label_values(&[reason]).get(), 0, "{reason}");
    }
    scorers.close();
}

#[tokio::test]
async fn a_gated_word_needs_no_other_to_be_let_go() {
    let config = Classifier {
        model: Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/classifier")),
        threads: Some(1),
        action: RuleAction::Block,
        hold: ClassifierHold::Gate,
        ..Default::default()
    };
    let scorers = Scorers::configured(&config, metrics()).unwrap().unwrap();
    let rules = Arc::new(RuleSet::compile(Vec::new()).unwrap());
    let policy = Policy { mode: Mode::Enforce, ..Policy::default() };
    let plan = Plan::new(rules, policy, Settings::default());
    let mut session =
        reading(Arc::new(plan.with_classifier(scorers.models().configured_judge(&config))));
    let lane = scorers.lane(Awaited::ByText);
    for word in ["so ", "calm ", "it", " is"].repeat(10) {
        say(&mut session, word);
        lane.follow(Instant::now(), &mut session);
        while session.next_effect().is_none() {
            let news =
                poll_fn(
                    |context| {
                        if lane.poll_news(context) { Poll::Ready(()) } else { Poll::Pending }
                    },
                );
            tokio::time::timeout(LIMITS.deadline, news).await.unwrap();
            lane.follow(Instant::now(), &mut session);
        }
    }
    scorers.close();
}

/// Streams that come at once.
const BURST: usize = 10_000;

/// What the classifier may take for them: all text that may wait (32 MiB), and 2.8 KiB for each of them. It takes 41 MiB.
const GROWN_KIB: u64 = 60 << 10;

/// Bytes of text that each of them has waiting.
const EACH: usize = 8 << 10;

/// Says that the test runs alone in its process, so that the process' memory is its own.
const ALONE: &str = "THINKGATE_TEST_ALONE";

#[test]
fn a_burst_of_ten_thousand_streams_stays_within_its_bound() {
    if std::env::var_os(ALONE).is_some() {
        return burst();
    }
    let name = "scorer::tests::a_burst_of_ten_thousand_streams_stays_within_its_bound";
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("1 passed"), "{told}{complaint}");
}

fn burst() {
    let model = models();
    let (shared, queue) = Shared::unread(metrics(), LIMITS);
    let text = "word ".repeat(EACH / 5);
    let sessions: Vec<Session> = (0..BURST)
        .map(|_| {
            let mut session = session(&model);
            say(&mut session, "so ");
            session
        })
        .collect();
    let before = resident_kib();
    let lane = |mut session: Session| {
        let readers = model.readers(false);
        let lane = Lane::new(Arc::clone(&shared), 0, readers);
        lane.follow(Instant::now(), &mut session);
        (session, lane)
    };
    let streams: Vec<(Session, Lane)> = sessions.into_iter().map(lane).collect();
    let small = shared.waiting_bytes();
    assert_eq!(small, BURST * 3);
    for (_, lane) in &streams {
        let news = News::Text(Said::Undecided, text.clone());
        lane.hand_over(Instant::now(), std::iter::once(Passage { voice: Voice::Choice(0), news }));
    }
    // What fits in waits; the others have failed, and each of them is told so.
    let fit = (ALL_WAITING_BYTES - small) / text.len();
    assert_eq!(shared.waiting_bytes(), small + fit * text.len());
    assert_eq!(failures(&shared, "overflow"), (BURST - fit) as u64);
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < GROWN_KIB, "{grown} KiB");
    let mut unjudged = 0;
    for (number, (mut session, lane)) in streams.into_iter().enumerate() {
        lane.follow(Instant::now(), &mut session);
        say(&mut session, "on ");
        // Who has failed hands nothing out any more.
        assert_eq!(session.next_passage().is_some(), number < fit);
        unjudged += usize::from(report(session).choices[0].outcome == Outcome::Unjudged);
    }
    assert_eq!(unjudged, BURST);
    drop(queue);
    assert_eq!((shared.waiting_bytes(), shared.metrics.classifier().queue_depth.get()), (0, 0));
}

/// Memory of this process that is not swapped out.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn where_only_the_second_model_is_late_the_firsts_judgement_stands() {
    let models = Models::configured(&both()).unwrap().unwrap();
    let (shared, queue) = Shared::unread(metrics(), LIMITS);
    let lane = Lane::new(Arc::clone(&shared), 0, models.readers(false));
    let mut session = session(&models);
    session.on_trace(Some("some fiction"), None, Some(&"harm harm calm ".repeat(12)));
    lane.follow(Instant::now(), &mut session);
    // What the thread would do, but for the second model.
    let inner = queue.try_recv().unwrap();
    let mut machine = models.machine().unwrap();
    let second = machine.second.as_mut().unwrap();
    while let Some(passage) = inner.take_waiting(Instant::now()) {
        let mut readers = inner.readers();
        readers.take_for_second(&mut second.words, &passage);
        readers.take(&mut machine.first.words, &passage).unwrap();
        readers.run(&mut machine.first.graph, None, &mut machine.batch).unwrap();
    }
    assert!(inner.readers().has_questions());
    let begun = Instant::now();
    lane.settle().await;
    assert_eq!(begun.elapsed(), LIMITS.deadline);
    lane.follow(Instant::now(), &mut session);
    assert_eq!((failures(&shared, "second_deadline"), failures(&shared, "deadline")), (1, 0));
    assert!(!inner.readers().has_questions());
    // The second model would have taken it back.
    assert_eq!(report(session).choices[0].outcome, Outcome::Unsafe);
}
