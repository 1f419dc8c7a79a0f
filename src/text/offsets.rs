//! From a place in folded text back to the original.

use smallvec::SmallVec;

/// A place in the original text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// In bytes.
    pub byte: u64,
    /// In Unicode scalar values.
    pub char: u64,
}

/// Where folded text came from, as far back as it was not [forgotten](Offsets::forget_before).
///
/// The way back is linear over characters that are equally wide on both sides, so only the places where the
/// widths change are kept, or where a dropped character stood: one for plain English or plain Chinese.
#[derive(Clone, Debug, Default)]
pub struct Offsets {
    segments: SmallVec<[Segment; 1]>,
    folded: u64,
    origin: Origin,
    /// A dropped character parts the next one from the last segment.
    gap: bool,
}

/// A run of characters, each `byte_width` wide in the original and `folded_width` when folded.
#[derive(Clone, Copy, Debug)]
struct Segment {
    folded: u64,
    origin: Origin,
    folded_width: u32,
    byte_width: u32,
}

// === impl Offsets ===

impl Offsets {
    /// At the start of a text.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in `chars` characters that are equally wide; dropped ones have a `folded_width` of 0.
    #[inline]
    pub fn push(&mut self, chars: u64, byte_width: u32, folded_width: u32) {
        if folded_width == 0 {
            self.gap = true;
        } else {
            let goes_on = !self.gap
                && self.segments.last().is_some_and(|last| {
                    last.byte_width == byte_width && last.folded_width == folded_width
                });
            if !goes_on {
                self.open_segment(byte_width, folded_width);
            }
        }
        self.folded += chars * u64::from(folded_width);
        self.origin.byte += chars * u64::from(byte_width);
        self.origin.char += chars;
    }

    /// Folded bytes so far.
    #[must_use]
    pub const fn folded(&self) -> u64 {
        self.folded
    }

    /// The end of the original so far.
    #[must_use]
    pub const fn read(&self) -> Origin {
        self.origin
    }

    /// Where the character begins that gave the folded byte at `folded`; at the end, [`Offsets::read`].
    #[must_use]
    pub fn start_of(&self, folded: u64) -> Origin {
        if folded >= self.folded {
            return self.origin;
        }
        self.segment_of(folded).map_or(self.origin, |segment| segment.origin_of(folded, 0))
    }

    /// Where the character ends that gave the folded byte before `folded`.
    #[must_use]
    pub fn end_of(&self, folded: u64) -> Origin {
        let last = folded.saturating_sub(1);
        self.segment_of(last).map_or(self.origin, |segment| segment.origin_of(last, 1))
    }

    /// Places before `folded` will not be asked for any more.
    #[inline]
    pub fn forget_before(&mut self, folded: u64) {
        let is_past = |next: &&Segment| next.folded <= folded;
        let past = self.segments.iter().skip(1).take_while(is_past).count();
        if past > 0 {
            self.segments.drain(..past);
        }
    }

    fn segment_of(&self, folded: u64) -> Option<&Segment> {
        self.segments.iter().rev().find(|segment| segment.folded <= folded)
    }

    fn open_segment(&mut self, byte_width: u32, folded_width: u32) {
        self.gap = false;
        self.segments.push(Segment {
            folded: self.folded,
            origin: self.origin,
            folded_width,
            byte_width,
        });
    }
}

// === impl Segment ===

impl Segment {
    /// Where the character of the folded byte at `folded` begins, or another `later` characters on.
    fn origin_of(&self, folded: u64, later: u64) -> Origin {
        let chars = (folded - self.folded) / u64::from(self.folded_width) + later;
        Origin {
            byte: self.origin.byte + chars * u64::from(self.byte_width),
            char: self.origin.char + chars,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::fold::fold_char;

    fn read(text: &str) -> (String, Offsets) {
        let mut folded = String::new();
        let mut offsets = Offsets::new();
        for c in text.chars() {
            let before = folded.len();
            fold_char(c, |c| folded.push(c));
            let width = u32::try_from(folded.len() - before).unwrap();
            offsets.push(1, u32::try_from(c.len_utf8()).unwrap(), width);
        }
        (folded, offsets)
    }

    /// The original text of `needle`'s place in the folded text.
    fn original<'t>(text: &'t str, needle: &str) -> &'t str {
        let (folded, offsets) = read(text);
        let start = folded.find(needle).unwrap() as u64;
        let (start, end) = (offsets.start_of(start), offsets.end_of(start + needle.len() as u64));
        let before = |place: Origin| text.get(..usize::try_from(place.byte).unwrap()).unwrap();
        assert_eq!(before(start).chars().count() as u64, start.char);
        assert_eq!(before(end).chars().count() as u64, end.char);
        before(end).strip_prefix(before(start)).unwrap()
    }

    #[test]
    fn spans_cover_whole_original_characters() {
        let cases = [
            ("a bomb here", "bomb", "bomb"),
            ("制造炸弹的方法", "炸弹", "炸弹"),
            ("x b\u{200B}o\u{200D}mb\u{200B} y", "bomb", "b\u{200B}o\u{200D}mb"),
            ("oﬁre", "ire", "ﬁre"),
            ("oﬁre", "of", "oﬁ"),
            ("die Straße da", "strasse", "Straße"),
            ("ａｂｃ def", "bc d", "ｂｃ d"),
            ("яaбb", "aб", "aб"),
            ("cafe\u{301} x", "cafe", "cafe"),
        ];
        for (text, needle, span) in cases {
            assert_eq!(original(text, needle), span, "{text}");
        }
    }

    #[test]
    fn one_width_is_one_segment_and_the_rest_can_be_forgotten() {
        let (_, offsets) = read(&"plain".repeat(1000));
        assert_eq!(offsets.segments.len(), 1);
        let (folded, mut offsets) = read(&"aя".repeat(1000));
        let known = offsets.start_of(folded.len() as u64 - 30);
        offsets.forget_before(folded.len() as u64 - 30);
        assert_eq!(offsets.segments.len(), 20);
        assert_eq!(offsets.start_of(folded.len() as u64 - 30), known);
    }
}
