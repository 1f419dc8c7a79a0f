//! A frame of one response, made one of another that began before it: under that one's names, with both usages.
//!
//! In: a frame's payload, and what the client knows of the response already. Out: places in the payload, and what
//! stands there instead; all else stays byte for byte as it came.

use std::ops::Range;

use serde_json::Value;

use super::{
    json::{each_entry, range_in},
    refusal::Identity,
};

/// What a frame has to agree with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Splice {
    /// The names under which the client knows the response; none where it has seen nothing of it.
    pub identity: Option<Identity>,
    /// The usage of what was asked before, where that is known.
    pub usage: Option<String>,
}

/// The places of `payload` that change, and what stands there instead.
#[must_use]
pub fn replacements(payload: &str, splice: &Splice) -> Vec<(Range<usize>, String)> {
    let mut replaced = Vec::new();
    each_entry(payload, |key, raw| {
        let identity = splice.identity.as_ref();
        let new = match key {
            "id" => identity.map(|identity| identity.id.clone()),
            "created" => identity.map(|identity| identity.created.clone()),
            "model" => identity.map(|identity| identity.model.clone()),
            "usage" => splice.usage.as_deref().and_then(|before| sum(before, raw)),
            _ => None,
        };
        if let Some(new) = new.filter(|new| new != raw) {
            replaced.push((range_in(payload, raw), new));
        }
    });
    replaced
}

/// The usage of two requests together: numbers are added up, all else is the second's. None where one of them is no
/// usage.
#[must_use]
pub fn sum(first: &str, second: &str) -> Option<String> {
    let [first, second] = [first, second].map(|usage| serde_json::from_str::<Value>(usage).ok());
    let (first, second) = (first?, second?);
    (first.is_object() && second.is_object()).then(|| added(first, second).to_string())
}

fn added(first: Value, second: Value) -> Value {
    match (first, second) {
        (Value::Object(mut first), Value::Object(mut second)) => {
            for (key, value) in &mut second {
                if let Some(before) = first.remove(key) {
                    *value = added(before, value.take());
                }
            }
            second.extend(first);
            Value::Object(second)
        }
        (Value::Number(first), Value::Number(second)) => {
            let whole = first.as_u64().zip(second.as_u64());
            let whole = whole.and_then(|(first, second)| first.checked_add(second));
            let sum = first.as_f64().zip(second.as_f64()).map(|(first, second)| first + second);
            whole.map_or_else(|| sum.map_or(Value::Number(second), Value::from), Value::from)
        }
        (first, Value::Null) => first,
        (_, second) => second,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spliced(payload: &str, splice: &Splice) -> String {
        let mut text = payload.to_owned();
        for (place, new) in replacements(payload, splice).into_iter().rev() {
            text.replace_range(place, &new);
        }
        text
    }

    #[test]
    fn a_frame_takes_the_names_of_the_response_that_it_becomes_part_of() {
        let identity = Identity { id: "\"a\"".into(), created: "1".into(), model: "\"m\"".into() };
        let splice = Splice { identity: Some(identity), usage: None };
        let payload = r#" {"id" : "b","created":2.0, "x":[1e0,"é"],"model":"n-2","choices":[{"id":"c"}],"usage":{"n":1}}"#;
        let expected = r#" {"id" : "a","created":1, "x":[1e0,"é"],"model":"m","choices":[{"id":"c"}],"usage":{"n":1}}"#;
        assert_eq!(spliced(payload, &splice), expected);
        assert_eq!(spliced(payload, &Splice::default()), payload);
        assert_eq!(spliced("[DONE]", &splice), "[DONE]");
    }

    #[test]
    fn usages_are_added_up_number_by_number() {
        let first =
            r#"{"total_tokens":5,"prompt_tokens_details":{"cached_tokens":2},"cost":0.5,"only":1}"#;
        let second = r#"{"total_tokens":7,"prompt_tokens_details":null,"cost":0.25,"kind":"x"}"#;
        let both: Value = serde_json::from_str(&sum(first, second).unwrap()).unwrap();
        assert_eq!(
            both,
            json!({"total_tokens": 12, "prompt_tokens_details": {"cached_tokens": 2}, "cost": 0.75,
                "kind": "x", "only": 1})
        );
        assert_eq!(sum(first, "null"), None);
        let splice = Splice { identity: None, usage: Some("{\"n\":1}".into()) };
        assert_eq!(spliced(r#"{"usage":{"n":2},"a":1}"#, &splice), r#"{"usage":{"n":3},"a":1}"#);
        assert_eq!(spliced(r#"{"usage":null}"#, &splice), r#"{"usage":null}"#);
    }
}
