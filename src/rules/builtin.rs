//! The packs inside the binary.

use super::PackSource;

/// Names of packs under `rules/` and their contents. A new pack needs one line:
/// `("cyber", include_str!("../../rules/cyber.yaml")),`
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::rules::{Pack, RuleSet, examples};

    #[test]
    fn shipped_packs_do_what_their_examples_say() {
        let packs = packs()
            .iter()
            .map(|source| {
                Pack::parse(&source.origin, &source.yaml, &|_| Err("not built in".to_owned()))
            })
            .collect::<Result<Vec<_>, _>>()
            .unwrap();
        let rules = Arc::new(RuleSet::compile(packs).unwrap());
        assert_eq!(examples::check(&rules), []);
    }
}
