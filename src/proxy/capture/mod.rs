//! Exchanges with their content, on their way to files that `thinkgate replay`, `scan` and `export` read.
//!
//! Off unless it is configured. An exchange gathers its own bytes (`recording`), within a bound of its own and one over all
//! of them, and hands them over when it ends; a thread of its own masks (`mask`) and writes them (`writer`), and keeps
//! as many files for as long as it may (`files`). No stream ever waits: what there is no room for is dropped and counted.

mod files;
mod mask;
mod memory;
mod recording;
mod writer;

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Once},
};

use uuid::Uuid;

pub(super) use self::recording::Recording;
use self::{
    files::{FileLimits, Files},
    memory::Memory,
    recording::Recorded,
    writer::CaptureWriter,
};
use super::writer::Writer;
use crate::{
    config::{Capture as Settings, Config, Route},
    record::{CaptureOutcome, metrics::Metrics},
    rules::RuleSet,
    session::Plan,
};

/// Exchanges that may wait for the writer.
const QUEUE: usize = 1024;

/// The open files, and the way to them.
#[derive(Debug)]
pub struct CaptureLog {
    writer: Writer<Box<Recorded>>,
    memory: Arc<Memory>,
    metrics: Arc<Metrics>,
    /// The log says that exchanges were dropped.
    overflow: Once,
}

/// How a route's exchanges are captured.
#[derive(Debug)]
pub struct RouteCapture {
    log: Arc<CaptureLog>,
    route: String,
    sample: f64,
    exchange_bytes: usize,
    /// What masks them, where something does.
    mask: Option<Arc<Plan>>,
}

/// Why nothing can be captured.
#[derive(Debug, thiserror::Error)]
pub enum CaptureLogError {
    /// No file can be written in the folder.
    #[error("cannot write into capture.folder {folder}: {cause}")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// No thread could be started.
    #[error("cannot start the captures' writer: {0}")]
    Thread(io::Error),
}

// === impl CaptureLog ===

impl CaptureLog {
    /// Begins a file in the configured folder, and removes what is too old there.
    pub fn open(settings: &Settings, metrics: Arc<Metrics>) -> Result<Self, CaptureLogError> {
        let limits = FileLimits {
            file_bytes: settings.file_bytes,
            files: settings.files,
            retention: settings.retention,
        };
        let folder = &settings.folder;
        let files = Files::begin(folder.clone(), limits, jiff::Timestamp::now())
            .map_err(|cause| CaptureLogError::Folder { folder: folder.clone(), cause })?;
        let own = CaptureWriter::new(files, Arc::clone(&metrics));
        let writer = Writer::start("capture", QUEUE, move |queue| own.run(&queue))
            .map_err(CaptureLogError::Thread)?;
        let memory = Arc::new(Memory::of(settings.memory_bytes));
        Ok(Self { writer, memory, metrics, overflow: Once::new() })
    }

    /// Has the next exchange written to another file, so that those that are there can be taken away.
    pub fn begin_another_file(&self) {
        self.writer.reopen();
    }

    /// Writes what waits and ends the writer.
    pub fn close(self) {
        self.writer.close();
    }

    /// Hands an exchange to the writer; never waits.
    fn write(&self, recorded: Box<Recorded>) {
        if self.writer.send(recorded).is_err() {
            self.drop_one(CaptureOutcome::QueueFull);
        }
    }

    fn drop_one(&self, why: CaptureOutcome) {
        self.metrics.note_capture(why);
        self.overflow.call_once(|| tracing::error!(code = "capture_dropped", why = ?why));
    }
}

// === impl RouteCapture ===

impl RouteCapture {
    /// How the exchanges of `route` are captured, if they are.
    #[must_use]
    pub fn of(
        config: &Config,
        route: &Route,
        rules: &Arc<RuleSet>,
        log: &Arc<CaptureLog>,
    ) -> Option<Arc<Self>> {
        let settings = config.capture.as_ref().filter(|capture| capture.takes(&route.name))?;
        Some(Arc::new(Self {
            log: Arc::clone(log),
            route: route.name.clone(),
            sample: settings.sample,
            exchange_bytes: settings.exchange_bytes,
            mask: mask::plan(config, route, rules, &settings.mask),
        }))
    }

    /// Whether the exchange with this id is captured: by the id's last bytes, which are random where those before them
    /// count.
    fn chooses(&self, id: &Uuid) -> bool {
        let [.., a, b, c, d] = *id.as_bytes();
        f64::from(u32::from_be_bytes([a, b, c, d])) < self.sample * 2_f64.powi(32)
    }
}

#[cfg(test)]
mod tests;
