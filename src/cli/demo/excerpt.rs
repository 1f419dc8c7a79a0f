//! The parts of a text that matter: its beginning and what was found in it.

use super::{
    audit::Finding,
    paint::{Runs, Tone},
};

/// Characters of a text that is shown whole.
const WHOLE: usize = 260;

/// Characters shown at the beginning of a longer one.
const BEGINNING: usize = 90;

/// Characters shown on both sides of a finding.
const AROUND: usize = 60;

/// Shortens `text` to its beginning and the surroundings of `findings`; what was found stands out, the rest is in `tone`.
pub(crate) fn excerpt(text: &str, findings: &[&Finding], tone: Tone, full: bool) -> Runs {
    let text: Vec<char> = text.chars().collect();
    let mut runs = Runs::new();
    let mut shown = 0;
    for (start, end) in windows(&text, findings, full) {
        if start > shown {
            runs.push((tone, if shown == 0 { "… " } else { " … " }.to_owned()));
        }
        push_marked(&mut runs, &text, start..end, findings, tone);
        shown = end;
    }
    if shown < text.len() {
        runs.push((tone, " …".to_owned()));
    }
    runs
}

/// What is shown of a text, as ranges of characters in order.
fn windows(text: &[char], findings: &[&Finding], full: bool) -> Vec<(usize, usize)> {
    if full || text.len() <= WHOLE {
        return vec![(0, text.len())];
    }
    let mut wanted = vec![(0, BEGINNING)];
    wanted.extend(
        findings
            .iter()
            .map(|finding| (finding.start_char.saturating_sub(AROUND), finding.end_char + AROUND)),
    );
    wanted.sort_unstable();
    let mut windows: Vec<(usize, usize)> = Vec::new();
    for (start, end) in wanted {
        let (start, end) = (word_start(text, start), word_start(text, end.min(text.len())));
        match windows.last_mut() {
            Some((_, last)) if start <= *last + BEGINNING / 4 => *last = end.max(*last),
            _ => windows.push((start, end)),
        }
    }
    windows
}

/// The first character of the word at `place`; in scripts without spaces, `place` itself.
fn word_start(text: &[char], place: usize) -> usize {
    let before = text.get(..place).unwrap_or(text);
    let letters = before.iter().rev().take_while(|letter| letter.is_ascii_alphanumeric()).count();
    if place >= text.len() || letters > 20 { place.min(text.len()) } else { place - letters }
}

/// Pushes a range of the text; what was found in it stands out.
fn push_marked(
    runs: &mut Runs,
    text: &[char],
    range: std::ops::Range<usize>,
    findings: &[&Finding],
    tone: Tone,
) {
    for place in range {
        let Some(&letter) = text.get(place) else { break };
        let tone = tone_at(place, findings).unwrap_or(tone);
        match runs.last_mut() {
            Some((last, run)) if *last == tone => run.push(letter),
            _ => runs.push((tone, letter.to_string())),
        }
    }
}

/// The tone of the gravest finding over a character.
fn tone_at(place: usize, findings: &[&Finding]) -> Option<Tone> {
    let over = |finding: &&&Finding| finding.start_char <= place && place < finding.end_char;
    let tones = findings.iter().filter(over).map(|finding| finding.tone());
    tones.max_by_key(|tone| match tone {
        Tone::Bad => 3,
        Tone::Warn => 2,
        _ => 1,
    })
}

// === impl Finding ===

impl Finding {
    /// How it stands out.
    pub(crate) fn tone(&self) -> Tone {
        match (self.kind.as_str(), self.severity.as_str()) {
            ("risk", "high" | "critical") => Tone::Bad,
            ("risk" | "rationalisation", _) => Tone::Warn,
            _ => Tone::Good,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(start_char: usize, end_char: usize) -> Finding {
        Finding {
            kind: "risk".into(),
            severity: "high".into(),
            start_char,
            end_char,
            ..Finding::default()
        }
    }

    #[test]
    fn short_texts_are_whole_and_marked() {
        let finding = finding(4, 7);
        assert_eq!(
            excerpt("one two three", &[&finding], Tone::Dim, false),
            [
                (Tone::Dim, "one ".to_owned()),
                (Tone::Bad, "two".to_owned()),
                (Tone::Dim, " three".to_owned())
            ]
        );
    }

    #[test]
    fn long_texts_keep_the_beginning_and_what_was_found() {
        let text = "word ".repeat(200) + "BAD " + &"word ".repeat(200);
        let finding = finding(1000, 1003);
        let shown: String = excerpt(&text, &[&finding], Tone::Plain, false)
            .iter()
            .map(|(_, run)| run.as_str())
            .collect();
        assert!(shown.starts_with("word word"), "{shown}");
        assert!(shown.contains(" … word") && shown.contains("BAD word") && shown.ends_with(" …"));
        assert!(shown.len() < 260, "{shown}");
    }

    #[test]
    fn a_finding_at_the_very_end_fits() {
        let text = "词".repeat(400);
        let finding = finding(398, 400);
        let runs = excerpt(&text, &[&finding], Tone::Plain, false);
        assert_eq!(
            runs.last().map(|(tone, run)| (*tone, run.chars().count())),
            Some((Tone::Bad, 2))
        );
    }
}
