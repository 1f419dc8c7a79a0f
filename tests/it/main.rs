//! The integration tests: one binary, a module per concern.

/// Recorded response bodies, cut everywhere, give the expected texts.
mod recorded_streams;
