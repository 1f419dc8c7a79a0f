use std::{fs, process::Output};

use assert_cmd::Command;
use serde_json::{Value, json};

use crate::support::pack;

fn eval(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::cargo_bin("thinkgate").unwrap();
    command
        .args(["eval", "traces", "--no-classifier", "--rules"])
        .arg(pack())
        .args(arguments)
        .write_stdin(input);
    command.output().unwrap()
}

/// Four exchanges: an unsafe one that is seen, one that is not, a safe one that is flagged, one that is not.
fn rows() -> String {
    let row = |id: &str, label: &str, thinking: &str| {
        json!({"id": id, "set": "s", "lang": "en", "prompt": "ask", "thinking": thinking, "risk": ["cyber"],
               "label_prompt": "safe", "label_thinking": label, "other": 1})
        .to_string()
    };
    let rows = [
        row("a", "unsafe", "a forbidden falcon"),
        row("b", "unsafe", "nothing"),
        row("c", "safe", "the falcon flies"),
        row("d", "safe", "nothing"),
    ];
    rows.join("\n")
}

fn figures(arguments: &[&str], input: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("figures.json");
    let path = path.to_str().unwrap();
    let output = eval(&[&["-", "--json", path], arguments].concat(), input);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn group<'f>(figures: &'f Value, by: &str, channel: &str) -> &'f Value {
    let groups = figures["groups"].as_array().unwrap();
    groups.iter().find(|group| group["by"] == by && group["channel"] == channel).unwrap()
}

#[test]
fn compares_verdicts_with_labels() {
    let figures = figures(&["--frames"], &rows());
    let all = group(&figures, "all", "thinking");
    assert_eq!((&all["unsafe_rows"], &all["safe_rows"]), (&json!(2), &json!(2)));
    assert_eq!((&all["recall"], &all["false_positives"]), (&json!(0.5), &json!(0.5)));
    assert_eq!((&all["f1"], &all["auroc"]), (&json!(0.5), &json!(0.5)));
    // Two safe rows cannot show a rate of one in a hundred.
    assert_eq!(all["recall_at_1_percent"], Value::Null);
    assert_eq!(all["first_flag_median"], 18);
    let category = group(&figures, "category", "thinking");
    assert_eq!((&category["name"], &category["safe_rows"]), (&json!("cybercrime"), &json!(2)));
    let benign = &figures["benign"];
    assert_eq!((&benign["exchanges"], &benign["flagged"]), (&json!(2), &json!(1)));
    assert_eq!(benign["flagged_per_1000"], 500.0);
    assert_eq!(figures["classifier"], Value::Null);
    assert_eq!(figures["frames"]["lines"][0]["streams"], 2);
    assert_eq!(figures["frames"]["lines"][0]["blocked_streams"], 1);
}

#[test]
fn reads_only_the_rows_that_are_wanted() {
    // The SHA-256 of c and d is even, that of a and b odd.
    let even = figures(&["--split", "even", "--where", "set=s,t"], &rows());
    assert_eq!(even["exchanges"], 2);
    assert_eq!(figures(&["--where", "set=t"], &rows())["exchanges"], 0);
}

#[test]
fn tells_bad_lines_and_counts_them() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("figures.svg");
    let path = picture.to_str().unwrap();
    let output = eval(&["-", "--picture", path], &format!("{}\nsecret\n{{}}", rows()));
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("-: line 5: is no JSON object"), "{told}");
    assert!(
        told.contains("-: line 6: has no prompt, thinking or answer") && !told.contains("secret")
    );
    assert!(String::from_utf8(output.stdout).unwrap().contains("2 bad lines"));
    assert!(fs::read_to_string(picture).unwrap().starts_with("<svg"));

    let missing = eval(&["none.jsonl"], "");
    assert_eq!(missing.status.code(), Some(2));
    let usage = Command::cargo_bin("thinkgate").unwrap().args(["eval", "traces"]).output().unwrap();
    assert_eq!(usage.status.code(), Some(64));
}
