//! Literals in disguise: spelled with gaps, digits or escapes where the rule has letters.
//!
//! A [`LooseReader`] carries the places in a text where a literal may be under way. Each is a path through a trie
//! of the literals' letters, begun at a word's edge; most die at their second letter. A path may
//!
//! * pass over signs and spaces inside a word (`b-o-m-b`), or leave out a literal's own (`pipebomb`);
//! * take digits and signs for the letters they look like (`b0mb`), capitals of other scripts too;
//! * read HTML entities, percent and backslash escapes as what they stand for;
//! * pass over letters that are repeated (`booomb`);
//! * take an asterisk for any letter (`ex*losive`).
//!
//! The trie also has literals written backwards and in rot13. What is allowed together, and for how long a literal,
//! is said in [`Thread::accepts`]; a match that the plain text has too is reported once.

use smallvec::SmallVec;

use crate::text::fold::{fold_ascii_byte, fold_char, is_word};
use crate::text::lookalike::latin_of_capital;
use crate::text::offsets::{Offsets, Origin};

use super::by_pattern::ByPattern;
use super::escape::{self, Escape, begins_escape};
use super::place::{Disguised, Place};
use super::trie::{Node, NodeSet, Trie};

/// Stands for a literal's own signs and spaces; UTF-8 never has this byte.
const GAP: u8 = 0xFE;

/// Signs and spaces that may stand between two letters.
const LONGEST_GAP: u8 = 5;

/// A literal needs this many letters to be looked for in disguise.
const LEAST_LETTERS: u8 = 4;

/// The same where words are not spaced.
const LEAST_UNSPACED: u8 = 2;

/// A literal needs this many letters to be looked for backwards and in rot13.
const LEAST_ENCODED: u8 = 6;

/// Letters of such a literal that may have gone before it is recognised: its match begins behind them.
const ENCODED_HEAD: u8 = 2;

/// A path may begin with this byte, itself or as what it looks like.
const BEGINS: u8 = 1;

/// An escape may begin with this byte.
const ESCAPES: u8 = 2;

/// This byte belongs to a word.
const WORD: u8 = 4;

/// Letters that tell most words apart from all that a literal may begin with.
const OPENING: usize = 3;

/// Places that are followed at most; texts that reach it have been made to.
const MAX_THREADS: usize = 1024;

/// Literals while they are collected.
#[derive(Debug, Default)]
pub(super) struct LooseBuilder {
    entries: Vec<(Box<[u8]>, Entry)>,
}

/// All literals of a set, as letters.
#[derive(Debug)]
pub(super) struct LooseLiterals {
    trie: Trie,
    entries: ByPattern<Entry>,
    /// What each byte may be: [`BEGINS`], [`ESCAPES`], [`WORD`].
    classes: [u8; 256],
    openings: Openings,
}

/// The letters that a word may begin with in which a literal is under way: one bit for every three of them.
#[derive(Debug)]
struct Openings(Box<[u32]>);

/// What a literal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    rule: u32,
    part: u8,
    form: Form,
    letters: u8,
    unspaced: bool,
}

/// How a literal is written in the trie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    /// In its own letters.
    Letters,
    /// Backwards, or in rot13.
    Encoded,
}

/// From which of the trie's nodes an enforced literal can be reached, in its own letters and encoded.
#[derive(Debug, Default)]
pub(super) struct LooseLive {
    letters: NodeSet,
    encoded: NodeSet,
}

/// The places in a text where a literal may be under way.
#[derive(Clone, Debug, Default)]
pub(super) struct LooseReader {
    threads: Threads,
    /// The character before belongs to a word.
    in_word: bool,
    /// An escape is being read, and these are the places before it.
    escape: Option<Box<(Escape, Threads)>>,
}

/// Few stay where a text pauses: they stand with the rest of what a stream carries.
type Threads = SmallVec<[Thread; 2]>;

/// What a reader needs while it reads, and not between.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    next: Vec<Thread>,
    pub(super) found: Vec<Disguised>,
}

/// A character of folded text, and its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Letter {
    /// As it is folded.
    pub(super) folded: char,
    /// As it stands in the text.
    pub(super) original: char,
    /// Its first folded byte.
    pub(super) at: u64,
}

/// A place where a literal may be under way.
#[derive(Clone, Copy, Debug)]
struct Thread {
    node: Node,
    start: Place,
    /// Where the letter behind an encoded literal's head begins.
    behind_head: u64,
    /// Where the last letter ends, in folded bytes.
    end: u64,
    letters: u8,
    /// Letters that were taken from digits, signs and escapes.
    changed: u8,
    /// Gaps inside words.
    gaps: u8,
    /// Gaps inside words, with white space in them.
    wide_gaps: u8,
    /// The literal's own gaps that are left out.
    joined: u8,
    /// The literal's own gaps that are there, and those of them that are not one space.
    own_gaps: u8,
    odd_gaps: u8,
    /// Letters passed over because they repeat the one before.
    repeated: u8,
    /// Letters that asterisks stand for.
    starred: u8,
    /// A sign or a space was escaped.
    escaped: bool,
    last: char,
    /// No two letters have stood side by side so far.
    apart: bool,
    gap: Gap,
    /// It stands on the literal's own gap.
    on_own_gap: bool,
    /// A literal ends here if a word does.
    complete: bool,
}

/// What has stood since the last letter.
#[derive(Clone, Copy, Debug, Default)]
struct Gap {
    chars: u8,
    spaces: u8,
    lines: u8,
    /// It has a sign that ends a clause.
    ends_clause: bool,
}

/// One character's steps from every place to the next ones.
struct Steps<'s> {
    literals: &'s LooseLiterals,
    /// Where the character ends, in folded bytes.
    end: u64,
    next: &'s mut Vec<Thread>,
}

/// Letters that a character may stand for.
struct Readings {
    /// The letters, and whether each differs from the character.
    letters: [(char, bool); 3],
    count: usize,
    /// Whether the first is the character itself.
    itself: bool,
    /// It may also be a sign that stands between letters.
    parts: bool,
}

// === impl LooseBuilder ===

impl LooseBuilder {
    pub(super) fn add(&mut self, folded: &str, rule: u32, part: u8) {
        let unspaced = folded.chars().any(|c| c.is_alphanumeric() && !is_word(c));
        let least = if unspaced { LEAST_UNSPACED } else { LEAST_LETTERS };
        let (encoded, letters) = encode(folded.chars());
        if letters < least {
            return;
        }
        let mut add = |encoded: Vec<u8>, form| {
            let entry = Entry { rule, part, form, letters, unspaced };
            self.entries.push((encoded.into_boxed_slice(), entry));
        };
        add(encoded, Form::Letters);
        if letters >= LEAST_ENCODED && folded.is_ascii() {
            add(encode(folded.chars().rev()).0, Form::Encoded);
            add(encode(folded.chars().map(rot13)).0, Form::Encoded);
        }
    }

    pub(super) fn build(self) -> LooseLiterals {
        let mut entries = self.entries;
        entries.sort_unstable();
        let (patterns, entries) = ByPattern::gather(entries);
        let trie = Trie::new(&patterns);
        let mut literals =
            LooseLiterals { trie, entries, classes: [0; 256], openings: Openings::none() };
        literals.classes = literals.classify();
        literals.openings = Openings::of(&literals);
        literals
    }
}

// === impl LooseLiterals ===

impl LooseLiterals {
    /// What the trie and its tables take, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.trie.memory() + self.entries.memory() + size_of_val(&*self.openings.0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// From which nodes a literal with a chosen rule can be reached.
    pub(super) fn live(&self, chosen: impl Fn(u32) -> bool) -> LooseLive {
        let [letters, encoded] = [Form::Letters, Form::Encoded].map(|form| {
            self.trie.before(|pattern| {
                let mut entries = self.entries.of(pattern).iter();
                entries.any(|entry| entry.form == form && chosen(entry.rule))
            })
        });
        LooseLive { letters, encoded }
    }

    /// What the path that has come to `node` spells, if it spells a literal.
    fn spelled(&self, node: Node) -> Option<&[Entry]> {
        self.trie.end(node).map(|pattern| self.entries.of(pattern))
    }

    /// Whether a literal may be under way behind a word's first letters.
    fn may_open(&self, first: u8, ahead: &[u8]) -> bool {
        let [second, third, ..] = *ahead else { return true };
        self.openings.may_be([first, fold_ascii_byte(second), fold_ascii_byte(third)])
    }

    fn classify(&self) -> [u8; 256] {
        let mut classes = [0; 256];
        if self.is_empty() {
            return classes;
        }
        for (code, class) in (0..=u8::MAX).zip(&mut classes) {
            let begins = |c: char| {
                let readings = Readings::of(c, c);
                let mut letters = readings.letters();
                letters.any(|(letter, _)| self.trie.next_char(Trie::root(), letter).is_some())
            };
            // Others than ASCII are looked at one by one.
            if !code.is_ascii() || begins(char::from(code)) {
                *class |= BEGINS;
            }
            if begins_escape(code) {
                *class |= ESCAPES;
            }
            if code.is_ascii_alphanumeric() {
                *class |= WORD;
            }
        }
        classes
    }
}

// === impl Openings ===

impl Openings {
    const LETTERS: usize = 26;

    fn none() -> Self {
        Self(vec![0; Self::LETTERS * Self::LETTERS].into_boxed_slice())
    }

    /// Those behind which a reader follows a place: what it does says it best.
    fn of(literals: &LooseLiterals) -> Self {
        let mut openings = Self::none();
        let mut offsets = Offsets::new();
        offsets.push(OPENING as u64, 1, 1);
        let mut scratch = Scratch::default();
        let mut read = |before: &LooseReader, at, byte: u8| {
            let mut reader = before.clone();
            let c = char::from(byte);
            let letter = Letter { folded: c, original: c, at };
            reader.read(literals, letter, &offsets, &mut scratch);
            Some(reader).filter(|reader| !reader.threads.is_empty())
        };
        for first in b'a'..=b'z' {
            let Some(one) = read(&LooseReader::default(), 0, first) else { continue };
            for second in b'a'..=b'z' {
                let Some(two) = read(&one, 1, second) else { continue };
                for third in b'a'..=b'z' {
                    if read(&two, 2, third).is_some()
                        && let Some((place, bit)) = Self::place([first, second, third])
                        && let Some(bits) = openings.0.get_mut(place)
                    {
                        *bits |= bit;
                    }
                }
            }
        }
        openings
    }

    /// Whether a literal may be under way behind these bytes, as far as they tell.
    fn may_be(&self, bytes: [u8; OPENING]) -> bool {
        Self::place(bytes)
            .and_then(|(place, bit)| Some(self.0.get(place)? & bit != 0))
            .unwrap_or(true)
    }

    /// Where the bit for these bytes stands; `None` where they are not all letters.
    fn place(bytes: [u8; OPENING]) -> Option<(usize, u32)> {
        let [first, second, third] = bytes.map(|byte| usize::from(byte.wrapping_sub(b'a')));
        let letters = first.max(second).max(third) < Self::LETTERS;
        letters.then(|| (first * Self::LETTERS + second, 1 << third))
    }
}

// === impl LooseLive ===

impl LooseLive {
    fn is_live(&self, thread: &Thread) -> bool {
        self.letters.has(thread.node)
            || (thread.letters > ENCODED_HEAD && self.encoded.has(thread.node))
    }

    fn reaches_letters(&self, thread: &Thread) -> bool {
        self.letters.has(thread.node)
    }
}

// === impl LooseReader ===

impl LooseReader {
    /// Whether the byte of an ASCII character needs not be read; it is noted then. `ahead` is what is known to follow it.
    #[inline]
    pub(super) fn passes(&mut self, literals: &LooseLiterals, byte: u8, ahead: &[u8]) -> bool {
        let byte = fold_ascii_byte(byte);
        let class = literals.classes.get(usize::from(byte)).copied().unwrap_or(BEGINS);
        if class & ESCAPES != 0 || !self.threads.is_empty() || self.escape.is_some() {
            return false;
        }
        let begins = !self.in_word && class & BEGINS != 0;
        if begins && literals.may_open(byte, ahead) {
            return false;
        }
        self.in_word = class & WORD != 0;
        true
    }

    /// Reads a character.
    pub(super) fn read(
        &mut self,
        literals: &LooseLiterals,
        letter: Letter,
        offsets: &Offsets,
        scratch: &mut Scratch,
    ) {
        let Letter { folded: c, original, at } = letter;
        let end = at + c.len_utf8() as u64;
        let is_plain = c.is_ascii_lowercase() && original.is_ascii();
        let is_letter = is_plain || (is_word(c) && c != '_');
        if !is_letter {
            self.emit_complete(literals, offsets, &mut scratch.found);
        }
        // Nearly all stand for themselves.
        let readings = if is_plain { Readings::plain(c) } else { Readings::of(c, original) };
        let decoded = self.read_escape(letter, offsets);
        let mut steps = Steps { literals, end, next: &mut scratch.next };
        for thread in &self.threads {
            steps.advance(thread, c, &readings);
        }
        if !self.in_word {
            steps.begin(&readings, || Place::start_of(offsets, at));
        }
        if let Some((decoded, escape, threads)) = decoded {
            steps.take_decoded(&threads, decoded, escape);
        }
        self.threads.clear();
        self.threads.extend_from_slice(&scratch.next);
        scratch.next.clear();
        self.in_word = is_letter;
        if !is_letter && c.is_alphanumeric() {
            // Where words are not spaced, any letter may be the last.
            self.emit_complete(literals, offsets, &mut scratch.found);
        }
        if self.threads.len() > MAX_THREADS {
            self.threads.sort_by_key(|thread| std::cmp::Reverse(thread.letters));
            self.threads.truncate(MAX_THREADS);
        }
    }

    /// The text pauses: what it takes now, it may keep for long.
    pub(super) fn rest(&mut self) {
        if self.threads.spilled() {
            self.threads.shrink_to_fit();
        }
    }

    /// The text has ended.
    pub(super) fn end(
        &mut self,
        literals: &LooseLiterals,
        offsets: &Offsets,
        found: &mut Vec<Disguised>,
    ) {
        self.emit_complete(literals, offsets, found);
        self.threads.clear();
        self.escape = None;
    }

    /// Where the first enforced literal begins that may be under way.
    pub(super) fn live_from(&self, live: &LooseLive, offsets: &Offsets) -> Option<Origin> {
        if self.threads.is_empty() && self.escape.is_none() {
            return None;
        }
        let frozen = self.escape.iter().flat_map(|escape| escape.1.iter());
        let threads = self.threads.iter().chain(frozen).filter(|thread| live.is_live(thread));
        let from = |thread: &Thread| {
            if live.reaches_letters(thread) { thread.start } else { thread.behind_head(offsets) }
        };
        let places = threads.map(from);
        let escape =
            self.escape.as_ref().filter(|escape| escape.0.is_likely() && !live.letters.is_empty());
        let places = places
            .chain(escape.and_then(|escape| escape.0.at_edge().then(|| escape.0.behind_sign())));
        places.min_by_key(|place| place.folded).map(|place| place.origin)
    }

    /// Lets an open escape read on, or a new one begin; gives back what one stands for, and the places before it.
    fn read_escape(
        &mut self,
        letter: Letter,
        offsets: &Offsets,
    ) -> Option<(char, Escape, Threads)> {
        let Letter { folded: c, at, .. } = letter;
        let mut done = None;
        if let Some(mut open) = self.escape.take() {
            match open.0.read(c) {
                escape::Read::More => self.escape = Some(open),
                escape::Read::Is(decoded) => done = Some((decoded, open.0, open.1)),
                escape::Read::No => {}
            }
        }
        if c.is_ascii() && begins_escape(c as u8) {
            let begun = Escape::begin(c, Place::start_of(offsets, at), !self.in_word);
            // An escape inside an escape begins anew.
            self.escape = begun.map(|escape| Box::new((escape, self.threads.clone())));
        }
        done
    }

    /// Reports the literals that a word's end completes.
    fn emit_complete(
        &mut self,
        literals: &LooseLiterals,
        offsets: &Offsets,
        found: &mut Vec<Disguised>,
    ) {
        for thread in &mut self.threads {
            if !std::mem::take(&mut thread.complete) {
                continue;
            }
            for &entry in literals.spelled(thread.node).unwrap_or_default() {
                if thread.accepts(entry) {
                    let start = match entry.form {
                        Form::Letters => thread.start,
                        Form::Encoded => thread.behind_head(offsets),
                    };
                    found.push(Disguised {
                        rule: entry.rule,
                        part: entry.part,
                        start,
                        end: Place::end_of(offsets, thread.end),
                    });
                }
            }
        }
    }
}

// === impl Steps ===

impl Steps<'_> {
    /// Begins a place with a character that stands at `start`.
    fn begin(&mut self, readings: &Readings, start: impl Fn() -> Place) {
        for (letter, changed) in readings.letters() {
            let Some(node) = self.literals.trie.next_char(Trie::root(), letter) else { continue };
            let (start, end) = (start(), self.end);
            self.next.push(Thread::begun(self.literals, node, letter, start, end, changed));
        }
    }

    /// Lets a place read a character, in every way that it can be read.
    fn advance(&mut self, thread: &Thread, c: char, readings: &Readings) {
        if readings.parts {
            self.part(thread, c);
        }
        for (letter, changed) in readings.letters() {
            self.step(thread, letter, changed);
        }
        if c == '*' && thread.gap.chars == 0 {
            let starred = Thread { starred: thread.starred.saturating_add(1), ..*thread };
            for letter in 'a'..='z' {
                self.step(&starred, letter, true);
            }
        }
        if readings.itself && thread.gap.chars == 0 && c.is_ascii_alphabetic() && c == thread.last {
            let repeated = thread.repeated.saturating_add(1);
            self.next.push(Thread { repeated, end: self.end, apart: false, ..*thread });
        }
    }

    fn step(&mut self, thread: &Thread, letter: char, changed: bool) {
        let (literals, end) = (self.literals, self.end);
        if let Some(node) = literals.trie.next_char(thread.node, letter) {
            self.next.push(thread.stepped(literals, node, letter, changed, end));
        }
        // The literal has a gap here, the text has none.
        if !thread.on_own_gap
            && thread.gap.chars == 0
            && let Some(gap) = literals.trie.next(thread.node, GAP)
            && let Some(node) = literals.trie.next_char(gap, letter)
        {
            let joined = Thread { joined: thread.joined.saturating_add(1), ..*thread };
            self.next.push(joined.stepped(literals, node, letter, changed, end));
        }
    }

    /// Reads a sign or a space between letters.
    fn part(&mut self, thread: &Thread, c: char) {
        let first = thread.gap.chars == 0;
        let Some(parted) = thread.parted(c) else { return };
        if first && let Some(node) = self.literals.trie.next(thread.node, GAP) {
            self.next.push(Thread { node, on_own_gap: true, ..parted });
        }
        self.next.push(parted);
    }

    /// Reads what an escape stands for, from where the places were before it.
    fn take_decoded(&mut self, threads: &[Thread], decoded: char, escape: Escape) {
        let mut folded = SmallVec::<[char; 4]>::new();
        fold_char(decoded, |c| folded.push(c));
        let [c] = folded[..] else { return };
        let readings = Readings::of(c, decoded).changed();
        for thread in threads {
            if readings.parts {
                self.part(&Thread { escaped: true, ..*thread }, c);
            }
            for (letter, changed) in readings.letters() {
                self.step(thread, letter, changed);
            }
        }
        if escape.at_edge() {
            self.begin(&readings, || escape.behind_sign());
        }
    }
}

// === impl Thread ===

impl Thread {
    fn begun(
        literals: &LooseLiterals,
        node: Node,
        letter: char,
        start: Place,
        end: u64,
        changed: bool,
    ) -> Self {
        Self {
            node,
            start,
            behind_head: start.folded,
            end,
            letters: 1,
            changed: u8::from(changed),
            gaps: 0,
            wide_gaps: 0,
            joined: 0,
            own_gaps: 0,
            odd_gaps: 0,
            repeated: 0,
            starred: 0,
            escaped: false,
            last: letter,
            apart: true,
            gap: Gap::default(),
            on_own_gap: false,
            complete: literals.spelled(node).is_some(),
        }
    }

    fn behind_head(&self, offsets: &Offsets) -> Place {
        Place::start_of(offsets, self.behind_head)
    }

    /// Another letter on.
    fn stepped(
        &self,
        literals: &LooseLiterals,
        node: Node,
        letter: char,
        changed: bool,
        end: u64,
    ) -> Self {
        let parted = self.gap.chars > 0;
        let in_word = parted && !self.on_own_gap;
        let one_space = self.gap.chars == 1 && self.gap.spaces == 1 && self.gap.lines == 0;
        Self {
            node,
            end,
            behind_head: if self.letters == ENCODED_HEAD { self.end } else { self.behind_head },
            letters: self.letters.saturating_add(1),
            changed: self.changed.saturating_add(u8::from(changed)),
            gaps: self.gaps.saturating_add(u8::from(in_word)),
            wide_gaps: self.wide_gaps.saturating_add(u8::from(in_word && self.gap.spaces > 0)),
            own_gaps: self.own_gaps.saturating_add(u8::from(self.on_own_gap)),
            odd_gaps: self.odd_gaps.saturating_add(u8::from(self.on_own_gap && !one_space)),
            last: letter,
            apart: self.apart && parted,
            gap: Gap::default(),
            on_own_gap: false,
            complete: literals.spelled(node).is_some(),
            ..*self
        }
    }

    /// Another sign or space on; `None` where no literal goes on behind it.
    fn parted(&self, c: char) -> Option<Self> {
        let gap = Gap {
            chars: self.gap.chars + 1,
            spaces: self.gap.spaces + u8::from(c.is_whitespace()),
            lines: self.gap.lines + u8::from(c == '\n'),
            ends_clause: self.gap.ends_clause || ends_clause(c),
        };
        let is_parting = gap.lines > 1 || (gap.ends_clause && (gap.spaces > 0 || !c.is_ascii()));
        let goes_on = gap.chars <= LONGEST_GAP && (!is_parting || self.apart);
        goes_on.then_some(Self { gap, complete: false, ..*self })
    }

    /// Whether the literal counts as found by what stands in its place.
    fn accepts(&self, entry: Entry) -> bool {
        let Self {
            changed, gaps, wide_gaps, joined, own_gaps, odd_gaps, repeated, starred, ..
        } = *self;
        if entry.form == Form::Encoded {
            return changed == 0 && gaps == 0 && joined == 0 && repeated == 0;
        }
        if entry.unspaced {
            return gaps + odd_gaps + changed > 0 && joined == 0 && repeated == 0;
        }
        let letters = entry.letters;
        let deviates =
            changed > 0 || gaps > 0 || joined > 0 || odd_gaps > 0 || repeated > 0 || self.escaped;
        // A third of it at least stands there as it is, unless all of it is escaped or spelled.
        let is_readable =
            changed == 0 || letters.saturating_sub(changed) * 3 >= letters || changed == letters;
        let is_spelled = (gaps + own_gaps) * 2 >= letters;
        let gaps_fit = gaps == 0 || is_spelled || wide_gaps == 0 || letters >= 6;
        let joins_fit = joined == 0 || letters >= 7;
        // A short word in two disguises at once is chance (`$\tan`).
        let disguises_fit = letters >= 6 || changed == 0 || gaps == 0 || is_spelled;
        let stars_fit = starred == 0 || (letters >= 5 && starred <= letters / 4);
        // One letter doubled is a spelling mistake.
        let repeats_fit = repeated != 1;
        deviates
            && is_readable
            && gaps_fit
            && joins_fit
            && disguises_fit
            && stars_fit
            && repeats_fit
    }
}

// === impl Readings ===

impl Readings {
    /// A letter that stands for itself.
    const fn plain(c: char) -> Self {
        Self { letters: [(c, false); 3], count: 1, itself: true, parts: false }
    }

    /// Read from an escape: no letter stands there itself.
    fn changed(self) -> Self {
        Self { itself: false, letters: self.letters.map(|(letter, _)| (letter, true)), ..self }
    }

    fn of(c: char, original: char) -> Self {
        let is_letter = c.is_alphanumeric();
        let mut readings = Self {
            letters: [(c, false); 3],
            count: usize::from(is_letter),
            itself: is_letter,
            parts: !is_letter,
        };
        match looks_like(c) {
            [] => {
                if let Some(letter) =
                    latin_of_capital(original).map(char::from).filter(|&letter| letter != c)
                {
                    readings.add(letter);
                }
            }
            letters => letters.iter().for_each(|&letter| readings.add(char::from(letter))),
        }
        readings
    }

    fn add(&mut self, letter: char) {
        if let Some(place) = self.letters.get_mut(self.count) {
            *place = (letter, true);
            self.count += 1;
        }
    }

    fn letters(&self) -> impl Iterator<Item = (char, bool)> + '_ {
        self.letters.get(..self.count).unwrap_or_default().iter().copied()
    }
}

/// The letters that digits and signs are written for.
const fn looks_like(c: char) -> &'static [u8] {
    match c {
        '0' => b"o",
        '1' | '|' => b"il",
        '2' => b"z",
        '3' | '€' => b"e",
        '4' | '@' => b"a",
        '5' | '$' => b"s",
        '6' => b"gb",
        '7' | '+' => b"t",
        '8' => b"b",
        '9' => b"gq",
        '!' | '¡' => b"i",
        '£' => b"l",
        '¢' | '(' => b"c",
        '¥' => b"y",
        _ => b"",
    }
}

const fn ends_clause(c: char) -> bool {
    matches!(c, '.' | ',' | ';' | ':' | '!' | '?' | '。' | '，' | '、' | '；' | '：' | '！' | '？')
}

const fn rot13(c: char) -> char {
    match c {
        'a'..='m' => (c as u8 + 13) as char,
        'n'..='z' => (c as u8 - 13) as char,
        _ => c,
    }
}

/// The letters of a literal with its gaps, and how many letters there are.
fn encode(folded: impl Iterator<Item = char>) -> (Vec<u8>, u8) {
    let (mut encoded, mut letters) = (Vec::new(), 0_u8);
    let mut gap = false;
    for c in folded {
        if !c.is_alphanumeric() {
            gap = letters > 0;
            continue;
        }
        if std::mem::take(&mut gap) {
            encoded.push(GAP);
        }
        encoded.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        letters = letters.saturating_add(1);
    }
    (encoded, letters)
}
