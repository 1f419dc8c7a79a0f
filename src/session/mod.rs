//! One exchange's state machine: bytes and the time go in, effects come out.
//!
//! The session is the one interface between the core and whatever drives it: the proxy, `scan`, the benches and
//! the fuzzers all drive this same code. It knows no socket, no clock and no runtime.
//!
//! | module | holds |
//! |---|---|
//! | `plan` | what the exchanges of a route share |
//! | `machine` | [`Session`], the state machine, and its response's half |
//! | `request` | the request's half |
//! | `choice` | one choice: which piece of a frame goes to which text |
//! | `source` | a place that brings text, and how its bytes map to texts |
//! | `text_stream` | one text with its matcher and findings |
//! | `scoring` | what goes to the classifier, and what has come back |
//! | `consulting` | what a guard model elsewhere is asked, and what it has answered |
//! | `outcomes` | what is done about a trace's outcome |
//! | `asking_again` | the model asked once more, where its thinking was blocked |
//! | `hold_back` | the queue of frames that wait (enforce mode) |
//! | `redaction` | what becomes of a frame that leaves: masked spans, hidden thinking |
//! | `report` | what the exchange has shown |
//! | `judgement` | what a choice's findings mean together |

mod asking_again;
mod choice;
mod consulting;
mod effect;
mod hold_back;
mod judgement;
mod machine;
mod outcomes;
mod plan;
mod redaction;
mod report;
mod request;
mod scoring;
mod seam;
mod source;
mod text_stream;
mod together;

#[cfg(test)]
mod tests;

pub use consulting::Consultant;
pub use effect::{
    BodyEnd, Delivery, Effect, Identity, LocalResponse, RequestDecision, ResponseHead,
};
pub use machine::{Keep, Session};
pub use outcomes::OUTCOME_FIELD;
pub use plan::{DEFAULT_NOTICE, Hold, Limits, MASK, OnDeadline, Plan, Settings};
pub use scoring::{ClassifierHold, Judge};
