//! One bound over all captures that are not written yet.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Bytes that captures may take together.
#[derive(Debug)]
pub(super) struct Memory {
    limit: usize,
    taken: AtomicUsize,
}

/// One capture's part, which it gives back when it is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    memory: Arc<Memory>,
    bytes: usize,
}

// === impl Memory ===

impl Memory {
    pub(super) const fn of(limit: usize) -> Self {
        Self { limit, taken: AtomicUsize::new(0) }
    }

    /// A part with nothing in it yet.
    pub(super) const fn reserve(self: Arc<Self>) -> Reservation {
        Reservation { memory: self, bytes: 0 }
    }
}

// === impl Reservation ===

impl Reservation {
    /// Takes bytes more, up to `bytes` in all; whether there were as many.
    pub(super) fn grow_to(&mut self, bytes: usize) -> bool {
        let Some(more) = bytes.checked_sub(self.bytes) else { return true };
        let limit = self.memory.limit;
        let fits = |taken: usize| taken.checked_add(more).filter(|&sum| sum <= limit);
        let grown = self.memory.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        if grown.is_ok() {
            self.bytes = bytes;
        }
        grown.is_ok()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.memory.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let memory = Arc::new(Memory::of(100));
        let mut first = Arc::clone(&memory).reserve();
        let mut second = Arc::clone(&memory).reserve();
        assert!(first.grow_to(60) && first.grow_to(10));
        assert!(!second.grow_to(41) && second.grow_to(40) && !first.grow_to(61));
        drop(first);
        assert!(second.grow_to(100));
        drop(second);
        assert_eq!(memory.taken.load(Ordering::Relaxed), 0);
    }
}
