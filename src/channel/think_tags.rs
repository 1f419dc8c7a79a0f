//! Splits content into thinking and answer where tags stand in the text itself.
//!
//! In: the decoded content of one choice, cut anywhere. Out: segments, each told whether it is thinking, answer
//! or undecided. A tag is its own characters and nothing else: no newline around it is trimmed. White space
//! before a leading opening tag counts to the thinking. An opening tag counts only before any other text; the
//! first close tag ends the thinking for good; later tags are answer text.
//!
//! Until a tag or a reasoning field is seen, content is *undecided*: a server whose chat template opens the
//! thinking sends only the close tag. At the first close tag the undecided text becomes thinking, at the end
//! answer.
//!
//! Content that begins with a marker of the harmony format is in that format to its end ([`harmony`]).

use super::harmony::{self, Harmony};

/// Tags that open the thinking. As recorded streams have them, and the close tags met beside them.
const OPEN: [&str; 6] =
    ["<think>", "<thought>", "<think:opensource>", "<mm:think>", "<ifm|think>", "◁think▷"];

/// Tags that end it; any of them ends any.
const CLOSE: [&str; 6] =
    ["</think>", "</thought>", "</think:opensource>", "</mm:think>", "</ifm|think>", "◁/think▷"];

/// All that ends thinking.
const ENDS: [&str; 7] = {
    let [a, b, c, d, e, f] = CLOSE;
    [a, b, c, d, e, f, harmony::NEXT]
};

/// What a segment of content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Thinking if a close tag comes, else answer.
    Undecided,
    /// Thinking.
    Thinking,
    /// Answer.
    Answer,
    /// Arguments of the tool call with this number.
    Call(u32),
}

/// What the splitter found, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment<'t> {
    /// Text of a part. Its bytes stand at `at` in the content (tags counted).
    Text {
        /// What it is.
        part: Part,
        /// First byte in the content.
        at: u64,
        /// The text.
        text: &'t str,
    },
    /// All undecided text so far is now known to be this part; thinking, or a call, has ended with it.
    Decided(Part),
    /// What is no text, and stays where thinking is hidden.
    Markup {
        /// First byte in the content.
        at: u64,
        /// Bytes.
        length: u64,
    },
}

/// Where in the content the splitter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Only white space so far; open and close tags count.
    Lead,
    /// Only white space so far; only an opening tag counts.
    AnswerLead,
    /// Text without a tag so far; a close tag counts.
    Undecided,
    /// Inside the thinking; only white space so far, so that a second opening tag is dropped too.
    ThinkingLead,
    /// Inside the thinking.
    Thinking,
    /// After it, or without any.
    Answer,
    /// In the harmony format.
    Harmony,
}

/// The splitter of one choice's content.
#[derive(Clone, Debug)]
pub struct ThinkTags {
    phase: Phase,
    /// White space of the lead, or characters that may begin a tag.
    carry: String,
    /// Bytes of content taken, the carry included.
    read: u64,
    /// The opening tag met, for whoever must close it.
    opened: Option<&'static str>,
    /// The byte of the content behind the tag that ended the thinking.
    closed_at: Option<u64>,
    /// Whoever splits content in the harmony format.
    harmony: Option<Box<Harmony>>,
}

// === impl ThinkTags ===

impl ThinkTags {
    /// A splitter for content that begins as `start` says.
    #[must_use]
    pub const fn new(start: ThinkingStart) -> Self {
        let phase = match start {
            ThinkingStart::Detect => Phase::Lead,
            ThinkingStart::Open => Phase::ThinkingLead,
            ThinkingStart::Closed => Phase::AnswerLead,
        };
        Self { phase, carry: String::new(), read: 0, opened: None, closed_at: None, harmony: None }
    }

    /// Bytes of content taken so far.
    #[must_use]
    pub fn read_bytes(&self) -> u64 {
        self.harmony.as_ref().map_or(self.read, |harmony| harmony.read_bytes())
    }

    /// The content's byte below which nothing is undecided about tags.
    #[must_use]
    pub fn settled(&self) -> u64 {
        let settled = self.read - self.carry.len() as u64;
        self.harmony.as_ref().map_or(settled, |harmony| harmony.settled())
    }

    /// The same, where a call is undecided up to its end.
    #[must_use]
    pub fn watermark(&self) -> u64 {
        self.harmony.as_ref().map_or_else(|| self.settled(), |harmony| harmony.watermark())
    }

    /// Whether what is undecided is a call that has not ended.
    #[must_use]
    pub fn is_in_call(&self) -> bool {
        self.harmony.as_ref().is_some_and(|harmony| harmony.is_in_call())
    }

    /// Whether the text that comes next is known to be thinking.
    #[must_use]
    pub fn in_thinking(&self) -> bool {
        matches!(self.phase, Phase::ThinkingLead | Phase::Thinking)
            || self.harmony.as_ref().is_some_and(|harmony| harmony.is_in_thinking())
    }

    /// Whether content has opened the thinking by a tag.
    #[must_use]
    pub const fn has_opened(&self) -> bool {
        self.opened.is_some()
    }

    /// The byte of the content behind the tag that has ended the thinking.
    #[must_use]
    pub const fn closed_at(&self) -> Option<u64> {
        self.closed_at
    }

    /// The tag with which it has.
    #[must_use]
    pub const fn opening_tag(&self) -> Option<&'static str> {
        self.opened
    }

    /// What stands before a notice, so that it is read as the answer: where content is inside of thinking, the tag
    /// that ends it; in the harmony format, in any case, the beginning of the final message.
    #[must_use]
    pub fn to_answer(&self) -> Option<&'static str> {
        if self.harmony.is_some() {
            return Some(harmony::TO_FINAL);
        }
        self.in_thinking().then(|| self.close_tag())
    }

    /// The tag that ends the thinking that content itself has opened.
    #[must_use]
    pub fn close_tag(&self) -> &'static str {
        let position = OPEN.iter().position(|tag| Some(*tag) == self.opened).unwrap_or_default();
        CLOSE.get(position).copied().unwrap_or("</think>")
    }

    /// Tells that a reasoning field carries the thinking: content is answer unless an opening tag leads it.
    pub fn on_reasoning_field(&mut self, emit: &mut dyn FnMut(Segment<'_>)) {
        match self.phase {
            Phase::Lead => self.phase = Phase::AnswerLead,
            Phase::Undecided => {
                self.phase = Phase::Answer;
                emit(Segment::Decided(Part::Answer));
                self.flush(Part::Answer, emit);
            }
            Phase::AnswerLead
            | Phase::ThinkingLead
            | Phase::Thinking
            | Phase::Answer
            | Phase::Harmony => {}
        }
    }

    /// Takes the next content.
    pub fn push(&mut self, text: &str, emit: &mut dyn FnMut(Segment<'_>)) {
        if let Some(harmony) = &mut self.harmony {
            return harmony.push(text, emit);
        }
        let at = self.settled();
        self.read += text.len() as u64;
        if self.carry.is_empty() {
            let kept = self.split(at, text, emit);
            self.carry.push_str(kept);
        } else {
            let mut joined = std::mem::take(&mut self.carry);
            joined.push_str(text);
            let kept = self.split(at, &joined, emit).len();
            joined.drain(..joined.len() - kept);
            self.carry = joined;
        }
    }

    /// Ends the content: what was undecided is answer.
    pub fn finish(&mut self, emit: &mut dyn FnMut(Segment<'_>)) {
        if let Some(harmony) = &mut self.harmony {
            return harmony.finish(emit);
        }
        let part = match self.phase {
            Phase::ThinkingLead | Phase::Thinking => Part::Thinking,
            Phase::Lead | Phase::AnswerLead | Phase::Undecided | Phase::Answer | Phase::Harmony => {
                Part::Answer
            }
        };
        if self.phase == Phase::Undecided {
            emit(Segment::Decided(Part::Answer));
            self.phase = Phase::Answer;
        }
        self.flush(part, emit);
    }

    fn flush(&mut self, part: Part, emit: &mut dyn FnMut(Segment<'_>)) {
        let carry = std::mem::take(&mut self.carry);
        if !carry.is_empty() {
            emit(Segment::Text { part, at: self.read - carry.len() as u64, text: &carry });
        }
    }

    /// Splits `text`, which stands at `at` in the content; gives back the end of it that is still undecided.
    fn split<'t>(
        &mut self,
        mut at: u64,
        text: &'t str,
        emit: &mut dyn FnMut(Segment<'_>),
    ) -> &'t str {
        let mut rest = text;
        loop {
            let step = match self.phase {
                Phase::Answer | Phase::Harmony => Step { plain: rest.len(), tag: None },
                Phase::Lead | Phase::AnswerLead | Phase::ThinkingLead => self.lead(rest),
                Phase::Undecided | Phase::Thinking => find_tag(rest),
            };
            let (plain, after) = rest.split_at_checked(step.plain).unwrap_or((rest, ""));
            if step.tag.is_none() && self.is_lead() && plain.trim_ascii().is_empty() {
                return rest;
            }
            self.leave_lead(step.tag, !plain.trim_ascii().is_empty());
            if !plain.is_empty() {
                emit(Segment::Text { part: self.part(), at, text: plain });
            }
            at += plain.len() as u64;
            let Some(tag) = step.tag else {
                return after;
            };
            if harmony::OPEN.contains(&tag) || tag == harmony::NEXT {
                self.hand_over(at, after, emit);
                return "";
            }
            at += tag.len() as u64;
            rest = after.get(tag.len()..).unwrap_or_default();
            if CLOSE.contains(&tag) {
                self.closed_at = Some(at);
                emit(Segment::Decided(Part::Thinking));
                self.phase = Phase::Answer;
            }
        }
    }

    /// The rest of the content, which stands at `at`, is in the harmony format.
    fn hand_over(&mut self, mut at: u64, mut rest: &str, emit: &mut dyn FnMut(Segment<'_>)) {
        self.phase = Phase::Harmony;
        if let Some(after) = rest.strip_prefix(harmony::END) {
            emit(Segment::Decided(Part::Thinking));
            let length = harmony::END.len() as u64;
            emit(Segment::Markup { at, length });
            (at, rest) = (at + length, after);
        }
        let mut harmony = Box::new(Harmony::new(at, rest));
        harmony.push(rest, emit);
        self.harmony = Some(harmony);
    }

    /// Looks for a tag at the lead; text that is neither ends the lead.
    fn lead(&self, text: &str) -> Step {
        let blank = text.len() - text.trim_ascii_start().len();
        let after = text.get(blank..).unwrap_or_default();
        let tags = || {
            let ends = ENDS.into_iter().filter(|_| self.phase != Phase::AnswerLead);
            OPEN.into_iter().chain(harmony::OPEN).chain(ends)
        };
        if let Some(tag) = tags().find(|tag| after.starts_with(*tag)) {
            return Step { plain: blank, tag: Some(tag) };
        }
        if tags().any(|tag| tag.starts_with(after)) {
            return Step { plain: blank, tag: None };
        }
        match self.phase {
            Phase::AnswerLead => Step { plain: text.len(), tag: None },
            _ => find_tag(text),
        }
    }

    const fn is_lead(&self) -> bool {
        matches!(self.phase, Phase::Lead | Phase::AnswerLead | Phase::ThinkingLead)
    }

    /// Ends the lead: by an opening tag, by a close tag, or by text.
    fn leave_lead(&mut self, tag: Option<&'static str>, has_text: bool) {
        let opens = !has_text && tag.is_some_and(|tag| OPEN.contains(&tag));
        self.phase = match self.phase {
            Phase::Lead | Phase::AnswerLead | Phase::ThinkingLead if opens => {
                self.opened = tag;
                Phase::Thinking
            }
            Phase::Lead => Phase::Undecided,
            Phase::AnswerLead => Phase::Answer,
            Phase::ThinkingLead => Phase::Thinking,
            phase => phase,
        };
    }

    const fn part(&self) -> Part {
        match self.phase {
            Phase::Lead | Phase::Undecided => Part::Undecided,
            Phase::ThinkingLead | Phase::Thinking => Part::Thinking,
            Phase::AnswerLead | Phase::Answer | Phase::Harmony => Part::Answer,
        }
    }
}

/// Text up to a tag, or up to what may begin one.
struct Step {
    plain: usize,
    tag: Option<&'static str>,
}

/// The first tag in `text` that ends thinking; without one, `plain` ends where one may begin.
fn find_tag(text: &str) -> Step {
    for (at, _) in text.match_indices(['<', '◁']) {
        let rest = text.get(at..).unwrap_or_default();
        if let Some(tag) = ENDS.into_iter().find(|tag| rest.starts_with(tag)) {
            return Step { plain: at, tag: Some(tag) };
        }
        if ENDS.iter().any(|tag| tag.starts_with(rest)) {
            return Step { plain: at, tag: None };
        }
    }
    Step { plain: text.len(), tag: None }
}

/// How the beginning of a content is read before a think tag has been seen.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ThinkingStart {
    /// Told from what comes: a reasoning field, a tag, or neither.
    #[default]
    Detect,
    /// The chat template opens the thinking: content begins inside it.
    Open,
    /// Content is never thinking unless a tag opens it.
    Closed,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Thinking and answer of the content, pushed in these pieces; and whether positions were true.
    fn split(start: ThinkingStart, pieces: &[&str]) -> (String, String) {
        let whole = pieces.concat();
        let mut texts: Vec<(Part, String)> = Vec::new();
        let mut tags = ThinkTags::new(start);
        let mut emit = |segment: Segment<'_>| match segment {
            Segment::Text { part, at, text } => {
                assert!(whole[usize::try_from(at).unwrap()..].starts_with(text));
                texts.push((part, text.to_owned()));
            }
            Segment::Markup { .. } => {}
            Segment::Decided(decided) => {
                for (part, _) in texts.iter_mut().filter(|(part, _)| *part == Part::Undecided) {
                    *part = decided;
                }
            }
        };
        for piece in pieces {
            tags.push(piece, &mut emit);
            assert!(tags.watermark() <= tags.read_bytes());
        }
        tags.finish(&mut emit);
        assert!(texts.iter().all(|(part, _)| *part != Part::Undecided));
        let of = |wanted: Part| {
            texts
                .iter()
                .filter(|(part, _)| *part == wanted)
                .map(|(_, text)| text.as_str())
                .collect()
        };
        (of(Part::Thinking), of(Part::Answer))
    }

    const CASES: &[(ThinkingStart, &str, &str, &str)] = &[
        (ThinkingStart::Detect, "<think>a</think>b", "a", "b"),
        (ThinkingStart::Detect, "\n <think>\na\n</think>\n\nb", "\n \na\n", "\n\nb"),
        (ThinkingStart::Detect, "a</think>b", "a", "b"),
        (ThinkingStart::Detect, "</think>\n\nb", "", "\n\nb"),
        (ThinkingStart::Detect, "\n</think>b", "\n", "b"),
        (ThinkingStart::Detect, "<think>a", "a", ""),
        (ThinkingStart::Detect, "<think>a</thi", "a</thi", ""),
        (ThinkingStart::Detect, "plain <thin", "", "plain <thin"),
        (ThinkingStart::Detect, "  \n", "", "  \n"),
        (ThinkingStart::Detect, "b <think>c", "", "b <think>c"),
        (ThinkingStart::Detect, "b <think>c</think>d", "b <think>c", "d"),
        (ThinkingStart::Detect, "<think>a</think>b<think>c</think>d", "a", "b<think>c</think>d"),
        (ThinkingStart::Detect, "<think><think>a</think>b", "<think>a", "b"),
        (ThinkingStart::Detect, "<thought>a</thought>b", "a", "b"),
        (ThinkingStart::Detect, "◁think▷a◁/think▷b", "a", "b"),
        (ThinkingStart::Detect, "a < b ◁ c</mm:think>d", "a < b ◁ c", "d"),
        (ThinkingStart::Detect, "<think:opensource>a</think:opensource>b", "a", "b"),
        (ThinkingStart::Detect, "x</ifm|think>y", "x", "y"),
        (ThinkingStart::Detect, "<THINK>a</THINK>", "", "<THINK>a</THINK>"),
        (ThinkingStart::Open, "a</think>b", "a", "b"),
        (ThinkingStart::Open, "\n<think>a</think>b", "\na", "b"),
        (ThinkingStart::Open, "a", "a", ""),
        (ThinkingStart::Closed, "a</think>b", "", "a</think>b"),
        (ThinkingStart::Closed, " <think>a</think>b", " a", "b"),
    ];

    #[test]
    fn reads_every_case_whole_by_character_and_at_every_split() {
        for &(start, content, thinking, answer) in CASES {
            let expected = (thinking.to_owned(), answer.to_owned());
            assert_eq!(split(start, &[content]), expected, "{content:?}");
            let characters: Vec<String> = content.chars().map(String::from).collect();
            let characters: Vec<&str> = characters.iter().map(String::as_str).collect();
            assert_eq!(split(start, &characters), expected, "{content:?} by character");
            for (at, _) in content.char_indices() {
                let (left, right) = content.split_at(at);
                assert_eq!(split(start, &[left, right]), expected, "{content:?} at {at}");
            }
        }
    }

    #[test]
    fn a_reasoning_field_makes_content_answer_unless_a_tag_opens_it() {
        for (before, after, expected) in [
            ("", "a</think>b", "A:a</think>b "),
            ("x", "</think>b", "U:x D:Answer A:</think>b "),
            ("x</thi", "nk>b", "U:x D:Answer A:</thi A:nk>b "),
            ("", " <think>a</think>b", "T:  T:a D:Thinking A:b "),
        ] {
            let mut seen: Vec<String> = Vec::new();
            let mut tags = ThinkTags::new(ThinkingStart::Detect);
            let mut emit = |segment: Segment<'_>| match segment {
                Segment::Text { part, text, .. } => {
                    seen.push(format!("{}:{text} ", &format!("{part:?}")[..1]));
                }
                Segment::Decided(part) => seen.push(format!("D:{part:?} ")),
                Segment::Markup { .. } => {}
            };
            tags.push(before, &mut emit);
            tags.on_reasoning_field(&mut emit);
            tags.push(after, &mut emit);
            tags.finish(&mut emit);
            assert_eq!(seen.concat(), expected);
        }
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_texts(
            pieces in prop::collection::vec("(<think>|</think>|<thought>|</|think>|<|◁|/think▷| |a){0,3}", 0..6),
        ) {
            let whole = pieces.concat();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            for start in [ThinkingStart::Detect, ThinkingStart::Open, ThinkingStart::Closed] {
                prop_assert_eq!(split(start, &pieces), split(start, &[&whole]));
            }
        }
    }
}
