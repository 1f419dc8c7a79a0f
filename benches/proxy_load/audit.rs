//! What thinkgate tells in its audit log about the streams that it was played: whether it has read them at all.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;

/// The streams of one log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Audited {
    /// Streams that have no line, or whose text was not all read.
    pub(crate) unread: usize,
    /// Percent of the text that the classifier did not score in time; its work is missing in the CPU time.
    pub(crate) unscored_percent: f64,
}

#[derive(Deserialize)]
struct Line {
    bytes: Bytes,
}

#[derive(Deserialize)]
struct Bytes {
    released: BTreeMap<String, u64>,
    /// By channel and by reason.
    unscanned_released: BTreeMap<String, BTreeMap<String, u64>>,
}

// === impl Audited ===

impl Audited {
    /// Reads the log at `path`, which should tell of so many streams.
    pub(crate) fn read(path: &Path, streams: usize) -> Self {
        let log = fs::read_to_string(path).unwrap();
        let lines: Vec<Bytes> =
            log.lines().map(|line| serde_json::from_str::<Line>(line).unwrap().bytes).collect();
        let told = lines.iter().filter(|bytes| bytes.were_read()).count();
        let released: u64 = lines.iter().flat_map(|bytes| bytes.released.values()).sum();
        let unscored: u64 =
            lines.iter().map(|bytes| bytes.unscanned_because("detector_failed")).sum();
        Self {
            unread: streams.saturating_sub(told),
            unscored_percent: 100.0 * unscored as f64 / released.max(1) as f64,
        }
    }
}

// === impl Bytes ===

impl Bytes {
    fn unscanned_because(&self, reason: &str) -> u64 {
        self.unscanned_released.values().filter_map(|reasons| reasons.get(reason)).sum()
    }

    /// Whether nothing was left out but what was to be, or what the classifier was too late for.
    fn were_read(&self) -> bool {
        let mut reasons = self.unscanned_released.values().flat_map(BTreeMap::keys);
        reasons.all(|reason| ["detector_failed", "mode_off"].contains(&reason.as_str()))
    }
}
