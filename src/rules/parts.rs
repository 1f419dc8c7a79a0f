//! The automata that a watch runs, one by one: what each takes, and a way to run it alone.
//!
//! What is measured here is told by `thinkgate rules bench`; the core itself has no clock.

use aho_corasick::automaton::Automaton;

use super::automata::{Closure, Group, Whole};
use super::compile::Search;
use super::literals::Literals;
use super::{RuleSet, Watch};

/// One of a watch's automata.
#[derive(Clone, Copy, Debug)]
pub struct Part<'w> {
    automaton: Which<'w>,
    rules: &'w RuleSet,
    /// The number among those of its kind, from 1.
    number: usize,
    /// Folded bytes that a closure may have to look back on.
    reach: usize,
}

#[derive(Clone, Copy, Debug)]
enum Which<'w> {
    Literals(&'w Literals),
    Group(&'w Group),
    Enforced(&'w Closure),
    Exceptions(&'w Closure),
}

/// What a set's automata take, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Footprint {
    /// The literals' automaton and its tables.
    pub literals: usize,
    /// The same literals, to be seen through disguises.
    pub disguises: usize,
    /// The automata of regexes that are read along.
    pub groups: usize,
    /// The automata that run from where a literal stands, or back from where a match ends.
    pub single: usize,
}

// === impl Footprint ===

impl Footprint {
    /// All of it.
    #[must_use]
    pub const fn total(self) -> usize {
        self.literals + self.disguises + self.groups + self.single
    }
}

// === impl RuleSet ===

impl RuleSet {
    /// What the set's automata take.
    #[must_use]
    pub fn footprint(&self) -> Footprint {
        let single = |search: &Search| match search {
            Search::Grouped(starts) | Search::FromLast(starts) => starts.memory(),
            Search::FromFirst(ends) => ends.memory(),
        };
        Footprint {
            literals: self.literals.memory(),
            disguises: self.loose.memory(),
            groups: self.groups.iter().map(Group::memory).sum(),
            single: self.regexes.iter().map(|regex| single(&regex.search)).sum(),
        }
    }
}

// === impl Watch ===

impl Watch {
    /// The automata that every text runs through, and those that tell how much of it is held.
    #[must_use]
    pub fn parts(&self) -> Vec<Part<'_>> {
        let rules = self.rules().as_ref();
        let groups = self.groups.iter().filter_map(|&group| rules.groups.get(group));
        let [enforced, exceptions] = self.closures();
        let numbered = |number: usize, automaton| Part {
            automaton,
            rules,
            number: number + 1,
            reach: self.tail_reach,
        };
        std::iter::once(numbered(0, Which::Literals(&rules.literals)))
            .chain(groups.enumerate().map(|(n, group)| numbered(n, Which::Group(group))))
            .chain(enforced.iter().enumerate().map(|(n, one)| numbered(n, Which::Enforced(one))))
            .chain(
                exceptions.iter().enumerate().map(|(n, one)| numbered(n, Which::Exceptions(one))),
            )
            .collect()
    }
}

// === impl Part ===

impl Part<'_> {
    /// What it is.
    #[must_use]
    pub fn name(&self) -> String {
        let number = self.number;
        match self.automaton {
            Which::Literals(_) => "literals".to_owned(),
            Which::Group(group) => format!("group {number} of {} regexes", group.members().len()),
            Which::Enforced(_) => format!("held text, closure {number}"),
            Which::Exceptions(_) => format!("exceptions, closure {number}"),
        }
    }

    /// What it takes, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        match self.automaton {
            Which::Literals(literals) => literals.memory(),
            Which::Group(group) => group.memory(),
            Which::Enforced(closure) | Which::Exceptions(closure) => closure.memory(),
        }
    }

    /// The ids of the rules whose regexes it has; none where it does not know.
    #[must_use]
    pub fn rules(&self) -> Vec<&str> {
        let Which::Group(group) = self.automaton else { return Vec::new() };
        let mut ids: Vec<&str> = group
            .members()
            .iter()
            .filter_map(|&member| self.rules.regexes.get(member as usize))
            .filter_map(|regex| self.rules.rules().get(regex.rule as usize))
            .map(|rule| rule.id.as_str())
            .collect();
        ids.dedup();
        ids
    }

    /// Runs it over a folded text that comes in pieces of `step` bytes; gives what it found, so that the work is
    /// not left out.
    #[must_use]
    pub fn run(&self, folded: &[u8], step: usize) -> u64 {
        let step = step.max(1);
        let mut found = 0;
        match self.automaton {
            Which::Literals(literals) => {
                let mut state = literals.start();
                for &byte in folded {
                    state = literals.next(state, byte);
                    found += u64::from(literals.is_match(state));
                }
            }
            Which::Group(group) => {
                let mut state = group.start();
                for piece in folded.chunks(step) {
                    state = group.read(state, piece, |_, _| found += 1);
                }
            }
            Which::Enforced(closure) | Which::Exceptions(closure) => {
                for end in (step..=folded.len()).step_by(step) {
                    let tail = folded.get(end.saturating_sub(self.reach + 1)..end);
                    let tail = tail.unwrap_or_default();
                    let whole = if tail.len() == end { Whole::Yes } else { Whole::No };
                    found += closure.live(tail, whole) as u64;
                }
            }
        }
        found
    }
}

// === impl Literals ===

impl Literals {
    /// What the automaton and its tables take, in bytes.
    fn memory(&self) -> usize {
        self.automaton().memory_usage() + self.tables()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::rules::{Pack, Severity};

    /// Rules of a file of literals, and of regexes without a literal that is rare.
    pub(super) fn generated(literals: usize, regexes: usize) -> Result<RuleSet, String> {
        use std::fmt::Write;
        let mut yaml =
            "pack: large\nversion: 1\nrules:\n- id: words\n  category: cbrn\n  severity: \
                        high\n  any: [{literals_file: words}]\n"
                .to_owned();
        for number in 0..regexes {
            let name: String = format!("{number:04}").chars().map(letter).collect();
            writeln!(
                yaml,
                "- id: shape.{number}\n  category: secrets\n  severity: high\n  any: \
                 [{{regex: '(?-u:\\b){name}[a-z]?_[0-9]{{2,8}}[a-f]{{0,4}}(?-u:\\b)'}}]"
            )
            .map_err(|error| error.to_string())?;
        }
        let words: Vec<String> = (0..literals)
            .map(|number| {
                let name: String =
                    format!("{:07}", number * 7919 % 9_999_991).chars().map(letter).collect();
                format!("{name} {}", number % 97)
            })
            .collect();
        let told = |errors: Vec<crate::rules::PackError>| {
            errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        let pack = Pack::parse("large.yaml", &yaml, &|_| Ok(words.join("\n"))).map_err(told)?;
        RuleSet::compile(vec![pack]).map_err(told)
    }

    fn letter(digit: char) -> char {
        char::from(b'a' + u8::try_from(digit).unwrap_or(b'0') % 26)
    }

    fn check(literals: usize, regexes: usize) {
        let rules = Arc::new(generated(literals, regexes).unwrap());
        assert_eq!(rules.rules().len(), regexes + 1);
        assert_eq!(rules.shapes[0].patterns.len(), literals);
        let footprint = rules.footprint();
        assert!(footprint.total() > 0 && footprint.total() < 512 << 20, "{footprint:?}");
        let watch = Watch::new(&rules, &|_| true, &|rule| rule.severity == Severity::High);
        let text = b"a word, an abcd_12, and again a word ".repeat(20);
        for part in watch.parts() {
            assert_eq!(part.run(&text, 4), part.run(&text, 4));
            assert!(part.memory() > 0 || part.name().contains("closure"), "{}", part.name());
        }
    }

    #[test]
    fn a_pack_of_100_000_literals_and_1_000_regexes_is_compiled() {
        check(100_000, 1_000);
    }

    #[test]
    fn errors_of_a_large_file_are_all_told() {
        let words: Vec<&str> = ["fine", "\u{200B}"].into_iter().cycle().take(20_000).collect();
        let yaml =
            "pack: a\nversion: 1\nrules: [{id: a, kind: refusal, any: [{literals_file: words}]}]";
        let errors = Pack::parse("a", yaml, &|_| Ok(words.join("\n"))).unwrap_err();
        assert_eq!(errors.len(), 10_000);
    }
}
