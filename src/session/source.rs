//! Where text comes in: one place of a choice, and how its bytes map to the texts that are matched.

use std::{
    hash::{DefaultHasher, Hasher as _},
    ops::Range,
};

use crate::dialect::chunk::Source;

/// One place of a choice that brings text, counted in bytes of decoded text.
#[derive(Debug)]
pub(super) struct TextSource {
    pub(super) kind: Source,
    /// Bytes taken.
    pub(super) read: u64,
    /// Bytes that reached the client.
    pub(super) released: u64,
    /// Spans to be masked.
    pub(super) redactions: Vec<Range<u64>>,
    /// The text waits for its own end (a tool call that may be blocked).
    pub(super) open: bool,
    /// The position of its text among the choice's; content has several.
    pub(super) text: Option<usize>,
    runs: Vec<Run>,
    hash: DefaultHasher,
}

/// A stretch of a source whose bytes went, in order, to one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The text's position among the choice's texts.
    pub(super) text: usize,
    /// First byte in the text.
    pub(super) text_at: u64,
    /// First byte in the source.
    pub(super) at: u64,
    /// Bytes.
    pub(super) length: u64,
}

// === impl TextSource ===

impl TextSource {
    pub(super) fn new(kind: Source) -> Self {
        Self {
            kind,
            read: 0,
            released: 0,
            redactions: Vec::new(),
            open: false,
            text: None,
            runs: Vec::new(),
            hash: DefaultHasher::new(),
        }
    }

    /// Takes text; gives back its place in the source.
    pub(super) fn take(&mut self, text: &str) -> Range<u64> {
        self.hash.write(text.as_bytes());
        let begin = self.read;
        self.read += text.len() as u64;
        begin..self.read
    }

    /// Whether `text` is all that the source has brought so far.
    pub(super) fn is_all(&self, text: &str) -> bool {
        if text.len() as u64 != self.read {
            return false;
        }
        let mut hash = DefaultHasher::new();
        hash.write(text.as_bytes());
        hash.finish() == self.hash.finish()
    }

    /// Notes that `length` bytes at `at` went to a text.
    pub(super) fn note(&mut self, text: usize, text_at: u64, at: u64, length: u64) {
        if let Some(run) = self.runs.last_mut()
            && run.text == text
            && run.at + run.length == at
            && run.text_at + run.length == text_at
        {
            run.length += length;
            return;
        }
        self.runs.push(Run { text, text_at, at, length });
    }

    /// Notes that the span of a text is to be masked, as far as it came from here.
    pub(super) fn redact(&mut self, text: usize, span: Range<u64>) {
        if self.runs.iter().any(|run| run.text == text) {
            let span = self.locate_span(text, span);
            self.redactions.push(span);
        }
    }

    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The source's byte of the text's byte `offset`; the end of what was read when it is not there.
    pub(super) fn locate(&self, text: usize, offset: u64) -> u64 {
        let run = self.runs.iter().rev().find(|run| run.text == text && run.text_at <= offset);
        run.map_or(self.read, |run| run.at + (offset - run.text_at))
    }

    /// The source's stretch of the text's span.
    pub(super) fn locate_span(&self, text: usize, span: Range<u64>) -> Range<u64> {
        let begin = self.locate(text, span.start);
        let end = self.locate(text, span.end.saturating_sub(1)) + 1;
        begin..end.max(begin)
    }
}
