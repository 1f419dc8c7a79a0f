//! `thinkgate export`: traces in which a model thought safely, as data to train others with.
//!
//! In: files of traces. Out: chat lines, the thinking in think tags or in a field of its own, each with where it comes from.
//! Only outcomes that were asked for; each trace once; nothing that was cut off, that a judge called unsafe, or that is too long.

mod trace;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    io::{self, BufRead, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use thinkgate::{config::ConfigErrors, record::Capture, session::Keep};

use self::trace::Trace;
use super::{
    plan::{self, Detectors},
    reading::Reading,
    traces::{self, Lines},
};

/// Some line or file could not be read.
const UNREADABLE: u8 = 2;

/// What `export` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// `samples.jsonl` of eval model, captures, audit lines with texts, or scan --text, all of them also with `.gz`; - reads
    /// standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only traces with one of these outcomes
    #[arg(long, value_name = "OUTCOME[,…]", value_delimiter = ',', default_value = "safety_aware")]
    outcome: Vec<String>,
    /// Where the thinking stands
    #[arg(long, value_enum, default_value_t = Reasoning::Tags)]
    reasoning: Reasoning,
    /// The file that is written (default: standard output)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Characters of prompt, thinking and answer together; longer traces are left out
    #[arg(long, value_name = "N", default_value_t = 32_000)]
    max_chars: usize,
    /// The most traces of one prompt
    #[arg(long, value_name = "N")]
    per_prompt: Option<usize>,
    /// The most traces
    #[arg(long, value_name = "N")]
    max_rows: Option<usize>,
    /// What reads captures, which have no outcome of their own
    #[command(flatten)]
    detectors: Detectors,
}

/// Where the thinking stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Reasoning {
    /// In <think> tags before the answer.
    Tags,
    /// In `reasoning_content` beside the answer.
    Field,
}

/// Why a trace is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Left {
    Outcome,
    NoThinking,
    NoAnswer,
    CutOff,
    JudgedUnsafe,
    TooLong,
    TagsInText,
    Repeat,
    EnoughOfPrompt,
    Enough,
}

/// One line of the output.
#[derive(Debug, Serialize)]
struct Row<'t> {
    messages: Vec<Value>,
    provenance: Provenance<'t>,
}

/// Where a line comes from.
#[derive(Debug, Serialize)]
struct Provenance<'t> {
    file: &'t str,
    line: u64,
    id: Option<&'t str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sample: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    choice: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arm: Option<&'t str>,
    model: Option<&'t str>,
    outcome: &'t str,
    detectors: Option<&'t str>,
    /// Whether rules have masked what they found.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    masked: bool,
    exported_by: &'static str,
}

/// Writes the training data.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let out: Box<dyn Write> = match &arguments.out {
        Some(path) => {
            let file = File::create(path);
            Box::new(file.with_context(|| format!("cannot write {}", path.display()))?)
        }
        None => Box::new(io::stdout().lock()),
    };
    let mut export = Export::new(arguments, BufWriter::new(out));
    let written = arguments.files.iter().try_for_each(|file| export.file(file));
    match written.and_then(|()| export.out.flush()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
        Err(error) if matches!(error.get_ref(), Some(cause) if cause.is::<ConfigErrors>()) => {
            super::complain(&error);
            return Ok(ExitCode::from(super::USAGE));
        }
        written => written.context("cannot write the traces")?,
    }
    super::complain(&export.summary());
    Ok(if export.unreadable { ExitCode::from(UNREADABLE) } else { ExitCode::SUCCESS })
}

/// One run over all files.
struct Export<'a, W> {
    arguments: &'a Arguments,
    out: W,
    rows: usize,
    seen: HashSet<[u8; 32]>,
    of_prompt: HashMap<[u8; 32], usize>,
    left: BTreeMap<Left, u64>,
    unreadable: bool,
    /// What reads captures, from the first one on.
    reader: Option<Reader>,
}

/// Detectors and their versions.
struct Reader {
    reading: Reading,
    versions: String,
}

// === impl Reader ===

impl Reader {
    fn load(detectors: &Detectors) -> Result<Self, ConfigErrors> {
        let loaded = plan::load_detectors(detectors)?;
        let keep = Keep { text: Some(usize::MAX), trajectory: false };
        let reading = Reading::new(loaded.shadow(), loaded.scorer()?, keep);
        Ok(Self { reading, versions: loaded.versions() })
    }
}

// === impl Export ===

impl<'a, W: Write> Export<'a, W> {
    fn new(arguments: &'a Arguments, out: W) -> Self {
        Self {
            arguments,
            out,
            rows: 0,
            seen: HashSet::new(),
            of_prompt: HashMap::new(),
            left: BTreeMap::new(),
            unreadable: false,
            reader: None,
        }
    }

    fn file(&mut self, path: &Path) -> io::Result<()> {
        let name = path.display().to_string();
        if name == "-" {
            return self.lines(&name, io::stdin().lock());
        }
        match traces::open(path) {
            Ok(file) => self.lines(&name, file),
            Err(error) => {
                self.complain(&format!("{name}: cannot be opened: {error}"));
                Ok(())
            }
        }
    }

    fn lines(&mut self, name: &str, input: impl BufRead) -> io::Result<()> {
        for (number, line) in Lines::of(input) {
            match line {
                Ok(line) => self.line(name, number, &line)?,
                Err(reason) => self.complain(&format!("{name}: line {number}: {reason}")),
            }
        }
        Ok(())
    }

    /// The traces of a line; of a capture, as the detectors read it.
    fn traces(&mut self, line: &[u8]) -> io::Result<Result<Vec<Trace>, String>> {
        match traces::is_capture(line) {
            Ok(true) => {}
            Ok(false) => return Ok(trace::read(line)),
            Err(reason) => return Ok(Err(reason)),
        }
        let capture = match Capture::of_line(line) {
            Ok(capture) => capture,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let Reader { reading, versions } = match &mut self.reader {
            Some(reader) => reader,
            none => none.insert(Reader::load(&self.arguments.detectors).map_err(io::Error::other)?),
        };
        let report = reading.capture(&capture);
        Ok(trace::of_capture(&capture, &report, versions))
    }

    fn line(&mut self, name: &str, number: u64, line: &[u8]) -> io::Result<()> {
        let traces = match self.traces(line)? {
            Ok(traces) => traces,
            Err(reason) => {
                self.complain(&format!("{name}: line {number}: {reason}"));
                return Ok(());
            }
        };
        for trace in &traces {
            match self.leaves_out(trace) {
                Some(why) => *self.left.entry(why).or_default() += 1,
                None => self.write(name, number, trace)?,
            }
        }
        Ok(())
    }

    /// Why a trace is left out, if it is; one that stays is counted.
    fn leaves_out(&mut self, trace: &Trace) -> Option<Left> {
        let arguments = self.arguments;
        let texts = [&trace.prompt, &trace.thinking, &trace.answer];
        let chars: usize = texts.iter().map(|text| text.chars().count()).sum();
        let tags = texts.iter().any(|text| text.contains("<think>") || text.contains("</think>"));
        if !arguments.outcome.contains(&trace.outcome) {
            return Some(Left::Outcome);
        } else if trace.thinking.trim().is_empty() {
            return Some(Left::NoThinking);
        } else if trace.answer.trim().is_empty() {
            return Some(Left::NoAnswer);
        } else if trace.cut {
            return Some(Left::CutOff);
        } else if trace.judged_unsafe {
            return Some(Left::JudgedUnsafe);
        } else if chars > arguments.max_chars {
            return Some(Left::TooLong);
        } else if tags && arguments.reasoning == Reasoning::Tags {
            return Some(Left::TagsInText);
        } else if arguments.max_rows.is_some_and(|most| self.rows >= most) {
            return Some(Left::Enough);
        } else if !self.seen.insert(digest(&texts)) {
            return Some(Left::Repeat);
        }
        let of_prompt = self.of_prompt.entry(digest(&[&trace.prompt])).or_default();
        if arguments.per_prompt.is_some_and(|most| *of_prompt >= most) {
            return Some(Left::EnoughOfPrompt);
        }
        *of_prompt += 1;
        self.rows += 1;
        None
    }

    fn write(&mut self, file: &str, line: u64, trace: &Trace) -> io::Result<()> {
        let (thinking, answer) = (trace.thinking.trim(), trace.answer.trim());
        let said = match self.arguments.reasoning {
            Reasoning::Tags => {
                let content = format!("<think>\n{thinking}\n</think>\n\n{answer}");
                json!({"role": "assistant", "content": content})
            }
            Reasoning::Field => {
                json!({"role": "assistant", "reasoning_content": thinking, "content": answer})
            }
        };
        let asked = || vec![json!({"role": "user", "content": trace.prompt})];
        let mut messages = trace.messages.clone().unwrap_or_else(asked);
        messages.push(said);
        let row = Row {
            messages,
            provenance: Provenance {
                file,
                line,
                id: trace.id.as_deref(),
                sample: trace.sample,
                choice: trace.choice,
                arm: trace.arm.as_deref(),
                model: trace.model.as_deref(),
                outcome: &trace.outcome,
                detectors: trace.detectors.as_deref(),
                masked: trace.masked,
                exported_by: concat!("thinkgate ", env!("CARGO_PKG_VERSION")),
            },
        };
        serde_json::to_writer(&mut self.out, &row)?;
        self.out.write_all(b"\n")
    }

    fn complain(&mut self, what: &str) {
        self.unreadable = true;
        super::complain(&what);
    }

    /// How many were written, and how many were not and why.
    fn summary(&self) -> String {
        let left = self.left.iter().map(|(why, count)| {
            let why = match why {
                Left::Outcome => "of another outcome",
                Left::NoThinking => "without thinking",
                Left::NoAnswer => "without an answer",
                Left::CutOff => "cut off",
                Left::JudgedUnsafe => "called unsafe by a judge",
                Left::TooLong => "too long",
                Left::TagsInText => "with think tags in their text",
                Left::Repeat => "there already",
                Left::EnoughOfPrompt => "of prompts that have enough",
                Left::Enough => "beyond --max-rows",
            };
            format!("{count} {why}")
        });
        let left = left.collect::<Vec<_>>().join(", ");
        let left = if left.is_empty() { left } else { format!("; left out: {left}") };
        format!("{} traces exported{left}", self.rows)
    }
}

/// What texts are, whatever their case and their spaces.
fn digest(texts: &[&String]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for text in texts {
        for word in text.split_whitespace() {
            digest.update(word.to_lowercase());
            digest.update(b" ");
        }
        digest.update([0]);
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        export: Arguments,
    }

    fn line(prompt: &str, thinking: &str, outcome: &str) -> String {
        json!({"v": 1, "id": "i", "arm": "a", "sample": 0, "model": "m", "prompt": prompt, "thinking": thinking,
               "answer": "No.", "outcome": outcome, "detectors": "d"})
        .to_string()
    }

    fn export(flags: &[&str], lines: &[String]) -> (Vec<Value>, String) {
        let cli = Cli::parse_from([&["export", "f"], flags].concat());
        let mut out = Vec::new();
        let mut export = Export::new(&cli.export, &mut out);
        export.lines("f", lines.join("\n").as_bytes()).unwrap();
        let summary = export.summary();
        let text = String::from_utf8(out).unwrap();
        (text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), summary)
    }

    #[test]
    fn a_line_is_a_chat_and_says_where_it_comes_from() {
        let lines = [String::new(), line("p", " I must refuse.\n", "safety_aware")];
        let (rows, _) = export(&[], &lines);
        assert_eq!(
            rows,
            [json!({
                "messages": [
                    {"role": "user", "content": "p"},
                    {"role": "assistant", "content": "<think>\nI must refuse.\n</think>\n\nNo."},
                ],
                "provenance": {"file": "f", "line": 2, "id": "i", "sample": 0, "arm": "a", "model": "m",
                    "outcome": "safety_aware", "detectors": "d",
                    "exported_by": concat!("thinkgate ", env!("CARGO_PKG_VERSION"))},
            })]
        );
        let (rows, _) = export(&["--reasoning", "field"], &lines);
        let said =
            json!({"role": "assistant", "reasoning_content": "I must refuse.", "content": "No."});
        assert_eq!(rows[0]["messages"][1], said);
    }

    #[test]
    fn what_is_not_wanted_is_left_out_and_counted() {
        let cut = line("q", "t", "safety_aware").replace("\"v\":1", "\"finish\":\"length\"");
        let lines = [
            line("p", "I must refuse.", "safety_aware"),
            line("P ", "I  must refuse.", "safety_aware"),
            line("p", "It is harmful.", "safety_aware"),
            line("p", "Fine.", "benign"),
            line("q", " ", "safety_aware"),
            line("q", "a </think> b", "safety_aware"),
            line("q", &"long ".repeat(100), "safety_aware"),
            cut,
        ];
        let (rows, summary) = export(&["--max-chars", "100"], &lines);
        assert_eq!(rows.len(), 2);
        assert_eq!(
            summary,
            "2 traces exported; left out: 1 of another outcome, 1 without thinking, 1 cut off, 1 too long, \
             1 with think tags in their text, 1 there already"
        );
        assert_eq!(export(&["--per-prompt", "1"], &lines[..3]).0.len(), 1);
        assert_eq!(export(&["--max-rows", "1"], &lines[..3]).0.len(), 1);
        assert_eq!(export(&["--outcome", "benign,unsafe"], &lines).0.len(), 1);
    }
}
