//! Folding: text becomes comparable, with offsets back to the original.
//!
//! In: a channel's text as it arrives. Out: folded text ([`fold`]), and the way from a place in it back to
//! bytes and characters of the original ([`offsets`]).

pub mod fold;
pub(crate) mod lookalike;
pub mod offsets;
