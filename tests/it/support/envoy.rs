//! What an Envoy says to its external processor, without an Envoy.

use std::{
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;
use http::uri::PathAndQuery;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use thinkgate::extproc::messages::{
    BodySendMode, HeaderMap, HeaderMutation, HeaderValue, HttpBody, HttpHeaders, HttpTrailers,
    ImmediateResponse, Mutation, Part, PartResponse, ProcessingRequest, ProcessingResponse,
    ProtocolConfiguration, Reply,
};
use tokio::sync::mpsc;
use tonic::{Status, Streaming, client::Grpc};
use tonic_prost::ProstCodec;

use super::soon;

const PROCESS: &str = "/envoy.service.ext_proc.v3.ExternalProcessor/Process";

/// How Envoy's filter is configured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filter {
    pub(crate) request: BodySendMode,
    pub(crate) response: BodySendMode,
    pub(crate) observes: bool,
}

/// An Envoy's connection.
#[derive(Clone, Debug)]
pub(crate) struct Envoy {
    client: Grpc<Client<HttpConnector, tonic::body::Body>>,
    pub(crate) filter: Filter,
}

/// One exchange's conversation.
#[derive(Debug)]
pub(crate) struct Conversation {
    parts: Option<mpsc::UnboundedSender<ProcessingRequest>>,
    replies: Streaming<ProcessingResponse>,
    filter: Filter,
    begun: bool,
}

/// A message as Envoy would forward it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Forwarded {
    pub(crate) changes: Option<HeaderMutation>,
    pub(crate) body: Vec<u8>,
    /// The names of trailers that were taken out, where there were trailers.
    pub(crate) without_trailers: Option<Vec<String>>,
}

struct Sent(mpsc::UnboundedReceiver<ProcessingRequest>);

impl Stream for Sent {
    type Item = ProcessingRequest;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<ProcessingRequest>> {
        self.0.poll_recv(context)
    }
}

// === impl Filter ===

impl Filter {
    pub(crate) const DUPLEX: Self = Self {
        request: BodySendMode::FullDuplexStreamed,
        response: BodySendMode::FullDuplexStreamed,
        observes: false,
    };
    pub(crate) const BUFFERED: Self = Self { request: BodySendMode::Buffered, ..Self::DUPLEX };
    pub(crate) const OBSERVING: Self =
        Self { request: BodySendMode::Streamed, response: BodySendMode::Streamed, observes: true };
}

// === impl Envoy ===

impl Envoy {
    pub(crate) fn of(address: SocketAddr) -> Self {
        let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        let origin = format!("http://{address}").parse().expect("an address");
        Self { client: Grpc::with_origin(client, origin), filter: Filter::DUPLEX }
    }

    pub(crate) fn with(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    pub(crate) async fn open(&self) -> Conversation {
        let (parts, sent) = mpsc::unbounded_channel();
        let mut client = self.client.clone();
        client.ready().await.expect("a client");
        let call = client.streaming(
            tonic::Request::new(Sent(sent)),
            PathAndQuery::from_static(PROCESS),
            ProstCodec::default(),
        );
        let replies = soon("a conversation", call).await.expect("a stream").into_inner();
        Conversation { parts: Some(parts), replies, filter: self.filter, begun: false }
    }

    /// A conversation of which the request has been sent.
    pub(crate) async fn post(&self, path: &str, body: &str) -> Conversation {
        let mut conversation = self.open().await;
        conversation.request_head("POST", path, false);
        conversation.say(Part::RequestBody(piece(body.as_bytes(), true)));
        conversation
    }

    /// One whose request has been let go on as it came.
    pub(crate) async fn chat(&self) -> Conversation {
        let body = r#"{"model":"m","messages":[]}"#;
        let mut conversation = self.post("/v1/chat/completions", body).await;
        assert_eq!(conversation.request().await.body, body.as_bytes());
        conversation
    }
}

// === impl Conversation ===

impl Conversation {
    pub(crate) fn say(&mut self, part: Part) {
        let modes = ProtocolConfiguration {
            request_body_mode: self.filter.request.into(),
            response_body_mode: self.filter.response.into(),
        };
        // Where it only shows, Envoy does not say how.
        let tells = !std::mem::replace(&mut self.begun, true) && !self.filter.observes;
        let protocol_config = tells.then_some(modes);
        let message = ProcessingRequest {
            part: Some(part),
            observability_mode: self.filter.observes,
            protocol_config,
        };
        drop(self.parts.as_ref().expect("an open conversation").send(message));
    }

    pub(crate) fn request_head(&mut self, method: &str, path: &str, end_of_stream: bool) {
        let fields = [
            (":method", method),
            (":path", path),
            (":authority", "gate"),
            ("accept-encoding", "gzip"),
            ("x-request-id", "mine"),
        ];
        self.say(Part::RequestHeaders(head(&fields, end_of_stream)));
    }

    /// Says the response's head: a status of 200, and these fields.
    pub(crate) fn response_head(&mut self, fields: &[(&str, &str)]) {
        let fields = [&[(":status", "200"), ("x-request-id", "mine")], fields].concat();
        self.say(Part::ResponseHeaders(head(&fields, false)));
    }

    pub(crate) fn events(&mut self) {
        self.response_head(&[("content-type", "text/event-stream")]);
    }

    /// Says a response that has no body.
    pub(crate) fn bodiless_response(&mut self) {
        self.say(Part::ResponseHeaders(head(&[(":status", "204")], true)));
    }

    pub(crate) fn chunk(&mut self, bytes: impl AsRef<[u8]>) {
        self.say(Part::ResponseBody(piece(bytes.as_ref(), false)));
    }

    pub(crate) fn end(&mut self) {
        self.say(Part::ResponseBody(piece(b"", true)));
    }

    pub(crate) fn trailers(&mut self, fields: &[(&str, &str)]) {
        let trailers = head(fields, false).headers;
        self.say(Part::ResponseTrailers(HttpTrailers { trailers }));
    }

    pub(crate) fn request_trailers(&mut self, fields: &[(&str, &str)]) {
        let trailers = head(fields, false).headers;
        self.say(Part::RequestTrailers(HttpTrailers { trailers }));
    }

    /// Says no more, as Envoy does at the end of every exchange.
    pub(crate) fn hang_up(&mut self) {
        self.parts = None;
    }

    /// The next reply; nothing at the conversation's end.
    pub(crate) async fn reply(&mut self) -> Result<Option<Reply>, Status> {
        let next = soon("a reply", self.replies.message()).await?;
        Ok(next.map(|response| response.reply.expect("a reply")))
    }

    /// Whether thinkgate has nothing more to say and ends the conversation well, once this side has.
    pub(crate) async fn ends(mut self) -> bool {
        self.hang_up();
        matches!(self.reply().await, Ok(None))
    }

    /// The request as it goes on.
    pub(crate) async fn request(&mut self) -> Forwarded {
        let mut forwarded = Forwarded::default();
        loop {
            match self.reply().await.expect("a reply").expect("more replies") {
                Reply::RequestHeaders(part) => forwarded.changes = changes(&part),
                Reply::RequestBody(part) if self.filter.request == BodySendMode::Buffered => {
                    forwarded.changes = changes(&part);
                    if let Some(Mutation::Body(body)) = mutation(part) {
                        forwarded.body = body.to_vec();
                    }
                    return forwarded;
                }
                Reply::RequestBody(part) if forwarded.takes(&part) => return forwarded,
                Reply::RequestBody(_) => {}
                other => panic!("{other:?} in place of the request"),
            }
        }
    }

    /// The response as it goes on.
    pub(crate) async fn response(&mut self) -> Forwarded {
        let mut forwarded =
            Forwarded { changes: self.response_changes().await, ..Forwarded::default() };
        loop {
            match self.reply().await.expect("a reply").expect("more replies") {
                Reply::ResponseBody(part) if forwarded.takes(&part) => return forwarded,
                Reply::ResponseBody(_) => {}
                Reply::ResponseTrailers(trailers) => {
                    let changes = trailers.header_mutation.unwrap_or_default();
                    forwarded.without_trailers = Some(changes.remove_headers);
                    return forwarded;
                }
                other => panic!("{other:?} in place of the response"),
            }
        }
    }

    /// What changes in the response's head.
    pub(crate) async fn response_changes(&mut self) -> Option<HeaderMutation> {
        match self.reply().await.expect("a reply") {
            Some(Reply::ResponseHeaders(part)) => changes(&part),
            other => panic!("{other:?} in place of a head"),
        }
    }

    /// The next piece of the response's body.
    pub(crate) async fn piece(&mut self) -> HttpBody {
        match self.reply().await.expect("a reply") {
            Some(Reply::ResponseBody(part)) => streamed(part),
            other => panic!("{other:?} in place of a piece"),
        }
    }

    /// The answer that the client gets at once.
    pub(crate) async fn immediate(&mut self) -> ImmediateResponse {
        match self.reply().await.expect("a reply") {
            Some(Reply::Immediate(response)) => response,
            other => panic!("{other:?} in place of an answer"),
        }
    }
}

// === impl Forwarded ===

impl Forwarded {
    /// Takes a piece; whether it is the last.
    fn takes(&mut self, part: &PartResponse) -> bool {
        assert!(changes(part).is_none(), "a head cannot be changed any more");
        let piece = streamed(part.clone());
        self.body.extend_from_slice(&piece.body);
        piece.end_of_stream
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// The names of the fields that are taken out, sorted.
    pub(crate) fn removed(&self) -> Vec<&str> {
        let changes = self.changes.as_ref();
        let mut names: Vec<&str> = changes
            .iter()
            .flat_map(|changes| &changes.remove_headers)
            .map(String::as_str)
            .collect();
        names.sort_unstable();
        names
    }

    /// The fields that are set.
    pub(crate) fn set(&self) -> Vec<(&str, &str)> {
        let set = self.changes.iter().flat_map(|changes| &changes.set_headers);
        set.filter_map(|option| option.header.as_ref())
            .map(|field| (field.key.as_str(), std::str::from_utf8(&field.raw_value).expect("text")))
            .collect()
    }
}

pub(crate) fn piece(bytes: &[u8], end_of_stream: bool) -> HttpBody {
    HttpBody { body: Bytes::copy_from_slice(bytes), end_of_stream }
}

fn head(fields: &[(&str, &str)], end_of_stream: bool) -> HttpHeaders {
    let headers = fields.iter().map(|(key, value)| HeaderValue {
        key: (*key).to_owned(),
        value: String::new(),
        raw_value: Bytes::copy_from_slice(value.as_bytes()),
    });
    HttpHeaders { headers: Some(HeaderMap { headers: headers.collect() }), end_of_stream }
}

fn changes(part: &PartResponse) -> Option<HeaderMutation> {
    part.response.as_ref()?.header_mutation.clone()
}

fn mutation(part: PartResponse) -> Option<Mutation> {
    part.response?.body_mutation?.mutation
}

fn streamed(part: PartResponse) -> HttpBody {
    match mutation(part) {
        Some(Mutation::Streamed(piece)) => piece,
        other => panic!("{other:?} in place of a piece"),
    }
}
