//! What goes into a session and what comes out of it.

use bytes::Bytes;

/// The upstream's response head, as far as a session needs it.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    /// The status code.
    pub status: u16,
    /// The content type's value.
    pub content_type: Option<String>,
    /// Whether the body carries a content encoding that the shell cannot decode.
    pub undecodable: bool,
}

/// How the response's bytes reach the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// As read: the shell forwards every chunk at once and feeds the session a (decoded) copy. No effect comes.
    AsRead,
    /// Only as [`Effect`]s; the content length is not known beforehand.
    Held,
    /// The whole body is fed first; the effects then give the whole response.
    Whole,
}

/// A response that thinkgate itself gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalResponse {
    /// The status code.
    pub status: u16,
    /// The content type.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum RequestDecision {
    /// It goes to the upstream with this body (the same bytes unless a policy changed them).
    Forward(Bytes),
    /// It is answered here and never reaches the upstream.
    Respond(LocalResponse),
}

/// How a response body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// It was read to its end.
    Complete,
    /// The upstream broke it off, or was silent for too long.
    Reset,
    /// The client went away.
    ClientGone,
}

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write these bytes to the client.
    Forward(Bytes),
    /// Write these bytes, end the client's body normally and drop the upstream.
    Stop(Bytes),
    /// Answer with this instead of the upstream's response; only under [`Delivery::Whole`].
    Respond(LocalResponse),
    /// Drop the upstream, and send it the request again with this body. What comes of it is told by
    /// [`Session::on_response_again`] and the chunks of its body, or [`Session::on_no_response_again`].
    ///
    /// [`Session::on_response_again`]: super::Session::on_response_again
    /// [`Session::on_no_response_again`]: super::Session::on_no_response_again
    AskAgain(Bytes),
    /// Tell the outcome in the response's head; only under [`Delivery::Whole`].
    Tell(String),
}

/// Names for a response that thinkgate begins itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The exchange's id.
    pub id: String,
    /// The time of the request in seconds since 1970.
    pub created: u64,
}
