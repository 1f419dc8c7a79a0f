//! One exchange under one policy: what the client would have got, when, and what was found.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use thinkgate::{
    classify::Readers,
    dialect::Endpoint,
    policy::{Action, Mode, Verdict},
    record::{Cut, ExchangeReport, Finding},
    scorer::LocalScorer,
    session::{BodyEnd, Delivery, Effect, Identity, Plan, RequestDecision, ResponseHead, Session},
    trace::Outcome,
};

use super::{super::plan::Loaded, exchange::Exchange};

/// A configuration, ready to read along.
pub(super) struct Guard {
    loaded: Loaded,
    scorer: Option<LocalScorer>,
    /// By the route's name.
    plans: HashMap<String, Plans>,
}

/// A route's plans.
#[derive(Clone)]
struct Plans {
    as_configured: Arc<Plan>,
    /// Its rules with nothing carried out, for what the client was sent.
    only_read: Arc<Plan>,
}

/// What became of an exchange.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Fate {
    pub(super) mode: Mode,
    /// What was done.
    pub(super) action: Action,
    /// What enforce mode would have done.
    pub(super) would: Action,
    pub(super) verdict: Verdict,
    /// Of every choice.
    pub(super) outcomes: Vec<Outcome>,
    /// Where enforce mode would have ended it, or has.
    pub(super) cut: Option<Cut>,
    /// Detector, id and channel of what was flagged, each once.
    pub(super) flags: BTreeSet<String>,
    /// Matches that ask for a mask or a block and stand in what the client was sent.
    pub(super) leaked: usize,
    /// Bytes of the body that the client was sent.
    pub(super) sent_bytes: u64,
    pub(super) sent_sha256: String,
    /// How long frames waited, by the capture's clock, in milliseconds: the longest, and all together.
    pub(super) longest_wait_ms: u64,
    pub(super) waited_ms: u64,
}

/// A body on its way to a client that only counts.
struct Run<'g> {
    guard: &'g mut Guard,
    session: Session,
    readers: Option<Readers>,
    sent: Vec<u8>,
    waits: Vec<Duration>,
    stopped: bool,
}

// === impl Guard ===

impl Guard {
    pub(super) fn new(loaded: Loaded, scorer: Option<LocalScorer>) -> Self {
        Self { loaded, scorer, plans: HashMap::new() }
    }

    /// Replays an exchange; `begin` may be any time.
    pub(super) fn replay(&mut self, exchange: &Exchange, begin: Instant) -> Fate {
        let plans = self.plans(&exchange.path);
        let endpoint = exchange.endpoint();
        let session = Session::new(plans.as_configured, endpoint, Identity::default());
        let readers = self.scorer.as_ref().map(|scorer| scorer.readers(false));
        let (sent, waits) = (Vec::new(), Vec::new());
        let mut run = Run { guard: self, session, readers, sent, waits, stopped: false };
        run.exchange(exchange, begin);
        let report = run.session.report();
        let Run { sent, waits, .. } = run;
        let leaked = if report.verdict < Verdict::Redact {
            0
        } else {
            leaked(plans.only_read, exchange, &sent, begin)
        };
        Fate::new(&report, leaked, &sent, &waits)
    }

    fn plans(&mut self, path: &str) -> Plans {
        let Self { loaded, plans, .. } = self;
        let route = loaded.config().route(path);
        if let Some(known) = plans.get(&route.name) {
            return known.clone();
        }
        let new = Plans {
            as_configured: loaded.as_configured(route),
            only_read: loaded.only_read(route),
        };
        plans.insert(route.name.clone(), new.clone());
        new
    }
}

/// What asks for a mask or a block and stands in what was sent all the same.
fn leaked(plan: Arc<Plan>, exchange: &Exchange, sent: &[u8], now: Instant) -> usize {
    let mut session = Session::new(plan, exchange.endpoint(), Identity::default());
    session.on_response(&exchange.head());
    session.on_chunk(now, Bytes::copy_from_slice(sent));
    session.on_end(now, BodyEnd::Complete);
    let report = session.report();
    let findings = report.choices.iter().flat_map(|choice| &choice.findings);
    findings.filter(|finding| finding.verdict >= Verdict::Redact && !finding.repeat).count()
}

// === impl Exchange ===

impl Exchange {
    /// What was asked; none for a body without its request, whose first frames tell the dialect.
    fn endpoint(&self) -> Option<Endpoint> {
        Endpoint::of_path(&self.path).filter(|_| self.is_captured || self.request.is_some())
    }

    fn head(&self) -> ResponseHead {
        ResponseHead {
            status: self.status,
            content_type: self.content_type.clone(),
            undecodable: false,
        }
    }
}

// === impl Run ===

impl Run<'_> {
    fn exchange(&mut self, exchange: &Exchange, begin: Instant) {
        if let Some(request) = &exchange.request {
            let decision = self.session.on_request(request.clone());
            self.score(begin);
            if let RequestDecision::Respond(response) = decision {
                self.sent.extend_from_slice(&response.body);
                return;
            }
        }
        let delivery = self.session.on_response(&exchange.head());
        let mut now = begin;
        for (at, chunk) in &exchange.chunks {
            now = begin + *at;
            self.pass_deadlines(now);
            if self.stopped {
                return;
            }
            if delivery == Delivery::AsRead {
                self.sent.extend_from_slice(chunk);
            }
            self.session.on_chunk(now, chunk.clone());
            self.score(now);
            self.take_effects();
        }
        if !self.stopped {
            self.session.on_end(now, exchange.end);
            self.score(now);
            self.take_effects();
        }
    }

    /// Tells the session of the deadlines that pass before `now`.
    fn pass_deadlines(&mut self, now: Instant) {
        while let Some(due) = self.session.deadline().filter(|&due| due <= now && !self.stopped) {
            self.session.on_timeout(due);
            self.take_effects();
        }
    }

    fn score(&mut self, now: Instant) {
        if let (Some(scorer), Some(readers)) = (&mut self.guard.scorer, &mut self.readers) {
            scorer.follow(readers, &mut self.session, now);
        }
    }

    fn take_effects(&mut self) {
        while let Some(effect) = self.session.next_effect() {
            match effect {
                Effect::Forward(bytes) => self.sent.extend_from_slice(&bytes),
                Effect::Stop(bytes) => {
                    self.sent.extend_from_slice(&bytes);
                    self.stopped = true;
                }
                Effect::Respond(response) => {
                    self.sent.clear();
                    self.sent.extend_from_slice(&response.body);
                    self.stopped = true;
                }
            }
        }
        let waits = self.session.take_progress().holds;
        self.waits.extend(waits.into_iter().map(|(_, waited)| waited));
    }
}

// === impl Fate ===

impl Fate {
    fn new(report: &ExchangeReport, leaked: usize, sent: &[u8], waits: &[Duration]) -> Self {
        let own = report.choices.iter().flat_map(|choice| &choice.findings);
        let flagged = |finding: &&Finding| finding.verdict >= Verdict::Flag;
        let name = |finding: &Finding| {
            format!("{}:{}@{}", finding.detector, finding.id, finding.channel.name())
        };
        let millis = |wait: Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        Self {
            mode: report.mode,
            action: report.action,
            would: report.would,
            verdict: report.verdict,
            outcomes: report.choices.iter().map(|choice| choice.outcome).collect(),
            cut: report.cut,
            flags: own.chain(&report.prompt_findings).filter(flagged).map(name).collect(),
            leaked,
            sent_bytes: sent.len() as u64,
            sent_sha256: hex::encode(Sha256::digest(sent)),
            longest_wait_ms: waits.iter().copied().max().map_or(0, millis),
            waited_ms: millis(waits.iter().sum()),
        }
    }

    /// Whether the same was done, and would be.
    pub(super) fn acts_as(&self, other: &Self) -> bool {
        (self.action, self.would) == (other.action, other.would)
    }

    /// What differs from `before`.
    pub(super) fn differences(&self, before: &Self) -> Vec<&'static str> {
        let all = [
            ("mode", self.mode != before.mode),
            ("action", self.action != before.action),
            ("would", self.would != before.would),
            ("verdict", self.verdict != before.verdict),
            ("outcomes", self.outcomes != before.outcomes),
            ("cut", self.cut != before.cut),
            ("flags", self.flags != before.flags),
            ("leaked", self.leaked != before.leaked),
            ("sent", self.sent_sha256 != before.sent_sha256),
            (
                "waits",
                (self.longest_wait_ms, self.waited_ms)
                    != (before.longest_wait_ms, before.waited_ms),
            ),
        ];
        all.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differs_in_what_it_names() {
        let report = ExchangeReport {
            dialect: thinkgate::dialect::Dialect::OpenAiChat,
            mode: Mode::Shadow,
            model: None,
            upstream_error: false,
            choices: Vec::new(),
            prompt: None,
            prompt_findings: Vec::new(),
            verdict: Verdict::Pass,
            action: Action::Forward,
            would: Action::Forward,
            cut: None,
            bytes: thinkgate::record::ByteCounts::default(),
            usage: None,
        };
        let fate = Fate::new(&report, 0, b"abc", &[]);
        assert!(fate.acts_as(&fate) && fate.differences(&fate).is_empty());
        let longer =
            Fate::new(&report, 0, b"abcd", &[Duration::from_millis(30), Duration::from_millis(9)]);
        assert_eq!(longer.differences(&fate), ["sent", "waits"]);
        assert_eq!((longer.longest_wait_ms, longer.waited_ms), (30, 39));
        assert!(longer.acts_as(&fate));
        let blocks = ExchangeReport { would: Action::Block, verdict: Verdict::Block, ..report };
        let blocks = Fate::new(&blocks, 0, b"abc", &[]);
        assert_eq!(blocks.differences(&fate), ["would", "verdict"]);
        assert!(!blocks.acts_as(&fate));
    }
}
