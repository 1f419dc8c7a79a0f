//! A digest of a stream's bytes, the same for every cut of them.

use std::hash::{DefaultHasher, Hasher as _};

/// Length and hash of what was written so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Running {
    hasher: DefaultHasher,
    length: u64,
}

/// Length and hash of a whole stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sum {
    /// Bytes.
    pub(crate) length: u64,
    /// Their hash.
    pub(crate) hash: u64,
}

impl Running {
    /// Takes the next bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.hasher.write(bytes);
        self.length += bytes.len() as u64;
    }

    /// What was written.
    pub(crate) fn sum(&self) -> Sum {
        Sum { length: self.length, hash: self.hasher.finish() }
    }
}
