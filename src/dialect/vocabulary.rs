//! What a session remembers of its wire: which dialect it is, what was read of it, what its client was sent.
//!
//! In: the frames of one response in order, and those that reached the client. Out: what each says, and how the
//! response ends when it is refused. A completion's frames stand for themselves, so that nothing is remembered of
//! them; a dialect that has to remember boxes its state.

use bytes::Bytes;

use super::{
    Dialect, Endpoint,
    chunk::{Chunk, Envelope},
    openai_chat,
    refusal::{self, Ending},
};

/// A session's way with its wire.
#[derive(Debug, Default)]
pub enum Vocabulary {
    /// Not told yet: the body came without a path. Completions are expected until a frame tells something else.
    #[default]
    Untold,
    /// Chat or text completions.
    Completions,
}

// === impl Vocabulary ===

impl Vocabulary {
    /// The vocabulary of an endpoint's responses; without one, the first frame that tells it decides.
    #[must_use]
    pub const fn of(endpoint: Option<Endpoint>) -> Self {
        match endpoint {
            None => Self::Untold,
            Some(Endpoint::ChatCompletions | Endpoint::Completions) => Self::Completions,
        }
    }

    /// The dialect, once something of it was read.
    #[must_use]
    pub fn dialect(&self, envelope: &Envelope<'_>) -> Dialect {
        match self {
            Self::Untold | Self::Completions => openai_chat::dialect_of(envelope),
        }
    }

    /// Reads a frame's payload: an event of a stream, or a whole body. `error_field` says that it is the value of
    /// an SSE field named `error`.
    pub fn read<'de>(&mut self, payload: &'de str, error_field: bool) -> Chunk<'de> {
        match self {
            Self::Untold | Self::Completions if error_field => {
                openai_chat::read_error_field(payload)
            }
            Self::Untold => {
                let chunk = openai_chat::read(payload);
                if !chunk.choices.is_empty() {
                    *self = Self::Completions;
                }
                chunk
            }
            Self::Completions => openai_chat::read(payload),
        }
    }

    /// Takes note of an event that is sent to the client, as it is sent; only in streams that may be refused.
    pub fn note_sent(&mut self, _payload: &[u8]) {
        match self {
            Self::Untold | Self::Completions => {}
        }
    }

    /// The events that end a stream, behind those that were sent.
    #[must_use]
    pub fn stream_end(&self, dialect: Dialect, ending: &Ending<'_>) -> Bytes {
        match self {
            Self::Untold | Self::Completions => refusal::stream_end(dialect, ending),
        }
    }
}
