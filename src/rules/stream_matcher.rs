//! The state carried along one text.
//!
//! Text is folded as it comes; the literals' automaton and the regexes' DFAs read each folded byte once. What
//! they find becomes a *candidate*, and a candidate is reported when nothing that follows can change it:
//!
//! * A regex goes on as long as it matches at every following character; the run is one match. Where a run
//!   outgrows the regex (`[0-9]{3,9}` on twenty digits), its further matches begin where the last one ended.
//!   When it is over, the regex's [checks](super::validators) judge its whole span, and no shorter one.
//! * A rule with `unless` waits until no exception can overlap the candidate any more.
//! * Matches are reported in the order of their end, then of their rule, so an open run lets later ones wait.
//!
//! All of it follows from the text alone, never from how it was cut.

use std::collections::VecDeque;
use std::sync::Arc;

use aho_corasick::automaton::StateID as LiteralState;
use regex_automata::util::primitives::StateID as RegexState;
use smallvec::SmallVec;

use crate::text::fold::{fold_ascii_byte, fold_char, is_word};
use crate::text::offsets::{Offsets, Origin};

use super::automata::{Ends, Group, Starts, Whole, within_bound};
use super::compile::{Near, RuleSet, Search};
use super::encoded::EncodedReader;
use super::literals::{MARK, Role, Use};
use super::loose::{Letter, LooseReader, Scratch};
use super::place::{Disguised, WHOLE};
use super::watch::{Mode, Position};
use super::{RuleIndex, Watch};

/// Threads up to this many are not worth merging.
const FEW_THREADS: usize = 8;

/// Original bytes that are taken in at once; what has to be kept does not grow with a push's length.
const BLOCK: usize = 1024;

/// One rule's match, in the original text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuleMatch {
    /// The rule.
    pub rule: RuleIndex,
    /// Its first byte.
    pub start: u64,
    /// One past its last byte.
    pub end: u64,
    /// Its first Unicode scalar value.
    pub start_char: u64,
    /// One past its last Unicode scalar value.
    pub end_char: u64,
}

/// Carried state for one text.
///
/// Cheap to make and to clone; its size depends on the longest possible match, never on the text.
#[derive(Clone, Debug)]
pub struct StreamMatcher {
    watch: Arc<Watch>,
    carried: Carried,
}

#[derive(Clone, Debug)]
pub(super) struct Carried {
    offsets: Offsets,
    folded_chars: u64,
    literal_state: LiteralState,
    /// Whether the last folded character belongs to a word.
    in_word: bool,
    /// One a watched group.
    regex_states: SmallVec<[RegexState; 4]>,
    /// The last folded bytes, where regexes are watched.
    tail: Vec<u8>,
    /// Literals by which regexes are looked for, not followed up yet.
    triggers: Vec<Trigger>,
    /// Regexes that run forward from a literal.
    threads: Vec<Thread>,
    /// What the threads found, for one block; kept for its memory.
    thread_hits: Vec<Hit>,
    /// Literals in disguise that may be under way.
    loose: LooseReader,
    /// Encoded text inside this one; none inside of which this one stands.
    encoded: Option<EncodedReader>,
    /// Matches not reported yet, in the order of their end and rule.
    pending: VecDeque<Candidate>,
    exceptions: Vec<Exception>,
    near: Vec<NearWord>,
    /// Of rules that need all of their patterns: those that matched, one bit each.
    seen: Vec<(u32, u64)>,
    end: End,
    /// What was reported last: the same match is reported once.
    last: Option<(u32, u64, u64)>,
}

/// A match that is not reported yet. Its span is in folded bytes.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    rule: u32,
    part: u8,
    /// With its head, which only its regex sees.
    start: u64,
    /// Where it counts from.
    shown: u64,
    end: u64,
    from: Origin,
    to: Origin,
    run: Run,
}

/// Whether a candidate can still grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    /// It is what it is.
    Closed,
    /// This regex may go on matching; its matches in this run do not begin before `floor`.
    Open { regex: u32, floor: u64 },
    /// It will not grow any more, and the regex's checks have not judged it yet.
    Ended { regex: u32 },
}

/// A literal that a match of a regex may begin or end with, in folded bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Trigger {
    regex: u32,
    start: u64,
    end: u64,
}

/// A regex that runs forward from a place where it may match.
#[derive(Clone, Copy, Debug)]
struct Thread {
    regex: u32,
    start: u64,
    state: RegexState,
}

/// A regex's match, in folded bytes; ordered so that of those with the same end the leftmost comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Hit {
    regex: u32,
    end: u64,
    start: u64,
}

/// A match of a rule's exception, in folded bytes.
#[derive(Clone, Copy, Debug)]
struct Exception {
    rule: u32,
    start: u64,
    end: u64,
}

/// The last place of one of the words of a `near`.
#[derive(Clone, Copy, Debug)]
struct NearWord {
    near: u32,
    word: u8,
    start: u64,
    from: Origin,
    /// In characters of folded text.
    start_char: u64,
}

// === impl StreamMatcher ===

impl StreamMatcher {
    /// At the start of a text.
    #[must_use]
    pub fn new(watch: &Arc<Watch>) -> Self {
        let mut carried = Carried::inside(watch);
        carried.encoded = watch.sees_disguises.then(EncodedReader::default);
        Self { watch: Arc::clone(watch), carried }
    }

    /// Reads on, and appends to `found` what is certain now.
    pub fn push(&mut self, text: &str, found: &mut Vec<RuleMatch>) {
        let mut rest = text;
        while !rest.is_empty() {
            let (block, later) = rest.split_at(rest.floor_char_boundary(BLOCK));
            self.carried.read(&self.watch, block);
            self.carried.settle(&self.watch, found);
            rest = later;
        }
    }

    /// The text has ended: appends what was still open. Nothing may be pushed after it.
    pub fn finish(&mut self, found: &mut Vec<RuleMatch>) {
        self.carried.end(&self.watch);
        self.carried.settle(&self.watch, found);
    }

    /// No enforced match that is not yet reported starts below this byte of the text.
    ///
    /// [`read_bytes`](Self::read_bytes) where none can be under way.
    #[must_use]
    pub fn watermark(&self) -> u64 {
        self.carried.watermark(&self.watch)
    }

    /// Bytes read so far.
    #[must_use]
    pub fn read_bytes(&self) -> u64 {
        self.carried.offsets.read().byte
    }

    /// Unicode scalar values read so far.
    #[must_use]
    pub fn read_chars(&self) -> u64 {
        self.carried.offsets.read().char
    }
}

/// Whether more text may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Reached,
}

// === impl Carried ===

impl Carried {
    /// At the start of a text that stands inside another one.
    pub(super) fn inside(watch: &Watch) -> Self {
        let rules = watch.rules();
        Self {
            offsets: Offsets::new(),
            folded_chars: 0,
            literal_state: rules.literals.start(),
            in_word: false,
            regex_states: watch
                .groups
                .iter()
                .filter_map(|&group| rules.groups.get(group).map(Group::start))
                .collect(),
            tail: Vec::new(),
            triggers: Vec::new(),
            threads: Vec::new(),
            thread_hits: Vec::new(),
            loose: LooseReader::default(),
            encoded: None,
            pending: VecDeque::new(),
            exceptions: Vec::new(),
            near: Vec::new(),
            seen: Vec::new(),
            end: End::Open,
            last: None,
        }
    }

    pub(super) fn read(&mut self, watch: &Watch, block: &str) {
        let known_from = self.offsets.folded().saturating_sub(watch.offset_reach);
        self.offsets.forget_before(known_from);
        let keeps_tail = watch.tail_reach > 0;
        if keeps_tail {
            self.trim_tail(watch.tail_reach);
        }
        let new_from = self.tail.len();
        let mut scratch = Scratch::default();
        let mut rest = block;
        while !rest.is_empty() {
            let ascii = rest.bytes().position(|byte| !byte.is_ascii()).unwrap_or(rest.len());
            let (run, later) = rest.split_at(ascii);
            if !run.is_empty() {
                self.read_ascii(watch, run.as_bytes(), keeps_tail, &mut scratch);
            }
            rest = later;
            let mut chars = rest.chars();
            while let Some(c) = chars.next().filter(|c| !c.is_ascii()) {
                self.read_char(watch, c, keeps_tail, &mut scratch);
                rest = chars.as_str();
            }
        }
        self.loose.rest();
        if !scratch.found.is_empty() {
            self.take_disguised(watch, &mut scratch.found);
        }
        if keeps_tail {
            self.read_regexes(watch, new_from);
        }
    }

    fn read_ascii(&mut self, watch: &Watch, run: &[u8], keeps_tail: bool, scratch: &mut Scratch) {
        if keeps_tail {
            self.tail.extend(run.iter().map(|&byte| fold_ascii_byte(byte)));
        }
        let (folded, chars) = (self.offsets.folded(), self.folded_chars);
        self.offsets.push(run.len() as u64, 1, 1);
        self.folded_chars += run.len() as u64;
        if let Some(encoded) = &mut self.encoded {
            let mut ahead = run;
            for (at, &byte) in (folded..).zip(run) {
                encoded.read(watch, char::from(byte), at, &self.offsets, &mut scratch.found);
                ahead = ahead.split_first().map_or(&[], |(_, rest)| rest);
                if !self.loose.passes(&watch.rules().loose, byte, ahead) {
                    let (folded, original) = (char::from(fold_ascii_byte(byte)), char::from(byte));
                    let letter = Letter { folded, original, at };
                    self.loose.read(&watch.rules().loose, letter, &self.offsets, scratch);
                }
            }
        }
        let literals = &watch.rules().literals;
        if literals.is_empty() {
            return;
        }
        let mut state = self.literal_state;
        for (index, &byte) in (0_u64..).zip(run) {
            let byte = fold_ascii_byte(byte);
            let word = is_word_byte(byte);
            if word != self.in_word {
                self.in_word = word;
                state = literals.next(state, MARK);
                if literals.is_match(state) {
                    self.hit(watch, state, folded + index, chars + index);
                }
            }
            state = literals.next(state, byte);
            if literals.is_match(state) {
                self.hit(watch, state, folded + index + 1, chars + index + 1);
            }
        }
        self.literal_state = state;
    }

    fn read_char(
        &mut self,
        watch: &Watch,
        original: char,
        keeps_tail: bool,
        scratch: &mut Scratch,
    ) {
        let mut width = 0;
        fold_char(original, |c| width += c.len_utf8());
        let (mut end, mut end_char) = (self.offsets.folded(), self.folded_chars);
        // Both are a few bytes.
        let width = u32::try_from(width).unwrap_or(u32::MAX);
        let byte_width = u32::try_from(original.len_utf8()).unwrap_or(u32::MAX);
        self.offsets.push(1, byte_width, width);
        if let Some(encoded) = &mut self.encoded {
            encoded.read(watch, original, end, &self.offsets, &mut scratch.found);
        }
        let literals = &watch.rules().literals;
        fold_char(original, |c| {
            let mut buffer = [0; 4];
            let bytes = c.encode_utf8(&mut buffer).as_bytes();
            if keeps_tail {
                self.tail.extend_from_slice(bytes);
            }
            let word = is_word(c);
            if word != self.in_word {
                self.in_word = word;
                self.literal_state = literals.next(self.literal_state, MARK);
                if literals.is_match(self.literal_state) {
                    self.hit(watch, self.literal_state, end, end_char);
                }
            }
            for &byte in bytes {
                self.literal_state = literals.next(self.literal_state, byte);
            }
            if self.encoded.is_some() {
                let letter = Letter { folded: c, original, at: end };
                self.loose.read(&watch.rules().loose, letter, &self.offsets, scratch);
            }
            end += bytes.len() as u64;
            end_char += 1;
            if literals.is_match(self.literal_state) {
                self.hit(watch, self.literal_state, end, end_char);
            }
        });
        self.folded_chars = end_char;
    }

    /// Takes up what was found in disguise; a literal that stands there as it is written was found already.
    #[cold]
    fn take_disguised(&mut self, watch: &Watch, found: &mut Vec<Disguised>) {
        for Disguised { rule, part, start, end } in found.drain(..) {
            let is_known = part != WHOLE
                && self.pending.iter().any(|known| {
                    (known.rule, known.shown, known.end) == (rule, start.folded, end.folded)
                });
            if watch.mode(rule) != Mode::Ignored && !is_known {
                self.pending.push_back(Candidate {
                    rule,
                    part,
                    start: start.folded,
                    shown: start.folded,
                    end: end.folded,
                    from: start.origin,
                    to: end.origin,
                    run: Run::Closed,
                });
            }
        }
    }

    /// Takes up the literals that end at `end`.
    #[cold]
    fn hit(&mut self, watch: &Watch, state: LiteralState, end: u64, end_char: u64) {
        watch.rules().literals.hits(state, |uses, bytes, chars| {
            let (start, start_char) = (end - bytes, end_char - chars);
            for &Use { rule, role } in uses {
                if watch.mode(rule) == Mode::Ignored {
                    continue;
                }
                match role {
                    Role::Match { part } => self.add(rule, part, [start, start, end], Run::Closed),
                    Role::Exception => self.exceptions.push(Exception { rule, start, end }),
                    Role::Trigger { regex } => self.triggers.push(Trigger { regex, start, end }),
                    Role::Near { near, word } => {
                        let from = self.offsets.start_of(start);
                        let word = NearWord { near, word, start, from, start_char };
                        self.near_hit(watch, word, end, end_char);
                    }
                }
            }
        });
    }

    /// Takes up a word of a `near`, and the match if it was the last one missing.
    fn near_hit(&mut self, watch: &Watch, word: NearWord, end: u64, end_char: u64) {
        let nears = &watch.rules().nears;
        let Some(near) = nears.get(word.near as usize) else { return };
        self.near.retain(|seen| {
            let within = nears.get(seen.near as usize).map_or(0, |near| near.within_chars);
            seen.start_char + within >= end_char && (seen.near, seen.word) != (word.near, word.word)
        });
        self.near.push(word);
        let together = self.near.iter().filter(|seen| seen.near == word.near);
        if together.clone().count() < near.words || end_char - word.start_char > near.within_chars {
            return;
        }
        let Some(&first) = together.min_by_key(|seen| seen.start) else { return };
        self.near.retain(|seen| seen.near != word.near);
        match near.role {
            Role::Match { part } => self.pending.push_back(Candidate {
                rule: near.rule,
                part,
                start: first.start,
                shown: first.start,
                end,
                from: first.from,
                to: self.offsets.end_of(end),
                run: Run::Closed,
            }),
            Role::Exception => {
                self.exceptions.push(Exception { rule: near.rule, start: first.start, end });
            }
            // Those are literals' roles.
            Role::Near { .. } | Role::Trigger { .. } => {}
        }
    }

    fn read_regexes(&mut self, watch: &Watch, new_from: usize) {
        let rules = watch.rules();
        let tail = Tail::new(std::mem::take(&mut self.tail), self.offsets.folded());
        let mut states = std::mem::take(&mut self.regex_states);
        let new = tail.text.get(new_from..).unwrap_or_default();
        for (state, &group) in states.iter_mut().zip(&watch.groups) {
            let Some(group) = rules.groups.get(group) else { continue };
            *state = group.read(*state, new, |regex, index| {
                self.ended(watch, regex, &tail, tail.start + (new_from + index) as u64);
            });
        }
        self.regex_states = states;
        if !self.threads.is_empty() {
            self.read_threads(rules, &tail, new_from);
        }
        if !self.triggers.is_empty() {
            self.follow_triggers(watch, &tail);
        }
        if !self.thread_hits.is_empty() {
            self.take_thread_hits(watch, &tail);
        }
        self.tail = tail.text;
    }

    /// Lets the threads read what is new, and ends those that cannot match any more.
    fn read_threads(&mut self, rules: &RuleSet, tail: &Tail, new_from: usize) {
        let new = tail.text.get(new_from..).unwrap_or_default();
        let new_start = tail.start + new_from as u64;
        let hits = &mut self.thread_hits;
        self.threads.retain_mut(|thread| {
            let Thread { regex, start, state } = *thread;
            let Some(Search::FromFirst(ends)) =
                rules.regexes.get(regex as usize).map(|regex| &regex.search)
            else {
                return false;
            };
            let state = ends.read(state, new, |index| {
                hits.push(Hit { regex, end: new_start + index as u64, start });
            });
            state.inspect(|&state| thread.state = state).is_some()
        });
        if self.threads.len() > FEW_THREADS {
            self.merge_threads(rules);
        }
    }

    /// Of threads that began before their bound, those in the same state find the same.
    fn merge_threads(&mut self, rules: &RuleSet) {
        let folded = self.offsets.folded();
        let mut kept = Vec::new();
        self.threads.retain(|thread| {
            let key = (thread.regex, thread.state);
            let is_new = !kept.contains(&key);
            if folded - thread.start <= bound_of(rules, thread.regex) {
                return true;
            }
            if is_new {
                kept.push(key);
            }
            is_new
        });
    }

    /// Looks for the regexes whose literals were seen.
    #[cold]
    fn follow_triggers(&mut self, watch: &Watch, tail: &Tail) {
        let mut triggers = std::mem::take(&mut self.triggers);
        let known_to = match self.end {
            End::Open => self.offsets.folded(),
            End::Reached => u64::MAX,
        };
        triggers.retain(|&trigger| {
            let regex = watch.rules().regexes.get(trigger.regex as usize);
            match regex.map(|regex| &regex.search) {
                // What follows the literal may be a word edge that has to be known.
                Some(Search::FromLast(_)) if trigger.end >= known_to => true,
                Some(Search::FromLast(_)) => {
                    self.ended(watch, trigger.regex, tail, trigger.end);
                    false
                }
                Some(Search::FromFirst(ends)) => {
                    self.start_thread(ends, trigger, tail);
                    false
                }
                Some(Search::Grouped(_)) | None => false,
            }
        });
        self.triggers = triggers;
    }

    fn start_thread(&mut self, ends: &Ends, trigger: Trigger, tail: &Tail) {
        let Trigger { regex, start, end: known_to } = trigger;
        if self.threads.iter().any(|thread| (thread.regex, thread.start) == (regex, start)) {
            return;
        }
        let before = start.checked_sub(1).and_then(|before| tail.byte(before));
        let Some(state) = ends.start(before) else { return };
        let state = ends.read(state, tail.from(start), |index| {
            let end = start + index as u64;
            // What ends before this literal begins with another one, whose thread has found it.
            if end >= known_to {
                self.thread_hits.push(Hit { regex, end, start });
            }
        });
        if let Some(state) = state {
            self.threads.push(Thread { regex, start, state });
        }
    }

    #[cold]
    fn take_thread_hits(&mut self, watch: &Watch, tail: &Tail) {
        let mut hits = std::mem::take(&mut self.thread_hits);
        hits.sort_unstable();
        for same in hits.chunk_by(|a, b| (a.regex, a.end) == (b.regex, b.end)) {
            let Some(&Hit { regex, end, .. }) = same.first() else { continue };
            let bound = bound_of(watch.rules(), regex);
            let start = same.iter().map(|hit| hit.start).find(|start| end - start <= bound);
            let start = start.unwrap_or_else(|| tail.within_bound(end, bound));
            self.regex_hit(watch, Hit { regex, end, start }, tail);
        }
        hits.clear();
        self.thread_hits = hits;
    }

    /// Takes up a regex's match that ends here, or may do so.
    #[cold]
    fn ended(&mut self, watch: &Watch, number: u32, tail: &Tail, end: u64) {
        let Some(regex) = watch.rules().regexes.get(number as usize) else { return };
        if watch.mode(regex.rule) == Mode::Ignored {
            return;
        }
        let before = tail.before(end);
        let longest = |starts: &Starts| starts.longest(before, tail.byte(end), tail.whole());
        let length = match &regex.search {
            Search::Grouped(starts) => {
                longest(starts).unwrap_or_else(|| within_bound(before, regex.pattern.bound))
            }
            Search::FromLast(starts) => match longest(starts) {
                Some(length) => length,
                None => return,
            },
            Search::FromFirst(_) => return,
        };
        self.regex_hit(watch, Hit { regex: number, end, start: end - length as u64 }, tail);
    }

    fn regex_hit(&mut self, watch: &Watch, hit: Hit, tail: &Tail) {
        let Some(regex) = watch.rules().regexes.get(hit.regex as usize) else { return };
        let (rule, Hit { regex: number, end, start }) = (regex.rule, hit);
        match regex.role {
            Role::Exception => self.exceptions.push(Exception { rule, start, end }),
            Role::Match { part } => {
                let shown = tail.behind(start, regex.pattern.head, end);
                if let Some(floor) = self.extend_run(number, [start, shown, end], tail) {
                    let run = Run::Open { regex: number, floor };
                    self.add(rule, part, [start.max(floor), shown.max(floor), end], run);
                }
            }
            // Those are literals' roles.
            Role::Near { .. } | Role::Trigger { .. } => {}
        }
    }

    /// Lets the regex's open run grow, or gives the place before which a new one must not begin.
    fn extend_run(
        &mut self,
        regex: u32,
        [start, shown, end]: [u64; 3],
        tail: &Tail,
    ) -> Option<u64> {
        let open = self.pending.iter_mut().rev().find(
            |candidate| matches!(candidate.run, Run::Open { regex: open, .. } if open == regex),
        );
        let Some(open) = open else { return Some(0) };
        let Run::Open { floor, .. } = open.run else { return Some(0) };
        let ended = Run::Ended { regex };
        if open.end == end {
            // Two of its literals end here.
            return None;
        }
        if tail.char_end(open.end) != end {
            open.run = ended;
            return Some(0);
        }
        let start = start.max(floor);
        if start > open.start {
            open.run = ended;
            return Some(open.end);
        }
        open.start = start;
        // What has counted to it goes on doing so.
        open.shown = open.shown.min(shown.max(floor));
        open.end = end;
        open.from = self.offsets.start_of(open.shown);
        open.to = self.offsets.end_of(end);
        None
    }

    /// Takes up a match by where it starts, where it counts from, and where it ends.
    fn add(&mut self, rule: u32, part: u8, [start, shown, end]: [u64; 3], run: Run) {
        let (from, to) = (self.offsets.start_of(shown), self.offsets.end_of(end));
        self.pending.push_back(Candidate { rule, part, start, shown, end, from, to, run });
    }

    /// The text has ended: its last word does, and its last regexes.
    pub(super) fn end(&mut self, watch: &Watch) {
        self.end = End::Reached;
        let rules = watch.rules();
        if std::mem::take(&mut self.in_word) && !rules.literals.is_empty() {
            self.literal_state = rules.literals.next(self.literal_state, MARK);
            if rules.literals.is_match(self.literal_state) {
                self.hit(watch, self.literal_state, self.offsets.folded(), self.folded_chars);
            }
        }
        let mut in_disguise = Vec::new();
        self.loose.end(&rules.loose, &self.offsets, &mut in_disguise);
        if let Some(encoded) = &mut self.encoded {
            encoded.end(watch, &self.offsets, &mut in_disguise);
        }
        self.take_disguised(watch, &mut in_disguise);
        let tail = Tail::new(std::mem::take(&mut self.tail), self.offsets.folded());
        let folded = self.offsets.folded();
        for (state, &group) in self.regex_states.clone().iter().zip(&watch.groups) {
            let Some(group) = rules.groups.get(group) else { continue };
            group.end(*state, |regex| self.ended(watch, regex, &tail, folded));
        }
        self.follow_triggers(watch, &tail);
        for Thread { regex, start, state } in std::mem::take(&mut self.threads) {
            let search = rules.regexes.get(regex as usize).map(|regex| &regex.search);
            if matches!(search, Some(Search::FromFirst(ends)) if ends.ends(state)) {
                self.thread_hits.push(Hit { regex, end: folded, start });
            }
        }
        self.take_thread_hits(watch, &tail);
        self.tail = tail.text;
    }

    /// Reports the candidates that nothing can change any more.
    #[inline]
    pub(super) fn settle(&mut self, watch: &Watch, found: &mut Vec<RuleMatch>) {
        if !self.pending.is_empty() {
            self.settle_pending(watch, found);
        }
        if !self.exceptions.is_empty() {
            let folded = self.offsets.folded();
            let shapes = &watch.rules().shapes;
            self.exceptions.retain(|exception| {
                let longest = shapes.get(exception.rule as usize).map_or(0, |shape| shape.longest);
                // An open run that it overlaps may end one character back.
                exception.end + longest + 4 >= folded
            });
        }
    }

    fn settle_pending(&mut self, watch: &Watch, found: &mut Vec<RuleMatch>) {
        let folded = self.offsets.folded();
        let tail = Tail::new(std::mem::take(&mut self.tail), folded);
        let (end, exceptions) = (self.end, &self.exceptions);
        self.pending.retain_mut(|candidate| {
            // Ends up to the byte before the last are known.
            let known = end == End::Reached || tail.char_end(candidate.end) < folded;
            match candidate.run {
                Run::Open { regex, .. } if known => candidate.run = Run::Ended { regex },
                Run::Open { .. } | Run::Ended { .. } | Run::Closed => {}
            }
            if let Run::Ended { regex } = candidate.run {
                candidate.run = Run::Closed;
                if !accepts(watch.rules(), regex, tail.between(candidate.start, candidate.end)) {
                    return false;
                }
            }
            candidate.run != Run::Closed
                || !exceptions.iter().any(|exception| {
                    exception.rule == candidate.rule
                        && exception.start < candidate.end
                        && candidate.shown < exception.end
                })
        });
        self.tail = tail.text;
        self.pending.make_contiguous().sort_by_key(|candidate| {
            (candidate.end, candidate.rule, candidate.shown, candidate.part)
        });
        let mut undecided_from = None;
        while let Some(&candidate) = self.pending.front() {
            let shape = watch.rules().shapes.get(candidate.rule as usize);
            if self.end == End::Open {
                if candidate.run != Run::Closed || candidate.end >= folded {
                    break;
                }
                if shape.is_some_and(|shape| shape.has_exceptions) {
                    let undecided_from =
                        *undecided_from.get_or_insert_with(|| self.exceptions_from(watch));
                    if undecided_from < candidate.end {
                        break;
                    }
                }
            }
            self.pending.pop_front();
            self.report(candidate, shape.map_or(0, |shape| shape.needs), found);
        }
    }

    /// Where the first exception begins that is still under way; the end of the text where none is.
    fn exceptions_from(&self, watch: &Watch) -> u64 {
        let live = self.offsets.folded() - watch.live_exceptions(&self.position());
        let threads = self
            .threads
            .iter()
            .filter(|thread| is_exception(watch.rules(), thread))
            .map(|thread| self.thread_from(watch.rules(), thread));
        let words = self
            .near
            .iter()
            .filter(|word| {
                self.live_near(watch, word).is_some_and(|near| near.role == Role::Exception)
            })
            .map(|word| word.start);
        threads.chain(words).fold(live, u64::min)
    }

    fn report(&mut self, candidate: Candidate, needs: u64, found: &mut Vec<RuleMatch>) {
        let key = (candidate.rule, candidate.shown, candidate.end);
        if needs != 0
            && candidate.part != WHOLE
            && !self.completes(candidate.rule, candidate.part, needs)
        {
            return;
        }
        if self.last.replace(key) != Some(key) {
            found.push(RuleMatch {
                rule: RuleIndex(candidate.rule),
                start: candidate.from.byte,
                end: candidate.to.byte,
                start_char: candidate.from.char,
                end_char: candidate.to.char,
            });
        }
    }

    /// Whether this pattern is the last that its rule needed; afterwards the rule is done with this text.
    fn completes(&mut self, rule: u32, part: u8, needs: u64) -> bool {
        let bit = 1_u64 << (part & 63);
        if let Some((_, seen)) = self.seen.iter_mut().find(|(seen, _)| *seen == rule) {
            let missing = needs & !*seen;
            *seen |= bit;
            return missing == bit;
        }
        self.seen.push((rule, bit));
        needs == bit
    }

    pub(super) const fn read_bytes(&self) -> u64 {
        self.offsets.read().byte
    }

    pub(super) fn watermark(&self, watch: &Watch) -> u64 {
        if self.end == End::Reached {
            return self.offsets.read().byte;
        }
        let folded = self.offsets.folded();
        let mut live = folded - watch.live_enforced(&self.position());
        for thread in &self.threads {
            let regex = watch.rules().regexes.get(thread.regex as usize);
            if regex.is_some_and(|regex| watch.mode(regex.rule) == Mode::Enforced)
                && !is_exception(watch.rules(), thread)
            {
                live = live.min(self.thread_from(watch.rules(), thread));
            }
        }
        let mut mark = self.offsets.start_of(live).byte;
        if let Some(loose) = self.loose.live_from(&watch.loose, &self.offsets) {
            mark = mark.min(loose.byte);
        }
        if let Some(encoded) = self.encoded.as_ref().and_then(|encoded| encoded.live_from(watch)) {
            mark = mark.min(encoded.byte);
        }
        for candidate in &self.pending {
            if watch.mode(candidate.rule) == Mode::Enforced {
                mark = mark.min(candidate.from.byte);
            }
        }
        for word in &self.near {
            if let Some(near) = self.live_near(watch, word)
                && watch.mode(near.rule) == Mode::Enforced
                && near.role != Role::Exception
            {
                mark = mark.min(word.from.byte);
            }
        }
        mark
    }

    /// Where the match would count from that a thread may still find.
    fn thread_from(&self, rules: &RuleSet, thread: &Thread) -> u64 {
        let (folded, bound) = (self.offsets.folded(), bound_of(rules, thread.regex));
        if folded - thread.start > bound {
            let bound = usize::try_from(bound).unwrap_or(usize::MAX);
            return folded - within_bound(&self.tail, bound) as u64;
        }
        let head = rules.regexes.get(thread.regex as usize).map_or(0, |regex| regex.pattern.head);
        behind(&self.tail, folded - self.tail.len() as u64, thread.start, head)
    }

    /// The `near` of a word, if its other words may still come.
    fn live_near<'w>(&self, watch: &'w Watch, word: &NearWord) -> Option<&'w Near> {
        let near = watch.rules().nears.get(word.near as usize)?;
        (word.start_char + near.within_chars >= self.folded_chars).then_some(near)
    }

    fn position(&self) -> Position<'_> {
        let whole =
            if self.offsets.folded() == self.tail.len() as u64 { Whole::Yes } else { Whole::No };
        Position { literal_state: self.literal_state, tail: &self.tail, whole }
    }

    /// Forgets what no regex can reach any more; not every time, so that it costs little.
    fn trim_tail(&mut self, reach: usize) {
        // One byte more for the context of a match's start.
        let keep = reach + 1;
        if self.tail.len() > 2 * keep + 64 {
            self.tail.drain(..self.tail.len() - keep);
        }
    }
}

/// The place `head` characters behind `start` in a text whose first byte is at `from`; its end where it has fewer.
fn behind(text: &[u8], from: u64, start: u64, head: usize) -> u64 {
    if head == 0 {
        return start;
    }
    let at = usize::try_from(start.saturating_sub(from)).unwrap_or(usize::MAX);
    let rest = text.get(at..).unwrap_or_default();
    let mut starts = (start..).zip(rest).filter(|&(_, byte)| byte & 0xC0 != 0x80);
    starts.nth(head).map_or(start + rest.len() as u64, |(place, _)| place)
}

/// The longest match of a regex that is reported whole.
fn bound_of(rules: &RuleSet, regex: u32) -> u64 {
    rules.regexes.get(regex as usize).map_or(0, |regex| regex.pattern.bound as u64)
}

/// Whether a regex's checks let a match count.
fn accepts(rules: &RuleSet, regex: u32, matched: Option<&[u8]>) -> bool {
    let checks = rules.regexes.get(regex as usize).map(|regex| regex.pattern.checks);
    let (Some(checks), Some(matched)) = (checks.filter(|checks| !checks.is_empty()), matched)
    else {
        return true;
    };
    str::from_utf8(matched).is_ok_and(|matched| checks.accept(matched))
}

/// Whether a thread follows an exception.
fn is_exception(rules: &RuleSet, thread: &Thread) -> bool {
    let regex = rules.regexes.get(thread.regex as usize);
    regex.is_some_and(|regex| regex.role == Role::Exception)
}

/// The last folded bytes, by their place in the whole text.
struct Tail {
    text: Vec<u8>,
    start: u64,
}

// === impl Tail ===

impl Tail {
    fn new(text: Vec<u8>, end: u64) -> Self {
        let start = end - text.len() as u64;
        Self { text, start }
    }

    fn whole(&self) -> Whole {
        if self.start == 0 { Whole::Yes } else { Whole::No }
    }

    fn at(&self, place: u64) -> Option<usize> {
        usize::try_from(place.checked_sub(self.start)?).ok()
    }

    fn byte(&self, place: u64) -> Option<u8> {
        self.text.get(self.at(place)?).copied()
    }

    fn before(&self, place: u64) -> &[u8] {
        self.at(place).and_then(|at| self.text.get(..at)).unwrap_or_default()
    }

    fn between(&self, start: u64, end: u64) -> Option<&[u8]> {
        self.text.get(self.at(start)?..self.at(end)?)
    }

    fn from(&self, place: u64) -> &[u8] {
        self.at(place).and_then(|at| self.text.get(at..)).unwrap_or_default()
    }

    /// Where the match from `start` to `end` counts from, which has characters behind its head.
    fn behind(&self, start: u64, head: usize, end: u64) -> u64 {
        behind(self.before(end), self.start, start, head)
    }

    /// The first character that begins no more than `bound` bytes before `place`.
    fn within_bound(&self, place: u64, bound: u64) -> u64 {
        let bound = usize::try_from(bound).unwrap_or(usize::MAX);
        place - within_bound(self.before(place), bound) as u64
    }

    /// Where the character that begins at `place` ends.
    fn char_end(&self, place: u64) -> u64 {
        let width = match self.byte(place) {
            None | Some(0..0xC0) => 1,
            Some(0xC0..0xE0) => 2,
            Some(0xE0..0xF0) => 3,
            Some(_) => 4,
        };
        place + width
    }
}

/// [`is_word`] for a folded ASCII byte.
#[inline]
const fn is_word_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')
}
