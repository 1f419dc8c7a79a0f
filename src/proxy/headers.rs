//! Fields that belong to one hop (RFC 9110 §7.6.1), and those that stop being true when a body is rewritten.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        ACCEPT_ENCODING, ACCEPT_RANGES, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, EXPECT,
        HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
};

/// Fields that no hop passes on. `Trailer` is not among them: it announces fields to the final recipient
/// (RFC 9110 §6.6.2), and trailers are forwarded.
static HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Fields that tell the length or a digest of a body that is not delivered as it came.
static OF_THE_BYTES: [HeaderName; 8] = [
    CONTENT_LENGTH,
    ETAG,
    ACCEPT_RANGES,
    TRAILER,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
];

/// Makes the client's fields those of the request to the upstream.
pub(super) fn prepare_request(headers: &mut HeaderMap, inspected: bool) {
    let takes_trailers = lists(headers, &TE, "trailers");
    strip_hop_by_hop(headers);
    headers.remove(HOST);
    headers.remove(EXPECT);
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if inspected {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
}

/// Removes what the upstream said to us alone.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in listed.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Removes what does not hold for a body that may be rewritten, and was `decoded` or not.
pub(super) fn strip_of_the_bytes(headers: &mut HeaderMap, decoded: bool) {
    for name in &OF_THE_BYTES {
        headers.remove(name);
    }
    if decoded {
        headers.remove(CONTENT_ENCODING);
    }
}

/// Whether the request's body is compressed, by the standard's field or by a server's own.
pub(super) fn request_is_encoded(headers: &HeaderMap) -> bool {
    let encoded = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|value| !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"));
    // SGLang decompresses request bodies that carry this field.
    encoded || headers.contains_key("x-body-compressed")
}

/// Whether the list in `name` holds `token`, parameters aside.
fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| {
            item.split(';').next().is_some_and(|item| item.trim().eq_ignore_ascii_case(token))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_what_connection_lists_and_keeps_the_rest() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "x-private, keep-alive"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip, trailers;q=0.5"),
            ("trailer", "x-sum"),
            ("host", "thinkgate.example"),
            ("accept-encoding", "gzip"),
            ("authorization", "Bearer key"),
            ("traceparent", "00-0-0-00"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        prepare_request(&mut headers, true);
        let mut left: Vec<_> =
            headers.iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap_or_default())).collect();
        left.sort_unstable();
        assert_eq!(
            left,
            [
                ("accept-encoding", "identity"),
                ("authorization", "Bearer key"),
                ("te", "trailers"),
                ("traceparent", "00-0-0-00"),
                ("trailer", "x-sum"),
            ]
        );
    }
}
