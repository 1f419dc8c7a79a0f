//! What the client is told when something broke: an error object in its dialect's shape, nothing from inside.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};

use super::body::ResponseBody;
use crate::{
    dialect::{Dialect, refusal::error_body},
    record::metrics::{ErrorKind, ErrorSource},
    session::LocalResponse,
};

/// Why an exchange has no response of the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// Whose fault it is.
    pub(super) source: ErrorSource,
    /// What happened.
    pub(super) kind: ErrorKind,
}

// === impl Failure ===

impl Failure {
    /// Reads what the pooled client reports.
    pub(super) fn of_client(error: &hyper_util::client::legacy::Error) -> Self {
        let kind = if error.is_connect() {
            if is_timeout(error) { ErrorKind::ConnectTimeout } else { ErrorKind::Connect }
        } else {
            return Self::of_chain(error);
        };
        Self { source: ErrorSource::Upstream, kind }
    }

    /// Reads what a body or a connection reports.
    pub(super) fn of_chain(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<hyper::Error>() {
                if error.is_user() || error.is_body_write_aborted() {
                    return Self::downstream();
                }
                if error.is_parse() {
                    return Self::upstream(ErrorKind::Protocol);
                }
            }
            cause = error.source();
        }
        Self::upstream(ErrorKind::Reset)
    }

    pub(super) const fn upstream(kind: ErrorKind) -> Self {
        Self { source: ErrorSource::Upstream, kind }
    }

    pub(super) const fn downstream() -> Self {
        Self { source: ErrorSource::Downstream, kind: ErrorKind::ClientGone }
    }

    /// What the client is told: status, code and message.
    fn told(self) -> (StatusCode, &'static str, &'static str) {
        match self.kind {
            ErrorKind::Connect => (
                StatusCode::BAD_GATEWAY,
                "upstream_unreachable",
                "The model server is unreachable.",
            ),
            ErrorKind::ConnectTimeout | ErrorKind::IdleTimeout => (
                StatusCode::GATEWAY_TIMEOUT,
                "upstream_timeout",
                "The model server did not answer in time.",
            ),
            ErrorKind::Reset | ErrorKind::Protocol | ErrorKind::Decode => (
                StatusCode::BAD_GATEWAY,
                "upstream_failed",
                "The model server broke off before it answered.",
            ),
            ErrorKind::ClientGone | ErrorKind::Request => {
                (StatusCode::BAD_REQUEST, "bad_request", "The request could not be read.")
            }
        }
    }

    /// The status that the client is told.
    pub(super) fn status(self) -> StatusCode {
        self.told().0
    }

    /// The response that a client of this dialect gets.
    pub(super) fn response(self, dialect: Dialect) -> Response<ResponseBody> {
        let (status, code, message) = self.told();
        let kind =
            if status.is_server_error() { "upstream_error" } else { "invalid_request_error" };
        error_response(dialect, status, kind, code, message)
    }
}

/// An error in the shape that the dialect's clients read.
pub(super) fn error_response(
    dialect: Dialect,
    status: StatusCode,
    kind: &str,
    code: &str,
    message: &str,
) -> Response<ResponseBody> {
    json_response(status, error_body(dialect, message, kind, None, code))
}

/// A response that the session gives.
pub(super) fn local_response(local: LocalResponse) -> Response<ResponseBody> {
    let status = StatusCode::from_u16(local.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut response = Response::new(ResponseBody::local(local.body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(local.content_type));
    response
}

fn json_response(status: StatusCode, body: impl Into<Bytes>) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::local(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn is_timeout(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let timed_out = error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut);
        if timed_out || error.is::<tokio::time::error::Elapsed>() {
            return true;
        }
        cause = error.source();
    }
    false
}
