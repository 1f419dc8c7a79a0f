//! What one token costs in the core, stage by stage: time, and instructions under valgrind.
//!
//! `cargo bench --bench session` prints nanoseconds a token (the least of many rounds). With `-- --instructions` it
//! runs itself under `valgrind --tool=callgrind` and prints instructions a token, which other load on the machine
//! does not change. With `-- --stage NAME --tokens N` it runs one stage and prints nothing: for a profiler.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a bench may end with a panic, and reads the clock"
)]

#[expect(dead_code, reason = "the load needs more of it")]
mod material;

use std::{
    hint::black_box,
    io::Write as _,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use clap::Parser;
use material::{events::Script, wires::Wire};
use thinkgate::{
    dialect::{Endpoint, openai_chat},
    policy::Policy,
    rules::{Pack, RuleSet, StreamMatcher, Watch},
    session::{Identity, Plan, ResponseHead, Session, Settings},
    wire::{Framer, Framing},
};

/// Tokens of one stream.
const STREAM: u64 = 1000;

/// The stages, each with the ones before it as far as it needs them.
const STAGES: [(&str, Stage); 6] = [
    ("framing", framing),
    ("dialect", dialect),
    ("matcher", matcher),
    ("session", session),
    ("session, 16 at once", session_at_once),
    ("session+progress", session_with_progress),
];

type Stage = fn(&Material, u64);

#[derive(Debug, Parser)]
struct Options {
    /// Count instructions instead of time
    #[arg(long)]
    instructions: bool,
    /// Run this stage alone and print nothing
    #[arg(long)]
    stage: Option<String>,
    /// Tokens to run
    #[arg(long, default_value_t = 20_000)]
    tokens: u64,
    /// Literals in the rule pack
    #[arg(long, default_value_t = 1000)]
    literals: usize,
    /// Regexes in the rule pack
    #[arg(long, default_value_t = 200)]
    regexes: usize,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What the stages run on.
struct Material {
    events: Vec<Bytes>,
    /// The same, so many together.
    sixteens: Vec<Bytes>,
    texts: Vec<&'static str>,
    rules: Arc<RuleSet>,
    plan: Arc<Plan>,
}

fn main() {
    let options = Options::parse();
    if options.instructions {
        return count_instructions(&options);
    }
    let material = Material::new(&options);
    if let Some(name) = &options.stage {
        let (_, stage) = STAGES.iter().find(|(stage, _)| stage == name).unwrap();
        return stage(&material, options.tokens);
    }
    for (name, stage) in STAGES {
        let least = (0..30).map(|_| time(&material, stage, options.tokens)).min().unwrap();
        let nanos = least.as_secs_f64() * 1e9 / options.tokens as f64;
        print(&format!("{name:>18} {nanos:>8.0} ns/token"));
    }
}

fn time(material: &Material, stage: Stage, tokens: u64) -> Duration {
    let begin = Instant::now();
    stage(material, tokens);
    begin.elapsed()
}

/// What a stage takes for twice the tokens, less what it takes for them: the start-up is in both.
fn count_instructions(options: &Options) {
    for (name, _) in STAGES {
        let [once, twice] = [1, 2].map(|times| instructions(options, name, times * options.tokens));
        let each = (twice - once) as f64 / options.tokens as f64;
        print(&format!("{name:>18} {each:>8.0} instructions/token"));
    }
}

fn instructions(options: &Options, stage: &str, tokens: u64) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .args(["--stage", stage, "--tokens", &tokens.to_string()])
        .args(["--literals", &options.literals.to_string()])
        .args(["--regexes", &options.regexes.to_string()])
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = log.lines().find_map(|line| line.split_once("Collected :")).unwrap();
    line.1.trim().parse().unwrap()
}

fn print(line: &str) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}

// === impl Material ===

impl Material {
    fn new(options: &Options) -> Self {
        let yaml = material::pack::yaml(1, options.literals, options.regexes);
        let pack = Pack::parse("bench", &yaml, &|_| Err("no file".to_owned())).unwrap();
        let rules = Arc::new(RuleSet::compile(vec![pack]).unwrap());
        let plan = Plan::new(Arc::clone(&rules), Policy::default(), Settings::default());
        let script = Script::new();
        let stream = script.stream(Wire::Chat, 0, STREAM);
        let events = (0..STREAM).map(|at| Bytes::from(stream.event(at, 1_763_747_000_000_000_000)));
        let events: Vec<Bytes> = events.collect();
        let sixteens = events.chunks(16).map(|events| Bytes::from(events.concat())).collect();
        let texts = material::text::pieces();
        Self { events, sixteens, texts, rules, plan: Arc::new(plan) }
    }

    fn events(&self, tokens: u64) -> impl Iterator<Item = &Bytes> {
        self.events.iter().cycle().take(usize::try_from(tokens).unwrap())
    }

    /// Runs `tokens` tokens as streams of [`STREAM`] each, which come in these chunks.
    fn streams(&self, chunks: &[Bytes], tokens: u64, mut after_each: impl FnMut(&mut Session)) {
        let now = Instant::now();
        for _ in 0..tokens / STREAM {
            let identity = Identity { id: "bench".to_owned(), created: 0 };
            let endpoint = Some(Endpoint::ChatCompletions);
            let mut session = Session::new(Arc::clone(&self.plan), endpoint, identity);
            session.on_response(&ResponseHead {
                status: 200,
                content_type: Some("text/event-stream".to_owned()),
                undecodable: false,
            });
            for chunk in chunks {
                session.on_chunk(now, chunk.clone());
                after_each(&mut session);
            }
            black_box(&session);
        }
    }
}

fn framing(material: &Material, tokens: u64) {
    let mut framer = Framer::new(Framing::Sse, 1 << 20);
    for event in material.events(tokens) {
        framer.push(event.clone());
        while let Some(frame) = framer.next_frame() {
            black_box(frame);
        }
    }
}

fn dialect(material: &Material, tokens: u64) {
    for event in material.events(tokens) {
        let payload = std::str::from_utf8(&event["data: ".len()..]).unwrap();
        black_box(openai_chat::read(payload.trim_ascii_end()));
    }
}

fn matcher(material: &Material, tokens: u64) {
    let watch = Arc::new(Watch::new(&material.rules, &|_| true, &|_| false));
    let mut matcher = StreamMatcher::new(&watch);
    let mut found = Vec::new();
    for text in material.texts.iter().cycle().take(usize::try_from(tokens).unwrap()) {
        matcher.push(text, &mut found);
        black_box(&mut found).clear();
    }
}

fn session(material: &Material, tokens: u64) {
    material.streams(&material.events, tokens, |_| {});
}

fn session_at_once(material: &Material, tokens: u64) {
    material.streams(&material.sixteens, tokens, |_| {});
}

fn session_with_progress(material: &Material, tokens: u64) {
    material.streams(&material.events, tokens, |session| {
        black_box(session.take_progress());
    });
}
