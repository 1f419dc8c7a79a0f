//! Gathering pieces from the leaves of a frame's JSON, whichever dialect it is.

use std::{borrow::Cow, ops::Range};

use super::{
    chunk::{Array, Chunk, Opaque, Piece, Source},
    json::{each_entry, each_item, range_in, says_nothing, string},
};

/// Levels of nesting that are looked into below a leaf; what lies deeper counts as unread.
pub(super) const MAX_DEPTH: usize = 8;

/// A chunk while it is put together.
#[derive(Debug)]
pub(super) struct Gather<'de> {
    payload: &'de str,
    pub(super) chunk: Chunk<'de>,
    /// The choice that what comes belongs to.
    pub(super) choice: u32,
    /// Where that choice's pieces begin.
    begin: usize,
}

// === impl Gather ===

impl<'de> Gather<'de> {
    pub(super) fn new(payload: &'de str) -> Self {
        Self { payload, chunk: Chunk::default(), choice: 0, begin: 0 }
    }

    /// What comes from here on belongs to this choice.
    pub(super) fn begin_choice(&mut self, choice: u32) {
        self.choice = choice;
        self.begin = self.chunk.pieces.len();
    }

    /// A field that holds one string. All values of a repeated key are scanned; the last is the text, as clients read
    /// it.
    pub(super) fn field(&mut self, source: Source, raw: &'de str) {
        let earlier = self.chunk.pieces.get_mut(self.begin..).unwrap_or_default();
        for piece in earlier.iter_mut().filter(|piece| piece.source == source) {
            piece.source = Source::RepeatedKey;
        }
        self.text(source, raw);
    }

    /// A string, one of perhaps several of its source.
    pub(super) fn text(&mut self, source: Source, raw: &'de str) {
        match string(raw) {
            Some(text) if text.is_empty() => {}
            Some(text) => self.piece(source, text, raw),
            None => self.opaque(Opaque::Field, raw),
        }
    }

    pub(super) fn piece(&mut self, source: Source, text: Cow<'de, str>, raw: &str) {
        let json = self.place(raw);
        self.chunk.pieces.push(Piece { choice: self.choice, source, text, json });
    }

    /// Where a value stands in the frame.
    pub(super) fn place(&self, raw: &str) -> Range<usize> {
        range_in(self.payload, raw)
    }

    /// A tool call as it stands in the frame: it is a piece, so that its name waits with its arguments.
    pub(super) fn call(&mut self, index: u32, raw: &'de str) {
        self.piece(Source::ToolArguments(index), Cow::Borrowed(""), raw);
    }

    /// Arguments as a string, or as an object that stands for itself.
    pub(super) fn arguments(&mut self, index: u32, raw: &'de str) {
        if raw.starts_with('{') {
            self.piece(Source::ToolArguments(index), Cow::Borrowed(raw), raw);
        } else {
            self.text(Source::ToolArguments(index), raw);
        }
    }

    /// Every string leaf of a value whose inner shape does not matter.
    pub(super) fn every_string(&mut self, raw: &'de str, depth: usize) {
        match (raw.as_bytes().first(), depth.checked_sub(1)) {
            (Some(b'"'), _) => self.text(Source::Beside, raw),
            (Some(b'['), Some(depth)) => {
                each_item(raw, |item| self.every_string(item, depth));
            }
            (Some(b'{'), Some(depth)) => {
                each_entry(raw, |key, value| {
                    if !matches!(key, "type" | "url" | "uri" | "id") {
                        self.every_string(value, depth);
                    }
                });
            }
            _ => self.opaque(Opaque::Field, raw),
        }
    }

    /// An array of logprob entries: each shows a token, and alternatives to it.
    pub(super) fn logprobs(&mut self, source: Source, raw: &'de str) {
        let mut entries = Vec::new();
        each_item(raw, |entry| {
            entries.push(self.place(entry));
            self.logprob(source, entry);
        });
        if !entries.is_empty() {
            self.chunk.arrays.push(Array { json: self.place(raw), entries });
        }
    }

    fn logprob(&mut self, source: Source, entry: &'de str) {
        each_entry(entry, |key, value| match key {
            "token" => {
                if let Some(text) = string(value) {
                    self.piece(source, text, entry);
                }
            }
            "top_logprobs" => self.alternatives(value, entry),
            _ => {}
        });
    }

    /// Tokens that stood beside the one of `entry`.
    pub(super) fn alternatives(&mut self, raw: &'de str, entry: &str) {
        each_item(raw, |alternative| {
            each_entry(alternative, |key, value| {
                if let ("token", Some(text)) = (key, string(value)) {
                    self.alternative(text, entry);
                }
            });
        });
    }

    pub(super) fn alternative(&mut self, text: Cow<'de, str>, raw: &str) {
        // Two letters say nothing; two ideographs may.
        if text.len() > 2 {
            self.piece(Source::TopLogprob, text, raw);
        }
    }

    /// A part that is not read; nothing where it cannot hold text.
    pub(super) fn opaque(&mut self, kind: Opaque, raw: &str) {
        if !says_nothing(raw) {
            self.chunk.opaque.push((self.choice, kind, raw.len()));
        }
    }
}
