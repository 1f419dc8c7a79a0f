//! The proxy that new exchanges get, which a new configuration replaces.

use std::sync::{Arc, PoisonError, RwLock};

use super::handler::Proxy;

/// The proxy that new exchanges get. Open ones keep theirs until their end.
#[derive(Debug)]
pub struct CurrentProxy(RwLock<Arc<Proxy>>);

// === impl CurrentProxy ===

impl CurrentProxy {
    /// Begins with `proxy`.
    #[must_use]
    pub fn new(proxy: Proxy) -> Self {
        Self(RwLock::new(Arc::new(proxy)))
    }

    /// The proxy for an exchange that begins now.
    #[must_use]
    pub fn now(&self) -> Arc<Proxy> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives new exchanges `proxy`.
    pub fn replace(&self, proxy: Proxy) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(proxy);
    }

    /// The proxy itself, if no exchange holds it any more.
    #[must_use]
    pub fn into_proxy(self) -> Option<Proxy> {
        Arc::into_inner(self.0.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}
