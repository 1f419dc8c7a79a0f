//! Frames that come together and differ in their text alone: their text is read in one go.
//!
//! What a text shows follows from the text, never from how it was cut; so where nothing waits for it, frame by frame
//! is only the dearer way. Most streams have one such run of frames for their thinking and one for their answer, so what
//! they are like is kept from one chunk of the body to the next.

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
    text: String,
}

/// A frame that says nothing but text.
#[derive(Debug)]
struct OnlyText {
    choice: u32,
    source: Source,
    alike: Alike,
}

// === impl Together ===

impl Together {
    /// Takes note of a frame that was read.
    pub(super) fn begin(&mut self, frame: &Frame, chunk: &Chunk<'_>) {
        self.last = OnlyText::of(frame, chunk);
    }

    /// Takes note that something else came.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    /// Takes a frame's text, if it is like the one that was read.
    pub(super) fn takes(&mut self, frame: &Frame) -> bool {
        if frame.payload == Payload::Empty {
            return self.last.is_some();
        }
        if frame.error_field {
            return false;
        }
        let Some(alike) = self.alike() else { return false };
        let Some(text) = alike.text_of(frame.data()) else { return false };
        self.text.push_str(&text);
        true
    }

    /// Takes the text of the frame that `bytes` begin with, if it is like the one that was read; gives back its length.
    pub(super) fn takes_next(&mut self, bytes: &[u8]) -> Option<usize> {
        let (text, length) = self.alike()?.next_text(bytes)?;
        self.text.push_str(&text);
        Some(length)
    }

    /// What frames have to be like, while there is room for their text.
    fn alike(&self) -> Option<&Alike> {
        self.last.as_ref().filter(|_| self.text.len() <= TEXT).map(|last| &last.alike)
    }

    /// What was taken.
    pub(super) fn take(&mut self) -> Option<Piece<'static>> {
        let &OnlyText { choice, source, .. } = self.last.as_ref()?;
        let text = std::mem::take(&mut self.text);
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
        let ([piece], false) = (pieces.as_slice(), frame.error_field) else { return None };
        let says_else = !opaque.is_empty()
            || !unread.is_empty()
            || !ended_calls.is_empty()
            || !arrays.is_empty()
            || choices.iter().any(|&(_, finished)| finished);
        let is_text = matches!(
            piece.source,
            Source::ReasoningContent | Source::Reasoning | Source::ThinkingPart | Source::Content
        );
        if !is_text || says_else {
            return None;
        }
        let alike = Alike::new(frame, piece.json.clone())?;
        Some(Self { choice: piece.choice, source: piece.source, alike })
    }
}
