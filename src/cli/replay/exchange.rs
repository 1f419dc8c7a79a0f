//! Exchanges to be replayed: captures, recorded bodies, and traces made streams again.

use std::{
    io::{self, BufRead, Read},
    path::Path,
    time::Duration,
};

use bytes::Bytes;
use serde::Serialize;
use thinkgate::{
    channel::Channel,
    record::{Capture, Truncated, UnscannedReason, capture::Piece},
    session::BodyEnd,
};

use super::super::{
    eval::tokens::tokens,
    reading::body_end,
    traces::{self, Entry, Lines, MAX_BYTES, Trace},
};

/// Traces have no times: a token takes as long as at fifty a second.
const TOKEN_TIME: Duration = Duration::from_millis(20);

/// An exchange as its proxy saw it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Exchange {
    pub(super) id: String,
    /// The request's path: it chooses the route.
    pub(super) path: String,
    /// Whether the path was told, so that it says how the response is to be read.
    pub(super) is_captured: bool,
    /// The request's body, where it is known.
    pub(super) request: Option<Bytes>,
    /// Why the request's body was not read, and how many bytes it had at least.
    pub(super) request_unread: Option<(UnscannedReason, u64)>,
    pub(super) status: u16,
    pub(super) content_type: Option<String>,
    /// Whether the response's body carries an encoding that could not be undone.
    pub(super) undecodable: bool,
    /// The response's body as it came, each part with the time since the request.
    pub(super) chunks: Vec<(Duration, Bytes)>,
    pub(super) end: BodyEnd,
    /// When it ended, where that is known.
    pub(super) ended: Option<Duration>,
    /// Why something of it is missing.
    pub(super) truncated: Option<Truncated>,
}

/// An exchange, or a place and what is wrong there.
type Found = Result<Exchange, (String, String)>;

/// Reads the exchanges of a file one by one; `take` gets each, or a place with what is wrong there.
pub(super) fn read(path: &Path, mut take: impl FnMut(Found) -> io::Result<()>) -> io::Result<()> {
    let name = path.display().to_string();
    let file = match traces::open(path) {
        Ok(file) => file,
        Err(error) => return take(Err((name, format!("cannot be opened: {error}")))),
    };
    match traces::ending(path) {
        Some("jsonl") => read_lines(&name, file, take),
        Some(end @ ("sse" | "ndjson" | "json")) => {
            let mut body = Vec::new();
            let read = file.take(MAX_BYTES + 1).read_to_end(&mut body);
            take(match read {
                Err(error) => Err((name, format!("cannot be read: {error}"))),
                Ok(_) if body.len() as u64 > MAX_BYTES => {
                    Err((name, format!("is longer than {MAX_BYTES} bytes")))
                }
                Ok(_) => Ok(recorded(name, end, body)),
            })
        }
        _ => take(Err((name, "is none of .jsonl .sse .ndjson .json".to_owned()))),
    }
}

fn read_lines(
    name: &str,
    lines: impl BufRead,
    mut take: impl FnMut(Found) -> io::Result<()>,
) -> io::Result<()> {
    for (number, line) in Lines::of(lines) {
        let place = format!("{name}:{number}");
        take(match line.and_then(|line| Entry::of_line(&line)) {
            Ok(Entry::Capture(capture)) => Ok(Exchange::from(*capture)),
            Ok(Entry::Trace(trace)) => Ok(streamed(&trace, &place)),
            Err(reason) => Err((place, reason)),
        })?;
    }
    Ok(())
}

/// A body that was recorded without its request and its times.
fn recorded(name: String, end: &str, body: Vec<u8>) -> Exchange {
    let content_type = match end {
        "sse" => "text/event-stream",
        "ndjson" => "application/x-ndjson",
        _ => "application/json",
    };
    Exchange {
        id: name,
        path: "/v1/chat/completions".to_owned(),
        is_captured: false,
        request: None,
        request_unread: None,
        status: 200,
        content_type: Some(content_type.to_owned()),
        undecodable: false,
        chunks: vec![(Duration::ZERO, body.into())],
        end: BodyEnd::Complete,
        ended: None,
        truncated: None,
    }
}

/// A trace as a stream of chat chunks, one token each.
fn streamed(trace: &Trace, place: &str) -> Exchange {
    let mut chunks = Vec::new();
    let mut at = Duration::ZERO;
    for (channel, text) in [(Channel::Thinking, &trace.thinking), (Channel::Answer, &trace.answer)]
    {
        for token in tokens(text.as_deref().unwrap_or_default()) {
            at += TOKEN_TIME;
            chunks.push((at, event(&Delta::of(channel, token), None)));
        }
    }
    chunks.push((at, event(&Delta::default(), Some("stop"))));
    chunks.push((at, Bytes::from_static(b"data: [DONE]\n\n")));
    let request = trace.prompt.as_ref().map(|prompt| {
        let body = serde_json::json!({
            "model": "", "stream": true, "messages": [{"role": "user", "content": prompt}],
        });
        Bytes::from(body.to_string())
    });
    Exchange { request, chunks, ..recorded(trace.id(place), "sse", Vec::new()) }
}

// === impl Exchange ===

impl From<Capture> for Exchange {
    fn from(capture: Capture) -> Self {
        let chunks = capture.chunks.iter();
        let chunks = chunks.map(|(at, Piece(bytes))| (Duration::from_millis(*at), bytes.clone()));
        Self {
            chunks: chunks.collect(),
            end: body_end(&capture),
            ended: capture.end_ms.map(Duration::from_millis),
            truncated: capture.truncated,
            id: capture.id,
            path: capture.path,
            is_captured: true,
            request: capture.request.map(|Piece(body)| body),
            request_unread: capture.request_unread,
            status: capture.status,
            content_type: capture.content_type,
            undecodable: capture.undecodable,
        }
    }
}

/// What a chunk of a chat completion brings.
#[derive(Debug, Default, Serialize)]
struct Delta<'t> {
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'t str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'t str>,
}

// === impl Delta ===

impl<'t> Delta<'t> {
    fn of(channel: Channel, token: &'t str) -> Self {
        match channel {
            Channel::Thinking => Self { reasoning_content: Some(token), content: None },
            _ => Self { reasoning_content: None, content: Some(token) },
        }
    }
}

fn event(delta: &Delta<'_>, finish: Option<&str>) -> Bytes {
    let chunk = serde_json::json!({
        "id": "replay", "object": "chat.completion.chunk", "created": 0, "model": "",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    });
    Bytes::from(format!("data: {chunk}\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<Found> {
        let mut read = Vec::new();
        read_lines("f", text.as_bytes(), |exchange| {
            read.push(exchange);
            Ok(())
        })
        .unwrap();
        read
    }

    #[test]
    fn reads_captures_and_traces() {
        let read = lines(
            "{\"v\":1,\"id\":\"a\",\"path\":\"/x\",\"status\":200,\"content_type\":\"text/event-stream\",\
             \"request\":\"{}\",\"chunks\":[[3,\"da\"],[7,{\"hex\":\"74ff\"}]],\"end\":\"client_gone\"}\n\n\
             {\"id\":7,\"thinking\":\"one two\",\"answer\":\"three\"}\n",
        );
        let [Ok(captured), Ok(trace)] = &read[..] else { panic!("{read:?}") };
        assert_eq!((captured.end, captured.ended), (BodyEnd::ClientGone, None));
        let expected = [(3, &b"da"[..]), (7, b"t\xff")];
        let expected = expected.map(|(at, bytes)| (Duration::from_millis(at), Bytes::from(bytes)));
        assert_eq!(captured.chunks, expected);
        assert_eq!((trace.id.as_str(), trace.request.as_ref()), ("7", None));
        assert_eq!(trace.chunks.len(), 5);
        assert_eq!(trace.chunks.last().unwrap().0, 3 * TOKEN_TIME);
    }

    #[test]
    fn what_is_missing_of_a_capture_ends_no_frame() {
        let read = lines(
            "{\"v\":1,\"id\":\"a\",\"path\":\"/x\",\"status\":200,\"chunks\":[],\"end\":\"complete\",\
             \"truncated\":\"size\",\"end_ms\":9,\"request_unread\":[\"encoding\",7]}",
        );
        let [Ok(captured)] = &read[..] else { panic!("{read:?}") };
        assert_eq!((captured.end, captured.truncated), (BodyEnd::Reset, Some(Truncated::Size)));
        assert_eq!(captured.ended, Some(Duration::from_millis(9)));
        assert_eq!(captured.request_unread, Some((UnscannedReason::Encoding, 7)));
    }

    #[test]
    fn names_the_place_of_what_is_broken() {
        let read = lines(
            "{\"thinking\": 5}\nno\n{\"v\":2,\"id\":\"a\",\"path\":\"/\",\"status\":200,\"chunks\":[],\"end\":\"complete\"}\n\
             {\"v\":1,\"id\":\"a\",\"path\":\"/\",\"status\":200,\"chunks\":[[0,{\"hex\":\"xy\"}]],\"end\":\"complete\"}",
        );
        let told: Vec<String> = read
            .into_iter()
            .map(|read| read.map_err(|(at, why)| format!("{at} {why}")).unwrap_err())
            .collect();
        assert_eq!(
            told,
            [
                "f:1 is no trace: Data error at column 14",
                "f:2 is no trace: Syntax error at column 2",
                "f:3 is a capture of version 2, and 1 is known",
                "f:4 has broken hex digits",
            ]
        );
    }
}
