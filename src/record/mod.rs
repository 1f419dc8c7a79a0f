//! What is kept of an exchange: counts, findings, outcomes; never its text unless the operator opted in.

pub mod audit;
pub mod capture;
pub mod event;
pub mod metrics;
mod trace_metrics;

pub use capture::{Capture, CaptureOutcome, Truncated};
pub use event::{
    AskAgainResult, AskedAgain, ByteCounts, ChannelReport, ChoiceReport, ClassifierFailure, Cut,
    ExchangeReport, Finding, Ground, HoldReason, OutcomeAct, Progress, RemoteFailure, Role,
    UnscannedReason,
};
