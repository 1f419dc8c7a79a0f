//! What a set's authors should know: rules that load, and yet do too much or too little.

use super::RuleSet;

/// One remark on a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LintNote {
    /// The rule's id.
    pub rule: String,
    /// The rule's pack.
    pub pack: String,
    /// The remark.
    pub note: String,
}

/// Looks over all rules of a set.
#[must_use]
pub fn lint(_rules: &RuleSet) -> Vec<LintNote> {
    Vec::new()
}
