//! The wire vocabularies of model servers: a frame's deltas, and how a refusal is written.

pub mod alike;
mod anthropic;
pub mod chunk;
mod cohere;
mod cursor;
mod fields;
mod gemini;
mod json;
mod native_request;
mod ollama;
pub mod openai_chat;
mod openai_responses;
mod pieces;
pub mod refusal;
pub mod request;
pub mod splice;
pub mod steer;
pub mod take_out;
pub mod vocabulary;

use serde::Serialize;

/// A server family's wire vocabulary.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// Chat completions.
    #[serde(rename = "openai_chat")]
    OpenAiChat,
    /// Text completions.
    #[serde(rename = "openai_completions")]
    OpenAiCompletions,
    /// `OpenAI` Responses.
    #[serde(rename = "openai_responses")]
    OpenAiResponses,
    /// Anthropic Messages.
    Anthropic,
    /// Ollama's own.
    Ollama,
    /// Gemini's own.
    Gemini,
    /// Cohere's own, version 2.
    Cohere,
    /// A normalised trace, not a wire.
    Trace,
    /// Not understood: its bytes are counted as unscanned.
    #[default]
    Unknown,
}

/// An inspected endpoint, told by the request's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A path that ends in `/chat/completions`, whatever the prefix.
    ChatCompletions,
    /// A path that ends in `/completions`, whatever the prefix.
    Completions,
    /// A path that ends in `/responses`, whatever the prefix.
    Responses,
    /// A response that was made before, and is fetched or cancelled: `/responses/{id}`, `/responses/{id}/cancel`.
    StoredResponse,
    /// A path that ends in `/v1/messages`, whatever the prefix.
    Messages,
    /// A path that ends in `/api/chat`.
    OllamaChat,
    /// A path that ends in `/api/generate`.
    OllamaGenerate,
    /// A path that ends in `:generateContent`.
    GeminiGenerate,
    /// A path that ends in `:streamGenerateContent`, which is answered with an array that grows.
    GeminiArray,
    /// The same, asked for events (`alt=sse`).
    GeminiEvents,
    /// A path that ends in `/v2/chat`.
    CohereChat,
}

// === impl Dialect ===

impl Dialect {
    /// The dialect's name in metrics and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenAiChat => "openai_chat",
            Self::OpenAiCompletions => "openai_completions",
            Self::OpenAiResponses => "openai_responses",
            Self::Anthropic => "anthropic",
            Self::Ollama => "ollama",
            Self::Gemini => "gemini",
            Self::Cohere => "cohere",
            Self::Trace => "trace",
            Self::Unknown => "unknown",
        }
    }

    /// Whether it is that of chat or text completions, whose streams can be gone on with and added to.
    #[must_use]
    pub const fn is_completions(self) -> bool {
        matches!(self, Self::OpenAiChat | Self::OpenAiCompletions)
    }

    /// The content type of its streams.
    #[must_use]
    pub const fn stream_type(self) -> &'static str {
        match self {
            Self::OpenAiChat
            | Self::OpenAiCompletions
            | Self::OpenAiResponses
            | Self::Anthropic
            | Self::Gemini
            | Self::Cohere
            | Self::Trace
            | Self::Unknown => "text/event-stream",
            Self::Ollama => "application/x-ndjson",
        }
    }

    /// Whether thinking is hidden with its fields, sealed thinking among them. Elsewhere its text is emptied: in a
    /// wire of items and blocks their places must stay, and the seals are needed to go on with the next turn.
    #[must_use]
    pub const fn hides_whole_fields(self) -> bool {
        match self {
            Self::OpenAiChat | Self::OpenAiCompletions | Self::Trace | Self::Unknown => true,
            Self::OpenAiResponses
            | Self::Anthropic
            | Self::Ollama
            | Self::Gemini
            | Self::Cohere => false,
        }
    }

    /// Whether every stream tells its usage, and not only one that was asked for it.
    #[must_use]
    pub const fn tells_usage_unasked(self) -> bool {
        match self {
            Self::OpenAiChat
            | Self::OpenAiCompletions
            | Self::Ollama
            | Self::Trace
            | Self::Unknown => false,
            Self::OpenAiResponses | Self::Anthropic | Self::Gemini | Self::Cohere => true,
        }
    }

    /// What the ids of its responses begin with.
    #[must_use]
    pub const fn id_prefix(self) -> &'static str {
        match self {
            Self::OpenAiCompletions => "cmpl-",
            Self::OpenAiResponses => "resp_",
            Self::Anthropic => "msg_",
            Self::Ollama | Self::Gemini | Self::Cohere => "",
            Self::OpenAiChat | Self::Trace | Self::Unknown => "chatcmpl-",
        }
    }

    /// The request's field that holds the prompt.
    #[must_use]
    pub const fn prompt_field(self) -> &'static str {
        match self {
            Self::OpenAiCompletions => "prompt",
            Self::OpenAiResponses => "input",
            Self::Gemini => "contents",
            Self::OpenAiChat
            | Self::Anthropic
            | Self::Ollama
            | Self::Cohere
            | Self::Trace
            | Self::Unknown => "messages",
        }
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// The endpoint that a request with this method and `path` (without its query) names, if it is an inspected one.
    #[must_use]
    pub fn of_request(method: &str, path: &str) -> Option<Self> {
        match method {
            "POST" => Self::of_path(path),
            "GET" => is_stored_response(path).then_some(Self::StoredResponse),
            _ => None,
        }
    }

    /// The endpoint that is posted to at `path` (without its query), if it is an inspected one.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        let path = path.strip_suffix('/').unwrap_or(path);
        if path.ends_with("/chat/completions") {
            Some(Self::ChatCompletions)
        } else if path.ends_with("/completions") {
            Some(Self::Completions)
        } else if path.ends_with("/responses") {
            Some(Self::Responses)
        } else if path.strip_suffix("/cancel").is_some_and(is_stored_response) {
            Some(Self::StoredResponse)
        } else if path.ends_with("/v1/messages") {
            Some(Self::Messages)
        } else if path.ends_with("/api/chat") {
            Some(Self::OllamaChat)
        } else if path.ends_with("/api/generate") {
            Some(Self::OllamaGenerate)
        } else if path.ends_with(":generateContent") {
            Some(Self::GeminiGenerate)
        } else if path.ends_with(":streamGenerateContent") {
            Some(Self::GeminiArray)
        } else if path.ends_with("/v2/chat") {
            Some(Self::CohereChat)
        } else {
            None
        }
    }

    /// The endpoint as the request's query narrows it down.
    #[must_use]
    pub fn asked(self, query: Option<&str>) -> Self {
        let events = query.is_some_and(|query| query.split('&').any(|pair| pair == "alt=sse"));
        if self == Self::GeminiArray && events { Self::GeminiEvents } else { self }
    }

    /// The dialect that the endpoint speaks.
    #[must_use]
    pub const fn dialect(self) -> Dialect {
        match self {
            Self::ChatCompletions => Dialect::OpenAiChat,
            Self::Completions => Dialect::OpenAiCompletions,
            Self::Responses | Self::StoredResponse => Dialect::OpenAiResponses,
            Self::Messages => Dialect::Anthropic,
            Self::OllamaChat | Self::OllamaGenerate => Dialect::Ollama,
            Self::GeminiGenerate | Self::GeminiArray | Self::GeminiEvents => Dialect::Gemini,
            Self::CohereChat => Dialect::Cohere,
        }
    }

    /// Whether its requests hold a prompt.
    #[must_use]
    pub const fn has_prompt(self) -> bool {
        !matches!(self, Self::StoredResponse)
    }
}

/// Whether a path ends in `/responses/{id}`.
fn is_stored_response(path: &str) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    path.rsplit_once('/').is_some_and(|(before, id)| {
        before.ends_with("/responses")
            && !id.is_empty()
            && !matches!(id, "input_tokens" | "compact")
    })
}

/// The text of a JSON string token, as [`chunk::Piece`]s carry it.
#[must_use]
pub fn text_of_token(token: &str) -> Option<std::borrow::Cow<'_, str>> {
    json::string(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_told_by_its_method_and_the_end_of_its_path() {
        for (request, endpoint) in [
            ("POST /v1/chat/completions", Some(Endpoint::ChatCompletions)),
            ("POST /openai/deployments/x/completions/", Some(Endpoint::Completions)),
            ("POST /v1/responses", Some(Endpoint::Responses)),
            ("GET /v1/responses/resp_1", Some(Endpoint::StoredResponse)),
            ("POST /v1/responses/resp_1/cancel", Some(Endpoint::StoredResponse)),
            ("POST /anthropic/v1/messages", Some(Endpoint::Messages)),
            ("GET /v1/responses", None),
            ("GET /v1/responses/resp_1/input_items", None),
            ("DELETE /v1/responses/resp_1", None),
            ("POST /v1/responses/input_tokens", None),
            ("POST /v1/messages/count_tokens", None),
            ("POST /v1/threads/t/messages", None),
            ("GET /v1/chat/completions", None),
        ] {
            let (method, path) = request.split_once(' ').unwrap();
            assert_eq!(Endpoint::of_request(method, path), endpoint, "{request}");
        }
    }
}
