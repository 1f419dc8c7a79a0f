//! One choice of an exchange: its sources, its texts, and which piece of a frame goes where.

use std::{ops::Range, sync::Arc};

use smallvec::{SmallVec, smallvec};

use crate::{
    channel::{Channel, Part, Segment, ThinkTags, ThinkingStart},
    classify::Voice,
    dialect::chunk::{Origin, Piece, Source},
    policy::{Mode, Verdict},
    rules::RuleMatch,
};

use super::{
    consulting::Consulting,
    plan::{Label, Plan},
    scoring::Scoring,
    seam::{Across, Seam},
    source::{Run, TextSource},
    text_stream::{Found, KeptText, TextStream},
};

/// How many texts of an exchange are kept to their full bound.
const KEPT_TEXTS: usize = 16;

/// What the texts of an exchange are read with.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) plan: Arc<Plan>,
    /// Bytes of each text that are kept, where texts are asked for.
    keep_text: Option<usize>,
    /// Bytes that may still be kept of all of them.
    keep_left: usize,
    /// Whether frames are held, so that leaves are noted and verdicts carried out.
    pub(super) holding: bool,
    /// A finding ended the exchange.
    pub(super) blocked: bool,
    /// A detector failed without which it may not go on.
    pub(super) failed: bool,
    /// Something was found, or scored, since outcomes were last looked at.
    pub(super) has_news: bool,
    /// Thinking is hidden from some place on.
    pub(super) hides_from_here: bool,
    scratch: Vec<RuleMatch>,
    /// What goes to the classifier, where there is one.
    pub(super) scoring: Option<Box<Scoring>>,
    /// What a guard model elsewhere is asked, where there is one.
    pub(super) consulting: Option<Box<Consulting>>,
}

/// A place in a frame that shows a stretch of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) choice: usize,
    /// What its place is for.
    pub(super) kind: Source,
    pub(super) shows: Shows,
    /// The JSON token in the frame's payload.
    pub(super) json: Range<usize>,
}

/// What a leaf shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shows {
    /// This stretch of the choice's source.
    Source {
        /// The source's position.
        source: usize,
        /// The stretch.
        span: Range<u64>,
    },
    /// A text of its own, to be masked at these bytes.
    Alone(Vec<Range<u64>>),
}

/// One choice.
#[derive(Debug)]
pub(super) struct Choice {
    /// Its index on the wire.
    pub(super) index: u32,
    /// The answer that it belongs to: 0 for the first, 1 for that of the model asked again.
    pub(super) attempt: u8,
    /// Its position among the session's choices.
    pub(super) position: usize,
    pub(super) tags: ThinkTags,
    pub(super) sources: Sources,
    pub(super) texts: Texts,
    /// The text that content goes to before and inside the thinking.
    lead: Option<usize>,
    /// The text that content goes to as answer.
    answer: Option<usize>,
    /// The call that content has brought last, and the text that it goes to.
    call: Option<(u32, usize)>,
    /// Stretches of content that are no text, and stay where thinking is hidden.
    markup: Vec<Range<u64>>,
    /// Whether calls wait for their end.
    holds_calls: bool,
    /// Where its thinking ends and its answer begins.
    seam: Seam,
    /// A frame that names the choice was written.
    pub(super) named: bool,
    /// A frame that says it is finished was written.
    pub(super) finished: bool,
    /// Something of its thinking or answer was not read.
    pub(super) unjudged: bool,
    /// It has brought encrypted thinking.
    pub(super) encrypted: bool,
    /// Its thinking is signed, so that it may not be altered.
    pub(super) signed: bool,
    /// Something was masked in its thinking, so that it may not be signed any more.
    pub(super) altered_thinking: bool,
    /// Something was masked, so that token ids of its texts may not be sent any more.
    pub(super) masked: bool,
    /// Thinking is not delivered, so that content waits until it is known for what it is.
    hides_thinking: bool,
    /// It goes on where the client is inside the thinking of an earlier answer's content.
    joins: bool,
    /// The tag that ends that thinking, until its own content says otherwise.
    inside: Option<&'static str>,
}

/// A choice's sources: nearly always content and reasoning.
type Sources = SmallVec<[TextSource; 2]>;

/// A choice's texts: nearly always its thinking, and then its answer. Each has room when it begins.
type Texts = Vec<TextStream>;

/// The sources of reasoning, the first present being the channel's text.
const REASONING: [Source; 5] = [
    Source::ReasoningContent,
    Source::Reasoning,
    Source::ReasoningDetails,
    Source::ThinkingPart,
    Source::ThinkingBlocks,
];

/// Copies of a frame's text.
const LOGPROBS_AND_TEXT: [Source; 4] = [
    Source::TextBesideDelta,
    Source::ContentLogprobs,
    Source::ReasoningLogprobs,
    Source::RefusalLogprobs,
];

/// What a copy may repeat: the kind of piece, its source, and where in it the frame's text begins.
type Original = (Source, usize, u64);

// === impl Reading ===

impl Reading {
    pub(super) fn new(plan: Arc<Plan>) -> Self {
        let scoring = plan.classifier().map(|judge| Box::new(Scoring::new(judge.clone())));
        let consulting = plan.consultant().map(|_| Box::new(Consulting::new()));
        Self {
            plan,
            keep_text: None,
            keep_left: 0,
            holding: false,
            blocked: false,
            failed: false,
            has_news: false,
            hides_from_here: false,
            scratch: Vec::new(),
            scoring,
            consulting,
        }
    }

    /// Keeps the texts from now on: at most so many bytes of each.
    pub(super) fn keep_texts(&mut self, bytes: Option<usize>) {
        self.keep_text = bytes;
        self.keep_left = bytes.map_or(0, |bytes| bytes.saturating_mul(KEPT_TEXTS));
    }

    /// Says whose text comes from here on.
    pub(super) fn speak(&mut self, voice: Voice) {
        if let Some(scoring) = &mut self.scoring {
            scoring.speak(voice);
        }
        if let Some(consulting) = &mut self.consulting {
            consulting.speak(voice);
        }
    }

    /// Takes note that the undecided text of the voice that speaks is of this channel.
    fn decide(&mut self, channel: Channel) {
        if let Some(scoring) = &mut self.scoring {
            scoring.decide(channel);
        }
        if let Some(consulting) = &mut self.consulting {
            consulting.decide(channel);
        }
    }

    /// Takes note that no more of the prompt comes.
    pub(super) fn end_prompt(&mut self) {
        if let Some(scoring) = &mut self.scoring {
            scoring.end();
        }
        self.end_questions();
    }

    /// Takes note that no more text comes.
    pub(super) fn end_detectors(&mut self) {
        if let Some(scoring) = &mut self.scoring {
            scoring.end_all();
        }
        self.end_questions();
    }

    fn end_questions(&mut self) {
        if let (Some(consulting), Some(consultant)) = (&mut self.consulting, self.plan.consultant())
        {
            consulting.end_all(consultant);
        }
    }

    pub(super) fn text(&self, label: Label, repeat: bool) -> TextStream {
        let kept = self.keep_text.filter(|_| !repeat).map(KeptText::new);
        TextStream::new(&self.plan, label, repeat, kept)
    }

    /// Reads on in `text`; gives back the new findings.
    pub(super) fn push<'t>(&mut self, text: &'t mut TextStream, more: &str) -> &'t [Found] {
        if let Some(kept) = &mut text.read.kept {
            kept.push(more, &mut self.keep_left);
        }
        if let Some(scoring) = self.scoring.as_mut().filter(|_| !text.read.repeat) {
            scoring.say(&self.plan, text.read.label, more);
        }
        if let Some(consulting) = self.consulting.as_mut().filter(|_| !text.read.repeat)
            && let Some(consultant) = self.plan.consultant()
        {
            consulting.say(&self.plan, consultant, text.read.label, more);
        }
        let count = text.push(&self.plan, more, &mut self.scratch);
        self.carry_out(text, count)
    }

    /// Decides what is open in `text`; gives back the new findings.
    pub(super) fn pause<'t>(&mut self, text: &'t mut TextStream) -> &'t [Found] {
        let count = text.pause(&self.plan, &mut self.scratch);
        self.carry_out(text, count)
    }

    fn carry_out<'t>(&mut self, text: &'t TextStream, count: usize) -> &'t [Found] {
        let found = text.newest(count);
        if count > 0 {
            let is_hidden = text.read.label == Label::Known(Channel::Thinking)
                && self.plan.hides_leaky_thinking();
            let blocks = found.iter().any(|found| found.carries_out(Verdict::Block));
            self.blocked |= self.holding && blocks && !is_hidden;
            self.has_news = true;
        }
        found
    }
}

// === impl Found ===

impl Found {
    pub(super) fn carries_out(&self, verdict: Verdict) -> bool {
        self.mode == Mode::Enforce && self.verdict == verdict
    }

    fn redacts(&self) -> bool {
        self.carries_out(Verdict::Redact)
    }
}

// === impl Choice ===

impl Choice {
    pub(super) fn new(index: u32, position: usize, plan: &Plan) -> Self {
        Self {
            index,
            attempt: 0,
            position,
            tags: ThinkTags::new(plan.settings().thinking),
            sources: smallvec![TextSource::new(Source::Content)],
            texts: Vec::new(),
            lead: None,
            answer: None,
            call: None,
            markup: Vec::new(),
            holds_calls: plan.holds_tool_calls(),
            seam: Seam::new(plan),
            named: false,
            finished: false,
            unjudged: false,
            encrypted: false,
            signed: false,
            altered_thinking: false,
            masked: false,
            hides_thinking: plan.hides_thinking(),
            joins: false,
            inside: None,
        }
    }

    /// Goes on where `earlier`, the same choice of the answer before it, was ended. Its content begins as `start` says.
    pub(super) fn go_on_from(&mut self, earlier: Option<&Self>, start: ThinkingStart) {
        self.named = earlier.is_some_and(|earlier| earlier.named);
        self.inside = earlier.and_then(Self::tag_to_close);
        self.joins = self.inside.is_some();
        // What has opened its thinking by a tag does so again, if it thinks.
        let closed = self.joins && start == ThinkingStart::Detect;
        self.tags = ThinkTags::new(if closed { ThinkingStart::Closed } else { start });
    }

    /// Delivers no more of its thinking. What was sent of it may not be signed any more.
    pub(super) fn hide_from_here(&mut self) {
        if std::mem::replace(&mut self.hides_thinking, true) {
            return;
        }
        let sent = |source: &TextSource| is_thinking(source.kind) && source.released > 0;
        self.altered_thinking |= !self.signed && self.sources.iter().any(sent);
        for source in &mut self.sources {
            source.hide_from_here();
        }
    }

    /// Takes the choice's pieces of one frame; notes where they stand.
    pub(super) fn take(
        &mut self,
        reading: &mut Reading,
        pieces: &[Piece<'_>],
        leaves: &mut Vec<Leaf>,
    ) {
        let thinking = self.take_reasoning(reading, pieces, leaves);
        // A message is the content itself where no delta came before it.
        let nothing_yet = self.sources.first().is_some_and(|source| source.read == 0);
        let message_only = nothing_yet && of(pieces, Source::Content).next().is_none();
        let content = if message_only { Source::CumulativeContent } else { Source::Content };
        let begin = self.sources.first().map_or(0, |source| source.read);
        let refusal = of(pieces, Source::Refusal).next().map(|_| {
            let position = self.source(Source::Refusal);
            (Source::Refusal, position, self.sources.get(position).map_or(0, |source| source.read))
        });
        for piece in pieces {
            match piece.source {
                kind if kind == content => {
                    let span = self.take_content(reading, &piece.text);
                    self.note(reading, piece, CONTENT, span, leaves);
                }
                Source::Refusal => {
                    self.take_field(reading, piece, Label::Known(Channel::Refusal), false, leaves);
                }
                Source::ToolArguments(_) => self.take_arguments(reading, piece, leaves),
                _ => {}
            }
        }
        if pieces.iter().any(|piece| is_repeat(piece.source)) {
            let again = pieces.iter().find_map(|piece| match piece.source {
                Source::Again(Origin::Content, at) => Some((piece.source, CONTENT, at)),
                _ => None,
            });
            let originals = [Some((content, CONTENT, begin)), thinking, refusal, again];
            self.take_repeats(reading, pieces, originals, leaves);
            for piece in of(pieces, Source::CumulativeContent).filter(|_| !message_only) {
                self.take_cumulative(reading, piece, leaves);
            }
        }
    }

    /// Takes a text that stands for itself, as traces give it.
    pub(super) fn take_text(&mut self, reading: &mut Reading, channel: Channel, text: &str) {
        let source = match channel {
            Channel::Thinking => Source::ReasoningContent,
            Channel::ToolCall => Source::ToolArguments(0),
            Channel::Refusal => Source::Refusal,
            Channel::Answer | Channel::Prompt => Source::TextBesideDelta,
        };
        let position = self.source(source);
        self.feed(reading, position, text, Label::Known(channel), false);
    }

    /// The first kind of reasoning that the frame has is the thinking; equal copies are only noted, others read
    /// beside it. Gives back the kind, and where in its source the frame's text begins.
    fn take_reasoning(
        &mut self,
        reading: &mut Reading,
        pieces: &[Piece<'_>],
        leaves: &mut Vec<Leaf>,
    ) -> Option<Original> {
        let mut kinds = REASONING.into_iter().filter(|&kind| of(pieces, kind).next().is_some());
        let first = kinds.next()?;
        self.on_reasoning_field(reading);
        let position = self.source(Source::ReasoningContent);
        let begin = self.sources.get(position).map_or(0, |source| source.read);
        for piece in of(pieces, first) {
            let span =
                self.feed(reading, position, &piece.text, Label::Known(Channel::Thinking), false);
            self.note(reading, piece, position, span, leaves);
        }
        for kind in kinds {
            if same_text(of(pieces, first), of(pieces, kind)) {
                self.note_copies(reading, of(pieces, kind), position, begin, leaves);
            } else {
                for piece in of(pieces, kind) {
                    self.take_field(reading, piece, Label::Known(Channel::Thinking), true, leaves);
                }
            }
        }
        Some((first, position, begin))
    }

    fn take_repeats(
        &mut self,
        reading: &mut Reading,
        pieces: &[Piece<'_>],
        originals: [Option<Original>; 4],
        leaves: &mut Vec<Leaf>,
    ) {
        for kind in LOGPROBS_AND_TEXT.into_iter().filter(|&kind| of(pieces, kind).next().is_some())
        {
            let mut originals = originals.into_iter().flatten();
            let original =
                originals.find(|&(original, ..)| same_text(of(pieces, original), of(pieces, kind)));
            if let Some((_, source, begin)) = original {
                self.note_copies(reading, of(pieces, kind), source, begin, leaves);
                continue;
            }
            for piece in of(pieces, kind) {
                self.take_field(reading, piece, Label::Undecided, true, leaves);
            }
        }
        for piece in pieces {
            match piece.source {
                Source::RepeatedKey => {
                    self.take_field(reading, piece, Label::Undecided, true, leaves);
                }
                Source::Transcript => {
                    self.take_field(reading, piece, Label::Known(Channel::Answer), true, leaves);
                }
                Source::TopLogprob | Source::Beside => self.take_alone(reading, piece, leaves),
                Source::Again(origin, at) => {
                    let position = self.source(source_of(origin));
                    let span = at..at + piece.text.len() as u64;
                    self.note(reading, piece, position, span, leaves);
                }
                _ => {}
            }
        }
    }

    /// A message beside deltas: a copy of all content so far, or a text of its own.
    fn take_cumulative(
        &mut self,
        reading: &mut Reading,
        piece: &Piece<'_>,
        leaves: &mut Vec<Leaf>,
    ) {
        match self.sources.first() {
            Some(source) if source.is_all(&piece.text) => {
                let span = 0..source.read;
                self.note(reading, piece, CONTENT, span, leaves);
            }
            _ => self.take_alone(reading, piece, leaves),
        }
    }

    /// Content: split at tags, each part into its own text.
    fn take_content(&mut self, reading: &mut Reading, text: &str) -> Range<u64> {
        self.pause_source(reading, Source::ReasoningContent);
        let span = self.sources.first_mut().map_or(0..0, |source| source.take(text));
        let (tags, mut texts_of_content) = self.content_texts(reading);
        tags.push(text, &mut |segment| texts_of_content.take(segment));
        span
    }

    /// Its content's splitter, and where the parts go.
    fn content_texts<'c>(
        &'c mut self,
        reading: &'c mut Reading,
    ) -> (&'c mut ThinkTags, ContentTexts<'c>) {
        let Self { tags, sources, texts, lead, answer, call, markup, seam, .. } = self;
        (tags, ContentTexts { reading, sources, texts, lead, answer, call, markup, seam })
    }

    fn on_reasoning_field(&mut self, reading: &mut Reading) {
        let (tags, mut texts_of_content) = self.content_texts(reading);
        tags.on_reasoning_field(&mut |segment| texts_of_content.take(segment));
    }

    /// A source that has one text of its own.
    fn take_field(
        &mut self,
        reading: &mut Reading,
        piece: &Piece<'_>,
        label: Label,
        repeat: bool,
        leaves: &mut Vec<Leaf>,
    ) {
        let position = self.source(piece.source);
        let span = self.feed(reading, position, &piece.text, label, repeat);
        self.note(reading, piece, position, span, leaves);
    }

    /// Tool arguments: another call's beginning ends the calls before it.
    fn take_arguments(&mut self, reading: &mut Reading, piece: &Piece<'_>, leaves: &mut Vec<Leaf>) {
        let known = self.sources.iter().any(|source| source.kind == piece.source);
        let calls =
            self.sources.iter().filter(|source| matches!(source.kind, Source::ToolArguments(_)));
        if !known && calls.count() >= reading.plan.settings().limits.tool_calls {
            self.unjudged = true;
            return;
        }
        if !known {
            self.pause_all(reading);
            self.seam = Seam::Over;
        }
        let position = self.source(piece.source);
        let open = reading.holding && reading.plan.holds_tool_calls();
        if let Some(source) = self.sources.get_mut(position) {
            source.open = open;
        }
        let span =
            self.feed(reading, position, &piece.text, Label::Known(Channel::ToolCall), false);
        self.note(reading, piece, position, span, leaves);
    }

    /// A text that is complete in one piece.
    fn take_alone(&mut self, reading: &mut Reading, piece: &Piece<'_>, leaves: &mut Vec<Leaf>) {
        let mut text = reading.text(Label::Undecided, true);
        reading.push(&mut text, &piece.text);
        reading.pause(&mut text);
        let redactions = text.read.found.iter().filter(|found| found.carries_out(Verdict::Redact));
        let shows = Shows::Alone(redactions.map(|found| found.at.start..found.at.end).collect());
        if !text.read.found.is_empty() {
            begin(&mut self.texts, text);
        }
        if reading.holding {
            let Piece { source: kind, ref json, .. } = *piece;
            leaves.push(Leaf { choice: self.position, kind, shows, json: json.clone() });
        }
    }

    /// The position of the source of this kind.
    fn source(&mut self, kind: Source) -> usize {
        if let Some(position) = self.sources.iter().position(|source| source.kind == kind) {
            return position;
        }
        let mut source = TextSource::new(kind);
        if self.hides_thinking {
            source.hide_from_here();
        }
        self.sources.push(source);
        self.sources.len() - 1
    }

    fn feed(
        &mut self,
        reading: &mut Reading,
        position: usize,
        text: &str,
        label: Label,
        repeat: bool,
    ) -> Range<u64> {
        let Some(source) = self.sources.get_mut(position) else { return 0..0 };
        let span = source.take(text);
        let at = *source.text.get_or_insert_with(|| {
            begin(&mut self.texts, reading.text(label, repeat));
            self.texts.len() - 1
        });
        read_into(reading, source, &mut self.texts, at, span.start, text);
        cross(reading, &mut self.seam, &mut self.sources, &mut self.texts, at, text);
        span
    }

    fn note(
        &self,
        reading: &Reading,
        piece: &Piece<'_>,
        source: usize,
        span: Range<u64>,
        leaves: &mut Vec<Leaf>,
    ) {
        if reading.holding && !piece.json.is_empty() {
            let shows = Shows::Source { source, span };
            let Piece { source: kind, ref json, .. } = *piece;
            leaves.push(Leaf { choice: self.position, kind, shows, json: json.clone() });
        }
    }

    fn note_copies<'p>(
        &self,
        reading: &Reading,
        copies: impl Iterator<Item = &'p Piece<'p>>,
        source: usize,
        mut begin: u64,
        leaves: &mut Vec<Leaf>,
    ) {
        for piece in copies {
            let end = begin + piece.text.len() as u64;
            self.note(reading, piece, source, begin..end, leaves);
            begin = end;
        }
    }

    /// Ends a tool call: nothing of it stays open.
    pub(super) fn end_call(&mut self, reading: &mut Reading, call: u32) {
        let kind = Source::ToolArguments(call);
        if let Some(source) = self.sources.iter_mut().find(|source| source.kind == kind) {
            source.open = false;
        }
        self.pause_source(reading, kind);
    }

    fn pause_source(&mut self, reading: &mut Reading, kind: Source) {
        if let Some(source) = self.sources.iter_mut().find(|source| source.kind == kind)
            && let Some(at) = source.text
        {
            pause_into(reading, source, &mut self.texts, at);
        }
    }

    /// Decides all that is open, as if every text ended here.
    pub(super) fn pause_all(&mut self, reading: &mut Reading) {
        let Self { sources, texts, lead, answer, call, .. } = self;
        for source in sources {
            source.open = false;
            let of_content = [*lead, *answer, call.map(|(_, at)| at)].into_iter().flatten();
            let own: Vec<usize> = match source.kind {
                Source::Content => of_content.collect(),
                _ => source.text.into_iter().collect(),
            };
            for at in own {
                pause_into(reading, source, texts, at);
            }
        }
    }

    /// Ends the choice: nothing stays undecided.
    pub(super) fn finish(&mut self, reading: &mut Reading) {
        reading.speak(Voice::Choice(self.position));
        let (tags, mut texts_of_content) = self.content_texts(reading);
        tags.finish(&mut |segment| texts_of_content.take(segment));
        self.pause_all(reading);
        let across = self.seam.finish(&reading.plan);
        if let Some(answer) = self.texts.iter().position(is_answer) {
            note_across(reading, &mut self.sources, &mut self.texts, answer, &across);
        }
    }

    /// The source's byte below which nothing can still be carried out.
    pub(super) fn watermark(&self, position: usize) -> u64 {
        let Some(source) = self.sources.get(position) else { return u64::MAX };
        let texts = if source.kind == Source::Content {
            [self.lead, self.answer, self.call.map(|(_, at)| at)]
        } else {
            [source.text, None, None]
        };
        let decided = if source.kind == Source::Content {
            self.undecided_from().unwrap_or(u64::MAX).min(self.tags_watermark())
        } else {
            source.read
        };
        texts.into_iter().flatten().fold(decided, |least, at| {
            let Some(text) = self.texts.get(at) else { return least };
            let watermark = self.seam.watermark(at, text);
            if watermark >= text.bytes() { least } else { least.min(source.locate(at, watermark)) }
        })
    }

    /// The content's byte below which nothing is undecided about tags, and no call is open that has to be whole.
    pub(super) fn tags_watermark(&self) -> u64 {
        if self.holds_calls { self.tags.watermark() } else { self.tags.settled() }
    }

    /// The first byte of content that may turn out to be thinking, where thinking is hidden.
    pub(super) fn undecided_from(&self) -> Option<u64> {
        let lead = self.lead.filter(|_| self.hides_thinking)?;
        let text = self.texts.get(lead)?;
        let source = self.sources.first()?;
        (text.read.label == Label::Undecided).then(|| source.locate(lead, 0))
    }

    /// The stretches of content that are thinking or tags, as far as that is decided.
    pub(super) fn hidden_content(&self) -> Vec<Range<u64>> {
        let Some(source) = self.sources.first() else { return Vec::new() };
        let (thinking, shown): (Vec<&Run>, Vec<&Run>) =
            source.runs().iter().partition(|run| self.is_of(run, Channel::Thinking));
        let stretch = |run: &Run| run.at..run.at + run.length;
        if let Some(from) = source.hidden_from.filter(|&from| from > 0) {
            // Where some of it was sent, the tags around it stay.
            let unsent = thinking.into_iter().map(stretch).filter(|stretch| from < stretch.end);
            return unsent.map(|stretch| stretch.start.max(from)..stretch.end).collect();
        }
        let shown = shown.into_iter().map(stretch);
        let mut shown: Vec<Range<u64>> = shown.chain(self.markup.iter().cloned()).collect();
        shown.sort_unstable_by_key(|stretch| stretch.start);
        let mut hidden = Vec::new();
        let mut at = 0;
        for stretch in shown {
            if at < stretch.start {
                hidden.push(at..stretch.start);
            }
            at = stretch.end;
        }
        let decided = self.tags_watermark();
        if at < decided {
            hidden.push(at..decided);
        }
        hidden
    }

    fn is_of(&self, run: &Run, channel: Channel) -> bool {
        let text = self.texts.get(run.text);
        text.is_some_and(|text| text.read.label.channel() == channel)
    }

    /// The opening tag of content that goes on inside an earlier answer's thinking, where it has opened its own.
    pub(super) fn repeated_tag(&self) -> Option<Range<u64>> {
        let tag = self.tags.opening_tag().filter(|_| self.joins)?;
        // Only white space stands before it.
        let first = self.sources.first()?.runs().first().filter(|run| run.at == 0);
        let begin = first.map_or(0, |run| run.length);
        Some(begin..begin + tag.len() as u64)
    }

    /// The tag to be written before content up to `end`, where that is answer and the client still inside the
    /// thinking of an earlier answer.
    pub(super) fn tag_before(&mut self, end: u64) -> Option<&'static str> {
        let tag = self.inside?;
        let runs = self.sources.first()?.runs();
        let mut read = runs.iter().filter(|run| run.at < end);
        let thinks =
            self.tags.has_opened() || read.clone().any(|run| self.is_of(run, Channel::Thinking));
        let answers = read.any(|run| self.is_of(run, Channel::Answer));
        if thinks || answers {
            self.inside = None;
        }
        (answers && !thinks).then_some(tag)
    }

    /// Whether the client has been sent some of its answer, or its end.
    pub(super) fn has_answered(&self) -> bool {
        let said = |source: &TextSource| {
            let kind = source.kind;
            source.released > 0 && matches!(kind, Source::Refusal | Source::ToolArguments(_))
        };
        self.finished || self.answer_sent() || self.sources.iter().any(said)
    }

    /// Whether it has brought thinking, sealed or not.
    pub(super) fn has_thinking(&self) -> bool {
        let thinking = |text: &TextStream| text.read.label.channel() == Channel::Thinking;
        self.signed || self.encrypted || self.texts.iter().any(thinking)
    }

    /// Whether its thinking was opened, by a tag or by text, and is not sealed.
    pub(super) fn opens_thinking(&self) -> bool {
        !self.encrypted && (self.tags.has_opened() || self.has_thinking())
    }

    /// Whether the client has been sent text that it takes for an answer.
    pub(super) fn answer_sent(&self) -> bool {
        let Some(source) = self.sources.first() else { return false };
        source.runs().iter().any(|run| {
            let text = self.texts.get(run.text).filter(|_| self.is_of(run, Channel::Answer));
            let first = text.and_then(|text| text.read.first_text);
            first.is_some_and(|first| source.locate(run.text, first) < source.released)
        })
    }

    /// What the client still waits for before it takes content for the answer, where content itself brings the thinking.
    pub(super) fn tag_to_close(&self) -> Option<&'static str> {
        if self.inside.is_some() {
            return self.inside;
        }
        let content = self.sources.first().filter(|content| {
            let hides_all = self.hides_thinking && content.hidden_from.unwrap_or_default() == 0;
            content.released > 0 && !hides_all
        })?;
        // The tag may have been read and not sent.
        let is_unsent = self.tags.closed_at().is_some_and(|closed| content.released < closed);
        self.tags.to_answer().or_else(|| is_unsent.then(|| self.tags.close_tag()))
    }
}

/// The first source is content's.
pub(super) const CONTENT: usize = 0;

/// Where the parts of content go.
struct ContentTexts<'c> {
    reading: &'c mut Reading,
    sources: &'c mut Sources,
    texts: &'c mut Texts,
    lead: &'c mut Option<usize>,
    answer: &'c mut Option<usize>,
    call: &'c mut Option<(u32, usize)>,
    markup: &'c mut Vec<Range<u64>>,
    seam: &'c mut Seam,
}

/// Adds a text, with room for this one alone: most choices have one for as long as they think.
fn begin(texts: &mut Texts, text: TextStream) {
    texts.reserve_exact(1);
    texts.push(text);
}

// === impl ContentTexts ===

impl ContentTexts<'_> {
    fn take(&mut self, segment: Segment<'_>) {
        match segment {
            Segment::Text { part, at, text } => {
                let position = self.text_of(part);
                if let Some(source) = self.sources.first_mut() {
                    read_into(self.reading, source, self.texts, position, at, text);
                }
                cross(self.reading, self.seam, self.sources, self.texts, position, text);
            }
            Segment::Decided(Part::Call(_)) => {
                if let (Some((_, at)), Some(source)) = (*self.call, self.sources.first_mut()) {
                    pause_into(self.reading, source, self.texts, at);
                }
            }
            Segment::Decided(part) => self.decide(part),
            Segment::Markup { at, length } => match self.markup.last_mut() {
                Some(last) if last.end == at => last.end += length,
                _ => self.markup.push(at..at + length),
            },
        }
    }

    fn text_of(&mut self, part: Part) -> usize {
        let (slot, label) = match part {
            Part::Undecided => (&mut *self.lead, Label::Undecided),
            Part::Thinking => (&mut *self.lead, Label::Known(Channel::Thinking)),
            Part::Answer => (&mut *self.answer, Label::Known(Channel::Answer)),
            Part::Call(number) => return self.text_of_call(number),
        };
        *slot.get_or_insert_with(|| {
            begin(self.texts, self.reading.text(label, false));
            self.texts.len() - 1
        })
    }

    /// The text of a call; beyond the limit, calls are one text with the last.
    fn text_of_call(&mut self, number: u32) -> usize {
        let limit = self.reading.plan.settings().limits.tool_calls;
        match *self.call {
            Some((present, at)) if present == number || number as usize >= limit => at,
            _ => {
                begin(self.texts, self.reading.text(Label::Known(Channel::ToolCall), false));
                let at = self.texts.len() - 1;
                *self.call = Some((number, at));
                at
            }
        }
    }

    /// The lead is known for what it is; as answer, the answer goes on in the same text.
    fn decide(&mut self, part: Part) {
        let Some(at) = *self.lead else { return };
        let Some(text) = self.texts.get_mut(at) else { return };
        if text.read.label == Label::Undecided {
            let channel = if part == Part::Thinking { Channel::Thinking } else { Channel::Answer };
            text.read.label = Label::Known(channel);
            self.reading.decide(channel);
        }
        match part {
            Part::Answer => *self.answer = Some(at),
            Part::Thinking | Part::Undecided | Part::Call(_) => {
                if let Some(source) = self.sources.first_mut() {
                    pause_into(self.reading, source, self.texts, at);
                }
            }
        }
    }
}

/// Reads `more`, which stands at `at` in the source, into a text, and notes what is to be masked.
fn read_into(
    reading: &mut Reading,
    source: &mut TextSource,
    texts: &mut [TextStream],
    position: usize,
    at: u64,
    more: &str,
) {
    let Some(text) = texts.get_mut(position) else { return };
    source.note(position, text.bytes(), at, more.len() as u64);
    let sealed = is_call_in_content(source, text);
    let found = reading.push(text, more);
    reading.blocked |= reading.holding && sealed && found.iter().any(Found::redacts);
    note_redactions(source, position, found);
}

/// Whether a text is a call's that stands in the content: nobody knows there what may be masked without harm.
fn is_call_in_content(source: &TextSource, text: &TextStream) -> bool {
    source.kind == Source::Content && text.read.label == Label::Known(Channel::ToolCall)
}

/// Reads on over the seam, if `position` is the answer's text.
fn cross(
    reading: &mut Reading,
    seam: &mut Seam,
    sources: &mut [TextSource],
    texts: &mut [TextStream],
    position: usize,
    more: &str,
) {
    if !matches!(seam, Seam::Over) && texts.get(position).is_some_and(is_answer) {
        let across = seam.read(&reading.plan, texts, more);
        note_across(reading, sources, texts, position, &across);
    }
}

/// Notes matches that begin in the thinking and end in the answer at `position`.
fn note_across(
    reading: &mut Reading,
    sources: &mut [TextSource],
    texts: &mut [TextStream],
    position: usize,
    across: &[Across],
) {
    for &Across { thinking, from, end, found } in across {
        reading.blocked |= reading.holding && found.carries_out(Verdict::Block);
        if found.carries_out(Verdict::Redact) {
            for source in sources.iter_mut() {
                source.redact_text(thinking, from..end);
                source.redact_text(position, found.at.start..found.at.end);
            }
        }
        if let Some(text) = texts.get_mut(position) {
            text.read.found.push(found);
            reading.has_news = true;
        }
    }
}

fn is_answer(text: &TextStream) -> bool {
    !text.read.repeat && text.read.label == Label::Known(Channel::Answer)
}

fn pause_into(
    reading: &mut Reading,
    source: &mut TextSource,
    texts: &mut [TextStream],
    position: usize,
) {
    let Some(text) = texts.get_mut(position) else { return };
    let sealed = is_call_in_content(source, text);
    let found = reading.pause(text);
    reading.blocked |= reading.holding && sealed && found.iter().any(Found::redacts);
    note_redactions(source, position, found);
}

fn note_redactions(source: &mut TextSource, position: usize, found: &[Found]) {
    for found in found.iter().filter(|found| found.carries_out(Verdict::Redact)) {
        let span = source.locate_span(position, found.at.start..found.at.end);
        source.redact(span);
    }
}

fn of<'p>(pieces: &'p [Piece<'p>], source: Source) -> impl Iterator<Item = &'p Piece<'p>> + Clone {
    pieces.iter().filter(move |piece| piece.source == source)
}

fn same_text<'p>(
    left: impl Iterator<Item = &'p Piece<'p>>,
    right: impl Iterator<Item = &'p Piece<'p>>,
) -> bool {
    left.flat_map(|piece| piece.text.bytes()).eq(right.flat_map(|piece| piece.text.bytes()))
}

/// Whether a piece of this kind is thinking.
pub(super) fn is_thinking(source: Source) -> bool {
    REASONING.contains(&source) || matches!(source, Source::Again(Origin::Thinking, _))
}

/// The source that text comes from which is told again.
const fn source_of(origin: Origin) -> Source {
    match origin {
        Origin::Thinking => Source::ReasoningContent,
        Origin::Content => Source::Content,
        Origin::Refusal => Source::Refusal,
        Origin::ToolArguments(call) => Source::ToolArguments(call),
    }
}

/// Whether a piece of this kind stands for an entry of logprobs.
pub(super) const fn is_logprob(source: Source) -> bool {
    matches!(
        source,
        Source::ContentLogprobs
            | Source::ReasoningLogprobs
            | Source::RefusalLogprobs
            | Source::TopLogprob
    )
}

const fn is_repeat(source: Source) -> bool {
    matches!(
        source,
        Source::TextBesideDelta
            | Source::ContentLogprobs
            | Source::ReasoningLogprobs
            | Source::RefusalLogprobs
            | Source::CumulativeContent
            | Source::RepeatedKey
            | Source::TopLogprob
            | Source::Transcript
            | Source::Beside
            | Source::Again(..)
    )
}
