//! The families that count what choices have come to.

use prometheus::{Histogram, IntCounterVec};

use super::{
    event::{AskAgainResult, ChoiceReport, ExchangeReport},
    metrics::{Registrar, label},
};
use crate::{
    policy::{Action, OutcomeAction},
    rules::Category,
    trace::{HealthNote, Outcome, Scenario},
};

/// Characters.
const LENGTHS: [f64; 9] = [0.0, 50.0, 200.0, 800.0, 2e3, 5e3, 10e3, 30e3, 100e3];

/// What policy may do about outcomes while an exchange goes on.
const LIVE_OUTCOMES: [(Outcome, OutcomeAction); 4] = [
    (Outcome::LeakyThinking, OutcomeAction::Hide),
    (Outcome::LeakyThinking, OutcomeAction::Block),
    (Outcome::SelfJailbreak, OutcomeAction::Block),
    (Outcome::Unsafe, OutcomeAction::Block),
];

const ASK_AGAIN_RESULTS: [AskAgainResult; 7] = [
    AskAgainResult::Answered,
    AskAgainResult::Blocked,
    AskAgainResult::ClientGone,
    AskAgainResult::Failed,
    AskAgainResult::NotSteerable,
    AskAgainResult::RequestTooLarge,
    AskAgainResult::TimedOut,
];

/// What choices have come to.
#[derive(Debug)]
pub(super) struct TraceMetrics {
    outcomes: IntCounterVec,
    harms: IntCounterVec,
    scenarios: IntCounterVec,
    health: IntCounterVec,
    attacks: IntCounterVec,
    would: IntCounterVec,
    outcome_acts: IntCounterVec,
    asked_again: IntCounterVec,
    cut_seen: Histogram,
}

// === impl TraceMetrics ===

impl TraceMetrics {
    pub(super) fn new(add: &Registrar<'_>) -> Result<Self, prometheus::Error> {
        let outcome = ["route", "mode", "outcome"];
        Ok(Self {
            outcomes: add.counters("traces_total", "Choices by outcome", &outcome)?,
            harms: add.counters(
                "trace_harm_total",
                "Choices by how actionable the harm in them is, 0 to 4",
                &["route", "mode", "harm"],
            )?,
            scenarios: add.counters(
                "trace_scenarios_total",
                "Choices whose safety is superficial, by scenario",
                &["route", "mode", "scenario"],
            )?,
            health: add.counters(
                "trace_health_total",
                "Choices by what is to be noted of their thinking",
                &["route", "note"],
            )?,
            attacks: add.counters(
                "attacks_total",
                "Choices of exchanges whose prompt attacks, by outcome",
                &["route", "mode", "attack", "outcome"],
            )?,
            would: add.counters(
                "would_actions_total",
                "Exchanges by what enforce mode would have done, or has",
                &["route", "mode", "action"],
            )?,
            outcome_acts: add.counters(
                "outcome_actions_total",
                "Exchanges that policy has changed for an outcome, or would have in enforce mode",
                &["route", "mode", "outcome", "action"],
            )?,
            asked_again: add.counters(
                "asked_again_total",
                "Exchanges in which the model was to be asked again, by what came of it",
                &["route", "result"],
            )?,
            cut_seen: add.histogram(
                "cut_seen_characters",
                "Characters of thinking and answer before the place where enforce mode would have ended an exchange, \
                 or has",
                &LENGTHS,
            )?,
        })
    }

    pub(super) fn start_at_zero(&self, route: &str, mode: &str) {
        for outcome in Outcome::ALL {
            self.outcomes.with_label_values(&[route, mode, outcome.name()]);
        }
        for harm in ["0", "1", "2", "3", "4"] {
            self.harms.with_label_values(&[route, mode, harm]);
        }
        for scenario in Scenario::ALL {
            self.scenarios.with_label_values(&[route, mode, scenario.name()]);
        }
        for note in HealthNote::ALL {
            self.health.with_label_values(&[route, note.name()]);
        }
        for (outcome, action) in LIVE_OUTCOMES {
            self.outcome_acts.with_label_values(&[route, mode, outcome.name(), action.name()]);
        }
        for result in ASK_AGAIN_RESULTS {
            self.asked_again.with_label_values(&[route, &label(result)]);
        }
        for action in [Action::Forward, Action::Redact, Action::Block] {
            self.would.with_label_values(&[route, mode, action.name()]);
        }
    }

    pub(super) fn note(&self, route: &str, report: &ExchangeReport) {
        let mode = report.mode.name();
        self.would.with_label_values(&[route, mode, report.would.name()]).inc();
        if let Some(act) = &report.outcome_act {
            let labels = [route, mode, act.outcome.name(), act.action.name()];
            self.outcome_acts.with_label_values(&labels).inc();
        }
        if let Some(asked) = &report.asked_again {
            self.asked_again.with_label_values(&[route, &label(asked.result)]).inc();
        }
        if let Some(cut) = &report.cut {
            #[expect(clippy::cast_precision_loss, reason = "a length in a bucket")]
            self.cut_seen.observe(cut.seen_chars as f64);
        }
        let attacks: Vec<Category> = Category::ATTACKS
            .into_iter()
            .filter(|&attack| {
                report.prompt_findings.iter().any(|finding| finding.category == Some(attack))
            })
            .collect();
        for choice in report.all_choices() {
            self.note_choice(route, mode, choice);
            for attack in &attacks {
                let labels = [route, mode, attack.name(), choice.outcome.name()];
                self.attacks.with_label_values(&labels).inc();
            }
        }
    }

    fn note_choice(&self, route: &str, mode: &str, choice: &ChoiceReport) {
        self.outcomes.with_label_values(&[route, mode, choice.outcome.name()]).inc();
        self.harms.with_label_values(&[route, mode, &choice.harm.to_string()]).inc();
        if let Some(scenario) = choice.scenario {
            self.scenarios.with_label_values(&[route, mode, scenario.name()]).inc();
        }
        for note in &choice.health {
            self.health.with_label_values(&[route, note.name()]).inc();
        }
    }
}
