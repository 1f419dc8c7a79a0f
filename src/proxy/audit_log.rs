//! The audit file: a bounded queue before one writing thread. A full queue drops lines, and says so.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use secrecy::{ExposeSecret, SecretSlice};

use crate::{
    config::Audit,
    record::{
        audit::{HashKey, HashKeyKind},
        metrics::Metrics,
    },
};

/// Lines that may wait for the writer.
const QUEUE: usize = 4096;

/// How long a line may wait in the writer's buffer.
const FLUSH_EVERY: Duration = Duration::from_millis(200);

/// The open audit log.
#[derive(Debug)]
pub struct AuditLog {
    lines: SyncSender<Vec<u8>>,
    hash_key: HashKey,
    metrics: Arc<Metrics>,
    writer: Mutex<Option<JoinHandle<()>>>,
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
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map_err(|cause| AuditLogError::File { path: path.clone(), cause })?;
        let (lines, queue) = sync_channel(QUEUE);
        let dropped = Arc::clone(&metrics);
        let writer = thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || write_lines(file, &queue, &dropped))
            .map_err(AuditLogError::Thread)?;
        Ok(Some(Self { lines, hash_key, metrics, writer: Mutex::new(Some(writer)) }))
    }

    /// The key for prompts.
    #[must_use]
    pub fn hash_key(&self) -> &HashKey {
        &self.hash_key
    }

    /// Hands a line to the writer; never waits.
    pub fn write(&self, line: Vec<u8>) {
        match self.lines.try_send(line) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.metrics.note_audit_dropped();
            }
        }
    }

    /// Writes what waits and ends the writer.
    pub fn close(self) {
        drop(self.lines);
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            tracing::error!(code = "audit_writer_panicked");
        }
    }
}

fn write_lines(file: File, queue: &Receiver<Vec<u8>>, metrics: &Metrics) {
    let mut out = BufWriter::new(file);
    let write = |out: &mut BufWriter<File>, line: &[u8]| {
        if out.write_all(line).is_err() {
            metrics.note_audit_dropped();
        }
    };
    loop {
        match queue.recv_timeout(FLUSH_EVERY) {
            Ok(line) => write(&mut out, &line),
            Err(RecvTimeoutError::Timeout) => {
                if out.flush().is_err() {
                    tracing::error!(code = "audit_write_failed");
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    if out.flush().is_err() {
        tracing::error!(code = "audit_write_failed");
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
