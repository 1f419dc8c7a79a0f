//! Regexes as dense DFAs whose states can be carried along a stream.
//!
//! * [`Group`], forward, many regexes a DFA: where does a match end? (Known one byte later.)
//! * [`Starts`], backward, one regex a DFA: where does the match that ends here start? The leftmost wins.
//! * [`Ends`], forward from a known start, one regex a DFA: where does a match end?
//!
//! A group's DFA tracks all possible starts at once, so that `acid.{0,40}bath` alone can need more states than
//! there is memory for. The other two track one place, which is cheap; they are run where one of the regex's
//! last or first literals stands, and the literals' automaton knows that already ([`triggers`]).
//!
//! * [`Closure`], backward over *prefix closures*: how much of the text's end could still become a match? With `P(h)` for
//!   the prefixes of what `h` matches, `P(class) = ε|class`, `P(ab) = P(a)|a·P(b)`, `P(a|b) = P(a)|P(b)` and
//!   `P(x{m,n}) = x{0,n-1}·P(x)`. Exact without look-around; a word edge that the text's end has not decided
//!   is taken to hold.

use regex_automata::dfa::{Automaton, StartKind, dense, sparse};
use regex_automata::nfa::thompson;
use regex_automata::util::primitives::StateID;
use regex_automata::util::start;
use regex_automata::{Anchored, MatchKind};
use regex_syntax::hir::literal::{ExtractKind, Extractor};
use regex_syntax::hir::{Class, Hir, HirKind, Repetition};

type Dfa = dense::DFA<Vec<u32>>;
/// A tenth of the memory and somewhat slower: for what runs now and then, and of which there are many.
type SparseDfa = sparse::DFA<Vec<u8>>;

/// The size that a DFA of several regexes may have, in bytes.
const GROUP_SIZE: usize = 2 << 20;
/// The size that a DFA of one regex may have, in bytes.
const SINGLE_SIZE: usize = 8 << 20;
/// The most literals that one regex is looked for by.
const MAX_TRIGGERS: usize = 64;

/// A DFA of several regexes, run forward from the start of the text.
#[derive(Debug)]
pub(super) struct Group {
    dfa: Dfa,
    start: StateID,
    /// The regexes' numbers in their set, by the DFA's pattern.
    members: Vec<u32>,
}

/// A regex run backward from where it is known to match.
#[derive(Debug)]
pub(super) struct Starts {
    dfa: SparseDfa,
    /// The farthest that a start is looked for, in bytes.
    bound: usize,
}

/// A regex run forward from where a match may start.
#[derive(Debug)]
pub(super) struct Ends {
    dfa: SparseDfa,
}

/// Prefix closures of several regexes, run backward from the end of the text.
#[derive(Debug)]
pub(super) enum Closure {
    /// Exactly what is live, up to a limit in bytes; the limit where what stands before could matter.
    Exact { dfa: Box<Dfa>, limit: usize },
    /// The automaton would be too large: this many bytes are always taken to be live.
    Bound(usize),
}

/// What a closure is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closed<'h> {
    pub(super) hir: &'h Hir,
    pub(super) bound: usize,
}

// === impl Group ===

impl Group {
    /// Puts regexes into as few DFAs as fit, neighbours together. Gives also the numbers of those that do not
    /// fit even by themselves.
    pub(super) fn pack(members: &[(u32, &Hir)]) -> (Vec<Self>, Vec<u32>) {
        let (mut groups, mut refused) = (Vec::new(), Vec::new());
        pack_into(members, &mut groups, &mut refused);
        (groups, refused)
    }

    /// A regex by itself, which may take more memory.
    pub(super) fn alone(member: u32, hir: &Hir) -> Option<Self> {
        Self::build(&[(member, hir)], SINGLE_SIZE)
    }

    fn build(members: &[(u32, &Hir)], size: usize) -> Option<Self> {
        let hirs: Vec<&Hir> = members.iter().map(|&(_, hir)| hir).collect();
        let dfa = build(&hirs, Direction::Forward, size)?;
        let start = dfa.start_state(&start::Config::new().anchored(Anchored::No)).ok()?;
        Some(Self { dfa, start, members: members.iter().map(|&(member, _)| member).collect() })
    }

    /// In bytes.
    pub(super) fn memory(&self) -> usize {
        self.dfa.memory_usage()
    }

    pub(super) fn members(&self) -> &[u32] {
        &self.members
    }

    pub(super) fn start(&self) -> StateID {
        self.start
    }

    /// Reads on; `found` is called with a regex's number wherever one matched up to just before that byte.
    #[inline]
    pub(super) fn read(
        &self,
        mut state: StateID,
        text: &[u8],
        mut found: impl FnMut(u32, usize),
    ) -> StateID {
        for (index, &byte) in text.iter().enumerate() {
            state = self.dfa.next_state(state, byte);
            if self.dfa.is_special_state(state) {
                self.matched(state, |member| found(member, index));
            }
        }
        state
    }

    /// The text has ended; `found` is called with each regex that matches up to its end.
    pub(super) fn end(&self, state: StateID, found: impl FnMut(u32)) {
        self.matched(self.dfa.next_eoi_state(state), found);
    }

    fn matched(&self, state: StateID, mut found: impl FnMut(u32)) {
        if !self.dfa.is_match_state(state) {
            return;
        }
        for index in 0..self.dfa.match_len(state) {
            let pattern = self.dfa.match_pattern(state, index);
            if let Some(&member) = self.members.get(pattern.as_usize()) {
                found(member);
            }
        }
    }
}

fn pack_into(members: &[(u32, &Hir)], groups: &mut Vec<Group>, refused: &mut Vec<u32>) {
    if members.is_empty() {
        return;
    }
    if let Some(group) = Group::build(members, GROUP_SIZE) {
        groups.push(group);
    } else if let [(member, _)] = members {
        refused.push(*member);
    } else {
        let (left, right) = members.split_at(members.len() / 2);
        pack_into(left, groups, refused);
        pack_into(right, groups, refused);
    }
}

// === impl Starts ===

impl Starts {
    /// `None` where the DFA would be too large.
    pub(super) fn new(hir: &Hir, bound: usize) -> Option<Self> {
        let dfa = build(&[hir], Direction::Backward, SINGLE_SIZE)?.to_sparse().ok()?;
        Some(Self { dfa, bound })
    }

    /// In bytes.
    pub(super) fn memory(&self) -> usize {
        self.dfa.memory_usage()
    }

    /// How many bytes the longest match has that ends with `before`, given what follows and whether
    /// `before` begins with the text's own beginning.
    pub(super) fn longest(&self, before: &[u8], after: Option<u8>, whole: Whole) -> Option<usize> {
        run_back(&self.dfa, before, after, whole, self.bound).longest
    }
}

// === impl Ends ===

impl Ends {
    /// `None` where the DFA would be too large.
    pub(super) fn new(hir: &Hir) -> Option<Self> {
        let dfa = build(&[hir], Direction::ForwardFromStart, SINGLE_SIZE)?.to_sparse().ok()?;
        Some(Self { dfa })
    }

    /// In bytes.
    pub(super) fn memory(&self) -> usize {
        self.dfa.memory_usage()
    }

    /// The state at a match's start; `before` is the byte that stands before it.
    pub(super) fn start(&self, before: Option<u8>) -> Option<StateID> {
        let config = start::Config::new().anchored(Anchored::Yes).look_behind(before);
        self.dfa.start_state(&config).ok()
    }

    /// Reads on; `found` is called wherever the regex matched up to just before that byte. `None` where no
    /// further match can come.
    pub(super) fn read(
        &self,
        mut state: StateID,
        text: &[u8],
        mut found: impl FnMut(usize),
    ) -> Option<StateID> {
        for (index, &byte) in text.iter().enumerate() {
            state = self.dfa.next_state(state, byte);
            if self.dfa.is_special_state(state) {
                if self.dfa.is_match_state(state) {
                    found(index);
                } else if self.dfa.is_dead_state(state) {
                    return None;
                }
            }
        }
        // A match is seen one byte late, and may have been the last.
        (!self.dfa.is_match_state(state) || self.goes_on(state)).then_some(state)
    }

    /// Whether a further match may still be found from this state on.
    fn goes_on(&self, state: StateID) -> bool {
        let next = |byte| self.dfa.next_state(state, byte);
        (0..=u8::MAX).any(|byte| !self.dfa.is_dead_state(next(byte))) || self.ends(state)
    }

    /// Whether the regex matches up to the end of the text.
    pub(super) fn ends(&self, state: StateID) -> bool {
        self.dfa.is_match_state(self.dfa.next_eoi_state(state))
    }
}

/// Literals of which every match of a regex begins or ends with one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Triggers {
    pub(super) literals: Vec<String>,
    pub(super) side: Side,
    /// The shortest one's bytes.
    pub(super) shortest: usize,
}

/// Where in a match a literal stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    First,
    Last,
}

/// The literals that a regex's matches begin or end with, if each has `least` bytes. Those at the beginning are
/// preferred: from there on, it is known what is live without a closure.
pub(super) fn triggers(hir: &Hir, least: usize) -> Option<Triggers> {
    let is_rare = |triggers: &Triggers| triggers.shortest >= least;
    triggers_at(hir, Side::First)
        .filter(is_rare)
        .or_else(|| triggers_at(hir, Side::Last).filter(is_rare))
}

fn triggers_at(hir: &Hir, side: Side) -> Option<Triggers> {
    let kind = match side {
        Side::First => ExtractKind::Prefix,
        Side::Last => ExtractKind::Suffix,
    };
    let found = Extractor::new()
        .kind(kind)
        .limit_class(16)
        .limit_repeat(8)
        .limit_literal_len(32)
        .limit_total(MAX_TRIGGERS)
        .extract(hir);
    // A literal may have been cut inside a character.
    let mut literals = found
        .literals()?
        .iter()
        .map(|literal| String::from_utf8(literal.as_bytes().to_vec()).ok())
        .collect::<Option<Vec<_>>>()?;
    literals.sort();
    literals.dedup();
    let shortest = literals.iter().map(String::len).min().filter(|&shortest| shortest > 0)?;
    Some(Triggers { literals, side, shortest })
}

// === impl Closure ===

impl Closure {
    /// Puts closures into as few DFAs as fit.
    pub(super) fn pack(members: &[Closed<'_>]) -> Vec<Self> {
        let closures: Vec<(Hir, usize)> = members
            .iter()
            .map(|member| {
                let endless = member
                    .hir
                    .properties()
                    .maximum_len()
                    .is_none_or(|longest| longest > member.bound);
                (prefixes(member.hir), if endless { member.bound } else { usize::MAX })
            })
            .collect();
        let mut packed = Vec::new();
        // A limit shorter than the longest match is the regex's own: those are run apart.
        let (own, shared): (Vec<_>, Vec<_>) = closures
            .iter()
            .zip(members)
            .map(|((hir, limit), member)| (hir, *limit, member.bound))
            .partition(|&(_, limit, _)| limit != usize::MAX);
        for member in own {
            pack_closures(&[member], &mut packed);
        }
        pack_closures(&shared, &mut packed);
        packed
    }

    /// How many bytes at the end of the text could still become a match.
    pub(super) fn live(&self, text: &[u8], whole: Whole) -> usize {
        match self {
            Self::Exact { dfa, limit } => {
                let back = run_back(dfa.as_ref(), text, None, whole, *limit);
                // What began before the limit may still end in a match, which is reported from there on.
                if back.cut_short { within_bound(text, *limit) } else { back.longest.unwrap_or(0) }
            }
            Self::Bound(bound) => within_bound(text, *bound),
        }
    }

    /// In bytes.
    pub(super) fn memory(&self) -> usize {
        match self {
            Self::Exact { dfa, .. } => dfa.memory_usage(),
            Self::Bound(_) => 0,
        }
    }

    /// Whether more may be held than could become a match.
    pub(super) fn is_bound(&self) -> bool {
        matches!(self, Self::Bound(_))
    }
}

fn pack_closures(members: &[(&Hir, usize, usize)], packed: &mut Vec<Closure>) {
    if members.is_empty() {
        return;
    }
    // Where a match's start does not matter, all closures are one expression.
    let union = Hir::alternation(members.iter().map(|&(hir, _, _)| hir.clone()).collect());
    if let Some(dfa) = build(&[&union], Direction::Backward, GROUP_SIZE) {
        let limit = members.iter().map(|&(_, limit, _)| limit).max().unwrap_or(usize::MAX);
        packed.push(Closure::Exact { dfa: Box::new(dfa), limit });
    } else if let [(_, _, bound)] = members {
        packed.push(Closure::Bound(*bound));
    } else {
        let (left, right) = members.split_at(members.len() / 2);
        pack_closures(left, packed);
        pack_closures(right, packed);
    }
}

/// Whether a stretch of text begins where the text itself begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whole {
    /// Nothing stands before it.
    Yes,
    /// Something does, and its first byte is there for context only.
    No,
}

/// What a backward run has found.
struct Back {
    /// The longest match's length.
    longest: Option<usize>,
    /// A longer one may exist: the limit ended the run, or what is kept of the text.
    cut_short: bool,
}

/// Runs a backward DFA from the end of `text`, for matches of at most `limit` bytes.
fn run_back(
    dfa: &impl Automaton,
    text: &[u8],
    after: Option<u8>,
    whole: Whole,
    limit: usize,
) -> Back {
    let config = start::Config::new().anchored(Anchored::Yes).look_behind(after);
    let Ok(mut state) = dfa.start_state(&config) else {
        return Back { longest: None, cut_short: true };
    };
    let mut longest = None;
    // A match is seen one byte after its last, so one more byte is read than it may have.
    for (length, &byte) in text.iter().rev().enumerate().take(limit.saturating_add(1)) {
        state = dfa.next_state(state, byte);
        if dfa.is_special_state(state) {
            if dfa.is_match_state(state) {
                longest = Some(length);
            } else if dfa.is_dead_state(state) {
                return Back { longest, cut_short: false };
            }
        }
    }
    if whole == Whole::No || text.len() > limit {
        return Back { longest, cut_short: true };
    }
    if dfa.is_match_state(dfa.next_eoi_state(state)) {
        longest = Some(text.len());
    }
    Back { longest, cut_short: false }
}

/// The length of the longest stretch of whole characters at the end of `text` of at most `bound` bytes.
pub(super) fn within_bound(text: &[u8], bound: usize) -> usize {
    let from = text.len().saturating_sub(bound);
    let inner = text.iter().skip(from).take_while(|&&byte| byte & 0xC0 == 0x80).count();
    text.len() - from - inner
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// From anywhere on.
    Forward,
    /// From one place on.
    ForwardFromStart,
    /// From one place back.
    Backward,
}

/// `None` where the DFA would be larger than `size`.
fn build(hirs: &[&Hir], direction: Direction, size: usize) -> Option<Dfa> {
    let backward = direction == Direction::Backward;
    let nfa = thompson::Compiler::new()
        .configure(
            thompson::Config::new()
                .utf8(false)
                .reverse(backward)
                .which_captures(thompson::WhichCaptures::None)
                .nfa_size_limit(Some(2 * size)),
        )
        .build_many_from_hir(hirs)
        .ok()?;
    let starts = match direction {
        Direction::Forward => StartKind::Unanchored,
        Direction::ForwardFromStart | Direction::Backward => StartKind::Anchored,
    };
    dense::Builder::new()
        .configure(
            dense::Config::new()
                .match_kind(MatchKind::All)
                .start_kind(starts)
                .accelerate(false)
                .dfa_size_limit(Some(size))
                .determinize_size_limit(Some(4 * size)),
        )
        .build_from_nfa(&nfa)
        .ok()
}

/// What `hir`'s matches begin with: every prefix, the empty and the whole one included.
fn prefixes(hir: &Hir) -> Hir {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Hir::empty(),
        HirKind::Literal(literal) => {
            let chars = str::from_utf8(&literal.0).unwrap_or_default().chars();
            let one = |c: char| Hir::literal(c.encode_utf8(&mut [0; 4]).as_bytes());
            chars.rev().fold(Hir::empty(), |rest, c| maybe(Hir::concat(vec![one(c), rest])))
        }
        HirKind::Class(class) => maybe(Hir::class(Class::clone(class))),
        HirKind::Repetition(repetition) => {
            let sub = &repetition.sub;
            let whole_ones = Hir::repetition(Repetition {
                min: 0,
                max: repetition.max.map(|max| max.saturating_sub(1)),
                greedy: true,
                sub: sub.clone(),
            });
            Hir::concat(vec![whole_ones, prefixes(sub)])
        }
        HirKind::Capture(capture) => prefixes(&capture.sub),
        HirKind::Concat(parts) => parts.iter().rev().fold(Hir::empty(), |rest, part| {
            Hir::alternation(vec![prefixes(part), Hir::concat(vec![part.clone(), rest])])
        }),
        HirKind::Alternation(parts) => Hir::alternation(parts.iter().map(prefixes).collect()),
    }
}

fn maybe(hir: Hir) -> Hir {
    Hir::alternation(vec![Hir::empty(), hir])
}
