use std::{fs, process::Output};

use assert_cmd::Command;
use serde_json::{Value, json};

use crate::support::pack;

fn scan(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::cargo_bin("thinkgate").unwrap();
    command
        .args(["scan", "--no-classifier", "--rules"])
        .arg(pack())
        .args(arguments)
        .write_stdin(input);
    command.output().unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn tells_every_input_in_order_and_by_its_exit_code_what_was_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let body = json!({"choices": [{"index": 0, "message": {"content": "<think>a</think>b"}}]});
    fs::write(path("a.json"), body.to_string()).unwrap();
    fs::write(path("b.sse"), "data: {\"type\":\"novel_start\"}\n\n").unwrap();
    fs::write(path("e.json"), "{\"error\":{\"message\":\"no\"}}").unwrap();
    let good = scan(&[&path("a.json"), &path("b.sse"), &path("e.json"), "--text"], "");
    assert_eq!(good.status.code(), Some(0));
    let told = lines(&good);
    assert_eq!(told[0]["id"], path("a.json"));
    assert_eq!(told[0]["dialect"], "openai_chat");
    assert_eq!(told[0]["choices"][0]["thinking"]["text"], "a");
    assert_eq!(told[0]["choices"][0]["answer"]["chars"], 1);
    assert_eq!(told[0]["choices"][0]["prompt"], Value::Null);
    assert_eq!((&told[1]["dialect"], &told[1]["choices"]), (&json!("unknown"), &json!([])));
    assert_eq!(told[1]["unscanned_bytes"], 30);
    assert_eq!(told[2]["upstream_error"], true);

    let missing = scan(&[&path("none.sse"), &path("a.json")], "");
    assert_eq!(missing.status.code(), Some(2));
    let told = lines(&missing);
    assert_eq!(told[0]["id"], path("none.sse"));
    assert!(told[0]["error"].is_string() && told[1].get("error").is_none());
}

#[test]
fn reads_traces_from_standard_input_and_tells_where_each_finding_stands() {
    let traces = [
        json!({"id": "one", "prompt": "a falcon", "thinking": "é a forbidden falcon", "answer": "fine"})
            .to_string(),
        "not json".to_owned(),
        json!({"thinking": "nothing", "label": "kept out"}).to_string(),
    ];
    let output = scan(&["-", "--trajectory"], &traces.join("\n"));
    assert_eq!(output.status.code(), Some(2));
    let told = lines(&output);
    assert_eq!(told.len(), 3);
    let choice = &told[0]["choices"][0];
    assert_eq!((&told[0]["id"], &told[0]["dialect"]), (&json!("one"), &json!("trace")));
    assert_eq!(choice["thinking"]["verdict"], "block");
    assert_eq!(choice["thinking"]["first_flag_char"], 20);
    assert_eq!(choice["thinking"]["risk_at"][0][0], 20);
    assert_eq!(choice["thinking"].get("text"), None);
    assert_eq!(choice["outcome"], "leaky_thinking");
    assert_eq!(choice["findings"][0]["channel"], "prompt");
    let finding = &choice["findings"][1];
    let place =
        ["start", "end", "start_char", "end_char"].map(|key| finding[key].as_u64().unwrap());
    assert_eq!(place, [15, 21, 14, 20]);
    assert!(told[1]["id"] == "line:2" && told[1]["error"].is_string());
    assert!(!told[1]["error"].to_string().contains("not json"));
    assert_eq!(told[2]["id"], "line:3");

    let flagged = scan(&["-"], &traces[0]);
    assert_eq!(flagged.status.code(), Some(1));
    let usage = Command::cargo_bin("thinkgate").unwrap().arg("scan").output().unwrap();
    assert_eq!(usage.status.code(), Some(64));
}
