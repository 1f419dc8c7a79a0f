//! Checks on what a regex has matched: numbers with a check digit, and how random a text looks.
//!
//! In: the folded text of a match that will not grow any more. Out: whether it counts. A number is judged at the
//! match's end: the match may begin with a label (`card number: 4111 …`), and may have begun too early (`12 4111
//! …`), so every place where a group of digits or letters begins is tried. Spaces and `- . / ( )` inside the
//! number are left out, and what follows its last digit or letter.
//!
//! Every check sees the matched text alone, so no cut of the stream can matter.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A number that carries its own check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Validator {
    /// A bank's routing number in the United States: 9 digits, weights 3 7 1.
    AbaRouting,
    /// Brazil's CPF: 11 digits, the last two are checks.
    BrCpf,
    /// China's resident identity number: a date of birth, and ISO 7064 MOD 11-2.
    CnResidentId,
    /// Germany's tax identification number: 11 digits, ISO 7064 MOD 11,10.
    DeTaxId,
    /// Spain's DNI or NIE: its letter is the number modulo 23.
    EsDni,
    /// France's social security number (NIR): 13 characters and a key modulo 97.
    FrNir,
    /// The United Kingdom's NHS number: 10 digits modulo 11.
    GbNhs,
    /// Hong Kong's identity card number: modulo 11 over letters and digits.
    HkIdentityCard,
    /// An international bank account number: its country's length, and modulo 97.
    Iban,
    /// India's Aadhaar: 12 digits by Verhoeff.
    InAadhaar,
    /// 13 to 19 digits by Luhn: payment cards.
    Luhn,
    /// The Netherlands' BSN: 9 digits by the elfproef.
    NlBsn,
    /// Poland's PESEL: 11 digits, weights 1 3 7 9.
    PlPesel,
    /// Taiwan's identity card number: a letter and 9 digits.
    TwNationalId,
    /// A social security number of the United States: no check digit, but groups that are never given out.
    UsSsn,
}

/// What a regex's match must stand besides.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Checks {
    /// It ends in such a number.
    pub(super) validator: Option<Validator>,
    /// Its last token has at least so many bits a character.
    pub(super) entropy: Option<f64>,
}

/// The longest number that any validator knows, without separators.
const LONGEST_NUMBER: usize = 34;

/// More bits than these a folded character can hardly have.
pub(super) const MAX_ENTROPY: f64 = 6.0;

// === impl Checks ===

impl Checks {
    pub(super) fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Whether a match with this folded text counts.
    pub(super) fn accept(self, matched: &str) -> bool {
        self.validator.is_none_or(|validator| validator.accepts(matched))
            && self.entropy.is_none_or(|least| entropy(last_token(matched)) >= least)
    }
}

// === impl Validator ===

impl Validator {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::AbaRouting,
        Self::BrCpf,
        Self::CnResidentId,
        Self::DeTaxId,
        Self::EsDni,
        Self::FrNir,
        Self::GbNhs,
        Self::HkIdentityCard,
        Self::Iban,
        Self::InAadhaar,
        Self::Luhn,
        Self::NlBsn,
        Self::PlPesel,
        Self::TwNationalId,
        Self::UsSsn,
    ];

    /// Its name in packs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AbaRouting => "aba_routing",
            Self::BrCpf => "br_cpf",
            Self::CnResidentId => "cn_resident_id",
            Self::DeTaxId => "de_tax_id",
            Self::EsDni => "es_dni",
            Self::FrNir => "fr_nir",
            Self::GbNhs => "gb_nhs",
            Self::HkIdentityCard => "hk_identity_card",
            Self::Iban => "iban",
            Self::InAadhaar => "in_aadhaar",
            Self::Luhn => "luhn",
            Self::NlBsn => "nl_bsn",
            Self::PlPesel => "pl_pesel",
            Self::TwNationalId => "tw_national_id",
            Self::UsSsn => "us_ssn",
        }
    }

    /// Whether a folded text ends in such a number.
    #[must_use]
    pub fn accepts(self, matched: &str) -> bool {
        let mut number: Vec<u8> = Vec::with_capacity(LONGEST_NUMBER);
        let mut bytes = matched.bytes().rev().skip_while(|byte| !byte.is_ascii_alphanumeric());
        let mut next = bytes.next();
        // Collected from its end; tried wherever a group begins.
        while let Some(byte) = next {
            next = bytes.next();
            if byte.is_ascii_alphanumeric() {
                if number.len() == LONGEST_NUMBER {
                    return false;
                }
                number.push(byte);
                let begins_group = next.is_none_or(|before| {
                    !before.is_ascii_alphanumeric()
                        || (byte.is_ascii_digit() && before.is_ascii_alphabetic())
                });
                if begins_group && self.is_number(number.iter().rev().copied()) {
                    return true;
                }
            } else if !is_separator(byte) {
                return false;
            }
        }
        false
    }

    /// Judges a number without separators, in lower case.
    fn is_number(self, number: impl Iterator<Item = u8>) -> bool {
        let number: Vec<u8> = number.collect();
        let digits = digits(&number);
        match self {
            Self::AbaRouting => digits.is_some_and(|digits| is_aba(&digits)),
            Self::BrCpf => digits.is_some_and(|digits| is_cpf(&digits)),
            Self::CnResidentId => is_cn_resident_id(&number),
            Self::DeTaxId => digits.is_some_and(|digits| is_de_tax_id(&digits)),
            Self::EsDni => is_es_dni(&number),
            Self::FrNir => is_fr_nir(&number),
            Self::GbNhs => digits.is_some_and(|digits| is_nhs(&digits)),
            Self::HkIdentityCard => is_hk_identity_card(&number),
            Self::Iban => is_iban(&number),
            Self::InAadhaar => digits.is_some_and(|digits| is_aadhaar(&digits)),
            Self::Luhn => digits.is_some_and(|digits| is_luhn(&digits)),
            Self::NlBsn => digits.is_some_and(|digits| is_bsn(&digits)),
            Self::PlPesel => digits.is_some_and(|digits| is_pesel(&digits)),
            Self::TwNationalId => is_tw_national_id(&number),
            Self::UsSsn => digits.is_some_and(|digits| is_ssn(&digits)),
        }
    }
}

const fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'-' | b'.' | b'/' | b'(' | b')')
}

fn digit(byte: u8) -> Option<u32> {
    byte.is_ascii_digit().then(|| u32::from(byte - b'0'))
}

fn digits(number: &[u8]) -> Option<Vec<u32>> {
    number.iter().map(|&byte| digit(byte)).collect()
}

/// The sum of digits times weights.
fn weighed(digits: &[u32], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| digit * weight).sum()
}

/// Whether all digits are the same, as in what people type to fill a field.
fn is_one_digit(digits: &[u32]) -> bool {
    digits.iter().all(|digit| Some(digit) == digits.first())
}

/// The number modulo `by`; letters count as in base 36, as two decimal digits.
fn modulo(number: impl Iterator<Item = u8>, by: u32) -> Option<u32> {
    let mut rest = 0;
    for byte in number {
        let value = char::from(byte).to_digit(36)?;
        rest = (rest * if value > 9 { 100 } else { 10 } + value) % by;
    }
    Some(rest)
}

fn is_luhn(digits: &[u32]) -> bool {
    let doubled = |digit: u32| if digit > 4 { 2 * digit - 9 } else { 2 * digit };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, &digit)| if place % 2 == 1 { doubled(digit) } else { digit })
        .sum();
    (13..=19).contains(&digits.len()) && sum.is_multiple_of(10) && !is_one_digit(digits)
}

fn is_aba(digits: &[u32]) -> bool {
    let sum = weighed(digits, &[3, 7, 1, 3, 7, 1, 3, 7, 1]);
    digits.len() == 9 && sum != 0 && sum.is_multiple_of(10)
}

fn is_cpf(digits: &[u32]) -> bool {
    let check = |weights: &[u32]| weighed(digits, weights) * 10 % 11 % 10;
    let [.., first, second] = digits else { return false };
    digits.len() == 11
        && !is_one_digit(digits)
        && check(&[10, 9, 8, 7, 6, 5, 4, 3, 2]) == *first
        && check(&[11, 10, 9, 8, 7, 6, 5, 4, 3, 2]) == *second
}

fn is_cn_resident_id(number: &[u8]) -> bool {
    let [body @ .., check] = number else { return false };
    let Some(digits) = digits(body) else { return false };
    let [1..=9, _, _, _, _, _, _, _, _, _, m1, m2, d1, d2, _, _, _] = *digits.as_slice() else {
        return false;
    };
    let sum = weighed(&digits, &[7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]);
    let expected = b"10x98765432".get((sum % 11) as usize);
    (1..=12).contains(&(10 * m1 + m2))
        && (1..=31).contains(&(10 * d1 + d2))
        && expected == Some(check)
}

fn is_de_tax_id(digits: &[u32]) -> bool {
    let [first @ 1..=9, rest @ .., check] = digits else { return false };
    let product = std::iter::once(first).chain(rest).fold(10, |product, digit| {
        let sum = (digit + product) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    digits.len() == 11 && (11 - product) % 10 == *check
}

fn is_es_dni(number: &[u8]) -> bool {
    let [first, middle @ .., letter] = number else { return false };
    let first = match first {
        b'x' => b'0',
        b'y' => b'1',
        b'z' => b'2',
        digit => *digit,
    };
    let body = std::iter::once(first).chain(middle.iter().copied());
    if number.len() != 9 || !body.clone().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let letter_of = |rest| b"trwagmyfpdxbnjzsqvhlcke".get(rest as usize);
    modulo(body, 23).and_then(letter_of) == Some(letter)
}

fn is_fr_nir(number: &[u8]) -> bool {
    let (15, Some((body, key))) = (number.len(), number.split_at_checked(13)) else {
        return false;
    };
    // Corsica's departments 2A and 2B count as 19 and 18.
    let body = match *body {
        [sex, y1, y2, m1, m2, b'2', b'a', ref rest @ ..] => {
            [&[sex, y1, y2, m1, m2, b'1', b'9'], rest].concat()
        }
        [sex, y1, y2, m1, m2, b'2', b'b', ref rest @ ..] => {
            [&[sex, y1, y2, m1, m2, b'1', b'8'], rest].concat()
        }
        _ => body.to_vec(),
    };
    if !body.iter().chain(key).all(u8::is_ascii_digit) || !matches!(body.first(), Some(b'1'..=b'8'))
    {
        return false;
    }
    let key = modulo(key.iter().copied(), 100);
    modulo(body.into_iter(), 97).map(|rest| 97 - rest) == key
}

fn is_nhs(digits: &[u32]) -> bool {
    let [.., check] = digits else { return false };
    let expected = (11 - weighed(digits, &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11) % 11;
    digits.len() == 10 && !is_one_digit(digits) && expected == *check
}

fn is_hk_identity_card(number: &[u8]) -> bool {
    let (letters, rest) = match number {
        [a, b, rest @ ..] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
            ([Some(*a), Some(*b)], rest)
        }
        [a, rest @ ..] if a.is_ascii_alphabetic() => ([None, Some(*a)], rest),
        _ => return false,
    };
    let [body @ .., check] = rest else { return false };
    let (6, Some(digits)) = (body.len(), digits(body)) else { return false };
    // A missing first letter counts as a space, which is 36.
    let value = |letter: Option<u8>| {
        letter.and_then(|letter| char::from(letter).to_digit(36)).unwrap_or(36)
    };
    let [first, second] = letters.map(value);
    let check = if *check == b'a' { Some(10) } else { digit(*check) };
    let sum = 9 * first + 8 * second + weighed(&digits, &[7, 6, 5, 4, 3, 2]);
    check.is_some_and(|check| (sum + check).is_multiple_of(11))
}

fn is_iban(number: &[u8]) -> bool {
    let [c1, c2, k1, k2, account @ ..] = number else { return false };
    let country = [*c1, *c2];
    let length = IBAN_LENGTHS.iter().find(|(known, _)| **known == country);
    let head = [*c1, *c2, *k1, *k2];
    length.is_some_and(|&(_, length)| length == number.len())
        && k1.is_ascii_digit()
        && k2.is_ascii_digit()
        && modulo(account.iter().copied().chain(head), 97) == Some(1)
}

/// The countries of the IBAN registry, with their numbers' lengths.
const IBAN_LENGTHS: &[(&[u8; 2], usize)] = &[
    (b"ad", 24),
    (b"ae", 23),
    (b"al", 28),
    (b"at", 20),
    (b"az", 28),
    (b"ba", 20),
    (b"be", 16),
    (b"bg", 22),
    (b"bh", 22),
    (b"bi", 27),
    (b"br", 29),
    (b"by", 28),
    (b"ch", 21),
    (b"cr", 22),
    (b"cy", 28),
    (b"cz", 24),
    (b"de", 22),
    (b"dj", 27),
    (b"dk", 18),
    (b"do", 28),
    (b"ee", 20),
    (b"eg", 29),
    (b"es", 24),
    (b"fi", 18),
    (b"fk", 18),
    (b"fo", 18),
    (b"fr", 27),
    (b"gb", 22),
    (b"ge", 22),
    (b"gi", 23),
    (b"gl", 18),
    (b"gr", 27),
    (b"gt", 28),
    (b"hr", 21),
    (b"hu", 28),
    (b"ie", 22),
    (b"il", 23),
    (b"iq", 23),
    (b"is", 26),
    (b"it", 27),
    (b"jo", 30),
    (b"kw", 30),
    (b"kz", 20),
    (b"lb", 28),
    (b"lc", 32),
    (b"li", 21),
    (b"lt", 20),
    (b"lu", 20),
    (b"lv", 21),
    (b"ly", 25),
    (b"mc", 27),
    (b"md", 24),
    (b"me", 22),
    (b"mk", 19),
    (b"mn", 20),
    (b"mr", 27),
    (b"mt", 31),
    (b"mu", 30),
    (b"ni", 28),
    (b"nl", 18),
    (b"no", 15),
    (b"om", 23),
    (b"pk", 24),
    (b"pl", 28),
    (b"ps", 29),
    (b"pt", 25),
    (b"qa", 29),
    (b"ro", 24),
    (b"rs", 22),
    (b"ru", 33),
    (b"sa", 24),
    (b"sc", 31),
    (b"sd", 18),
    (b"se", 24),
    (b"si", 19),
    (b"sk", 24),
    (b"sm", 27),
    (b"so", 23),
    (b"st", 25),
    (b"sv", 28),
    (b"tl", 23),
    (b"tn", 24),
    (b"tr", 26),
    (b"ua", 29),
    (b"va", 22),
    (b"vg", 24),
    (b"xk", 20),
    (b"ye", 30),
];

fn is_bsn(digits: &[u32]) -> bool {
    let [body @ .., check] = digits else { return false };
    let sum = weighed(body, &[9, 8, 7, 6, 5, 4, 3, 2]);
    digits.len() == 9 && sum != 0 && sum % 11 == *check
}

fn is_pesel(digits: &[u32]) -> bool {
    let sum = weighed(digits, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]);
    digits.len() == 11 && !is_one_digit(digits) && sum.is_multiple_of(10)
}

fn is_tw_national_id(number: &[u8]) -> bool {
    let [letter, rest @ ..] = number else { return false };
    // The letters' numbers, from 10, in the order in which the districts got theirs.
    let place = b"abcdefghjklmnpqrstuvxywzio".iter().position(|known| known == letter);
    let (Some(place), Some(digits), Some(b'1' | b'2' | b'8' | b'9')) =
        (place.and_then(|place| u32::try_from(place).ok()), digits(rest), rest.first())
    else {
        return false;
    };
    let district = place + 10;
    let sum = district / 10 + 9 * (district % 10) + weighed(&digits, &[8, 7, 6, 5, 4, 3, 2, 1, 1]);
    digits.len() == 9 && sum.is_multiple_of(10)
}

fn is_ssn(digits: &[u32]) -> bool {
    let [a1, a2, a3, g1, g2, s1, s2, s3, s4] = *digits else { return false };
    let area = 100 * a1 + 10 * a2 + a3;
    !matches!(area, 0 | 666 | 900..)
        && 10 * g1 + g2 != 0
        && s1 + s2 + s3 + s4 != 0
        // Both were printed in advertisements.
        && !matches!(*digits, [0, 7, 8, 0, 5, 1, 1, 2, 0] | [2, 1, 9, 0, 9, 9, 9, 9, 9])
}

fn is_aadhaar(digits: &[u32]) -> bool {
    /// The dihedral group of order ten.
    fn product(a: u32, b: u32) -> u32 {
        match (a < 5, b < 5) {
            (true, true) => (a + b) % 5,
            (true, false) => (a + b) % 5 + 5,
            (false, true) => (a - b + 5) % 5 + 5,
            (false, false) => (a + 5 - b) % 5,
        }
    }
    /// The permutation, applied `times`.
    fn permuted(digit: u32, times: usize) -> u32 {
        let once = |digit: u32| match digit {
            0 => 1,
            1 => 5,
            2 => 7,
            3 => 6,
            4 => 2,
            5 => 8,
            6 => 3,
            7 => 0,
            8 => 9,
            _ => 4,
        };
        (0..times % 8).fold(digit, |digit, _| once(digit))
    }
    let check = (0..)
        .zip(digits.iter().rev())
        .fold(0, |sum, (place, &digit)| product(sum, permuted(digit, place)));
    digits.len() == 12 && digits.first().is_some_and(|&first| first > 1) && check == 0
}

/// The last stretch without white space, quotes, and what stands between a label and its value.
fn last_token(text: &str) -> &str {
    let ends = |c: char| {
        c.is_whitespace()
            || matches!(c, '"' | '\'' | '`' | ':' | '=' | ',' | ';' | '(' | ')' | '<' | '>' | '|')
    };
    text.rsplit(ends).find(|token| !token.is_empty()).unwrap_or_default()
}

/// Shannon's entropy of a text's characters, in bits a character.
fn entropy(text: &str) -> f64 {
    let mut counts: BTreeMap<char, u32> = BTreeMap::new();
    for c in text.chars() {
        *counts.entry(c).or_default() += 1;
    }
    let total = f64::from(counts.values().sum::<u32>());
    counts.values().map(|&count| f64::from(count) / total).map(|share| -share * share.log2()).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Numbers as their issuers print them in examples; then some that are not.
    const CASES: &[(Validator, &[&str], &[&str])] = &[
        (Validator::AbaRouting, &["021000021", "routing 0110 0001 5"], &["021000022", "000000000"]),
        (
            Validator::BrCpf,
            &["529.982.247-25", "cpf: 11144477735"],
            &["52998224724", "11111111111"],
        ),
        (
            Validator::CnResidentId,
            &["11010519491231002x", "身份证号码是440524188001010014", "110105 19491231 002x"],
            &["110105194912310021", "110105194913310020", "44052418800101001", "x"],
        ),
        (Validator::DeTaxId, &["86095742719", "47 036 892 816"], &["86095742710", "06095742719"]),
        (Validator::EsDni, &["12345678z", "x1234567l", "dni 12345678-z"], &["12345678a", "z"]),
        (
            Validator::FrNir,
            &["2 55 08 14 168 025 38", "1 85 05 78 006 084 91", "1 80 09 2a 004 001 02"],
            &["255081416802539", "955081416802538"],
        ),
        (
            Validator::GbNhs,
            &["943 476 5919", "nhs number 9434765919"],
            &["9434765918", "0000000000"],
        ),
        (
            Validator::HkIdentityCard,
            &["a123456(3)", "g123456a", "ab987654(3)"],
            &["a123456(4)", "1234563"],
        ),
        (
            Validator::Iban,
            &[
                "de89 3704 0044 0532 0130 00",
                "iban: gb82west12345698765432",
                "号码fr1420041010050500013m02606",
            ],
            &["de89 3704 0044 0532 0130 01", "xx89370400440532013000", "de893704004405320130"],
        ),
        (Validator::InAadhaar, &["2341 2341 2346", "234567890124"], &["234567890123"]),
        (
            Validator::Luhn,
            &[
                "4111 1111 1111 1111",
                "card no 12 4111-1111-1111-1111.",
                "378282246310005",
                "卡号6011111111111117",
            ],
            &["4111111111111112", "0000000000000000", "123456789", "4111x1111111111111", ""],
        ),
        (Validator::NlBsn, &["111222333", "bsn 123456782"], &["123456789", "000000000"]),
        (Validator::PlPesel, &["44051401359", "02070803628"], &["44051401358", "00000000000"]),
        (
            Validator::TwNationalId,
            &["a123456789", "身分證字號 a800000014"],
            &["a123456788", "a323456789"],
        ),
        (
            Validator::UsSsn,
            &["536-22-8726", "ssn 001 01 0001"],
            &[
                "000-12-3456",
                "666-12-3456",
                "987-65-4321",
                "123-00-4567",
                "123-45-0000",
                "078-05-1120",
            ],
        ),
    ];

    #[test]
    fn numbers_are_told_from_what_only_looks_like_them() {
        for (validator, good, bad) in CASES {
            for text in *good {
                assert!(validator.accepts(text), "{} {text:?}", validator.name());
            }
            for text in *bad {
                assert!(!validator.accepts(text), "{} {text:?}", validator.name());
            }
        }
        assert_eq!(CASES.len(), Validator::ALL.len());
    }

    #[test]
    fn a_wrong_digit_is_seen() {
        for (validator, good, _) in CASES {
            if *validator == Validator::UsSsn {
                continue;
            }
            let number: Vec<u8> = good[0].bytes().filter(u8::is_ascii_alphanumeric).collect();
            let Some(last) = number.iter().rposition(u8::is_ascii_digit) else { continue };
            let refused = (b'0'..=b'9')
                .filter(|&digit| digit != number[last])
                .filter(|&digit| {
                    let mut number = number.clone();
                    number[last] = digit;
                    !validator.accepts(str::from_utf8(&number).unwrap())
                })
                .count();
            assert!(refused >= 8, "{}: {refused} of 9", validator.name());
        }
    }

    #[test]
    fn names_are_those_of_serde() {
        for validator in Validator::ALL {
            let name = serde_json::to_value(validator).unwrap();
            assert_eq!(name, validator.name());
        }
    }

    #[test]
    fn entropy_looks_at_the_value_and_not_at_its_label() {
        let checks = |least| Checks { entropy: Some(least), ..Checks::default() };
        let key = "api_key = \"9f8e7d6c5b4a39281706ab3e\"";
        assert!(checks(3.5).accept(key));
        assert!(!checks(3.0).accept("api_key = \"xxxxxxxxxxxxxxxxxxxxxxxx\""));
        assert!(!checks(2.9).accept("password: 'aaaabbbbccccdddd'"));
        assert!(!checks(0.1).accept(""));
        assert!((entropy("abcd") - 2.0).abs() < 1e-12);
        assert!(entropy("").abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[0-9a-z .()/漢-]{0,60}|\\PC{0,40}", least in 0.0..6.0) {
            for validator in Validator::ALL {
                let checks = Checks { validator: Some(validator), entropy: Some(least) };
                let alone = validator.accepts(&text) && entropy(last_token(&text)) >= least;
                prop_assert_eq!(checks.accept(&text), alone);
            }
        }
    }
}
