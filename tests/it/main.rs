//! The integration tests: a thinkgate in this process (or the binary), a scripted upstream behind it, bytes compared.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on says so"
)]

/// The module order of the library, and what its core may name.
mod architecture;
mod asking_again;
/// Exchanges that are kept with their content.
mod capture;
/// The learned detector: its model, its files, what it says.
mod classifier;
/// The command: its output, its exit codes, its signals.
mod command;
/// Content codings.
mod compression;
/// The configuration file, its errors and its documentation.
mod configuration;
/// Held and whole bodies, and what may not pass.
mod enforcement;
/// Labelled exchanges, and the figures that come of them.
mod eval;
/// A model that is asked and judged, and what is exported of it.
mod eval_model;
/// What an Envoy is told of the exchanges that go through it.
mod ext_proc;
/// Peers that break, stall, lie or vanish.
mod faults;
/// Wires that are not completions, through real sockets.
mod native_wires;
/// Recorded response bodies, cut everywhere, give the expected texts.
mod recorded_streams;
/// Metrics, audit lines, the operator's listener.
mod records;
/// A configuration that is read again.
mod reload;
/// A guard model elsewhere: what it is asked, what it says, and what it fails to say.
mod remote;
mod replay;
/// Bodies that no server would send.
mod robustness;
/// `thinkgate rules`: what it says of packs.
mod rules_command;
/// Recorded bodies and traces, from the command line.
mod scan;
mod support;
/// What goes through unchanged.
mod transparency;
/// Responses and Messages, and their ends.
mod wires;
