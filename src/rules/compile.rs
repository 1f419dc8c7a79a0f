//! Packs → [`RuleSet`]: the automata that all texts share.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use regex_syntax::hir::Look;

use crate::channel::Channel;

use super::automata::{self, Closed, Ends, Group, Side, Starts, Triggers};
use super::literals::{Literals, LiteralsBuilder, LiveAt, Role, Use};
use super::loose::{LooseBuilder, LooseLiterals};
use super::overrides;
use super::pack::{Edges, Literal, Needs, Pack, PackError, PatternSpec, Place, Placed, RuleSpec};
use super::patterns::Pattern;
use super::{Category, Examples, Kind, RuleAction, Severity};

/// A loaded rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Unique over all loaded packs.
    pub id: String,
    /// The name of the pack that it stands in.
    pub pack: String,
    /// What it is about, for people.
    pub description: String,
    /// What a match says about the text.
    pub kind: Kind,
    /// The kind of harm; rules of kind `risk` have one.
    pub category: Option<Category>,
    /// How grave a match is.
    pub severity: Severity,
    /// The channels it watches.
    pub channels: Vec<Channel>,
    /// What it asks for in place of its severity's default.
    pub action: Option<RuleAction>,
    /// What a match adds to a risk score, 0 to 1.
    pub weight: f64,
    /// Texts it must and must not match.
    pub examples: Examples,
    /// Where its authors learnt of it.
    pub references: Vec<String>,
}

/// A rule's place in its [`RuleSet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleIndex(pub u32);

/// All loaded rules, compiled.
pub struct RuleSet {
    rules: Vec<Rule>,
    pub(super) shapes: Vec<Shape>,
    pub(super) literals: Literals,
    pub(super) loose: LooseLiterals,
    pub(super) nears: Vec<Near>,
    pub(super) regexes: Vec<Regex>,
    pub(super) groups: Vec<Group>,
}

/// What matching has to know of a rule.
#[derive(Debug)]
pub(super) struct Shape {
    /// For `all`: one bit a pattern; for `any`: 0.
    pub(super) needs: u64,
    /// It has `unless` exceptions.
    pub(super) has_exceptions: bool,
    /// The longest span of its patterns, in bytes of folded text.
    pub(super) longest: u64,
    /// Its patterns as the pack has them.
    pub(super) patterns: Vec<PatternSpec>,
    /// Its exceptions as the pack has them.
    pub(super) unless: Vec<PatternSpec>,
    pub(super) stands: Stands,
}

/// Where packs say what a rule is.
#[derive(Clone, Debug, Default)]
pub(super) struct Stands {
    /// The rule's pack, and its place there.
    pub(super) rule: Spot,
    /// Its patterns, in their order.
    pub(super) patterns: Vec<Spot>,
    /// The places of the overrides that changed it.
    pub(super) overridden: Vec<String>,
}

/// A place in a pack.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    pub(super) origin: Arc<str>,
    pub(super) place: Place,
}

/// Words near each other.
#[derive(Debug)]
pub(super) struct Near {
    pub(super) rule: u32,
    pub(super) role: Role,
    /// How many there are.
    pub(super) words: usize,
    /// The widest span from the first to the last, in characters of folded text.
    pub(super) within_chars: u64,
}

/// A compiled regex.
#[derive(Debug)]
pub(super) struct Regex {
    pub(super) rule: u32,
    pub(super) role: Role,
    pub(super) pattern: Pattern,
    pub(super) search: Search,
    /// How far back it has to be read again, in bytes of folded text.
    pub(super) reach: usize,
}

/// What a literal's match is for in the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Purpose {
    /// What it does for its rule.
    pub(super) role: Role,
    /// Where the literal's prefixes are live.
    pub(super) live_at: LiveAt,
    /// How many of their first characters are let go.
    pub(super) head: usize,
}

/// How a regex's matches are found.
#[derive(Debug)]
pub(super) enum Search {
    /// Its group finds where they end.
    Grouped(Starts),
    /// Backward from wherever one of their last literals ends.
    FromLast(Starts),
    /// Forward from wherever one of their first literals begins.
    FromFirst(Ends),
}

/// Literals at least this long, in bytes, are rare enough to look for a regex by them.
const RARE: usize = 3;

// === impl RuleSet ===

impl RuleSet {
    /// A set that matches nothing.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "an automaton without patterns can be built")]
    #[expect(clippy::expect_used, reason = "an automaton without patterns can be built")]
    pub fn empty() -> Self {
        Self::compile(Vec::new()).expect("nothing to refuse")
    }

    /// Compiles packs together, or reports every rule that cannot be.
    ///
    /// Takes from milliseconds to seconds; not for a thread that serves.
    pub fn compile(packs: Vec<Pack>) -> Result<Self, Vec<PackError>> {
        Self::compile_with(packs, RARE)
    }

    /// Looks for a regex by its literals where the shortest has `rare` bytes.
    pub(super) fn compile_with(mut packs: Vec<Pack>, rare: usize) -> Result<Self, Vec<PackError>> {
        let errors = overrides::apply(&mut packs);
        let mut compiler = Compiler { rare, errors, ..Compiler::default() };
        for pack in packs {
            compiler.add(pack);
        }
        compiler.finish()
    }

    /// What a literal's match is for in the end; `None` where a closure knows what is live of it.
    pub(super) fn purpose(&self, role: Role) -> Option<Purpose> {
        let anywhere = |role| Purpose { role, live_at: LiveAt::Anywhere, head: 0 };
        match role {
            Role::Match { .. } | Role::Exception => Some(anywhere(role)),
            Role::Near { near, .. } => {
                self.nears.get(near as usize).map(|near| anywhere(near.role))
            }
            Role::Trigger { regex } => {
                let regex = self.regexes.get(regex as usize)?;
                let begins = regex.pattern.hir.properties().look_set_prefix();
                let edge = begins.contains(Look::WordAscii);
                let live_at = if edge { LiveAt::AsciiEdge } else { LiveAt::Anywhere };
                matches!(regex.search, Search::FromFirst(_)).then_some(Purpose {
                    role: regex.role,
                    live_at,
                    head: regex.pattern.head,
                })
            }
        }
    }

    /// The rules, in the order of the packs.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule that a match names.
    #[must_use]
    pub fn rule(&self, index: RuleIndex) -> Option<&Rule> {
        self.rules.get(index.0 as usize)
    }
}

impl fmt::Debug for RuleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |is_so: fn(&Search) -> bool| {
            self.regexes.iter().filter(|regex| is_so(&regex.search)).count()
        };
        f.debug_struct("RuleSet")
            .field("rules", &self.rules.len())
            .field("groups", &self.groups.len())
            .field("grouped_regexes", &count(|search| matches!(search, Search::Grouped(_))))
            .field("regexes_from_last", &count(|search| matches!(search, Search::FromLast(_))))
            .field("regexes_from_first", &count(|search| matches!(search, Search::FromFirst(_))))
            .finish_non_exhaustive()
    }
}

impl Default for RuleSet {
    fn default() -> Self {
        Self::empty()
    }
}

/// Collects rules and what is wrong with them together.
#[derive(Default)]
struct Compiler {
    rare: usize,
    rules: Vec<Rule>,
    shapes: Vec<Shape>,
    origins: Vec<Spot>,
    literals: LiteralsBuilder,
    loose: LooseBuilder,
    nears: Vec<Near>,
    regexes: Vec<(u32, Role, Placed<Pattern>)>,
    /// Rules by id.
    known: HashMap<String, u32>,
    errors: Vec<PackError>,
}

// === impl Compiler ===

impl Compiler {
    fn add(&mut self, pack: Pack) {
        let origin: Arc<str> = Arc::from(pack.origin.as_str());
        for spec in pack.rules {
            let rule = u32::try_from(self.rules.len()).unwrap_or(u32::MAX);
            let place = spec.place;
            self.origins.push(Spot { origin: Arc::clone(&origin), place });
            if let Some(first) = self.known.insert(spec.id.clone(), rule) {
                let first =
                    self.origins.get(first as usize).map(ToString::to_string).unwrap_or_default();
                self.errors.push(PackError {
                    origin: pack.origin.clone(),
                    line: place.line,
                    column: place.column,
                    rule: Some(spec.id.clone()),
                    key: Some("id".to_owned()),
                    reason: format!("is taken by the rule at {first}"),
                });
            }
            self.add_rule(rule, &pack.name, spec);
        }
    }

    fn add_rule(&mut self, rule: u32, pack: &str, spec: RuleSpec) {
        let needs = match spec.needs {
            Needs::Any => 0,
            Needs::All => u64::MAX >> (64 - spec.patterns.len().clamp(1, 64)),
        };
        let longest = spec.patterns.iter().map(|pattern| pattern.what.longest()).max();
        for (part, pattern) in spec.patterns.iter().enumerate() {
            // Only `all` tells its patterns apart, and it has 64 at most.
            let part = if needs == 0 { 0 } else { u8::try_from(part).unwrap_or(u8::MAX) };
            self.add_pattern(rule, Role::Match { part }, pattern);
        }
        for pattern in &spec.unless {
            self.add_pattern(rule, Role::Exception, pattern);
        }
        let rule_spot = self.origins.get(rule as usize).cloned().unwrap_or_default();
        let spot = |pattern: &Placed<PatternSpec>| {
            let origin = pattern.origin.as_ref().unwrap_or(&rule_spot.origin);
            Spot { origin: Arc::clone(origin), place: pattern.place }
        };
        let stands = Stands {
            patterns: spec.patterns.iter().map(spot).collect(),
            overridden: spec.overridden,
            rule: rule_spot,
        };
        self.shapes.push(Shape {
            needs,
            has_exceptions: !spec.unless.is_empty(),
            longest: longest.unwrap_or(0) as u64,
            patterns: spec.patterns.into_iter().map(|pattern| pattern.what).collect(),
            unless: spec.unless.into_iter().map(|pattern| pattern.what).collect(),
            stands,
        });
        self.rules.push(Rule {
            id: spec.id,
            pack: pack.to_owned(),
            description: spec.description,
            kind: spec.kind,
            category: spec.category,
            severity: spec.severity,
            channels: spec.channels,
            action: spec.action,
            weight: spec.weight,
            examples: spec.examples,
            references: spec.references,
        });
    }

    fn add_pattern(&mut self, rule: u32, serves: Role, pattern: &Placed<PatternSpec>) {
        match &pattern.what {
            PatternSpec::Literal(literal) => {
                self.literals.add(literal, Use { rule, role: serves });
                if let Role::Match { part } = serves {
                    self.loose.add(&literal.folded, rule, part);
                }
            }
            PatternSpec::Regex(regex) => {
                let origin = pattern.origin.clone();
                let regex = Placed { what: regex.clone(), place: pattern.place, origin };
                self.regexes.push((rule, serves, regex));
            }
            PatternSpec::Near { words, within_chars } => {
                let near = u32::try_from(self.nears.len()).unwrap_or(u32::MAX);
                for (word, literal) in words.iter().enumerate() {
                    let word = u8::try_from(word).unwrap_or(u8::MAX);
                    self.literals.add(literal, Use { rule, role: Role::Near { near, word } });
                }
                self.nears.push(Near {
                    rule,
                    role: serves,
                    words: words.len(),
                    within_chars: (*within_chars).into(),
                });
            }
        }
    }

    fn finish(mut self) -> Result<RuleSet, Vec<PackError>> {
        let mut triggers: Vec<Option<Triggers>> = self
            .regexes
            .iter()
            .map(|(_, _, pattern)| rare_triggers(&pattern.what, self.rare))
            .collect();
        let groups = self.group_regexes(&mut triggers);
        let mut regexes = Vec::with_capacity(self.regexes.len());
        for (number, ((rule, role, pattern), triggers)) in
            (0..).zip(std::mem::take(&mut self.regexes).into_iter().zip(triggers))
        {
            let Placed { what: pattern, place, origin } = pattern;
            let search = match triggers.as_ref().map(|triggers| triggers.side) {
                None => Starts::new(&pattern.hir, pattern.bound).map(Search::Grouped),
                Some(Side::Last) => Starts::new(&pattern.hir, pattern.bound).map(Search::FromLast),
                Some(Side::First) => Ends::new(&pattern.hir).map(Search::FromFirst),
            };
            let Some(search) = search else {
                self.refuse_size(rule, place, origin);
                continue;
            };
            // Back to the beginning of a first literal, or of a match.
            let reach = match &triggers {
                Some(triggers) if triggers.side == Side::First && is_whole(&pattern) => {
                    triggers.literals.iter().map(String::len).max().unwrap_or(pattern.bound)
                }
                _ => pattern.bound,
            };
            // What is judged is read again once the match is over, a character after its end at most.
            let reach = if pattern.checks.is_empty() { reach } else { pattern.bound + 4 };
            for folded in triggers.into_iter().flat_map(|triggers| triggers.literals) {
                let literal = Literal { folded, edges: Edges::Anywhere };
                let role = Role::Trigger { regex: number };
                self.literals.add(&literal, Use { rule, role });
            }
            regexes.push(Regex { rule, role, pattern, search, reach });
        }
        let literals = std::mem::take(&mut self.literals).build();
        let loose = std::mem::take(&mut self.loose).build();
        let literals = literals.map_err(|reason| PackError {
            origin: String::new(),
            line: 0,
            column: 0,
            rule: None,
            key: None,
            reason: format!("the literals do not fit into one automaton: {reason}"),
        });
        match literals {
            Ok(literals) if self.errors.is_empty() => Ok(RuleSet {
                rules: self.rules,
                shapes: self.shapes,
                literals,
                loose,
                nears: self.nears,
                regexes,
                groups,
            }),
            Ok(_) => Err(self.errors),
            Err(error) => {
                self.errors.push(error);
                Err(self.errors)
            }
        }
    }

    /// Groups the regexes that have no rare literals; one that does not fit has to do with common ones.
    fn group_regexes(&mut self, triggers: &mut [Option<Triggers>]) -> Vec<Group> {
        // Rules for the same channels share a group, so that other channels need not run it.
        let channels = |rule: u32| self.rules.get(rule as usize).map(|rule| &rule.channels);
        let mut members: Vec<(u32, u32, &Pattern)> = (0..)
            .zip(self.regexes.iter().zip(triggers.iter()))
            .filter(|(_, (_, triggers))| triggers.is_none())
            .map(|(number, ((rule, _, pattern), _))| (number, *rule, &pattern.what))
            .collect();
        members.sort_by_key(|&(number, rule, _)| (channels(rule), number));
        let mut groups = Vec::new();
        let mut unfit = Vec::new();
        for same in members.chunk_by(|(_, a, _), (_, b, _)| channels(*a) == channels(*b)) {
            let hirs: Vec<_> =
                same.iter().map(|&(number, _, pattern)| (number, &pattern.hir)).collect();
            let (fit, others) = Group::pack(&hirs);
            groups.extend(fit);
            unfit.extend(others);
        }
        for number in unfit {
            let (Some(&(rule, _, ref pattern)), Some(triggers)) =
                (self.regexes.get(number as usize), triggers.get_mut(number as usize))
            else {
                continue;
            };
            *triggers = rare_triggers(&pattern.what, 1);
            if triggers.is_some() {
                continue;
            }
            if let Some(group) = Group::alone(number, &pattern.what.hir) {
                groups.push(group);
            } else {
                let (place, origin) = (pattern.place, pattern.origin.clone());
                self.refuse_size(rule, place, origin);
            }
        }
        groups
    }

    fn refuse_size(&mut self, rule: u32, place: Place, origin: Option<Arc<str>>) {
        let (Some(spot), Some(id)) = (
            self.origins.get(rule as usize),
            self.rules.get(rule as usize).map(|rule| rule.id.clone()),
        ) else {
            return;
        };
        let error = PackError {
            origin: origin.unwrap_or_else(|| Arc::clone(&spot.origin)).to_string(),
            line: place.line,
            column: place.column,
            rule: Some(id),
            key: Some("regex".to_owned()),
            reason: "needs an automaton of more than 8 MiB: let it begin or end with a literal, \
                     repeat less, or use smaller classes"
                .to_owned(),
        };
        // The way forward and the way back may both be too large.
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }
}

/// The literals by which a regex is looked for without a group.
fn rare_triggers(pattern: &Pattern, rare: usize) -> Option<Triggers> {
    // From its end, a match longer than its bound could not be found.
    automata::triggers(&pattern.hir, rare)
        .filter(|triggers| triggers.side == Side::First || is_whole(pattern))
}

/// Whether no match is longer than the bound.
fn is_whole(pattern: &Pattern) -> bool {
    pattern.hir.properties().maximum_len().is_some_and(|longest| longest <= pattern.bound)
}

// === impl Spot ===

impl Default for Spot {
    fn default() -> Self {
        Self { origin: Arc::from(""), place: Place { line: 0, column: 0 } }
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.origin, self.place.line, self.place.column)
    }
}

// === impl Regex ===

impl Regex {
    /// What tells how much of the text's end could become a match, where no thread does.
    pub(super) fn closed(&self) -> Option<Closed<'_>> {
        match self.search {
            Search::FromFirst(_) => None,
            Search::Grouped(_) | Search::FromLast(_) => {
                Some(Closed { hir: &self.pattern.hir, bound: self.pattern.bound })
            }
        }
    }
}

// === impl PatternSpec ===

impl PatternSpec {
    /// The longest span, in bytes of folded text.
    fn longest(&self) -> usize {
        match self {
            Self::Literal(literal) => literal.folded.len(),
            Self::Regex(pattern) => pattern.bound,
            Self::Near { within_chars, .. } => 4 * *within_chars as usize,
        }
    }
}
