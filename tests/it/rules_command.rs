use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use assert_cmd::cargo::CommandCargoExt;
use serde_json::Value;

const PACK: &str = "\
pack: acme
version: 1
rules:
  - id: acme.bird
    category: secrets
    severity: high
    any: [{literal: falcon}, {regex: '(?-u:\\b)[0-9]{16}(?-u:\\b)', validator: luhn}]
    unless: [{literal: falcon heavy}]
    examples: {match: [a falcon], pass: [a heron]}
  - id: acme.short
    category: secrets
    severity: low
    any: [{literal: ab}]
    examples: {match: [ab], pass: [a heron]}
";

/// `thinkgate rules …` with something on standard input: its exit code, output and complaints.
fn rules(arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut command = Command::cargo_bin("thinkgate").unwrap();
    command.arg("rules").args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn lint_tells_levels_and_fails_where_it_is_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let pack = write(folder.path(), "acme.yaml", PACK);
    let (code, out, _) = rules(&["lint", &pack], "");
    let note = "warning: rule acme.short: pattern 1 is a word of 2 characters";
    assert_eq!(out, format!("{pack}:13:21: {note}\n2 rules, 0 errors, 1 warnings, 0 infos\n"));
    assert_eq!(code, Some(0));
    for (level, expected) in [("info", 1), ("warning", 1), ("error", 0)] {
        assert_eq!(rules(&["lint", &pack, "--deny", level], "").0, Some(expected), "{level}");
    }
    let (_, out, _) = rules(&["lint", &pack, "--format", "json"], "");
    let note: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&note["level"], &note["rule"]), (&"warning".into(), &"acme.short".into()));
    assert_eq!(rules(&["lint", &pack, "--deny", "everything"], "").0, Some(64));
}

#[test]
fn explain_tells_what_a_rule_makes_of_a_text() {
    let folder = tempfile::tempdir().unwrap();
    let pack = write(folder.path(), "acme.yaml", PACK);
    let text = "é falcon, falcons, falcon heavy, 4111111111111112";
    let (code, out, told) = rules(&["explain", "acme.bird", text, "--rules", &pack], "");
    assert_eq!((code, told.as_str()), (Some(0), ""));
    for part in [
        "any of\n      1  literal \"falcon\"\n",
        "block by default",
        "The rule matches this text.",
        "pattern 1 at bytes 3..9, characters 2..8: reported\n    é ⟦falcon⟧, falcons",
        "inside a longer word",
        "exception 1 excuses it",
        "pattern 2 at bytes 34..50, characters 33..49: held back: its validator or entropy refuses it",
    ] {
        assert!(out.contains(part), "{part} is not in {out}");
    }
    let arguments = ["explain", "acme.bird", "-", "--rules", &pack, "--format", "json"];
    let (_, out, _) = rules(&arguments, "a FALCON");
    let explained: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(explained["matches"], true);
    assert_eq!(explained["action"], "block");
    let found = serde_json::json!([{
        "pattern": 1, "start": 2, "end": 8, "start_char": 2, "end_char": 8, "fate": "reported",
    }]);
    assert_eq!(explained["found"], found);
    assert_eq!(rules(&["explain", "acme.none", "--rules", &pack], "").0, Some(64));
}

#[test]
fn an_override_changes_a_rule_of_another_pack_and_must_find_it() {
    let folder = tempfile::tempdir().unwrap();
    let pack = write(folder.path(), "acme.yaml", PACK);
    let change = "pack: site\nversion: 1\noverrides:\n- {rules: acme.*, severity: low}\n- ";
    let site =
        write(folder.path(), "site.yaml", &format!("{change}{{rules: '*.short', enabled: false}}"));
    let (code, out, _) = rules(&["list", &pack, &site], "");
    assert_eq!(code, Some(0));
    assert_eq!(out, "acme.bird\tsecrets\tlow\tprompt,thinking,answer,tool_call,refusal\t\n");
    let site =
        write(folder.path(), "site.yaml", &format!("{change}{{rules: '*.shrt', enabled: false}}"));
    let (code, _, told) = rules(&["list", &pack, &site], "");
    assert_eq!(code, Some(64));
    assert!(
        told.contains(&format!("{site}:5:11: overrides.rules: no loaded rule has such an id")),
        "{told}"
    );
}

#[test]
fn bench_tells_what_rules_cost() {
    let folder = tempfile::tempdir().unwrap();
    let pack = write(folder.path(), "acme.yaml", PACK);
    let text = write(folder.path(), "text.txt", "a falcon and a heron\n");
    let arguments = ["bench", &text, "--rules", &pack, "--seconds", "1", "--format", "json"];
    let (code, out, told) = rules(&arguments, "");
    assert_eq!((code, told.as_str()), (Some(0), ""));
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["rules"], 2);
    assert!(report["matches"].as_u64() > Some(0));
    assert!(report["memory_bytes"]["literals"].as_u64() > Some(0));
    assert!(report["enforce"]["ns_per_char"].as_f64() > Some(0.0));
    assert!(!report["slowest"].as_array().unwrap().is_empty());
    assert_eq!(rules(&["bench", "/nowhere.txt", "--rules", &pack], "").0, Some(64));
}

#[test]
fn schema_is_printed_as_it_is_published() {
    let (code, out, _) = rules(&["schema"], "");
    let published = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/pack.schema.json");
    assert_eq!((code, out), (Some(0), fs::read_to_string(published).unwrap()));
}
