//! What was recorded, read to its end by the same session machine as live traffic, with nothing carried out.

use std::{io, sync::Arc, time::Instant};

use bytes::Bytes;
use thinkgate::{
    classify::Readers,
    dialect::Endpoint,
    record::{Capture, ExchangeReport, audit::ExchangeEnd, capture::Piece},
    scorer::LocalScorer,
    session::{BodyEnd, Identity, Keep, Plan, ResponseHead, Session},
};

use super::traces::Trace;

/// Reads exchanges under one plan, one after the other.
#[derive(Debug)]
pub(super) struct Reading {
    plan: Arc<Plan>,
    scorer: Option<LocalScorer>,
    keep: Keep,
}

/// An exchange while it is read.
struct Open<'r> {
    scorer: &'r mut Option<LocalScorer>,
    readers: Option<Readers>,
    session: Session,
}

/// How a captured exchange's body ended, for a session. What lacks its end was broken off.
pub(super) fn body_end(capture: &Capture) -> BodyEnd {
    match capture.end {
        _ if capture.truncated.is_some() => BodyEnd::Reset,
        ExchangeEnd::Complete => BodyEnd::Complete,
        ExchangeEnd::UpstreamFailed => BodyEnd::Reset,
        ExchangeEnd::ClientGone => BodyEnd::ClientGone,
    }
}

// === impl Reading ===

impl Reading {
    /// Reads under `plan`, whose classifier, where it has one, is run by `scorer`.
    pub(super) const fn new(plan: Arc<Plan>, scorer: Option<LocalScorer>, keep: Keep) -> Self {
        Self { plan, scorer, keep }
    }

    /// Reads a trace.
    pub(super) fn trace(&mut self, trace: &Trace) -> ExchangeReport {
        let mut open = self.open(None);
        let (prompt, thinking) = (trace.prompt.as_deref(), trace.thinking.as_deref());
        open.session.on_trace(prompt, thinking, trace.answer.as_deref());
        open.report()
    }

    /// Reads a body of which nothing else is known, piece by piece.
    pub(super) fn body(&mut self, mut body: impl io::Read) -> io::Result<ExchangeReport> {
        let mut open = self.open(None);
        open.session.on_response(&ResponseHead {
            status: 200,
            content_type: None,
            undecodable: false,
        });
        let mut buffer = vec![0; 64 << 10];
        loop {
            match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => {
                    let chunk = buffer.get(..length).unwrap_or_default();
                    open.chunk(Bytes::copy_from_slice(chunk));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        open.session.on_end(now(), BodyEnd::Complete);
        Ok(open.report())
    }

    /// Reads a captured exchange, its request too.
    pub(super) fn capture(&mut self, capture: &Capture) -> ExchangeReport {
        let mut open = self.open(Endpoint::of_path(&capture.path));
        // Nothing is carried out, so that no answer comes of either.
        if let Some(Piece(request)) = &capture.request {
            drop(open.session.on_request(request.clone()));
        } else if let Some((reason, bytes)) = capture.request_unread {
            drop(open.session.on_request_unscanned(reason, bytes));
        }
        open.session.on_response(&ResponseHead {
            status: capture.status,
            content_type: capture.content_type.clone(),
            undecodable: capture.undecodable,
        });
        for (_, Piece(chunk)) in &capture.chunks {
            open.chunk(chunk.clone());
        }
        open.session.on_end(now(), body_end(capture));
        open.report()
    }

    fn open(&mut self, endpoint: Option<Endpoint>) -> Open<'_> {
        let Self { plan, scorer, keep } = self;
        let session = Session::new(Arc::clone(plan), endpoint, Identity::default()).keeping(*keep);
        let readers = scorer.as_ref().map(|scorer| scorer.readers(keep.trajectory));
        Open { scorer, readers, session }
    }
}

// === impl Open ===

impl Open<'_> {
    fn chunk(&mut self, chunk: Bytes) {
        self.session.on_chunk(now(), chunk);
        self.score();
    }

    fn score(&mut self) {
        if let (Some(scorer), Some(readers)) = (&mut self.scorer, &mut self.readers) {
            scorer.follow(readers, &mut self.session, now());
        }
    }

    fn report(mut self) -> ExchangeReport {
        self.score();
        self.session.report()
    }
}

/// Nothing waits for a deadline here: any time will do.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
