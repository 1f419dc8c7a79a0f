use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::support::{Client, Script, Served, Signal, Upstream, eventually, soon, thinkgate};

const STATE: &str = "config_last_reload_successful";

/// A configuration file and what it names, in a folder of their own.
struct Files {
    folder: tempfile::TempDir,
}

// === impl Files ===

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the configuration: what differs, and what all have.
    fn configure(&self, upstream: &Upstream, more: &str) {
        let (rules, audit) = (self.path("pack.yaml"), self.path("audit.jsonl"));
        let text = format!(
            "upstream: {}\nadmin_listen: 127.0.0.1:0\nrules: [{}]\naudit: {{file: {}}}\n{more}\n",
            upstream.url(),
            rules.display(),
            audit.display()
        );
        fs::write(self.path("config.yaml"), text).unwrap();
    }

    /// Writes a pack that blocks `word`.
    fn block(&self, word: &str) {
        let text = format!(
            "pack: bird\nversion: 1\nrules:\n  - id: bird.{word}\n    description: names it\n    \
             category: privacy_confidentiality\n    severity: high\n    any: [{{literal: {word}}}]\n"
        );
        fs::write(self.path("pack.yaml"), text).unwrap();
    }

    fn serve(&self) -> Served {
        let mut command = thinkgate();
        command.env_remove("THINKGATE_RULES");
        command.args(["serve", "--config"]).arg(self.path("config.yaml"));
        Served::start(command)
    }
}

fn answer(text: &str) -> String {
    let content = serde_json::to_string(text).unwrap();
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":{content}}}}}]}}\n\n")
}

/// What a client gets of a new exchange.
async fn get(served: &Served) -> String {
    let mut client = Client::connect(served.address()).await;
    client.chat().await;
    client.response().await.text().to_owned()
}

fn audit_lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn new_exchanges_get_the_new_rules_and_open_ones_keep_theirs() {
    let files = Files::new();
    let go_on = Signal::new();
    let slow =
        Script::stream().chunk(answer("first ")).wait(&go_on).chunk(answer("an osprey")).end();
    let slow = Upstream::start(slow).await;
    let birds = Script::stream().chunk(answer("a falcon. ")).chunk(answer("an osprey. ")).end();
    let upstream = Upstream::start(birds).await;
    let route = format!("routes: [{{name: slow, path: /slow, upstream: {}}}]", slow.url());
    files.block("falcon");
    files.configure(&upstream, &format!("listen: 127.0.0.1:0\nmode: enforce\n{route}"));
    let mut served = files.serve();
    assert!(!get(&served).await.contains("falcon"));
    let mut open = Client::connect(served.address()).await;
    open.post("/slow/v1/chat/completions", r#"{"messages":[]}"#).await;
    open.until("first ").await;

    // A pack that is broken changes nothing.
    fs::write(files.path("pack.yaml"), "pack: bird\nversion: 1\nrules:\n  - id: 7\n").unwrap();
    served.signal("HUP");
    served.shows(STATE, 0.0).await;
    assert!(!get(&served).await.contains("falcon"));

    files.block("osprey");
    served.signal("HUP");
    served.shows(STATE, 1.0).await;
    let text = get(&served).await;
    assert!(text.contains("falcon") && !text.contains("osprey"), "{text}");
    go_on.give();
    open.until("an osprey").await;
    served.signal("TERM");
    let log = served.log().await;
    assert!(log.contains("reload_failed") && log.contains("pack.yaml:4:"), "{log}");
    let reloaded = r#""code":"reloaded","rules":1"#;
    assert!(log.contains(reloaded), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_key_is_told_with_its_place_and_a_fixed_one_by_its_name() {
    let files = Files::new();
    let upstream = Upstream::start(Script::stream().chunk(answer("a falcon.")).end()).await;
    let listen = "listen: 127.0.0.1:0";
    files.block("falcon");
    files.configure(&upstream, listen);
    let mut served = files.serve();
    assert!(get(&served).await.contains("falcon"));

    files.configure(&upstream, &format!("{listen}\nmode: enforce\ntimeouts:\n  conect: 1s"));
    served.signal("HUP");
    served.shows(STATE, 0.0).await;
    assert!(get(&served).await.contains("falcon"));

    let new = "listen: 127.0.0.1:1\nmode: enforce\nthreads: 1\nlimits: {connections: 9}\n\
               classifier: {second: /nowhere}";
    files.configure(&upstream, new);
    served.signal("HUP");
    served.shows(STATE, 1.0).await;
    assert!(!get(&served).await.contains("falcon"));
    served.signal("TERM");
    let log = served.log().await;
    let file = files.path("config.yaml").display().to_string();
    assert!(log.contains(&format!("{file}:8:3: timeouts.conect: unknown key")), "{log}");
    let told = r#""code":"reload_needs_restart","keys":"listen, threads, classifier.second, limits.connections""#;
    assert!(log.contains(told), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_file_is_opened_again_and_its_texts_come_and_go() {
    let files = Files::new();
    let upstream = Upstream::start(Script::stream().chunk(answer("a falcon.")).end()).await;
    files.block("falcon");
    files.configure(&upstream, "listen: 127.0.0.1:0");
    let served = files.serve();
    let (file, moved) = (files.path("audit.jsonl"), files.path("audit.1"));
    get(&served).await;
    eventually("the first line", || audit_lines(&file).len() == 1).await;
    fs::rename(&file, &moved).unwrap();
    get(&served).await;
    eventually("a line in the moved file", || audit_lines(&moved).len() == 2).await;

    let text = fs::read_to_string(files.path("config.yaml")).unwrap();
    let text = text.replace("audit: {", "audit: {text: true, ");
    fs::write(files.path("config.yaml"), text).unwrap();
    served.signal("HUP");
    eventually("a new file", || file.exists()).await;
    // The file is opened again before the new configuration holds.
    let has_text = || audit_lines(&file).iter().any(|line| line.to_string().contains("a falcon."));
    soon("a line with texts", async {
        for count in 1.. {
            get(&served).await;
            eventually("the next line", || audit_lines(&file).len() == count).await;
            if has_text() {
                return;
            }
        }
    })
    .await;
    assert_eq!(audit_lines(&moved).len(), 2);
}
