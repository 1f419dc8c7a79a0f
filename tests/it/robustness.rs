//! Bodies that no server would send: the session neither panics nor keeps more than it may, and what it lets through is
//! what came. `PROPTEST_CASES` sets how many are tried, default 256 a test.

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use proptest::{prelude::*, sample::Index};
use thinkgate::{
    dialect::Endpoint,
    policy::{Mode, OnUnscanned, Policy, SideChannels},
    record::ExchangeReport,
    rules::{Pack, RuleSet},
    session::{
        BodyEnd, Delivery, Effect, Hold, Identity, Keep, Limits, OnDeadline, Plan, RequestDecision,
        ResponseHead, Session, Settings,
    },
};

/// So small that generated bodies run into them.
const LIMITS: Limits = Limits { request_bytes: 4096, frame_bytes: 512, choices: 2, tool_calls: 2 };

/// Bytes of frames held per stream.
const HOLD: usize = 1024;

/// Pieces of bodies, good and bad.
const PIECES: [&[u8]; 57] = [
    b"data: ",
    b"data:",
    b"event: x\n",
    b": comment\n",
    b"error: {}\n",
    b"\n\n",
    b"\r\n\r\n",
    b"\r",
    b"\n",
    b"\xef\xbb\xbf",
    b"[DONE]",
    b"{\"choices\":[",
    b"{\"id\":\"a\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"",
    b"{\"index\":1,\"delta\":{",
    b"{\"index\":99999999999,",
    b"{\"index\":-1,",
    b"\"message\":{\"content\":\"",
    b"\"content\":\"",
    b"\"content\":null",
    b"\"content\":[{\"type\":\"text\",\"text\":\"",
    b"\"reasoning_content\":\"",
    b"\"reasoning\":\"",
    b"\"tool_calls\":[{\"index\":7,\"function\":{\"arguments\":\"",
    b"\"logprobs\":{\"content\":[{\"token\":\"",
    b"\"finish_reason\":\"stop\"",
    b"\"text\":\"",
    b"\"refusal\":\"",
    b"\"usage\":{\"total_tokens\":1e999}",
    b"\"messages\":[{\"role\":\"user\",\"content\":\"",
    b"\"stream\":true",
    b"data: {\"type\":\"response.output_text.delta\",\"output_index\":1,\"delta\":\"",
    b"data: {\"type\":\"response.reasoning_summary_text.done\",\"text\":\"",
    b"data: {\"type\":\"response.function_call_arguments.delta\",\"delta\":\"",
    b"data: {\"type\":\"response.output_item.added\",\"output_index\":3,\"item\":{\"type\":\"",
    b"data: {\"type\":\"response.output_item.done\",\"item\":[",
    b"data: {\"type\":\"response.completed\",\"response\":{\"output\":[{\"content\":[{\"text\":\"",
    b"data: {\"type\":\"message_start\",\"message\":{\"content\":[{\"type\":\"text\",\"text\":\"",
    b"data: {\"type\":\"content_block_start\",\"index\":2,\"content_block\":{\"type\":\"",
    b"data: {\"type\":\"content_block_delta\",\"delta\":{\"thinking\":\"",
    b"data: {\"type\":\"content_block_delta\",\"delta\":{\"partial_json\":\"",
    b"data: {\"type\":\"message_stop\"}\n\n",
    b"\"input\":[{\"role\":\"user\",\"content\":\"",
    b"\"system\":[{\"type\":\"text\",\"text\":\"",
    b"<think>",
    b"</think>",
    b"falcon ",
    b"fal\\u0063on",
    b"\\ud83d",
    b"\\\"",
    b"\xf0\x9f\xa6",
    b"\xff\x00",
    "é禁\u{200b}".as_bytes(),
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    b"\"}}]}",
    b"}]}",
    b"},",
    b"\"",
];

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        20 => prop::sample::select(PIECES.to_vec()).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..40),
        1 => (any::<u8>(), 0..900_usize).prop_map(|(byte, count)| vec![byte; count]),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// A recording in which stretches were taken out, doubled or overwritten.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let damage = (any::<Index>(), any::<Index>(), 0..3_u8, any::<u8>());
    (prop::sample::select(recordings()), prop::collection::vec(damage, 0..6)).prop_map(
        |(mut body, damages)| {
            for (at, length, kind, byte) in damages {
                if body.is_empty() {
                    break;
                }
                let at = at.index(body.len());
                let end = at + length.index((body.len() - at).min(200) + 1);
                match kind {
                    0 => drop(body.drain(at..end)),
                    1 => {
                        let stretch = body[at..end].to_vec();
                        drop(body.splice(at..at, stretch));
                    }
                    _ => body[at] = byte,
                }
            }
            body
        },
    )
}

fn recordings() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/streams");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let bodies = files.filter(|file| !file.to_string_lossy().ends_with(".expected.json"));
    let mut bodies: Vec<Vec<u8>> = bodies.map(|file| fs::read(file).unwrap()).collect();
    bodies.sort_unstable();
    bodies
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![pieces(), damaged(), prop::collection::vec(any::<u8>(), 0..2000)]
}

fn kinds() -> impl Strategy<Value = Option<&'static str>> {
    prop::sample::select(vec![
        None,
        Some("text/event-stream"),
        Some("application/json"),
        Some("application/x-ndjson"),
        Some("text/html"),
    ])
}

fn endpoints() -> impl Strategy<Value = Option<Endpoint>> {
    prop::sample::select(vec![
        None,
        Some(Endpoint::ChatCompletions),
        Some(Endpoint::Completions),
        Some(Endpoint::Responses),
        Some(Endpoint::Messages),
    ])
}

fn chunks(body: &[u8], cuts: &[Index]) -> Vec<Bytes> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
    ends.extend([0, body.len()]);
    ends.sort_unstable();
    ends.windows(2).map(|pair| Bytes::copy_from_slice(&body[pair[0]..pair[1]])).collect()
}

fn plan(mode: Mode, rules: RuleSet) -> Arc<Plan> {
    let policy = Policy {
        mode,
        on_unscanned: OnUnscanned::Pass,
        side_channels: SideChannels::Allow,
        ..Policy::default()
    };
    let hold = Hold {
        max_bytes: HOLD,
        deadline: Duration::from_mins(1),
        on_deadline: OnDeadline::Release,
    };
    let settings = Settings { limits: LIMITS, hold, ..Settings::default() };
    Arc::new(Plan::new(Arc::new(rules), policy, settings))
}

fn falcon() -> RuleSet {
    let yaml = include_str!("support/falcon.yaml");
    let pack = Pack::parse("falcon.yaml", yaml, &|_| Err("no files".to_owned())).unwrap();
    RuleSet::compile(vec![pack]).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "tests are outside of the core")]
fn now() -> Instant {
    Instant::now()
}

/// What became of a body.
struct Run {
    delivery: Delivery,
    /// What went out as effects.
    sent: Vec<u8>,
    /// Something else than bytes of the body went out.
    ended: bool,
    /// The most that had come and not gone out.
    most_kept: usize,
    report: ExchangeReport,
}

fn run(plan: &Arc<Plan>, endpoint: Option<Endpoint>, kind: Option<&str>, body: &[Bytes]) -> Run {
    let now = now();
    let keep = Keep { text: Some(64), trajectory: true };
    let mut session = Session::new(Arc::clone(plan), endpoint, Identity::default()).keeping(keep);
    let head =
        ResponseHead { status: 200, content_type: kind.map(str::to_owned), undecodable: false };
    let delivery = session.on_response(&head);
    let (mut sent, mut ended, mut read, mut most_kept) = (Vec::new(), false, 0, 0);
    let mut take = |session: &mut Session| {
        while let Some(effect) = session.next_effect() {
            match effect {
                Effect::Forward(bytes) => sent.extend_from_slice(&bytes),
                Effect::Stop(_) | Effect::Respond(_) => ended = true,
            }
        }
        sent.len()
    };
    for chunk in body {
        session.on_chunk(now, chunk.clone());
        read += chunk.len();
        let gone = take(&mut session);
        most_kept = most_kept.max(read.saturating_sub(gone));
        session.take_progress();
    }
    session.on_end(now, BodyEnd::Complete);
    take(&mut session);
    let report = session.report();
    Run { delivery, sent, ended, most_kept, report }
}

proptest! {
    #[test]
    fn what_no_rule_matches_goes_out_as_it_came_and_soon(
        body in bodies(),
        cuts in prop::collection::vec(any::<Index>(), 0..12),
        kind in kinds(),
        endpoint in endpoints(),
    ) {
        let chunks = chunks(&body, &cuts);
        let run = run(&plan(Mode::Enforce, RuleSet::empty()), endpoint, kind, &chunks);
        prop_assert!(!run.ended);
        prop_assert_eq!(String::from_utf8_lossy(&run.sent), String::from_utf8_lossy(&body));
        prop_assert_eq!(&run.sent, &body);
        let largest = chunks.iter().map(Bytes::len).max().unwrap_or(0);
        prop_assert!(run.most_kept <= HOLD + LIMITS.frame_bytes + largest, "{} bytes", run.most_kept);
    }

    #[test]
    fn shadow_mode_touches_nothing_and_no_cut_matters(
        body in bodies(),
        cuts in prop::collection::vec(any::<Index>(), 0..12),
        kind in kinds(),
        endpoint in endpoints(),
    ) {
        let plan = plan(Mode::Shadow, falcon());
        let cut = run(&plan, endpoint, kind, &chunks(&body, &cuts));
        prop_assert_eq!(cut.delivery, Delivery::AsRead);
        prop_assert!(cut.sent.is_empty() && !cut.ended);
        let whole = run(&plan, endpoint, kind, &chunks(&body, &[]));
        prop_assert_eq!(&cut.report, &whole.report);
        prop_assert!(cut.report.choices.len() <= LIMITS.choices);
        let released: u64 = cut.report.bytes.released.values().sum();
        // A byte that is no UTF-8 is read as a character of three, and the frame counts beside its text.
        prop_assert!(released <= 4 * body.len() as u64, "{} of {}", released, body.len());
    }

    #[test]
    fn no_body_makes_enforcement_panic(
        body in bodies(),
        cuts in prop::collection::vec(any::<Index>(), 0..12),
        kind in kinds(),
        endpoint in endpoints(),
    ) {
        let run = run(&plan(Mode::Enforce, falcon()), endpoint, kind, &chunks(&body, &cuts));
        prop_assert!(body.starts_with(&run.sent) || run.ended, "{:?}", run.sent);
    }

    #[test]
    fn no_request_makes_a_session_panic_and_shadow_mode_sends_it_on(
        body in bodies(),
        endpoint in endpoints(),
    ) {
        for mode in [Mode::Shadow, Mode::Enforce] {
            let mut session = Session::new(plan(mode, falcon()), endpoint, Identity::default());
            let body = Bytes::copy_from_slice(&body);
            match session.on_request(body.clone()) {
                RequestDecision::Forward(bytes) => prop_assert_eq!(bytes, body),
                RequestDecision::Respond(_) => prop_assert_eq!(mode, Mode::Enforce),
            }
            session.report();
        }
    }
}
