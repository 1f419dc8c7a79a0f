//! What a session remembers of its wire: which dialect it is, what was read of it, what its client was sent.
//!
//! In: the frames of one response in order, and those that reached the client. Out: what each says, and how the
//! response ends when it is refused. A completion's frames stand for themselves, so that nothing is remembered of
//! them; a dialect that has to remember boxes its state.

use bytes::Bytes;

use super::{
    Dialect, Endpoint, anthropic,
    chunk::Chunk,
    fields::Fields,
    openai_chat,
    openai_responses::{self, Responses},
    refusal::{self, Ending},
};

/// A session's way with its wire.
#[derive(Debug, Default)]
pub struct Vocabulary(Words);

/// The dialects, each with what it remembers.
#[derive(Debug, Default)]
enum Words {
    /// Not told yet: the body came without a path. Completions are expected until a frame tells something else.
    #[default]
    Untold,
    /// Chat or text completions.
    Completions,
    /// `OpenAI` Responses.
    Responses(Box<Responses>),
    /// Anthropic Messages.
    Messages(Box<anthropic::Sent>),
}

// === impl Vocabulary ===

impl Vocabulary {
    /// The vocabulary of an endpoint's responses; without one, the first frame that tells it decides.
    #[must_use]
    pub fn of(endpoint: Option<Endpoint>) -> Self {
        Self(match endpoint {
            None => Words::Untold,
            Some(Endpoint::ChatCompletions | Endpoint::Completions) => Words::Completions,
            Some(Endpoint::Responses | Endpoint::StoredResponse) => {
                Words::Responses(Box::default())
            }
            Some(Endpoint::Messages) => Words::Messages(Box::default()),
        })
    }

    /// The vocabulary of the dialect that a frame tells beyond doubt; completions have no such mark.
    fn told_by(payload: &str) -> Option<Words> {
        let fields = Fields::read(payload);
        if openai_responses::is_told_by(&fields) {
            return Some(Words::Responses(Box::default()));
        }
        let kind = fields.get("type")?;
        anthropic::is_told_by(kind).then(|| Words::Messages(Box::default()))
    }

    /// The dialect that `chunk` was read in; none where it may be of any.
    #[must_use]
    pub fn dialect(&self, chunk: &Chunk<'_>) -> Option<Dialect> {
        match &self.0 {
            Words::Untold | Words::Completions => {
                (!chunk.choices.is_empty()).then(|| openai_chat::dialect_of(&chunk.envelope))
            }
            Words::Responses(_) => Some(Dialect::OpenAiResponses),
            Words::Messages(_) => Some(Dialect::Anthropic),
        }
    }

    /// Reads a frame's payload: an event of a stream, or a whole body. `error_field` says that it is the value of
    /// an SSE field named `error`.
    pub fn read<'de>(&mut self, payload: &'de str, error_field: bool) -> Chunk<'de> {
        if matches!(self.0, Words::Untold)
            && let Some(told) = Self::told_by(payload)
        {
            self.0 = told;
        }
        match &mut self.0 {
            Words::Untold | Words::Completions if error_field => {
                openai_chat::read_error_field(payload)
            }
            Words::Untold => {
                let chunk = openai_chat::read(payload);
                if !chunk.choices.is_empty() {
                    self.0 = Words::Completions;
                }
                chunk
            }
            Words::Completions => openai_chat::read(payload),
            Words::Responses(responses) => responses.read(payload),
            Words::Messages(_) => anthropic::read(payload),
        }
    }

    /// Takes note of an event that is sent to the client, as it is sent; only in streams that may be refused.
    pub fn note_sent(&mut self, payload: &[u8]) {
        match &mut self.0 {
            Words::Untold | Words::Completions => {}
            Words::Responses(responses) => {
                responses.sent.note(&String::from_utf8_lossy(payload));
            }
            Words::Messages(sent) => sent.note(&String::from_utf8_lossy(payload)),
        }
    }

    /// The events that end a stream, behind those that were sent.
    #[must_use]
    pub fn stream_end(&self, dialect: Dialect, ending: &Ending<'_>) -> Bytes {
        match &self.0 {
            Words::Untold | Words::Completions => refusal::stream_end(dialect, ending),
            Words::Responses(responses) => responses.sent.end(ending),
            Words::Messages(sent) => sent.end(ending),
        }
    }
}
