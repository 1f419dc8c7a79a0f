//! The state carried along one text.

use std::sync::Arc;

use super::{RuleIndex, Watch};

/// One rule's match, in the original text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuleMatch {
    /// The rule.
    pub rule: RuleIndex,
    /// Its first byte.
    pub start: u64,
    /// One past its last byte.
    pub end: u64,
    /// Its first Unicode scalar value.
    pub start_char: u64,
    /// One past its last Unicode scalar value.
    pub end_char: u64,
}

/// Carried state for one text.
#[derive(Clone, Debug)]
pub struct StreamMatcher {
    _watch: Arc<Watch>,
    read_bytes: u64,
    read_chars: u64,
}

// === impl StreamMatcher ===

impl StreamMatcher {
    /// At the start of a text.
    #[must_use]
    pub fn new(watch: &Arc<Watch>) -> Self {
        Self { _watch: Arc::clone(watch), read_bytes: 0, read_chars: 0 }
    }

    /// Reads on, and appends to `found` what is certain now.
    pub fn push(&mut self, text: &str, _found: &mut Vec<RuleMatch>) {
        self.read_bytes += text.len() as u64;
        self.read_chars += text.chars().count() as u64;
    }

    /// The text has ended: appends what was still open.
    pub fn finish(&mut self, _found: &mut Vec<RuleMatch>) {}

    /// No enforced match that is not yet reported starts below this byte of the text.
    #[must_use]
    pub fn watermark(&self) -> u64 {
        self.read_bytes
    }

    /// Bytes read so far.
    #[must_use]
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    /// Unicode scalar values read so far.
    #[must_use]
    pub fn read_chars(&self) -> u64 {
        self.read_chars
    }
}
