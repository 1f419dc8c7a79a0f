//! Framing: body bytes, cut anywhere, become frames that keep their raw bytes.
//!
//! In: chunks of a decoded response body. Out: [`Frame`]s, in order, the same for every cut. The frames' raw
//! bytes, put one after another, are the body: what is let through can leave byte for byte as it came.
//! What a frame means is the business of [`crate::dialect`].

mod array;
mod sniff;
mod sse;
mod structure;
mod values;

use std::ops::Range;

use bytes::Bytes;

pub use array::ArrayFramer;
pub use sniff::{Framing, NeitherEventsNorJson, is_stream, sniff};
pub use sse::SseFramer;
pub use values::ValuesFramer;

/// One unit of the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Every byte of the frame, its terminator included.
    pub raw: Bytes,
    /// What the frame carries.
    pub payload: Payload,
    /// Whether an SSE field named `error` stands in it (llama-box reports a failure that way).
    pub error_field: bool,
}

/// Where a frame's payload stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Nothing but comments and fields without data.
    Empty,
    /// One run of bytes of [`Frame::raw`].
    Slice(Range<usize>),
    /// Several `data` lines, joined by newlines.
    Joined(Bytes),
    /// Part of a frame that is larger than the limit; it was not read.
    TooLarge,
}

// === impl Frame ===

impl Frame {
    /// The payload's bytes; empty where there are none.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        match &self.payload {
            Payload::Slice(range) => self.raw.get(range.clone()).unwrap_or_default(),
            Payload::Joined(bytes) => bytes,
            Payload::Empty | Payload::TooLarge => &[],
        }
    }

    /// The frame with its payload replaced by `data`, one line long.
    #[must_use]
    pub fn with_data(&self, data: &[u8]) -> Bytes {
        match &self.payload {
            Payload::Slice(range) => {
                let head = self.raw.get(..range.start).unwrap_or_default();
                let tail = self.raw.get(range.end..).unwrap_or_default();
                [head, data, tail].concat().into()
            }
            Payload::Joined(_) | Payload::Empty | Payload::TooLarge => {
                [b"data: ", data, b"\n\n"].concat().into()
            }
        }
    }
}

/// Cuts a body into frames.
#[derive(Debug)]
pub enum Framer {
    /// Server-sent events.
    Sse(SseFramer),
    /// One body, one frame.
    Whole(ValuesFramer),
    /// One JSON value a line.
    Lines(ValuesFramer),
    /// A JSON array, one frame an item.
    Array(ArrayFramer),
}

// === impl Framer ===

impl Framer {
    /// A framer that keeps at most `max_bytes` of one frame.
    #[must_use]
    pub fn new(framing: Framing, max_bytes: usize) -> Self {
        match framing {
            Framing::Sse => Self::Sse(SseFramer::new(max_bytes)),
            Framing::Whole => Self::Whole(ValuesFramer::new(max_bytes)),
            Framing::Lines => Self::Lines(ValuesFramer::of_lines(max_bytes)),
            Framing::Array => Self::Array(ArrayFramer::new(max_bytes)),
        }
    }

    /// Takes the next bytes of the body.
    pub fn push(&mut self, chunk: Bytes) {
        match self {
            Self::Sse(framer) => framer.push(chunk),
            Self::Whole(framer) | Self::Lines(framer) => framer.push(&chunk),
            Self::Array(framer) => framer.push(&chunk),
        }
    }

    /// The next frame that is complete.
    pub fn next_frame(&mut self) -> Option<Frame> {
        match self {
            Self::Sse(framer) => framer.next_frame(),
            Self::Whole(framer) | Self::Lines(framer) => framer.next_frame(),
            Self::Array(framer) => framer.next_frame(),
        }
    }

    /// What waits behind the last frame, of events, up to the largest one's length: the beginning of the next.
    #[must_use]
    pub fn rest(&self) -> Option<&[u8]> {
        match self {
            Self::Sse(framer) => framer.rest(),
            Self::Whole(_) | Self::Lines(_) | Self::Array(_) => None,
        }
    }

    /// Passes over so many bytes of the [`rest`](Self::rest), which are whole events, each with its blank line of LF.
    pub fn pass(&mut self, length: usize) {
        if let Self::Sse(framer) = self {
            framer.pass(length);
        }
    }

    /// What is left at the end of the body: an event without its blank line, or the whole body.
    pub fn finish(&mut self) -> Option<Frame> {
        match self {
            Self::Sse(framer) => framer.finish(),
            Self::Whole(framer) | Self::Lines(framer) => framer.finish(),
            Self::Array(framer) => framer.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The frames of a body that is pushed in pieces; `step` takes a piece, or the end.
    pub(super) fn frames_of(
        body: &[u8],
        cuts: &[usize],
        step: &mut dyn FnMut(Option<Bytes>) -> Vec<Frame>,
    ) -> Vec<Frame> {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| (*cut).min(body.len())).collect();
        cuts.sort_unstable();
        let mut frames = Vec::new();
        let mut begin = 0;
        for end in cuts.into_iter().chain([body.len()]) {
            frames.extend(step(Some(Bytes::copy_from_slice(&body[begin..end]))));
            begin = end;
        }
        frames.extend(step(None));
        frames
    }

    /// The payloads that were read.
    pub(super) fn data(frames: &[Frame]) -> Vec<String> {
        let carries = |frame: &&Frame| !matches!(frame.payload, Payload::Empty | Payload::TooLarge);
        let text = |frame: &Frame| String::from_utf8_lossy(frame.data()).into_owned();
        frames.iter().filter(carries).map(text).collect()
    }

    /// How many bytes were not read.
    pub(super) fn too_large(frames: &[Frame]) -> usize {
        let unread = frames.iter().filter(|frame| frame.payload == Payload::TooLarge);
        unread.map(|frame| frame.raw.len()).sum()
    }

    pub(super) fn raw(frames: &[Frame]) -> Vec<u8> {
        frames.iter().flat_map(|frame| frame.raw.to_vec()).collect()
    }
}
