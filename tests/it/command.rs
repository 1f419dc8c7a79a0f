use std::{fs, io::Read, process::Command};

use crate::support::{
    Client, Envoy, Script, Served, Signal, Upstream, eventually, pack, soon, thinkgate,
};

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = thinkgate().args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn says_where_it_listens_in_one_line_and_ends_at_a_signal() {
    for (name, code) in [("TERM", 143), ("INT", 130)] {
        let upstream = Upstream::start(Script::answer("text/plain", "ok")).await;
        let mut served = Served::before(&upstream);
        let line = &served.line;
        assert_eq!(line["upstream"], upstream.url());
        assert_eq!(line["mode"], "shadow");
        assert_eq!(line["classifier"], "off");
        assert_eq!(line["rules"], 1);
        assert!(line["admin"].as_str().unwrap().starts_with("127.0.0.1:"));
        let mut client = Client::connect(served.address()).await;
        client.chat().await;
        assert_eq!(client.response().await.text(), "ok");
        served.signal(name);
        assert_eq!(served.code().await, Some(code));
        let mut rest = String::new();
        served.out.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "one line and no more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_an_envoy_it_needs_no_upstream_and_names_none() {
    let mut command = thinkgate();
    command.args(["ext-proc", "--listen", "127.0.0.1:0", "--mode", "enforce"]);
    command.env("THINKGATE_ADMIN_LISTEN", "127.0.0.1:0");
    let mut served = Served::start(command);
    assert_eq!(served.line["mode"], "enforce");
    assert!(served.line.get("upstream").is_none());
    drop(Envoy::of(served.address()).chat().await);
    served.signal("TERM");
    assert_eq!(served.code().await, Some(143));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, _, error) =
        run(&["ext-proc", "--listen", &address, "--admin-listen", "127.0.0.1:0"]);
    assert_eq!(code, Some(70));
    assert!(error.contains(&address), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn finishes_open_exchanges_before_it_ends() {
    let go_on = Signal::new();
    let script = Script::stream().chunk("data: 1\n\n").wait(&go_on).chunk("data: 2\n\n").end();
    let upstream = Upstream::start(script).await;
    let mut served = Served::before(&upstream);
    let address = served.address();
    let mut client = Client::connect(address).await;
    client.chat().await;
    client.until("data: 1\n\n").await;
    served.signal("TERM");
    eventually("the close of the door", || std::net::TcpStream::connect(address).is_err()).await;
    go_on.give();
    client.until("0\r\n\r\n").await;
    assert_eq!(served.code().await, Some(143));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    let upstream = Upstream::start(Script::stream().chunk("data: 1\n\n").until_peer_closes()).await;
    let mut served = Served::before(&upstream);
    let address = served.address();
    let mut client = Client::connect(address).await;
    client.chat().await;
    client.until("data: 1\n\n").await;
    served.signal("TERM");
    eventually("the close of the door", || std::net::TcpStream::connect(address).is_err()).await;
    served.signal("INT");
    assert_eq!(served.code().await, Some(143));
}

#[test]
fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flags in [
        ["--listen", &address, "--admin-listen", "127.0.0.1:0"],
        ["--listen", "127.0.0.1:0", "--admin-listen", &address],
    ] {
        let mut arguments = vec!["serve", "--upstream", "http://127.0.0.1:9"];
        arguments.extend(flags);
        let (code, out, told) = run(&arguments);
        assert_eq!(code, Some(70));
        assert!(told.contains(&address), "{told}");
        assert_eq!(out, "");
    }
}

#[test]
fn a_broken_configuration_is_told_and_nothing_is_bound() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.yaml");
    fs::write(&file, "upstream: http://x\ntimeouts:\n  conect: 1s\n").unwrap();
    let file = file.display().to_string();
    for command in ["serve", "check"] {
        let (code, out, told) = run(&[command, "--config", &file]);
        assert_eq!(code, Some(64));
        assert!(told.contains(&format!("{file}:3:3: timeouts.conect: unknown key")), "{told}");
        assert_eq!(out, "");
    }
    fs::write(&file, "timeouts: {connect: 1s}\n").unwrap();
    assert_eq!(run(&["check", "--config", &file]), (Some(0), String::new(), String::new()));
    let remote =
        "remote: {url: 'http://x/v1', model: m, api_key_env: THINKGATE_TEST_NO_SUCH_KEY}\n";
    fs::write(&file, remote).unwrap();
    let (code, _, told) = run(&["check", "--config", &file]);
    assert_eq!(code, Some(64));
    assert_eq!(told, "remote.api_key_env: the variable THINKGATE_TEST_NO_SUCH_KEY is not set\n");
    let broken = folder.path().join("broken.yaml");
    fs::write(&broken, "pack: p\nversion: 1\nrules:\n  - id: p.x\n    severity: grave\n").unwrap();
    fs::write(&file, "timeouts: {conect: 1s}\n").unwrap();
    let rules = format!("/nowhere.yaml:{}", broken.display());
    let mut command = thinkgate();
    command.args(["check", "--config", &file]).env("THINKGATE_RULES", rules);
    let output = command.output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64));
    // All that is wrong, in one run: a key, a file that is not there, a rule.
    for part in ["timeouts.conect", "/nowhere.yaml", "broken.yaml:5:"] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
}

#[test]
fn bad_usage_is_64_and_help_is_0() {
    assert_eq!(run(&["serve", "--no-such-flag"]).0, Some(64));
    assert_eq!(run(&["no-such-command"]).0, Some(64));
    assert_eq!(run(&[]).0, Some(64));
    assert_eq!(run(&["serve"]).0, Some(64));
    assert_eq!(run(&["serve", "--upstream", "nowhere"]).0, Some(64));
    assert_eq!(run(&["--help"]).0, Some(0));
    assert_eq!(run(&["--version"]).0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn survives_a_lack_of_file_descriptors() {
    let upstream = Upstream::start(Script::answer("text/plain", "ok").close()).await;
    let binary = assert_cmd::cargo::cargo_bin("thinkgate");
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "ulimit -n 40; exec \"$0\" serve --upstream \"$1\" --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0",
    ]);
    command.arg(binary).arg(upstream.url()).env("THINKGATE_RULES", pack());
    let mut served = Served::start(command);
    let before = served.file_descriptors();
    let mut crowd = Vec::new();
    for _ in 0..60 {
        crowd.push(Client::connect(served.address()).await);
    }
    eventually("the last descriptor's use", || served.file_descriptors() >= 39).await;
    drop(crowd);
    eventually("the descriptors' return", || served.file_descriptors() <= before).await;
    // Some of the crowd may still wait to be accepted, and take the descriptors once more.
    soon("an answer", async {
        loop {
            let mut client = Client::connect(served.address()).await;
            client.chat().await;
            if client.response().await.text() == "ok" {
                break;
            }
        }
    })
    .await;
    served.signal("TERM");
    assert_eq!(served.code().await, Some(143));
}

#[tokio::test(flavor = "multi_thread")]
async fn file_descriptors_return_to_their_start() {
    let upstream = Upstream::start(Script::stream().chunk("data: 1\n\n").until_peer_closes()).await;
    let served = Served::before(&upstream);
    let mut warm = Client::connect(served.address()).await;
    warm.chat().await;
    warm.until("data: 1\n\n").await;
    drop(warm);
    upstream.cancelled(1).await;
    let start = served.file_descriptors();
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = Client::connect(served.address()).await;
        client.chat().await;
        client.until("data: 1\n\n").await;
        clients.push(client);
    }
    assert!(served.file_descriptors() >= start + 98);
    drop(clients);
    upstream.cancelled(51).await;
    eventually("the descriptors' return", || served.file_descriptors() <= start).await;
}
