//! `thinkgate rules`: the packs, looked at and tried.

mod bench;
mod explain;

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
};

use clap::{Args, Subcommand, ValueEnum};
use thinkgate::{
    config::{RuleSource, load_rules},
    rules::{
        Category, Level, RuleSet,
        examples::{self, Expected},
        lint, schema,
    },
};

/// An example failed.
const FAILED: u8 = 1;

/// What `rules` takes.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every rule's own examples
    Test(Packs),
    /// Tell what the packs' authors should know
    Lint(Lint),
    /// List every rule
    List(Packs),
    /// Show a rule, and what it makes of a text
    Explain(explain::Arguments),
    /// Tell what loading and matching cost, and which automata cost most
    Bench(bench::Arguments),
    /// Print the JSON Schema of packs, for editors
    Schema,
}

/// Which packs.
#[derive(Debug, Args)]
struct Packs {
    /// Rule packs, folders of them, or builtin (the default)
    #[arg(value_name = "FILE_OR_DIR")]
    packs: Vec<String>,
    /// The same as a flag
    #[arg(long, value_name = "FILE_OR_DIR")]
    rules: Vec<String>,
}

/// What `lint` takes.
#[derive(Debug, Args)]
struct Lint {
    #[command(flatten)]
    packs: Packs,
    /// Exit with 1 where there is a note of this level or above
    #[arg(long, value_name = "LEVEL")]
    deny: Option<Denied>,
    /// One line a note, or one JSON object
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// The least level that fails a lint.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Denied {
    Info,
    Warning,
    Error,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

// === impl Denied ===

impl From<Denied> for Level {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Info => Self::Info,
            Denied::Warning => Self::Warning,
            Denied::Error => Self::Error,
        }
    }
}

// === impl Packs ===

impl Packs {
    fn sources(&self) -> Vec<RuleSource> {
        sources(self.packs.iter().chain(&self.rules))
    }
}

fn sources<'t>(texts: impl Iterator<Item = &'t String>) -> Vec<RuleSource> {
    let mut sources: Vec<RuleSource> = texts.map(|text| RuleSource::parse(text)).collect();
    if sources.is_empty() {
        sources.push(RuleSource::Builtin);
    }
    sources
}

/// Does what the command says.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    match &arguments.command {
        Command::Test(packs) => with(&packs.sources(), |rules| Ok(test(rules, &mut out)?)),
        Command::Lint(lint) => {
            with(&lint.packs.sources(), |rules| lint_notes(rules, lint, &mut out))
        }
        Command::List(packs) => with(&packs.sources(), |rules| Ok(list(rules, &mut out)?)),
        Command::Explain(arguments) => {
            with(&sources(arguments.rules.iter()), |rules| explain::run(rules, arguments, &mut out))
        }
        Command::Bench(arguments) => {
            bench::run(&sources(arguments.rules.iter()), arguments, &mut out)
        }
        Command::Schema => {
            writeln!(out, "{}", serde_json::to_string_pretty(&schema::schema())?)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Does something with the rules of these packs, or tells what is wrong with them.
fn with(
    sources: &[RuleSource],
    then: impl FnOnce(&Arc<RuleSet>) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    match load_rules(sources) {
        Ok(rules) => then(&Arc::new(rules)),
        Err(errors) => {
            super::complain(&errors);
            Ok(ExitCode::from(super::USAGE))
        }
    }
}

fn test(rules: &Arc<RuleSet>, out: &mut impl Write) -> io::Result<ExitCode> {
    let failures = examples::check(rules);
    for failure in &failures {
        let (rule, pack, number) = (&failure.rule, &failure.pack, failure.example + 1);
        match failure.expected {
            Expected::Match => {
                writeln!(out, "{pack}: {rule}: match example {number} does not match")?;
            }
            Expected::Pass => {
                writeln!(out, "{pack}: {rule}: pass example {number} matches")?;
            }
        }
    }
    let tried: usize = rules
        .rules()
        .iter()
        .map(|rule| rule.examples.matches.len() + rule.examples.passes.len())
        .sum();
    writeln!(out, "{} rules, {tried} examples, {} failed", rules.rules().len(), failures.len())?;
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn lint_notes(
    rules: &Arc<RuleSet>,
    arguments: &Lint,
    out: &mut impl Write,
) -> anyhow::Result<ExitCode> {
    let notes = lint(rules);
    for note in &notes {
        match arguments.format {
            Format::Text => writeln!(out, "{note}")?,
            Format::Json => writeln!(out, "{}", serde_json::to_string(note)?)?,
        }
    }
    if arguments.format == Format::Text {
        let count = |level| notes.iter().filter(|note| note.level == level).count();
        let (errors, warnings) = (count(Level::Error), count(Level::Warning));
        let (rules, infos) = (rules.rules().len(), count(Level::Info));
        writeln!(out, "{rules} rules, {errors} errors, {warnings} warnings, {infos} infos")?;
    }
    let denied = arguments.deny.map(Level::from);
    let failed = denied.is_some_and(|denied| notes.iter().any(|note| note.level >= denied));
    Ok(if failed { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

fn list(rules: &RuleSet, out: &mut impl Write) -> io::Result<ExitCode> {
    for rule in rules.rules() {
        let category = rule.category.map_or("-", Category::name);
        let channels: Vec<&str> = rule.channels.iter().map(|channel| channel.name()).collect();
        let (severity, channels) = (rule.severity.name(), channels.join(","));
        writeln!(out, "{}\t{category}\t{severity}\t{channels}\t{}", rule.id, rule.description)?;
    }
    Ok(ExitCode::SUCCESS)
}
