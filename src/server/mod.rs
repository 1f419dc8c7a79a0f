//! Sockets: accepts, serves, drains.
//!
//! Comes in: a bound listener and a service. Promises: the accept loop survives a lack of file descriptors, every
//! connection's task has an owner that waits for it and stays on one thread, and a client that neither sends nor reads is let go.

mod admin;
mod connection;
mod listener;
mod seldom;
mod unread;
mod workers;

pub use admin::Admin;
pub use connection::{ConnectionSettings, serve_connection};
pub use listener::{Accepting, accept_connections};
pub use seldom::Rung;
pub use workers::{Worker, Workers};
