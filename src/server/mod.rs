//! Sockets: accepts, serves, drains.
