//! Every rule's own examples, tried.

use std::fmt;
use std::sync::Arc;

use super::{Rule, RuleIndex, RuleSet, StreamMatcher, Watch};

/// An example that did not do what its rule says. It is named, not quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExampleFailure {
    /// The rule's id.
    pub rule: String,
    /// The rule's pack.
    pub pack: String,
    /// Which of the rule's examples of this kind, from 0.
    pub example: usize,
    /// What was expected.
    pub expected: Expected,
    /// Whether the other rules were there.
    pub company: Company,
}

/// What an example expects of its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// That it matches.
    Match,
    /// That it does not match.
    Pass,
}

/// Which rules an example was tried with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// Its own rule only.
    Alone,
    /// All rules of the set.
    AllRules,
}

/// Tries every example of every rule, by itself and among all rules, and gives those that failed.
#[must_use]
pub fn check(rules: &Arc<RuleSet>) -> Vec<ExampleFailure> {
    let together = Arc::new(Watch::new(rules, &|_| true, &|_| false));
    let mut failures = Vec::new();
    for (index, rule) in (0..).map(RuleIndex).zip(rules.rules()) {
        let examples = &rule.examples;
        if examples.matches.is_empty() && examples.passes.is_empty() {
            continue;
        }
        let alone = Arc::new(Watch::new(rules, &|other: &Rule| other.id == rule.id, &|_| false));
        for (watch, company) in [(&alone, Company::Alone), (&together, Company::AllRules)] {
            for (texts, expected) in
                [(&examples.matches, Expected::Match), (&examples.passes, Expected::Pass)]
            {
                for (example, text) in texts.iter().enumerate() {
                    if matches(watch, index, text) != (expected == Expected::Match) {
                        failures.push(ExampleFailure {
                            rule: rule.id.clone(),
                            pack: rule.pack.clone(),
                            example,
                            expected,
                            company,
                        });
                    }
                }
            }
        }
    }
    failures
}

/// Whether a rule matches a whole text.
pub(super) fn matches(watch: &Arc<Watch>, rule: RuleIndex, text: &str) -> bool {
    let mut matcher = StreamMatcher::new(watch);
    let mut found = Vec::new();
    matcher.push(text, &mut found);
    matcher.finish(&mut found);
    found.iter().any(|found| found.rule == rule)
}

// === impl ExampleFailure ===

impl fmt::Display for ExampleFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, pack, example, expected, company } = self;
        let (list, outcome) = match expected {
            Expected::Match => ("match", "is not matched"),
            Expected::Pass => ("pass", "is matched"),
        };
        let company = match company {
            Company::Alone => "",
            Company::AllRules => " among all rules",
        };
        write!(f, "{pack}: rule {rule}: {list} example {} {outcome}{company}", example + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Pack;

    #[test]
    fn failures_name_the_example() {
        let yaml = "
pack: acme
version: 1
rules:
  - id: acme.bird
    category: secrets
    severity: low
    any: [{literal: falcon}]
    unless: [{literal: falcon heavy}]
    examples:
      match: [a falcon flies, a falcons nest]
      pass: [the falcon heavy rocket, FALCON, gyrfalcon]
";
        let pack = Pack::parse("acme.yaml", yaml, &|_| Err(String::new())).unwrap();
        let rules = Arc::new(RuleSet::compile(vec![pack]).unwrap());
        let failures: Vec<String> = check(&rules).iter().map(ToString::to_string).collect();
        assert_eq!(
            failures,
            [
                "acme: rule acme.bird: match example 2 is not matched",
                "acme: rule acme.bird: pass example 2 is matched",
                "acme: rule acme.bird: match example 2 is not matched among all rules",
                "acme: rule acme.bird: pass example 2 is matched among all rules",
            ]
        );
    }
}
