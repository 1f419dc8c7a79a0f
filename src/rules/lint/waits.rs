//! What lets text wait in enforce mode for longer than a word takes.

use regex_syntax::hir::{Class, ClassUnicodeRange, Hir, HirKind};

use crate::rules::automata::Closure;
use crate::rules::compile::Regex;
use crate::rules::literals::Role;
use crate::rules::pack::PatternSpec;
use crate::rules::{RuleIndex, RuleSet};

use super::{Level, LookedAt, Told};

/// Characters for which nobody notices that they wait: those of a long word.
const WORD_CHARS: u64 = 16;
/// Text held for longer than this is felt by a reader, in bytes.
const LONG_HOLD: usize = 256;
/// Classes of more characters than this stand for anything.
pub(super) const WIDE_CLASS: usize = 10_000;

pub(super) fn lint(of: LookedAt<'_>, told: &mut Told<'_, '_>) {
    if !of.may_be_enforced() {
        return;
    }
    for (number, pattern) in (1..).zip(&of.shape.patterns) {
        if let Some(note) = waits(pattern) {
            told.of_pattern(Level::Info, number, &note);
        }
    }
    let always = always_held(of.rules, of.index);
    if always > 0 {
        let note = format!("always holds {always} bytes: what a regex may become is too much");
        told.of_rule(Level::Warning, note);
    }
}

fn waits(pattern: &PatternSpec) -> Option<String> {
    match pattern {
        PatternSpec::Literal(_) => None,
        PatternSpec::Regex(regex) => {
            let gap = gaps(&regex.hir).unwrap_or(regex.bound as u64).min(regex.bound as u64);
            if gap > WORD_CHARS {
                Some(format!("holds text for up to {gap} characters: it has a gap"))
            } else if regex.bound > LONG_HOLD {
                Some(format!("holds text for up to {} bytes: so long a match may be", regex.bound))
            } else {
                None
            }
        }
        PatternSpec::Near { within_chars, .. } => (u64::from(*within_chars) > WORD_CHARS).then(
            || format!("holds text for up to {within_chars} characters: its words may stand so far apart"),
        ),
    }
}

/// How many characters of a match may be anything; `None` where there is no limit.
fn gaps(hir: &Hir) -> Option<u64> {
    match hir.kind() {
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => Some(0),
        HirKind::Repetition(repetition) if is_anything(&repetition.sub) => {
            repetition.max.map(u64::from)
        }
        HirKind::Repetition(repetition) => match (gaps(&repetition.sub), repetition.max) {
            (Some(0), _) => Some(0),
            (Some(gap), Some(max)) => Some(gap * u64::from(max)),
            (None, _) | (_, None) => None,
        },
        HirKind::Capture(capture) => gaps(&capture.sub),
        HirKind::Concat(parts) => parts.iter().map(gaps).sum(),
        HirKind::Alternation(parts) => {
            parts.iter().map(gaps).try_fold(0, |most, gap| Some(most.max(gap?)))
        }
    }
}

/// Whether it is one character, of nearly any kind.
pub(super) fn is_anything(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Class(Class::Unicode(class)) => {
            class.iter().map(ClassUnicodeRange::len).sum::<usize>() > WIDE_CLASS
        }
        HirKind::Capture(capture) => is_anything(&capture.sub),
        _ => false,
    }
}

/// The bytes that a rule's regexes hold because their closure does not fit.
fn always_held(rules: &RuleSet, rule: RuleIndex) -> usize {
    rules
        .regexes
        .iter()
        .filter(|regex| regex.rule == rule.0 && matches!(regex.role, Role::Match { .. }))
        .filter_map(Regex::closed)
        .filter(|&closed| Closure::pack(&[closed]).iter().any(Closure::is_bound))
        .map(|closed| closed.bound)
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use crate::rules::lint::tests::{notes_of, notes_on};

    #[test]
    fn gaps_are_told_with_their_characters() {
        for (pattern, told) in [
            ("{regex: 'acid.{0,40}bath'}", "up to 40 characters: it has a gap"),
            ("{regex: 'acid(?:.{0,5}[^a]{3,4}){2}bath'}", "up to 18 characters: it has a gap"),
            ("{regex: 'acid.*bath', bound: 200}", "up to 200 characters: it has a gap"),
            ("{regex: 'acid[a-z]+bath', bound: 300}", "up to 300 bytes: so long a match may be"),
            ("{near: {words: [acid, bath], within_chars: 30}}", "up to 30 characters: its words"),
        ] {
            let notes = notes_on(pattern);
            let expected = format!("info pattern 1 holds text for {told}");
            assert!(notes.iter().any(|note| note.starts_with(&expected)), "{pattern} {notes:?}");
        }
        assert_eq!(notes_on("{regex: 'acid.{0,9}bath'}"), Vec::<String>::new());
    }

    #[test]
    fn what_is_only_flagged_lets_nothing_wait() {
        let notes = notes_of(
            "- {id: x, category: secrets, severity: low, any: [{regex: 'acid.{0,40}bath'}]}\n",
        );
        assert_eq!(notes, Vec::<String>::new());
    }
}
