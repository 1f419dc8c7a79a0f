//! Reading a request's body as far as it may be inspected.

use std::{collections::VecDeque, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use super::body::WireBody;

/// What was read of a body.
#[derive(Debug)]
pub(super) enum ReadBody<B> {
    /// All of it.
    Whole(Bytes),
    /// More than the limit: what was read, and the rest on the wire.
    TooLarge {
        /// What was read.
        prefix: VecDeque<Bytes>,
        /// The rest.
        rest: B,
    },
}

/// The client's body broke, or did not move for too long.
#[derive(Debug)]
pub(super) struct Broken;

/// Reads `body` to its end or to `limit` bytes; `idle` is how long the client may pause.
pub(super) async fn read_body<B: WireBody>(
    mut body: B,
    limit: usize,
    idle: Duration,
) -> Result<ReadBody<B>, Broken> {
    let announced = body.size_hint().lower();
    if announced > limit as u64 {
        return Ok(ReadBody::TooLarge { prefix: VecDeque::new(), rest: body });
    }
    let mut chunks = VecDeque::new();
    let mut length = 0_usize;
    loop {
        let frame = tokio::time::timeout(idle, body.frame()).await.map_err(|_| Broken)?;
        let Some(frame) = frame else { break };
        // Trailers of a request carry nothing that a model server reads.
        let Ok(chunk) = frame.map_err(|_| Broken)?.into_data() else { continue };
        length = length.saturating_add(chunk.len());
        chunks.push_back(chunk);
        if length > limit {
            return Ok(ReadBody::TooLarge { prefix: chunks, rest: body });
        }
    }
    if chunks.len() <= 1 {
        return Ok(ReadBody::Whole(chunks.pop_front().unwrap_or_default()));
    }
    let mut whole = BytesMut::with_capacity(length);
    for chunk in chunks {
        whole.extend_from_slice(&chunk);
    }
    Ok(ReadBody::Whole(whole.freeze()))
}
