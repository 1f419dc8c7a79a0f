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

use super::place::{Disguised, Place, WHOLE};
use super::stream_matcher::Carried;
use super::{RuleMatch, Watch};

/// Characters of a base64 run that are too few to tell anything.
const BASE64_HEAD: u64 = 3;

/// Some ordinary words decode to text for one group of four characters, none that matters for two: before that, only a
/// match that begins with the run is held.
const BASE64_SURE: u64 = 8;

/// Bytes of a hexadecimal run that any number might be.
const HEX_HEAD: u64 = 3;

/// Decoded bytes that are too few to be read.
const LEAST_READ: usize = 3;

/// Signs and spaces between two bytes in hexadecimal (`, 0x`, `\x`, `&#x`).
const LONGEST_GAP: u8 = 4;

/// Decoded bytes whose place in a hexadecimal run is kept.
const PAIRS: usize = 512;

/// Decoded matches shorter than this are chance.
const LEAST_BYTES: u64 = 4;

/// A base64 run goes on over a line's end behind this many characters.
const WRAPPED: u64 = 60;

/// The runs that are under way at a place of a text.
#[derive(Clone, Debug, Default)]
pub(super) struct EncodedReader {
    base64: Run,
    hex: Run,
    /// The state of both, where it is the same.
    both: Option<State>,
    /// The character before is a letter or a digit.
    in_word: bool,
}

/// One run; most are none, and end with their first group of characters.
#[derive(Clone, Debug, Default)]
struct Run {
    state: State,
    /// Its first character, in folded bytes.
    start: u64,
    /// Encoded characters.
    chars: u64,
    /// In hexadecimal: the first digit of the byte that is not complete, in characters from the start.
    digit_at: u64,
    /// Bits of a byte that is not complete, and how many.
    bits: u32,
    bit_count: u8,
    /// Signs and spaces since the last digit, and the last of them.
    gap: u8,
    last: u8,
    decoding: Option<Box<Decoding>>,
}

/// What a run decodes to, once it may be one.
#[derive(Clone, Debug)]
struct Decoding {
    coding: Coding,
    start: Place,
    /// Up to here the run may have gone already.
    head_end: Place,
    /// In hexadecimal: where each of the last decoded bytes begins, in characters from the run's start, and the number
    /// of the first of them.
    pairs: VecDeque<u64>,
    first_pair: u64,
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
        found: &mut Vec<Disguised>,
    ) {
        let byte = u8::try_from(original).ok().filter(u8::is_ascii).unwrap_or(0);
        let is_word = byte.is_ascii_alphanumeric();
        // Nearly all that is read are the rests of words and what stands between them.
        let is_passed = match self.both {
            Some(State::Dead) => is_word,
            Some(State::Idle) => !is_word && !is_base64_sign(byte),
            Some(State::Open) | None => false,
        };
        if !is_passed {
            let here = Here { at, offsets };
            self.base64.read_base64(watch, byte, here, found);
            self.hex.read_hex(watch, byte, self.in_word, here, found);
            self.both = (self.base64.state == self.hex.state).then_some(self.hex.state);
        }
        self.in_word = is_word;
    }

    /// The text has ended.
    pub(super) fn end(&mut self, watch: &Watch, offsets: &Offsets, found: &mut Vec<Disguised>) {
        let end = Place::start_of(offsets, offsets.folded());
        self.base64.end_base64(watch, end, found);
        self.hex.close(watch, end, found);
    }

    /// Where the first match begins that may be under way.
    pub(super) fn live_from(&self, watch: &Watch) -> Option<Origin> {
        let places = [self.base64.live_from(watch), self.hex.live_from(watch)];
        places.into_iter().flatten().min_by_key(|place| place.byte)
    }
}

// === impl Run ===

impl Run {
    fn read_base64(&mut self, watch: &Watch, byte: u8, here: Here<'_>, found: &mut Vec<Disguised>) {
        let Some(value) = base64_value(byte) else {
            if self.state == State::Open {
                let reads = self.decoding.as_ref().is_some_and(|decoding| decoding.inner.is_some());
                if byte == b'\n' && self.chars >= WRAPPED && reads {
                    return;
                }
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
        if self.bit_count == 24 {
            let [_, bytes @ ..] = self.bits.to_be_bytes();
            self.decode(watch, &bytes, Coding::Base64, here, found);
        }
    }

    /// Decodes what is left of the last group.
    fn end_base64(&mut self, watch: &Watch, end: Place, found: &mut Vec<Disguised>) {
        if let Some(decoding) = &mut self.decoding {
            let [_, bytes @ ..] = (self.bits << (24 - self.bit_count)).to_be_bytes();
            let left = bytes.get(..usize::from(self.bit_count / 8)).unwrap_or_default();
            if decoding.may_go_on(left) {
                decoding.take(watch, left, end, found);
            }
        }
        self.close(watch, end, found);
    }

    fn read_hex(
        &mut self,
        watch: &Watch,
        byte: u8,
        in_word: bool,
        here: Here<'_>,
        found: &mut Vec<Disguised>,
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
            self.digit_at = here.at - self.start;
        }
        self.chars += 1;
        self.gap = 0;
        self.last = byte;
        self.bits = self.bits << 4 | digit;
        self.bit_count += 4;
        if self.bit_count == 8 {
            let [.., decoded] = self.bits.to_be_bytes();
            self.decode(watch, &[decoded], Coding::Hex, here, found);
        }
    }

    /// What stands between the bytes of a hexadecimal run, or behind it.
    fn part_hex(&mut self, watch: &Watch, byte: u8, here: Here<'_>, found: &mut Vec<Disguised>) {
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
            self.close(watch, here.place(), found);
            self.state = if byte.is_ascii_alphanumeric() { State::Dead } else { State::Idle };
            return;
        }
        self.gap += 1;
        self.last = byte;
    }

    fn begin(&mut self, start: u64) {
        *self = Self { state: State::Open, start, ..Self::default() };
    }

    /// Takes the bytes that are complete with the character here.
    fn decode(
        &mut self,
        watch: &Watch,
        bytes: &[u8],
        coding: Coding,
        here: Here<'_>,
        found: &mut Vec<Disguised>,
    ) {
        self.bits = 0;
        self.bit_count = 0;
        let goes_on = match &self.decoding {
            Some(decoding) => decoding.may_go_on(bytes),
            None => may_begin(bytes),
        };
        if !goes_on {
            self.die();
            return;
        }
        let start = self.start;
        let decoding = self.decoding.get_or_insert_with(|| {
            Box::new(Decoding::new(coding, Place::start_of(here.offsets, start)))
        });
        let end = here.place().after(1);
        if coding == Coding::Hex {
            decoding.note_pair(self.digit_at, end);
        }
        if !decoding.take(watch, bytes, end, found) {
            self.die();
        }
    }

    /// It is none; what goes on is not read.
    fn die(&mut self) {
        self.state = State::Dead;
        self.decoding = None;
    }

    fn close(&mut self, watch: &Watch, end: Place, found: &mut Vec<Disguised>) {
        if let Some(mut decoding) = self.decoding.take() {
            decoding.close(watch, end, found);
        }
        self.bits = 0;
        self.bit_count = 0;
        self.state = State::Idle;
    }

    fn live_from(&self, watch: &Watch) -> Option<Origin> {
        let decoding = self.decoding.as_ref()?;
        let inner = decoding.inner.as_ref()?;
        // What is not decoded yet may begin a match.
        let live = inner.watermark(watch);
        let is_at_rest =
            live >= inner.read_bytes() && decoding.held.is_empty() && self.bit_count == 0;
        let is_unsure = decoding.coding == Coding::Base64 && self.chars < BASE64_SURE;
        if is_at_rest || !watch.enforces() || (is_unsure && (live > 0 || inner.read_bytes() == 0)) {
            return None;
        }
        let from = decoding.place(live).unwrap_or(self.digit_at);
        Some(decoding.start.after(from).max(decoding.head_end).origin)
    }
}

// === impl Decoding ===

impl Decoding {
    fn new(coding: Coding, start: Place) -> Self {
        let head = match coding {
            Coding::Base64 => BASE64_HEAD,
            Coding::Hex => 0,
        };
        Self {
            coding,
            start,
            head_end: start.after(head),
            pairs: VecDeque::new(),
            first_pair: 0,
            held: Vec::new(),
            decoded: 0,
            inner: None,
        }
    }

    fn may_go_on(&self, bytes: &[u8]) -> bool {
        if self.held.is_empty() { may_begin(bytes) } else { bytes.iter().copied().all(is_text) }
    }

    /// Notes where a byte in hexadecimal begins and ends.
    fn note_pair(&mut self, at: u64, end: Place) {
        self.pairs.push_back(at);
        if self.pairs.len() > PAIRS {
            self.pairs.pop_front();
            self.first_pair += 1;
        }
        if self.decoded < HEX_HEAD {
            self.head_end = end;
        }
    }

    /// Reads decoded bytes, which end at `end`; gives back whether they are still text.
    fn take(
        &mut self,
        watch: &Watch,
        bytes: &[u8],
        end: Place,
        found: &mut Vec<Disguised>,
    ) -> bool {
        self.held.extend_from_slice(bytes);
        self.decoded += bytes.len() as u64;
        let text = match str::from_utf8(&self.held) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => return false,
        };
        if self.inner.is_none() && self.held.len() < LEAST_READ {
            return true;
        }
        let inner = self.inner.get_or_insert_with(|| Box::new(Carried::inside(watch)));
        let rest = self.held.split_off(text);
        let mut matches = Vec::new();
        inner.read(watch, str::from_utf8(&self.held).unwrap_or_default());
        self.held = rest;
        inner.settle(watch, &mut matches);
        self.tell(&matches, end, found);
        true
    }

    fn close(&mut self, watch: &Watch, end: Place, found: &mut Vec<Disguised>) {
        if let Some(mut inner) = self.inner.take() {
            let mut matches = Vec::new();
            inner.end(watch);
            inner.settle(watch, &mut matches);
            self.tell(&matches, end, found);
        }
    }

    fn tell(&self, matches: &[RuleMatch], end: Place, found: &mut Vec<Disguised>) {
        for inner in matches.iter().filter(|inner| inner.end - inner.start >= LEAST_BYTES) {
            let start = self.start.after(self.place(inner.start).unwrap_or_default());
            let start = start.max(self.head_end).min(end);
            found.push(Disguised { rule: inner.rule.0, part: WHOLE, start, end });
        }
    }

    /// Where a match that begins with the decoded byte counts from, in characters from the run's start.
    fn place(&self, decoded: u64) -> Option<u64> {
        match self.coding {
            Coding::Base64 => Some(base64_place(decoded)),
            Coding::Hex => {
                let kept = decoded.saturating_sub(self.first_pair);
                usize::try_from(kept).ok().and_then(|kept| self.pairs.get(kept)).copied()
            }
        }
    }
}

// === impl Here ===

impl Here<'_> {
    fn place(self) -> Place {
        Place::start_of(self.offsets, self.at)
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

/// Whether a byte may stand in a text.
const fn is_text(byte: u8) -> bool {
    !byte.is_ascii_control() || matches!(byte, b'\t' | b'\n' | b'\r')
}

/// Whether a text may begin with these bytes; most words decode to none.
fn may_begin(bytes: &[u8]) -> bool {
    let is_inside = |byte: &u8| byte & 0xC0 == 0x80;
    bytes.iter().copied().all(is_text) && !bytes.first().is_some_and(is_inside)
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
