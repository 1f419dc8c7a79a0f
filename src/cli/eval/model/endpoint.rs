//! One chat request and its whole response, asked for again where that may help.
//!
//! In: a request body. Out: the response's bytes, complete beyond doubt, or why there is none. A stream that ends without
//! a finish reason or `[DONE]`, breaks off, reports an error or stalls is no response. What the bytes say is read by
//! [`super::reading`].

use std::{error::Error, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE},
    uri::PathAndQuery,
};
use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};
use serde::Deserialize;
use thinkgate::{
    config::{Timeouts, UpstreamTls, UpstreamUrl},
    dialect::openai_chat,
    proxy::{RequestBody, UpstreamTlsError, clients},
    wire::{Framer, sniff},
};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;
use tower::{ServiceExt as _, util::BoxCloneSyncService};

use super::wait;

/// Until a connection stands.
const CONNECT: Duration = Duration::from_secs(10);

/// Bytes of a response that are taken.
const MAX_BYTES: usize = 64 << 20;

/// Bytes of an error's body that are looked at.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// Characters of an error's message that are kept.
const MESSAGE_CHARS: usize = 200;

/// Error codes that say that a filter has refused the prompt.
const FILTER_CODES: [&str; 3] = ["content_policy_violation", "content_filter", "content_policy"];

/// A body as it comes from a server.
pub(crate) type Body = UnsyncBoxBody<Bytes, Failure>;

/// Any error of a transport.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// What carries a request to a server and brings its response.
pub(crate) type Transport = BoxCloneSyncService<Request<Bytes>, Response<Body>, Failure>;

/// A chat endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    transport: Transport,
    uri: Uri,
    key: Option<HeaderValue>,
    patience: Patience,
}

/// How long and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// For one request, from its beginning to the response's last byte.
    pub(crate) timeout: Duration,
    /// How often a request is repeated.
    pub(crate) retries: u32,
}

/// A whole response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// The content type's value.
    pub(crate) content_type: Option<String>,
    /// The body.
    pub(crate) body: Bytes,
    /// The first choice's finish reason.
    pub(crate) finish: Option<String>,
    /// From the request to the first byte of the body.
    pub(crate) first_byte: Duration,
    /// From the request to the last byte.
    pub(crate) total: Duration,
    /// How often it was asked for.
    pub(crate) attempts: u32,
}

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoResponse {
    /// A filter before the model has refused the prompt.
    #[error("the prompt was refused: {message}")]
    PromptRefused {
        /// What the server said.
        message: String,
    },
    /// Repeating the request would not help.
    #[error("{fault}")]
    Final {
        /// What is wrong.
        fault: Fault,
    },
    /// It was repeated often enough.
    #[error("{fault} (asked {attempts} times)")]
    GivenUp {
        /// What went wrong the last time.
        fault: Fault,
        /// How often it was asked for.
        attempts: u32,
    },
}

/// What went wrong with one request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// No connection, or it broke before the response's head.
    #[error("no connection: {0}")]
    Connect(String),
    /// The server answered with an error.
    #[error("status {status}: {message}")]
    Status {
        /// The status code.
        status: u16,
        /// The error's code.
        code: Option<String>,
        /// The error's message, cut.
        message: String,
        /// The wait that the server asks for.
        wait: Option<Duration>,
    },
    /// The response did not come, or did not end, in time.
    #[error("no end after {} s", .0.as_secs())]
    Stalled(Duration),
    /// The connection broke inside the body.
    #[error("the response broke off: {0}")]
    BrokenOff(String),
    /// The body ended before the model had.
    #[error("the response ended before the model had")]
    Incomplete,
    /// The body reports an error.
    #[error("the response reports an error")]
    InBody,
    /// The body is too long.
    #[error("the response is longer than {MAX_BYTES} bytes")]
    TooLong,
}

/// Connections to servers; `needs_tls` where one of them is asked by https.
pub(crate) fn transport(needs_tls: bool) -> Result<Transport, UpstreamTlsError> {
    let tasks = TaskTracker::new();
    // Of these only the first is for a client.
    let timeouts = Timeouts {
        connect: CONNECT,
        upstream_idle: Duration::MAX,
        client_write: Duration::MAX,
        request_header: Duration::MAX,
        drain: Duration::MAX,
    };
    let clients = clients(&UpstreamTls::default(), &timeouts, needs_tls, 0, &tasks)?;
    let service = tower::service_fn(move |request: Request<Bytes>| {
        let client = clients.of(None).clone();
        async move {
            let request = request.map(RequestBody::whole);
            let response = client.request(request).await?;
            Ok(response.map(|body| body.map_err(Failure::from).boxed_unsync()))
        }
    });
    Ok(BoxCloneSyncService::new(service))
}

// === impl Endpoint ===

impl Endpoint {
    /// The chat endpoint of a server whose base URL is `url` (`/chat/completions` is put behind it unless it is there).
    pub(crate) fn new(
        transport: Transport,
        url: &UpstreamUrl,
        key: Option<HeaderValue>,
        patience: Patience,
    ) -> Result<Self, http::Error> {
        const PATH: &str = "/chat/completions";
        let path = PathAndQuery::from_static(PATH);
        let uri = match url.to_string() {
            whole if whole.ends_with(PATH) => whole.parse()?,
            _ => url.join(Some(&path))?,
        };
        Ok(Self { transport, uri, key, patience })
    }

    /// Asks until there is a response, or no use in asking.
    pub(crate) async fn ask(&self, body: &Bytes) -> Result<Received, NoResponse> {
        let mut repetition = 0;
        loop {
            let fault = match timeout(self.patience.timeout, self.once(body)).await {
                Ok(Ok(received)) => return Ok(Received { attempts: repetition + 1, ..received }),
                Ok(Err(fault)) => fault,
                Err(_) => Fault::Stalled(self.patience.timeout),
            };
            if let Some(message) = fault.refused_prompt() {
                return Err(NoResponse::PromptRefused { message });
            }
            if !fault.may_pass() {
                return Err(NoResponse::Final { fault });
            }
            if repetition >= self.patience.retries {
                return Err(NoResponse::GivenUp { fault, attempts: repetition + 1 });
            }
            sleep(fault.wait().unwrap_or_else(|| wait::backoff(repetition, chance()))).await;
            repetition += 1;
        }
    }

    async fn once(&self, body: &Bytes) -> Result<Received, Fault> {
        let begun = Instant::now();
        let response = self.send(body).await?;
        let status = response.status();
        let (head, body) = response.into_parts();
        if !status.is_success() {
            return Err(error_of(status, &head.headers, body).await);
        }
        let content_type = head.headers.get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (body, first_byte) = whole(body, begun).await?;
        let finish = End::of(content_type.as_deref(), &body).finish()?;
        let total = begun.elapsed();
        Ok(Received { content_type, body, finish, first_byte, total, attempts: 1 })
    }

    async fn send(&self, body: &Bytes) -> Result<Response<Body>, Fault> {
        let mut request = Request::post(self.uri.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(body.clone())
            .map_err(|error| Fault::Connect(cut(&error.to_string())))?;
        if let Some(key) = &self.key {
            request.headers_mut().insert(AUTHORIZATION, key.clone());
        }
        let sent = self.transport.clone().oneshot(request).await;
        sent.map_err(|error| Fault::Connect(cut(&innermost(error.as_ref()).to_string())))
    }
}

/// Reads a body to its end, and tells when its first byte came.
async fn whole(mut body: Body, begun: Instant) -> Result<(Bytes, Duration), Fault> {
    let mut bytes = BytesMut::new();
    let mut first_byte = None;
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Fault::BrokenOff(cut(&innermost(error.as_ref()).to_string())))?;
        if let Ok(data) = frame.into_data() {
            first_byte.get_or_insert_with(|| begun.elapsed());
            if bytes.len() + data.len() > MAX_BYTES {
                return Err(Fault::TooLong);
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok((bytes.freeze(), first_byte.unwrap_or_else(|| begun.elapsed())))
}

/// An error response as OpenAI's clients read it.
async fn error_of(status: StatusCode, headers: &HeaderMap, mut body: Body) -> Fault {
    #[derive(Deserialize)]
    struct Told {
        error: Detail,
    }
    #[derive(Default, Deserialize)]
    struct Detail {
        #[serde(default)]
        message: Option<String>,
        #[serde(default)]
        code: Option<serde_json::Value>,
    }
    let mut bytes = BytesMut::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > MAX_ERROR_BYTES {
            break;
        }
    }
    let told = serde_json::from_slice::<Told>(&bytes).map(|told| told.error).unwrap_or_default();
    let code = told.code.as_ref().and_then(serde_json::Value::as_str).map(str::to_owned);
    let message = told
        .message
        .as_deref()
        .map_or_else(|| status.canonical_reason().unwrap_or("unknown").to_owned(), cut);
    Fault::Status { status: status.as_u16(), code, message, wait: wait::asked_for(headers) }
}

/// How a body ended.
#[derive(Debug, Default)]
struct End {
    /// A choice was seen.
    any: bool,
    /// The end mark, or a choice's finish, was seen.
    done: bool,
    error: bool,
    /// The body is one JSON document.
    single: bool,
    finish: Option<String>,
}

// === impl End ===

impl End {
    fn of(content_type: Option<&str>, body: &Bytes) -> Self {
        #[derive(Deserialize)]
        struct Finishing {
            #[serde(default)]
            choices: Vec<Finished>,
        }
        #[derive(Deserialize)]
        struct Finished {
            #[serde(default)]
            finish_reason: Option<String>,
        }
        let mut end = Self::default();
        let Ok(Some(framing)) = sniff(content_type, body) else { return end };
        let mut framer = Framer::new(framing, MAX_BYTES);
        end.single = matches!(framer, Framer::Whole(_));
        framer.push(body.clone());
        let mut frames = Vec::new();
        while let Some(frame) = framer.next_frame() {
            frames.push(frame);
        }
        frames.extend(framer.finish());
        for frame in &frames {
            let Ok(payload) = std::str::from_utf8(frame.data()) else { continue };
            if payload.is_empty() {
                continue;
            }
            let chunk = openai_chat::read(payload);
            end.error |= chunk.error || frame.error_field;
            end.any |= !chunk.choices.is_empty();
            let finished = chunk.choices.iter().any(|(_, finished)| *finished);
            end.done |= chunk.done || finished;
            if finished && let Ok(finishing) = serde_json::from_str::<Finishing>(payload) {
                let reason = finishing.choices.into_iter().find_map(|one| one.finish_reason);
                end.finish = end.finish.or(reason);
            }
        }
        end
    }

    fn finish(self) -> Result<Option<String>, Fault> {
        if self.error {
            Err(Fault::InBody)
        } else if self.any && (self.done || self.single) {
            Ok(self.finish)
        } else {
            Err(Fault::Incomplete)
        }
    }
}

// === impl Fault ===

impl Fault {
    /// Whether asking again may help.
    fn may_pass(&self) -> bool {
        match self {
            Self::Status { status, wait, .. } => {
                (matches!(status, 408 | 409 | 425 | 429) || *status >= 500)
                    && wait.is_none_or(|wait| wait <= wait::LONGEST_ASKED_FOR)
            }
            Self::TooLong => false,
            Self::Connect(_)
            | Self::Stalled(_)
            | Self::BrokenOff(_)
            | Self::Incomplete
            | Self::InBody => true,
        }
    }

    fn wait(&self) -> Option<Duration> {
        match self {
            Self::Status { wait, .. } => *wait,
            _ => None,
        }
    }

    fn refused_prompt(&self) -> Option<String> {
        match self {
            Self::Status { status: 400..=499, code: Some(code), message, .. }
                if FILTER_CODES.contains(&code.as_str()) =>
            {
                Some(message.clone())
            }
            _ => None,
        }
    }
}

/// The error behind the others: "connection refused" rather than "client error (Connect)".
fn innermost<'e>(error: &'e (dyn Error + 'static)) -> &'e (dyn Error + 'static) {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost
}

/// A message cut to what a report needs, on one line.
fn cut(message: &str) -> String {
    message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MESSAGE_CHARS).collect()
}

/// A number in 0..=1; where the system has none to give, the wait is simply the longest.
fn chance() -> f64 {
    getrandom::u32().map_or(0.0, |random| f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::scripted::{Ending, Play, Scripted, chat};
    use super::*;

    const PATIENCE: Patience = Patience { timeout: Duration::from_mins(5), retries: 3 };

    async fn ask(scripted: &Scripted) -> (Result<Received, NoResponse>, Duration) {
        let url = UpstreamUrl::parse("http://model.test/v1").unwrap();
        let endpoint = Endpoint::new(scripted.transport(), &url, None, PATIENCE).unwrap();
        let begun = Instant::now();
        let asked = endpoint.ask(&Bytes::from_static(b"{}")).await;
        (asked, begun.elapsed())
    }

    #[test]
    fn the_path_is_put_behind_the_base_url_once() {
        for (url, whole) in [
            ("http://a.test/v1", "http://a.test/v1/chat/completions"),
            ("http://a.test", "http://a.test/chat/completions"),
            ("http://a.test/x/chat/completions", "http://a.test/x/chat/completions"),
        ] {
            let url = UpstreamUrl::parse(url).unwrap();
            let transport = Scripted::in_turn(vec![Play::Refuse]).transport();
            let endpoint = Endpoint::new(transport, &url, None, PATIENCE).unwrap();
            assert_eq!(endpoint.uri.to_string(), whole);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_comes_whole() {
        let scripted = Scripted::in_turn(vec![Play::chat("Hm.", "Yes.")]);
        let (asked, _) = ask(&scripted).await;
        let received = asked.unwrap();
        assert_eq!((received.attempts, received.finish.as_deref()), (1, Some("stop")));
        assert_eq!(received.body, chat("Hm.", "Yes.").concat());
    }

    #[tokio::test(start_paused = true)]
    async fn waits_as_long_as_the_server_asks_and_asks_again() {
        let limited = Play::Status(429, vec![("retry-after", "17")], String::new());
        let scripted = Scripted::in_turn(vec![limited, Play::chat("", "Yes.")]);
        let (asked, took) = ask(&scripted).await;
        assert_eq!((asked.unwrap().attempts, took), (2, Duration::from_secs(17)));
        assert_eq!(scripted.count(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_may_pass_is_asked_for_again() {
        let first_two = chat("Hm.", "Yes.").into_iter().take(2).collect::<Vec<_>>();
        let error = Bytes::from_static(b"data: {\"error\":{\"message\":\"overloaded\"}}\n\n");
        for fault in [
            Play::Refuse,
            Play::Silence,
            Play::status(503),
            Play::Stream(first_two.clone(), Ending::Clean),
            Play::Stream(first_two.clone(), Ending::Broken),
            Play::Stream(first_two, Ending::Stalled),
            Play::Stream(vec![error], Ending::Clean),
            Play::Stream(vec![], Ending::Clean),
        ] {
            let scripted = Scripted::in_turn(vec![fault.clone(), Play::chat("", "Yes.")]);
            let (asked, _) = ask(&scripted).await;
            assert_eq!(asked.map(|received| received.attempts), Ok(2), "{fault:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_after_so_many_repetitions_and_says_why() {
        for (fault, told) in [
            (Play::status(503), "status 503: Service Unavailable (asked 4 times)"),
            (Play::Silence, "no end after 300 s (asked 4 times)"),
            (Play::Refuse, "no connection: connection refused (asked 4 times)"),
            (
                Play::Stream(vec![], Ending::Broken),
                "the response broke off: connection reset (asked 4 times)",
            ),
        ] {
            let scripted = Scripted::in_turn(vec![fault]);
            let (asked, _) = ask(&scripted).await;
            assert_eq!(asked.unwrap_err().to_string(), told);
            assert_eq!(scripted.count(), 4);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_asking_again_cannot_change_is_asked_once() {
        let unauthorized = r#"{"error":{"message":"no such key","code":"invalid_api_key"}}"#;
        let filtered = r#"{"error":{"message":"no","code":"content_policy_violation"}}"#;
        let tomorrow = Play::Status(429, vec![("retry-after", "86400")], String::new());
        for (play, told) in [
            (Play::Status(401, vec![], unauthorized.into()), "status 401: no such key"),
            (Play::Status(400, vec![], filtered.into()), "the prompt was refused: no"),
            (tomorrow, "status 429: Too Many Requests"),
        ] {
            let scripted = Scripted::in_turn(vec![play]);
            let (asked, took) = ask(&scripted).await;
            assert_eq!(asked.unwrap_err().to_string(), told);
            assert_eq!((scripted.count(), took), (1, Duration::ZERO));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_no_stream_is_a_response_too() {
        let whole = r#"{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"Yes."},"finish_reason":"length"}]}"#;
        let play = Play::Status(200, vec![("content-type", "application/json")], whole.into());
        let (asked, _) = ask(&Scripted::in_turn(vec![play])).await;
        assert_eq!(asked.unwrap().finish.as_deref(), Some("length"));
    }
}
