//! The voices of one exchange: its prompt, and its choices, which begin with what was read of the prompt.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use super::{
    Batch, ClassifyError, Gait, Network, News, Passage, Reader, Scores, Stages, Tokenise, Voice,
    reader::Ground,
};

/// Rows of one batch at most.
pub const MAX_ROWS: usize = 16;

/// Every voice of an exchange.
#[derive(Debug)]
pub struct Readers {
    stages: Arc<Stages>,
    trajectory: bool,
    prompt: Option<Box<Reader>>,
    prompt_scores: Option<Scores>,
    /// What choices begin with.
    ground: Ground,
    choices: BTreeMap<usize, Box<Reader>>,
    /// Voices of which something new was concluded.
    moved: BTreeSet<Voice>,
    /// The second model is asked no more.
    second_failed: bool,
    /// Why, until that was asked for.
    second_failure: Option<SecondFailure>,
    /// Somebody waits for the scores.
    hurried: bool,
    /// Whether what does not fill a chunk yet is scored, too, as if the text ended with it.
    tails: Option<BTreeMap<usize, Tail>>,
}

/// A choice as if it ended where it stands.
#[derive(Debug, Default)]
struct Tail {
    /// What is being scored.
    reader: Option<Box<Reader>>,
    /// What was.
    scores: Option<Box<Scores>>,
}

/// A window of one voice that the second model reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Whose text it is.
    pub voice: Voice,
    number: u64,
}

/// Why the second model is asked no more about an exchange.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecondFailure {
    /// Its tokeniser or its network failed.
    #[error(transparent)]
    Error(#[from] ClassifyError),
    /// More windows were due than may wait.
    #[error("more windows were due than may wait")]
    Overflow,
}

// === impl Readers ===

impl Readers {
    /// An exchange of which nothing was read yet. `trajectory` keeps how the risk rose.
    #[must_use]
    pub fn new(stages: Arc<Stages>, trajectory: bool) -> Self {
        let ground = Ground { state: vec![0.0; stages.first.rubric.state], ..Ground::default() };
        Self {
            stages,
            trajectory,
            prompt: None,
            prompt_scores: None,
            ground,
            choices: BTreeMap::new(),
            moved: BTreeSet::new(),
            second_failed: false,
            second_failure: None,
            hurried: false,
            tails: None,
        }
    }

    /// Scores what does not fill a chunk yet, too, as if the text ended with it: for those that hold text back.
    #[must_use]
    pub fn with_tails(self) -> Self {
        Self { tails: Some(BTreeMap::new()), ..self }
    }

    /// With somebody who waits for the scores.
    #[must_use]
    pub fn hurried(self) -> Self {
        Self { hurried: true, ..self }
    }

    /// Whether somebody may wait for the scores: a request for its prompt's, or [who said so](Self::hurried).
    #[must_use]
    pub const fn are_awaited(&self) -> bool {
        self.hurried || self.prompt.is_some()
    }

    /// Takes in a passage. Where there is a second model, [`Self::take_for_second`] comes first.
    pub fn take(
        &mut self,
        tokeniser: &mut impl Tokenise,
        passage: &Passage,
    ) -> Result<(), ClassifyError> {
        let reader = self.reader(passage.voice);
        match &passage.news {
            News::Text(said, text) => reader.read(tokeniser, *said, text)?,
            News::Decided(channel) => reader.decide(tokeniser, *channel)?,
            News::End => reader.end(tokeniser)?,
        }
        if !matches!(passage.news, News::Text(..)) {
            self.moved.insert(passage.voice);
        }
        self.note_overflow(passage.voice);
        Ok(())
    }

    /// Takes in a passage for the second model, with its own tokeniser.
    pub fn take_for_second(&mut self, tokeniser: &mut impl Tokenise, passage: &Passage) {
        let Some(second) = self.reader(passage.voice).second() else { return };
        let taken = match &passage.news {
            News::Text(said, text) => second.read(tokeniser, *said, text),
            News::Decided(channel) => second.decide(tokeniser, *channel),
            News::End => second.end(tokeniser),
        };
        if let Err(error) = taken {
            self.fail_second(Some(error.into()));
        }
    }

    /// How many rows one run of the network may have: windows are long enough alone, and where numbers are scaled by
    /// what stands beside them they would not depend on their own text only.
    #[must_use]
    pub fn max_rows(&self) -> usize {
        match &self.stages.first.gait {
            Gait::Chunks => MAX_ROWS,
            Gait::Windows(_) => 1,
        }
    }

    /// A voice with a chunk to run that is not among `but`. Choices wait for the prompt's end.
    #[must_use]
    pub fn next_ready(&self, but: &[Voice]) -> Option<Voice> {
        if let Some(prompt) = self.prompt.as_ref().filter(|prompt| !prompt.is_over()) {
            let ready = prompt.has_chunk() && !but.contains(&Voice::Prompt);
            return ready.then_some(Voice::Prompt);
        }
        let ready = self.choices.iter().filter(|(_, reader)| reader.has_chunk());
        ready.map(|(&position, _)| Voice::Choice(position)).find(|voice| !but.contains(voice))
    }

    /// Adds a voice's next chunk to a batch.
    pub fn fill(&mut self, voice: Voice, batch: &mut Batch) {
        let Self { prompt, choices, ground, .. } = self;
        let reader = match voice {
            Voice::Prompt => prompt.as_mut(),
            Voice::Choice(position) => choices.get_mut(&position),
        };
        if let Some(reader) = reader {
            reader.fill(batch, ground);
        }
    }

    /// Takes in what the network gave for a voice's chunk, which was the batch's row `row`.
    pub fn take_in(
        &mut self,
        voice: Voice,
        batch: &Batch,
        row: usize,
    ) -> Result<(), ClassifyError> {
        self.moved.insert(voice);
        let Self { prompt, choices, ground, .. } = self;
        let reader = match voice {
            Voice::Prompt => prompt.as_mut(),
            Voice::Choice(position) => choices.get_mut(&position),
        };
        let Some(reader) = reader else { return Ok(()) };
        reader.take_in(batch, row, ground)?;
        self.note_overflow(voice);
        Ok(())
    }

    /// Puts the window that the second model is to read next into an empty batch.
    #[must_use]
    pub fn ask(&self, batch: &mut Batch) -> Option<Question> {
        let (voice, due) =
            self.all().find_map(|(voice, reader)| Some((voice, reader.next_window()?)))?;
        batch.push_window(due.window.clone());
        Some(Question { voice, number: due.number })
    }

    /// Takes in what the second model said, or why it did not.
    pub fn answer(&mut self, question: Question, answer: Result<&Batch, ClassifyError>) {
        let Question { voice, number } = question;
        let taken = answer.and_then(|batch| match self.known(voice).and_then(Reader::second) {
            Some(second) => second.take_in(number, batch),
            None => Ok(()),
        });
        match taken {
            Ok(()) => drop(self.moved.insert(voice)),
            Err(error) => self.fail_second(Some(error.into())),
        }
    }

    /// Whether the second model has windows to read.
    #[must_use]
    pub fn has_questions(&self) -> bool {
        self.all().any(|(_, reader)| reader.next_window().is_some())
    }

    /// Notes since when windows wait for the second model.
    pub fn note_time(&mut self, now: Instant) {
        for second in self.all_mut().filter_map(Reader::second) {
            second.note_time(now);
        }
    }

    /// Since when the second model is waited for.
    #[must_use]
    pub fn waits_since(&self) -> Option<Instant> {
        self.all().filter_map(|(_, reader)| reader.waits_since()).min()
    }

    /// Asks the second model no more: what the first has judged stands. The reason, if any, can be asked for.
    pub fn fail_second(&mut self, reason: Option<SecondFailure>) {
        if self.stages.second.is_none() || self.second_failed {
            return;
        }
        self.second_failed = true;
        self.second_failure = reason;
        for second in self.all_mut().filter_map(Reader::second) {
            second.fail();
        }
        let voices: Vec<Voice> = self.all().map(|(voice, _)| voice).collect();
        self.moved.extend(voices);
    }

    /// Why the second model is asked no more, once.
    pub fn second_failure(&mut self) -> Option<SecondFailure> {
        self.second_failure.take()
    }

    /// Begins to score what is left of each choice that has no chunk to run, where that is asked for.
    pub fn begin_tails(&mut self, tokeniser: &mut impl Tokenise) -> Result<(), ClassifyError> {
        let Self { tails: Some(tails), prompt, choices, moved, .. } = self else { return Ok(()) };
        if prompt.as_ref().is_some_and(|prompt| !prompt.is_over()) {
            return Ok(());
        }
        for (&position, reader) in choices.iter().filter(|(_, reader)| !reader.has_chunk()) {
            let tail = tails.entry(position).or_default();
            let told = tail.scores.as_ref().map_or(0, |scores| scores.bytes);
            if tail.reader.is_some() || reader.heard_bytes() <= told.max(reader.scored_bytes()) {
                continue;
            }
            tail.reader = Some(Box::new(reader.ended_here(tokeniser)?));
            if tail.end_if_over() {
                moved.insert(Voice::Choice(position));
            }
        }
        Ok(())
    }

    /// A choice that is being scored as if it ended, and is not among `but`.
    #[must_use]
    pub fn next_tail(&self, but: &[Voice]) -> Option<Voice> {
        let tails = self.tails.iter().flatten().filter(|(_, tail)| tail.reader.is_some());
        tails.map(|(&position, _)| Voice::Choice(position)).find(|voice| !but.contains(voice))
    }

    /// Adds the next chunk of a voice that is scored as if it ended to a batch.
    pub fn fill_tail(&mut self, voice: Voice, batch: &mut Batch) {
        let Self { tails, ground, .. } = self;
        if let Some(reader) = tail_of(tails, voice).and_then(|tail| tail.reader.as_mut()) {
            reader.fill(batch, ground);
        }
    }

    /// Takes in what the network gave for that chunk.
    pub fn take_in_tail(
        &mut self,
        voice: Voice,
        batch: &Batch,
        row: usize,
    ) -> Result<(), ClassifyError> {
        let Self { tails, ground, .. } = self;
        let Some(tail) = tail_of(tails, voice) else { return Ok(()) };
        if let Some(reader) = &mut tail.reader {
            reader.take_in(batch, row, ground)?;
        }
        if tail.end_if_over() {
            self.moved.insert(voice);
        }
        Ok(())
    }

    /// What was concluded since the last call.
    pub fn news(&mut self) -> Vec<(Voice, Scores)> {
        let moved = std::mem::take(&mut self.moved);
        moved.into_iter().filter_map(|voice| Some((voice, self.scores(voice)?))).collect()
    }

    /// Drops all that is kept of a voice.
    pub fn forget(&mut self, voice: Voice) {
        self.moved.remove(&voice);
        match voice {
            Voice::Prompt => self.prompt = None,
            Voice::Choice(position) => {
                self.choices.remove(&position);
                if let Some(tails) = &mut self.tails {
                    tails.remove(&position);
                }
            }
        }
    }

    /// Runs everything that can be run, on the first network and on the second, where there is one.
    pub fn run<N: Network>(
        &mut self,
        first: &mut N,
        mut second: Option<&mut N>,
        batch: &mut Batch,
    ) -> Result<(), ClassifyError> {
        loop {
            let mut voices = Vec::new();
            batch.clear();
            self.settle_prompt();
            while voices.len() < self.max_rows()
                && let Some(voice) = self.next_ready(&voices)
            {
                self.fill(voice, batch);
                voices.push(voice);
            }
            if voices.is_empty() {
                self.answer_all(second, batch);
                return Ok(());
            }
            first.run(batch)?;
            for (row, &voice) in voices.iter().enumerate() {
                self.take_in(voice, batch, row)?;
            }
            self.answer_all(second.as_deref_mut(), batch);
        }
    }

    fn answer_all(&mut self, second: Option<&mut impl Network>, batch: &mut Batch) {
        let Some(second) = second else { return };
        batch.clear();
        while let Some(question) = self.ask(batch) {
            let ran = second.run(batch);
            self.answer(question, ran.map(|()| &*batch));
            batch.clear();
        }
    }

    /// Keeps of a prompt that was read to its end only what choices begin with; call it before [`Self::next_ready`].
    pub fn settle_prompt(&mut self) {
        let Some(prompt) = self.prompt.as_mut().filter(|prompt| prompt.is_over()) else { return };
        let ground = prompt.ground();
        let state = if ground.state.is_empty() {
            std::mem::take(&mut self.ground.state)
        } else {
            ground.state
        };
        self.ground = Ground { state, ..ground };
        if prompt.next_window().is_none() {
            self.prompt_scores = Some(prompt.scores());
            self.prompt = None;
        }
    }

    /// What a voice has shown so far.
    #[must_use]
    pub fn scores(&self, voice: Voice) -> Option<Scores> {
        match voice {
            Voice::Prompt => match &self.prompt {
                Some(prompt) => Some(prompt.scores()),
                None => self.prompt_scores.clone(),
            },
            Voice::Choice(position) => {
                let reader = self.choices.get(&position)?;
                let mut scores = reader.scores();
                if reader.next_window().is_none() {
                    let tail = self.tails.as_ref().and_then(|tails| tails.get(&position));
                    scores.tail = tail.and_then(|tail| tail.scores.clone());
                }
                Some(scores)
            }
        }
    }

    fn note_overflow(&mut self, voice: Voice) {
        let second = self.known(voice).and_then(Reader::second);
        if second.is_some_and(|second| second.has_overflowed()) {
            self.fail_second(Some(SecondFailure::Overflow));
        }
    }

    fn all(&self) -> impl Iterator<Item = (Voice, &Reader)> {
        let prompt = self.prompt.as_deref().map(|reader| (Voice::Prompt, reader));
        let choices = self.choices.iter();
        prompt.into_iter().chain(choices.map(|(&at, reader)| (Voice::Choice(at), &**reader)))
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Reader> {
        let choices = self.choices.values_mut().map(|reader| &mut **reader);
        self.prompt.as_deref_mut().into_iter().chain(choices)
    }

    fn known(&mut self, voice: Voice) -> Option<&mut Reader> {
        match voice {
            Voice::Prompt => self.prompt.as_deref_mut(),
            Voice::Choice(position) => self.choices.get_mut(&position).map(|reader| &mut **reader),
        }
    }

    fn reader(&mut self, voice: Voice) -> &mut Reader {
        let Self { stages, trajectory, prompt, choices, second_failed, .. } = self;
        let new = || {
            let mut reader = Box::new(Reader::new(Arc::clone(stages), *trajectory));
            if *second_failed && let Some(second) = reader.second() {
                second.fail();
            }
            reader
        };
        match voice {
            Voice::Prompt => prompt.get_or_insert_with(new),
            Voice::Choice(position) => choices.entry(position).or_insert_with(new),
        }
    }
}

// === impl Tail ===

impl Tail {
    /// Keeps what was found once everything was scored; says whether it was.
    fn end_if_over(&mut self) -> bool {
        let over = self.reader.take_if(|reader| reader.is_over());
        if let Some(reader) = &over {
            self.scores = Some(Box::new(reader.scores()));
        }
        over.is_some()
    }
}

fn tail_of(tails: &mut Option<BTreeMap<usize, Tail>>, voice: Voice) -> Option<&mut Tail> {
    match voice {
        Voice::Prompt => None,
        Voice::Choice(position) => tails.as_mut()?.get_mut(&position),
    }
}
