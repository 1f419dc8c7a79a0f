//! A cursor over plain JSON: what nearly every chunk is made of, read in one pass.
//!
//! It gives up (`None`) on whatever is not beyond doubt: broken text, keys with escapes, deep nesting. Then
//! `serde_json` decides. What it accepts, `serde_json` accepts, with the same values in the same places; the
//! tests of [`openai_chat`](super::openai_chat) hold the two against each other.

/// Levels of nesting inside a value that is passed over.
const MAX_DEPTH: u8 = 16;

/// A place in a JSON text.
#[derive(Debug)]
pub(super) struct Cursor<'de> {
    text: &'de str,
    scan: Scan<'de>,
}

/// A place among bytes, before or behind whole values.
#[derive(Debug)]
pub(super) struct Scan<'b> {
    bytes: &'b [u8],
    at: usize,
}

// === impl Cursor ===

impl<'de> Cursor<'de> {
    pub(super) const fn new(text: &'de str) -> Self {
        Self { text, scan: Scan::new(text.as_bytes()) }
    }

    /// Reads an object; `entry` is called with each key and reads the value that follows.
    pub(super) fn object(
        &mut self,
        mut entry: impl FnMut(&mut Self, &'de str) -> Option<()>,
    ) -> Option<()> {
        self.expect(b'{')?;
        if self.peek()? == b'}' {
            self.scan.at += 1;
            return Some(());
        }
        loop {
            let key = self.key()?;
            self.expect(b':')?;
            entry(self, key)?;
            match self.next()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// Reads an array; `item` reads each item.
    pub(super) fn array(&mut self, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.expect(b'[')?;
        if self.peek()? == b']' {
            self.scan.at += 1;
            return Some(());
        }
        loop {
            item(self)?;
            match self.next()? {
                b',' => {}
                b']' => return Some(()),
                _ => return None,
            }
        }
    }

    /// Passes over a value; gives it as it stands.
    pub(super) fn value(&mut self) -> Option<&'de str> {
        self.peek()?;
        let begin = self.scan.at;
        self.pass_value(MAX_DEPTH)?;
        self.text.get(begin..self.scan.at)
    }

    /// Passes over a null, if one stands here.
    pub(super) fn null(&mut self) -> Option<()> {
        if self.peek()? == b'n' { self.word("null") } else { None }
    }

    /// Nothing but white space follows.
    pub(super) fn end(&mut self) -> Option<()> {
        if self.peek().is_none() { Some(()) } else { None }
    }

    /// The first byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.scan.bytes.get(self.scan.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return Some(byte);
            }
            self.scan.at += 1;
        }
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.scan.at += 1;
        Some(byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        if self.next()? == byte { Some(()) } else { None }
    }

    /// A key without escapes.
    fn key(&mut self) -> Option<&'de str> {
        self.expect(b'"')?;
        let begin = self.scan.at;
        self.scan.pass_plain()?;
        let key = self.text.get(begin..self.scan.at)?;
        if self.scan.byte()? != b'"' {
            return None;
        }
        self.scan.at += 1;
        Some(key)
    }

    fn pass_value(&mut self, depth: u8) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match self.peek()? {
            b'"' => self.scan.pass_string(),
            b'{' => self.object(|cursor, _| cursor.pass_value(depth)),
            b'[' => self.array(|cursor| cursor.pass_value(depth)),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => self.scan.pass_number(),
        }
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let rest = self.scan.bytes.get(self.scan.at..)?;
        rest.starts_with(word.as_bytes()).then(|| self.scan.at += word.len())
    }
}

// === impl Scan ===

impl<'b> Scan<'b> {
    pub(super) const fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How far it has come.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// Passes over these bytes, if they stand here.
    pub(super) fn pass_same(&mut self, bytes: &[u8]) -> Option<()> {
        let rest = self.bytes.get(self.at..)?;
        rest.starts_with(bytes).then(|| self.at += bytes.len())
    }

    /// Passes over a string or a number, whichever begins with `first`; gives it as it stands.
    pub(super) fn pass_like(&mut self, first: u8) -> Option<&'b [u8]> {
        let begin = self.at;
        let is_string = first == b'"';
        if (self.byte()? == b'"') != is_string {
            return None;
        }
        if is_string { self.pass_string() } else { self.pass_number() }?;
        self.bytes.get(begin..self.at)
    }

    fn pass_string(&mut self) -> Option<()> {
        if self.byte()? != b'"' {
            return None;
        }
        self.at += 1;
        loop {
            self.pass_plain()?;
            let bytes = self.bytes.get(self.at..)?;
            self.at += match bytes {
                [b'"', ..] => 1,
                [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
                [b'\\', b'u', digits @ ..]
                    if digits.get(..4)?.iter().all(u8::is_ascii_hexdigit) =>
                {
                    6
                }
                // A control character, or an escape that is none.
                _ => return None,
            };
            if bytes.first() == Some(&b'"') {
                return Some(());
            }
        }
    }

    /// Goes to the next quote, backslash or control character; `None` where the text ends before.
    fn pass_plain(&mut self) -> Option<()> {
        let mut rest = self.bytes.get(self.at..)?;
        while let Some((eight, later)) = rest.split_first_chunk::<8>() {
            let special = special_bytes(u64::from_le_bytes(*eight));
            if special != 0 {
                self.at += special.trailing_zeros() as usize / 8;
                return Some(());
            }
            self.at += 8;
            rest = later;
        }
        self.at += rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
        Some(())
    }

    fn pass_number(&mut self) -> Option<()> {
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte()? {
            b'0' => self.at += 1,
            _ => self.pass_digits()?,
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.pass_digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.pass_digits()?;
        }
        Some(())
    }

    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// One digit or more.
    fn pass_digits(&mut self) -> Option<()> {
        let rest = self.bytes.get(self.at..)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += digits;
        (digits > 0).then_some(())
    }
}

/// Has the high bit of every byte set that is a quote, a backslash or a control character, up to the first one;
/// what it says of the bytes above that one is not to be trusted.
const fn special_bytes(eight: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let quotes = eight ^ (ONES * b'"' as u64);
    let backslashes = eight ^ (ONES * b'\\' as u64);
    let controls = eight.wrapping_sub(ONES * 0x20) & !eight;
    let zeros =
        (quotes.wrapping_sub(ONES) & !quotes) | (backslashes.wrapping_sub(ONES) & !backslashes);
    (zeros | controls) & HIGH
}
