//! The demo's caller: an ordinary HTTP client with a streamed chat request.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client as HyperClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};

use super::{received::Received, traces::Trace};

/// A connection pool for the demo's requests.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    inner: HyperClient<HttpConnector, Full<Bytes>>,
}

/// A response as far as it has come, for whoever looks on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live(Arc<Mutex<Received>>);

/// A request that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestFailed {
    /// The request could not be made.
    #[error("make a request: {0}")]
    Make(#[from] http::Error),
    /// No response came.
    #[error("get a response: {0}")]
    Send(#[from] hyper_util::client::legacy::Error),
    /// The response broke off.
    #[error("read a response: {0}")]
    Read(#[from] hyper::Error),
}

// === impl Client ===

impl Client {
    /// A client without open connections.
    pub(crate) fn new() -> Self {
        Self { inner: HyperClient::builder(TokioExecutor::new()).build_http() }
    }

    /// Asks the server at `address` for `trace`, streamed; `id` names the request. Gives status and error code.
    pub(crate) async fn chat(
        &self,
        address: SocketAddr,
        trace: &Trace,
        id: &str,
        live: &Live,
    ) -> Result<(StatusCode, Option<String>), RequestFailed> {
        let body = json!({
            "model": trace.model(),
            "messages": [{"role": "user", "content": trace.prompt}],
            "n": trace.choices.len(),
            "stream": true,
            "stream_options": {"include_usage": true},
            "user": id,
        });
        let request = Request::post(format!("http://{address}/v1/chat/completions"))
            .header(CONTENT_TYPE, "application/json")
            .header("x-request-id", id)
            .body(Full::from(body.to_string()))?;
        let response = self.inner.request(request).await?;
        let status = response.status();
        let mut body = response.into_body();
        if !status.is_success() {
            let body = body.collect().await?.to_bytes();
            return Ok((status, error_code(&body)));
        }
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                live.read(&data);
            }
        }
        Ok((status, None))
    }

    /// The text at a path of the server at `address`.
    pub(crate) async fn text(
        &self,
        address: SocketAddr,
        path: &str,
    ) -> Result<String, RequestFailed> {
        let request = Request::get(format!("http://{address}{path}")).body(Full::default())?;
        let body = self.inner.request(request).await?.into_body().collect().await?;
        Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
    }
}

/// The `code` of an error as OpenAI's clients read it.
fn error_code(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    Some(body.pointer("/error/code")?.as_str()?.to_owned())
}

// === impl Live ===

impl Live {
    /// Reads more of the body.
    fn read(&self, chunk: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).read(chunk);
    }

    /// What has come so far.
    pub(crate) fn snapshot(&self) -> Received {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
