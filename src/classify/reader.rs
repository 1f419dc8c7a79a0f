//! One voice on its way through the network: its words, tokens, chunks, state and scores.
//!
//! A chunk is what is judged at once: [`STEPS`](super::STEPS) tokens for a network that carries a state, a window's
//! new tokens for one that does not.

use std::{sync::Arc, time::Instant};

use super::{
    Batch, CHANNELS, ClassifyError, Gait, Said, Scores, Stages, Tokenise,
    scores::Part,
    second::{Due, Judged, Second},
    spoken::{Spoken, Token},
    window::{Tail, settle},
};
use crate::channel::Channel;

/// What a choice begins with: what was read of the prompt.
#[derive(Clone, Debug, Default)]
pub(super) struct Ground {
    /// The state after it; empty where there is none.
    pub(super) state: Vec<f32>,
    /// Its end, as windows hold it.
    pub(super) end: Vec<u32>,
    /// Its end, as the second model's windows hold it.
    pub(super) second_end: Vec<u32>,
}

/// The state that is carried along one voice.
#[derive(Debug)]
pub struct Reader {
    stages: Arc<Stages>,
    /// Empty until the first chunk has begun.
    state: Vec<f32>,
    spoken: Spoken,
    /// What windows go back to, by the channel's number.
    tails: [Tail; CHANNELS.len()],
    parts: [Option<Box<Part>>; CHANNELS.len()],
    /// The stretch that was read last, until it was told to the second model that it has ended.
    open: Option<(u32, Said)>,
    second: Option<Box<Second>>,
    trajectory: bool,
}

// === impl Reader ===

impl Reader {
    /// A voice of which nothing was read yet. `trajectory` keeps how the risk rose.
    #[must_use]
    pub fn new(stages: Arc<Stages>, trajectory: bool) -> Self {
        Self {
            state: Vec::new(),
            spoken: Spoken::new(stages.first.spelling()),
            tails: Default::default(),
            parts: [const { None }; CHANNELS.len()],
            open: None,
            second: Second::new(&stages, trajectory).map(Box::new),
            stages,
            trajectory,
        }
    }

    /// Takes in more text.
    pub fn read(
        &mut self,
        tokeniser: &mut impl Tokenise,
        said: Said,
        text: &str,
    ) -> Result<(), ClassifyError> {
        self.spoken.read(tokeniser, said, text)?;
        self.skip_unread();
        self.end_stretch();
        if self.spoken.first().is_none()
            && let Some(second) = &mut self.second
        {
            second.note_idle();
        }
        Ok(())
    }

    /// Takes note of what the undecided text is.
    pub fn decide(
        &mut self,
        tokeniser: &mut impl Tokenise,
        channel: Channel,
    ) -> Result<(), ClassifyError> {
        if let Some(channel) = self.spoken.decide(tokeniser, channel)? {
            settle(channel, &mut self.parts, &mut self.tails);
        }
        self.skip_unread();
        Ok(())
    }

    /// Takes note that no more text comes.
    pub fn end(&mut self, tokeniser: &mut impl Tokenise) -> Result<(), ClassifyError> {
        if let Some(channel) = self.spoken.end(tokeniser)? {
            settle(channel, &mut self.parts, &mut self.tails);
        }
        self.skip_unread();
        self.end_stretch();
        self.end_parts();
        Ok(())
    }

    /// What the second model does of this voice, where there is one.
    pub(super) fn second(&mut self) -> Option<&mut Second> {
        self.second.as_deref_mut()
    }

    /// The window that the second model is to read next.
    pub(super) fn next_window(&self) -> Option<&Due> {
        self.second.as_ref()?.next()
    }

    /// Since when that window waits.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        self.second.as_ref()?.waits_since()
    }

    /// Whether a chunk can be run: it is full, or nothing will be added to it.
    #[must_use]
    pub fn has_chunk(&self) -> bool {
        let Some(first) = self.spoken.first() else { return false };
        let step = self.stages.first.step();
        self.spoken.is_closed(first.stretch) || self.spoken.ready(step) >= step
    }

    /// Whether everything was run and nothing more comes.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.spoken.is_over()
    }

    /// Adds the next chunk to a batch; a voice that has not begun begins with `ground`.
    pub(super) fn fill(&mut self, batch: &mut Batch, ground: &Ground) {
        let Some(first) = self.spoken.first().copied() else { return };
        let count = self.spoken.ready(self.stages.first.step());
        let ids = self.spoken.waiting().take(count).map(|token| token.number);
        match &self.stages.first.gait {
            Gait::Chunks => {
                if self.state.is_empty() {
                    self.state.clone_from(&ground.state);
                }
                batch.push(first.said.number(), ids, &self.state);
            }
            Gait::Windows(shape) => {
                let Some(before) = self.tails.get(self.spoken.place_of(first.said)) else { return };
                let ids: Vec<u32> = ids.collect();
                let window = shape.window(first.said.number(), &ground.end, before, &ids);
                batch.push_window(window);
            }
        }
    }

    /// Takes in what the network gave for the chunk that was added to the batch as row `row`.
    pub(super) fn take_in(
        &mut self,
        batch: &Batch,
        row: usize,
        ground: &Ground,
    ) -> Result<(), ClassifyError> {
        let logits = self.logits(batch, row)?;
        let chunk = self.spoken.take(self.spoken.ready(self.stages.first.step()));
        let Some(last) = chunk.last().copied() else { return Ok(()) };
        for token in &chunk {
            self.keep(token);
        }
        let judged = self.judge(&last, &logits, chunk.len());
        if let Some(second) = &mut self.second {
            second.follow(&last, &judged, &ground.second_end);
        }
        self.open = Some((last.stretch, last.said));
        self.end_stretch();
        self.end_parts();
        Ok(())
    }

    /// The logits of the heads at every place that the network judged; takes the state over.
    fn logits(&mut self, batch: &Batch, row: usize) -> Result<Vec<f32>, ClassifyError> {
        let rubric = &self.stages.first.rubric;
        match &self.stages.first.gait {
            Gait::Chunks => {
                let (logits, state) = batch.result(row, rubric.heads.len(), rubric.state)?;
                if !logits.iter().chain(state).all(|number| number.is_finite()) {
                    return Err(ClassifyError::Numbers);
                }
                self.state.clear();
                self.state.extend_from_slice(state);
                Ok(logits.to_vec())
            }
            Gait::Windows(_) => batch.result_of_window(row, &rubric.outputs),
        }
    }

    /// Keeps a token that was read, for the windows to come.
    fn keep(&mut self, token: &Token) {
        if let Gait::Windows(shape) = &self.stages.first.gait
            && let Some(tail) = self.tails.get_mut(self.spoken.place_of(token.said))
        {
            tail.push(token.number, shape.tokens);
        }
    }

    /// Judges a chunk of `count` tokens that ends with `last`.
    fn judge(&mut self, last: &Token, logits: &[f32], count: usize) -> Vec<Judged> {
        let Self { stages, spoken, parts, trajectory, .. } = self;
        let rubric = &stages.first.rubric;
        let mut judged = Vec::new();
        for &channel in spoken.channels_of(last.said) {
            let (Some(part), Some(calibration), Some(thresholds)) = (
                parts.get_mut(channel).filter(|_| rubric.reads(channel)),
                rubric.calibration.get(channel),
                rubric.thresholds.get(channel),
            ) else {
                continue;
            };
            let new = || Box::new(Part::new(rubric, stages.consult(channel), *trajectory));
            let part = part.get_or_insert_with(new);
            for logits in logits.chunks_exact(rubric.heads.len()).take(count) {
                part.push(rubric, calibration, logits);
            }
            part.end_chunk(rubric, thresholds, last.end);
            let is_ripe = part.chunks() >= rubric.consecutive;
            judged.push(Judged { channel, end: last.end, risk: part.risk(rubric), is_ripe });
        }
        judged
    }

    /// What the text has shown so far.
    #[must_use]
    pub fn scores(&self) -> Scores {
        // What the second model is still to read may take back what the first has judged, or add to it.
        let waits = self.next_window().is_some();
        let mut scores = Scores {
            read: self.spoken.taken_of_channels(),
            bytes: if waits { 0 } else { self.scored_bytes() },
            undecided: self.spoken.is_undecided(),
            ..Scores::default()
        };
        for (channel, part) in self.parts.iter().enumerate() {
            let Some(part) = part else { continue };
            let own = part.scores();
            let revised = match &self.second {
                Some(second) => second.revise(channel, part, own, self.is_over()),
                None => own,
            };
            scores.add(channel, revised);
        }
        scores
    }

    /// Bytes of all text that was taken in.
    pub(super) fn heard_bytes(&self) -> u64 {
        self.spoken.heard_bytes()
    }

    /// Bytes of all text, in the order of its arrival, that the first model has read.
    pub(super) fn scored_bytes(&self) -> u64 {
        self.spoken.taken_bytes()
    }

    /// The same voice as if its text ended here, as the first model judges it. What is undecided stays so.
    pub(super) fn ended_here(&self, tokeniser: &mut impl Tokenise) -> Result<Self, ClassifyError> {
        let mut ended = Self {
            stages: Arc::clone(&self.stages),
            state: self.state.clone(),
            spoken: self.spoken.clone(),
            tails: self.tails.clone(),
            parts: self.parts.clone(),
            open: None,
            second: None,
            trajectory: self.trajectory,
        };
        ended.spoken.end_here(tokeniser)?;
        ended.skip_unread();
        ended.end_parts();
        Ok(ended)
    }

    /// What choices begin with, once all was read.
    pub(super) fn ground(&mut self) -> Ground {
        let end = match &self.stages.first.gait {
            Gait::Chunks => Vec::new(),
            Gait::Windows(shape) => {
                let [prompt, ..] = &self.tails;
                shape.prompt_end(prompt)
            }
        };
        let second_end = self.second.as_mut().map(|second| second.prompt_end());
        Ground { state: self.state.clone(), end, second_end: second_end.unwrap_or_default() }
    }

    /// Passes over the text of channels that the model does not read.
    fn skip_unread(&mut self) {
        let stages = Arc::clone(&self.stages);
        let rubric = &stages.first.rubric;
        loop {
            let channels = |token: &Token| self.spoken.channels_of(token.said);
            let Some(first) = self.spoken.first().copied() else { return };
            if channels(&first).iter().any(|&channel| rubric.reads(channel)) {
                return;
            }
            self.spoken.take(1);
            self.keep(&first);
            if let Some(second) = &mut self.second {
                second.follow(&first, &[], &[]);
            }
        }
    }

    /// Tells the second model of a stretch that was read to its end.
    fn end_stretch(&mut self) {
        let Some((stretch, said)) = self.open else { return };
        let is_over = match self.spoken.first() {
            Some(next) => next.stretch != stretch,
            None => self.spoken.is_closed(stretch),
        };
        if is_over {
            self.open = None;
            if let Some(second) = &mut self.second {
                second.end_stretch(stretch, said);
            }
        }
    }

    /// Judges texts that have ended with nothing left to run.
    fn end_parts(&mut self) {
        if !self.is_over() {
            return;
        }
        for part in self.parts.iter_mut().flatten() {
            part.end_text(&self.stages.first.rubric);
        }
    }
}
