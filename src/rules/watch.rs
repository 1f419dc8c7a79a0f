//! Which rules watch a text, and which of them may redact or block there.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::automata::{Closed, Closure, Whole};
use super::compile::Regex;
use super::literals::{LiveDepths, Role};
use super::loose::LooseLive;
use super::{Kind, Rule, RuleSet};

/// Which rules watch a text, and which of them may redact or block there.
///
/// Built once per route and set of channels, and shared by all texts there.
pub struct Watch {
    rules: Arc<RuleSet>,
    modes: Vec<Mode>,
    /// The numbers of the groups with a watched regex.
    pub(super) groups: Vec<usize>,
    /// Folded bytes that regexes may have to read again.
    pub(super) tail_reach: usize,
    /// Folded bytes whose place in the original may be asked for.
    pub(super) offset_reach: u64,
    enforced: Live,
    exceptions: Live,
    enforces: bool,
    /// Whether literals in disguise are looked for.
    pub(super) sees_disguises: bool,
    /// Where an enforced literal in disguise may be under way.
    pub(super) loose: LooseLive,
}

/// What a watch does with a rule's matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Ignored,
    Reported,
    /// Reported, and the text is held until it is.
    Enforced,
}

/// How much of a text's end could still become a match of some chosen patterns.
#[derive(Debug, Default)]
struct Live {
    by_head: Vec<LiveBehind>,
}

/// The same for patterns whose matches count from behind as many characters.
#[derive(Debug)]
struct LiveBehind {
    head: usize,
    literals: LiveDepths,
    regexes: Vec<Closure>,
}

// === impl Watch ===

impl Watch {
    /// Chooses the rules of a set. Rules of a kind other than `risk` are never enforced.
    #[must_use]
    pub fn new(
        rules: &Arc<RuleSet>,
        watched: &dyn Fn(&Rule) -> bool,
        enforced: &dyn Fn(&Rule) -> bool,
    ) -> Self {
        let modes: Vec<Mode> = rules
            .rules()
            .iter()
            .map(|rule| match (watched(rule), rule.kind == Kind::Risk && enforced(rule)) {
                (false, _) => Mode::Ignored,
                (true, false) => Mode::Reported,
                (true, true) => Mode::Enforced,
            })
            .collect();
        let mode = |rule: u32| modes.get(rule as usize).copied().unwrap_or(Mode::Ignored);
        let is_watched = |regex: &Regex| mode(regex.rule) != Mode::Ignored;
        let groups = rules
            .groups
            .iter()
            .enumerate()
            .filter(|(_, group)| {
                group
                    .members()
                    .iter()
                    .any(|&member| rules.regexes.get(member as usize).is_some_and(is_watched))
            })
            .map(|(number, _)| number)
            .collect();
        let watched = rules.regexes.iter().filter(|regex| is_watched(regex));
        let tail_reach = watched.clone().map(|regex| regex.reach).max().unwrap_or(0);
        let longest = watched.map(|regex| regex.pattern.bound).max().unwrap_or(0);
        // A literal in disguise may have signs in its gaps.
        let offset_reach = longest.max(2 * rules.literals.longest() + 64) as u64;
        let exception = |role| role == Role::Exception;
        let enforced =
            Live::new(rules, |rule, role| mode(rule) == Mode::Enforced && !exception(role));
        let exceptions =
            Live::new(rules, |rule, role| mode(rule) != Mode::Ignored && exception(role));
        let loose = rules.loose.live(|rule| mode(rule) == Mode::Enforced);
        Self {
            enforces: modes.contains(&Mode::Enforced),
            sees_disguises: !rules.rules().is_empty(),
            loose,
            rules: Arc::clone(rules),
            modes,
            groups,
            tail_reach,
            offset_reach,
            enforced,
            exceptions,
        }
    }

    /// The same rules, looked for only as they are written.
    #[must_use]
    pub fn plain(self) -> Self {
        Self { sees_disguises: false, loose: LooseLive::default(), ..self }
    }

    /// Whether any rule is enforced.
    pub(super) const fn enforces(&self) -> bool {
        self.enforces
    }

    /// The set that the rules were chosen from.
    #[must_use]
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// What tells how much is held: for enforced rules, and for exceptions.
    pub(super) fn closures(&self) -> [Vec<&Closure>; 2] {
        [&self.enforced, &self.exceptions].map(|live| live.closures().collect())
    }

    pub(super) fn mode(&self, rule: u32) -> Mode {
        self.modes.get(rule as usize).copied().unwrap_or(Mode::Ignored)
    }

    /// How many bytes at the end of the text could still become an enforced match; what threads follow is left
    /// to them.
    pub(super) fn live_enforced(&self, at: &Position<'_>) -> u64 {
        self.enforced.depth(&self.rules, at)
    }

    /// The same for exceptions.
    pub(super) fn live_exceptions(&self, at: &Position<'_>) -> u64 {
        self.exceptions.depth(&self.rules, at)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("rules", &self.rules)
            .field("enforced_closures", &self.enforced.closures().count())
            .field("exception_closures", &self.exceptions.closures().count())
            .finish_non_exhaustive()
    }
}

/// The end of a text, as far as it is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position<'t> {
    pub(super) literal_state: aho_corasick::automaton::StateID,
    pub(super) tail: &'t [u8],
    pub(super) whole: Whole,
}

// === impl Position ===

impl Position<'_> {
    /// Whether an ASCII word begins or ends this many bytes before the end of the text.
    fn is_ascii_edge(&self, back: u64) -> bool {
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let at = usize::try_from(back).ok().and_then(|back| self.tail.len().checked_sub(back));
        let Some(at) = at else { return true };
        let before = at.checked_sub(1).and_then(|before| self.tail.get(before));
        before.is_some_and(is_word) != self.tail.get(at).is_some_and(is_word)
    }

    /// What is left of the last `depth` bytes without their first `head` characters.
    fn behind_head(&self, depth: usize, head: usize) -> usize {
        let live = self.tail.get(self.tail.len().saturating_sub(depth)..).unwrap_or_default();
        let mut starts = (0..live.len()).filter(|&at| is_char_start(live, at));
        starts.nth(head).map_or(0, |at| live.len() - at)
    }
}

/// Whether a character begins there.
fn is_char_start(text: &[u8], at: usize) -> bool {
    text.get(at).is_some_and(|byte| byte & 0xC0 != 0x80)
}

// === impl Live ===

impl Live {
    fn new(rules: &RuleSet, chosen: impl Fn(u32, Role) -> bool) -> Self {
        let regexes = || rules.regexes.iter().filter(|regex| chosen(regex.rule, regex.role));
        let heads: BTreeSet<usize> =
            regexes().map(|regex| regex.pattern.head).chain(std::iter::once(0)).collect();
        let behind = |head| {
            let same = regexes().filter(|regex| regex.pattern.head == head);
            let closed: Vec<Closed<'_>> = same.filter_map(Regex::closed).collect();
            LiveBehind {
                head,
                literals: rules.literals.live_depths(|used| {
                    let purpose = rules.purpose(used.role)?;
                    (purpose.head == head && chosen(used.rule, purpose.role))
                        .then_some(purpose.live_at)
                }),
                regexes: Closure::pack(&closed),
            }
        };
        Self { by_head: heads.into_iter().map(behind).collect() }
    }

    fn closures(&self) -> impl Iterator<Item = &Closure> {
        self.by_head.iter().flat_map(|behind| &behind.regexes)
    }

    fn depth(&self, rules: &RuleSet, at: &Position<'_>) -> u64 {
        self.by_head.iter().map(|behind| behind.depth(rules, at)).max().unwrap_or(0)
    }
}

// === impl LiveBehind ===

impl LiveBehind {
    fn depth(&self, rules: &RuleSet, at: &Position<'_>) -> u64 {
        let is_edge = |back| at.is_ascii_edge(back);
        let literals = rules.literals.live(&self.literals, at.literal_state, is_edge);
        let longest = self
            .regexes
            .iter()
            .map(|closure| closure.live(at.tail, at.whole) as u64)
            .fold(literals, u64::max);
        if self.head == 0 {
            return longest;
        }
        // Regexes keep as much of the text as they may reach.
        at.behind_head(usize::try_from(longest).unwrap_or(usize::MAX), self.head) as u64
    }
}
