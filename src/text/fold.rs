//! The fold: one character at a time, so that no cut of the text can matter.
//!
//! A character is decomposed by compatibility (full-width letters, ligatures, styled mathematical letters
//! and circled ones become plain; Hangul syllables stay whole), its case is folded, and what is drawn on
//! other characters or not at all is dropped: Latin, Greek and Cyrillic accents, zero-width characters, bidi
//! controls, soft hyphens, variation selectors, tags. White space other than `\n` becomes a space. Small letters
//! of other scripts that look like Latin ones (Cyrillic `а`) become those, typographic quotes and dashes plain ones.
//!
//! Rules' literals go through the same fold, so that a Russian literal still matches Russian text. It does not
//! compose: Hangul written in conjoining jamo stays apart.

use unicode_normalization::char::{decompose_compatible, is_combining_mark};

use super::lookalike::latin;

/// Gives the characters that `original` stands for: none, one, or several.
pub fn fold_char(original: char, mut emit: impl FnMut(char)) {
    if original.is_ascii() {
        emit(fold_ascii(original));
    } else if stands_for_itself(original) {
        emit(original);
    } else {
        decompose_compatible(original, |part| fold_part(part, &mut emit));
    }
}

/// The folded form of a whole text.
#[must_use]
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for original in text.chars() {
        fold_char(original, |c| folded.push(c));
    }
    folded
}

/// Whether a folded character is part of a word that its neighbours of the same class go on.
///
/// Scripts written without spaces count as non-word: in them, every place may be a word's edge.
#[must_use]
pub fn is_word(folded: char) -> bool {
    if folded.is_ascii() {
        return folded.is_ascii_alphanumeric() || folded == '_';
    }
    (folded.is_alphanumeric() || is_combining_mark(folded)) && !is_written_unspaced(folded)
}

/// [`fold_char`] for one ASCII byte; other bytes stay.
pub(crate) const fn fold_ascii_byte(byte: u8) -> u8 {
    match byte {
        b'\t' | 0x0B | 0x0C | b'\r' => b' ',
        _ => byte.to_ascii_lowercase(),
    }
}

fn fold_ascii(original: char) -> char {
    match u8::try_from(original) {
        Ok(byte) => char::from(fold_ascii_byte(byte)),
        Err(_) => original,
    }
}

/// Folds what compatibility decomposition gave.
fn fold_part(part: char, emit: &mut impl FnMut(char)) {
    if part.is_ascii() {
        emit(fold_ascii(part));
    } else if is_dropped(part) {
    } else if part.is_whitespace() {
        emit(' ');
    } else if let Some(sign) = plain_sign(part) {
        emit(sign);
    } else {
        // Capital ẞ has to become ß before it can become SS; final ς becomes σ by way of Σ.
        part.to_lowercase()
            .flat_map(char::to_uppercase)
            .flat_map(char::to_lowercase)
            .filter(|&c| !is_dropped(c))
            .for_each(|c| match latin(c) {
                Some(latin) => latin.chars().for_each(&mut *emit),
                None => emit(c),
            });
    }
}

/// Typographic quotes and dashes as they are typed.
const fn plain_sign(c: char) -> Option<char> {
    Some(match c {
        '‘' | '’' | '‚' | '‛' | 'ʼ' | '′' => '\'',
        '“' | '”' | '„' | '‟' | '″' => '"',
        '‐' | '‑' | '‒' | '–' | '—' | '―' | '−' => '-',
        _ => return None,
    })
}

/// The large blocks that the fold leaves alone, by ranges alone.
const fn stands_for_itself(c: char) -> bool {
    // CJK ideographs with its first extension; Hangul syllables.
    matches!(c, '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7A3}')
}

/// Default ignorable characters, and the combining marks of the general blocks.
const fn is_dropped(c: char) -> bool {
    matches!(c,
        '\u{AD}'
        | '\u{300}'..='\u{36F}'
        | '\u{61C}'
        | '\u{115F}'..='\u{1160}'
        | '\u{17B4}'..='\u{17B5}'
        | '\u{180B}'..='\u{180F}'
        | '\u{1AB0}'..='\u{1AFF}'
        | '\u{1DC0}'..='\u{1DFF}'
        | '\u{200B}'..='\u{200F}'
        | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}'
        | '\u{20D0}'..='\u{20FF}'
        | '\u{3164}'
        | '\u{FE00}'..='\u{FE0F}'
        | '\u{FE20}'..='\u{FE2F}'
        | '\u{FEFF}'
        | '\u{FFA0}'
        | '\u{FFF0}'..='\u{FFF8}'
        | '\u{1BCA0}'..='\u{1BCA3}'
        | '\u{1D173}'..='\u{1D17A}'
        | '\u{E0000}'..='\u{E0FFF}')
}

/// Scripts that do not part words by spaces.
const fn is_written_unspaced(c: char) -> bool {
    matches!(c,
        '\u{E00}'..='\u{EFF}'       // Thai, Lao
        | '\u{F00}'..='\u{FFF}'     // Tibetan
        | '\u{1000}'..='\u{109F}'   // Myanmar
        | '\u{1780}'..='\u{17FF}'   // Khmer
        | '\u{1950}'..='\u{19FF}'   // Tai Le, New Tai Lue, Khmer symbols
        | '\u{1A20}'..='\u{1AAF}'   // Tai Tham
        | '\u{1B00}'..='\u{1B7F}'   // Balinese
        | '\u{2E80}'..='\u{2FDF}'   // radicals
        | '\u{3005}'..='\u{3007}'
        | '\u{3021}'..='\u{312F}'   // Hangzhou numerals, kana, Bopomofo
        | '\u{31A0}'..='\u{31BF}'
        | '\u{31F0}'..='\u{31FF}'
        | '\u{3400}'..='\u{4DBF}'
        | '\u{4E00}'..='\u{A4CF}'   // ideographs, Yi
        | '\u{A980}'..='\u{A9FF}'   // Javanese, Myanmar
        | '\u{AA60}'..='\u{AADF}'   // Myanmar, Tai Viet
        | '\u{F900}'..='\u{FAFF}'
        | '\u{16FE0}'..='\u{18DFF}' // Tangut, Khitan
        | '\u{1AFF0}'..='\u{1B2FF}' // kana, Nushu
        | '\u{20000}'..='\u{3FFFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_in_many_spellings_folds_to_the_same() {
        let cases = [
            ("BoMB", "bomb"),
            ("ｂｏｍｂ", "bomb"),
            ("𝐛𝑜𝓶𝖇", "bomb"),
            ("ⓑⓞⓜⓑ", "bomb"),
            ("b\u{200B}o\u{200D}m\u{AD}b", "bomb"),
            ("\u{202E}bomb\u{202C}\u{FEFF}", "bomb"),
            ("b\u{E0062}omb\u{FE0F}", "bomb"),
            ("b\u{336}o\u{336}m\u{336}b\u{336}", "bomb"),
            ("café", "cafe"),
            ("cafe\u{301}", "cafe"),
            ("CAFÉ", "cafe"),
            ("ﬁre", "fire"),
            ("“can’t” – never", "\"can't\" - never"),
            ("straße", "strasse"),
            ("STRASSE", "strasse"),
            ("STRAẞE", "strasse"),
            ("ΟΔΟΣ", "oδoo"),
            ("οδος", "oδoo"),
            ("ПРИВЕТ", "пpивeт"),
            ("bоmЬ", "bomь"),
            ("ꮪ🅱ᴏ", "sbo"),
            ("\u{130}", "i"),
            ("\u{212A}", "k"),
            ("Ⅷ", "viii"),
            ("a\u{A0}b\u{3000}c\td\r\ne", "a b c d \ne"),
            ("한국어", "한국어"),
            ("漢字かな", "漢字かな"),
            ("ｶﾞ", "カ\u{3099}"),
            ("ガ", "カ\u{3099}"),
            ("\u{1F9D}", "n"),
        ];
        for (text, folded) in cases {
            assert_eq!(fold(text), *folded, "{text:?}");
        }
    }

    #[test]
    fn folding_twice_changes_nothing() {
        let unstable: Vec<char> = ('\u{0}'..=char::MAX)
            .filter(|&c| {
                let once = fold(c.encode_utf8(&mut [0; 4]));
                fold(&once) != once
            })
            .collect();
        assert_eq!(unstable, [] as [char; 0]);
    }

    #[test]
    fn ranges_that_stand_for_themselves_do() {
        for c in ('\u{0}'..=char::MAX).filter(|&c| stands_for_itself(c)) {
            let mut slow = String::new();
            if !('\u{AC00}'..='\u{D7A3}').contains(&c) {
                decompose_compatible(c, |part| fold_part(part, &mut |c| slow.push(c)));
                assert_eq!(slow, c.to_string());
            }
        }
    }

    #[test]
    fn words_are_letters_digits_and_underscores_of_spaced_scripts() {
        for c in ['a', 'z', '0', '_', 'é', 'я', '한', '\u{94D}'] {
            assert!(is_word(c), "{c:?}");
        }
        for c in [' ', '-', '\n', '漢', 'か', '\u{3099}', 'ก', '\u{0E31}', '。', '\u{20000}'] {
            assert!(!is_word(c), "{c:?}");
        }
    }
}
