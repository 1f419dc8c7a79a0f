//! Which parts of a completion's frame go out of it, beside the text that is masked in its place.
//!
//! In: a frame's payload, and what was masked or hidden in it. Out: places in the payload, commas included, without
//! which it is still JSON. Parts that say nothing stay as they are.

use std::ops::Range;

use super::{
    Dialect, anthropic, cohere, gemini,
    json::{each_entry, each_item, range_in, says_nothing, string},
    ollama, openai_responses,
};

/// What goes.
#[derive(Clone, Copy, Debug)]
pub struct TakeOut<'t> {
    /// Thinking in fields of its own, and every choice's token ids, which tell the thinking as well.
    pub thinking: bool,
    /// The choices that something was taken from.
    pub altered: &'t [Altered],
    /// The choices whose role was told before.
    pub roles: &'t [u32],
}

/// A choice that something was taken from. Its token ids go, and whatever nobody has read that repeats the texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Altered {
    /// Its index on the wire.
    pub index: u32,
    /// The texts that were masked or hidden.
    pub texts: Vec<String>,
    /// Its logprobs show what was taken. Of parallel arrays no entry can go alone: all of them go.
    pub logprobs: bool,
}

/// Where model servers tell token ids or what stands for them.
const TOKEN_IDS: [&str; 9] = [
    "hidden_states",
    "input_ids",
    "output_ids",
    "output_token_ids",
    "prompt_logprobs",
    "prompt_token_ids",
    "sglext",
    "token_id",
    "token_ids",
];

/// Levels of nesting that are looked into; what lies deeper goes.
const MAX_DEPTH: usize = 8;

/// The places of `payload` that go, in order.
#[must_use]
pub fn places(payload: &str, what: TakeOut<'_>) -> Vec<Range<usize>> {
    let mut walk = Walk { payload, what, gone: Vec::new() };
    walk.root();
    walk.gone.sort_unstable_by_key(|place| place.start);
    walk.gone
}

/// Whether what nobody has read shows a text that was taken from one of these choices.
#[must_use]
pub fn shows_altered(raw: &str, altered: &[Altered]) -> bool {
    altered.iter().any(|altered| shows(raw, &altered.texts, MAX_DEPTH))
}

/// Whether what nobody has read may be token ids, which tell every text.
#[must_use]
pub fn may_be_ids(raw: &str) -> bool {
    let mut numbers = false;
    each_item(raw, |item| numbers |= is_number(item));
    numbers
}

/// Whether a frame of which something was hidden tells its client nothing any more.
#[must_use]
pub fn tells_nothing(dialect: Dialect, payload: &str, named: &dyn Fn(u32) -> bool) -> bool {
    match dialect {
        Dialect::OpenAiResponses => openai_responses::tells_nothing(payload),
        Dialect::Anthropic => anthropic::tells_nothing(payload),
        Dialect::Cohere => cohere::tells_nothing(payload),
        Dialect::Ollama => ollama::tells_nothing(payload),
        Dialect::Gemini => gemini::tells_nothing(payload),
        Dialect::OpenAiChat | Dialect::OpenAiCompletions | Dialect::Trace | Dialect::Unknown => {
            chunk_tells_nothing(payload, named)
        }
    }
}

/// Whether a chunk tells its client nothing: no text, no finish reason, no usage, no error, and a role only of
/// choices that are `named` already.
fn chunk_tells_nothing(payload: &str, named: &dyn Fn(u32) -> bool) -> bool {
    let mut nothing = true;
    each_entry(payload, |key, raw| match key {
        "usage" | "error" => nothing &= says_nothing(raw),
        "choices" => {
            let mut position = 0;
            each_item(raw, |choice| {
                nothing &= choice_tells_nothing(choice, named(index_of(choice, position)));
                position += 1;
            });
        }
        _ => {}
    });
    nothing
}

fn choice_tells_nothing(choice: &str, named: bool) -> bool {
    let mut nothing = true;
    each_entry(choice, |key, raw| match key {
        "delta" | "message" => {
            each_entry(raw, |key, raw| match key {
                "role" => nothing &= named,
                "id" | "name" | "channel" | "tool_call_id" | "extra_content" => {}
                _ => nothing &= says_nothing(raw),
            });
        }
        "index" | "logprobs" => {}
        _ => nothing &= says_nothing(raw) || is_metadata_of_choice(key),
    });
    nothing
}

/// Known parts of a choice that are neither text nor an end.
fn is_metadata_of_choice(key: &str) -> bool {
    matches!(
        key,
        "seed"
            | "native_finish_reason"
            | "content_filter_results"
            | "content_filter_result"
            | "content_filter_offsets"
    )
}

fn index_of(choice: &str, position: u32) -> u32 {
    let mut index = position;
    each_entry(choice, |key, raw| {
        if key == "index" {
            index = raw.parse().unwrap_or(index);
        }
    });
    index
}

struct Walk<'p, 't> {
    payload: &'p str,
    what: TakeOut<'t>,
    gone: Vec<Range<usize>>,
}

// === impl Walk ===

impl<'p> Walk<'p, '_> {
    fn root(&mut self) {
        let body = self.payload.trim_start();
        self.object(body, &mut |walk, key, raw| match key {
            "choices" => {
                let mut position = 0;
                each_item(raw, |choice| {
                    walk.choice(choice, position);
                    position += 1;
                });
                false
            }
            "id" | "object" | "created" | "model" | "system_fingerprint" | "service_tier"
            | "provider" | "usage" | "error" => false,
            _ => {
                walk.what.altered.iter().any(|altered| repeats(key, raw, altered))
                    || walk.is_ids(key)
            }
        });
    }

    fn choice(&mut self, choice: &'p str, position: u32) {
        let index = index_of(choice, position);
        let altered = self.what.altered.iter().find(|altered| altered.index == index);
        self.object(choice, &mut |walk, key, raw| match key {
            "delta" | "message" => {
                walk.message(raw, altered, walk.what.roles.contains(&index));
                false
            }
            "logprobs" => walk.logprobs(raw, altered),
            "index" | "finish_reason" | "stop_reason" | "matched_stop" | "text" => false,
            _ if is_metadata_of_choice(key) => false,
            _ => walk.is_unread(key, raw, altered),
        });
    }

    fn message(&mut self, message: &'p str, altered: Option<&Altered>, has_role: bool) {
        self.object(message, &mut |walk, key, raw| match key {
            "reasoning_content"
            | "reasoning"
            | "reasoning_details"
            | "thinking_blocks"
            | "encrypted_content"
            | "signature"
            | "reasoning_signature" => walk.what.thinking && !says_nothing(raw),
            "content" => {
                if walk.what.thinking && raw.starts_with('[') {
                    walk.array(raw, &is_thinking_part);
                }
                false
            }
            "role" => has_role,
            "name" | "channel" | "id" | "tool_call_id" | "refusal" | "tool_calls"
            | "function_call" | "executed_tools" | "audio" | "images" => false,
            _ => walk.is_unread(key, raw, altered),
        });
    }

    /// Whether all of a choice's logprobs go.
    fn logprobs(&mut self, raw: &'p str, altered: Option<&Altered>) -> bool {
        let mut parallel = false;
        each_entry(raw, |key, _| parallel |= key == "tokens");
        if parallel && altered.is_some_and(|altered| altered.logprobs || !altered.texts.is_empty())
        {
            return true;
        }
        self.object(raw, &mut |walk, key, raw| match key {
            "reasoning_content" | "reasoning" => walk.what.thinking && !says_nothing(raw),
            "content" | "refusal" | "tokens" | "top_logprobs" | "token_logprobs"
            | "text_offset" => false,
            _ => walk.is_unread(key, raw, altered),
        });
        false
    }

    fn is_unread(&self, key: &str, raw: &str, altered: Option<&Altered>) -> bool {
        self.is_ids(key) || altered.is_some_and(|altered| repeats(key, raw, altered))
    }

    fn is_ids(&self, key: &str) -> bool {
        self.what.thinking && TOKEN_IDS.contains(&key)
    }

    /// Takes out the entries of an object for which `goes` says so.
    fn object(&mut self, raw: &'p str, goes: &mut dyn FnMut(&mut Self, &str, &'p str) -> bool) {
        let mut values = Vec::new();
        each_entry(raw, |key, value| {
            let gone = goes(self, key, value);
            values.push((range_in(self.payload, value), gone));
        });
        self.take(raw, &values);
    }

    /// Takes out the items of an array for which `goes` says so.
    fn array(&mut self, raw: &'p str, goes: &dyn Fn(&str) -> bool) {
        let mut values = Vec::new();
        each_item(raw, |item| values.push((range_in(self.payload, item), goes(item))));
        self.take(raw, &values);
    }

    fn take(&mut self, raw: &str, values: &[(Range<usize>, bool)]) {
        if values.iter().all(|(_, gone)| !gone) {
            return;
        }
        let mut at = range_in(self.payload, raw).start + 1;
        let mut first = true;
        for (value, gone) in values {
            if *gone {
                self.gone.push(at..value.end);
            } else if std::mem::take(&mut first) {
                // What is now the first has no comma before it.
                let before = self.payload.get(at..value.start).unwrap_or_default();
                let blank = before.len() - before.trim_start().len();
                if before.trim_start().starts_with(',') {
                    self.gone.push(at..at + blank + 1);
                }
            }
            at = value.end;
        }
    }
}

/// Whether a part of content is thinking.
fn is_thinking_part(part: &str) -> bool {
    let mut thinking = false;
    each_entry(part, |key, raw| {
        thinking |= key == "thinking" || (key == "type" && raw == "\"thinking\"");
    });
    thinking
}

/// Whether a part that nobody has read tells, by its name or by what stands in it, the altered choice's texts.
fn repeats(key: &str, raw: &str, altered: &Altered) -> bool {
    !altered.texts.is_empty() && (TOKEN_IDS.contains(&key) || shows(raw, &altered.texts, MAX_DEPTH))
}

/// Whether any string in `raw` holds one of the texts, or any list of numbers might stand for one.
fn shows(raw: &str, texts: &[String], depth: usize) -> bool {
    let holds = |text: &str| texts.iter().any(|taken| text.contains(taken.as_str()));
    let mut shown = false;
    match raw.as_bytes() {
        [b'"', ..] => return string(raw).is_some_and(|text| holds(&text)),
        [b'[', ..] => {
            each_item(raw, |item| {
                shown |= is_number(item)
                    || depth.checked_sub(1).is_none_or(|depth| shows(item, texts, depth));
            });
        }
        [b'{', ..] => {
            each_entry(raw, |key, value| {
                shown |= holds(key)
                    || depth.checked_sub(1).is_none_or(|depth| shows(value, texts, depth));
            });
        }
        _ => {}
    }
    shown
}

fn is_number(raw: &str) -> bool {
    raw.starts_with(|first: char| first.is_ascii_digit() || first == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(payload: &str, thinking: bool, altered: &[Altered]) -> String {
        let mut left = String::new();
        let mut at = 0;
        for place in places(payload, TakeOut { thinking, altered, roles: &[] }) {
            left.push_str(&payload[at..place.start]);
            at = place.end;
        }
        left + &payload[at..]
    }

    #[test]
    fn takes_thinking_out_of_its_fields() {
        for (payload, left) in [
            (
                r#"{"choices":[{"delta":{"role":"assistant","reasoning":"a","content":""}}]}"#,
                r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#,
            ),
            (
                r#" {"choices":[{"delta":{ "reasoning" : "a" , "content":null , "reasoning_details":[{"data":"x"}] }}]}"#,
                r#" {"choices":[{"delta":{ "content":null }}]}"#,
            ),
            (
                r#"{"choices":[{"delta":{"reasoning_content":"a","reasoning":"a"},"token_ids":[1]}],"prompt_token_ids":[1]}"#,
                r#"{"choices":[{"delta":{}}]}"#,
            ),
            (
                r#"{"choices":[{"delta":{"content":[{"type":"thinking","thinking":"a"},{"type":"text","text":"b"}]},"logprobs":{"reasoning":[{"token":"a"}],"content":null}}]}"#,
                r#"{"choices":[{"delta":{"content":[{"type":"text","text":"b"}]},"logprobs":{"content":null}}]}"#,
            ),
        ] {
            assert_eq!(without(payload, true, &[]), left);
            assert_eq!(without(payload, false, &[]), payload);
        }
    }

    #[test]
    fn takes_out_what_may_repeat_what_was_taken_from_a_choice() {
        let payload = r#"{"choices":[{"index":1,"text":"m","token_id":7,"novel":{"x":["the secret"]},"other":"a","logprobs":{"tokens":["m"]}},{"index":0,"token_id":7}],"debug":"secret","provider":"p","list":[1,2]}"#;
        let altered = [Altered { index: 1, texts: vec!["secret".into()], logprobs: true }];
        let left = r#"{"choices":[{"index":1,"text":"m","other":"a"},{"index":0,"token_id":7}],"provider":"p"}"#;
        assert_eq!(without(payload, false, &altered), left);
    }

    #[test]
    fn takes_out_the_roles_that_were_told() {
        let payload = r#"{"choices":[{"index":1,"delta":{"role":"assistant","content":""}},{"index":0,"delta":{"content":"","role":"assistant"}}]}"#;
        let mut left = payload.to_owned();
        for place in
            places(payload, TakeOut { thinking: false, altered: &[], roles: &[1] }).iter().rev()
        {
            left.replace_range(place.clone(), "");
        }
        let expected = r#"{"choices":[{"index":1,"delta":{"content":""}},{"index":0,"delta":{"content":"","role":"assistant"}}]}"#;
        assert_eq!(left, expected);
    }

    #[test]
    fn knows_chunks_that_tell_nothing() {
        let named = |index: u32| index == 0;
        for payload in [
            r#"{"id":"a","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}"#,
            r#"{"choices":[{"text":"","index":0,"logprobs":{"content":[]}}]}"#,
        ] {
            assert!(chunk_tells_nothing(payload, &named), "{payload}");
        }
        for payload in [
            r#"{"choices":[{"index":1,"delta":{"role":"assistant"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
            r#"{"choices":[{"index":0,"delta":{}}],"usage":{"n":1}}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{}]}}]}"#,
        ] {
            assert!(!chunk_tells_nothing(payload, &named), "{payload}");
        }
    }
}
