//! Packs → [`RuleSet`]: the automata that all texts share.

use crate::channel::Channel;

use super::{Category, Examples, Kind, Pack, PackError, RuleAction, Severity};

/// A loaded rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Unique over all loaded packs.
    pub id: String,
    /// The name of the pack that it stands in.
    pub pack: String,
    /// What it is about, for people.
    pub description: String,
    /// What a match says about the text.
    pub kind: Kind,
    /// The kind of harm; rules of kind `risk` have one.
    pub category: Option<Category>,
    /// How grave a match is.
    pub severity: Severity,
    /// The channels it watches.
    pub channels: Vec<Channel>,
    /// What it asks for in place of its severity's default.
    pub action: Option<RuleAction>,
    /// What a match adds to a risk score, 0 to 1.
    pub weight: f64,
    /// Texts it must and must not match.
    pub examples: Examples,
    /// Where its authors learnt of it.
    pub references: Vec<String>,
}

/// A rule's place in its [`RuleSet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleIndex(pub u32);

/// All loaded rules, compiled.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
}

// === impl RuleSet ===

impl RuleSet {
    /// A set that matches nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Compiles packs together, or reports every rule that cannot be.
    pub fn compile(_packs: Vec<Pack>) -> Result<Self, Vec<PackError>> {
        Ok(Self::default())
    }

    /// The rules, in the order of the packs.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule that a match names.
    #[must_use]
    pub fn rule(&self, index: RuleIndex) -> Option<&Rule> {
        self.rules.get(index.0 as usize)
    }
}
