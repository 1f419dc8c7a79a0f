//! One conversation with Envoy: what has come of each side, and what it is told.
//!
//! Nothing is read of the conversation before somebody asks for it, so that Envoy's flow control goes through to the
//! client and the model server.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use http::{HeaderMap, HeaderValue, header::CONTENT_LENGTH};
use http_body::{Body, Frame, SizeHint};
use tonic::{Status, Streaming};

use super::{
    fields::{self, Head},
    messages::{
        BodyMutation, BodySendMode, CommonResponse, HeaderMutation, HttpBody, HttpHeaders,
        HttpTrailers, ImmediateResponse, Mutation, Part, PartResponse, ProcessingRequest,
        ProcessingResponse, ProtocolConfiguration, Reply, TrailersResponse,
    },
};

/// The largest piece of a body that Envoy is told at once, as its documentation recommends.
const PIECE: usize = 64 << 10;

/// Whose body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The client's.
    Request,
    /// The model server's.
    Response,
}

/// How a request's body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// In chunks that may be answered in any way at any time.
    Duplex,
    /// As a whole, once its head was answered.
    Buffered,
    /// In chunks, as a copy: nothing is answered.
    Observed,
}

/// What becomes of trailers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trailers {
    /// They go on.
    Kept,
    /// They may tell of bytes that are others now.
    Dropped,
}

/// What has come of one side and was not asked for yet.
#[derive(Debug, Default)]
struct Arrived {
    head: Option<HttpHeaders>,
    /// No body follows the head.
    bodiless: bool,
    pieces: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    /// The trailers, as Envoy waits for their reply.
    unanswered_trailers: Option<HeaderMap>,
    ended: bool,
}

#[derive(Debug)]
struct State {
    inbound: Streaming<ProcessingRequest>,
    manner: Manner,
    request: Arrived,
    response: Arrived,
    /// The request's body, where it comes as a whole.
    whole_request: Bytes,
    replies: VecDeque<ProcessingResponse>,
    /// Envoy says nothing more.
    gone: bool,
    /// Why it cannot be heard any more.
    failure: Option<Status>,
}

/// A conversation, shared by the bodies of its two sides. All of them belong to one task.
#[derive(Clone, Debug)]
pub(super) struct Link(Arc<Mutex<State>>);

/// One side's body as it comes.
#[derive(Debug)]
pub(super) struct Arriving {
    link: Link,
    side: Side,
}

// === impl Link ===

impl Link {
    pub(super) fn new(inbound: Streaming<ProcessingRequest>) -> Self {
        Self(Arc::new(Mutex::new(State {
            inbound,
            manner: Manner::Duplex,
            request: Arrived::default(),
            response: Arrived::default(),
            whole_request: Bytes::new(),
            replies: VecDeque::new(),
            gone: false,
            failure: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether Envoy has ended the conversation.
    pub(super) fn is_gone(&self) -> bool {
        self.state().gone
    }

    /// Whether Envoy takes no reply.
    pub(super) fn is_observed(&self) -> bool {
        self.state().manner == Manner::Observed
    }

    /// One side's body.
    pub(super) fn body(&self, side: Side) -> Arriving {
        Arriving { link: self.clone(), side }
    }

    /// The request's head, with which the conversation begins, or what is wrong with it; nothing where there is none.
    pub(super) fn poll_request_head(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Head, Status>>> {
        let mut state = self.state();
        match ready!(Pin::new(&mut state.inbound).poll_next(context)) {
            Some(Ok(first)) => Poll::Ready(Some(state.begin(first))),
            end => {
                state.failure = end.and_then(Result::err);
                Poll::Ready(None)
            }
        }
    }

    /// The response's head.
    pub(super) fn poll_response_head(&self, context: &mut Context<'_>) -> Poll<Head> {
        let mut state = self.state();
        loop {
            if let Some(head) = state.response.head.take() {
                return Poll::Ready(Head::read(head.headers));
            }
            ready!(state.poll_inbound(context));
        }
    }

    /// Takes in the next part, for whoever asks for it.
    pub(super) fn poll_part(&self, context: &mut Context<'_>) -> Poll<()> {
        self.state().poll_inbound(context)
    }

    /// Throws away what has come of a body that nobody is going to ask for.
    pub(super) fn discard(&self, side: Side) {
        self.state().side(side).pieces.clear();
    }

    /// How this side of a conversation ends that Envoy has ended. To end it well tells Envoy to go on by itself, which
    /// must not follow from a message that could not be read.
    pub(super) fn end(&self) -> Result<(), Status> {
        self.state().failure.take().map_or(Ok(()), Err)
    }

    /// The next thing that Envoy is to be told.
    pub(super) fn next_reply(&self) -> Option<ProcessingResponse> {
        self.state().replies.pop_front()
    }

    /// Whether Envoy is to be told anything.
    pub(super) fn has_replies(&self) -> bool {
        !self.state().replies.is_empty()
    }

    /// Answers a head.
    pub(super) fn tell_head(&self, side: Side, header_mutation: Option<HeaderMutation>) {
        let response = header_mutation.map(|mutation| CommonResponse {
            header_mutation: Some(mutation),
            body_mutation: None,
        });
        let response = PartResponse { response };
        self.tell(match side {
            Side::Request => Reply::RequestHeaders(response),
            Side::Response => Reply::ResponseHeaders(response),
        });
    }

    /// Gives some of a body in the place of what came; `last` says that nothing of it follows.
    pub(super) fn tell_data(&self, side: Side, mut bytes: Bytes, last: bool) {
        let ends = last && self.state().side(side).unanswered_trailers.is_none();
        loop {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            let end_of_stream = ends && bytes.is_empty();
            self.tell_body(side, HttpBody { body: piece, end_of_stream });
            if bytes.is_empty() {
                break;
            }
        }
        if last && !ends {
            self.tell_trailers(side, Trailers::Dropped);
        }
    }

    /// Ends a body of which everything was told.
    pub(super) fn tell_end(&self, side: Side) {
        let (has_trailers, bodiless) = {
            let mut state = self.state();
            let arrived = state.side(side);
            (arrived.unanswered_trailers.is_some(), arrived.bodiless)
        };
        if has_trailers {
            self.tell_trailers(side, Trailers::Dropped);
        } else if !bodiless {
            self.tell_data(side, Bytes::new(), true);
        }
    }

    /// Answers trailers, if some have come.
    pub(super) fn tell_trailers(&self, side: Side, how: Trailers) {
        let Some(trailers) = self.state().side(side).unanswered_trailers.take() else { return };
        let header_mutation = match how {
            Trailers::Kept => None,
            Trailers::Dropped => Some(fields::none_of(&trailers)),
        };
        let response = TrailersResponse { header_mutation };
        self.tell(match side {
            Side::Request => Reply::RequestTrailers(response),
            Side::Response => Reply::ResponseTrailers(response),
        });
    }

    /// Whether the request's body comes as a whole, for which Envoy keeps back the head that was answered before it.
    pub(super) fn awaits_whole_request(&self) -> bool {
        let state = self.state();
        state.manner == Manner::Buffered && !state.request.bodiless
    }

    /// Answers a request's body that came as a whole, and changes the head that Envoy has kept back for it.
    pub(super) fn tell_whole_request(&self, mutation: Option<HeaderMutation>, bytes: Bytes) {
        let changed = self.state().whole_request != bytes;
        let mut header_mutation = mutation;
        let body_mutation = changed.then(|| {
            // Envoy refuses a body that its head does not announce.
            let length = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from(bytes.len()))]);
            let mutation = header_mutation.get_or_insert_default();
            mutation.set_headers.extend(fields::all(&length).set_headers);
            BodyMutation { mutation: Some(Mutation::Body(bytes)) }
        });
        let response = CommonResponse { header_mutation, body_mutation };
        self.tell(Reply::RequestBody(PartResponse { response: Some(response) }));
    }

    /// Answers the client.
    pub(super) fn tell_client(&self, response: ImmediateResponse) {
        self.tell(Reply::Immediate(response));
    }

    fn tell_body(&self, side: Side, piece: HttpBody) {
        let mutation = Some(Mutation::Streamed(piece));
        let body_mutation = Some(BodyMutation { mutation });
        let response = Some(CommonResponse { header_mutation: None, body_mutation });
        self.tell(match side {
            Side::Request => Reply::RequestBody(PartResponse { response }),
            Side::Response => Reply::ResponseBody(PartResponse { response }),
        });
    }

    fn tell(&self, reply: Reply) {
        let mut state = self.state();
        if state.manner != Manner::Observed {
            state.replies.push_back(ProcessingResponse { reply: Some(reply) });
        }
    }
}

// === impl State ===

impl State {
    fn side(&mut self, side: Side) -> &mut Arrived {
        match side {
            Side::Request => &mut self.request,
            Side::Response => &mut self.response,
        }
    }

    /// Reads the message with which the conversation begins.
    fn begin(&mut self, first: ProcessingRequest) -> Result<Head, Status> {
        let modes = first.protocol_config;
        self.manner = manner(modes.as_ref(), first.observability_mode)?;
        let Some(Part::RequestHeaders(head)) = first.part else {
            let reason = "request_header_mode has to be SEND: the request's head comes first";
            return Err(Status::failed_precondition(reason));
        };
        self.request.bodiless = head.end_of_stream;
        self.request.ended = head.end_of_stream;
        Ok(Head::read(head.headers))
    }

    /// Takes in the next message.
    fn poll_inbound(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.gone {
            return Poll::Pending;
        }
        match Pin::new(&mut self.inbound).poll_next(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(message))) => {
                if let Some(part) = message.part {
                    self.take(part);
                }
                Poll::Ready(())
            }
            Poll::Ready(end) => {
                self.gone = true;
                self.failure = end.and_then(Result::err);
                Poll::Pending
            }
        }
    }

    fn take(&mut self, part: Part) {
        match part {
            // The first one was taken already.
            Part::RequestHeaders(_) => {}
            Part::ResponseHeaders(head) => {
                self.response.bodiless = head.end_of_stream;
                self.response.ended = head.end_of_stream;
                self.response.head = Some(head);
            }
            Part::RequestBody(piece) => {
                if self.manner == Manner::Buffered {
                    self.whole_request = piece.body.clone();
                    // Where trailers follow, the whole body has come all the same.
                    self.request.ended = true;
                }
                self.request.take_piece(piece);
            }
            Part::ResponseBody(piece) => self.response.take_piece(piece),
            // The whole body was answered before they were sent, and changing one does not make them wrong.
            Part::RequestTrailers(_) if self.manner == Manner::Buffered => {
                let reply = Some(Reply::RequestTrailers(TrailersResponse::default()));
                self.replies.push_back(ProcessingResponse { reply });
            }
            Part::RequestTrailers(trailers) => self.request.take_trailers(trailers),
            Part::ResponseTrailers(trailers) => self.response.take_trailers(trailers),
        }
    }
}

/// How the request's body is sent, or why bodies that are sent so cannot be guarded.
fn manner(modes: Option<&ProtocolConfiguration>, observed: bool) -> Result<Manner, Status> {
    // Envoy does not tell how bodies are sent where it takes no replies, and other clients of this protocol never do:
    // then it is the one way that can work.
    let only = if observed { BodySendMode::Streamed } else { BodySendMode::FullDuplexStreamed };
    let told =
        |modes: &ProtocolConfiguration| (modes.request_body_mode(), modes.response_body_mode());
    let modes = modes.map_or((only, only), told);
    match (observed, modes) {
        (true, (BodySendMode::Streamed, BodySendMode::Streamed)) => Ok(Manner::Observed),
        (true, _) => Err(Status::failed_precondition(
            "observability_mode needs request_body_mode and response_body_mode STREAMED",
        )),
        (false, (BodySendMode::FullDuplexStreamed, BodySendMode::FullDuplexStreamed)) => {
            Ok(Manner::Duplex)
        }
        (false, (BodySendMode::Buffered, BodySendMode::FullDuplexStreamed)) => Ok(Manner::Buffered),
        (false, _) => Err(Status::failed_precondition(
            "request_body_mode has to be FULL_DUPLEX_STREAMED or BUFFERED, \
             response_body_mode FULL_DUPLEX_STREAMED",
        )),
    }
}

// === impl Arrived ===

impl Arrived {
    fn take_piece(&mut self, piece: HttpBody) {
        if !piece.body.is_empty() {
            self.pieces.push_back(piece.body);
        }
        self.ended |= piece.end_of_stream;
    }

    fn take_trailers(&mut self, trailers: HttpTrailers) {
        let fields = Head::read(trailers.trailers).fields;
        self.trailers = Some(fields.clone());
        self.unanswered_trailers = Some(fields);
        self.ended = true;
    }

    fn next_frame(&mut self) -> Option<Frame<Bytes>> {
        let piece = self.pieces.pop_front().map(Frame::data);
        piece.or_else(|| self.trailers.take().map(Frame::trailers))
    }

    fn is_over(&self) -> bool {
        self.ended && self.pieces.is_empty() && self.trailers.is_none()
    }
}

// === impl Arriving ===

impl Body for Arriving {
    type Data = Bytes;
    type Error = Infallible;

    /// Once Envoy has ended the conversation, nothing comes any more, not even an end.
    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut state = self.link.state();
        loop {
            let arrived = state.side(self.side);
            if let Some(frame) = arrived.next_frame() {
                return Poll::Ready(Some(Ok(frame)));
            }
            if arrived.ended {
                return Poll::Ready(None);
            }
            ready!(state.poll_inbound(context));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.link.state().side(self.side).is_over()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
