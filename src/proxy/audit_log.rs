//! The audit file: a bounded queue before one writing thread. A full queue drops lines, and says so.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Once},
};

use secrecy::{ExposeSecret, SecretSlice};

use super::{audit_writer::AuditWriter, writer::Writer};
use crate::{
    config::Audit,
    record::{
        audit::{HashKey, HashKeyKind},
        metrics::Metrics,
    },
};

/// Lines that may wait for the writer.
const QUEUE: usize = 4096;

/// The open audit log.
#[derive(Debug)]
pub struct AuditLog {
    writer: Writer<Vec<u8>>,
    hash_key: HashKey,
    metrics: Arc<Metrics>,
    /// The log says that the queue was full.
    overflow: Once,
}

/// Why there is no audit log.
#[derive(Debug, thiserror::Error)]
pub enum AuditLogError {
    /// The file cannot be appended to.
    #[error("cannot open audit.file {path}: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// The key cannot be read, or is empty.
    #[error("cannot read a key from audit.hash_key_file {path}")]
    HashKey {
        /// The file.
        path: PathBuf,
    },
    /// No random key could be made.
    #[error("no random bytes for a hash key")]
    Random,
    /// No thread could be started.
    #[error("cannot start the audit writer: {0}")]
    Thread(io::Error),
}

// === impl AuditLog ===

impl AuditLog {
    /// Opens what the configuration names; `None` where it names no file.
    pub fn open(audit: &Audit, metrics: Arc<Metrics>) -> Result<Option<Self>, AuditLogError> {
        let Some(path) = &audit.file else { return Ok(None) };
        let hash_key = hash_key(audit.hash_key_file.as_deref())?;
        let writer = AuditWriter::open(path.clone(), Arc::clone(&metrics))
            .map_err(|cause| AuditLogError::File { path: path.clone(), cause })?;
        let writer = Writer::start("audit", QUEUE, move |queue| writer.run(&queue))
            .map_err(AuditLogError::Thread)?;
        Ok(Some(Self { writer, hash_key, metrics, overflow: Once::new() }))
    }

    /// The key for prompts.
    #[must_use]
    pub fn hash_key(&self) -> &HashKey {
        &self.hash_key
    }

    /// Hands a line to the writer; never waits.
    pub fn write(&self, line: Vec<u8>) {
        if self.writer.send(line).is_err() {
            self.metrics.note_audit_dropped(1);
            self.overflow.call_once(|| tracing::error!(code = "audit_queue_full"));
        }
    }

    /// Has the file opened again, by its name: it may have been moved away.
    pub fn reopen(&self) {
        self.writer.reopen();
    }

    /// Writes what waits and ends the writer.
    pub fn close(self) {
        self.writer.close();
    }
}

fn hash_key(file: Option<&Path>) -> Result<HashKey, AuditLogError> {
    let (kind, key) = if let Some(path) = file {
        (HashKeyKind::File, key_of_file(path)?)
    } else {
        let mut random = vec![0_u8; 32];
        getrandom::fill(&mut random).map_err(|_| AuditLogError::Random)?;
        (HashKeyKind::Ephemeral, SecretSlice::from(random))
    };
    HashKey::new(kind, key.expose_secret()).ok_or(AuditLogError::Random)
}

fn key_of_file(path: &Path) -> Result<SecretSlice<u8>, AuditLogError> {
    let unreadable = || AuditLogError::HashKey { path: path.to_owned() };
    let bytes = std::fs::read(path).map_err(|_| unreadable())?;
    let key = bytes.trim_ascii();
    if key.is_empty() { Err(unreadable()) } else { Ok(SecretSlice::from(key.to_vec())) }
}
