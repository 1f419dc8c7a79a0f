//! What an exchange has shown: channels, findings, outcome, counts.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use smallvec::SmallVec;

use crate::{
    channel::Channel,
    classify::{Head, Voice},
    dialect::chunk::Source,
    policy::{Action, Verdict},
    record::{
        ByteCounts, ChannelReport, ChoiceReport, Cut, ExchangeReport, Finding, UnscannedReason,
    },
    rules::Kind,
    trace::{HealthNote, Shape},
};

use super::{
    choice::Choice,
    judgement::{Judged, Judgement, begin},
    machine::{Keep, Session},
    plan::{Label, Plan},
    scoring::Opinion,
    text_stream::{Found, ReadText},
};

/// The report of a session that has ended.
pub(super) fn report(session: &Session, as_read: bool) -> ExchangeReport {
    let plan = &session.reading.plan;
    let scoring = session.reading.scoring.as_deref();
    let mut prompt_findings: Vec<Finding> =
        session.prompt.iter().flat_map(|text| findings_of(plan, text, 0, 0)).collect();
    prompt_findings.extend(
        scoring.iter().flat_map(|scoring| scoring.findings(plan, Voice::Prompt, Channel::Prompt)),
    );
    prompt_findings.extend(opinions(session, Voice::Prompt, Channel::Prompt));
    let prompt = session.prompt.as_ref().map(|text| {
        let opinion = scoring.and_then(|scoring| scoring.opinion(Voice::Prompt, Channel::Prompt));
        let seen = Seen { texts: &[text], findings: &prompt_findings, opinion };
        channel_report(Channel::Prompt, &seen, session.keep)
    });
    let mut choices: Vec<ChoiceReport> = session
        .choices
        .iter()
        .map(|choice| choice_report(session, choice, prompt.as_ref(), &prompt_findings))
        .collect();
    choices.sort_by_key(|choice| choice.index);
    let found = choices.iter().flat_map(|choice| &choice.findings).chain(&prompt_findings);
    let verdict = found.map(|finding| finding.verdict).max().unwrap_or_default();
    ExchangeReport {
        dialect: session.dialect,
        mode: session.mode(),
        model: session.model.clone(),
        upstream_error: session.upstream_error,
        prompt,
        verdict,
        action: session.action,
        would: would(session, verdict),
        cut: cut(&prompt_findings, &choices),
        bytes: totals(session, as_read),
        usage: session.usage.clone(),
        prompt_findings,
        choices,
    }
}

/// What a guard model elsewhere has claimed of one channel of a voice.
fn opinions(session: &Session, voice: Voice, channel: Channel) -> Vec<Finding> {
    let consulting = session.reading.consulting.as_deref();
    let consulting = consulting.zip(session.reading.plan.consultant());
    consulting.map_or_else(Vec::new, |(consulting, consultant)| {
        consulting.findings(consultant, voice, channel)
    })
}

/// What enforcement would have done.
fn would(session: &Session, verdict: Verdict) -> Action {
    if session.action != Action::Forward {
        return session.action;
    }
    let thinks = session.choices.iter().any(Choice::has_thinking);
    let hides = session.reading.plan.policy().hide_thinking && thinks;
    match verdict {
        Verdict::Block => Action::Block,
        _ if session.would_steer => Action::Steer,
        _ if hides => Action::HideThinking,
        Verdict::Redact => Action::Redact,
        Verdict::Pass | Verdict::Flag => Action::Forward,
    }
}

/// Where a block ends the exchange: before the first match in the prompt, else in the choice that shows least by then.
/// No byte of a rule's match is sent; what a model is sure of has been.
fn cut(prompt_findings: &[Finding], choices: &[ChoiceReport]) -> Option<Cut> {
    let blocks = |finding: &&Finding| finding.verdict == Verdict::Block;
    if let Some(first) = prompt_findings.iter().filter(blocks).map(begin).min() {
        return Some(Cut { choice: None, channel: Channel::Prompt, char: first, seen_chars: 0 });
    }
    let cuts = choices.iter().flat_map(|choice| {
        choice.findings.iter().filter(blocks).map(move |finding| {
            let before = match finding.channel {
                Channel::Prompt | Channel::Thinking => 0,
                Channel::Answer | Channel::Refusal => choice.thinking.chars,
                Channel::ToolCall => choice.thinking.chars + choice.answer.chars,
            };
            let char = begin(finding);
            let choice = Some(choice.index);
            Cut { choice, channel: finding.channel, char, seen_chars: before + char }
        })
    });
    cuts.min_by_key(|cut| cut.seen_chars)
}

fn choice_report(
    session: &Session,
    choice: &Choice,
    prompt: Option<&ChannelReport>,
    prompt_findings: &[Finding],
) -> ChoiceReport {
    let plan = &session.reading.plan;
    let scoring = session.reading.scoring.as_deref();
    let voice = Voice::Choice(choice.position);
    let mut findings = Vec::new();
    let mut report = |channel: Channel| {
        let texts: Vec<&ReadText> = choice
            .texts
            .iter()
            .map(|text| &text.read)
            .filter(|text| text.label.channel() == channel)
            .collect();
        let first = findings.len();
        let (mut bytes, mut chars) = (0, 0);
        for text in &texts {
            if text.repeat {
                findings.extend(findings_of(plan, text, 0, 0));
            } else {
                findings.extend(findings_of(plan, text, bytes, chars));
                bytes += text.length.byte;
                chars += text.length.char;
            }
        }
        // Undecided text is scored as both that it may become.
        let scoring = scoring.filter(|_| bytes > 0);
        findings.extend(scoring.iter().flat_map(|scoring| scoring.findings(plan, voice, channel)));
        findings.extend(opinions(session, voice, channel));
        let seen = Seen {
            texts: &texts,
            findings: findings.get(first..).unwrap_or_default(),
            opinion: scoring.and_then(|scoring| scoring.opinion(voice, channel)),
        };
        channel_report(channel, &seen, session.keep)
    };
    let thinking = report(Channel::Thinking);
    let answer = report(Channel::Answer);
    let refusal = report(Channel::Refusal);
    let tool_call = report(Channel::ToolCall);
    let consulting = session.reading.consulting.as_deref();
    let failed = scoring.and_then(|scoring| scoring.failure(voice)).is_some()
        || consulting.is_some_and(|consulting| consulting.has_failed(voice));
    findings.sort_by_key(|finding| (finding.channel, finding.end, finding.start));
    let judged = Judged {
        prompt,
        prompt_findings,
        thinking: &thinking,
        answer: &answer,
        refusal: &refusal,
        tool_call: &tool_call,
        findings: &findings,
        unjudged: choice.unjudged || session.unreadable || failed,
    };
    let Judgement { outcome, scenario, grounds, override_char } = judged.judge();
    let harm = judged.harm(|channel| shape(choice, channel));
    let (health, health_chars) = health(choice).into_iter().unzip();
    ChoiceReport {
        index: choice.index,
        prompt: prompt.cloned(),
        outcome,
        scenario,
        evidence: grounds,
        harm: harm.severity,
        harm_parts: harm,
        override_char,
        thinking,
        answer,
        refusal,
        tool_call,
        health,
        health_chars,
        findings,
    }
}

/// The shape of the longest of a channel's texts.
fn shape(choice: &Choice, channel: Channel) -> Shape {
    let of_channel = choice.texts.iter().filter(|text| text.read.label.channel() == channel);
    of_channel.map(|text| text.read.shape).max_by_key(Shape::words).unwrap_or_default()
}

/// What is to be noted of a choice's thinking, with the characters read by then.
fn health(choice: &Choice) -> Vec<(HealthNote, u64)> {
    let texts = choice.texts.iter().map(|text| &text.read);
    let thinking: Vec<&ReadText> =
        texts.filter(|text| !text.repeat && text.label.channel() == Channel::Thinking).collect();
    if choice.opens_thinking() && thinking.iter().all(|text| text.first_text.is_none()) {
        return vec![(HealthNote::EmptyThinking, 0)];
    }
    let (mut notes, mut before) = (Vec::new(), 0);
    for text in thinking {
        let own = text.health.iter().flat_map(|health| health.notes());
        notes.extend(own.map(|(note, at)| (note, before + at)));
        before += text.length.char;
    }
    notes.sort_by_key(|&(_, at)| at);
    notes.dedup_by_key(|&mut (note, _)| note);
    notes
}

/// The classifier's name among the detectors.
pub(super) const CLASSIFIER: &str = "classifier";

/// What was seen of one channel.
struct Seen<'s> {
    texts: &'s [&'s ReadText],
    findings: &'s [Finding],
    opinion: Option<Opinion<'s>>,
}

fn channel_report(
    channel: Channel,
    Seen { texts, findings, opinion }: &Seen<'_>,
    keep: Keep,
) -> ChannelReport {
    let probability = |head: Head| opinion.map_or(0.0, |opinion| opinion.probability(head));
    let own = || texts.iter().filter(|text| !text.repeat);
    let kept = || own().filter_map(|text| text.kept.as_ref());
    let text: Option<String> = keep.text.map(|_| kept().map(|kept| kept.text.as_str()).collect());
    let text_cut = kept().any(|kept| kept.cut);
    let flagged = findings.iter().filter(|finding| finding.verdict >= Verdict::Flag);
    let safety = || findings.iter().filter(|finding| finding.kind == Kind::SafetyThinking);
    let refusals = || findings.iter().filter(|finding| finding.kind == Kind::Refusal);
    let chars = own().map(|text| text.length.char).sum();
    let own_refusal = if channel == Channel::Answer { probability(Head::Refusal) } else { 0.0 };
    let says_refusal = channel == Channel::Refusal && chars > 0;
    ChannelReport {
        chars,
        risk: risk(findings, probability(Head::Risk)),
        verdict: findings.iter().map(|finding| finding.verdict).max().unwrap_or_default(),
        first_flag_char: flagged.map(|finding| finding.end_char).min(),
        text_sha256: text
            .as_deref()
            .filter(|_| !text_cut)
            .map(|text| hex::encode(Sha256::digest(text))),
        safety_thinking: if channel == Channel::Thinking {
            safety().map(|finding| finding.score).fold(probability(Head::SafetyThinking), f64::max)
        } else {
            safety().map(|finding| finding.score).fold(0.0, f64::max)
        },
        first_safety_thinking_char: safety().map(|finding| finding.end_char).min(),
        refusal: if says_refusal {
            1.0
        } else {
            refusals().map(|finding| finding.score).fold(own_refusal, f64::max)
        },
        risk_at: keep.trajectory.then(|| trajectory(findings, *opinion)),
        text,
        text_cut,
    }
}

/// The chance that the classifier is right (`probability`) or at least one of the rules that matched, each counted
/// once, as if they erred apart from each other.
fn risk(findings: &[Finding], probability: f64) -> f64 {
    let mut scores: BTreeMap<&str, f64> = BTreeMap::new();
    let of_rules = |finding: &&Finding| finding.detector != CLASSIFIER;
    for finding in findings.iter().filter(|finding| finding.kind == Kind::Risk).filter(of_rules) {
        let score = scores.entry(&finding.id).or_default();
        *score = score.max(finding.score);
    }
    1.0 - (1.0 - probability) * scores.values().map(|score| 1.0 - score).product::<f64>()
}

/// Where the risk changed: with each rule that matched, and with the classifier's view of what was read.
fn trajectory(findings: &[Finding], opinion: Option<Opinion<'_>>) -> Vec<(u64, f64)> {
    let mut findings: Vec<Finding> = findings
        .iter()
        .filter(|finding| finding.kind == Kind::Risk && finding.detector != CLASSIFIER)
        .cloned()
        .collect();
    findings.sort_by_key(|finding| finding.end_char);
    let views = opinion.map_or(&[][..], |opinion| &opinion.part.risk_at);
    let ends = findings.iter().map(|finding| finding.end_char);
    let mut places: Vec<u64> = ends.chain(views.iter().map(|&(char, _)| char)).collect();
    places.sort_unstable();
    places.dedup();
    let mut changes: Vec<(u64, f64)> = Vec::new();
    for at in places {
        let seen = findings.partition_point(|finding| finding.end_char <= at);
        let read = views.partition_point(|&(char, _)| char <= at);
        let view = views.get(..read).and_then(<[_]>::last);
        let probability = view.map_or(0.0, |&(_, probability)| f64::from(probability));
        let risk = risk(findings.get(..seen).unwrap_or_default(), probability);
        if changes.last().is_none_or(|&(_, last)| (risk - last).abs() > f64::EPSILON) {
            changes.push((at, risk));
        }
    }
    changes
}

/// The findings of a text whose first byte stands at `bytes` of its channel, its first character at `chars`.
fn findings_of<'t>(
    plan: &'t Plan,
    text: &'t ReadText,
    bytes: u64,
    chars: u64,
) -> impl Iterator<Item = Finding> + 't {
    text.found.iter().filter_map(move |found| finding(plan, text, found, bytes, chars))
}

fn finding(plan: &Plan, text: &ReadText, found: &Found, bytes: u64, chars: u64) -> Option<Finding> {
    let rule = plan.rule(found.at.rule)?;
    Some(Finding {
        detector: "rules",
        id: rule.id.clone(),
        kind: rule.kind,
        category: rule.category,
        severity: rule.severity,
        channel: text.label.channel(),
        start: found.at.start + bytes,
        end: found.at.end + bytes,
        start_char: found.at.start_char + chars,
        end_char: found.at.end_char + chars,
        score: rule.weight,
        repeat: text.repeat,
        verdict: found.verdict,
    })
}

/// Findings that were not told yet. Those of undecided text wait until it is known for what it is.
pub(super) fn new_findings(session: &mut Session) -> Vec<Finding> {
    let plan = std::sync::Arc::clone(&session.reading.plan);
    let texts =
        session.choices.iter_mut().flat_map(|choice| &mut choice.texts).map(|text| &mut text.read);
    let mut findings = Vec::new();
    for text in texts.chain(&mut session.prompt) {
        if text.label == Label::Undecided && !text.repeat {
            continue;
        }
        let new = text.found.get(text.counted..).unwrap_or_default();
        findings.extend(new.iter().filter_map(|found| finding(&plan, text, found, 0, 0)));
        text.counted = text.found.len();
    }
    if let Some(scoring) = &mut session.reading.scoring {
        findings.extend(scoring.new_findings(&plan));
    }
    if let Some(consulting) = &mut session.reading.consulting
        && let Some(consultant) = plan.consultant()
    {
        findings.extend(consulting.new_findings(consultant));
    }
    findings
}

/// Bytes by what became of them so far. `as_read` says that all that was read was written, too.
pub(super) fn totals(session: &Session, as_read: bool) -> ByteCounts {
    let plan = &session.reading.plan;
    let mut totals = Totals { session, counts: ByteCounts::default() };
    totals.counts.unscanned = session.unscanned.clone();
    for (&(channel, _), &bytes) in &session.unscanned {
        *totals.counts.released.entry(channel).or_default() += bytes;
    }
    if let Some(prompt) = &session.prompt {
        let released = if session.refused { 0 } else { prompt.length.byte };
        totals.count(Voice::Prompt, Channel::Prompt, Bytes { read: prompt.length.byte, released });
    }
    // What was let go undecided may have been thinking.
    let hidden = plan.hides_thinking() && session.action != Action::FailOpen;
    for choice in &session.choices {
        let mut of_channels: SmallVec<[(Channel, Bytes); 4]> = SmallVec::new();
        for source in &choice.sources {
            for run in source.runs() {
                let Some(text) = choice
                    .texts
                    .get(run.text)
                    .map(|text| &text.read)
                    .filter(|text| is_counted(text, source.kind))
                else {
                    continue;
                };
                let channel = text.label.channel();
                let released = match channel {
                    _ if as_read => run.length,
                    Channel::Thinking if hidden => 0,
                    _ => overlap(run.at, run.length, source.released),
                };
                let known = of_channels.iter().position(|&(known, _)| known == channel);
                let place = known.unwrap_or(of_channels.len());
                if known.is_none() {
                    of_channels.push((channel, Bytes::default()));
                }
                if let Some((_, bytes)) = of_channels.get_mut(place) {
                    bytes.read += run.length;
                    bytes.released += released;
                }
            }
        }
        for (channel, bytes) in of_channels {
            totals.count(Voice::Choice(choice.position), channel, bytes);
        }
    }
    totals.counts
}

/// Bytes of one channel of a choice, or of the prompt.
#[derive(Clone, Copy, Default)]
struct Bytes {
    read: u64,
    released: u64,
}

/// Bytes while they are added up.
struct Totals<'s> {
    session: &'s Session,
    counts: ByteCounts,
}

// === impl Totals ===

impl Totals<'_> {
    /// Adds what became of one text. It is scanned as far as every detector has read it; what one of them never will is
    /// unscanned where it was released.
    fn count(&mut self, voice: Voice, channel: Channel, Bytes { read, released }: Bytes) {
        let Self { session, counts } = self;
        *counts.released.entry(Some(channel)).or_default() += released;
        if !session.reading.plan.reads(channel) {
            if released > 0 {
                let off = (Some(channel), UnscannedReason::ModeOff);
                *counts.unscanned.entry(off).or_default() += released;
            }
            return;
        }
        let scoring =
            session.reading.scoring.as_deref().map(|scoring| {
                (scoring.unscored(voice, channel), scoring.failure(voice).is_some())
            });
        let consulting = session.reading.consulting.as_deref();
        let consulting = consulting.map(|consulting| consulting.unread(voice, channel));
        let (mut scanned, mut never) = (read, 0);
        for (unread, has_failed) in scoring.into_iter().chain(consulting) {
            let own = read.saturating_sub(unread);
            scanned = scanned.min(own);
            if has_failed {
                never = never.max(released.saturating_sub(own));
            }
        }
        *counts.scanned.entry(channel).or_default() += scanned;
        if never > 0 {
            let failed = (Some(channel), UnscannedReason::DetectorFailed);
            *counts.unscanned.entry(failed).or_default() += never;
        }
    }
}

/// Repeats are not counted twice; undecided text is counted once it is known for what it is.
fn is_counted(text: &ReadText, kind: Source) -> bool {
    !text.repeat && (text.label != Label::Undecided || kind != Source::Content)
}

fn overlap(at: u64, length: u64, released: u64) -> u64 {
    released.saturating_sub(at).min(length)
}

/// What `now` has more than `before`.
pub(super) fn difference(now: &ByteCounts, before: &ByteCounts) -> ByteCounts {
    fn less<K: Copy + Ord>(now: &BTreeMap<K, u64>, before: &BTreeMap<K, u64>) -> BTreeMap<K, u64> {
        let more = now.iter().map(|(key, bytes)| {
            (*key, bytes.saturating_sub(before.get(key).copied().unwrap_or(0)))
        });
        more.filter(|(_, bytes)| *bytes > 0).collect()
    }
    ByteCounts {
        scanned: less(&now.scanned, &before.scanned),
        released: less(&now.released, &before.released),
        unscanned: less(&now.unscanned, &before.unscanned),
    }
}
