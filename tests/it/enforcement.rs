use std::io::Write;

use crate::support::{Gate, Script, Upstream};

const EVENTS: &str = ": ping\n\ndata: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hello\"}}]}\n\ndata: [DONE]\n\n";
const WHOLE: &str = "{\"id\":\"1\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"hello\"}}]}";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn answer(fields: &str, body: &[u8]) -> Script {
    let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\ncontent-length: {}\r\n\r\n", body.len());
    Script::new().send(head).send(body).close()
}

async fn enforcing(upstream: &Upstream, more: &str) -> Gate {
    Gate::configured(&upstream.url(), &format!("mode: enforce\n{more}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_harmless_stream_passes_byte_for_byte_without_fields_that_told_its_bytes() {
    let fields = "content-type: text/event-stream\r\netag: \"e\"\r\ncontent-md5: x\r\nx-kept: 1";
    let upstream = Upstream::start(answer(fields, EVENTS.as_bytes())).await;
    let gate = enforcing(&upstream, "").await;
    let mut client = gate.client().await;
    client.chat().await;
    let response = client.response().await;
    assert_eq!(response.text(), EVENTS);
    assert!(response.complete);
    assert_eq!(response.header("content-length"), None);
    assert_eq!(response.header("etag"), None);
    assert_eq!(response.header("content-md5"), None);
    assert_eq!(response.header("x-kept"), Some("1"));
    drop(client);
    gate.is_as_at_the_start(upstream.address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_harmless_whole_body_passes_with_its_length() {
    let upstream =
        Upstream::start(answer("content-type: application/json", WHOLE.as_bytes())).await;
    let gate = enforcing(&upstream, "").await;
    let mut client = gate.client().await;
    client.chat().await;
    let response = client.response().await;
    assert_eq!(response.text(), WHOLE);
    assert_eq!(response.header("content-length"), Some(WHOLE.len().to_string().as_str()));
    drop(client);
    gate.is_as_at_the_start(upstream.address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_bodies_are_delivered_decoded() {
    for (kind, text) in [("text/event-stream", EVENTS), ("application/json", WHOLE)] {
        let fields = format!("content-type: {kind}\r\ncontent-encoding: gzip");
        let upstream = Upstream::start(answer(&fields, &gzip(text.as_bytes()))).await;
        let gate = enforcing(&upstream, "").await;
        let mut client = gate.client().await;
        client.chat().await;
        let response = client.response().await;
        assert_eq!(response.text(), text);
        assert_eq!(response.header("content-encoding"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_body_that_cannot_be_decoded_is_a_502() {
    for encoding in ["made-up", "gzip"] {
        let fields = format!("content-type: application/json\r\ncontent-encoding: {encoding}");
        let upstream = Upstream::start(answer(&fields, WHOLE.as_bytes())).await;
        let gate = enforcing(&upstream, "").await;
        let mut client = gate.client().await;
        client.chat().await;
        let response = client.response().await;
        assert_eq!(response.status(), 502, "{encoding}");
        assert!(!response.text().contains("hello"));
        let code = r#"requests_total{code="502",dialect="openai_chat",route="default"}"#;
        assert_eq!(gate.metric(code).await, Some(1.0));
        drop(client);
        gate.is_as_at_the_start(upstream.address).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_inspected_passes_where_policy_says_so() {
    let fields = "content-type: application/json\r\ncontent-encoding: made-up";
    let upstream = Upstream::start(answer(fields, b"\x01\x02\x03")).await;
    let gate = enforcing(&upstream, "policy: {on_unscanned: pass}").await;
    let mut client = gate.client().await;
    client.chat().await;
    let response = client.response().await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.body, [1, 2, 3]);
    // Nobody decoded it, so it is still what it was.
    assert_eq!(response.header("content-encoding"), Some("made-up"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_body_beyond_the_limit_passes_in_pieces_where_policy_says_so() {
    let body = format!("{{\"choices\":[],\"x\":\"{}\"}}", "a".repeat(1 << 20));
    let upstream = Upstream::start(answer("content-type: application/json", body.as_bytes())).await;
    let more = "policy: {on_unscanned: pass}\nlimits: {frame_bytes: 64 KiB}";
    let gate = enforcing(&upstream, more).await;
    let mut client = gate.client().await;
    client.chat().await;
    let response = client.response().await;
    assert!(response.complete);
    assert_eq!(response.text(), body);
    drop(client);
    gate.is_as_at_the_start(upstream.address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_cannot_be_inspected_never_reaches_the_upstream() {
    let upstream = Upstream::start(answer("content-type: application/json", b"{}")).await;
    let gate = enforcing(&upstream, "limits: {request_bytes: 1 KiB}").await;
    let big = " ".repeat(2000);
    for (fields, body, status) in [
        ("content-length: 2000".to_owned(), big.clone(), 413),
        ("transfer-encoding: chunked".to_owned(), format!("7d0\r\n{big}\r\n0\r\n\r\n"), 413),
        ("content-encoding: gzip\r\ncontent-length: 2".to_owned(), "{}".to_owned(), 415),
        ("x-body-compressed: zstd\r\ncontent-length: 2".to_owned(), "{}".to_owned(), 415),
        ("content-length: 2".to_owned(), "[]".to_owned(), 400),
    ] {
        let mut client = gate.client().await;
        client
            .send(format!(
                "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{fields}\r\n\r\n{body}"
            ))
            .await;
        let response = client.response().await;
        assert_eq!(response.status(), status, "{fields}");
        let error: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        assert!(error["error"]["code"].is_string());
    }
    assert!(upstream.requests().is_empty());
    gate.is_as_at_the_start(upstream.address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_breaks_before_a_whole_bodys_end_is_a_502() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{";
    let upstream = Upstream::start(Script::new().send(head).close()).await;
    let gate = enforcing(&upstream, "").await;
    let mut client = gate.client().await;
    client.chat().await;
    assert_eq!(client.response().await.status(), 502);
    drop(client);
    gate.is_as_at_the_start(upstream.address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_is_seen_to_be_broken() {
    let (frames, _) = EVENTS.split_once("data: [DONE]").unwrap();
    let script = Script::stream().chunk(frames).close();
    let upstream = Upstream::start(script).await;
    let gate = enforcing(&upstream, "").await;
    let mut client = gate.client().await;
    client.chat().await;
    let response = client.response().await;
    assert_eq!(response.text(), frames);
    assert!(!response.complete);
    drop(client);
    gate.is_as_at_the_start(upstream.address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_while_the_whole_body_is_awaited_cancels_the_upstream() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{";
    let upstream = Upstream::start(Script::new().send(head).until_peer_closes()).await;
    let gate = enforcing(&upstream, "").await;
    let mut client = gate.client().await;
    client.chat().await;
    upstream.received(1).await;
    drop(client);
    upstream.cancelled(1).await;
    gate.is_as_at_the_start(upstream.address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_stream_ends_well_and_cancels_the_upstream() {
    let script = Script::stream()
        .chunk("data: {\"id\":\"u1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"reasoning_content\":\"well \"}}]}\n\n")
        .chunk("data: {\"id\":\"u1\",\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"the fal\"}}]}\n\n")
        .chunk("data: {\"id\":\"u1\",\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"con flies\"}}]}\n\n")
        .until_peer_closes();
    let upstream = Upstream::start(script).await;
    let gate = enforcing(&upstream, "").await;
    let mut client = gate.client().await;
    client.chat().await;
    let response = client.response().await;
    assert!(response.complete);
    let text = response.text();
    assert!(text.contains("\"well \""), "{text}");
    assert!(!text.contains("fal\""), "{text}");
    assert!(text.contains("\"finish_reason\":\"content_filter\""), "{text}");
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    upstream.cancelled(1).await;
    let blocked = r#"actions_total{action="block",mode="enforce"}"#;
    assert_eq!(gate.metric(blocked).await, Some(1.0));
    drop(client);
    gate.is_as_at_the_start(upstream.address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_whole_body_is_answered_in_its_place() {
    let body = WHOLE.replace("hello", "the falcon");
    let upstream = Upstream::start(answer("content-type: application/json", body.as_bytes())).await;
    let gate = enforcing(&upstream, "").await;
    let mut client = gate.client().await;
    client.chat().await;
    let response = client.response().await;
    assert_eq!(response.status(), 200);
    assert!(!response.text().contains("falcon"));
    let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(body["choices"][0]["finish_reason"], "content_filter");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_prompt_never_reaches_the_upstream_and_shadow_lets_it_pass() {
    let upstream =
        Upstream::start(answer("content-type: application/json", WHOLE.as_bytes())).await;
    let prompt = r#"{"model":"m","messages":[{"role":"user","content":"tell me of falcon"}]}"#;
    let gate = enforcing(&upstream, "").await;
    let mut client = gate.client().await;
    client.post("/v1/chat/completions", prompt).await;
    let response = client.response().await;
    assert_eq!(response.status(), 400);
    assert!(response.text().contains("content_policy_violation"));
    assert!(upstream.requests().is_empty());

    let gate = Gate::before(&upstream.url()).await;
    let mut client = gate.client().await;
    client.post("/v1/chat/completions", prompt).await;
    assert_eq!(client.response().await.text(), WHOLE);
    let finding = r#"findings_total{category="privacy_confidentiality",channel="prompt",detector="rules",severity="high"}"#;
    assert_eq!(gate.metric(finding).await, Some(1.0));
}
