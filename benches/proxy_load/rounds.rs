//! Rounds of load: every server in turn, again and again, on the same streams.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use super::{
    Options,
    audit::Audited,
    envoy,
    job::Job,
    load, material,
    process::{Cpu, Server},
    report::{Figure, Ratio, Report, Row, quantile},
};

/// A server under load, and what its rounds showed.
struct Target {
    name: String,
    server: Server,
    /// What it asks about every exchange, whose work counts as its own.
    beside: Option<Server>,
    rounds: Vec<Round>,
}

/// How long a server uses no CPU time before it counts as at rest, and how often that is looked for.
const REST: Duration = Duration::from_millis(200);
const LOOKS: u32 = 300;

/// What one round of one server showed.
struct Round {
    cpu: Cpu,
    chunks: f64,
    tokens: f64,
    p50_us: f64,
    p99_us: f64,
    seconds: f64,
    errors: usize,
    wrong: usize,
}

impl Target {
    fn servers(&self) -> impl Iterator<Item = &Server> {
        std::iter::once(&self.server).chain(&self.beside)
    }

    fn cpu(&self) -> Cpu {
        self.servers().map(Server::cpu).fold(Cpu::default(), Cpu::and)
    }

    /// The CPU time when all is done: scorer threads may have work left when the last byte has gone.
    async fn cpu_at_rest(&self) -> Cpu {
        let mut cpu = self.cpu();
        for look in 0.. {
            assert!(look < LOOKS, "{} works on without streams", self.name);
            tokio::time::sleep(REST).await;
            let before = std::mem::replace(&mut cpu, self.cpu());
            if cpu.since(before).total().is_zero() {
                break;
            }
        }
        cpu
    }
}

impl Round {
    /// Of all processes that worked for it; every round brings the same tokens.
    fn cpu_seconds(&self) -> f64 {
        self.cpu.total().as_secs_f64()
    }

    fn us_per_token(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / self.tokens
    }
}

/// Runs all rounds.
pub(crate) async fn measure(options: &Options) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let upstream = upstream(&folder);
    let mut targets = match &options.envoy {
        Some(envoy) => envoys(envoy, options, &folder, &upstream),
        None => proxies(options, &folder, &upstream),
    };
    let jobs = jobs(options);
    // Connections, allocators and caches are warm before anything counts.
    for target in &mut targets {
        let warming: Vec<Job> =
            jobs.iter().map(|job| Job { events: job.events.min(50), ..*job }).collect();
        play(target, &upstream, &warming).await;
    }
    for round in 0..options.rounds {
        for position in 0..targets.len() {
            // Every other round backwards (A B B A): what grows over the run weighs on all of them alike.
            let position = if round % 2 == 0 { position } else { targets.len() - 1 - position };
            let target = &mut targets[position];
            let seen = play(target, &upstream, &jobs).await;
            target.rounds.push(seen);
        }
    }
    report(options, &folder, &targets)
}

/// The bare proxy, and thinkgate in its place.
fn proxies(options: &Options, folder: &TempDir, upstream: &Server) -> Vec<Target> {
    let mut targets = vec![floor(folder, upstream)];
    for mode in &options.modes {
        targets.push(thinkgate(options, folder, upstream, mode, mode));
    }
    if let Some(binary) = &options.against {
        let options = Options { binary: Some(binary.clone()), ..options.clone() };
        targets.push(thinkgate(&options, folder, upstream, "against", "shadow"));
    }
    targets
}

/// An Envoy alone, and one with thinkgate beside it.
fn envoys(binary: &Path, options: &Options, folder: &TempDir, upstream: &Server) -> Vec<Target> {
    let target = |name: &str, beside: Option<Server>| {
        let asked = beside.as_ref().map(|guard| guard.address);
        let server = envoy::start(binary, folder, name, upstream.address, asked);
        Target { name: name.to_owned(), server, beside, rounds: Vec::new() }
    };
    let mut targets = vec![target("envoy", None)];
    for mode in &options.modes {
        let name = format!("envoy, {mode}");
        let guard = start_guard(options, folder, &name, &["ext-proc", "--mode", mode]);
        targets.push(target(&name, Some(guard)));
    }
    targets
}

fn jobs(options: &Options) -> Vec<Job> {
    let Options { wire, streams, rate, seconds, burst, tokens, at_once, .. } = *options;
    let every = Duration::from_secs(1) / u32::try_from(rate).unwrap();
    let job = |stream| {
        if burst {
            let (every, delay) = (Duration::ZERO, Duration::ZERO);
            Job { wire, stream, events: tokens, every, delay, at_once }
        } else {
            let delay = every.mul_f64(stream as f64 / streams as f64);
            Job { wire, stream, events: rate * seconds, every, delay, at_once: 1 }
        }
    };
    (0..streams).map(job).collect()
}

async fn play(target: &Target, upstream: &Server, jobs: &[Job]) -> Round {
    let before = target.cpu();
    let limit = Duration::from_mins(5);
    let mut seen = load::play(target.server.address, upstream.address, jobs, limit).await;
    let cpu = target.cpu_at_rest().await.since(before);
    seen.delays.sort_unstable();
    let micros = |share| quantile(&seen.delays, share).unwrap_or_default() as f64 / 1000.0;
    Round {
        cpu,
        chunks: seen.chunks as f64,
        tokens: jobs.iter().map(|job| job.events).sum::<u64>() as f64,
        p50_us: micros(0.5),
        p99_us: micros(0.99),
        seconds: seen.took.as_secs_f64(),
        errors: seen.errors,
        wrong: seen.wrong,
    }
}

/// The fake model server.
pub(crate) fn upstream(folder: &TempDir) -> Server {
    Server::start_self("upstream", None, &folder.path().join("upstream.log"))
}

fn floor(folder: &TempDir, upstream: &Server) -> Target {
    let log = folder.path().join("floor.log");
    let server = Server::start_self("floor", Some(upstream.address), &log);
    Target { name: "floor".to_owned(), server, beside: None, rounds: Vec::new() }
}

fn thinkgate(
    options: &Options,
    folder: &TempDir,
    upstream: &Server,
    name: &str,
    mode: &str,
) -> Target {
    let server = start_thinkgate(options, folder, upstream, name, mode);
    Target { name: name.to_owned(), server, beside: None, rounds: Vec::new() }
}

/// The proxy itself, with the generated pack, the audit log and the metrics.
pub(crate) fn start_thinkgate(
    options: &Options,
    folder: &TempDir,
    upstream: &Server,
    name: &str,
    mode: &str,
) -> Server {
    let url = format!("http://{}", upstream.address);
    start_guard(options, folder, name, &["serve", "--mode", mode, "--upstream", &url])
}

fn start_guard(options: &Options, folder: &TempDir, name: &str, arguments: &[&str]) -> Server {
    let pack = folder.path().join("bench.yaml");
    let yaml = material::pack::yaml(options.seed, options.literals, options.regexes);
    std::fs::write(&pack, yaml).unwrap();
    let built = Path::new(env!("CARGO_BIN_EXE_thinkgate"));
    let mut command = Command::new(options.binary.as_deref().unwrap_or(built));
    command.args(arguments);
    if !options.classifier {
        command.arg("--no-classifier");
    }
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    command.arg("--rules").arg(&pack);
    command.arg("--audit").arg(audit_log(folder, name));
    Server::start(command, &folder.path().join("thinkgate.log"))
}

fn audit_log(folder: &TempDir, name: &str) -> PathBuf {
    folder.path().join(format!("{name}.jsonl"))
}

fn report(options: &Options, folder: &TempDir, targets: &[Target]) -> Report {
    let Options { streams, tokens, rate, .. } = *options;
    let load = if options.burst {
        format!("burst: {streams} streams x {tokens} tokens")
    } else {
        format!("paced: {streams} streams x {rate} tokens/s")
    };
    let floor = &targets[0];
    let rows = targets.iter().map(|target| row(options, folder, floor, target)).collect();
    Report { title: format!("{load}, {}", options.variant()), rows }
}

fn row(options: &Options, folder: &TempDir, floor: &Target, target: &Target) -> Row {
    let of = |figure: fn(&Round) -> f64| Figure::of(target.rounds.iter().map(figure));
    let pairs = || target.rounds.iter().zip(&floor.rounds);
    let against = |figure: fn(&Round, &Round) -> f64| {
        Figure::of(pairs().map(|(ours, floor)| figure(ours, floor)))
    };
    let mut figures = vec![
        ("cpu us/token", of(|round| round.us_per_token(round.cpu.total()))),
        ("user us/token", of(|round| round.us_per_token(round.cpu.user))),
        ("system us/token", of(|round| round.us_per_token(round.cpu.system))),
        ("chunks/token", of(|round| round.chunks / round.tokens)),
        ("x floor", against(|ours, floor| ours.cpu_seconds() / floor.cpu_seconds())),
    ];
    if options.burst {
        figures.push(("ktokens/s", of(|round| round.tokens / round.seconds / 1e3)));
    } else {
        figures.push(("p50 us", of(|round| round.p50_us)));
        figures.push(("p99 us", of(|round| round.p99_us)));
        figures.push(("p50 added us", against(|ours, floor| ours.p50_us - floor.p50_us)));
        figures.push(("p99 added us", against(|ours, floor| ours.p99_us - floor.p99_us)));
    }
    let log = audit_log(folder, &target.name);
    // All rounds, and the one that warms.
    let streams = (target.rounds.len() + 1) * usize::try_from(options.streams).unwrap();
    Row {
        name: target.name.clone(),
        figures,
        of_sums: Some(Ratio::of_sums(
            pairs().map(|(ours, floor)| (ours.cpu_seconds(), floor.cpu_seconds())),
        )),
        errors: target.rounds.iter().map(|round| round.errors).sum(),
        wrong: target.rounds.iter().map(|round| round.wrong).sum(),
        audited: log.exists().then(|| Audited::read(&log, streams)),
    }
}
