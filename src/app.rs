//! A configuration becomes a running thinkgate.
