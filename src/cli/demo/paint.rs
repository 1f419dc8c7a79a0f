//! Colours, and text laid into lines of a terminal.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Why a text stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// It does not.
    Plain,
    /// It steps back: thinking, labels.
    Dim,
    /// A heading.
    Strong,
    /// Safe.
    Good,
    /// To be looked at.
    Warn,
    /// Unsafe.
    Bad,
}

/// A terminal's abilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paint {
    /// Whether it is given colours.
    pub(crate) colour: bool,
    /// Columns of a line.
    pub(crate) width: usize,
}

/// A text made of parts that stand out differently.
pub(crate) type Runs = Vec<(Tone, String)>;

// === impl Paint ===

impl Paint {
    /// `text` in a tone.
    pub(crate) fn tone(&self, tone: Tone, text: &str) -> String {
        let style = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Dim => Style::new().dimmed(),
            Tone::Strong => Style::new().bold(),
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Warn => AnsiColor::Yellow.on_default(),
            Tone::Bad => AnsiColor::Red.on_default().bold(),
        };
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// `runs` in lines that leave room for an indent of `indent` columns; spaces at their ends are lost.
    pub(crate) fn flow(&self, runs: &Runs, indent: usize) -> Vec<String> {
        let room = self.width.saturating_sub(indent).max(20);
        let mut lines: Vec<Runs> = vec![Runs::new()];
        let mut used = 0;
        for word in words(runs) {
            let width = width_of(&word);
            if used > 0 && used + width > room {
                lines.push(Runs::new());
                used = 0;
            }
            used += width + usize::from(ends_with_space(&word));
            if let Some(line) = lines.last_mut() {
                line.extend(word);
            }
        }
        lines.into_iter().map(|line| self.line(line)).collect()
    }

    /// A line without the space at its end.
    fn line(&self, runs: Runs) -> String {
        let mut joined = Runs::new();
        for (tone, text) in runs {
            match joined.last_mut() {
                Some((last, run)) if *last == tone => run.push_str(&text),
                _ => joined.push((tone, text)),
            }
        }
        if let Some((_, run)) = joined.last_mut() {
            run.truncate(run.trim_end().len());
        }
        joined.iter().map(|(tone, run)| self.tone(*tone, run)).collect()
    }
}

/// Cuts a text where a line may end; whitespace becomes one space at a word's end.
fn words(runs: &Runs) -> Vec<Runs> {
    let mut words: Vec<Runs> = Vec::new();
    for (tone, text) in runs {
        for next in text.chars() {
            if next.is_whitespace() {
                if let Some((_, run)) = words.last_mut().and_then(|word| word.last_mut())
                    && !run.ends_with(' ')
                {
                    run.push(' ');
                }
                continue;
            }
            let wide = next.width().unwrap_or(0) > 1;
            match words.last_mut() {
                Some(word) if !wide && !ends_with_space(word) => push(word, *tone, next),
                _ => words.push(vec![(*tone, next.to_string())]),
            }
        }
    }
    words
}

/// Pushes a character in a tone.
fn push(word: &mut Runs, tone: Tone, next: char) {
    match word.last_mut() {
        Some((last, run)) if *last == tone => run.push(next),
        _ => word.push((tone, next.to_string())),
    }
}

/// Columns of a word without the space at its end.
fn width_of(word: &Runs) -> usize {
    let width: usize = word.iter().map(|(_, run)| run.width()).sum();
    width - usize::from(ends_with_space(word))
}

/// Whether a word has ended.
fn ends_with_space(word: &Runs) -> bool {
    word.last().is_some_and(|(_, run)| run.ends_with(' '))
}

/// The first columns of `text`, with a sign where it was cut.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut fitted = String::new();
    for next in text.chars() {
        if fitted.width() + next.width().unwrap_or(0) >= columns {
            break;
        }
        fitted.push(next);
    }
    fitted.push('…');
    fitted
}

/// The last columns of `text` on one line.
pub(crate) fn tail(text: &str, columns: usize) -> String {
    let mut tail: Vec<char> = Vec::new();
    let mut used = 0;
    for next in text.chars().rev() {
        let next = if next.is_whitespace() { ' ' } else { next };
        used += next.width().unwrap_or(0);
        if used > columns {
            break;
        }
        tail.push(next);
    }
    tail.iter().rev().collect()
}

/// `text` and spaces up to `columns`.
pub(crate) fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(text.width())))
}

/// A number with commas between thousands.
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A count with its noun.
pub(crate) fn counted(number: usize, noun: &str) -> String {
    let mut text = grouped(number);
    // Writing to a string cannot fail.
    let _ok = write!(text, " {noun}{}", if number == 1 { "" } else { "s" });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Paint = Paint { colour: false, width: 30 };

    fn runs(text: &str) -> Runs {
        vec![(Tone::Plain, text.to_owned())]
    }

    #[test]
    fn lines_end_between_words() {
        let lines = PLAIN.flow(&runs("The scene is about a villain\nwho prepares  something."), 4);
        assert_eq!(lines, ["The scene is about a", "villain who prepares", "something."]);
    }

    #[test]
    fn chinese_ends_anywhere_and_takes_two_columns() {
        let lines = PLAIN.flow(&runs("用户想看室友电脑里的文件。"), 10);
        assert_eq!(lines, ["用户想看室友电脑里的", "文件。"]);
    }

    #[test]
    fn a_tone_may_change_inside_a_line() {
        let paint = Paint { colour: true, width: 80 };
        let runs = vec![(Tone::Plain, "a ".to_owned()), (Tone::Dim, "b".to_owned())];
        assert_eq!(paint.flow(&runs, 0), ["a \u{1b}[2mb\u{1b}[0m"]);
    }

    #[test]
    fn a_word_of_two_tones_stays_together() {
        let runs =
            vec![(Tone::Bad, "I would rather not refuse".into()), (Tone::Dim, ", also".into())];
        assert_eq!(PLAIN.flow(&runs, 5), ["I would rather not", "refuse, also"]);
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([grouped(7), grouped(1240), grouped(1_234_567)], ["7", "1,240", "1,234,567"]);
        assert_eq!([counted(1, "mask"), counted(2, "mask")], ["1 mask", "2 masks"]);
    }

    #[test]
    fn cut_texts_say_so() {
        assert_eq!(fit("a long name", 6), "a lon…");
        assert_eq!(tail("one two\nthree", 9), "two three");
    }
}
