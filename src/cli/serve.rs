//! `thinkgate serve`, and what all commands have in common that serve until a signal ends them.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use thinkgate::{
    app::{App, Front, Reloaded, StartError},
    config::{Config, ConfigErrors, Node, Origin, Value, from_flag},
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// What `serve` takes. Each flag is one key of the configuration, and beats the environment and the file.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The model server's URL; its path is put before every request's path [env: `THINKGATE_UPSTREAM`]
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Where callers connect, default 127.0.0.1:8080 [env: `THINKGATE_LISTEN`]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// What every server takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Common {
    /// Where /livez, /readyz and /metrics are served, default 127.0.0.1:9090 [env: `THINKGATE_ADMIN_LISTEN`]
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
    /// off, shadow (the default) or enforce [env: `THINKGATE_MODE`]
    #[arg(long)]
    mode: Option<String>,
    /// A rule pack, a folder of them, or builtin; replaces the built-in packs [env: `THINKGATE_RULES`]
    #[arg(long, value_name = "FILE_OR_DIR")]
    rules: Vec<String>,
    /// The file to which audit lines are appended [env: `THINKGATE_AUDIT__FILE`]
    #[arg(long, value_name = "FILE")]
    audit: Option<String>,
    /// Run without the classifier [env: `THINKGATE_CLASSIFIER__ENABLED=false`]
    #[arg(long)]
    no_classifier: bool,
    /// The configuration file [env: `THINKGATE_CONFIG`]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Serves until a signal ends it.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    serve_as(Front::Proxy, move || read_config(arguments.clone()))
}

fn read_config(arguments: Arguments) -> Result<Config, ConfigErrors> {
    let tree = super::file_and_environment(arguments.common.config())?;
    Config::read(tree.under(arguments.into_tree()))
}

/// Serves until a signal ends it; SIGHUP has the configuration read again.
pub(super) fn serve_as<R>(front: Front, read: R) -> anyhow::Result<ExitCode>
where
    R: Fn() -> Result<Config, ConfigErrors> + Clone + Send + 'static,
{
    let config = match read() {
        Ok(config) => config,
        Err(errors) => {
            super::complain(&errors);
            return Ok(ExitCode::from(super::USAGE));
        }
    };
    log_to_stderr();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(Box::pin(serve(front, config, read)))
}

async fn serve<R>(front: Front, config: Config, read: R) -> anyhow::Result<ExitCode>
where
    R: Fn() -> Result<Config, ConfigErrors> + Clone + Send + 'static,
{
    // Before anything else, so that no signal falls between two stools.
    let mut signals = Signals::new().context("cannot listen to signals")?;
    let drain = config.timeouts.drain;
    let upstream = match front {
        Front::Proxy => Some(config.default_route.upstream.to_string()),
        Front::ExternalProcessor => None,
    };
    let mode = config.default_route.policy.mode;
    let app = match App::start_as(front, config).await {
        Ok(app) => app,
        Err(error) => return Ok(refuse(&error)),
    };
    announce(&app, upstream, mode.name()).context("cannot write to standard output")?;
    let code = loop {
        match signals.next().await {
            Told::End(code) => break code,
            Told::Reload => tokio::select! {
                () = reload(&app, read.clone()) => {}
                code = signals.end() => break code,
            },
        }
    };
    tracing::info!(code = "draining");
    let deadline = async {
        tokio::select! {
            () = tokio::time::sleep(drain) => {}
            _ = signals.end() => {}
        }
    };
    let drained = app.drain(deadline).await;
    tracing::info!(code = "drained", how = ?drained);
    Ok(ExitCode::from(code))
}

/// Reads file, environment and rules again. What is broken is told, and what runs goes on.
async fn reload<R>(app: &App, read: R)
where
    R: Fn() -> Result<Config, ConfigErrors> + Send + 'static,
{
    match app.reload(read).await {
        Ok(Reloaded { rules, needs_restart }) => {
            tracing::info!(code = "reloaded", rules);
            if !needs_restart.is_empty() {
                let keys = needs_restart.join(", ");
                tracing::warn!(code = "reload_needs_restart", keys);
            }
        }
        Err(error) => tracing::error!(code = "reload_failed", reason = %error),
    }
}

fn refuse(error: &StartError) -> ExitCode {
    super::complain(error);
    ExitCode::from(if error.is_configuration() { super::USAGE } else { super::INTERNAL })
}

/// The one line on standard output: where thinkgate can be reached.
#[derive(serde::Serialize)]
struct Ready<'a> {
    listening: String,
    admin: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<String>,
    mode: &'a str,
    rules: usize,
    classifier: &'a str,
}

fn announce(app: &App, upstream: Option<String>, mode: &str) -> std::io::Result<()> {
    let ready = Ready {
        listening: app.listening().to_string(),
        admin: app.admin().to_string(),
        upstream,
        mode,
        rules: app.rules(),
        classifier: app.classifier(),
    };
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &ready)?;
    writeln!(out)?;
    out.flush()
}

fn log_to_stderr() {
    let filter =
        EnvFilter::try_from_env("THINKGATE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// What a signal asks for.
enum Told {
    /// To end, with this exit code.
    End(u8),
    /// To read the configuration again.
    Reload,
}

// === impl Signals ===

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.hang_up.recv() => Told::Reload,
            _ = self.terminate.recv() => Told::End(143),
            _ = self.interrupt.recv() => Told::End(130),
        }
    }

    /// Waits for a signal to end; gives the exit code that stands for it.
    async fn end(&mut self) -> u8 {
        tokio::select! {
            _ = self.terminate.recv() => 143,
            _ = self.interrupt.recv() => 130,
        }
    }
}

// === impl Arguments ===

impl Arguments {
    /// The flags as a tree to lay over the other sources.
    fn into_tree(self) -> Node {
        self.common.into_tree([
            ("--upstream", &["upstream"][..], self.upstream),
            ("--listen", &["listen"], self.listen),
        ])
    }
}

// === impl Common ===

impl Common {
    /// The file of the flag.
    pub(super) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// The flags as a tree to lay over the other sources, with those that not every server takes: the flag, its key and
    /// its value.
    pub(super) fn into_tree<const N: usize>(
        self,
        more: [(&'static str, &[&str], Option<String>); N],
    ) -> Node {
        let no_classifier = self.no_classifier.then(|| "false".to_owned());
        let flags = [
            ("--admin-listen", &["admin_listen"][..], self.admin_listen),
            ("--mode", &["mode"], self.mode),
            ("--audit", &["audit", "file"], self.audit),
            ("--no-classifier", &["classifier", "enabled"], no_classifier),
        ];
        let nothing = Node { origin: Origin::Flag("--"), value: Value::Map([].into()) };
        let flags = more.into_iter().chain(flags);
        flags
            .filter_map(|(flag, key, value)| Some(from_flag(flag, key, Value::Scalar(value?))))
            .chain(super::rules_flag(self.rules))
            .fold(nothing, Node::under)
    }
}
