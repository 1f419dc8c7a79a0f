//! An endpoint for tests: it plays its scripts in the order of the requests, without sockets, so that paused time holds.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tower::util::BoxCloneSyncService;

use super::endpoint::{Body, Failure, Transport};

/// What one request gets.
#[derive(Clone, Debug)]
pub(crate) enum Play {
    /// A streamed response whose parts end as they say.
    Stream(Vec<Bytes>, Ending),
    /// A status with headers and a body.
    Status(u16, Vec<(&'static str, &'static str)>, String),
    /// No connection.
    Refuse,
    /// Never a head.
    Silence,
    /// The same after a while.
    Later(Duration, Box<Play>),
}

/// How a streamed body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Clean,
    Broken,
    Stalled,
}

/// What answers a request.
type Answer = dyn Fn(&Value) -> Play + Send + Sync;

/// The endpoint.
#[derive(Clone)]
pub(crate) struct Scripted {
    answer: Arc<Answer>,
    pub(crate) requests: Arc<Mutex<Vec<Value>>>,
}

/// A body that plays its parts.
struct Played {
    parts: VecDeque<Bytes>,
    ending: Ending,
}

// === impl Play ===

impl Play {
    /// A whole streamed chat response with thinking and answer.
    pub(crate) fn chat(thinking: &str, answer: &str) -> Self {
        Self::Stream(chat(thinking, answer), Ending::Clean)
    }

    /// The status with an empty error.
    pub(crate) fn status(status: u16) -> Self {
        Self::Status(status, Vec::new(), String::new())
    }
}

/// The events of a chat response.
pub(crate) fn chat(thinking: &str, answer: &str) -> Vec<Bytes> {
    let event = |delta: Value, finish: Option<&str>| {
        let chunk = json!({"id": "c", "object": "chat.completion.chunk", "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
        Bytes::from(format!("data: {chunk}\n\n"))
    };
    let usage = json!({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [],
        "usage": {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30,
                  "completion_tokens_details": {"reasoning_tokens": 15}}});
    vec![
        event(json!({"role": "assistant", "reasoning_content": thinking}), None),
        event(json!({"content": answer}), None),
        event(json!({}), Some("stop")),
        format!("data: {usage}\n\ndata: [DONE]\n\n").into(),
    ]
}

// === impl Scripted ===

impl Scripted {
    /// Plays one script after the other, and the last one ever after.
    pub(crate) fn in_turn(plays: Vec<Play>) -> Self {
        let left = Mutex::new(VecDeque::from(plays));
        Self::by(move |_| {
            let mut left = left.lock().unwrap();
            if left.len() > 1 { left.pop_front().unwrap() } else { left[0].clone() }
        })
    }

    /// Answers by the request's body.
    pub(crate) fn by(answer: impl Fn(&Value) -> Play + Send + Sync + 'static) -> Self {
        Self { answer: Arc::new(answer), requests: Arc::default() }
    }

    /// What a request would get.
    pub(crate) fn answer(&self, request: &Value) -> Play {
        (self.answer)(request)
    }

    /// How many requests have come.
    pub(crate) fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    pub(crate) fn transport(&self) -> Transport {
        let scripted = self.clone();
        BoxCloneSyncService::new(tower::service_fn(move |request: Request<Bytes>| {
            let scripted = scripted.clone();
            async move {
                let body = request.into_body();
                let body: Value = serde_json::from_slice(&body)?;
                let play = (scripted.answer)(&body);
                scripted.requests.lock().unwrap().push(body);
                scripted.play(play).await
            }
        }))
    }

    async fn play(&self, play: Play) -> Result<Response<Body>, Failure> {
        match play {
            Play::Refuse => Err("connection refused".into()),
            Play::Silence => std::future::pending().await,
            Play::Later(wait, play) => {
                tokio::time::sleep(wait).await;
                Box::pin(self.play(*play)).await
            }
            Play::Status(status, headers, body) => {
                let mut response = Response::builder().status(status);
                for (name, value) in headers {
                    response = response.header(name, value);
                }
                let body = Full::from(body).map_err(|never| match never {}).boxed_unsync();
                Ok(response.body(body)?)
            }
            Play::Stream(parts, ending) => {
                let body = Played { parts: parts.into(), ending };
                let response = Response::builder().header("content-type", "text/event-stream");
                Ok(response.body(body.boxed_unsync())?)
            }
        }
    }
}

impl http_body::Body for Played {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        match (self.parts.pop_front(), self.ending) {
            (Some(part), _) => Poll::Ready(Some(Ok(Frame::data(part)))),
            (None, Ending::Clean) => Poll::Ready(None),
            (None, Ending::Broken) => Poll::Ready(Some(Err("connection reset".into()))),
            (None, Ending::Stalled) => Poll::Pending,
        }
    }
}
