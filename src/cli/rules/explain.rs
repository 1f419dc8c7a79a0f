//! `thinkgate rules explain`: one rule, and what it makes of a text.

use std::{
    io::{self, Read, Write},
    process::ExitCode,
    sync::Arc,
};

use clap::Args;
use serde::Serialize;
use thinkgate::rules::{
    Category, RuleIndex, RuleSet,
    explain::{Explanation, Fate, Found, explain},
};

use super::Format;

/// What `explain` takes.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The rule's id
    id: String,
    /// A text to try it on; - reads it from standard input
    #[arg(allow_hyphen_values = true)]
    text: Option<String>,
    /// Rule packs, folders of them, or builtin (the default)
    #[arg(long, value_name = "FILE_OR_DIR")]
    pub(super) rules: Vec<String>,
    /// For people or for programs
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Characters of context that are shown on each side of a match.
const CONTEXT: usize = 40;

pub(super) fn run(
    rules: &Arc<RuleSet>,
    arguments: &Arguments,
    out: &mut impl Write,
) -> anyhow::Result<ExitCode> {
    let index = rules.rules().iter().position(|rule| rule.id == arguments.id);
    let index = index.and_then(|index| u32::try_from(index).ok());
    let Some(index) = index else {
        crate::cli::complain(&format!("no loaded rule has the id {}", arguments.id));
        return Ok(ExitCode::from(crate::cli::USAGE));
    };
    let text = match arguments.text.as_deref() {
        Some("-") => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text)?;
            Some(text)
        }
        text => text.map(str::to_owned),
    };
    let Some(explained) = explain(rules, RuleIndex(index), text.as_deref()) else {
        return Ok(ExitCode::from(crate::cli::INTERNAL));
    };
    match arguments.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string(&explained)?)?,
        Format::Text => {
            describe(&explained, out)?;
            if let Some(text) = &text {
                tell(&explained, text, out)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(explained: &Explanation, out: &mut impl Write) -> io::Result<()> {
    let channels: Vec<&str> = explained.channels.iter().map(|channel| channel.name()).collect();
    writeln!(out, "{}  {}", explained.rule, explained.description)?;
    writeln!(out, "  stands in   pack {}, {}", explained.pack, explained.place)?;
    for place in &explained.overridden {
        writeln!(out, "  changed by  {place}")?;
    }
    let category = explained.category.map_or("no category", Category::name);
    let (kind, severity) = (word(&explained.kind), explained.severity.name());
    writeln!(out, "  says        {kind}, {category}, {severity}, weight {}", explained.weight)?;
    writeln!(out, "  channels    {}", channels.join(" "))?;
    writeln!(out, "  action      {} by default", word(&explained.action))?;
    let needs = if explained.needs_all { "all of" } else { "any of" };
    list(needs, &explained.patterns, out)?;
    list("unless", &explained.unless, out)
}

/// An enum's word, as packs have it.
fn word(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

/// More patterns than this are counted, not shown.
const SHOWN: usize = 40;

fn list(title: &str, patterns: &[String], out: &mut impl Write) -> io::Result<()> {
    if patterns.is_empty() {
        return Ok(());
    }
    writeln!(out, "  {title}")?;
    for (number, pattern) in (1..).zip(patterns).take(SHOWN) {
        writeln!(out, "    {number:>3}  {pattern}")?;
    }
    if patterns.len() > SHOWN {
        writeln!(out, "         and {} more", patterns.len() - SHOWN)?;
    }
    Ok(())
}

fn tell(explained: &Explanation, text: &str, out: &mut impl Write) -> io::Result<()> {
    let matches = if explained.matches == Some(true) { "matches" } else { "does not match" };
    writeln!(out, "\nThe rule {matches} this text.")?;
    for found in &explained.found {
        let Found { pattern, start, end, start_char, end_char, fate } = found;
        writeln!(
            out,
            "  pattern {pattern} at bytes {start}..{end}, characters {start_char}..{end_char}: {fate}"
        )?;
        let mark = if *fate == Fate::Reported { ("⟦", "⟧") } else { ("[", "]") };
        writeln!(out, "    {}", marked(text, found, mark))?;
    }
    if !explained.missing.is_empty() {
        let missing: Vec<String> = explained.missing.iter().map(ToString::to_string).collect();
        writeln!(out, "  does not find pattern {}", missing.join(", "))?;
    }
    if explained.found.is_empty() {
        writeln!(out, "  none of its patterns stands there, not even inside a word")?;
    }
    Ok(())
}

/// The match between marks, with what stands around it, in one line.
fn marked(text: &str, found: &Found, (open, close): (&str, &str)) -> String {
    let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
    let before = text.get(..at(found.start)).unwrap_or_default();
    let matched = text.get(at(found.start)..at(found.end)).unwrap_or_default();
    let after = text.get(at(found.end)..).unwrap_or_default();
    let from = before.char_indices().rev().nth(CONTEXT - 1).map_or(0, |(at, _)| at);
    let to = after.char_indices().nth(CONTEXT).map_or(after.len(), |(at, _)| at);
    let (shown_before, shown_after) = (before.get(from..), after.get(..to));
    let line = format!(
        "{}{}{open}{matched}{close}{}{}",
        if from > 0 { "…" } else { "" },
        shown_before.unwrap_or_default(),
        shown_after.unwrap_or_default(),
        if to < after.len() { "…" } else { "" },
    );
    // What the terminal would take for a command is shown as what it is.
    line.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_match_is_shown_in_its_surroundings() {
        let text = format!("{}a 漢字\nb\u{1b}{}", "x".repeat(50), "y".repeat(50));
        let found = Found {
            pattern: 1,
            start: 52,
            end: 58,
            start_char: 52,
            end_char: 54,
            fate: Fate::Reported,
        };
        let shown = marked(&text, &found, ("[", "]"));
        let (before, after) = ("x".repeat(38), "y".repeat(37));
        assert_eq!(shown, format!("…{before}a [漢字]\u{FFFD}b\u{FFFD}{after}…"));
        assert_eq!(marked("bomb", &Found { start: 0, end: 4, ..found }, ("[", "]")), "[bomb]");
    }
}
