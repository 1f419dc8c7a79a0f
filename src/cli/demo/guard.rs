//! A thinkgate in this process, in front of the built-in upstream.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use thinkgate::{
    app::App,
    config::{Config, Node, Origin, RuleSource, Value, from_flag},
    policy::Mode,
    rules::RuleSet,
};

use super::{DemoError, audit::AuditFile};

/// How long open exchanges may take once a proxy is told to end.
const DRAIN: Duration = Duration::from_secs(2);

/// A running proxy.
#[derive(Debug)]
pub(crate) struct Guard {
    app: App,
    mode: Mode,
    audit: AuditFile,
}

/// Where a proxy listens and what it does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings<'a> {
    /// Its address; port 0 takes a free one.
    pub(crate) listen: SocketAddr,
    /// Its admin listener's address.
    pub(crate) admin_listen: SocketAddr,
    /// The upstream's URL.
    pub(crate) upstream: &'a str,
    /// Its mode.
    pub(crate) mode: Mode,
    /// Where its audit lines go, if anybody reads them.
    pub(crate) audit: Option<&'a Path>,
}

/// Compiles the shipped rules, which the proxies share.
pub(crate) async fn shipped_rules() -> Result<Arc<RuleSet>, DemoError> {
    Ok(App::load_rules(vec![RuleSource::Builtin]).await?)
}

// === impl Guard ===

impl Guard {
    /// Starts a proxy.
    pub(crate) async fn start(
        settings: Settings<'_>,
        rules: Arc<RuleSet>,
    ) -> Result<Self, DemoError> {
        let app = Box::pin(App::start_with(settings.config()?, rules)).await?;
        let audit = AuditFile::new(settings.audit.map(PathBuf::from).unwrap_or_default());
        Ok(Self { app, mode: settings.mode, audit })
    }

    /// Its mode.
    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// Its address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.app.listening()
    }

    /// Its admin listener's address.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.app.admin()
    }

    /// What it records.
    pub(crate) fn audit(&self) -> &AuditFile {
        &self.audit
    }

    /// Ends it.
    pub(crate) async fn shut_down(self) {
        // Exchanges that are broken off here belong to a caller who was told to leave.
        let _drained = self.app.drain(tokio::time::sleep(DRAIN)).await;
    }
}

// === impl Settings ===

impl Settings<'_> {
    /// The settings as `serve` would read them.
    fn config(&self) -> Result<Config, DemoError> {
        Ok(Config::read(self.tree())?)
    }

    /// The settings as `serve`'s flags would give them.
    fn tree(&self) -> Node {
        let mut flags = vec![
            ("--upstream", &["upstream"][..], self.upstream.to_owned()),
            ("--listen", &["listen"], self.listen.to_string()),
            ("--admin-listen", &["admin_listen"], self.admin_listen.to_string()),
            ("--mode", &["mode"], self.mode.name().to_owned()),
            // The traces are labelled with what the rules conclude.
            ("--no-classifier", &["classifier", "enabled"], "false".to_owned()),
        ];
        if let Some(audit) = self.audit {
            flags.push(("--audit", &["audit", "file"], audit.display().to_string()));
        }
        let nothing = Node { origin: Origin::Flag("--"), value: Value::Map([].into()) };
        flags
            .into_iter()
            .map(|(flag, key, text)| from_flag(flag, key, Value::Scalar(text)))
            .fold(nothing, Node::under)
    }
}
