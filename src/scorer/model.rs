//! A model that is ready to run: its tokeniser, its graph, and what its numbers mean.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use tokenizers::Tokenizer;
use tokio::time::Instant;

use super::{
    backend::{Backend, Runtime},
    files::ModelFiles,
    graph::{Graph, Rows},
    words::{Words, frame, literal_tokenizer, tokenizer},
};
use crate::classify::{
    Batch, CHANNELS, Gait, Kind, Manifest, ManifestError, Network, Rate, SecondStage, Stage,
    Tokenise, manifest::Windows,
};

/// A model, loaded and tried out. Clones share everything.
#[derive(Clone, Debug)]
pub struct Model {
    files: Arc<ModelFiles>,
    tokenizer: Arc<Tokenizer>,
    stage: Stage,
    /// What one run takes of what is read at once.
    run_time: Duration,
}

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file cannot be read.
    #[error("cannot read {path}: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// The manifest is broken.
    #[error("{origin}: {cause}")]
    Manifest {
        /// Where it stands.
        origin: String,
        /// What is wrong with it.
        cause: ManifestError,
    },
    /// A file is not the one that the manifest means.
    #[error("{origin}: the checksum of {file} is not the manifest's")]
    Checksum {
        /// Where the files stand.
        origin: String,
        /// The file's name.
        file: &'static str,
    },
    /// The tokeniser is broken.
    #[error("{origin}: tokenizer.json cannot be used: {cause}")]
    Tokenizer {
        /// Where it stands.
        origin: String,
        /// Its own reason.
        cause: String,
    },
    /// The model cannot be a second one.
    #[error("{origin}: {cause}")]
    Second {
        /// Where it stands.
        origin: String,
        /// What it lacks.
        cause: &'static str,
    },
    /// The runtime refuses the graph.
    #[error("{origin}: model.onnx cannot be used: {cause}")]
    Graph {
        /// Where it stands.
        origin: String,
        /// The runtime's reason.
        cause: String,
    },
}

// === impl Model ===

impl Model {
    /// Makes files a model, and runs it so that what is broken is told now.
    pub fn load(files: ModelFiles, rate: Rate) -> Result<Self, ModelError> {
        let broken = |cause| ModelError::Manifest { origin: files.origin.clone(), cause };
        let unusable = |cause| ModelError::Tokenizer { origin: files.origin.clone(), cause };
        let rubric = files.manifest.rubric(rate).map_err(broken)?;
        let (tokenizer, gait) = match &files.manifest.kind {
            Kind::Causal => (tokenizer(&files.tokenizer).map_err(unusable)?, Gait::Chunks),
            Kind::Window(windows) => {
                let tokenizer = literal_tokenizer(&files.tokenizer).map_err(unusable)?;
                let frame = frame(&tokenizer).map_err(unusable)?;
                let prefix = prefixes(windows, &tokenizer).map_err(unusable)?;
                let number_of = |token: &str| tokenizer.token_to_id(token);
                let shape = windows.shape(frame, prefix, number_of).map_err(broken)?;
                (tokenizer, Gait::Windows(Box::new(shape)))
            }
        };
        let stage = Stage { rubric: Arc::new(rubric), gait };
        let (files, tokenizer) = (Arc::new(files), Arc::new(tokenizer));
        let mut model = Self { files, tokenizer, stage, run_time: Duration::ZERO };
        model.run_time = model.try_out()?;
        Ok(model)
    }

    /// The model's name and version.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.files.manifest
    }

    /// What its numbers mean, and how it reads.
    #[must_use]
    pub const fn stage(&self) -> &Stage {
        &self.stage
    }

    /// The model as a second one, if it can be.
    pub fn second_stage(&self) -> Result<SecondStage, ModelError> {
        let lacks = |cause| ModelError::Second { origin: self.files.origin.clone(), cause };
        let Gait::Windows(shape) = &self.stage.gait else {
            return Err(lacks(
                "manifest.json is not of kind window, which a second model has to be",
            ));
        };
        let Some(consult) = self.files.manifest.consult else {
            return Err(lacks("manifest.json has no consult, which a second model needs"));
        };
        Ok(SecondStage {
            rubric: Arc::clone(&self.stage.rubric),
            shape: (**shape).clone(),
            consult,
        })
    }

    /// What runs it.
    #[must_use]
    pub fn backend(&self) -> Backend {
        Runtime::get().backend()
    }

    /// What one run took when the model was tried out, over as many tokens as are read at once.
    #[must_use]
    pub const fn run_time(&self) -> Duration {
        self.run_time
    }

    /// A graph for one thread.
    pub(super) fn graph(&self) -> Result<Graph, ModelError> {
        let rubric = &self.stage.rubric;
        let rows = match &self.files.manifest.kind {
            Kind::Causal => Rows::Chunks(rubric.state()),
            Kind::Window(windows) => Rows::Windows(windows.inputs.clone()),
        };
        let graph = Graph::new(&self.files, rows, rubric.outputs());
        graph.map_err(|cause| self.refused(cause))
    }

    /// A tokeniser for one thread.
    #[must_use]
    pub(super) fn words(&self) -> Words {
        Words::new(Arc::clone(&self.tokenizer))
    }

    /// Runs a word, and then as many of it as are read at once; says how long that takes.
    fn try_out(&self) -> Result<Duration, ModelError> {
        let mut tokens = Vec::new();
        let tokenised = self.words().tokenise("word ", &mut tokens);
        if tokenised.is_err() || tokens.is_empty() {
            let cause = "it gives no tokens".to_owned();
            return Err(ModelError::Tokenizer { origin: self.files.origin.clone(), cause });
        }
        let mut graph = self.graph()?;
        let mut took = Duration::ZERO;
        for mut batch in self.samples(&tokens) {
            let begun = Instant::now();
            graph.run(&mut batch).map_err(|error| self.refused(error.to_string()))?;
            took = begun.elapsed();
            if batch.logits.iter().chain(&batch.states_out).any(|number| !number.is_finite()) {
                return Err(self.refused("it gives what is no number".to_owned()));
            }
        }
        Ok(took)
    }

    /// Little to read, and then twice as much as may be read at once: the first time is not what later ones are.
    fn samples(&self, tokens: &[u32]) -> Vec<Batch> {
        match &self.stage.gait {
            Gait::Chunks => vec![Batch::sample(tokens, self.stage.rubric.state())],
            Gait::Windows(shape) => [1, shape.tokens, shape.tokens]
                .map(|count| Batch::sample_window(shape, tokens, count))
                .into(),
        }
    }

    fn refused(&self, cause: String) -> ModelError {
        ModelError::Graph { origin: self.files.origin.clone(), cause }
    }
}

/// What a tokeniser makes of what stands before the channels' texts.
fn prefixes(
    windows: &Windows,
    tokenizer: &Tokenizer,
) -> Result<[Vec<u32>; CHANNELS.len()], String> {
    let mut prefixes = [const { Vec::new() }; CHANNELS.len()];
    for (prefix, text) in prefixes.iter_mut().zip(windows.prefix()) {
        let encoding = tokenizer.encode_fast(text, false).map_err(|cause| cause.to_string())?;
        *prefix = encoding.get_ids().to_vec();
    }
    Ok(prefixes)
}
