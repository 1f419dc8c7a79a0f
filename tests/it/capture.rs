//! Exchanges that are captured, and what they are good for.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use serde_json::{Value, json};
use thinkgate::{
    app::App,
    config::{Config, from_yaml},
};

use crate::support::{Client, Gate, Script, Signal, Upstream, eventually, pack, soon, thinkgate};

/// A folder for captures and audit lines.
struct Folder(tempfile::TempDir);

// === impl Folder ===

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Keys with which everything is captured as it is, and audited.
    fn keys(&self, capture: &str) -> String {
        let folder = self.path().display();
        format!(
            "capture: {{folder: {folder}/captures, mask: none{capture}}}\n\
             audit: {{file: {folder}/audit.jsonl}}"
        )
    }

    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path().join("captures")).unwrap();
        let mut files: Vec<String> =
            entries.map(|entry| entry.unwrap().path().display().to_string()).collect();
        files.sort();
        files
    }

    fn text(&self) -> String {
        self.files().iter().map(|file| fs::read_to_string(file).unwrap()).collect()
    }

    fn captures(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn audit_lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path().join("audit.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What `thinkgate replay` tells of the captures under two configurations.
    fn replay(&self, before: &str, after: &str, more: &[&str]) -> Vec<Value> {
        let rules = format!("rules: [{}]\n", pack().display());
        fs::write(self.path().join("before.yaml"), format!("{rules}{before}")).unwrap();
        fs::write(self.path().join("after.yaml"), format!("{rules}{after}")).unwrap();
        let mut command = thinkgate();
        command.env_remove("THINKGATE_RULES").current_dir(self.path());
        command.args(["replay", "--format", "json", "--before", "before.yaml"]);
        command.args(["--after", "after.yaml"]).args(more).args(self.files());
        let output = command.output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
        told.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn event(delta: &Value) -> String {
    format!("data: {}\n\n", json!({"id": "c", "choices": [{"index": 0, "delta": delta}]}))
}

/// A stream of these deltas, each in a chunk of its own, which leaves when the one before it has been read.
fn stream(deltas: &[Value]) -> (Script, Signal) {
    let go_on = Signal::new();
    let mut script = Script::stream();
    for delta in deltas {
        script = script.chunk(event(delta)).wait(&go_on);
    }
    (script.chunk("data: [DONE]\n\n").end(), go_on)
}

/// One exchange before such a stream, read chunk by chunk as far as it comes.
async fn exchange(keys: &str, prompt: &str, deltas: &[Value]) {
    let (script, go_on) = stream(deltas);
    let upstream = Upstream::start(script).await;
    let gate = Gate::configured(&upstream.url(), keys).await;
    let mut client = gate.client().await;
    let body = json!({"stream": true, "messages": [{"role": "user", "content": prompt}]});
    client.post("/v1/chat/completions?key=in-the-query", &body.to_string()).await;
    for _ in deltas {
        go_on.give();
    }
    let _ = client.response().await;
    drop(client);
    gate.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_under_the_same_policy_does_what_was_done() {
    let said = [
        json!({"reasoning_content": "They want the fal"}),
        json!({"reasoning_content": "con's place. I should refuse."}),
        json!({"content": "No."}),
    ];
    let unsaid =
        [json!({"reasoning_content": "A bird."}), json!({"content": "An eagle, Zo\u{eb}."})];
    let exchanges: [(&str, &[Value]); 3] =
        [("Where?", &said), ("Which bird?", &unsaid), ("Where is the falcon?", &unsaid)];
    for mode in ["shadow", "enforce"] {
        let folder = Folder::new();
        for (prompt, deltas) in exchanges {
            exchange(&format!("mode: {mode}\n{}", folder.keys("")), prompt, deltas).await;
        }
        let audited = folder.audit_lines();
        assert_eq!(audited.len(), exchanges.len());
        let told =
            folder.replay("mode: off", &format!("mode: {mode}"), &["--any", "--no-classifier"]);
        for line in &audited {
            let replayed = told.iter().find(|told| told["id"] == line["id"]).unwrap();
            let after = &replayed["after"];
            for key in ["mode", "action", "would", "verdict", "cut"] {
                assert_eq!(after[key], line[key], "{key} in {mode} of {line}");
            }
            let outcomes =
                line["choices"].as_array().unwrap().iter().map(|choice| &choice["outcome"]);
            assert_eq!(after["outcomes"], outcomes.cloned().collect::<Value>());
        }
        let captures = folder.captures();
        let truncated = |at: usize| captures[at]["truncated"].as_str();
        let stopped = (mode == "enforce").then_some("stopped");
        assert_eq!((truncated(0), truncated(1), truncated(2)), (stopped, None, stopped));
        assert_eq!(audited[0]["outcome"], Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_policy_changes_exactly_the_exchanges_that_it_is_about() {
    let folder = Folder::new();
    let bird = [json!({"content": "It is a falcon."})];
    let none = [json!({"content": "It is an eagle."})];
    for deltas in [&none, &bird, &none, &bird, &none] {
        exchange(&folder.keys(""), "Which?", deltas).await;
    }
    let audited = folder.audit_lines();
    let ids = |told: &[Value]| -> Vec<Value> {
        told.iter()
            .filter(|line| line["summary"].is_null())
            .map(|line| line["id"].clone())
            .collect()
    };
    let told = folder.replay("mode: shadow", "mode: enforce", &["--no-classifier"]);
    assert_eq!(ids(&told), [audited[1]["id"].clone(), audited[3]["id"].clone()]);
    let summary = &told.last().unwrap()["summary"];
    assert_eq!((&summary["exchanges"], &summary["changed"]), (&json!(5), &json!(2)));
    let same = folder.replay("mode: enforce", "mode: enforce", &["--no-classifier", "--any"]);
    assert_eq!(ids(&same), Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_is_its_owners_alone_and_has_no_credentials() {
    let folder = Folder::new();
    let upstream = Upstream::start(Script::answer("application/json", "{\"a\":1}")).await;
    let keys = format!("mode: enforce\npolicy: {{on_unscanned: pass}}\n{}", folder.keys(""));
    let gate = Gate::configured(&upstream.url(), &keys).await;
    let mut client = gate.client().await;
    client
        .send(
            "POST /v1/chat/completions?key=in-the-query HTTP/1.1\r\nhost: gate\r\n\
             authorization: Bearer in-a-header\r\nx-api-key: in-a-header\r\ncookie: in-a-header\r\n\
             content-length: 15\r\n\r\n{\"messages\":[]}",
        )
        .await;
    client.response().await;
    // What is not inspected is not captured.
    client.post("/v1/embeddings", "{\"input\":\"not inspected\"}").await;
    client.response().await;
    drop(client);
    gate.drain().await;
    let text = folder.text();
    for secret in ["in-the-query", "in-a-header", "not inspected"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    let [capture] = &folder.captures()[..] else { panic!("{text}") };
    assert_eq!((&capture["v"], &capture["route"]), (&json!(1), &json!("default")));
    assert_eq!(
        (&capture["request"], &capture["end"]),
        (&json!("{\"messages\":[]}"), &json!("complete"))
    );
    assert_eq!(capture["chunks"][0][1], "{\"a\":1}");
    let mode = |path: &str| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.files()[0]), 0o600);
    assert_eq!(mode(&folder.path().join("captures").display().to_string()), 0o700);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_body_is_captured_as_it_reads() {
    use std::io::Write;
    let folder = Folder::new();
    let body = event(&json!({"content": "It is an eagle."})).repeat(50);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(body.as_bytes()).unwrap();
    let coded = gzip.finish().unwrap();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        coded.len()
    );
    let upstream = Upstream::start(Script::new().send(head).send(&coded)).await;
    let gate = Gate::configured(&upstream.url(), &folder.keys("")).await;
    let mut client = gate.client().await;
    client.chat().await;
    assert_eq!(client.response().await.body, coded);
    drop(client);
    gate.drain().await;
    let captures = folder.captures();
    let chunks = captures[0]["chunks"].as_array().unwrap();
    let read: String = chunks.iter().map(|chunk| chunk[1].as_str().unwrap()).collect();
    assert_eq!(read, body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_disk_harms_no_stream_and_is_counted_until_it_is_mended() {
    let folder = Folder::new();
    let body = event(&json!({"content": "It is an eagle."})).repeat(200);
    let upstream = Upstream::start(Script::answer("text/event-stream", &body)).await;
    let keys = folder.keys(", file_bytes: 1");
    let gate = Gate::configured(&upstream.url(), &keys).await;
    let mut client = gate.client().await;
    let mut count = async |outcome: &str, count: f64| {
        client.chat().await;
        let response = client.response().await;
        assert!(response.complete && response.text() == body);
        let series = format!("captures_total{{outcome=\"{outcome}\"}}");
        soon(&series, async { while gate.metric(&series).await != Some(count) {} }).await;
    };
    count("whole", 1.0).await;
    let captures = folder.path().join("captures");
    fs::rename(&captures, folder.path().join("moved")).unwrap();
    fs::write(&captures, "a file in the folder's place").unwrap();
    count("write_failed", 1.0).await;
    count("write_failed", 2.0).await;
    fs::remove_file(&captures).unwrap();
    fs::create_dir(&captures).unwrap();
    count("whole", 2.0).await;
    assert_eq!(folder.captures().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_is_cut_or_dropped_and_the_stream_goes_on() {
    let body = event(&json!({"content": "It is an eagle."})).repeat(2000);
    for (limit, outcome, written) in
        [(", exchange_bytes: 20 kB", "truncated", 1), (", memory_bytes: 20 kB", "memory_full", 0)]
    {
        let folder = Folder::new();
        let upstream = Upstream::start(Script::answer("text/event-stream", &body)).await;
        let gate = Gate::configured(&upstream.url(), &folder.keys(limit)).await;
        let mut client = gate.client().await;
        client.chat().await;
        assert_eq!(client.response().await.text(), body);
        let series = format!("captures_total{{outcome=\"{outcome}\"}}");
        soon(&series, async { while gate.metric(&series).await != Some(1.0) {} }).await;
        drop(client);
        gate.drain().await;
        assert_eq!(folder.captures().len(), written);
        assert!(folder.captures().iter().all(|capture| capture["truncated"] == "size"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_named_routes_are_captured_and_what_a_reload_takes_out_no_more() {
    let folder = Folder::new();
    let upstream = Upstream::start(Script::answer("application/json", "{\"choices\":[]}")).await;
    let config = |capture: bool| {
        let captured = folder.keys(", routes: [team]");
        let yaml = format!(
            "upstream: {}\nlisten: 127.0.0.1:0\nadmin_listen: 127.0.0.1:0\nrules: [{}]\n\
             classifier: {{enabled: false}}\nroutes: [{{name: team, path: /team}}]\n{}",
            upstream.url(),
            pack().display(),
            if capture { &captured } else { "" }
        );
        Config::read(from_yaml("c.yaml", &yaml).unwrap())
    };
    let app = App::start(config(true).unwrap()).await.unwrap();
    let ask = async |path: &str| {
        let mut client = Client::connect(app.listening()).await;
        client.post(path, "{\"messages\":[]}").await;
        client.response().await;
    };
    ask("/v1/chat/completions").await;
    ask("/team/v1/chat/completions").await;
    eventually("the capture", || folder.captures().len() == 1).await;
    assert_eq!(folder.captures()[0]["route"], "team");
    // Another file is begun for what comes after a signal.
    let again = config(true);
    assert_eq!(app.reload(move || again).await.unwrap().needs_restart, Vec::<&str>::new());
    ask("/team/v1/chat/completions").await;
    eventually("the capture after a reload", || folder.captures().len() == 2).await;
    assert_eq!(folder.files().len(), 2);
    let without = config(false);
    app.reload(move || without).await.unwrap();
    ask("/team/v1/chat/completions").await;
    soon("a drain", app.drain(std::future::pending())).await;
    assert_eq!(folder.captures().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn exchanges_that_a_drain_breaks_off_are_captured_as_far_as_they_came() {
    let folder = Folder::new();
    let script = Script::stream().chunk(event(&json!({"content": "It is"}))).until_peer_closes();
    let upstream = Upstream::start(script).await;
    let gate = Gate::configured(&upstream.url(), &folder.keys("")).await;
    let mut client = gate.client().await;
    client.chat().await;
    client.until("It is").await;
    soon("a drain", gate.into_app().drain(std::future::ready(()))).await;
    let captures = folder.captures();
    assert_eq!((captures.len(), &captures[0]["end"]), (1, &json!("client_gone")));
    assert!(captures[0]["chunks"][0][1].as_str().unwrap().contains("It is"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_written_is_told_before_anything_is_bound() {
    let folder = Folder::new();
    fs::write(folder.path().join("captures"), "a file").unwrap();
    let yaml = format!(
        "upstream: http://127.0.0.1:9\nclassifier: {{enabled: false}}\n{}",
        folder.keys("")
    );
    let config = Config::read(from_yaml("c.yaml", &yaml).unwrap()).unwrap();
    let error = App::start(config).await.unwrap_err();
    assert!(error.is_configuration());
    let told = error.to_string();
    assert!(
        told.starts_with("cannot write into capture.folder") && told.contains("captures: "),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn captures_are_scanned_and_exported_also_packed() {
    let folder = Folder::new();
    let deltas = [
        json!({"reasoning_content": "Which one do they mean?"}),
        json!({"content": "The falcon."}),
    ];
    exchange(&folder.keys(""), "Which bird?", &deltas).await;
    let packed = folder.path().join("captures.jsonl.gz");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut gzip, folder.text().as_bytes()).unwrap();
    fs::write(&packed, gzip.finish().unwrap()).unwrap();
    let id = &folder.audit_lines()[0]["id"];
    let told = |arguments: &[&str], file: &str| -> Value {
        let output = thinkgate().args(arguments).arg(file).output().unwrap();
        let line = String::from_utf8(output.stdout).unwrap();
        serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("{line}{}", String::from_utf8_lossy(&output.stderr)))
    };
    for file in [&folder.files()[0], packed.to_str().unwrap()] {
        let scanned = told(&["scan", "--text"], file);
        assert_eq!((&scanned["id"], &scanned["dialect"]), (id, &json!("openai_chat")));
        let choice = &scanned["choices"][0];
        assert_eq!(choice["outcome"], "unsafe");
        assert_eq!(choice["prompt"]["text"], "Which bird?");
        assert_eq!(choice["thinking"]["text"], "Which one do they mean?");
        let exported = told(&["export", "--outcome", "unsafe"], file);
        assert_eq!(
            exported["messages"],
            json!([
                {"role": "user", "content": "Which bird?"},
                {"role": "assistant", "content": "<think>\nWhich one do they mean?\n</think>\n\nThe falcon."},
            ])
        );
        let provenance = &exported["provenance"];
        assert_eq!((&provenance["id"], &provenance["line"]), (id, &json!(1)));
        let detectors = provenance["detectors"].as_str().unwrap();
        assert!(detectors.contains("1 rules and policy") && detectors.ends_with("classifier none"));
    }
}
