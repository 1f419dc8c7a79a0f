//! The packs inside the binary.

use super::PackSource;

/// File names under `rules/` and their contents; a new pack needs one line here.
const PACKS: &[(&str, &str)] = &[
    ("cbrn", include_str!("../../rules/cbrn.yaml")),
    ("child_safety", include_str!("../../rules/child_safety.yaml")),
    ("cybercrime", include_str!("../../rules/cybercrime.yaml")),
    ("ethics_morality", include_str!("../../rules/ethics_morality.yaml")),
    ("jailbreak", include_str!("../../rules/jailbreak.yaml")),
    ("offense_prejudice", include_str!("../../rules/offense_prejudice.yaml")),
    ("physical_mental_health", include_str!("../../rules/physical_mental_health.yaml")),
    ("privacy_confidentiality", include_str!("../../rules/privacy_confidentiality.yaml")),
    ("prompt_injection", include_str!("../../rules/prompt_injection.yaml")),
    ("property_infringement", include_str!("../../rules/property_infringement.yaml")),
    ("rationalisation", include_str!("../../rules/rationalisation.yaml")),
    ("refusal", include_str!("../../rules/refusal.yaml")),
    ("regulated_items", include_str!("../../rules/regulated_items.yaml")),
    ("rumors", include_str!("../../rules/rumors.yaml")),
    ("safety_thinking", include_str!("../../rules/safety_thinking.yaml")),
    ("secrets", include_str!("../../rules/secrets.yaml")),
    ("violence_terrorism", include_str!("../../rules/violence_terrorism.yaml")),
];

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
