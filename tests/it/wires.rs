//! Responses and Messages through sockets: how a block ends them, what is fetched later, what breaks.

use serde_json::{Value, json};

use crate::support::{Gate, Script, Upstream};

fn named(event: &Value) -> String {
    format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())
}

fn delta(text: &str) -> String {
    named(
        &json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": text}),
    )
}

fn response_begin() -> String {
    [
        json!({"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1", "object": "response", "output": []}}),
        json!({"type": "response.output_item.added", "sequence_number": 1, "output_index": 0,
            "item": {"id": "msg_1", "type": "message", "role": "assistant", "content": []}}),
    ]
    .iter()
    .map(named)
    .collect()
}

fn message_begin(block: &str) -> String {
    let message = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": {}});
    [
        json!({"type": "message_start", "message": message}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": block, block: ""}}),
    ]
    .iter()
    .map(named)
    .collect()
}

async fn enforcing(upstream: &Upstream) -> Gate {
    Gate::configured(&upstream.url(), "mode: enforce").await
}

const RESPONSES: &str = "/v1/responses";
const MESSAGES: &str = "/v1/messages";
const ASKED: &str = r#"{"model":"m","input":"hi","messages":[],"stream":true}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_block_ends_the_stream_in_its_own_words_and_cancels_the_upstream() {
    let thinking = json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "the falcon flies"}});
    for (path, begin, text, end, dialect) in [
        (
            RESPONSES,
            response_begin(),
            delta("the falcon flies"),
            "response.incomplete",
            "openai_responses",
        ),
        (MESSAGES, message_begin("thinking"), named(&thinking), "message_stop", "anthropic"),
    ] {
        let script = Script::stream().chunk(&begin).chunk(text).until_peer_closes();
        let upstream = Upstream::start(script).await;
        let gate = enforcing(&upstream).await;
        let mut client = gate.client().await;
        client.post(path, ASKED).await;
        let response = client.response().await;
        upstream.cancelled(1).await;
        assert!(response.complete && response.text().starts_with(&begin), "{path}");
        assert!(!response.text().contains("falcon"), "{path}");
        assert!(response.text().contains("stopped by a safety policy"), "{path}");
        let last = response.text().trim_end().rsplit("\n\n").next().unwrap();
        assert!(last.starts_with(&format!("event: {end}\n")), "{last}");
        let code =
            format!("requests_total{{code=\"200\",dialect=\"{dialect}\",route=\"default\"}}");
        assert_eq!(gate.metric(&code).await, Some(1.0));
        drop(client);
        gate.is_as_at_the_start(upstream.address).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_is_fetched_or_cancelled_is_read_like_one_that_is_made() {
    let body = json!({"id": "resp_1", "object": "response", "status": "completed", "model": "m",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "a falcon"}]}]});
    for request in [
        "GET /v1/responses/resp_1",
        "GET /v1/responses/resp_1?include=x",
        "POST /v1/responses/resp_1/cancel",
    ] {
        let upstream = Upstream::start(Script::answer("application/json", body.to_string())).await;
        let gate = enforcing(&upstream).await;
        let mut client = gate.client().await;
        client.send(format!("{request} HTTP/1.1\r\nhost: gate\r\ncontent-length: 0\r\n\r\n")).await;
        let response = client.response().await;
        let told: Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(response.status(), 200, "{request}");
        assert_eq!(told["incomplete_details"]["reason"], "content_filter", "{request}");
        let asked = upstream.requests().remove(0);
        assert!(asked.head.starts_with(request) && asked.body.is_empty(), "{}", asked.head);
    }
    let script =
        Script::stream().chunk(response_begin()).chunk(delta("falcon flies")).until_peer_closes();
    let upstream = Upstream::start(script).await;
    let gate = enforcing(&upstream).await;
    let mut client = gate.client().await;
    client.send("GET /v1/responses/resp_1?stream=true HTTP/1.1\r\nhost: gate\r\n\r\n").await;
    assert!(client.response().await.text().contains("response.incomplete"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_else_is_asked_of_responses_passes() {
    let body = r#"{"object":"list","data":[{"content":[{"text":"falcon"}]}]}"#;
    let upstream = Upstream::start(Script::answer("application/json", body)).await;
    let gate = enforcing(&upstream).await;
    let mut client = gate.client().await;
    client.send("GET /v1/responses/resp_1/input_items HTTP/1.1\r\nhost: gate\r\n\r\n").await;
    assert_eq!(client.response().await.text(), body);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_of_ten_megabytes_is_counted_in_shadow_mode_and_not_let_through_in_enforce_mode() {
    let item = json!({"type": "response.output_item.done", "output_index": 0,
        "item": {"type": "message", "content": [{"type": "output_text", "text": "a".repeat(10 << 20)}]}});
    let body = response_begin() + &named(&item);
    let script = || Script::stream().chunk(&body).end();
    let upstream = Upstream::start(script()).await;
    let gate = Gate::before(&upstream.url()).await;
    let mut client = gate.client().await;
    client.post(RESPONSES, ASKED).await;
    assert!(client.response().await.text() == body);
    let unscanned = r#"unscanned_released_bytes_total{channel="unknown",reason="frame_too_large"}"#;
    assert!(gate.metric(unscanned).await > Some(1e7));

    let upstream = Upstream::start(script()).await;
    let gate = enforcing(&upstream).await;
    let mut client = gate.client().await;
    client.post(RESPONSES, ASKED).await;
    let response = client.response().await;
    assert!(response.complete && response.body.len() < 10_000);
    assert!(response.text().contains("event: response.incomplete\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_the_shape_that_the_clients_read() {
    let upstream = Upstream::start(Script::new().reset()).await;
    let gate = enforcing(&upstream).await;
    for (path, ask, status) in [
        (MESSAGES, ASKED, 502),
        (MESSAGES, r#"{"messages":[{"role":"user","content":"a falcon"}]}"#, 400),
        (MESSAGES, "no request", 400),
    ] {
        let mut client = gate.client().await;
        client.post(path, ask).await;
        let response = client.response().await;
        let error: Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!((response.status(), &error["type"]), (status, &json!("error")), "{ask}");
        assert!(error["error"]["message"].is_string());
    }
    let mut client = gate.client().await;
    client.post(RESPONSES, r#"{"input":"a falcon"}"#).await;
    let error: Value = serde_json::from_slice(&client.response().await.body).unwrap();
    assert_eq!(error["error"]["param"], "input");
}
