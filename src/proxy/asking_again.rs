//! The request sent to the model server once more, where a session asks for that.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, Version, request};
use hyper::body::Incoming;

use super::{body::RequestBody, failure::Failure, upstream::UpstreamClient};

/// What is kept of a request whose session may ask again: all but its body, which the session keeps.
#[derive(Debug)]
pub(super) struct AskingAgain {
    client: UpstreamClient,
    head: request::Parts,
}

/// An answer that is on its way. Dropping it cancels the request.
pub(super) struct Asked(Pin<Box<dyn Future<Output = Answer> + Send>>);

/// The response, or why there is none.
pub(super) type Answer = Result<Response<Incoming>, Failure>;

// === impl AskingAgain ===

impl AskingAgain {
    /// Keeps the head of `request`, which is on its way to the upstream.
    pub(super) fn of(client: &UpstreamClient, request: &Request<RequestBody>) -> Box<Self> {
        let (mut head, ()) = Request::new(()).into_parts();
        head.method.clone_from(request.method());
        head.uri.clone_from(request.uri());
        head.version = Version::HTTP_11;
        head.headers.clone_from(request.headers());
        Box::new(Self { client: client.clone(), head })
    }

    /// Sends the request with another body.
    pub(super) fn ask(&self, body: Bytes) -> Asked {
        let request = Request::from_parts(self.head.clone(), RequestBody::whole(body));
        let answer = self.client.request(request);
        Asked(Box::pin(async move { answer.await.map_err(|error| Failure::of_client(&error)) }))
    }
}

// === impl Asked ===

impl Asked {
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Answer> {
        self.0.as_mut().poll(context)
    }
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Asked").finish_non_exhaustive()
    }
}
