//! How benign text would stream in enforce mode: which frames have to wait for a later one, and for which rules.
//!
//! Thinking and answer of each exchange in which every text is labelled safe go through a session as a stream whose frames carry one token
//! each, as model servers send them. A frame that has not left when it was read waits. No clock is involved.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use bytes::Bytes;
use thinkgate::{
    channel::Channel,
    dialect::Endpoint,
    policy::Verdict,
    rules::{Kind, Rule, RuleSet, StreamMatcher, Watch},
    session::{Delivery, Effect, Identity, Plan, ResponseHead, Session},
};

use super::{rows::Row, tokens::tokens};

/// Waiting frames that are looked at again for the rules behind them.
const SAMPLES: usize = 1000;

/// Bytes before a waiting frame that are read again with it; no wait is known to reach back further.
const CONTEXT_BYTES: usize = 400;

/// Streams benign text and counts the frames that wait.
#[derive(Debug)]
pub(super) struct Frames {
    plan: Arc<Plan>,
    rules: Arc<RuleSet>,
    now: Instant,
    pub(super) counts: BTreeMap<(Channel, String), Waits>,
    samples: Samples,
}

/// Frames of one channel and language.
#[derive(Clone, Debug, Default)]
pub(super) struct Waits {
    pub(super) streams: u64,
    pub(super) frames: u64,
    /// Of each frame that waited: for how many later ones.
    pub(super) waited: Vec<u64>,
    /// Streams that a rule ended.
    pub(super) blocked: u64,
}

/// A stretch of text whose last frame waited.
#[derive(Clone, Debug)]
struct Sample {
    channel: Channel,
    text: String,
}

/// Every `stride`-th of what was seen, at most [`SAMPLES`].
#[derive(Debug)]
struct Samples {
    kept: Vec<Sample>,
    stride: usize,
    seen: usize,
}

/// What a rule makes wait.
#[derive(Clone, Debug)]
pub(super) struct Blame {
    pub(super) rule: String,
    /// Of the waiting frames that were looked at: those that this rule alone would have made wait.
    pub(super) frames: u64,
}

// === impl Frames ===

impl Frames {
    /// Streams under `plan`, whose rules are `rules`; `now` may be any time.
    pub(super) fn new(plan: Arc<Plan>, rules: Arc<RuleSet>, now: Instant) -> Self {
        let samples = Samples { kept: Vec::new(), stride: 1, seen: 0 };
        Self { plan, rules, now, counts: BTreeMap::new(), samples }
    }

    /// Streams the thinking and the answer of a benign exchange.
    pub(super) fn add(&mut self, row: &Row) {
        if !row.is_benign() {
            return;
        }
        for channel in [Channel::Thinking, Channel::Answer] {
            if let Some(part) = row.part(channel) {
                let waits = self.stream(channel, &part.text);
                let all = self.counts.entry((channel, row.language.clone())).or_default();
                all.streams += 1;
                all.frames += waits.frames;
                all.blocked += waits.blocked;
                all.waited.extend(waits.waited);
            }
        }
    }

    fn stream(&mut self, channel: Channel, text: &str) -> Waits {
        let endpoint = Some(Endpoint::ChatCompletions);
        let mut session = Session::new(Arc::clone(&self.plan), endpoint, Identity::default());
        let content_type = Some("text/event-stream".to_owned());
        let head = ResponseHead { status: 200, content_type, undecodable: false };
        let mut waits = Waits::default();
        if session.on_response(&head) != Delivery::Held {
            return waits;
        }
        let (mut left, mut read) = (0, 0);
        for token in tokens(text) {
            read += token.len();
            waits.frames += 1;
            session.on_chunk(self.now, event(channel, token));
            if waits.release(&mut session, &mut left) {
                waits.blocked = 1;
                return waits;
            }
            if left < waits.frames {
                self.samples.add(channel, text.get(..read).unwrap_or(text));
            }
        }
        session.on_chunk(self.now, Bytes::from_static(LAST_EVENT.as_bytes()));
        waits.frames += 1;
        waits.blocked = u64::from(waits.release(&mut session, &mut left));
        // The event that ends the stream is no token.
        waits.frames -= 1;
        waits
    }

    /// The rules that made sampled frames wait, those of most frames first.
    pub(super) fn blame(&self) -> Vec<Blame> {
        let enforced = self.rules.rules().iter().filter(|rule| self.is_enforced(rule));
        let mut blame: Vec<Blame> = enforced
            .map(|rule| Blame { rule: rule.id.clone(), frames: self.frames_of(rule) })
            .filter(|blame| blame.frames > 0)
            .collect();
        blame
            .sort_by(|left, right| right.frames.cmp(&left.frames).then(left.rule.cmp(&right.rule)));
        blame
    }

    /// The waiting frames that were looked at again.
    pub(super) const fn sampled(&self) -> usize {
        self.samples.kept.len()
    }

    fn is_enforced(&self, rule: &Rule) -> bool {
        let policy = self.plan.policy();
        rule.kind == Kind::Risk
            && policy.verdict_of(rule.severity, rule.category, rule.action) >= Verdict::Redact
    }

    fn frames_of(&self, rule: &Rule) -> u64 {
        let alone = |other: &Rule| other.id == rule.id;
        let watch = Arc::new(Watch::new(&self.rules, &alone, &alone));
        let mut found = Vec::new();
        let waits = self.samples.kept.iter().filter(|sample| {
            let mut matcher = StreamMatcher::new(&watch);
            matcher.push(&sample.text, &mut found);
            rule.channels.contains(&sample.channel) && matcher.watermark() < matcher.read_bytes()
        });
        waits.count() as u64
    }
}

// === impl Waits ===

impl Waits {
    /// Takes what the session lets go; says whether it has ended the stream. `left` frames have left so far.
    fn release(&mut self, session: &mut Session, left: &mut u64) -> bool {
        while let Some(effect) = session.next_effect() {
            match effect {
                Effect::Forward(_) => {
                    *left += 1;
                    if *left < self.frames {
                        self.waited.push(self.frames - *left);
                    }
                }
                Effect::Stop(_) | Effect::Respond(_) | Effect::AskAgain(_) => return true,
                Effect::Tell(_) => {}
            }
        }
        false
    }
}

// === impl Samples ===

impl Samples {
    /// Takes the end of `text` if its turn has come.
    fn add(&mut self, channel: Channel, text: &str) {
        self.seen += 1;
        if !self.seen.is_multiple_of(self.stride) {
            return;
        }
        if self.kept.len() == SAMPLES {
            let mut number = 0;
            self.kept.retain(|_| {
                number += 1;
                number % 2 == 0
            });
            self.stride *= 2;
        }
        let from = text.ceil_char_boundary(text.len().saturating_sub(CONTEXT_BYTES));
        let text = text.get(from..).unwrap_or(text).to_owned();
        self.kept.push(Sample { channel, text });
    }
}

/// The event behind the last token.
const LAST_EVENT: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";

/// A token as a model server streams it.
fn event(channel: Channel, token: &str) -> Bytes {
    let field = if channel == Channel::Thinking { "reasoning_content" } else { "content" };
    let delta = serde_json::json!({"choices": [{"index": 0, "delta": {field: token}}]});
    format!("data: {delta}\n\n").into()
}

#[cfg(test)]
mod tests {
    use thinkgate::{
        policy::{Mode, Policy},
        rules::Pack,
        session::Settings,
    };

    use super::*;

    const PACK: &str = "
pack: acme
version: 1
rules:
  - {id: acme.two_words, category: secrets, severity: high, any: [{literal: project falcon}]}
  - {id: acme.flag, category: secrets, severity: medium, any: [{literal: let us meet}]}
";

    fn frames() -> Frames {
        let pack = Pack::parse("acme.yaml", PACK, &|_| Err(String::new())).unwrap();
        let rules = Arc::new(RuleSet::compile(vec![pack]).unwrap());
        let policy = Policy { mode: Mode::Enforce, ..Policy::default() };
        let plan = Plan::new(Arc::clone(&rules), policy, Settings::default());
        Frames::new(Arc::new(plan), rules, tokio::time::Instant::now().into_std())
    }

    #[test]
    fn a_frame_waits_while_an_enforced_rule_may_still_match() {
        let mut frames = frames();
        // " projec" and "t" may begin the match; " fails" shows that they do not.
        let waits = frames.stream(Channel::Thinking, "the project fails, let us go");
        assert_eq!((waits.frames, waits.blocked), (8, 0));
        assert_eq!(waits.waited, [2, 1]);
        let blame = frames.blame();
        assert_eq!((blame.len(), blame[0].rule.as_str()), (1, "acme.two_words"));
        assert_eq!(usize::try_from(blame[0].frames), Ok(frames.sampled()));
    }

    #[test]
    fn a_block_ends_the_stream() {
        let waits = frames().stream(Channel::Answer, "project falcon flies");
        assert_eq!(waits.blocked, 1);
    }

    #[test]
    fn samples_are_spread_over_all_that_was_seen() {
        let mut samples = Samples { kept: Vec::new(), stride: 1, seen: 0 };
        for number in 1..=3 * SAMPLES {
            samples.add(Channel::Answer, &number.to_string());
        }
        assert_eq!(samples.stride, 4);
        assert!(samples.kept.len() <= SAMPLES);
        assert!(samples.kept.iter().all(|sample| sample.text.parse::<usize>().unwrap() % 2 == 0));
    }
}
