//! `thinkgate serve`.

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::Context;
use thinkgate::{
    app::{App, Reloaded, StartError},
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

/// Serves until a signal ends it; SIGHUP has the configuration read again.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let config = match read_config(arguments.clone()) {
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
    runtime.block_on(Box::pin(serve(config, arguments)))
}

fn read_config(arguments: Arguments) -> Result<Config, ConfigErrors> {
    let tree = super::file_and_environment(arguments.config.as_deref())?;
    Config::read(tree.under(arguments.into_tree()))
}

async fn serve(config: Config, arguments: Arguments) -> anyhow::Result<ExitCode> {
    // Before anything else, so that no signal falls between two stools.
    let mut signals = Signals::new().context("cannot listen to signals")?;
    let drain = config.timeouts.drain;
    let upstream = config.default_route.upstream.to_string();
    let mode = config.default_route.policy.mode;
    let app = match App::start(config).await {
        Ok(app) => app,
        Err(error) => return Ok(refuse(&error)),
    };
    announce(&app, &upstream, mode.name()).context("cannot write to standard output")?;
    let code = loop {
        match signals.next().await {
            Told::End(code) => break code,
            Told::Reload => tokio::select! {
                () = reload(&app, arguments.clone()) => {}
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
async fn reload(app: &App, arguments: Arguments) {
    match app.reload(move || read_config(arguments)).await {
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
fn announce(app: &App, upstream: &str, mode: &str) -> std::io::Result<()> {
    let line = serde_json::json!({
        "listening": app.listening().to_string(),
        "admin": app.admin().to_string(),
        "upstream": upstream,
        "mode": mode,
        "rules": app.rules(),
        "classifier": app.classifier(),
    });
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
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
        let one = |text: String| Value::Scalar(text);
        let rules = super::rules_flag(self.rules);
        let flags = [
            ("--upstream", &["upstream"][..], self.upstream.map(one)),
            ("--listen", &["listen"], self.listen.map(one)),
            ("--admin-listen", &["admin_listen"], self.admin_listen.map(one)),
            ("--mode", &["mode"], self.mode.map(one)),
            ("--audit", &["audit", "file"], self.audit.map(one)),
            (
                "--no-classifier",
                &["classifier", "enabled"],
                self.no_classifier.then(|| one("false".to_owned())),
            ),
        ];
        let nothing = Node { origin: Origin::Flag("--"), value: Value::Map([].into()) };
        flags
            .into_iter()
            .filter_map(|(flag, key, value)| Some(from_flag(flag, key, value?)))
            .chain(rules)
            .fold(nothing, Node::under)
    }
}
