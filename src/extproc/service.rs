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

/// Room for what stands around a body in a message.
const ENVELOPE: usize = 64 << 10;

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
        // A body that comes as a whole has its own limit in Envoy.
        let message = self.proxies.now().limits.request_bytes.saturating_add(ENVELOPE);
        Grpc::new(ProstCodec::default())
            .max_decoding_message_size(message)
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
