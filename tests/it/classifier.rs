//! A model of three words (see `tests/samples/classifier`): `harm` is risky, `careful` is safety thinking, `refuse` refuses.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use assert_cmd::Command;
use serde_json::{Value, json};

use crate::support::pack;

fn model() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples/classifier"))
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
    let trace = json!({"prompt": "do it", "thinking": "careful careful now",
                       "answer": "refuse refuse now"});
    let choice = choice(&scan(&model(), &["-"], &trace.to_string()));
    assert_eq!(choice["outcome"], "over_sensitive");
    assert_eq!(choice["thinking"]["first_safety_thinking_char"], 19);
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
        .env("THINKGATE_CLASSIFIER__ACTION", "redact")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("cannot read /nowhere/manifest.json"), "{told}");
    assert!(told.contains("classifier.action: expected one of none, flag, block"), "{told}");
}
