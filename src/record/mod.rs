//! What is kept of an exchange: counts, findings, outcomes; never its text unless the operator opted in.

pub mod event;

pub use event::{
    ByteCounts, ChannelReport, ChoiceReport, ExchangeReport, Finding, HoldReason, Progress,
    UnscannedReason,
};
