//! How a reader notes what it finds in a frame: pieces of text with their places, and what is not read.

use std::{borrow::Cow, ops::Range};

use super::{
    chunk::{Array, Chunk, Opaque, Piece, Source},
    fields::Fields,
    json::{each_entry, each_item, range_in, says_nothing, string},
};

/// Levels of nesting that are looked into below a leaf; what lies deeper counts as unread.
pub(super) const MAX_DEPTH: usize = 8;

/// The chunk that a reader fills from one payload.
#[derive(Debug)]
pub(super) struct Pieces<'c, 'de> {
    pub(super) payload: &'de str,
    pub(super) chunk: &'c mut Chunk<'de>,
    /// The choice that is read.
    pub(super) choice: u32,
}

// === impl Pieces ===

impl<'c, 'de> Pieces<'c, 'de> {
    pub(super) const fn new(payload: &'de str, chunk: &'c mut Chunk<'de>) -> Self {
        Self { payload, chunk, choice: 0 }
    }

    /// The fields of an object. What a later value of the same key stands in the place of is read beside them.
    pub(super) fn fields(&mut self, raw: &'de str) -> Fields<'de> {
        let mut fields = Fields::read(raw);
        for earlier in fields.set_aside() {
            self.every_string(earlier, MAX_DEPTH);
        }
        fields
    }

    /// A leaf that should be a string.
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

    /// Where a value stands in the payload.
    pub(super) fn place(&self, raw: &str) -> Range<usize> {
        range_in(self.payload, raw)
    }

    /// Text that a channel has and the wire does not show.
    pub(super) fn unseen(&mut self, source: Source, text: &'static str) {
        let text = Cow::Borrowed(text);
        self.chunk.pieces.push(Piece { choice: self.choice, source, text, json: 0..0 });
    }

    /// A tool call itself is a piece, so that its name waits with its arguments.
    pub(super) fn call(&mut self, index: u32, raw: &str) {
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

    /// The function of a call: its name, and its arguments.
    pub(super) fn function(&mut self, index: u32, raw: &'de str) {
        for (key, raw) in self.fields(raw).iter() {
            match key {
                "arguments" => self.arguments(index, raw),
                "name" | "index" | "description" => {}
                _ => self.unread(raw),
            }
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
                each_entry(raw, |key, value| match key {
                    "type" | "url" | "uri" | "id" => {}
                    "encrypted_content" => self.opaque(Opaque::Field, value),
                    _ => self.every_string(value, depth),
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
        self.array(raw, entries);
    }

    pub(super) fn array(&mut self, raw: &str, entries: Vec<Range<usize>>) {
        if !entries.is_empty() {
            let json = self.place(raw);
            self.chunk.arrays.push(Array { json, entries });
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

    /// Tokens that might have stood in the place of an entry's.
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

    pub(super) fn opaque(&mut self, kind: Opaque, raw: &str) {
        if !says_nothing(raw) {
            self.chunk.opaque.push((self.choice, kind, raw.len()));
        }
    }

    /// A field that the dialect does not know, with its place.
    pub(super) fn unread(&mut self, raw: &str) {
        if !says_nothing(raw) {
            self.opaque(Opaque::Field, raw);
            let place = self.place(raw);
            self.chunk.unread.push(place);
        }
    }
}
