use bytes::Bytes;
use proptest::prelude::*;

use super::{mask::masked, *};
use crate::{
    config::from_yaml,
    record::{
        Truncated,
        audit::ExchangeEnd,
        capture::{Capture, Piece},
    },
    rules::{Category, Pack},
    session::ResponseHead,
};

const PACK: &str = "\
pack: test
version: 1
rules:
  - {id: test.key, description: a key, category: secrets, severity: high, any: [{regex: 'key-[0-9]{6}'}]}
  - {id: test.bird, description: a bird, category: rumors, severity: high, any: [{literal: falcon}]}
  - {id: test.pair, description: two words, category: privacy_confidentiality, severity: high, any: [{near: {words: [alice, paris], within_chars: 40}}]}
";

fn rules() -> Arc<RuleSet> {
    let pack = Pack::parse("test", PACK, &|_| Err(String::new())).unwrap();
    Arc::new(RuleSet::compile(vec![pack]).unwrap())
}

fn config(capture: &str) -> Config {
    let yaml = format!("upstream: http://x\ncapture: {{folder: captures{capture}}}");
    Config::read(from_yaml("c.yaml", &yaml).unwrap()).unwrap()
}

fn mask_of(categories: &[Category]) -> Arc<Plan> {
    let config = config("");
    mask::plan(&config, &config.default_route, &rules(), categories).unwrap()
}

fn capture(request: &str, content_type: &str, chunks: &[&[u8]]) -> Capture {
    let chunk = |(at, bytes): (u64, &&[u8])| (at * 10, Piece(Bytes::copy_from_slice(bytes)));
    Capture {
        id: "c".to_owned(),
        at: None,
        route: None,
        path: "/v1/chat/completions".to_owned(),
        status: 200,
        content_type: Some(content_type.to_owned()),
        undecodable: false,
        request: Some(Piece(Bytes::copy_from_slice(request.as_bytes()))),
        request_unread: None,
        chunks: (0..).zip(chunks).map(chunk).collect(),
        end: ExchangeEnd::Complete,
        end_ms: None,
        truncated: None,
        masked: false,
    }
}

fn event(delta: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{{delta}}}}}]}}\n\n")
}

fn body(capture: &Capture) -> String {
    let pieces = capture.chunks.iter().map(|(_, Piece(bytes))| bytes.as_ref());
    String::from_utf8(pieces.collect::<Vec<_>>().concat()).unwrap()
}

fn request(capture: &Capture) -> Option<&str> {
    capture.request.as_ref().map(|Piece(bytes)| std::str::from_utf8(bytes).unwrap())
}

#[test]
fn only_what_the_categories_rules_find_is_masked() {
    let prompt = r#"{ "messages":[{"role":"system","content":"it is key-123456, falcon"},
        {"role":"user","content":"\u006bey-654321 \"so\""}], "user": "key-777777","n":1 }"#;
    let stream = [
        ": a comment\n\n".to_owned(),
        event(r#""reasoning_content":"the key-12""#),
        event(r#""reasoning_content":"3456 of a falcon""#),
        event(r#""content":"I will not say.""#),
        "data: [DONE]\n\n".to_owned(),
    ];
    let chunks: Vec<&[u8]> = stream.iter().map(String::as_bytes).collect();
    let masked =
        masked(&mask_of(&[Category::Secrets]), capture(prompt, "text/event-stream", &chunks));
    assert_eq!(
        request(&masked).unwrap(),
        r#"{ "messages":[{"role":"system","content":"it is [redacted], falcon"},
        {"role":"user","content":"[redacted] \"so\""}], "user": "[redacted]","n":1 }"#
    );
    let expected = stream.concat().replace("key-12\"", "[redacted]\"").replace("3456", "");
    assert_eq!(body(&masked), expected);
    assert_eq!((masked.truncated, masked.masked), (None, true));
    // The comment was decided when it came; what could become a key when it had.
    let times: Vec<u64> = masked.chunks.iter().map(|&(at, _)| at).collect();
    assert_eq!((times.first(), times.last()), (Some(&0), Some(&40)));
}

#[test]
fn a_match_over_several_strings_of_the_request_leaves_it_out() {
    let prompt = r#"{"messages":[{"role":"user","content":"alice"},{"role":"user","content":"goes to paris"}]}"#;
    let answer = event(r#""content":"bon voyage""#);
    let capture = || capture(prompt, "text/event-stream", &[answer.as_bytes()]);
    let kept = masked(&mask_of(&[Category::Secrets]), capture());
    assert_eq!((request(&kept), kept.truncated), (Some(prompt), None));
    let left_out = masked(&mask_of(&[Category::PrivacyConfidentiality]), capture());
    assert_eq!((request(&left_out), left_out.truncated), (None, Some(Truncated::Unmaskable)));
    assert_eq!(body(&left_out), answer);
}

#[test]
fn what_nobody_can_read_is_left_out_and_said_to_be() {
    let plan = mask_of(&[Category::Secrets]);
    let answer = event(r#""content":"fine""#);
    let strange = "data: key-123456\n\n";
    let masked = |content_type, chunks: &[&[u8]], status| {
        let capture = capture("no JSON, key-123456", content_type, chunks);
        masked(&plan, Capture { status, ..capture })
    };
    let stream = masked("text/event-stream", &[answer.as_bytes(), strange.as_bytes()], 200);
    assert_eq!((request(&stream), body(&stream)), (None, answer));
    assert_eq!(stream.truncated, Some(Truncated::Unmaskable));
    let refused =
        masked("application/json", &[br#"{"error":{"message":"bad key"#, br#"-123456"}}"#], 401);
    assert_eq!(body(&refused), r#"{"error":{"message":"bad [redacted]"}}"#);
    let page = masked("text/html", &[b"<p>key-123456</p>"], 502);
    assert_eq!((body(&page).as_str(), page.truncated), ("", Some(Truncated::Unmaskable)));
    let whole = br#"{"choices":[{"index":0,"message":{"content":"it is key-123456."}}]}"#;
    assert!(body(&masked("application/json", &[whole], 200)).contains("it is [redacted]."));
}

#[test]
fn half_a_frame_is_left_out() {
    let plan = mask_of(&[Category::Secrets]);
    let half = event(r#""content":"key-123456""#);
    let capture = capture("{\"messages\":[]}", "text/event-stream", &[&half.as_bytes()[..60]]);
    let capture = Capture { truncated: Some(Truncated::Size), ..capture };
    let masked = masked(&plan, capture);
    assert_eq!((body(&masked).as_str(), masked.truncated), ("", Some(Truncated::Size)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn no_cut_of_the_body_changes_what_is_masked(mut cuts in proptest::collection::vec(0_usize..300, 0..8)) {
        let stream = [
            event(r#""reasoning_content":"Zoë's key-12""#),
            event(r#""reasoning_content":"3456""#),
            event(r#""content":"key-000000key-1""#),
        ]
        .concat();
        let stream = stream.as_bytes();
        cuts.sort_unstable();
        let mut chunks = Vec::new();
        let mut rest = stream;
        for cut in cuts {
            let (chunk, after) = rest.split_at(cut.saturating_sub(stream.len() - rest.len()).min(rest.len()));
            chunks.push(chunk);
            rest = after;
        }
        chunks.push(rest);
        let plan = mask_of(&[Category::Secrets]);
        let of = |chunks: &[&[u8]]| body(&masked(&plan, capture("{\"messages\":[]}", "text/event-stream", chunks)));
        let masked = of(&chunks);
        prop_assert_eq!(&masked, &of(&[stream]));
        prop_assert!(!masked.contains("123456") && !masked.contains("000000"));
    }
}

/// A log whose writer takes nothing before all has been handed over.
struct Stalled {
    log: Arc<CaptureLog>,
    go: std::sync::mpsc::Sender<()>,
    written: std::sync::mpsc::Receiver<Capture>,
}

impl Stalled {
    fn new(room: usize, memory: usize) -> Self {
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let (wrote, written) = std::sync::mpsc::channel();
        let writer = Writer::start("stalled", room, move |queue| {
            gone.recv().unwrap_err();
            while let super::super::writer::Came::Item(recorded) = queue.next(None) {
                let recorded: Box<Recorded> = recorded;
                wrote.send(recorded.capture).unwrap();
            }
        });
        let log = CaptureLog {
            writer: writer.unwrap(),
            memory: Arc::new(Memory::of(memory)),
            metrics: Arc::new(Metrics::new().unwrap()),
            overflow: Once::new(),
        };
        Self { log: Arc::new(log), go, written }
    }

    /// What was handed over, once no route has the log any more.
    fn written(self) -> Vec<Capture> {
        drop(self.go);
        Arc::into_inner(self.log).unwrap().close();
        self.written.iter().collect()
    }
}

fn route(log: &Arc<CaptureLog>, settings: &str) -> Arc<RouteCapture> {
    let config = config(settings);
    RouteCapture::of(&config, &config.default_route, &rules(), log).unwrap()
}

/// An exchange of so many chunks of a hundred bytes.
fn exchange(route: &Arc<RouteCapture>, chunks: u64) -> Recording {
    let mut recording = route.begin(&Uuid::now_v7(), "/v1/chat/completions").unwrap();
    recording.request(b"{}");
    recording.head(&ResponseHead { status: 200, content_type: None, undecodable: false });
    for number in 0..chunks {
        recording.chunk(std::time::Duration::from_millis(number), &[b'x'; 100]);
    }
    *recording
}

fn finish(recording: Recording) {
    recording.finish("id".to_owned(), "at".to_owned(), 200, ExchangeEnd::Complete);
}

fn counted(log: &CaptureLog, outcome: &str) -> bool {
    let metrics = String::from_utf8(log.metrics.render().unwrap()).unwrap();
    metrics.contains(&format!("thinkgate_captures_total{{outcome=\"{outcome}\"}} 1\n"))
}

#[test]
fn a_long_exchange_is_kept_as_far_as_it_may_be() {
    let stalled = Stalled::new(8, 1 << 20);
    let route = route(&stalled.log, ", exchange_bytes: 1000");
    finish(exchange(&route, 3));
    finish(exchange(&route, 300));
    let mut long_request = route.begin(&Uuid::now_v7(), "/").unwrap();
    long_request.request(&[b' '; 1001]);
    finish(*long_request);
    drop(route);
    let written = stalled.written();
    let [short, long, no_request] = &written[..] else { panic!("{}", written.len()) };
    assert_eq!((short.chunks.len(), short.truncated), (3, None));
    assert_eq!(short.chunks[2], (2, Piece(Bytes::from_static(&[b'x'; 100]))));
    assert_eq!(short.request, Some(Piece(Bytes::from_static(b"{}"))));
    // Nine times a hundred bytes, and eight for the place of each.
    assert_eq!((long.chunks.len(), long.truncated), (9, Some(Truncated::Size)));
    assert_eq!((&no_request.request, no_request.truncated), (&None, Some(Truncated::Size)));
}

#[test]
fn all_exchanges_together_take_no_more_memory_than_they_may() {
    let stalled = Stalled::new(8, 24_000);
    let route = route(&stalled.log, ", exchange_bytes: 100 kB");
    let first = exchange(&route, 100);
    let second = exchange(&route, 100);
    finish(second);
    assert!(counted(&stalled.log, "memory_full"));
    // The first was there before, and what the second had is free again.
    finish(first);
    finish(exchange(&route, 1));
    drop(route);
    let written = stalled.written();
    assert_eq!(written.iter().map(|capture| capture.chunks.len()).collect::<Vec<_>>(), [100, 1]);
}

#[test]
fn what_a_slow_disk_has_no_room_for_is_dropped_and_counted() {
    let stalled = Stalled::new(1, 1 << 20);
    let route = route(&stalled.log, "");
    finish(exchange(&route, 1));
    assert!(!counted(&stalled.log, "queue_full"));
    finish(exchange(&route, 2));
    assert!(counted(&stalled.log, "queue_full"));
    drop(route);
    let written = stalled.written();
    assert_eq!(written.iter().map(|capture| capture.chunks.len()).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_sample_is_a_part_of_the_exchanges() {
    let Stalled { log, .. } = Stalled::new(1, 1 << 20);
    let chosen = |sample| {
        let route = route(&log, &format!(", sample: {sample}"));
        (0..2000).filter(|_| route.begin(&Uuid::now_v7(), "/").is_some()).count()
    };
    assert_eq!((chosen("0"), chosen("1")), (0, 2000));
    // Seven standard deviations to either side.
    assert!((350..650).contains(&chosen("0.25")));
}
