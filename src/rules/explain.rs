//! Why a rule matches a text, or does not.
//!
//! In: one rule of a set, and a text. Out: what the rule looks for, and every place where one of its patterns
//! stands, with what was made of it. Each pattern is tried by itself beside the rule: once as the pack has it, and
//! once without word edges and checks, so that what these held back can be told.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::channel::Channel;

use super::pack::{Edges, Examples, Literal, Needs, Pack, PatternSpec, Place, Placed, RuleSpec};
use super::patterns::Pattern;
use super::validators::Checks;
use super::{
    Category, Kind, Rule, RuleAction, RuleIndex, RuleMatch, RuleSet, Severity, StreamMatcher, Watch,
};

/// What a rule looks for, and what it found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The rule's id.
    pub rule: String,
    /// Its pack.
    pub pack: String,
    /// File, line and column.
    pub place: String,
    /// What it is about, for people.
    pub description: String,
    /// What a match says.
    pub kind: Kind,
    /// The kind of harm.
    pub category: Option<Category>,
    /// How grave a match is.
    pub severity: Severity,
    /// Where it looks.
    pub channels: Vec<Channel>,
    /// What it asks for: its own action, or its severity's default.
    pub action: RuleAction,
    /// What a match adds to a channel's risk.
    pub weight: f64,
    /// The overrides that changed it: file, line and column.
    pub overridden: Vec<String>,
    /// Whether every pattern must match.
    pub needs_all: bool,
    /// Its patterns, folded.
    pub patterns: Vec<String>,
    /// Its exceptions, folded.
    pub unless: Vec<String>,
    /// Whether it matches the text; nothing where none was given.
    pub matches: Option<bool>,
    /// Every place where a pattern stands, by its end.
    pub found: Vec<Found>,
    /// For a rule that needs all of its patterns: the numbers, from 1, of those that do not match.
    pub missing: Vec<usize>,
}

/// A place where one of the rule's patterns stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The pattern's number, from 1.
    pub pattern: usize,
    /// Its first byte.
    pub start: u64,
    /// One past its last byte.
    pub end: u64,
    /// Its first character.
    pub start_char: u64,
    /// One past its last character.
    pub end_char: u64,
    /// What came of it.
    #[serde(flatten)]
    pub fate: Fate,
}

/// What became of a place where a pattern stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "fate", rename_all = "snake_case")]
pub enum Fate {
    /// The rule reports it.
    Reported,
    /// It stands inside a longer word.
    InsideWord,
    /// The pattern's validator or its least entropy refuses it.
    Refused,
    /// The exception of this number, from 1, overlaps it.
    Excused {
        /// The exception's number, from 1.
        exception: usize,
    },
    /// The rule needs all of its patterns, and this is not the one that completed them.
    NotAll,
    /// Another match of the rule covers it.
    Covered,
}

/// What a rule of the set that is made for the purpose is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    /// A pattern as it is.
    Exact(usize),
    /// A pattern without word edges and checks.
    Loose(usize),
    /// An exception.
    Exception(usize),
}

/// Explains a rule; and what it makes of a text, where there is one.
#[must_use]
pub fn explain(rules: &Arc<RuleSet>, index: RuleIndex, text: Option<&str>) -> Option<Explanation> {
    let rule = rules.rule(index)?;
    let shape = rules.shapes.get(index.0 as usize)?;
    let describe = |patterns: &[PatternSpec]| patterns.iter().map(ToString::to_string).collect();
    let mut explanation = Explanation {
        rule: rule.id.clone(),
        pack: rule.pack.clone(),
        place: shape.stands.rule.to_string(),
        description: rule.description.clone(),
        kind: rule.kind,
        category: rule.category,
        severity: rule.severity,
        channels: rule.channels.clone(),
        action: action(rule),
        weight: rule.weight,
        overridden: shape.stands.overridden.clone(),
        needs_all: shape.needs != 0,
        patterns: describe(&shape.patterns),
        unless: describe(&shape.unless),
        matches: None,
        found: Vec::new(),
        missing: Vec::new(),
    };
    if let Some(text) = text {
        explanation.try_on(rules, index, text);
    }
    Some(explanation)
}

/// What a rule asks for where the configuration says nothing.
fn action(rule: &Rule) -> RuleAction {
    match (rule.kind, rule.action, rule.severity) {
        (Kind::Risk, Some(action), _) => action,
        (Kind::Risk, None, Severity::Critical | Severity::High) => RuleAction::Block,
        (Kind::Risk, None, Severity::Medium | Severity::Low) => RuleAction::Flag,
        (Kind::Risk, None, Severity::Info)
        | (Kind::SafetyThinking | Kind::Rationalisation | Kind::Refusal, _, _) => RuleAction::None,
    }
}

// === impl Explanation ===

impl Explanation {
    fn try_on(&mut self, rules: &Arc<RuleSet>, index: RuleIndex, text: &str) {
        let Some(shape) = rules.shapes.get(index.0 as usize) else { return };
        let alone = Arc::new(Watch::new(rules, &|other: &Rule| other.id == self.rule, &|_| false));
        let reported: Vec<Span> = found(&alone, text).iter().map(Span::from).collect();
        self.matches = Some(!reported.is_empty());
        let Some((probes, tried)) = probe(&shape.patterns, &shape.unless, text) else { return };
        let spans = |wanted: Probe| -> Vec<Span> {
            let of = |found: &&RuleMatch| probes.get(found.rule.0 as usize) == Some(&wanted);
            tried.iter().filter(of).map(Span::from).collect()
        };
        let excuses: Vec<Vec<Span>> =
            (0..shape.unless.len()).map(|number| spans(Probe::Exception(number))).collect();
        for number in 0..shape.patterns.len() {
            let exact = spans(Probe::Exact(number));
            if self.needs_all && exact.is_empty() {
                self.missing.push(number + 1);
            }
            let held_back = match shape.patterns.get(number) {
                Some(PatternSpec::Regex(_)) => Fate::Refused,
                _ => Fate::InsideWord,
            };
            for span in spans(Probe::Loose(number)) {
                // With its edges, a `near` may take other words of the same kind.
                if !exact.iter().any(|exact| exact.overlaps(span)) {
                    self.found.push(span.found(number, held_back.clone()));
                }
            }
            for span in exact {
                let excuse =
                    excuses.iter().position(|spans| spans.iter().any(|other| other.overlaps(span)));
                let fate = if reported.contains(&span) {
                    Fate::Reported
                } else if let Some(exception) = excuse {
                    Fate::Excused { exception: exception + 1 }
                } else if self.needs_all {
                    Fate::NotAll
                } else {
                    Fate::Covered
                };
                self.found.push(span.found(number, fate));
            }
        }
        self.found.sort_by_key(|found| (found.end, found.start, found.pattern));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Span {
    start: u64,
    end: u64,
    start_char: u64,
    end_char: u64,
}

// === impl Span ===

impl Span {
    fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    fn found(self, number: usize, fate: Fate) -> Found {
        let Self { start, end, start_char, end_char } = self;
        Found { pattern: number + 1, start, end, start_char, end_char, fate }
    }
}

impl From<&RuleMatch> for Span {
    fn from(found: &RuleMatch) -> Self {
        let RuleMatch { rule: _, start, end, start_char, end_char } = *found;
        Self { start, end, start_char, end_char }
    }
}

fn found(watch: &Arc<Watch>, text: &str) -> Vec<RuleMatch> {
    let mut matcher = StreamMatcher::new(watch);
    let mut found = Vec::new();
    matcher.push(text, &mut found);
    matcher.finish(&mut found);
    found
}

/// Tries every pattern and exception as a rule by itself.
fn probe(
    patterns: &[PatternSpec],
    unless: &[PatternSpec],
    text: &str,
) -> Option<(Vec<Probe>, Vec<RuleMatch>)> {
    let mut probes = Vec::new();
    let mut rules = Vec::new();
    let mut add = |probe: Probe, pattern: PatternSpec| {
        rules.push(by_itself(format!("probe.{}", probes.len()), pattern));
        probes.push(probe);
    };
    for (number, pattern) in patterns.iter().enumerate() {
        add(Probe::Exact(number), pattern.clone());
        if let Some(loose) = loose(pattern) {
            add(Probe::Loose(number), loose);
        }
    }
    for (number, pattern) in unless.iter().enumerate() {
        add(Probe::Exception(number), pattern.clone());
    }
    let pack = Pack {
        name: "explain".to_owned(),
        version: String::new(),
        description: String::new(),
        origin: String::new(),
        rules,
        overrides: Vec::new(),
    };
    let rules = Arc::new(RuleSet::compile(vec![pack]).ok()?);
    let watch = Arc::new(Watch::new(&rules, &|_| true, &|_| false));
    Some((probes, found(&watch, text)))
}

/// The pattern without word edges and checks, where it has any.
fn loose(pattern: &PatternSpec) -> Option<PatternSpec> {
    let anywhere =
        |literal: &Literal| Literal { folded: literal.folded.clone(), edges: Edges::Anywhere };
    match pattern {
        PatternSpec::Literal(literal) => {
            (literal.edges == Edges::Word).then(|| PatternSpec::Literal(anywhere(literal)))
        }
        PatternSpec::Near { words, within_chars } => {
            words.iter().any(|word| word.edges == Edges::Word).then(|| PatternSpec::Near {
                words: words.iter().map(anywhere).collect(),
                within_chars: *within_chars,
            })
        }
        PatternSpec::Regex(regex) => (!regex.checks.is_empty())
            .then(|| PatternSpec::Regex(Pattern { checks: Checks::default(), ..regex.clone() })),
    }
}

fn by_itself(id: String, pattern: PatternSpec) -> RuleSpec {
    let place = Place { line: 0, column: 0 };
    RuleSpec {
        id,
        description: String::new(),
        kind: Kind::Refusal,
        category: None,
        severity: Severity::Info,
        channels: Channel::ALL.to_vec(),
        action: None,
        weight: 0.0,
        examples: Examples::default(),
        references: Vec::new(),
        needs: Needs::Any,
        patterns: vec![Placed { what: pattern, place, origin: None }],
        unless: Vec::new(),
        place,
        overridden: Vec::new(),
    }
}

// === impl PatternSpec ===

/// As it is matched: folded.
impl fmt::Display for PatternSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(literal) => write!(f, "literal {literal}"),
            Self::Regex(regex) => {
                write!(f, "regex {} (up to {} bytes", regex.hir, regex.bound)?;
                if regex.head > 0 {
                    write!(f, ", without the first {} characters", regex.head)?;
                }
                if let Some(validator) = regex.checks.validator {
                    write!(f, ", validator {}", validator.name())?;
                }
                if let Some(entropy) = regex.checks.entropy {
                    write!(f, ", entropy {entropy}")?;
                }
                write!(f, ")")
            }
            Self::Near { words, within_chars } => {
                write!(f, "near, within {within_chars} characters:")?;
                words.iter().try_for_each(|word| write!(f, " {word}"))
            }
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.edges {
            Edges::Word => write!(f, "{:?}", self.folded),
            Edges::Anywhere => write!(f, "{:?} (inside words too)", self.folded),
        }
    }
}

// === impl Fate ===

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reported => f.write_str("reported"),
            Self::InsideWord => f.write_str("held back: it stands inside a longer word"),
            Self::Refused => f.write_str("held back: its validator or entropy refuses it"),
            Self::Excused { exception } => write!(f, "held back: exception {exception} excuses it"),
            Self::NotAll => f.write_str("counts, but is not the one that completes all"),
            Self::Covered => f.write_str("told by another match of the rule"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(rule: &str, text: &str) -> Explanation {
        let yaml = format!("pack: acme\nversion: 1\nrules:\n- {{id: x, kind: refusal, {rule}}}\n");
        let pack = Pack::parse("acme.yaml", &yaml, &|_| Err(String::new())).unwrap();
        let rules = Arc::new(RuleSet::compile(vec![pack]).unwrap());
        explain(&rules, RuleIndex(0), Some(text)).unwrap()
    }

    /// Pattern, span and fate of each place, and whether the rule matches.
    fn fates(rule: &str, text: &str) -> (Vec<(usize, u64, u64, Fate)>, bool) {
        let explained = explained(rule, text);
        let found = explained.found.into_iter();
        let found = found.map(|found| (found.pattern, found.start, found.end, found.fate));
        (found.collect(), explained.matches.unwrap())
    }

    #[test]
    fn each_place_has_its_fate() {
        let rule = "any: [{literal: falcon}, {regex: '[0-9]{16}', validator: luhn}], \
                    unless: [{literal: peregrine}, {literal: falcon heavy}]";
        assert_eq!(
            fates(rule, "A falcon, falcons, 4111111111111112 and the Falcon heavy"),
            (
                vec![
                    (1, 2, 8, Fate::Reported),
                    (1, 10, 16, Fate::InsideWord),
                    (2, 19, 35, Fate::Refused),
                    (1, 44, 50, Fate::Excused { exception: 2 }),
                ],
                true
            )
        );
    }

    #[test]
    fn what_is_missing_is_told() {
        let rule =
            "all: [{literal: acid}, {literal: bath}, {near: {words: [a, b], within_chars: 9}}]";
        let explained = explained(rule, "acid in the sky");
        assert_eq!((explained.matches, explained.missing), (Some(false), vec![2, 3]));
        assert_eq!(explained.found.len(), 1);
        assert_eq!(explained.found[0].fate, Fate::NotAll);
        let (found, matches) = fates("all: [{literal: acid}, {literal: bath}]", "acid bath acid");
        assert!(matches);
        let fates: Vec<Fate> = found.into_iter().map(|(.., fate)| fate).collect();
        assert_eq!(fates, [Fate::NotAll, Fate::Reported, Fate::NotAll]);
    }

    #[test]
    fn places_are_those_of_the_text_as_it_was() {
        let explained = explained("any: [{literal: fire}]", "é ﬁ\u{200B}re");
        let found = &explained.found[0];
        assert_eq!((found.start, found.end, found.start_char, found.end_char), (3, 11, 2, 6));
    }

    #[test]
    fn a_rule_is_told_as_it_is_matched() {
        let explained = explained(
            "any: [{literal: Straße, word: false}, {regex: 'A[B]c', entropy: 1.5}, \
             {near: {words: [A, b c], within_chars: 9}}]",
            "",
        );
        assert_eq!(
            explained.patterns,
            [
                "literal \"strasse\" (inside words too)",
                "regex (?:abc) (up to 3 bytes, entropy 1.5)",
                "near, within 9 characters: \"a\" \"b c\"",
            ]
        );
        assert_eq!(
            (explained.place.as_str(), explained.action),
            ("acme.yaml:4:3", RuleAction::None)
        );
        assert_eq!(explained.matches, Some(false));
    }
}
