//! The terminal: cards go up, and under them one line for each exchange that is streaming.

use std::io::{self, Write};

use super::{
    arguments::Terminal,
    paint::{Paint, Tone, fit, pad, tail},
    received::Received,
};

/// What the demo writes to.
pub(crate) struct Screen<'a> {
    out: &'a mut dyn Write,
    paint: Paint,
    /// Whether lines can be drawn over.
    live: bool,
    /// Lines that will be drawn over.
    drawn: usize,
}

/// A trace that is streaming.
#[derive(Clone, Debug)]
pub(crate) struct Streaming {
    /// Its name.
    pub(crate) name: String,
    /// What the watching proxy's client has.
    pub(crate) shadow: Received,
    /// What the enforcing proxy's client has.
    pub(crate) enforce: Received,
}

// === impl Screen ===

impl<'a> Screen<'a> {
    /// A screen over `out`, which is such a terminal.
    pub(crate) fn new(out: &'a mut dyn Write, terminal: Terminal) -> Self {
        Self { out, paint: terminal.paint, live: terminal.live, drawn: 0 }
    }

    /// Writes text that stays.
    pub(crate) fn print(&mut self, text: &str) -> io::Result<()> {
        self.replace(text, 0)
    }

    /// Draws a line that says what is going on.
    pub(crate) fn note(&mut self, text: &str) -> io::Result<()> {
        if !self.live {
            return Ok(());
        }
        self.replace(&format!("  {}\n", self.paint.tone(Tone::Dim, text)), 1)
    }

    /// Draws a line for each of `streaming`.
    pub(crate) fn draw(&mut self, streaming: &[Streaming]) -> io::Result<()> {
        if !self.live {
            return Ok(());
        }
        let mut lines = String::new();
        for trace in streaming {
            lines.push_str(&line(&self.paint, trace));
            lines.push('\n');
        }
        self.replace(&lines, streaming.len())
    }

    /// Writes `text` over the drawn lines, in one piece so that nothing flickers.
    fn replace(&mut self, text: &str, drawn: usize) -> io::Result<()> {
        let over = match self.drawn {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\x1b[J"),
        };
        self.drawn = drawn;
        self.out.write_all(format!("{over}{text}").as_bytes())?;
        self.out.flush()
    }
}

/// The line of a trace: its name, the end of what it has said so far, and how the enforcing side stands.
fn line(paint: &Paint, trace: &Streaming) -> String {
    let room = paint.width.saturating_sub(2 + 17 + 3 + 17);
    let (tone, text) = last_text(&trace.shadow);
    let state = if trace.enforce.ended() && !trace.shadow.ended() {
        paint.tone(Tone::Bad, "■ enforce: cut")
    } else {
        paint.tone(Tone::Good, "▸ enforce: open")
    };
    let text = pad(&tail(text, room), room);
    format!("  {} {}  {state}", pad(&fit(&trace.name, 16), 17), paint.tone(tone, &text))
}

/// What has been said last.
fn last_text(received: &Received) -> (Tone, &str) {
    match received.choices.values().next_back() {
        Some(choice) if !choice.arguments.is_empty() => (Tone::Plain, &choice.arguments),
        Some(choice) if !choice.answer.is_empty() => (Tone::Plain, &choice.answer),
        Some(choice) => (Tone::Dim, &choice.thinking),
        None => (Tone::Dim, ""),
    }
}

// === impl Received ===

impl Received {
    /// Whether every choice has its finish reason.
    fn ended(&self) -> bool {
        self.done
            || (!self.choices.is_empty()
                && self.choices.values().all(|choice| choice.finish.is_some()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAINT: Paint = Paint { colour: false, width: 60 };

    fn streaming() -> Streaming {
        let mut shadow = Received::default();
        shadow.read(b"data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning\":\"Let me think about it\"}}]}\n");
        let mut enforce = shadow.clone();
        enforce.read(b"data: [DONE]\n");
        Streaming { name: "workshop-scene".into(), shadow, enforce }
    }

    #[test]
    fn a_line_shows_both_sides() {
        let line = line(&PAINT, &streaming());
        assert_eq!(line, "  workshop-scene    Let me think about it  ■ enforce: cut");
    }

    #[test]
    fn drawn_lines_go_before_text_stays() {
        let mut out = Vec::new();
        let mut screen = Screen::new(&mut out, Terminal { paint: PAINT, live: true });
        screen.draw(&[streaming()]).unwrap();
        screen.print("card\n").unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("cut\n\u{1b}[1A\u{1b}[Jcard\n"), "{text:?}");
    }

    #[test]
    fn a_pipe_gets_no_lines_that_are_drawn_over() {
        let mut out = Vec::new();
        Screen::new(&mut out, Terminal { paint: PAINT, live: false }).draw(&[streaming()]).unwrap();
        assert!(out.is_empty());
    }
}
