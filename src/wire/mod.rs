//! Framing: body bytes, cut anywhere, become frames that keep their raw bytes.
