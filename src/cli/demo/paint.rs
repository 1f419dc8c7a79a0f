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
        let mut lines = Lines { paint: self, room, done: Vec::new(), line: Vec::new(), used: 0 };
        for (tone, text) in runs {
            lines.add(*tone, text);
        }
        lines.finish()
    }
}

/// Lines that are being filled.
#[derive(Debug)]
struct Lines<'a> {
    paint: &'a Paint,
    room: usize,
    done: Vec<String>,
    line: Runs,
    used: usize,
}

// === impl Lines ===

impl Lines<'_> {
    /// Adds a run.
    fn add(&mut self, tone: Tone, text: &str) {
        for word in words(text) {
            let width = word.trim_end().width();
            if self.used + width > self.room {
                self.end_line();
            }
            let word = if self.used == 0 { word.trim_start() } else { word.as_str() };
            self.used += word.width();
            match self.line.last_mut() {
                Some((last, run)) if *last == tone => run.push_str(word),
                _ => self.line.push((tone, word.to_owned())),
            }
        }
    }

    /// Ends the line.
    fn end_line(&mut self) {
        if let Some((_, run)) = self.line.last_mut() {
            run.truncate(run.trim_end().len());
        }
        let mut line = String::new();
        for (tone, run) in self.line.drain(..) {
            line.push_str(&self.paint.tone(tone, &run));
        }
        self.done.push(line);
        self.used = 0;
    }

    /// The lines.
    fn finish(mut self) -> Vec<String> {
        if !self.line.is_empty() {
            self.end_line();
        }
        self.done
    }
}

/// Cuts a text where a line may end; whitespace becomes one space at a word's end.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    for next in text.chars() {
        if next.is_whitespace() {
            if !word.ends_with(' ') {
                word.push(' ');
            }
            continue;
        }
        let wide = next.width().unwrap_or(0) > 1;
        if !word.is_empty() && (word.ends_with(' ') || wide) {
            words.push(std::mem::take(&mut word));
        }
        word.push(next);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
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
