//! Which rule packs are loaded, and the files they stand in.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::error::ConfigError;

/// Where rule packs come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleSource {
    /// The packs that are built into the binary.
    Builtin,
    /// A pack's file, or a folder of them.
    Path(PathBuf),
}

// === impl RuleSource ===

impl RuleSource {
    /// Reads `builtin` or a path.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if text == "builtin" { Self::Builtin } else { Self::Path(PathBuf::from(text)) }
    }
}

/// The pack files that `path` names: itself, or a folder's `*.yaml` and `*.yml`, sorted, without subfolders.
pub fn load_rule_files(path: &Path) -> Result<Vec<(PathBuf, String)>, ConfigError> {
    let files = if path.is_dir() { files_of(path)? } else { vec![path.to_owned()] };
    files
        .into_iter()
        .map(|file| match fs::read_to_string(&file) {
            Ok(text) => Ok((file, text)),
            Err(error) => Err(unreadable(&file, &error)),
        })
        .collect()
}

fn files_of(folder: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let entries = fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unreadable(folder, &error))?.path();
        let is_pack = path.extension().is_some_and(|end| end == "yaml" || end == "yml");
        if is_pack && path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(ConfigError {
            origin: None,
            key: "rules".to_owned(),
            reason: format!("no *.yaml or *.yml in {}", folder.display()),
        });
    }
    files.sort();
    Ok(files)
}

fn unreadable(path: &Path, error: &std::io::Error) -> ConfigError {
    ConfigError {
        origin: None,
        key: "rules".to_owned(),
        reason: format!("cannot read {}: {error}", path.display()),
    }
}
