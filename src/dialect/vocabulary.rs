//! What a session remembers of its wire: which dialect it is, what was read of it, what its client was sent.
//!
//! In: the frames of one response in order, and those that reached the client. Out: what each says, and how the
//! response ends when it is refused. A completion's frames stand for themselves, so that nothing is remembered of
//! them; a dialect that has to remember boxes its state.

use bytes::Bytes;

use super::{
    Dialect, Endpoint, anthropic,
    chunk::Chunk,
    cohere,
    fields::Fields,
    gemini::{self, Gemini},
    ollama::{self, Ollama, Shape},
    openai_chat,
    openai_responses::{self, Responses},
    refusal::{self, Ending, Identity},
};
use crate::wire::Framing;

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
    /// Ollama's own.
    Ollama(Ollama),
    /// Gemini's own.
    Gemini(Box<Gemini>),
    /// Cohere's own.
    Cohere(Box<cohere::Sent>),
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
            Some(Endpoint::OllamaChat) => Words::Ollama(Ollama::new(Shape::Chat)),
            Some(Endpoint::OllamaGenerate) => Words::Ollama(Ollama::new(Shape::Generate)),
            Some(Endpoint::GeminiGenerate | Endpoint::GeminiEvents) => {
                Words::Gemini(Box::default())
            }
            Some(Endpoint::GeminiArray) => Words::Gemini(Box::new(Gemini::framed(Framing::Array))),
            Some(Endpoint::CohereChat) => Words::Cohere(Box::default()),
        })
    }

    /// The vocabulary of the dialect that a frame tells beyond doubt; completions have no such mark.
    fn told_by(payload: &str) -> Option<Words> {
        let fields = Fields::read(payload);
        if openai_responses::is_told_by(&fields) {
            return Some(Words::Responses(Box::default()));
        }
        if let Some(kind) = fields.get("type") {
            return if anthropic::is_told_by(kind) {
                Some(Words::Messages(Box::default()))
            } else {
                cohere::is_told_by(kind).then(|| Words::Cohere(Box::default()))
            };
        }
        let has = |key: &str| fields.get(key).is_some();
        if let Some(shape) = ollama::shape_of(&has) {
            Some(Words::Ollama(Ollama::new(shape)))
        } else if gemini::is_told_by(&has) {
            Some(Words::Gemini(Box::default()))
        } else {
            cohere::is_whole(&has).then(|| Words::Cohere(Box::default()))
        }
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
            Words::Ollama(_) => Some(Dialect::Ollama),
            Words::Gemini(_) => Some(Dialect::Gemini),
            Words::Cohere(_) => Some(Dialect::Cohere),
        }
    }

    /// Takes note of how the body is cut into frames.
    pub fn note_framing(&mut self, framing: Framing) {
        if let Words::Gemini(gemini) = &mut self.0 {
            gemini.note_framing(framing);
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
            Words::Ollama(ollama) => ollama.read(payload),
            Words::Gemini(gemini) => gemini.read(payload),
            Words::Cohere(_) => cohere::read(payload),
        }
    }

    /// Takes note of text of payloads that are [`Alike`](super::alike::Alike) the one that was read last.
    pub fn go_on(&mut self, text: &str) {
        // The others remember nothing of a text.
        if let Words::Responses(responses) = &mut self.0 {
            responses.go_on(text);
        }
    }

    /// Takes note of an event that is sent to the client, as it is sent; only in streams that may be refused.
    pub fn note_sent(&mut self, payload: &[u8]) {
        match &mut self.0 {
            Words::Untold | Words::Completions | Words::Ollama(_) => {}
            Words::Responses(responses) => {
                responses.sent.note(&String::from_utf8_lossy(payload));
            }
            Words::Messages(sent) => sent.note(&String::from_utf8_lossy(payload)),
            Words::Gemini(gemini) => gemini.note_sent(payload),
            Words::Cohere(sent) => sent.note(&String::from_utf8_lossy(payload)),
        }
    }

    /// The events that end a stream, behind those that were sent.
    #[must_use]
    pub fn stream_end(&self, dialect: Dialect, ending: &Ending<'_>) -> Bytes {
        match &self.0 {
            Words::Untold | Words::Completions => refusal::stream_end(dialect, ending),
            Words::Responses(responses) => responses.sent.end(ending),
            Words::Messages(sent) => sent.end(ending),
            Words::Ollama(ollama) => ollama.end(ending),
            Words::Gemini(gemini) => gemini.end(ending),
            Words::Cohere(sent) => sent.end(ending),
        }
    }

    /// A whole body in which every choice holds the notice.
    #[must_use]
    pub fn whole_body(
        &self,
        dialect: Dialect,
        identity: &Identity,
        choices: &[u32],
        notice: &str,
        usage: Option<&str>,
    ) -> Bytes {
        match &self.0 {
            Words::Ollama(ollama) => ollama.whole_body(identity, notice),
            Words::Untold
            | Words::Completions
            | Words::Responses(_)
            | Words::Messages(_)
            | Words::Gemini(_)
            | Words::Cohere(_) => refusal::whole_body(dialect, identity, choices, notice, usage),
        }
    }

    /// The content type of the dialect's streams.
    #[must_use]
    pub const fn stream_type(&self, dialect: Dialect) -> &'static str {
        match &self.0 {
            Words::Gemini(gemini) => gemini.stream_type(),
            Words::Untold
            | Words::Completions
            | Words::Responses(_)
            | Words::Messages(_)
            | Words::Ollama(_)
            | Words::Cohere(_) => dialect.stream_type(),
        }
    }
}
