//! One exchange on its way through Envoy, from the request's head to Envoy's last word.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header::ACCEPT_ENCODING,
    response::Parts,
};
use http_body_util::{BodyExt, Collected, Full};
use tonic::{Status, Streaming};

use super::{
    fields::{self, Head},
    link::{Arriving, Link, Side},
    messages::{HttpStatus, ImmediateResponse, ProcessingRequest, ProcessingResponse},
    relay::{Relay, Upload},
};
use crate::{
    channel::Channel,
    config::Route,
    proxy::{BodyError, CurrentProxy, Failure, Proxy, RequestBody, ResponseBody, Upstream},
    record::metrics::{ErrorKind, ErrorSource},
};

/// What Envoy's access log says of an answer that thinkgate gave.
const DETAILS: &str = "thinkgate";

/// What Envoy is told, for as long as it says something. Dropped before, its exchange is one whose client went away.
pub(super) struct Replies {
    link: Link,
    work: Option<Work>,
    /// With what the conversation ends, behind all that was told.
    failure: Option<Status>,
}

/// The guarding of an exchange, which ends with an error where Envoy shall take it for failed.
type Work = Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>;

/// The model server, as it can be reached by way of Envoy.
struct BehindEnvoy {
    link: Link,
    /// The request's fields as they came.
    request_fields: HeaderMap,
    upload: Upload,
    /// The response's fields as they came.
    response_fields: HeaderMap,
}

// === impl Replies ===

impl Replies {
    pub(super) fn new(proxies: &Arc<CurrentProxy>, inbound: Streaming<ProcessingRequest>) -> Self {
        let link = Link::new(inbound);
        let work = process(Arc::clone(proxies), link.clone());
        Self { link, work: Some(Box::pin(work)), failure: None }
    }
}

impl Stream for Replies {
    type Item = Result<ProcessingResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(reply) = self.link.next_reply() {
                return Poll::Ready(Some(Ok(reply)));
            }
            let Some(work) = &mut self.work else {
                return Poll::Ready(self.failure.take().map(Err));
            };
            match work.as_mut().poll(context) {
                Poll::Ready(outcome) => {
                    self.work = None;
                    self.failure = outcome.err();
                }
                Poll::Pending => match self.link.next_reply() {
                    Some(reply) => return Poll::Ready(Some(Ok(reply))),
                    None => return Poll::Pending,
                },
            }
        }
    }
}

/// Guards the exchange of one conversation.
async fn process(proxies: Arc<CurrentProxy>, link: Link) -> Result<(), Status> {
    let Some(head) = poll_fn(|context| link.poll_request_head(context)).await else {
        return link.end();
    };
    let proxy = proxies.now();
    let head = head.inspect_err(|status| complain(&proxy, status))?;
    let Ok(request) = request(&head, link.body(Side::Request)) else {
        link.tell_client(immediate(StatusCode::BAD_REQUEST, &HeaderMap::new(), Bytes::new()));
        return finish(&link, Upload::Over).await;
    };
    if link.is_observed() && may_act(&proxy, request.uri().path()) {
        let reason =
            "observability_mode lets everything pass: its routes have to be in shadow mode";
        let status = Status::failed_precondition(reason);
        complain(&proxy, &status);
        return Err(status);
    }
    if link.awaits_whole_request() {
        link.tell_head(Side::Request, None);
    }
    let mut upstream = BehindEnvoy {
        link: link.clone(),
        request_fields: head.fields,
        upload: Upload::Over,
        response_fields: HeaderMap::new(),
    };
    let Some(response) = until_gone(&link, proxy.answer(request, &mut upstream)).await else {
        return link.end();
    };
    let mut upload = upstream.upload;
    let (parts, body) = response.into_parts();
    match body {
        ResponseBody::Local(body) => link.tell_client(local(&parts, body).await),
        body @ (ResponseBody::Whole(_) | ResponseBody::Upstream(_)) => {
            let changes = fields::changes(&upstream.response_fields, &parts.headers);
            link.tell_head(Side::Response, changes);
            if let Some(told) = until_gone(&link, respond(&link, body, &mut upload)).await {
                told.map_err(|error| Status::unavailable(error.to_string()))?;
            }
        }
    }
    finish(&link, upload).await
}

/// Tells the response's body, and what is left of the request's.
async fn respond(
    link: &Link,
    body: ResponseBody<Arriving>,
    upload: &mut Upload,
) -> Result<(), BodyError> {
    let mut relay = Relay::new(link.clone(), Side::Response, body);
    poll_fn(|context| {
        upload.poll(context);
        relay.poll(context)
    })
    .await
}

/// Waits for the end of a conversation whose exchange is over. Ending it first would leave what still comes of the
/// response to Envoy, and behind a cut that is what must not pass.
async fn finish(link: &Link, mut upload: Upload) -> Result<(), Status> {
    let discarding = poll_fn::<Infallible, _>(|context| {
        loop {
            upload.poll(context);
            if upload.is_over() {
                link.discard(Side::Request);
            }
            link.discard(Side::Response);
            ready!(link.poll_part(context));
        }
    });
    until_gone(link, discarding).await;
    link.end()
}

/// What `work` comes to; nothing once Envoy has ended the conversation.
async fn until_gone<W: Future>(link: &Link, work: W) -> Option<W::Output> {
    let mut work = pin!(work);
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if link.is_gone() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// The request that a head begins; none where its method or its path is none of HTTP's.
fn request(head: &Head, body: Arriving) -> Result<Request<Arriving>, http::Error> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::from_bytes(head.method.as_bytes())?;
    if *request.method() != Method::CONNECT {
        *request.uri_mut() = head.path.parse()?;
    }
    *request.headers_mut() = head.fields.clone();
    Ok(request)
}

/// Whether something may be carried out for this path.
fn may_act(proxy: &Proxy, path: &str) -> bool {
    let plan = &proxy.route(path).plan;
    Channel::ALL.into_iter().any(|channel| plan.policy().may_enforce(channel))
}

/// Tells the operator why conversations with this Envoy cannot be held.
fn complain(proxy: &Proxy, status: &Status) {
    proxy.metrics.note_error(ErrorSource::Downstream, ErrorKind::Request);
    tracing::error!(code = "ext_proc_refused", reason = status.message());
}

async fn local(parts: &Parts, body: Full<Bytes>) -> ImmediateResponse {
    let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
    immediate(parts.status, &parts.headers, body)
}

fn immediate(status: StatusCode, headers: &HeaderMap, body: Bytes) -> ImmediateResponse {
    ImmediateResponse {
        status: Some(HttpStatus { code: status.as_u16().into() }),
        headers: Some(fields::all(headers)),
        body,
        details: DETAILS.to_owned(),
    }
}

// === impl BehindEnvoy ===

impl Upstream for BehindEnvoy {
    type RequestBody = Arriving;
    type ResponseBody = Arriving;
    /// Whether tunnels may be had is Envoy's affair.
    const TAKES_CONNECT: bool = true;

    async fn ask(
        &mut self,
        _: &Route,
        request: Request<RequestBody<Arriving>>,
        inspected: bool,
    ) -> Result<Response<Arriving>, Failure> {
        let (mut parts, body) = request.into_parts();
        if inspected {
            parts.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        let changes = fields::changes(&self.request_fields, &parts.headers);
        self.upload = Upload::begin(&self.link, changes, body);
        let head = poll_fn(|context| {
            self.upload.poll(context);
            self.link.poll_response_head(context)
        })
        .await;
        let status = StatusCode::from_bytes(head.status.as_bytes());
        let mut response = Response::new(self.link.body(Side::Response));
        *response.status_mut() = status
            .map_err(|_| Failure { source: ErrorSource::Upstream, kind: ErrorKind::Protocol })?;
        self.response_fields.clone_from(&head.fields);
        *response.headers_mut() = head.fields;
        Ok(response)
    }
}

impl std::fmt::Debug for Replies {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Replies").field("link", &self.link).finish_non_exhaustive()
    }
}
