//! One exchange as one JSON line: ids, times, numbers, codes and offsets. `docs/audit.schema.json` is its schema.
//!
//! The text of prompt, thinking and answer is not part of it unless the operator opted in; the prompt is
//! recognisable by a hash under a key that only the operator has.

use std::{collections::BTreeMap, fmt};

use hmac::{Hmac, KeyInit, Mac};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{
    event::{
        AskAgainResult, AskedAgain, ByteCounts, ChannelReport, ChoiceReport, Cut, ExchangeReport,
        Finding, OutcomeAct,
    },
    metrics::label,
};
use crate::{
    channel::Channel,
    dialect::Dialect,
    policy::{Action, Mode, Verdict},
    rules::Category,
};

/// The version of the line's format.
pub const VERSION: u32 = 1;

/// The model's name is the client's to choose; this many bytes of it are kept.
const MODEL_NAME_BYTES: usize = 256;

/// Bytes of each text that a line carries where the operator opted in.
pub const TEXT_BYTES: usize = 64 << 10;

/// What is known of an exchange beside its report.
#[derive(Clone, Debug)]
pub struct ExchangeHead {
    /// The exchange's id.
    pub id: String,
    /// The caller's own id for the request, if it gave one.
    pub request_id: Option<String>,
    /// When the request's head had come (RFC 3339).
    pub started_at: String,
    /// From then to the response's end.
    pub duration_ms: u64,
    /// The route's name.
    pub route: String,
    /// The status code that the client got.
    pub status: u16,
    /// How the exchange ended.
    pub end: ExchangeEnd,
    /// The keyed hash of the prompt's bytes, where a prompt was read.
    pub prompt_hmac_sha256: Option<String>,
}

/// How an exchange ended, as the client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExchangeEnd {
    /// The response was written to its end.
    Complete,
    /// The upstream failed or fell silent.
    UpstreamFailed,
    /// The client went away.
    ClientGone,
}

/// Whether the key of the hashes outlives the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HashKeyKind {
    /// The operator's, from `audit.hash_key_file`.
    File,
    /// Random, until the process ends: equal prompts are recognisable within one run only.
    Ephemeral,
}

/// The key under which prompts are hashed.
#[derive(Clone)]
pub struct HashKey {
    kind: HashKeyKind,
    keyed: Hmac<Sha256>,
}

/// One line of the audit log.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "thinkgate audit line")]
pub struct AuditLine<'a> {
    /// The format's version.
    v: u32,
    /// The exchange's id (UUID v7).
    id: &'a str,
    /// The caller's `x-request-id`, if it gave one.
    request_id: Option<&'a str>,
    /// When the request's head had come (RFC 3339, UTC).
    started_at: &'a str,
    /// From then to the response's end, in milliseconds.
    duration_ms: u64,
    /// The route's configured name, or `default`.
    route: &'a str,
    /// The model that the request named, cut to 256 bytes. Untrusted.
    model: Option<&'a str>,
    /// The route's mode.
    mode: Mode,
    /// The dialect as it was read.
    dialect: Dialect,
    /// The status code that the client got.
    status: u16,
    /// How the exchange ended.
    end: ExchangeEnd,
    /// Whether the upstream answered with an error.
    upstream_error: bool,
    /// The gravest verdict.
    verdict: Verdict,
    /// What was done.
    action: Action,
    /// What would have been done in enforce mode.
    would: Action,
    /// Where enforce mode would have ended the exchange, or has: before what it blocks.
    cut: Option<Cut>,
    /// What `policy.outcomes` has done about the outcome of a choice, or would have in enforce mode.
    outcome_action: Option<OutcomeAct>,
    /// How the model was asked again after its thinking was blocked, if it was to be.
    asked_again: Option<AuditAskedAgain<'a>>,
    /// What the prompt has shown.
    prompt: Option<&'a ChannelReport>,
    /// Findings in the prompt.
    prompt_findings: &'a [Finding],
    /// What each choice has shown, its outcome and its findings; of the last answer, where the model was asked again.
    choices: &'a [ChoiceReport],
    /// Bytes by what became of them.
    bytes: AuditBytes,
    /// The upstream's own usage object; the sum of all requests where the model was asked again.
    usage: Option<serde_json::Value>,
    /// HMAC-SHA256 of the request's body in hexadecimal digits, where it was read.
    prompt_hmac_sha256: Option<&'a str>,
    /// Whose key that is.
    hash_key: HashKeyKind,
}

/// How the model was asked again.
#[derive(Debug, Serialize, JsonSchema)]
struct AuditAskedAgain<'a> {
    /// What came of it.
    result: AskAgainResult,
    /// Requests sent beside the caller's own.
    attempts: u8,
    /// Where the first answer was ended.
    cut: Option<Cut>,
    /// The ids of the findings that ended answers.
    findings: &'a [String],
    /// The outcome that ended one, where that did.
    outcome_action: Option<OutcomeAct>,
    /// The categories whose safety rules the last request carried.
    categories: &'a [Category],
    /// The names of the options that it set.
    parameters: &'a [String],
    /// The usage of each request, the caller's first; null where it was not told.
    usages: Vec<Option<serde_json::Value>>,
    /// The choices of the answers that were ended.
    choices: &'a [ChoiceReport],
}

/// Bytes by channel (`unknown` where there is none), and by reason where they passed unread.
#[derive(Debug, Serialize, JsonSchema)]
struct AuditBytes {
    /// Read by every configured detector.
    scanned: BTreeMap<&'static str, u64>,
    /// Written to the client (the prompt's: to the upstream).
    released: BTreeMap<&'static str, u64>,
    /// Of these, read by no detector: channel, then reason.
    unscanned_released: BTreeMap<&'static str, BTreeMap<String, u64>>,
}

/// The JSON Schema of a line.
#[must_use]
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(AuditLine<'_>)
}

// === impl HashKey ===

impl HashKey {
    /// A key of any length.
    #[must_use]
    pub fn new(kind: HashKeyKind, key: &[u8]) -> Option<Self> {
        Some(Self { kind, keyed: Hmac::new_from_slice(key).ok()? })
    }

    /// Whose key it is.
    #[must_use]
    pub fn kind(&self) -> HashKeyKind {
        self.kind
    }

    /// The keyed hash of `bytes`, in hexadecimal digits.
    #[must_use]
    pub fn hash(&self, bytes: &[u8]) -> String {
        let mut mac = self.keyed.clone();
        mac.update(bytes);
        hex::encode(mac.finalize().into_bytes())
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("HashKey").field("kind", &self.kind).finish_non_exhaustive()
    }
}

// === impl AuditLine ===

impl<'a> AuditLine<'a> {
    /// The line of an exchange.
    #[must_use]
    pub fn new(head: &'a ExchangeHead, report: &'a ExchangeReport, hash_key: HashKeyKind) -> Self {
        Self {
            v: VERSION,
            id: &head.id,
            request_id: head.request_id.as_deref(),
            started_at: &head.started_at,
            duration_ms: head.duration_ms,
            route: &head.route,
            model: report.model.as_deref().map(|model| cut(model, MODEL_NAME_BYTES)),
            mode: report.mode,
            dialect: report.dialect,
            status: head.status,
            end: head.end,
            upstream_error: report.upstream_error,
            verdict: report.verdict,
            action: report.action,
            would: report.would,
            cut: report.cut,
            outcome_action: report.outcome_act,
            asked_again: report.asked_again.as_deref().map(AuditAskedAgain::new),
            prompt: report.prompt.as_ref(),
            prompt_findings: &report.prompt_findings,
            choices: &report.choices,
            bytes: AuditBytes::new(&report.bytes),
            usage: report.usage.as_deref().and_then(numbers_of),
            prompt_hmac_sha256: head.prompt_hmac_sha256.as_deref(),
            hash_key,
        }
    }

    /// The line's bytes, with the newline at its end.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

// === impl AuditAskedAgain ===

impl<'a> AuditAskedAgain<'a> {
    fn new(asked: &'a AskedAgain) -> Self {
        let numbers = |usage: &Option<String>| usage.as_deref().and_then(numbers_of);
        Self {
            result: asked.result,
            attempts: asked.attempts,
            cut: asked.cut,
            findings: &asked.findings,
            outcome_action: asked.outcome,
            categories: &asked.categories,
            parameters: &asked.parameters,
            usages: asked.usages.iter().map(numbers).collect(),
            choices: &asked.choices,
        }
    }
}

// === impl AuditBytes ===

impl AuditBytes {
    fn new(counts: &ByteCounts) -> Self {
        let name = |channel: Option<Channel>| channel.map_or("unknown", Channel::name);
        let mut unscanned_released: BTreeMap<&'static str, BTreeMap<String, u64>> = BTreeMap::new();
        for (&(channel, reason), &count) in &counts.unscanned {
            unscanned_released.entry(name(channel)).or_default().insert(label(reason), count);
        }
        Self {
            scanned: counts.scanned.iter().map(|(c, &n)| (c.name(), n)).collect(),
            released: counts.released.iter().map(|(&c, &n)| (name(c), n)).collect(),
            unscanned_released,
        }
    }
}

/// `text` cut to at most `bytes` bytes at the border of a character.
fn cut(text: &str, bytes: usize) -> &str {
    let end = text.floor_char_boundary(bytes);
    text.get(..end).unwrap_or(text)
}

/// The numbers of an object and of the objects in it: all that a usage object should hold, and all that is kept,
/// since whatever else stands there is the upstream's free text.
fn numbers_of(usage: &str) -> Option<serde_json::Value> {
    fn numbers(value: serde_json::Value) -> Option<serde_json::Value> {
        match value {
            serde_json::Value::Number(_) => Some(value),
            serde_json::Value::Object(fields) => {
                let kept = fields.into_iter().filter_map(|(k, v)| Some((k, numbers(v)?)));
                Some(serde_json::Value::Object(kept.collect()))
            }
            serde_json::Value::Null
            | serde_json::Value::Bool(_)
            | serde_json::Value::String(_)
            | serde_json::Value::Array(_) => None,
        }
    }
    serde_json::from_str(usage).ok().and_then(numbers)
}
