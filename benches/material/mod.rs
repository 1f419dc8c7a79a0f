//! What the benches run on: text, the events that carry it, and a rule pack. All of it is generated from a seed.

pub(crate) mod events;
pub(crate) mod pack;
pub(crate) mod text;
pub(crate) mod wires;

/// A small generator of pseudo-random numbers (splitmix64): the same numbers on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The generator that begins at `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// One of `items`.
    pub(crate) fn pick<'i, T>(&mut self, items: &'i [T]) -> &'i T {
        let position = usize::try_from(self.number() % items.len() as u64).unwrap();
        items.get(position).unwrap()
    }
}
