//! A file to which lines are appended, while others move it away, delete it, or fill its disk.
//!
//! Promises: a line that the disk cut off does not spoil the next one; what was not written is told, line by line; a
//! file that nobody could ever read is made again.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Who may read the file, and how it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// As the process's mask says; a file that is there is appended to.
    Usual,
    /// Its owner alone; it must not be there yet.
    Private,
}

/// The file by its name, as long as it can be had.
#[derive(Debug)]
pub(super) struct LineFile {
    path: PathBuf,
    access: Access,
    /// None while it cannot be opened.
    file: Option<Appender<File>>,
}

/// Lines that are written together.
#[derive(Debug, Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    /// Where each line ends.
    ends: Vec<usize>,
}

/// Lines that were not written, and why.
#[derive(Debug)]
pub(super) struct Lost {
    lines: usize,
    cause: io::Error,
}

/// Says once that a disk fails, and once that it does not any more.
#[derive(Debug)]
pub(super) struct Losses {
    /// The log's code for the first loss.
    failed: &'static str,
    /// Its code for the first line after it.
    again: &'static str,
    failing: bool,
}

/// Something that lines are appended to, some of which may fail.
#[derive(Debug)]
struct Appender<W> {
    out: W,
    /// The last line that was begun lacks its end.
    torn: bool,
}

// === impl LineFile ===

impl LineFile {
    /// Opens the file, or makes it.
    pub(super) fn open(path: PathBuf, access: Access) -> io::Result<Self> {
        let file = Some(Appender::new(open(&path, access)?));
        Ok(Self { path, access, file })
    }

    /// Its name.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends all of the lines that the disk takes.
    pub(super) fn append(&mut self, lines: &Lines) -> Result<(), Lost> {
        self.file.take_if(|file| is_deleted(&file.out));
        let file = match &mut self.file {
            Some(file) => file,
            none => match open(&self.path, self.access) {
                Ok(file) => none.insert(Appender::new(file)),
                Err(cause) => return Err(Lost { lines: lines.ends.len(), cause }),
            },
        };
        file.append(lines)
    }

    /// Goes over to the file that has the name now; stays with the old one if there is none to be had.
    pub(super) fn open_again(&mut self) -> io::Result<()> {
        let file = open(&self.path, self.access)?;
        if !self.file.as_ref().is_some_and(|old| is_same(&old.out, &file)) {
            self.file = Some(Appender::new(file));
        }
        Ok(())
    }
}

// === impl Lines ===

impl Lines {
    /// Adds a line that carries its own end.
    pub(super) fn push(&mut self, line: &[u8]) {
        self.bytes.extend_from_slice(line);
        self.ends.push(self.bytes.len());
    }

    /// Bytes of all lines.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is no line.
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

// === impl Lost ===

impl Lost {
    /// A single line, and why.
    pub(super) const fn one(cause: io::Error) -> Self {
        Self { lines: 1, cause }
    }
}

// === impl Losses ===

impl Losses {
    /// Tells them under these codes.
    pub(super) const fn told_as(failed: &'static str, again: &'static str) -> Self {
        Self { failed, again, failing: false }
    }

    /// Takes note of a write; gives back how many lines it has lost.
    pub(super) fn note(&mut self, written: Result<(), Lost>) -> usize {
        match written {
            Ok(()) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!(code = self.again);
                }
                0
            }
            Err(Lost { lines, cause }) => {
                if !std::mem::replace(&mut self.failing, true) {
                    let os_error = cause.raw_os_error();
                    tracing::error!(code = self.failed, os_error, kind = ?cause.kind());
                }
                lines
            }
        }
    }
}

// === impl Appender ===

impl<W: Write> Appender<W> {
    fn new(out: W) -> Self {
        Self { out, torn: false }
    }

    fn append(&mut self, lines: &Lines) -> Result<(), Lost> {
        let lost = |written: usize, cause| Lost {
            lines: lines.ends.iter().filter(|&&end| end > written).count(),
            cause,
        };
        if self.torn {
            // What is left of a line must not spoil the next one.
            self.out.write_all(b"\n").map_err(|cause| lost(0, cause))?;
            self.torn = false;
        }
        let mut written = 0;
        while let Some(rest) = lines.bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match self.out.write(rest) {
                Ok(count) if count > 0 => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                stopped => {
                    self.torn = written > 0 && !lines.ends.contains(&written);
                    let cause = stopped.err().unwrap_or_else(|| io::ErrorKind::WriteZero.into());
                    return Err(lost(written, cause));
                }
            }
        }
        Ok(())
    }
}

fn open(path: &Path, access: Access) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true);
    match access {
        Access::Usual => options.create(true),
        Access::Private => options.create_new(true).mode(0o600),
    };
    options.open(path)
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

    fn lines(texts: &[&str]) -> Lines {
        let mut lines = Lines::default();
        for text in texts {
            lines.push(text.as_bytes());
        }
        lines
    }

    fn usual(path: &Path) -> LineFile {
        LineFile::open(path.to_owned(), Access::Usual).unwrap()
    }

    #[test]
    fn counts_what_a_full_disk_does_not_take() {
        let mut file = Appender::new(Disk { bytes: Vec::new(), room: 13 });
        let lost = file.append(&lines(&["a line\n", "another\n", "third\n"])).unwrap_err();
        assert_eq!(lost.lines, 2);
        assert_eq!(file.append(&lines(&["lost\n"])).unwrap_err().lines, 1);
        file.out.room = 100;
        file.append(&lines(&["whole\n"])).unwrap();
        assert_eq!(file.out.bytes, b"a line\nanothe\nwhole\n");
    }

    #[test]
    fn a_line_that_just_fits_is_not_torn() {
        let mut file = Appender::new(Disk { bytes: Vec::new(), room: 4 });
        assert_eq!(file.append(&lines(&["one\n", "two\n"])).unwrap_err().lines, 1);
        file.out.room = 100;
        file.append(&lines(&["three\n"])).unwrap();
        assert_eq!(file.out.bytes, b"one\nthree\n");
    }

    #[test]
    fn a_renamed_file_is_written_on_until_it_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("audit.jsonl"), folder.path().join("audit.1"));
        let mut file = usual(&path);
        std::fs::rename(&path, &old).unwrap();
        file.append(&lines(&["one\n"])).unwrap();
        file.open_again().unwrap();
        file.append(&lines(&["two\n"])).unwrap();
        file.open_again().unwrap();
        file.append(&lines(&["three\n"])).unwrap();
        assert_eq!(std::fs::read(&old).unwrap(), b"one\n");
        assert_eq!(std::fs::read(&path).unwrap(), b"two\nthree\n");
    }

    #[test]
    fn a_deleted_file_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        let path = inner.join("audit.jsonl");
        let mut file = usual(&path);
        file.append(&lines(&["one\n"])).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.append(&lines(&["two\n"])).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two\n");
        std::fs::remove_dir_all(&inner).unwrap();
        assert_eq!(file.append(&lines(&["three\n", "four\n"])).unwrap_err().lines, 2);
        std::fs::create_dir(&inner).unwrap();
        file.append(&lines(&["five\n"])).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"five\n");
    }

    #[test]
    fn a_private_file_is_its_owners_and_nobody_elses_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("private.jsonl");
        let mut file = LineFile::open(path.clone(), Access::Private).unwrap();
        file.append(&lines(&["one\n"])).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let again = LineFile::open(path, Access::Private).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
    }
}
