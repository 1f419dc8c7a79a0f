//! Envoy's messages, as far as they are used: `envoy.service.ext_proc.v3` and what it takes from other packages.
//!
//! Declared here rather than taken from a crate of all of Envoy's types: that is ninety thousand lines to compile, and it
//! copies every chunk of a body. Fields that are not named here (metadata, attributes) are skipped without being read.

use bytes::Bytes;

/// What Envoy sends: one part of a request or a response.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ProcessingRequest {
    /// The part.
    #[prost(oneof = "Part", tags = "2, 3, 4, 5, 6, 7")]
    pub part: Option<Part>,
    /// Envoy waits for no reply and ignores what comes.
    #[prost(bool, tag = "10")]
    pub observability_mode: bool,
    /// How bodies are sent; only in the first message, and not by every version.
    #[prost(message, optional, tag = "11")]
    pub protocol_config: Option<ProtocolConfiguration>,
}

/// A part of a request or a response.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Part {
    /// The request's head.
    #[prost(message, tag = "2")]
    RequestHeaders(HttpHeaders),
    /// The response's head.
    #[prost(message, tag = "3")]
    ResponseHeaders(HttpHeaders),
    /// Some of the request's body.
    #[prost(message, tag = "4")]
    RequestBody(HttpBody),
    /// Some of the response's body.
    #[prost(message, tag = "5")]
    ResponseBody(HttpBody),
    /// The request's trailers, which end it.
    #[prost(message, tag = "6")]
    RequestTrailers(HttpTrailers),
    /// The response's trailers, which end it.
    #[prost(message, tag = "7")]
    ResponseTrailers(HttpTrailers),
}

/// How Envoy's filter is configured.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct ProtocolConfiguration {
    /// How it sends the request's body.
    #[prost(enumeration = "BodySendMode", tag = "1")]
    pub request_body_mode: i32,
    /// How it sends the response's body.
    #[prost(enumeration = "BodySendMode", tag = "2")]
    pub response_body_mode: i32,
}

/// How a body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum BodySendMode {
    /// Not at all.
    None = 0,
    /// Chunk by chunk, each of which waits for its reply.
    Streamed = 1,
    /// As a whole.
    Buffered = 2,
    /// As a whole, up to Envoy's limit; the rest is not sent.
    BufferedPartial = 3,
    /// Chunk by chunk, and back in chunks of any size at any time.
    FullDuplexStreamed = 4,
    /// Message by message of a gRPC call.
    Grpc = 5,
}

/// A head.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HttpHeaders {
    /// The fields, pseudo-fields among them.
    #[prost(message, optional, tag = "1")]
    pub headers: Option<HeaderMap>,
    /// No body follows.
    #[prost(bool, tag = "3")]
    pub end_of_stream: bool,
}

/// Some of a body.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct HttpBody {
    /// The bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub body: Bytes,
    /// Neither more of it nor trailers follow.
    #[prost(bool, tag = "2")]
    pub end_of_stream: bool,
}

/// Trailers.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HttpTrailers {
    /// The fields.
    #[prost(message, optional, tag = "1")]
    pub trailers: Option<HeaderMap>,
}

/// Fields in their order.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HeaderMap {
    /// The fields.
    #[prost(message, repeated, tag = "1")]
    pub headers: Vec<HeaderValue>,
}

/// A field.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct HeaderValue {
    /// Its name, in lower case.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Its value, from versions that send it as text.
    #[prost(string, tag = "2")]
    pub value: String,
    /// Its value.
    #[prost(bytes = "bytes", tag = "3")]
    pub raw_value: Bytes,
}

/// What Envoy is told.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ProcessingResponse {
    /// What to do with a part.
    #[prost(oneof = "Reply", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub reply: Option<Reply>,
}

/// What to do with a part.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Reply {
    /// With the request's head.
    #[prost(message, tag = "1")]
    RequestHeaders(PartResponse),
    /// With the response's head.
    #[prost(message, tag = "2")]
    ResponseHeaders(PartResponse),
    /// With the request's body.
    #[prost(message, tag = "3")]
    RequestBody(PartResponse),
    /// With the response's body.
    #[prost(message, tag = "4")]
    ResponseBody(PartResponse),
    /// With the request's trailers.
    #[prost(message, tag = "5")]
    RequestTrailers(TrailersResponse),
    /// With the response's trailers.
    #[prost(message, tag = "6")]
    ResponseTrailers(TrailersResponse),
    /// With the client: it gets this answer.
    #[prost(message, tag = "7")]
    Immediate(ImmediateResponse),
}

/// `HeadersResponse` and `BodyResponse`, which look alike.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PartResponse {
    /// What changes; nothing where absent.
    #[prost(message, optional, tag = "1")]
    pub response: Option<CommonResponse>,
}

/// What changes in a head or a body.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CommonResponse {
    /// In its head.
    #[prost(message, optional, tag = "2")]
    pub header_mutation: Option<HeaderMutation>,
    /// In its body.
    #[prost(message, optional, tag = "3")]
    pub body_mutation: Option<BodyMutation>,
}

/// What changes in trailers.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TrailersResponse {
    /// The changes.
    #[prost(message, optional, tag = "1")]
    pub header_mutation: Option<HeaderMutation>,
}

/// Fields that are set and removed.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HeaderMutation {
    /// What is set.
    #[prost(message, repeated, tag = "1")]
    pub set_headers: Vec<HeaderValueOption>,
    /// Names of what is removed.
    #[prost(string, repeated, tag = "2")]
    pub remove_headers: Vec<String>,
}

/// A field that is set.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HeaderValueOption {
    /// The field.
    #[prost(message, optional, tag = "1")]
    pub header: Option<HeaderValue>,
    /// What becomes of fields of the same name.
    #[prost(enumeration = "AppendAction", tag = "3")]
    pub append_action: i32,
}

/// What becomes of fields of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum AppendAction {
    /// They stay, and this is another one.
    AppendIfExistsOrAdd = 0,
    /// They stay, and this is dropped.
    AddIfAbsent = 1,
    /// They go.
    OverwriteIfExistsOrAdd = 2,
}

/// A body's bytes, in place of those that came.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct BodyMutation {
    /// The bytes.
    #[prost(oneof = "Mutation", tags = "1, 3")]
    pub mutation: Option<Mutation>,
}

/// A body's bytes.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum Mutation {
    /// All of them, for a body that came as a whole.
    #[prost(bytes = "bytes", tag = "1")]
    Body(Bytes),
    /// Some of them, for one that comes in full duplex; its shape is that of [`HttpBody`].
    #[prost(message, tag = "3")]
    Streamed(HttpBody),
}

/// An answer of our own.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ImmediateResponse {
    /// The status.
    #[prost(message, optional, tag = "1")]
    pub status: Option<HttpStatus>,
    /// The fields beside those that Envoy sets.
    #[prost(message, optional, tag = "2")]
    pub headers: Option<HeaderMutation>,
    /// The body.
    #[prost(bytes = "bytes", tag = "3")]
    pub body: Bytes,
    /// What Envoy's access log says of it.
    #[prost(string, tag = "5")]
    pub details: String,
}

/// A status.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct HttpStatus {
    /// The code.
    #[prost(int32, tag = "1")]
    pub code: i32,
}
