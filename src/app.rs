//! A configuration becomes a running thinkgate.
//!
//! [`App::start`] loads everything that can fail, binds both listeners, and only then serves; [`App::reload`] gives new
//! exchanges another configuration; [`App::drain`] ends it. Two runs in one process share nothing but, if they are given the same, compiled rules.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, Version, uri::Scheme};
use http_body::Body;
use hyper::body::Incoming;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::{Audit, Config, ConfigErrors, Route, RuleSource, load_rules},
    extproc::ExternalProcessor,
    proxy::{
        AuditLog, AuditLogError, CaptureLog, CaptureLogError, CurrentProxy, Proxy, Remote,
        RemoteError, RouteCapture, RouteState, UpstreamClients, UpstreamTlsError, clients,
    },
    record::{audit::TEXT_BYTES, metrics::Metrics},
    rules::RuleSet,
    scorer::{Backend, Model, Runtime, Scorers, ScorersError},
    server::{
        Accepting, Admin, ConnectionSettings, Rung, Worker, Workers, accept_connections,
        serve_connection,
    },
    session::{Keep, Plan},
};

/// What thinkgate is to those who connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// A proxy before a model server.
    Proxy,
    /// What an Envoy asks about the exchanges that go through it.
    ExternalProcessor,
}

/// A running thinkgate.
#[derive(Debug)]
pub struct App {
    listening: SocketAddr,
    admin: SocketAddr,
    rules: usize,
    /// What runs; of a later one, what needs no restart.
    config: Config,
    proxy: Arc<CurrentProxy>,
    metrics: Arc<Metrics>,
    admin_state: Admin,
    accepting: CancellationToken,
    admin_stop: CancellationToken,
    drain: CancellationToken,
    abort: CancellationToken,
    /// The threads that run clients' connections.
    workers: Arc<Workers>,
    tasks: TaskTracker,
    admin_tasks: TaskTracker,
    upstream_tasks: TaskTracker,
    scorers: Option<Arc<Scorers>>,
    /// Exchanges that are over for their client, and wait for their last scores.
    closing: TaskTracker,
}

/// Why thinkgate does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration, or a rule pack, is broken; nothing was bound.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// A file or the TLS set-up that the configuration names is unusable; nothing was bound.
    #[error(transparent)]
    UpstreamTls(#[from] UpstreamTlsError),
    /// The audit log cannot be written; nothing was bound.
    #[error(transparent)]
    Audit(#[from] AuditLogError),
    /// Nothing can be captured; nothing was bound.
    #[error(transparent)]
    Capture(#[from] CaptureLogError),
    /// A listener cannot be bound.
    #[error("cannot listen on {address}: {cause}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        cause: io::Error,
    },
    /// The guard model elsewhere cannot be asked; nothing was bound.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The classifier's model cannot be used, or its threads do not start; nothing was bound.
    #[error(transparent)]
    Classifier(#[from] ScorersError),
    /// The rules' compilation broke off.
    #[error("compiling the rules broke off")]
    RulesPanicked,
    /// The loading of the classifier's model broke off.
    #[error("loading the classifier's model broke off")]
    ClassifierPanicked,
    /// No thread can be started for connections.
    #[error("cannot start the threads that serve connections: {0}")]
    Threads(io::Error),
    /// The metrics cannot be set up.
    #[error("cannot set up metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every exchange came to its end.
    Clean,
    /// Some were broken off.
    BrokenOff,
}

/// What a new configuration has brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// How many rules hold now.
    pub rules: usize,
    /// Keys that were changed and hold only after a restart.
    pub needs_restart: Vec<&'static str>,
}

// === impl StartError ===

impl StartError {
    /// Whether the operator's configuration is to blame.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Config(_)
            | Self::UpstreamTls(_)
            | Self::Audit(_)
            | Self::Capture(_)
            | Self::Remote(_)
            | Self::Classifier(ScorersError::Config(_) | ScorersError::Model(_)) => true,
            Self::Classifier(ScorersError::Thread(_))
            | Self::Bind { .. }
            | Self::Threads(_)
            | Self::Metrics(_)
            | Self::RulesPanicked
            | Self::ClassifierPanicked => false,
        }
    }
}

// === impl Front ===

impl Front {
    fn address(self, config: &Config) -> SocketAddr {
        match self {
            Self::Proxy => config.listen,
            Self::ExternalProcessor => config.ext_proc.listen,
        }
    }
}

// === impl App ===

impl App {
    /// Loads, binds and serves as a proxy. Must run inside a tokio runtime.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_as(Front::Proxy, config).await
    }

    /// Loads, binds and serves. Must run inside a tokio runtime.
    pub async fn start_as(front: Front, config: Config) -> Result<Self, StartError> {
        let rules = Self::load_rules(config.rules.clone()).await?;
        Box::pin(Self::start_with_rules(front, config, rules)).await
    }

    /// Compiles the packs that `sources` name, off the runtime's threads: thousands of rules take seconds.
    pub async fn load_rules(sources: Vec<RuleSource>) -> Result<Arc<RuleSet>, StartError> {
        match tokio::task::spawn_blocking(move || load_rules(&sources)).await {
            Ok(rules) => Ok(Arc::new(rules?)),
            Err(_) => Err(StartError::RulesPanicked),
        }
    }

    /// Binds and serves with rules that are compiled already; several runs in one process may share them.
    pub async fn start_with(config: Config, rules: Arc<RuleSet>) -> Result<Self, StartError> {
        Box::pin(Self::start_with_rules(Front::Proxy, config, rules)).await
    }

    async fn start_with_rules(
        front: Front,
        config: Config,
        rules: Arc<RuleSet>,
    ) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::new()?);
        let upstream_tasks = TaskTracker::new();
        let workers = Workers::start(config.connections.threads).map_err(StartError::Threads)?;
        let clients = upstream_clients(&config, workers.count(), &upstream_tasks)?;
        let audit = AuditLog::open(&config.audit, Arc::clone(&metrics))?.map(Arc::new);
        let captures = config.capture.as_ref();
        let captures = captures.map(|capture| CaptureLog::open(capture, Arc::clone(&metrics)));
        let scorers = start_scorers(&config, &metrics).await?;
        let closing = TaskTracker::new();
        let shared = Shared {
            clients,
            audit,
            captures: captures.transpose()?.map(Arc::new),
            metrics: Arc::clone(&metrics),
            scorers: scorers.clone(),
            closing: closing.clone(),
        };
        let proxy = proxy(&config, &rules, shared)?;
        let address = front.address(&config);
        let listener = bind(address).await?;
        let admin_listener = bind(config.admin_listen).await?;
        let app = Self {
            listening: local_address(&listener, address)?,
            admin: local_address(&admin_listener, config.admin_listen)?,
            rules: rules.rules().len(),
            admin_state: Admin::new(Arc::clone(&metrics)),
            metrics,
            proxy: Arc::new(CurrentProxy::new(proxy)),
            accepting: CancellationToken::new(),
            admin_stop: CancellationToken::new(),
            drain: CancellationToken::new(),
            abort: CancellationToken::new(),
            workers: Arc::new(workers),
            tasks: TaskTracker::new(),
            admin_tasks: TaskTracker::new(),
            upstream_tasks,
            scorers,
            closing,
            config,
        };
        app.serve_admin(admin_listener);
        app.serve_as(front, listener);
        app.admin_state.set_ready(true);
        Ok(app)
    }

    fn serve_as(&self, front: Front, listener: TcpListener) {
        let proxies = Arc::clone(&self.proxy);
        match front {
            Front::Proxy => {
                self.serve_clients(listener, move |request: Request<Incoming>, worker| {
                    // A stream of HTTP/2 is not run where its connection is.
                    let worker = (request.version() != Version::HTTP_2).then_some(worker);
                    proxies.now().handle(request, worker)
                });
            }
            Front::ExternalProcessor => {
                let processor = ExternalProcessor::new(proxies);
                self.serve_clients(listener, move |request, _| processor.clone().call(request));
            }
        }
    }

    fn serve_clients<S, F, B>(&self, listener: TcpListener, service: S)
    where
        S: Fn(Request<Incoming>, usize) -> F + Clone + Send + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let settings = self.connection_settings(&self.tasks, &self.drain, &self.abort);
        let accepting = Accepting {
            stop: self.accepting.clone(),
            limit: self.config.connections.clients.map(|limit| Arc::new(Semaphore::new(limit))),
        };
        let (tasks, workers) = (self.tasks.clone(), Arc::clone(&self.workers));
        self.tasks.spawn(accept_connections(listener, accepting, move |stream, permit| {
            let Some(Worker { number, handle }) = workers.next() else { return };
            let _entered = handle.enter();
            // Where the stream cannot be handed over its client is gone already.
            let Ok(stream) = stream.into_std().and_then(TcpStream::from_std) else { return };
            let service = service.clone();
            let service = move |request| service(request, number);
            // Boxed, so that the task does not hold the future's room several times over.
            let connection = Box::pin(serve_connection(stream, settings.clone(), service));
            tasks.spawn(async move {
                connection.await;
                drop(permit);
            });
        }));
    }

    fn serve_admin(&self, listener: TcpListener) {
        let stop = &self.admin_stop;
        let settings = self.connection_settings(&self.admin_tasks, stop, stop);
        let accepting = Accepting { stop: stop.clone(), limit: None };
        let admin = self.admin_state.clone();
        let tasks = self.admin_tasks.clone();
        self.admin_tasks.spawn(accept_connections(listener, accepting, move |stream, _| {
            let admin = admin.clone();
            tasks.spawn(serve_connection(stream, settings.clone(), move |request| {
                let response = admin.answer(&request);
                async move { response }
            }));
        }));
    }

    fn connection_settings(
        &self,
        tasks: &TaskTracker,
        drain: &CancellationToken,
        abort: &CancellationToken,
    ) -> ConnectionSettings {
        ConnectionSettings {
            header_timeout: self.config.timeouts.request_header,
            write_timeout: self.config.timeouts.client_write,
            drain: drain.clone(),
            abort: abort.clone(),
            rung: Rung::default(),
            tasks: tasks.clone(),
            streams: Handle::current(),
        }
    }

    /// Where callers connect.
    #[must_use]
    pub fn listening(&self) -> SocketAddr {
        self.listening
    }

    /// Where the operator connects.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// How many rules held at the start.
    #[must_use]
    pub fn rules(&self) -> usize {
        self.rules
    }

    /// What runs the classifier: `tract`, `native`, or `off`.
    #[must_use]
    pub fn classifier(&self) -> &'static str {
        self.scorers.as_ref().map_or("off", |scorers| scorers.models().backend().name())
    }

    /// The metrics.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// How many tasks serve clients: one accepts, one a connection, one a stream of HTTP/2.
    #[must_use]
    pub fn client_tasks(&self) -> usize {
        self.tasks.len()
    }

    /// How many tasks serve upstream connections.
    #[must_use]
    pub fn upstream_tasks(&self) -> usize {
        self.upstream_tasks.len()
    }

    /// Reads the configuration again, compiles its rules, and gives both to new exchanges; open ones keep theirs.
    /// Where anything is broken, everything stays as it is. The audit file is opened again, and another file begun for
    /// captures, in any case.
    ///
    /// Reading and compiling happen off the runtime's threads. What needs a restart is told and stays as it is.
    pub async fn reload<R>(&self, read: R) -> Result<Reloaded, StartError>
    where
        R: FnOnce() -> Result<Config, ConfigErrors> + Send + 'static,
    {
        let (current, running) = (Arc::clone(&self.proxy), self.config.clone());
        let (workers, upstream_tasks) = (self.workers.count(), self.upstream_tasks.clone());
        if let Some(audit) = &current.now().audit {
            audit.reopen();
        }
        if let Some(captures) = &current.now().captures {
            captures.begin_another_file();
        }
        let work = move || reload(&current, &running, workers, &upstream_tasks, read()?);
        let task = self.admin_tasks.spawn_blocking(work);
        let outcome = task.await.unwrap_or(Err(StartError::RulesPanicked));
        self.metrics.note_reload(outcome.is_ok());
        outcome
    }

    /// Accepts nothing more, lets open exchanges come to their end, and ends the rest when `deadline` has passed.
    ///
    /// The operator's listener answers until the end; `/readyz` says no from the beginning.
    pub async fn drain(self, deadline: impl Future<Output = ()>) -> Drained {
        self.admin_state.set_ready(false);
        self.accepting.cancel();
        self.drain.cancel();
        self.tasks.close();
        let drained = tokio::select! {
            biased;
            () = self.tasks.wait() => Drained::Clean,
            () = deadline => Drained::BrokenOff,
        };
        self.abort.cancel();
        self.tasks.wait().await;
        self.closing.close();
        self.closing.wait().await;
        self.admin_stop.cancel();
        self.admin_tasks.close();
        self.admin_tasks.wait().await;
        self.close_proxy().await;
        drained
    }

    /// Closes the upstream connections and writes what waits for the audit log.
    async fn close_proxy(self) {
        // Every task that shared the proxy has ended.
        let Some(proxy) = Arc::into_inner(self.proxy).and_then(CurrentProxy::into_proxy) else {
            return;
        };
        let Proxy { clients, audit, captures, scorers, routes, default_route, .. } = proxy;
        drop((clients, routes, default_route));
        if let Some(scorers) = scorers
            && tokio::task::spawn_blocking(move || scorers.close()).await.is_err()
        {
            tracing::error!(code = "scorers_panicked");
        }
        self.upstream_tasks.close();
        let limit = std::time::Duration::from_secs(1);
        if tokio::time::timeout(limit, self.upstream_tasks.wait()).await.is_err() {
            tracing::warn!(code = "upstream_connections_left");
        }
        let workers = self.workers;
        if tokio::task::spawn_blocking(move || workers.close()).await.is_err() {
            tracing::error!(code = "workers_panicked");
        }
        if let Some(audit) = audit.and_then(Arc::into_inner)
            && tokio::task::spawn_blocking(move || audit.close()).await.is_err()
        {
            tracing::error!(code = "audit_writer_panicked");
        }
        if let Some(captures) = captures.and_then(Arc::into_inner)
            && tokio::task::spawn_blocking(move || captures.close()).await.is_err()
        {
            tracing::error!(code = "captures_writer_panicked");
        }
    }
}

/// Puts `new` in the place of what holds, as far as it can be without a restart.
fn reload(
    current: &CurrentProxy,
    running: &Config,
    workers: usize,
    upstream_tasks: &TaskTracker,
    new: Config,
) -> Result<Reloaded, StartError> {
    let rules = Arc::new(load_rules(&new.rules)?);
    let needs_restart = running.needs_restart(&new);
    let config = running.renewed(new);
    let old = current.now();
    // Plain connections stay open for the next exchange. Certificates may be others now.
    let keeps_clients = !needs_tls(&config) && config.timeouts.connect == old.timeouts.connect;
    let clients = if keeps_clients {
        old.clients.clone()
    } else {
        upstream_clients(&config, workers, upstream_tasks)?
    };
    let shared = Shared {
        clients,
        audit: old.audit.clone(),
        captures: old.captures.clone(),
        metrics: Arc::clone(&old.metrics),
        scorers: old.scorers.clone(),
        closing: old.closing.clone(),
    };
    current.replace(proxy(&config, &rules, shared)?);
    Ok(Reloaded { rules: rules.rules().len(), needs_restart })
}

/// What one proxy leaves to the next.
struct Shared {
    clients: UpstreamClients,
    audit: Option<Arc<AuditLog>>,
    captures: Option<Arc<CaptureLog>>,
    metrics: Arc<Metrics>,
    scorers: Option<Arc<Scorers>>,
    closing: TaskTracker,
}

/// Loads the classifier's model off the runtime's threads, and starts its own.
async fn start_scorers(
    config: &Config,
    metrics: &Arc<Metrics>,
) -> Result<Option<Arc<Scorers>>, StartError> {
    let (config, metrics) = (config.classifier.clone(), Arc::clone(metrics));
    let started = tokio::task::spawn_blocking(move || Scorers::configured(&config, metrics));
    let scorers = started.await.map_err(|_| StartError::ClassifierPanicked)??;
    if let Some(second) = scorers.as_ref().and_then(|scorers| scorers.models().second()) {
        tell_of_second(second);
    }
    if scorers.is_some()
        && let Some(reason) = Runtime::get().complaint()
    {
        tracing::warn!(code = "classifier_library_unusable", reason);
    }
    Ok(scorers.map(Arc::new))
}

/// Says what the second model costs here, since it is asked only as far as the threads have time for it.
fn tell_of_second(second: &Model) {
    let (name, window_us) = (&second.manifest().name, second.run_time().as_micros());
    match second.backend() {
        Backend::Native => tracing::info!(code = "classifier_second_ready", name, window_us),
        Backend::Tract => tracing::warn!(
            code = "classifier_second_slow",
            name,
            window_us,
            "the built-in runtime is slow for it: name a native one with ORT_DYLIB_PATH"
        ),
    }
}

/// Says that content is written: nobody should find out later.
fn tell_of_captures(config: &Config) {
    let Some(capture) = &config.capture else { return };
    let routes =
        if capture.routes.is_empty() { "all".to_owned() } else { capture.routes.join(", ") };
    let mask: Vec<&str> = capture.mask.iter().map(|category| category.name()).collect();
    tracing::warn!(
        code = "capture_writes_content",
        folder = %capture.folder.display(),
        routes,
        sample = capture.sample,
        mask = mask.join(", "),
        retention_s = capture.retention.as_secs(),
        "prompts, thinking and answers are written to disk"
    );
}

fn proxy(config: &Config, rules: &Arc<RuleSet>, shared: Shared) -> Result<Proxy, RemoteError> {
    let remote = config.remote.as_ref().map(|remote| {
        let (client, metrics) = (shared.clients.of(None).clone(), Arc::clone(&shared.metrics));
        Remote::new(remote, client, metrics, shared.closing.clone()).map(Arc::new)
    });
    let state = |route: &Route| {
        let settings = config.session_settings(route);
        let plan = Plan::new(Arc::clone(rules), route.policy.clone(), settings);
        let plan = match &shared.scorers {
            Some(scorers) => {
                plan.with_classifier(scorers.models().configured_judge(&config.classifier))
            }
            None => plan,
        };
        let plan = match &config.remote {
            Some(remote) => plan.with_consultant(remote.consultant()),
            None => plan,
        };
        shared.metrics.route_begins(&route.name, plan.policy().mode);
        let captures = shared.captures.as_ref();
        let capture = captures.and_then(|log| RouteCapture::of(config, route, rules, log));
        Arc::new(RouteState { route: route.clone(), plan: Arc::new(plan), capture })
    };
    tell_of_captures(config);
    Ok(Proxy {
        routes: config.routes.iter().map(state).collect(),
        default_route: state(&config.default_route),
        clients: shared.clients,
        timeouts: config.timeouts,
        limits: config.limits,
        hold_deadline: config.hold.deadline,
        metrics: shared.metrics,
        audit: shared.audit,
        captures: shared.captures,
        scorers: shared.scorers,
        remote: remote.transpose()?,
        closing: shared.closing,
        keep: keep(&config.audit),
    })
}

fn upstream_clients(
    config: &Config,
    workers: usize,
    tasks: &TaskTracker,
) -> Result<UpstreamClients, UpstreamTlsError> {
    clients(&config.upstream_tls, &config.timeouts, needs_tls(config), workers, tasks)
}

fn needs_tls(config: &Config) -> bool {
    let routes = config.routes.iter().chain([&config.default_route]);
    let remote = config.remote.iter().map(|remote| &remote.url);
    let mut urls = routes.map(|route| &route.upstream).chain(remote);
    urls.any(|url| url.scheme == Scheme::HTTPS)
}

/// What sessions keep for the audit log.
fn keep(audit: &Audit) -> Keep {
    let asked = audit.text && audit.file.is_some();
    Keep { text: asked.then_some(TEXT_BYTES), trajectory: false }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|cause| StartError::Bind { address, cause })
}

fn local_address(listener: &TcpListener, asked: SocketAddr) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|cause| StartError::Bind { address: asked, cause })
}
