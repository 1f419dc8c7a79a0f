//! When a blocked answer is asked for once more, and how.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use super::Steering;
use crate::channel::ThinkingStart;

/// When and how the model is asked again, in enforce mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskAgain {
    /// When it is.
    pub when: AskAgainWhen,
    /// How often at most, default once.
    pub attempts: u8,
    /// Until the new answer's first text, default 60 s.
    pub timeout: Duration,
    /// Bytes of a request that are kept for it, default 1 MiB; a larger one is not asked again.
    pub max_request_bytes: usize,
    /// Options with their values in JSON, over those of [`Steering`].
    pub parameters: BTreeMap<String, String>,
    /// How the new answer's content begins, where its options make that differ from the first answer's.
    pub thinking: Option<ThinkingStart>,
}

/// When the model is asked again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskAgainWhen {
    /// Never.
    #[default]
    Never,
    /// Where its thinking is blocked, and nothing of its answer was sent.
    BlockedThinking,
}

// === impl AskAgain ===

impl AskAgain {
    /// Whether it ever is.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.when != AskAgainWhen::Never
    }

    /// The options of the new request.
    #[must_use]
    pub fn parameters(&self, steering: &Steering) -> BTreeMap<String, String> {
        let mut parameters = steering.parameters.clone();
        parameters.extend(self.parameters.clone());
        parameters
    }
}

impl Default for AskAgain {
    fn default() -> Self {
        Self {
            when: AskAgainWhen::Never,
            attempts: 1,
            timeout: Duration::from_mins(1),
            max_request_bytes: 1 << 20,
            parameters: BTreeMap::new(),
            thinking: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_own_options_stand_over_those_of_steered_requests() {
        let options = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        let steering = Steering {
            parameters: options(&[("seed", "1"), ("top_p", "0.5")]),
            ..Steering::default()
        };
        let again = AskAgain { parameters: options(&[("seed", "2")]), ..AskAgain::default() };
        assert_eq!(again.parameters(&steering), options(&[("seed", "2"), ("top_p", "0.5")]));
        assert!(!again.is_on());
    }
}
