//! What of exchanges is written with its content, and how long it is kept.

use std::{path::PathBuf, time::Duration};

use super::{
    reader::{Findings, Section, duration, named, path, size, some},
    settings::{DEFAULT_ROUTE, Route},
    tree::{Node, Value},
};
use crate::rules::Category;

/// The longest that a capture may be: its line, with every byte escaped, can still be read.
const MOST_EXCHANGE_BYTES: usize = 8 << 20;

/// The mask's names for every category, and for none.
const ALL: &str = "all";
const NONE: &str = "none";

/// Exchanges that are written with their content.
#[derive(Clone, Debug, PartialEq)]
pub struct Capture {
    /// The folder of the files.
    pub folder: PathBuf,
    /// The routes whose exchanges are captured, by their names; all of them where empty.
    pub routes: Vec<String>,
    /// Which part of the exchanges is captured, default 1: all of them.
    pub sample: f64,
    /// The categories whose rules' matches are masked before anything is written, default `secrets`.
    pub mask: Vec<Category>,
    /// Bytes of one exchange, default 1 MiB.
    pub exchange_bytes: usize,
    /// Bytes of all captures that are not written yet, default 64 MiB.
    pub memory_bytes: usize,
    /// Bytes after which another file is begun, default 64 MiB.
    pub file_bytes: usize,
    /// How many files are kept, default 16.
    pub files: usize,
    /// How long anything is kept, default a week.
    pub retention: Duration,
}

// === impl Capture ===

impl Capture {
    /// Whether the exchanges of `route` are captured.
    #[must_use]
    pub fn takes(&self, route: &str) -> bool {
        self.routes.is_empty() || self.routes.iter().any(|name| name == route)
    }

    /// What only a restart can change: where files stand, and how many.
    pub(super) fn same_files(&self, other: &Self) -> [(&'static str, bool); 5] {
        [
            ("capture.folder", self.folder == other.folder),
            ("capture.memory_bytes", self.memory_bytes == other.memory_bytes),
            ("capture.file_bytes", self.file_bytes == other.file_bytes),
            ("capture.files", self.files == other.files),
            ("capture.retention", self.retention == other.retention),
        ]
    }

    /// This with everything of `new` that needs no restart.
    pub(super) fn renewed(&self, new: Self) -> Self {
        Self {
            folder: self.folder.clone(),
            memory_bytes: self.memory_bytes,
            file_bytes: self.file_bytes,
            files: self.files,
            retention: self.retention,
            ..new
        }
    }
}

pub(super) fn read(
    root: &mut Section,
    findings: &mut Findings,
    routes: &[Route],
) -> Option<Capture> {
    let is_there = root.has("capture");
    let mut section = root.section("capture", findings);
    let folder_is_set = section.has("folder");
    let folder = section.value("folder", findings, path);
    if is_there && !folder_is_set {
        section.complain(findings, "folder", section.origin.clone(), "missing");
    }
    let mebi = |number: usize| number << 20;
    let mut bytes =
        |key, default| section.value(key, findings, some_size).unwrap_or_else(|| mebi(default));
    let (memory_bytes, file_bytes) = (bytes("memory_bytes", 64), bytes("file_bytes", 64));
    let capture = Capture {
        folder: folder.unwrap_or_default(),
        routes: read_routes(&mut section, findings, routes),
        sample: section.value("sample", findings, part).unwrap_or(1.0),
        mask: read_mask(&mut section, findings),
        exchange_bytes: section
            .value("exchange_bytes", findings, exchange_size)
            .unwrap_or_else(|| mebi(1)),
        memory_bytes,
        file_bytes,
        files: section.value("files", findings, some).unwrap_or(16),
        retention: section
            .value("retention", findings, retention)
            .unwrap_or_else(|| Duration::from_hours(7 * 24)),
    };
    section.finish(findings);
    is_there.then_some(capture)
}

fn read_routes(section: &mut Section, findings: &mut Findings, routes: &[Route]) -> Vec<String> {
    let is_known =
        |name: &str| name == DEFAULT_ROUTE || routes.iter().any(|route| route.name == name);
    let mut names = Vec::new();
    for Node { value, origin } in section.list("routes", findings) {
        match value {
            Value::Scalar(name) if is_known(&name) => names.push(name),
            _ => {
                let reason = "expected names of routes, or default";
                section.complain(findings, "routes", Some(origin), reason);
            }
        }
    }
    names
}

/// An empty list masks what no list does; to mask nothing has to be said.
fn read_mask(section: &mut Section, findings: &mut Findings) -> Vec<Category> {
    let nodes = section.list("mask", findings);
    if nodes.is_empty() {
        return vec![Category::Secrets];
    }
    let mut categories = Vec::new();
    for Node { value, origin } in nodes {
        match value {
            Value::Scalar(name) if name == NONE => {}
            Value::Scalar(name) if name == ALL => categories.extend(Category::ALL),
            Value::Scalar(name) => match named(&name) {
                Ok(category) => categories.push(category),
                Err(expected) => {
                    let reason = format!("{expected}, all or none");
                    section.complain(findings, "mask", Some(origin), &reason);
                }
            },
            Value::Null | Value::List(_) | Value::Map(_) => {
                section.complain(findings, "mask", Some(origin), "expected names of categories");
            }
        }
    }
    categories
}

fn some_size(text: &str) -> Result<usize, String> {
    match size(text)? {
        0 => Err("expected a size like 64 MiB, and not 0".to_owned()),
        bytes => Ok(bytes),
    }
}

fn exchange_size(text: &str) -> Result<usize, String> {
    match some_size(text)? {
        bytes if bytes > MOST_EXCHANGE_BYTES => Err("expected at most 8 MiB".to_owned()),
        bytes => Ok(bytes),
    }
}

/// A number from 0 to 1.
fn part(text: &str) -> Result<f64, String> {
    let part = text.parse().ok().filter(|part| (0.0..=1.0).contains(part));
    part.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

fn retention(text: &str) -> Result<Duration, String> {
    let longest = Duration::from_hours(10 * 366 * 24);
    match duration(text)? {
        retention if retention < Duration::from_secs(1) || retention > longest => {
            Err("expected a duration from 1s to ten years, like 168h".to_owned())
        }
        retention => Ok(retention),
    }
}
