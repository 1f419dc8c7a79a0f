//! The last of an exchange: its record, which waits for the classifier's last scores while the client waits for nothing.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, time::Instant};

use super::{handler::Proxy, remote::Consultation};
use crate::{
    policy::Mode,
    record::{
        ByteCounts, ExchangeReport,
        audit::{AuditLine, ExchangeHead},
    },
    scorer::Lane,
    session::Session,
};

/// An exchange that is over for the client, and not yet recorded.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) proxy: Arc<Proxy>,
    pub(super) head: ExchangeHead,
    pub(super) mode: Mode,
    pub(super) session: Option<Box<Session>>,
    /// Bytes that the shell has counted itself.
    pub(super) own_bytes: ByteCounts,
    pub(super) took: Duration,
}

// === impl Closing ===

impl Closing {
    /// Records the exchange; where scores or answers are still to come, once they have.
    pub(super) fn finish(self, lane: Option<Lane>, consultation: Option<Consultation>) {
        let is_settled = lane.as_ref().is_none_or(Lane::is_settled)
            && consultation.as_ref().is_none_or(Consultation::is_settled);
        // Without a runtime nobody is left who could wait.
        if is_settled || Handle::try_current().is_err() {
            return self.record(lane.as_ref(), consultation.as_ref());
        }
        let tasks = self.proxy.closing.clone();
        tasks.spawn(self.settle(lane, consultation));
    }

    async fn settle(self, lane: Option<Lane>, consultation: Option<Consultation>) {
        if let Some(lane) = &lane {
            lane.settle().await;
        }
        if let Some(consultation) = &consultation {
            consultation.settle().await;
        }
        self.record(lane.as_ref(), consultation.as_ref());
    }

    /// Writes metrics, audit line and log line.
    fn record(mut self, lane: Option<&Lane>, consultation: Option<&Consultation>) {
        let mut report = match &mut self.session {
            Some(session) => {
                let now = Instant::now();
                if let Some(lane) = lane {
                    lane.give_up();
                    lane.follow(now, session);
                }
                if let Some(consultation) = consultation {
                    consultation.follow(now, session);
                }
                if lane.is_some() || consultation.is_some() {
                    session.close();
                    self.proxy.metrics.note_progress(&session.take_progress());
                }
                session.report()
            }
            None => ExchangeReport::unread(self.mode),
        };
        add_bytes(&mut report.bytes, std::mem::take(&mut self.own_bytes));
        let Self { proxy, head, took, .. } = &self;
        proxy.metrics.exchange_ends(&head.route, head.status, *took, &report);
        self.log(&report);
        self.audit(report);
    }

    fn log(&self, report: &ExchangeReport) {
        let head = &self.head;
        let findings: usize = report.choices.iter().map(|choice| choice.findings.len()).sum();
        tracing::info!(
            id = head.id,
            route = head.route,
            dialect = report.dialect.name(),
            mode = report.mode.name(),
            status = head.status,
            end = ?head.end,
            duration_ms = head.duration_ms,
            choices = report.choices.len(),
            findings = findings + report.prompt_findings.len(),
            verdict = report.verdict.name(),
            action = report.action.name(),
            would = report.would.name(),
            "exchange"
        );
    }

    fn audit(&self, mut report: ExchangeReport) {
        let Some(audit) = &self.proxy.audit else { return };
        // The prompt's text stands in the line once, however many choices it has.
        let earlier = report.asked_again.iter_mut().flat_map(|asked| &mut asked.choices);
        for choice in report.choices.iter_mut().chain(earlier) {
            if let Some(prompt) = &mut choice.prompt {
                prompt.text = None;
            }
        }
        match AuditLine::new(&self.head, &report, audit.hash_key().kind()).to_bytes() {
            Ok(line) => audit.write(line),
            Err(_) => self.proxy.metrics.note_audit_dropped(1),
        }
    }
}

pub(super) fn add_bytes(sum: &mut ByteCounts, more: ByteCounts) {
    for (channel, bytes) in more.scanned {
        *sum.scanned.entry(channel).or_default() += bytes;
    }
    for (channel, bytes) in more.released {
        *sum.released.entry(channel).or_default() += bytes;
    }
    for (key, bytes) in more.unscanned {
        *sum.unscanned.entry(key).or_default() += bytes;
    }
}
