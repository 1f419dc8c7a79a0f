//! The processes that are measured: their start, their address, their CPU time and memory.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// Tells the parent where this process listens.
pub(crate) fn announce(address: SocketAddr) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{{\"listening\":\"{address}\"}}").unwrap();
    out.flush().unwrap();
}

/// A server in a process of its own; it ends with this value.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

/// CPU time that a process has used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    /// In the process.
    pub(crate) user: Duration,
    /// In the kernel on its behalf.
    pub(crate) system: Duration,
}

impl Server {
    /// Starts `command` and waits until it says where it listens. What it logs goes to `log`.
    pub(crate) fn start(mut command: Command, log: &Path) -> Self {
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("THINKGATE_")) {
            command.env_remove(name);
        }
        let log = fs::File::options().create(true).append(true).open(log).unwrap();
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: serde_json::Value =
            serde_json::from_str(&line).expect("the server says where it listens");
        let address = said.get("listening").and_then(|address| address.as_str()).unwrap();
        Self { address: address.parse().unwrap(), child }
    }

    /// Starts `command`, which does not say where it listens, and waits until somebody listens at `address`.
    pub(crate) fn start_at(address: SocketAddr, mut command: Command) -> Self {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = Self { child: quiet.spawn().unwrap(), address };
        while TcpStream::connect(address).is_err() {
            assert!(server.child.try_wait().unwrap().is_none(), "the server has ended");
            std::thread::sleep(Duration::from_millis(10));
        }
        server
    }

    /// This binary as another server.
    pub(crate) fn start_self(kind: &str, upstream: Option<SocketAddr>, log: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--serve-as", kind]);
        if let Some(upstream) = upstream {
            command.args(["--upstream", &upstream.to_string()]);
        }
        Self::start(command, log)
    }

    /// The CPU time used so far, of all threads, in steps of 10 ms.
    pub(crate) fn cpu(&self) -> Cpu {
        let stat = self.read("stat");
        // The command's name, in parentheses, may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
        let ticks =
            |at: usize| Duration::from_millis(fields.get(at).unwrap().parse::<u64>().unwrap() * 10);
        Cpu { user: ticks(11), system: ticks(12) }
    }

    /// Kilobytes (of 1,000 bytes) resident now.
    pub(crate) fn resident_kb(&self) -> f64 {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kibibytes * 1.024
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to end.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Cpu {
    /// What was used since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            user: self.user.checked_sub(before.user).unwrap(),
            system: self.system.checked_sub(before.system).unwrap(),
        }
    }

    /// That of two processes.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { user: self.user + other.user, system: self.system + other.system }
    }

    /// Both together.
    pub(crate) fn total(self) -> Duration {
        self.user + self.system
    }
}
