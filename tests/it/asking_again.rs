//! The model asked again where its thinking was blocked, and what is done about outcomes, over real connections.

use std::{io::Write, path::Path};

use serde_json::{Value, json};

use crate::support::{Client, Gate, Script, Signal, Upstream, soon};

const ASK: &str = "policy: {ask_again: {when: blocked_thinking, timeout: 10s, parameters: {reasoning_effort: low}}}";
const NOTICE: &str = "This response was stopped by a safety policy.";
const PATH: &str = "/v1/chat/completions";

fn chunk_of(id: &str, delta: &Value, finish: Option<&str>) -> String {
    let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
    format!("data: {}\n\n", json!({"id": id, "created": 1, "model": "m", "choices": [choice]}))
}

fn first() -> [String; 3] {
    [
        chunk_of("one", &json!({"role": "assistant", "content": ""}), None),
        chunk_of("one", &json!({"reasoning": "well, "}), None),
        chunk_of("one", &json!({"reasoning": "the falcon flies "}), None),
    ]
}

fn second(id: &str) -> [String; 5] {
    [
        chunk_of(id, &json!({"role": "assistant", "content": ""}), None),
        chunk_of(id, &json!({"reasoning": "better. "}), None),
        chunk_of(id, &json!({"content": "A kestrel."}), None),
        chunk_of(id, &json!({}), Some("stop")),
        "data: [DONE]\n\n".to_owned(),
    ]
}

/// A stream whose upstream goes on until it is left.
fn blocked() -> Script {
    first().iter().fold(Script::stream(), Script::chunk).until_peer_closes()
}

fn whole(reasoning: &str, answer: &str) -> String {
    let message = json!({"role": "assistant", "content": answer, "reasoning": reasoning});
    json!({"id": "w", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": {"total_tokens": 4}}).to_string()
}

async fn asking(upstream: &Upstream, more: &str) -> Gate {
    Gate::configured(&upstream.url(), &format!("mode: enforce\n{more}")).await
}

async fn post(client: &mut Client, stream: bool) {
    let body =
        json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hi"}]});
    let body = body.to_string();
    let length = body.len();
    let fields = "authorization: Bearer k\r\ncontent-type: application/json";
    let head = format!(
        "POST {PATH}?v=2 HTTP/1.1\r\nhost: gate\r\n{fields}\r\ncontent-length: {length}\r\n\r\n"
    );
    client.send(format!("{head}{body}")).await;
}

async fn result(gate: &Gate, result: &str) -> f64 {
    let series = format!(r#"asked_again_total{{result="{result}",route="default"}}"#);
    gate.metric(&series).await.unwrap()
}

fn line(file: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_sees_one_stream_and_the_operator_two_requests() {
    let good = second("two").iter().fold(Script::stream(), Script::chunk).end();
    let upstream = Upstream::start_in_turn(vec![blocked(), good]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit");
    let gate = asking(&upstream, &format!("{ASK}\naudit: {{file: {}}}", file.display())).await;
    let mut client = gate.client().await;
    post(&mut client, true).await;
    let response = client.response().await;
    assert!(response.complete);
    assert_eq!(response.text(), first()[..2].concat() + &second("one")[1..].concat());

    let requests = upstream.requests();
    let [one, two] = &requests[..] else { panic!("{} requests", requests.len()) };
    let fields = |head: &str| -> Vec<String> {
        let mut fields: Vec<String> = head.lines().map(str::to_ascii_lowercase).collect();
        fields.retain(|line| !line.starts_with("content-length"));
        fields.sort();
        fields
    };
    assert_eq!(fields(&two.head), fields(&one.head));
    assert!(two.head.starts_with(&format!("POST {PATH}?v=2 ")), "{}", two.head);
    let asked: Value = serde_json::from_slice(&two.body).unwrap();
    assert!(asked["messages"][0]["content"].as_str().unwrap().starts_with("Safety rules."));
    assert_eq!(asked["reasoning_effort"], "low");

    drop(client);
    gate.is_as_at_the_start(upstream.address).await;
    assert!((result(&gate, "answered").await - 1.0).abs() < 1e-9);
    let steered = r#"actions_total{action="steer",mode="enforce"}"#;
    assert_eq!(gate.metric(steered).await, Some(1.0));
    // Both answers are counted: the thinking of the first was unsafe.
    for (outcome, count) in [("benign", 1.0), ("leaky_thinking", 1.0)] {
        let series =
            format!(r#"traces_total{{mode="enforce",outcome="{outcome}",route="default"}}"#);
        assert_eq!(gate.metric(&series).await, Some(count), "{outcome}");
    }
    gate.drain().await;
    let line = line(&file);
    assert_eq!((&line["action"], &line["end"]), (&json!("steer"), &json!("complete")));
    assert_eq!(line["choices"][0]["outcome"], "benign");
    let again = &line["asked_again"];
    assert_eq!((&again["result"], &again["attempts"]), (&json!("answered"), &json!(1)));
    assert_eq!(again["categories"], json!(["privacy_confidentiality"]));
    assert_eq!(again["parameters"], json!(["reasoning_effort"]));
    assert_eq!(again["choices"][0]["outcome"], "leaky_thinking");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_fails_the_second_time_leaves_the_usual_refusal() {
    let status = "HTTP/1.1 503 x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    let never = Signal::new();
    for (script, timeout, expected) in [
        (Script::new().send(status), "10s", "failed"),
        (Script::new().close(), "10s", "failed"),
        (Script::stream().close(), "10s", "failed"),
        (Script::new().wait(&never), "30ms", "timed_out"),
        (Script::stream().wait(&never), "30ms", "timed_out"),
        (
            first().iter().fold(Script::stream(), Script::chunk).until_peer_closes(),
            "10s",
            "blocked",
        ),
    ] {
        let upstream = Upstream::start_in_turn(vec![blocked(), script]).await;
        let gate = asking(&upstream, &ASK.replace("10s", timeout)).await;
        let mut client = gate.client().await;
        post(&mut client, true).await;
        let response = client.response().await;
        assert!(response.complete, "{expected}");
        let text = response.text();
        assert!(text.starts_with(&first()[..2].concat()) && !text.contains("falcon"), "{text}");
        assert!(text.contains(NOTICE) && text.ends_with("data: [DONE]\n\n"), "{text}");
        assert_eq!(text.matches("content_filter").count(), 1);
        drop(client);
        never.give();
        gate.is_as_at_the_start(upstream.address).await;
        assert!((result(&gate, expected).await - 1.0).abs() < 1e-9, "{expected}");
        let blocks = r#"actions_total{action="block",mode="enforce"}"#;
        assert_eq!(gate.metric(blocks).await, Some(1.0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_cancels_the_second_request_too() {
    let head_only = Script::new().until_peer_closes();
    let streaming = Script::stream().chunk(&second("two")[1]).until_peer_closes();
    for script in [head_only, streaming] {
        let upstream = Upstream::start_in_turn(vec![blocked(), script]).await;
        let gate = asking(&upstream, ASK).await;
        let mut client = gate.client().await;
        post(&mut client, true).await;
        upstream.received(2).await;
        drop(client);
        upstream.cancelled(2).await;
        gate.is_as_at_the_start(upstream.address).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_whole_body_takes_the_place_of_the_first() {
    let bad = Script::answer("application/json", whole("the falcon.", "x"));
    for (script, expected) in [
        (Script::answer("application/json", whole("fine", "A kestrel.")), "answered"),
        (Script::answer("application/json", whole("falcon", "x")), "blocked"),
        (Script::new().close(), "failed"),
    ] {
        let upstream = Upstream::start_in_turn(vec![bad.clone(), script]).await;
        let gate = asking(&upstream, ASK).await;
        let mut client = gate.client().await;
        post(&mut client, false).await;
        let response = client.response().await;
        assert_eq!(response.status(), 200);
        let body: Value = serde_json::from_slice(&response.body).unwrap();
        let answered = expected == "answered";
        let text = if answered { "A kestrel." } else { NOTICE };
        assert_eq!(body["choices"][0]["message"]["content"], text);
        let tokens = if expected == "failed" { 4 } else { 8 };
        assert_eq!(body["usage"]["total_tokens"], tokens, "{expected}");
        drop(client);
        gate.is_as_at_the_start(upstream.address).await;
        assert!((result(&gate, expected).await - 1.0).abs() < 1e-9, "{expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_answer_may_be_compressed() {
    let mut coded = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    coded.write_all(second("two").concat().as_bytes()).unwrap();
    let coded = coded.finish().unwrap();
    let fields = "content-type: text/event-stream\r\ncontent-encoding: gzip";
    let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\ncontent-length: {}\r\n\r\n", coded.len());
    let upstream =
        Upstream::start_in_turn(vec![blocked(), Script::new().send(head).send(coded)]).await;
    let gate = asking(&upstream, ASK).await;
    let mut client = gate.client().await;
    post(&mut client, true).await;
    let text = client.response().await.text().to_owned();
    assert_eq!(text, first()[..2].concat() + &second("one")[1..].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_that_is_blocked_is_never_asked_again() {
    let upstream = Upstream::start(blocked()).await;
    let gate = asking(&upstream, ASK).await;
    let mut client = gate.client().await;
    client.post(PATH, r#"{"messages":[{"role":"user","content":"a falcon"}]}"#).await;
    assert_eq!(client.response().await.status(), 400);
    assert!(upstream.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn leaky_thinking_is_hidden_and_the_outcome_told() {
    let policy = "policy: {outcomes: {leaky_thinking: hide}, tell_outcome: true}";
    let act = |mode: &str| {
        format!(
            r#"outcome_actions_total{{action="hide",mode="{mode}",outcome="leaky_thinking",route="default"}}"#
        )
    };
    let chunks = [&first()[..], &second("one")[2..]].concat();
    let stream = chunks.iter().fold(Script::stream(), Script::chunk).end();
    let upstream = Upstream::start(stream).await;
    let gate = asking(&upstream, policy).await;
    let mut client = gate.client().await;
    post(&mut client, true).await;
    let response = client.response().await;
    let told = r#","thinkgate":{"outcomes":[{"index":0,"outcome":"leaky_thinking"}]}}"#;
    let mut expected = chunks.clone();
    expected.remove(2);
    expected[3] = expected[3].replace("}\n\n", &format!("{told}\n\n"));
    assert_eq!(response.text(), expected.concat());
    assert_eq!(response.header("x-thinkgate-outcome"), None);
    drop(client);
    gate.is_as_at_the_start(upstream.address).await;
    assert_eq!(gate.metric(&act("enforce")).await, Some(1.0));

    let body = whole("the falcon.", "A kestrel.");
    let upstream = Upstream::start(Script::answer("application/json", &body)).await;
    let gate = asking(&upstream, policy).await;
    let mut client = gate.client().await;
    post(&mut client, false).await;
    let response = client.response().await;
    assert_eq!(response.header("x-thinkgate-outcome"), Some("leaky_thinking"));
    assert_eq!(response.text(), body.replace(r#","reasoning":"the falcon.""#, ""));

    let gate = Gate::configured(&upstream.url(), &format!("mode: shadow\n{policy}")).await;
    let mut client = gate.client().await;
    post(&mut client, false).await;
    let response = client.response().await;
    assert_eq!((response.text(), response.header("x-thinkgate-outcome")), (body.as_str(), None));
    soon("the record", async {
        while gate.metric(&act("shadow")).await != Some(1.0) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_ends_where_the_thinking_leaks_if_policy_says_so() {
    let upstream = Upstream::start(blocked()).await;
    let more =
        "policy: {severity: {critical: flag, high: flag}, outcomes: {leaky_thinking: block}}";
    let gate = asking(&upstream, more).await;
    let mut client = gate.client().await;
    post(&mut client, true).await;
    let response = client.response().await;
    let text = response.text();
    assert!(text.starts_with(&first()[..2].concat()) && !text.contains("falcon"), "{text}");
    assert!(text.contains(NOTICE) && text.ends_with("data: [DONE]\n\n"));
    upstream.cancelled(1).await;
}
