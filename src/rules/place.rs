//! Places in folded text, and what was found in disguise between two of them.

use crate::text::offsets::{Offsets, Origin};

/// The part of a match that is a match of all that its rule needs.
pub(super) const WHOLE: u8 = u8::MAX;

/// A place in folded text, and where that is in the original.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    /// In folded bytes.
    pub(super) folded: u64,
    pub(super) origin: Origin,
}

/// A rule's pattern that the text has in disguise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Disguised {
    pub(super) rule: u32,
    /// The pattern's number, or [`WHOLE`].
    pub(super) part: u8,
    pub(super) start: Place,
    pub(super) end: Place,
}

// === impl Place ===

impl Place {
    /// Where the character begins that gave the folded byte at `folded`.
    pub(super) fn start_of(offsets: &Offsets, folded: u64) -> Self {
        Self { folded, origin: offsets.start_of(folded) }
    }

    /// Where the character ends that gave the folded byte before `folded`.
    pub(super) fn end_of(offsets: &Offsets, folded: u64) -> Self {
        Self { folded, origin: offsets.end_of(folded) }
    }

    /// So many ASCII characters on.
    pub(super) const fn after(self, chars: u64) -> Self {
        let Self { folded, origin } = self;
        let origin = Origin { byte: origin.byte + chars, char: origin.char + chars };
        Self { folded: folded + chars, origin }
    }

    pub(super) const fn max(self, other: Self) -> Self {
        if other.folded > self.folded { other } else { self }
    }

    pub(super) const fn min(self, other: Self) -> Self {
        if other.folded < self.folded { other } else { self }
    }
}
