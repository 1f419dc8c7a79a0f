//! thinkgate under load beside a bare hyper proxy: CPU per token, added delay, memory per stream, wrong bytes.
//!
//! Every server is a process of its own; this binary is the client, and re-executes itself as the fake model server
//! and as the floor. The servers take turns on the same load (A B B A), and what is reported is the median over the
//! rounds and its spread, and the ratio of all rounds' CPU time with its standard error. `benches/README.md` says what
//! each number means.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a bench may end with a panic, and reads the clock"
)]

mod audit;
mod envoy;
mod floor;
mod job;
mod load;
#[path = "../material/mod.rs"]
mod material;
mod memory;
mod process;
mod report;
mod rounds;
mod sum;
mod upstream;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::Parser;
use material::wires::Wire;

/// What is run.
#[derive(Clone, Debug, Parser)]
struct Options {
    /// What the model server speaks
    #[arg(long, value_enum, default_value_t = Wire::Chat)]
    wire: Wire,
    /// Leave the built-in classifier on
    #[arg(long)]
    classifier: bool,
    /// Streams that are open at a time
    #[arg(long, default_value_t = 200)]
    streams: u64,
    /// Tokens a second of each stream
    #[arg(long, default_value_t = 50)]
    rate: u64,
    /// Seconds of one round
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Rounds of each server; an even number of them brings every server as often early as late
    #[arg(long, default_value_t = 12)]
    rounds: usize,
    /// As fast as it goes instead of a pace
    #[arg(long)]
    burst: bool,
    /// Tokens of each stream in a burst
    #[arg(long, default_value_t = 1000)]
    tokens: u64,
    /// Tokens in one write of the upstream in a burst
    #[arg(long, default_value_t = 1)]
    at_once: u64,
    /// Memory of this many open streams instead of a load
    #[arg(long, value_name = "STREAMS")]
    idle: Option<u64>,
    /// Modes of thinkgate to be measured
    #[arg(long, value_delimiter = ',', default_value = "shadow")]
    modes: Vec<String>,
    /// Literals in the rule pack
    #[arg(long, default_value_t = 1000)]
    literals: usize,
    /// Regexes in the rule pack
    #[arg(long, default_value_t = 200)]
    regexes: usize,
    /// The seed that the rule pack is made from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Another binary to be measured in place of this build's thinkgate
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Another binary to be measured beside it, in the mode shadow
    #[arg(long)]
    against: Option<PathBuf>,
    /// An Envoy to be measured alone and with thinkgate beside it, instead of the bare proxy and thinkgate
    #[arg(long)]
    envoy: Option<PathBuf>,
    /// A few seconds, for a look whether it runs
    #[arg(long)]
    quick: bool,
    /// Where the figures are written as JSON, besides standard output
    #[arg(long)]
    json: Option<PathBuf>,
    #[arg(long, hide = true)]
    serve_as: Option<String>,
    #[arg(long, hide = true)]
    upstream: Option<SocketAddr>,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match options.serve_as.as_deref() {
        Some("floor") => floor::serve(options.upstream.unwrap()),
        Some(_) => upstream::serve(),
        None => return measure(&options.quickened()),
    }
    ExitCode::SUCCESS
}

fn measure(options: &Options) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let report = runtime.block_on(async {
        match options.idle {
            Some(streams) => memory::measure(options, streams).await,
            None => rounds::measure(options).await,
        }
    });
    report.print();
    if let Some(path) = &options.json {
        std::fs::write(path, report.json()).unwrap();
    }
    if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Options {
    /// What is measured, for a report's title.
    fn variant(&self) -> String {
        let Self { wire, classifier, .. } = self;
        format!("{wire}, classifier {}", if *classifier { "on" } else { "off" })
    }

    fn quickened(mut self) -> Self {
        if self.quick {
            self.streams = self.streams.min(50);
            self.seconds = self.seconds.min(1);
            self.rounds = self.rounds.min(2);
            self.tokens = self.tokens.min(200);
            self.idle = self.idle.map(|streams| streams.min(100));
        }
        self
    }
}
