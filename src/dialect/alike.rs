//! Frames that are like the one before but for their text: nearly all of a stream.
//!
//! To find the text of such a frame takes a fraction of the work of cutting it out and reading it: outside of the text, and
//! of a few values that no dialect reads, it has the same bytes, so that it says the same.

use std::{borrow::Cow, ops::Range};

use smallvec::SmallVec;

use super::{
    cursor::{Cursor, Scan},
    json::{range_in, string},
};
use crate::wire::{Frame, Payload};

/// Members of a payload that say nothing about its text, and change from one to the next.
const FREE: [&str; 5] =
    ["created", "created_at", "obfuscation", "sequence_number", "system_fingerprint"];

/// The largest first frame, in bytes: it is kept for as long as others may come, and a larger one brings so much text that
/// reading it in full is no loss.
const LARGEST: usize = 4 << 10;

/// What the frames have in common that are like a first one.
#[derive(Debug)]
pub struct Alike {
    /// The first one's bytes: a copy, so that what they came in can go.
    first: Box<[u8]>,
    /// Where its payload stands in it.
    payload: Range<usize>,
    /// Where values stand in it that may be others of their kind, in order.
    values: SmallVec<[Range<usize>; 4]>,
    /// Which of them is the text.
    text: usize,
    /// Whether its end is one wherever it stands, and nothing of it belongs to what follows.
    is_closed: bool,
}

// === impl Alike ===

impl Alike {
    /// That of a frame of whose payload the JSON string at `text` is the text; `None` where the payload is not plain JSON
    /// on one line, beyond doubt, or the frame is large.
    #[must_use]
    pub fn new(frame: &Frame, text: Range<usize>) -> Option<Self> {
        let Payload::Slice(payload) = frame.payload.clone() else { return None };
        if frame.raw.len() > LARGEST {
            return None;
        }
        let whole = str::from_utf8(frame.data()).ok()?;
        let mut values = SmallVec::<[_; 4]>::new();
        let mut cursor = Cursor::new(whole);
        cursor.object(|cursor, key| {
            let raw = cursor.value()?;
            // Of some values the first one that is not empty is kept.
            if FREE.contains(&key) && is_scalar(raw) && !matches!(raw, "0" | "\"\"") {
                values.push(range_in(whole, raw));
            }
            Some(())
        })?;
        cursor.end()?;
        if !whole.get(text.clone())?.starts_with('"') {
            return None;
        }
        let at = values.partition_point(|value| value.start < text.start);
        values.insert(at, text);
        for value in &mut values {
            *value = payload.start + value.start..payload.start + value.end;
        }
        let is_closed = frame.raw.ends_with(b"\n\n") && !frame.raw.contains(&b'\r');
        Some(Self { first: frame.raw.as_ref().into(), payload, values, text: at, is_closed })
    }

    /// The text of a payload that is like the first frame's.
    #[must_use]
    pub fn text_of<'p>(&self, payload: &'p [u8]) -> Option<Cow<'p, str>> {
        let (text, length) = self.read(payload, self.payload.clone())?;
        (length == payload.len()).then_some(text)
    }

    /// The text of the event that `bytes` begin with, and how long that is, where it is an event like the first frame.
    #[must_use]
    pub fn next_text<'b>(&self, bytes: &'b [u8]) -> Option<(Cow<'b, str>, usize)> {
        if self.is_closed { self.read(bytes, 0..self.first.len()) } else { None }
    }

    /// Reads bytes that are like `part` of the first frame.
    fn read<'b>(&self, bytes: &'b [u8], part: Range<usize>) -> Option<(Cow<'b, str>, usize)> {
        let first = &self.first;
        let mut scan = Scan::new(bytes);
        let mut from = part.start;
        let mut text = None;
        for (number, value) in self.values.iter().enumerate() {
            scan.pass_same(first.get(from..value.start)?)?;
            from = value.end;
            let raw = scan.pass_like(*first.get(value.start)?)?;
            if number == self.text {
                text = Some(str::from_utf8(raw).ok()?);
            } else if !raw.is_ascii() {
                return None;
            }
        }
        scan.pass_same(first.get(from..part.end)?)?;
        Some((string(text?)?, scan.at()))
    }
}

/// Whether a value is a string or a number.
fn is_scalar(raw: &str) -> bool {
    raw.starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = r#"{"id":"a","created":17,"choices":[{"index":0,"delta":{"content":"one"}}],"system_fingerprint":"fp"}"#;

    /// An event with this payload.
    fn event(payload: &str) -> Frame {
        let raw = format!("event: x\ndata: {payload}\n\n");
        Frame {
            raw: raw.into(),
            payload: Payload::Slice(15..15 + payload.len()),
            error_field: false,
        }
    }

    /// What is found in a payload, and in an event with it that another one follows.
    fn text_of(payload: &str) -> Option<String> {
        let at = FIRST.find("\"one\"").unwrap();
        let alike = Alike::new(&event(FIRST), at..at + 5).unwrap();
        let text = alike.text_of(payload.as_bytes());
        let raw = event(payload).raw;
        let more = [&raw[..], b"data: x"].concat();
        let next = alike.next_text(&more);
        assert_eq!(next, text.clone().map(|text| (text, raw.len())));
        assert_eq!(alike.next_text(&raw[..raw.len() - 1]), None);
        text.map(Cow::into_owned)
    }

    #[test]
    fn the_text_is_found_where_nothing_else_that_counts_differs() {
        assert_eq!(text_of(FIRST).unwrap(), "one");
        let other = FIRST.replace("one", r#"t\"w\u006f 二"#).replace("17", "18").replace("fp", "");
        assert_eq!(text_of(&other).unwrap(), "t\"wo 二");
        assert_eq!(text_of(&FIRST.replace("one", "")).unwrap(), "");
    }

    #[test]
    fn whatever_else_differs_is_read_in_full() {
        for (from, to) in [
            ("\"index\":0", "\"index\":1"),
            ("content", "contents"),
            ("\"one\"", "null"),
            ("\"one\"", "\"one\",\"refusal\":\"two\""),
            ("\"one\"", "\"one"),
            ("17", "\"17\""),
            ("17", "17.0e"),
            ("17", "{}"),
            ("\"id\":\"a\"", "\"id\":\"b\""),
            ("\"fp\"}", "\"fp\"} "),
            ("\"fp\"}", "\"fp\",\"error\":{}}"),
            ("\"fp\"}", "\"fp\""),
        ] {
            let other = FIRST.replacen(from, to, 1);
            assert_ne!(other, FIRST);
            assert_eq!(text_of(&other), None, "{other}");
        }
    }

    #[test]
    fn no_event_is_found_where_its_end_may_go_on() {
        let payload = r#"{"content":"one"}"#;
        let mut frame = event(payload);
        for (end, is_closed) in [("\n\n", true), ("\r\n\r\n", false), ("\r\r", false)] {
            frame.raw = format!("event: x\ndata: {payload}{end}").into();
            let alike = Alike::new(&frame, 11..16).unwrap();
            assert_eq!(alike.next_text(&frame.raw).is_some(), is_closed);
            assert_eq!(alike.text_of(payload.as_bytes()).unwrap(), "one");
        }
    }

    #[test]
    fn a_large_frame_is_not_kept() {
        for (size, is_kept) in [(LARGEST / 2, true), (LARGEST, false)] {
            let payload = format!(r#"{{"content":"{}"}}"#, "x".repeat(size));
            let text = 11..payload.len() - 1;
            assert_eq!(Alike::new(&event(&payload), text).is_some(), is_kept, "{size}");
        }
    }

    #[test]
    fn what_is_no_plain_json_is_like_nothing() {
        for (payload, text) in [
            (r#"{"content":"one"} x"#, 11..16),
            (r#"{"content":"one""#, 11..16),
            (r#"{"c\u006fntent":"one"}"#, 16..21),
            (r#"{"content":true}"#, 11..15),
            (r#"{"content":"one"}"#, 11..99),
        ] {
            assert!(Alike::new(&event(payload), text).is_none(), "{payload}");
        }
    }
}
