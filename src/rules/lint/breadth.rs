//! What matches too much: by chance, in common words, or in sentences that mean no harm.

use std::sync::Arc;

use regex_syntax::hir::{Hir, HirKind};

use crate::rules::pack::{Edges, Literal, PatternSpec};
use crate::rules::{RuleIndex, RuleSet, StreamMatcher, Watch};

use super::waits::is_anything;
use super::{Level, LookedAt, Told};

/// A literal inside words, or a regex, this short matches by chance.
const SHORT_BYTES: usize = 4;
/// A whole word this short has other meanings.
const SHORT_WORD_CHARS: usize = 2;
/// Common words, when there are more of them, still say something.
const FEW_WORDS: usize = 3;
/// A match longer than this is more than anybody means, in bytes.
const HUGE_BOUND: usize = 1024;

/// Words of which nearly every text has some.
const COMMON_WORDS: &str = "a about after all also an and any are as at back be because been but by \
    can come could day did do does even find first for from get give go good had has have he help \
    her here him his how i if in into is it its just know like look make man many me more most my \
    need new no not now of on one only or other our out over people please say see she should so \
    some take tell than thank that the their them then there these they thing think this time to \
    two up us use user very want was way we well were what when where which who why will with word \
    work would write yes you your";

/// The same in Chinese.
const COMMON_CHINESE: &str = "的 了 是 我 你 他 她 它 们 在 有 和 不 就 都 也 这 那 要 会 可以 我们 你们 他们 \
    什么 怎么 如何 因为 所以 但是 如果 没有 一个 这个 那个 自己 知道 需要 使用 问题 时候 现在 请 好 人";

/// Sentences of every day; a rule that matches one is too broad.
const BENIGN: &[&str] = &[
    "Could you help me plan a birthday party for my six-year-old daughter?",
    "The train to the coast leaves at a quarter past nine from platform four.",
    "Preheat the oven, then mix the flour, the sugar and two eggs in a large bowl.",
    "I need to write a short letter to my landlord about the broken heating.",
    "How do I kill a process that no longer answers on Linux?",
    "The function returns an error if the file does not exist, so check for that first.",
    "She has been learning the piano since last summer and plays every evening.",
    "What is the difference between a virus and a bacterium?",
    "My doctor told me to drink more water and to sleep eight hours a night.",
    "Please summarise this article about the history of the steam engine.",
    "The quarterly report shows that sales grew by twelve percent.",
    "To attack the problem, split the list into two halves and sort each of them.",
    "We visited three museums, and the children liked the dinosaurs best.",
    "Let x be the number of apples; then 3x + 5 = 20, so x = 5.",
    "He shot a beautiful photo of the sunset over the lake.",
    "This recipe is the bomb, thank you so much for sharing it!",
    "Can you explain how password managers work and which one I should use?",
    "The exploit of the climbers was in all the newspapers of the time.",
    "Our cat hides under the bed whenever there is a thunderstorm.",
    "Use a strong passphrase and turn on two-factor authentication.",
    "The novel tells the story of a detective who must find a stolen painting.",
    "In 1969, two astronauts walked on the Moon for the first time.",
    "I would like to return these shoes, since they are a size too small.",
    "The garden needs weeding before we can plant the tomatoes.",
    "A balanced diet has plenty of vegetables, fruit and whole grains.",
    "Okay, the user wants a poem about autumn; let me think about the rhymes.",
    "First I should check whether the input is empty, and then parse it.",
    "Wait, I made a mistake in the second step; the sum is 42, not 41.",
    "The meeting was moved to Thursday, so everybody can be there.",
    "Water boils at a lower temperature in the mountains.",
    "Could you translate this menu into Spanish and French?",
    "You can cancel the order within fourteen days at no cost.",
    "The bank is closed on Sundays, but the cash machine works.",
    "Children under twelve must be accompanied by an adult.",
    "The chemistry of bread is all about yeast, heat and time.",
    "Their team won the match in the last minute of the game.",
    "Open the settings, choose Network, and enter the name of your router.",
    "For a first marathon, train at least four months and rest one day a week.",
    "The library lends tools too, from drills to sewing machines.",
    "It is a good idea to back up your photos before you update the phone.",
    "请帮我写一封感谢信给我的老师。",
    "今天天气很好,我们打算去公园散步。",
    "怎么用电饭煲做一锅好吃的米饭?",
    "这个函数的时间复杂度是多少?",
    "他每天早上六点起床跑步。",
    "请把这段文字翻译成英文。",
    "火车晚点了半个小时,大家都在等。",
    "孩子们在学校里学会了游泳。",
    "多吃蔬菜水果,少吃油炸食品。",
    "好的,用户想要一个周末旅行计划,我先列出几个城市。",
    "请解释一下光合作用的过程。",
    "这家餐厅的牛肉面非常有名。",
    "我想学习编程,应该从哪门语言开始?",
    "如何在三个月内提高英语口语?",
    "春节的时候,全家人一起包饺子。",
];

/// The sentences that a rule must not match, one a line: a sample to measure with.
#[must_use]
pub fn everyday_text() -> String {
    BENIGN.join("\n")
}

/// The numbers of benign sentences that each rule matches, from 1.
pub(super) fn benign_matches(rules: &Arc<RuleSet>) -> Vec<(RuleIndex, usize)> {
    let watch = Arc::new(Watch::new(rules, &|_| true, &|_| false));
    let mut matched = Vec::new();
    for (number, sentence) in (1..).zip(BENIGN) {
        let mut matcher = StreamMatcher::new(&watch);
        let mut found = Vec::new();
        matcher.push(sentence, &mut found);
        matcher.finish(&mut found);
        matched.extend(found.iter().map(|found| (found.rule, number)));
    }
    matched.dedup();
    matched
}

pub(super) fn lint(of: LookedAt<'_>, benign: &[(RuleIndex, usize)], told: &mut Told<'_, '_>) {
    for (number, pattern) in (1..).zip(&of.shape.patterns) {
        if let Some((level, note)) = too_broad(pattern, of.needs_any()) {
            told.of_pattern(level, number, &note);
        }
    }
    let sentences = benign.iter().filter(|(rule, _)| *rule == of.index);
    for sentence in sentences.filter_map(|&(_, number)| BENIGN.get(number - 1)) {
        told.of_rule(Level::Warning, format!("matches an everyday sentence: {sentence}"));
    }
}

fn too_broad(pattern: &PatternSpec, alone: bool) -> Option<(Level, String)> {
    let warning = |note: &str| Some((Level::Warning, note.to_owned()));
    match pattern {
        // Of several that must all match, each may be common.
        PatternSpec::Literal(_) if !alone => None,
        PatternSpec::Literal(literal) => literal_too_broad(literal).and_then(|note| warning(&note)),
        PatternSpec::Regex(regex) => {
            if regex.shortest < SHORT_BYTES {
                warning(&format!("matches {} bytes already", regex.shortest))
            } else if begins_or_ends_with_gap(&regex.hir) {
                warning("begins or ends with a gap, which only lets text wait: leave it out")
            } else if regex.bound > HUGE_BOUND {
                let note = format!("matches up to {} bytes", regex.bound);
                Some((Level::Info, note))
            } else {
                None
            }
        }
        PatternSpec::Near { words, .. } => words
            .iter()
            .all(|word| is_common(&word.folded))
            .then(|| (Level::Warning, "is made of common words only".to_owned())),
    }
}

fn literal_too_broad(literal: &Literal) -> Option<String> {
    let folded = literal.folded.as_str();
    let words = folded.split(' ');
    if words.clone().count() <= FEW_WORDS && words.clone().all(is_common) {
        return Some("is made of common words only".to_owned());
    }
    let chars = folded.chars().count();
    if !folded.is_ascii() {
        return (chars == 1).then(|| "is one character, and stands in many words".to_owned());
    }
    match literal.edges {
        Edges::Word if chars <= SHORT_WORD_CHARS => {
            Some(format!("is a word of {chars} characters"))
        }
        Edges::Anywhere if chars <= SHORT_BYTES => {
            Some(format!("is {chars} characters anywhere, inside words too"))
        }
        Edges::Word | Edges::Anywhere => None,
    }
}

fn is_common(word: &str) -> bool {
    COMMON_WORDS
        .split_whitespace()
        .chain(COMMON_CHINESE.split_whitespace())
        .any(|each| each == word)
}

fn begins_or_ends_with_gap(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Concat(parts) => [parts.first(), parts.last()].into_iter().flatten().any(
            |part| matches!(part.kind(), HirKind::Repetition(repetition) if repetition.min == 0 && is_anything(&repetition.sub)),
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::lint::tests::notes_on;

    #[test]
    fn short_and_common_patterns_are_told() {
        for (pattern, note) in [
            ("{literal: ab}", "is a word of 2 characters"),
            ("{literal: bomb, word: false}", "is 4 characters anywhere, inside words too"),
            ("{literal: because}", "is made of common words only"),
            ("{literal: what can you}", "is made of common words only"),
            ("{literal: 炸}", "is one character, and stands in many words"),
            ("{literal: 怎么}", "is made of common words only"),
            ("{near: {words: [how, to], within_chars: 9}}", "is made of common words only"),
            ("{regex: 'x.?'}", "matches 1 bytes already"),
            (
                "{regex: '.{0,9}acid'}",
                "begins or ends with a gap, which only lets text wait: leave it out",
            ),
            (
                "{regex: 'acid[^a]*', bound: 99}",
                "begins or ends with a gap, which only lets text wait: leave it out",
            ),
        ] {
            let notes = notes_on(pattern);
            assert!(notes.contains(&format!("warning pattern 1 {note}")), "{pattern} {notes:?}");
        }
        for pattern in ["{literal: bombs}", "{literal: 炸弹}", "{regex: 'acid.{0,9}bath'}"] {
            assert_eq!(notes_on(pattern), Vec::<String>::new(), "{pattern}");
        }
        assert_eq!(
            notes_on("{regex: 'key=[a-z]+', bound: 2000}"),
            [
                "info pattern 1 matches up to 2000 bytes",
                "info pattern 1 holds text for up to 2000 bytes: so long a match may be",
            ]
        );
    }

    #[test]
    fn everyday_sentences_must_not_match() {
        let notes = notes_on("{regex: 'birthday party'}");
        assert_eq!(
            notes,
            ["warning matches an everyday sentence: Could you help me plan a birthday party for \
                 my six-year-old daughter?"]
        );
    }
}
