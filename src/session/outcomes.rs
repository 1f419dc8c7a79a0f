//! What is done about the outcome of a trace: at once where findings have made it plain, else told at the end.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use crate::{
    policy::{Mode, OutcomeAction, Policy},
    record::{ChoiceReport, Finding, OutcomeAct},
    trace::Outcome,
};

use super::{
    effect::{Delivery, Effect},
    hold_back::HeldFrame,
    judgement::plain_outcomes,
    machine::Session,
    report,
};

/// The name of the header, and of the comment in a stream, that tells the outcome.
pub const OUTCOME_FIELD: &str = "x-thinkgate-outcome";

impl Session {
    /// Does what policy asks for of the outcomes that findings have made plain by now.
    pub(super) fn act_on_outcomes(&mut self) {
        if !std::mem::take(&mut self.reading.has_news) {
            return;
        }
        let plan = Arc::clone(self.plan());
        let policy = plan.policy();
        let is_enforced =
            |finding: &Finding| policy.mode_of(finding.channel, finding.category) == Mode::Enforce;
        let own = self.choices.iter().filter(|choice| self.is_current(choice));
        let acts = own.filter_map(|choice| {
            let mut findings = report::choice_findings(self, choice);
            findings.retain(is_enforced);
            act_on(policy, choice.index, &findings)
        });
        match gravest(acts).map(|act| act.action) {
            Some(OutcomeAction::Block) => self.reading.blocked = true,
            Some(OutcomeAction::Hide) => self.hide_from_here(),
            Some(OutcomeAction::Flag | OutcomeAction::Off) | None => {}
        }
    }

    /// A frame's bytes with the outcomes in them, where callers are told: in the chunk that ends the last choice, else
    /// in a comment before the end mark.
    pub(super) fn with_outcome(&mut self, held: &HeldFrame, bytes: Bytes) -> Bytes {
        let tells = self.plan().tells_outcomes() && !self.told_outcome;
        if !tells || self.delivery != Delivery::Held || !self.dialect.is_completions() {
            return bytes;
        }
        let ends = held.names.iter().any(|&(_, finished)| finished)
            && self.last_choices().all(|choice| choice.finished);
        if !ends && !held.is_end_mark() {
            return bytes;
        }
        let outcomes = self.outcomes();
        if ends && let Some(told) = held.with_member(&bytes, &member(&outcomes)) {
            self.told_outcome = true;
            return told;
        }
        if held.is_end_mark() {
            self.told_outcome = true;
            let comment = format!(": {OUTCOME_FIELD}: {}\n\n", names(&outcomes));
            self.effects.push_back(Effect::Forward(comment.into()));
        }
        bytes
    }

    /// Tells the outcomes of a body that is delivered whole.
    pub(super) fn tell_outcome_in_head(&mut self) {
        if self.plan().tells_outcomes() && self.delivery == Delivery::Whole {
            let outcomes = self.outcomes();
            if !outcomes.is_empty() {
                self.effects.push_back(Effect::Tell(names(&outcomes)));
            }
        }
    }

    /// What the choices have come to, as far as it is known.
    fn outcomes(&self) -> Vec<(u32, Outcome)> {
        let choices = report::report(self, false).choices;
        choices.into_iter().map(|choice| (choice.index, choice.outcome)).collect()
    }

    /// Delivers no more thinking. What was sent stays sent.
    fn hide_from_here(&mut self) {
        if std::mem::replace(&mut self.reading.hides_from_here, true) {
            return;
        }
        for choice in &mut self.choices {
            choice.hide_from_here();
        }
    }
}

/// The outcomes as a header, or a comment, tells them: in the order of the choices.
fn names(outcomes: &[(u32, Outcome)]) -> String {
    outcomes.iter().map(|(_, outcome)| outcome.name()).collect::<Vec<_>>().join(", ")
}

/// The outcomes as a member of a chunk.
fn member(outcomes: &[(u32, Outcome)]) -> String {
    let outcomes: Vec<_> = outcomes
        .iter()
        .map(|&(index, outcome)| json!({"index": index, "outcome": outcome.name()}))
        .collect();
    format!("\"thinkgate\":{}", json!({ "outcomes": outcomes }))
}

/// What policy does, or would do in enforce mode, about an outcome that is plain in one of the choices.
pub(super) fn act_in(policy: &Policy, choices: &[ChoiceReport]) -> Option<OutcomeAct> {
    gravest(choices.iter().filter_map(|choice| act_on(policy, choice.index, &choice.findings)))
}

pub(super) fn act_on(policy: &Policy, choice: u32, findings: &[Finding]) -> Option<OutcomeAct> {
    let acts = plain_outcomes(findings).into_iter().map(|(outcome, finding)| OutcomeAct {
        outcome,
        action: policy.outcomes.action(outcome),
        choice,
        channel: finding.channel,
        char: finding.end_char,
    });
    gravest(acts.filter(|act| act.action.is_live()))
}

/// The gravest, and of equal ones the first in the order of the exchange.
fn gravest(acts: impl Iterator<Item = OutcomeAct>) -> Option<OutcomeAct> {
    acts.reduce(|gravest, act| if act.action > gravest.action { act } else { gravest })
}
