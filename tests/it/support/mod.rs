//! A fake upstream, a thinkgate in this process, and clients that speak raw bytes.

mod client;
mod envoy;
mod gate;
mod served;
mod upstream;

use std::{fs, future::Future, path::PathBuf, time::Duration};

pub(crate) use client::Client;
pub(crate) use envoy::{Conversation, Envoy, Filter, piece};
pub(crate) use gate::Gate;
pub(crate) use served::{Served, thinkgate};
pub(crate) use upstream::{Script, Signal, Upstream};

/// What anything in a test may take at most.
const PATIENCE: Duration = Duration::from_secs(20);

/// A pack with one rule: it blocks the word `falcon` everywhere. The shipped packs have tests of their own.
pub(crate) fn pack() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/falcon.yaml"))
}

/// Waits for `future`, not forever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// Waits until `condition` holds, not forever.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let mut look = tokio::time::interval(Duration::from_millis(2));
    soon(what, async {
        while !condition() {
            look.tick().await;
        }
    })
    .await;
}

/// TCP connections of this network namespace that have `port` at one end and are not closed on both.
pub(crate) fn open_connections(port: u16) -> usize {
    const ESTABLISHED: &str = "01";
    const CLOSE_WAIT: &str = "08";
    const FIN_WAIT_2: &str = "05";
    let port = format!(":{port:04X}");
    let table = fs::read_to_string("/proc/net/tcp").expect("the kernel's table of connections");
    table
        .lines()
        .skip(1)
        .filter(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (local, remote) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""));
            let state = fields.next().unwrap_or("");
            (local.ends_with(&port) || remote.ends_with(&port))
                && [ESTABLISHED, CLOSE_WAIT, FIN_WAIT_2].contains(&state)
        })
        .count()
}
