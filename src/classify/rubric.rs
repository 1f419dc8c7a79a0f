//! What a logit means: heads, calibration, pooling, thresholds.

use serde::Deserialize;

use super::{CHANNELS, Voice};
use crate::{channel::Channel, rules::Category};

/// What one output of the network stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// The text is harmful.
    Risk,
    /// The model recognises a risk, or decides to stay safe.
    SafetyThinking,
    /// The model refuses.
    Refusal,
    /// The kind of harm.
    Category(Category),
}

/// The share of benign texts that a threshold lets be flagged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Rate {
    /// One in a hundred.
    #[default]
    #[serde(rename = "fpr_1")]
    OneInHundred,
    /// One in a thousand.
    #[serde(rename = "fpr_0.1")]
    OneInThousand,
}

/// How the probabilities of a text's tokens become one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pooling {
    /// Their mean, the first ones left out.
    Mean {
        /// How many are left out, where more follow.
        burn_in: u32,
    },
    /// The last one.
    Last,
    /// The largest.
    Max,
    /// A mean in which each token weighs `alpha`, and all before it the rest.
    Ewma {
        /// In 0..=1.
        alpha: f32,
    },
}

/// A logit's way to a probability: `sigmoid(scale · logit + bias)`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Calibration {
    /// The factor.
    pub scale: f32,
    /// What is added.
    pub bias: f32,
}

/// What a network's outputs are before calibration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// A logit each, independent of the others.
    #[default]
    Sigmoid,
    /// Logits of which one class wins; a head's logit is that of its class against all others.
    Softmax,
}

/// Which of a network's outputs the heads are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outputs {
    /// How many there are.
    pub(super) count: usize,
    /// Each head's place among them.
    pub(super) places: Vec<usize>,
    pub(super) activation: Activation,
}

/// How a model's logits are read, for one [`Rate`].
#[derive(Clone, Debug, PartialEq)]
pub struct Rubric {
    pub(super) heads: Vec<Head>,
    pub(super) outputs: Outputs,
    /// The channels that the model reads, by their number.
    pub(super) reads: [bool; CHANNELS.len()],
    /// Numbers of a state.
    pub(super) state: usize,
    /// By channel, then by head.
    pub(super) calibration: [Vec<Calibration>; CHANNELS.len()],
    /// By channel, then by head; none where a head never flags.
    pub(super) thresholds: [Vec<Option<f32>>; CHANNELS.len()],
    pub(super) pooling: Pooling,
    /// Chunks in a row that must reach the threshold.
    pub(super) consecutive: u32,
}

/// A head's probability over the tokens so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pool {
    value: f32,
    /// Tokens taken in, those left out included.
    tokens: u32,
}

// === impl Head ===

impl Head {
    /// The head's name in manifests and findings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Risk => "risk",
            Self::SafetyThinking => "safety_thinking",
            Self::Refusal => "refusal",
            Self::Category(category) => category.name(),
        }
    }

    /// The rate that holds for the head, whichever was chosen for the others.
    ///
    /// Benign text is all that rates are measured on. On a harmful prompt the opening words of any thinking reach the
    /// looser threshold of safety thinking, before the model has seen any risk.
    pub(super) const fn own_rate(self) -> Option<Rate> {
        match self {
            Self::SafetyThinking => Some(Rate::OneInThousand),
            Self::Risk | Self::Refusal | Self::Category(_) => None,
        }
    }
}

// === impl Rate ===

impl Rate {
    /// The rate's name in manifests and configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OneInHundred => "fpr_1",
            Self::OneInThousand => "fpr_0.1",
        }
    }
}

// === impl Calibration ===

impl Calibration {
    pub(super) fn probability(self, logit: f32) -> f32 {
        1.0 / (1.0 + (-(self.scale * logit + self.bias)).exp())
    }
}

// === impl Rubric ===

impl Rubric {
    /// What those of the network's outputs stand for that are read.
    #[must_use]
    pub fn heads(&self) -> &[Head] {
        &self.heads
    }

    /// How many numbers the network gives for each place that it judges.
    #[must_use]
    pub const fn outputs(&self) -> usize {
        self.outputs.count
    }

    /// How many numbers a state has.
    #[must_use]
    pub const fn state(&self) -> usize {
        self.state
    }

    /// The threshold of a head in a channel, where it can flag there.
    #[must_use]
    pub fn threshold(&self, channel: Channel, head: Head) -> Option<f32> {
        let channel = CHANNELS.iter().position(|&known| known == channel)?;
        let head = self.heads.iter().position(|&known| known == head)?;
        *self.thresholds.get(channel)?.get(head)?
    }

    /// Whether the model reads a channel.
    pub(super) fn reads(&self, channel: usize) -> bool {
        self.reads.get(channel).is_some_and(|reads| *reads)
    }

    /// Where the risk stands among the heads.
    pub(super) fn risk(&self) -> Option<usize> {
        self.heads.iter().position(|&head| head == Head::Risk)
    }

    /// The channels in which a voice speaks.
    #[must_use]
    pub const fn channels_of(voice: Voice) -> &'static [Channel] {
        match voice {
            Voice::Prompt => &[Channel::Prompt],
            Voice::Choice(_) => &[Channel::Thinking, Channel::Answer],
        }
    }
}

// === impl Outputs ===

impl Outputs {
    /// The heads' logits of what a network gave.
    pub(super) fn logits(&self, given: &[f32]) -> Vec<f32> {
        let logit = |&place: &usize| {
            let own = given.get(place).copied().unwrap_or(f32::NAN);
            match self.activation {
                Activation::Sigmoid => own,
                Activation::Softmax => own - log_sum_of_others(given, place),
            }
        };
        self.places.iter().map(logit).collect()
    }
}

fn log_sum_of_others(given: &[f32], place: usize) -> f32 {
    let others =
        || given.iter().enumerate().filter(|(at, _)| *at != place).map(|(_, &logit)| logit);
    let largest = others().fold(f32::NEG_INFINITY, f32::max);
    largest + others().map(|logit| (logit - largest).exp()).sum::<f32>().ln()
}

// === impl Pool ===

impl Pool {
    /// Takes in the next token's probability.
    pub(super) fn push(&mut self, pooling: Pooling, probability: f32) {
        let before = self.tokens;
        self.tokens = before.saturating_add(1);
        self.value = match pooling {
            Pooling::Ewma { alpha } if before > 0 => {
                alpha.mul_add(probability - self.value, self.value)
            }
            Pooling::Last | Pooling::Ewma { .. } => probability,
            Pooling::Max => self.value.max(probability),
            // The first tokens count until there are others.
            Pooling::Mean { burn_in } if before < burn_in => mean(self.value, before, probability),
            Pooling::Mean { burn_in } => mean(self.value, before - burn_in, probability),
        };
    }

    pub(super) const fn value(self) -> f32 {
        self.value
    }
}

#[expect(clippy::cast_precision_loss, reason = "a mean over millions of tokens hardly moves")]
fn mean(mean: f32, count: u32, next: f32) -> f32 {
    mean + (next - mean) / (count as f32 + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pooled(pooling: Pooling, values: &[f32]) -> f32 {
        let mut pool = Pool::default();
        for &value in values {
            pool.push(pooling, value);
        }
        pool.value()
    }

    #[test]
    fn pools_leave_the_first_tokens_out_where_others_follow() {
        let values = [0.9, 0.7, 0.1, 0.3];
        for (pooling, expected) in [
            (Pooling::Mean { burn_in: 0 }, 0.5),
            (Pooling::Mean { burn_in: 2 }, 0.2),
            (Pooling::Mean { burn_in: 9 }, 0.5),
            (Pooling::Last, 0.3),
            (Pooling::Max, 0.9),
            (Pooling::Ewma { alpha: 0.5 }, 0.9 / 8.0 + 0.7 / 8.0 + 0.1 / 4.0 + 0.3 / 2.0),
        ] {
            let value = pooled(pooling, &values);
            assert!((value - expected).abs() < 1e-6, "{pooling:?}: {value} is not {expected}");
        }
    }

    #[test]
    fn of_classes_a_head_is_one_against_all_others() {
        let outputs = Outputs { count: 3, places: vec![2, 0], activation: Activation::Softmax };
        let given = [1.0_f32, 2.0, 0.5];
        let all: f32 = given.iter().map(|logit| logit.exp()).sum();
        let calibration = Calibration { scale: 1.0, bias: 0.0 };
        let probabilities: Vec<f32> =
            outputs.logits(&given).iter().map(|&logit| calibration.probability(logit)).collect();
        assert!((probabilities[0] - 0.5_f32.exp() / all).abs() < 1e-6);
        assert!((probabilities[1] - 1.0_f32.exp() / all).abs() < 1e-6);
        let plain = Outputs { activation: Activation::Sigmoid, ..outputs };
        assert_eq!(plain.logits(&given), [0.5, 1.0]);
    }

    #[test]
    fn calibration_moves_the_logit() {
        let calibration = Calibration { scale: 2.0, bias: -1.0 };
        assert!((calibration.probability(0.5) - 0.5).abs() < 1e-6);
        assert!(calibration.probability(-1e9) < 1e-6 && calibration.probability(1e9) > 0.999);
    }
}
