//! Heads between Envoy's messages and the library's types, and what a rewritten head changes.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::messages::{self, AppendAction, HeaderMutation, HeaderValueOption};

/// A head without the pseudo-fields, and those.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// `:method`.
    pub(super) method: String,
    /// `:path`, query included.
    pub(super) path: String,
    /// `:status`.
    pub(super) status: String,
    /// The rest.
    pub(super) fields: HeaderMap,
}

// === impl Head ===

impl Head {
    /// Reads a head. A field that no HTTP library would take stays with Envoy and is not seen here.
    pub(super) fn read(head: Option<messages::HeaderMap>) -> Self {
        let mut read = Self::default();
        for field in head.unwrap_or_default().headers {
            let value =
                if field.raw_value.is_empty() { field.value.into() } else { field.raw_value };
            match field.key.as_str() {
                ":method" => read.method = text(&value),
                ":path" => read.path = text(&value),
                ":status" => read.status = text(&value),
                name => {
                    if let (Ok(name), Ok(value)) =
                        (name.parse::<HeaderName>(), HeaderValue::from_maybe_shared(value))
                    {
                        read.fields.append(name, value);
                    }
                }
            }
        }
        read
    }
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

/// What makes `after` out of `before`; nothing where they are the same.
pub(super) fn changes(before: &HeaderMap, after: &HeaderMap) -> Option<HeaderMutation> {
    let mut mutation = HeaderMutation::default();
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        mutation.remove_headers.push(name.as_str().to_owned());
    }
    for name in after.keys() {
        if !before.get_all(name).iter().eq(after.get_all(name)) {
            set(&mut mutation, name, after);
        }
    }
    let changes = !mutation.set_headers.is_empty() || !mutation.remove_headers.is_empty();
    changes.then_some(mutation)
}

/// Sets all of `fields` and removes nothing.
pub(super) fn all(fields: &HeaderMap) -> HeaderMutation {
    let mut mutation = HeaderMutation::default();
    for name in fields.keys() {
        set(&mut mutation, name, fields);
    }
    mutation
}

/// Removes all of `fields`.
pub(super) fn none_of(fields: &HeaderMap) -> HeaderMutation {
    let names = fields.keys().map(|name| name.as_str().to_owned());
    HeaderMutation { remove_headers: names.collect(), ..HeaderMutation::default() }
}

/// Has the values of `name` in `fields` take the place of all others.
fn set(mutation: &mut HeaderMutation, name: &HeaderName, fields: &HeaderMap) {
    let mut action = AppendAction::OverwriteIfExistsOrAdd;
    for value in fields.get_all(name) {
        let header = messages::HeaderValue {
            key: name.as_str().to_owned(),
            value: String::new(),
            raw_value: Bytes::copy_from_slice(value.as_bytes()),
        };
        let option = HeaderValueOption { header: Some(header), append_action: action.into() };
        mutation.set_headers.push(option);
        action = AppendAction::AppendIfExistsOrAdd;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(of: &[(&'static str, &'static str)]) -> HeaderMap {
        of.iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            })
    }

    fn told(mutation: &HeaderMutation) -> Vec<(String, String, i32)> {
        let set = mutation.set_headers.iter();
        set.map(|option| {
            let header = option.header.clone().unwrap();
            (header.key, text(&header.raw_value), option.append_action)
        })
        .collect()
    }

    #[test]
    fn tells_what_was_changed_and_nothing_else() {
        let before = fields(&[("etag", "1"), ("via", "a"), ("via", "b"), ("content-type", "x")]);
        assert_eq!(changes(&before, &before.clone()), None);
        let after = fields(&[("via", "b"), ("via", "c"), ("content-type", "x"), ("x-id", "7")]);
        let mutation = changes(&before, &after).unwrap();
        assert_eq!(mutation.remove_headers, ["etag"]);
        let [first, more, new] = [("via", "b", 2), ("via", "c", 0), ("x-id", "7", 2)];
        let expected = [first, more, new]
            .map(|(name, value, action)| (name.to_owned(), value.to_owned(), action));
        assert_eq!(told(&mutation), expected);
    }

    #[test]
    fn reads_values_of_either_kind_and_keeps_pseudo_fields_apart() {
        let field = |key: &str, value: &str, raw_value: &'static [u8]| messages::HeaderValue {
            key: key.to_owned(),
            value: value.to_owned(),
            raw_value: Bytes::from_static(raw_value),
        };
        let headers = vec![
            field(":method", "", b"POST"),
            field(":path", "/v1/x?y", b""),
            field("accept", "a", b""),
            field("accept", "", b"b"),
            field("bad name", "", b"b"),
            field("bad-value", "", b"\0"),
        ];
        let head = Head::read(Some(messages::HeaderMap { headers }));
        assert_eq!((head.method.as_str(), head.path.as_str()), ("POST", "/v1/x?y"));
        assert_eq!(head.fields, fields(&[("accept", "a"), ("accept", "b")]));
    }
}
