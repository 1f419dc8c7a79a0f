//! thinkgate as an Envoy external processor: the exchanges of an Envoy that asks what to do with each of their parts.
//!
//! | module | holds |
//! |---|---|
//! | `messages` | Envoy's messages |
//! | `fields` | heads, and what a rewritten head changes |
//! | `link` | a conversation: what has come of each side, what Envoy is told |
//! | `relay` | bodies on their way back |
//! | `processing` | an exchange from its first part to its last |
//! | `service` | the gRPC method |
//!
//! Comes in: the parts of a request and of its response, as Envoy reads them. Goes out: what Envoy forwards in their
//! place. In between stands the same exchange as in [`crate::proxy`], to which Envoy is client and model server at
//! once; only the way to the model server is Envoy's.
//!
//! What Envoy does not tell: whether a conversation ends because the client left or because the model server broke
//! its response off. Both are recorded as the client's leaving.

mod fields;
mod link;
pub mod messages;
mod processing;
mod relay;
mod service;

pub use service::ExternalProcessor;
