//! Splits content in the harmony format of gpt-oss, where a server hands it on raw.
//!
//! In: the decoded content of one choice from the first marker on, cut anywhere. Out: segments. A message is a header
//! (role, channel, recipient), `<|message|>`, its text and an end marker. Channel `analysis` is thinking, a message to
//! a tool is a call, whatever else is answer. A header that is none is answer text, markers included, and so is what
//! stands between messages: nothing is passed over but white space and well-formed markers.
//!
//! Source: openai/harmony, `docs/format.md`.

use super::think_tags::{Part, Segment};

const CHANNEL: &str = "<|channel|>";
const CONSTRAIN: &str = "<|constrain|>";
pub(super) const END: &str = "<|end|>";
const MESSAGE: &str = "<|message|>";
const START: &str = "<|start|>";

/// What content in this format begins with.
pub(super) const OPEN: [&str; 2] = [CHANNEL, START];

/// What ends a first message whose header stands in the prompt.
pub(super) const NEXT: &str = "<|end|><|start|>assistant";

/// What makes a notice the answer, behind thinking that may have no end.
pub(super) const TO_FINAL: &str = "<|end|><|start|>assistant<|channel|>final<|message|>";

/// The role of a message that the model writes, as it stands before the channel.
const OWN_ROLE: &str = "<|start|>assistant";

const MARKERS: [&str; 7] = [START, CHANNEL, MESSAGE, CONSTRAIN, END, "<|return|>", "<|call|>"];

/// Markers that end a message's text: its own, and those that begin another message.
const AFTER_TEXT: [&str; 5] = [END, "<|return|>", "<|call|>", START, CHANNEL];

/// Bytes that a header may have; the longest well-formed ones name a tool.
const MAX_HEADER: usize = 256;

/// The splitter of one choice's content.
#[derive(Clone, Debug)]
pub(super) struct Harmony {
    place: Place,
    /// A header so far, or what may begin a marker.
    carry: String,
    /// Bytes of content taken, the carry included.
    read: u64,
    /// Calls so far.
    calls: u32,
    /// The first header has no role, which stands in the prompt. Where that message is hidden, the next one has to
    /// go without as well.
    roleless: bool,
    /// The final message has begun; what comes behind it is answer, whatever it calls itself.
    final_began: bool,
    /// Where the header begins of a call that is open.
    call_from: Option<u64>,
}

/// Where in the format one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Between messages.
    Between,
    /// Between messages, in text that should not stand there.
    Stray,
    /// In a header, all of which is carried.
    Header,
    /// In a message's text.
    Text(Part),
}

/// Text up to a marker, or up to what may begin one.
struct Step {
    plain: usize,
    marker: Option<&'static str>,
}

/// What becomes of a header.
enum Header {
    /// Its end has not come.
    Open,
    /// It takes so many bytes, `<|message|>` counted, and begins a message of this part.
    Begins { length: usize, part: Part },
    /// It is none: its first marker is text.
    IsNone,
}

// === impl Harmony ===

impl Harmony {
    /// A splitter that begins at this byte of the content.
    pub(super) fn new(at: u64, content: &str) -> Self {
        Self {
            place: Place::Between,
            carry: String::new(),
            read: at,
            calls: 0,
            roleless: content.starts_with(CHANNEL),
            final_began: false,
            call_from: None,
        }
    }

    pub(super) const fn read_bytes(&self) -> u64 {
        self.read
    }

    /// The content's byte below which nothing is undecided, where a call is undecided up to its end.
    pub(super) fn watermark(&self) -> u64 {
        self.call_from.unwrap_or_else(|| self.settled())
    }

    /// Whether a call is open.
    pub(super) const fn is_in_call(&self) -> bool {
        self.call_from.is_some()
    }

    /// Whether the text that comes next is known to be thinking.
    pub(super) fn is_in_thinking(&self) -> bool {
        self.place == Place::Text(Part::Thinking)
    }

    pub(super) const fn settled(&self) -> u64 {
        self.read - self.carry.len() as u64
    }

    /// Takes the next content.
    pub(super) fn push(&mut self, text: &str, emit: &mut dyn FnMut(Segment<'_>)) {
        let mut at = self.settled();
        self.read += text.len() as u64;
        let mut joined = std::mem::take(&mut self.carry);
        joined.push_str(text);
        let mut rest = joined.as_str();
        while let Some(taken) = self.step(at, rest, emit) {
            at += taken as u64;
            rest = rest.get(taken..).unwrap_or_default();
        }
        self.carry.push_str(rest);
    }

    /// Ends the content: what was carried is text.
    pub(super) fn finish(&mut self, emit: &mut dyn FnMut(Segment<'_>)) {
        let part = match self.place {
            Place::Text(part) => part,
            Place::Between | Place::Stray | Place::Header => Part::Answer,
        };
        let at = self.settled();
        let carry = std::mem::take(&mut self.carry);
        if !carry.is_empty() {
            emit(Segment::Text { part, at, text: &carry });
        }
        self.end_text(emit);
        self.place = Place::Between;
    }

    /// Goes on in `text`, which stands at `at`: the bytes that are done with; none where more has to come.
    fn step(&mut self, at: u64, text: &str, emit: &mut dyn FnMut(Segment<'_>)) -> Option<usize> {
        match self.place {
            _ if text.is_empty() => None,
            Place::Header => self.header(at, text, emit),
            Place::Between | Place::Stray => self.between(at, text, emit),
            Place::Text(part) => self.text(part, at, text, emit),
        }
    }

    fn text(
        &mut self,
        part: Part,
        at: u64,
        text: &str,
        emit: &mut dyn FnMut(Segment<'_>),
    ) -> Option<usize> {
        let Step { plain, marker } = find(text, &AFTER_TEXT);
        if let Some(plain) = text.get(..plain).filter(|plain| !plain.is_empty()) {
            emit(Segment::Text { part, at, text: plain });
        }
        let Some(marker) = marker else { return (plain > 0).then_some(plain) };
        self.end_text(emit);
        if OPEN.contains(&marker) {
            self.place = Place::Header;
            return Some(plain);
        }
        self.place = Place::Between;
        if part != Part::Thinking {
            emit(Segment::Markup { at: at + plain as u64, length: marker.len() as u64 });
        }
        Some(plain + marker.len())
    }

    /// A message is over.
    fn end_text(&mut self, emit: &mut dyn FnMut(Segment<'_>)) {
        self.call_from = None;
        if let Place::Text(part @ (Part::Thinking | Part::Call(_))) = self.place {
            emit(Segment::Decided(part));
        }
    }

    /// White space and markers are passed over; anything else is answer, up to the next message.
    fn between(&mut self, at: u64, text: &str, emit: &mut dyn FnMut(Segment<'_>)) -> Option<usize> {
        if self.place == Place::Between {
            let blank = text.len() - text.trim_ascii_start().len();
            if blank > 0 {
                emit(Segment::Markup { at, length: blank as u64 });
                return Some(blank);
            }
        }
        let Step { plain, marker } = find(text, &MARKERS);
        if let Some(stray) = text.get(..plain).filter(|stray| !stray.is_empty()) {
            self.place = Place::Stray;
            emit(Segment::Text { part: Part::Answer, at, text: stray });
            return Some(plain);
        }
        let marker = marker?;
        if OPEN.contains(&marker) {
            self.place = Place::Header;
            return Some(0);
        }
        self.place = Place::Between;
        emit(Segment::Markup { at, length: marker.len() as u64 });
        Some(marker.len())
    }

    fn header(&mut self, at: u64, text: &str, emit: &mut dyn FnMut(Segment<'_>)) -> Option<usize> {
        match self.read_header(text) {
            Header::Open => None,
            Header::IsNone => {
                self.place = Place::Stray;
                let marker = OPEN.into_iter().find(|marker| text.starts_with(marker))?;
                emit(Segment::Text { part: Part::Answer, at, text: marker });
                Some(marker.len())
            }
            Header::Begins { length, part } => {
                self.begin(at, text, length, part, emit);
                Some(length)
            }
        }
    }

    fn begin(
        &mut self,
        at: u64,
        text: &str,
        length: usize,
        part: Part,
        emit: &mut dyn FnMut(Segment<'_>),
    ) {
        let part = if self.final_began && part == Part::Thinking { Part::Answer } else { part };
        self.place = Place::Text(part);
        match part {
            Part::Thinking => return,
            Part::Call(_) => {
                self.calls = self.calls.saturating_add(1);
                self.call_from = Some(at);
            }
            Part::Answer | Part::Undecided => {
                self.final_began |=
                    text.get(..length).is_some_and(|header| header.contains("final"));
            }
        }
        // Once something is shown, roles are due.
        let role = std::mem::take(&mut self.roleless) && text.starts_with(OWN_ROLE);
        let skipped = if role { OWN_ROLE.len() } else { 0 };
        let length = length.saturating_sub(skipped) as u64;
        emit(Segment::Markup { at: at + skipped as u64, length });
    }

    fn read_header(&self, text: &str) -> Header {
        let mut at = 0;
        loop {
            let rest = text.get(at..).unwrap_or_default();
            let Step { plain, marker } = find(rest, &MARKERS);
            let end = at + plain;
            if end > MAX_HEADER {
                return Header::IsNone;
            }
            match marker {
                None => return Header::Open,
                Some(MESSAGE) => {
                    let part = part_of(text.get(..end).unwrap_or_default(), self.calls);
                    let length = end + MESSAGE.len();
                    return part.map_or(Header::IsNone, |part| Header::Begins { length, part });
                }
                Some(marker @ (CHANNEL | CONSTRAIN)) => at = end + marker.len(),
                Some(START) if end == 0 => at = START.len(),
                Some(_) => return Header::IsNone,
            }
        }
    }
}

/// The part that a header begins; none where it is no header of the model's.
fn part_of(header: &str, calls: u32) -> Option<Part> {
    let (role, rest) = match header.strip_prefix(START) {
        Some(rest) => rest.split_once(CHANNEL)?,
        None => ("assistant", header.strip_prefix(CHANNEL)?),
    };
    let mut recipient = None;
    let mut role = role.split_ascii_whitespace();
    if role.next() != Some("assistant") {
        return None;
    }
    let rest = rest.replace(CONSTRAIN, " ");
    let mut rest = rest.split_ascii_whitespace();
    let channel = rest.next()?;
    for word in role.chain(rest) {
        match word.strip_prefix("to=") {
            Some(name) if is_name(name) => recipient = Some(name),
            None if matches!(word, "json" | "code" | "text") => {}
            Some(_) | None => return None,
        }
    }
    let to_tool = recipient.is_some_and(|name| !matches!(name, "assistant" | "user" | "all"));
    match channel {
        "analysis" | "commentary" | "final" if to_tool => Some(Part::Call(calls)),
        "analysis" => Some(Part::Thinking),
        "commentary" | "final" => Some(Part::Answer),
        _ => None,
    }
}

fn is_name(name: &str) -> bool {
    let plain = |character: char| character.is_ascii_alphanumeric() || "._:-".contains(character);
    !name.is_empty() && name.chars().all(plain)
}

/// The first of `markers` in `text`; without one, `plain` ends where one may begin.
fn find(text: &str, markers: &'static [&'static str]) -> Step {
    for (at, _) in text.match_indices('<') {
        let rest = text.get(at..).unwrap_or_default();
        if let Some(marker) = markers.iter().find(|marker| rest.starts_with(**marker)) {
            return Step { plain: at, marker: Some(marker) };
        }
        if markers.iter().any(|marker| marker.starts_with(rest)) {
            return Step { plain: at, marker: None };
        }
    }
    Step { plain: text.len(), marker: None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::channel::{ThinkTags, ThinkingStart};

    /// What content says, and what is left of it where thinking is hidden.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Said {
        thinking: String,
        answer: String,
        calls: Vec<String>,
        shown: String,
    }

    fn split(pieces: &[&str]) -> Said {
        let whole = pieces.concat();
        let mut said = Said::default();
        let mut shown: Vec<(u64, u64)> = Vec::new();
        let mut undecided = String::new();
        let mut tags = ThinkTags::new(ThinkingStart::Detect);
        let mut emit = |segment: Segment<'_>| match segment {
            Segment::Text { part, at, text } => {
                assert!(whole[usize::try_from(at).unwrap()..].starts_with(text));
                if !matches!(part, Part::Thinking | Part::Undecided) {
                    shown.push((at, text.len() as u64));
                }
                match part {
                    Part::Thinking => said.thinking.push_str(text),
                    Part::Answer => said.answer.push_str(text),
                    Part::Undecided => undecided.push_str(text),
                    Part::Call(number) => {
                        let number = usize::try_from(number).unwrap();
                        said.calls.resize(said.calls.len().max(number + 1), String::new());
                        said.calls[number].push_str(text);
                    }
                }
            }
            Segment::Decided(Part::Thinking) => {
                said.thinking.push_str(&std::mem::take(&mut undecided));
            }
            Segment::Decided(Part::Answer) => said.answer.push_str(&std::mem::take(&mut undecided)),
            Segment::Decided(_) => {}
            Segment::Markup { at, length } => shown.push((at, length)),
        };
        for piece in pieces {
            tags.push(piece, &mut emit);
            assert!(tags.watermark() <= tags.read_bytes());
        }
        tags.finish(&mut emit);
        said.shown = shown
            .iter()
            .map(|&(at, length)| {
                let at = usize::try_from(at).unwrap();
                &whole[at..at + usize::try_from(length).unwrap()]
            })
            .collect();
        said
    }

    fn said(thinking: &str, answer: &str, calls: &[&str], shown: &str) -> Said {
        Said {
            thinking: thinking.into(),
            answer: answer.into(),
            calls: calls.iter().map(|call| (*call).to_owned()).collect(),
            shown: shown.into(),
        }
    }

    fn cases() -> Vec<(&'static str, Said)> {
        vec![
            (
                "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b<|return|>",
                said("a", "b", &[], "<|channel|>final<|message|>b<|return|>"),
            ),
            (
                "<|start|>assistant<|channel|>analysis<|message|>a<|end|>\n<|start|>assistant<|channel|>final<|message|>b",
                said("a", "b", &[], "\n<|start|>assistant<|channel|>final<|message|>b"),
            ),
            (
                "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary<|message|>p<|end|><|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{\"x\":\"<y\"}<|call|>",
                said(
                    "a",
                    "p",
                    &["{\"x\":\"<y\"}"],
                    "<|channel|>commentary<|message|>p<|end|><|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{\"x\":\"<y\"}<|call|>",
                ),
            ),
            (
                "<|start|>assistant to=python<|channel|>analysis code<|message|>1<|call|><|start|>assistant to=python<|channel|>analysis<|message|>2",
                said(
                    "",
                    "",
                    &["1", "2"],
                    "<|start|>assistant to=python<|channel|>analysis code<|message|>1<|call|><|start|>assistant to=python<|channel|>analysis<|message|>2",
                ),
            ),
            // The template has opened the thinking.
            (
                "a<|end|><|start|>assistant<|channel|>final<|message|>b",
                said("a", "b", &[], "<|end|><|start|>assistant<|channel|>final<|message|>b"),
            ),
            // Several thoughts, and a message without its end.
            (
                "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>analysis<|message|>c<|channel|>final<|message|>b",
                said("ac", "b", &[], "<|channel|>final<|message|>b"),
            ),
            // Never closed, and cut in a marker.
            ("<|channel|>analysis<|message|>a<|en", said("a<|en", "", &[], "")),
            // Nobody thinks behind the final message.
            (
                "<|channel|>final<|message|>b<|end|><|start|>assistant<|channel|>analysis<|message|>c",
                said(
                    "",
                    "bc",
                    &[],
                    "<|channel|>final<|message|>b<|end|><|start|>assistant<|channel|>analysis<|message|>c",
                ),
            ),
            // No headers: everything is read.
            (
                "<|channel|>secret words<|message|>b",
                said("", "<|channel|>secret wordsb", &[], "<|channel|>secret words<|message|>b"),
            ),
            ("<|channel|>analysis", said("", "<|channel|>analysis", &[], "<|channel|>analysis")),
            (
                "<|start|>user<|message|>x<|end|> y",
                said("", "<|start|>userxy", &[], "<|start|>user<|message|>x<|end|> y"),
            ),
            (
                "b <|channel|>analysis<|message|>a",
                said("", "b <|channel|>analysis<|message|>a", &[], ""),
            ),
        ]
    }

    #[test]
    fn reads_every_case_whole_by_character_and_at_every_split() {
        for (content, mut expected) in cases() {
            if expected.shown.is_empty() && !expected.answer.is_empty() {
                // Plain content: what is undecided is shown at its end.
                expected.shown = split(&[content]).shown;
            }
            assert_eq!(split(&[content]), expected, "{content:?}");
            let characters: Vec<String> = content.chars().map(String::from).collect();
            let characters: Vec<&str> = characters.iter().map(String::as_str).collect();
            assert_eq!(split(&characters), expected, "{content:?} by character");
            for (at, _) in content.char_indices() {
                let (left, right) = content.split_at(at);
                assert_eq!(split(&[left, right]), expected, "{content:?} at {at}");
            }
        }
    }

    #[test]
    fn a_header_without_end_is_read_as_answer_and_bounded() {
        let content = format!("<|channel|>analysis {}", "x".repeat(1000));
        assert_eq!(split(&[&content]).answer, content);
        let mut harmony = Harmony::new(0, &content);
        for at in 0..content.len() {
            harmony.push(&content[at..=at], &mut |_| {});
            assert!(harmony.carry.len() <= MAX_HEADER + MESSAGE.len());
        }
    }

    #[test]
    fn a_call_is_undecided_up_to_its_end() {
        let mut tags = ThinkTags::new(ThinkingStart::Detect);
        let before = "<|channel|>analysis<|message|>a<|end|>";
        tags.push(before, &mut |_| {});
        tags.push(
            "<|start|>assistant<|channel|>commentary to=functions.f<|message|>{}",
            &mut |_| {},
        );
        assert!(tags.is_in_call());
        assert_eq!(tags.watermark(), before.len() as u64);
        tags.push("<|call|>", &mut |_| {});
        assert!(!tags.is_in_call());
        assert_eq!(tags.watermark(), tags.read_bytes());
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_texts_and_loses_none(
            pieces in prop::collection::vec(
                "(<\\|start\\|>|<\\|channel\\|>|<\\|message\\|>|<\\|end\\|>|<\\|call\\|>|assistant|analysis|final|commentary| to=f|<\\||é| |<){0,5}",
                0..6,
            ),
        ) {
            let whole = format!("<|channel|>{}", pieces.concat());
            let pieces: Vec<&str> =
                ["<|channel|>"].into_iter().chain(pieces.iter().map(String::as_str)).collect();
            let said = split(&pieces);
            prop_assert_eq!(&said, &split(&[&whole]));
            // What can stand in no header is somebody's text.
            let read = [&said.thinking, &said.answer, &said.calls.concat()];
            let count = read.map(|text| text.matches('é').count());
            prop_assert_eq!(count.iter().sum::<usize>(), whole.matches('é').count());
        }
    }
}
