//! The engine against an oracle that looks at whole texts, naively, and against every cut of them.

#![expect(clippy::string_slice, reason = "the tests know where characters begin")]

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use regex_syntax::hir::{Class, Hir, HirKind, Look};

use crate::channel::Channel;
use crate::text::fold::{fold_char, is_word};

use super::pack::{Edges, Literal, Needs, PatternSpec, Place, Placed, RuleSpec};
use super::validators::{Checks, Validator};
use super::{
    Category, Examples, Kind, Pack, RuleIndex, RuleMatch, RuleSet, Severity, StreamMatcher, Watch,
    patterns,
};

/// A rule as the tests state it.
#[derive(Clone, Debug)]
struct Sketch {
    patterns: Vec<PatternSpec>,
    unless: Vec<PatternSpec>,
    needs: Needs,
    enforced: bool,
}

fn literal(text: &str, edges: Edges) -> PatternSpec {
    PatternSpec::Literal(Literal::new(text, edges).unwrap())
}

fn regex(source: &str, bound: Option<usize>) -> PatternSpec {
    PatternSpec::Regex(patterns::parse(source, bound).unwrap())
}

fn headed(source: &str, bound: Option<usize>, head: usize) -> PatternSpec {
    PatternSpec::Regex(patterns::parse(source, bound).unwrap().with_head(head).unwrap())
}

fn near(words: &[&str], within_chars: u32) -> PatternSpec {
    let words = words.iter().map(|word| Literal::new(word, Edges::Word).unwrap()).collect();
    PatternSpec::Near { words, within_chars }
}

fn any(patterns: Vec<PatternSpec>) -> Sketch {
    Sketch { patterns, unless: Vec::new(), needs: Needs::Any, enforced: true }
}

fn compile(sketches: &[Sketch]) -> Arc<RuleSet> {
    compile_with(sketches, 3)
}

/// With `rare` at 1, regexes are looked for by their literals wherever they have any.
fn compile_with(sketches: &[Sketch], rare: usize) -> Arc<RuleSet> {
    let place = Place { line: 1, column: 1 };
    let placed = |patterns: &[PatternSpec]| {
        patterns.iter().map(|what| Placed { what: what.clone(), place, origin: None }).collect()
    };
    let rules = sketches
        .iter()
        .enumerate()
        .map(|(number, sketch)| RuleSpec {
            id: format!("r{number}"),
            description: String::new(),
            kind: Kind::Risk,
            category: Some(Category::Cybercrime),
            severity: if sketch.enforced { Severity::High } else { Severity::Low },
            channels: Channel::ALL.to_vec(),
            action: None,
            weight: 0.5,
            examples: Examples::default(),
            references: Vec::new(),
            needs: sketch.needs,
            patterns: placed(&sketch.patterns),
            unless: placed(&sketch.unless),
            place,
            overridden: Vec::new(),
        })
        .collect();
    let pack = Pack {
        name: "test".to_owned(),
        version: "1".to_owned(),
        description: String::new(),
        origin: "test".to_owned(),
        rules,
        overrides: Vec::new(),
    };
    Arc::new(RuleSet::compile_with(vec![pack], rare).unwrap())
}

fn watch(rules: &Arc<RuleSet>) -> Arc<Watch> {
    Arc::new(Watch::new(rules, &|_| true, &|rule| rule.severity == Severity::High).plain())
}

/// One that sees through disguises too.
fn keen_watch(rules: &Arc<RuleSet>) -> Arc<Watch> {
    Arc::new(Watch::new(rules, &|_| true, &|rule| rule.severity == Severity::High))
}

/// Matches of the whole text in one push.
fn matches(watch: &Arc<Watch>, text: &str) -> Vec<RuleMatch> {
    let mut found = Vec::new();
    let mut matcher = StreamMatcher::new(watch);
    matcher.push(text, &mut found);
    matcher.finish(&mut found);
    found
}

/// What disguises hide: the matched texts.
fn unmasked<'t>(rules: &[&str], text: &'t str) -> Vec<&'t str> {
    let sketches: Vec<Sketch> =
        rules.iter().map(|rule| any(vec![literal(rule, Edges::Word)])).collect();
    let place = |place: u64| usize::try_from(place).unwrap();
    matches(&keen_watch(&compile(&sketches)), text)
        .into_iter()
        .map(|found| &text[place(found.start)..place(found.end)])
        .collect()
}

/// The matched texts, each with its rule's number.
fn matched<'t>(sketches: &[Sketch], text: &'t str) -> Vec<(u32, &'t str)> {
    matches(&watch(&compile(sketches)), text)
        .into_iter()
        .map(|found| {
            let place = |place: u64| usize::try_from(place).unwrap();
            let (start, end) = (place(found.start), place(found.end));
            assert_eq!(text[..start].chars().count() as u64, found.start_char);
            assert_eq!(text[..end].chars().count() as u64, found.end_char);
            (found.rule.0, &text[start..end])
        })
        .collect()
}

// === the oracle ===

/// A whole text, folded, with the original span of every folded character.
struct Whole {
    text: String,
    /// Folded byte, original start byte, its end, original character; by folded character.
    chars: Vec<(usize, u64, u64, u64)>,
}

impl Whole {
    fn new(original: &str) -> Self {
        let (mut text, mut chars) = (String::new(), Vec::new());
        for (number, (byte, c)) in original.char_indices().enumerate() {
            fold_char(c, |folded| {
                let end = byte + c.len_utf8();
                chars.push((text.len(), byte as u64, end as u64, number as u64));
                text.push(folded);
            });
        }
        Self { text, chars }
    }

    /// Whether words begin or end here.
    fn is_edge(&self, at: usize) -> bool {
        let before = self.text[..at].chars().next_back().is_some_and(is_word);
        before != self.text[at..].chars().next().is_some_and(is_word)
    }

    fn boundaries(&self) -> impl Iterator<Item = usize> + '_ {
        (0..=self.text.len()).filter(|&at| self.text.is_char_boundary(at))
    }

    fn literal_spans(&self, literal: &Literal) -> Vec<(usize, usize)> {
        let folded = &literal.folded;
        let anchored = literal.edges == Edges::Word;
        let first = anchored && folded.chars().next().is_some_and(is_word);
        let last = anchored && folded.chars().next_back().is_some_and(is_word);
        self.boundaries()
            .filter(|&start| self.text[start..].starts_with(folded.as_str()))
            .map(|start| (start, start + folded.len()))
            .filter(|&(start, end)| (!first || self.is_edge(start)) && (!last || self.is_edge(end)))
            .collect()
    }

    /// For every end at which the regex matches, in order, the leftmost start within its bound.
    fn regex_spans(&self, pattern: &patterns::Pattern) -> Vec<(usize, usize)> {
        let mut by_end: Vec<(usize, usize)> = Vec::new();
        let starts: Vec<(usize, BTreeSet<usize>)> = self
            .boundaries()
            .map(|start| (start, ends(&pattern.hir, &self.text, start).0))
            .collect();
        for end in self.boundaries() {
            let all =
                starts.iter().filter(|(_, ends)| ends.contains(&end)).map(|&(start, _)| start);
            let near = all.clone().find(|&start| end - start <= pattern.bound);
            let cut = self.boundaries().find(|&start| end - start <= pattern.bound);
            if let Some(start) = near.or_else(|| all.clone().next().and(cut)) {
                by_end.push((start, end));
            }
        }
        by_end
    }

    /// A regex's matches as they are reported: one a run, further ones where the last ended. Each with its head
    /// and without.
    fn regex_runs(&self, pattern: &patterns::Pattern) -> Vec<(usize, usize, usize)> {
        let mut runs: Vec<(usize, usize, usize)> = Vec::new();
        let mut floor = 0;
        for (start, end) in self.regex_spans(pattern) {
            let shown = self.boundaries().filter(|&at| at >= start).nth(pattern.head).unwrap();
            let last = runs
                .last()
                .copied()
                .filter(|&(.., last)| self.boundaries().find(|&at| at > last) == Some(end));
            match last {
                Some((open, counts, _)) if start.max(floor) <= open => {
                    let shown = counts.min(shown.max(floor));
                    *runs.last_mut().unwrap() = (start.max(floor), shown, end);
                }
                Some((.., last)) => {
                    floor = last;
                    runs.push((start.max(floor), shown.max(floor), end));
                }
                None => {
                    floor = 0;
                    runs.push((start, shown, end));
                }
            }
        }
        runs
    }

    fn near_spans(&self, words: &[Literal], within_chars: u32) -> Vec<(usize, usize)> {
        let mut hits: Vec<(usize, usize, usize)> = Vec::new();
        for (word, literal) in words.iter().enumerate() {
            hits.extend(self.literal_spans(literal).into_iter().map(|(s, e)| (e, s, word)));
        }
        hits.sort_unstable();
        let mut spans = Vec::new();
        let mut seen: Vec<Option<usize>> = vec![None; words.len()];
        for (end, start, word) in hits {
            seen[word] = Some(start);
            let Some(first) = seen.iter().copied().min().flatten() else { continue };
            if self.text[first..end].chars().count() <= within_chars as usize {
                spans.push((first, end));
                seen.fill(None);
            }
        }
        spans
    }

    fn spans(&self, pattern: &PatternSpec) -> Vec<(usize, usize)> {
        match pattern {
            PatternSpec::Literal(literal) => self.literal_spans(literal),
            PatternSpec::Regex(pattern) => {
                let mut runs = self.regex_runs(pattern);
                runs.retain(|&(start, _, end)| pattern.checks.accept(&self.text[start..end]));
                runs.into_iter().map(|(_, shown, end)| (shown, end)).collect()
            }
            PatternSpec::Near { words, within_chars } => self.near_spans(words, *within_chars),
        }
    }

    fn matches(&self, sketches: &[Sketch]) -> Vec<RuleMatch> {
        let mut candidates = BTreeSet::new();
        for (rule, sketch) in sketches.iter().enumerate() {
            let excuses: Vec<(usize, usize)> = sketch
                .unless
                .iter()
                .flat_map(|pattern| match pattern {
                    PatternSpec::Regex(pattern) => self.regex_spans(pattern),
                    other => self.spans(other),
                })
                .collect();
            for (part, pattern) in sketch.patterns.iter().enumerate() {
                for (start, end) in self.spans(pattern) {
                    if !excuses.iter().any(|&(from, to)| from < end && start < to) {
                        candidates.insert((end, rule, start, part));
                    }
                }
            }
        }
        let mut seen: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); sketches.len()];
        let mut found = Vec::new();
        for (end, rule, start, part) in candidates {
            if sketches[rule].needs == Needs::All {
                let complete = sketches[rule].patterns.len();
                if !seen[rule].insert(part) || seen[rule].len() != complete {
                    continue;
                }
            }
            let from = self.chars.iter().find(|(at, ..)| *at == start).unwrap();
            let to = self.chars.iter().rfind(|(at, ..)| *at < end).unwrap();
            let found_now = RuleMatch {
                rule: RuleIndex(u32::try_from(rule).unwrap()),
                start: from.1,
                end: to.2,
                start_char: from.3,
                end_char: to.3 + 1,
            };
            // Spans may differ in the folded text only, inside one original character.
            let key = (start, end);
            if found.last() != Some(&(found_now, key)) {
                found.push((found_now, key));
            }
        }
        found.into_iter().map(|(found, _)| found).collect()
    }

    /// How many folded bytes at the end could become one of the patterns' matches.
    fn live(&self, pattern: &PatternSpec) -> usize {
        let live = |start: &usize| match pattern {
            PatternSpec::Literal(literal) => {
                let rest = &self.text[*start..];
                let anchored = literal.edges == Edges::Word;
                let folded = &literal.folded;
                let first = anchored && folded.chars().next().is_some_and(is_word);
                let last = anchored && folded.chars().next_back().is_some_and(is_word);
                (!first || self.is_edge(*start))
                    && folded.starts_with(rest)
                    && (rest.len() < folded.len() || last)
            }
            PatternSpec::Regex(pattern) => {
                self.text.len() - start <= pattern.bound && ends(&pattern.hir, &self.text, *start).1
            }
            PatternSpec::Near { .. } => false,
        };
        let head = if let PatternSpec::Regex(pattern) = pattern { pattern.head } else { 0 };
        let starts = self.boundaries().filter(|&start| start < self.text.len());
        let first = starts.into_iter().find(live);
        let behind = first.and_then(|start| self.boundaries().filter(|&at| at >= start).nth(head));
        behind.map_or(0, |start| self.text.len() - start)
    }
}

/// Where matches of `hir` that begin at `at` end, and whether one may go on past the end of the text.
fn ends(hir: &Hir, text: &str, at: usize) -> (BTreeSet<usize>, bool) {
    let one = |end| (BTreeSet::from([end]), end == text.len());
    let none = |partial| (BTreeSet::new(), partial);
    match hir.kind() {
        HirKind::Empty => one(at),
        HirKind::Literal(literal) => {
            let literal = str::from_utf8(&literal.0).unwrap();
            let rest = &text[at..];
            if rest.starts_with(literal) {
                one(at + literal.len())
            } else {
                none(literal.starts_with(rest))
            }
        }
        HirKind::Class(Class::Unicode(class)) => match text[at..].chars().next() {
            None => none(true),
            Some(c) if class.iter().any(|range| range.start() <= c && c <= range.end()) => {
                one(at + c.len_utf8())
            }
            Some(_) => none(false),
        },
        HirKind::Class(Class::Bytes(_)) => unreachable!("folding leaves none"),
        HirKind::Look(Look::WordAscii) => {
            let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
            let before = text.as_bytes()[..at].last().is_some_and(word);
            let after = text.as_bytes().get(at).is_some_and(word);
            if before == after { none(at == text.len()) } else { one(at) }
        }
        HirKind::Look(_) => unreachable!("refused"),
        HirKind::Capture(capture) => ends(&capture.sub, text, at),
        HirKind::Concat(parts) => parts.iter().fold(one(at), |(so_far, partial), part| {
            let mut all = BTreeSet::new();
            let mut goes_on = partial;
            for at in so_far {
                let (more, partial) = ends(part, text, at);
                all.extend(more);
                goes_on |= partial;
            }
            (all, goes_on)
        }),
        HirKind::Alternation(parts) => {
            parts.iter().fold(none(false), |(mut all, partial), part| {
                let (more, goes_on) = ends(part, text, at);
                all.extend(more);
                (all, partial | goes_on)
            })
        }
        HirKind::Repetition(repetition) => {
            let mut now = BTreeSet::from([at]);
            let mut all = BTreeSet::new();
            let mut goes_on = at == text.len();
            for round in 0..=repetition.max.unwrap_or(u32::MAX) {
                if round >= repetition.min {
                    all.extend(now.iter().copied());
                }
                let mut next = BTreeSet::new();
                if Some(round) != repetition.max {
                    for &at in &now {
                        let (more, partial) = ends(&repetition.sub, text, at);
                        next.extend(more);
                        goes_on |= partial;
                    }
                }
                if next.is_empty() || next == now {
                    break;
                }
                now = next;
            }
            (all, goes_on)
        }
    }
}

// === properties ===

fn texts() -> impl Strategy<Value = String> {
    let chars = prop::sample::select(vec![
        "a", "a", "a", "b", "b", "B", "c", " ", " ", "-", "\u{200B}", "a\u{301}", "ﬁ", "f", "i",
        "漢", "字", "я", "ß", "s", "Ａ", "\n", "_", "1", "½",
    ]);
    prop::collection::vec(chars, 0..24).prop_map(|chars| chars.concat())
}

fn literals() -> impl Strategy<Value = PatternSpec> {
    let words = prop::sample::select(vec![
        "a", "b", "ab", "ba", "aa", "aba", "a b", "b a b", "a-b", "-a", "a-", "b", "漢", "漢字",
        "a漢", "ss", "s", "fi", "i", "if", "яb", "-", "a a", "ab ab", "1", "c",
    ]);
    let edges = prop::sample::select(vec![Edges::Word, Edges::Word, Edges::Anywhere]);
    (words, edges).prop_map(|(word, edges)| literal(word, edges))
}

fn regexes() -> impl Strategy<Value = PatternSpec> {
    prop::sample::select(vec![
        ("ab", None),
        ("a{2,4}", None),
        ("[ab]{2,3}", None),
        ("a.{0,3}b", None),
        ("(?-u:\\b)ab(?-u:\\b)", None),
        ("(?-u:\\b)a[a-z]{0,3}", None),
        ("a(?-u:\\b).?b", None),
        ("ab?a|b c", None),
        ("b|cab", None),
        ("[^a]b", None),
        ("a+b", Some(4)),
        ("a.*b", Some(6)),
        ("[ab]+", Some(3)),
        ("漢.?字", None),
        ("(ab|ba){1,2}", None),
        ("s{2}|fi", None),
        ("a|bcd|ab", None),
        ("(a|aб)[b ]{1,3}a", None),
    ])
    .prop_map(|(source, bound)| regex(source, bound))
}

/// Regexes whose matches count from behind some characters.
fn headed_regexes() -> impl Strategy<Value = PatternSpec> {
    prop::sample::select(vec![
        headed("ab", None, 1),
        headed("a{2,4}", None, 1),
        headed("[ab]{3,4}", None, 2),
        headed("a.{0,3}b", None, 1),
        headed("ab?a|b c", None, 1),
        headed("(ab|ba){1,2}", None, 1),
        headed("bab[ab]{0,3}|aba", None, 2),
        headed("漢.{0,2}字", None, 1),
        headed("(?-u:\\b)ab[a-z]{0,3}(?-u:\\b)", None, 1),
        headed("cab.?b", None, 3),
        headed("[ab]{2,}", Some(8), 1),
        headed("a[ab ]*c", Some(9), 1),
    ])
}

/// Regexes whose matches are judged when they are over.
fn checked_regexes() -> impl Strategy<Value = PatternSpec> {
    let sources = prop::sample::select(vec![
        ("[ab]{2,6}", None),
        ("a.{0,4}b", None),
        ("(?-u:\\b)[a-z]{2,9}(?-u:\\b)", None),
        ("cab[ab]{0,5}", None),
        ("[ab]+", Some(3)),
        ("a[^a]{1,3}漢", None),
        ("[a-c ]{2,}", Some(7)),
    ]);
    (sources, prop::sample::select(vec![0.5, 0.9, 1.0, 1.4])).prop_map(
        |((source, bound), least)| {
            let pattern = patterns::parse(source, bound).unwrap();
            let checks = Checks { entropy: Some(least), ..Checks::default() };
            PatternSpec::Regex(patterns::Pattern { checks, ..pattern })
        },
    )
}

/// Without word edges, and without a bound that is shorter than a match may be: there, more may be held.
fn exact_regexes() -> impl Strategy<Value = PatternSpec> {
    prop_oneof![3 => regexes(), 1 => headed_regexes()].prop_filter("exact", |pattern| {
        let PatternSpec::Regex(regex) = pattern else { return true };
        let properties = regex.hir.properties();
        properties.look_set().is_empty() && properties.maximum_len() == Some(regex.bound)
    })
}

fn nears() -> impl Strategy<Value = PatternSpec> {
    prop::sample::select(vec![
        near(&["a", "b"], 3),
        near(&["a", "b"], 6),
        near(&["ab", "b", "c"], 9),
        near(&["a", "a b"], 7),
        near(&["漢", "a"], 4),
    ])
}

fn sketches() -> impl Strategy<Value = Vec<Sketch>> {
    let pattern = prop_oneof![4 => literals(), 4 => regexes(), 2 => checked_regexes(), 2 => headed_regexes(), 1 => nears()];
    let exception = prop_oneof![4 => literals(), 4 => regexes(), 1 => nears()];
    let rule = (
        prop::collection::vec(pattern, 1..4),
        prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(exception, 1..3)],
        prop_oneof![3 => Just(Needs::Any), 1 => Just(Needs::All)],
        any_bool(),
    )
        .prop_map(|(patterns, unless, needs, enforced)| Sketch {
            patterns,
            unless,
            needs,
            enforced,
        });
    prop::collection::vec(rule, 1..5)
}

fn any_bool() -> impl Strategy<Value = bool> {
    prop::bool::ANY
}

/// Pieces of a text, cut at characters as `cuts` says.
fn pieces<'t>(text: &'t str, cuts: &[usize]) -> Vec<&'t str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    for &cut in cuts.iter().cycle().take(text.len() + 1) {
        let at = rest.char_indices().nth(cut).map_or(rest.len(), |(at, _)| at);
        let (piece, later) = rest.split_at(at);
        pieces.push(piece);
        rest = later;
    }
    pieces.push(rest);
    pieces
}

/// Literals that are made of few letters, so that chance spells them.
const HIDDEN: [&str; 6] = ["boba", "zalo", "lila boz", "baobab", "oblozi", "炸弹"];

/// What disguised texts are made of.
const DISGUISED: [&str; 45] = [
    "b",
    "o",
    "a",
    "z",
    "l",
    "i",
    " ",
    ".",
    "-",
    "\n",
    "1",
    "0",
    "4",
    "@",
    "!",
    "8",
    "&#98;",
    "%61",
    "\\u006f",
    "&",
    "%",
    "\u{200b}",
    "о",
    "А",
    "В",
    "炸",
    "弹",
    "boba",
    "b0b",
    "zal",
    "lila",
    "boz",
    "bao",
    "bab",
    "izolbo",
    "boybmv",
    "b o b a",
    "ooo",
    "aaa",
    "ь",
    ", ",
    "🙂",
    "Ym9iYQ==",
    "62 6f 62 61",
    "emFs",
];

/// Reads a text in pieces: the findings are those of the whole text, and none begins below a watermark.
fn reads_alike_in_pieces(
    watch: &Arc<Watch>,
    text: &str,
    cuts: &[usize],
) -> Result<(), TestCaseError> {
    let expected = matches(watch, text);
    let mut matcher = StreamMatcher::new(watch);
    let mut found = Vec::new();
    let mut marks = Vec::new();
    let mut read = 0;
    for piece in pieces(text, cuts) {
        matcher.push(piece, &mut found);
        read += piece.len() as u64;
        let mark = matcher.watermark();
        prop_assert!(mark <= read);
        marks.push((found.len(), mark));
    }
    let chars = text.chars().count() as u64;
    prop_assert_eq!((matcher.read_bytes(), matcher.read_chars()), (read, chars));
    matcher.finish(&mut found);
    prop_assert_eq!(matcher.watermark(), read);
    prop_assert_eq!(&found, &expected);
    for (reported, mark) in marks {
        for later in &found[reported..] {
            let rule = watch.rules().rule(later.rule).unwrap();
            let enforced = rule.severity == Severity::High;
            prop_assert!(!enforced || later.start >= mark, "{later:?} below {mark}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn matches_are_those_of_the_oracle(
        sketches in sketches(),
        text in texts(),
        rare in prop::sample::select(vec![1_usize, 3, 9]),
    ) {
        let rules = compile_with(&sketches, rare);
        prop_assert_eq!(matches(&watch(&rules), &text), Whole::new(&text).matches(&sketches));
    }

    #[test]
    fn no_cut_matters_and_no_match_starts_below_a_watermark(
        sketches in sketches(),
        text in texts(),
        cuts in prop::collection::vec(0_usize..4, 1..6),
        rare in prop::sample::select(vec![1_usize, 3, 9]),
    ) {
        let rules = compile_with(&sketches, rare);
        for cuts in [cuts.as_slice(), &[1]] {
            reads_alike_in_pieces(&watch(&rules), &text, cuts)?;
        }
    }

    #[test]
    fn no_cut_matters_to_what_is_disguised_either(
        parts in prop::collection::vec(prop::sample::select(DISGUISED.to_vec()), 0..40),
        enforced in prop::collection::vec(any_bool(), HIDDEN.len()),
        cuts in prop::collection::vec(0_usize..4, 1..6),
    ) {
        let sketches: Vec<Sketch> = HIDDEN
            .iter()
            .zip(enforced)
            .map(|(text, enforced)| Sketch { enforced, ..any(vec![literal(text, Edges::Word)]) })
            .collect();
        let rules = compile(&sketches);
        for cuts in [cuts.as_slice(), &[1]] {
            reads_alike_in_pieces(&keen_watch(&rules), &parts.concat(), cuts)?;
        }
    }

    #[test]
    fn what_is_held_could_become_an_enforced_match(
        patterns in prop::collection::vec(prop_oneof![literals(), exact_regexes()], 1..5),
        text in texts(),
        rare in prop::sample::select(vec![1_usize, 3, 9]),
    ) {
        let sketches: Vec<Sketch> = patterns.iter().map(|pattern| any(vec![pattern.clone()])).collect();
        let watch = watch(&compile_with(&sketches, rare));
        let expected = matches(&watch, &text);
        let mut matcher = StreamMatcher::new(&watch);
        let mut found = Vec::new();
        for (at, c) in text.char_indices() {
            matcher.push(c.encode_utf8(&mut [0; 4]), &mut found);
            let read = at + c.len_utf8();
            let whole = Whole::new(&text[..read]);
            let live = patterns.iter().map(|pattern| whole.live(pattern)).max().unwrap_or(0);
            let live_from = whole.text.len() - live;
            let mut mark = whole
                .chars
                .iter()
                .find(|(folded, ..)| *folded == live_from)
                .map_or(read as u64, |&(_, start, ..)| start);
            for (later, _) in expected[found.len()..].iter().zip(0..) {
                if later.start < read as u64 {
                    mark = mark.min(later.start);
                }
            }
            prop_assert_eq!(matcher.watermark(), mark, "after {:?}", &text[..read]);
        }
    }
}

// === examples ===

#[test]
fn literals_stand_alone_as_words() {
    let rules =
        [any(vec![literal("bomb", Edges::Word)]), any(vec![literal("bomb", Edges::Anywhere)])];
    assert_eq!(matched(&rules, "A Bomb."), [(0, "Bomb"), (1, "Bomb")]);
    assert_eq!(matched(&rules, "bombs_ abomb"), [(1, "bomb"), (1, "bomb")]);
    assert_eq!(matched(&rules, "bomb"), [(0, "bomb"), (1, "bomb")]);
    assert_eq!(matched(&rules, "用bomb炸"), [(0, "bomb"), (1, "bomb")]);
}

#[test]
fn edges_that_are_no_letters_are_not_anchored() {
    let rules = [any(vec![literal("--force", Edges::Word), literal("c++", Edges::Word)])];
    assert_eq!(matched(&rules, "x--force y--forced c++11 ac++"), [(0, "--force"), (0, "c++")]);
    assert_eq!(matched(&[any(vec![literal("炸弹", Edges::Word)])], "制造炸弹的"), [(0, "炸弹")]);
}

#[test]
fn spans_cover_what_folding_dropped_or_spread() {
    let rules = [any(vec![literal("fire strasse", Edges::Word)])];
    assert_eq!(matched(&rules, "x ﬁ\u{200B}re straße\u{200B} y"), [(0, "ﬁ\u{200B}re straße")]);
}

#[test]
fn an_exception_excuses_what_it_overlaps() {
    let mut rule = any(vec![literal("falcon", Edges::Word)]);
    rule.unless = vec![literal("falcon heavy", Edges::Word), regex("peregrine.{0,9}falcon", None)];
    let rules = [rule];
    assert_eq!(matched(&rules, "falcon heavy, peregrine red falcon"), []);
    assert_eq!(matched(&rules, "falcon heavily"), [(0, "falcon")]);
    assert_eq!(matched(&rules, "falcon"), [(0, "falcon")]);
}

#[test]
fn a_candidate_waits_for_its_exception() {
    let mut rule = any(vec![literal("falcon", Edges::Word)]);
    rule.unless = vec![literal("falcon heavy", Edges::Word)];
    let watch = watch(&compile(&[rule]));
    let mut matcher = StreamMatcher::new(&watch);
    let mut found = Vec::new();
    matcher.push("the falcon hea", &mut found);
    assert_eq!((matcher.watermark(), found.len()), (4, 0));
    let mut other = matcher.clone();
    matcher.push("vy ", &mut found);
    assert_eq!((matcher.watermark(), found.len()), (17, 0));
    other.push("rd", &mut found);
    assert_eq!((other.watermark(), found.len()), (16, 1));
}

#[test]
fn near_words_match_from_the_first_to_the_last() {
    let rules = [any(vec![near(&["acid", "bath"], 20)])];
    assert_eq!(matched(&rules, "an acid in the bath"), [(0, "acid in the bath")]);
    assert_eq!(matched(&rules, "bath, then acid"), [(0, "bath, then acid")]);
    assert_eq!(matched(&rules, "acid and much, much later a bath"), []);
    assert_eq!(matched(&rules, "acids in the bath"), []);
}

#[test]
fn near_holds_from_the_first_word_until_it_is_out_of_reach() {
    let watch = watch(&compile(&[any(vec![near(&["acid", "bath"], 12)])]));
    let mut matcher = StreamMatcher::new(&watch);
    let mut found = Vec::new();
    matcher.push("an acid in ", &mut found);
    assert_eq!(matcher.watermark(), 3);
    matcher.push("the room ", &mut found);
    assert_eq!(matcher.watermark(), matcher.read_bytes());
}

#[test]
fn all_is_reported_at_the_pattern_that_completes_it() {
    let mut rule = any(vec![literal("acid", Edges::Word), regex("bath(room)?", None)]);
    rule.needs = Needs::All;
    assert_eq!(matched(&[rule.clone()], "acid, and a bathroom. acid"), [(0, "bath")]);
    assert_eq!(matched(&[rule.clone()], "bath and acid"), [(0, "acid")]);
    assert_eq!(matched(&[rule], "acid acid"), []);
}

#[test]
fn what_stands_in_a_head_is_let_go() {
    let key = any(vec![headed("(?-u:\\b)sk-[a-z0-9]{6,9}(?-u:\\b)", None, 3)]);
    assert_eq!(matched(std::slice::from_ref(&key), "the sk-12ab34cd key"), [(0, "12ab34cd")]);
    let mut matcher = StreamMatcher::new(&watch(&compile(&[key])));
    let mut found = Vec::new();
    for (piece, held) in [("s", 0), ("k", 0), ("-", 0), ("1", 1), ("2ab", 4), ("!", 0)] {
        matcher.push(piece, &mut found);
        assert_eq!(matcher.read_bytes() - matcher.watermark(), held, "after {piece:?}");
    }
    // An exception has to overlap what is left of the match.
    let excused = |by: &str| {
        let unless = vec![literal(by, Edges::Anywhere)];
        Sketch { unless, ..any(vec![headed("acid[0-9]{3}", None, 4)]) }
    };
    assert_eq!(matched(&[excused("acid"), excused("d1")], "acid123"), [(0, "123")]);
}

#[test]
fn a_run_is_one_match_and_a_longer_one_goes_on_where_it_ended() {
    let rules = [any(vec![regex("[0-9]{3,9}", None)])];
    assert_eq!(matched(&rules, "x 12345 y"), [(0, "12345")]);
    assert_eq!(
        matched(&rules, "12345678901234567890"),
        [(0, "123456789"), (0, "012345678"), (0, "90")]
    );
    let bounded = [any(vec![regex("ab*c", Some(4))])];
    assert_eq!(matched(&bounded, "abbbbbbbc"), [(0, "bbbc")]);
}

/// Digits and separators, often a card's number.
fn card_texts() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        "4111",
        "1111",
        "4111 1111 1111 1111",
        "4242-4242-4242-4242",
        " ",
        "-",
        "x",
        "4",
        "12",
        "１",
        "\u{200B}",
        "card ",
        "漢",
    ]);
    prop::collection::vec(parts, 0..9).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_validator_judges_the_same_span_however_the_text_was_cut(
        text in card_texts(),
        cuts in prop::collection::vec(0_usize..6, 1..6),
        filler in 0_usize..3,
    ) {
        let sketches = [any(vec![card_number()])];
        // What was read long ago is kept no longer, and blocks end somewhere.
        let text = format!("{}{text}", "so it is ".repeat(120 * filler));
        let watch = watch(&compile(&sketches));
        let expected = matches(&watch, &text);
        let mut matcher = StreamMatcher::new(&watch);
        let mut found = Vec::new();
        for piece in pieces(&text, &cuts) {
            matcher.push(piece, &mut found);
        }
        matcher.finish(&mut found);
        prop_assert_eq!(&found, &expected);
        // The oracle takes its time.
        if filler == 0 {
            prop_assert_eq!(found, Whole::new(&text).matches(&sketches));
        }
    }
}

fn card_number() -> PatternSpec {
    let source = "(?-u:\\b)[0-9]{4}(?:[ -]?[0-9]{2,4}){2,4}(?-u:\\b)";
    let pattern = patterns::parse(source, None).unwrap();
    let checks = Checks { validator: Some(Validator::Luhn), ..Checks::default() };
    PatternSpec::Regex(patterns::Pattern { checks, ..pattern })
}

#[test]
fn a_match_that_its_validator_refuses_is_none() {
    let rules = [any(vec![card_number()])];
    assert_eq!(matched(&rules, "pay 4111 1111 1111 1111 now"), [(0, "4111 1111 1111 1111")]);
    assert_eq!(matched(&rules, "pay 4111 1111 1111 1112 now"), []);
    assert_eq!(matched(&rules, "4111-1111-1111-1111"), [(0, "4111-1111-1111-1111")]);
    // A refused one is held no longer than any other.
    let watch = watch(&compile(&rules));
    let mut matcher = StreamMatcher::new(&watch);
    let mut found = Vec::new();
    matcher.push("pay 4111 1111 1111 1112", &mut found);
    assert_eq!(matcher.watermark(), 4);
    matcher.push(", then", &mut found);
    assert_eq!((matcher.watermark(), found.len()), (matcher.read_bytes(), 0));
}

#[test]
fn what_is_not_enforced_is_not_held() {
    let mut rule = any(vec![literal("bomb", Edges::Word), regex("acid.{0,30}bath", None)]);
    rule.enforced = false;
    let watch = watch(&compile(&[rule]));
    let mut matcher = StreamMatcher::new(&watch);
    let mut found = Vec::new();
    for piece in ["a bo", "mb and acid", " in the ba"] {
        matcher.push(piece, &mut found);
        assert_eq!(matcher.watermark(), matcher.read_bytes());
    }
    assert_eq!(found.len(), 1);
}

#[test]
fn the_middle_of_a_word_is_not_held_for_what_begins_a_word() {
    let watch = watch(&compile(&[any(vec![regex("(?-u:\\b)how to .{0,40}bomb", None)])]));
    for (text, mark) in
        [("I show", 6), ("Show to", 7), ("how", 0), ("and how to ma", 4), ("яhow", 2)]
    {
        let mut matcher = StreamMatcher::new(&watch);
        matcher.push(text, &mut Vec::new());
        assert_eq!(matcher.watermark(), mark, "{text}");
    }
}

#[test]
fn what_is_kept_does_not_grow_with_the_text() {
    let rules = [any(vec![literal("bomb", Edges::Word), regex("acid.{0,30}bath", None)])];
    let watch = watch(&compile(&rules));
    let mut matcher = StreamMatcher::new(&watch);
    let mut found = Vec::new();
    for _ in 0..200 {
        matcher.push(&"aя acid bomb ".repeat(100), &mut found);
    }
    matcher.finish(&mut found);
    assert_eq!(found.len(), 200 * 100);
}

#[test]
fn disguised_literals_are_found() {
    let rules = ["zorblax", "quantum vortigon", "炸弹配方", "blenk"];
    for (text, found) in [
        ("a z o r b l a x b", "z o r b l a x"),
        ("a z.o.r.b.l.a.x b", "z.o.r.b.l.a.x"),
        ("z. o. r. b. l. a. x.", "z. o. r. b. l. a. x"),
        ("z-o-r-b-l-a-x", "z-o-r-b-l-a-x"),
        ("zor blax, so", "zor blax"),
        ("zor-blax", "zor-blax"),
        ("zor\nblax", "zor\nblax"),
        ("**zor**blax", "zor**blax"),
        ("z🙂o🙂r🙂b🙂l🙂a🙂x", "z🙂o🙂r🙂b🙂l🙂a🙂x"),
        ("z0rbl4x!", "z0rbl4x"),
        ("20rbl@x", "20rbl@x"),
        ("Z0RB|4X", "Z0RB|4X"),
        ("zоrblах", "zоrblах"),
        ("ZОRВLАХ", "ZОRВLАХ"),
        ("z о r b l а x", "z о r b l а x"),
        ("zooorblaaax", "zooorblaaax"),
        ("z\u{200b}o\u{200b}rblax", "z\u{200b}o\u{200b}rblax"),
        ("zorb&#108;ax", "zorb&#108;ax"),
        ("&#122;orblax", "#122;orblax"),
        ("&#x7a;&#x6f;&#x72;&#x62;&#x6c;&#x61;&#x78;", "#x7a;&#x6f;&#x72;&#x62;&#x6c;&#x61;&#x78;"),
        ("%7aorblax", "7aorblax"),
        ("\\u007aorblax", "u007aorblax"),
        ("quantumvortigon", "quantumvortigon"),
        ("quantum  vortigon", "quantum  vortigon"),
        ("quantum\nvortigon", "quantum\nvortigon"),
        ("quantum_vortigon", "quantum_vortigon"),
        ("qu4ntum v0rtig0n", "qu4ntum v0rtig0n"),
        ("quantum%20vortigon", "quantum%20vortigon"),
        ("炸 弹 配 方", "炸 弹 配 方"),
        ("炸-弹-配方", "炸-弹-配方"),
        ("b l e n k", "b l e n k"),
        ("b|enk", "b|enk"),
    ] {
        assert_eq!(unmasked(&rules, text), [found], "{text}");
    }
    for text in [
        "em9yYmxheA==",
        "say em9yYmxheA==.",
        "d2UgbmVlZCB6b3JibGF4IG5vdw==",
        "d2UgbmVlZCB6b3JibGF4IG5vdw",
        "data:text/plain;base64,d2UgbmVlZCB6b3JibGF4IG5vdw==",
        "7a6f72626c6178",
        "7a 6f 72 62 6c 61 78",
        "0x7a 0x6f 0x72 0x62 0x6c 0x61 0x78",
        "0x7a, 0x6f, 0x72, 0x62, 0x6c, 0x61, 0x78",
        "\\x7a\\x6f\\x72\\x62\\x6c\\x61\\x78",
        "7a:6f:72:62:6c:61:78",
        "54K45by56YWN5pa5",
    ] {
        assert_eq!(unmasked(&rules, text).len(), 1, "{text}");
    }
    // Backwards and in rot13 the first letters may have gone.
    assert_eq!(unmasked(&rules, "so xalbroz is"), ["lbroz"]);
    assert_eq!(unmasked(&rules, "so mbeoynk is"), ["eoynk"]);
}

#[test]
fn what_only_resembles_a_literal_is_left_alone() {
    let rules = ["zorblax", "quantum vortigon", "blenk", "make a bomb", "loser", "stan"];
    for text in [
        "zor. Blax",
        "zor, blax",
        "zor\n\nblax",
        "quantum. Vortigon",
        "azorblax",
        "zorblaxes",
        "20 or blaxer",
        "ble nk",
        "we make. A bomb",
        "looser",
        "2078147",
        "zorb is not lax",
        "$\\tan x",
    ] {
        assert_eq!(unmasked(&rules, text), [] as [&str; 0], "{text}");
    }
    // What is written plainly is found once.
    assert_eq!(unmasked(&rules, "a zorblax, a quantum vortigon"), ["zorblax", "quantum vortigon"]);
}

/// The page about bypasses says of each what the engine does.
#[test]
fn the_page_about_bypasses_is_right() {
    let page = include_str!("../../docs/bypasses.md");
    let rules = ["zorblax", "quantum vortigon", "炸弹配方"];
    let mut rows = 0;
    for line in page.lines() {
        let cells: Vec<&str> = line.split(" | ").collect();
        let [_, example, state] = cells[..] else { continue };
        let Some(example) = example.strip_prefix('`').and_then(|rest| rest.strip_suffix('`'))
        else {
            continue;
        };
        let mut text = String::new();
        let mut rest = example;
        while let Some((before, after)) = rest.split_once("\\u{") {
            let (code, after) = after.split_once('}').unwrap();
            text.push_str(before);
            text.push(u32::from_str_radix(code, 16).ok().and_then(char::from_u32).unwrap());
            rest = after;
        }
        text.push_str(rest);
        let closed = state.starts_with("closed");
        assert_eq!(!unmasked(&rules, &text).is_empty(), closed, "{line}");
        rows += 1;
    }
    assert!(rows > 50, "{rows}");
}
