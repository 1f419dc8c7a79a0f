//! The figures as tables for a person.

use std::io::{self, Write};

use super::{
    summary::{FramesSummary, GroupLine, Summary},
    tally::{By, Handling},
};

/// Rules that are listed; `--json` has all.
const RULES: usize = 20;

/// Writes everything.
pub(super) fn write(summary: &Summary, out: &mut impl Write) -> io::Result<()> {
    head(summary, out)?;
    for (by, title) in
        [(By::All, "all"), (By::Category, "category"), (By::Language, "language"), (By::Set, "set")]
    {
        groups(title, summary.groups.iter().filter(|group| group.by == by), out)?;
    }
    thinking(summary, out)?;
    rules(summary, out)?;
    match &summary.frames {
        Some(summary) => frames(summary, out),
        None => Ok(()),
    }
}

fn head(summary: &Summary, out: &mut impl Write) -> io::Result<()> {
    let Summary { exchanges, bad_lines, chars, seconds, benign, .. } = summary;
    let classifier = summary.classifier.as_deref().unwrap_or("none");
    writeln!(out, "read by the rules and, as classifier, {classifier}")?;
    writeln!(out, "{exchanges} exchanges, {chars} characters, {bad_lines} bad lines")?;
    let speed = number(summary.chars_per_second.map(|speed| speed / 1e6), 2);
    writeln!(out, "read in {seconds:.1} s of session time: {speed} million characters a second")?;
    writeln!(
        out,
        "benign exchanges (every text labelled safe): {}; flagged {} ({} per 1,000), to be enforced {} ({} per 1,000)",
        benign.exchanges,
        benign.flagged,
        number(benign.flagged_per_1000, 2),
        benign.enforced,
        number(benign.enforced_per_1000, 2),
    )?;
    writeln!(
        out,
        "flagged per million characters: {}; per million tokens (4 characters, or 1.5 Chinese ones): {}",
        number(benign.flagged_per_million_chars, 2),
        number(benign.flagged_per_million_tokens, 2),
    )
}

fn groups<'s>(
    title: &str,
    lines: impl Iterator<Item = &'s GroupLine>,
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(
        out,
        "\n{title:<28} {:<8} {:>6} {:>7} {:>7} {:>7} | {:>6} {:>6} {:>6} | {:>5} {:>5} {:>6} {:>6} | {:>7} {:>6}",
        "channel",
        "unsafe",
        "flagged",
        "blocked",
        "own",
        "safe",
        "flag'd",
        "block'd",
        "F1",
        "AUROC",
        "R@1%",
        "R@.1%",
        "first",
        "early"
    )?;
    for line in lines {
        group(line, out)?;
    }
    Ok(())
}

fn group(line: &GroupLine, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{:<28} {:<8} {:>6} {:>7} {:>7} {:>7} | {:>6} {:>6} {:>7} | {:>5} {:>5} {:>6} {:>6} | {:>7} {:>6}",
        line.name,
        line.channel.name(),
        line.unsafe_rows,
        percent(line.recall),
        percent(line.recall_enforced),
        percent(line.recall_own_category),
        line.safe_rows,
        percent(line.false_positives),
        percent(line.false_positives_enforced),
        number(line.f1, 2),
        number(line.auroc, 2),
        percent(line.recall_at_1_percent),
        percent(line.recall_at_0_1_percent),
        line.first_flag_median.map_or_else(none, |median| median.to_string()),
        percent(line.recall_early),
    )
}

fn thinking(summary: &Summary, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "\n{:<36} {:>6} {:>8} {:>16} {:>24}",
        "thinking", "rows", "safety", "rationalisation", "flagged before answer"
    )?;
    for line in &summary.thinking {
        let labelled = match line.labelled {
            Handling::Benign => "benign",
            Handling::Handled => "risky prompt, safe",
            Handling::Unsafe => "unsafe",
        };
        writeln!(
            out,
            "{:<36} {:>6} {:>8} {:>16} {:>24}",
            format!("{labelled}: {}", line.set),
            line.rows,
            percent(line.safety_thinking),
            percent(line.rationalisation),
            percent(line.flagged),
        )?;
    }
    Ok(())
}

fn rules(summary: &Summary, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\n{:<52} {:>8} {:>12}", "rules by benign exchanges", "benign", "with unsafe")?;
    let noisy = summary.rules.iter().filter(|rule| rule.benign > 0);
    for rule in noisy.take(RULES) {
        writeln!(out, "{:<52} {:>8} {:>12}", rule.rule, rule.benign, rule.with_unsafe)?;
    }
    Ok(())
}

fn frames(summary: &FramesSummary, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "\n{:<20} {:<8} {:>7} {:>9} {:>7} {:>7} {:>6} {:>5} {:>7} {:>8}",
        "benign frames",
        "language",
        "streams",
        "frames",
        "waited",
        "share",
        "median",
        "p99",
        "longest",
        "blocked"
    )?;
    for line in &summary.lines {
        let frames = |count: Option<u64>| count.map_or_else(none, |count| count.to_string());
        writeln!(
            out,
            "{:<20} {:<8} {:>7} {:>9} {:>7} {:>7} {:>6} {:>5} {:>7} {:>8}",
            line.channel.name(),
            line.language,
            line.streams,
            line.frames,
            line.waited,
            percent(line.waited_share),
            frames(line.median),
            frames(line.p99),
            frames(line.longest),
            line.blocked_streams,
        )?;
    }
    writeln!(
        out,
        "\nrules that alone would make a waiting frame wait, of {} looked at",
        summary.sampled
    )?;
    for blame in summary.blame.iter().take(RULES) {
        writeln!(out, "{:<52} {:>8}", blame.rule, percent(blame.share))?;
    }
    Ok(())
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(none, |share| format!("{:.1}%", 100.0 * share))
}

fn number(value: Option<f64>, places: usize) -> String {
    value.map_or_else(none, |value| format!("{value:.places$}"))
}

fn none() -> String {
    "–".to_owned()
}
