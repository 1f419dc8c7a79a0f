//! The request sent to the model server once more, where a session asks for that.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Response;

use super::failure::Failure;

/// The way to ask once more, kept while a session may: all of the request but its body, which the session keeps.
pub struct AskingAgain<B>(Box<dyn Fn(Bytes) -> Asked<B> + Send + Sync>);

/// An answer that is on its way. Dropping it cancels the request.
pub(super) struct Asked<B>(Pin<Box<dyn Future<Output = Answer<B>> + Send>>);

/// The response, or why there is none.
pub(super) type Answer<B> = Result<Response<B>, Failure>;

// === impl AskingAgain ===

impl<B> AskingAgain<B> {
    /// Asks by sending a body with `send`.
    pub(super) fn by<F>(send: impl Fn(Bytes) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Answer<B>> + Send + 'static,
    {
        Self(Box::new(move |body| Asked(Box::pin(send(body)))))
    }

    /// Sends the request with another body.
    pub(super) fn ask(&self, body: Bytes) -> Asked<B> {
        (self.0)(body)
    }
}

impl<B> fmt::Debug for AskingAgain<B> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("AskingAgain").finish_non_exhaustive()
    }
}

// === impl Asked ===

impl<B> Asked<B> {
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Answer<B>> {
        self.0.as_mut().poll(context)
    }
}

impl<B> fmt::Debug for Asked<B> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Asked").finish_non_exhaustive()
    }
}
