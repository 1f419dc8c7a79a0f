//! The gRPC method `envoy.service.ext_proc.v3.ExternalProcessor/Process`.

use std::{future::ready, sync::Arc};

use http::{Request, Response};
use hyper::body::Incoming;
use tonic::{
    Status, Streaming,
    body::Body,
    server::{Grpc, StreamingService},
};
use tonic_prost::ProstCodec;

use super::{
    messages::{ProcessingRequest, ProcessingResponse},
    processing::Replies,
};
use crate::proxy::CurrentProxy;

/// The method's path.
const PROCESS: &str = "/envoy.service.ext_proc.v3.ExternalProcessor/Process";

/// How many times the largest request that is read a message may have: where Envoy sends a body as a whole, a larger one
/// has to come before it can be let go on unread.
const MESSAGE_TIMES: usize = 4;

/// What a message may have in any case: heads, and the pieces of a stream.
const LEAST: usize = 4 << 20;

/// Answers an Envoy's calls.
#[derive(Clone, Debug)]
pub struct ExternalProcessor {
    proxies: Arc<CurrentProxy>,
}

/// The method.
struct Process(Arc<CurrentProxy>);

// === impl ExternalProcessor ===

impl ExternalProcessor {
    /// New conversations get the proxy that holds when they begin.
    #[must_use]
    pub fn new(proxies: Arc<CurrentProxy>) -> Self {
        Self { proxies }
    }

    /// Answers a call.
    pub async fn call(self, request: Request<Incoming>) -> Response<Body> {
        if request.uri().path() != PROCESS {
            return Status::unimplemented("only Process is there").into_http();
        }
        let message = self.proxies.now().limits.request_bytes.saturating_mul(MESSAGE_TIMES);
        Grpc::new(ProstCodec::default())
            .max_decoding_message_size(message.max(LEAST))
            .streaming(Process(self.proxies), request)
            .await
    }
}

impl StreamingService<ProcessingRequest> for Process {
    type Response = ProcessingResponse;
    type ResponseStream = Replies;
    type Future = std::future::Ready<Result<tonic::Response<Replies>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<ProcessingRequest>>) -> Self::Future {
        ready(Ok(tonic::Response::new(Replies::new(&self.0, request.into_inner()))))
    }
}
