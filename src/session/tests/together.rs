//! Frames that come together show what they show one by one.

use super::*;

fn shadow() -> Arc<Plan> {
    plan(Policy::default(), Settings::default())
}

fn shadowing(endpoint: Endpoint) -> Session {
    let kind =
        if endpoint == Endpoint::OllamaChat { "application/x-ndjson" } else { "text/event-stream" };
    start_at(&shadow(), endpoint, kind).0
}

/// What a session says of `frames` that come in chunks of so many, over and over.
fn report_of(endpoint: Endpoint, frames: &[String], chunks: &[usize]) -> ExchangeReport {
    let mut sizes = chunks.iter().cycle();
    let mut rest = frames;
    let mut bodies = Vec::new();
    while !rest.is_empty() {
        let (chunk, later) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
        bodies.push(chunk.concat());
        rest = later;
    }
    let bodies: Vec<&[u8]> = bodies.iter().map(String::as_bytes).collect();
    run_session(shadowing(endpoint), &bodies).report
}

/// What a session says of them that knows no frame from another.
fn report_of_each(endpoint: Endpoint, frames: &[String]) -> ExchangeReport {
    let mut session = shadowing(endpoint);
    for frame in frames {
        session.together.forget();
        session.on_chunk(some_time(), Bytes::copy_from_slice(frame.as_bytes()));
    }
    session.on_end(some_time(), BodyEnd::Complete);
    session.report()
}

fn pieces() -> impl Strategy<Value = Vec<(usize, &'static str)>> {
    let parts = [
        "",
        "forbidden",
        " falcon",
        "sesame ",
        "street",
        "é\n",
        "\"\\",
        "<think>",
        "</think>",
        "禁 x",
    ];
    prop::collection::vec((0..12_usize, prop::sample::select(parts.to_vec())), 1..40)
}

/// A completion's chunks: mostly text of one channel, and all else that may stand between.
fn completion(pieces: &[(usize, &'static str)], key: &str) -> Vec<String> {
    let mut frames = Vec::new();
    for (number, &(kind, text)) in pieces.iter().enumerate() {
        let delta = |delta: &Value| event(delta, None);
        frames.push(match kind {
            0 => delta(&json!({"content": text})),
            1 => delta(&json!({"tool_calls": [{"index": 0, "function": {"arguments": text}}]})),
            2 => event_of(1, &json!({key: text}), None),
            3 => ": wait\n\n".to_owned(),
            4 => event(&json!({key: text}), Some("length")),
            5 => delta(&json!({key: text, "novel": text})),
            6 => delta(&json!({key: text}))
                .replace("\"created\":7", &format!("\"created\":{number}")),
            7 => delta(&json!({key: text})).replace("\n\n", "\r\n\r\n"),
            _ => delta(&json!({key: text})),
        });
    }
    frames.push(DONE.to_owned());
    frames
}

/// Ollama's lines.
fn lines(pieces: &[(usize, &'static str)]) -> Vec<String> {
    let line = |number: usize, message: &Value, done: bool| {
        let time = format!("2026-01-02T03:04:{:02}Z", number % 60);
        json!({"model": "m", "created_at": time, "message": message, "done": done}).to_string()
            + "\n"
    };
    let mut lines = Vec::new();
    for (number, &(kind, text)) in pieces.iter().enumerate() {
        let key = if kind == 0 { "content" } else { "thinking" };
        lines.push(line(number, &json!({"role": "assistant", key: text}), false));
    }
    lines.push(line(0, &json!({"role": "assistant", "content": ""}), true));
    lines
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_completion_shows_the_same_in_any_company(pieces in pieces(), chunks in prop::collection::vec(1..20usize, 1..6), key in prop::sample::select(vec!["content", "reasoning_content", "reasoning"])) {
        let frames = completion(&pieces, key);
        let (together, alone) = (report_of(Endpoint::ChatCompletions, &frames, &chunks), report_of_each(Endpoint::ChatCompletions, &frames));
        prop_assert_eq!(together, alone);
    }

    #[test]
    fn so_do_other_wires(pieces in pieces(), chunks in prop::collection::vec(1..20usize, 1..6)) {
        let texts: Vec<&str> = pieces.iter().map(|&(_, text)| text).collect();
        let (thinking, answer) = texts.split_at(texts.len() / 2);
        let numbered = |(number, mut event): (usize, Value)| {
            event["sequence_number"] = number.into();
            wires::named(&event)
        };
        let response: Vec<String> = wires::response(thinking, answer).into_iter().enumerate().map(numbered).collect();
        let message: Vec<String> = wires::message(&[("thinking", thinking), ("text", answer)]).iter().map(wires::named).collect();
        for (endpoint, frames) in [(Endpoint::Responses, response), (Endpoint::Messages, message), (Endpoint::OllamaChat, lines(&pieces))] {
            prop_assert_eq!(report_of(endpoint, &frames, &chunks), report_of_each(endpoint, &frames));
        }
    }
}

#[test]
fn a_response_knows_again_what_came_together() {
    let texts = ["at sesame ", "street", " and on", " and on"];
    let frames: Vec<String> = wires::response(&texts, &texts).iter().map(wires::named).collect();
    let report = report_of(Endpoint::Responses, &frames, &[frames.len()]);
    let choice = &report.choices[0];
    assert_eq!(choice.thinking.text.as_deref(), Some("at sesame street and on and on"));
    assert_eq!(choice.answer.text.as_deref(), Some("at sesame street and on and on"));
    assert_eq!(choice.findings.len(), 2);
}
