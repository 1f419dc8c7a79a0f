//! The queue of frames that wait, and the one rule by which they leave.
//!
//! A frame leaves, unchanged, as soon as all its texts lie below the watermark of everything that may redact or
//! block there. Frames never overtake each other. Nothing else may delay a byte.

use std::{collections::VecDeque, ops::Range, time::Instant};

use bytes::Bytes;
use smallvec::SmallVec;

use crate::{
    channel::Channel,
    classify::Voice,
    dialect::chunk::{Array, Source},
    record::{HoldReason, UnscannedReason},
    wire::{Frame, Payload},
};

use super::{
    choice::{CONTENT, Choice, Leaf, Shows, is_thinking},
    scoring::Scoring,
};

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
    /// Fields that nobody knows, which may repeat a text.
    pub(super) unread: Vec<Range<usize>>,
    /// Bytes of it that nobody has read.
    pub(super) unscanned: Vec<(Option<Channel>, UnscannedReason, u64)>,
    /// It tells the usage and names no choice.
    pub(super) tells_usage: bool,
    /// Why it has waited, or would have, had it waited.
    pub(super) waited_for: Option<HoldReason>,
    /// Choices whose text in it waits for its score.
    pub(super) marks: Marks,
}

/// Where the text of a choice ends that stands in a frame or before it, in the classifier's count; none as long as some
/// of the frame's content may still be part of a tag.
type Mark = (usize, Option<u64>);

/// The marks of a frame: nearly always one, and none where no text waits for its score.
type Marks = SmallVec<[Mark; 1]>;

/// What decides whether text is open.
#[derive(Clone, Copy)]
pub(super) struct Deciding<'s> {
    pub(super) choices: &'s [Choice],
    pub(super) scoring: Option<&'s Scoring>,
}

/// The frames that wait.
#[derive(Debug, Default)]
pub(super) struct HoldBack {
    frames: VecDeque<HeldFrame>,
    bytes: usize,
    /// Frames with text of which it is not known where it ends.
    unmarked: usize,
    /// Why the first frame last waited, and with it all behind it.
    waits_for: Option<HoldReason>,
}

// === impl HoldBack ===

impl HoldBack {
    pub(super) fn push(&mut self, frame: HeldFrame) {
        self.bytes += frame.frame.raw.len();
        self.unmarked += usize::from(!frame.is_marked());
        self.frames.push_back(frame);
    }

    /// Takes the first frame if nothing in it can still be carried out.
    pub(super) fn pop_decided(&mut self, deciding: Deciding<'_>) -> Option<HeldFrame> {
        self.mark(deciding);
        let front = self.frames.front_mut()?;
        if let Some(reason) = front.waits_for(deciding) {
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
        self.unmarked -= usize::from(!frame.is_marked());
        frame.waited_for = frame.waited_for.or(self.waits_for);
        Some(frame)
    }

    /// Drops every frame, whole.
    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
        self.unmarked = 0;
    }

    /// Notes where the text of frames ends whose content is known for what it is by now.
    fn mark(&mut self, Deciding { choices, scoring }: Deciding<'_>) {
        let Some(scoring) = scoring.filter(|_| self.unmarked > 0) else { return };
        for frame in self.frames.iter_mut().filter(|frame| !frame.is_marked()) {
            for (position, mark) in &mut frame.marks {
                let Some(choice) = choices.get(*position) else { continue };
                let in_tag = frame.leaves.iter().any(|leaf| {
                    leaf.choice == *position && leaf.content_end() > choice.tags_watermark()
                });
                if !in_tag && mark.is_none() {
                    *mark = Some(scoring.mark(Voice::Choice(*position)));
                }
            }
            self.unmarked -= usize::from(frame.is_marked());
        }
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Why the first frame waits, and since when.
    pub(super) fn front(&self, deciding: Deciding<'_>) -> Option<(HoldReason, Instant)> {
        let front = self.frames.front()?;
        Some((front.waits_for(deciding)?, front.arrived))
    }
}

// === impl HeldFrame ===

impl HeldFrame {
    /// A frame that carries nothing.
    pub(super) fn new(frame: Frame, arrived: Instant) -> Self {
        Self {
            frame,
            arrived,
            leaves: Vec::new(),
            arrays: Vec::new(),
            names: Vec::new(),
            signs: Vec::new(),
            unread: Vec::new(),
            unscanned: Vec::new(),
            tells_usage: false,
            waited_for: None,
            marks: SmallVec::new(),
        }
    }

    /// Holds it until its text has been scored.
    pub(super) fn wait_for_scores(&mut self) {
        for leaf in self.leaves.iter().filter(|leaf| is_scored(leaf.kind)) {
            if self.marks.iter().all(|&(known, _)| known != leaf.choice) {
                self.marks.push((leaf.choice, None));
            }
        }
    }

    fn is_marked(&self) -> bool {
        self.marks.iter().all(|(_, mark)| mark.is_some())
    }

    /// Why the frame may not leave yet.
    fn waits_for(&self, deciding: Deciding<'_>) -> Option<HoldReason> {
        let is_clear = |&(position, mark): &Mark| {
            let (Some(scoring), Some(mark)) = (deciding.scoring, mark) else { return false };
            scoring.is_clear(Voice::Choice(position), mark)
        };
        let waits_for_scores = || !self.marks.iter().all(is_clear);
        self.text_waits_for(deciding.choices)
            .or_else(|| waits_for_scores().then_some(HoldReason::Classifier))
    }

    fn text_waits_for(&self, choices: &[Choice]) -> Option<HoldReason> {
        self.leaves.iter().find_map(|leaf| {
            let Shows::Source { source, span } = &leaf.shows else { return None };
            let choice = choices.get(leaf.choice)?;
            let open = choice.sources.get(*source).is_some_and(|source| source.open);
            if !open && span.end <= choice.watermark(*source) {
                return None;
            }
            let undecided = choice.undecided_from().is_some_and(|from| from < span.end);
            let in_tag = *source == CONTENT && span.end > choice.tags_watermark();
            Some(if open || (in_tag && choice.tags.is_in_call()) {
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

    /// Its bytes as they leave (`bytes`), with a member more in the object that they carry; none where they carry none.
    pub(super) fn with_member(&self, bytes: &Bytes, member: &str) -> Option<Bytes> {
        let Payload::Slice(place) = &self.frame.payload else { return None };
        // Only the payload may have been changed.
        let behind = self.frame.raw.len().checked_sub(place.end)?;
        let payload = bytes.get(place.start..bytes.len().checked_sub(behind)?)?;
        let inside = payload.trim_ascii_end().strip_suffix(b"}")?;
        let comma = if inside.trim_ascii_end().ends_with(b"{") { "" } else { "," };
        let (head, tail) = bytes.split_at_checked(place.start + inside.len())?;
        Some([head, comma.as_bytes(), member.as_bytes(), tail].concat().into())
    }

    /// Whether it is the stream's end mark.
    pub(super) fn is_end_mark(&self) -> bool {
        self.frame.data().trim_ascii() == b"[DONE]"
    }

    /// Whether it carries thinking that is encrypted, or signs some.
    pub(super) fn tells_sealed_thinking(&self) -> bool {
        let encrypted = |&(_, reason, _): &_| reason == UnscannedReason::Encrypted;
        !self.signs.is_empty() || self.unscanned.iter().any(encrypted)
    }
}

// === impl Leaf ===

impl Leaf {
    /// The end of the content that it shows; 0 for other text.
    pub(super) fn content_end(&self) -> u64 {
        match &self.shows {
            Shows::Source { source: CONTENT, span } => span.end,
            Shows::Source { .. } | Shows::Alone(_) => 0,
        }
    }
}

/// Whether the classifier reads text of this kind: thinking and answer, and none of their repeats.
fn is_scored(kind: Source) -> bool {
    is_thinking(kind) || matches!(kind, Source::Content | Source::CumulativeContent)
}
