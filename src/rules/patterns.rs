//! Regexes: what a pack may write, and what it means on folded text.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Look};

use crate::text::fold::{fold, fold_char};

use super::validators::Checks;

/// The longest match that a regex may have, in bytes of folded text.
pub(super) const MAX_BOUND: usize = 4096;

/// Classes up to this size are folded character by character; larger ones (`.`, `\w`, `[^a]`) stay.
const MAX_FOLDED_CLASS: usize = 2048;

/// A regex as it is matched: over folded text, with a limit to its matches' length.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// The folded expression, without captures.
    pub(super) hir: Hir,
    /// No match is longer, in bytes of folded text; of a longer one only the last `bound` are reported.
    pub(super) bound: usize,
    /// The shortest match, in bytes of folded text.
    pub(super) shortest: usize,
    /// So many of a match's first characters do not count to it: they may have gone before it is recognised.
    pub(super) head: usize,
    /// What a match must stand besides.
    pub(super) checks: Checks,
}

/// Reads a regex. The reason never repeats the source.
///
/// Case does not matter. A class stands for the folded forms of its characters: `[é]` means `e`.
pub(super) fn parse(source: &str, bound: Option<usize>) -> Result<Pattern, String> {
    let hir = ParserBuilder::new()
        .case_insensitive(!is_plain_lower_case(source))
        .nest_limit(64)
        .build()
        .parse(source)
        .map_err(|error| reason(&error))?;
    let hir = fold_hir(&hir)?;
    let shortest = hir.properties().minimum_len().ok_or("can never match")?;
    if shortest == 0 {
        return Err("matches the empty text".to_owned());
    }
    let bound = match (hir.properties().maximum_len(), bound) {
        (_, Some(bound)) if bound > MAX_BOUND || bound < shortest => {
            return Err(format!("bound must lie between {shortest} and {MAX_BOUND} bytes"));
        }
        (Some(longest), Some(bound)) => longest.min(bound),
        (None, Some(bound)) => bound,
        (Some(longest), None) if longest <= MAX_BOUND => longest,
        (Some(longest), None) => {
            return Err(format!(
                "a match can be {longest} bytes long and the most is {MAX_BOUND}: \
                 repeat less, or declare `bound`"
            ));
        }
        (None, None) => {
            return Err("a match has no limit to its length: use {m,n} instead of * and +, \
                        or declare `bound`"
                .to_owned());
        }
    };
    Ok(Pattern { hir, bound, shortest, head: 0, checks: Checks::default() })
}

// === impl Pattern ===

impl Pattern {
    /// Lets the first `head` characters of every match go.
    pub(super) fn with_head(self, head: usize) -> Result<Self, String> {
        let shortest = shortest_chars(&self.hir);
        if head >= shortest {
            return Err(format!("must be less than the shortest match's {shortest} characters"));
        }
        // Of a match longer than its bound only the end is seen, which must be longer than a head.
        let longest = self.hir.properties().maximum_len();
        if longest.is_none_or(|longest| longest > self.bound) && 4 * (head + 1) > self.bound {
            return Err(format!("is too much for a bound of {} bytes", self.bound));
        }
        Ok(Self { head, ..self })
    }
}

/// The shortest match, in characters of folded text.
fn shortest_chars(hir: &Hir) -> usize {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 0,
        HirKind::Literal(literal) => {
            str::from_utf8(&literal.0).map_or(0, |text| text.chars().count())
        }
        HirKind::Class(_) => 1,
        HirKind::Repetition(repetition) => {
            (repetition.min as usize).saturating_mul(shortest_chars(&repetition.sub))
        }
        HirKind::Capture(capture) => shortest_chars(&capture.sub),
        HirKind::Concat(parts) => parts.iter().map(shortest_chars).sum(),
        HirKind::Alternation(parts) => parts.iter().map(shortest_chars).min().unwrap_or(0),
    }
}

/// Whether case cannot matter in a source, so that it need not be folded, which takes most of the time.
fn is_plain_lower_case(source: &str) -> bool {
    let lower_case = source.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
    // By their numbers or properties, capital letters can be named all the same.
    lower_case && !["\\x", "\\u", "\\p"].iter().any(|escape| source.contains(escape))
}

/// The error without the pattern that its own message would print.
fn reason(error: &regex_syntax::Error) -> String {
    match error {
        regex_syntax::Error::Parse(error) => {
            format!("{} (at its character {})", error.kind(), error.span().start.column)
        }
        regex_syntax::Error::Translate(error) => error.kind().to_string(),
        _ => "not a regex".to_owned(),
    }
}

fn fold_hir(hir: &Hir) -> Result<Hir, String> {
    Ok(match hir.kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) => {
            let literal =
                str::from_utf8(&literal.0).map_err(|_| "matches what is no text".to_owned())?;
            Hir::literal(fold(literal).into_bytes())
        }
        HirKind::Class(Class::Unicode(class)) => fold_class(class),
        HirKind::Class(Class::Bytes(class)) => fold_class(
            &class.to_unicode_class().ok_or_else(|| "matches what is no text".to_owned())?,
        ),
        HirKind::Look(Look::WordAscii) => Hir::look(Look::WordAscii),
        HirKind::Look(Look::WordUnicode) => {
            return Err("write (?-u:\\b) for \\b: Unicode's cannot be matched in a stream".into());
        }
        HirKind::Look(_) => {
            return Err("the only look-around a rule may use is (?-u:\\b)".to_owned());
        }
        HirKind::Repetition(repetition) => Hir::repetition(regex_syntax::hir::Repetition {
            min: repetition.min,
            max: repetition.max,
            greedy: repetition.greedy,
            sub: Box::new(fold_hir(&repetition.sub)?),
        }),
        HirKind::Capture(capture) => fold_hir(&capture.sub)?,
        HirKind::Concat(parts) => {
            Hir::concat(parts.iter().map(fold_hir).collect::<Result<_, _>>()?)
        }
        HirKind::Alternation(parts) => {
            Hir::alternation(parts.iter().map(fold_hir).collect::<Result<_, _>>()?)
        }
    })
}

/// The folded forms of a class's characters; several characters each become an alternative.
fn fold_class(class: &ClassUnicode) -> Hir {
    let size: usize = class.iter().map(ClassUnicodeRange::len).sum();
    if size > MAX_FOLDED_CLASS {
        return Hir::class(Class::Unicode(class.clone()));
    }
    let mut single = Vec::new();
    let mut several = Vec::new();
    for c in class.iter().flat_map(|range| range.start()..=range.end()) {
        let mut folded = String::new();
        fold_char(c, |c| folded.push(c));
        let mut chars = folded.chars();
        match (chars.next(), chars.next()) {
            (Some(only), None) => single.push(ClassUnicodeRange::new(only, only)),
            _ => several.push(folded),
        }
    }
    several.sort();
    several.dedup();
    let mut alternatives: Vec<Hir> =
        several.into_iter().map(|text| Hir::literal(text.into_bytes())).collect();
    if !single.is_empty() {
        alternatives.insert(0, Hir::class(Class::Unicode(ClassUnicode::new(single))));
    }
    Hir::alternation(alternatives)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(source: &str, bound: Option<usize>) -> Result<(usize, usize), String> {
        parse(source, bound).map(|pattern| (pattern.shortest, pattern.bound))
    }

    #[test]
    fn a_match_needs_a_limit() {
        assert_eq!(limits("falcon-[0-9]{4}", None), Ok((11, 11)));
        assert_eq!(limits("a.{0,5}b", None), Ok((2, 22)));
        assert_eq!(limits("ab+", Some(9)), Ok((2, 9)));
        assert_eq!(limits("ab", Some(9)), Ok((2, 2)));
        for (source, bound) in
            [("ab+", None), ("a*", None), ("a{5000}", None), ("abc", Some(2)), ("a+", Some(9999))]
        {
            assert!(limits(source, bound).is_err(), "{source}");
        }
    }

    #[test]
    fn look_around_is_refused_save_the_ascii_word_edge() {
        assert!(parse("(?-u:\\b)ab(?-u:\\b)", None).is_ok());
        for source in ["\\bab", "^ab", "ab$", "(?m)^ab", "(?-u:\\b{start})ab", "a(?=b)"] {
            assert!(parse(source, None).is_err(), "{source}");
        }
    }

    #[test]
    fn characters_stand_for_their_folded_forms() {
        for (source, folded) in [
            ("AbC", "abc"),
            ("[A-Z]", "[a-z]"),
            ("(?-i:A)[éÉ]", "ae"),
            ("ß", "ss"),
            ("[\\t ]x", " x"),
            ("ﬁ", "fi"),
            ("a\u{301}", "a"),
            ("(a)(?:b)", "ab"),
            ("\\x41", "a"),
            ("\\u{c9}", "e"),
            ("[[:upper:]]", "[a-z]"),
        ] {
            let plain = regex_syntax::parse(folded).unwrap();
            assert_eq!(parse(source, None).unwrap().hir, plain, "{source}");
        }
    }

    #[test]
    fn a_reason_never_repeats_the_source() {
        for source in ["sesame(", "[sesame", "sesame{2,1}", "\\p{sesame}", "sesame^"] {
            let reason = parse(source, None).unwrap_err();
            assert!(!reason.contains("sesame"), "{reason}");
        }
    }
}
