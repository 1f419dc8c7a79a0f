//! What patterns are for, by the pattern: several rules may have the same one.

/// What each pattern is for; patterns have numbers from 0, in their order.
#[derive(Debug)]
pub(super) struct ByPattern<T> {
    /// Those of pattern `p` stand from `first[p]` to `first[p + 1]`.
    first: Vec<u32>,
    items: Vec<T>,
}

// === impl ByPattern ===

impl<T: PartialEq> ByPattern<T> {
    /// Gathers what is sorted by pattern; gives back the patterns too, each once.
    ///
    /// In this order, what a large automaton is made of lies together, which takes less time to build.
    pub(super) fn gather(mut sorted: Vec<(Box<[u8]>, T)>) -> (Vec<Box<[u8]>>, Self) {
        sorted.dedup();
        let mut patterns = Vec::<Box<[u8]>>::new();
        let mut gathered = Self { first: Vec::new(), items: Vec::with_capacity(sorted.len()) };
        for (pattern, item) in sorted {
            if patterns.last() != Some(&pattern) {
                patterns.push(pattern);
                gathered.first.push(place(gathered.items.len()));
            }
            gathered.items.push(item);
        }
        gathered.first.push(place(gathered.items.len()));
        (patterns, gathered)
    }
}

impl<T> ByPattern<T> {
    pub(super) fn of(&self, pattern: usize) -> &[T] {
        let first = self.first.get(pattern).map_or(0, |&first| first as usize);
        let end = self.first.get(pattern + 1).map_or(0, |&end| end as usize);
        self.items.get(first..end).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// In bytes.
    pub(super) fn memory(&self) -> usize {
        size_of_val(self.first.as_slice()) + size_of_val(self.items.as_slice())
    }
}

fn place(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
