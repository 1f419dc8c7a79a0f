//! The streams that a model server sends: one token an event, thinking first.

use std::ops::Range;

use super::{
    text::pieces,
    wires::{Shape, Token, Whole, Wire},
};

/// Digits of the time that an event carries, in nanoseconds since 1970.
pub(crate) const STAMP_DIGITS: usize = 19;

/// The text that every stream is cut from.
#[derive(Debug)]
pub(crate) struct Script {
    pieces: Vec<&'static str>,
    /// Each piece as a JSON string.
    quoted: Vec<String>,
}

/// One stream: each begins elsewhere in the text.
pub(crate) struct Stream<'s> {
    script: &'s Script,
    shape: &'static dyn Shape,
    number: u64,
    tokens: u64,
}

// === impl Script ===

impl Script {
    /// Cuts the text once.
    pub(crate) fn new() -> Self {
        let pieces = pieces();
        let quoted = pieces.iter().map(|piece| quote(piece)).collect();
        Self { pieces, quoted }
    }

    /// The stream with this number, of so many tokens.
    pub(crate) fn stream(&self, wire: Wire, number: u64, tokens: u64) -> Stream<'_> {
        Stream { script: self, shape: wire.shape(), number, tokens }
    }
}

// === impl Stream ===

impl Stream<'_> {
    /// The event of the token at `position`, behind what the wire sends before it.
    pub(crate) fn event(&self, position: u64, stamp: u64) -> String {
        let is_thinking = position < self.thinking_tokens();
        let text = self.script.quoted.get(self.place(position)).unwrap();
        let event = self.shape.token(&Token { is_thinking, text, position, stamp });
        if position != 0 && position != self.thinking_tokens() {
            return event;
        }
        let opening = if position == 0 { self.shape.opening() } else { String::new() };
        let seam = if is_thinking { String::new() } else { self.shape.seam(&self.whole()) };
        [opening, seam, event].concat()
    }

    /// The events behind the last token.
    pub(crate) fn ending(&self) -> String {
        self.shape.ending(&self.whole())
    }

    fn thinking_tokens(&self) -> u64 {
        self.tokens * 7 / 10
    }

    fn whole(&self) -> Whole {
        let thinking_tokens = self.thinking_tokens();
        Whole {
            thinking: self.text(0..thinking_tokens),
            answer: self.text(thinking_tokens..self.tokens),
            thinking_tokens,
            tokens: self.tokens,
        }
    }

    fn text(&self, positions: Range<u64>) -> String {
        let piece = |position| *self.script.pieces.get(self.place(position)).unwrap();
        quote(&positions.map(piece).collect::<String>())
    }

    fn place(&self, position: u64) -> usize {
        let pieces = self.script.pieces.len() as u64;
        usize::try_from((self.number * 37 + position) % pieces).unwrap()
    }
}

fn quote(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}
