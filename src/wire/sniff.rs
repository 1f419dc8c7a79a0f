//! Which framing a body has, told from its content type and its first bytes: servers mislabel both ways.

/// How a body is cut into frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events.
    Sse,
    /// One body, one frame.
    Whole,
    /// One JSON value a line.
    Lines,
    /// A JSON array, one frame an item.
    Array,
}

/// Bytes that are enough to tell (a byte order mark, blank lines and the longest field name).
const ENOUGH: usize = 64;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Whether a content type is that of server-sent events, whatever its parameters.
fn is_event_stream(content_type: &str) -> bool {
    is_one_of(content_type, &["text/event-stream"])
}

/// Whether a content type is that of a body that comes in frames over time: events, or lines of JSON.
#[must_use]
pub fn is_stream(content_type: &str) -> bool {
    is_event_stream(content_type) || is_lines(content_type)
}

fn is_lines(content_type: &str) -> bool {
    let names = [
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonlines",
        "application/stream+json",
    ];
    is_one_of(content_type, &names)
}

fn is_one_of(content_type: &str, names: &[&str]) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    names.iter().any(|name| kind.eq_ignore_ascii_case(name))
}

/// The framing of a body that begins with `head`: `Ok(None)` while more bytes are needed,
/// `Err(())` when it is neither events nor JSON.
pub fn sniff(
    content_type: Option<&str>,
    head: &[u8],
) -> Result<Option<Framing>, NeitherEventsNorJson> {
    let declared_events = content_type.is_some_and(is_event_stream);
    if BYTE_ORDER_MARK.starts_with(head) {
        return Ok(None);
    }
    let bare = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head).trim_ascii_start();
    match bare.first() {
        None => Ok(None),
        Some(b'{') if content_type.is_some_and(is_lines) => Ok(Some(Framing::Lines)),
        Some(b'{') => Ok(Some(Framing::Whole)),
        Some(b'[') => Ok(Some(Framing::Array)),
        Some(_) if declared_events => Ok(Some(Framing::Sse)),
        Some(_) => {
            let names: [&[u8]; 6] = [b"data", b"event", b":", b"id", b"retry", b"error"];
            if names.iter().any(|name| bare.starts_with(name)) {
                Ok(Some(Framing::Sse))
            } else if bare.len() < ENOUGH && names.iter().any(|name| name.starts_with(bare)) {
                Ok(None)
            } else {
                Err(NeitherEventsNorJson)
            }
        }
    }
}

/// The body's first bytes are those of no framing known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is neither server-sent events nor JSON")]
pub struct NeitherEventsNorJson;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_json_from_events_whatever_the_label_says() {
        for label in [None, Some("text/event-stream; charset=utf-8"), Some("application/json")] {
            assert_eq!(sniff(label, b"\n\n{\"a\":1}"), Ok(Some(Framing::Whole)));
            assert_eq!(sniff(label, b": ping\n\n"), Ok(Some(Framing::Sse)));
            assert_eq!(sniff(label, b"\xef\xbb\xbfdata: x\n\n"), Ok(Some(Framing::Sse)));
            assert_eq!(sniff(label, b"  "), Ok(None));
        }
        assert_eq!(sniff(Some("application/x-ndjson"), b"{\"a\":1}"), Ok(Some(Framing::Lines)));
        assert_eq!(sniff(None, b" [{\"a\":1}"), Ok(Some(Framing::Array)));
        assert_eq!(sniff(None, b"da"), Ok(None));
        assert_eq!(sniff(None, b"\xef\xbb"), Ok(None));
        assert_eq!(sniff(None, b"<html>"), Err(NeitherEventsNorJson));
    }
}
