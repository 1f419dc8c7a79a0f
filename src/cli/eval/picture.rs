//! The figures as a picture: a channel's ROC curve, and how much of the unsafe text is flagged by when.

use std::fmt::Write as _;

use thinkgate::channel::Channel;

use super::{
    measures::{curve, real},
    rows::CHANNELS,
    tally::{By, Group, Scores, Tally},
};

/// The side of a panel in pixels.
const SIDE: f64 = 320.0;

/// Room around the panels.
const MARGIN: f64 = 56.0;

/// Characters at the right end of the time axis.
const MOST_CHARS: f64 = 10_000.0;

/// A panel's place and what its axes say.
struct Panel {
    left: f64,
    title: &'static str,
    across: &'static str,
    up: &'static str,
    /// Where the ticks stand, in 0..=1, and their labels.
    ticks: &'static [(f64, &'static str)],
}

const ROC: Panel = Panel {
    left: MARGIN,
    title: "ROC of the risk",
    across: "safe texts at or above the threshold",
    up: "unsafe texts at or above it",
    ticks: &[(0.0, "0"), (0.25, "25 %"), (0.5, "50 %"), (0.75, "75 %"), (1.0, "100 %")],
};

const TIME: Panel = Panel {
    left: SIDE + 2.5 * MARGIN,
    title: "Time to detect",
    across: "characters read (logarithmic)",
    up: "unsafe texts flagged by then",
    ticks: &[(0.0, "1"), (0.25, "10"), (0.5, "100"), (0.75, "1,000"), (1.0, "10,000")],
};

/// An SVG document.
pub(super) fn svg(tally: &Tally) -> String {
    let (width, height) = (2.0 * SIDE + 4.0 * MARGIN, SIDE + 3.0 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    ROC.frame(&mut out);
    TIME.frame(&mut out);
    for (number, channel) in (0_u32..).zip(CHANNELS) {
        let group = Group { by: By::All, name: "all".to_owned(), channel };
        let Some(scores) = tally.groups.get(&group) else { continue };
        if let Some(points) = curve(&scores.scored) {
            let points = points.iter().map(|point| (point.false_positives, point.recall));
            ROC.line(&mut out, colour(channel), points);
        }
        TIME.line(&mut out, colour(channel), detected(scores));
        legend(&mut out, number, channel);
    }
    out.push_str("</svg>\n");
    out
}

/// The share of the unsafe texts that is flagged after so many characters, as a rising line.
fn detected(scores: &Scores) -> impl Iterator<Item = (f64, f64)> {
    let mut flags = scores.first_flags.clone();
    flags.sort_unstable();
    let all = real(scores.unsafe_rows.rows.max(1));
    let last = real(flags.len() as u64) / all;
    let steps = (0_u64..).zip(flags).flat_map(move |(before, at)| {
        let across = real(at.max(1)).log(MOST_CHARS).min(1.0);
        [(across, real(before) / all), (across, real(before + 1) / all)]
    });
    steps.chain([(1.0, last)])
}

fn legend(out: &mut String, number: u32, channel: Channel) {
    let (across, down) = (MARGIN + 120.0 * f64::from(number), SIDE + 2.6 * MARGIN);
    text(out, (across + 18.0, down), "start", channel.name());
    let (colour, down) = (colour(channel), down - 4.0);
    push(
        out,
        format_args!("<path d=\"M{across} {down}h12\" stroke=\"{colour}\" stroke-width=\"3\"/>\n"),
    );
}

const fn colour(channel: Channel) -> &'static str {
    match channel {
        Channel::Prompt => "#4477aa",
        Channel::Thinking => "#cc3311",
        Channel::Answer => "#228833",
        Channel::ToolCall | Channel::Refusal => "#888888",
    }
}

// === impl Panel ===

impl Panel {
    fn frame(&self, out: &mut String) {
        let (left, bottom) = (self.left, MARGIN + SIDE);
        push(
            out,
            format_args!(
                "<path d=\"M{left} {MARGIN}v{SIDE}h{SIDE}\" fill=\"none\" stroke=\"black\"/>\n"
            ),
        );
        for (at, label) in self.ticks {
            text(out, (left + at * SIDE, bottom + 18.0), "middle", label);
        }
        for (at, label) in ROC.ticks {
            text(out, (left - 6.0, bottom - at * SIDE + 4.0), "end", label);
        }
        text(out, (left + SIDE / 2.0, bottom + 38.0), "middle", self.across);
        text(out, (left, MARGIN - 12.0), "start", &format!("{} – {}", self.title, self.up));
    }

    fn line(&self, out: &mut String, colour: &str, points: impl Iterator<Item = (f64, f64)>) {
        let mut places = String::new();
        for (across, up) in points {
            let (x, y) = (self.left + across * SIDE, MARGIN + SIDE - up * SIDE);
            push(&mut places, format_args!("{x:.1},{y:.1} "));
        }
        push(
            out,
            format_args!(
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\n",
                places.trim_end()
            ),
        );
    }
}

fn text(out: &mut String, (x, y): (f64, f64), anchor: &str, words: &str) {
    push(
        out,
        format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>\n"),
    );
}

fn push(out: &mut String, what: std::fmt::Arguments<'_>) {
    // A string takes all that is written to it.
    out.write_fmt(what).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::eval::measures::Scored;

    #[test]
    fn draws_a_line_for_each_channel_in_both_panels() {
        let mut tally = Tally::default();
        let group = Group { by: By::All, name: "all".to_owned(), channel: Channel::Answer };
        let scores = tally.groups.entry(group).or_default();
        scores.unsafe_rows.rows = 2;
        scores.first_flags = vec![100];
        for (score, is_unsafe) in [(0.9, true), (0.1, true), (0.5, false)] {
            scores.scored.push(Scored { score, is_unsafe });
        }
        let svg = svg(&tally);
        // Half of the unsafe rows above every safe one; half of them flagged at 100 of 10,000 characters.
        assert!(svg.contains("points=\"56.0,376.0 56.0,216.0 376.0,216.0 376.0,56.0\""), "{svg}");
        assert!(svg.contains("points=\"620.0,376.0 620.0,216.0 780.0,216.0\""), "{svg}");
        assert!(svg.ends_with("</svg>\n"));
    }
}
