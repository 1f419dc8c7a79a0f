//! Frames that come together and differ in their text alone: their text is read in one go.
//!
//! What a text shows follows from the text, never from how it was cut; so where nothing waits for it, frame by frame
//! is only the dearer way.

use std::ops::Range;

use bytes::Bytes;

use crate::{
    dialect::{
        alike::Alike,
        chunk::{Chunk, Piece, Source},
    },
    wire::{Frame, Payload},
};

/// Bytes of text that are gathered before they are read.
const TEXT: usize = 16 << 10;

/// The frame that was read last, if it said nothing but text, and the text of those that followed it.
#[derive(Debug, Default)]
pub(super) struct Together {
    last: Option<OnlyText>,
    alike: Option<Alike>,
    text: String,
}

/// A frame that says nothing but text.
#[derive(Debug)]
struct OnlyText {
    payload: Bytes,
    choice: u32,
    source: Source,
    json: Range<usize>,
}

// === impl Together ===

impl Together {
    /// Takes note of a frame that was read.
    pub(super) fn begin(&mut self, frame: &Frame, chunk: &Chunk<'_>) {
        self.alike = None;
        self.last = OnlyText::of(frame, chunk);
    }

    /// Takes a frame's text, if it is like the one that was read.
    pub(super) fn takes(&mut self, frame: &Frame) -> bool {
        let Some(last) = &self.last else { return false };
        if self.text.len() > TEXT || frame.error_field {
            return false;
        }
        if frame.payload == Payload::Empty {
            return true;
        }
        if self.alike.is_none() {
            self.alike = Alike::new(&last.payload, last.json.clone());
        }
        let text = self.alike.as_ref().zip(str::from_utf8(frame.data()).ok());
        let text = text.and_then(|(alike, payload)| alike.text_of(payload));
        text.map(|text| self.text.push_str(&text)).is_some()
    }

    /// What was taken.
    pub(super) fn take(&mut self) -> Option<Piece<'static>> {
        let last = self.last.take()?;
        let text = std::mem::take(&mut self.text);
        let OnlyText { choice, source, .. } = last;
        (!text.is_empty()).then(|| Piece { choice, source, text: text.into(), json: 0..0 })
    }
}

// === impl OnlyText ===

impl OnlyText {
    fn of(frame: &Frame, chunk: &Chunk<'_>) -> Option<Self> {
        let Chunk {
            pieces,
            choices,
            opaque,
            unread,
            ended_calls,
            arrays,
            error: false,
            known: true,
            done: false,
            envelope: _,
            usage: None,
        } = chunk
        else {
            return None;
        };
        let ([piece], Payload::Slice(range), false) =
            (pieces.as_slice(), &frame.payload, frame.error_field)
        else {
            return None;
        };
        let says_else = !opaque.is_empty()
            || !unread.is_empty()
            || !ended_calls.is_empty()
            || !arrays.is_empty()
            || choices.iter().any(|&(_, finished)| finished);
        let is_text = matches!(
            piece.source,
            Source::ReasoningContent | Source::Reasoning | Source::ThinkingPart | Source::Content
        );
        (is_text && !says_else).then(|| Self {
            payload: frame.raw.slice(range.clone()),
            choice: piece.choice,
            source: piece.source,
            json: piece.json.clone(),
        })
    }
}
