use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use thinkgate::record::audit;

use crate::support::{Client, Gate, Script, Upstream, eventually};

/// Every family of the contract, with its type.
const FAMILIES: [(&str, &str); 32] = [
    ("requests_total", "counter"),
    ("request_duration_seconds", "histogram"),
    ("time_to_first_token_seconds", "histogram"),
    ("added_delay_seconds", "histogram"),
    ("scanned_bytes_total", "counter"),
    ("released_bytes_total", "counter"),
    ("unscanned_released_bytes_total", "counter"),
    ("held_bytes", "gauge"),
    ("hold_seconds", "histogram"),
    ("classifier_scored_bytes_total", "counter"),
    ("classifier_duration_seconds", "histogram"),
    ("classifier_queue_depth", "gauge"),
    ("classifier_failures_total", "counter"),
    ("classifier_second_windows_total", "counter"),
    ("remote_duration_seconds", "histogram"),
    ("remote_in_flight", "gauge"),
    ("remote_failures_total", "counter"),
    ("streams_active", "gauge"),
    ("upstream_errors_total", "counter"),
    ("audit_dropped_total", "counter"),
    ("captures_total", "counter"),
    ("config_last_reload_successful", "gauge"),
    ("build_info", "gauge"),
    ("actions_total", "counter"),
    ("findings_total", "counter"),
    ("traces_total", "counter"),
    ("verdicts_total", "counter"),
    ("trace_harm_total", "counter"),
    ("trace_scenarios_total", "counter"),
    ("trace_health_total", "counter"),
    ("would_actions_total", "counter"),
    ("cut_seen_characters", "histogram"),
];

/// These have no series before something was seen: their labels are too many to be all there at zero.
const LATER: [&str; 2] = ["actions_total", "findings_total"];

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_reads_every_family() {
    let upstream = Upstream::start(Script::answer("application/json", "{}")).await;
    let gate = Gate::before(&upstream.url()).await;
    let mut client = gate.client().await;
    client.chat().await;
    client.response().await;
    let metrics = gate.metrics().await;
    for (family, kind) in FAMILIES.iter().filter(|(family, _)| !LATER.contains(family)) {
        let line = format!("# TYPE thinkgate_{family} {kind}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_the_caller_wrote_becomes_a_label() {
    let upstream = Upstream::start(Script::answer("application/json", "{}")).await;
    let gate = Gate::before(&upstream.url()).await;
    let mut client = gate.client().await;
    client
        .post("/secret-path/chat/completions?q=secret", r#"{"model":"secret","messages":[]}"#)
        .await;
    client.response().await;
    assert!(!gate.metrics().await.contains("secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_listener_knows_its_paths() {
    let gate = Gate::before("http://127.0.0.1:9").await;
    let mut client = Client::connect(gate.app().admin()).await;
    for (path, status) in
        [("/livez", 200), ("/readyz", 200), ("/metrics", 200), ("/v1/models", 404)]
    {
        client.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        assert_eq!(client.response().await.status(), status, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_exchange_is_one_audit_line() {
    let folder = tempfile::tempdir().unwrap();
    let (file, key) = (folder.path().join("audit.jsonl"), folder.path().join("key"));
    fs::write(&key, "a key\n").unwrap();
    let upstream = Upstream::start(Script::answer("application/json", "{}")).await;
    let more = format!("audit: {{file: {}, hash_key_file: {}}}", file.display(), key.display());
    let gate = Gate::configured(&upstream.url(), &more).await;
    let mut client = gate.client().await;
    for path in ["/v1/chat/completions", "/v1/chat/completions", "/v1/other"] {
        client.post(path, "{\"model\":\"m\"}").await;
        client.response().await;
    }
    drop(client);
    gate.drain().await;
    let lines: Vec<Value> = fs::read_to_string(&file)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    for line in &lines {
        assert_eq!(line["v"], 1);
        assert_eq!(line["status"], 200);
        assert_eq!(line["end"], "complete");
        assert_eq!(line["route"], "default");
        assert_eq!(line["mode"], "shadow");
        assert_eq!(line["hash_key"], "file");
        assert!(line["started_at"].as_str().unwrap().ends_with('Z'));
    }
    assert_ne!(lines[0]["id"], lines[1]["id"]);
    assert_eq!(lines[0]["prompt_hmac_sha256"].as_str().unwrap().len(), 64);
    assert_eq!(lines[0]["prompt_hmac_sha256"], lines[1]["prompt_hmac_sha256"]);
    assert_eq!(lines[2]["prompt_hmac_sha256"], Value::Null);
    assert_eq!(lines[2]["bytes"]["unscanned_released"]["unknown"]["path"], 2);
}

/// The audit line of one exchange with two choices, and the log's configuration beside its file.
async fn audit_line_of(upstream: Script, more: &str, prompt: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    let upstream = Upstream::start(upstream).await;
    let more = format!("audit: {{file: {}{more}}}", file.display());
    let gate = Gate::configured(&upstream.url(), &more).await;
    let mut client = gate.client().await;
    let message = json!({"model": "m", "messages": [{"role": "user", "content": prompt}]});
    client.post("/v1/chat/completions", &message.to_string()).await;
    assert!(client.response().await.complete);
    drop(client);
    gate.drain().await;
    serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap()
}

/// A body with two choices: one thinks at length and calls a tool, one answers.
fn two_choices(thinking: &str) -> Script {
    let call = json!({"index": 0, "id": "c", "function": {"name": "f", "arguments": "{\"city\": \"Oslo\"}"}});
    let first = json!({"role": "assistant", "reasoning_content": thinking, "content": null, "tool_calls": [call]});
    let second = json!({"role": "assistant", "content": "of the falcon's nest"});
    let body = json!({"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [
        {"index": 0, "message": first, "finish_reason": "tool_calls"},
        {"index": 1, "message": second, "finish_reason": "stop"},
    ]});
    Script::answer("application/json", body.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_line_has_texts_where_the_operator_wants_them() {
    let thinking = format!("what of \u{e9}toiles? {}", "\u{e9}".repeat(50_000));
    let line = audit_line_of(two_choices(&thinking), ", text: true", "where is it?").await;
    assert_eq!(line["prompt"]["text"], "where is it?");
    let [first, second] = [&line["choices"][0], &line["choices"][1]];
    // Once is enough for all choices.
    assert_eq!(first["prompt"].get("text"), None);
    let kept = first["thinking"]["text"].as_str().unwrap();
    assert!(thinking.starts_with(kept) && (65_534..=65_536).contains(&kept.len()));
    assert_eq!(first["thinking"]["text_cut"], true);
    assert_eq!(first["thinking"]["chars"], thinking.chars().count());
    assert_eq!(first["tool_call"]["text"], r#"{"city": "Oslo"}"#);
    assert_eq!(second["answer"]["text"], "of the falcon's nest");
    assert_eq!(second["answer"].get("text_cut"), None);
    assert_eq!(second["answer"]["verdict"], "block");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_line_has_no_text_otherwise() {
    for more in ["", ", text: false"] {
        let line = audit_line_of(two_choices("what of it?"), more, "where is it?").await;
        assert_eq!(line["choices"][1]["answer"]["verdict"], "block");
        let line = line.to_string();
        for text in ["what", "where", "nest", "falcon's", "Oslo", "city", "text"] {
            assert!(!line.contains(text), "{text} stands in {line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_line_is_in_the_file_while_traffic_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    let upstream = Upstream::start(Script::answer("application/json", "{}")).await;
    let gate =
        Gate::configured(&upstream.url(), &format!("audit: {{file: {}}}", file.display())).await;
    let mut client = gate.client().await;
    let lines = || fs::read_to_string(&file).unwrap_or_default().lines().count();
    for count in [1, 2] {
        client.chat().await;
        client.response().await;
        eventually("the line", || lines() == count).await;
    }
    // Whoever takes the file away has the lines so far; the next one begins a new file.
    fs::remove_file(&file).unwrap();
    client.chat().await;
    client.response().await;
    eventually("the line in a new file", || lines() == 1).await;
    assert_eq!(gate.metric("audit_dropped_total").await, Some(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_audit_disk_drops_lines_and_counts_them() {
    let upstream = Upstream::start(Script::answer("application/json", "{}")).await;
    let gate = Gate::configured(&upstream.url(), "audit: {file: /dev/full}").await;
    let mut client = gate.client().await;
    for _ in 0..40 {
        client.chat().await;
        client.response().await;
    }
    let dropped = || async { gate.metric("audit_dropped_total").await.unwrap_or_default() };
    let metrics = gate.app().metrics();
    eventually("a dropped line", || {
        let text = String::from_utf8(metrics.render().unwrap()).unwrap();
        !text.contains("thinkgate_audit_dropped_total 0\n")
    })
    .await;
    assert!(dropped().await > 0.0);
}

#[test]
fn the_published_schema_is_the_lines_own() {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/audit.schema.json"));
    let current = format!("{}\n", serde_json::to_string_pretty(&audit::schema()).unwrap());
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(&path, &current).unwrap();
    }
    let published = fs::read_to_string(&path).unwrap();
    assert_eq!(published, current, "run this test with UPDATE_SCHEMA=1 and commit the file");
}
