//! Values as they were written, each with the place where it stands.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

use super::error::ConfigError;

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In a file.
    File {
        /// The path as it was given.
        path: Arc<str>,
        /// The line, from 1.
        line: u64,
        /// The column, from 1.
        column: u64,
    },
    /// In this environment variable.
    Environment(String),
    /// By this flag.
    Flag(&'static str),
}

/// A value and its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// The place.
    pub origin: Origin,
    /// The value.
    pub value: Value,
}

/// A value as it was written.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing, as in `key:`.
    Null,
    /// A string, number or boolean, as text.
    Scalar(String),
    /// A list.
    List(Vec<Node>),
    /// Keys with their values.
    Map(BTreeMap<String, Node>),
}

/// A tree read from a YAML document.
pub fn from_yaml(path: &str, text: &str) -> Result<Node, ConfigError> {
    let path: Arc<str> = path.into();
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        let origin = Origin::File { path, line: 1, column: 1 };
        return Ok(Node { origin, value: Value::Map(BTreeMap::new()) });
    }
    match serde_saphyr::from_str::<Spanned<RawValue>>(text) {
        Ok(raw) => Ok(place(&path, raw)),
        Err(error) => Err(unreadable(&path, &error)),
    }
}

/// A tree of the environment's `THINKGATE_` variables: `THINKGATE_POLICY__NOTICE` sets `policy.notice`.
pub fn from_environment(
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Node, ConfigError> {
    let mut root = Node {
        origin: Origin::Environment("THINKGATE_".to_owned()),
        value: Value::Map(BTreeMap::new()),
    };
    for (name, text) in variables {
        let Some(key) = name.strip_prefix("THINKGATE_") else { continue };
        if is_not_a_key(key) {
            continue;
        }
        let path: Vec<String> = key.split("__").map(str::to_ascii_lowercase).collect();
        let origin = Origin::Environment(name);
        let value = if path == ["rules"] {
            Value::List(split_list(&origin, &text))
        } else {
            Value::Scalar(text)
        };
        insert(&mut root, &path, Node { origin, value })?;
    }
    Ok(root)
}

/// A tree with one key, given by a flag.
#[must_use]
pub fn from_flag(flag: &'static str, key: &[&str], value: Value) -> Node {
    let origin = Origin::Flag(flag);
    key.iter().rev().fold(Node { origin: origin.clone(), value }, |node, key| Node {
        origin: origin.clone(),
        value: Value::Map(BTreeMap::from([((*key).to_owned(), node)])),
    })
}

// === impl Node ===

impl Node {
    /// Lays `above` over this tree: maps are merged, everything else is replaced.
    #[must_use]
    pub fn under(self, above: Self) -> Self {
        match (self.value, above.value) {
            (Value::Map(mut below), Value::Map(above_map)) => {
                for (key, node) in above_map {
                    let merged = match below.remove(&key) {
                        Some(old) => old.under(node),
                        None => node,
                    };
                    below.insert(key, merged);
                }
                Self { origin: self.origin, value: Value::Map(below) }
            }
            (_, value) => Self { origin: above.origin, value },
        }
    }
}

// === impl Origin ===

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: 0, .. } => write!(out, "{path}"),
            Self::File { path, line, column } => write!(out, "{path}:{line}:{column}"),
            Self::Environment(name) => write!(out, "environment variable {name}"),
            Self::Flag(name) => write!(out, "{name}"),
        }
    }
}

/// Variables that share the prefix but are no keys: those that are read elsewhere, those of the tests, and those
/// with which Kubernetes announces a service that happens to be named `thinkgate`.
fn is_not_a_key(key: &str) -> bool {
    ["LOG", "CONFIG", "BIN", "DATA", "STREAMS", "TEST_CACHE"].contains(&key)
        || key == "PORT"
        || key.starts_with("PORT_")
        || key.starts_with("SERVICE_")
}

fn split_list(origin: &Origin, text: &str) -> Vec<Node> {
    text.split(':')
        .filter(|part| !part.is_empty())
        .map(|part| Node { origin: origin.clone(), value: Value::Scalar(part.to_owned()) })
        .collect()
}

fn insert(root: &mut Node, path: &[String], leaf: Node) -> Result<(), ConfigError> {
    let clash = |origin: &Origin| ConfigError {
        origin: Some(origin.clone()),
        key: path.join("."),
        reason: "set both as a value and as a section".to_owned(),
    };
    let Some((last, sections)) = path.split_last() else { return Ok(()) };
    let mut node = root;
    for section in sections {
        let Value::Map(map) = &mut node.value else { return Err(clash(&leaf.origin)) };
        node = map.entry(section.clone()).or_insert_with(|| Node {
            origin: leaf.origin.clone(),
            value: Value::Map(BTreeMap::new()),
        });
    }
    let Value::Map(map) = &mut node.value else { return Err(clash(&leaf.origin)) };
    if map.contains_key(last) {
        return Err(clash(&leaf.origin));
    }
    map.insert(last.clone(), leaf);
    Ok(())
}

/// Says that a document is no YAML without showing its text.
fn unreadable(path: &Arc<str>, error: &serde_saphyr::Error) -> ConfigError {
    let (line, column) =
        error.location().map_or((0, 0), |location| (location.line(), location.column()));
    let reason = match error.without_snippet() {
        serde_saphyr::Error::DuplicateMappingKey { .. } => "the key stands here twice",
        _ => "not readable as YAML",
    };
    ConfigError {
        origin: Some(Origin::File { path: Arc::clone(path), line, column }),
        key: String::new(),
        reason: reason.to_owned(),
    }
}

/// A value as the YAML reader gives it.
enum RawValue {
    Null,
    Scalar(String),
    List(Vec<Spanned<RawValue>>),
    Map(Vec<(Spanned<String>, Spanned<RawValue>)>),
}

fn place(path: &Arc<str>, raw: Spanned<RawValue>) -> Node {
    let at = raw.referenced;
    place_at(path, at, raw.value)
}

/// A value whose place is `at`: of a key's value, where the key stands.
fn place_at(path: &Arc<str>, at: serde_saphyr::Location, raw: RawValue) -> Node {
    let origin = Origin::File { path: Arc::clone(path), line: at.line(), column: at.column() };
    let value = match raw {
        RawValue::Null => Value::Null,
        RawValue::Scalar(text) => Value::Scalar(text),
        RawValue::List(items) => {
            Value::List(items.into_iter().map(|item| place(path, item)).collect())
        }
        RawValue::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| (key.value, place_at(path, key.referenced, value.value)))
                .collect(),
        ),
    };
    Node { origin, value }
}

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawValueVisitor)
    }
}

struct RawValueVisitor;

impl<'de> Visitor<'de> for RawValueVisitor {
    type Value = RawValue;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value")
    }
    fn visit_bool<E>(self, value: bool) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(value.to_string()))
    }
    fn visit_i64<E>(self, value: i64) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(value.to_string()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(value.to_string()))
    }
    fn visit_f64<E>(self, value: f64) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(value.to_string()))
    }
    fn visit_str<E>(self, value: &str) -> Result<RawValue, E> {
        Ok(RawValue::Scalar(value.to_owned()))
    }
    fn visit_unit<E>(self) -> Result<RawValue, E> {
        Ok(RawValue::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<RawValue, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(RawValue::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<RawValue, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(RawValue::Map(entries))
    }
}
