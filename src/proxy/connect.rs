//! A limit on the whole way to a connection: name, TCP and TLS together.

use std::{
    error::Error,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use tower::Service;

/// A connector that gives up after a while.
#[derive(Clone, Debug)]
pub struct TimedConnector<C> {
    inner: C,
    limit: Duration,
}

// === impl TimedConnector ===

impl<C> TimedConnector<C> {
    /// Lets `inner` take no longer than `limit`.
    #[must_use]
    pub fn new(inner: C, limit: Duration) -> Self {
        Self { inner, limit }
    }
}

impl<C> Service<Uri> for TimedConnector<C>
where
    C: Service<Uri>,
    C::Error: Into<Box<dyn Error + Send + Sync>>,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let limited = tokio::time::timeout(self.limit, self.inner.call(target));
        Box::pin(async move { limited.await?.map_err(Into::into) })
    }
}
