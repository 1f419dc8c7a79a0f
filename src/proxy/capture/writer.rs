//! The captures' writing thread.

use std::{io, sync::Arc};

use jiff::Timestamp;

use super::{files::Files, mask::masked, recording::Recorded};
use crate::{
    proxy::{
        line_file::{Losses, Lost},
        writer::{Came, Queue},
    },
    record::{CaptureOutcome, metrics::Metrics},
};

/// The files and what happens to them.
#[derive(Debug)]
pub(super) struct CaptureWriter {
    files: Files,
    metrics: Arc<Metrics>,
    losses: Losses,
}

// === impl CaptureWriter ===

impl CaptureWriter {
    pub(super) fn new(files: Files, metrics: Arc<Metrics>) -> Self {
        let losses = Losses::told_as("capture_write_failed", "capture_written_again");
        Self { files, metrics, losses }
    }

    /// Writes what comes until nothing can come any more.
    pub(super) fn run(mut self, queue: &Queue<Box<Recorded>>) {
        loop {
            match queue.next(Some(self.files.patience())) {
                Came::Item(recorded) => self.write(*recorded),
                Came::Nothing => self.files.look_after(Timestamp::now()),
                Came::End => break,
            }
            if queue.is_to_reopen() {
                self.files.begin_another();
            }
        }
        // One that is empty goes.
        self.files.begin_another();
    }

    fn write(&mut self, recorded: Recorded) {
        let Recorded { capture, mask, reservation } = recorded;
        let capture = match &mask {
            Some(plan) => masked(plan, capture),
            None => capture,
        };
        let written = match capture.to_line() {
            Ok(line) => self.files.append(Timestamp::now(), &line),
            Err(error) => Err(Lost::one(io::Error::other(error))),
        };
        drop(reservation);
        let outcome = match (self.losses.note(written), capture.truncated) {
            (0, None) => CaptureOutcome::Whole,
            (0, Some(_)) => CaptureOutcome::Truncated,
            _ => CaptureOutcome::WriteFailed,
        };
        self.metrics.note_capture(outcome);
    }
}
