//! Text inside text: runs of base64 and hexadecimal, decoded as they come and matched by the same rules.
//!
//! A run that begins at a word's edge is decoded from its first character; as long as it decodes to text, a matcher
//! of its own reads along. Nearly every ordinary word stops decoding to text at its first group. What is found
//! counts as found in the run, from the encoded characters on that its first byte cannot stand before.
//!
//! A run's first characters may have gone before it is known to be one ([`BASE64_HEAD`], [`HEX_HEAD`]); a match is
//! said to begin behind them. A decoded text is not searched for further encodings.

use std::collections::VecDeque;

use crate::text::offsets::{Offsets, Origin};

use super::Watch;
use super::stream_matcher::Carried;

/// Characters of a base64 run that are too few to tell anything.
const BASE64_HEAD: u64 = 3;

/// Some ordinary words decode to text for one group of four characters, none that matters for two: before that, only a
/// match that begins with the run is held.
const BASE64_SURE: u64 = 8;

/// Bytes of a hexadecimal run that any number might be.
const HEX_HEAD: usize = 3;

/// Signs and spaces between two bytes in hexadecimal (`, 0x`, `\x`, `&#x`).
const LONGEST_GAP: u8 = 4;

/// Decoded bytes whose place in a hexadecimal run is kept.
const PAIRS: usize = 512;

/// Decoded matches shorter than this are chance.
const LEAST_BYTES: u64 = 4;

/// A base64 run goes on over a line's end behind this many characters.
const WRAPPED: u64 = 60;

/// A rule found in a run, in folded bytes and as places of the original.
#[derive(Clone, Copy, Debug)]
pub(super) struct EncodedHit {
    pub(super) rule: u32,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) from: Origin,
    pub(super) to: Origin,
}

/// The runs that are under way at a place of a text.
#[derive(Clone, Debug, Default)]
pub(super) struct EncodedReader {
    base64: Run,
    hex: Run,
    /// The character before is a letter or a digit.
    in_word: bool,
}

/// One run.
#[derive(Clone, Debug, Default)]
struct Run {
    state: State,
    start: Place,
    /// Up to here the run may have gone already.
    head_end: Place,
    /// Encoded characters.
    chars: u64,
    /// Bits of a byte that is not complete, and how many.
    bits: u32,
    bit_count: u8,
    /// Signs and spaces since the last digit, and the last of them.
    gap: u8,
    last: u8,
    /// In hexadecimal: where each of the last decoded bytes begins, in characters from the run's start; the number of
    /// the first of them; and where a byte begins that is not complete.
    pairs: VecDeque<u64>,
    first_pair: u64,
    digit_at: u64,
    /// Decoded bytes that no matcher has read yet.
    held: Vec<u8>,
    /// Decoded bytes.
    decoded: u64,
    inner: Option<Box<Carried>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// None has begun.
    #[default]
    Idle,
    Open,
    /// What has begun is none; it has to end before another can begin.
    Dead,
}

/// How text is encoded in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Base64,
    Hex,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    folded: u64,
    origin: Origin,
}

/// A character's place, to be looked up where it matters.
#[derive(Clone, Copy, Debug)]
struct Here<'o> {
    at: u64,
    offsets: &'o Offsets,
}

// === impl EncodedReader ===

impl EncodedReader {
    /// Reads one character, which stands at the folded byte `at`.
    #[inline]
    pub(super) fn read(
        &mut self,
        watch: &Watch,
        original: char,
        at: u64,
        offsets: &Offsets,
        found: &mut Vec<EncodedHit>,
    ) {
        let byte = u8::try_from(original).ok().filter(u8::is_ascii).unwrap_or(0);
        let is_word = byte.is_ascii_alphanumeric();
        let runs_are = |state| self.base64.state == state && self.hex.state == state;
        let is_passed = if is_word {
            runs_are(State::Dead)
        } else {
            runs_are(State::Idle) && !is_base64_sign(byte)
        };
        if !is_passed {
            let here = Here { at, offsets };
            self.base64.read_base64(watch, byte, here, found);
            self.hex.read_hex(watch, byte, self.in_word, here, found);
        }
        self.in_word = is_word;
    }

    /// The text has ended at `end`.
    pub(super) fn end(&mut self, watch: &Watch, offsets: &Offsets, found: &mut Vec<EncodedHit>) {
        let end = Place { folded: offsets.folded(), origin: offsets.read() };
        self.base64.end_base64(watch, end, found);
        self.hex.close(watch, end, Coding::Hex, found);
    }

    /// Where the first match begins that may be under way.
    pub(super) fn live_from(&self, watch: &Watch) -> Option<Origin> {
        let base64 = self.base64.live_from(watch, Coding::Base64);
        let hex = self.hex.live_from(watch, Coding::Hex);
        [base64, hex].into_iter().flatten().min_by_key(|place| place.byte)
    }
}

// === impl Run ===

impl Run {
    fn read_base64(
        &mut self,
        watch: &Watch,
        byte: u8,
        here: Here<'_>,
        found: &mut Vec<EncodedHit>,
    ) {
        let Some(value) = base64_value(byte) else {
            if self.state == State::Open
                && byte == b'\n'
                && self.chars >= WRAPPED
                && self.inner.is_some()
            {
                return;
            }
            if self.state == State::Open {
                self.end_base64(watch, here.place(), found);
            }
            self.state = State::Idle;
            return;
        };
        match self.state {
            State::Dead => return,
            State::Idle if !begins_text(value) => {
                self.state = State::Dead;
                return;
            }
            State::Idle => self.begin(here.at),
            State::Open => {}
        }
        self.chars += 1;
        self.bits = self.bits << 6 | u32::from(value);
        self.bit_count += 6;
        if self.bit_count < 24 {
            return;
        }
        let [_, bytes @ ..] = self.bits.to_be_bytes();
        self.bits = 0;
        self.bit_count = 0;
        if self.decoded == 0 {
            self.locate(here);
            self.head_end = self.start.after(BASE64_HEAD);
        }
        let end = here.place().after(1);
        self.take(watch, &bytes, end, Coding::Base64, found);
    }

    /// Decodes what is left of the last group.
    fn end_base64(&mut self, watch: &Watch, end: Place, found: &mut Vec<EncodedHit>) {
        if self.state == State::Open && self.decoded > 0 {
            let [_, bytes @ ..] = (self.bits << (24 - self.bit_count)).to_be_bytes();
            let left = usize::from(self.bit_count / 8);
            self.take(watch, bytes.get(..left).unwrap_or_default(), end, Coding::Base64, found);
        }
        self.close(watch, end, Coding::Base64, found);
    }

    fn read_hex(
        &mut self,
        watch: &Watch,
        byte: u8,
        in_word: bool,
        here: Here<'_>,
        found: &mut Vec<EncodedHit>,
    ) {
        let digit = char::from(byte).to_digit(16);
        match (self.state, digit) {
            (State::Idle, Some(_)) if in_word => self.state = State::Dead,
            (State::Idle, Some(_)) => self.begin(here.at),
            (State::Idle, None) => {
                if byte.is_ascii_alphanumeric() {
                    self.state = State::Dead;
                }
                return;
            }
            (State::Dead, _) => {
                if !byte.is_ascii_alphanumeric() {
                    self.state = State::Idle;
                }
                return;
            }
            (State::Open, _) => {}
        }
        if self.state == State::Dead {
            return;
        }
        let Some(digit) = digit else {
            self.part_hex(watch, byte, here, found);
            return;
        };
        if self.bit_count == 0 {
            self.digit_at = here.at - self.start.folded;
        }
        self.chars += 1;
        self.gap = 0;
        self.last = byte;
        self.bits = self.bits << 4 | digit;
        self.bit_count += 4;
        if self.bit_count == 8 {
            let decoded = self.bits.to_be_bytes()[3];
            self.bits = 0;
            self.bit_count = 0;
            if self.decoded == 0 {
                self.locate(here);
            }
            self.pairs.push_back(self.digit_at);
            if self.pairs.len() > PAIRS {
                self.pairs.pop_front();
                self.first_pair += 1;
            }
            let end = here.place().after(1);
            if self.decoded < HEX_HEAD as u64 {
                self.head_end = end;
            }
            self.take(watch, &[decoded], end, Coding::Hex, found);
        }
    }

    /// What stands between the bytes of a hexadecimal run, or behind it.
    fn part_hex(&mut self, watch: &Watch, byte: u8, here: Here<'_>, found: &mut Vec<EncodedHit>) {
        let is_prefix = byte.eq_ignore_ascii_case(&b'x');
        // The nought of `0x` was taken for a digit.
        if is_prefix && self.bit_count == 4 && self.bits == 0 {
            self.bit_count = 0;
        } else if is_prefix && matches!(self.last, b'\\' | b'#') {
        } else if self.bit_count != 0
            || self.gap >= LONGEST_GAP
            || !matches!(
                byte,
                b' ' | b':' | b'-' | b',' | b';' | b'\n' | b'\\' | b'%' | b'&' | b'#'
            )
        {
            self.close(watch, here.place(), Coding::Hex, found);
            self.state = if byte.is_ascii_alphanumeric() { State::Dead } else { State::Idle };
            return;
        }
        self.gap += 1;
        self.last = byte;
    }

    fn begin(&mut self, start: u64) {
        self.forget();
        self.state = State::Open;
        self.start.folded = start;
        self.chars = 0;
        self.gap = 0;
        self.last = 0;
    }

    /// Looks up where the run began, now that it may be one.
    fn locate(&mut self, here: Here<'_>) {
        self.start.origin = here.offsets.start_of(self.start.folded);
        self.head_end = self.start;
    }

    /// Reads decoded bytes, which end at `end`.
    fn take(
        &mut self,
        watch: &Watch,
        bytes: &[u8],
        end: Place,
        coding: Coding,
        found: &mut Vec<EncodedHit>,
    ) {
        let is_text = |byte: &u8| !byte.is_ascii_control() || matches!(byte, b'\t' | b'\n' | b'\r');
        // Most words are none at their first bytes.
        let is_inside = |byte: &u8| byte & 0xC0 == 0x80;
        if !bytes.iter().all(is_text)
            || (self.held.is_empty() && bytes.first().is_some_and(is_inside))
        {
            self.state = State::Dead;
            self.forget();
            return;
        }
        self.held.extend_from_slice(bytes);
        self.decoded += bytes.len() as u64;
        let (text, broken) = match str::from_utf8(&self.held) {
            Ok(text) => (text.len(), false),
            Err(error) => (error.valid_up_to(), error.error_len().is_some()),
        };
        if broken {
            self.state = State::Dead;
            self.forget();
            return;
        }
        if self.inner.is_none() && self.held.len() < HEX_HEAD {
            return;
        }
        let inner = self.inner.get_or_insert_with(|| Box::new(Carried::inside(watch)));
        let rest = self.held.split_off(text);
        let mut matches = Vec::new();
        inner.read(watch, str::from_utf8(&self.held).unwrap_or_default());
        self.held = rest;
        inner.settle(watch, &mut matches);
        self.tell(&matches, end, coding, found);
    }

    fn tell(
        &self,
        matches: &[super::RuleMatch],
        end: Place,
        coding: Coding,
        found: &mut Vec<EncodedHit>,
    ) {
        for inner in matches.iter().filter(|inner| inner.end - inner.start >= LEAST_BYTES) {
            let start =
                self.start.after(self.place(coding, inner.start)).max(self.head_end).min(end);
            found.push(EncodedHit {
                rule: inner.rule.0,
                start: start.folded,
                end: end.folded,
                from: start.origin,
                to: end.origin,
            });
        }
    }

    fn close(&mut self, watch: &Watch, end: Place, coding: Coding, found: &mut Vec<EncodedHit>) {
        if let Some(mut inner) = self.inner.take() {
            let mut matches = Vec::new();
            inner.end(watch);
            inner.settle(watch, &mut matches);
            self.tell(&matches, end, coding, found);
        }
        self.forget();
        self.state = State::Idle;
    }

    fn forget(&mut self) {
        if !self.pairs.is_empty() {
            self.pairs = VecDeque::new();
        }
        self.first_pair = 0;
        if self.inner.is_some() || self.held.capacity() > 0 {
            self.held = Vec::new();
            self.inner = None;
        }
        self.decoded = 0;
        self.bits = 0;
        self.bit_count = 0;
    }

    /// Where a match that begins with the decoded byte counts from, in characters from the run's start.
    fn place(&self, coding: Coding, decoded: u64) -> u64 {
        match coding {
            Coding::Base64 => base64_place(decoded),
            Coding::Hex => {
                let kept = decoded.saturating_sub(self.first_pair);
                let pair = usize::try_from(kept).ok().and_then(|kept| self.pairs.get(kept));
                pair.copied().unwrap_or(self.digit_at)
            }
        }
    }

    fn live_from(&self, watch: &Watch, coding: Coding) -> Option<Origin> {
        let inner = self.inner.as_ref()?;
        // What is not decoded yet may begin a match.
        let live = inner.watermark(watch);
        let is_at_rest = live >= inner.read_bytes() && self.held.is_empty() && self.bit_count == 0;
        let is_unsure = coding == Coding::Base64 && self.chars < BASE64_SURE;
        if is_at_rest || !watch.enforces() || (is_unsure && (live > 0 || inner.read_bytes() == 0)) {
            return None;
        }
        Some(self.start.after(self.place(coding, live)).max(self.head_end).origin)
    }
}

// === impl Here ===

impl Here<'_> {
    fn place(self) -> Place {
        Place { folded: self.at, origin: self.offsets.start_of(self.at) }
    }
}

// === impl Place ===

impl Place {
    /// So many ASCII characters on.
    fn after(self, chars: u64) -> Self {
        let Self { folded, origin } = self;
        let origin = Origin { byte: origin.byte + chars, char: origin.char + chars };
        Self { folded: folded + chars, origin }
    }

    fn max(self, other: Self) -> Self {
        if other.folded > self.folded { other } else { self }
    }

    fn min(self, other: Self) -> Self {
        if other.folded < self.folded { other } else { self }
    }
}

/// The encoded character from which on a match counts that begins with the decoded byte.
const fn base64_place(decoded: u64) -> u64 {
    match decoded {
        0 => BASE64_HEAD,
        1..6 => BASE64_SURE,
        _ => decoded / 3 * 4 + decoded % 3,
    }
}

/// Whether text may begin with the six bits that a run begins with: the first byte of a character, no control.
const fn begins_text(value: u8) -> bool {
    // 0x08 to 0x0F have tab, line feed and carriage return.
    matches!(value << 2, 0x08..=0x0F | 0x20..=0x7F | 0xC0..=0xF4)
}

/// Signs that are digits of base64.
const fn is_base64_sign(byte: u8) -> bool {
    matches!(byte, b'+' | b'-' | b'/' | b'_')
}

const fn base64_value(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}
