//! `thinkgate rules bench`: what a set of rules costs.

use std::{
    fs,
    hint::black_box,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use serde::Serialize;
use thinkgate::{
    config::{RuleSource, load_rules},
    rules::{RuleSet, Severity, StreamMatcher, Watch, everyday_text, parts::Footprint},
    text::fold::fold,
};
use tokio::time::Instant;

use super::Format;

/// What `bench` takes.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A text to read; without it, everyday sentences that are built in
    file: Option<PathBuf>,
    /// Rule packs, folders of them, or builtin (the default)
    #[arg(long, value_name = "FILE_OR_DIR")]
    pub(super) rules: Vec<String>,
    /// About how long to measure, after the rules are loaded
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// For people or for programs
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Of a longer text, only the beginning is read, in bytes.
const LONGEST_TEXT: usize = 16 << 20;
/// A shorter text is repeated up to this length, in bytes.
const SHORTEST_TEXT: usize = 64 << 10;
/// Characters of a token: what comes at once.
const TOKEN_CHARS: usize = 4;
/// How many of the slowest automata are told.
const SLOWEST: usize = 8;

/// All that is measured.
#[derive(Debug, Serialize)]
struct Report {
    /// Without optimisation, times say little.
    optimised: bool,
    rules: usize,
    load_ms: f64,
    /// Choosing the rules of a route, and what is held for them.
    watch_ms: f64,
    memory_bytes: Footprint,
    text_chars: usize,
    /// Nothing waits.
    shadow: Speed,
    /// Every rule of severity high or critical holds text.
    enforce: Speed,
    matches: usize,
    slowest: Vec<Slow>,
}

#[derive(Debug, Serialize)]
struct Speed {
    ns_per_char: f64,
    mb_per_second: f64,
}

#[derive(Debug, Serialize)]
struct Slow {
    automaton: String,
    ns_per_char: f64,
    memory_bytes: usize,
    rules: Vec<String>,
}

pub(super) fn run(
    sources: &[RuleSource],
    arguments: &Arguments,
    out: &mut impl Write,
) -> anyhow::Result<ExitCode> {
    let text = match &arguments.file {
        None => everyday_text(),
        Some(file) => match fs::read(file) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => {
                crate::cli::complain(&format!("cannot read {}: {error}", file.display()));
                return Ok(ExitCode::from(crate::cli::USAGE));
            }
        },
    };
    if text.is_empty() {
        crate::cli::complain(&"there is no text to read");
        return Ok(ExitCode::from(crate::cli::USAGE));
    }
    let begin = Instant::now();
    let rules = match load_rules(sources) {
        Ok(rules) => Arc::new(rules),
        Err(errors) => {
            crate::cli::complain(&errors);
            return Ok(ExitCode::from(crate::cli::USAGE));
        }
    };
    let load = begin.elapsed();
    let budget = Duration::from_secs(arguments.seconds.into());
    let report = measure(&rules, load, &long_enough(&text), budget);
    match arguments.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string(&report)?)?,
        Format::Text => tell(&report, out)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn long_enough(text: &str) -> String {
    let text = text.get(..text.floor_char_boundary(LONGEST_TEXT)).unwrap_or_default();
    let mut long = text.to_owned();
    while long.len() < SHORTEST_TEXT {
        long.push('\n');
        long.push_str(text);
    }
    long
}

fn measure(rules: &Arc<RuleSet>, load: Duration, text: &str, budget: Duration) -> Report {
    let begin = Instant::now();
    let grave = |severity| matches!(severity, Severity::High | Severity::Critical);
    let enforce = Arc::new(Watch::new(rules, &|_| true, &|rule| grave(rule.severity)));
    let watch = begin.elapsed();
    let shadow = Arc::new(Watch::new(rules, &|_| true, &|_| false));
    let third = budget / 3;
    let (shadow, matches) = read_along(&shadow, text, third);
    Report {
        optimised: !cfg!(debug_assertions),
        rules: rules.rules().len(),
        load_ms: millis(load),
        watch_ms: millis(watch),
        memory_bytes: rules.footprint(),
        text_chars: text.chars().count(),
        shadow,
        enforce: read_along(&enforce, text, third).0,
        matches,
        slowest: slowest(&enforce, text, third),
    }
}

/// Reads the text in tokens, again and again, for about this long; gives also the matches of one reading, or of
/// what of it there was time for.
fn read_along(watch: &Arc<Watch>, text: &str, budget: Duration) -> (Speed, usize) {
    /// Tokens between two looks at the clock.
    const TOKENS: usize = 256;
    let begin = Instant::now();
    let (mut chars, mut bytes, mut matches) = (0_u64, 0_u64, None);
    while begin.elapsed() < budget {
        let mut matcher = StreamMatcher::new(watch);
        let mut found = Vec::new();
        let mut rest = text;
        while !rest.is_empty() && begin.elapsed() < budget {
            for _ in 0..TOKENS {
                let at = rest.char_indices().nth(TOKEN_CHARS).map_or(rest.len(), |(at, _)| at);
                let (token, later) = rest.split_at(at);
                matcher.push(token, &mut found);
                black_box(matcher.watermark());
                rest = later;
            }
        }
        matcher.finish(&mut found);
        chars += matcher.read_chars();
        bytes += matcher.read_bytes();
        matches.get_or_insert(found.len());
    }
    (speed(begin.elapsed(), chars, bytes), matches.unwrap_or(0))
}

/// The automata that take the most time, each run alone.
fn slowest(watch: &Watch, text: &str, budget: Duration) -> Vec<Slow> {
    let folded = fold(text.get(..text.floor_char_boundary(SHORTEST_TEXT)).unwrap_or_default());
    let chars = folded.chars().count() as u64;
    let parts = watch.parts();
    let each = budget / u32::try_from(parts.len()).unwrap_or(u32::MAX).max(1);
    let step = TOKEN_CHARS * folded.len() / usize::try_from(chars).unwrap_or(1).max(1);
    let end = Instant::now() + budget;
    let mut slow: Vec<Slow> = Vec::new();
    for part in parts {
        if Instant::now() >= end {
            break;
        }
        let begin = Instant::now();
        let mut times = 0;
        while times == 0 || begin.elapsed() < each {
            black_box(part.run(folded.as_bytes(), step));
            times += 1;
        }
        slow.push(Slow {
            automaton: part.name(),
            ns_per_char: speed(begin.elapsed(), chars * times, 0).ns_per_char,
            memory_bytes: part.memory(),
            rules: part.rules().into_iter().map(str::to_owned).collect(),
        });
    }
    slow.sort_by(|a, b| b.ns_per_char.total_cmp(&a.ns_per_char));
    slow.truncate(SLOWEST);
    slow
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn speed(elapsed: Duration, chars: u64, bytes: u64) -> Speed {
    let seconds = elapsed.as_secs_f64().max(f64::EPSILON);
    Speed {
        ns_per_char: 1e9 * seconds / chars.max(1) as f64,
        mb_per_second: bytes as f64 / 1e6 / seconds,
    }
}

fn millis(time: Duration) -> f64 {
    1e3 * time.as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn tell(report: &Report, out: &mut impl Write) -> io::Result<()> {
    if !report.optimised {
        writeln!(out, "This build is not optimised: its times say little.")?;
    }
    let Report { rules, load_ms, watch_ms, memory_bytes: memory, text_chars, .. } = report;
    writeln!(
        out,
        "{rules} rules loaded and compiled in {load_ms:.0} ms; a route's choice {watch_ms:.0} ms"
    )?;
    writeln!(
        out,
        "automata {:.1} MiB: literals {:.1}, in disguise {:.1}, regexes read along {:.1}, regexes run now and then {:.1}",
        mib(memory.total()),
        mib(memory.literals),
        mib(memory.disguises),
        mib(memory.groups),
        mib(memory.single),
    )?;
    writeln!(
        out,
        "text of {text_chars} characters, {TOKEN_CHARS} at a time, {} matches",
        report.matches
    )?;
    for (name, speed) in [("shadow", &report.shadow), ("enforce", &report.enforce)] {
        let Speed { ns_per_char, mb_per_second } = speed;
        writeln!(out, "  {name:<8} {ns_per_char:>8.1} ns a character, {mb_per_second:>7.1} MB/s")?;
    }
    writeln!(out, "slowest automata, each alone")?;
    for Slow { automaton, ns_per_char, memory_bytes, rules } in &report.slowest {
        let memory = mib(*memory_bytes);
        write!(out, "  {automaton:<28} {ns_per_char:>8.1} ns a character {memory:>7.2} MiB")?;
        if let Some(first) = rules.first() {
            let more = rules.len() - 1;
            write!(out, "  {first}")?;
            if more > 0 {
                write!(out, " and {more} more rules")?;
            }
        }
        writeln!(out)?;
    }
    Ok(())
}
