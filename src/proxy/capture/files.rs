//! The captures' files: which of them is written, and which may stay.
//!
//! Each file's name tells when it was begun. None is written for longer than an eighth of the retention, and each is
//! removed when its name is as old as the retention: nothing is kept longer, and little much shorter.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use super::super::line_file::{Access, LineFile, Lines, Losses, Lost};

/// How files are named: by the time of their beginning (UTC).
const NAME: &str = "captures-%Y%m%dT%H%M%S.%3fZ.jsonl";

/// A file is written for at most this part of the retention.
const PARTS: u32 = 8;

/// The longest that a look for old files waits.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// How many names are tried for a file, a millisecond apart.
const NAMES: i64 = 1000;

/// How much stays, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileLimits {
    /// Bytes after which another file is begun.
    pub(super) file_bytes: usize,
    /// Files that stay, the one that is written among them.
    pub(super) files: usize,
    /// How long anything stays.
    pub(super) retention: Duration,
}

/// The files of a folder.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    limits: FileLimits,
    /// None until something is to be written.
    current: Option<Current>,
    /// When the last file was begun, by its name: the next one's name comes after it.
    begun: Timestamp,
    /// When old files were looked for.
    looked: Timestamp,
    /// Files that could not be removed.
    left: Losses,
}

/// The file that is written.
#[derive(Debug)]
struct Current {
    file: LineFile,
    begun: Timestamp,
    bytes: usize,
}

// === impl Files ===

impl Files {
    /// Makes the folder where there is none, and a file in it, so that what is wrong is told now.
    pub(super) fn begin(folder: PathBuf, limits: FileLimits, now: Timestamp) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let left = Losses::told_as("capture_remove_failed", "capture_removed_again");
        let mut files =
            Self { folder, limits, current: None, begun: Timestamp::MIN, looked: now, left };
        files.current_at(now)?;
        Ok(files)
    }

    /// How long the files may be left alone.
    pub(super) fn patience(&self) -> Duration {
        LOOK_EVERY.min(self.limits.retention / PARTS)
    }

    /// Appends a line to the file that is written now, or to another where that is full or old.
    pub(super) fn append(&mut self, now: Timestamp, line: &[u8]) -> Result<(), Lost> {
        let full = |current: &Current, limits: &FileLimits| {
            current.bytes > 0 && current.bytes + line.len() > limits.file_bytes
        };
        if self.current.as_ref().is_some_and(|current| full(current, &self.limits)) {
            self.begin_another();
        }
        self.look_after(now);
        let mut lines = Lines::default();
        lines.push(line);
        let current = self.current_at(now).map_err(Lost::one)?;
        current.file.append(&lines)?;
        current.bytes += line.len();
        Ok(())
    }

    /// Has the next line begin another file.
    pub(super) fn begin_another(&mut self) {
        let Some(current) = self.current.take() else { return };
        if current.bytes == 0 && fs::remove_file(current.file.path()).is_err() {
            tracing::debug!(code = "capture_empty_file_stays");
        }
    }

    /// Leaves a file that was written for long enough, and removes what is too old or too much, if it is time to.
    pub(super) fn look_after(&mut self, now: Timestamp) {
        if age(self.looked, now) < self.patience() {
            return;
        }
        self.looked = now;
        let is_old = |current: &Current| age(current.begun, now) >= self.limits.retention / PARTS;
        if self.current.as_ref().is_some_and(is_old) {
            self.begin_another();
        }
        self.remove_old(now, self.limits.files);
    }

    fn current_at(&mut self, now: Timestamp) -> io::Result<&mut Current> {
        if self.current.is_none() {
            self.remove_old(now, self.limits.files.saturating_sub(1));
        }
        match &mut self.current {
            Some(current) => Ok(current),
            none => {
                let after = self.begun.as_millisecond().saturating_add(1);
                let current = Current::begin(&self.folder, after.max(now.as_millisecond()))?;
                self.begun = current.begun;
                Ok(none.insert(current))
            }
        }
    }

    /// Removes what is older than the retention, and the oldest beyond so many.
    fn remove_old(&mut self, now: Timestamp, room: usize) {
        let removed = self.try_to_remove_old(now, room);
        self.left.note(removed.map_err(Lost::one));
    }

    fn try_to_remove_old(&self, now: Timestamp, room: usize) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if let Some(begun) = begun(&path) {
                names.push((begun, path));
            }
        }
        names.sort();
        let too_many = names.len().saturating_sub(room);
        let mut outcome = Ok(());
        for (number, (begun, path)) in names.iter().enumerate() {
            if number < too_many || age(*begun, now) >= self.limits.retention {
                outcome = fs::remove_file(path).and(outcome);
            }
        }
        outcome
    }
}

// === impl Current ===

impl Current {
    /// Begins a file whose name tells this time, in milliseconds since 1970, or one soon after.
    fn begin(folder: &Path, at: i64) -> io::Result<Self> {
        let mut taken = None;
        for later in 0..NAMES {
            let begun = Timestamp::from_millisecond(at.saturating_add(later));
            let begun = begun.map_err(io::Error::other)?;
            match LineFile::open(folder.join(name(begun)), Access::Private) {
                Ok(file) => return Ok(Self { file, begun, bytes: 0 }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => taken = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(taken.unwrap_or_else(|| io::ErrorKind::AlreadyExists.into()))
    }
}

/// The name of a file that was begun then.
fn name(begun: Timestamp) -> String {
    begun.strftime(NAME).to_string()
}

/// When a file was begun, if it is one of ours, packed or not.
fn begun(path: &Path) -> Option<Timestamp> {
    let name = path.file_name()?.to_str()?;
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let begun = DateTime::strptime(NAME, name).ok()?;
    Some(begun.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// How long ago it was; nothing where it is still to come, as after a clock was set back.
fn age(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn at(time: &str) -> Timestamp {
        format!("2026-01-01T{time}Z").parse().unwrap()
    }

    fn files(folder: &Path, files: usize) -> Files {
        let limits = FileLimits { file_bytes: 10, files, retention: HOUR };
        Files::begin(folder.join("captures"), limits, at("10:00:00.5")).unwrap()
    }

    /// The files and what stands in them.
    fn contents(files: &Files) -> Vec<(String, String)> {
        let mut contents: Vec<(String, String)> = fs::read_dir(&files.folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read_to_string(entry.path()).unwrap())
            })
            .collect();
        contents.sort();
        contents
    }

    #[test]
    fn a_full_file_is_left_and_the_oldest_of_too_many_goes() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = files(folder.path(), 2);
        for line in ["one\n", "two\n", "three\n", "much longer than a file\n", "four\n"] {
            files.append(at("10:00:01"), line.as_bytes()).unwrap();
        }
        let texts: Vec<String> = contents(&files).into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["much longer than a file\n", "four\n"]);
        fs::write(files.folder.join("notes.txt"), "stays").unwrap();
        files.begin_another();
        files.append(at("10:00:02"), b"five\n").unwrap();
        assert_eq!(contents(&files).len(), 3);
    }

    #[test]
    fn nothing_stays_longer_than_the_retention_and_a_file_is_left_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = files(folder.path(), 100);
        files.append(at("10:00:01"), b"1\n").unwrap();
        // An eighth of an hour later it is left, though there is room.
        files.look_after(at("10:07:31"));
        files.append(at("10:08:00"), b"2\n").unwrap();
        assert_eq!(
            contents(&files),
            [
                ("captures-20260101T100000.500Z.jsonl".to_owned(), "1\n".to_owned()),
                ("captures-20260101T100800.000Z.jsonl".to_owned(), "2\n".to_owned()),
            ]
        );
        files.look_after(at("11:00:00.4"));
        assert_eq!(contents(&files).len(), 2);
        files.look_after(at("11:02:00"));
        let left = contents(&files);
        assert_eq!((left.len(), left[0].1.as_str()), (1, "2\n"));
        let packed = format!("{}.gz", left[0].0);
        fs::rename(files.folder.join(&left[0].0), files.folder.join(packed)).unwrap();
        // Nobody writes any more, and all the same it goes.
        files.look_after(at("11:10:00"));
        assert_eq!(contents(&files), []);
    }

    #[test]
    fn what_a_run_has_left_is_looked_after_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = files(folder.path(), 100);
        first.append(at("10:00:01"), b"1\n").unwrap();
        drop(first);
        let limits = FileLimits { file_bytes: 10, files: 100, retention: HOUR };
        let folder = folder.path().join("captures");
        let mut second = Files::begin(folder.clone(), limits, at("10:00:00.5")).unwrap();
        assert_eq!(contents(&second).len(), 2);
        // An empty file does not stay.
        second.begin_another();
        assert_eq!(contents(&second).len(), 1);
        let third = Files::begin(folder, limits, at("11:00:30")).unwrap();
        assert_eq!(
            contents(&third),
            [("captures-20260101T110030.000Z.jsonl".to_owned(), String::new())]
        );
    }
}
