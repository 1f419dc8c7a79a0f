//! The way to the model server: the pooled client, HTTP/1.1, or HTTP/2 where ALPN offers it; plain or TLS.

use std::{fs, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    Request, Response, Version,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioTimer,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio_util::task::TaskTracker;

use super::{
    asking_again::AskingAgain,
    body::{RequestBody, WireBody},
    connect::TimedConnector,
    failure::Failure,
    headers,
};
use crate::{
    config::{Route, Timeouts, UpstreamTls},
    record::metrics::{ErrorKind, ErrorSource},
};

/// The way of one exchange to the model server and back.
pub trait Upstream: Send {
    /// The client's body.
    type RequestBody: WireBody;
    /// The model server's.
    type ResponseBody: WireBody;
    /// Whether tunnels may be asked for.
    const TAKES_CONNECT: bool;

    /// Asks for an answer; `inspected` says whether it is going to be read.
    fn ask(
        &mut self,
        route: &Route,
        request: Request<RequestBody<Self::RequestBody>>,
        inspected: bool,
    ) -> impl Future<Output = Result<Response<Self::ResponseBody>, Failure>> + Send;

    /// What it takes to send `request` once more, with another body; none where that cannot be done.
    fn asking_again(
        &self,
        _route: &Route,
        _request: &Request<RequestBody<Self::RequestBody>>,
    ) -> Option<Box<AskingAgain<Self::ResponseBody>>> {
        None
    }
}

/// The way over the pooled client.
#[derive(Debug)]
pub(super) struct Pooled(pub(super) UpstreamClient);

/// A client for every upstream, with connections of its own.
pub type UpstreamClient = Client<TimedConnector<HttpsConnector<HttpConnector>>, RequestBody>;

/// The clients for every upstream: one for each thread that runs connections of its own, so that both ends of an exchange
/// run there, and one for all others.
#[derive(Clone, Debug)]
pub struct UpstreamClients {
    shared: UpstreamClient,
    of_workers: Arc<[UpstreamClient]>,
}

/// How long an unused connection is kept: shorter than servers keep it (uvicorn, cpp-httplib and Node close after
/// five seconds), because a request that meets their closing is lost.
const POOL_IDLE: Duration = Duration::from_secs(4);

/// The largest head, and the most that one read brings. Heads of model servers are small.
const READ_BUFFER: usize = 64 << 10;

/// Runs tasks under an owner that can wait for them.
#[derive(Clone, Debug)]
struct TrackedExecutor(TaskTracker);

/// Why no TLS client could be set up.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamTlsError {
    /// The file of authorities cannot be read.
    #[error("cannot read upstream_tls.ca_file {path}")]
    CaFile {
        /// The file.
        path: String,
    },
    /// Neither the file nor the system has an authority.
    #[error("no certificate authority found (is SSL_CERT_FILE right?)")]
    NoAuthority,
    /// The TLS library refuses its own defaults.
    #[error("TLS cannot be set up")]
    Setup(#[from] rustls::Error),
}

/// The clients for every upstream; their connections are `tasks`.
pub fn clients(
    tls: &UpstreamTls,
    timeouts: &Timeouts,
    needs_tls: bool,
    workers: usize,
    tasks: &TaskTracker,
) -> Result<UpstreamClients, UpstreamTlsError> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_keepalive(Some(Duration::from_mins(1)));
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls_config(tls, needs_tls)?)
        .https_or_http()
        .enable_all_versions()
        .wrap_connector(http);
    let connector = TimedConnector::new(https, timeouts.connect);
    let client = || {
        Client::builder(TrackedExecutor(tasks.clone()))
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .http1_max_buf_size(READ_BUFFER)
            .http2_initial_stream_window_size(256 << 10)
            .http2_max_send_buf_size(64 << 10)
            .build(connector.clone())
    };
    Ok(UpstreamClients { shared: client(), of_workers: (0..workers).map(|_| client()).collect() })
}

// === impl UpstreamClients ===

impl UpstreamClients {
    /// The client of one thread, or the one for all others.
    #[must_use]
    pub fn of(&self, worker: Option<usize>) -> &UpstreamClient {
        worker.and_then(|number| self.of_workers.get(number)).unwrap_or(&self.shared)
    }
}

// === impl Pooled ===

impl Upstream for Pooled {
    type RequestBody = Incoming;
    type ResponseBody = Incoming;
    const TAKES_CONNECT: bool = false;

    async fn ask(
        &mut self,
        route: &Route,
        request: Request<RequestBody>,
        inspected: bool,
    ) -> Result<Response<Incoming>, Failure> {
        let internal = |_| Failure { source: ErrorSource::Internal, kind: ErrorKind::Request };
        let request = upstream_request(route, request, inspected).map_err(internal)?;
        let answer = self.0.request(request).await;
        let mut response = answer.map_err(|error| Failure::of_client(&error))?;
        headers::strip_hop_by_hop(response.headers_mut());
        Ok(response)
    }

    fn asking_again(
        &self,
        route: &Route,
        request: &Request<RequestBody>,
    ) -> Option<Box<AskingAgain<Incoming>>> {
        let mut head = Request::new(RequestBody::whole(Bytes::new()));
        head.method_mut().clone_from(request.method());
        head.uri_mut().clone_from(request.uri());
        head.headers_mut().clone_from(request.headers());
        let (head, _) = upstream_request(route, head, true).ok()?.into_parts();
        let client = self.0.clone();
        Some(Box::new(AskingAgain::by(move |body| {
            let request = Request::from_parts(head.clone(), RequestBody::whole(body));
            let answer = client.request(request);
            async move { answer.await.map_err(|error| Failure::of_client(&error)) }
        })))
    }
}

fn upstream_request(
    route: &Route,
    request: Request<RequestBody>,
    inspected: bool,
) -> Result<Request<RequestBody>, http::Error> {
    let (mut parts, body) = request.into_parts();
    parts.uri = route.upstream.join(parts.uri.path_and_query())?;
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    headers::prepare_request(&mut parts.headers, inspected);
    if body.is_whole() {
        // The client sets the length of the body that it is given.
        parts.headers.remove(CONTENT_LENGTH);
        parts.headers.remove(TRANSFER_ENCODING);
    }
    Ok(Request::from_parts(parts, body))
}

fn tls_config(tls: &UpstreamTls, needed: bool) -> Result<ClientConfig, UpstreamTlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = match &tls.ca_file {
        Some(path) => builder.with_root_certificates(roots_of_file(path)?),
        None if needed => builder.with_native_roots().map_err(|_| UpstreamTlsError::NoAuthority)?,
        None => builder.with_root_certificates(RootCertStore::empty()),
    };
    Ok(builder.with_no_client_auth())
}

fn roots_of_file(path: &Path) -> Result<RootCertStore, UpstreamTlsError> {
    let unreadable = || UpstreamTlsError::CaFile { path: path.display().to_string() };
    let text = fs::read(path).map_err(|_| unreadable())?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|_| unreadable())?;
        roots.add(certificate).map_err(|_| unreadable())?;
    }
    if roots.is_empty() { Err(unreadable()) } else { Ok(roots) }
}

impl<F> hyper::rt::Executor<F> for TrackedExecutor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}
