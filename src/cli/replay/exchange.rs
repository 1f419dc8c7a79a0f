//! Exchanges to be replayed: captures, recorded bodies, and traces made streams again.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thinkgate::{channel::Channel, session::BodyEnd};

use super::super::eval::tokens::tokens;

/// Bytes of one line, or of one recorded body, that are read.
const MAX_BYTES: u64 = 64 << 20;

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
    pub(super) status: u16,
    pub(super) content_type: Option<String>,
    /// The response's body as it came, each part with the time since the request.
    pub(super) chunks: Vec<(Duration, Bytes)>,
    pub(super) end: BodyEnd,
}

/// A line of a capture.
#[derive(Debug, Deserialize)]
struct Captured {
    v: u32,
    id: String,
    path: String,
    status: u16,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    request: Option<Piece>,
    chunks: Vec<(u64, Piece)>,
    end: CapturedEnd,
}

/// Bytes in JSON.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Piece {
    Text(String),
    Hex { hex: String },
}

/// How a captured exchange ended.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CapturedEnd {
    Complete,
    UpstreamFailed,
    ClientGone,
}

/// A line of a trace; other keys are not looked at.
#[derive(Debug, Deserialize)]
struct Trace {
    #[serde(default)]
    id: Option<serde_json::Value>,
    #[serde(default)]
    prompt: Option<String>,
    #[serde(default)]
    thinking: Option<String>,
    #[serde(default)]
    answer: Option<String>,
}

/// What every line of either kind may have, to tell them apart.
#[derive(Debug, Deserialize)]
struct Kind {
    #[serde(default)]
    chunks: Option<serde::de::IgnoredAny>,
}

/// Reads the exchanges of a file one by one; `take` gets each, or a place with what is wrong there.
pub(super) fn read(
    path: &Path,
    mut take: impl FnMut(Result<Exchange, (String, String)>) -> io::Result<()>,
) -> io::Result<()> {
    let name = path.display().to_string();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => return take(Err((name, format!("cannot be opened: {error}")))),
    };
    match path.extension().and_then(|end| end.to_str()) {
        Some("jsonl") => read_lines(&name, BufReader::new(file), take),
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
    mut lines: impl BufRead,
    mut take: impl FnMut(Result<Exchange, (String, String)>) -> io::Result<()>,
) -> io::Result<()> {
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let place = format!("{name}:{number}");
        match lines.by_ref().take(MAX_BYTES).read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(length) if length as u64 == MAX_BYTES && line.last() != Some(&b'\n') => {
                take(Err((place, format!("is longer than {MAX_BYTES} bytes"))))?;
                break;
            }
            Ok(_) if line.trim_ascii().is_empty() => {}
            Ok(_) => take(of_line(&place, &line).map_err(|reason| (place, reason)))?,
            Err(error) => {
                take(Err((place, format!("cannot be read: {error}"))))?;
                break;
            }
        }
    }
    Ok(())
}

fn of_line(place: &str, line: &[u8]) -> Result<Exchange, String> {
    // The error's own text may show content of the line.
    let told = |error: serde_json::Error| {
        format!("{:?} error at column {}", error.classify(), error.column())
    };
    let kind: Kind = serde_json::from_slice(line).map_err(told)?;
    if kind.chunks.is_some() {
        let captured: Captured = serde_json::from_slice(line).map_err(told)?;
        return captured.exchange();
    }
    let trace: Trace = serde_json::from_slice(line).map_err(told)?;
    Ok(trace.exchange(place))
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
        status: 200,
        content_type: Some(content_type.to_owned()),
        chunks: vec![(Duration::ZERO, body.into())],
        end: BodyEnd::Complete,
    }
}

// === impl Piece ===

impl Piece {
    fn bytes(self) -> Result<Bytes, String> {
        match self {
            Self::Text(text) => Ok(text.into()),
            Self::Hex { hex } => {
                hex::decode(hex).map(Bytes::from).map_err(|_| "has broken hex digits".to_owned())
            }
        }
    }
}

// === impl Captured ===

impl Captured {
    fn exchange(self) -> Result<Exchange, String> {
        if self.v != 1 {
            return Err(format!("is a capture of version {}, and 1 is known", self.v));
        }
        let chunks = self.chunks.into_iter();
        Ok(Exchange {
            id: self.id,
            path: self.path,
            is_captured: true,
            request: self.request.map(Piece::bytes).transpose()?,
            status: self.status,
            content_type: self.content_type,
            chunks: chunks
                .map(|(at, piece)| Ok((Duration::from_millis(at), piece.bytes()?)))
                .collect::<Result<_, String>>()?,
            end: match self.end {
                CapturedEnd::Complete => BodyEnd::Complete,
                CapturedEnd::UpstreamFailed => BodyEnd::Reset,
                CapturedEnd::ClientGone => BodyEnd::ClientGone,
            },
        })
    }
}

// === impl Trace ===

impl Trace {
    /// The trace as a stream of chat chunks, one token each.
    fn exchange(self, place: &str) -> Exchange {
        let id = match self.id {
            None | Some(serde_json::Value::Null) => place.to_owned(),
            Some(serde_json::Value::String(id)) => id,
            Some(other) => other.to_string(),
        };
        let mut chunks = Vec::new();
        let mut at = Duration::ZERO;
        for (channel, text) in
            [(Channel::Thinking, &self.thinking), (Channel::Answer, &self.answer)]
        {
            for token in tokens(text.as_deref().unwrap_or_default()) {
                at += TOKEN_TIME;
                chunks.push((at, event(&Delta::of(channel, token), None)));
            }
        }
        chunks.push((at, event(&Delta::default(), Some("stop"))));
        chunks.push((at, Bytes::from_static(b"data: [DONE]\n\n")));
        let request = self.prompt.map(|prompt| {
            let body = serde_json::json!({
                "model": "", "stream": true, "messages": [{"role": "user", "content": prompt}],
            });
            Bytes::from(body.to_string())
        });
        Exchange { request, chunks, ..recorded(id, "sse", Vec::new()) }
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

    fn lines(text: &str) -> Vec<Result<Exchange, (String, String)>> {
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
        assert_eq!(captured.end, BodyEnd::ClientGone);
        let expected = [(3, &b"da"[..]), (7, b"t\xff")];
        let expected = expected.map(|(at, bytes)| (Duration::from_millis(at), Bytes::from(bytes)));
        assert_eq!(captured.chunks, expected);
        assert_eq!((trace.id.as_str(), trace.request.as_ref()), ("7", None));
        assert_eq!(trace.chunks.len(), 5);
        assert_eq!(trace.chunks.last().unwrap().0, 3 * TOKEN_TIME);
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
                "f:1 Data error at column 14",
                "f:2 Syntax error at column 2",
                "f:3 is a capture of version 2, and 1 is known",
                "f:4 has broken hex digits",
            ]
        );
    }
}
