//! A body that is one frame.

use bytes::BytesMut;

use super::{Frame, Payload};

/// Collects a body up to a limit.
#[derive(Debug)]
pub struct WholeFramer {
    max_bytes: usize,
    kept: BytesMut,
    oversize: bool,
}

// === impl WholeFramer ===

impl WholeFramer {
    /// A framer that keeps at most `max_bytes`.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, kept: BytesMut::new(), oversize: false }
    }

    /// Takes the next bytes of the body.
    pub fn push(&mut self, chunk: &[u8]) {
        self.kept.extend_from_slice(chunk);
        self.oversize |= self.kept.len() > self.max_bytes;
    }

    /// What there is of a body that is too large, unread.
    pub fn next_frame(&mut self) -> Option<Frame> {
        (self.oversize && !self.kept.is_empty()).then(|| self.cut(Payload::TooLarge))
    }

    /// The body as one frame; nothing when it was empty.
    pub fn finish(&mut self) -> Option<Frame> {
        if self.kept.is_empty() {
            return None;
        }
        if self.oversize {
            return self.next_frame();
        }
        let begin = if self.kept.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        Some(self.cut(Payload::Slice(begin..self.kept.len())))
    }

    fn cut(&mut self, payload: Payload) -> Frame {
        Frame { raw: std::mem::take(&mut self.kept).freeze(), payload, error_field: false }
    }
}
