//! What a set's authors should know: rules that load, and yet do too much or too little.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::automata::{Closed, Closure};
use super::compile::Shape;
use super::examples::matches;
use super::literals::Role;
use super::pack::{Edges, Literal, PatternSpec};
use super::patterns::Pattern;
use super::{Kind, Rule, RuleAction, RuleIndex, RuleSet, Severity, Watch};

/// One remark on a rule. Patterns are named by their place in the rule, from 1, not quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LintNote {
    /// The rule's id.
    pub rule: String,
    /// The rule's pack.
    pub pack: String,
    /// The remark.
    pub note: String,
}

/// A literal inside words, or a regex, this short matches by chance.
const SHORT_BYTES: usize = 4;
/// A whole word this short has other meanings.
const SHORT_WORD_CHARS: usize = 2;
/// Text held for longer than this is felt by a reader, in bytes.
const LONG_HOLD: usize = 256;

/// Looks over all rules of a set.
#[must_use]
pub fn lint(rules: &Arc<RuleSet>) -> Vec<LintNote> {
    let mut notes = Vec::new();
    let mut known: HashMap<&Literal, &Rule> = HashMap::new();
    for ((index, rule), shape) in (0..).map(RuleIndex).zip(rules.rules()).zip(&rules.shapes) {
        let mut note = |note: String| {
            notes.push(LintNote { rule: rule.id.clone(), pack: rule.pack.clone(), note });
        };
        for (number, pattern) in (1..).zip(&shape.patterns) {
            if let PatternSpec::Literal(literal) = pattern {
                match known.insert(literal, rule) {
                    Some(other) if other.id == rule.id => {
                        note(format!("pattern {number} stands in the rule twice"));
                    }
                    Some(other) => {
                        note(format!("pattern {number} stands in rule {} too", other.id));
                    }
                    None => {}
                }
            }
            if let Some(broad) = too_broad(pattern) {
                note(format!("pattern {number} {broad}"));
            }
            if may_be_enforced(rule)
                && let Some(held) = holds_long(pattern)
            {
                note(format!("pattern {number} {held}"));
            }
        }
        let always = always_held(rules, index);
        if may_be_enforced(rule) && always > 0 {
            note(format!("always holds {always} bytes: what a regex may become is too much"));
        }
        for number in unreachable_literals(rules, index, rule, shape) {
            note(format!("pattern {number} is excused even where it stands alone"));
        }
        if rule.examples.matches.is_empty() || rule.examples.passes.is_empty() {
            note("has no examples of both kinds".to_owned());
        }
    }
    notes
}

fn too_broad(pattern: &PatternSpec) -> Option<String> {
    match pattern {
        PatternSpec::Literal(literal) if literal.folded.is_ascii() => {
            let chars = literal.folded.len();
            match literal.edges {
                Edges::Word if chars <= SHORT_WORD_CHARS => {
                    Some(format!("is a word of {chars} characters"))
                }
                Edges::Anywhere if chars <= SHORT_BYTES => {
                    Some(format!("is {chars} characters anywhere, inside words too"))
                }
                Edges::Word | Edges::Anywhere => None,
            }
        }
        PatternSpec::Regex(regex) if regex.shortest < SHORT_BYTES => {
            Some(format!("matches {} bytes already", regex.shortest))
        }
        PatternSpec::Literal(_) | PatternSpec::Regex(_) | PatternSpec::Near { .. } => None,
    }
}

/// Whether the rule, left to itself, redacts or blocks.
fn may_be_enforced(rule: &Rule) -> bool {
    let by_severity = matches!(rule.severity, Severity::High | Severity::Critical);
    rule.kind == Kind::Risk
        && match rule.action {
            Some(RuleAction::Redact | RuleAction::Block) => true,
            Some(RuleAction::None | RuleAction::Flag) => false,
            None => by_severity,
        }
}

fn holds_long(pattern: &PatternSpec) -> Option<String> {
    match pattern {
        PatternSpec::Literal(_) => None,
        PatternSpec::Regex(Pattern { bound, .. }) => {
            (*bound > LONG_HOLD).then(|| format!("may hold text for up to {bound} bytes"))
        }
        PatternSpec::Near { within_chars, .. } => (*within_chars as usize > LONG_HOLD)
            .then(|| format!("may hold text for up to {within_chars} characters")),
    }
}

/// The bytes that a rule's regexes hold because their closure does not fit.
fn always_held(rules: &RuleSet, rule: RuleIndex) -> usize {
    rules
        .regexes
        .iter()
        .filter(|regex| regex.rule == rule.0 && matches!(regex.role, Role::Match { .. }))
        .filter(|regex| {
            let closed = Closed { hir: &regex.live, bound: regex.reach };
            Closure::pack(&[closed]).iter().any(Closure::is_bound)
        })
        .map(|regex| regex.reach)
        .max()
        .unwrap_or(0)
}

/// The numbers of literals that the rule's own exceptions always excuse.
fn unreachable_literals(
    rules: &Arc<RuleSet>,
    index: RuleIndex,
    rule: &Rule,
    shape: &Shape,
) -> Vec<usize> {
    // Of `all`, one literal alone never matches.
    if shape.unless.is_empty() || shape.needs != 0 {
        return Vec::new();
    }
    let alone = Arc::new(Watch::new(rules, &|other: &Rule| other.id == rule.id, &|_| false));
    (1..)
        .zip(&shape.patterns)
        .filter(|(_, pattern)| match pattern {
            PatternSpec::Literal(literal) => !matches(&alone, index, &literal.folded),
            PatternSpec::Regex(_) | PatternSpec::Near { .. } => false,
        })
        .map(|(number, _)| number)
        .collect()
}

// === impl LintNote ===

impl fmt::Display for LintNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: rule {}: {}", self.pack, self.rule, self.note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Pack;

    #[test]
    fn notes_name_rule_and_pattern() {
        let yaml = "
pack: acme
version: 1
rules:
  - id: one
    category: secrets
    severity: high
    any:
      - literal: falcon
      - literal: Falcon
      - literal: ab
      - {literal: bomb, word: false}
      - regex: 'a.?'
      - regex: 'acid.{0,300}bath'
      - near: {words: [a, b], within_chars: 400}
      - literal: 炸弹
    unless: [{literal: bomb, word: false}]
    examples: {match: [falcon], pass: [heron]}
  - id: two
    category: secrets
    severity: low
    any: [{literal: FALCON}, {near: {words: [a, b], within_chars: 400}}]
";
        let pack = Pack::parse("acme.yaml", yaml, &|_| Err(String::new())).unwrap();
        let rules = Arc::new(RuleSet::compile(vec![pack]).unwrap());
        let notes: Vec<String> = lint(&rules).iter().map(ToString::to_string).collect();
        assert_eq!(
            notes,
            [
                "acme: rule one: pattern 2 stands in the rule twice",
                "acme: rule one: pattern 3 is a word of 2 characters",
                "acme: rule one: pattern 4 is 4 characters anywhere, inside words too",
                "acme: rule one: pattern 5 matches 1 bytes already",
                "acme: rule one: pattern 6 may hold text for up to 1208 bytes",
                "acme: rule one: pattern 7 may hold text for up to 400 characters",
                "acme: rule one: pattern 4 is excused even where it stands alone",
                "acme: rule two: pattern 1 stands in rule one too",
                "acme: rule two: has no examples of both kinds",
            ]
        );
    }
}
