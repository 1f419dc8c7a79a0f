//! Takes keys out of a tree, one after the other, and gathers what is wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use serde::{
    Deserialize,
    de::{IntoDeserializer, value::Error as ValueError},
};

use super::{
    error::ConfigError,
    tree::{Node, Origin, Value},
};

/// What the reading of a whole tree gathers.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) errors: Vec<ConfigError>,
    /// Every key that was asked for, with `<…>` in place of what the operator names.
    pub(super) keys: BTreeSet<String>,
}

/// One section whose keys are taken by name; what is left at the end is unknown.
#[derive(Debug)]
pub(super) struct Section {
    /// The path with which errors name the section.
    path: String,
    /// The path with which [`Findings::keys`] does.
    pattern: String,
    entries: BTreeMap<String, Node>,
    pub(super) origin: Option<Origin>,
}

// === impl Section ===

impl Section {
    /// The whole tree.
    pub(super) fn root(node: Node, findings: &mut Findings) -> Self {
        Self::of(Some(node), String::new(), String::new(), findings)
    }

    fn of(node: Option<Node>, path: String, pattern: String, findings: &mut Findings) -> Self {
        let origin = node.as_ref().map(|node| node.origin.clone());
        let entries = match node.map(|node| node.value) {
            None | Some(Value::Null) => BTreeMap::new(),
            Some(Value::Map(entries)) => entries,
            Some(Value::Scalar(_) | Value::List(_)) => {
                findings.errors.push(ConfigError {
                    origin: origin.clone(),
                    key: path.clone(),
                    reason: "expected a section with keys".to_owned(),
                });
                BTreeMap::new()
            }
        };
        Self { path, pattern, entries, origin }
    }

    /// The section under `key`; empty where there is none.
    pub(super) fn section(&mut self, key: &str, findings: &mut Findings) -> Self {
        self.section_like(key, key, findings)
    }

    /// The section under `key`, which stands for any key of the kind `pattern`.
    pub(super) fn section_like(
        &mut self,
        key: &str,
        pattern: &str,
        findings: &mut Findings,
    ) -> Self {
        let node = self.entries.remove(key);
        Self::of(node, join(&self.path, key), join(&self.pattern, pattern), findings)
    }

    /// The sections of the list under `key`.
    pub(super) fn sections(&mut self, key: &str, findings: &mut Findings) -> Vec<Self> {
        let pattern = format!("{}[]", join(&self.pattern, key));
        let path = join(&self.path, key);
        // An empty section is read too, so that its keys are known.
        let nodes = self.list(key, findings);
        nodes
            .into_iter()
            .enumerate()
            .map(|(at, node)| {
                Self::of(Some(node), format!("{path}[{at}]"), pattern.clone(), findings)
            })
            .collect()
    }

    /// An empty section with which the keys of a list's items are made known.
    pub(super) fn template(&self, key: &str) -> Self {
        let pattern = format!("{}[]", join(&self.pattern, key));
        Self { path: String::new(), pattern, entries: BTreeMap::new(), origin: None }
    }

    /// The items of the list under `key`; one scalar is a list of one.
    pub(super) fn list(&mut self, key: &str, findings: &mut Findings) -> Vec<Node> {
        self.asked(key, findings);
        match self.entries.remove(key) {
            None | Some(Node { value: Value::Null, .. }) => Vec::new(),
            Some(Node { value: Value::List(items), .. }) => items,
            Some(node @ Node { value: Value::Scalar(_), .. }) => vec![node],
            Some(Node { value: Value::Map(_), origin }) => {
                self.complain(findings, key, Some(origin), "expected a list");
                Vec::new()
            }
        }
    }

    /// Whether `key` is set.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Where `key` is set.
    pub(super) fn origin_of(&self, key: &str) -> Option<Origin> {
        self.entries.get(key).map(|node| node.origin.clone())
    }

    /// The keys that have not been taken yet.
    pub(super) fn names(&self) -> Vec<String> {
        self.entries.keys().cloned().collect()
    }

    /// The value of `key` as `parse` reads it; `parse` says what it expected instead.
    pub(super) fn value<T>(
        &mut self,
        key: &str,
        findings: &mut Findings,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.value_like(key, key, findings, parse)
    }

    /// The value of `key`, which stands for any key of the kind `pattern`.
    pub(super) fn value_like<T>(
        &mut self,
        key: &str,
        pattern: &str,
        findings: &mut Findings,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.asked(pattern, findings);
        let node = self.entries.remove(key)?;
        let text = match node.value {
            Value::Null => return None,
            Value::Scalar(text) => text,
            Value::List(_) | Value::Map(_) => {
                self.complain(findings, key, Some(node.origin), "expected one value");
                return None;
            }
        };
        match parse(&text) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.complain(findings, key, Some(node.origin), &reason);
                None
            }
        }
    }

    /// Notes that `key` of this section is wrong.
    pub(super) fn complain(
        &self,
        findings: &mut Findings,
        key: &str,
        origin: Option<Origin>,
        reason: &str,
    ) {
        findings.errors.push(ConfigError {
            origin,
            key: join(&self.path, key),
            reason: reason.to_owned(),
        });
    }

    /// Refuses what nobody has taken.
    pub(super) fn finish(self, findings: &mut Findings) {
        for (key, node) in &self.entries {
            self.complain(findings, key, Some(node.origin.clone()), "unknown key");
        }
    }

    fn asked(&self, key: &str, findings: &mut Findings) {
        findings.keys.insert(join(&self.pattern, key));
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

// === what values look like ===

/// `true` or `false`.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "expected true or false".to_owned())
}

/// A whole number.
pub(super) fn count(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "expected a whole number".to_owned())
}

/// A whole number that is not 0.
pub(super) fn some(text: &str) -> Result<usize, String> {
    match count(text) {
        Ok(number) if number > 0 => Ok(number),
        Ok(_) | Err(_) => Err("expected a whole number from 1".to_owned()),
    }
}

/// A file or a folder.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("expected a path".to_owned()) } else { Ok(PathBuf::from(text)) }
}

/// A number of bytes, with or without a unit.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = text.strip_prefix(digits).unwrap_or_default();
    let factor = match unit {
        "" | "B" => Some(1),
        "kB" => Some(1_000),
        "KiB" => Some(1 << 10),
        "MB" => Some(1_000_000),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    digits
        .trim_end()
        .parse::<usize>()
        .ok()
        .zip(factor)
        .and_then(|(number, factor)| number.checked_mul(factor))
        .ok_or_else(|| "expected a size like 32 MiB".to_owned())
}

/// A span of time with its unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| "expected a duration like 30s or 500ms".to_owned())
}

/// A value of a closed set, by its name.
pub(super) fn named<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
    T::deserialize(text.into_deserializer()).map_err(|error: ValueError| {
        // serde's message names the value first; only the names that were expected are told.
        let message = error.to_string();
        match message.split_once("expected ") {
            Some((_, expected)) => format!("expected {}", expected.replace('`', "")),
            None => "unknown name".to_owned(),
        }
    })
}

/// A text that is taken as it stands.
#[expect(clippy::unnecessary_wraps, reason = "it stands beside the other readers of values")]
pub(super) fn text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}
