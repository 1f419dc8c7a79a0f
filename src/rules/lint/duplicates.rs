//! The same pattern said twice.

use std::collections::HashMap;

use crate::rules::pack::{Literal, PatternSpec};
use crate::rules::{Kind, Rule};

use super::{Level, LookedAt, Told};

/// What has been seen, and in which rule.
#[derive(Default)]
pub(super) struct Known<'r>(HashMap<Said<'r>, Vec<&'r Rule>>);

/// What a pattern looks for, once folded.
#[derive(PartialEq, Eq, Hash)]
enum Said<'r> {
    Literal(&'r Literal),
    /// The expression, and its checks.
    Regex(String),
    Near(Vec<&'r Literal>, u32),
}

pub(super) fn lint<'r>(of: LookedAt<'r>, known: &mut Known<'r>, told: &mut Told<'_, '_>) {
    for (number, pattern) in (1..).zip(&of.shape.patterns) {
        let rules = known.0.entry(said(pattern)).or_default();
        if rules.last().is_some_and(|last| last.id == of.rule.id) {
            told.of_pattern(Level::Warning, number, "stands in the rule twice");
            continue;
        }
        // One of several that must all match may well stand elsewhere by itself.
        if of.needs_any() {
            if let Some(other) = rules.iter().find(|other| say_the_same(other, of.rule)) {
                let note = format!("stands in rule {} too", other.id);
                told.of_pattern(Level::Warning, number, &note);
            }
            rules.push(of.rule);
        }
    }
}

fn say_the_same(one: &Rule, other: &Rule) -> bool {
    let same_category = one.kind != Kind::Risk || one.category == other.category;
    one.kind == other.kind
        && same_category
        && one.channels.iter().any(|channel| other.channels.contains(channel))
}

fn said(pattern: &PatternSpec) -> Said<'_> {
    match pattern {
        PatternSpec::Literal(literal) => Said::Literal(literal),
        PatternSpec::Regex(regex) => {
            Said::Regex(format!("{} {} {:?}", regex.hir, regex.bound, regex.checks))
        }
        PatternSpec::Near { words, within_chars } => {
            let mut words: Vec<&Literal> = words.iter().collect();
            words.sort();
            Said::Near(words, *within_chars)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::lint::tests::{notes_of, notes_on};

    #[test]
    fn the_same_pattern_twice_is_told() {
        assert_eq!(
            notes_on("{regex: 'A[b]cd'}, {regex: 'abcd'}, {regex: 'abcd', entropy: 1}"),
            ["warning pattern 2 stands in the rule twice"]
        );
        assert_eq!(
            notes_on(
                "{near: {words: [ab, cde], within_chars: 9}}, {near: {words: [CDE, ab], within_chars: 9}}"
            ),
            ["warning pattern 2 stands in the rule twice"]
        );
    }

    #[test]
    fn other_rules_count_where_they_would_say_the_same() {
        let rules = |second: &str| {
            notes_of(&format!(
                "- {{id: a, category: secrets, severity: low, channels: [answer], any: [{{literal: hidden}}]}}\n\
                 - {{id: b, severity: low, {second}}}\n"
            ))
        };
        for (second, count) in [
            ("category: secrets, any: [{literal: hidden}]", 1),
            ("category: secrets, channels: [prompt], any: [{literal: hidden}]", 0),
            ("category: cbrn, any: [{literal: hidden}]", 0),
            ("kind: refusal, category: secrets, any: [{literal: hidden}]", 0),
            ("category: secrets, all: [{literal: hidden}, {literal: other}]", 0),
        ] {
            let notes = rules(second);
            assert_eq!(notes.len(), count, "{notes:?}");
        }
    }
}
