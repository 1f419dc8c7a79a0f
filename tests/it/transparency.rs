use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::Client as PooledClient,
    rt::{TokioExecutor, TokioIo},
};

use crate::support::{Gate, Script, Signal, Upstream, soon};

const EVENTS: &str = ": keep-alive\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"hm\"}}]}\r\n\r\nevent: x\nid: 7\ndata:{ \"choices\" : [] , \"odd\":1e3}\n\ndata: [DONE]\n\n";

#[tokio::test(flavor = "multi_thread")]
async fn passes_every_method_path_and_query_to_the_upstreams_own_path() {
    let upstream = Upstream::start(Script::answer("text/plain", "ok")).await;
    let gate = Gate::before(&format!("{}/base/", upstream.url())).await;
    let mut client = gate.client().await;
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
        let target = "/v1/a%2Fb/../c?x=1&y=%20&&z";
        client
            .send(format!(
                "{method} {target} HTTP/1.1\r\nhost: gate\r\ncontent-length: 3\r\n\r\n\x01\x02\x03"
            ))
            .await;
        assert_eq!(client.response().await.text(), "ok");
        let seen = upstream.requests().pop().unwrap();
        assert!(
            seen.head.starts_with(&format!("{method} /base{target} HTTP/1.1\r\n")),
            "{}",
            seen.head
        );
        assert_eq!(seen.body, [1, 2, 3]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_callers_fields_and_keeps_those_of_the_hop() {
    let upstream = Upstream::start(Script::answer("text/plain", "ok")).await;
    let gate = Gate::before(&upstream.url()).await;
    let mut client = gate.client().await;
    client
        .send(
            "GET /v1/models HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer sk-1\r\nx-request-id: mine\r\n\
             traceparent: 00-1-2-01\r\naccept-encoding: gzip\r\nconnection: keep-alive, x-hop\r\nx-hop: 1\r\n\
             keep-alive: timeout=1\r\nproxy-authorization: Basic x\r\nupgrade: h2c\r\nx-twice: a\r\nx-twice: b\r\n\r\n",
        )
        .await;
    let response = client.response().await;
    assert_eq!(response.header("x-request-id"), Some("mine"));
    let mut lines: Vec<_> = upstream.requests()[0]
        .head
        .lines()
        .skip(1)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "accept-encoding: gzip".to_owned(),
            "authorization: Bearer sk-1".to_owned(),
            format!("host: {}", upstream.address),
            "traceparent: 00-1-2-01".to_owned(),
            "x-request-id: mine".to_owned(),
            "x-twice: a".to_owned(),
            "x-twice: b".to_owned(),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn asks_for_no_compression_where_it_reads() {
    let upstream = Upstream::start(Script::answer("application/json", "{}")).await;
    let gate = Gate::before(&upstream.url()).await;
    let mut client = gate.client().await;
    client
        .send("POST /v1/chat/completions HTTP/1.1\r\nhost: gate\r\naccept-encoding: gzip, br\r\ncontent-length: 2\r\n\r\n{}")
        .await;
    client.response().await;
    let head = &upstream.requests()[0].head;
    assert!(head.contains("accept-encoding: identity\r\n"), "{head}");
    assert!(head.contains("content-length: 2\r\n"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn returns_status_reason_fields_and_body_as_they_came() {
    let answer = "HTTP/1.1 418 I am Odd\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nx-request-id: theirs\r\n\
                  connection: x-hop\r\nx-hop: 1\r\ncontent-length: 5\r\n\r\n\x00\x01\x02\r\n";
    let upstream = Upstream::start(Script::new().send(answer)).await;
    let gate = Gate::before(&upstream.url()).await;
    let mut client = gate.client().await;
    client.chat().await;
    let response = client.response().await;
    assert!(response.head.starts_with("HTTP/1.1 418 I am Odd\r\n"), "{}", response.head);
    assert_eq!(response.head.matches("set-cookie").count(), 2);
    assert_eq!(response.header("x-request-id"), Some("theirs"));
    assert_eq!(response.header("x-hop"), None);
    assert_eq!(response.body, b"\x00\x01\x02\r\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_request_keeps_the_length_that_the_body_would_have() {
    let upstream =
        Upstream::start(Script::new().send("HTTP/1.1 200 OK\r\ncontent-length: 77\r\n\r\n")).await;
    let gate = Gate::before(&upstream.url()).await;
    let mut client = gate.client().await;
    client.send("HEAD /v1/models HTTP/1.1\r\nhost: gate\r\n\r\n").await;
    let head = client.until("\r\n\r\n").await;
    assert!(head.contains("content-length: 77\r\n"), "{head}");
    client.send("HEAD /v1/models HTTP/1.1\r\nhost: gate\r\n\r\n").await;
    client.until("\r\n\r\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_passes_byte_for_byte_and_each_chunk_as_it_comes() {
    let go_on = Signal::new();
    let (first, second) = EVENTS.split_at(50);
    let script = Script::stream().chunk(first).wait(&go_on).chunk(second).end();
    let upstream = Upstream::start(script).await;
    let gate = Gate::before(&upstream.url()).await;
    let mut client = gate.client().await;
    client.chat().await;
    let head = client.until("\r\n\r\n").await;
    assert!(head.contains("content-type: text/event-stream\r\n"), "{head}");
    // The upstream waits for the test, the test for the first chunk: nothing may be kept for company.
    client.until(&format!("{:x}\r\n{first}\r\n", first.len())).await;
    go_on.give();
    client.until(&format!("{:x}\r\n{second}\r\n", second.len())).await;
    client.until("0\r\n\r\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_pass() {
    let script = Script::new()
        .send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n")
        .chunk("body")
        .send("0\r\nx-sum: 42\r\n\r\n");
    let upstream = Upstream::start(script).await;
    let gate = Gate::before(&upstream.url()).await;
    let mut client = gate.client().await;
    client.send("GET /v1/x HTTP/1.1\r\nhost: gate\r\nte: trailers\r\n\r\n").await;
    let response = client.response().await;
    assert!(upstream.requests()[0].head.contains("te: trailers\r\n"));
    assert_eq!(response.text(), "body");
    assert_eq!(response.trailers, "x-sum: 42\r\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_chunked_coding_passes_whole() {
    let upstream = Upstream::start(Script::answer("text/plain", "ok")).await;
    let gate = Gate::before(&upstream.url()).await;
    for path in ["/v1/embeddings", "/v1/chat/completions"] {
        let mut client = gate.client().await;
        client
            .send(format!(
                "POST {path} HTTP/1.1\r\nhost: gate\r\ntransfer-encoding: chunked\r\n\r\n4\r\n{{\"a\"\r\n"
            ))
            .await;
        client.send("3\r\n:1}\r\n0\r\n\r\n").await;
        assert_eq!(client.response().await.text(), "ok");
        assert_eq!(upstream.requests().pop().unwrap().body, b"{\"a\":1}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_expects_100_is_told_to_go_on() {
    let upstream = Upstream::start(Script::answer("text/plain", "ok")).await;
    let gate = Gate::before(&upstream.url()).await;
    let mut client = gate.client().await;
    client
        .send("POST /v1/chat/completions HTTP/1.1\r\nhost: gate\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        .await;
    client.until("HTTP/1.1 100 Continue\r\n\r\n").await;
    client.send("{}").await;
    assert_eq!(client.response().await.text(), "ok");
    assert!(!upstream.requests()[0].head.contains("expect"));
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_tunnel() {
    let upstream = Upstream::start(Script::answer("text/plain", "ok")).await;
    let gate = Gate::before(&upstream.url()).await;
    let mut client = gate.client().await;
    client.send("CONNECT example.org:443 HTTP/1.1\r\nhost: example.org:443\r\n\r\n").await;
    assert_eq!(client.response().await.status(), 405);
    assert!(upstream.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_speak_http2() {
    let upstream = Upstream::start(Script::stream().chunk(EVENTS).end()).await;
    let gate = Gate::before(&upstream.url()).await;
    let client =
        PooledClient::builder(TokioExecutor::new()).http2_only(true).build_http::<Full<Bytes>>();
    let request = Request::post(format!("http://{}/v1/chat/completions?q", gate.address()))
        .body(Full::from("{}"))
        .unwrap();
    let response = soon("a response", client.request(request)).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    let body = soon("a body", response.into_body().collect()).await.unwrap().to_bytes();
    assert_eq!(body, EVENTS);
    let seen = &upstream.requests()[0];
    assert!(seen.head.starts_with("POST /v1/chat/completions?q HTTP/1.1\r\n"));
    assert_eq!(seen.body, b"{}");
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_go_to_their_own_upstreams() {
    let usual = Upstream::start(Script::answer("text/plain", "usual")).await;
    let other = Upstream::start(Script::answer("text/plain", "other")).await;
    let routes =
        format!("routes:\n  - {{name: team-a, path: /a, upstream: {}, mode: off}}", other.url());
    let gate = Gate::configured(&usual.url(), &routes).await;
    let mut client = gate.client().await;
    for (path, answer) in
        [("/a/v1/models", "other"), ("/ab", "usual"), ("/a", "other"), ("/v1", "usual")]
    {
        client.send(format!("GET {path} HTTP/1.1\r\nhost: gate\r\n\r\n")).await;
        assert_eq!(client.response().await.text(), answer, "{path}");
    }
    assert_eq!(
        gate.metric(r#"requests_total{code="200",dialect="unknown",route="team-a"}"#).await,
        Some(2.0)
    );
    assert_eq!(
        gate.metric(r#"unscanned_released_bytes_total{channel="unknown",reason="mode_off"}"#).await,
        Some(10.0)
    );
    assert_eq!(
        gate.metric(r#"unscanned_released_bytes_total{channel="unknown",reason="path"}"#).await,
        Some(10.0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_https_upstream_is_verified_and_spoken_to_in_both_versions() {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, key.cert.pem()).unwrap();
    let trusting = format!("upstream_tls: {{ca_file: {}}}", ca_file.display());

    // HTTP/1.1, where ALPN does not offer more.
    let tls = tls_config(&key, &[]);
    let upstream = Upstream::start_tls(
        Script::answer("text/plain", "one"),
        tokio_rustls::TlsAcceptor::from(Arc::new(tls)),
    )
    .await;
    let url = format!("https://localhost:{}", upstream.address.port());
    let gate = Gate::configured(&url, &trusting).await;
    let mut client = gate.client().await;
    client.chat().await;
    assert_eq!(client.response().await.text(), "one");

    // HTTP/2, where it does.
    let tls = tls_config(&key, &[b"h2"]);
    let (port, server) = h2_upstream(tls).await;
    let gate = Gate::configured(&format!("https://localhost:{port}"), &trusting).await;
    let mut client = gate.client().await;
    client.chat().await;
    assert_eq!(client.response().await.text(), "HTTP/2.0");
    server.abort();

    // A certificate of nobody whom we trust.
    let stranger = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(&ca_file, stranger.cert.pem()).unwrap();
    let gate = Gate::configured(&url, &trusting).await;
    let mut client = gate.client().await;
    client.chat().await;
    assert_eq!(client.response().await.status(), 502);
}

fn tls_config(key: &rcgen::CertifiedKey<rcgen::KeyPair>, alpn: &[&[u8]]) -> rustls::ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let private =
        rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config
}

/// Answers one connection's requests with the version that they came in.
async fn h2_upstream(tls: rustls::ServerConfig) -> (u16, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = acceptor.accept(stream).await.unwrap();
        let service =
            hyper::service::service_fn(|request: Request<hyper::body::Incoming>| async move {
                let version = format!("{:?}", request.version());
                request.into_body().collect().await.unwrap();
                Ok::<_, std::convert::Infallible>(http::Response::new(Full::<Bytes>::from(version)))
            });
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service)
            .await
            .unwrap();
    });
    (port, server)
}
