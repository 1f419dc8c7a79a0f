//! What an open exchange gathers of itself.
//!
//! Its bytes are copied: a chunk as it comes from a connection keeps all of the connection's buffer alive, which is some
//! times as large as the few hundred bytes of a token.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use uuid::Uuid;

use super::{RouteCapture, memory::Reservation};
use crate::{
    record::{
        CaptureOutcome, UnscannedReason,
        audit::ExchangeEnd,
        capture::{Capture, Piece, Truncated},
    },
    session::{Plan, ResponseHead},
};

/// Room for the first of a response, beside the request.
const FIRST_BYTES: usize = 4 << 10;

/// Bytes that a chunk costs beside its own.
const CHUNK_BYTES: usize = size_of::<Chunk>();

/// An exchange that is open.
#[derive(Debug)]
pub(in crate::proxy) struct Recording {
    capture: Arc<RouteCapture>,
    reservation: Reservation,
    path: String,
    /// The request's body, then the response's.
    bytes: Vec<u8>,
    /// Where the request's body ends, if it was read.
    request: Option<usize>,
    request_unread: Option<(UnscannedReason, u64)>,
    /// The upstream's status, content type, and whether its body cannot be decoded.
    head: Option<ResponseHead>,
    chunks: Vec<Chunk>,
    /// In milliseconds since the request.
    ended: Option<u64>,
    truncated: Option<Truncated>,
    /// There was no memory for all of it.
    dropped: bool,
}

/// When a chunk came, in milliseconds since the request, and where it ends.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    at: u32,
    end: u32,
}

/// An exchange that has ended, and is to be written.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) capture: Capture,
    /// What masks it, where something does.
    pub(super) mask: Option<Arc<Plan>>,
    /// Its part of the memory, until it is written.
    pub(super) reservation: Reservation,
}

// === impl RouteCapture ===

impl RouteCapture {
    /// Begins to gather the exchange with this id, if it is chosen.
    pub(in crate::proxy) fn begin(
        self: &Arc<Self>,
        id: &Uuid,
        path: &str,
    ) -> Option<Box<Recording>> {
        self.chooses(id).then(|| {
            Box::new(Recording {
                capture: Arc::clone(self),
                reservation: Arc::clone(&self.log.memory).reserve(),
                path: path.to_owned(),
                bytes: Vec::new(),
                request: None,
                request_unread: None,
                head: None,
                chunks: Vec::new(),
                ended: None,
                truncated: None,
                dropped: false,
            })
        })
    }
}

// === impl Recording ===

impl Recording {
    /// Takes the request's body. A part of one would be none, so it is all or nothing.
    pub(in crate::proxy) fn request(&mut self, body: &[u8]) {
        if self.makes_room(body.len(), FIRST_BYTES) {
            self.bytes.extend_from_slice(body);
            self.request = Some(self.bytes.len());
        }
    }

    /// Takes note that the request's body was not read.
    pub(in crate::proxy) fn request_unread(&mut self, reason: UnscannedReason, bytes: u64) {
        self.request_unread = Some((reason, bytes));
    }

    /// Takes the response's head.
    pub(in crate::proxy) fn head(&mut self, head: &ResponseHead) {
        self.head = Some(head.clone());
    }

    /// Takes a chunk of the decoded response, which came so long after the request.
    pub(in crate::proxy) fn chunk(&mut self, after: Duration, chunk: &[u8]) {
        // What lacks its middle is worth nothing, and behind the end another answer may follow.
        if self.truncated.is_some()
            || self.ended.is_some()
            || !self.makes_room(chunk.len() + CHUNK_BYTES, 0)
        {
            return;
        }
        self.bytes.extend_from_slice(chunk);
        let end = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        let at = u32::try_from(after.as_millis()).unwrap_or(u32::MAX);
        self.chunks.push(Chunk { at, end });
    }

    /// Takes note that nothing more of the response will be known.
    pub(in crate::proxy) fn truncate(&mut self, why: Truncated) {
        self.truncated.get_or_insert(why);
    }

    /// Takes note of when the body ended.
    pub(in crate::proxy) fn ended(&mut self, after: Duration) {
        self.ended.get_or_insert_with(|| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
    }

    /// Hands the exchange over to be written. `status` is the client's.
    pub(in crate::proxy) fn finish(
        mut self,
        id: String,
        at: String,
        status: u16,
        end: ExchangeEnd,
    ) {
        let log = Arc::clone(&self.capture.log);
        if self.dropped {
            return log.drop_one(CaptureOutcome::MemoryFull);
        }
        let bytes = Bytes::from(std::mem::take(&mut self.bytes));
        let head = self.head.take();
        let mut begin = self.request.unwrap_or_default();
        let chunks = self.chunks.iter().map(|&Chunk { at, end }| {
            let end = end as usize;
            let chunk = bytes.slice(std::mem::replace(&mut begin, end)..end);
            (u64::from(at), Piece(chunk))
        });
        let capture = Capture {
            id,
            at: Some(at),
            route: Some(self.capture.route.clone()),
            chunks: chunks.collect(),
            status: head.as_ref().map_or(status, |head| head.status),
            undecodable: head.as_ref().is_some_and(|head| head.undecodable),
            content_type: head.and_then(|head| head.content_type),
            path: self.path,
            request: self.request.map(|end| Piece(bytes.slice(..end))),
            request_unread: self.request_unread,
            end,
            end_ms: self.ended,
            truncated: self.truncated,
            masked: false,
        };
        let mask = self.capture.mask.clone();
        log.write(Box::new(Recorded { capture, mask, reservation: self.reservation }));
    }

    /// Whether there is room for as many bytes; where not, no more is taken. `beside` is room that will be needed soon.
    fn makes_room(&mut self, more: usize, beside: usize) -> bool {
        let limit = self.capture.exchange_bytes;
        let needed = self.bytes.len() + self.chunks.len() * CHUNK_BYTES + more;
        if self.dropped {
            return false;
        }
        if needed > limit {
            self.truncated = Some(Truncated::Size);
            return false;
        }
        // Vectors double: the chunks' places are counted by as much as they may take.
        let places = 2 * CHUNK_BYTES * (self.chunks.len() + 1);
        let room = self.bytes.capacity();
        let wanted = if self.bytes.len() + more > room {
            (self.bytes.len() + more + beside).max(2 * room).min(limit)
        } else {
            room
        };
        if !self.reservation.grow_to(wanted + places + self.path.len()) {
            // Its memory serves others.
            self.dropped = true;
            self.bytes = Vec::new();
            self.chunks = Vec::new();
            self.reservation = Arc::clone(&self.capture.log.memory).reserve();
            return false;
        }
        self.bytes.reserve_exact(wanted - self.bytes.len());
        true
    }
}
