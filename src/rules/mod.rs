//! Rule packs: what is looked for in folded text.
//!
//! In: packs ([`PackSource`]), then a channel's text as it arrives. Out: matches at offsets of the original
//! text, the same for every cut of it, and a watermark below which no enforced match can start any more.
//!
//! | module | does |
//! |---|---|
//! | [`pack`], `pack_reader`, `override_reader` | YAML → [`Pack`], or every broken rule with its place |
//! | [`compile`] | packs → [`RuleSet`], the automata that all texts share |
//! | [`watch`] | which rules watch a text, and which of them may redact or block there |
//! | [`schema`] | the packs' JSON Schema, for editors |
//! | [`stream_matcher`] | the state carried along one text |
//! | [`validators`] | check digits and randomness of what a regex has matched |
//! | [`mod@examples`], [`mod@lint`] | what `thinkgate rules test` says of a set |
//! | [`mod@explain`] | why one rule matches a text, or does not |
//! | [`parts`] | the automata one by one, to be measured |
//! | [`builtin`] | the packs inside the binary |

use serde::{Deserialize, Serialize};

mod automata;
pub mod builtin;
mod by_pattern;
pub mod compile;
mod encoded;
mod escape;
pub mod examples;
pub mod explain;
pub mod lint;
mod literals;
mod loose;
mod override_reader;
mod overrides;
pub mod pack;
mod pack_reader;
pub mod parts;
mod patterns;
mod place;
pub mod schema;
pub mod stream_matcher;
mod trie;
pub mod validators;
pub mod watch;
mod yaml;

#[cfg(test)]
mod tests;

pub use compile::{Rule, RuleIndex, RuleSet};
pub use lint::{Level, LintNote, everyday_text, lint};
pub use pack::{Examples, Pack, PackError, PackSource};
pub use stream_matcher::{RuleMatch, StreamMatcher};
pub use validators::Validator;
pub use watch::Watch;

/// A kind of harm. The set is closed: reports and metrics of every deployment can be compared.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Insults, hate and prejudice.
    OffensePrejudice,
    /// Drugs, weapons and other goods that law restricts.
    RegulatedItems,
    /// Theft, fraud, piracy.
    PropertyInfringement,
    /// Personal data and secrets of others.
    PrivacyConfidentiality,
    /// Harm to body or mind, self-harm included.
    PhysicalMentalHealth,
    /// Violence and terrorism.
    ViolenceTerrorism,
    /// Conduct against common morality, adult sexual content included.
    EthicsMorality,
    /// Misinformation.
    Rumors,
    /// Harm to children.
    ChildSafety,
    /// Attacks on computers and networks.
    Cybercrime,
    /// Chemical, biological, radiological and nuclear weapons.
    Cbrn,
    /// Instructions planted in data that the model reads.
    PromptInjection,
    /// Attempts to talk the model out of its rules.
    Jailbreak,
    /// Credentials and keys.
    Secrets,
}

/// How grave a rule's match is.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Noted, without a verdict.
    Info,
    /// Flagged by default.
    Low,
    /// Flagged by default.
    Medium,
    /// Blocked by default.
    High,
    /// Blocked by default.
    Critical,
}

/// What a rule's match says about a text.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The text is harmful. The only kind that can flag, redact or block.
    #[default]
    Risk,
    /// The model recognises a risk, cites a rule, or decides to stay safe.
    SafetyThinking,
    /// The model noticed a risk and talks itself past it.
    Rationalisation,
    /// The model refuses.
    Refusal,
}

/// What a rule asks for when it matches, in place of its severity's default.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RuleAction {
    /// A finding without a verdict.
    None,
    /// Noted for people to look at.
    Flag,
    /// The span is masked.
    Redact,
    /// The exchange ends.
    Block,
}

// === impl Category ===

impl Category {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::OffensePrejudice,
        Self::RegulatedItems,
        Self::PropertyInfringement,
        Self::PrivacyConfidentiality,
        Self::PhysicalMentalHealth,
        Self::ViolenceTerrorism,
        Self::EthicsMorality,
        Self::Rumors,
        Self::ChildSafety,
        Self::Cybercrime,
        Self::Cbrn,
        Self::PromptInjection,
        Self::Jailbreak,
        Self::Secrets,
    ];

    /// Ways of attack, rather than kinds of harm.
    pub const ATTACKS: [Self; 2] = [Self::Jailbreak, Self::PromptInjection];

    /// Whether it is a way of attack.
    #[must_use]
    pub fn is_attack(self) -> bool {
        Self::ATTACKS.contains(&self)
    }

    /// The category's name in packs, configuration, metrics and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OffensePrejudice => "offense_prejudice",
            Self::RegulatedItems => "regulated_items",
            Self::PropertyInfringement => "property_infringement",
            Self::PrivacyConfidentiality => "privacy_confidentiality",
            Self::PhysicalMentalHealth => "physical_mental_health",
            Self::ViolenceTerrorism => "violence_terrorism",
            Self::EthicsMorality => "ethics_morality",
            Self::Rumors => "rumors",
            Self::ChildSafety => "child_safety",
            Self::Cybercrime => "cybercrime",
            Self::Cbrn => "cbrn",
            Self::PromptInjection => "prompt_injection",
            Self::Jailbreak => "jailbreak",
            Self::Secrets => "secrets",
        }
    }
}

// === impl Severity ===

impl Severity {
    /// The severity's name in packs, configuration, metrics and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}
