//! The binary, serving.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, ChildStdout, Command, Stdio},
};

use assert_cmd::cargo::CommandCargoExt;
use serde_json::Value;

use super::{Upstream, eventually, gate::metric, pack, soon};

/// A `thinkgate serve` of its own process, killed with the test.
pub(crate) struct Served {
    child: Child,
    /// What it said when it was ready.
    pub(crate) line: Value,
    pub(crate) out: BufReader<ChildStdout>,
}

// === impl Served ===

impl Served {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a process");
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let line = serde_json::from_str(&line).unwrap_or_else(|_| {
            let mut text = String::new();
            child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
            panic!("no ready line, but {text}");
        });
        Self { child, line, out }
    }

    pub(crate) fn before(upstream: &Upstream) -> Self {
        let mut command = thinkgate();
        command.args(["serve", "--upstream", &upstream.url()]);
        command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        Self::start(command)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.line["listening"].as_str().unwrap().parse().unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    pub(crate) async fn code(&mut self) -> Option<i32> {
        let mut status = None;
        eventually("the process' end", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap().code()
    }

    /// Waits until a series of the operator's metrics has this value.
    pub(crate) async fn shows(&self, series: &str, value: f64) {
        let admin = self.line["admin"].as_str().unwrap().parse().unwrap();
        soon(&format!("{series} {value}"), async {
            while metric(admin, series).await != Some(value) {}
        })
        .await;
    }

    /// Waits for the end; gives what it has said on standard error.
    pub(crate) async fn log(&mut self) -> String {
        self.code().await;
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        log
    }

    pub(crate) fn file_descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The binary with the environment of nobody and the pack of the tests, without the classifier.
pub(crate) fn thinkgate() -> Command {
    let mut command = Command::cargo_bin("thinkgate").expect("the binary");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("THINKGATE_") {
            command.env_remove(name);
        }
    }
    command.env("THINKGATE_RULES", pack()).env("THINKGATE_CLASSIFIER__ENABLED", "false");
    command
}
