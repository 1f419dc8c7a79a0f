//! A JSON array that comes in pieces over time, one frame an item: how Gemini streams unless it is asked for events.
//!
//! An item is over with its last bracket and does not wait for the comma, which belongs to the next frame, as does the
//! white space before it. The brackets of the array are frames that carry nothing.

use bytes::{Bytes, BytesMut};

use super::{Frame, Payload, structure::Structure};

/// Cuts a JSON array into its items.
#[derive(Debug)]
pub struct ArrayFramer {
    max_bytes: usize,
    kept: BytesMut,
    /// Bytes at the front of `kept` that have been looked at.
    read: usize,
    place: Place,
    oversize: bool,
}

/// Where in the array one is.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Before its bracket.
    Before,
    /// Before an item, or the end.
    Between,
    /// In an item that begins at this byte of what is kept.
    Item { begin: usize, structure: Structure },
    /// Behind the array; nothing should stand there.
    After,
}

// === impl ArrayFramer ===

impl ArrayFramer {
    /// A framer that keeps at most `max_bytes` of one item.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        let place = Place::Before;
        Self { max_bytes, kept: BytesMut::new(), read: 0, place, oversize: false }
    }

    /// Takes the next bytes of the body.
    pub fn push(&mut self, chunk: &[u8]) {
        self.kept.extend_from_slice(chunk);
    }

    /// The next item that is complete, or what there is of one that is too large, unread.
    pub fn next_frame(&mut self) -> Option<Frame> {
        while let Some(&byte) = self.kept.get(self.read) {
            if let Some(payload) = self.pass(byte) {
                return Some(self.cut(payload));
            }
        }
        self.oversize |= self.kept.len() > self.max_bytes;
        if !self.oversize || self.kept.is_empty() {
            return None;
        }
        if let Place::Item { begin, .. } = &mut self.place {
            *begin = 0;
        }
        Some(Frame { raw: self.take_read(), payload: Payload::TooLarge, error_field: false })
    }

    /// What the body's end left: an item without its end, or what stands behind the array.
    pub fn finish(&mut self) -> Option<Frame> {
        if self.kept.is_empty() {
            return None;
        }
        let end = self.kept.len();
        let blank = self.kept.trim_ascii().is_empty();
        let begin = match self.place {
            Place::Item { begin, .. } => begin,
            Place::Before | Place::Between | Place::After => 0,
        };
        self.read = end;
        Some(self.cut(if blank { Payload::Empty } else { Payload::Slice(begin..end) }))
    }

    /// Goes over a byte; the payload of the frame that is over with what has been passed.
    fn pass(&mut self, byte: u8) -> Option<Payload> {
        let at = self.read;
        match &mut self.place {
            Place::Before => {
                self.read += 1;
                if byte != b'[' {
                    return None;
                }
                self.place = Place::Between;
                Some(Payload::Empty)
            }
            Place::Between if byte.is_ascii_whitespace() || byte == b',' => {
                self.read += 1;
                None
            }
            Place::Between if byte == b']' => {
                self.read += 1;
                self.place = Place::After;
                Some(Payload::Empty)
            }
            Place::Between => {
                self.place = Place::Item { begin: at, structure: Structure::default() };
                None
            }
            Place::Item { begin, structure } => {
                let bare = !structure.is_nested() && !structure.is_in_string();
                // A number or a string has no bracket of its own.
                let is_over = bare && matches!(byte, b',' | b']') || {
                    self.read += 1;
                    structure.step(byte)
                };
                if !is_over {
                    return None;
                }
                let payload = Payload::Slice(*begin..self.read);
                self.place = Place::Between;
                Some(payload)
            }
            Place::After => {
                self.read += 1;
                None
            }
        }
    }

    fn cut(&mut self, payload: Payload) -> Frame {
        let raw = self.take_read();
        let oversize = std::mem::take(&mut self.oversize) || raw.len() > self.max_bytes;
        let payload = if oversize { Payload::TooLarge } else { payload };
        Frame { raw, payload, error_field: false }
    }

    fn take_read(&mut self) -> Bytes {
        self.kept.split_to(std::mem::take(&mut self.read)).freeze()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::tests::{data, frames_of, raw, too_large};

    fn frames(body: &[u8], cuts: &[usize], max_bytes: usize) -> Vec<Frame> {
        let mut framer = ArrayFramer::new(max_bytes);
        frames_of(body, cuts, &mut |step| match step {
            Some(chunk) => {
                framer.push(&chunk);
                std::iter::from_fn(|| framer.next_frame()).collect()
            }
            None => framer.finish().into_iter().collect(),
        })
    }

    #[test]
    fn an_item_is_a_frame_and_does_not_wait_for_the_next() {
        let mut framer = ArrayFramer::new(100);
        framer.push(b"[{\"a\":\"]\\\"}\"}");
        assert_eq!(framer.next_frame().unwrap().raw, "[");
        assert_eq!(framer.next_frame().unwrap().raw, "{\"a\":\"]\\\"}\"}");
        framer.push(b"\n,\r\n[1]");
        let frame = framer.next_frame().unwrap();
        assert_eq!((frame.raw.as_ref(), frame.data()), (&b"\n,\r\n[1]"[..], &b"[1]"[..]));
        assert!(framer.next_frame().is_none());
        framer.push(b"\n]");
        assert_eq!(framer.next_frame().unwrap().payload, Payload::Empty);
        assert!(framer.finish().is_none());
    }

    #[test]
    fn an_array_that_is_never_closed_loses_nothing() {
        for (body, read) in [
            ("[{\"a\":1},{\"b\":", vec!["{\"a\":1}", "{\"b\":"]),
            ("[{\"a\":1},", vec!["{\"a\":1}", ","]),
            (" [1, \"x\", null]x", vec!["1", "\"x\"", "null", "x"]),
            ("[]", vec![]),
        ] {
            let frames = frames(body.as_bytes(), &[], 100);
            assert_eq!(raw(&frames), body.as_bytes());
            assert_eq!(data(&frames), read);
        }
    }

    #[test]
    fn hands_on_an_item_that_is_too_large_unread_and_goes_on_after_it() {
        let body = b"[{\"a\":\"0123456789\"},{\"b\":2}]";
        for at in 0..body.len() {
            let frames = frames(body, &[at], 12);
            assert_eq!(raw(&frames), body);
            assert_eq!(data(&frames), ["{\"b\":2}"], "cut at {at}");
            assert_eq!(too_large(&frames), 18);
        }
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_items_and_loses_no_byte(
            body in "\\[(\\{|\\}|\\[|\\]|\"|\\\\|a|,|\r\n|\n| ){0,40}",
            cuts in prop::collection::vec(0..120_usize, 0..8),
        ) {
            let body = body.as_bytes();
            let whole = frames(body, &[], 1000);
            prop_assert_eq!(raw(&whole), body);
            prop_assert_eq!(frames(body, &cuts, 1000), whole);
            let (small, small_whole) = (frames(body, &cuts, 12), frames(body, &[], 12));
            prop_assert_eq!(raw(&small), body);
            prop_assert_eq!(data(&small), data(&small_whole));
            prop_assert_eq!(too_large(&small), too_large(&small_whole));
        }
    }
}
