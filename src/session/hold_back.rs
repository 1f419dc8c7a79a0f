//! The queue of frames that wait, and the one rule by which they leave.
//!
//! A frame leaves, unchanged, as soon as all its texts lie below the watermark of everything that may redact or
//! block there. Frames never overtake each other. Nothing else may delay a byte.

use std::{collections::VecDeque, time::Instant};

use crate::{
    channel::Channel,
    dialect::chunk::Array,
    record::{HoldReason, UnscannedReason},
    wire::Frame,
};

use super::choice::{CONTENT, Choice, Leaf, Shows};

/// A frame that waits, and what it carries.
#[derive(Debug)]
pub(super) struct HeldFrame {
    pub(super) frame: Frame,
    pub(super) arrived: Instant,
    /// Where it shows text.
    pub(super) leaves: Vec<Leaf>,
    /// Arrays of logprob entries.
    pub(super) arrays: Vec<Array>,
    /// Choices that it names, by position, and whether it says that they are finished.
    pub(super) names: Vec<(usize, bool)>,
    /// Choices, by position, whose thinking it signs.
    pub(super) signs: Vec<usize>,
    /// Bytes of it that nobody has read.
    pub(super) unscanned: Vec<(Option<Channel>, UnscannedReason, u64)>,
    /// It tells the usage and names no choice.
    pub(super) tells_usage: bool,
    /// Why it has waited, or would have, had it waited.
    pub(super) waited_for: Option<HoldReason>,
}

/// The frames that wait.
#[derive(Debug, Default)]
pub(super) struct HoldBack {
    frames: VecDeque<HeldFrame>,
    bytes: usize,
    /// Why the first frame last waited, and with it all behind it.
    waits_for: Option<HoldReason>,
}

// === impl HoldBack ===

impl HoldBack {
    pub(super) fn push(&mut self, frame: HeldFrame) {
        self.bytes += frame.frame.raw.len();
        self.frames.push_back(frame);
    }

    /// Takes the first frame if nothing in it can still be carried out.
    pub(super) fn pop_decided(&mut self, choices: &[Choice]) -> Option<HeldFrame> {
        let front = self.frames.front_mut()?;
        if let Some(reason) = front.waits_for(choices) {
            front.waited_for = Some(reason);
            self.waits_for = Some(reason);
            return None;
        }
        self.pop()
    }

    /// Takes the first frame whatever is open.
    pub(super) fn pop(&mut self) -> Option<HeldFrame> {
        let mut frame = self.frames.pop_front()?;
        self.bytes -= frame.frame.raw.len();
        frame.waited_for = frame.waited_for.or(self.waits_for);
        Some(frame)
    }

    /// Drops every frame, whole.
    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Why the first frame waits, and since when.
    pub(super) fn front(&self, choices: &[Choice]) -> Option<(HoldReason, Instant)> {
        let front = self.frames.front()?;
        Some((front.waits_for(choices)?, front.arrived))
    }
}

// === impl HeldFrame ===

impl HeldFrame {
    /// A frame that carries nothing.
    pub(super) const fn new(frame: Frame, arrived: Instant) -> Self {
        Self {
            frame,
            arrived,
            leaves: Vec::new(),
            arrays: Vec::new(),
            names: Vec::new(),
            signs: Vec::new(),
            unscanned: Vec::new(),
            tells_usage: false,
            waited_for: None,
        }
    }

    /// Why the frame may not leave yet.
    fn waits_for(&self, choices: &[Choice]) -> Option<HoldReason> {
        self.leaves.iter().find_map(|leaf| {
            let Shows::Source { source, span } = &leaf.shows else { return None };
            let choice = choices.get(leaf.choice)?;
            let open = choice.sources.get(*source).is_some_and(|source| source.open);
            if !open && span.end <= choice.watermark(*source) {
                return None;
            }
            let undecided = choice.undecided_from().is_some_and(|from| from < span.end);
            let in_tag = *source == CONTENT && span.end > choice.tags.watermark();
            Some(if open {
                HoldReason::ToolCall
            } else if *source == CONTENT && undecided {
                HoldReason::Undecided
            } else if in_tag {
                HoldReason::Tag
            } else {
                HoldReason::Rules
            })
        })
    }

    /// Whether it carries thinking that is encrypted, or signs some.
    pub(super) fn tells_sealed_thinking(&self) -> bool {
        let encrypted = |&(_, reason, _): &_| reason == UnscannedReason::Encrypted;
        !self.signs.is_empty() || self.unscanned.iter().any(encrypted)
    }
}
