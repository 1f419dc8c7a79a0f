//! The parts that a response's text stands in, so that text which comes again is known for what it is.
//!
//! A part's text comes in deltas, and then whole up to four times: at its own end, at its part's, at its item's, and
//! in the response that ends the stream. No text is kept: a repeat is known by its length and its hash.

use std::hash::{DefaultHasher, Hasher as _};

use crate::dialect::chunk::{Origin, Source};

/// Parts that are remembered; what lies beyond is read, and its repeats are read beside it.
const MAX_PARTS: usize = 1024;

/// Where in the response's output a part stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The item's position.
    pub(super) item: u32,
    /// The part of it.
    pub(super) part: PartOf,
}

/// A part of an item, with its position among those of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PartOf {
    Summary(u32),
    Reasoning(u32),
    Text(u32),
    Refusal(u32),
    Arguments,
}

/// What a text is that a part holds whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing of the part came before.
    First,
    /// It is what came before, from this byte of its origin on.
    Again(u64),
    /// It differs from what came before.
    Otherwise,
}

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct Parts {
    known: Vec<Part>,
    /// Bytes of each origin.
    thinking: u64,
    content: u64,
    refusal: u64,
    /// The last text of the thinking was a summary's.
    after_summary: bool,
    /// Where text was taken last.
    last: Option<Place>,
}

#[derive(Debug)]
struct Part {
    place: Place,
    at: u64,
    length: u64,
    hash: DefaultHasher,
    /// Text of other parts stands between its own.
    scattered: bool,
}

// === impl Place ===

impl Place {
    pub(super) const fn origin(self) -> Origin {
        match self.part {
            PartOf::Summary(_) | PartOf::Reasoning(_) => Origin::Thinking,
            PartOf::Text(_) => Origin::Content,
            PartOf::Refusal(_) => Origin::Refusal,
            PartOf::Arguments => Origin::ToolArguments(self.item),
        }
    }

    pub(super) const fn source(self) -> Source {
        match self.part {
            PartOf::Summary(_) | PartOf::Reasoning(_) => Source::ReasoningContent,
            PartOf::Text(_) => Source::Content,
            PartOf::Refusal(_) => Source::Refusal,
            PartOf::Arguments => Source::ToolArguments(self.item),
        }
    }
}

// === impl Parts ===

impl Parts {
    /// Takes text that a part goes on with. Says whether a blank line stands before it: summaries are paragraphs.
    pub(super) fn add(&mut self, place: Place, text: &str) -> bool {
        self.last = Some(place);
        let known = self.known.iter().rposition(|part| part.place == place);
        let is_summary = matches!(place.part, PartOf::Summary(_));
        let is_thinking = place.origin() == Origin::Thinking;
        let starts = is_thinking && known.is_none() && self.thinking > 0;
        let blank = starts && (is_summary || self.after_summary);
        if is_thinking {
            self.after_summary = is_summary;
            self.thinking += if blank { BLANK_LINE.len() as u64 } else { 0 };
        }
        let at = match place.origin() {
            Origin::Thinking => advance(&mut self.thinking, text),
            Origin::Content => advance(&mut self.content, text),
            Origin::Refusal => advance(&mut self.refusal, text),
            // A call's arguments are its own.
            Origin::ToolArguments(_) => {
                known.and_then(|known| self.known.get(known)).map_or(0, |part| part.length)
            }
        };
        let known = known.or_else(|| {
            (self.known.len() < MAX_PARTS).then(|| {
                self.known.push(Part::new(place, at));
                self.known.len() - 1
            })
        });
        if let Some(part) = known.and_then(|known| self.known.get_mut(known)) {
            part.take(at, text);
        }
        blank
    }

    /// Takes text that the part goes on with whose text was taken last.
    pub(super) fn go_on(&mut self, text: &str) {
        if let Some(place) = self.last {
            self.add(place, text);
        }
    }

    /// What the whole text of a part is.
    pub(super) fn tell(&self, place: Place, text: &str) -> Told {
        match self.known.iter().rfind(|part| part.place == place) {
            None if self.known.len() < MAX_PARTS => Told::First,
            Some(part) if part.is(text) => Told::Again(part.at),
            None | Some(_) => Told::Otherwise,
        }
    }
}

/// What stands between two parts of a summary.
pub(super) const BLANK_LINE: &str = "\n\n";

/// Counts text; gives back where it begins.
fn advance(count: &mut u64, text: &str) -> u64 {
    let at = *count;
    *count += text.len() as u64;
    at
}

// === impl Part ===

impl Part {
    fn new(place: Place, at: u64) -> Self {
        Self { place, at, length: 0, hash: DefaultHasher::new(), scattered: false }
    }

    fn take(&mut self, at: u64, text: &str) {
        self.scattered |= at != self.at + self.length;
        self.length += text.len() as u64;
        self.hash.write(text.as_bytes());
    }

    fn is(&self, text: &str) -> bool {
        let mut hash = DefaultHasher::new();
        hash.write(text.as_bytes());
        !self.scattered && text.len() as u64 == self.length && hash.finish() == self.hash.finish()
    }
}
