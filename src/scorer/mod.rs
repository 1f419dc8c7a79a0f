//! Runs the classifier: the model's files, the ONNX runtime under it, and the threads that score streams.
//!
//! In: passages of text that sessions hand out. Out: scores, or the reason why there are none. The way from text to
//! scores is [`crate::classify`]'s; what this module adds is what can fail: files, a foreign library, time.
//!
//! | module | does |
//! |---|---|
//! | `backend` | chooses the runtime: the library that `ORT_DYLIB_PATH` names, else tract, which is built in |
//! | `files` | a model's files with their checksums, from the binary or a folder |
//! | `model` | [`Model`]: files → tokeniser and network, tried out |
//! | `threads` | the threads that score streams, in batches |
//! | `lane` | an exchange's way to its thread and back |
//! | `local` | scores a session on the caller's own thread (`scan`, `eval`) |

mod backend;
mod files;
mod lane;
mod local;
mod model;
mod threads;

#[cfg(test)]
mod tests;

pub use backend::{Backend, Runtime};
pub use files::ModelFiles;
pub use lane::Lane;
pub use local::LocalScorer;
pub use model::{Model, ModelError};
pub use threads::{Scorers, ScorersError};
