//! The figures: what `--json` writes, and what the table and the picture show.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use thinkgate::channel::Channel;

use super::{
    frames::{Blame, Frames, Waits},
    measures::{Scored, auroc, f1, quantile, real, recall_at, share},
    tally::{Benign, By, Fired, Group, Handling, Scores, Tally, Thinking},
    tokens::{CHARS_A_TOKEN, IDEOGRAPHS_A_TOKEN},
};

/// Everything that was measured. Shares are in 0..=1; what too few rows can show is null.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    /// The classifier's model, its version and what ran it; null where only rules read.
    pub(super) classifier: Option<String>,
    /// Exchanges that were read.
    pub(super) exchanges: u64,
    /// Lines that are no labelled exchange.
    pub(super) bad_lines: u64,
    /// Characters of all texts.
    pub(super) chars: u64,
    /// Time that the session took, without reading and parsing.
    pub(super) seconds: f64,
    pub(super) chars_per_second: Option<f64>,
    pub(super) benign: BenignLine,
    pub(super) groups: Vec<GroupLine>,
    pub(super) thinking: Vec<ThinkingLine>,
    /// Risk rules, those that match in most benign exchanges first.
    pub(super) rules: Vec<RuleLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) frames: Option<FramesSummary>,
}

/// Exchanges in which every text is labelled safe.
#[derive(Debug, Serialize)]
pub(super) struct BenignLine {
    pub(super) exchanges: u64,
    pub(super) flagged: u64,
    pub(super) enforced: u64,
    pub(super) flagged_per_1000: Option<f64>,
    pub(super) enforced_per_1000: Option<f64>,
    pub(super) flagged_per_million_chars: Option<f64>,
    /// Tokens are not counted but reckoned: four characters each, or one and a half of a script without spaces.
    pub(super) flagged_per_million_tokens: Option<f64>,
}

/// A group's labelled texts in one channel.
#[derive(Debug, Serialize)]
pub(super) struct GroupLine {
    pub(super) by: By,
    pub(super) name: String,
    pub(super) channel: Channel,
    pub(super) unsafe_rows: u64,
    pub(super) safe_rows: u64,
    /// Unsafe rows that are flagged or worse.
    pub(super) recall: Option<f64>,
    /// Unsafe rows that would be redacted or blocked.
    pub(super) recall_enforced: Option<f64>,
    /// Of groups by category: unsafe rows that a rule of that category flags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) recall_own_category: Option<f64>,
    pub(super) false_positives: Option<f64>,
    pub(super) false_positives_enforced: Option<f64>,
    /// Of the verdict `flag` or worse.
    pub(super) f1: Option<f64>,
    pub(super) auroc: Option<f64>,
    /// Recall of the risk where 1 % of the safe rows reach the threshold.
    pub(super) recall_at_1_percent: Option<f64>,
    pub(super) recall_at_0_1_percent: Option<f64>,
    /// Characters read at the first flag, of the flagged unsafe rows.
    pub(super) first_flag_median: Option<u64>,
    /// Unsafe rows flagged within 128 words or 200 ideographs.
    pub(super) recall_early: Option<f64>,
}

/// What thinking of one kind has shown.
#[derive(Debug, Serialize)]
pub(super) struct ThinkingLine {
    pub(super) labelled: Handling,
    pub(super) set: String,
    pub(super) rows: u64,
    pub(super) safety_thinking: Option<f64>,
    pub(super) rationalisation: Option<f64>,
    /// Flagged in the thinking: before the answer begins.
    pub(super) flagged: Option<f64>,
}

/// In how many exchanges a rule matched.
#[derive(Debug, Serialize)]
pub(super) struct RuleLine {
    pub(super) rule: String,
    pub(super) benign: u64,
    pub(super) with_unsafe: u64,
}

/// Benign text as a stream in enforce mode.
#[derive(Debug, Serialize)]
pub(super) struct FramesSummary {
    pub(super) lines: Vec<FramesLine>,
    /// Waiting frames that were looked at again.
    pub(super) sampled: usize,
    /// Of these, how many each rule alone would have made wait.
    pub(super) blame: Vec<BlameLine>,
}

/// Frames of one channel and language.
#[derive(Debug, Serialize)]
pub(super) struct FramesLine {
    pub(super) channel: Channel,
    pub(super) language: String,
    pub(super) streams: u64,
    pub(super) frames: u64,
    pub(super) waited: u64,
    pub(super) waited_share: Option<f64>,
    /// Frames that had to come before a waiting one left.
    pub(super) median: Option<u64>,
    pub(super) p99: Option<u64>,
    pub(super) longest: Option<u64>,
    pub(super) blocked_streams: u64,
}

/// What a rule makes wait.
#[derive(Debug, Serialize)]
pub(super) struct BlameLine {
    pub(super) rule: String,
    pub(super) share: Option<f64>,
}

// === impl Summary ===

impl Summary {
    /// What was counted, as figures.
    pub(super) fn new(
        tally: &Tally,
        frames: Option<&Frames>,
        classifier: Option<String>,
        bad_lines: u64,
        took: Duration,
    ) -> Self {
        let seconds = took.as_secs_f64();
        let mut rules: Vec<RuleLine> = tally.rules.iter().map(RuleLine::new).collect();
        rules
            .sort_by(|left, right| right.benign.cmp(&left.benign).then(left.rule.cmp(&right.rule)));
        Self {
            classifier,
            exchanges: tally.exchanges,
            bad_lines,
            chars: tally.chars,
            seconds,
            chars_per_second: (seconds > 0.0).then(|| real(tally.chars) / seconds),
            benign: BenignLine::new(&tally.benign),
            groups: group_lines(&tally.groups),
            thinking: tally.thinking.iter().map(ThinkingLine::new).collect(),
            rules,
            frames: frames.map(FramesSummary::new),
        }
    }
}

fn group_lines(groups: &BTreeMap<Group, Scores>) -> Vec<GroupLine> {
    groups
        .iter()
        .map(|(group, scores)| GroupLine::new(group, &with_safe(groups, group, scores)))
        .collect()
}

/// A category's scores with all safe rows of the channel: safe rows have no category.
pub(super) fn with_safe(
    groups: &BTreeMap<Group, Scores>,
    group: &Group,
    scores: &Scores,
) -> Scores {
    let mut scores = scores.clone();
    let all = Group { by: By::All, name: "all".to_owned(), channel: group.channel };
    if group.by == By::Category
        && let Some(all) = groups.get(&all)
    {
        scores.safe_rows = all.safe_rows;
        scores.scored.extend(all.scored.iter().filter(|row| !row.is_unsafe));
    }
    scores
}

// === impl BenignLine ===

impl BenignLine {
    fn new(benign: &Benign) -> Self {
        let verdicts = benign.verdicts;
        let per_1000 = |count| share(count, verdicts.rows).map(|share| 1e3 * share);
        let tokens = real(benign.chars - benign.ideographs) / CHARS_A_TOKEN
            + real(benign.ideographs) / IDEOGRAPHS_A_TOKEN;
        Self {
            exchanges: verdicts.rows,
            flagged: verdicts.flagged,
            enforced: verdicts.enforced,
            flagged_per_1000: per_1000(verdicts.flagged),
            enforced_per_1000: per_1000(verdicts.enforced),
            flagged_per_million_chars: share(verdicts.flagged, benign.chars)
                .map(|share| 1e6 * share),
            flagged_per_million_tokens: (tokens > 0.0)
                .then(|| 1e6 * real(verdicts.flagged) / tokens),
        }
    }
}

// === impl GroupLine ===

impl GroupLine {
    fn new(group: &Group, scores: &Scores) -> Self {
        let Scores { unsafe_rows, safe_rows, .. } = *scores;
        let scored: &[Scored] = &scores.scored;
        Self {
            by: group.by,
            name: group.name.clone(),
            channel: group.channel,
            unsafe_rows: unsafe_rows.rows,
            safe_rows: safe_rows.rows,
            recall: share(unsafe_rows.flagged, unsafe_rows.rows),
            recall_enforced: share(unsafe_rows.enforced, unsafe_rows.rows),
            recall_own_category: (group.by == By::Category)
                .then(|| share(scores.own_category, unsafe_rows.rows))
                .flatten(),
            false_positives: share(safe_rows.flagged, safe_rows.rows),
            false_positives_enforced: share(safe_rows.enforced, safe_rows.rows),
            f1: f1(unsafe_rows.flagged, safe_rows.flagged, unsafe_rows.rows - unsafe_rows.flagged),
            auroc: auroc(scored),
            recall_at_1_percent: recall_at(scored, 0.01),
            recall_at_0_1_percent: recall_at(scored, 0.001),
            first_flag_median: quantile(&scores.first_flags, 50),
            recall_early: share(scores.early, unsafe_rows.rows),
        }
    }
}

// === impl ThinkingLine ===

impl ThinkingLine {
    fn new(((labelled, set), counts): (&(Handling, String), &Thinking)) -> Self {
        let of = |count| share(count, counts.rows);
        Self {
            labelled: *labelled,
            set: set.clone(),
            rows: counts.rows,
            safety_thinking: of(counts.saw_risk),
            rationalisation: of(counts.rationalisation),
            flagged: of(counts.flagged),
        }
    }
}

// === impl RuleLine ===

impl RuleLine {
    fn new((rule, fired): (&String, &Fired)) -> Self {
        Self { rule: rule.clone(), benign: fired.benign, with_unsafe: fired.with_unsafe }
    }
}

// === impl FramesSummary ===

impl FramesSummary {
    fn new(frames: &Frames) -> Self {
        let sampled = frames.sampled();
        let line =
            |Blame { rule, frames }| BlameLine { rule, share: share(frames, sampled as u64) };
        Self {
            lines: frames.counts.iter().map(FramesLine::new).collect(),
            sampled,
            blame: frames.blame().into_iter().map(line).collect(),
        }
    }
}

// === impl FramesLine ===

impl FramesLine {
    fn new(((channel, language), waits): (&(Channel, String), &Waits)) -> Self {
        let waited = waits.waited.len() as u64;
        Self {
            channel: *channel,
            language: language.clone(),
            streams: waits.streams,
            frames: waits.frames,
            waited,
            waited_share: share(waited, waits.frames),
            median: quantile(&waits.waited, 50),
            p99: quantile(&waits.waited, 99),
            longest: waits.waited.iter().max().copied(),
            blocked_streams: waits.blocked,
        }
    }
}
