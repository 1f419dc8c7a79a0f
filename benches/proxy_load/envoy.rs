//! An Envoy with the shipped bootstrap, and without its filter as the floor.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Command,
};

use tempfile::TempDir;

use super::process::Server;

const BOOTSTRAP: &str = include_str!("../../deploy/envoy/envoy.yaml");

/// Where the filter begins in the bootstrap, and where the next one does.
const FILTER: &str = "                  - name: envoy.filters.http.ext_proc\n";
const NEXT: &str = "                  - name: envoy.filters.http.router\n";

/// Starts `binary` before `upstream`; it asks the thinkgate at `guard`, if there is one.
pub(crate) fn start(
    binary: &Path,
    folder: &TempDir,
    name: &str,
    upstream: SocketAddr,
    guard: Option<SocketAddr>,
) -> Server {
    let address = free_address();
    let ports = [
        (9901, free_address().port()),
        (10000, address.port()),
        (8000, upstream.port()),
        (9002, guard.map_or(9, |guard| guard.port())),
    ];
    let mut config = BOOTSTRAP.to_owned();
    for (old, new) in ports {
        config = config.replace(&format!("port_value: {old} "), &format!("port_value: {new} "));
    }
    if guard.is_none() {
        let (before, filter) = config.split_once(FILTER).unwrap();
        let (_, behind) = filter.split_once(NEXT).unwrap();
        config = [before, NEXT, behind].concat();
    }
    let file = folder.path().join(format!("{name}.yaml"));
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(binary);
    command.arg("-c").arg(file).args(["--use-dynamic-base-id", "--log-level", "off"]);
    Server::start_at(address, command)
}

/// Of a port that nobody uses now: Envoy tells its own only when asked.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
