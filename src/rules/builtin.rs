//! The packs inside the binary.

use super::PackSource;

/// File names under `rules/` and their contents; a new pack needs one line here.
const PACKS: &[(&str, &str)] = &[];

/// The shipped packs, in the order in which they are loaded.
#[must_use]
pub fn packs() -> Vec<PackSource> {
    PACKS
        .iter()
        .map(|(name, yaml)| PackSource {
            origin: format!("builtin:{name}"),
            yaml: (*yaml).to_owned(),
            folder: None,
        })
        .collect()
}
