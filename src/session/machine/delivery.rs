//! What leaves: frames that wait for their turn, and what becomes of them.

use std::time::Instant;

use crate::{
    policy::{Action, OnUnscanned},
    record::{HoldReason, UnscannedReason},
    wire::{Frame, Framer},
};

use super::{Body, Session, frames::Unscanned};
use crate::session::{
    choice::Shows,
    effect::{Delivery, Effect},
    hold_back::{Deciding, HeldFrame},
    plan::OnDeadline,
    redaction::{self, Edited, Editing},
};

impl Session {
    /// Takes a frame that was read: in enforce mode it waits its turn, else the shell has forwarded it already.
    pub(super) fn hold_frame(&mut self, now: Instant, mut frame: HeldFrame) {
        if self.reading.holding {
            if self.gates() {
                frame.wait_for_scores();
            }
            self.hold.push(frame);
            self.act(now);
        } else {
            self.note_passed(&frame.unscanned);
        }
    }

    /// Notes what nobody has read of a frame that has left.
    pub(super) fn note_passed(&mut self, unscanned: &[Unscanned]) {
        let hides_sealed =
            self.reading.holding && self.hides_thinking() && self.dialect.hides_whole_fields();
        for &(channel, reason, bytes) in unscanned {
            if !(hides_sealed && reason == UnscannedReason::Encrypted) {
                self.note_unscanned(channel, reason, bytes);
            }
        }
    }

    /// Bytes that nobody can read: counted, and in enforce mode blocked unless policy lets them pass.
    pub(super) fn pass_unread(&mut self, now: Instant, frame: Frame, reason: UnscannedReason) {
        self.unreadable = true;
        let mut held = HeldFrame::new(frame, now);
        held.unscanned.push((None, reason, held.frame.raw.len() as u64));
        if self.reading.holding && self.plan().policy().on_unscanned == OnUnscanned::Block {
            return self.fail_closed();
        }
        self.hold_frame(now, held);
    }

    /// Carries out what was found, then lets go whatever is decided.
    pub(super) fn act(&mut self, now: Instant) {
        if !self.reading.holding || self.ended {
            return;
        }
        if self.plan().acts_on_outcomes() {
            self.act_on_outcomes();
        }
        if self.reading.blocked {
            if self.asks_again(now) {
                return;
            }
            self.action = Action::Block;
            return self.stop();
        }
        if self.reading.failed {
            return self.fail_closed();
        }
        while let Some(frame) = self.pop_decided() {
            self.release(now, &frame);
            if self.ended {
                return;
            }
        }
        if self.delivery == Delivery::Held
            && self.hold.bytes() > self.plan().settings().hold.max_bytes
        {
            self.stop_holding(now);
        }
    }

    fn pop_decided(&mut self) -> Option<HeldFrame> {
        let scoring = self.reading.scoring.as_deref();
        self.hold.pop_decided(Deciding { choices: &self.choices, scoring })
    }

    pub(super) fn deciding(&self) -> Deciding<'_> {
        Deciding { choices: &self.choices, scoring: self.reading.scoring.as_deref() }
    }

    fn release(&mut self, now: Instant, held: &HeldFrame) {
        let edited = redaction::edited(held, &self.choices, self.editing());
        let Some(edited) = edited.filter(|edited| self.leaves_signed_thinking_alone(held, edited))
        else {
            // A text that must be masked and cannot be: nothing of it may leave.
            self.action = Action::Block;
            return self.stop();
        };
        if edited.masked {
            self.action = self.action.max(Action::Redact);
        }
        if edited.hid {
            self.action = self.action.max(Action::HideThinking);
        }
        for &position in &edited.altered_thinking {
            if let Some(choice) = self.choices.get_mut(position) {
                choice.altered_thinking = true;
            }
        }
        for leaf in &held.leaves {
            if let Some(choice) = self.choices.get_mut(leaf.choice) {
                choice.masked |= edited.masked;
            }
            if let Shows::Source { source, span } = &leaf.shows
                && let Some(choice) = self.choices.get_mut(leaf.choice)
                && let Some(source) = choice.sources.get_mut(*source)
            {
                source.released = source.released.max(span.end);
            }
        }
        let Some(bytes) = edited.bytes else { return };
        self.vocabulary
            .note_sent(edited.data.as_deref().map_or_else(|| held.frame.data(), str::as_bytes));
        self.note_passed(&held.unscanned);
        self.write_seam(held);
        for &(position, finished) in &held.names {
            if let Some(choice) = self.choices.get_mut(position) {
                choice.named = true;
                choice.finished |= finished;
            }
        }
        self.usage_sent |= held.tells_usage;
        let waited = now.saturating_duration_since(held.arrived);
        if !waited.is_zero() && self.delivery == Delivery::Held {
            self.holds.push((held.waited_for.unwrap_or(HoldReason::Rules), waited));
        }
        let bytes = self.with_outcome(held, self.behind_seam(bytes));
        self.effects.push_back(Effect::Forward(bytes));
    }

    fn editing(&self) -> Editing<'_> {
        let spliced = self.again.as_deref().filter(|_| self.attempt > 0);
        Editing {
            dialect: self.dialect,
            mask: self.plan().policy().mask,
            hides_thinking: self.hides_thinking(),
            whole: self.reads_one_body() || matches!(&self.body, Body::Framed(Framer::Array(_))),
            splice: spliced.map(|again| &again.splice),
        }
    }

    /// Whether thinking is not delivered, from the beginning or by now.
    pub(super) fn hides_thinking(&self) -> bool {
        self.plan().hides_thinking() || self.reading.hides_from_here
    }

    /// Whether the body is one frame.
    pub(in crate::session) fn reads_one_body(&self) -> bool {
        matches!(&self.body, Body::Framed(Framer::Whole(_)))
    }

    /// Whether no signature is sent for thinking that was altered.
    fn leaves_signed_thinking_alone(&self, held: &HeldFrame, edited: &Edited) -> bool {
        let choice = |position: &usize| self.choices.get(*position);
        let mut altered = edited.altered_thinking.iter().filter_map(choice);
        let mut signs = held.signs.iter().filter_map(choice);
        self.plan().hides_thinking()
            || !(altered.any(|choice| choice.signed) || signs.any(|choice| choice.altered_thinking))
    }

    /// Frames have waited too long, or are too many.
    pub(super) fn stop_holding(&mut self, now: Instant) {
        let front = self.hold.front(self.deciding());
        match self.plan().settings().hold.on_deadline {
            OnDeadline::Block => self.fail_closed(),
            OnDeadline::Release => {
                self.action = self.action.max(Action::FailOpen);
                if let Some((HoldReason::Classifier, _)) = front
                    && let Some(scoring) = &mut self.reading.scoring
                {
                    // The rules have read it; what has no score is counted as such.
                    scoring.give_up();
                    self.act(now);
                    return self.end_if_over(now);
                }
                while let Some(mut frame) = self.hold.pop() {
                    let undecided = frame.leaves.iter().map(|leaf| leaf.json.len() as u64).sum();
                    frame.unscanned.push((None, UnscannedReason::Deadline, undecided));
                    self.unreadable = true;
                    self.release(now, &frame);
                }
            }
        }
    }
}
