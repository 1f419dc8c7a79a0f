//! What has been, under another policy.

use std::{fs, path::Path, process::Command};

use assert_cmd::cargo::CommandCargoExt;
use serde_json::{Value, json};

const PACK: &str = "\
pack: acme
version: 1
rules:
  - id: acme.bird
    kind: risk
    category: privacy_confidentiality
    severity: high
    any: [{literal: project falcon}]
    action: ACTION
    examples: {match: [about project falcon], pass: [about a falcon]}
";

/// `thinkgate replay` in `folder`: its exit code, its lines and its complaints.
fn replay(folder: &Path, arguments: &[&str]) -> (Option<i32>, Vec<Value>, String) {
    let mut command = Command::cargo_bin("thinkgate").unwrap();
    command.current_dir(folder).args(["replay", "--no-classifier", "--format", "json"]);
    let output = command.args(arguments).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code(), lines, String::from_utf8(output.stderr).unwrap())
}

fn write_policy(folder: &Path, name: &str, mode: &str, action: &str) {
    let pack = format!("{name}.pack.yaml");
    fs::write(folder.join(&pack), PACK.replace("ACTION", action)).unwrap();
    let pack = folder.join(pack).display().to_string();
    let config = json!({"mode": mode, "rules": [pack]});
    fs::write(folder.join(format!("{name}.yaml")), config.to_string()).unwrap();
}

fn event(delta: &Value) -> String {
    format!(
        "data: {}\n\n",
        json!({"id": "c", "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta}]})
    )
}

/// Two captures: one says what the rule is about, its beginning 400 ms before its end; the other does not.
fn write_captures(folder: &Path) {
    let capture = |id: &str, chunks: &[(u64, String)]| {
        json!({"v": 1, "id": id, "path": "/v1/chat/completions", "status": 200,
            "content_type": "text/event-stream", "request": "{\"messages\":[]}",
            "chunks": chunks, "end": "complete"})
        .to_string()
    };
    let said = [
        (10, event(&json!({"reasoning_content": "It is about project"}))),
        (410, event(&json!({"reasoning_content": " falcon, I think."}))),
        (420, event(&json!({"content": "Well."}))),
    ];
    let unsaid = [
        (10, event(&json!({"reasoning_content": "It is about project"}))),
        (410, event(&json!({"reasoning_content": " management."}))),
    ];
    let lines = [capture("said", &said), capture("unsaid", &unsaid)].join("\n");
    fs::write(folder.join("captures.jsonl"), lines).unwrap();
}

#[test]
fn tells_exactly_the_exchanges_whose_action_changes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_captures(folder);
    write_policy(folder, "now", "shadow", "flag");
    write_policy(folder, "then", "enforce", "block");
    let (code, lines, _) =
        replay(folder, &["captures.jsonl", "--before", "now.yaml", "--after", "then.yaml"]);
    let [change, summary] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((code, &change["id"]), (Some(1), &json!("said")));
    assert_eq!(change["before"]["action"], "forward");
    assert_eq!(change["after"]["action"], "block");
    assert_eq!(change["after"]["cut"]["char"], 12);
    assert_eq!(change["after"]["leaked"], 0);
    assert_eq!(summary["summary"]["changed"], 1);
    assert_eq!(summary["summary"]["exchanges"], 2);
    // What did not change its action is told only where that is asked for: its frame had to wait.
    let all = ["captures.jsonl", "--before", "now.yaml", "--after", "then.yaml", "--any"];
    let (_, lines, _) = replay(folder, &all);
    let unsaid = lines.iter().find(|line| line["id"] == "unsaid").unwrap();
    assert_eq!(unsaid["differs"], json!(["mode", "waits"]));
    assert_eq!(unsaid["after"]["longest_wait_ms"], 400);
    assert_eq!(unsaid["before"]["sent_sha256"], unsaid["after"]["sent_sha256"]);
}

#[test]
fn tells_what_a_mask_would_have_kept_back() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_captures(folder);
    write_policy(folder, "now", "shadow", "redact");
    write_policy(folder, "then", "enforce", "redact");
    let (_, lines, _) =
        replay(folder, &["captures.jsonl", "--before", "now.yaml", "--after", "then.yaml"]);
    let change = &lines[0];
    assert_eq!((&change["before"]["leaked"], &change["after"]["leaked"]), (&json!(1), &json!(0)));
    assert_eq!(change["after"]["action"], "redact");
}

#[test]
fn the_same_policy_changes_nothing_and_what_is_broken_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_captures(folder);
    write_policy(folder, "now", "enforce", "block");
    let same = ["captures.jsonl", "--before", "now.yaml", "--after", "now.yaml", "--any"];
    let (code, lines, _) = replay(folder, &same);
    assert_eq!((code, lines.len()), (Some(0), 1));
    fs::write(folder.join("broken.jsonl"), "{\"thinking\": []}\n").unwrap();
    let broken = ["broken.jsonl", "captures.jsonl", "--before", "now.yaml", "--after", "now.yaml"];
    let (code, lines, complaint) = replay(folder, &broken);
    assert_eq!((code, &lines[0]["summary"]["unreadable"]), (Some(2), &json!(1)));
    assert!(complaint.contains("broken.jsonl:1: is no trace: Data error at column"), "{complaint}");
    let (code, ..) = replay(folder, &["captures.jsonl", "--after", "missing.yaml"]);
    assert_eq!(code, Some(64));
}
