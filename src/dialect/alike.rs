//! Payloads that are like the one before but for their text: nearly all of a stream.
//!
//! To find the text of such a payload takes a fraction of the work of reading it: outside of the text, and of a few
//! values that no dialect reads, it has the same bytes, so that it says the same.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;
use smallvec::SmallVec;

use super::{
    cursor::Cursor,
    json::{range_in, string},
};

/// Members of a payload that say nothing about its text, and change from one to the next.
const FREE: [&str; 5] =
    ["created", "created_at", "obfuscation", "sequence_number", "system_fingerprint"];

/// What the payloads have in common that are like a first one.
#[derive(Debug)]
pub struct Alike {
    payload: Bytes,
    /// Where values stand that may be others of their kind, in order.
    values: SmallVec<[Range<usize>; 4]>,
    /// Which of them is the text.
    text: usize,
}

// === impl Alike ===

impl Alike {
    /// That of a payload whose text is the JSON string at `text`; `None` where it is not plain JSON, beyond doubt.
    #[must_use]
    pub fn new(payload: &Bytes, text: Range<usize>) -> Option<Self> {
        let whole = str::from_utf8(payload).ok()?;
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
        Some(Self { payload: payload.clone(), values, text: at })
    }

    /// The text of a payload that is like the first one.
    #[must_use]
    pub fn text_of<'p>(&self, payload: &'p str) -> Option<Cow<'p, str>> {
        let mut cursor = Cursor::new(payload);
        let mut from = 0;
        let mut text = None;
        for (number, value) in self.values.iter().enumerate() {
            cursor.pass_same(self.payload.get(from..value.start)?)?;
            let raw = cursor.value_like(*self.payload.get(value.start)?)?;
            if number == self.text {
                text = Some(raw);
            }
            from = value.end;
        }
        cursor.pass_same(self.payload.get(from..)?)?;
        cursor.is_at_end().then_some(())?;
        string(text?)
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

    fn text_of(payload: &str) -> Option<Cow<'_, str>> {
        let at = FIRST.find("\"one\"").unwrap();
        Alike::new(&Bytes::from_static(FIRST.as_bytes()), at..at + 5).unwrap().text_of(payload)
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
    fn what_is_no_plain_json_is_like_nothing() {
        for (payload, text) in [
            (r#"{"content":"one"} x"#, 11..16),
            (r#"{"content":"one""#, 11..16),
            (r#"{"c\u006fntent":"one"}"#, 16..21),
            (r#"{"content":true}"#, 11..15),
            (r#"{"content":"one"}"#, 11..99),
        ] {
            assert!(Alike::new(&Bytes::from(payload), text).is_none(), "{payload}");
        }
    }
}
