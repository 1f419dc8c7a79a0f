//! The voices of one exchange: its prompt, and its choices, which begin with the prompt's state.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Batch, ClassifyError, Network, News, Passage, Reader, Rubric, Scores, Tokenise, Voice,
};

/// Rows of one batch at most.
pub const MAX_ROWS: usize = 16;

/// Every voice of an exchange.
#[derive(Debug)]
pub struct Readers {
    rubric: Arc<Rubric>,
    trajectory: bool,
    prompt: Option<Box<Reader>>,
    prompt_scores: Option<Scores>,
    /// The state with which choices begin.
    ground: Vec<f32>,
    choices: BTreeMap<usize, Box<Reader>>,
    /// Voices of which something new was concluded.
    moved: BTreeSet<Voice>,
}

// === impl Readers ===

impl Readers {
    /// An exchange of which nothing was read yet. `trajectory` keeps how the risk rose.
    #[must_use]
    pub fn new(rubric: Arc<Rubric>, trajectory: bool) -> Self {
        let ground = vec![0.0; rubric.state];
        let choices = BTreeMap::new();
        Self {
            rubric,
            trajectory,
            prompt: None,
            prompt_scores: None,
            ground,
            choices,
            moved: BTreeSet::new(),
        }
    }

    /// Takes in a passage.
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
        Ok(())
    }

    /// A voice with a chunk to run that is not among `but`. Choices wait for the prompt's end.
    #[must_use]
    pub fn next_ready(&self, but: &[Voice]) -> Option<Voice> {
        if let Some(prompt) = &self.prompt {
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
        self.reader(voice).take_in(batch, row)
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
            Voice::Choice(position) => drop(self.choices.remove(&position)),
        }
    }

    /// Runs everything that can be run.
    pub fn run(
        &mut self,
        network: &mut impl Network,
        batch: &mut Batch,
    ) -> Result<(), ClassifyError> {
        loop {
            let mut voices = Vec::new();
            batch.clear();
            self.settle_prompt();
            while voices.len() < MAX_ROWS
                && let Some(voice) = self.next_ready(&voices)
            {
                self.fill(voice, batch);
                voices.push(voice);
            }
            if voices.is_empty() {
                return Ok(());
            }
            network.run(batch)?;
            for (row, &voice) in voices.iter().enumerate() {
                self.take_in(voice, batch, row)?;
            }
        }
    }

    /// Keeps of a prompt that was read to its end only what choices begin with; call it before [`Self::next_ready`].
    pub fn settle_prompt(&mut self) {
        if let Some(prompt) = self.prompt.take_if(|prompt| prompt.is_over()) {
            self.prompt_scores = Some(prompt.scores());
            let state = prompt.into_state();
            if !state.is_empty() {
                self.ground = state;
            }
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
            Voice::Choice(position) => self.choices.get(&position).map(|reader| reader.scores()),
        }
    }

    fn reader(&mut self, voice: Voice) -> &mut Reader {
        let Self { rubric, trajectory, prompt, choices, .. } = self;
        let new = || Box::new(Reader::new(Arc::clone(rubric), *trajectory));
        match voice {
            Voice::Prompt => prompt.get_or_insert_with(new),
            Voice::Choice(position) => choices.entry(position).or_insert_with(new),
        }
    }
}
