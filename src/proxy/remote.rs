//! Asks a guard model elsewhere: one chat completion a question, over the pooled client that the upstreams have, too.
//!
//! A question has until its timeout, the wait for a place among those in flight included. What fails is told to its
//! session and counted; nothing of question or answer is ever logged.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE},
    uri::PathAndQuery,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::task::TaskTracker;

use super::{body::RequestBody, upstream::UpstreamClient};
use crate::{
    config,
    consult::{Guard, Opinion, Question, question::opinion},
    record::{RemoteFailure, metrics::Metrics},
    session::Session,
};

/// The largest answer that is read. A guard's own has some hundred bytes, and what stands around it about a thousand.
const ANSWER_BYTES: usize = 64 << 10;

/// Questions that may wait for a place, for each that may be in flight.
const WAITING_FOR_EACH: usize = 16;

/// What is added to the base of an OpenAI-compatible endpoint.
const PATH: &str = "/chat/completions";

/// The guard model, as every exchange asks it.
#[derive(Debug)]
pub struct Remote {
    client: UpstreamClient,
    uri: Uri,
    model: String,
    guard: Guard,
    authorization: Option<HeaderValue>,
    timeout: Duration,
    in_flight: Semaphore,
    waiting: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    tasks: TaskTracker,
}

/// Why a guard model cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The key's variable is not set.
    #[error("remote.api_key_env: the variable {0} is not set")]
    NoKey(String),
    /// The key cannot stand in a header.
    #[error("remote.api_key_env: the value of {0} is no key")]
    Key(String),
    /// The address is none.
    #[error("remote.url: no address can be made of it")]
    Url(#[from] http::Error),
}

/// One exchange's questions.
#[derive(Debug)]
pub(super) struct Consultation {
    remote: Arc<Remote>,
    mailbox: Arc<Mailbox>,
}

/// What the exchange and its questions share.
#[derive(Debug, Default)]
struct Mailbox {
    mail: Mutex<Mail>,
    has_news: AtomicBool,
    settled: Notify,
}

#[derive(Debug, Default)]
struct Mail {
    /// Questions without an answer.
    open: usize,
    answers: Vec<(u64, Result<Opinion, RemoteFailure>)>,
    /// Whom news wake.
    waker: Option<Waker>,
}

// === impl Remote ===

impl Remote {
    /// The guard model that the configuration names; questions are `tasks`.
    pub fn new(
        config: &config::Remote,
        client: UpstreamClient,
        metrics: Arc<Metrics>,
        tasks: TaskTracker,
    ) -> Result<Self, RemoteError> {
        let waiting = config.max_in_flight.saturating_mul(WAITING_FOR_EACH);
        let (uri, authorization) = endpoint(config)?;
        Ok(Self {
            client,
            uri,
            model: config.model.clone(),
            guard: config.kind,
            authorization,
            timeout: config.timeout,
            in_flight: Semaphore::new(config.max_in_flight.min(Semaphore::MAX_PERMITS)),
            waiting: Arc::new(Semaphore::new(waiting.min(Semaphore::MAX_PERMITS))),
            metrics,
            tasks,
        })
    }

    /// Tells what would keep it from being asked.
    pub fn check(config: &config::Remote) -> Result<(), RemoteError> {
        endpoint(config).map(drop)
    }

    /// A way to it for an exchange that begins.
    pub(super) fn consultation(self: &Arc<Self>) -> Consultation {
        Consultation { remote: Arc::clone(self), mailbox: Arc::default() }
    }

    /// The answer to a question, or why there is none; within the timeout.
    async fn answer(&self, question: &Question) -> Result<Opinion, RemoteFailure> {
        let begun = Instant::now();
        let answer = tokio::time::timeout(self.timeout, self.ask(question)).await;
        let answer = answer.unwrap_or(Err(RemoteFailure::Timeout));
        self.metrics.remote().duration.observe(begun.elapsed().as_secs_f64());
        answer
    }

    async fn ask(&self, question: &Question) -> Result<Opinion, RemoteFailure> {
        let place = self.in_flight.acquire().await;
        let _place = place.map_err(|_| RemoteFailure::Overflow)?;
        let request = self.request(question).map_err(|_| RemoteFailure::Connection)?;
        let response = self.client.request(request).await;
        let response = response.map_err(|_| RemoteFailure::Connection)?;
        if response.status() != StatusCode::OK {
            return Err(RemoteFailure::Status);
        }
        let body = body_of(response).await?;
        opinion(self.guard, &body).map_err(|_| RemoteFailure::Malformed)
    }

    fn request(&self, question: &Question) -> Result<Request<RequestBody>, http::Error> {
        let body = Bytes::from(question.request(self.guard, &self.model));
        let request = Request::post(self.uri.clone()).header(CONTENT_TYPE, "application/json");
        let request = match &self.authorization {
            Some(key) => request.header(AUTHORIZATION, key),
            None => request,
        };
        request.body(RequestBody::whole(body))
    }
}

async fn body_of(response: Response<Incoming>) -> Result<Bytes, RemoteFailure> {
    match Limited::new(response.into_body(), ANSWER_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(RemoteFailure::TooLarge),
        Err(_) => Err(RemoteFailure::Connection),
    }
}

/// Where it is asked, and with what key.
fn endpoint(config: &config::Remote) -> Result<(Uri, Option<HeaderValue>), RemoteError> {
    let uri = config.url.join(Some(&PathAndQuery::from_static(PATH)))?;
    Ok((uri, config.api_key_env.as_deref().map(authorization).transpose()?))
}

fn authorization(variable: &str) -> Result<HeaderValue, RemoteError> {
    let key = std::env::var(variable).map_err(|_| RemoteError::NoKey(variable.to_owned()))?;
    let value = HeaderValue::from_str(&format!("Bearer {key}"));
    let mut value = value.map_err(|_| RemoteError::Key(variable.to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

// === impl Consultation ===

impl Consultation {
    /// Asks what `session` wants to know, and tells it what was answered.
    pub(super) fn follow(&self, now: Instant, session: &mut Session) {
        while let Some(question) = session.next_question() {
            self.ask(question);
        }
        self.take_back(now, session);
    }

    fn ask(&self, question: Question) {
        let Ok(waits) = Arc::clone(&self.remote.waiting).try_acquire_owned() else {
            self.mailbox.mail().open += 1;
            let failure = RemoteFailure::Overflow;
            self.remote.metrics.note_remote_failure(failure);
            return self.mailbox.put(question.id, Err(failure));
        };
        self.mailbox.mail().open += 1;
        let (remote, mailbox) = (Arc::clone(&self.remote), Arc::clone(&self.mailbox));
        self.remote.tasks.spawn(answer(remote, mailbox, question, waits));
    }

    fn take_back(&self, now: Instant, session: &mut Session) {
        if !self.mailbox.has_news.swap(false, Ordering::Acquire) {
            return;
        }
        let answers = std::mem::take(&mut self.mailbox.mail().answers);
        for (id, answer) in answers {
            session.on_opinion(now.into_std(), id, answer);
        }
    }

    /// Whether something is to be taken back; where not, the task is woken when it is.
    pub(super) fn poll_news(&self, context: &mut Context<'_>) -> bool {
        let mut mail = self.mailbox.mail();
        if !mail.answers.is_empty() {
            return true;
        }
        mail.waker = Some(context.waker().clone());
        false
    }

    /// Whether every question has its answer.
    pub(super) fn is_settled(&self) -> bool {
        self.mailbox.mail().open == 0
    }

    /// Waits until every question has its answer, or has failed for its timeout.
    pub(super) async fn settle(&self) {
        loop {
            let notified = self.mailbox.settled.notified();
            if self.is_settled() {
                return;
            }
            notified.await;
        }
    }
}

async fn answer(
    remote: Arc<Remote>,
    mailbox: Arc<Mailbox>,
    question: Question,
    waits: OwnedSemaphorePermit,
) {
    remote.metrics.remote().in_flight.inc();
    let answer = remote.answer(&question).await;
    remote.metrics.remote().in_flight.dec();
    if let Err(failure) = answer {
        remote.metrics.note_remote_failure(failure);
    }
    drop(waits);
    mailbox.put(question.id, answer);
}

// === impl Mailbox ===

impl Mailbox {
    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, id: u64, answer: Result<Opinion, RemoteFailure>) {
        let mut mail = self.mail();
        mail.answers.push((id, answer));
        mail.open -= 1;
        self.has_news.store(true, Ordering::Release);
        let waker = mail.waker.take();
        drop(mail);
        if let Some(waker) = waker {
            waker.wake();
        }
        self.settled.notify_waiters();
    }
}
