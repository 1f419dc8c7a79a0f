//! What one frame says, in no dialect's words.

use std::{borrow::Cow, ops::Range};

/// Where in a choice a piece of text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// `reasoning_content`.
    ReasoningContent,
    /// `reasoning`.
    Reasoning,
    /// Text or summary parts of `reasoning_details`.
    ReasoningDetails,
    /// `thinking` parts of a content array.
    ThinkingPart,
    /// LiteLLM's `thinking_blocks`, which repeat the reasoning.
    ThinkingBlocks,
    /// `content`, its text parts, or a text completion's `text`.
    Content,
    /// `refusal`.
    Refusal,
    /// Arguments of the tool call with this index.
    ToolArguments(u32),
    /// The whole content so far, beside the delta (Perplexity).
    CumulativeContent,
    /// `text` beside a delta (Together), which repeats the content.
    TextBesideDelta,
    /// Tokens of `logprobs.content`.
    ContentLogprobs,
    /// Tokens of `logprobs.reasoning_content`.
    ReasoningLogprobs,
    /// Tokens of `logprobs.refusal`.
    RefusalLogprobs,
    /// Alternatives of `top_logprobs`; each stands alone.
    TopLogprob,
    /// An earlier value of a repeated key.
    RepeatedKey,
    /// What an audio answer says.
    Transcript,
    /// Other text beside the channels: executed tools, failed generations.
    Beside,
    /// Text that came before and now stands again, whole, in a part's or an item's end: the stretch of this origin that
    /// begins at this byte.
    Again(Origin, u64),
}

/// Where text first stood that is told again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// The reasoning fields.
    Thinking,
    /// The content.
    Content,
    /// The refusal.
    Refusal,
    /// Arguments of the tool call with this index.
    ToolArguments(u32),
}

/// A piece of text and where it stands in the frame's payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece<'de> {
    /// The choice's index on the wire.
    pub choice: u32,
    /// Where in the choice it stands.
    pub source: Source,
    /// The decoded text.
    pub text: Cow<'de, str>,
    /// The JSON token of the text (with its quotes; for a logprob and its alternatives the whole entry), as bytes
    /// of the payload. Empty for text that no wire shows: the blank line between two parts of a summary.
    pub json: Range<usize>,
}

/// Why a part of a frame is not read as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opaque {
    /// A field that the dialect does not know.
    Field,
    /// Encrypted reasoning.
    Encrypted,
    /// The signature of reasoning that stands beside it: the reasoning may not be altered.
    Signature,
    /// An image, audio or another medium.
    Media,
}

/// What one frame says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Chunk<'de> {
    /// Every piece of text, grouped by choice in the order of the wire.
    pub pieces: Vec<Piece<'de>>,
    /// Every choice that the frame names, and whether it says that the choice is finished.
    pub choices: Vec<(u32, bool)>,
    /// Parts that are not read, by choice, with their bytes on the wire.
    pub opaque: Vec<(u32, Opaque, usize)>,
    /// Where fields stand that the dialect does not know, so that one which repeats a masked text can be emptied.
    /// Completions find theirs by themselves ([`take_out`](super::take_out)).
    pub unread: Vec<Range<usize>>,
    /// Tool calls that end here, by choice and index.
    pub ended_calls: Vec<(u32, u32)>,
    /// Arrays of logprob entries.
    pub arrays: Vec<Array>,
    /// The frame reports an error of the upstream.
    pub error: bool,
    /// The frame is of the dialect's shape (or an error, or the end mark).
    pub known: bool,
    /// The frame is the end mark `[DONE]`.
    pub done: bool,
    /// `id`, `created`, `model` as they stand in the JSON.
    pub envelope: Envelope<'de>,
    /// The usage object as it stands in the JSON, unless null.
    pub usage: Option<&'de str>,
}

/// An array of logprob entries in a frame's payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array {
    /// Its place, brackets included.
    pub json: Range<usize>,
    /// The places of its entries.
    pub entries: Vec<Range<usize>>,
}

/// What a refusal reuses of the upstream's frames: raw JSON values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Envelope<'de> {
    /// The value of `id`.
    pub id: Option<&'de str>,
    /// The value of `created`.
    pub created: Option<&'de str>,
    /// The value of `model`.
    pub model: Option<&'de str>,
    /// The value of `object`.
    pub object: Option<&'de str>,
}
