//! One escaped character, read as it comes: `&#98;`, `&#x62;`, `&lt;`, `%62`, `\x62`, `\u0062`, `\u{62}`.

use super::place::Place;

/// Longer ones are none.
const LONGEST: usize = 10;

/// An escape that has begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Escape {
    start: Place,
    at_edge: bool,
    text: [u8; LONGEST],
    length: usize,
}

/// What a character makes of an escape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// It goes on.
    More,
    /// It is complete and stands for this.
    Is(char),
    /// It is none.
    No,
}

/// Whether an escape may begin with this byte.
pub(super) const fn begins_escape(byte: u8) -> bool {
    matches!(byte, b'&' | b'%' | b'\\')
}

// === impl Escape ===

impl Escape {
    /// The escape that `c` begins at `start`, if one can begin with it.
    pub(super) fn begin(c: char, start: Place, at_edge: bool) -> Option<Self> {
        let first = u8::try_from(c).ok().filter(|&first| begins_escape(first))?;
        let mut text = [0; LONGEST];
        if let Some(place) = text.first_mut() {
            *place = first;
        }
        Some(Self { start, at_edge, text, length: 1 })
    }

    /// Behind its first sign, which stands alone too often to be held.
    pub(super) const fn behind_sign(&self) -> Place {
        self.start.after(1)
    }

    /// Whether there is more of it than its first sign.
    pub(super) const fn is_likely(&self) -> bool {
        self.length > 1
    }

    /// Whether no word goes on in it.
    pub(super) const fn at_edge(&self) -> bool {
        self.at_edge
    }

    pub(super) fn read(&mut self, c: char) -> Read {
        let Ok(byte) = u8::try_from(c) else { return Read::No };
        let Some(place) = self.text.get_mut(self.length) else { return Read::No };
        *place = byte;
        self.length += 1;
        let Some(text) = self.text.get(..self.length) else { return Read::No };
        match text {
            [b'&', name @ ..] => entity(name),
            [b'%', digits @ ..] | [b'\\', b'x', digits @ ..] => exactly(digits, 2),
            [b'\\', b'u', b'{', digits @ ..] => until(digits, b'}', 16),
            [b'\\', b'u', digits @ ..] => exactly(digits, 4),
            _ => Read::No,
        }
    }
}

/// A number or a name up to the semicolon.
fn entity(name: &[u8]) -> Read {
    match name {
        [b'#'] | [b'#', b'x'] => Read::More,
        [b'#', b'x', digits @ ..] => until(digits, b';', 16),
        [b'#', digits @ ..] => until(digits, b';', 10),
        b"amp;" => Read::Is('&'),
        b"lt;" => Read::Is('<'),
        b"gt;" => Read::Is('>'),
        b"quot;" => Read::Is('"'),
        b"apos;" => Read::Is('\''),
        b"nbsp;" => Read::Is(' '),
        b"shy;" | b"zwnj;" => Read::No,
        name if name.len() < 6 && name.iter().all(u8::is_ascii_lowercase) => Read::More,
        _ => Read::No,
    }
}

fn exactly(digits: &[u8], count: usize) -> Read {
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        Read::No
    } else if digits.len() < count {
        Read::More
    } else {
        number(digits, 16)
    }
}

fn until(digits: &[u8], end: u8, radix: u32) -> Read {
    match digits {
        [digits @ .., last] if *last == end => number(digits, radix),
        _ if digits.iter().all(|&digit| char::from(digit).is_digit(radix)) => Read::More,
        _ => Read::No,
    }
}

fn number(digits: &[u8], radix: u32) -> Read {
    str::from_utf8(digits)
        .ok()
        .and_then(|digits| u32::from_str_radix(digits, radix).ok())
        .and_then(char::from_u32)
        .map_or(Read::No, Read::Is)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<char> {
        let mut chars = text.chars();
        let mut escape = Escape::begin(chars.next()?, Place::default(), true)?;
        for c in chars.by_ref() {
            match escape.read(c) {
                Read::More => {}
                Read::Is(decoded) => return chars.next().is_none().then_some(decoded),
                Read::No => return None,
            }
        }
        None
    }

    #[test]
    fn the_usual_escapes_are_read() {
        for text in ["&#98;", "&#x62;", "%62", "\\x62", "\\u0062", "\\u{62}", "&#0098;"] {
            assert_eq!(read(text), Some('b'), "{text}");
        }
        assert_eq!(read("&#28856;"), Some('炸'));
        assert_eq!(read("&nbsp;"), Some(' '));
    }

    #[test]
    fn what_is_none_is_none() {
        for text in [
            "&",
            "& b",
            "%",
            "%6",
            "%zz",
            "\\frac",
            "&#;",
            "&#xzz;",
            "\\u{110000}",
            "&bomb;",
            "&#99999999999;",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
