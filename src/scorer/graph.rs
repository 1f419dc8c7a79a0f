//! A model's graph in the runtime.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use ort::{
    session::{Session, SessionInputValue, SessionOutputs, builder::GraphOptimizationLevel},
    value::TensorRef,
};

use super::{
    backend::{Backend, Runtime},
    files::ModelFiles,
    fixed::with_rows,
};
use crate::classify::{
    Batch, ClassifyError, Network, STEPS, Window, manifest::Input, readers::MAX_ROWS,
};

/// The numbers of rows that tract has a graph for.
const SIZES: [usize; 4] = [1, 4, 8, MAX_ROWS];

/// A graph in the runtime: one a thread.
#[derive(Debug)]
pub(super) struct Graph {
    sessions: Sessions,
    rows: Rows,
    /// How many numbers it gives for each place that it judges.
    outputs: usize,
}

/// What the graph reads at once.
#[derive(Clone, Debug)]
pub(super) enum Rows {
    /// Chunks, with a state of so many numbers.
    Chunks(usize),
    /// Windows, through these inputs.
    Windows(Vec<Input>),
}

/// The runtime's own form of the graph.
#[derive(Debug)]
enum Sessions {
    /// For any number of rows.
    Any(Box<Session>),
    /// For each of [`SIZES`] one, made when it is first needed.
    Sized { files: Arc<ModelFiles>, made: BTreeMap<usize, Session> },
}

// === impl Graph ===

impl Graph {
    /// Gives a graph to the runtime.
    pub(super) fn new(files: &Arc<ModelFiles>, rows: Rows, outputs: usize) -> Result<Self, String> {
        let sessions = match Runtime::get().backend() {
            Backend::Native => Sessions::Any(Box::new(session(&files.graph)?)),
            Backend::Tract => {
                let mut sized = Sessions::Sized { files: Arc::clone(files), made: BTreeMap::new() };
                // What is broken is told now.
                sized.of(1)?;
                sized
            }
        };
        Ok(Self { sessions, rows, outputs })
    }

    fn run_once(&mut self, batch: &mut Batch) -> Result<(), String> {
        match &self.rows {
            Rows::Chunks(state) => {
                let (rows, session) = self.sessions.of(batch.rows)?;
                batch.pad(rows, *state);
                run_chunks(session, batch, rows, *state, self.outputs)
            }
            Rows::Windows(inputs) => {
                let (_, session) = self.sessions.of(1)?;
                for window in &batch.windows {
                    let given = run_window(session, window, inputs, self.outputs)?;
                    batch.logits.extend(given);
                }
                Ok(())
            }
        }
    }
}

impl Network for Graph {
    fn run(&mut self, batch: &mut Batch) -> Result<(), ClassifyError> {
        // What the runtime is given depends on the text only by its tokens; still, a panic in it is a failure.
        let ran = catch_unwind(AssertUnwindSafe(|| self.run_once(batch)));
        ran.unwrap_or_else(|_| Err("the runtime gave up".to_owned()))
            .map_err(ClassifyError::Network)
    }
}

// === impl Sessions ===

impl Sessions {
    /// What runs at least so many rows, and how many it wants.
    fn of(&mut self, rows: usize) -> Result<(usize, &mut Session), String> {
        match self {
            Self::Any(session) => Ok((rows, session)),
            Self::Sized { files, made } => {
                let size = SIZES.into_iter().find(|&size| size >= rows).unwrap_or(rows);
                let session = match made.entry(size) {
                    Entry::Occupied(session) => session.into_mut(),
                    Entry::Vacant(place) => place.insert(session(&with_rows(&files.graph, size)?)?),
                };
                Ok((size, session))
            }
        }
    }
}

fn session(graph: &[u8]) -> Result<Session, String> {
    // A runtime that meets a graph it does not expect may panic.
    let built = catch_unwind(AssertUnwindSafe(|| built(graph)));
    built.unwrap_or_else(|_| Err("the runtime gave up".to_owned()))
}

fn built(graph: &[u8]) -> Result<Session, String> {
    let told = |error: ort::Error| error.to_string();
    let builder = Session::builder(Runtime::get().environment()?).map_err(told)?;
    let builder = builder
        .with_optimization_level(GraphOptimizationLevel::Level3)
        .map_err(|error| error.to_string())?;
    let builder = builder.with_intra_threads(1).map_err(|error| error.to_string())?;
    let mut builder = builder.with_inter_threads(1).map_err(|error| error.to_string())?;
    builder.commit_from_memory(graph).map_err(told)
}

fn run_chunks(
    session: &mut Session,
    batch: &mut Batch,
    rows: usize,
    state: usize,
    heads: usize,
) -> Result<(), String> {
    let steps = [rows, STEPS];
    let inputs = ort::inputs! {
        "tokens" => TensorRef::from_array_view((steps, &*batch.tokens)).map_err(told)?,
        "channel" => TensorRef::from_array_view((steps, &*batch.channels)).map_err(told)?,
        "mask" => TensorRef::from_array_view((steps, &*batch.mask)).map_err(told)?,
        "state" => TensorRef::from_array_view(([rows, state], &*batch.states)).map_err(told)?,
    };
    let outputs = session.run(inputs).map_err(told)?;
    batch.logits = numbers(&outputs, "logits", rows * STEPS * heads)?;
    batch.states_out = numbers(&outputs, "state_out", rows * state)?;
    Ok(())
}

/// Runs one window, as long as it is: padding would be read, too, where a graph scales its numbers by their largest.
fn run_window(
    session: &mut Session,
    window: &Window,
    inputs: &[Input],
    heads: usize,
) -> Result<Vec<f32>, String> {
    let shape = [1, window.ids.len()];
    let mask = vec![1_i64; window.ids.len()];
    let mut values: Vec<(&str, SessionInputValue<'_>)> = Vec::new();
    for input in inputs {
        let numbers = match input {
            Input::InputIds => &window.ids,
            Input::AttentionMask => &mask,
            Input::TokenTypeIds => &window.kinds,
        };
        let tensor = TensorRef::from_array_view((shape, &**numbers)).map_err(told)?;
        values.push((input.name(), tensor.into()));
    }
    let outputs = session.run(values).map_err(told)?;
    numbers(&outputs, "logits", heads)
}

fn numbers(outputs: &SessionOutputs<'_>, name: &str, count: usize) -> Result<Vec<f32>, String> {
    let value = outputs.get(name).ok_or_else(|| format!("it gives no {name}"))?;
    let (_, numbers) = value.try_extract_tensor::<f32>().map_err(told)?;
    if numbers.len() == count {
        Ok(numbers.to_vec())
    } else {
        Err(format!("it gives {} numbers of {name}, expected {count}", numbers.len()))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "errors are mapped by value")]
fn told(error: ort::Error) -> String {
    error.to_string()
}
