//! The audit file's writing thread.
//!
//! Comes in: lines, over a bounded queue. Promises: a line is written to the file as soon as the write before it is
//! done, and never waits for a timer, for a full buffer or for traffic to pause; what came in meanwhile goes out in one
//! write. What the file does not take is counted, and logged once until it takes lines again.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::Receiver,
    },
};

use crate::record::metrics::Metrics;

/// Bytes after which a batch takes no further line, so that a flood of lines is written in pieces.
const BATCH_BYTES: usize = 64 << 10;

/// The file and what happened to it.
#[derive(Debug)]
pub(super) struct AuditWriter {
    path: PathBuf,
    /// None while it cannot be opened.
    file: Option<Appender<File>>,
    metrics: Arc<Metrics>,
    /// Set by whoever wants the file opened again.
    reopen: Arc<AtomicBool>,
    /// The last batch was lost, and the log says so.
    failing: bool,
}

/// Lines that are written together.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Where each line ends.
    ends: Vec<usize>,
}

/// Something that lines are appended to, some of which may fail.
#[derive(Debug)]
struct Appender<W> {
    out: W,
    /// The last line that was begun lacks its end.
    torn: bool,
}

/// Lines that were not written, and why.
#[derive(Debug)]
struct Lost {
    lines: usize,
    cause: io::Error,
}

// === impl AuditWriter ===

impl AuditWriter {
    /// Opens the file, or makes it.
    pub(super) fn open(
        path: PathBuf,
        metrics: Arc<Metrics>,
        reopen: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let file = Some(Appender::new(append_to(&path)?));
        Ok(Self { path, file, metrics, reopen, failing: false })
    }

    /// Writes what comes until nothing can come any more.
    pub(super) fn run(mut self, queue: &Receiver<Vec<u8>>) {
        while let Some(batch) = Batch::next(queue) {
            if self.reopen.swap(false, Ordering::AcqRel) {
                self.open_again();
            }
            if batch.bytes.is_empty() {
                continue;
            }
            match self.write(&batch) {
                Ok(()) => self.note_written(),
                Err(lost) => self.note_lost(&lost),
            }
        }
    }

    fn write(&mut self, batch: &Batch) -> Result<(), Lost> {
        self.file.take_if(|file| is_deleted(&file.out));
        let file = match &mut self.file {
            Some(file) => file,
            none => match append_to(&self.path) {
                Ok(file) => none.insert(Appender::new(file)),
                Err(cause) => return Err(Lost { lines: batch.ends.len(), cause }),
            },
        };
        file.append(batch)
    }

    /// Goes over to the file that has the name now; stays with the old one if there is none to be had.
    fn open_again(&mut self) {
        match append_to(&self.path) {
            Ok(file) if self.file.as_ref().is_some_and(|old| is_same(&old.out, &file)) => {}
            Ok(file) => self.file = Some(Appender::new(file)),
            Err(error) => {
                tracing::error!(code = "audit_reopen_failed", os_error = error.raw_os_error());
            }
        }
    }

    fn note_written(&mut self) {
        if std::mem::take(&mut self.failing) {
            tracing::info!(code = "audit_written_again");
        }
    }

    fn note_lost(&mut self, lost: &Lost) {
        self.metrics.note_audit_dropped(lost.lines);
        if !std::mem::replace(&mut self.failing, true) {
            let os_error = lost.cause.raw_os_error();
            tracing::error!(code = "audit_write_failed", os_error, kind = ?lost.cause.kind());
        }
    }
}

// === impl Batch ===

impl Batch {
    /// Waits for a line and takes all that came with it; `None` when no more can come.
    fn next(queue: &Receiver<Vec<u8>>) -> Option<Self> {
        let mut batch = Self::default();
        batch.push(&queue.recv().ok()?);
        while batch.bytes.len() < BATCH_BYTES
            && let Ok(line) = queue.try_recv()
        {
            batch.push(&line);
        }
        Some(batch)
    }

    fn push(&mut self, line: &[u8]) {
        if line.is_empty() {
            return;
        }
        self.bytes.extend_from_slice(line);
        self.ends.push(self.bytes.len());
    }
}

// === impl Appender ===

impl<W: Write> Appender<W> {
    fn new(out: W) -> Self {
        Self { out, torn: false }
    }

    fn append(&mut self, batch: &Batch) -> Result<(), Lost> {
        let lost = |written: usize, cause| Lost {
            lines: batch.ends.iter().filter(|&&end| end > written).count(),
            cause,
        };
        if self.torn {
            // What is left of a line must not spoil the next one.
            self.out.write_all(b"\n").map_err(|cause| lost(0, cause))?;
            self.torn = false;
        }
        let mut written = 0;
        while let Some(rest) = batch.bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match self.out.write(rest) {
                Ok(count) if count > 0 => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                stopped => {
                    self.torn = written > 0 && !batch.ends.contains(&written);
                    let cause = stopped.err().unwrap_or_else(|| io::ErrorKind::WriteZero.into());
                    return Err(lost(written, cause));
                }
            }
        }
        Ok(())
    }
}

fn append_to(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// Whether nobody can ever read what is written to `file`. One that was only renamed goes on under its new name.
fn is_deleted(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.nlink() == 0)
}

fn is_same(one: &File, other: &File) -> bool {
    let place = |file: &File| file.metadata().map(|metadata| (metadata.dev(), metadata.ino())).ok();
    place(one).is_some_and(|place_of_one| Some(place_of_one) == place(other))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    /// Takes so many bytes and no more.
    struct Disk {
        bytes: Vec<u8>,
        room: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Seven at a time: a system may take less than it is given.
            let count = bytes.len().min(self.room).min(7);
            if count == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= count;
            self.bytes.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn batch(lines: &[&str]) -> Batch {
        let mut batch = Batch::default();
        for line in lines {
            batch.push(line.as_bytes());
        }
        batch
    }

    #[test]
    fn a_batch_takes_what_waits_and_waits_for_nothing() {
        let (lines, queue) = sync_channel(8);
        for line in ["one\n", "two\n"] {
            lines.send(line.as_bytes().to_vec()).unwrap();
        }
        // The sender is still there: more might come, and nobody waits for it.
        assert_eq!(Batch::next(&queue).unwrap().bytes, b"one\ntwo\n");
        lines.send(vec![b'x'; BATCH_BYTES]).unwrap();
        lines.send(b"late\n".to_vec()).unwrap();
        assert_eq!(Batch::next(&queue).unwrap().bytes.len(), BATCH_BYTES);
        assert_eq!(Batch::next(&queue).unwrap().bytes, b"late\n");
        drop(lines);
        assert!(Batch::next(&queue).is_none());
    }

    #[test]
    fn counts_what_a_full_disk_does_not_take() {
        let mut file = Appender::new(Disk { bytes: Vec::new(), room: 13 });
        let lost = file.append(&batch(&["a line\n", "another\n", "third\n"])).unwrap_err();
        assert_eq!(lost.lines, 2);
        assert_eq!(file.append(&batch(&["lost\n"])).unwrap_err().lines, 1);
        file.out.room = 100;
        file.append(&batch(&["whole\n"])).unwrap();
        assert_eq!(file.out.bytes, b"a line\nanothe\nwhole\n");
    }

    #[test]
    fn a_line_that_just_fits_is_not_torn() {
        let mut file = Appender::new(Disk { bytes: Vec::new(), room: 4 });
        assert_eq!(file.append(&batch(&["one\n", "two\n"])).unwrap_err().lines, 1);
        file.out.room = 100;
        file.append(&batch(&["three\n"])).unwrap();
        assert_eq!(file.out.bytes, b"one\nthree\n");
    }

    #[test]
    fn a_renamed_file_is_written_on_until_it_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("audit.jsonl"), folder.path().join("audit.1"));
        let metrics = Arc::new(Metrics::new().unwrap());
        let mut writer = AuditWriter::open(path.clone(), metrics, Arc::default()).unwrap();
        std::fs::rename(&path, &old).unwrap();
        writer.write(&batch(&["one\n"])).unwrap();
        writer.open_again();
        writer.write(&batch(&["two\n"])).unwrap();
        writer.open_again();
        writer.write(&batch(&["three\n"])).unwrap();
        assert_eq!(std::fs::read(&old).unwrap(), b"one\n");
        assert_eq!(std::fs::read(&path).unwrap(), b"two\nthree\n");
    }

    #[test]
    fn a_deleted_file_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        let path = inner.join("audit.jsonl");
        let metrics = Arc::new(Metrics::new().unwrap());
        let mut writer = AuditWriter::open(path.clone(), metrics, Arc::default()).unwrap();
        writer.write(&batch(&["one\n"])).unwrap();
        std::fs::remove_file(&path).unwrap();
        writer.write(&batch(&["two\n"])).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two\n");
        std::fs::remove_dir_all(&inner).unwrap();
        assert_eq!(writer.write(&batch(&["three\n", "four\n"])).unwrap_err().lines, 2);
        std::fs::create_dir(&inner).unwrap();
        writer.write(&batch(&["five\n"])).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"five\n");
    }
}
