//! `thinkgate replay`: what has been, under another policy.
//!
//! Every exchange goes, byte for byte and by its own clock, through the same session machine as live traffic, once
//! under each of two configurations; the classifier's scores come at once. What differs is told.

mod exchange;
mod guard;

use std::{
    collections::BTreeMap,
    io::{self, BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
    time::Instant,
};

use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;
use thinkgate::{
    config::ConfigErrors,
    policy::{Action, Verdict},
    record::Truncated,
};

use self::guard::{Fate, Guard};
use super::plan::{self, Detectors};

/// Some exchange could not be read.
const UNREADABLE: u8 = 2;

/// Some exchange's action changed.
const CHANGED: u8 = 1;

/// What `replay` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Captures and traces (`.jsonl`), recorded bodies (`.sse` `.ndjson` `.json`), all of them also with `.gz`
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The configuration that holds now; the defaults where absent
    #[arg(long, value_name = "FILE")]
    before: Option<PathBuf>,
    /// The configuration that is to hold
    #[arg(long, value_name = "FILE")]
    after: PathBuf,
    /// Run both without the classifier
    #[arg(long)]
    no_classifier: bool,
    /// Tell every exchange in which anything differs, and not only those whose action changed
    #[arg(long)]
    any: bool,
    /// How the differences are written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// How the differences are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One JSON object a line, the summary last.
    Json,
    /// For people.
    Text,
}

/// An exchange that is told.
#[derive(Debug, Serialize)]
struct Change<'f> {
    id: &'f str,
    differs: Vec<&'static str>,
    /// Why something of it is missing in its capture.
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<Truncated>,
    before: &'f Fate,
    after: &'f Fate,
}

/// All exchanges under one configuration.
#[derive(Debug, Default, Serialize)]
struct Totals {
    flagged: u64,
    cut: u64,
    leaking: u64,
    waiting: u64,
    longest_wait_ms: u64,
    sent_bytes: u64,
    would: BTreeMap<&'static str, u64>,
}

/// What all of it comes to.
#[derive(Debug, Default, Serialize)]
struct Summary {
    exchanges: u64,
    unreadable: u64,
    /// Exchanges of which the capture lacks something.
    truncated: u64,
    /// Exchanges whose action changed.
    changed: u64,
    before: Totals,
    after: Totals,
}

struct Replay<W> {
    before: Guard,
    after: Guard,
    any: bool,
    format: Format,
    out: W,
    summary: Summary,
    begin: Instant,
}

/// Replays every file.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let guards = guard(arguments.before.as_ref(), arguments.no_classifier)
        .and_then(|before| Ok((before, guard(Some(&arguments.after), arguments.no_classifier)?)));
    let (before, after) = match guards {
        Ok(guards) => guards,
        Err(errors) => {
            super::complain(&errors);
            return Ok(ExitCode::from(super::USAGE));
        }
    };
    let mut replay = Replay {
        before,
        after,
        any: arguments.any,
        format: arguments.format,
        out: BufWriter::new(io::stdout().lock()),
        summary: Summary::default(),
        begin: tokio::time::Instant::now().into_std(),
    };
    match replay.all(&arguments.files) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error).context("cannot write to standard output"),
        Ok(()) if replay.summary.unreadable > 0 => Ok(ExitCode::from(UNREADABLE)),
        Ok(()) if replay.summary.changed > 0 => Ok(ExitCode::from(CHANGED)),
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}

fn guard(config: Option<&PathBuf>, no_classifier: bool) -> Result<Guard, ConfigErrors> {
    let detectors = Detectors::of_config(config.cloned(), no_classifier);
    let loaded = plan::load_detectors(&detectors)?;
    let scorer = loaded.scorer()?;
    Ok(Guard::new(loaded, scorer))
}

// === impl Replay ===

impl<W: Write> Replay<W> {
    fn all(&mut self, files: &[PathBuf]) -> io::Result<()> {
        for file in files {
            exchange::read(file, |read| match read {
                Ok(exchange) => self.one(&exchange),
                Err((place, reason)) => {
                    self.summary.unreadable += 1;
                    super::complain(&format_args!("{place}: {reason}"));
                    Ok(())
                }
            })?;
        }
        match self.format {
            Format::Json => self.line(&serde_json::json!({"summary": self.summary}))?,
            Format::Text => self.tell_summary()?,
        }
        self.out.flush()
    }

    fn one(&mut self, exchange: &exchange::Exchange) -> io::Result<()> {
        let before = self.before.replay(exchange, self.begin);
        let after = self.after.replay(exchange, self.begin);
        self.summary.exchanges += 1;
        self.summary.truncated += u64::from(exchange.truncated.is_some());
        self.summary.before.add(&before);
        self.summary.after.add(&after);
        let differs = after.differences(&before);
        let acts = before.acts_as(&after);
        self.summary.changed += u64::from(!acts);
        if acts && (!self.any || differs.is_empty()) {
            return Ok(());
        }
        let (id, truncated) = (&exchange.id, exchange.truncated);
        let change = Change { id, differs, truncated, before: &before, after: &after };
        match self.format {
            Format::Json => self.line(&change),
            Format::Text => self.tell(&change),
        }
    }

    fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, value)?;
        self.out.write_all(b"\n")
    }

    fn tell(&mut self, change: &Change<'_>) -> io::Result<()> {
        let Change { id, differs, truncated, before, after } = change;
        let acts = |fate: &Fate| match (fate.action, fate.would) {
            (done, would) if done == would => done.name().to_owned(),
            (done, would) => format!("{} (would {})", done.name(), would.name()),
        };
        writeln!(
            self.out,
            "{id}: {} -> {}; differs: {}",
            acts(before),
            acts(after),
            differs.join(" ")
        )?;
        match truncated {
            None => {}
            Some(Truncated::Stopped) => writeln!(self.out, "  was ended: the rest is not known")?,
            Some(Truncated::Size | Truncated::Undecodable | Truncated::Unmaskable) => {
                writeln!(self.out, "  something is missing in its capture")?;
            }
        }
        for (sign, fate, other) in [("-", before, after), ("+", after, before)] {
            for flag in fate.flags.difference(&other.flags) {
                writeln!(self.out, "  {sign} {flag}")?;
            }
            if let Some(cut) = fate.cut.filter(|_| fate.cut != other.cut) {
                let (channel, at, seen) = (cut.channel.name(), cut.char, cut.seen_chars);
                writeln!(
                    self.out,
                    "  {sign} cut in {channel} at character {at}, {seen} characters seen"
                )?;
            }
        }
        if before.leaked != after.leaked {
            writeln!(self.out, "  leaked matches: {} -> {}", before.leaked, after.leaked)?;
        }
        Ok(())
    }

    fn tell_summary(&mut self) -> io::Result<()> {
        let Summary { exchanges, unreadable, truncated, changed, before, after } = &self.summary;
        write!(
            self.out,
            "{exchanges} exchanges, {changed} with another action, {unreadable} unreadable"
        )?;
        if *truncated > 0 {
            write!(self.out, ", {truncated} not whole")?;
        }
        writeln!(self.out)?;
        let rows = [
            ("flagged", before.flagged, after.flagged),
            ("cut", before.cut, after.cut),
            ("leaking a match", before.leaking, after.leaking),
            ("with frames that waited", before.waiting, after.waiting),
            ("longest wait, ms", before.longest_wait_ms, after.longest_wait_ms),
            ("bytes sent", before.sent_bytes, after.sent_bytes),
        ];
        writeln!(self.out, "{:>26} {:>12} {:>12}", "", "before", "after")?;
        for (name, before, after) in rows {
            writeln!(self.out, "{name:>26} {before:>12} {after:>12}")?;
        }
        Ok(())
    }
}

// === impl Totals ===

impl Totals {
    fn add(&mut self, fate: &Fate) {
        self.flagged += u64::from(fate.verdict >= Verdict::Flag);
        self.cut += u64::from(matches!(fate.action, Action::Block | Action::FailClosed));
        self.leaking += u64::from(fate.leaked > 0);
        self.waiting += u64::from(fate.waited_ms > 0);
        self.longest_wait_ms = self.longest_wait_ms.max(fate.longest_wait_ms);
        self.sent_bytes += fate.sent_bytes;
        *self.would.entry(fate.would.name()).or_default() += 1;
    }
}
