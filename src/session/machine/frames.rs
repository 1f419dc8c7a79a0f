//! Reading the response: frames become texts of choices.

use std::{ops::Range, time::Instant};

use crate::{
    channel::Channel,
    classify::Voice,
    dialect::{
        Dialect,
        chunk::{Array, Chunk, Opaque, Piece},
    },
    record::UnscannedReason,
    wire::{Frame, Framer, Framing, Payload, sniff},
};

use super::{Body, Session};
use crate::session::{
    choice::{Choice, Leaf},
    effect::BodyEnd,
    hold_back::HeldFrame,
};

impl Session {
    pub(super) fn sniff(&mut self, now: Instant, at_end: bool) {
        let Body::Sniffing(head) = &mut self.body else { return };
        let framing = match sniff(self.content_type.as_deref(), head) {
            Ok(Some(framing)) => framing,
            Ok(None) if !at_end => return,
            Ok(None) => Framing::Sse,
            Err(_) => {
                let head = std::mem::take(head).freeze();
                self.body = Body::Opaque(UnscannedReason::ContentType);
                self.unreadable = true;
                self.on_chunk(now, head);
                return;
            }
        };
        let head = std::mem::take(head).freeze();
        self.vocabulary.note_framing(framing);
        let mut framer = Framer::new(framing, self.plan().settings().limits.frame_bytes);
        framer.push(head);
        self.body = Body::Framed(framer);
        self.read_frames(now);
    }

    pub(super) fn read_frames(&mut self, now: Instant) {
        while !self.ended {
            let Body::Framed(framer) = &mut self.body else { break };
            if let Some(length) = framer.rest().and_then(|bytes| self.together.takes_next(bytes)) {
                framer.pass(length);
                continue;
            }
            let Some(frame) = framer.next_frame() else { break };
            if !self.together.takes(&frame) {
                self.read_together();
                self.read_frame(now, frame);
            }
        }
        self.read_together();
    }

    /// Reads the text of frames that were like the one before them.
    fn read_together(&mut self) {
        let Some(piece) = self.together.take() else { return };
        self.vocabulary.go_on(&piece.text);
        let mut carries = Carries::default();
        self.read_pieces(&[piece], &mut carries);
        self.note_passed(&carries.unscanned);
    }

    pub(super) fn read_frame(&mut self, now: Instant, frame: Frame) {
        self.together.forget();
        match &frame.payload {
            Payload::TooLarge => {
                let whole = matches!(&self.body, Body::Framed(Framer::Whole(_)));
                let reason = if whole {
                    UnscannedReason::BodyTooLarge
                } else {
                    UnscannedReason::FrameTooLarge
                };
                return self.pass_unread(now, frame, reason);
            }
            Payload::Empty => return self.hold_frame(now, HeldFrame::new(frame, now)),
            Payload::Slice(_) | Payload::Joined(_) => {}
        }
        if frame.data().trim_ascii().is_empty() {
            return self.hold_frame(now, HeldFrame::new(frame, now));
        }
        if let Some(held) = self.read_payload(now, frame) {
            self.hold_frame(now, held);
        }
    }

    /// Reads the frame's text; gives it back with what it carries where it has to wait its turn.
    fn read_payload(&mut self, now: Instant, frame: Frame) -> Option<HeldFrame> {
        let data = frame.data();
        // The lossy reading checks byte by byte, the strict one many at a time.
        let payload = str::from_utf8(data)
            .map_or_else(|_| String::from_utf8_lossy(data), std::borrow::Cow::Borrowed);
        let chunk = self.vocabulary.read(&payload, frame.error_field);
        let mut carries = Carries::default();
        if matches!(payload, std::borrow::Cow::Owned(_)) {
            // What a tolerant client would read was read; the rest is nobody's.
            carries.unscanned.push((None, UnscannedReason::Encoding, data.len() as u64));
        }
        self.read_chunk(&chunk, &mut carries);
        // When a guard model is asked may depend on how the text came.
        if !self.reading.holding && self.reading.consulting.is_none() {
            self.together.begin(&frame, &chunk);
        }
        let (known, is_error) = (chunk.known, chunk.error);
        drop(chunk);
        drop(payload);
        if !known {
            self.pass_unread(now, frame, UnscannedReason::Shape);
            return None;
        }
        if is_error && self.fails_again(BodyEnd::Reset) {
            return None;
        }
        if !self.reading.holding {
            self.note_passed(&carries.unscanned);
            return None;
        }
        Some(carries.of(frame, now))
    }

    fn read_chunk(&mut self, chunk: &Chunk<'_>, carries: &mut Carries) {
        self.upstream_error |= chunk.error;
        self.envelope.keep(&chunk.envelope);
        if let Some(usage) = chunk.usage {
            let kept = self.usage.get_or_insert_default();
            kept.clear();
            kept.push_str(usage);
        }
        carries.tells_usage = chunk.usage.is_some() && chunk.choices.is_empty();
        if self.dialect == Dialect::Unknown {
            self.dialect = self.vocabulary.dialect(chunk).unwrap_or_default();
        }
        self.read_pieces(&chunk.pieces, carries);
        for &(index, kind, bytes) in &chunk.opaque {
            self.note_opaque(index, kind, bytes, carries);
        }
        for &(index, call) in &chunk.ended_calls {
            if let Some(position) = self.choice(index)
                && let Some(choice) = self.choices.get_mut(position)
            {
                choice.end_call(&mut self.reading, call);
            }
        }
        for &(index, finished) in &chunk.choices {
            let Some(position) = self.choice(index) else { continue };
            if self.reading.holding {
                carries.names.push((position, finished));
            }
            if finished && let Some(choice) = self.choices.get_mut(position) {
                choice.pause_all(&mut self.reading);
            }
        }
        if self.reading.holding {
            carries.arrays.clone_from(&chunk.arrays);
            carries.unread.clone_from(&chunk.unread);
        }
        if chunk.done {
            self.done = true;
            self.finish_choices();
        }
    }

    fn read_pieces(&mut self, pieces: &[Piece<'_>], carries: &mut Carries) {
        for pieces in pieces.chunk_by(|left, right| left.choice == right.choice) {
            let Some(first) = pieces.first() else { continue };
            if let Some(position) = self.choice(first.choice)
                && let Some(choice) = self.choices.get_mut(position)
            {
                self.reading.speak(Voice::Choice(position));
                choice.take(&mut self.reading, pieces, &mut carries.leaves);
            } else {
                let bytes = pieces.iter().map(|piece| piece.text.len() as u64).sum();
                carries.unscanned.push((None, UnscannedReason::Field, bytes));
                self.unreadable = true;
            }
        }
    }

    fn note_opaque(&mut self, index: u32, kind: Opaque, bytes: usize, carries: &mut Carries) {
        let (channel, reason) = match kind {
            // What it signs was read.
            Opaque::Signature => return self.note_signature(index, carries),
            Opaque::Field => (None, UnscannedReason::Field),
            Opaque::Encrypted => (Some(Channel::Thinking), UnscannedReason::Encrypted),
            Opaque::Media => (Some(Channel::Answer), UnscannedReason::Media),
        };
        carries.unscanned.push((channel, reason, bytes as u64));
        if channel.is_some()
            && let Some(position) = self.choice(index)
            && let Some(choice) = self.choices.get_mut(position)
        {
            choice.unjudged = true;
            choice.encrypted |= kind == Opaque::Encrypted;
        }
    }

    fn note_signature(&mut self, index: u32, carries: &mut Carries) {
        if let Some(position) = self.choice(index)
            && let Some(choice) = self.choices.get_mut(position)
        {
            choice.signed = true;
            carries.signs.push(position);
        }
    }

    /// The position of the choice with this index; none past the limit.
    fn choice(&mut self, index: u32) -> Option<usize> {
        let is_it = |choice: &Choice| choice.index == index && self.is_current(choice);
        if let Some(position) = self.choices.iter().position(is_it) {
            return Some(position);
        }
        let own = self.choices.iter().filter(|choice| self.is_current(choice)).count();
        if own >= self.plan().settings().limits.choices {
            return None;
        }
        let position = self.choices.len();
        let mut choice = Choice::new(index, position, &self.reading.plan);
        self.begin_choice(&mut choice);
        // Nearly every exchange has one.
        self.choices.reserve_exact(1);
        self.choices.push(choice);
        Some(position)
    }

    pub(super) fn finish_choices(&mut self) {
        for choice in &mut self.choices {
            choice.finish(&mut self.reading);
        }
    }
}

/// Bytes that nobody has read, and why.
pub(super) type Unscanned = (Option<Channel>, UnscannedReason, u64);

/// What a frame carries, while it is read.
#[derive(Debug, Default)]
struct Carries {
    leaves: Vec<Leaf>,
    arrays: Vec<Array>,
    names: Vec<(usize, bool)>,
    signs: Vec<usize>,
    unread: Vec<Range<usize>>,
    unscanned: Vec<Unscanned>,
    tells_usage: bool,
}

// === impl Carries ===

impl Carries {
    pub(super) fn of(self, frame: Frame, arrived: Instant) -> HeldFrame {
        let Self { leaves, arrays, names, signs, unread, unscanned, tells_usage } = self;
        HeldFrame {
            leaves,
            arrays,
            names,
            signs,
            unread,
            unscanned,
            tells_usage,
            ..HeldFrame::new(frame, arrived)
        }
    }
}
