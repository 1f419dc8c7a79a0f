//! The life of a request, from its head to the response's head.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
    request, response,
};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::{
    asking_again::AskingAgain,
    audit_log::AuditLog,
    body::{Activity, RequestBody, ResponseBody, WireBody},
    capture::{CaptureLog, RouteCapture},
    decode::{Decoder, Encoding},
    exchange::{Exchange, REQUEST_ID},
    failure::{Failure, error_response, local_response},
    guarded_body::{GuardedBody, Way},
    headers,
    remote::Remote,
    request::{ReadBody, read_body},
    upstream::{Pooled, Upstream, UpstreamClients},
};
use crate::{
    config::{Route, Timeouts},
    dialect::{Dialect, Endpoint},
    policy::Mode,
    record::{
        Truncated, UnscannedReason,
        audit::ExchangeEnd,
        metrics::{ErrorKind, ErrorSource, Metrics},
    },
    scorer::Scorers,
    session::{
        Delivery, Keep, Limits, LocalResponse, OUTCOME_FIELD, Plan, RequestDecision, ResponseHead,
        Session,
    },
};

/// What every exchange shares.
#[derive(Debug)]
pub struct Proxy {
    /// The routes in the order in which they are tried.
    pub routes: Vec<Arc<RouteState>>,
    /// What holds where none matches.
    pub default_route: Arc<RouteState>,
    /// The pooled clients.
    pub clients: UpstreamClients,
    /// How long each thing may take.
    pub timeouts: Timeouts,
    /// Sizes.
    pub limits: Limits,
    /// The longest that a prompt may wait for its scores.
    pub hold_deadline: Duration,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The audit log, if there is one.
    pub audit: Option<Arc<AuditLog>>,
    /// What sessions keep for it.
    pub keep: Keep,
    /// The captures, if there are any.
    pub captures: Option<Arc<CaptureLog>>,
    /// The threads that run the classifier, if there is one.
    pub scorers: Option<Arc<Scorers>>,
    /// The guard model elsewhere, if one is asked.
    pub remote: Option<Arc<Remote>>,
    /// Exchanges that are over for their client, and wait for their last scores.
    pub closing: TaskTracker,
}

/// A route and the plan of its exchanges.
#[derive(Debug)]
pub struct RouteState {
    /// What was configured.
    pub route: Route,
    /// What its sessions share.
    pub plan: Arc<Plan>,
    /// How its exchanges are captured, if they are.
    pub capture: Option<Arc<RouteCapture>>,
}

// === impl RouteState ===

impl RouteState {
    /// The route's mode.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.plan.policy().mode
    }
}

// === impl Proxy ===

impl Proxy {
    /// Answers a request of a connection that a worker of this number runs, if one does. Dropping the future cancels the
    /// upstream.
    pub async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        worker: Option<usize>,
    ) -> Response<ResponseBody> {
        let client = self.clients.of(worker).clone();
        self.answer(request, &mut Pooled(client)).await
    }

    /// Answers a request with what `upstream` answers, a session reading along. Dropping the future ends the exchange.
    pub async fn answer<U: Upstream>(
        self: Arc<Self>,
        request: Request<U::RequestBody>,
        upstream: &mut U,
    ) -> Response<ResponseBody<U::ResponseBody>> {
        let (mut parts, body) = request.into_parts();
        let route = Arc::clone(self.route(parts.uri.path()));
        let mut exchange = Exchange::begin(Arc::clone(&self), route, &parts.headers);
        let id = HeaderValue::from_str(&exchange.id()).ok();
        let request_id = parts.headers.get(REQUEST_ID).cloned().or(id);
        if let Some(id) = &request_id {
            parts.headers.insert(REQUEST_ID, id.clone());
        }
        let mut response = if parts.method == Method::CONNECT && !U::TAKES_CONNECT {
            let message = "This is no forward proxy.";
            let kind = "invalid_request_error";
            exchange.set_status(StatusCode::METHOD_NOT_ALLOWED.as_u16());
            exchange.finish(ExchangeEnd::Complete);
            let status = StatusCode::METHOD_NOT_ALLOWED;
            error_response(Dialect::Unknown, status, kind, "method_not_allowed", message)
        } else {
            Box::pin(self.exchange(exchange, parts, body, upstream)).await
        };
        if let Some(id) = request_id {
            response.headers_mut().entry(REQUEST_ID).or_insert(id);
        }
        response
    }

    /// The route of a request's path.
    #[must_use]
    pub fn route(&self, path: &str) -> &Arc<RouteState> {
        self.routes.iter().find(|state| state.route.matches(path)).unwrap_or(&self.default_route)
    }

    async fn exchange<U: Upstream>(
        &self,
        mut exchange: Exchange,
        parts: request::Parts,
        body: U::RequestBody,
        upstream: &mut U,
    ) -> Response<ResponseBody<U::ResponseBody>> {
        let endpoint = Endpoint::of_request(parts.method.as_str(), parts.uri.path())
            .map(|endpoint| endpoint.asked(parts.uri.query()))
            .filter(|_| exchange.route().mode() != Mode::Off);
        let activity = Arc::new(Activity::new());
        let body = match endpoint {
            None => RequestBody::passing(VecDeque::new(), body, Arc::clone(&activity)),
            Some(endpoint) => {
                let plan = Arc::clone(&exchange.route().plan);
                let identity = exchange.identity();
                exchange
                    .set_session(Session::new(plan, Some(endpoint), identity).keeping(self.keep));
                exchange.begin_recording(parts.uri.path());
                let body = if endpoint.has_prompt() {
                    self.inspect_request(&mut exchange, &parts, body, &activity).await
                } else {
                    Ok(RequestBody::passing(VecDeque::new(), body, Arc::clone(&activity)))
                };
                match body {
                    Ok(body) => {
                        exchange.follow(Instant::now());
                        if let Some(local) = exchange.settle_prompt().await {
                            return finish_here(exchange, local);
                        }
                        body
                    }
                    Err(Refused::Here(local)) => return finish_here(exchange, local),
                    Err(Refused::Broken) => return fail(exchange, Failure::downstream()),
                }
            }
        };
        let request = Request::from_parts(parts, body);
        let asking_again = exchange
            .session()
            .is_some_and(|session| session.may_ask_again())
            .then(|| upstream.asking_again(&exchange.route().route, &request))
            .flatten();
        let answer = tokio::select! {
            biased;
            answer = upstream.ask(&exchange.route().route, request, endpoint.is_some()) => answer,
            () = activity.silence(self.timeouts.upstream_idle) => Err(Failure::upstream(ErrorKind::IdleTimeout)),
        };
        match answer {
            Ok(response) => self.deliver(exchange, response, asking_again).await,
            Err(failure) => fail(exchange, failure),
        }
    }

    /// Lets the session read the request, as far as it may.
    async fn inspect_request<B: WireBody>(
        &self,
        exchange: &mut Exchange,
        parts: &request::Parts,
        body: B,
        activity: &Arc<Activity>,
    ) -> Result<RequestBody<B>, Refused> {
        if headers::request_is_encoded(&parts.headers) {
            let bytes = body.size_hint().lower();
            note_unread(exchange, UnscannedReason::Encoding, bytes)?;
            return Ok(RequestBody::passing(VecDeque::new(), body, Arc::clone(activity)));
        }
        let limit = self.limits.request_bytes;
        let idle = self.timeouts.request_header;
        match read_body(body, limit, idle).await.map_err(|_| Refused::Broken)? {
            ReadBody::Whole(bytes) => {
                exchange.note_request(&bytes);
                let decide = |session: &mut Session| session.on_request(bytes.clone());
                match exchange
                    .session()
                    .map(|session| beside_the_streams(bytes.len(), || decide(session)))
                {
                    Some(RequestDecision::Respond(local)) => Err(Refused::Here(local)),
                    Some(RequestDecision::Forward(bytes)) => Ok(RequestBody::whole(bytes)),
                    None => Ok(RequestBody::whole(bytes)),
                }
            }
            ReadBody::TooLarge { prefix, rest } => {
                let read: usize = prefix.iter().map(Bytes::len).sum();
                let bytes = (read as u64).saturating_add(rest.size_hint().lower());
                note_unread(exchange, UnscannedReason::BodyTooLarge, bytes)?;
                Ok(RequestBody::passing(prefix, rest, Arc::clone(activity)))
            }
        }
    }

    /// Turns the upstream's response into the client's.
    async fn deliver<B: WireBody>(
        &self,
        mut exchange: Exchange,
        response: Response<B>,
        asking_again: Option<Box<AskingAgain<B>>>,
    ) -> Response<ResponseBody<B>> {
        let (mut parts, body) = response.into_parts();
        parts.version = Version::HTTP_11;
        exchange.set_status(parts.status.as_u16());
        if exchange.session().is_none() {
            let body = GuardedBody::new(body, exchange, Way::Unread, None);
            return Response::from_parts(parts, ResponseBody::Upstream(Box::new(body)));
        }
        let cap = self.limits.frame_bytes;
        let encoding = Encoding::of(&parts.headers, cap);
        let delivery = exchange.read_head(&response_head(&parts, &encoding));
        let decoder = encoding.into_decoder();
        match delivery {
            Delivery::AsRead => {
                let body = GuardedBody::new(body, exchange, Way::AsRead, decoder);
                Response::from_parts(parts, ResponseBody::Upstream(Box::new(body)))
            }
            Delivery::Held => {
                headers::strip_of_the_bytes(&mut parts.headers, decoder.is_some());
                let body = GuardedBody::new(body, exchange, Way::Effects, decoder)
                    .asking_again(asking_again);
                Response::from_parts(parts, ResponseBody::Upstream(Box::new(body)))
            }
            Delivery::Whole => {
                headers::strip_of_the_bytes(&mut parts.headers, decoder.is_some());
                deliver_whole(parts, body, exchange, decoder, asking_again, cap).await
            }
        }
    }
}

/// Bytes of a prompt whose reading would keep a thread of the runtime for about a millisecond.
const LONG_PROMPT: usize = 64 << 10;

/// Does `work` on a text of this length; for a long one the runtime is told, so that the thread's other streams
/// go on elsewhere.
fn beside_the_streams<T>(length: usize, work: impl FnOnce() -> T) -> T {
    let runtime = tokio::runtime::Handle::current();
    let has_other_threads = runtime.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread;
    if length > LONG_PROMPT && has_other_threads {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}

/// Why a request does not reach the upstream.
enum Refused {
    /// The session answers it.
    Here(LocalResponse),
    /// It could not be read.
    Broken,
}

fn note_unread(
    exchange: &mut Exchange,
    reason: UnscannedReason,
    bytes: u64,
) -> Result<(), Refused> {
    exchange.note_request_unread(reason, bytes);
    let answer = exchange.session().and_then(|session| session.on_request_unscanned(reason, bytes));
    match answer {
        Some(local) => Err(Refused::Here(local)),
        None => Ok(()),
    }
}

pub(super) fn response_head(parts: &response::Parts, encoding: &Encoding) -> ResponseHead {
    ResponseHead {
        status: parts.status.as_u16(),
        content_type: parts
            .headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned),
        undecodable: matches!(encoding, Encoding::Unknown),
    }
}

/// Reads the whole body before the head goes out. A body beyond `limit` goes on as a stream after all: what is to
/// pass then passes in pieces.
async fn deliver_whole<B: WireBody>(
    mut parts: response::Parts,
    body: B,
    exchange: Exchange,
    decoder: Option<Decoder>,
    asking_again: Option<Box<AskingAgain<B>>>,
    limit: usize,
) -> Response<ResponseBody<B>> {
    let dialect = exchange.dialect();
    let mut body = Box::new(
        GuardedBody::new(body, exchange, Way::Effects, decoder)
            .asking_again(asking_again)
            .before_head(),
    );
    let mut whole = BytesMut::new();
    loop {
        match body.frame().await {
            None => break,
            Some(Err(error)) => return error.failure().response(dialect),
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    whole.extend_from_slice(&bytes);
                }
            }
        }
        if whole.len() > limit {
            body.put_back(whole.freeze());
            return Response::from_parts(parts, ResponseBody::Upstream(body));
        }
    }
    if let Some(local) = body.take_replacement() {
        return local_response(local);
    }
    let outcome = body.take_outcome().and_then(|outcome| HeaderValue::from_str(&outcome).ok());
    if let Some(outcome) = outcome {
        parts.headers.insert(OUTCOME_FIELD, outcome);
    }
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(whole.len()));
    Response::from_parts(parts, ResponseBody::Whole(Full::new(whole.freeze())))
}

fn finish_here<B>(mut exchange: Exchange, local: LocalResponse) -> Response<ResponseBody<B>> {
    exchange.note_truncated(Truncated::Stopped);
    exchange.set_status(local.status);
    exchange.finish(ExchangeEnd::Complete);
    local_response(local)
}

fn fail<B>(mut exchange: Exchange, failure: Failure) -> Response<ResponseBody<B>> {
    exchange.note_failure(failure);
    let response = failure.response(exchange.dialect());
    exchange.set_status(response.status().as_u16());
    let end = match failure.source {
        ErrorSource::Downstream => ExchangeEnd::ClientGone,
        ErrorSource::Upstream | ErrorSource::Internal => ExchangeEnd::UpstreamFailed,
    };
    exchange.finish(end);
    response
}
