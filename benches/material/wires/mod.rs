//! What a stream looks like on each wire: sizes and order of the events are those of recorded streams.

mod chat;
mod messages;
mod ollama;
mod responses;

use std::fmt;

use clap::ValueEnum;

/// The wire that a model server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wire {
    /// Chat completions, with `reasoning_content`
    Chat,
    /// `OpenAI` Responses, with a reasoning summary
    Responses,
    /// Anthropic Messages, with a thinking block
    Messages,
    /// Ollama's `/api/chat`, with `message.thinking`
    Ollama,
}

/// How a wire's requests and events are written. Text is a JSON string, quotes included.
pub(crate) trait Shape: Sync {
    /// Where is asked.
    fn path(&self) -> &'static str;

    /// What is asked.
    fn request(&self) -> &'static str;

    /// The content type of the answer.
    fn content_type(&self) -> &'static str {
        "text/event-stream; charset=utf-8"
    }

    /// What stands before the time in a token's event, and nowhere else in the stream.
    fn before_stamp(&self) -> &'static str;

    /// What ends an event.
    fn end_of_event(&self) -> &'static str {
        "\n\n"
    }

    /// The events before the first token.
    fn opening(&self) -> String {
        String::new()
    }

    /// The event of one token.
    fn token(&self, token: &Token<'_>) -> String;

    /// The events between the last token of the thinking and the first of the answer.
    fn seam(&self, _whole: &Whole) -> String {
        String::new()
    }

    /// The events behind the last token.
    fn ending(&self, whole: &Whole) -> String;
}

/// One token of a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'t> {
    /// Whether it is thought or said.
    pub(crate) is_thinking: bool,
    /// Its text.
    pub(crate) text: &'t str,
    /// How many came before it.
    pub(crate) position: u64,
    /// When it is sent, in nanoseconds since 1970.
    pub(crate) stamp: u64,
}

/// All that a stream brings.
#[derive(Clone, Debug)]
pub(crate) struct Whole {
    /// The thinking's text.
    pub(crate) thinking: String,
    /// The answer's text.
    pub(crate) answer: String,
    /// Tokens of the thinking.
    pub(crate) thinking_tokens: u64,
    /// Tokens of both.
    pub(crate) tokens: u64,
}

// === impl Wire ===

impl Wire {
    /// How it is written.
    pub(crate) fn shape(self) -> &'static dyn Shape {
        match self {
            Self::Chat => &chat::Chat,
            Self::Responses => &responses::Responses,
            Self::Messages => &messages::Messages,
            Self::Ollama => &ollama::Ollama,
        }
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.to_possible_value().unwrap().get_name())
    }
}
