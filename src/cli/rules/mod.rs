//! `thinkgate rules`: the packs, looked at and tried.

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
};

use clap::{Args, Subcommand};
use thinkgate::{
    config::{RuleSource, load_rules},
    rules::{
        Category, RuleSet,
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
    Lint(Packs),
    /// List every rule
    List(Packs),
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

/// Does what the command says.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    let packs = match &arguments.command {
        Command::Test(packs) | Command::Lint(packs) | Command::List(packs) => packs,
        Command::Schema => {
            serde_json::to_writer_pretty(&mut out, &schema::schema())?;
            writeln!(out)?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    let mut sources: Vec<RuleSource> =
        packs.packs.iter().chain(&packs.rules).map(|text| RuleSource::parse(text)).collect();
    if sources.is_empty() {
        sources.push(RuleSource::Builtin);
    }
    let rules = match load_rules(&sources) {
        Ok(rules) => Arc::new(rules),
        Err(errors) => {
            super::complain(&errors);
            return Ok(ExitCode::from(super::USAGE));
        }
    };
    Ok(match &arguments.command {
        Command::Test(_) => test(&rules, &mut out)?,
        Command::Lint(_) => lint_notes(&rules, &mut out)?,
        Command::List(_) => list(&rules, &mut out)?,
        Command::Schema => ExitCode::SUCCESS,
    })
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

fn lint_notes(rules: &Arc<RuleSet>, out: &mut impl Write) -> io::Result<ExitCode> {
    let notes = lint(rules);
    for note in &notes {
        writeln!(out, "{}: {}: {}", note.pack, note.rule, note.note)?;
    }
    writeln!(out, "{} rules, {} notes", rules.rules().len(), notes.len())?;
    Ok(ExitCode::SUCCESS)
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
