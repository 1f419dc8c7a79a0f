//! A model's files, checked against the checksums of its manifest.

use std::{borrow::Cow, fs, path::Path};

use sha2::{Digest as _, Sha256};

use super::model::ModelError;
use crate::classify::Manifest;

/// What a model is made of, read and checked.
#[derive(Clone, Debug)]
pub struct ModelFiles {
    /// Where the files stand, as errors name it.
    pub(super) origin: String,
    pub(super) manifest: Manifest,
    pub(super) graph: Cow<'static, [u8]>,
    pub(super) tokenizer: Cow<'static, [u8]>,
}

// === impl ModelFiles ===

impl ModelFiles {
    /// The model inside the binary.
    pub fn builtin() -> Result<Self, ModelError> {
        Self::check(
            "the built-in model".to_owned(),
            include_bytes!("../../models/default/manifest.json"),
            Cow::Borrowed(include_bytes!("../../models/default/model.onnx")),
            Cow::Borrowed(include_bytes!("../../models/default/tokenizer.json")),
        )
    }

    /// The model in a folder: `manifest.json` and the files that it names.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read(&path).map_err(|cause| ModelError::File { path, cause })
        };
        let manifest = read("manifest.json")?;
        let (graph, tokenizer) = (read(Manifest::MODEL)?, read(Manifest::TOKENIZER)?);
        let origin = folder.display().to_string();
        Self::check(origin, &manifest, Cow::Owned(graph), Cow::Owned(tokenizer))
    }

    fn check(
        origin: String,
        manifest: &[u8],
        graph: Cow<'static, [u8]>,
        tokenizer: Cow<'static, [u8]>,
    ) -> Result<Self, ModelError> {
        let manifest = Manifest::parse(manifest)
            .map_err(|cause| ModelError::Manifest { origin: origin.clone(), cause })?;
        for (name, bytes) in [(Manifest::MODEL, &graph), (Manifest::TOKENIZER, &tokenizer)] {
            let sum = hex::encode(Sha256::digest(bytes));
            if manifest.files.get(name).is_none_or(|known| !known.eq_ignore_ascii_case(&sum)) {
                return Err(ModelError::Checksum { origin, file: name });
            }
        }
        Ok(Self { origin, manifest, graph, tokenizer })
    }
}
