//! What one scorer thread does in a second: tokens, tokenising included, in batches of 16 and one by one; and how long words
//! wait behind a gate, in streams of 50 words a second.
//!
//! `cargo bench --bench scorer` runs the built-in model on the built-in runtime, or on the library that `ORT_DYLIB_PATH`
//! names.

#![expect(clippy::unwrap_used, reason = "a bench may end with a panic")]

#[expect(dead_code, reason = "the load needs more of it")]
mod material;

use std::{fs, future::poll_fn, io::Write as _, sync::Arc, task::Poll, time::Duration};

use thinkgate::{
    config::Classifier,
    policy::{CategoryPolicy, Mode, Policy},
    record::metrics::Metrics,
    rules::{Category, RuleAction, RuleSet},
    scorer::{Awaited, Lane, Scorers},
    session::{ClassifierHold, Identity, Plan, ResponseHead, Session, Settings},
};
use tokenizers::Tokenizer;
use tokio::{task::JoinSet, time::Instant};

/// Copies of the text that each stream brings.
const COPIES: usize = 3;

fn main() {
    // `cargo test --benches` only wants to see that it starts.
    let streams: &[usize] =
        if std::env::args().any(|argument| argument == "--bench") { &[1, 16, 64] } else { &[1] };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let before = resident_kib();
    let config =
        Classifier { threads: Some(1), deadline: Duration::from_hours(1), ..Classifier::default() };
    let metrics = Arc::new(Metrics::new().unwrap());
    let scorers = Scorers::configured(&config, Arc::clone(&metrics)).unwrap().unwrap();
    let mut out = std::io::stdout().lock();
    let loaded = resident_kib().saturating_sub(before);
    writeln!(out, "{}: the model takes {loaded} KiB", scorers.models().backend().name()).unwrap();
    let text = material::text::pieces().concat().repeat(COPIES);
    let tokenizer = Tokenizer::from_file("models/default/tokenizer.json").unwrap();
    let tokens = tokenizer.encode(text.to_lowercase(), false).unwrap().len();
    for &count in streams {
        let took = runtime.block_on(run(&scorers, &text, count)).as_secs_f64();
        let all = u32::try_from(tokens * count).unwrap();
        let (rate, each) = (f64::from(all) / took, 1e6 * took / f64::from(all));
        writeln!(out, "{count} streams: {rate:.0} tokens/s, {each:.1} us each").unwrap();
    }
    let gated: &[usize] = if streams.len() > 1 { &[1, 20, 100, 200] } else { &[1] };
    for &count in gated {
        let mut waited = runtime.block_on(gate(&scorers, &text, count));
        waited.sort_unstable();
        let at = |share: usize| waited.get(waited.len() * share / 100).copied().unwrap_or_default();
        let (half, most) = (at(50), at(99));
        writeln!(out, "{count} gated streams: a word waits {half:.1?} (p50), {most:.1?} (p99)")
            .unwrap();
    }
    let grown = resident_kib().saturating_sub(before);
    writeln!(out, "after all of them: {grown} KiB").unwrap();
    scorers.close();
}

/// Scores `text` on so many streams at once.
async fn run(scorers: &Scorers, text: &str, count: usize) -> Duration {
    let rules = Arc::new(RuleSet::compile(Vec::new()).unwrap());
    let plan = Plan::new(rules, Policy::default(), Settings::default());
    let plan = Arc::new(plan.with_classifier(scorers.models().judge(RuleAction::Flag)));
    let mut sessions: Vec<Session> = (0..count)
        .map(|_| {
            let mut session = Session::new(Arc::clone(&plan), None, Identity::default());
            session.on_trace(None, Some(text), None);
            session
        })
        .collect();
    let begun = Instant::now();
    let follow = |session: &mut Session| {
        let lane = scorers.lane(Awaited::ByNobody);
        lane.follow(begun, session);
        lane
    };
    let lanes: Vec<Lane> = sessions.iter_mut().map(follow).collect();
    for lane in &lanes {
        lane.settle().await;
    }
    begun.elapsed()
}

/// Words of each gated stream.
const GATED_WORDS: usize = 150;

/// From one word of a gated stream to the next.
const PACE: Duration = Duration::from_millis(20);

/// How long each word of so many gated streams waited for its score.
async fn gate(scorers: &Scorers, text: &str, count: usize) -> Vec<Duration> {
    let rules = Arc::new(RuleSet::compile(Vec::new()).unwrap());
    let policy = Policy { mode: Mode::Enforce, ..Policy::default() };
    // Only what is of this category would end a stream, so that all are read to their end.
    let policy = Policy {
        categories: [(
            Category::Cbrn,
            CategoryPolicy { mode: None, action: Some(RuleAction::Block) },
        )]
        .into(),
        ..policy
    };
    let config = Classifier { hold: ClassifierHold::Gate, ..Classifier::default() };
    let plan = Plan::new(rules, policy, Settings::default());
    let plan = Arc::new(plan.with_classifier(scorers.models().configured_judge(&config)));
    let begin = Instant::now() + PACE;
    let text: Arc<str> = text.into();
    let mut streams = JoinSet::new();
    for number in 0..count {
        let phase = PACE * u32::try_from(number).unwrap() / u32::try_from(count).unwrap();
        let (plan, text) = (Arc::clone(&plan), Arc::clone(&text));
        streams.spawn(gated_stream(plan, scorers.lane(Awaited::ByText), text, begin + phase));
    }
    streams.join_all().await.concat()
}

async fn gated_stream(
    plan: Arc<Plan>,
    lane: Lane,
    text: Arc<str>,
    begin: Instant,
) -> Vec<Duration> {
    let mut session = Session::new(plan, None, Identity::default());
    let content_type = Some("text/event-stream".to_owned());
    session.on_response(&ResponseHead { status: 200, content_type, undecodable: false });
    let mut clock = tokio::time::interval_at(begin, PACE);
    let mut waited = Vec::new();
    for word in text.split_inclusive(' ').take(GATED_WORDS) {
        clock.tick().await;
        let read = Instant::now();
        let delta = serde_json::json!({"index": 0, "delta": {"reasoning_content": word}});
        let event = serde_json::json!({"object": "chat.completion.chunk", "choices": [delta]});
        session.on_chunk(read.into_std(), format!("data: {event}\n\n").into());
        lane.follow(read, &mut session);
        while session.next_effect().is_none() {
            poll_fn(
                |context| if lane.poll_news(context) { Poll::Ready(()) } else { Poll::Pending },
            )
            .await;
            lane.follow(Instant::now(), &mut session);
        }
        waited.push(read.elapsed());
    }
    waited
}

/// The memory of this process that is in use.
fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
