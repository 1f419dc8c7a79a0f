//! YAML → [`Pack`].

use std::path::PathBuf;

use crate::channel::Channel;

use super::{Category, Kind, RuleAction, Severity};

/// A pack's text and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackSource {
    /// A path, or `builtin:NAME`; errors name it.
    pub origin: String,
    /// The pack.
    pub yaml: String,
    /// Where its `literals_file` entries are looked up; the core itself reads no files.
    pub folder: Option<PathBuf>,
}

/// A pack whose every rule could be read. [`RuleSet::compile`](super::RuleSet::compile) takes it from here.
#[derive(Clone, Debug)]
pub struct Pack {
    /// The pack's name.
    pub name: String,
    /// The pack's version.
    pub version: String,
    /// Where it came from.
    pub origin: String,
    /// Its rules, in the order of the file.
    pub rules: Vec<RuleSpec>,
}

/// A rule as a pack states it.
#[derive(Clone, Debug)]
pub struct RuleSpec {
    /// Unique over all loaded packs.
    pub id: String,
    /// What it is about, for people.
    pub description: String,
    /// What a match says about the text.
    pub kind: Kind,
    /// The kind of harm; only rules of kind `risk` must have one.
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

/// Texts that `thinkgate rules test` tries on a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examples {
    /// Texts that the rule must match.
    pub matches: Vec<String>,
    /// Texts that the rule must not match.
    pub passes: Vec<String>,
}

/// Why a rule, or a whole pack, was refused. The source line is never shown: a pack may name secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.describe())]
pub struct PackError {
    /// The pack's path or name.
    pub origin: String,
    /// Line, from 1; 0 where unknown.
    pub line: u64,
    /// Column in characters, from 1; 0 where unknown.
    pub column: u64,
    /// The rule, where its id is known.
    pub rule: Option<String>,
    /// The key at fault.
    pub key: Option<String>,
    /// What is wrong with it.
    pub reason: String,
}

// === impl Pack ===

impl Pack {
    /// Reads a pack, or reports all of its broken rules.
    ///
    /// `literals` gives the contents of a file named by `literals_file`, or why it cannot.
    pub fn parse(
        origin: &str,
        _yaml: &str,
        _literals: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<Self, Vec<PackError>> {
        Ok(Self {
            name: origin.to_owned(),
            version: String::new(),
            origin: origin.to_owned(),
            rules: Vec::new(),
        })
    }
}

// === impl PackError ===

impl PackError {
    fn describe(&self) -> String {
        let mut text = format!("{}:{}:{}: ", self.origin, self.line, self.column);
        if let Some(rule) = &self.rule {
            text.push_str("rule ");
            text.push_str(rule);
            text.push_str(": ");
        }
        if let Some(key) = &self.key {
            text.push_str(key);
            text.push_str(": ");
        }
        text.push_str(&self.reason);
        text
    }
}
