//! `thinkgate scan`: recorded bodies, traces and captures, read by the same session machine as live traffic.
//!
//! One JSON object a line, in the order of the inputs. Nothing is carried out: the mode is shadow, and every input
//! is read to its end.

use std::{
    io::{self, BufRead, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;
use thinkgate::{
    dialect::Dialect,
    policy::Verdict,
    record::{ChannelReport, ChoiceReport, ExchangeReport},
    session::Keep,
};

use super::{
    plan::{self, Detectors},
    reading::Reading,
    traces::{self, Entry, Lines},
};

/// Some input could not be read.
const UNREADABLE: u8 = 2;

/// Some verdict is not `pass`.
const FLAGGED: u8 = 1;

/// What `scan` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Recorded bodies (`.sse` `.ndjson` `.json`), traces and captures (`.jsonl`), all of them also with `.gz`, or - for
    /// lines from standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How the findings are written
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
    /// Write the channels' texts as well
    #[arg(long)]
    text: bool,
    /// Write how the risk rose along the text
    #[arg(long)]
    trajectory: bool,
    #[command(flatten)]
    detectors: Detectors,
}

/// How the findings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// A line of the output.
#[derive(Serialize)]
struct Line<'r> {
    id: &'r str,
    dialect: Dialect,
    unscanned_bytes: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    upstream_error: bool,
    choices: &'r [ChoiceReport],
}

/// Scans every file.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let loaded = plan::load_detectors(&arguments.detectors)
        .and_then(|loaded| Ok((loaded.shadow(), loaded.scorer()?)));
    let (plan, scorer) = match loaded {
        Ok(loaded) => loaded,
        Err(errors) => {
            super::complain(&errors);
            return Ok(ExitCode::from(super::USAGE));
        }
    };
    let mut scan = Scan {
        reading: Reading::new(
            plan,
            scorer,
            Keep { text: Some(usize::MAX), trajectory: arguments.trajectory },
        ),
        show_text: arguments.text,
        format: arguments.format,
        out: BufWriter::new(io::stdout().lock()),
        unreadable: false,
        flagged: false,
    };
    let scanned = arguments.files.iter().try_for_each(|file| scan.file(file));
    match scanned.and_then(|()| scan.out.flush()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error).context("cannot write to standard output"),
        Ok(()) if scan.unreadable => Ok(ExitCode::from(UNREADABLE)),
        Ok(()) if scan.flagged => Ok(ExitCode::from(FLAGGED)),
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}

struct Scan<W> {
    reading: Reading,
    show_text: bool,
    format: Format,
    out: W,
    unreadable: bool,
    flagged: bool,
}

// === impl Scan ===

impl<W: Write> Scan<W> {
    fn file(&mut self, path: &Path) -> io::Result<()> {
        let name = path.display().to_string();
        if name == "-" {
            return self.lines(io::stdin().lock());
        }
        let file = match traces::open(path) {
            Ok(file) => file,
            Err(error) => return self.complain(&name, &format!("cannot be opened: {error}")),
        };
        match traces::ending(path) {
            Some("jsonl") => self.lines(file),
            Some("sse" | "ndjson" | "json") => match self.reading.body(file) {
                Ok(report) => self.tell(&name, report),
                Err(error) => self.complain(&name, &format!("cannot be read: {error}")),
            },
            _ => self.complain(&name, "is none of .sse .ndjson .json .jsonl"),
        }
    }

    fn lines(&mut self, lines: impl BufRead) -> io::Result<()> {
        for (number, line) in Lines::of(lines) {
            let place = format!("line:{number}");
            match line.and_then(|line| Entry::of_line(&line)) {
                Ok(Entry::Trace(trace)) => {
                    let report = self.reading.trace(&trace);
                    self.tell(&trace.id(&place), report)?;
                }
                Ok(Entry::Capture(capture)) => {
                    let report = self.reading.capture(&capture);
                    self.tell(&capture.id, report)?;
                }
                Err(reason) => self.complain(&place, &reason)?,
            }
        }
        Ok(())
    }

    fn tell(&mut self, id: &str, mut report: ExchangeReport) -> io::Result<()> {
        let prompt_flagged = report.prompt.iter().any(|prompt| prompt.verdict != Verdict::Pass);
        self.flagged |= prompt_flagged || report.verdict != Verdict::Pass;
        // A line's findings are those of every channel, the prompt's first.
        for choice in &mut report.choices {
            choice.findings.splice(0..0, report.prompt_findings.iter().cloned());
        }
        if !self.show_text {
            report.choices.iter_mut().for_each(forget_texts);
        }
        match self.format {
            Format::Json => {
                let line = Line {
                    id,
                    dialect: report.dialect,
                    unscanned_bytes: report.bytes.unscanned.values().sum(),
                    upstream_error: report.upstream_error,
                    choices: &report.choices,
                };
                serde_json::to_writer(&mut self.out, &line)?;
                self.out.write_all(b"\n")
            }
            Format::Text => self.tell_people(id, &report),
        }
    }

    fn tell_people(&mut self, id: &str, report: &ExchangeReport) -> io::Result<()> {
        let unscanned: u64 = report.bytes.unscanned.values().sum();
        write!(self.out, "{id}: {}", report.dialect.name())?;
        if unscanned > 0 {
            write!(self.out, ", {unscanned} bytes unscanned")?;
        }
        if report.upstream_error {
            write!(self.out, ", the upstream reported an error")?;
        }
        writeln!(self.out)?;
        for choice in &report.choices {
            let of = |name: &str, channel: &ChannelReport| {
                let (chars, verdict, risk) = (channel.chars, channel.verdict.name(), channel.risk);
                format!("{name} {chars} characters, {verdict}, risk {risk:.2}")
            };
            let (thinking, answer) =
                (of("thinking", &choice.thinking), of("answer", &choice.answer));
            writeln!(
                self.out,
                "  choice {}: {} | {thinking} | {answer}",
                choice.index,
                choice.outcome.name()
            )?;
            for finding in &choice.findings {
                let (channel, severity) = (finding.channel.name(), finding.severity.name());
                let (start, end) = (finding.start_char, finding.end_char);
                writeln!(self.out, "    {channel} {start}..{end} {} ({severity})", finding.id)?;
            }
            for (name, channel) in [("thinking", &choice.thinking), ("answer", &choice.answer)] {
                if let Some(text) = channel.text.as_deref().filter(|text| !text.is_empty()) {
                    writeln!(self.out, "    {name}: {text}")?;
                }
            }
        }
        Ok(())
    }

    fn complain(&mut self, id: &str, error: &str) -> io::Result<()> {
        self.unreadable = true;
        writeln!(self.out, "{}", serde_json::json!({"id": id, "error": error}))
    }
}

/// The digests stay, the texts were not asked for.
fn forget_texts(choice: &mut ChoiceReport) {
    let channels =
        [&mut choice.thinking, &mut choice.answer, &mut choice.refusal, &mut choice.tool_call];
    for channel in channels.into_iter().chain(&mut choice.prompt) {
        channel.text = None;
    }
}
