//! The learned detector's arithmetic: text becomes tokens in chunks, logits become scores, scores become flags.
//!
//! In: passages of an exchange's text in the order of their arrival ([`Passage`]), a tokeniser ([`Tokenise`]) and a
//! network ([`Network`]). Out: per channel, each head's pooled probability and the place where it was flagged
//! ([`Scores`]). The same text gives the same scores whatever its cuts: chunks are counted from a text's beginning,
//! and a word is read when it is complete.
//!
//! A network may carry a state through prompt, thinking and answer, every choice beginning with the prompt's; or it
//! reads windows of text, each with the prompt's end. A second one may be asked where the first is unsure. What runs
//! them, and on which thread, is the shell's affair.
//!
//! | module | does |
//! |---|---|
//! | [`manifest`] | a model's `manifest.json` → [`Manifest`], or what is wrong with it |
//! | [`rubric`] | heads, calibration, pooling and thresholds: what a logit means |
//! | [`stages`] | the models that read: a first, and a second that is asked where that one is unsure |
//! | [`words`] | text → complete words, and how a word is normalised |
//! | [`spoken`] | a voice's words → tokens that wait to be read |
//! | [`window`] | what a network without a state reads at once |
//! | [`reader`] | one voice's chunks, state and scores |
//! | `second` | what the second model is asked about one voice |
//! | [`readers`] | the voices of an exchange: its prompt and its choices |
//! | [`batch`] | rows of chunks, or windows, for one run of the network |

pub mod batch;
pub mod manifest;
pub mod reader;
pub mod readers;
pub mod rubric;
pub mod scores;
mod second;
pub mod spoken;
pub mod stages;
pub mod window;
pub mod words;

#[cfg(test)]
pub(crate) mod tests;

use crate::channel::Channel;

pub use batch::{Batch, ClassifyError, Network, Tokenise};
pub use manifest::{Kind, Manifest, ManifestError};
pub use reader::Reader;
pub use readers::{Question, Readers, SecondFailure};
pub use rubric::{Head, Rate, Rubric};
pub use scores::{PartScores, Scores};
pub use spoken::Spelling;
pub use stages::{Consult, Gait, SecondStage, Stage, Stages};
pub use window::{Frame, Mark, Unknown, Window, WindowShape};
pub use words::Spaces;

/// Tokens that a network reads in one run.
pub const STEPS: usize = 8;

/// The channels that a network knows; a channel's place here is its number in the graph.
pub const CHANNELS: [Channel; 3] = [Channel::Prompt, Channel::Thinking, Channel::Answer];

/// Whose text it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Voice {
    /// The caller's.
    Prompt,
    /// The model's, in the choice at this position.
    Choice(usize),
}

/// What a text is known to be when it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// What the caller asked.
    Prompt,
    /// Thinking.
    Thinking,
    /// Answer.
    Answer,
    /// Thinking if a close tag comes, else answer. The network reads it as answer.
    Undecided,
}

/// A stretch of an exchange's text on its way to the network, or news about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// Whose text it is.
    pub voice: Voice,
    /// What comes.
    pub news: News,
}

/// What a passage brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// More text.
    Text(Said, String),
    /// What was undecided is thinking, or answer.
    Decided(Channel),
    /// No more text comes.
    End,
}

// === impl Said ===

impl Said {
    /// The channel's number in the graph, which is its place in [`CHANNELS`].
    #[must_use]
    pub const fn number(self) -> usize {
        match self {
            Self::Prompt => 0,
            Self::Thinking => 1,
            Self::Answer | Self::Undecided => 2,
        }
    }
}

// === impl Passage ===

impl Passage {
    /// Bytes of text in it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.news {
            News::Text(_, text) => text.len(),
            News::Decided(_) | News::End => 0,
        }
    }

    /// Keeps at most `bytes` bytes of text; gives the rest back, if there is any.
    pub fn cut(&mut self, bytes: usize) -> Option<Self> {
        let News::Text(said, text) = &mut self.news else { return None };
        if text.len() <= bytes {
            return None;
        }
        let rest = text.split_off(text.floor_char_boundary(bytes));
        Some(Self { voice: self.voice, news: News::Text(*said, rest) })
    }

    /// Takes `next` in where it goes on with the same text; gives it back where it does not.
    pub fn join(&mut self, next: Self) -> Option<Self> {
        match (&mut self.news, next) {
            (News::Text(said, text), Self { voice, news: News::Text(next_said, more) })
                if voice == self.voice && next_said == *said =>
            {
                text.push_str(&more);
                None
            }
            (_, next) => Some(next),
        }
    }
}
