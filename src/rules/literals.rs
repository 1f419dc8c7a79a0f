//! All literals in one Aho–Corasick automaton, word edges included.
//!
//! The automaton reads folded text in which [`MARK`] stands wherever words begin and end; a literal that must
//! not stand inside a longer word has that byte at its own edges. The mark after a word is read with the
//! character that follows, or at the end of the text.
//!
//! How much of the text could still become a literal is a property of the automaton's state: the longest
//! prefix of a literal that the text ends with. The automaton does not tell it, but its transitions do: the
//! states along a literal are its prefixes, and their fail links follow from the transitions
//! (`fail(p·b) = next(fail(p), b)`).

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, MatchKind};

use crate::text::fold::is_word;

use super::by_pattern::ByPattern;
use super::pack::{Edges, Literal};

/// Stands for a word's edge; UTF-8 never has this byte.
pub(super) const MARK: u8 = 0xFF;

/// What a literal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Use {
    /// The rule's index.
    pub(super) rule: u32,
    pub(super) role: Role,
}

/// What a literal's or a regex's match does for its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It is the rule's pattern of this number.
    Match { part: u8 },
    /// It is a word of the set's `near` of this number.
    Near { near: u32, word: u8 },
    /// It excuses what it overlaps.
    Exception,
    /// Matches of the set's regex of this number begin or end with it.
    Trigger { regex: u32 },
}

/// Literals while they are collected.
#[derive(Debug, Default)]
pub(super) struct LiteralsBuilder {
    uses: Vec<(Box<[u8]>, Use)>,
}

/// All literals of a set.
#[derive(Debug)]
pub(super) struct Literals {
    automaton: NFA,
    start: StateID,
    /// The literals with their marks, by pattern.
    encoded: Vec<Box<[u8]>>,
    uses: ByPattern<Use>,
    /// State id → place in `prefixes`.
    places: Vec<u32>,
    /// One entry a state, shorter prefixes first; the first is the empty prefix.
    prefixes: Vec<Prefix>,
    longest: usize,
}

/// What a state of the automaton stands for.
#[derive(Clone, Copy, Debug)]
struct Prefix {
    /// The place of the longest other prefix that this one ends with.
    fail: u32,
    /// Its length without marks.
    text_bytes: u16,
}

/// By state's place: the place of the longest chosen prefix that the text ends with, itself or along the fail
/// links, and [`NEEDS_EDGE`]; 0 where there is none.
#[derive(Debug, Default)]
pub(super) struct LiveDepths(Vec<u32>);

/// Marks a prefix that is live only after the edge of an ASCII word.
const NEEDS_EDGE: u32 = 1 << 31;

/// Where a chosen literal's prefix is live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LiveAt {
    /// Where `(?-u:\b)` holds.
    AsciiEdge,
    /// Wherever it stands, as far as its marks go.
    Anywhere,
}

// === impl LiteralsBuilder ===

impl LiteralsBuilder {
    pub(super) fn add(&mut self, literal: &Literal, used: Use) {
        self.uses.push((encode(literal), used));
    }

    pub(super) fn build(self) -> Result<Literals, String> {
        let mut uses = self.uses;
        uses.sort_by(|(one, used), (other, also)| (one, used.rule).cmp(&(other, also.rule)));
        let (encoded, uses) = ByPattern::gather(uses);
        let automaton = NFA::builder()
            .match_kind(MatchKind::Standard)
            .prefilter(false)
            .build(&encoded)
            .map_err(|error| error.to_string())?;
        let start = automaton.start_state(Anchored::No).map_err(|error| error.to_string())?;
        let longest = encoded.iter().map(|literal| text_bytes(literal)).max().unwrap_or(0);
        let mut literals = Literals {
            automaton,
            start,
            encoded,
            uses,
            places: Vec::new(),
            prefixes: Vec::new(),
            longest,
        };
        literals.index_prefixes();
        Ok(literals)
    }
}

// === impl Literals ===

impl Literals {
    pub(super) fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }

    pub(super) fn automaton(&self) -> &NFA {
        &self.automaton
    }

    /// What stands beside the automaton, in bytes.
    pub(super) fn tables(&self) -> usize {
        let encoded: usize = self.encoded.iter().map(|literal| literal.len() + 16).sum();
        encoded
            + self.uses.memory()
            + size_of_val(self.places.as_slice())
            + size_of_val(self.prefixes.as_slice())
    }

    /// The longest literal, in bytes of folded text.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// The state at the start of a text.
    pub(super) fn start(&self) -> StateID {
        self.start
    }

    /// The state after one more byte of marked text.
    #[inline]
    pub(super) fn next(&self, state: StateID, byte: u8) -> StateID {
        self.automaton.next_state(Anchored::No, state, byte)
    }

    /// Whether literals end here.
    #[inline]
    pub(super) fn is_match(&self, state: StateID) -> bool {
        self.automaton.is_match(state)
    }

    /// Calls `hit` with every literal that ends here: its uses, and its length in bytes and characters of
    /// folded text.
    pub(super) fn hits(&self, state: StateID, mut hit: impl FnMut(&[Use], u64, u64)) {
        for index in 0..self.automaton.match_len(state) {
            let pattern = self.automaton.match_pattern(state, index).as_usize();
            let Some(literal) = self.encoded.get(pattern) else { continue };
            let chars = literal.iter().filter(|&&byte| byte != MARK && !is_inner(byte)).count();
            hit(self.uses.of(pattern), text_bytes(literal) as u64, chars as u64);
        }
    }

    /// For every state, which proper prefix of a literal with a chosen use the text ends with.
    pub(super) fn live_depths(&self, chosen: impl Fn(&Use) -> Option<LiveAt>) -> LiveDepths {
        let mut own: Vec<Option<LiveAt>> = vec![None; self.prefixes.len()];
        let mut any = false;
        for (pattern, literal) in self.encoded.iter().enumerate() {
            let Some(live_at) = self.uses.of(pattern).iter().filter_map(&chosen).max() else {
                continue;
            };
            any = true;
            let mut state = self.start;
            for &byte in literal.iter().take(literal.len() - 1) {
                state = self.next(state, byte);
                if let Some(own) = own.get_mut(self.place(state)) {
                    *own = (*own).max(Some(live_at));
                }
            }
        }
        if !any {
            return LiveDepths::default();
        }
        let mut depths: Vec<u32> = Vec::with_capacity(self.prefixes.len());
        for ((place, prefix), own) in (0..).zip(&self.prefixes).zip(own) {
            let depth = match own {
                Some(LiveAt::Anywhere) => place,
                Some(LiveAt::AsciiEdge) => place | NEEDS_EDGE,
                None => depths.get(prefix.fail as usize).copied().unwrap_or(0),
            };
            depths.push(depth);
        }
        LiveDepths(depths)
    }

    /// The length of the longest live prefix in this state, in bytes of folded text; `is_edge` tells whether an
    /// ASCII word begins or ends that many bytes before the end of the text.
    pub(super) fn live(
        &self,
        depths: &LiveDepths,
        state: StateID,
        is_edge: impl Fn(u64) -> bool,
    ) -> u64 {
        if depths.0.is_empty() {
            return 0;
        }
        let mut place = self.place(state);
        loop {
            let entry = depths.0.get(place).copied().unwrap_or(0);
            let Some(prefix) = self.prefixes.get((entry & !NEEDS_EDGE) as usize) else { return 0 };
            let depth = u64::from(prefix.text_bytes);
            if entry & NEEDS_EDGE == 0 || is_edge(depth) {
                return depth;
            }
            place = prefix.fail as usize;
        }
    }

    fn place(&self, state: StateID) -> usize {
        self.places.get(state.as_usize()).map_or(0, |&place| place as usize)
    }

    /// Fills `prefixes`: every state with its fail link, shorter prefixes first.
    fn index_prefixes(&mut self) {
        // By depth: the state, its fail link, its length without marks.
        let mut by_depth: Vec<Vec<(StateID, StateID, u16)>> = Vec::new();
        let mut seen: Vec<bool> = Vec::new();
        for literal in &self.encoded {
            let (mut state, mut fail, mut text_bytes) = (self.start, self.start, 0);
            for (depth, &byte) in literal.iter().enumerate() {
                state = self.next(state, byte);
                if depth > 0 {
                    fail = self.next(fail, byte);
                }
                text_bytes += u16::from(byte != MARK);
                let id = state.as_usize();
                if seen.len() <= id {
                    seen.resize(id + 1, false);
                }
                if by_depth.len() <= depth {
                    by_depth.push(Vec::new());
                }
                if let (Some(seen @ false), Some(states)) =
                    (seen.get_mut(id), by_depth.get_mut(depth))
                {
                    *seen = true;
                    states.push((state, fail, text_bytes));
                }
            }
        }
        let mut places = vec![0_u32; seen.len()];
        let mut prefixes = vec![Prefix { fail: 0, text_bytes: 0 }];
        for (state, fail, text_bytes) in by_depth.into_iter().flatten() {
            if let Some(place) = places.get_mut(state.as_usize()) {
                *place = u32::try_from(prefixes.len()).unwrap_or(u32::MAX);
            }
            // A fail link is shorter, so its place is known by now.
            let fail = places.get(fail.as_usize()).copied().unwrap_or(0);
            prefixes.push(Prefix { fail, text_bytes });
        }
        self.places = places;
        self.prefixes = prefixes;
    }
}

/// The literal as the automaton reads it.
pub(super) fn encode(literal: &Literal) -> Box<[u8]> {
    let mut encoded = Vec::with_capacity(literal.folded.len() + 4);
    let anchored = literal.edges == Edges::Word;
    let mut before: Option<bool> = None;
    for c in literal.folded.chars() {
        let word = is_word(c);
        if before.map_or(anchored && word, |before| before != word) {
            encoded.push(MARK);
        }
        before = Some(word);
        encoded.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    if anchored && before == Some(true) {
        encoded.push(MARK);
    }
    encoded.into_boxed_slice()
}

/// A literal's length without marks.
fn text_bytes(encoded: &[u8]) -> usize {
    encoded.iter().filter(|&&byte| byte != MARK).count()
}

/// Whether a byte goes on with a character that began before.
const fn is_inner(byte: u8) -> bool {
    byte & 0xC0 == 0x80
}
