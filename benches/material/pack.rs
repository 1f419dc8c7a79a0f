//! A rule pack of any size: phrases and regexes of words that occur in the text, which themselves hardly do.

use std::{collections::BTreeSet, fmt::Write as _};

use super::{Random, text::words};

const CATEGORIES: [&str; 6] = [
    "cybercrime",
    "regulated_items",
    "privacy_confidentiality",
    "violence_terrorism",
    "property_infringement",
    "secrets",
];

const SEVERITIES: [&str; 4] = ["low", "medium", "high", "critical"];

const VERBS: [&str; 24] = [
    "bypass",
    "counterfeit",
    "exploit",
    "forge",
    "hijack",
    "launder",
    "poison",
    "ransom",
    "sabotage",
    "smuggle",
    "spoof",
    "steal",
    "disable",
    "order",
    "take",
    "open",
    "write",
    "split",
    "check",
    "deliver",
    "sort",
    "close",
    "compute",
    "improve",
];

const THINGS: [&str; 24] = [
    "alarm",
    "passport",
    "ledger",
    "badge",
    "firmware",
    "keycard",
    "precursor",
    "payload",
    "detonator",
    "password",
    "router",
    "vault",
    "customer",
    "driver",
    "harbour",
    "bakery",
    "gate",
    "route",
    "district",
    "table",
    "token",
    "wallet",
    "camera",
    "invoice",
];

/// The pack's YAML: `literals` rules of one literal and `regexes` rules of one regex.
pub(crate) fn yaml(seed: u64, literals: usize, regexes: usize) -> String {
    let mut random = Random::new(seed);
    let mut pack = String::from("pack: bench\nversion: 1\nrules:\n");
    for (number, phrase) in phrases(&mut random, literals).into_iter().enumerate() {
        rule(
            &mut pack,
            &mut random,
            &format!("literal_{number}"),
            &format!("literal: \"{phrase}\""),
        );
    }
    for (number, regex) in distinct(&mut random, regexes, regex).into_iter().enumerate() {
        rule(&mut pack, &mut random, &format!("regex_{number}"), &format!("regex: '{regex}'"));
    }
    pack
}

fn rule(pack: &mut String, random: &mut Random, id: &str, pattern: &str) {
    let (category, severity) = (random.pick(&CATEGORIES), random.pick(&SEVERITIES));
    writeln!(
        pack,
        "  - id: bench.{id}\n    kind: risk\n    category: {category}\n    severity: {severity}\n    \
         any:\n      - {pattern}"
    )
    .unwrap();
}

fn phrases(random: &mut Random, count: usize) -> BTreeSet<String> {
    let words = words();
    distinct(random, count, |random| {
        let (verb, word, thing) = (random.pick(&VERBS), random.pick(&words), random.pick(&THINGS));
        match random.number() % 4 {
            0 => format!("{verb} {thing} {word}"),
            1 => format!("{verb} the {thing}"),
            2 => format!("{word} {thing}"),
            _ => format!("{verb} {word} {thing}"),
        }
    })
}

fn regex(random: &mut Random) -> String {
    let (verb, thing, other) = (random.pick(&VERBS), random.pick(&THINGS), random.pick(&THINGS));
    let number = random.number() % 900 + 100;
    match random.number() % 5 {
        0 => format!("{verb}(?:ing|ed)? (?:the|a|my) {thing}s?"),
        1 => format!("{thing}[-_ ]?{number}[0-9]{{2,4}}"),
        2 => format!("(?:{thing}|{other}) {verb}[a-z]{{1,4}} {number}"),
        3 => format!("{verb} [a-z]{{2,8}} {thing}"),
        _ => format!("(?:{}|sk)-{number}[a-z0-9]{{12,16}}", thing.get(..3).unwrap()),
    }
}

fn distinct(
    random: &mut Random,
    count: usize,
    mut make: impl FnMut(&mut Random) -> String,
) -> BTreeSet<String> {
    let mut made = BTreeSet::new();
    while made.len() < count {
        made.insert(make(random));
    }
    made
}
