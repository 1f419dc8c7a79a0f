//! A trie of byte strings, read from its root byte by byte.
//!
//! Its nodes stand breadth first: a node's children stand side by side, in the order of their bytes. There are no
//! failure links as in an Aho–Corasick automaton, which make most of what that takes to build.

use std::collections::VecDeque;

/// A place in the trie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node(u32);

/// A trie of byte strings.
#[derive(Debug)]
pub(super) struct Trie {
    /// The byte that leads to each node.
    labels: Vec<u8>,
    /// The children of node `n` stand from `first[n]` to `first[n + 1]`.
    first: Vec<u32>,
    /// The number of the string that ends at each node, or [`NONE`].
    ends: Vec<u32>,
    /// The root's children by their bytes, or the root itself: most paths end before they begin.
    begins: [u32; 256],
}

/// A property of nodes, one bit each.
#[derive(Debug, Default)]
pub(super) struct NodeSet(Vec<u64>);

const ROOT: Node = Node(0);

const NONE: u32 = u32::MAX;

/// Strings that have the bytes up to `depth` in common.
struct Common {
    from: usize,
    to: usize,
    depth: usize,
}

// === impl Trie ===

impl Trie {
    /// The trie of strings in their order, each once.
    pub(super) fn new(sorted: &[Box<[u8]>]) -> Self {
        let mut trie =
            Self { labels: vec![0], first: Vec::new(), ends: Vec::new(), begins: [0; 256] };
        // The strings below each node, breadth first; a node is done when its children stand behind.
        let mut below = VecDeque::new();
        below.push_back(Common { from: 0, to: sorted.len(), depth: 0 });
        while let Some(Common { mut from, to, depth }) = below.pop_front() {
            let ends = sorted.get(from).is_some_and(|string| from < to && string.len() == depth);
            trie.ends.push(if ends { number(from) } else { NONE });
            from += usize::from(ends);
            trie.first.push(number(trie.labels.len()));
            let strings = sorted.get(from..to).unwrap_or_default();
            for same in strings.chunk_by(|one, other| one.get(depth) == other.get(depth)) {
                let label = same.first().and_then(|string| string.get(depth));
                trie.labels.push(label.copied().unwrap_or_default());
                below.push_back(Common { from, to: from + same.len(), depth: depth + 1 });
                from += same.len();
            }
        }
        trie.first.push(number(trie.labels.len()));
        for child in trie.children(ROOT) {
            let label = trie.labels.get(child as usize).copied().unwrap_or_default();
            if let Some(begin) = trie.begins.get_mut(usize::from(label)) {
                *begin = child;
            }
        }
        trie
    }

    /// Where every path begins.
    pub(super) const fn root() -> Node {
        ROOT
    }

    #[inline]
    fn begin(&self, byte: u8) -> Option<Node> {
        self.begins.get(usize::from(byte)).filter(|&&node| Node(node) != ROOT).copied().map(Node)
    }

    /// The node that another byte leads to.
    #[inline]
    pub(super) fn next(&self, node: Node, byte: u8) -> Option<Node> {
        if node == ROOT {
            return self.begin(byte);
        }
        let children = self.children(node);
        let labels = self.labels.get(children.start as usize..children.end as usize)?;
        // They stand in order.
        if labels.last().is_none_or(|&last| last < byte) {
            return None;
        }
        let at = labels.iter().position(|&label| label == byte)?;
        Some(Node(children.start + number(at)))
    }

    /// The node that a character leads to.
    #[inline]
    pub(super) fn next_char(&self, node: Node, c: char) -> Option<Node> {
        if c.is_ascii() {
            return self.next(node, c as u8);
        }
        let mut buffer = [0; 4];
        let mut bytes = c.encode_utf8(&mut buffer).bytes();
        bytes.try_fold(node, |node, byte| self.next(node, byte))
    }

    /// The number of the string that the path to this node spells.
    #[inline]
    pub(super) fn end(&self, node: Node) -> Option<usize> {
        let end = self.ends.get(node.0 as usize).copied().filter(|&end| end != NONE)?;
        Some(end as usize)
    }

    /// The nodes from which, or at which, a chosen string can be reached.
    pub(super) fn before(&self, chosen: impl Fn(usize) -> bool) -> NodeSet {
        let mut before = NodeSet::default();
        // Children stand behind their parents.
        for node in (0..number(self.ends.len())).rev() {
            let mut children = self.children(Node(node));
            if self.end(Node(node)).is_some_and(&chosen)
                || children.any(|child| before.has(Node(child)))
            {
                before.put(Node(node));
            }
        }
        before
    }

    /// In bytes.
    pub(super) fn memory(&self) -> usize {
        self.labels.len()
            + size_of_val(self.first.as_slice())
            + size_of_val(self.ends.as_slice())
            + size_of_val(&self.begins)
    }

    fn children(&self, node: Node) -> std::ops::Range<u32> {
        let at = |node: u32| self.first.get(node as usize).copied().unwrap_or_default();
        at(node.0)..at(node.0 + 1)
    }
}

// === impl NodeSet ===

impl NodeSet {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[inline]
    pub(super) fn has(&self, node: Node) -> bool {
        let (word, bit) = (node.0 / 64, node.0 % 64);
        self.0.get(word as usize).is_some_and(|word| word >> bit & 1 == 1)
    }

    fn put(&mut self, node: Node) {
        let (word, bit) = ((node.0 / 64) as usize, node.0 % 64);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        if let Some(word) = self.0.get_mut(word) {
            *word |= 1 << bit;
        }
    }
}

/// Nodes and strings are fewer than that: they stand in memory.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(NONE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn walk(trie: &Trie, string: &[u8]) -> Option<Node> {
        string.iter().try_fold(Trie::root(), |node, &byte| trie.next(node, byte))
    }

    proptest! {
        #[test]
        fn a_path_is_there_where_a_string_goes_on(
            strings in proptest::collection::btree_set(proptest::collection::vec(0_u8..4, 1..6), 0..40),
            asked in proptest::collection::vec(0_u8..4, 0..7),
        ) {
            let sorted: Vec<Box<[u8]>> =
                strings.iter().map(|string| string.clone().into_boxed_slice()).collect();
            let trie = Trie::new(&sorted);
            let node = walk(&trie, &asked);
            let goes_on = asked.is_empty() || strings.iter().any(|string| string.starts_with(&asked));
            prop_assert_eq!(node.is_some(), goes_on);
            let number = sorted.iter().position(|string| **string == *asked);
            prop_assert_eq!(node.and_then(|node| trie.end(node)), number);
            let chosen = trie.before(|number| number % 2 == 0);
            let reaches = sorted.iter().step_by(2).any(|string| string.starts_with(&asked));
            prop_assert_eq!(node.is_some_and(|node| chosen.has(node)), reaches);
        }
    }
}
