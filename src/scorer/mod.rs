//! Runs the classifier: the model's files, the ONNX runtime under it, and the threads that score streams.
//!
//! In: passages of text that sessions hand out. Out: scores, or the reason why there are none. The way from text to
//! scores is [`crate::classify`]'s; what this module adds is what can fail: files, a foreign library, time.
//!
//! | module | does |
//! |---|---|
//! | `backend` | chooses the runtime: the library that `ORT_DYLIB_PATH` names, else tract, which is built in |
//! | `files` | a model's files with their checksums, from the binary or a folder |
//! | `words` | a model's tokeniser |
//! | `graph` | a model's graph in the runtime |
//! | `model` | [`Model`]: files → tokeniser and graph, tried out |
//! | `models` | [`Models`]: the one that reads everything, and the one that is asked where that is unsure |
//! | `threads` | the threads that score streams, in batches |
//! | `lane` | an exchange's way to its thread and back |
//! | `local` | scores a session on the caller's own thread (`scan`, `eval`) |

mod backend;
mod files;
mod fixed;
mod graph;
mod lane;
mod local;
mod model;
mod models;
mod threads;
mod words;

#[cfg(test)]
mod tests;

pub use backend::{Backend, Runtime};
pub use files::ModelFiles;
pub use lane::Lane;
pub use local::LocalScorer;
pub use model::{Model, ModelError};
pub use models::Models;
pub use threads::{Awaited, Scorers, ScorersError};
