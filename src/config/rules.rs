//! Which rule packs are loaded, and the files they stand in.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::error::{ConfigError, ConfigErrors};
use crate::rules::{Pack, PackError, RuleSet, builtin};

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

/// Reads and compiles every pack that `sources` name, or tells all that is broken.
pub fn load_rules(sources: &[RuleSource]) -> Result<RuleSet, ConfigErrors> {
    let mut packs = Vec::new();
    let mut errors = Vec::new();
    for source in sources {
        match source {
            RuleSource::Builtin => {
                for pack in builtin::packs() {
                    keep(parse(&pack.origin, &pack.yaml, None), &mut packs, &mut errors);
                }
            }
            RuleSource::Path(path) => match load_rule_files(path) {
                Ok(files) => {
                    for (file, yaml) in files {
                        let pack = parse(&file.display().to_string(), &yaml, file.parent());
                        keep(pack, &mut packs, &mut errors);
                    }
                }
                Err(error) => errors.push(error),
            },
        }
    }
    if !errors.is_empty() {
        return Err(ConfigErrors(errors));
    }
    RuleSet::compile(packs).map_err(|errors| ConfigErrors(errors.iter().map(broken_rule).collect()))
}

/// Reads one pack; its literal files stand beside it.
fn parse(origin: &str, yaml: &str, folder: Option<&Path>) -> Result<Pack, Vec<PackError>> {
    Pack::parse(origin, yaml, &|name| match folder {
        Some(folder) => {
            let path = folder.join(name);
            fs::read_to_string(&path)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))
        }
        None => Err("built-in packs have no files beside them".to_owned()),
    })
}

fn keep(pack: Result<Pack, Vec<PackError>>, packs: &mut Vec<Pack>, errors: &mut Vec<ConfigError>) {
    match pack {
        Ok(pack) => packs.push(pack),
        Err(broken) => errors.extend(broken.iter().map(broken_rule)),
    }
}

fn broken_rule(error: &PackError) -> ConfigError {
    ConfigError { origin: None, key: String::new(), reason: error.to_string() }
}

/// The pack files that `path` names: itself, or a folder's `*.yaml` and `*.yml`, sorted, without subfolders.
fn load_rule_files(path: &Path) -> Result<Vec<(PathBuf, String)>, ConfigError> {
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
