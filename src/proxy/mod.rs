//! One HTTP exchange: request in, upstream asked, response out, a session reading along.
//!
//! Comes in: a request with its body still on the wire. Goes out: a response whose body pulls the upstream's
//! body through, one chunk at a time, so that a slow client slows the upstream down and nothing piles up here.
//! Dropping the response's body, or the future before it, cancels the upstream at once.
//!
//! What does not pass: hop-by-hop fields, `CONNECT`, protocol upgrades.

mod asking_again;
mod audit_log;
mod audit_writer;
mod body;
mod capture;
mod closing;
mod connect;
mod current;
mod decode;
mod exchange;
mod failure;
mod guarded_body;
mod handler;
mod headers;
mod line_file;
mod remote;
mod request;
mod stretch;
mod upstream;
mod writer;

pub use asking_again::AskingAgain;
pub use audit_log::{AuditLog, AuditLogError};
pub use body::{Activity, RequestBody, ResponseBody, WireBody};
pub use capture::{CaptureLog, CaptureLogError, RouteCapture};
pub use connect::TimedConnector;
pub use current::CurrentProxy;
pub use failure::Failure;
pub use guarded_body::{BodyError, GuardedBody};
pub use handler::{Proxy, RouteState};
pub use remote::{Remote, RemoteError};
pub use upstream::{Upstream, UpstreamClient, UpstreamClients, UpstreamTlsError, clients};
