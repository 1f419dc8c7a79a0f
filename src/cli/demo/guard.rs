//! A thinkgate in this process, in front of the built-in upstream.

use std::net::SocketAddr;

use thinkgate::policy::Mode;

use super::{DemoError, audit::AuditFile};

/// A running proxy.
#[derive(Debug)]
pub(crate) struct Guard {
    mode: Mode,
    address: SocketAddr,
    admin: SocketAddr,
    audit: AuditFile,
}

/// Where a proxy listens and what it does.
#[derive(Clone, Debug)]
pub(crate) struct Settings<'a> {
    /// Its address; port 0 takes a free one.
    pub(crate) listen: SocketAddr,
    /// Its admin listener's address.
    pub(crate) admin_listen: SocketAddr,
    /// The upstream's URL.
    pub(crate) upstream: &'a str,
    /// Its mode.
    pub(crate) mode: Mode,
    /// Where its audit lines go.
    pub(crate) audit: std::path::PathBuf,
}

// === impl Guard ===

impl Guard {
    /// Starts a proxy.
    pub(crate) async fn start(settings: Settings<'_>) -> Result<Self, DemoError> {
        let _ = settings;
        Err(DemoError::Proxy("not there yet".into()))
    }

    /// Its mode.
    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// Its address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its admin listener's address.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// What it records.
    pub(crate) fn audit(&self) -> &AuditFile {
        &self.audit
    }

    /// Ends it.
    pub(crate) async fn shut_down(self) -> Result<(), DemoError> {
        Ok(())
    }
}
