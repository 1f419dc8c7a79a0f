//! What a set's authors should know: rules that load, and yet do too much, too little, or nothing.
//!
//! In: a compiled set. Out: notes, each with its level, its rule and its place. Patterns are named by their number
//! in the rule, from 1, and never quoted: a pack may name secrets.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::compile::{Shape, Spot};
use super::{Kind, Rule, RuleAction, RuleIndex, RuleSet, Severity};

mod breadth;
mod duplicates;
mod reach;
mod waits;

pub use breadth::everyday_text;

/// How much a note matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Worth knowing.
    Info,
    /// Probably a mistake.
    Warning,
    /// It can never do what it is there for.
    Error,
}

/// One remark on a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LintNote {
    /// How much it matters.
    pub level: Level,
    /// The rule's id.
    pub rule: String,
    /// The rule's pack.
    pub pack: String,
    /// File, line and column.
    pub place: String,
    /// The remark.
    pub note: String,
}

/// More notes on one rule are counted, not told: a file of literals may be wrong in the same way all through.
const NOTES_OF_A_RULE: usize = 20;

/// Looks over all rules of a set.
#[must_use]
pub fn lint(rules: &Arc<RuleSet>) -> Vec<LintNote> {
    let mut known = duplicates::Known::default();
    let benign = breadth::benign_matches(rules);
    let mut notes = Vec::new();
    for ((index, rule), shape) in (0..).map(RuleIndex).zip(rules.rules()).zip(&rules.shapes) {
        let looked_at = LookedAt { rules, index, rule, shape };
        let mut told = Told { notes: &mut notes, of: looked_at, count: 0 };
        duplicates::lint(looked_at, &mut known, &mut told);
        reach::lint(looked_at, &mut told);
        breadth::lint(looked_at, &benign, &mut told);
        waits::lint(looked_at, &mut told);
        if rule.examples.matches.is_empty() || rule.examples.passes.is_empty() {
            told.of_rule(Level::Info, "has no examples of both kinds".to_owned());
        }
        told.end();
    }
    notes
}

/// The rule that is looked at.
#[derive(Clone, Copy)]
struct LookedAt<'r> {
    rules: &'r Arc<RuleSet>,
    index: RuleIndex,
    rule: &'r Rule,
    shape: &'r Shape,
}

/// Collects what is told of one rule.
struct Told<'n, 'r> {
    notes: &'n mut Vec<LintNote>,
    of: LookedAt<'r>,
    count: usize,
}

// === impl LookedAt ===

impl LookedAt<'_> {
    /// Whether the rule, left to itself, redacts or blocks.
    fn may_be_enforced(&self) -> bool {
        let by_severity = matches!(self.rule.severity, Severity::High | Severity::Critical);
        self.rule.kind == Kind::Risk
            && match self.rule.action {
                Some(RuleAction::Redact | RuleAction::Block) => true,
                Some(RuleAction::None | RuleAction::Flag) => false,
                None => by_severity,
            }
    }

    /// Whether each pattern by itself makes the rule match.
    fn needs_any(&self) -> bool {
        self.shape.needs == 0
    }
}

// === impl Told ===

impl Told<'_, '_> {
    fn of_rule(&mut self, level: Level, note: String) {
        let spot = self.of.shape.stands.rule.clone();
        self.tell(level, &spot, note);
    }

    /// Of the rule's pattern of this number, from 1.
    fn of_pattern(&mut self, level: Level, number: usize, note: &str) {
        let stands = &self.of.shape.stands;
        let spot = stands.patterns.get(number - 1).unwrap_or(&stands.rule).clone();
        self.tell(level, &spot, format!("pattern {number} {note}"));
    }

    fn tell(&mut self, level: Level, spot: &Spot, note: String) {
        self.count += 1;
        if self.count > NOTES_OF_A_RULE && level < Level::Error {
            return;
        }
        self.notes.push(LintNote {
            level,
            rule: self.of.rule.id.clone(),
            pack: self.of.rule.pack.clone(),
            place: spot.to_string(),
            note,
        });
    }

    fn end(&mut self) {
        let untold = self.count.saturating_sub(NOTES_OF_A_RULE);
        if untold > 0 {
            self.count = 0;
            self.of_rule(Level::Warning, format!("and {untold} notes more"));
        }
    }
}

// === impl Level ===

impl Level {
    /// Its name in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

// === impl LintNote ===

impl fmt::Display for LintNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { level, rule, pack: _, place, note } = self;
        write!(f, "{place}: {}: rule {rule}: {note}", level.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Pack, builtin};

    pub(super) fn notes_of(rules: &str) -> Vec<String> {
        let yaml = format!("pack: acme\nversion: 1\nrules:\n{rules}");
        let pack = Pack::parse("acme.yaml", &yaml, &|_| Err(String::new())).unwrap();
        let rules = Arc::new(RuleSet::compile(vec![pack]).unwrap());
        let notes =
            lint(&rules).into_iter().filter(|note| !note.note.starts_with("has no examples"));
        notes
            .map(|note| {
                let place = note.place.strip_prefix("acme.yaml:").unwrap();
                format!("{place} {} {}: {}", note.level.name(), note.rule, note.note)
            })
            .collect()
    }

    /// The notes on one rule that blocks, with these patterns.
    pub(super) fn notes_on(patterns: &str) -> Vec<String> {
        let notes = notes_of(&format!(
            "- id: x\n  category: secrets\n  severity: high\n  any: [{patterns}]\n"
        ));
        notes.iter().map(|note| note.split_once(' ').unwrap().1.replace(" x:", "")).collect()
    }

    #[test]
    fn notes_name_level_rule_place_and_pattern() {
        let notes = notes_of(
            "\
- id: one
  category: secrets
  severity: high
  any:
    - literal: falcon
    - literal: Falcon
    - {literal: bomb, word: false}
    - near: {words: [a, b], within_chars: 400}
  unless: [{literal: bomb, word: false}]
- {id: two, category: secrets, severity: low, any: [{literal: FALCON}]}
",
        );
        assert_eq!(
            notes,
            [
                "9:16 warning one: pattern 2 stands in the rule twice",
                "10:17 error one: pattern 3 is excused even where it stands alone",
                "10:17 warning one: pattern 3 is 4 characters anywhere, inside words too",
                "11:13 info one: pattern 4 holds text for up to 400 characters: its words may stand \
                 so far apart",
                "13:63 warning two: pattern 1 stands in rule one too",
            ]
        );
    }

    #[test]
    fn notes_on_a_file_of_literals_are_not_endless() {
        let words: Vec<String> =
            (0..40).map(|number| format!("{{literal: 'a {number}  '}}")).collect();
        let notes = notes_on(&words.join(", "));
        assert_eq!(notes.len(), NOTES_OF_A_RULE + 1);
        assert_eq!(notes[NOTES_OF_A_RULE], "warning and 21 notes more");
    }

    #[test]
    fn shipped_packs_have_no_warnings() {
        let packs = builtin::packs()
            .iter()
            .map(|source| Pack::parse(&source.origin, &source.yaml, &|_| Err(String::new())))
            .collect::<Result<Vec<_>, _>>()
            .unwrap();
        let rules = Arc::new(RuleSet::compile(packs).unwrap());
        let notes: Vec<String> = lint(&rules)
            .iter()
            .filter(|note| note.level > Level::Info)
            .map(ToString::to_string)
            .collect();
        assert!(notes.is_empty(), "{}", notes.join("\n"));
    }
}
