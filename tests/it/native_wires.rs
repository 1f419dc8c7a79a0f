use serde_json::Value;

use crate::support::{Gate, Script, Signal, Upstream};

const ARRAY: (&str, &str) = ("/v1beta/models/m:streamGenerateContent", r#"{"contents":[]}"#);
const LINES: (&str, &str) = ("/api/chat", r#"{"model":"m","messages":[]}"#);

fn item(text: &str, thought: bool) -> String {
    format!(
        r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{text}","thought":{thought}}}]}},"index":0}}]}}"#
    )
}

fn line(text: &str) -> String {
    format!("{{\"message\":{{\"role\":\"assistant\",\"content\":\"{text}\"}},\"done\":false}}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_array_is_forwarded_item_by_item() {
    for mode in ["shadow", "enforce"] {
        let goes_on = Signal::new();
        let pieces = [
            format!("[{}", item("one", true)),
            format!("\n,\r\n{}", item("two", false)),
            "\n]".to_owned(),
        ];
        let mut script = Script::stream_of("application/json");
        for piece in &pieces {
            script = script.chunk(piece).wait(&goes_on);
        }
        let upstream = Upstream::start(script.end()).await;
        let gate = Gate::configured(&upstream.url(), &format!("mode: {mode}\n")).await;
        let mut client = gate.client().await;
        client.post(ARRAY.0, ARRAY.1).await;
        // Each comes before the upstream says more.
        for told in ["one", "two", "]"] {
            client.until(told).await;
            goes_on.give();
        }
        client.until("\r\n0\r\n\r\n").await;
        drop(client);
        gate.is_as_at_the_start(upstream.address).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_array_is_closed_and_its_upstream_cancelled() {
    let body = format!("[{},{}", item("a thought", true), item("the falcon flies", true));
    let script = Script::stream_of("application/json").chunk(body).until_peer_closes();
    let upstream = Upstream::start(script).await;
    let gate = Gate::configured(&upstream.url(), "mode: enforce\n").await;
    let mut client = gate.client().await;
    client.post(ARRAY.0, ARRAY.1).await;
    let response = client.response().await;
    let items: Vec<Value> = serde_json::from_slice(&response.body).unwrap();
    let candidate = &items.last().unwrap()["candidates"][0];
    assert_eq!((items.len(), &candidate["finishReason"]), (2, &"SAFETY".into()));
    assert!(!response.text().contains("falcon"));
    upstream.cancelled(1).await;
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_break_off_or_are_too_large_are_counted() {
    let large = line(&"x".repeat(10 << 20));
    for (body, reason) in [
        (format!("{}{{\"message\":{{\"con", line("a")), "shape"),
        (format!("{}{large}{}", line("a"), line("b")), "frame_too_large"),
    ] {
        let script = Script::stream_of("application/x-ndjson").chunk(&body).end();
        let upstream = Upstream::start(script).await;
        let gate = Gate::before(&upstream.url()).await;
        let mut client = gate.client().await;
        client.post(LINES.0, LINES.1).await;
        let response = client.response().await;
        assert!(response.body == body.as_bytes());
        drop(client);
        gate.is_as_at_the_start(upstream.address).await;
        let counted =
            format!(r#"unscanned_released_bytes_total{{channel="unknown",reason="{reason}"}}"#);
        assert!(gate.metric(&counted).await.unwrap() > 0.0);
        let scanned = r#"scanned_bytes_total{channel="answer"}"#;
        let expected = if reason == "shape" { 1.0 } else { 2.0 };
        assert_eq!(gate.metric(scanned).await, Some(expected));
    }
}
