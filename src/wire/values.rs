//! JSON values, each on lines of its own: NDJSON, or a body that is one value.
//!
//! A stream of lines ends a frame at every newline, as its clients do. A body that calls itself something else may be
//! one value, however it is laid out, or lines all the same: there a newline ends a frame where no value is open. One
//! inside of a string is no JSON, and ends what is broken there.

use bytes::{Bytes, BytesMut};

use super::{Frame, Payload, structure::Structure};

/// Cuts a body into JSON values.
#[derive(Debug)]
pub struct ValuesFramer {
    max_bytes: usize,
    /// Every newline ends a frame.
    lines: bool,
    kept: BytesMut,
    /// Bytes at the front of `kept` that have been looked at.
    read: usize,
    structure: Structure,
    oversize: bool,
    /// A byte order mark may still come.
    at_start: bool,
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

// === impl ValuesFramer ===

impl ValuesFramer {
    /// A framer for a body that is one value, or several on lines; it keeps at most `max_bytes` of one.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            lines: false,
            kept: BytesMut::new(),
            read: 0,
            structure: Structure::default(),
            oversize: false,
            at_start: true,
        }
    }

    /// A framer for a body of one value a line.
    #[must_use]
    pub fn of_lines(max_bytes: usize) -> Self {
        Self { lines: true, ..Self::new(max_bytes) }
    }

    /// Takes the next bytes of the body.
    pub fn push(&mut self, chunk: &[u8]) {
        self.kept.extend_from_slice(chunk);
    }

    /// The next value that is complete with its line, or what there is of one that is too large, unread.
    pub fn next_frame(&mut self) -> Option<Frame> {
        if self.pass_line() {
            return Some(self.cut());
        }
        self.oversize |= self.kept.len() > self.max_bytes;
        (self.oversize && !self.kept.is_empty()).then(|| {
            self.at_start = false;
            Frame { raw: self.take_read(), payload: Payload::TooLarge, error_field: false }
        })
    }

    /// The value that the body's end left without its newline.
    pub fn finish(&mut self) -> Option<Frame> {
        self.read = self.kept.len();
        (!self.kept.is_empty()).then(|| self.cut())
    }

    /// Goes to the end of the line that ends the frame; false where there is more to come.
    fn pass_line(&mut self) -> bool {
        loop {
            let unread = self.kept.get(self.read..).unwrap_or_default();
            let newline = memchr::memchr(b'\n', unread);
            let line = unread.get(..newline.unwrap_or(unread.len())).unwrap_or_default();
            if !self.lines {
                for &byte in line {
                    self.structure.step(byte);
                }
            }
            self.read += line.len();
            if newline.is_none() {
                return false;
            }
            self.read += 1;
            if !self.structure.is_nested() || self.structure.is_in_string() {
                return true;
            }
        }
    }

    fn cut(&mut self) -> Frame {
        let raw = self.take_read();
        self.structure = Structure::default();
        let oversize = std::mem::take(&mut self.oversize) || raw.len() > self.max_bytes;
        let begin =
            usize::from(std::mem::take(&mut self.at_start) && raw.starts_with(BYTE_ORDER_MARK))
                * BYTE_ORDER_MARK.len();
        let end = begin + raw.get(begin..).unwrap_or_default().trim_ascii_end().len();
        let payload = match (oversize, begin < end) {
            (true, _) => Payload::TooLarge,
            (false, true) => Payload::Slice(begin..end),
            (false, false) => Payload::Empty,
        };
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

    fn frames(lines: bool, body: &[u8], cuts: &[usize], max_bytes: usize) -> Vec<Frame> {
        let framer = if lines { ValuesFramer::of_lines } else { ValuesFramer::new };
        let mut framer = framer(max_bytes);
        frames_of(body, cuts, &mut |step| match step {
            Some(chunk) => {
                framer.push(&chunk);
                std::iter::from_fn(|| framer.next_frame()).collect()
            }
            None => framer.finish().into_iter().collect(),
        })
    }

    #[test]
    fn a_line_is_a_frame() {
        let body = b"\xef\xbb\xbf{\"a\":1}\r\n\n{\"b\":2}\n{\"c\":";
        for lines in [true, false] {
            let frames = frames(lines, body, &[], 100);
            assert_eq!(raw(&frames), body);
            assert_eq!(data(&frames), ["{\"a\":1}", "{\"b\":2}", "{\"c\":"]);
        }
    }

    #[test]
    fn one_value_may_take_many_lines() {
        let body = b"\n{\n  \"a\": \"}\\\"\",\n  \"b\": [\n]\n}\n";
        assert_eq!(
            data(&frames(false, body, &[], 100)),
            ["{\n  \"a\": \"}\\\"\",\n  \"b\": [\n]\n}"]
        );
        assert_eq!(data(&frames(true, body, &[], 100)).len(), 5);
    }

    #[test]
    fn a_broken_line_does_not_take_the_next_one_with_it() {
        let body = b"{\"a\":\"cut\n{\"b\":2}\n";
        for lines in [true, false] {
            assert_eq!(data(&frames(lines, body, &[], 100)), ["{\"a\":\"cut", "{\"b\":2}"]);
        }
    }

    #[test]
    fn hands_on_a_line_that_is_too_large_unread_and_goes_on_after_it() {
        let body = b"{\"a\":\"0123456789\"}\n{\"b\":2}\n";
        for at in 0..body.len() {
            let frames = frames(true, body, &[at], 12);
            assert_eq!(raw(&frames), body);
            assert_eq!(data(&frames), ["{\"b\":2}"], "cut at {at}");
            assert_eq!(too_large(&frames), 19);
        }
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_values_and_loses_no_byte(
            body in "(\\{|\\}|\\[|\\]|\"|\\\\|a|,|\u{feff}|\r\n|\n| ){0,40}",
            cuts in prop::collection::vec(0..120_usize, 0..8),
            lines in any::<bool>(),
        ) {
            let body = body.as_bytes();
            let whole = frames(lines, body, &[], 1000);
            prop_assert_eq!(raw(&whole), body);
            prop_assert_eq!(frames(lines, body, &cuts, 1000), whole);
            let (small, small_whole) = (frames(lines, body, &cuts, 12), frames(lines, body, &[], 12));
            prop_assert_eq!(raw(&small), body);
            prop_assert_eq!(data(&small), data(&small_whole));
            prop_assert_eq!(too_large(&small), too_large(&small_whole));
        }
    }
}
