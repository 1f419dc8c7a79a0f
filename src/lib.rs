//! thinkgate reads the thinking and the answer of a reasoning model while they stream.
//!
//! The modules stand in the order in which an exchange's data goes through them; each uses only those
//! declared above it (`tests/it/architecture.rs` fails on an import that runs the other way).
//!
//! | module | takes | gives |
//! |---|---|---|
//! | [`wire`] | body bytes, cut anywhere | frames: SSE events, NDJSON lines, items of an array, whole JSON bodies |
//! | [`dialect`] | a frame | deltas per choice; and back: the bytes of a refusal |
//! | [`channel`] | deltas | text of the channels: prompt, thinking, answer, tool call, refusal |
//! | [`text`] | channel text | folded text with offsets into the original |
//! | [`rules`] | folded text | matches of rule packs, and from where on a match may still come |
//! | [`classify`] | channel text | how probable harm, safety thinking and refusal are, by a learned model |
//! | [`consult`] | a text and the prompt beside it | what a guard model elsewhere is asked, and what its reply says |
//! | [`trace`] | what an exchange showed | its outcome: thinking and answer judged together |
//! | [`policy`] | findings | verdicts, and the action that the mode allows |
//! | [`record`] | events | metrics, audit lines, captures |
//! | [`session`] | bytes and the time | effects: forward, stop, record (the core's one interface) |
//! | [`config`] | flags, environment, file | a checked configuration |
//! | [`scorer`] | text that sessions hand out | its scores, from threads that run the model |
//! | [`proxy`] | an HTTP request | an HTTP response, with a session reading along |
//! | [`extproc`] | what an Envoy asks about an exchange | what it is to do, with the same session reading along |
//! | [`server`] | sockets | connections, drained at the end |
//! | [`app`] | a configuration | a running thinkgate |
//!
//! The first eleven are the *core*: synchronous, without network, clock, environment or runtime. The rest is
//! the *shell*: async and thin. ARCHITECTURE.md tells the life of a request.

#![cfg_attr(
    test,
    expect(
        clippy::string_slice,
        reason = "a test that slices wrongly fails, which is what it is for"
    )
)]

pub mod wire;
pub mod dialect;
pub mod channel;
pub mod text;
pub mod rules;
pub mod classify;
pub mod consult;
pub mod trace;
pub mod policy;
pub mod record;
pub mod session;
pub mod config;
pub mod scorer;
pub mod proxy;
pub mod extproc;
pub mod server;
pub mod app;
