//! What can never be reported, or changes nothing.

use std::sync::Arc;

use regex_syntax::hir::{Class, Hir, HirKind, Look};

use crate::rules::examples::matches;
use crate::rules::literals::{Role, encode};
use crate::rules::pack::{Literal, PatternSpec};
use crate::rules::{Kind, Rule, RuleAction, Severity, Watch};
use crate::text::fold::fold;

use super::{Level, LookedAt, Told};

pub(super) fn lint(of: LookedAt<'_>, told: &mut Told<'_, '_>) {
    if of.rule.kind != Kind::Risk && of.rule.severity >= Severity::High {
        let note =
            "has a severity that would block, and its kind can neither flag, redact nor block";
        told.of_rule(Level::Warning, note.to_owned());
    }
    let excused = excused(of);
    if excused.len() == of.shape.patterns.len() {
        let note = "never matches: its exceptions excuse every one of its patterns";
        told.of_rule(Level::Error, note.to_owned());
    } else {
        for &number in &excused {
            told.of_pattern(Level::Error, number, "is excused even where it stands alone");
        }
    }
    for (number, pattern) in (1..).zip(&of.shape.patterns) {
        match pattern {
            PatternSpec::Literal(literal) => {
                if !excused.contains(&number) {
                    literal_notes(of, number, literal, told);
                }
            }
            PatternSpec::Regex(regex) if can_never_match(&regex.hir) => {
                let note = "can never match: a word edge stands where there is none";
                told.of_pattern(Level::Error, number, note);
            }
            PatternSpec::Regex(_) | PatternSpec::Near { .. } => {}
        }
    }
}

fn literal_notes(of: LookedAt<'_>, number: usize, literal: &Literal, told: &mut Told<'_, '_>) {
    let folded = literal.folded.as_str();
    if fold(folded) != folded {
        told.of_pattern(Level::Error, number, "can stand in no folded text");
    }
    if folded.trim() != folded {
        let note = "begins or ends with white space, which the text must then have too";
        told.of_pattern(Level::Warning, number, note);
    } else if folded.contains("  ") {
        let note = "has white space twice in a row, which the text must then have too";
        told.of_pattern(Level::Warning, number, note);
    }
    if of.needs_any() && is_covered(of, literal) {
        // What is masked depends on the longer one.
        let masks = of.rule.action == Some(RuleAction::Redact);
        let level = if masks { Level::Info } else { Level::Warning };
        let note = "matches only where a shorter literal of the rule matches too";
        told.of_pattern(level, number, note);
    }
}

/// Whether the literal always contains another one of the rule.
fn is_covered(of: LookedAt<'_>, literal: &Literal) -> bool {
    let literals = &of.rules.literals;
    let bytes = literal.folded.len() as u64;
    let mut state = literals.start();
    let mut covered = false;
    for byte in encode(literal) {
        state = literals.next(state, byte);
        if literals.is_match(state) {
            literals.hits(state, |uses, length, _| {
                covered |= length < bytes
                    && uses.iter().any(|used| {
                        used.rule == of.index.0 && matches!(used.role, Role::Match { .. })
                    });
            });
        }
    }
    covered
}

/// The numbers of patterns that the rule's own exceptions always excuse.
fn excused(of: LookedAt<'_>) -> Vec<usize> {
    // Of `all`, one pattern alone never matches.
    if of.shape.unless.is_empty() || !of.needs_any() {
        return Vec::new();
    }
    let alone = Arc::new(Watch::new(of.rules, &|other: &Rule| other.id == of.rule.id, &|_| false));
    let same = |regex: &Hir| {
        of.shape
            .unless
            .iter()
            .any(|exception| matches!(exception, PatternSpec::Regex(other) if other.hir == *regex))
    };
    (1..)
        .zip(&of.shape.patterns)
        .filter(|(_, pattern)| match pattern {
            PatternSpec::Literal(literal) => !matches(&alone, of.index, &literal.folded),
            PatternSpec::Regex(regex) => same(&regex.hir),
            PatternSpec::Near { .. } => false,
        })
        .map(|(number, _)| number)
        .collect()
}

/// Whether a word edge is asked for between two letters, or where there is none.
fn can_never_match(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => false,
        HirKind::Repetition(repetition) => repetition.min > 0 && can_never_match(&repetition.sub),
        HirKind::Capture(capture) => can_never_match(&capture.sub),
        HirKind::Alternation(parts) => parts.iter().all(can_never_match),
        HirKind::Concat(parts) => {
            parts.iter().any(can_never_match)
                || parts.windows(3).any(|parts| match parts {
                    [before, edge, after] => {
                        matches!(edge.kind(), HirKind::Look(Look::WordAscii))
                            && side(before, Side::Last)
                                .is_some_and(|word| side(after, Side::First) == Some(word))
                    }
                    _ => false,
                })
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    First,
    Last,
}

/// Whether all matches have an ASCII word's character on this side; `None` where they differ.
fn side(hir: &Hir, at: Side) -> Option<bool> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) | HirKind::Class(Class::Bytes(_)) => None,
        HirKind::Literal(literal) => match at {
            Side::First => literal.0.first().copied().map(is_word),
            Side::Last => literal.0.last().copied().map(is_word),
        },
        HirKind::Class(Class::Unicode(class)) => {
            if !class.is_ascii() {
                return None;
            }
            let mut chars = class.iter().flat_map(|range| range.start()..=range.end());
            let word = |c: char| u8::try_from(c).is_ok_and(is_word);
            let first = word(chars.next()?);
            chars.all(|c| word(c) == first).then_some(first)
        }
        HirKind::Repetition(repetition) if repetition.min == 0 => None,
        HirKind::Repetition(repetition) => side(&repetition.sub, at),
        HirKind::Capture(capture) => side(&capture.sub, at),
        HirKind::Concat(parts) => match at {
            Side::First => side(parts.first()?, at),
            Side::Last => side(parts.last()?, at),
        },
        HirKind::Alternation(parts) => {
            let first = side(parts.first()?, at)?;
            parts.iter().all(|part| side(part, at) == Some(first)).then_some(first)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::lint::tests::{notes_of, notes_on};

    #[test]
    fn what_can_never_match_is_an_error() {
        for (pattern, never) in [
            ("'ab(?-u:\\b)cd'", true),
            ("'(?:ab|cd)(?-u:\\b)[a-z]{2}'", true),
            ("'ab,(?-u:\\b) cd'", true),
            ("'(?:ab(?-u:\\b)cd|abcd)'", false),
            ("'abcd(?-u:\\b) ef'", false),
            ("'(?-u:\\b)abcd(?-u:\\b)'", false),
            ("'abcd(?-u:\\b)[a-z ]ef'", false),
        ] {
            let notes = notes_on(&format!("{{regex: {pattern}}}"));
            let expected =
                "error pattern 1 can never match: a word edge stands where there is none";
            assert_eq!(notes.iter().any(|note| note == expected), never, "{pattern} {notes:?}");
        }
    }

    #[test]
    fn a_rule_that_its_exceptions_undo_is_an_error() {
        let rule = |unless: &str| {
            notes_of(&format!(
                "- {{id: x, category: secrets, severity: low, \
                 any: [{{literal: falcon}}, {{regex: 'hero[n]'}}], unless: [{unless}]}}\n"
            ))
        };
        assert_eq!(
            rule("{literal: falcon}, {regex: heron}"),
            ["4:3 error x: never matches: its exceptions excuse every one of its patterns"]
        );
        assert_eq!(rule("{literal: falcon heavy}"), Vec::<String>::new());
        assert_eq!(
            rule("{regex: heron}"),
            ["4:78 error x: pattern 2 is excused even where it stands alone"]
        );
    }

    #[test]
    fn a_literal_inside_another_changes_nothing() {
        let covered =
            "warning pattern 2 matches only where a shorter literal of the rule matches too";
        for (patterns, expected) in [
            ("{literal: bombs away}, {literal: all bombs away now}", true),
            ("{literal: bombs away}, {literal: bombs awaywards}", false),
            ("{literal: bombs away}, {literal: bombs away now, word: false}", false),
            ("{literal: bombs away, word: false}, {literal: xbombs awayx, word: false}", true),
        ] {
            let notes = notes_on(patterns);
            assert_eq!(notes.iter().any(|note| note == covered), expected, "{patterns} {notes:?}");
        }
    }

    #[test]
    fn white_space_that_must_be_there_is_told() {
        assert_eq!(notes_on("{literal: 'falcon '}").len(), 1);
        assert_eq!(notes_on("{literal: 'red  falcon'}").len(), 1);
        assert_eq!(notes_on("{literal: 'red falcon'}"), Vec::<String>::new());
    }

    #[test]
    fn a_severity_without_effect_is_told() {
        let notes =
            notes_of("- {id: x, kind: refusal, severity: high, any: [{literal: falcon}]}\n");
        assert_eq!(
            notes,
            ["4:3 warning x: has a severity that would block, and its kind can neither flag, \
             redact nor block"]
        );
    }
}
