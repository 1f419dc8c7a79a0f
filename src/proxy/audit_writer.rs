//! The audit file's writing thread.
//!
//! Comes in: lines, over a bounded queue. Promises: a line is written to the file as soon as the write before it is
//! done, and never waits for a timer, for a full buffer or for traffic to pause; what came in meanwhile goes out in one
//! write. What the file does not take is counted, and logged once until it takes lines again.

use std::{io, path::PathBuf, sync::Arc};

use super::{
    line_file::{Access, LineFile, Lines, Losses},
    writer::{Came, Queue},
};
use crate::record::metrics::Metrics;

/// Bytes after which a batch takes no further line, so that a flood of lines is written in pieces.
const BATCH_BYTES: usize = 64 << 10;

/// The file and what happened to it.
#[derive(Debug)]
pub(super) struct AuditWriter {
    file: LineFile,
    metrics: Arc<Metrics>,
    losses: Losses,
}

// === impl AuditWriter ===

impl AuditWriter {
    /// Opens the file, or makes it.
    pub(super) fn open(path: PathBuf, metrics: Arc<Metrics>) -> io::Result<Self> {
        let file = LineFile::open(path, Access::Usual)?;
        let losses = Losses::told_as("audit_write_failed", "audit_written_again");
        Ok(Self { file, metrics, losses })
    }

    /// Writes what comes until nothing can come any more.
    pub(super) fn run(mut self, queue: &Queue<Vec<u8>>) {
        while let Some(batch) = next_batch(queue) {
            if queue.is_to_reopen()
                && let Err(error) = self.file.open_again()
            {
                tracing::error!(code = "audit_reopen_failed", os_error = error.raw_os_error());
            }
            if !batch.is_empty() {
                let lost = self.losses.note(self.file.append(&batch));
                self.metrics.note_audit_dropped(lost);
            }
        }
    }
}

/// Waits for a line, or a waking, and takes all that came with it; `None` when no more can come.
fn next_batch(queue: &Queue<Vec<u8>>) -> Option<Lines> {
    let mut batch = Lines::default();
    match queue.next(None) {
        Came::Item(line) => batch.push(&line),
        Came::Nothing => {}
        Came::End => return None,
    }
    while batch.len() < BATCH_BYTES
        && let Some(line) = queue.waiting()
    {
        batch.push(&line);
    }
    Some(batch)
}

#[cfg(test)]
mod tests {
    use super::{super::writer::queue, *};

    #[test]
    fn a_batch_takes_what_waits_and_waits_for_nothing() {
        let (lines, queue) = queue(8);
        for line in ["one\n", "two\n"] {
            lines.send(Some(line.as_bytes().to_vec())).unwrap();
        }
        // The sender is still there: more might come, and nobody waits for it.
        assert_eq!(next_batch(&queue).unwrap().len(), b"one\ntwo\n".len());
        lines.send(Some(vec![b'x'; BATCH_BYTES])).unwrap();
        lines.send(Some(b"late\n".to_vec())).unwrap();
        assert_eq!(next_batch(&queue).unwrap().len(), BATCH_BYTES);
        assert_eq!(next_batch(&queue).unwrap().len(), b"late\n".len());
        lines.send(None).unwrap();
        assert!(next_batch(&queue).unwrap().is_empty());
        drop(lines);
        assert!(next_batch(&queue).is_none());
    }
}
