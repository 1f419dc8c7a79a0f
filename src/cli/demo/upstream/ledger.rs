//! How far the upstream got with an exchange before its reader left.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// What was written of one response; a step is a token of each choice.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    written: AtomicUsize,
    planned: AtomicUsize,
}

/// The exchanges that somebody watches, by the `user` field of their requests.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: Mutex<HashMap<String, Arc<Entry>>>,
}

// === impl Entry ===

impl Entry {
    /// Notes that a response of `steps` steps begins.
    pub(super) fn begin(&self, steps: usize) {
        self.planned.store(steps, Ordering::Relaxed);
    }

    /// Counts one step.
    pub(super) fn step(&self) {
        self.written.fetch_add(1, Ordering::Relaxed);
    }

    /// The steps written so far.
    pub(crate) fn written(&self) -> usize {
        self.written.load(Ordering::Relaxed)
    }

    /// The steps of the whole response; 0 if the upstream was never asked.
    pub(crate) fn planned(&self) -> usize {
        self.planned.load(Ordering::Relaxed)
    }
}

// === impl Ledger ===

impl Ledger {
    /// The entry in which the next request of `user` will be counted.
    pub(crate) fn watch(&self, user: &str) -> Arc<Entry> {
        let entry = Arc::<Entry>::default();
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(user.to_owned(), Arc::clone(&entry));
        entry
    }

    /// The entry of `user`, or one that nobody looks at.
    pub(super) fn entry_of(&self, user: Option<&str>) -> Arc<Entry> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        user.and_then(|user| entries.get(user)).map(Arc::clone).unwrap_or_default()
    }
}
