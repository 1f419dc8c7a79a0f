//! The whole demo, without pauses.
