//! JSON strings and their places, over borrowed text.
//!
//! `serde_json` does the parsing; what is here keeps what it hides: where a value stands, every value of a
//! repeated key, and strings with lone surrogates (half a character cut into two deltas), which `serde_json`
//! refuses.

use std::{borrow::Cow, fmt, marker::PhantomData, ops::Range};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The place of `raw` in the text that it was borrowed from.
pub(super) fn range_in(whole: &str, raw: &str) -> Range<usize> {
    let begin = (raw.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    begin..begin + raw.len()
}

/// The string that a JSON token holds; nothing when it is no string.
pub(super) fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    Some(Cow::Owned(match serde_json::from_str::<String>(raw) {
        Ok(text) => text,
        Err(_) => unescape_lossy(inner),
    }))
}

/// Unescapes, with U+FFFD for a lone surrogate.
fn unescape_lossy(inner: &str) -> String {
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        let (plain, escape) = rest.split_at(at);
        text.push_str(plain);
        let mut chars = escape.chars();
        chars.next();
        match chars.next() {
            Some('u') => {
                let (character, length) = unicode_escape(escape);
                text.push(character);
                rest = escape.get(length..).unwrap_or_default();
                continue;
            }
            Some('n') => text.push('\n'),
            Some('t') => text.push('\t'),
            Some('r') => text.push('\r'),
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some(other) => text.push(other),
            None => {}
        }
        rest = chars.as_str();
    }
    text.push_str(rest);
    text
}

/// The character of the `\u` escape that `escape` begins with, and the bytes that it takes.
fn unicode_escape(escape: &str) -> (char, usize) {
    let unit = |at: usize| {
        let digits = escape.get(at..).filter(|rest| rest.starts_with("\\u"))?.get(2..6)?;
        u32::from_str_radix(digits, 16).ok()
    };
    match (unit(0), unit(6)) {
        (Some(high @ 0xD800..=0xDBFF), Some(low @ 0xDC00..=0xDFFF)) => {
            let code = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
            (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12)
        }
        (Some(code), _) => (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 6),
        (None, _) => (char::REPLACEMENT_CHARACTER, 2),
    }
}

/// Whether a JSON token holds nothing that could be text: null, a boolean, a number, or something empty.
pub(super) fn says_nothing(raw: &str) -> bool {
    match raw.as_bytes() {
        [b'"', rest @ ..] => rest.len() <= 1,
        [b'[' | b'{', rest @ ..] => rest.trim_ascii().len() <= 1,
        _ => true,
    }
}

/// Calls `entry` for every key of the object `raw`, repeated ones included; false when it is no object.
pub(super) fn each_entry<'de>(raw: &'de str, mut entry: impl FnMut(&str, &'de str)) -> bool {
    let mut deserializer = serde_json::Deserializer::from_str(raw);
    let walked =
        deserializer.deserialize_map(Entries { entry: &mut entry, lifetime: PhantomData }).is_ok();
    walked && deserializer.end().is_ok()
}

/// Calls `item` for every item of the array `raw`; false when it is no array.
pub(super) fn each_item<'de>(raw: &'de str, mut item: impl FnMut(&'de str)) -> bool {
    let mut deserializer = serde_json::Deserializer::from_str(raw);
    deserializer.deserialize_seq(Items { item: &mut item, lifetime: PhantomData }).is_ok()
}

struct Entries<'f, 'de, F> {
    entry: &'f mut F,
    lifetime: PhantomData<&'de ()>,
}

impl<'de, F: FnMut(&str, &'de str)> Visitor<'de> for Entries<'_, 'de, F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Key)? {
            let value: &'de RawValue = map.next_value()?;
            (self.entry)(&key, value.get());
        }
        Ok(())
    }
}

struct Items<'f, 'de, F> {
    item: &'f mut F,
    lifetime: PhantomData<&'de ()>,
}

impl<'de, F: FnMut(&'de str)> Visitor<'de> for Items<'_, 'de, F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(value) = items.next_element::<&'de RawValue>()? {
            (self.item)(value.get());
        }
        Ok(())
    }
}

/// A key, borrowed where it holds no escape.
pub(super) struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_strings_with_lone_and_paired_surrogates() {
        assert_eq!(string(r#""plain""#).unwrap(), "plain");
        assert_eq!(string(r#""a\u003cb\ud83d\ude00\n""#).unwrap(), "a<b😀\n");
        assert_eq!(string(r#""x\ud83d""#).unwrap(), "x\u{fffd}");
        assert_eq!(string(r#""\ude00\t\"""#).unwrap(), "\u{fffd}\t\"");
        assert_eq!(string(r#""\ud83d\ud83d\ude00""#).unwrap(), "\u{fffd}😀");
        assert!(string("7").is_none());
    }

    #[test]
    fn walks_repeated_keys_and_tells_where_values_stand() {
        let text = r#"{"a":1, "\u0061":"x"}"#;
        let mut seen = Vec::new();
        assert!(each_entry(text, |key, value| seen.push((key.to_owned(), range_in(text, value)))));
        assert_eq!(seen, [("a".to_owned(), 5..6), ("a".to_owned(), 17..20)]);
        assert!(!each_entry("[1]", |_, _| {}));
        assert!(!each_entry("{\"a\":1} x", |_, _| {}));
    }

    #[test]
    fn knows_values_without_text() {
        for raw in ["null", "true", "-1.5e3", "\"\"", "[]", "{ }"] {
            assert!(says_nothing(raw), "{raw}");
        }
        for raw in ["\"x\"", "\" \"", "[1]", "{\"a\":1}"] {
            assert!(!says_nothing(raw), "{raw}");
        }
    }
}
