//! A model of three words (see `tests/samples/classifier`): `harm` is risky, `careful` is safety thinking, `refuse` refuses.
//! And one of windows (see `tests/samples/window`): in it three `harm` are risky, but not where there is `fiction`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use assert_cmd::Command;
use serde_json::{Value, json};

use crate::support::{Gate, Script, Served, Signal, Upstream, pack, soon, thinkgate};

fn model() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples/classifier"))
}

fn windows() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples/window"))
}

/// Scans with the model of words, and the one of windows where that is unsure.
fn scan_with_both(input: &str) -> Value {
    let mut command = Command::cargo_bin("thinkgate").unwrap();
    command.args(["scan", "-", "--rules"]).arg(pack()).write_stdin(input);
    command.env("THINKGATE_CLASSIFIER__MODEL", model()).env_remove("ORT_DYLIB_PATH");
    choice(&command.env("THINKGATE_CLASSIFIER__SECOND", windows()).output().unwrap())
}

fn scan(model: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::cargo_bin("thinkgate").unwrap();
    command.arg("scan").arg("--rules").arg(pack()).args(arguments).write_stdin(input);
    command.env("THINKGATE_CLASSIFIER__MODEL", model).env_remove("ORT_DYLIB_PATH");
    command.output().unwrap()
}

fn choice(output: &Output) -> Value {
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    line["choices"][0].clone()
}

/// The exchange that most tests read.
fn trace() -> String {
    json!({"id": "a", "prompt": "do it", "thinking": "careful careful let us see",
           "answer": "first harm harm harm then more harm harm harm harm harm"})
    .to_string()
}

#[test]
fn scan_tells_what_the_model_saw_and_where() {
    let output = scan(&model(), &["-", "--trajectory"], &trace());
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let choice = choice(&output);
    let answer = &choice["answer"];
    // Of the eleven words eight are harmful: 8 · 0.982 + 3 · 0.018 over 11.
    assert!((answer["risk"].as_f64().unwrap() - 0.719).abs() < 1e-3, "{answer}");
    assert_eq!((&answer["verdict"], &answer["first_flag_char"]), (&json!("flag"), &json!(55)));
    assert_eq!(answer["risk_at"].as_array().unwrap().len(), 2);
    let finding = |id: &str| {
        let findings = choice["findings"].as_array().unwrap();
        findings.iter().find(|finding| finding["id"] == id).unwrap().clone()
    };
    let cybercrime = finding("cybercrime");
    assert_eq!(cybercrime["detector"], "classifier");
    assert_eq!((&cybercrime["category"], &cybercrime["end"]), (&json!("cybercrime"), &json!(55)));
    assert_eq!(finding("risk")["category"], Value::Null);
    // Two words of five are careful: noted, but not flagged.
    assert!(choice["thinking"]["safety_thinking"].as_f64().unwrap() > 0.4);
    assert_eq!(choice["outcome"], "unsafe");
}

#[test]
fn safety_thinking_and_refusals_reach_the_outcome() {
    let trace = json!({"prompt": "do it", "thinking": "careful careful careful",
                       "answer": "refuse refuse now"});
    let choice = choice(&scan(&model(), &["-"], &trace.to_string()));
    assert_eq!(choice["outcome"], "over_sensitive");
    assert_eq!(choice["thinking"]["first_safety_thinking_char"], 23);
    assert!(choice["answer"]["refusal"].as_f64().unwrap() > 0.6);
    assert_eq!(choice["answer"]["verdict"], "pass");
}

#[test]
fn rules_and_model_make_one_risk() {
    let trace = json!({"thinking": "harm harm falcon"}).to_string();
    let both = choice(&scan(&model(), &["-"], &trace))["thinking"]["risk"].as_f64().unwrap();
    let rules = choice(&scan(&model(), &["-", "--no-classifier"], &trace));
    let rules = rules["thinking"]["risk"].as_f64().unwrap();
    let probability = (2.0 * 0.982 + 0.018) / 3.0;
    assert!(rules > 0.0 && (both - (1.0 - (1.0 - rules) * (1.0 - probability))).abs() < 1e-3);
}

#[test]
fn without_it_nothing_of_it_is_told() {
    let output = scan(&model(), &["-", "--no-classifier"], &trace());
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(choice(&output)["findings"], json!([]));
}

#[test]
fn a_broken_model_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let copy = |name: &str| {
        fs::copy(model().join(name), folder.path().join(name)).unwrap();
    };
    let told = |code: i32| {
        let output = scan(folder.path(), &["-"], &trace());
        assert_eq!(output.status.code(), Some(code));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(told(64).contains("manifest.json"));
    copy("manifest.json");
    assert!(told(64).contains("model.onnx"));
    copy("model.onnx");
    copy("tokenizer.json");
    assert_eq!(told(1), "");
    fs::write(folder.path().join("model.onnx"), "no graph").unwrap();
    assert!(told(64).contains("the checksum of model.onnx is not the manifest's"));
    let manifest = fs::read_to_string(model().join("manifest.json")).unwrap();
    let mut manifest: Value = serde_json::from_str(&manifest).unwrap();
    manifest["steps"] = json!(4);
    fs::write(folder.path().join("manifest.json"), manifest.to_string()).unwrap();
    assert!(told(64).contains("says 4 steps, and the runtime does 8"));
}

#[test]
fn a_graph_that_is_none_is_refused_by_the_runtime() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["manifest.json", "tokenizer.json"] {
        fs::copy(model().join(name), folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join("model.onnx"), "").unwrap();
    let manifest = fs::read_to_string(model().join("manifest.json")).unwrap();
    let mut manifest: Value = serde_json::from_str(&manifest).unwrap();
    // The SHA-256 of nothing.
    manifest["files"]["model.onnx"] =
        json!("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    fs::write(folder.path().join("manifest.json"), manifest.to_string()).unwrap();
    let output = scan(folder.path(), &["-"], &trace());
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8(output.stderr).unwrap().contains("model.onnx cannot be used"));
}

#[test]
fn a_library_that_is_none_is_named_and_the_built_in_runtime_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libonnxruntime.so");
    fs::write(&library, "no library").unwrap();
    let mut command = Command::cargo_bin("thinkgate").unwrap();
    command.args(["scan", "-", "--rules"]).arg(pack()).write_stdin(trace());
    command.env("THINKGATE_CLASSIFIER__MODEL", model()).env("ORT_DYLIB_PATH", &library);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains(library.to_str().unwrap()) && told.contains("built-in runtime"),
        "{told}"
    );
}

#[test]
fn check_tells_what_is_wrong_with_a_model_too() {
    let mut command = Command::cargo_bin("thinkgate").unwrap();
    let output = command
        .arg("check")
        .env("THINKGATE_CLASSIFIER__MODEL", "/nowhere")
        .env("THINKGATE_CLASSIFIER__SECOND", "/elsewhere")
        .env("THINKGATE_CLASSIFIER__ACTION", "redact")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("classifier.model: cannot read /nowhere/manifest.json"), "{told}");
    assert!(told.contains("classifier.second: cannot read /elsewhere/manifest.json"), "{told}");
    assert!(told.contains("classifier.action: expected one of none, flag, block"), "{told}");
}

/// A copy of the model of windows, with another manifest.
fn changed(folder: &Path, change: impl FnOnce(&mut Value)) {
    for name in ["model.onnx", "tokenizer.json"] {
        fs::copy(windows().join(name), folder.join(name)).unwrap();
    }
    let manifest = fs::read_to_string(windows().join("manifest.json")).unwrap();
    let mut manifest: Value = serde_json::from_str(&manifest).unwrap();
    change(&mut manifest);
    fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
}

/// What `check` says of a folder as a key's model.
fn checked(key: &str, folder: &Path) -> String {
    let mut command = Command::cargo_bin("thinkgate").unwrap();
    command.arg("check").env("THINKGATE_CLASSIFIER__MODEL", model()).env(key, folder);
    let output = command.env_remove("ORT_DYLIB_PATH").output();
    String::from_utf8(output.unwrap().stderr).unwrap()
}

#[test]
fn a_model_of_windows_reads_alone() {
    let answer = choice(&scan(&windows(), &["-", "--trajectory"], &trace()))["answer"].clone();
    // Windows end after four, eight and all eleven words: of the first three are harmful, of the next five, and all
    // eight of the last ten, which is what fits beside the prompt.
    let sigmoid = |logit: f64| 1.0 / (1.0 + (-logit).exp());
    let risk = (sigmoid(2.0) + sigmoid(6.0) + sigmoid(12.0)) / 3.0;
    assert!((answer["risk"].as_f64().unwrap() - risk).abs() < 1e-3, "{answer}");
    assert_eq!(answer["first_flag_char"], 20);
    let ends: Vec<_> = answer["risk_at"].as_array().unwrap().iter().map(|at| &at[0]).collect();
    assert_eq!(ends, [20, 40, 55]);
    // The prompt stands in every window.
    let trace = trace().replace("do it", "some fiction");
    let answer = choice(&scan(&windows(), &["-"], &trace))["answer"].clone();
    assert!(answer["risk"].as_f64().unwrap() < 0.01, "{answer}");
}

#[test]
fn a_second_model_is_asked_where_the_first_is_unsure() {
    let choice = scan_with_both(&trace());
    let answer = &choice["answer"];
    // The first says 0.719, the second nearly 1: logits 0.94 and 12.
    assert!((answer["risk"].as_f64().unwrap() - 0.9984).abs() < 1e-3, "{answer}");
    assert_eq!((&answer["verdict"], &answer["first_flag_char"]), (&json!("flag"), &json!(55)));
    // Eight harmful words and a fiction: logit -8.
    let choice = scan_with_both(&trace().replace("do it", "some fiction"));
    let answer = &choice["answer"];
    assert!((answer["risk"].as_f64().unwrap() - 0.0285).abs() < 1e-3, "{answer}");
    assert_eq!(answer["verdict"], "pass");
    assert_eq!(choice["outcome"], "benign");
    // Of nothing but harm the first is sure.
    let harm = json!({"prompt": "fiction", "answer": "harm ".repeat(20)}).to_string();
    assert_eq!(scan_with_both(&harm)["answer"]["verdict"], "flag");
}

#[test]
fn a_second_model_has_to_be_of_windows_and_to_say_when_it_is_asked() {
    let key = "THINKGATE_CLASSIFIER__SECOND";
    assert_eq!(checked(key, &windows()), "");
    let told = checked(key, &model());
    assert!(
        told.starts_with("classifier.second: ") && told.contains("not of kind window"),
        "{told}"
    );
    let folder = tempfile::tempdir().unwrap();
    changed(folder.path(), |manifest| drop(manifest.as_object_mut().unwrap().remove("consult")));
    let told = checked(key, folder.path());
    assert!(told.contains("manifest.json has no consult"), "{told}");
    // It may still read alone.
    assert_eq!(checked("THINKGATE_CLASSIFIER__MODEL", folder.path()), "");
}

#[test]
fn a_model_of_windows_that_is_not_what_its_manifest_says_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let told = |change: fn(&mut Value)| {
        changed(folder.path(), change);
        checked("THINKGATE_CLASSIFIER__MODEL", folder.path())
    };
    assert_eq!(told(|_| ()), "");
    let said = told(|manifest| manifest["heads"] = json!(["risk", "refusal"]));
    assert!(said.contains("it gives 3 numbers of logits, expected 2"), "{said}");
    let said = told(|manifest| manifest["inputs"] = json!(["input_ids"]));
    assert!(said.contains("model.onnx cannot be used: "), "{said}");
    let said = told(|manifest| manifest["window"]["tokens"] = json!(8));
    assert!(said.contains("leave 0 for text, fewer than the stride of 4"), "{said}");
    let said = told(|manifest| manifest["files"]["tokenizer.json"] = json!("00"));
    assert!(said.contains("the checksum of tokenizer.json is not the manifest's"), "{said}");
    fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    let said = checked("THINKGATE_CLASSIFIER__MODEL", folder.path());
    assert!(said.contains("cannot read") && said.contains("tokenizer.json"), "{said}");
}

/// One SSE event of a chat stream.
fn event(delta: &Value) -> String {
    let choice = json!({"index": 0, "delta": delta, "finish_reason": null});
    let chunk = json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m",
                       "choices": [choice]});
    format!("data: {chunk}\n\n")
}

/// The exchange of [`trace`] as a stream, a word an event.
fn stream() -> (Script, String) {
    let words = |field: &str, text: &str| -> String {
        text.split_inclusive(' ').map(|word| event(&json!({field: word}))).collect()
    };
    let body = words("reasoning_content", "careful careful let us see")
        + &words("content", "first harm harm harm then more harm harm harm harm harm")
        + "data: [DONE]\n\n";
    (Script::stream().chunk(&body).end(), body)
}

fn configured(more: &str) -> String {
    format!("classifier: {{model: {}, threads: 1{more}}}", model().display())
}

/// What the client got of one exchange, what was recorded, and the metrics behind it.
async fn exchange(upstream: Script, more: &str) -> (Vec<u8>, Value, String) {
    exchange_about("do it", upstream, more).await
}

async fn exchange_about(asked: &str, upstream: Script, more: &str) -> (Vec<u8>, Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    let upstream = Upstream::start(upstream).await;
    let more = format!("audit: {{file: {}}}\n{more}", file.display());
    let gate = Gate::configured(&upstream.url(), &more).await;
    let mut client = gate.client().await;
    let message = json!({"model": "m", "messages": [{"role": "user", "content": asked}]});
    client.post("/v1/chat/completions", &message.to_string()).await;
    let response = client.response().await;
    assert!(response.complete);
    drop(client);
    gate.is_as_at_the_start(upstream.address).await;
    let metrics = gate.metrics().await;
    gate.drain().await;
    let line = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    (response.body, line, metrics)
}

#[tokio::test(flavor = "multi_thread")]
async fn in_shadow_mode_bytes_pass_as_they_came_and_the_record_has_the_last_scores() {
    let (script, sent) = stream();
    let (body, line, metrics) = exchange(script, &configured("")).await;
    assert_eq!(String::from_utf8(body).unwrap(), sent);
    // The same figures as `scan` tells of the same texts.
    let answer = &line["choices"][0]["answer"];
    assert!((answer["risk"].as_f64().unwrap() - 0.719).abs() < 1e-3, "{answer}");
    assert_eq!((&answer["verdict"], &answer["first_flag_char"]), (&json!("flag"), &json!(55)));
    assert_eq!(line["choices"][0]["outcome"], "unsafe");
    assert!(line["prompt"]["risk"].as_f64().unwrap() > 0.0);
    for series in [
        "thinkgate_classifier_scored_bytes_total 86\n",
        "thinkgate_classifier_queue_depth 0\n",
        "thinkgate_classifier_failures_total{reason=\"deadline\"} 0\n",
        "category=\"cybercrime\",channel=\"answer\",detector=\"classifier\",severity=\"medium\"} 1\n",
    ] {
        assert!(metrics.contains(series), "{series} is not in {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_asks_the_second_model_and_says_what_scan_says() {
    let (script, sent) = stream();
    let more = format!(", second: {}", windows().display());
    let (body, line, metrics) = exchange(script, &configured(&more)).await;
    assert_eq!(String::from_utf8(body).unwrap(), sent);
    let scanned = scan_with_both(&trace());
    for key in ["risk", "verdict", "first_flag_char"] {
        assert_eq!(line["choices"][0]["answer"][key], scanned["answer"][key], "{key}");
    }
    assert!(!metrics.contains("thinkgate_classifier_second_windows_total 0\n"));
    assert!(
        metrics.contains("thinkgate_classifier_failures_total{reason=\"second_deadline\"} 0\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_no_stream_is_scored_too() {
    let message = json!({"role": "assistant", "reasoning_content": "let us see",
                         "content": "harm ".repeat(4_000)});
    let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
    let body = json!({"id": "x", "object": "chat.completion", "choices": [choice]}).to_string();
    let script = Script::answer("application/json", &body);
    let (got, line, _) = exchange(script, &configured("")).await;
    assert_eq!(got, body.as_bytes());
    assert_eq!(line["choices"][0]["answer"]["first_flag_char"], 80);
    assert_eq!(line["choices"][0]["outcome"], "unsafe");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_classifier_that_is_too_late_is_recorded_as_such() {
    let (script, sent) = stream();
    let (body, line, metrics) = exchange(script, &configured(", deadline: 0s")).await;
    assert_eq!(String::from_utf8(body).unwrap(), sent);
    assert_eq!(line["choices"][0]["outcome"], "unjudged");
    assert!(!metrics.contains("thinkgate_classifier_failures_total{reason=\"deadline\"} 0\n"));
    // Every byte of it went out without a score.
    let unscanned = json!({
        "answer": {"detector_failed": 55}, "prompt": {"detector_failed": 5},
        "thinking": {"detector_failed": 26},
    });
    assert_eq!(line["bytes"]["unscanned_released"], unscanned);
    let scanned = line["bytes"]["scanned"].as_object().unwrap();
    assert!(scanned.values().all(|bytes| bytes == 0), "{scanned:?}");
    for channel in ["prompt", "thinking", "answer"] {
        let series = format!("scanned_bytes_total{{channel=\"{channel}\"}} 0\n");
        assert!(metrics.contains(&series), "{series} is not in {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_may_block_a_stream_is_cut_when_the_score_has_come() {
    let seen = Signal::new();
    let calm = event(&json!({"content": "calm "}));
    let script = Script::stream()
        .chunk(event(&json!({"content": "harm ".repeat(24)})))
        .wait(&seen)
        .flood(format!("{:x}\r\n{calm}\r\n", calm.len()), 100_000)
        .until_peer_closes();
    let upstream = Upstream::start(script).await;
    let more = format!("mode: enforce\n{}", configured(", action: block"));
    let gate = Gate::configured(&upstream.url(), &more).await;
    let mut client = gate.client().await;
    client.chat().await;
    client.until("harm").await;
    seen.give();
    soon("the cut", client.until("content_filter")).await;
    upstream.cancelled(1).await;
}

/// The text of one field in a stream that the client got.
fn text_of(field: &str, body: &[u8]) -> String {
    let body = std::str::from_utf8(body).unwrap();
    let events = body.split("\n\n").filter_map(|event| event.strip_prefix("data: {"));
    let chunk = |event: &str| serde_json::from_str::<Value>(&format!("{{{event}")).unwrap();
    let delta = |event| chunk(event)["choices"][0]["delta"][field].as_str().map(str::to_owned);
    events.filter_map(delta).collect()
}

fn gating(more: &str) -> String {
    format!("mode: enforce\n{}", configured(&format!(", action: block, hold: gate{more}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_lets_nothing_out_that_stands_behind_the_flag() {
    let words = "calm ".repeat(10) + &"harm ".repeat(60) + "and what comes then";
    let events = words.split_inclusive(' ').map(|word| event(&json!({"reasoning_content": word})));
    let body = events.collect::<String>() + "data: [DONE]\n\n";
    let (got, line, metrics) = exchange(Script::stream().chunk(&body).end(), &gating("")).await;
    let thinking = &line["choices"][0]["thinking"];
    let flag = thinking["first_flag_char"].as_u64().unwrap();
    let sent = text_of("reasoning_content", &got);
    assert!(words.starts_with(&sent) && (sent.len() as u64) < flag, "{flag}: {sent}");
    assert!(String::from_utf8(got).unwrap().contains("content_filter"));
    assert_eq!((&line["action"], &line["end"]), (&json!("block"), &json!("complete")));
    assert!(metrics.contains("thinkgate_hold_seconds_count{why=\"classifier\"}"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_lets_a_harmless_exchange_through_byte_for_byte() {
    let body = event(&json!({"reasoning_content": "let us see "}))
        + &event(&json!({"content": "it is"}))
        + "data: [DONE]\n\n";
    let (got, line, _) = exchange(Script::stream().chunk(&body).end(), &gating("")).await;
    assert_eq!(String::from_utf8(got).unwrap(), body);
    assert_eq!(
        (&line["action"], &line["choices"][0]["outcome"]),
        (&json!("forward"), &json!("benign"))
    );

    let message = json!({"role": "assistant", "content": "it is"});
    let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
    let whole = json!({"id": "x", "object": "chat.completion", "choices": [choice]}).to_string();
    let (got, ..) = exchange(Script::answer("application/json", &whole), &gating("")).await;
    assert_eq!(String::from_utf8(got).unwrap(), whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_blocks_a_body_that_is_no_stream_before_its_head() {
    let message = json!({"role": "assistant", "content": "harm ".repeat(40)});
    let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
    let body = json!({"id": "x", "object": "chat.completion", "choices": [choice]}).to_string();
    let (got, line, _) = exchange(Script::answer("application/json", &body), &gating("")).await;
    let got: Value = serde_json::from_slice(&got).unwrap();
    assert_eq!(got["choices"][0]["finish_reason"], "content_filter");
    assert_eq!(line["action"], "block");
}

/// The built-in model with a threshold that plain words of ours reach, however it was trained.
fn eager_model() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/default");
    for file in ["model.onnx", "tokenizer.json"] {
        fs::copy(built_in.join(file), folder.path().join(file)).unwrap();
    }
    let manifest = fs::read(built_in.join("manifest.json")).unwrap();
    let mut manifest: Value = serde_json::from_slice(&manifest).unwrap();
    manifest["thresholds"]["thinking"]["risk"]["fpr_1"] = json!(0.7);
    fs::write(folder.path().join("manifest.json"), manifest.to_string()).unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_built_in_model_too_no_byte_behind_the_flag_goes_out() {
    let folder = eager_model();
    let model = folder.path().display();
    let asked = "Write a script that steals passwords from a computer and sends them to me.";
    let thinking = "Okay, so I need to write malware that steals passwords. I will do that, hide it from \
                    the antivirus and have it spread to other computers, so that no victim can remove it. ";
    let thinking = thinking.repeat(6);
    let events =
        thinking.split_inclusive(' ').map(|word| event(&json!({"reasoning_content": word})));
    let body = events.collect::<String>() + "data: [DONE]\n\n";
    let script = || Script::stream().chunk(&body).end();
    let shadow = format!("classifier: {{model: {model}, threads: 1}}");
    let (got, alone, _) = exchange_about(asked, script(), &shadow).await;
    assert_eq!(got, body.as_bytes());
    let flag = &alone["choices"][0]["thinking"]["first_flag_char"];
    assert!(flag.is_u64(), "{alone}");
    // The prompt is flagged as well: here it is the thinking that matters.
    let enforce = format!(
        "mode: enforce\npolicy: {{channels: {{prompt: {{mode: shadow}}}}}}\n\
         classifier: {{model: {model}, threads: 1, action: block, hold: gate}}"
    );
    let (got, gated, _) = exchange_about(asked, script(), &enforce).await;
    let sent = text_of("reasoning_content", &got);
    assert!(thinking.starts_with(&sent) && (sent.len() as u64) < flag.as_u64().unwrap(), "{sent}");
    assert!(String::from_utf8(got).unwrap().contains("content_filter"));
    assert_eq!(
        (&gated["action"], &gated["choices"][0]["thinking"]["first_flag_char"]),
        (&json!("block"), flag)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_does_not_stall_a_stream_that_pauses_inside_a_word() {
    let goes_on = Signal::new();
    let script = Script::stream()
        .chunk(event(&json!({"content": "let us s"})))
        .wait(&goes_on)
        .chunk(event(&json!({"content": "ee"})) + "data: [DONE]\n\n")
        .end();
    let upstream = Upstream::start(script).await;
    let gate = Gate::configured(&upstream.url(), &gating("")).await;
    let mut client = gate.client().await;
    client.chat().await;
    client.until("let us s").await;
    goes_on.give();
    client.until("[DONE]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_answers_a_prompt_that_is_flagged_and_the_upstream_never_sees_it() {
    let upstream = Upstream::start(Script::answer("application/json", "{}")).await;
    let gate = Gate::configured(&upstream.url(), &gating("")).await;
    let mut client = gate.client().await;
    let message = json!({"model": "m", "messages": [{"role": "user", "content": "harm harm"}]});
    client.post("/v1/chat/completions", &message.to_string()).await;
    let response = client.response().await;
    assert_eq!(response.status(), 400);
    assert!(response.text().contains("content_policy_violation"));
    assert!(upstream.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_scores_are_late_a_gate_fails_closed_or_open() {
    for (on_failure, action, status) in [("closed", "fail_closed", 503), ("open", "fail_open", 200)]
    {
        let (script, sent) = stream();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("audit.jsonl");
        let upstream = Upstream::start(script).await;
        let more = gating(&format!(", deadline: 0s, on_failure: {on_failure}"));
        let more = format!("audit: {{file: {}}}\n{more}", file.display());
        let gate = Gate::configured(&upstream.url(), &more).await;
        let mut client = gate.client().await;
        let message = json!({"model": "m", "messages": [{"role": "user", "content": "do it"}]});
        client.post("/v1/chat/completions", &message.to_string()).await;
        let response = client.response().await;
        assert_eq!(response.status(), status, "{on_failure}");
        assert_eq!(response.text() == sent, on_failure == "open");
        drop(client);
        gate.drain().await;
        let line: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        assert_eq!(line["action"], action);
        assert_eq!(
            line["bytes"]["unscanned_released"]["answer"]["detector_failed"] == 55,
            status == 200
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_says_what_runs_the_model_and_refuses_a_broken_one() {
    let upstream = Upstream::start(Script::answer("application/json", "{}")).await;
    let mut command = thinkgate();
    command.args(["serve", "--upstream", &upstream.url(), "--listen", "127.0.0.1:0"]);
    command.args(["--admin-listen", "127.0.0.1:0"]);
    command.env_remove("THINKGATE_CLASSIFIER__ENABLED").env_remove("ORT_DYLIB_PATH");
    // How long a window takes here is said, too.
    command.env("THINKGATE_CLASSIFIER__SECOND", windows());
    let mut served = Served::start(command);
    assert_eq!(served.line["classifier"], "tract");
    served.signal("TERM");
    let log = served.log().await;
    assert!(log.contains("classifier_second_slow") && log.contains("window_us"), "{log}");

    let mut command = thinkgate();
    command.args(["serve", "--upstream", &upstream.url()]);
    command.env_remove("THINKGATE_CLASSIFIER__ENABLED");
    let broken = command.env("THINKGATE_CLASSIFIER__MODEL", "/nowhere").output().unwrap();
    assert_eq!(broken.status.code(), Some(64));
    let told = String::from_utf8(broken.stderr).unwrap();
    assert!(told.contains("classifier.model: cannot read /nowhere/manifest.json"), "{told}");
}
