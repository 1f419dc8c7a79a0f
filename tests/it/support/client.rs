//! A client that sends raw bytes and reads what comes.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{soon, upstream::find};

/// A connection to thinkgate.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

/// A response as it came; the body without its chunked coding.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Whether the body came to its announced end.
    pub(crate) complete: bool,
    /// Lines after the last chunk.
    pub(crate) trailers: String,
}

// === impl Client ===

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = soon("a connection", TcpStream::connect(address)).await.expect("connected");
        stream.set_nodelay(true).expect("a socket");
        Self { stream, read: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon("a write", self.stream.write_all(bytes.as_ref())).await.expect("written");
    }

    /// Sends as much as the peer takes.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes).await);
    }

    /// A POST with a length.
    pub(crate) async fn post(&mut self, path: &str, body: &str) {
        let length = body.len();
        self.send(format!(
            "POST {path} HTTP/1.1\r\nhost: gate\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
        .await;
    }

    pub(crate) async fn chat(&mut self) {
        self.post("/v1/chat/completions", r#"{"model":"m","messages":[]}"#).await;
    }

    /// Reads until `what` has come, and gives everything up to it.
    pub(crate) async fn until(&mut self, what: &str) -> String {
        loop {
            if let Some(at) = find(&self.read, what.as_bytes()) {
                let rest = self.read.split_off(at + what.len());
                let text = std::mem::replace(&mut self.read, rest);
                return String::from_utf8_lossy(&text).into_owned();
            }
            assert!(self.more().await > 0, "the end came before {what:?}: {:?}", self.text());
        }
    }

    /// Reads one response.
    pub(crate) async fn response(&mut self) -> Response {
        let head = self.until("\r\n\r\n").await;
        let lower = head.to_ascii_lowercase();
        if lower.contains("transfer-encoding: chunked") {
            return self.chunked(head).await;
        }
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
        let Some(length) = length else {
            while self.more().await > 0 {}
            let body = std::mem::take(&mut self.read);
            return Response { head, body, complete: true, trailers: String::new() };
        };
        let length: usize = length.parse().expect("a length");
        let mut complete = true;
        while self.read.len() < length {
            if self.more().await == 0 {
                complete = false;
                break;
            }
        }
        let rest = self.read.split_off(length.min(self.read.len()));
        let body = std::mem::replace(&mut self.read, rest);
        Response { head, body, complete, trailers: String::new() }
    }

    async fn chunked(&mut self, head: String) -> Response {
        let mut body = Vec::new();
        let response =
            |body, complete, trailers| Response { head: head.clone(), body, complete, trailers };
        loop {
            let Some(size) = self.line().await else {
                return response(body, false, String::new());
            };
            let size = usize::from_str_radix(size.trim(), 16).expect("a chunk's size");
            if size == 0 {
                let mut trailers = String::new();
                while let Some(line) = self.line().await {
                    if line == "\r\n" {
                        return response(body, true, trailers);
                    }
                    trailers.push_str(&line);
                }
                return response(body, false, trailers);
            }
            while self.read.len() < size + 2 {
                if self.more().await == 0 {
                    return response(body, false, String::new());
                }
            }
            let rest = self.read.split_off(size + 2);
            body.extend_from_slice(&self.read[..size]);
            self.read = rest;
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = find(&self.read, b"\r\n") {
                let rest = self.read.split_off(at + 2);
                let line = std::mem::replace(&mut self.read, rest);
                return Some(String::from_utf8(line).expect("text"));
            }
            if self.more().await == 0 {
                return None;
            }
        }
    }

    /// Whether the connection ends (well or by a reset).
    pub(crate) async fn ends(&mut self) -> bool {
        while self.more().await > 0 {}
        true
    }

    async fn more(&mut self) -> usize {
        let mut piece = vec![0; 64 << 10];
        let count = soon("bytes from thinkgate", self.stream.read(&mut piece)).await.unwrap_or(0);
        self.read.extend_from_slice(&piece[..count]);
        count
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.read).into_owned()
    }
}

// === impl Response ===

impl Response {
    pub(crate) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}
