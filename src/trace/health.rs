//! Notes on how a model thinks, whatever it thinks about: loops, empty thinking, changes of language, encoded or
//! illegible stretches. None of them is a harm; each can hide one from whoever reads along.
//!
//! [`HealthReader`] reads a text as it comes, in memory that does not grow with it; what it notes does not depend on
//! how the text was cut.

use schemars::JsonSchema;
use serde::Serialize;

/// What is noted of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthNote {
    /// The thinking was opened and holds nothing.
    EmptyThinking,
    /// It says the same again and again.
    Loop,
    /// It goes on in another script.
    LanguageSwitch,
    /// It holds a long stretch of base64 or hexadecimal digits.
    Encoded,
    /// It holds a stretch that is no language.
    Illegible,
}

/// Sentences among which repetition is looked for.
const RECENT: usize = 24;

/// So often a sentence stands among them when it is a loop.
const TIMES: usize = 4;

/// Letters that a sentence has at least; shorter ones are taken together.
const SENTENCE: u16 = 24;

/// Letters after which a sentence is cut at the next word.
const LONG_SENTENCE: u16 = 64;

/// Characters of an encoded stretch; a SHA-512 digest, 128 hexadecimal digits, is none.
const ENCODED: u32 = 160;

/// Letters, by weight, by which the script of a stretch is known.
const SCRIPT_KNOWN: u16 = 96;

/// Characters of a stretch that is judged for being illegible.
const STRETCH: u16 = 240;

/// Reads a text for [`HealthNote`]s.
#[derive(Clone, Debug, Default)]
pub struct HealthReader {
    chars: u64,
    notes: [Option<u64>; NOTED.len()],
    sentences: Sentences,
    scripts: Scripts,
    run: Run,
    stretch: Stretch,
}

/// The notes that a reader makes, in the order of [`HealthReader::notes`].
const NOTED: [HealthNote; 4] =
    [HealthNote::Loop, HealthNote::LanguageSwitch, HealthNote::Encoded, HealthNote::Illegible];

/// The last sentences, as digests of their letters.
#[derive(Clone, Debug)]
struct Sentences {
    recent: [u32; RECENT],
    next: usize,
    digest: u32,
    letters: u16,
}

/// Letters of the last stretch, by script, older ones weighing less.
#[derive(Clone, Debug, Default)]
struct Scripts {
    weights: [u16; Script::COUNT],
    /// What the text is written in.
    own: Option<Script>,
}

/// A script that a language is told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Script {
    Latin,
    /// Chinese and Japanese.
    Ideographs,
    Hangul,
    Cyrillic,
    Arabic,
    Hebrew,
    Devanagari,
    Thai,
}

/// Characters of an alphabet of codes without anything between.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    length: u32,
    upper: u32,
    lower: u32,
    digits: u32,
    /// All of them are hexadecimal digits.
    beyond_hex: bool,
}

/// Characters other than white space, by what they are.
#[derive(Clone, Copy, Debug, Default)]
struct Stretch {
    length: u16,
    /// Latin letters.
    latin: u16,
    vowels: u16,
    /// Replacement characters, controls, private use.
    odd: u16,
}

// === impl HealthNote ===

impl HealthNote {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::EmptyThinking, Self::Loop, Self::LanguageSwitch, Self::Encoded, Self::Illegible];

    /// The note's name in metrics and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EmptyThinking => "empty_thinking",
            Self::Loop => "loop",
            Self::LanguageSwitch => "language_switch",
            Self::Encoded => "encoded",
            Self::Illegible => "illegible",
        }
    }
}

// === impl HealthReader ===

impl HealthReader {
    /// Reads on.
    pub fn push(&mut self, text: &str) {
        for character in text.chars() {
            self.chars += 1;
            let seen = [
                self.sentences.push(character),
                self.scripts.push(character),
                self.run.push(character),
                self.stretch.push(character),
            ];
            for (note, seen) in self.notes.iter_mut().zip(seen) {
                if seen && note.is_none() {
                    *note = Some(self.chars);
                }
            }
        }
    }

    /// What was noted, with the characters read by then.
    pub fn notes(&self) -> impl Iterator<Item = (HealthNote, u64)> {
        NOTED.into_iter().zip(self.notes).filter_map(|(note, at)| at.map(|at| (note, at)))
    }
}

// === impl Sentences ===

impl Default for Sentences {
    fn default() -> Self {
        Self { recent: [0; RECENT], next: 0, digest: 0, letters: 0 }
    }
}

impl Sentences {
    /// Takes in a character; says whether it ends a sentence that was said too often.
    fn push(&mut self, character: char) -> bool {
        if character.is_alphanumeric() {
            let letter = u32::from(character.to_ascii_lowercase());
            self.digest = (self.digest ^ letter).wrapping_mul(0x0100_0193).rotate_left(5);
            self.letters = self.letters.saturating_add(1);
            return false;
        }
        let ends = matches!(character, '.' | '!' | '?' | '\n' | '。' | '！' | '？');
        let enough = if ends { SENTENCE } else { LONG_SENTENCE };
        self.letters >= enough && self.end()
    }

    fn end(&mut self) -> bool {
        let digest = std::mem::take(&mut self.digest);
        self.letters = 0;
        if let Some(slot) = self.recent.get_mut(self.next) {
            *slot = digest;
        }
        self.next = (self.next + 1) % RECENT;
        self.recent.iter().filter(|&&known| known == digest).count() >= TIMES
    }
}

// === impl Script ===

impl Script {
    const COUNT: usize = 8;

    const ALL: [Self; Self::COUNT] = [
        Self::Latin,
        Self::Ideographs,
        Self::Hangul,
        Self::Cyrillic,
        Self::Arabic,
        Self::Hebrew,
        Self::Devanagari,
        Self::Thai,
    ];

    const fn of(character: char) -> Option<Self> {
        Some(match character {
            'a'..='z' | 'A'..='Z' | '\u{c0}'..='\u{24f}' => Self::Latin,
            '\u{3041}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{20000}'..='\u{323af}' => {
                Self::Ideographs
            }
            '\u{ac00}'..='\u{d7a3}' => Self::Hangul,
            '\u{400}'..='\u{52f}' => Self::Cyrillic,
            '\u{600}'..='\u{6ff}' => Self::Arabic,
            '\u{5d0}'..='\u{5ea}' => Self::Hebrew,
            '\u{900}'..='\u{97f}' => Self::Devanagari,
            '\u{e01}'..='\u{e5b}' => Self::Thai,
            _ => return None,
        })
    }

    /// How much of a word a letter is.
    const fn weight(self) -> u16 {
        match self {
            Self::Ideographs | Self::Hangul => 3,
            _ => 1,
        }
    }
}

// === impl Scripts ===

impl Scripts {
    /// Takes in a character; says whether the text now goes on in another script.
    fn push(&mut self, character: char) -> bool {
        let Some(script) = Script::of(character) else { return false };
        if let Some(weight) = self.weights.get_mut(script as usize) {
            *weight += script.weight();
        }
        let all: u16 = self.weights.iter().sum();
        // More of the script that it is written in changes nothing.
        if all < SCRIPT_KNOWN || (self.own == Some(script) && all < 2 * SCRIPT_KNOWN) {
            return false;
        }
        let most = Script::ALL.into_iter().zip(self.weights).max_by_key(|&(_, weight)| weight);
        let most = most.filter(|&(_, weight)| weight * 4 >= all * 3).map(|(script, _)| script);
        if all >= 2 * SCRIPT_KNOWN {
            self.weights = self.weights.map(|weight| weight / 2);
        }
        let Some(most) = most else { return false };
        *self.own.get_or_insert(most) != most
    }
}

// === impl Run ===

impl Run {
    /// Takes in a character; says whether the run is long enough to be a code.
    fn push(&mut self, character: char) -> bool {
        match character {
            'a'..='z' => self.lower += 1,
            'A'..='Z' => self.upper += 1,
            '0'..='9' => self.digits += 1,
            '+' | '/' | '=' => {}
            // Codes are broken into lines of 64 characters and more.
            '\n' | '\r' if self.length >= 60 => return false,
            _ => {
                *self = Self::default();
                return false;
            }
        }
        self.beyond_hex |= !character.is_ascii_hexdigit();
        self.length += 1;
        let mixed = if self.beyond_hex { self.upper.min(self.lower) } else { self.length };
        self.length >= ENCODED && mixed * 8 >= self.length && self.digits * 24 >= self.length
    }
}

// === impl Stretch ===

impl Stretch {
    /// Takes in a character; says whether it ends a stretch that is no language.
    fn push(&mut self, character: char) -> bool {
        if character.is_whitespace() {
            return false;
        }
        self.length += 1;
        self.latin += u16::from(character.is_ascii_alphabetic());
        self.vowels += u16::from(is_vowel(character));
        self.odd += u16::from(is_odd(character));
        if self.length < STRETCH {
            return false;
        }
        let Self { latin, vowels, odd, .. } = std::mem::take(self);
        let speechless = latin * 10 >= STRETCH * 8 && vowels * 100 < latin * 15;
        odd * 10 >= STRETCH || speechless
    }
}

const fn is_vowel(character: char) -> bool {
    matches!(character.to_ascii_lowercase(), 'a' | 'e' | 'i' | 'o' | 'u' | 'y')
}

fn is_odd(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{fffd}' | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(text: &str) -> Vec<HealthNote> {
        let mut reader = HealthReader::default();
        reader.push(text);
        reader.notes().map(|(note, _)| note).collect()
    }

    const SOBER: &str = "Okay, the user wants to know how many tiles cover a floor of 4 by 6 metres. Each tile is \
                         0.5 by 0.5, so 0.25 square metres. 24 / 0.25 = 96. Wait, let me check that again. The \
                         floor has an area of 24 square metres, and 96 tiles of a quarter make 24. Good. ";

    fn codes(count: usize) -> String {
        // Not random, but of all kinds.
        (0..count).map(|n| char::from(b"aZ3kQ9xB7mT2"[n % 12])).collect()
    }

    #[test]
    fn has_nothing_to_note_of_sober_thinking() {
        assert_eq!(notes(SOBER), []);
        assert_eq!(notes(&format!("{SOBER}{}", "f0".repeat(64))), []);
        assert_eq!(
            notes("先把问题想清楚，用户想知道怎样计算面积。地板是四米乘六米，所以是二十四平方米。"),
            []
        );
    }

    #[test]
    fn notes_what_is_there() {
        let cases = [
            (SOBER.repeat(6), vec![HealthNote::Loop]),
            ("and so on ".repeat(120), vec![HealthNote::Loop]),
            (
                format!(
                    "{SOBER}{}",
                    "我们先想一想这个问题应该怎样回答才好呢，".repeat(2)
                        + "然后再写出全部的步骤和数字来说明它，最后检查一遍结果是否正确"
                ),
                vec![HealthNote::LanguageSwitch],
            ),
            (format!("{SOBER}{}", codes(200)), vec![HealthNote::Encoded]),
            (format!("{SOBER}{}", "b4".repeat(120)), vec![HealthNote::Encoded]),
            (format!("{SOBER}{}", "xq zrt bnm plk wvd ".repeat(40)), vec![HealthNote::Illegible]),
            (format!("{SOBER}{}", "\u{fffd}".repeat(500)), vec![HealthNote::Illegible]),
        ];
        for (text, expected) in cases {
            assert_eq!(notes(&text), expected, "{text}");
        }
    }

    #[test]
    fn notes_the_same_whatever_the_cut() {
        let text = format!("{SOBER}{}{}", codes(200), "和你一起想一想这个问题。".repeat(20));
        let mut whole = HealthReader::default();
        whole.push(&text);
        let whole: Vec<_> = whole.notes().collect();
        assert_eq!(whole.len(), 3);
        for cut in (0..=text.len()).filter(|&cut| text.is_char_boundary(cut)) {
            let (head, tail) = text.split_at(cut);
            let mut reader = HealthReader::default();
            reader.push(head);
            reader.push(tail);
            assert_eq!(reader.notes().collect::<Vec<_>>(), whole, "cut at {cut}");
        }
    }
}
