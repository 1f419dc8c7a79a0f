//! Files of traces and captures, line by line, as every command reads them.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use flate2::read::MultiGzDecoder;
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::Value;
use thinkgate::record::Capture;

/// Bytes of one line, or of one recorded body, that are read.
pub(super) const MAX_BYTES: u64 = 64 << 20;

/// A trace as `.jsonl` gives it; other keys (labels, sources) are not looked at.
#[derive(Debug, Deserialize)]
pub(super) struct Trace {
    #[serde(default)]
    id: Option<Value>,
    #[serde(default)]
    pub(super) prompt: Option<String>,
    #[serde(default)]
    pub(super) thinking: Option<String>,
    #[serde(default)]
    pub(super) answer: Option<String>,
}

/// What a line holds.
#[derive(Debug)]
pub(super) enum Entry {
    Capture(Box<Capture>),
    Trace(Trace),
}

/// The lines of an input that are not blank, by their numbers from 1; one that cannot be read is the last.
#[derive(Debug)]
pub(super) struct Lines<R> {
    input: R,
    number: u64,
    ended: bool,
}

/// Opens a file; one whose name ends in `.gz` is unpacked as it is read.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let file = File::open(path)?;
    Ok(if is_packed(path) {
        Box::new(BufReader::new(MultiGzDecoder::new(BufReader::new(file))))
    } else {
        Box::new(BufReader::new(file))
    })
}

/// What a file's name says of its content: its ending, or that before `.gz`.
pub(super) fn ending(path: &Path) -> Option<&str> {
    let name = if is_packed(path) { Path::new(path.file_stem()?) } else { path };
    name.extension().and_then(|end| end.to_str())
}

/// Whether a file's name says that it is packed.
pub(super) fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "gz")
}

/// Reads a line's JSON; what is wrong is told without the error's own text, which may show content of the line.
pub(super) fn json<T: DeserializeOwned>(what: &str, line: &[u8]) -> Result<T, String> {
    serde_json::from_slice(line).map_err(|error| {
        format!("is no {what}: {:?} error at column {}", error.classify(), error.column())
    })
}

/// An id as text, where there is one.
pub(super) fn id_of(id: Option<&Value>) -> Option<String> {
    match id? {
        Value::Null => None,
        Value::String(id) => Some(id.clone()),
        other => Some(other.to_string()),
    }
}

// === impl Entry ===

impl Entry {
    /// Reads a line.
    pub(super) fn of_line(line: &[u8]) -> Result<Self, String> {
        if is_capture(line)? {
            let capture = Capture::of_line(line).map_err(|error| error.to_string())?;
            return Ok(Self::Capture(Box::new(capture)));
        }
        json("trace", line).map(Self::Trace)
    }
}

/// Whether a line is meant as a capture.
pub(super) fn is_capture(line: &[u8]) -> Result<bool, String> {
    #[derive(Deserialize)]
    struct Kind {
        #[serde(default)]
        chunks: Option<IgnoredAny>,
    }
    json("trace", line).map(|kind: Kind| kind.chunks.is_some())
}

// === impl Trace ===

impl Trace {
    /// Its id, or where it stands.
    pub(super) fn id(&self, place: &str) -> String {
        id_of(self.id.as_ref()).unwrap_or_else(|| place.to_owned())
    }
}

// === impl Lines ===

impl<R: BufRead> Lines<R> {
    pub(super) const fn of(input: R) -> Self {
        Self { input, number: 0, ended: false }
    }

    fn read(&mut self) -> Result<Option<Vec<u8>>, String> {
        let mut line = Vec::new();
        let read = self.input.by_ref().take(MAX_BYTES).read_until(b'\n', &mut line);
        match read.map_err(|error| format!("cannot be read: {error}"))? {
            0 => Ok(None),
            length if length as u64 == MAX_BYTES && line.last() != Some(&b'\n') => {
                Err(format!("is longer than {MAX_BYTES} bytes"))
            }
            _ => Ok(Some(line)),
        }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = (u64, Result<Vec<u8>, String>);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            self.number += 1;
            match self.read() {
                Ok(None) => self.ended = true,
                Ok(Some(line)) if line.trim_ascii().is_empty() => {}
                Ok(Some(line)) => return Some((self.number, Ok(line))),
                Err(reason) => {
                    self.ended = true;
                    return Some((self.number, Err(reason)));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    #[test]
    fn blank_lines_are_counted_and_not_given() {
        let lines: Vec<_> = Lines::of(&b"\n{}\n \n[]"[..]).collect();
        assert_eq!(lines, [(2, Ok(b"{}\n".to_vec())), (4, Ok(b"[]".to_vec()))]);
    }

    #[test]
    fn what_cannot_be_read_is_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl.gz");
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(b"{}\n").unwrap();
        let packed = packed.finish().unwrap();
        std::fs::write(&path, &packed).unwrap();
        assert_eq!(ending(&path), Some("jsonl"));
        assert_eq!(Lines::of(open(&path).unwrap()).count(), 1);
        std::fs::write(&path, &packed[..packed.len() - 4]).unwrap();
        let lines: Vec<_> = Lines::of(open(&path).unwrap()).collect();
        let (number, reason) = lines.last().unwrap();
        assert!(reason.as_ref().unwrap_err().starts_with("cannot be read: "), "{number}");
    }

    #[test]
    fn a_line_is_what_it_has_the_keys_of() {
        let capture = br#"{"v":1,"id":"a","path":"/x","status":200,"chunks":[],"end":"complete"}"#;
        assert!(matches!(Entry::of_line(capture), Ok(Entry::Capture(_))));
        let Ok(Entry::Trace(trace)) = Entry::of_line(br#"{"id":7,"answer":"a"}"#) else { panic!() };
        assert_eq!((trace.id("f:1"), trace.answer.as_deref()), ("7".to_owned(), Some("a")));
        for (line, reason) in [
            (&b"secret"[..], "is no trace: Syntax error at column 1"),
            (br#"{"thinking": 5}"#, "is no trace: Data error at column 14"),
            (br#"{"chunks":[5]}"#, "is no capture: Data error at column 12"),
        ] {
            assert_eq!(Entry::of_line(line).unwrap_err(), reason);
        }
    }
}
