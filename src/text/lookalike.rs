//! Letters of other scripts that look like Latin ones: what UTS 39 calls confusables.
//!
//! Only letters, only towards ASCII letters, and only from scripts whose letters pass for Latin ones in running
//! text. ASCII itself stays as it is: the standard's skeleton also turns `m` into `rn` and `1` into `l`.

use std::sync::LazyLock;

use unicode_security::skeleton;

/// What a letter looks like: one or two ASCII letters in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Latin {
    letters: [u8; 2],
    length: u8,
}

/// Where the alphabets stand that ordinary text is written in: their letters are looked up, not computed.
const COMMON: std::ops::Range<u32> = 0x80..0x590;

static COMMON_LETTERS: LazyLock<Box<[Option<Latin>]>> =
    LazyLock::new(|| COMMON.map(|code| char::from_u32(code).and_then(compute)).collect());

/// The ASCII letters that `letter` is taken for, if it is.
pub(crate) fn latin(letter: char) -> Option<Latin> {
    let code = u32::from(letter);
    if code < COMMON.start {
        return None;
    }
    match COMMON_LETTERS.get((code - COMMON.start) as usize) {
        Some(known) => *known,
        None => compute(letter),
    }
}

/// The ASCII letter that a capital is taken for although its small letter is not: Cyrillic `В` is no `в`.
pub(crate) fn latin_of_capital(letter: char) -> Option<u8> {
    if letter.is_ascii() || !letter.is_uppercase() {
        return None;
    }
    let Latin { letters: [first, _], length } = compute(letter)?;
    (length == 1).then_some(first)
}

fn compute(letter: char) -> Option<Latin> {
    if let Some(letter) = enclosed(letter) {
        return Some(Latin { letters: [letter, 0], length: 1 });
    }
    if !passes_for_latin(letter) {
        return None;
    }
    let shown = if is_capital_by_default(letter) { letter.to_uppercase().next()? } else { letter };
    if let Some(letter) = small_capital(shown) {
        return Some(Latin { letters: [letter, 0], length: 1 });
    }
    let mut found = Latin { letters: [0; 2], length: 0 };
    let bytes = shown.encode_utf8(&mut [0; 4]).to_owned();
    for c in skeleton(&bytes).filter(|&c| !unicode_normalization::char::is_combining_mark(c)) {
        let letter = u8::try_from(c).ok().filter(u8::is_ascii_alphabetic)?;
        *found.letters.get_mut(usize::from(found.length))? = letter.to_ascii_lowercase();
        found.length += 1;
    }
    (found.length > 0).then_some(found)
}

// === impl Latin ===

impl Latin {
    pub(crate) fn chars(self) -> impl Iterator<Item = char> {
        self.letters.into_iter().take(usize::from(self.length)).map(char::from)
    }
}

/// Scripts and blocks whose letters pass for Latin ones.
const fn passes_for_latin(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{58F}'         // Latin, IPA, Greek, Cyrillic, Armenian
        | '\u{13A0}'..='\u{13FF}'    // Cherokee
        | '\u{1C80}'..='\u{1C8F}'
        | '\u{1D00}'..='\u{1DBF}'    // phonetic extensions
        | '\u{1E00}'..='\u{1FFF}'
        | '\u{2100}'..='\u{218F}'    // letterlike symbols
        | '\u{2C60}'..='\u{2D2F}'    // Latin, Coptic, Georgian
        | '\u{2DE0}'..='\u{2DFF}'
        | '\u{A4D0}'..='\u{A4FF}'    // Lisu
        | '\u{A640}'..='\u{A69F}'
        | '\u{A720}'..='\u{A7FF}'
        | '\u{AB30}'..='\u{ABBF}'    // Latin, Cherokee
        | '\u{10400}'..='\u{1044F}') // Deseret
}

/// Scripts that are written in what Unicode calls capitals.
const fn is_capital_by_default(c: char) -> bool {
    matches!(c, '\u{13A0}'..='\u{13FF}' | '\u{AB70}'..='\u{ABBF}')
}

/// Letters in boxes and circles that have no decomposition: negative circled and squared ones, and those of which
/// flags are made.
const fn enclosed(c: char) -> Option<u8> {
    let first = match c {
        '\u{1F150}'..='\u{1F169}' => 0x1F150,
        '\u{1F170}'..='\u{1F189}' => 0x1F170,
        '\u{1F1E6}'..='\u{1F1FF}' => 0x1F1E6,
        _ => return None,
    };
    // At most 25.
    #[expect(clippy::cast_possible_truncation, reason = "the ranges have 26 letters")]
    Some(b'a' + (c as u32 - first) as u8)
}

/// Small capitals that the standard does not take for letters of their own size.
const fn small_capital(c: char) -> Option<u8> {
    Some(match c {
        'ᴀ' => b'a',
        'ʙ' => b'b',
        'ᴄ' => b'c',
        'ᴅ' => b'd',
        'ᴇ' => b'e',
        'ꜰ' => b'f',
        'ɢ' => b'g',
        'ʜ' => b'h',
        'ɪ' => b'i',
        'ᴊ' => b'j',
        'ᴋ' => b'k',
        'ʟ' => b'l',
        'ᴍ' => b'm',
        'ɴ' => b'n',
        'ᴏ' => b'o',
        'ᴘ' => b'p',
        'ǫ' => b'q',
        'ʀ' => b'r',
        'ꜱ' => b's',
        'ᴛ' => b't',
        'ᴜ' => b'u',
        'ᴠ' => b'v',
        'ᴡ' => b'w',
        'ʏ' => b'y',
        'ᴢ' => b'z',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        text.chars()
            .flat_map(|c| match latin(c) {
                Some(latin) => latin.chars().collect::<Vec<_>>(),
                None => vec![c],
            })
            .collect()
    }

    #[test]
    fn letters_that_pass_for_latin_become_latin() {
        for (text, looks) in [
            ("аеорсухіјѕ", "aeopcyxijs"),
            ("ονρ", "ovp"),
            ("ᴀʙᴄᴢ", "abcz"),
            ("ıɑɡø", "iago"),
            ("🅱🅾🅼🅱", "bomb"),
            ("🇧🇴🇲🇧", "bomb"),
            ("ꓐꓳꓟꓐ", "bomb"),
            ("Ꭺꭰ", "ad"),
        ] {
            assert_eq!(shown(text), looks);
        }
    }

    #[test]
    fn everything_else_stays() {
        for text in ["abc 123 m 1 l", "бвжд", "漢字〇", "한국어", "ا ه", "αβ"] {
            let kept = if text == "αβ" { "aβ" } else { text };
            assert_eq!(shown(text), kept);
        }
    }

    #[test]
    fn capitals_may_look_different_from_their_small_letters() {
        assert_eq!(latin_of_capital('В'), Some(b'b'));
        assert_eq!(latin_of_capital('Н'), Some(b'h'));
        assert_eq!(latin_of_capital('в'), None);
        assert_eq!(latin_of_capital('B'), None);
    }
}
