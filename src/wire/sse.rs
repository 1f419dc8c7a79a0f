//! Server-sent events, framed so that every byte is kept.
//!
//! The grammar is that of the HTML standard (section 9.2.6): lines end in LF, CRLF or CR, a blank line ends an
//! event, a byte order mark may open the stream. No crate keeps an event's raw bytes, which is what a
//! transparent proxy releases; the tests hold the framing against `sse-parse`.
//!
//! An event whose blank line is a CR is over with it, and is not held until the next byte says whether an LF follows: that
//! LF, like further blank lines, is a frame of its own, so that events and their lengths are the same for every cut.

use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memchr2;

use super::{Frame, Payload};

/// Cuts a byte stream into events.
#[derive(Debug)]
pub struct SseFramer {
    max_bytes: usize,
    /// Bytes that belong to no complete event yet.
    buffer: BytesMut,
    /// A chunk from which events are cut without copying; only while `buffer` is empty.
    chunk: Bytes,
    /// Bytes at the front of `buffer` or `chunk` whose lines have been read already.
    read: usize,
    /// Lines of the event under construction.
    lines: Lines,
    /// The last byte read ended a line by CR: an LF that follows belongs to that line end.
    after_cr: bool,
    /// Whether the first line of the stream is still to come (it may carry a byte order mark).
    at_start: bool,
    /// The event under construction is too large: its bytes are handed on unread.
    oversize: bool,
}

/// What is known of the event under construction; offsets count from its first byte.
#[derive(Debug, Default)]
struct Lines {
    data: Option<(usize, usize)>,
    joined: Option<BytesMut>,
    error_field: bool,
    any: bool,
    /// The beginning of the present line has been handed on already.
    mid_line: bool,
}

// === impl SseFramer ===

impl SseFramer {
    /// A framer that keeps at most `max_bytes` of one event.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            buffer: BytesMut::new(),
            chunk: Bytes::new(),
            read: 0,
            lines: Lines::default(),
            after_cr: false,
            at_start: true,
            oversize: false,
        }
    }

    /// Takes the next bytes of the body.
    pub fn push(&mut self, chunk: Bytes) {
        if self.buffer.is_empty() && self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            self.spill();
            self.buffer.extend_from_slice(&chunk);
        }
    }

    /// The next event that is complete.
    pub fn next_frame(&mut self) -> Option<Frame> {
        loop {
            let pending = if self.buffer.is_empty() { &self.chunk[..] } else { &self.buffer[..] };
            let unread = pending.get(self.read..).unwrap_or_default();
            if self.after_cr && unread.first() == Some(&b'\n') {
                self.after_cr = false;
                self.read += 1;
                continue;
            }
            let Some(length) = memchr2(b'\n', b'\r', unread) else {
                if self.has_read_blank() {
                    return Some(self.cut_blank());
                }
                self.spill();
                return self.cut_oversize();
            };
            let begin = self.read;
            let line_end = begin + length;
            let by_cr = unread.get(length) == Some(&b'\r');
            let line = unread.get(..length).unwrap_or_default();
            let bom = if self.at_start && line.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
            if length > bom && self.has_read_blank() {
                return Some(self.cut_blank());
            }
            self.at_start = false;
            self.after_cr = by_cr;
            self.read = line_end + 1;
            let continued = std::mem::take(&mut self.lines.mid_line);
            if length > bom || continued {
                if !self.oversize {
                    self.lines.read(pending, begin + bom, line_end);
                }
            } else if self.lines.any || self.oversize {
                return Some(self.cut());
            }
        }
    }

    /// What waits behind the last event, up to the largest one's length, where nothing of it was read yet.
    pub(super) fn rest(&self) -> Option<&[u8]> {
        let is_fresh = self.buffer.is_empty()
            && self.read == 0
            && !self.lines.any
            && !(self.at_start || self.after_cr || self.oversize);
        let length = self.chunk.len().min(self.max_bytes);
        self.chunk.get(..length).filter(|rest| is_fresh && !rest.is_empty())
    }

    /// Passes over whole events at the front of that.
    pub(super) fn pass(&mut self, length: usize) {
        self.chunk.advance(length.min(self.chunk.len()));
    }

    /// The event that the body's end left without its blank line.
    pub fn finish(&mut self) -> Option<Frame> {
        self.spill();
        if self.buffer.is_empty() {
            return None;
        }
        let end = self.buffer.len();
        if self.read < end && !self.oversize {
            let buffer = std::mem::take(&mut self.buffer);
            let bom = if self.at_start && buffer.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
            self.lines.read(&buffer, self.read + bom, end);
            self.buffer = buffer;
        }
        self.read = end;
        Some(self.cut())
    }

    /// Takes the bytes read so far as an event.
    fn cut(&mut self) -> Frame {
        let raw = self.take_read();
        let lines = std::mem::take(&mut self.lines);
        let oversize = std::mem::take(&mut self.oversize) || raw.len() > self.max_bytes;
        let payload = match (oversize, lines.joined, lines.data) {
            (true, _, _) => Payload::TooLarge,
            (false, Some(joined), _) => Payload::Joined(joined.freeze()),
            (false, None, Some((begin, end))) => Payload::Slice(begin..end),
            (false, None, None) => Payload::Empty,
        };
        Frame { raw, payload, error_field: lines.error_field }
    }

    /// Whether what was read are blank lines between events, or the LF of the CRLF behind the last one.
    fn has_read_blank(&self) -> bool {
        self.read > 0 && !self.lines.any && !self.oversize
    }

    /// Takes these: the event before was over without them, and the next one's length must not depend on which of
    /// them had come by then.
    fn cut_blank(&mut self) -> Frame {
        Frame { raw: self.take_read(), payload: Payload::Empty, error_field: false }
    }

    /// Hands on what is there of an event that is too large, unread.
    fn cut_oversize(&mut self) -> Option<Frame> {
        if self.buffer.is_empty() || (!self.oversize && self.buffer.len() <= self.max_bytes) {
            return None;
        }
        let mid_line = self.read < self.buffer.len();
        self.oversize = true;
        self.after_cr &= !mid_line;
        self.lines = Lines { any: true, mid_line, ..Lines::default() };
        self.read = self.buffer.len();
        let raw = self.take_read();
        Some(Frame { raw, payload: Payload::TooLarge, error_field: false })
    }

    fn take_read(&mut self) -> Bytes {
        let length = std::mem::take(&mut self.read);
        if self.buffer.is_empty() {
            self.chunk.split_to(length)
        } else {
            self.buffer.split_to(length).freeze()
        }
    }

    /// Moves what is left of the chunk into the buffer.
    fn spill(&mut self) {
        if !self.chunk.is_empty() {
            self.buffer.extend_from_slice(&self.chunk);
            self.chunk = Bytes::new();
        }
    }
}

// === impl Lines ===

impl Lines {
    /// Reads the line `begin..end` of `event`.
    fn read(&mut self, event: &[u8], begin: usize, end: usize) {
        self.any = true;
        let line = event.get(begin..end).unwrap_or_default();
        let colon = memchr::memchr(b':', line);
        let name = line.get(..colon.unwrap_or(line.len())).unwrap_or_default();
        let mut value = colon.map_or(end, |at| begin + at + 1);
        if value < end && event.get(value) == Some(&b' ') {
            value += 1;
        }
        match name {
            b"data" => self.read_data(event, value, end),
            b"error" => {
                self.error_field = true;
                self.read_data(event, value, end);
            }
            _ => {}
        }
    }

    fn read_data(&mut self, event: &[u8], begin: usize, end: usize) {
        let value = event.get(begin..end).unwrap_or_default();
        match (&mut self.joined, self.data) {
            (Some(joined), _) => {
                joined.extend_from_slice(b"\n");
                joined.extend_from_slice(value);
            }
            (None, Some((first, first_end))) => {
                let mut joined = BytesMut::from(event.get(first..first_end).unwrap_or_default());
                joined.extend_from_slice(b"\n");
                joined.extend_from_slice(value);
                self.joined = Some(joined);
            }
            (None, None) => self.data = Some((begin, end)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::tests::{data, frames_of, raw, too_large};

    fn frames(body: &[u8], cuts: &[usize], max_bytes: usize) -> Vec<Frame> {
        let mut framer = SseFramer::new(max_bytes);
        frames_of(body, cuts, &mut |step| match step {
            Some(chunk) => {
                framer.push(chunk);
                std::iter::from_fn(|| framer.next_frame()).collect()
            }
            None => framer.finish().into_iter().collect(),
        })
    }

    fn events(mut frames: Vec<Frame>) -> Vec<Frame> {
        let blank = |byte: &u8| b"\r\n\xef\xbb\xbf".contains(byte);
        frames.retain(|frame| !frame.raw.iter().all(blank));
        frames
    }

    #[test]
    fn keeps_comments_and_every_line_end_in_raw() {
        for end in ["\n", "\r\n", "\r"] {
            let body =
                [": ping", "", "event: x", "data: a", "data:b", "id", "", "data: [DONE]", "", ""]
                    .join(end);
            let frames = frames(body.as_bytes(), &[], 100);
            assert_eq!(raw(&frames), body.as_bytes());
            let line_feeds = frames.iter().filter(|frame| frame.raw == "\n").count();
            assert_eq!(frames.len() - line_feeds, 3);
            assert_eq!(line_feeds, if end == "\r\n" { 3 } else { 0 });
            assert_eq!(data(&frames), ["a\nb", "[DONE]"]);
        }
    }

    #[test]
    fn reads_a_byte_order_mark_a_missing_space_and_an_unterminated_event() {
        let body = b"\xef\xbb\xbfdata:{}\n\ndata:  x\n";
        let frames = frames(body, &[], 100);
        assert_eq!(data(&frames), ["{}", " x"]);
        assert_eq!(raw(&frames), body);
    }

    #[test]
    fn an_event_does_not_wait_for_the_last_line_feed_nor_that_for_the_next_event() {
        let mut framer = SseFramer::new(100);
        framer.push(Bytes::from_static(b"data: a\r\n\r"));
        assert_eq!(framer.next_frame().unwrap().data(), b"a");
        framer.push(Bytes::from_static(b"\n"));
        assert_eq!(framer.next_frame().unwrap().raw, "\n");
        assert!(framer.next_frame().is_none());
    }

    #[test]
    fn marks_a_field_named_error() {
        let frames = frames(b"error: {\"a\":1}\n\n", &[], 100);
        assert!(frames[0].error_field);
        assert_eq!(frames[0].data(), b"{\"a\":1}");
    }

    #[test]
    fn hands_on_an_event_that_is_too_large_unread_and_goes_on_after_it() {
        let body = b"data: 0123456789\ndata: 0123456789\n\ndata: ok\n\n";
        for at in 0..body.len() {
            let frames = frames(body, &[at], 16);
            assert_eq!(raw(&frames), body);
            assert_eq!(data(&frames), ["ok"], "cut at {at}");
        }
    }

    #[test]
    fn replaces_the_payload_and_keeps_the_rest() {
        let frame = frames(b"id: 7\r\ndata: old\r\n\r\n", &[], 100).remove(0);
        assert_eq!(frame.with_data(b"new"), b"id: 7\r\ndata: new\r\n\r".as_slice());
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events_and_loses_no_byte(
            body in "(data: ?|: |event:|[ab]|\u{feff}|\r\n|\n|\r){0,40}",
            cuts in prop::collection::vec(0..120usize, 0..8),
        ) {
            let body = body.as_bytes();
            let whole = frames(body, &[], 1000);
            let cut = frames(body, &cuts, 1000);
            prop_assert_eq!(raw(&whole), body);
            prop_assert_eq!(raw(&cut), body);
            prop_assert_eq!(events(cut), events(whole));
            let (small, small_whole) = (frames(body, &cuts, 12), frames(body, &[], 12));
            prop_assert_eq!(raw(&small), body);
            prop_assert_eq!(data(&small), data(&small_whole));
            prop_assert_eq!(too_large(&small), too_large(&small_whole));
        }
    }
}
