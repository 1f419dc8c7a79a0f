//! `thinkgate scan`: recorded bodies and traces, read by the same session machine as live traffic.
//!
//! One JSON object a line, in the order of the inputs. Nothing is carried out: the mode is shadow, and every input
//! is read to its end.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Instant,
};

use anyhow::Context;
use bytes::Bytes;
use clap::ValueEnum;
use serde::Serialize;
use thinkgate::{
    classify::Readers,
    dialect::Dialect,
    policy::Verdict,
    record::{ChannelReport, ChoiceReport, ExchangeReport},
    scorer::LocalScorer,
    session::{BodyEnd, Identity, Keep, Plan, ResponseHead, Session},
};

use super::plan::{self, Detectors};

/// Some input could not be read.
const UNREADABLE: u8 = 2;

/// Some verdict is not `pass`.
const FLAGGED: u8 = 1;

/// Bytes of one line of traces that are kept.
const MAX_LINE_BYTES: u64 = 32 << 20;

/// What `scan` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Recorded bodies (`.sse` `.ndjson` `.json`), traces (`.jsonl`), or - for traces from standard input
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

/// A trace as `.jsonl` gives it; other keys (labels, sources) are not looked at.
#[derive(serde::Deserialize)]
struct Trace {
    #[serde(default)]
    id: Option<serde_json::Value>,
    #[serde(default)]
    prompt: Option<String>,
    #[serde(default)]
    thinking: Option<String>,
    #[serde(default)]
    answer: Option<String>,
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
        plan,
        scorer,
        keep: Keep { text: Some(usize::MAX), trajectory: arguments.trajectory },
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
    plan: Arc<Plan>,
    scorer: Option<LocalScorer>,
    keep: Keep,
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
            return self.traces(io::stdin().lock());
        }
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) => return self.complain(&name, &format!("cannot be opened: {error}")),
        };
        match path.extension().and_then(|end| end.to_str()) {
            Some("jsonl") => self.traces(BufReader::new(file)),
            Some("sse" | "ndjson" | "json") => self.body(&name, file),
            _ => self.complain(&name, "is none of .sse .ndjson .json .jsonl"),
        }
    }

    fn body(&mut self, name: &str, mut file: File) -> io::Result<()> {
        let (mut session, mut readers) = self.session();
        session.on_response(&ResponseHead { status: 200, content_type: None, undecodable: false });
        let now = now();
        let mut buffer = vec![0; 64 << 10];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => {
                    let chunk = buffer.get(..length).unwrap_or_default();
                    session.on_chunk(now, Bytes::copy_from_slice(chunk));
                    self.score(&mut session, &mut readers);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.complain(name, &format!("cannot be read: {error}")),
            }
        }
        session.on_end(now, BodyEnd::Complete);
        self.score(&mut session, &mut readers);
        let report = session.report();
        self.tell(name, report)
    }

    fn traces(&mut self, mut lines: impl BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            let name = format!("line:{number}");
            match lines.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line) {
                Ok(0) => break,
                Ok(length) if length as u64 == MAX_LINE_BYTES && line.last() != Some(&b'\n') => {
                    self.complain(&name, &format!("is longer than {MAX_LINE_BYTES} bytes"))?;
                    break;
                }
                Ok(_) => self.trace(&name, line.trim_ascii())?,
                Err(error) => {
                    self.complain(&name, &format!("cannot be read: {error}"))?;
                    break;
                }
            }
        }
        Ok(())
    }

    fn trace(&mut self, name: &str, line: &[u8]) -> io::Result<()> {
        if line.is_empty() {
            return Ok(());
        }
        let trace: Trace = match serde_json::from_slice(line) {
            Ok(trace) => trace,
            // The error's own text may show content of the line.
            Err(error) => {
                let at = error.column();
                return self.complain(
                    name,
                    &format!("is no trace: {:?} error at column {at}", error.classify()),
                );
            }
        };
        let id = match trace.id {
            None | Some(serde_json::Value::Null) => name.to_owned(),
            Some(serde_json::Value::String(id)) => id,
            Some(other) => other.to_string(),
        };
        let (mut session, mut readers) = self.session();
        session.on_trace(
            trace.prompt.as_deref(),
            trace.thinking.as_deref(),
            trace.answer.as_deref(),
        );
        self.score(&mut session, &mut readers);
        let report = session.report();
        self.tell(&id, report)
    }

    /// A session, and the classifier's state beside it.
    fn session(&self) -> (Session, Option<Readers>) {
        let plan = Arc::clone(&self.plan);
        let session = Session::new(plan, None, Identity::default()).keeping(self.keep);
        let readers = self.scorer.as_ref().map(|scorer| scorer.readers(self.keep.trajectory));
        (session, readers)
    }

    fn score(&mut self, session: &mut Session, readers: &mut Option<Readers>) {
        if let (Some(scorer), Some(readers)) = (&mut self.scorer, readers) {
            scorer.follow(readers, session, now());
        }
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

/// Nothing waits for a deadline here: any time will do.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
