//! The commands.

mod check;
mod demo;
mod eval;
mod export;
mod ext_proc;
mod plan;
mod reading;
mod replay;
mod rules;
mod scan;
mod serve;
mod traces;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use thinkgate::config::{
    ConfigError, ConfigErrors, Node, Origin, Value, from_environment, from_flag, from_yaml,
};

/// Bad usage or configuration (`EX_USAGE`).
pub(crate) const USAGE: u8 = 64;

/// Something inside, or a port in use (`EX_SOFTWARE`).
pub(crate) const INTERNAL: u8 = 70;

/// A streaming guardrail proxy for reasoning models.
#[derive(Debug, Parser)]
#[command(name = "thinkgate", version, about, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Stand before a model server and read along.
    Serve(Box<serve::Arguments>),
    /// Read along for an Envoy: its external processor.
    ExtProc(ext_proc::Arguments),
    /// Tell everything that is wrong with a configuration and its rules.
    Check(check::Arguments),
    /// Show what thinkgate sees and cuts, with model streams that are built in.
    Demo(demo::Arguments),
    /// Read recorded bodies and traces, and tell what was found.
    Scan(scan::Arguments),
    /// Measure how well labelled exchanges are read, or how well a model thinks.
    Eval(eval::Arguments),
    /// Replay what was captured under another policy, and tell what changes.
    Replay(replay::Arguments),
    /// Write traces in which a model thought safely as data for fine-tuning.
    Export(export::Arguments),
    /// Test, lint or list rule packs.
    Rules(rules::Arguments),
}

/// Reads the command line and does what it says.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            error.print()?;
            return Ok(if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS });
        }
    };
    match arguments.command {
        Command::Serve(arguments) => serve::run(*arguments),
        Command::ExtProc(arguments) => ext_proc::run(arguments),
        Command::Check(arguments) => Ok(check::run(&arguments)),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Scan(arguments) => scan::run(&arguments),
        Command::Eval(arguments) => eval::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Rules(arguments) => rules::run(&arguments),
    }
}

/// The file's tree with the environment's over it. The file is that of the flag, else of `THINKGATE_CONFIG`.
fn file_and_environment(file: Option<&Path>) -> Result<Node, ConfigErrors> {
    let (variables, not_text) = variables();
    let from_variable = variables
        .iter()
        .find_map(|(name, value)| (name == "THINKGATE_CONFIG").then(|| PathBuf::from(value)));
    let mut errors = not_text;
    let file = file.map(Path::to_owned).or(from_variable);
    let below = file.as_deref().map_or_else(
        || Ok(Node { origin: Origin::Environment("THINKGATE_".to_owned()), value: Value::Null }),
        read_file,
    );
    let above = from_environment(variables);
    let mut take = |tree: Result<Node, ConfigError>| match tree {
        Ok(node) => Some(node),
        Err(error) => {
            errors.push(error);
            None
        }
    };
    match (take(below), take(above)) {
        (Some(below), Some(above)) if errors.is_empty() => Ok(below.under(above)),
        _ => Err(ConfigErrors(errors)),
    }
}

/// The `--rules` flags as a tree to lay over the other sources.
fn rules_flag(texts: Vec<String>) -> Option<Node> {
    let flag = "--rules";
    let nodes = texts
        .into_iter()
        .map(|text| Node { origin: Origin::Flag(flag), value: Value::Scalar(text) });
    let nodes: Vec<Node> = nodes.collect();
    (!nodes.is_empty()).then(|| from_flag(flag, &["rules"], Value::List(nodes)))
}

fn read_file(path: &Path) -> Result<Node, ConfigError> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| ConfigError {
        origin: Some(Origin::File { path: name.as_str().into(), line: 0, column: 0 }),
        key: String::new(),
        reason: format!("cannot be read: {error}"),
    })?;
    from_yaml(&name, &text)
}

/// The environment's `THINKGATE_` variables, and complaints about those that are no text.
fn variables() -> (Vec<(String, String)>, Vec<ConfigError>) {
    let mut read = Vec::new();
    let mut errors = Vec::new();
    for (name, value) in std::env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        if !name.starts_with("THINKGATE_") {
            continue;
        }
        match value.into_string() {
            Ok(value) => read.push((name, value)),
            Err(_) => errors.push(ConfigError {
                origin: Some(Origin::Environment(name)),
                key: String::new(),
                reason: "is no UTF-8 text".to_owned(),
            }),
        }
    }
    (read, errors)
}

/// Writes to standard error, where the operator reads what is wrong.
pub(crate) fn complain(message: &dyn std::fmt::Display) {
    use std::io::Write;
    // Nobody is left to be told that this failed.
    drop(writeln!(std::io::stderr(), "{message}"));
}
