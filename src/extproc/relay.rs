//! Bodies on their way back to Envoy.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::{BodyExt, combinators::Collect};

use super::{
    link::{Arriving, Link, Side, Trailers},
    messages::HeaderMutation,
};
use crate::proxy::RequestBody;

/// Tells Envoy a body, frame by frame.
#[derive(Debug)]
pub(super) struct Relay<B> {
    link: Link,
    side: Side,
    body: B,
    over: bool,
}

/// The request's body on its way.
pub(super) enum Upload {
    /// In chunks of any size.
    Duplex(Relay<RequestBody<Arriving>>),
    /// As a whole.
    Buffered(Gathering),
    /// It was told.
    Over,
}

/// A request's body that is told as a whole.
pub(super) struct Gathering {
    link: Link,
    body: Pin<Box<Collect<RequestBody<Arriving>>>>,
    /// What changes in the head, which Envoy keeps back for as long.
    mutation: Option<HeaderMutation>,
}

// === impl Relay ===

impl<B> Relay<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    pub(super) fn new(link: Link, side: Side, body: B) -> Self {
        Self { link, side, body, over: false }
    }

    /// Tells what there is to tell; ready when that is everything.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), B::Error>> {
        while !self.over {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(context)?);
            match frame.map(Frame::into_data) {
                Some(Ok(bytes)) => {
                    self.over = self.body.is_end_stream();
                    self.link.tell_data(self.side, bytes, self.over);
                }
                // Whoever changes a body keeps its trailers back, so these are true.
                Some(Err(_)) => {
                    self.over = true;
                    self.link.tell_trailers(self.side, Trailers::Kept);
                }
                None => {
                    self.over = true;
                    self.link.tell_end(self.side);
                }
            }
            // What was told goes out before the next frame is looked at; whoever takes it asks again.
            if !self.over && self.link.has_replies() {
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }
}

// === impl Upload ===

impl Upload {
    /// Answers the request's head, as far as it was not answered yet, and begins with its body.
    pub(super) fn begin(
        link: &Link,
        mutation: Option<HeaderMutation>,
        body: RequestBody<Arriving>,
    ) -> Self {
        if link.awaits_whole_request() {
            return Self::Buffered(Gathering {
                link: link.clone(),
                body: Box::pin(body.collect()),
                mutation,
            });
        }
        link.tell_head(Side::Request, mutation);
        Self::Duplex(Relay::new(link.clone(), Side::Request, body))
    }

    /// Whether everything was told.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }

    /// Tells what there is to tell.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) {
        let told = match self {
            Self::Over => return,
            Self::Duplex(relay) => relay.poll(context).map(|Ok(())| ()),
            Self::Buffered(gathering) => gathering.poll(context),
        };
        if told.is_ready() {
            *self = Self::Over;
        }
    }
}

// === impl Gathering ===

impl Gathering {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Ok(whole) = ready!(self.body.as_mut().poll(context));
        self.link.tell_whole_request(self.mutation.take(), whole.to_bytes());
        Poll::Ready(())
    }
}
