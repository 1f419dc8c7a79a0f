//! What a trace's outcome asks for, over what its findings ask for themselves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Verdict;
use crate::trace::Outcome;

/// What is done about an outcome, in enforce mode.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
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
pub enum OutcomeAction {
    /// It is recorded, as every outcome is.
    #[default]
    Off,
    /// The exchange's verdict is `flag` at least.
    Flag,
    /// The rest of the thinking is not delivered, and what blocks in it ends nothing.
    Hide,
    /// The exchange ends.
    Block,
}

/// What is done about outcomes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    actions: BTreeMap<Outcome, OutcomeAction>,
    /// Whether callers are told the outcome, in enforce mode.
    pub tell: bool,
}

/// An outcome cannot have this action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImpossibleAction {
    /// By the time the outcome is known, everything has left.
    #[error("it is known only when the answer has ended, and has left: expected off or flag")]
    KnownTooLate,
    /// There is no unsafe thinking to be hidden, or hiding it would leave what is worse.
    #[error("only leaky_thinking can be hidden: expected off, flag or block")]
    NothingToHide,
}

// === impl OutcomeAction ===

impl OutcomeAction {
    /// The action's name in configuration, metrics and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Flag => "flag",
            Self::Hide => "hide",
            Self::Block => "block",
        }
    }

    /// The least verdict of an exchange with such an outcome.
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::Off => Verdict::Pass,
            Self::Flag | Self::Hide => Verdict::Flag,
            Self::Block => Verdict::Block,
        }
    }

    /// Whether something is done while the exchange goes on.
    #[must_use]
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Hide | Self::Block)
    }
}

// === impl Outcomes ===

impl Outcomes {
    /// Sets what is done about an outcome.
    pub fn set(&mut self, outcome: Outcome, action: OutcomeAction) -> Result<(), ImpossibleAction> {
        let known_in_time =
            matches!(outcome, Outcome::SelfJailbreak | Outcome::Unsafe | Outcome::LeakyThinking);
        match action {
            OutcomeAction::Hide | OutcomeAction::Block if !known_in_time => {
                return Err(ImpossibleAction::KnownTooLate);
            }
            OutcomeAction::Hide if outcome != Outcome::LeakyThinking => {
                return Err(ImpossibleAction::NothingToHide);
            }
            _ => {}
        }
        self.actions.insert(outcome, action);
        Ok(())
    }

    /// What is done about an outcome.
    #[must_use]
    pub fn action(&self, outcome: Outcome) -> OutcomeAction {
        self.actions.get(&outcome).copied().unwrap_or_default()
    }

    /// Whether some outcome changes what the client gets.
    #[must_use]
    pub fn act(&self) -> bool {
        self.actions.values().any(|action| action.is_live())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_cannot_be_done_in_time() {
        let set = |outcome, action| Outcomes::default().set(outcome, action);
        for outcome in Outcome::ALL {
            assert_eq!(set(outcome, OutcomeAction::Flag), Ok(()));
            let blocks = set(outcome, OutcomeAction::Block).is_ok();
            let hides = set(outcome, OutcomeAction::Hide).is_ok();
            let (expected_block, expected_hide) = match outcome {
                Outcome::LeakyThinking => (true, true),
                Outcome::SelfJailbreak | Outcome::Unsafe => (true, false),
                _ => (false, false),
            };
            assert_eq!((blocks, hides), (expected_block, expected_hide), "{outcome:?}");
        }
        assert_eq!(
            set(Outcome::Superficial, OutcomeAction::Hide),
            Err(ImpossibleAction::KnownTooLate)
        );
        assert_eq!(set(Outcome::Unsafe, OutcomeAction::Hide), Err(ImpossibleAction::NothingToHide));
    }

    #[test]
    fn flagging_changes_nothing_that_a_client_gets() {
        let mut outcomes = Outcomes::default();
        assert!(!outcomes.act());
        outcomes.set(Outcome::Superficial, OutcomeAction::Flag).unwrap();
        assert!(!outcomes.act());
        outcomes.set(Outcome::LeakyThinking, OutcomeAction::Hide).unwrap();
        assert!(outcomes.act());
        assert_eq!(outcomes.action(Outcome::Unsafe), OutcomeAction::Off);
    }
}
