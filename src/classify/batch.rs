//! What the core asks of a runtime: rows of chunks in, logits and states out.

use super::{
    STEPS, WindowShape,
    rubric::Outputs,
    window::{Tail, Window},
};

/// What runs a model's graph.
pub trait Network {
    /// Fills the batch's logits and new states.
    fn run(&mut self, batch: &mut Batch) -> Result<(), ClassifyError>;
}

/// What turns a normalised word into tokens.
pub trait Tokenise {
    /// Appends the word's tokens.
    fn tokenise(&mut self, word: &str, tokens: &mut Vec<u32>) -> Result<(), ClassifyError>;
}

/// Why text has no score.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClassifyError {
    /// The tokeniser refused a word.
    #[error("the tokeniser failed")]
    Tokeniser,
    /// The runtime refused a batch; its own words.
    #[error("the network failed: {0}")]
    Network(String),
    /// The network gave what is no number, or not as many numbers as it should.
    #[error("the network gave no usable numbers")]
    Numbers,
}

/// Rows for one run: chunks of [`STEPS`] tokens with the state before each, or windows.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// How many rows there are.
    pub rows: usize,
    /// Token numbers, row by row.
    pub tokens: Vec<i64>,
    /// The channels' numbers, row by row.
    pub channels: Vec<i64>,
    /// 1 for a token, 0 for padding, row by row.
    pub mask: Vec<f32>,
    /// The states before, row by row.
    pub states: Vec<f32>,
    /// The windows, where the network reads these.
    pub windows: Vec<Window>,
    /// The outputs for every token, or window, row by row: what the network gives.
    pub logits: Vec<f32>,
    /// The states after, row by row: what the network gives.
    pub states_out: Vec<f32>,
}

// === impl Batch ===

impl Batch {
    /// Two rows of the same tokens, to try a network out.
    #[must_use]
    pub fn sample(tokens: &[u32], state: usize) -> Self {
        let mut batch = Self::default();
        for channel in [0, 1] {
            batch.push(channel, tokens.iter().copied(), &vec![0.0; state]);
        }
        batch
    }

    /// A window over `count` times the same tokens of an answer, as far as they fit, to try a network out.
    #[must_use]
    pub fn sample_window(shape: &WindowShape, tokens: &[u32], count: usize) -> Self {
        let mut batch = Self::default();
        batch.push_window(shape.window(2, &[], &Tail::default(), &tokens.repeat(count)));
        batch
    }

    /// Forgets every row.
    pub fn clear(&mut self) {
        let Self { rows, tokens, channels, mask, states, windows, logits, states_out } = self;
        *rows = 0;
        tokens.clear();
        channels.clear();
        mask.clear();
        states.clear();
        windows.clear();
        logits.clear();
        states_out.clear();
    }

    /// Adds a row; fewer tokens than [`STEPS`] are padded.
    pub(super) fn push(
        &mut self,
        channel: usize,
        tokens: impl Iterator<Item = u32>,
        state: &[f32],
    ) {
        let begin = self.tokens.len();
        self.tokens.extend(tokens.take(STEPS).map(i64::from));
        let count = self.tokens.len() - begin;
        self.tokens.resize(begin + STEPS, 0);
        self.mask.resize(begin + count, 1.0);
        self.mask.resize(begin + STEPS, 0.0);
        // At most two.
        self.channels.resize(begin + STEPS, i64::try_from(channel).unwrap_or_default());
        self.states.extend_from_slice(state);
        self.rows += 1;
    }

    /// Adds rows of nothing behind the others, until there are so many; [`Batch::rows`] does not count them.
    pub fn pad(&mut self, rows: usize, state: usize) {
        self.tokens.resize(rows * STEPS, 0);
        self.channels.resize(rows * STEPS, 0);
        self.mask.resize(rows * STEPS, 0.0);
        self.states.resize(rows * state, 0.0);
    }

    /// Adds a window as a row.
    pub fn push_window(&mut self, window: Window) {
        self.windows.push(window);
        self.rows += 1;
    }

    /// The heads' logits of a row that is a window.
    pub(super) fn result_of_window(
        &self,
        row: usize,
        outputs: &Outputs,
    ) -> Result<Vec<f32>, ClassifyError> {
        let given = self.logits.chunks_exact(outputs.count).nth(row);
        let logits = outputs.logits(given.ok_or(ClassifyError::Numbers)?);
        if logits.iter().all(|logit| logit.is_finite()) {
            Ok(logits)
        } else {
            Err(ClassifyError::Numbers)
        }
    }

    /// A row's logits and new state.
    pub(super) fn result(
        &self,
        row: usize,
        heads: usize,
        state: usize,
    ) -> Result<(&[f32], &[f32]), ClassifyError> {
        let logits = self.logits.chunks_exact(STEPS * heads).nth(row);
        let states = self.states_out.chunks_exact(state).nth(row);
        logits.zip(states).ok_or(ClassifyError::Numbers)
    }
}
