//! One exchange with its content, as one JSON line: what `thinkgate replay`, `scan` and `export` read. docs/captures.md
//! tells its format.
//!
//! Promises: what is read is what was written, byte for byte and millisecond for millisecond; an error tells what is
//! wrong with a line without the line's text.

use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};

use super::{audit::ExchangeEnd, event::UnscannedReason};

/// The version of the line's format.
pub const VERSION: u32 = 1;

/// An exchange as its proxy saw it. A line begins with `"v":1`; keys that are not here are not looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Capture {
    /// The exchange's id.
    pub id: String,
    /// When the request's head had come (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// The route's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The request's path, without its query.
    pub path: String,
    /// The upstream's status code; the client's where the upstream has not answered.
    pub status: u16,
    /// The upstream's content type.
    pub content_type: Option<String>,
    /// Whether the body carries a content encoding that could not be undone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub undecodable: bool,
    /// The request's body, where it was read.
    pub request: Option<Piece>,
    /// Why it was not, and how many bytes it had at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_unread: Option<(UnscannedReason, u64)>,
    /// The upstream's body as it came, decoded of any content encoding, each part with milliseconds since the request.
    pub chunks: Vec<(u64, Piece)>,
    /// How the exchange ended.
    pub end: ExchangeEnd,
    /// When the body ended, in milliseconds since the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_ms: Option<u64>,
    /// Why something is missing of what the upstream sent, or would have sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncated: Option<Truncated>,
    /// Whether rules have masked what they found.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub masked: bool,
}

/// Bytes; in JSON a string, or hexadecimal digits where they are no UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece(pub Bytes);

/// Why something is missing of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truncated {
    /// It is longer than a capture may be.
    Size,
    /// thinkgate ended it: nobody knows what the upstream would have said.
    Stopped,
    /// The rest of the body does not decode.
    Undecodable,
    /// What was to be masked, or could not be read, could not be taken out: the rest was left out.
    Unmaskable,
}

/// What became of an exchange that was to be captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CaptureOutcome {
    /// It was written, all of it.
    Whole,
    /// It was written, and something of it is missing.
    Truncated,
    /// Too many waited for the writer.
    QueueFull,
    /// All captures together had no more memory.
    MemoryFull,
    /// The disk did not take it.
    WriteFailed,
}

/// A line that is no capture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    /// It is not JSON, or not of a capture's shape.
    #[error("is no capture: {class:?} error at column {column}")]
    Json {
        /// What kind of error.
        class: serde_json::error::Category,
        /// Where.
        column: usize,
    },
    /// It is of another version.
    #[error("is a capture of version {0}, and {VERSION} is known")]
    Version(u32),
    /// Bytes are not written as hexadecimal digits are.
    #[error("has broken hex digits")]
    Hex,
}

/// A line as it stands.
#[derive(Deserialize)]
struct Line {
    v: u32,
    id: String,
    #[serde(default)]
    at: Option<String>,
    #[serde(default)]
    route: Option<String>,
    path: String,
    status: u16,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    undecodable: bool,
    #[serde(default)]
    request: Option<RawPiece>,
    #[serde(default)]
    request_unread: Option<(UnscannedReason, u64)>,
    chunks: Vec<(u64, RawPiece)>,
    end: ExchangeEnd,
    #[serde(default)]
    end_ms: Option<u64>,
    #[serde(default)]
    truncated: Option<Truncated>,
    #[serde(default)]
    masked: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawPiece {
    Text(String),
    Hex { hex: String },
}

// === impl Capture ===

impl Capture {
    /// The line, with its end.
    pub fn to_line(&self) -> serde_json::Result<Vec<u8>> {
        #[derive(Serialize)]
        struct Versioned<'c> {
            v: u32,
            #[serde(flatten)]
            capture: &'c Capture,
        }
        let mut line = serde_json::to_vec(&Versioned { v: VERSION, capture: self })?;
        line.push(b'\n');
        Ok(line)
    }

    /// Reads a line.
    pub fn of_line(line: &[u8]) -> Result<Self, CaptureError> {
        let line: Line = serde_json::from_slice(line)?;
        if line.v != VERSION {
            return Err(CaptureError::Version(line.v));
        }
        let chunks = line.chunks.into_iter().map(|(at, piece)| Ok((at, piece.read()?)));
        Ok(Self {
            id: line.id,
            at: line.at,
            route: line.route,
            path: line.path,
            status: line.status,
            content_type: line.content_type,
            undecodable: line.undecodable,
            request: line.request.map(RawPiece::read).transpose()?,
            request_unread: line.request_unread,
            chunks: chunks.collect::<Result<_, CaptureError>>()?,
            end: line.end,
            end_ms: line.end_ms,
            truncated: line.truncated,
            masked: line.masked,
        })
    }
}

// === impl Piece ===

impl Serialize for Piece {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Hex {
            hex: String,
        }
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Hex { hex: hex::encode(&self.0) }.serialize(serializer),
        }
    }
}

// === impl RawPiece ===

impl RawPiece {
    fn read(self) -> Result<Piece, CaptureError> {
        match self {
            Self::Text(text) => Ok(Piece(text.into())),
            Self::Hex { hex } => {
                hex::decode(hex).map(|bytes| Piece(bytes.into())).map_err(|_| CaptureError::Hex)
            }
        }
    }
}

// === impl CaptureOutcome ===

impl CaptureOutcome {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Whole, Self::Truncated, Self::QueueFull, Self::MemoryFull, Self::WriteFailed];
}

// === impl CaptureError ===

impl From<serde_json::Error> for CaptureError {
    /// Without the error's own text, which may show content of the line.
    fn from(error: serde_json::Error) -> Self {
        Self::Json { class: error.classify(), column: error.column() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(bytes: &'static [u8]) -> Piece {
        Piece(Bytes::from_static(bytes))
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let capture = Capture {
            id: "a".to_owned(),
            at: Some("2026-01-01T00:00:00Z".to_owned()),
            route: Some("default".to_owned()),
            path: "/v1/chat/completions".to_owned(),
            status: 200,
            content_type: Some("text/event-stream".to_owned()),
            undecodable: true,
            request: Some(piece(b"{}")),
            request_unread: Some((UnscannedReason::Encoding, 7)),
            // A character that two chunks share.
            chunks: vec![(3, piece(b"data: \"\n\xc3")), (3, piece(b"\xa9\"")), (9, piece(b""))],
            end: ExchangeEnd::ClientGone,
            end_ms: Some(11),
            truncated: Some(Truncated::Stopped),
            masked: true,
        };
        let line = capture.to_line().unwrap();
        assert!(line.starts_with(b"{\"v\":1,") && line.ends_with(b"}\n"));
        assert_eq!(line.iter().position(|&byte| byte == b'\n'), Some(line.len() - 1));
        assert_eq!(Capture::of_line(&line).unwrap(), capture);
    }

    #[test]
    fn a_line_of_the_least_keys_is_enough() {
        let line =
            br#"{"v":1,"id":"a","path":"/x","status":200,"chunks":[],"end":"complete","new":1}"#;
        let capture = Capture::of_line(line).unwrap();
        assert_eq!((capture.request, capture.end_ms, capture.masked), (None, None, false));
    }
}
