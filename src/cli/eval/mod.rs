//! `thinkgate eval`: how well the rules and the classifier read labelled exchanges, and how well a model thinks.
//!
//! `eval traces`: every exchange goes through the same session machine as live traffic and `scan`, in shadow mode, and what it
//! concludes is compared with the labels. With `--frames` benign text is streamed in enforce mode as well. `eval model` asks an endpoint (see [`model`]).

mod frames;
mod measures;
pub(crate) mod model;
mod picture;
mod rows;
mod summary;
mod table;
mod tally;
pub(super) mod tokens;

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::{Args, Subcommand};
use flate2::read::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressStyle};
use thinkgate::{
    scorer::LocalScorer,
    session::{Identity, Plan, Session},
};

use self::{
    frames::Frames,
    rows::{Condition, Half, Row, Rows, Wanted},
    summary::Summary,
    tally::Tally,
};
use super::{
    plan::{self, Detectors, Loaded},
    traces,
};

/// Some line or input could not be read.
const UNREADABLE: u8 = 2;

/// What `eval` takes.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure on labelled exchanges: recall, false positives, ranking, time to detect
    Traces(Traces),
    /// Ask a model what it should not help with, and judge its thinking and its answers
    Model(Box<model::Arguments>),
    /// Write the report of runs of `eval model` again, or of several side by side
    Report(model::ReportArguments),
}

/// What `eval traces` takes.
#[derive(Debug, Args)]
struct Traces {
    /// Labelled exchanges, one JSON object a line (`.gz` is unpacked), or - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write every figure as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw ROC and time to detect
    #[arg(long, value_name = "FILE.svg")]
    picture: Option<PathBuf>,
    /// Only rows whose field is one of these values (or a list that holds one); may be given several times
    #[arg(long = "where", value_name = "KEY=VALUE[,VALUE…]")]
    conditions: Vec<Condition>,
    /// Only one half of the rows, by the SHA-256 of their id
    #[arg(long, value_enum)]
    split: Option<Half>,
    /// Stream benign thinking and answers in enforce mode, too, and tell which frames have to wait
    #[arg(long)]
    frames: bool,
    #[command(flatten)]
    detectors: Detectors,
}

/// Does what the command says.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        Command::Traces(arguments) => traces(arguments),
        Command::Model(arguments) => model::run(arguments),
        Command::Report(arguments) => model::report(arguments),
    }
}

/// Measures on labelled exchanges.
fn traces(arguments: &Traces) -> anyhow::Result<ExitCode> {
    let loaded = plan::load_detectors(&arguments.detectors)
        .and_then(|loaded| Ok((loaded.scorer()?, loaded)));
    let (scorer, loaded) = match loaded {
        Ok(loaded) => loaded,
        Err(errors) => {
            super::complain(&errors);
            return Ok(ExitCode::from(super::USAGE));
        }
    };
    let mut eval = Eval::new(arguments, &loaded, scorer);
    for file in &arguments.files {
        eval.file(file);
    }
    let summary = Summary::new(
        &eval.tally,
        eval.frames.as_ref(),
        loaded.classifier(),
        eval.bad_lines,
        eval.session_time,
    );
    write_files(arguments, &summary, &eval.tally)?;
    match table::write(&summary, &mut io::stdout().lock()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written.context("cannot write to standard output")?,
    }
    let unreadable = eval.bad_lines > 0 || eval.unreadable;
    Ok(if unreadable { ExitCode::from(UNREADABLE) } else { ExitCode::SUCCESS })
}

fn write_files(arguments: &Traces, summary: &Summary, tally: &Tally) -> anyhow::Result<()> {
    if let Some(path) = &arguments.json {
        let mut json = serde_json::to_vec_pretty(summary)?;
        json.push(b'\n');
        write_file(path, &json)?;
    }
    match &arguments.picture {
        Some(path) => write_file(path, picture::svg(tally).as_bytes()),
        None => Ok(()),
    }
}

fn write_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// One run over all files.
struct Eval {
    plan: Arc<Plan>,
    scorer: Option<LocalScorer>,
    wanted: Wanted,
    tally: Tally,
    frames: Option<Frames>,
    bad_lines: u64,
    /// Some file could not be opened.
    unreadable: bool,
    session_time: Duration,
}

// === impl Eval ===

impl Eval {
    fn new(arguments: &Traces, loaded: &Loaded, scorer: Option<LocalScorer>) -> Self {
        let frames = arguments
            .frames
            .then(|| Frames::new(loaded.enforce(), Arc::clone(loaded.rules()), now()));
        Self {
            plan: loaded.shadow(),
            scorer,
            wanted: Wanted { conditions: arguments.conditions.clone(), half: arguments.split },
            tally: Tally::default(),
            frames,
            bad_lines: 0,
            unreadable: false,
            session_time: Duration::ZERO,
        }
    }

    fn file(&mut self, path: &Path) {
        let name = path.display().to_string();
        if name == "-" {
            return self.rows(&name, &ProgressBar::hidden(), io::stdin().lock());
        }
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) => {
                self.unreadable = true;
                return complain(
                    &ProgressBar::hidden(),
                    &name,
                    &format!("cannot be opened: {error}"),
                );
            }
        };
        let progress = progress(&name, &file);
        let bytes = progress.wrap_read(file);
        if traces::is_packed(path) {
            self.rows(&name, &progress, BufReader::new(MultiGzDecoder::new(bytes)));
        } else {
            self.rows(&name, &progress, BufReader::new(bytes));
        }
        progress.finish_and_clear();
    }

    fn rows(&mut self, name: &str, progress: &ProgressBar, input: impl BufRead) {
        for row in Rows::new(input, self.wanted.clone()) {
            match row {
                Ok(row) => self.row(&row),
                Err(bad) => {
                    self.bad_lines += 1;
                    complain(progress, name, &bad);
                }
            }
        }
    }

    fn row(&mut self, row: &Row) {
        let begun = now();
        let mut session = Session::new(Arc::clone(&self.plan), None, Identity::default());
        let [prompt, thinking, answer] =
            rows::CHANNELS.map(|channel| row.part(channel).map(|part| part.text.as_str()));
        session.on_trace(prompt, thinking, answer);
        if let Some(scorer) = &mut self.scorer {
            let mut readers = scorer.readers(false);
            scorer.follow(&mut readers, &mut session, begun);
        }
        let report = session.report();
        self.session_time += now().saturating_duration_since(begun);
        self.tally.add(row, &report);
        if let Some(frames) = &mut self.frames {
            frames.add(row);
        }
    }
}

/// How far a file is read; drawn only on a terminal.
fn progress(name: &str, file: &File) -> ProgressBar {
    let length = file.metadata().map_or(0, |about| about.len());
    let bar = ProgressBar::new(length).with_message(name.to_owned());
    match ProgressStyle::with_template("{msg} {wide_bar} {percent}% {eta}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Tells what is wrong with an input, above the progress bar.
fn complain(progress: &ProgressBar, name: &str, what: &dyn std::fmt::Display) {
    progress.suspend(|| super::complain(&format_args!("{name}: {what}")));
}

/// The time, for measuring how long the session takes.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
