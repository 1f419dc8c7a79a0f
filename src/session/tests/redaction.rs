//! A secret is masked wherever its text stands, and nothing else changes.

use super::*;
use crate::policy::Mask;

const SECRET: &str = "sesame street";

fn with_mask(mask: Mask) -> Arc<Plan> {
    plan(Policy { mode: Mode::Enforce, mask, ..Policy::default() }, Settings::default())
}

/// Chunks of one choice, as they were sent.
fn stream(choices: &[Value]) -> Vec<String> {
    let mut events: Vec<String> = choices
        .iter()
        .map(|choice| format!("data: {}\n\n", json!({"choices": [choice]})))
        .collect();
    events.push(DONE.to_owned());
    events
}

/// The choice of each chunk that was delivered.
fn delivered(sent: &str) -> Vec<Value> {
    sent_chunks(sent).into_iter().map(|chunk| chunk["choices"][0].clone()).collect()
}

fn entry(token: &str) -> Value {
    json!({"token": token, "logprob": -0.1, "bytes": token.as_bytes(), "top_logprobs": []})
}

fn entries(tokens: &[&str]) -> Value {
    tokens.iter().map(|token| entry(token)).collect()
}

/// Whether `body` tells the secret: plainly, in JSON's escapes, or as the bytes of logprobs.
fn tells(body: &str, secret: &str) -> bool {
    let hidden_in = |value: &Value| strings_of(value).iter().any(|text| text.contains(secret));
    let values = match serde_json::from_str::<Value>(body) {
        Ok(value) => vec![value],
        Err(_) => sent_chunks(body),
    };
    body.contains(secret) || values.iter().any(hidden_in)
}

/// Every string and key, lists of numbers read as bytes, and the strings of arrays joined.
fn strings_of(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => {
            let mut strings: Vec<String> = items.iter().flat_map(strings_of).collect();
            let bytes: Vec<u8> =
                items.iter().filter_map(|item| u8::try_from(item.as_u64()?).ok()).collect();
            strings.push(String::from_utf8_lossy(&bytes).into_owned());
            let tokens = items.iter().filter_map(|item| item["token"].as_str());
            strings.push(tokens.collect());
            let bytes = items.iter().filter_map(|item| item["bytes"].as_array()).flatten();
            let bytes: Vec<u8> =
                bytes.filter_map(|byte| u8::try_from(byte.as_u64()?).ok()).collect();
            strings.push(String::from_utf8_lossy(&bytes).into_owned());
            strings
        }
        Value::Object(entries) => {
            let inner = entries.values().flat_map(strings_of);
            entries.keys().cloned().chain(inner).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// A name, what was sent of one choice, and what is delivered of it.
type Case = (&'static str, Vec<Value>, Vec<Value>);

fn is_delivered(cases: Vec<Case>) {
    for (name, choices, expected) in cases {
        let run = run(&enforce(), &stream(&choices));
        assert_eq!(delivered(&run.sent), expected, "{name}");
        assert_eq!(run.report.action, Action::Redact, "{name}");
        assert!(!tells(&run.sent, SECRET), "{name}");
    }
}

#[test]
fn masks_every_copy_of_a_streamed_text() {
    is_delivered(vec![
        (
            "text completions",
            vec![json!({"text": "a sesame"}), json!({"text": " street b", "index": 0})],
            vec![json!({"text": "a [redacted]"}), json!({"text": " b", "index": 0})],
        ),
        (
            "text beside a delta, and its token ids",
            vec![
                json!({"text": "sesame", "delta": {"content": "sesame", "token_id": 7}}),
                json!({"text": " street", "delta": {"content": " street", "token_id": 8}}),
                json!({"text": " b", "delta": {"content": " b", "token_id": 9}}),
            ],
            vec![
                json!({"text": "[redacted]", "delta": {"content": "[redacted]"}}),
                json!({"text": "", "delta": {"content": ""}}),
                json!({"text": " b", "delta": {"content": " b", "token_id": 9}}),
            ],
        ),
        (
            "a cumulative message",
            vec![
                json!({"delta": {"content": "at sesame"}, "message": {"content": "at sesame"}}),
                json!({"delta": {"content": " street b"}, "message": {"content": "at sesame street b"}}),
                json!({"delta": {"content": " c"}, "message": {"content": "at sesame street b c"}}),
            ],
            vec![
                json!({"delta": {"content": "at [redacted]"}, "message": {"content": "at [redacted]"}}),
                json!({"delta": {"content": " b"}, "message": {"content": "at [redacted] b"}}),
                json!({"delta": {"content": " c"}, "message": {"content": "at [redacted] b c"}}),
            ],
        ),
        (
            "reasoning in all its fields",
            vec![
                json!({"delta": {"reasoning_content": "to sesame", "reasoning": "to sesame",
                    "reasoning_details": [{"type": "reasoning.text", "text": "to sesame"}],
                    "thinking_blocks": [{"type": "thinking", "thinking": "to sesame"}]}}),
                json!({"delta": {"reasoning_content": " street.", "reasoning": " street.",
                    "reasoning_details": [{"type": "reasoning.summary", "summary": " street."}]}}),
            ],
            vec![
                json!({"delta": {"reasoning_content": "to [redacted]", "reasoning": "to [redacted]",
                    "reasoning_details": [{"type": "reasoning.text", "text": "to [redacted]"}],
                    "thinking_blocks": [{"type": "thinking", "thinking": "to [redacted]"}]}}),
                json!({"delta": {"reasoning_content": ".", "reasoning": ".",
                    "reasoning_details": [{"type": "reasoning.summary", "summary": "."}]}}),
            ],
        ),
        (
            "reasoning that differs between its fields",
            vec![
                json!({"delta": {"reasoning_content": "one", "reasoning": "at sesame"}}),
                json!({"delta": {"reasoning_content": "two", "reasoning": " street!"}}),
            ],
            vec![
                json!({"delta": {"reasoning_content": "one", "reasoning": "at [redacted]"}}),
                json!({"delta": {"reasoning_content": "two", "reasoning": "!"}}),
            ],
        ),
        (
            "parts of content",
            vec![
                json!({"delta": {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "sesame street!"}]}, {"type": "text", "text": "sesame"}]}}),
                json!({"delta": {"content": " street?"}}),
            ],
            vec![
                json!({"delta": {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "[redacted]!"}]}, {"type": "text", "text": "[redacted]"}]}}),
                json!({"delta": {"content": "?"}}),
            ],
        ),
    ]);
}

#[test]
fn drops_the_logprobs_that_tell_a_masked_text() {
    is_delivered(vec![
        (
            "logprobs of the answer and of the thinking",
            vec![
                json!({"delta": {"content": "at sesame"}, "logprobs": {"content": entries(&["at ", "ses", "ame"])}}),
                json!({"delta": {"content": " street!"}, "logprobs": {"content": entries(&[" street", "!"])}}),
                json!({"delta": {"reasoning_content": "sesame street."}, "logprobs": {"reasoning_content": entries(&["sesame", " street", "."]), "content": null}}),
            ],
            vec![
                json!({"delta": {"content": "at [redacted]"}, "logprobs": {"content": entries(&["at "])}}),
                json!({"delta": {"content": "!"}, "logprobs": {"content": entries(&["!"])}}),
                json!({"delta": {"reasoning_content": "[redacted]."}, "logprobs": {"reasoning_content": entries(&["."]), "content": null}}),
            ],
        ),
        (
            "logprobs of a refusal",
            vec![
                json!({"delta": {"refusal": "no sesame street!"}, "logprobs": {"refusal": entries(&["no ", "sesame", " street", "!"])}}),
            ],
            vec![
                json!({"delta": {"refusal": "no [redacted]!"}, "logprobs": {"refusal": entries(&["no ", "!"])}}),
            ],
        ),
        (
            "logprobs that do not tell the same text",
            vec![
                json!({"delta": {"content": "é sesame street"}, "logprobs": {"content": entries(&["\u{fffd}", "\u{fffd}", " ses", "ame", " street"])}}),
            ],
            vec![json!({"delta": {"content": "é [redacted]"}, "logprobs": {"content": []}})],
        ),
        (
            "an alternative that was not chosen",
            vec![
                json!({"delta": {"content": "a b"}, "logprobs": {"content": [entry("a "), {"token": "b", "top_logprobs": [entry("b"), entry(SECRET), entry("other")]}]}}),
            ],
            vec![json!({"delta": {"content": "a b"}, "logprobs": {"content": [entry("a ")]}})],
        ),
        (
            "alternatives of entries that stay",
            vec![
                json!({"delta": {"content": "one sesame street"}, "logprobs": {"content": [{"token": "one ", "top_logprobs": [entry("one "), entry("two ")]}, entry("sesame street")]}}),
            ],
            vec![
                json!({"delta": {"content": "one [redacted]"}, "logprobs": {"content": [{"token": "one ", "top_logprobs": [entry("one "), entry("two ")]}]}}),
            ],
        ),
        (
            "parallel arrays of logprobs",
            vec![
                json!({"text": "sesame street", "logprobs": {"tokens": ["sesame", " street"], "token_logprobs": [-1, -1], "top_logprobs": [{"sesame": -1}, {" street": -1}], "text_offset": [0, 6]}}),
                json!({"text": " b", "logprobs": {"tokens": [" b"], "token_logprobs": [-1]}}),
            ],
            vec![
                json!({"text": "[redacted]"}),
                json!({"text": " b", "logprobs": {"tokens": [" b"], "token_logprobs": [-1]}}),
            ],
        ),
    ]);
}

#[test]
fn masks_or_drops_what_stands_beside_the_text() {
    is_delivered(vec![
        (
            "token ids, and fields that nobody knows",
            vec![
                json!({"delta": {"content": "sesame street", "novel": {"copy": ["a sesame street"]}, "other": "kept"}, "token_ids": [1, 2], "sglext": {"ids": [1]}, "seed": 4}),
                json!({"delta": {"content": " b"}, "token_ids": [3]}),
            ],
            vec![
                json!({"delta": {"content": "[redacted]", "other": "kept"}, "seed": 4}),
                json!({"delta": {"content": " b"}, "token_ids": [3]}),
            ],
        ),
        (
            "executed tools, and earlier values of a repeated key",
            vec![
                json!({"delta": {"executed_tools": [{"type": "x", "output": "in sesame street"}]}}),
            ],
            vec![json!({"delta": {"executed_tools": [{"type": "x", "output": "in [redacted]"}]}})],
        ),
        (
            "what an audio answer says",
            vec![
                json!({"delta": {"audio": {"transcript": "in sesame"}}}),
                json!({"delta": {"audio": {"transcript": " street."}}}),
            ],
            vec![
                json!({"delta": {"audio": {"transcript": "in [redacted]"}}}),
                json!({"delta": {"audio": {"transcript": "."}}}),
            ],
        ),
    ]);
}

#[test]
fn masks_every_place_of_a_whole_body() {
    let tokens = ["in ", "sesame", " street"];
    let body = |choice: Value, ids: Value| {
        let mut body = json!({"id": "b", "choices": [choice], "usage": {"total_tokens": 5}});
        if !ids.is_null() {
            body["prompt_token_ids"] = ids;
            body["debug"] = json!("the text was: in sesame street");
        }
        body.to_string()
    };
    let choice = json!({"index": 0, "finish_reason": "stop", "token_ids": [1, 2, 3],
        "logprobs": {"content": entries(&tokens), "reasoning_content": entries(&tokens)},
        "message": {"role": "assistant", "content": "in sesame street", "reasoning": "in sesame street",
            "reasoning_content": "in sesame street",
            "reasoning_details": [{"type": "reasoning.text", "text": "in sesame street"}, {"type": "reasoning.encrypted", "data": "gAAA"}],
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"q\": \"sesame street\", \"n\": [1]}"}}]}});
    let expected = json!({"index": 0, "finish_reason": "stop",
        "logprobs": {"content": entries(&["in "]), "reasoning_content": entries(&["in "])},
        "message": {"role": "assistant", "content": "in [redacted]", "reasoning": "in [redacted]",
            "reasoning_content": "in [redacted]",
            "reasoning_details": [{"type": "reasoning.text", "text": "in [redacted]"}, {"type": "reasoning.encrypted", "data": "gAAA"}],
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"q\": \"[redacted]\", \"n\": [1]}"}}]}});
    let whole = body(choice, json!([1, 2]));
    let run = run_chunks(&enforce(), "application/json", &[whole.as_bytes()]);
    assert_eq!(run.sent, body(expected, Value::Null));
}

#[test]
fn masks_every_value_of_a_repeated_key() {
    let told = |first: &str, last: &str| {
        format!(
            "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{first}\",\"content\":\"{last}\"}}}}]}}\n\n"
        )
    };
    let events = [told("a sesame", "in"), told(" street", " a b"), DONE.to_owned()];
    let left = [told("a [redacted]", "in"), told("", " a b"), DONE.to_owned()];
    assert_eq!(run(&enforce(), &events).sent, left.concat());
}

#[test]
fn leaves_what_a_few_masked_letters_happen_to_stand_in() {
    let told = |content: &str| json!({"choices": [{"delta": {"content": content}, "note": "these"}], "filter": {"severity": "safe"}});
    let events =
        [format!("data: {}\n\n", told("at se")), format!("data: {}\n\n", told("same street b"))];
    let run = run(&enforce(), &events);
    assert_eq!(sent_chunks(&run.sent), [told("at [redacted]"), told(" b")]);
}

#[test]
fn keeps_lengths_where_the_operator_wants_them() {
    let events = stream(&[
        json!({"delta": {"content": "é sesame"}}),
        json!({"delta": {"content": " street 禁"}}),
    ]);
    let run = run(&with_mask(Mask::Blocks), &events);
    assert_eq!(sent_text(&run.sent, "content"), "é █████████████ 禁");
    assert_eq!(run.report.action, Action::Redact);
}

#[test]
fn masks_arguments_only_where_they_stay_json() {
    let arguments = |parts: &[&str]| {
        let call = |part: &&str| json!({"delta": {"tool_calls": [{"index": 0, "function": {"arguments": part}}]}});
        let mut choices: Vec<Value> = parts.iter().map(call).collect();
        choices.push(json!({"delta": {}, "finish_reason": "tool_calls"}));
        run(&enforce(), &stream(&choices))
    };
    for (parts, expected) in [
        (vec!["{\"q\":\"ses", "ame street", "\"}"], "{\"q\":\"[redacted]\"}"),
        (vec!["{\"sesame street\"", ":1}"], "{\"[redacted]\":1}"),
        (
            vec!["{\"q\":\"\\n\\u00e9 ses", "ame street\\\"\"}"],
            "{\"q\":\"\\n\\u00e9 [redacted]\\\"\"}",
        ),
    ] {
        let run = arguments(&parts);
        let sent: String = delivered(&run.sent)
            .iter()
            .filter_map(|choice| choice["delta"]["tool_calls"][0]["function"]["arguments"].as_str())
            .collect();
        assert_eq!(sent, expected);
        assert!(serde_json::from_str::<Value>(&sent).is_ok());
    }
    // Outside of a string, through its end, or through an escape: the exchange is blocked.
    for parts in [
        vec!["{\"q\":sesame", " street}"],
        vec!["{\"q\":\"\\", "sesame street\"}"],
        vec![" [", "sesame street]"],
    ] {
        let run = arguments(&parts);
        assert_eq!(run.report.action, Action::Block, "{parts:?}");
        assert!(!run.sent.contains("sesame"));
    }
}

#[test]
fn masks_the_input_of_a_custom_tool() {
    let call = |input: &str| json!({"delta": {"tool_calls": [{"index": 0, "custom": {"input": input}}]}, "finish_reason": "stop"});
    let run = run(&enforce(), &stream(&[call("go to \"sesame street\" {")]));
    assert_eq!(delivered(&run.sent), [call("go to \"[redacted]\" {")]);
}

#[test]
fn masks_arguments_that_are_an_object() {
    let call = |q: &str| json!({"delta": {"tool_calls": [{"index": 0, "function": {"arguments": {"q": q}}}]}, "finish_reason": "stop"});
    let run = run(&enforce(), &stream(&[call("sesame street")]));
    assert_eq!(delivered(&run.sent), [call("[redacted]")]);
}

#[test]
fn never_alters_thinking_that_is_signed() {
    let detail = |text: &str| json!({"delta": {"reasoning_details": [{"type": "reasoning.text", "text": text}]}});
    let signature =
        json!({"delta": {"reasoning_details": [{"type": "reasoning.text", "signature": "c2ln"}]}});
    let answer = json!({"delta": {"content": "ok"}, "finish_reason": "stop"});
    // The signature comes last, in a frame of its own.
    let late =
        run(&enforce(), &stream(&[detail("sesame street!"), signature.clone(), answer.clone()]));
    assert!(late.stopped && !late.sent.contains("c2ln") && !tells(&late.sent, SECRET));
    // The signature comes with the text, or while the text is still held.
    let block = |text: &str| json!({"delta": {"thinking_blocks": [{"type": "thinking", "thinking": text, "signature": "c2ln"}]}});
    for events in
        [stream(&[block("sesame street!")]), stream(&[block("sesame"), detail(" street!")])]
    {
        let run = run(&enforce(), &events);
        assert_eq!(run.report.action, Action::Block);
        assert!(!run.sent.contains("c2ln") && !run.sent.contains("sesame"));
    }
    // A finding in the answer does not touch it, and without findings it passes whole.
    let answered = json!({"delta": {"content": "sesame street"}, "finish_reason": "stop"});
    let passed = run(&enforce(), &stream(&[detail("a thought"), signature.clone(), answered]));
    assert_eq!(delivered(&passed.sent)[..2], [detail("a thought"), signature]);
    assert_eq!(sent_text(&passed.sent, "content"), "[redacted]");
    let part = json!({"message": {"content": [{"type": "thinking", "thinking": "sesame street", "signature": "c2ln"}]}});
    let whole = json!({"choices": [part]}).to_string();
    assert!(run_chunks(&enforce(), "application/json", &[whole.as_bytes()]).responded.is_some());
}

#[test]
fn passes_encrypted_thinking_whole_and_counts_it() {
    let sealed = json!({"delta": {"reasoning_details": [{"type": "reasoning.summary", "summary": "sesame street"}, {"type": "reasoning.encrypted", "data": "gAAAA"}],
        "encrypted_content": "xx", "thinking_blocks": [{"type": "redacted_thinking", "data": "yyy"}]}});
    let run = run(&enforce(), &stream(&[sealed]));
    let choice = &delivered(&run.sent)[0];
    assert_eq!(
        choice["delta"]["reasoning_details"],
        json!([{"type": "reasoning.summary", "summary": "[redacted]"}, {"type": "reasoning.encrypted", "data": "gAAAA"}])
    );
    assert_eq!(choice["delta"]["thinking_blocks"][0]["data"], "yyy");
    let sealed = (Some(Channel::Thinking), UnscannedReason::Encrypted);
    assert_eq!(run.report.bytes.unscanned.get(&sealed), Some(&(7 + 4 + 5)));
    assert_eq!(run.report.action, Action::Redact);
}

/// Tokens of one, two and three characters.
fn tokens_of(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    for width in (1..=3).cycle() {
        let end = rest.char_indices().nth(width).map_or(rest.len(), |(at, _)| at);
        let (token, after) = rest.split_at(end);
        if token.is_empty() {
            break;
        }
        tokens.push(token);
        rest = after;
    }
    tokens
}

/// The tokens of the pieces that have nothing of the secret.
fn harmless_tokens<'p>(pieces: impl Iterator<Item = &'p str>, whole: &str) -> String {
    let mut at = 0;
    let mut harmless = String::new();
    for token in pieces.flat_map(tokens_of) {
        let end = at + token.len();
        let overlaps = |(start, secret): (usize, &str)| at < start + secret.len() && start < end;
        if !whole.match_indices(SECRET).any(overlaps) {
            harmless.push_str(token);
        }
        at = end;
    }
    harmless
}

/// One chunk's choice with `text` in every place of one way to tell a text.
fn told(way: usize, text: &str, so_far: &str, index: u32) -> Value {
    let tokens = tokens_of(text);
    let all = format!("{so_far}{text}");
    match way {
        0 => json!({"index": index, "text": text, "token_ids": [1, 2],
            "logprobs": {"tokens": tokens, "top_logprobs": tokens.iter().map(|token| json!({*token: -1})).collect::<Value>()}}),
        1 => {
            json!({"index": index, "delta": {"content": text, "token_id": 3, "novel": text}, "text": text,
            "message": {"content": all}, "logprobs": {"content": entries(&tokens)}})
        }
        2 => json!({"index": index, "delta": {"reasoning_content": text, "reasoning": text,
            "reasoning_details": [{"type": "reasoning.text", "text": text}]}, "logprobs": {"content": entries(&tokens)}}),
        3 => {
            json!({"index": index, "delta": {"refusal": text}, "logprobs": {"refusal": entries(&tokens)}})
        }
        _ => {
            json!({"index": index, "delta": {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]},
            "logprobs": {"reasoning": entries(&tokens)}})
        }
    }
}

/// The value without the texts, and without what goes with a masked text.
fn skeleton(value: &Value) -> Value {
    match value {
        Value::Object(entries) => {
            let kept = entries.iter().filter(|(key, _)| {
                !matches!(key.as_str(), "logprobs" | "token_ids" | "token_id" | "novel")
            });
            kept.map(|(key, value)| {
                let value = if value.is_string() { Value::Null } else { skeleton(value) };
                (key.clone(), value)
            })
            .collect::<serde_json::Map<_, _>>()
            .into()
        }
        Value::Array(items) => items.iter().map(skeleton).collect(),
        other => other.clone(),
    }
}

/// The texts of a choice's place, one after another.
fn texts_at(choices: &[Value], index: u32, place: &str) -> String {
    let of = choices.iter().filter(|choice| choice["index"] == index);
    of.filter_map(|choice| choice.pointer(place)?.as_str()).collect()
}

const PLACES: [&[&str]; 5] = [
    &["/text"],
    &["/delta/content", "/text"],
    &["/delta/reasoning_content", "/delta/reasoning", "/delta/reasoning_details/0/text"],
    &["/delta/refusal"],
    &["/delta/content/0/thinking/0/text"],
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_generated_body_tells_the_secret_anywhere(
        way in 0..PLACES.len(),
        pieces in prop::collection::vec(
            (0..2_u32, prop::sample::select(vec!["ses", "ame", " stre", "et", "sesame street", " ", "\"x", "é禁", "s"])),
            1..14,
        ),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut so_far = [String::new(), String::new()];
        let mut choices = Vec::new();
        for (index, piece) in &pieces {
            let text = &mut so_far[*index as usize];
            choices.push(told(way, piece, text, *index));
            text.push_str(piece);
        }
        let body = stream(&choices).concat();
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len())).collect();
        ends.sort_unstable();
        ends.push(body.len());
        let mut begin = 0;
        let chunks: Vec<&[u8]> = ends
            .iter()
            .map(|&end| &body.as_bytes()[std::mem::replace(&mut begin, end)..end])
            .collect();
        let run = run_chunks(&loose_plan(Mask::Label), "text/event-stream", &chunks);
        let blocks = run_chunks(&loose_plan(Mask::Blocks), "text/event-stream", &chunks);
        prop_assert!(!tells(&blocks.sent, SECRET));
        let sent = delivered(&run.sent);
        prop_assert!(!tells(&run.sent, SECRET), "{}", run.sent);
        let before: Vec<Value> = choices.iter().map(skeleton).collect();
        let after: Vec<Value> = sent.iter().map(skeleton).collect();
        prop_assert_eq!(before, after);
        for (index, whole) in (0..).zip(&so_far) {
            for place in PLACES[way] {
                prop_assert_eq!(texts_at(&sent, index, place), whole.replace(SECRET, MASK));
                let kept = texts_at(&delivered(&blocks.sent), index, place);
                prop_assert_eq!(kept, whole.replace(SECRET, &"█".repeat(SECRET.len())));
            }
            let tokens = sent.iter().filter(|choice| choice["index"] == index).flat_map(|choice| {
                let logprobs = choice["logprobs"].as_object().into_iter().flat_map(|kinds| kinds.values());
                logprobs.filter_map(Value::as_array).flatten().cloned().collect::<Vec<_>>()
            });
            let told: String = tokens.filter_map(|token| token["token"].as_str().map(str::to_owned)).collect();
            let own = pieces.iter().filter(|(of, _)| *of == index).map(|(_, piece)| *piece);
            // Parallel arrays go as a whole, and their tokens are no entries.
            let expected = if way == 0 { String::new() } else { harmless_tokens(own, whole) };
            prop_assert_eq!(told, expected);
        }
        if !so_far.iter().any(|text| text.contains(SECRET)) {
            prop_assert_eq!(run.sent, body);
        }
    }
}

/// One rule that masks the secret, inside of words, too.
fn loose_plan(mask: Mask) -> Arc<Plan> {
    let text =
        PACK.replace(r#"{literal: "sesame street"}"#, r#"{literal: "sesame street", word: false}"#);
    let pack = Pack::parse("test", &text, &|_| Err(String::new())).unwrap();
    let rules = Arc::new(RuleSet::compile(vec![pack]).unwrap());
    let policy = Policy { mode: Mode::Enforce, mask, plain_only: true, ..Policy::default() };
    Arc::new(Plan::new(rules, policy, Settings::default()))
}
