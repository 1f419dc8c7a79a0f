//! What a second model is asked about one voice, and what its answers amount to.
//!
//! The first model goes ahead and is never waited for. At the end of each of its chunks the second is asked, with a window
//! that ends there, where the first is unsure: its running risk lies in the band of [`Consult`](super::Consult), as many
//! chunks were read as a flag takes, and the last window lies a stride back. A stretch that ends unsure is asked about at
//! its end. So what is asked depends on the text alone, and an answer is judged with the risk of the place that it is
//! about, whenever it comes.
//!
//! A window of which the second's tokeniser does not know enough is not read, and what the first model has judged of that
//! channel stands from there on.
//!
//! While the risk lies in the band the combined one holds, and a flag takes that. Outside of it the first model's stands.
//! Without the second's answers, because it has failed, all of the first model's judgement stands.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use super::{
    Batch, CHANNELS, ClassifyError, Head, PartScores, Said, Stages, Tokenise,
    rubric::Pool,
    scores::Part,
    spoken::{Spoken, Token},
    stages::SecondStage,
    window::{Tail, Window, settle},
};
use crate::{channel::Channel, text::offsets::Origin};

/// Windows of one voice that may wait.
pub(super) const MAX_DUE: usize = 256;

/// Tokens that may wait for the first model to come by, where that one has nothing more to read: it may see nothing in
/// what the second's tokeniser sees a token in.
const MAX_AHEAD: usize = 1 << 16;

/// A voice as the second model knows it.
#[derive(Debug)]
pub(super) struct Second {
    stages: Arc<Stages>,
    spoken: Spoken,
    /// What windows go back to, by the channel's number.
    tails: [Tail; CHANNELS.len()],
    prompt: Vec<u32>,
    asked: [Asked; CHANNELS.len()],
    due: VecDeque<Due>,
    next: u64,
    /// More windows were due than may wait.
    overflowed: bool,
    failed: bool,
    trajectory: bool,
}

/// What the first model has judged of a channel at the end of a chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judged {
    /// The channel's number.
    pub(super) channel: usize,
    /// The end of the chunk.
    pub(super) end: Origin,
    /// The risk there.
    pub(super) risk: f32,
    /// Whether so many chunks were read as a flag takes.
    pub(super) is_ripe: bool,
}

/// A window that waits to be read.
#[derive(Debug)]
pub(super) struct Due {
    /// Counts the voice's windows.
    pub(super) number: u64,
    pub(super) window: Window,
    about: Judged,
    /// When it came to wait, as far as that was told.
    since: Option<Instant>,
}

/// What was asked about a channel.
#[derive(Clone, Debug, Default)]
struct Asked {
    /// Tokens since the end of the last window.
    fresh: usize,
    /// What the first model has judged last.
    last: Option<Judged>,
    windows: u32,
    /// Its text is in no language that the second model reads.
    is_foreign: bool,
    answers: u32,
    pool: Pool,
    /// Answers in a row with which the combined risk reached its threshold.
    streak: u32,
    /// The end of the last window that was answered.
    read: Origin,
    flag: Option<Origin>,
    /// The second model's risk after each answer, where that was asked for.
    risk_at: Vec<(u64, f32)>,
}

// === impl Second ===

impl Second {
    /// A voice of which nothing was read yet; none where there is no second model.
    pub(super) fn new(stages: &Arc<Stages>, trajectory: bool) -> Option<Self> {
        let spelling = stages.second.as_ref()?.shape.spelling;
        Some(Self {
            stages: Arc::clone(stages),
            spoken: Spoken::new(spelling),
            tails: Default::default(),
            prompt: Vec::new(),
            asked: Default::default(),
            due: VecDeque::new(),
            next: 0,
            overflowed: false,
            failed: false,
            trajectory,
        })
    }

    /// Takes in more text.
    pub(super) fn read(
        &mut self,
        tokeniser: &mut impl Tokenise,
        said: Said,
        text: &str,
    ) -> Result<(), ClassifyError> {
        if self.failed { Ok(()) } else { self.spoken.read(tokeniser, said, text) }
    }

    /// Takes note of what the undecided text is.
    pub(super) fn decide(
        &mut self,
        tokeniser: &mut impl Tokenise,
        channel: Channel,
    ) -> Result<(), ClassifyError> {
        if let Some(channel) = self.spoken.decide(tokeniser, channel)? {
            self.settle(channel);
        }
        Ok(())
    }

    /// Takes note that no more text comes.
    pub(super) fn end(&mut self, tokeniser: &mut impl Tokenise) -> Result<(), ClassifyError> {
        if let Some(channel) = self.spoken.end(tokeniser)? {
            self.settle(channel);
        }
        Ok(())
    }

    /// Follows the first model to the end of a chunk, `last`, and asks where that one is unsure.
    pub(super) fn follow(&mut self, last: &Token, judged: &[Judged], prompt: &[u32]) {
        if self.prompt.is_empty() {
            self.prompt.extend_from_slice(prompt);
        }
        self.advance(|token| {
            token.stretch < last.stretch
                || token.stretch == last.stretch && token.end.byte <= last.end.byte
        });
        let stride = self.stages.second.as_ref().map_or(usize::MAX, |stage| stage.shape.stride);
        for &about in judged {
            let Some(asked) = self.asked.get_mut(about.channel) else { continue };
            asked.last = Some(about);
            if about.is_ripe && (asked.windows == 0 || asked.fresh >= stride) {
                self.ask(last.said, about);
            }
        }
    }

    /// Follows the first model to the end of a stretch, and asks about its last words.
    pub(super) fn end_stretch(&mut self, stretch: u32, said: Said) {
        self.advance(|token| token.stretch <= stretch);
        for &channel in self.spoken.channels_of(said) {
            if let Some(about) = self.asked.get(channel).and_then(|asked| asked.last) {
                self.ask(said, about);
            }
        }
    }

    /// Takes note that the first model has read all that has come.
    pub(super) fn note_idle(&mut self) {
        if self.spoken.waiting().len() > MAX_AHEAD {
            self.overflowed = true;
            self.fail();
        }
    }

    /// The end of a prompt that was read to its end.
    pub(super) fn prompt_end(&mut self) -> Vec<u32> {
        self.advance(|_| true);
        let [prompt, ..] = &self.tails;
        self.stages.second.as_ref().map_or_else(Vec::new, |stage| stage.shape.prompt_end(prompt))
    }

    /// The window that waits first.
    pub(super) fn next(&self) -> Option<&Due> {
        self.due.front()
    }

    /// Takes in what the network gave for the window with this number, if it is still wanted.
    pub(super) fn take_in(&mut self, number: u64, batch: &Batch) -> Result<(), ClassifyError> {
        let Some(stage) = &self.stages.second else { return Ok(()) };
        if self.due.front().is_none_or(|due| due.number != number) {
            return Ok(());
        }
        let Some(Due { about, .. }) = self.due.pop_front() else { return Ok(()) };
        let logits = batch.result_of_window(0, &stage.rubric.outputs)?;
        let Some(asked) = self.asked.get_mut(about.channel) else { return Ok(()) };
        let Some(probability) = stage.risk(about.channel, &logits) else { return Ok(()) };
        asked.take_in(stage, about, probability);
        if self.trajectory {
            asked.risk_at.push((about.end.char, asked.pool.value()));
        }
        Ok(())
    }

    /// Notes since when windows wait.
    pub(super) fn note_time(&mut self, now: Instant) {
        for due in self.due.iter_mut().rev().take_while(|due| due.since.is_none()) {
            due.since = Some(now);
        }
    }

    /// Since when the first window waits.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        self.due.front()?.since
    }

    /// Whether more windows were due than may wait.
    pub(super) const fn has_overflowed(&self) -> bool {
        self.overflowed
    }

    /// Gives up: nothing is asked any more, and what the first model has judged stands.
    pub(super) fn fail(&mut self) {
        self.failed = true;
        self.due = VecDeque::new();
        self.tails = Default::default();
        self.spoken.forget();
    }

    /// What a channel has shown, by both models.
    pub(super) fn revise(
        &self,
        channel: usize,
        part: &Part,
        mut own: PartScores,
        is_over: bool,
    ) -> PartScores {
        let (Some(stage), Some(asked)) = (&self.stages.second, self.asked.get(channel)) else {
            return own;
        };
        if !stage.rubric.reads(channel) {
            return own;
        }
        let is_over = is_over && self.due.iter().all(|due| due.about.channel != channel);
        let alone = own.flag(Head::Risk);
        // A flag that was told once stands.
        let flags = if self.failed || asked.is_foreign {
            [alone, asked.flag]
        } else if is_over && asked.answers == 0 {
            [alone, None]
        } else {
            [part.sure(), asked.flag(stage, is_over)]
        };
        own.set_flag(Head::Risk, flags.into_iter().flatten().min_by_key(|end| end.byte));
        if self.failed || asked.is_foreign {
            return own;
        }
        if asked.answers > 0
            && let Some(place) = self.stages.first.rubric.risk()
            && let Some(risk) = own.probabilities.get_mut(place)
        {
            *risk = stage.consult.revise(*risk, asked.pool.value());
        }
        for (char, risk) in &mut own.risk_at {
            let until = asked.risk_at.partition_point(|(end, _)| end <= char);
            if let Some((_, second)) = until.checked_sub(1).and_then(|at| asked.risk_at.get(at)) {
                *risk = stage.consult.revise(*risk, *second);
            }
        }
        own
    }

    /// Keeps tokens, as far as they are wanted, for the windows to come.
    fn advance(&mut self, wanted: impl Fn(&Token) -> bool) {
        let Some(stage) = &self.stages.second else { return };
        while let Some(token) = self.spoken.take_if(&wanted) {
            if let Some(tail) = self.tails.get_mut(self.spoken.place_of(token.said)) {
                tail.push(token.number, stage.shape.tokens);
            }
            for &channel in self.spoken.channels_of(token.said) {
                if let Some(asked) = self.asked.get_mut(channel) {
                    asked.fresh += 1;
                }
            }
        }
    }

    /// Asks about the text up to here, where the first model is unsure and something is new.
    fn ask(&mut self, said: Said, about: Judged) {
        let Some(stage) = &self.stages.second else { return };
        let (Some(asked), Some(tail)) =
            (self.asked.get_mut(about.channel), self.tails.get(self.spoken.place_of(said)))
        else {
            return;
        };
        let is_wanted = stage.rubric.reads(about.channel) && stage.consult.is_unsure(about.risk);
        if self.failed || asked.is_foreign || !is_wanted || asked.fresh == 0 {
            return;
        }
        if stage.shape.is_foreign(said.number(), &self.prompt, tail) {
            asked.is_foreign = true;
            return;
        }
        if self.due.len() >= MAX_DUE {
            self.overflowed = true;
            return self.fail();
        }
        asked.fresh = 0;
        asked.windows += 1;
        let window = stage.shape.window(said.number(), &self.prompt, tail, &[]);
        self.due.push_back(Due { number: self.next, window, about, since: None });
        self.next += 1;
    }

    /// What was asked about as both is only one.
    fn settle(&mut self, channel: Channel) {
        let other = settle(channel, &mut self.asked, &mut self.tails);
        self.due.retain(|due| due.about.channel != other);
    }
}

// === impl Asked ===

impl Asked {
    fn take_in(&mut self, stage: &SecondStage, about: Judged, probability: f32) {
        self.answers += 1;
        self.read = about.end;
        self.pool.push(stage.rubric.pooling, probability);
        let risk = stage.consult.combine(about.risk, self.pool.value());
        let reached = stage.risk_threshold(about.channel).is_some_and(|least| risk >= least);
        self.streak = if reached { self.streak + 1 } else { 0 };
        if self.streak >= stage.rubric.consecutive {
            self.flag.get_or_insert(about.end);
        }
    }

    /// Where the combined risk was flagged. With fewer answers than a flag takes, all of them are enough at the end.
    fn flag(&self, stage: &SecondStage, is_over: bool) -> Option<Origin> {
        let few = is_over && self.answers > 0 && self.answers < stage.rubric.consecutive;
        self.flag.or_else(|| (few && self.streak == self.answers).then_some(self.read))
    }
}
