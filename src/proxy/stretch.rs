//! What has gone on to the client and the session has yet to read, kept small.
//!
//! The chunks of one stream repeat each other: identifiers, names and punctuation stand around a token of a few bytes. So
//! the first chunk is kept as it is, and of each that follows only what lies between the bytes that it begins and ends
//! with like the first.

use bytes::{Bytes, BytesMut};

/// Bytes that are kept at most.
const KEPT: usize = 1200;

/// Bytes of the stream that they may stand for: some 25 tokens, which is half a second of a stream.
const LENGTH: usize = 8000;

/// The largest first chunk.
const FIRST: usize = 900;

/// Bytes that tell how a later chunk is put together.
const HEAD: usize = 6;

/// Chunks one after the other.
#[derive(Debug, Default)]
pub(super) struct Stretch {
    /// The first chunk; then, for each of the others, [`Parts`] and its middle.
    kept: Vec<u8>,
    first: usize,
    length: usize,
}

/// How many bytes a chunk begins with like the first one, how many are its own, and how many it ends with like the first.
#[derive(Clone, Copy, Debug)]
struct Parts([u16; 3]);

// === impl Stretch ===

impl Stretch {
    pub(super) const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Adds a chunk, if there is room for it.
    pub(super) fn push(&mut self, chunk: &[u8]) -> bool {
        let added = if self.is_empty() { self.begin(chunk) } else { self.go_on(chunk) };
        if added {
            self.length += chunk.len();
        }
        added
    }

    fn begin(&mut self, chunk: &[u8]) -> bool {
        if chunk.len() > FIRST {
            return false;
        }
        self.kept.reserve_exact(KEPT);
        self.kept.extend_from_slice(chunk);
        self.first = chunk.len();
        true
    }

    fn go_on(&mut self, chunk: &[u8]) -> bool {
        if self.length + chunk.len() > LENGTH {
            return false;
        }
        let first = self.kept.get(..self.first).unwrap_or_default();
        let (parts, middle) = Parts::of(first, chunk);
        if self.kept.len() + HEAD + middle.len() > KEPT {
            return false;
        }
        self.kept.extend(parts.0.into_iter().flat_map(u16::to_le_bytes));
        self.kept.extend_from_slice(middle);
        true
    }

    /// Takes everything out.
    pub(super) fn take(&mut self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(self.length);
        let (first, mut rest) = self.kept.split_at_checked(self.first).unwrap_or_default();
        bytes.extend_from_slice(first);
        while let Some((parts, behind)) = Parts::read(rest) {
            let [begins, own, ends] = parts.0.map(usize::from);
            let (middle, behind) = behind.split_at_checked(own).unwrap_or_default();
            bytes.extend_from_slice(first.get(..begins).unwrap_or_default());
            bytes.extend_from_slice(middle);
            bytes.extend_from_slice(first.get(first.len() - ends..).unwrap_or_default());
            rest = behind;
        }
        // Its room will be needed again with the next chunk.
        self.kept.clear();
        self.length = 0;
        bytes.freeze()
    }
}

// === impl Parts ===

impl Parts {
    /// The parts of `chunk`, and those of its bytes that are its own.
    fn of<'c>(first: &[u8], chunk: &'c [u8]) -> (Self, &'c [u8]) {
        let begins = alike(first, chunk);
        let (_, of_first) = first.split_at_checked(begins).unwrap_or_default();
        let (_, rest) = chunk.split_at_checked(begins).unwrap_or_default();
        let ends = alike_behind(of_first, rest);
        let (middle, _) = rest.split_at_checked(rest.len() - ends).unwrap_or_default();
        // None is longer than what may be kept.
        let parts = [begins, middle.len(), ends];
        (Self(parts.map(|count| u16::try_from(count).unwrap_or(u16::MAX))), middle)
    }

    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
        let (&[begins, own, ends], _) = head.as_chunks::<2>() else { return None };
        Some((Self([begins, own, ends].map(u16::from_le_bytes)), rest))
    }
}

/// Bytes that are compared at once.
const BLOCK: usize = 32;

/// How many bytes two texts begin with in common.
fn alike(a: &[u8], b: &[u8]) -> usize {
    let blocks = a.as_chunks::<BLOCK>().0.iter().zip(b.as_chunks::<BLOCK>().0);
    let same = BLOCK * blocks.take_while(|(a, b)| a == b).count();
    let rest = a.iter().zip(b).skip(same);
    same + rest.take_while(|(a, b)| a == b).count()
}

/// How many they end with.
fn alike_behind(a: &[u8], b: &[u8]) -> usize {
    let blocks = a.as_rchunks::<BLOCK>().1.iter().rev().zip(b.as_rchunks::<BLOCK>().1.iter().rev());
    let same = BLOCK * blocks.take_while(|(a, b)| a == b).count();
    let rest = a.iter().rev().zip(b.iter().rev()).skip(same);
    same + rest.take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn event(token: &str) -> Vec<u8> {
        let around = r#"data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":"#;
        format!("{around}{token:?}}}}}]}}\n\n").into_bytes()
    }

    #[test]
    fn tokens_take_the_room_of_a_few_chunks() {
        for (tokens, chunks) in [(16, 4), (25, 6)] {
            let events: Vec<_> = (0..tokens).map(|n| event(&format!(" word{n}"))).collect();
            let mut stretch = Stretch::default();
            assert!(events.iter().all(|event| stretch.push(event)));
            assert!(stretch.kept.len() < chunks * event("").len(), "{}", stretch.kept.len());
            assert_eq!(stretch.take(), events.concat());
            assert!(stretch.is_empty());
        }
    }

    #[test]
    fn what_has_no_room_changes_nothing() {
        let mut stretch = Stretch::default();
        assert!(!stretch.push(&[b'a'; FIRST + 1]));
        assert!(stretch.push(b"first") && !stretch.push(&[b'b'; KEPT]));
        assert!(stretch.push(b"second"));
        assert_eq!(stretch.take(), "firstsecond");
        assert!(stretch.push(&[b'a'; FIRST]));
        let more = (0..100).take_while(|_| stretch.push(&[b'a'; FIRST])).count();
        assert_eq!(stretch.take().len(), (more + 1) * FIRST);
        assert!((more + 1) * FIRST <= LENGTH);
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(chunks in vec(vec(0..3_u8, 1..40), 1..60)) {
            let mut stretch = Stretch::default();
            let mut out = Vec::new();
            for chunk in &chunks {
                if !stretch.push(chunk) {
                    out.extend_from_slice(&stretch.take());
                    prop_assert!(stretch.push(chunk));
                }
                prop_assert!(stretch.kept.len() <= KEPT);
            }
            out.extend_from_slice(&stretch.take());
            prop_assert_eq!(out, chunks.concat());
        }
    }
}
