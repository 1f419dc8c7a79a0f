//! Where text comes in: one place of a choice, and how its bytes map to the texts that are matched.

use std::{
    hash::{DefaultHasher, Hasher as _},
    ops::Range,
};

use smallvec::SmallVec;

use crate::dialect::chunk::Source;

/// One place of a choice that brings text, counted in bytes of decoded text.
#[derive(Debug)]
pub(super) struct TextSource {
    pub(super) kind: Source,
    /// Bytes taken.
    pub(super) read: u64,
    /// Bytes that reached the client.
    pub(super) released: u64,
    /// The byte from which on thinking is hidden, where it is not from the beginning.
    pub(super) hidden_from: Option<u64>,
    /// Spans to be masked, disjoint and in order.
    redactions: Vec<Range<u64>>,
    /// The text waits for its own end (a tool call that may be blocked).
    pub(super) open: bool,
    /// The position of its text among the choice's; content has several.
    pub(super) text: Option<usize>,
    runs: SmallVec<[Run; 1]>,
    hash: DefaultHasher,
    strings: Strings,
}

/// Where in a text that is JSON the plain characters of strings stand: what may be masked in it. In a text that is
/// none (the input of a custom tool) everything may.
#[derive(Debug, Default)]
struct Strings {
    place: Place,
    stretches: Vec<Range<u64>>,
    /// Told by the first byte that is not white space.
    is_json: Option<bool>,
}

/// Where in a JSON text one is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Outside of every string.
    #[default]
    Outside,
    /// In a string, among plain characters since this byte.
    Plain(u64),
    /// Behind a backslash.
    Escape,
    /// In an escape of hexadecimal digits, so many of which are to come.
    Digits(u8),
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
            hidden_from: None,
            redactions: Vec::new(),
            open: false,
            text: None,
            runs: SmallVec::new(),
            hash: DefaultHasher::new(),
            strings: Strings::default(),
        }
    }

    /// Takes text; gives back its place in the source.
    pub(super) fn take(&mut self, text: &str) -> Range<u64> {
        self.hash.write(text.as_bytes());
        let begin = self.read;
        if self.open {
            self.strings.take(begin, text);
        }
        self.read += text.len() as u64;
        begin..self.read
    }

    /// Hides thinking that has not been sent.
    pub(super) fn hide_from_here(&mut self) {
        self.hidden_from.get_or_insert(self.released);
    }

    /// Bytes of thinking that reached the client, if all is thinking.
    pub(super) fn shown(&self) -> u64 {
        self.hidden_from.map_or(self.released, |from| self.released.min(from))
    }

    /// Takes a span that is to be masked. Where it overlaps others it becomes one span with them, so that one mask
    /// stands for all of them, however the text is cut.
    pub(super) fn redact(&mut self, mut span: Range<u64>) {
        // Findings come in the order of their end.
        while let Some(last) = self.redactions.pop_if(|last| last.end > span.start) {
            span = span.start.min(last.start)..span.end.max(last.end);
        }
        self.redactions.push(span);
    }

    /// The spans to be masked that reach into `span`, the last one first.
    pub(super) fn redactions_in(&self, span: &Range<u64>) -> impl Iterator<Item = &Range<u64>> {
        let (begin, end) = (span.start, span.end);
        let from = self.redactions.iter().rev().take_while(move |redaction| redaction.end >= begin);
        from.filter(move |redaction| redaction.start < end.max(begin + 1))
    }

    /// Whether `span` may be masked in a text that is JSON, if it is: it holds nothing but plain characters of one
    /// string.
    pub(super) fn is_inside_a_string(&self, span: &Range<u64>) -> bool {
        self.strings.hold(span)
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
    pub(super) fn redact_text(&mut self, text: usize, span: Range<u64>) {
        if self.runs.iter().any(|run| run.text == text) {
            let span = self.locate_span(text, span);
            self.redact(span);
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

// === impl Strings ===

impl Strings {
    /// Reads on; the text stands at `at`.
    fn take(&mut self, at: u64, text: &str) {
        if self.is_json.is_none() {
            let first = text.bytes().find(|byte| !byte.is_ascii_whitespace());
            self.is_json =
                first.map(|first| matches!(first, b'{' | b'[' | b'"' | b'-' | b'0'..=b'9'));
        }
        for (at, byte) in (at..).zip(text.bytes()) {
            self.place = match (self.place, byte) {
                (Place::Outside, b'"') => Place::Plain(at + 1),
                (Place::Outside, _) => Place::Outside,
                (Place::Plain(begin), b'"' | b'\\') => {
                    self.stretches.push(begin..at);
                    if byte == b'"' { Place::Outside } else { Place::Escape }
                }
                (Place::Plain(begin), _) => Place::Plain(begin),
                (Place::Escape, b'u') => Place::Digits(4),
                (Place::Escape | Place::Digits(1), _) => Place::Plain(at + 1),
                (Place::Digits(left), _) => Place::Digits(left - 1),
            };
        }
    }

    fn hold(&self, span: &Range<u64>) -> bool {
        let open = match self.place {
            Place::Plain(begin) => Some(begin..u64::MAX),
            Place::Outside | Place::Escape | Place::Digits(_) => None,
        };
        let holds = |stretch: &Range<u64>| stretch.start <= span.start && span.end <= stretch.end;
        self.is_json == Some(false) || self.stretches.iter().chain(&open).any(holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_may_be_masked_in_json_however_it_is_cut() {
        let text = r#"{"a":"b\u00e9c","n":12,"d":"\\e"}"#;
        let plain: Vec<&str> = vec!["a", "b", "c", "n", "d", "e"];
        for step in 1..text.len() {
            let mut strings = Strings::default();
            for (part, at) in text.as_bytes().chunks(step).zip((0..).step_by(step)) {
                strings.take(at, std::str::from_utf8(part).unwrap());
            }
            let held = strings.stretches.iter().map(|stretch| {
                &text
                    [usize::try_from(stretch.start).unwrap()..usize::try_from(stretch.end).unwrap()]
            });
            assert_eq!(held.filter(|text| !text.is_empty()).collect::<Vec<_>>(), plain);
            assert!(strings.hold(&(6..7)) && !strings.hold(&(6..8)) && !strings.hold(&(20..21)));
        }
    }
}
