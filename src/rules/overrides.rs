//! What an operator changes about rules without copying them.
//!
//! In: packs as they were read, with their `overrides`. Out: the same packs, changed; or an error for every
//! selector that selects nothing, since a typing mistake must not silently leave a rule as it was.
//!
//! Overrides are carried out once all packs are there, in the order of the packs and within a pack in that of the
//! file: of two that say the same thing, the later holds. Selectors look at rules as their packs state them, so
//! that no override can hide a rule from another.

use std::collections::HashSet;

use crate::channel::Channel;

use super::pack::{Pack, PackError, PatternSpec, Place, Placed, RuleSpec, default_weight};
use super::{Category, Kind, RuleAction, Severity};

/// One entry of a pack's `overrides`.
#[derive(Clone, Debug)]
pub(super) struct Override {
    pub(super) selector: Selector,
    pub(super) changes: Changes,
    pub(super) place: Place,
}

/// Which rules; all that is said must hold, and of each list one entry.
#[derive(Clone, Debug, Default)]
pub(super) struct Selector {
    /// Ids, with `*` and `?`.
    pub(super) ids: Vec<(String, Place)>,
    /// Names of packs, with `*` and `?`.
    pub(super) packs: Vec<(String, Place)>,
    pub(super) kinds: Vec<Kind>,
    pub(super) categories: Vec<Category>,
    pub(super) severities: Vec<Severity>,
}

/// What becomes of them; what is not said stays.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    pub(super) enabled: Option<bool>,
    pub(super) action: Option<RuleAction>,
    pub(super) severity: Option<Severity>,
    pub(super) channels: Option<Vec<Channel>>,
    pub(super) weight: Option<f64>,
    /// Exceptions beside the rule's own.
    pub(super) unless: Vec<Placed<PatternSpec>>,
}

/// What selectors look at, as the packs state it.
struct Facts {
    /// The rule's place: its pack's number, and its own in the pack.
    at: (usize, usize),
    pack: String,
    id: String,
    kind: Kind,
    category: Option<Category>,
    severity: Severity,
}

/// Carries out every pack's overrides on all packs' rules, and tells those that cannot be.
pub(super) fn apply(packs: &mut [Pack]) -> Vec<PackError> {
    let facts = facts(packs);
    let mut disabled = HashSet::new();
    let mut errors = Vec::new();
    for number in 0..packs.len() {
        let Some(pack) = packs.get_mut(number) else { continue };
        let overrides = std::mem::take(&mut pack.overrides);
        let origin = pack.origin.clone();
        for each in &overrides {
            let mut refuse = |place: Place, key: &str, reason: String| {
                errors.push(PackError {
                    origin: origin.clone(),
                    line: place.line,
                    column: place.column,
                    rule: None,
                    key: Some(format!("overrides.{key}")),
                    reason,
                });
            };
            let Some(selected) = each.selector.select(&facts, each.place, &mut refuse) else {
                continue;
            };
            if each.changes.acts() && selected.iter().all(|facts| facts.kind != Kind::Risk) {
                let reason =
                    "only rules of kind risk can flag, redact or block, and none is selected";
                refuse(each.place, "action", reason.to_owned());
            }
            for Facts { at, .. } in selected {
                if let Some(enabled) = each.changes.enabled {
                    let _ = if enabled { disabled.remove(at) } else { disabled.insert(*at) };
                }
                let rule = packs.get_mut(at.0).and_then(|pack| pack.rules.get_mut(at.1));
                if let Some(rule) = rule {
                    each.change(rule, &origin);
                }
            }
        }
    }
    for (number, pack) in packs.iter_mut().enumerate() {
        let mut rule = 0..;
        pack.rules.retain(|_| rule.next().is_none_or(|rule| !disabled.contains(&(number, rule))));
    }
    errors
}

fn facts(packs: &[Pack]) -> Vec<Facts> {
    if packs.iter().all(|pack| pack.overrides.is_empty()) {
        return Vec::new();
    }
    let mut facts = Vec::new();
    for (number, pack) in packs.iter().enumerate() {
        facts.extend(pack.rules.iter().enumerate().map(|(rule, spec)| Facts {
            at: (number, rule),
            pack: pack.name.clone(),
            id: spec.id.clone(),
            kind: spec.kind,
            category: spec.category,
            severity: spec.severity,
        }));
    }
    facts
}

// === impl Selector ===

impl Selector {
    /// The rules that it selects; `None`, and an error, where it or one of its patterns selects none.
    fn select<'f>(
        &self,
        facts: &'f [Facts],
        place: Place,
        refuse: &mut dyn FnMut(Place, &str, String),
    ) -> Option<Vec<&'f Facts>> {
        let mut complete = true;
        let mut check = |patterns: &[(String, Place)], name: fn(&Facts) -> &str, what: &str| {
            for (pattern, place) in patterns {
                if !facts.iter().any(|facts| is_like(name(facts), pattern)) {
                    complete = false;
                    refuse(*place, "rules", format!("no loaded rule has such {what}"));
                }
            }
        };
        check(&self.ids, |facts| &facts.id, "an id");
        check(&self.packs, |facts| &facts.pack, "a pack");
        let selected: Vec<&Facts> = facts.iter().filter(|facts| self.selects(facts)).collect();
        if complete && selected.is_empty() {
            complete = false;
            refuse(place, "rules", "selects no loaded rule".to_owned());
        }
        complete.then_some(selected)
    }

    fn selects(&self, facts: &Facts) -> bool {
        fn one_of<T: PartialEq>(list: &[T], value: Option<&T>) -> bool {
            list.is_empty() || value.is_some_and(|value| list.contains(value))
        }
        let like = |patterns: &[(String, Place)], name: &str| {
            patterns.is_empty() || patterns.iter().any(|(pattern, _)| is_like(name, pattern))
        };
        like(&self.ids, &facts.id)
            && like(&self.packs, &facts.pack)
            && one_of(&self.kinds, Some(&facts.kind))
            && one_of(&self.categories, facts.category.as_ref())
            && one_of(&self.severities, Some(&facts.severity))
    }
}

/// Whether a name is like a pattern in which `*` stands for anything and `?` for one character.
fn is_like(name: &str, pattern: &str) -> bool {
    let mut rests = vec![name];
    for c in pattern.chars() {
        let mut next: Vec<&str> = Vec::new();
        for rest in rests {
            match c {
                '*' => {
                    next.extend((0..=rest.len()).filter_map(|at| rest.get(at..)));
                    // The first has the longest rest, and with it all the others'.
                    break;
                }
                '?' => next.extend(rest.get(1..)),
                _ => next.extend(rest.strip_prefix(c)),
            }
        }
        rests = next;
    }
    rests.contains(&"")
}

// === impl Changes ===

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.enabled.is_none()
            && self.action.is_none()
            && self.severity.is_none()
            && self.channels.is_none()
            && self.weight.is_none()
            && self.unless.is_empty()
    }

    /// Whether the action is one that only risks can have.
    fn acts(&self) -> bool {
        self.action.is_some_and(|action| action != RuleAction::None)
    }
}

// === impl Override ===

impl Override {
    fn change(&self, rule: &mut RuleSpec, origin: &str) {
        let Changes { enabled: _, action, severity, channels, weight, unless } = &self.changes;
        if let Some(severity) = *severity {
            // A weight that followed from the severity goes on following it.
            if rule.weight.to_bits() == default_weight(rule.severity).to_bits() {
                rule.weight = default_weight(severity);
            }
            rule.severity = severity;
        }
        if let Some(weight) = *weight {
            rule.weight = weight;
        }
        if action.is_some() && (rule.kind == Kind::Risk || !self.changes.acts()) {
            rule.action = *action;
        }
        if let Some(channels) = channels {
            rule.channels.clone_from(channels);
        }
        rule.unless.extend(unless.iter().cloned());
        let Place { line, column } = self.place;
        rule.overridden.push(format!("{origin}:{line}:{column}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::rules::{Rule, RuleSet, examples};

    const SHIPPED: &str = "
pack: shipped
version: 1
rules:
  - {id: a.one, category: secrets, severity: high, any: [{literal: one}]}
  - {id: a.two, category: cbrn, severity: low, action: block, any: [{literal: two}]}
  - {id: b.one, category: secrets, severity: medium, weight: 0.1, any: [{literal: other}]}
  - {id: b.no, kind: refusal, any: [{literal: sorry}]}
";

    fn load(overrides: &[&str]) -> Result<RuleSet, Vec<String>> {
        let mut sources = vec![("shipped.yaml".to_owned(), SHIPPED.to_owned())];
        for (number, entries) in overrides.iter().enumerate() {
            let yaml = format!("pack: local{number}\nversion: 1\noverrides:\n{entries}");
            sources.push((format!("local{number}.yaml"), yaml));
        }
        let packs = sources
            .iter()
            .map(|(origin, yaml)| Pack::parse(origin, yaml, &|_| Err(String::new())))
            .collect::<Result<Vec<_>, _>>();
        let told = |errors: Vec<PackError>| errors.iter().map(ToString::to_string).collect();
        RuleSet::compile(packs.map_err(told)?).map_err(told)
    }

    fn ids(rules: &RuleSet) -> Vec<&str> {
        rules.rules().iter().map(|rule| rule.id.as_str()).collect()
    }

    fn rule<'r>(rules: &'r RuleSet, id: &str) -> &'r Rule {
        rules.rules().iter().find(|rule| rule.id == id).unwrap()
    }

    #[test]
    fn rules_are_chosen_by_id_pack_kind_category_and_severity() {
        for (selector, left) in [
            ("a.*", vec!["b.one", "b.no"]),
            ("'*.one'", vec!["a.two", "b.no"]),
            ("[a.one, 'b.?o']", vec!["a.two", "b.one"]),
            ("{category: secrets}", vec!["a.two", "b.no"]),
            ("{category: [secrets, cbrn], severity: [low, medium]}", vec!["a.one", "b.no"]),
            ("{kind: refusal}", vec!["a.one", "a.two", "b.one"]),
            ("{pack: 'ship*', id: b.*}", vec!["a.one", "a.two"]),
        ] {
            let rules = load(&[&format!("- {{rules: {selector}, enabled: false}}")]).unwrap();
            assert_eq!(ids(&rules), left, "{selector}");
        }
    }

    #[test]
    fn a_rule_takes_what_is_said_and_keeps_the_rest() {
        let rules = load(&["- rules: '*'
  severity: critical
  action: flag
  channels: [answer]
- {rules: b.one, action: none, weight: 1}"])
        .unwrap();
        let one = rule(&rules, "a.one");
        assert_eq!((one.severity, one.action), (Severity::Critical, Some(RuleAction::Flag)));
        assert_eq!(one.channels, [Channel::Answer]);
        assert!((one.weight - 0.95).abs() < 1e-9, "the severity's");
        let other = rule(&rules, "b.one");
        assert_eq!(other.action, Some(RuleAction::None));
        assert!((other.weight - 1.0).abs() < 1e-9);
        assert_eq!(rule(&rules, "b.no").action, None, "cannot act");
    }

    #[test]
    fn a_weight_of_its_own_does_not_follow_the_severity() {
        let rules = load(&["- {rules: b.one, severity: critical}"]).unwrap();
        assert!((rule(&rules, "b.one").weight - 0.1).abs() < 1e-9);
    }

    #[test]
    fn the_later_override_holds() {
        let first = "- {rules: '*', enabled: false, severity: low}";
        let rules = load(&[first, "- {rules: {severity: high}, enabled: true}"]).unwrap();
        // Chosen by what its own pack says.
        assert_eq!(ids(&rules), ["a.one"]);
        assert_eq!(rule(&rules, "a.one").severity, Severity::Low);
    }

    #[test]
    fn exceptions_are_added() {
        let rules =
            load(&["- {rules: a.one, unless: [{literal: one day}, {regex: 'no.{0,3}one'}]}"]);
        let rules = Arc::new(rules.unwrap());
        let watch = Arc::new(crate::rules::Watch::new(&rules, &|_| true, &|_| false));
        let matches = |text| examples::matches(&watch, crate::rules::RuleIndex(0), text);
        assert!(matches("one"));
        assert!(!matches("one day"));
        assert!(!matches("not one"));
    }

    #[test]
    fn what_selects_or_changes_nothing_is_an_error() {
        let errors = load(&[
            "- {rules: secrets.*, enabled: false}\n- {rules: [a.one, a.tow, b.no], enabled: false}",
            "- {rules: {id: a.*, category: cybercrime}, enabled: false}\n- {rules: b.no, action: block}",
        ])
        .unwrap_err();
        assert_eq!(
            errors,
            [
                "local0.yaml:4:11: overrides.rules: no loaded rule has such an id",
                "local0.yaml:5:19: overrides.rules: no loaded rule has such an id",
                "local1.yaml:4:3: overrides.rules: selects no loaded rule",
                "local1.yaml:5:3: overrides.action: only rules of kind risk can flag, redact or \
                 block, and none is selected",
            ]
        );
        for entry in [
            "- {rules: a.one}",
            "- {enabled: false}",
            "- {rules: {}, enabled: false}",
            "- {rules: [], enabled: false}",
            "- {rules: 'a one', enabled: false}",
            "- {rules: 7, enabled: false}",
            "- {rules: {ids: a.one}, enabled: false}",
            "- {rules: a.one, enabled: no way}",
            "- {rules: a.one, severity: grave}",
            "- {rules: a.one, channels: []}",
            "- {rules: a.one, unless: []}",
            "- {rules: a.one, wieght: 1}",
        ] {
            let errors = load(&[entry]).unwrap_err();
            assert_eq!(errors.len(), 1, "{entry}: {errors:?}");
            assert!(errors[0].starts_with("local0.yaml:4:"), "{errors:?}");
        }
    }

    #[test]
    fn a_regex_too_large_is_told_where_the_override_says_it() {
        let errors = load(&["- {rules: a.one, unless: [{regex: '[^a]{0,400}[ab][^a]{400}'}]}"]);
        let errors = errors.unwrap_err();
        assert!(errors[0].starts_with("local0.yaml:4:35: rule a.one: regex: needs"), "{errors:?}");
    }
}
