//! The floor: a bare reverse proxy of the same hyper, with the settings that thinkgate gives it, and nothing else.
//!
//! HTTP/1.1 on both sides, `TCP_NODELAY`, a pooled client, the upstream's body handed on frame by frame.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::{
    HeaderMap, Request, Response, StatusCode, Uri,
    header::{CONNECTION, HOST, TRANSFER_ENCODING},
};
use http_body_util::{Either, Empty};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tokio::net::TcpListener;

const BUFFER: usize = 64 << 10;

type Upstream = Client<HttpConnector, Incoming>;

/// Serves until it is killed; tells its address on standard output.
pub(crate) fn serve(upstream: SocketAddr) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(accept(upstream));
}

async fn accept(upstream: SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    super::process::announce(listener.local_addr().unwrap());
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Upstream = Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_mins(1))
        .http1_max_buf_size(BUFFER)
        .build(connector);
    let client = Arc::new(client);
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let client = Arc::clone(&client);
        tokio::spawn(async move {
            let service =
                service_fn(move |request| forward(Arc::clone(&client), upstream, request));
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).max_buf_size(BUFFER);
            // A client that goes away ends its connection: nothing to report.
            drop(builder.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn forward(
    client: Arc<Upstream>,
    upstream: SocketAddr,
    mut request: Request<Incoming>,
) -> Result<Response<Either<Incoming, Empty<Bytes>>>, http::Error> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = format!("http://{upstream}{path}").parse::<Uri>()?;
    strip(request.headers_mut());
    match client.request(request).await {
        Ok(mut response) => {
            strip(response.headers_mut());
            Ok(response.map(Either::Left))
        }
        Err(_) => {
            Response::builder().status(StatusCode::BAD_GATEWAY).body(Either::Right(Empty::new()))
        }
    }
}

fn strip(headers: &mut HeaderMap) {
    for name in [HOST, CONNECTION, TRANSFER_ENCODING] {
        headers.remove(name);
    }
}
