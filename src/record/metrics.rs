//! The Prometheus families, all of them, with labels from closed sets only.
//!
//! Nothing that a caller or a model wrote becomes a label: routes are the configured ones, codes are numbers,
//! everything else is one of our own enums.

use std::time::Duration;

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder, core::Collector,
};

use serde::Serialize;
use smallvec::SmallVec;

use super::capture::CaptureOutcome;
use super::event::{
    ByteCounts, ChannelReport, ClassifierFailure, ExchangeReport, Finding, HoldReason, Progress,
    RemoteFailure, UnscannedReason,
};
use super::trace_metrics::TraceMetrics;
use crate::{
    channel::Channel,
    dialect::Dialect,
    policy::{Mode, Verdict},
};

/// The label of bytes that belong to no channel.
const UNKNOWN_CHANNEL: &str = "unknown";

/// Seconds from a microsecond to a quarter of a minute: delays that thinkgate adds.
const DELAYS: [f64; 14] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.01, 0.05, 0.25,
    1.0, 5.0, 15.0,
];

/// Seconds that models take.
const DURATIONS: [f64; 14] =
    [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0];

/// Every reason for which bytes pass unread.
const UNSCANNED_REASONS: [UnscannedReason; 12] = [
    UnscannedReason::ModeOff,
    UnscannedReason::Path,
    UnscannedReason::ContentType,
    UnscannedReason::Encoding,
    UnscannedReason::Shape,
    UnscannedReason::Field,
    UnscannedReason::FrameTooLarge,
    UnscannedReason::BodyTooLarge,
    UnscannedReason::Encrypted,
    UnscannedReason::Media,
    UnscannedReason::DetectorFailed,
    UnscannedReason::Deadline,
];

/// Every reason for which bytes wait.
const HOLD_REASONS: [HoldReason; 6] = [
    HoldReason::Rules,
    HoldReason::Tag,
    HoldReason::Undecided,
    HoldReason::ToolCall,
    HoldReason::Body,
    HoldReason::Classifier,
];

/// Every reason for which a question to a guard model has no answer.
const REMOTE_FAILURES: [RemoteFailure; 6] = [
    RemoteFailure::Connection,
    RemoteFailure::Malformed,
    RemoteFailure::Overflow,
    RemoteFailure::Status,
    RemoteFailure::Timeout,
    RemoteFailure::TooLarge,
];

/// Every family.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    request_duration: Histogram,
    time_to_first_token: Histogram,
    added_delay: Histogram,
    traces: TraceMetrics,
    findings: IntCounterVec,
    verdicts: IntCounterVec,
    actions: IntCounterVec,
    scanned_bytes: IntCounterVec,
    released_bytes: IntCounterVec,
    unscanned_released_bytes: IntCounterVec,
    held_bytes: IntGaugeVec,
    hold_duration: HistogramVec,
    classifier: ClassifierMetrics,
    remote: RemoteMetrics,
    streams_active: IntGauge,
    upstream_errors: IntCounterVec,
    audit_dropped: IntCounter,
    captures: IntCounterVec,
    config_last_reload_successful: IntGauge,
}

/// The classifier's families.
#[derive(Debug)]
pub struct ClassifierMetrics {
    /// Bytes of text that were scored.
    pub scored_bytes: IntCounter,
    /// Seconds that a batch took.
    pub duration: Histogram,
    /// Windows that wait for their score.
    pub queue_depth: IntGauge,
    /// Windows without a score, by why.
    pub failures: IntCounterVec,
    /// Windows that the second model read.
    pub second_windows: IntCounter,
}

/// The families of the guard model elsewhere.
#[derive(Debug)]
pub struct RemoteMetrics {
    /// Seconds from a question to its answer or its failure.
    pub duration: Histogram,
    /// Questions that wait for their answer.
    pub in_flight: IntGauge,
    /// Questions without an answer, by why.
    failures: IntCounterVec,
}

/// Delays that an exchange gathers: as many chunks as a fast stream has between two looks at its figures.
const GATHERED_DELAYS: usize = 15;

/// How long one exchange's chunks stayed here, not yet in the family.
#[derive(Debug)]
pub struct AddedDelays {
    family: Histogram,
    /// In seconds.
    noted: SmallVec<[f32; GATHERED_DELAYS]>,
}

/// Which side an error comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorSource {
    /// The model server, or the way to it.
    Upstream,
    /// The caller.
    Downstream,
    /// thinkgate itself.
    Internal,
}

/// What went wrong between thinkgate and the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// No connection could be made.
    Connect,
    /// No connection stood in time.
    ConnectTimeout,
    /// The upstream was silent for too long.
    IdleTimeout,
    /// The connection broke before the response's head or inside its body.
    Reset,
    /// What came is no HTTP.
    Protocol,
    /// The body does not decode by its own Content-Encoding.
    Decode,
    /// The caller went away before the end.
    ClientGone,
    /// The request could not be put together.
    Request,
}

// === impl Metrics ===

impl Metrics {
    /// All families at zero.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let add = Registrar { registry: &registry };
        let metrics = Self {
            requests: add.counters(
                "requests_total",
                "Requests by route, dialect and the status code that the client got",
                &["route", "dialect", "code"],
            )?,
            request_duration: add.histogram(
                "request_duration_seconds",
                "From the request's head to the response's end",
                &DURATIONS,
            )?,
            time_to_first_token: add.histogram(
                "time_to_first_token_seconds",
                "From the request's head to the first text of an inspected response",
                &DURATIONS,
            )?,
            added_delay: add.histogram(
                "added_delay_seconds",
                "From an upstream frame read to the same frame handed to the client's connection",
                &DELAYS,
            )?,
            traces: TraceMetrics::new(&add)?,
            findings: add.counters(
                "findings_total",
                "Findings",
                &["detector", "category", "severity", "channel"],
            )?,
            verdicts: add.counters(
                "verdicts_total",
                "Channels of choices by their gravest verdict",
                &["mode", "channel", "verdict"],
            )?,
            actions: add.counters("actions_total", "Exchanges by action", &["mode", "action"])?,
            scanned_bytes: add.counters(
                "scanned_bytes_total",
                "Bytes of channel text that every detector has read",
                &["channel"],
            )?,
            released_bytes: add.counters(
                "released_bytes_total",
                "Bytes written to the client (the prompt's: to the upstream)",
                &["channel"],
            )?,
            unscanned_released_bytes: add.counters(
                "unscanned_released_bytes_total",
                "Bytes written that no detector has read",
                &["channel", "reason"],
            )?,
            held_bytes: add.gauges("held_bytes", "Bytes of frames held now", &["why"])?,
            hold_duration: add.histograms(
                "hold_seconds",
                "How long released frames had waited",
                &DELAYS,
                &["why"],
            )?,
            classifier: ClassifierMetrics::new(&add)?,
            remote: RemoteMetrics::new(&add)?,
            streams_active: add.gauge("streams_active", "Exchanges that are open now")?,
            upstream_errors: add.counters(
                "upstream_errors_total",
                "Exchanges that broke, by side and kind",
                &["source", "kind"],
            )?,
            audit_dropped: add
                .counter("audit_dropped_total", "Audit lines that could not be written")?,
            captures: add.counters(
                "captures_total",
                "Exchanges that were to be captured, by what became of that",
                &["outcome"],
            )?,
            config_last_reload_successful: add.gauge(
                "config_last_reload_successful",
                "Whether the configuration that was last read is the one that holds",
            )?,
            registry: registry.clone(),
        };
        let build = add.gauges("build_info", "The build that runs", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        metrics.config_last_reload_successful.set(1);
        metrics.start_at_zero();
        Ok(metrics)
    }

    /// Makes the closed label sets visible before anything was counted, so that a rate can start at zero.
    fn start_at_zero(&self) {
        for channel in Channel::ALL {
            self.scanned_bytes.with_label_values(&[channel.name()]);
        }
        for channel in Channel::ALL.map(Channel::name).into_iter().chain([UNKNOWN_CHANNEL]) {
            self.released_bytes.with_label_values(&[channel]);
            for reason in UNSCANNED_REASONS {
                self.unscanned_released_bytes.with_label_values(&[channel, &label(reason)]);
            }
        }
        for why in HOLD_REASONS {
            self.held_bytes.with_label_values(&[&label(why)]);
            self.hold_duration.with_label_values(&[&label(why)]);
        }
        for kind in [
            ErrorKind::Connect,
            ErrorKind::ConnectTimeout,
            ErrorKind::IdleTimeout,
            ErrorKind::Reset,
            ErrorKind::Protocol,
            ErrorKind::Decode,
        ] {
            self.upstream_errors.with_label_values(&[ErrorSource::Upstream.name(), kind.name()]);
        }
        for reason in ["error", "deadline", "overflow"] {
            self.classifier.failures.with_label_values(&[reason]);
            self.classifier.failures.with_label_values(&[&of_second(reason)]);
        }
        for failure in REMOTE_FAILURES {
            self.remote.failures.with_label_values(&[&label(failure)]);
        }
        for outcome in CaptureOutcome::ALL {
            self.captures.with_label_values(&[&label(outcome)]);
        }
    }

    /// The exposition, as Prometheus reads it.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }

    /// The classifier's families.
    #[must_use]
    pub fn classifier(&self) -> &ClassifierMetrics {
        &self.classifier
    }

    /// Notes that the classifier has no scores for a text, or not for all of it.
    pub fn note_classifier_failure(&self, failure: ClassifierFailure) {
        self.classifier.failures.with_label_values(&[&label(failure)]).inc();
    }

    /// Makes a route's outcomes visible before there was any, so that a rate can start at zero.
    pub fn route_begins(&self, route: &str, mode: Mode) {
        self.traces.start_at_zero(route, mode.name());
        for channel in Channel::ALL {
            for verdict in Verdict::ALL {
                self.verdicts.with_label_values(&[mode.name(), channel.name(), verdict.name()]);
            }
        }
    }

    /// Notes that an exchange goes on without the second model's scores.
    pub fn note_second_failure(&self, failure: ClassifierFailure) {
        self.classifier.failures.with_label_values(&[&of_second(&label(failure))]).inc();
    }

    /// The families of the guard model elsewhere.
    #[must_use]
    pub fn remote(&self) -> &RemoteMetrics {
        &self.remote
    }

    /// Notes that a question to the guard model has no answer.
    pub fn note_remote_failure(&self, failure: RemoteFailure) {
        self.remote.failures.with_label_values(&[&label(failure)]).inc();
    }

    /// Notes that an exchange has begun.
    pub fn exchange_begins(&self) {
        self.streams_active.inc();
    }

    /// Notes an exchange's end.
    pub fn exchange_ends(&self, route: &str, code: u16, took: Duration, report: &ExchangeReport) {
        self.streams_active.dec();
        self.request_duration.observe(took.as_secs_f64());
        let code = if (100..=599).contains(&code) { code.to_string() } else { "other".to_owned() };
        self.requests.with_label_values(&[route, report.dialect.name(), &code]).inc();
        if report.dialect == Dialect::Unknown {
            return;
        }
        let mode = report.mode.name();
        self.actions.with_label_values(&[mode, report.action.name()]).inc();
        if let Some(prompt) = &report.prompt {
            self.note_verdict(mode, Channel::Prompt, prompt);
        }
        self.traces.note(route, report);
        for choice in report.all_choices() {
            self.note_verdict(mode, Channel::Thinking, &choice.thinking);
            self.note_verdict(mode, Channel::Answer, &choice.answer);
            self.note_verdict(mode, Channel::ToolCall, &choice.tool_call);
            self.note_verdict(mode, Channel::Refusal, &choice.refusal);
        }
    }

    fn note_verdict(&self, mode: &str, channel: Channel, report: &ChannelReport) {
        if report.chars > 0 {
            let labels = [mode, channel.name(), report.verdict.name()];
            self.verdicts.with_label_values(&labels).inc();
        }
    }

    /// Notes what an open exchange has shown since the last time.
    pub fn note_progress(&self, progress: &Progress) {
        self.note_bytes(&progress.bytes);
        for finding in &progress.findings {
            self.note_finding(finding);
        }
        for (why, waited) in &progress.holds {
            self.hold_duration.with_label_values(&[&label(why)]).observe(waited.as_secs_f64());
        }
        for &failure in &progress.classifier_failures {
            self.note_classifier_failure(failure);
        }
    }

    /// Notes bytes by what became of them.
    pub fn note_bytes(&self, bytes: &ByteCounts) {
        for (channel, &count) in &bytes.scanned {
            self.scanned_bytes.with_label_values(&[channel.name()]).inc_by(count);
        }
        for (channel, &count) in &bytes.released {
            self.released_bytes.with_label_values(&[channel_name(*channel)]).inc_by(count);
        }
        for ((channel, reason), &count) in &bytes.unscanned {
            self.unscanned_released_bytes
                .with_label_values(&[channel_name(*channel), &label(*reason)])
                .inc_by(count);
        }
    }

    fn note_finding(&self, finding: &Finding) {
        let category = finding.category.map_or_else(|| "none".to_owned(), label);
        let severity = label(finding.severity);
        let labels = [finding.detector, &category, &severity, finding.channel.name()];
        self.findings.with_label_values(&labels).inc();
    }

    /// Replaces what an exchange holds: `before` is no longer held, `now` is.
    pub fn note_held(&self, before: Option<(HoldReason, u64)>, now: Option<(HoldReason, u64)>) {
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        if let Some((why, bytes)) = before {
            self.held_bytes.with_label_values(&[&label(why)]).sub(signed(bytes));
        }
        if let Some((why, bytes)) = now {
            self.held_bytes.with_label_values(&[&label(why)]).add(signed(bytes));
        }
    }

    /// Notes how long after the request the first text came.
    pub fn note_first_token(&self, after: Duration) {
        self.time_to_first_token.observe(after.as_secs_f64());
    }

    /// How long chunks stayed here, for one exchange: nothing is shared until it is flushed.
    #[must_use]
    pub fn added_delays(&self) -> AddedDelays {
        AddedDelays { family: self.added_delay.clone(), noted: SmallVec::new() }
    }

    /// Notes an exchange that broke.
    pub fn note_error(&self, source: ErrorSource, kind: ErrorKind) {
        self.upstream_errors.with_label_values(&[source.name(), kind.name()]).inc();
    }

    /// Notes audit lines that could not be written.
    pub fn note_audit_dropped(&self, lines: usize) {
        self.audit_dropped.inc_by(lines as u64);
    }

    /// Notes what became of an exchange that was to be captured.
    pub fn note_capture(&self, outcome: CaptureOutcome) {
        self.captures.with_label_values(&[&label(outcome)]).inc();
    }

    /// Notes whether the configuration that was last read is the one that holds.
    pub fn note_reload(&self, successful: bool) {
        self.config_last_reload_successful.set(i64::from(successful));
    }

    /// How many exchanges are open.
    #[must_use]
    pub fn streams_active(&self) -> i64 {
        self.streams_active.get()
    }
}

// === impl ClassifierMetrics, RemoteMetrics ===

impl ClassifierMetrics {
    fn new(add: &Registrar<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            scored_bytes: add
                .counter("classifier_scored_bytes_total", "Bytes of text that were scored")?,
            duration: add.histogram(
                "classifier_duration_seconds",
                "Seconds that a batch took",
                &DELAYS,
            )?,
            queue_depth: add
                .gauge("classifier_queue_depth", "Windows that wait for their score")?,
            failures: add.counters(
                "classifier_failures_total",
                "Windows without a score",
                &["reason"],
            )?,
            second_windows: add
                .counter("classifier_second_windows_total", "Windows that the second model read")?,
        })
    }
}

impl RemoteMetrics {
    fn new(add: &Registrar<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            duration: add.histogram(
                "remote_duration_seconds",
                "From a question to the guard model to its answer or failure",
                &DURATIONS,
            )?,
            in_flight: add.gauge("remote_in_flight", "Questions that wait for the guard model")?,
            failures: add.counters(
                "remote_failures_total",
                "Questions without an answer",
                &["reason"],
            )?,
        })
    }
}

// === impl AddedDelays ===

impl AddedDelays {
    /// Notes how long a chunk stayed here.
    pub fn note(&mut self, delay: Duration) {
        if self.noted.len() == GATHERED_DELAYS {
            self.flush();
        }
        self.noted.push(delay.as_secs_f32());
    }

    /// Adds all that was noted to the family.
    pub fn flush(&mut self) {
        for delay in self.noted.drain(..) {
            self.family.observe(f64::from(delay));
        }
    }
}

fn channel_name(channel: Option<Channel>) -> &'static str {
    channel.map_or(UNKNOWN_CHANNEL, Channel::name)
}

/// The name under which a value of a closed set is written everywhere.
pub(super) fn label(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(_) | Err(_) => UNKNOWN_CHANNEL.to_owned(),
    }
}

/// A reason for which the second model has no scores.
fn of_second(reason: &str) -> String {
    format!("second_{reason}")
}

impl Drop for AddedDelays {
    fn drop(&mut self) {
        self.flush();
    }
}

// === impl ErrorSource, ErrorKind ===

impl ErrorSource {
    /// The label's value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Downstream => "downstream",
            Self::Internal => "internal",
        }
    }
}

impl ErrorKind {
    /// The label's value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::Reset => "reset",
            Self::Protocol => "protocol",
            Self::Decode => "decode",
            Self::ClientGone => "client_gone",
            Self::Request => "request",
        }
    }
}

/// Makes families and registers them under the common prefix.
pub(super) struct Registrar<'a> {
    registry: &'a Registry,
}

// === impl Registrar ===

impl Registrar<'_> {
    fn register<C: Collector + Clone + 'static>(&self, family: C) -> Result<C, prometheus::Error> {
        self.registry.register(Box::new(family.clone()))?;
        Ok(family)
    }

    fn options(name: &str, help: &str) -> Opts {
        Opts::new(format!("thinkgate_{name}"), help)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.register(IntCounter::with_opts(Self::options(name, help))?)
    }

    pub(super) fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(Self::options(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.register(IntGauge::with_opts(Self::options(name, help))?)
    }

    fn gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, prometheus::Error> {
        self.register(IntGaugeVec::new(Self::options(name, help), labels)?)
    }

    pub(super) fn histogram(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
    ) -> Result<Histogram, prometheus::Error> {
        let options = HistogramOpts::new(format!("thinkgate_{name}"), help);
        self.register(Histogram::with_opts(options.buckets(buckets.to_vec()))?)
    }

    fn histograms(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
        labels: &[&str],
    ) -> Result<HistogramVec, prometheus::Error> {
        let options = HistogramOpts::new(format!("thinkgate_{name}"), help);
        self.register(HistogramVec::new(options.buckets(buckets.to_vec()), labels)?)
    }
}
