use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client as PooledClient, rt::TokioExecutor};
use thinkgate::app::Drained;

use crate::support::{Client, Gate, Script, Signal, Upstream, eventually, open_connections, soon};

const IDLE: &str = "timeouts: {upstream_idle: 200ms}";

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_before_the_answer_cancels_the_upstream() {
    for path in ["/v1/chat/completions", "/v1/other"] {
        let upstream = Upstream::start(Script::new().until_peer_closes()).await;
        let gate = Gate::before(&upstream.url()).await;
        let mut client = gate.client().await;
        client.post(path, "{}").await;
        upstream.received(1).await;
        drop(client);
        upstream.cancelled(1).await;
        gate.is_as_at_the_start(upstream.address).await;
        let code = gate.metrics().await;
        assert!(code.contains(r#"code="499""#), "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_inside_the_body_cancels_the_upstream() {
    for path in ["/v1/chat/completions", "/v1/other"] {
        let script = Script::stream().chunk("data: 1\n\n").until_peer_closes();
        let upstream = Upstream::start(script).await;
        let gate = Gate::before(&upstream.url()).await;
        let mut client = gate.client().await;
        client.post(path, "{}").await;
        client.until("data: 1\n\n").await;
        drop(client);
        upstream.cancelled(1).await;
        gate.is_as_at_the_start(upstream.address).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_stops_the_upstream_and_is_let_go() {
    const CHUNK: usize = 64 << 10;
    const CHUNKS: usize = 2048;
    let body = "x".repeat(CHUNK);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", CHUNK * CHUNKS);
    let upstream = Upstream::start(Script::new().send(head).flood(body, CHUNKS)).await;
    let gate = Gate::configured(&upstream.url(), "timeouts: {client_write: 500ms}").await;
    let mut client = gate.client().await;
    client.chat().await;
    // Nothing is read: what the upstream could write lies in the sockets' buffers, not here.
    upstream.cancelled(1).await;
    assert!(upstream.sent() < CHUNK * CHUNKS / 2, "{} bytes went out", upstream.sent());
    eventually("the end of the exchange", || gate.app().metrics().streams_active() == 0).await;
    eventually("the end of the connection's task", || gate.app().client_tasks() == 1).await;
    drop(client);
    gate.is_as_at_the_start(upstream.address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_client_that_opens_no_window_loses_its_stream() {
    let script = Script::stream().chunk("data: 1\n\n").until_peer_closes();
    let upstream = Upstream::start(script).await;
    let gate = Gate::configured(&upstream.url(), "timeouts: {client_write: 300ms}").await;
    let client = PooledClient::builder(TokioExecutor::new())
        .http2_only(true)
        .http2_initial_stream_window_size(0)
        .build_http::<Full<Bytes>>();
    for path in ["/v1/chat/completions", "/v1/other"] {
        let url = format!("http://{}{path}", gate.address());
        let request = Request::post(url).body(Full::from("{}")).unwrap();
        let response = soon("a response", client.request(request)).await.unwrap();
        assert_eq!(response.status(), 200);
        let body = soon("the stream's end", response.into_body().collect()).await;
        assert!(body.is_err(), "{body:?}");
    }
    upstream.cancelled(2).await;
    eventually("the end of the exchanges", || gate.app().metrics().streams_active() == 0).await;
    drop(client);
    gate.is_as_at_the_start(upstream.address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_slows_the_upstream_and_gets_everything() {
    const CHUNK: usize = 64 << 10;
    const CHUNKS: usize = 512;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", CHUNK * CHUNKS);
    let upstream =
        Upstream::start(Script::new().send(head).flood("x".repeat(CHUNK), CHUNKS).close()).await;
    let gate = Gate::before(&upstream.url()).await;
    let mut client = gate.client().await;
    client.chat().await;
    upstream.received(1).await;
    let mut seen = upstream.sent();
    loop {
        tokio::time::timeout(std::time::Duration::from_millis(300), async {
            eventually("more", || upstream.sent() > seen).await;
        })
        .await
        .map_or_else(|_| (), |()| ());
        if upstream.sent() == seen {
            break;
        }
        seen = upstream.sent();
    }
    assert!(seen < CHUNK * CHUNKS, "the upstream was never stopped");
    let response = client.response().await;
    assert!(response.complete);
    assert_eq!(response.body.len(), CHUNK * CHUNKS);
    drop(client);
    gate.is_as_at_the_start(upstream.address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_silent_before_its_answer_times_out() {
    let upstream = Upstream::start(Script::new().until_peer_closes()).await;
    let gate = Gate::configured(&upstream.url(), IDLE).await;
    let mut client = gate.client().await;
    client.chat().await;
    let response = client.response().await;
    assert_eq!(response.status(), 504);
    let error: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(error["error"]["code"], "upstream_timeout");
    assert_eq!(error["error"]["type"], "upstream_error");
    upstream.cancelled(1).await;
    assert_eq!(
        gate.metric(r#"upstream_errors_total{kind="idle_timeout",source="upstream"}"#).await,
        Some(1.0)
    );
    drop(client);
    gate.is_as_at_the_start(upstream.address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_falls_silent_inside_its_body_breaks_the_clients_body_too() {
    let script = Script::stream().chunk("data: 1\n\n").until_peer_closes();
    let upstream = Upstream::start(script).await;
    let gate = Gate::configured(&upstream.url(), IDLE).await;
    let mut client = gate.client().await;
    client.chat().await;
    let response = client.response().await;
    assert_eq!(response.text(), "data: 1\n\n");
    assert!(!response.complete);
    upstream.cancelled(1).await;
    drop(client);
    gate.is_as_at_the_start(upstream.address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_not_there_is_a_502() {
    let upstream = Upstream::start(Script::new()).await;
    let address = upstream.address;
    drop(upstream);
    eventually("the port's end", || std::net::TcpStream::connect(address).is_err()).await;
    let gate = Gate::before(&format!("http://{address}")).await;
    let mut client = gate.client().await;
    client.chat().await;
    let response = client.response().await;
    assert_eq!(response.status(), 502);
    assert!(response.text().contains("upstream_unreachable"));
    assert!(!response.text().contains(&address.port().to_string()), "told from inside");
    assert_eq!(
        gate.metric(r#"upstream_errors_total{kind="connect",source="upstream"}"#).await,
        Some(1.0)
    );
    drop(client);
    gate.is_as_at_the_start(address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_breaks_before_its_answer_is_a_502() {
    for script in [
        Script::new().reset(),
        Script::new().close(),
        Script::new().send("HTTP/1.1 200 OK\r\nx-half").close(),
        Script::new().send("220 mail.example ESMTP\r\n").close(),
    ] {
        let upstream = Upstream::start(script).await;
        let gate = Gate::before(&upstream.url()).await;
        let mut client = gate.client().await;
        client.chat().await;
        assert_eq!(client.response().await.status(), 502);
        assert_eq!(upstream.requests().len(), 1, "a request that was sent is not sent again");
        drop(client);
        gate.is_as_at_the_start(upstream.address).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_lies_about_its_length_gives_a_body_that_is_seen_to_be_short() {
    for script in [
        Script::new().send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort").close(),
        Script::stream().chunk("short").close(),
    ] {
        let upstream = Upstream::start(script).await;
        let gate = Gate::before(&upstream.url()).await;
        let mut client = gate.client().await;
        client.chat().await;
        let response = client.response().await;
        assert_eq!(response.text(), "short");
        assert!(!response.complete);
        assert_eq!(
            gate.metric(r#"upstream_errors_total{kind="reset",source="upstream"}"#).await,
            Some(1.0)
        );
        drop(client);
        gate.is_as_at_the_start(upstream.address).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn html_broken_utf8_and_bodies_without_a_length_pass_as_they_are() {
    let broken: &[u8] =
        b"data: {\"choices\":[{\"delta\":{\"content\":\"\xff\xc3\x28\xe2\x82\"}}]}\n\n\xf0\x9f";
    for (kind, body) in [
        ("text/html", &b"<html><body>502 Bad Gateway</body></html>"[..]),
        ("text/event-stream", broken),
        ("application/json", broken),
        ("application/json", b"{\"choices\":"),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n");
        let upstream = Upstream::start(Script::new().send(head).send(body).close()).await;
        let gate = Gate::before(&upstream.url()).await;
        let mut client = gate.client().await;
        client.chat().await;
        let response = client.response().await;
        assert_eq!(response.body, body);
        assert!(response.complete);
        drop(client);
        gate.is_as_at_the_start(upstream.address).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_line_passes() {
    const CHUNK: usize = 64 << 10;
    const CHUNKS: usize = 512;
    let script = Script::new()
        .send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: ")
        .flood("a".repeat(CHUNK), CHUNKS)
        .close();
    let upstream = Upstream::start(script).await;
    let gate = Gate::before(&upstream.url()).await;
    let mut client = gate.client().await;
    client.chat().await;
    assert_eq!(client.response().await.body.len(), CHUNK * CHUNKS + 6);
    drop(client);
    gate.is_as_at_the_start(upstream.address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_100_mb_passes_in_shadow() {
    const SIZE: usize = 100_000_000;
    let script = Script::answer("text/plain", "ok").close();
    for announced in [true, false] {
        let upstream = Upstream::start(script.clone()).await;
        let gate = Gate::before(&upstream.url()).await;
        let mut client = gate.client().await;
        let piece = vec![b' '; 1_000_000];
        if announced {
            client
                .send(format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {SIZE}\r\n\r\n"))
                .await;
            for _ in 0..100 {
                client.send(&piece).await;
            }
        } else {
            client
                .send("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
                .await;
            for _ in 0..100 {
                client.send(format!("{:x}\r\n", piece.len())).await;
                client.send(&piece).await;
                client.send("\r\n").await;
            }
            client.send("0\r\n\r\n").await;
        }
        assert_eq!(client.response().await.text(), "ok");
        assert_eq!(upstream.requests()[0].body.len(), SIZE);
        drop(client);
        gate.is_as_at_the_start(upstream.address).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_before_the_requests_end_passes() {
    let script = Script::answer("text/plain", "no").before_body().close();
    let upstream = Upstream::start(script).await;
    let gate = Gate::before(&upstream.url()).await;
    let mut client = gate.client().await;
    client.send("POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n").await;
    assert_eq!(client.response().await.text(), "no");
    drop(client);
    gate.is_as_at_the_start(upstream.address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_breaks_its_request_off_leaves_nothing() {
    let upstream = Upstream::start(Script::answer("text/plain", "ok").close()).await;
    let gate = Gate::before(&upstream.url()).await;
    for bytes in [
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{",
        "POST /v1/other HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{",
        "POST /v1/chat/comp",
        "PRI * HTT",
        "nonsense\r\n\r\n",
    ] {
        let mut client = gate.client().await;
        client.try_send(bytes.as_bytes()).await;
        drop(client);
    }
    gate.is_as_at_the_start(upstream.address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_no_head_is_let_go() {
    let upstream = Upstream::start(Script::new()).await;
    let gate = Gate::configured(&upstream.url(), "timeouts: {request_header: 200ms}").await;
    for beginning in ["", "P", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\n"] {
        let mut client = gate.client().await;
        client.send(beginning).await;
        assert!(client.ends().await, "{beginning:?}");
    }
    gate.is_as_at_the_start(upstream.address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooled_connection_that_the_upstream_closed_is_replaced() {
    let upstream = Upstream::start(Script::answer("text/plain", "ok").close()).await;
    let gate = Gate::before(&upstream.url()).await;
    let mut client = gate.client().await;
    for round in 1..=20 {
        client.chat().await;
        assert_eq!(client.response().await.text(), "ok", "round {round}");
        // A request that is written while the upstream closes is lost with the connection, and rightly told so.
        eventually("the connection's end", || open_connections(upstream.address.port()) == 0).await;
    }
    assert_eq!(upstream.requests().len(), 20);
    assert_eq!(upstream.connections(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let upstream = Upstream::start(Script::answer("text/plain", "ok")).await;
    let gate = Gate::configured(&upstream.url(), "limits: {connections: 1}").await;
    let mut first = gate.client().await;
    first.chat().await;
    first.response().await;
    let mut second = Client::connect(gate.address()).await;
    second.chat().await;
    assert_eq!(gate.app().client_tasks(), 2);
    drop(first);
    assert_eq!(second.response().await.text(), "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_lets_open_exchanges_end_and_takes_no_new_ones() {
    let go_on = Signal::new();
    let script = Script::stream().chunk("data: 1\n\n").wait(&go_on).chunk("data: 2\n\n").end();
    let upstream = Upstream::start(script).await;
    let gate = Gate::before(&upstream.url()).await;
    let address = gate.address();
    let mut client = gate.client().await;
    client.chat().await;
    client.until("data: 1\n\n").await;
    let draining = tokio::spawn(gate.drain());
    eventually("the close of the door", || std::net::TcpStream::connect(address).is_err()).await;
    assert!(!draining.is_finished());
    go_on.give();
    client.until("data: 2\n\n\r\n0\r\n\r\n").await;
    assert_eq!(soon("the drain", draining).await.unwrap(), Drained::Clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_breaks_off_what_is_open_at_its_deadline() {
    let script = Script::stream().chunk("data: 1\n\n").until_peer_closes();
    let upstream = Upstream::start(script).await;
    let gate = Gate::before(&upstream.url()).await;
    let mut client = gate.client().await;
    client.chat().await;
    client.until("data: 1\n\n").await;
    let deadline = std::future::ready(());
    let drained = soon("the drain", gate.into_app().drain(deadline)).await;
    assert_eq!(drained, Drained::BrokenOff);
    upstream.cancelled(1).await;
    assert!(client.ends().await);
}
