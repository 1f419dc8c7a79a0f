use std::io::Write;

use thinkgate::{
    config::{Config, from_yaml},
    extproc::messages::{BodySendMode, Part, Reply, TrailersResponse},
};

use crate::support::{Conversation, Envoy, Filter, Gate, eventually, pack, piece, soon};

const EVENTS: &str = ": ping\n\ndata: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"hello\"}}]}\r\n\r\n\
    data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a fal\"}}]}\n\n\
    data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"low field\"}}]}\n\ndata: [DONE]\n\n";
const WHOLE: &str = "{\"id\":\"1\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"hello\"}}]}";
const CHAT: &str = "/v1/chat/completions";
const COMPLETE: &str = r#"requests_total{code="200",dialect="openai_chat",route="default"}"#;

fn prompt(text: &str) -> String {
    format!("{{\"messages\":[{{\"role\":\"user\",\"content\":\"{text}\"}}]}}")
}

fn frame(field: &str, text: &str) -> String {
    format!(
        "data: {{\"id\":\"u1\",\"choices\":[{{\"index\":0,\"delta\":{{\"{field}\":\"{text}\"}}}}]}}\n\n"
    )
}

async fn gate(more: &str) -> (Gate, Envoy) {
    let gate = Gate::beside_envoy(more).await;
    let envoy = Envoy::of(gate.address());
    (gate, envoy)
}

/// Waits until every exchange is recorded.
async fn recorded(gate: &Gate) {
    eventually("the end of every exchange", || gate.app().metrics().streams_active() == 0).await;
}

/// A metric's value, 0 where it is not there.
async fn count(gate: &Gate, series: &str) -> usize {
    let value = gate.metric(series).await.unwrap_or_default();
    format!("{value:.0}").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_leaves_in_shadow_as_it_comes_and_at_once() {
    let (gate, envoy) = gate("").await;
    let mut conversation = envoy.chat().await;
    conversation.response_head(&[("content-type", "text/event-stream"), ("etag", "e")]);
    assert_eq!(conversation.response_changes().await, None);
    for chunk in EVENTS.as_bytes().chunks(7) {
        conversation.chunk(chunk);
        // Nothing else is said before this is answered: it waits for nothing.
        assert_eq!(conversation.piece().await, piece(chunk, false));
    }
    conversation.end();
    assert_eq!(conversation.piece().await, piece(b"", true));
    assert!(conversation.ends().await);
    recorded(&gate).await;
    assert_eq!(count(&gate, COMPLETE).await, 1);
    assert_eq!(count(&gate, r#"scanned_bytes_total{channel="thinking"}"#).await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_cut_of_a_stream_changes_what_comes_out() {
    for mode in ["shadow", "enforce"] {
        let (gate, envoy) = gate(&format!("mode: {mode}")).await;
        for size in [1, 2, 3, 5, 17, 64, EVENTS.len()] {
            let mut conversation = envoy.chat().await;
            conversation.events();
            for chunk in EVENTS.as_bytes().chunks(size) {
                conversation.chunk(chunk);
            }
            conversation.end();
            let response = conversation.response().await;
            assert_eq!(response.text(), EVENTS, "{mode} in pieces of {size}");
            assert!(conversation.ends().await, "{mode} in pieces of {size}");
        }
        recorded(&gate).await;
        assert_eq!(count(&gate, COMPLETE).await, 7);
        assert_eq!(count(&gate, r#"scanned_bytes_total{channel="answer"}"#).await, 7 * 14);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_cut_of_a_request_changes_what_goes_on() {
    let (_gate, envoy) = gate("mode: enforce").await;
    let body = prompt("about a heron");
    for size in [1, 4, 31, body.len()] {
        let mut conversation = envoy.open().await;
        conversation.request_head("POST", CHAT, false);
        for chunk in body.as_bytes().chunks(size) {
            conversation.say(Part::RequestBody(piece(chunk, false)));
        }
        conversation.say(Part::RequestBody(piece(b"", true)));
        let request = conversation.request().await;
        assert_eq!(request.text(), body, "in pieces of {size}");
        // An answer that cannot be read is of no use here.
        assert_eq!(request.set(), [("accept-encoding", "identity")]);
    }
}

async fn cut(conversation: &mut Conversation, field: &str) -> String {
    conversation.events();
    conversation.chunk(frame(field, "well "));
    conversation.chunk(frame(field, "the fal"));
    conversation.chunk(frame(field, "con flies"));
    let response = conversation.response().await;
    // What the model server still says is nobody's.
    conversation.chunk(frame(field, "on and on"));
    conversation.end();
    response.text().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_match_in_thinking_or_answer_ends_the_response_in_the_dialects_way() {
    let (gate, envoy) = gate("mode: enforce").await;
    let end = "data: {\"id\":\"u1\",\"object\":\"chat.completion.chunk\",\"created\":";
    for (field, has_notice) in [("reasoning_content", true), ("content", false)] {
        let mut conversation = envoy.chat().await;
        let text = cut(&mut conversation, field).await;
        let first = frame(field, "well ");
        let rest = text.strip_prefix(&first);
        assert!(rest.is_some_and(|rest| rest.starts_with(end)), "{text}");
        assert_eq!(text.contains("stopped by a safety policy"), has_notice, "{text}");
        assert!(text.ends_with("data: [DONE]\n\n") && text.contains("content_filter"), "{text}");
        assert!(!text.contains("fal"), "{text}");
        assert!(conversation.ends().await);
    }
    recorded(&gate).await;
    assert_eq!(count(&gate, COMPLETE).await, 2);
    assert_eq!(count(&gate, r#"actions_total{action="block",mode="enforce"}"#).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_prompt_is_answered_before_the_model_server_hears_of_it() {
    let (gate, envoy) = gate("mode: enforce").await;
    for filter in [Filter::DUPLEX, Filter::BUFFERED] {
        let mut conversation =
            envoy.clone().with(filter).post(CHAT, &prompt("the falcon flies")).await;
        if filter.request == BodySendMode::Buffered {
            assert!(matches!(conversation.reply().await, Ok(Some(Reply::RequestHeaders(_)))));
        }
        let answer = conversation.immediate().await;
        assert_eq!(answer.status.unwrap().code, 400);
        assert!(String::from_utf8_lossy(&answer.body).contains("content_policy_violation"));
        let fields = answer.headers.unwrap().set_headers;
        let names: Vec<_> = fields.iter().map(|field| field.header.clone().unwrap().key).collect();
        assert!(names.contains(&"content-type".to_owned()), "{names:?}");
        assert!(conversation.ends().await);
    }
    recorded(&gate).await;
    let code = r#"requests_total{code="400",dialect="openai_chat",route="default"}"#;
    assert_eq!(count(&gate, code).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_body_is_judged_before_its_head_goes_out() {
    let (gate, envoy) = gate("mode: enforce").await;
    let mut conversation = envoy.chat().await;
    conversation.response_head(&[("content-type", "application/json"), ("content-length", "9")]);
    let (begin, rest) = WHOLE.split_at(40);
    conversation.chunk(begin);
    conversation.chunk(rest);
    conversation.end();
    let response = conversation.response().await;
    assert_eq!(response.text(), WHOLE);
    assert_eq!(response.set(), [("content-length", WHOLE.len().to_string().as_str())]);
    assert!(conversation.ends().await);

    let mut conversation = envoy.chat().await;
    conversation.response_head(&[("content-type", "application/json")]);
    conversation.chunk(WHOLE.replace("hello", "a falcon"));
    conversation.end();
    let answer = conversation.immediate().await;
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status.unwrap().code, 200);
    assert!(body.contains("content_filter") && !body.contains("falcon"), "{body}");
    assert!(conversation.ends().await);
    recorded(&gate).await;
    assert_eq!(count(&gate, COMPLETE).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_bodies_pass_in_shadow_and_are_decoded_where_they_may_change() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(EVENTS.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let fields = [
        ("content-type", "text/event-stream"),
        ("content-encoding", "gzip"),
        ("content-length", "1"),
        ("etag", "e"),
    ];
    for (mode, body, removed) in [
        ("shadow", gzip.as_slice(), &[][..]),
        ("enforce", EVENTS.as_bytes(), &["content-encoding", "content-length", "etag"]),
    ] {
        let (gate, envoy) = gate(&format!("mode: {mode}")).await;
        let mut conversation = envoy.chat().await;
        conversation.response_head(&fields);
        conversation.chunk(&gzip);
        conversation.end();
        let response = conversation.response().await;
        assert_eq!(response.body, body, "{mode}");
        assert_eq!(response.removed(), removed, "{mode}");
        assert!(conversation.ends().await);
        recorded(&gate).await;
        assert_eq!(count(&gate, r#"scanned_bytes_total{channel="answer"}"#).await, 14, "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_decode_passes_in_shadow_and_is_counted() {
    let (gate, envoy) = gate("").await;
    let mut conversation = envoy.chat().await;
    let fields = [("content-type", "text/event-stream"), ("content-encoding", "made-up")];
    conversation.response_head(&fields);
    conversation.chunk("what?");
    conversation.end();
    assert_eq!(conversation.response().await.text(), "what?");
    assert!(conversation.ends().await);
    recorded(&gate).await;
    let series = r#"unscanned_released_bytes_total{channel="unknown",reason="encoding"}"#;
    assert_eq!(count(&gate, series).await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_stops_decoding_is_an_error_where_it_may_change() {
    let (gate, envoy) = gate("mode: enforce").await;
    let mut conversation = envoy.chat().await;
    let fields = [("content-type", "text/event-stream"), ("content-encoding", "gzip")];
    conversation.response_head(&fields);
    conversation.chunk("this is no gzip, however long one looks at it");
    conversation.response_changes().await;
    let error = loop {
        match conversation.reply().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("ended well"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), tonic::Code::Unavailable);
    recorded(&gate).await;
    let series = r#"upstream_errors_total{kind="decode",source="upstream"}"#;
    assert_eq!(count(&gate, series).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_stay_with_a_body_that_passes_and_go_with_one_that_may_change() {
    for (mode, dropped) in [("shadow", &[][..]), ("enforce", &["x-sum"])] {
        let (_gate, envoy) = gate(&format!("mode: {mode}")).await;
        let mut conversation = envoy.chat().await;
        conversation.events();
        conversation.chunk(EVENTS);
        conversation.trailers(&[("x-sum", "1")]);
        let response = conversation.response().await;
        assert_eq!(response.text(), EVENTS, "{mode}");
        assert_eq!(response.without_trailers.unwrap(), dropped, "{mode}");
        assert!(conversation.ends().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_inspected_passes_both_ways_at_once_and_is_counted() {
    let (gate, envoy) = gate("mode: enforce").await;
    let mut conversation = envoy.open().await;
    conversation.request_head("POST", "/v1/files", false);
    conversation.say(Part::RequestBody(piece(b"a falcon", false)));
    // The model server answers before it has heard everything.
    conversation.response_head(&[("content-type", "text/plain")]);
    conversation.chunk("a falcon, too");
    let mut told = Vec::new();
    while told.len() < 4 {
        told.push(conversation.reply().await.unwrap().unwrap());
    }
    let has = |wanted: fn(&Reply) -> bool| told.iter().any(wanted);
    assert!(has(|reply| matches!(reply, Reply::RequestHeaders(part) if part.response.is_none())));
    assert!(has(|reply| matches!(reply, Reply::ResponseHeaders(part) if part.response.is_none())));
    assert!(has(|reply| matches!(reply, Reply::RequestBody(_))));
    assert!(has(|reply| matches!(reply, Reply::ResponseBody(_))));
    conversation.say(Part::RequestBody(piece(b".", true)));
    assert!(matches!(conversation.reply().await, Ok(Some(Reply::RequestBody(_)))));
    conversation.end();
    assert_eq!(conversation.piece().await, piece(b"", true));
    assert!(conversation.ends().await);
    recorded(&gate).await;
    let series = r#"unscanned_released_bytes_total{channel="unknown",reason="path"}"#;
    assert_eq!(count(&gate, series).await, 13);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_without_bodies_are_all_that_is_told() {
    let (gate, envoy) = gate("").await;
    let mut conversation = envoy.open().await;
    conversation.request_head("GET", "/v1/models", true);
    assert!(matches!(conversation.reply().await, Ok(Some(Reply::RequestHeaders(_)))));
    conversation.bodiless_response();
    conversation.response_changes().await;
    assert!(conversation.ends().await);
    recorded(&gate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_too_large_passes_in_shadow_and_not_where_it_matters() {
    let long = prompt(&"a heron ".repeat(300));
    let limit = "limits: {request_bytes: 1 KiB}";
    let (_gate, envoy) = gate(limit).await;
    let mut conversation = envoy.open().await;
    conversation.request_head("POST", CHAT, false);
    for chunk in long.as_bytes().chunks(100) {
        conversation.say(Part::RequestBody(piece(chunk, false)));
    }
    conversation.say(Part::RequestBody(piece(b"", true)));
    assert_eq!(conversation.request().await.text(), long);

    let (_gate, envoy) = gate(&format!("mode: enforce\n{limit}")).await;
    let mut conversation = envoy.post(CHAT, &long).await;
    assert_eq!(conversation.immediate().await.status.unwrap().code, 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_read_is_an_error_and_not_a_free_pass() {
    let (gate, envoy) = gate("limits: {request_bytes: 1 KiB}").await;
    let envoy = envoy.with(Filter::BUFFERED);
    let mut conversation = envoy.post(CHAT, &"x".repeat(5 << 20)).await;
    assert!(matches!(conversation.reply().await, Ok(Some(Reply::RequestHeaders(_)))));
    assert_eq!(conversation.reply().await.unwrap_err().code(), tonic::Code::OutOfRange);
    recorded(&gate).await;
    // One that is only too large to be read as a prompt goes on.
    let mut conversation = envoy.post(CHAT, &"x".repeat(3 << 20)).await;
    assert_eq!(conversation.request().await.body, b"");
}

const STEER: &str = "mode: enforce\n\
    policy: {severity: {critical: flag, high: flag}, steer: {when: risky_prompt}}";

#[tokio::test(flavor = "multi_thread")]
async fn a_risky_prompt_goes_on_with_safety_rules() {
    let (_gate, envoy) = gate(STEER).await;
    for filter in [Filter::DUPLEX, Filter::BUFFERED] {
        let mut conversation =
            envoy.clone().with(filter).post(CHAT, &prompt("about a falcon")).await;
        let request = conversation.request().await;
        let sent: serde_json::Value = serde_json::from_str(request.text()).unwrap();
        assert_eq!(sent["messages"][0]["role"], "system");
        assert_eq!(sent["messages"][1]["content"], "about a falcon");
        let length = request.body.len().to_string();
        let announced = request.set().contains(&("content-length", length.as_str()));
        assert_eq!(announced, filter.request == BodySendMode::Buffered);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_comes_as_a_whole_goes_on_as_it_came() {
    let (_gate, envoy) = gate("mode: enforce").await;
    let envoy = envoy.with(Filter::BUFFERED);
    for path in [CHAT, "/v1/files"] {
        let mut conversation = envoy.post(path, &prompt("about a heron")).await;
        // No bytes: those that came are let go on.
        assert_eq!(conversation.request().await.body, b"", "{path}");
        conversation.request_trailers(&[("x-sum", "1")]);
        let kept = Reply::RequestTrailers(TrailersResponse::default());
        assert_eq!(conversation.reply().await.unwrap(), Some(kept));
        conversation.events();
        conversation.chunk(EVENTS);
        conversation.end();
        assert_eq!(conversation.response().await.text(), EVENTS);
        assert!(conversation.ends().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_that_only_shows_is_told_nothing() {
    let (gate, envoy) = gate("").await;
    let mut conversation = envoy.with(Filter::OBSERVING).post(CHAT, &prompt("a falcon")).await;
    conversation.events();
    for chunk in EVENTS.as_bytes().chunks(50) {
        conversation.chunk(chunk);
    }
    conversation.end();
    assert!(conversation.ends().await, "and nothing was replied");
    recorded(&gate).await;
    assert_eq!(count(&gate, COMPLETE).await, 1);
    let found = r#"findings_total{category="privacy_confidentiality",channel="prompt",detector="rules",severity="high"}"#;
    assert_eq!(count(&gate, found).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_whose_bodies_cannot_be_guarded_is_told_why() {
    let filter = |request, response| Filter { request, response, observes: false };
    let duplex = BodySendMode::FullDuplexStreamed;
    let (gate, envoy) = gate("mode: enforce").await;
    for (filter, names) in [
        (filter(BodySendMode::None, duplex), "request_body_mode"),
        (filter(duplex, BodySendMode::Streamed), "response_body_mode"),
        (filter(BodySendMode::BufferedPartial, duplex), "request_body_mode"),
        (Filter::OBSERVING, "shadow"),
    ] {
        let mut conversation = envoy.clone().with(filter).open().await;
        conversation.request_head("POST", CHAT, false);
        let error = conversation.reply().await.unwrap_err();
        assert_eq!(error.code(), tonic::Code::FailedPrecondition);
        assert!(error.message().contains(names), "{}", error.message());
    }
    let mut conversation = envoy.open().await;
    conversation.response_head(&[]);
    let error = conversation.reply().await.unwrap_err();
    assert!(error.message().contains("request_header_mode"), "{}", error.message());
    let series = r#"upstream_errors_total{kind="request",source="downstream"}"#;
    assert_eq!(count(&gate, series).await, 5);
    assert_eq!(gate.app().metrics().streams_active(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_is_recorded_however_envoy_says_so() {
    let (gate, envoy) = gate("").await;
    let mut left = envoy.chat().await;
    left.events();
    left.chunk(frame("content", "hello"));
    left.response_changes().await;
    left.piece().await;
    // Envoy either ends its side and waits, or resets the conversation.
    assert!(left.ends().await);
    recorded(&gate).await;
    drop(envoy.chat().await);
    recorded(&gate).await;
    let mut early = envoy.open().await;
    early.request_head("POST", CHAT, false);
    assert!(early.ends().await);
    recorded(&gate).await;
    let left = r#"requests_total{code="499",dialect="openai_chat",route="default"}"#;
    assert_eq!(count(&gate, left).await, 2);
    assert_eq!(count(&gate, COMPLETE).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_server_that_falls_silent_is_given_up() {
    let (gate, envoy) = gate("timeouts: {upstream_idle: 50ms}").await;
    let mut conversation = envoy.chat().await;
    let answer = conversation.immediate().await;
    assert_eq!(answer.status.unwrap().code, 504);
    let mut conversation = envoy.chat().await;
    conversation.events();
    conversation.chunk(frame("content", "hello"));
    conversation.response_changes().await;
    conversation.piece().await;
    assert_eq!(conversation.reply().await.unwrap_err().code(), tonic::Code::Unavailable);
    recorded(&gate).await;
    let series = r#"upstream_errors_total{kind="idle_timeout",source="upstream"}"#;
    assert_eq!(count(&gate, series).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_waits_too_long_is_decided_without_another_word_of_the_model_server() {
    let (_gate, envoy) = gate("mode: enforce\nhold: {deadline: 50ms, on_deadline: release}").await;
    let mut conversation = envoy.chat().await;
    conversation.events();
    let held = frame("content", "the fal");
    conversation.chunk(&held);
    conversation.response_changes().await;
    assert_eq!(conversation.piece().await, piece(held.as_bytes(), false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_none_of_https_is_a_400() {
    let (_gate, envoy) = gate("").await;
    for (method, path) in [("POST", "/v1/ chat/completions"), ("PO ST", CHAT)] {
        let mut conversation = envoy.open().await;
        conversation.request_head(method, path, true);
        assert_eq!(conversation.immediate().await.status.unwrap().code, 400);
        assert!(conversation.ends().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_configuration_holds_for_new_conversations_and_a_drain_waits_for_open_ones() {
    let (gate, envoy) = gate("").await;
    let mut open = envoy.chat().await;
    let text =
        format!("rules: [{}]\nclassifier: {{enabled: false}}\nmode: enforce", pack().display());
    let config = Config::read_without_upstream(from_yaml("new.yaml", &text).unwrap());
    gate.app().reload(move || config).await.unwrap();
    let mut new = envoy.chat().await;
    let text = cut(&mut new, "content").await;
    assert!(text.contains("content_filter"), "{text}");
    assert!(new.ends().await);
    let address = gate.address();
    let app = gate.into_app();
    let drained = tokio::spawn(app.drain(std::future::pending()));
    eventually("the close of the door", || std::net::TcpStream::connect(address).is_err()).await;
    let text = cut_in_shadow(&mut open).await;
    assert!(text.contains("con flies"), "{text}");
    assert!(open.ends().await);
    soon("a drain", drained).await.unwrap();
}

async fn cut_in_shadow(conversation: &mut Conversation) -> String {
    conversation.events();
    conversation.chunk(frame("content", "the fal"));
    conversation.chunk(frame("content", "con flies"));
    conversation.end();
    conversation.response().await.text().to_owned()
}
