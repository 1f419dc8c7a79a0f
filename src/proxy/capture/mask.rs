//! What rules find is taken out of a capture before it is written.
//!
//! The response goes through a session in enforce mode under which every match asks for a mask; in the request every
//! JSON string is read by itself, and then the prompt as a whole. What cannot be masked, or not be read, is left out.

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::de::IgnoredAny;
use tokio::time::Instant;

use crate::{
    config::{Config, Route},
    dialect::{Endpoint, text_of_token},
    policy::{CategoryPolicy, Mask, Mode, OnUnscanned, Policy, SideChannels, Verdict},
    record::{
        audit::ExchangeEnd,
        capture::{Capture, Piece, Truncated},
    },
    rules::{Category, RuleAction, RuleSet},
    session::{
        BodyEnd, Effect, Hold, Identity, MASK, OnDeadline, Plan, RequestDecision, ResponseHead,
        Session, Settings,
    },
};

/// The plan that masks what the rules of `categories` find in a route's exchanges; none where there are none.
pub(super) fn plan(
    config: &Config,
    route: &Route,
    rules: &Arc<RuleSet>,
    categories: &[Category],
) -> Option<Arc<Plan>> {
    if categories.is_empty() {
        return None;
    }
    let of_category = |category: Category| {
        let masks = categories.contains(&category);
        let mode = if masks { Mode::Enforce } else { Mode::Off };
        (category, CategoryPolicy { mode: Some(mode), action: Some(RuleAction::Redact) })
    };
    let policy = Policy {
        mode: Mode::Enforce,
        categories: Category::ALL.map(of_category).into(),
        on_unscanned: OnUnscanned::Block,
        // The request is only read.
        side_channels: SideChannels::Allow,
        mask: route.policy.mask,
        plain_only: route.policy.plain_only,
        ..Policy::default()
    };
    let settings = Settings {
        // The capture has a bound of its own, and no reader who waits.
        hold: Hold {
            max_bytes: usize::MAX,
            deadline: Duration::from_hours(24),
            on_deadline: OnDeadline::Block,
        },
        whole_prompt: true,
        ..config.session_settings(route)
    };
    Some(Arc::new(Plan::new(Arc::clone(rules), policy, settings)))
}

/// The capture with what `plan` masks taken out.
pub(super) fn masked(plan: &Arc<Plan>, capture: Capture) -> Capture {
    let endpoint = Endpoint::of_path(&capture.path);
    let new_session = || Session::new(Arc::clone(plan), endpoint, Identity::default());
    let mut session = new_session();
    let request = capture.request.as_ref().and_then(|Piece(body)| {
        let body = masked_json(plan, body)?;
        // A match may begin in one string and end in another.
        let decision = session.on_request(body.clone());
        matches!(decision, RequestDecision::Forward(_)).then_some(Piece(body))
    });
    let lost_request = capture.request.is_some() && request.is_none();
    if lost_request {
        session = new_session();
    }
    let masking = Masking { plan, session, chunks: Vec::new(), lost: lost_request };
    let Masking { chunks, lost, .. } =
        if capture.status < 300 { masking.response(&capture) } else { masking.refusal(&capture) };
    let truncated = if lost { Some(Truncated::Unmaskable) } else { capture.truncated };
    Capture { request, chunks, truncated, masked: true, ..capture }
}

/// A response on its way through the masking session.
struct Masking<'p> {
    plan: &'p Arc<Plan>,
    session: Session,
    chunks: Vec<(u64, Piece)>,
    /// Something was left out.
    lost: bool,
}

// === impl Masking ===

impl Masking<'_> {
    /// A stream or a body with a model's text.
    fn response(mut self, capture: &Capture) -> Self {
        self.session.on_response(&ResponseHead {
            status: 200,
            content_type: capture.content_type.clone(),
            undecodable: capture.undecodable,
        });
        // Only the distances count.
        let begin = Instant::now().into_std();
        let mut last = 0;
        for (at, Piece(chunk)) in &capture.chunks {
            last = *at;
            self.session.on_chunk(begin + Duration::from_millis(last), chunk.clone());
            if !self.take_effects(last) {
                return self;
            }
        }
        // Half a frame is nobody's text, and cannot be masked.
        let whole = capture.end == ExchangeEnd::Complete && capture.truncated.is_none();
        let end = if whole { BodyEnd::Complete } else { BodyEnd::Reset };
        self.session.on_end(begin + Duration::from_millis(last), end);
        self.take_effects(last);
        self
    }

    /// Whether the session goes on.
    fn take_effects(&mut self, at: u64) -> bool {
        while let Some(effect) = self.session.next_effect() {
            match effect {
                Effect::Forward(bytes) => self.chunks.push((at, Piece(bytes))),
                Effect::Stop(_) | Effect::Respond(_) | Effect::AskAgain(_) => {
                    self.lost = true;
                    return false;
                }
                Effect::Tell(_) => {}
            }
        }
        true
    }

    /// What a server says in place of a model: one JSON, which may repeat the prompt.
    fn refusal(mut self, capture: &Capture) -> Self {
        let Some((at, _)) = capture.chunks.last() else { return self };
        let pieces = capture.chunks.iter().map(|(_, Piece(chunk))| chunk.as_ref());
        let body = Bytes::from(pieces.collect::<Vec<_>>().concat());
        match masked_json(self.plan, &body) {
            Some(body) => self.chunks.push((*at, Piece(body))),
            None => self.lost = true,
        }
        self
    }
}

/// A JSON text with what the plan's rules find in each of its strings masked; none where it is no JSON.
fn masked_json(plan: &Arc<Plan>, body: &Bytes) -> Option<Bytes> {
    let text = std::str::from_utf8(body).ok()?;
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let mut edited = String::new();
    let mut kept = 0;
    for token in strings(text) {
        let string = text_of_token(text.get(token.clone())?)?;
        let Some(masked) = masked_text(plan, &string)? else { continue };
        edited.push_str(text.get(kept..token.start)?);
        edited.push_str(&serde_json::to_string(&masked).ok()?);
        kept = token.end;
    }
    if kept == 0 {
        return Some(body.clone());
    }
    edited.push_str(text.get(kept..)?);
    Some(edited.into())
}

/// Where the strings of a JSON text stand, their quotes included.
fn strings(json: &str) -> Vec<Range<usize>> {
    let mut strings = Vec::new();
    let mut bytes = json.bytes().enumerate();
    while let Some((start, byte)) = bytes.next() {
        if byte != b'"' {
            continue;
        }
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'\\' => drop(bytes.next()),
                b'"' => {
                    strings.push(start..at + 1);
                    break;
                }
                _ => {}
            }
        }
    }
    strings
}

/// A text with the plan's matches masked, where there are any; none outside where a match has no place in it.
#[expect(clippy::option_option, reason = "not to be masked is not the same as not maskable")]
fn masked_text(plan: &Arc<Plan>, text: &str) -> Option<Option<String>> {
    let mut session = Session::new(Arc::clone(plan), None, Identity::default());
    session.on_trace(Some(text), None, None);
    let report = session.report();
    let matches = report.prompt_findings.iter().filter(|found| found.verdict >= Verdict::Redact);
    let mut places: Vec<(u64, u64)> = matches.map(|found| (found.start, found.end)).collect();
    places.sort_unstable();
    let mut masked = String::with_capacity(text.len());
    let mut kept = 0;
    for (start, end) in &places {
        let (start, end) = (usize::try_from(*start).ok()?, usize::try_from(*end).ok()?);
        let start = start.max(kept);
        if start >= end {
            continue;
        }
        masked.push_str(text.get(kept..start)?);
        match plan.policy().mask {
            Mask::Label => masked.push_str(MASK),
            Mask::Blocks => masked.extend(text.get(start..end)?.chars().map(|_| '█')),
        }
        kept = end;
    }
    masked.push_str(text.get(kept..)?);
    Some((!places.is_empty()).then_some(masked))
}
