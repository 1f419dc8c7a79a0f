//! Chat and text completions, in the many spellings that model servers give them.
//!
//! One pass over the frame's JSON: objects on the way to the text are walked as they stream by, leaves are
//! borrowed. Plain JSON is walked by a `Cursor`, which is several times less work, anything else by `serde_json`.
//! Field names are those of `DeepSeek`, vLLM, `SGLang`, llama.cpp, Ollama `/v1`, `OpenRouter`,
//! Snowflake, Groq, Mistral, `DashScope`, Azure, Gemini, `LiteLLM`, Perplexity, Together.

use std::{fmt, ops::Range};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    Dialect,
    chunk::{Chunk, Envelope, Opaque, Source},
    cursor::Cursor,
    json::{Key, each_entry, each_item, says_nothing},
    pieces::{MAX_DEPTH, Pieces},
};

/// Reads one frame's payload: a chunk of a stream, or a whole body.
#[must_use]
pub fn read(payload: &str) -> Chunk<'_> {
    if payload.trim_ascii() == "[DONE]" {
        return Chunk { done: true, known: true, ..Chunk::default() };
    }
    read_plain(payload).unwrap_or_else(|| read_any(payload))
}

/// Reads plain JSON of the expected shape; `None` where it is not, beyond doubt.
fn read_plain(payload: &str) -> Option<Chunk<'_>> {
    let mut chunk = Chunk::default();
    let mut reader = Reader::new(payload, &mut chunk);
    let mut cursor = Cursor::new(payload);
    walk_plain(&mut cursor, &mut reader, Level::Root)?;
    cursor.end()?;
    reader.end_frame();
    Some(chunk)
}

/// Reads any JSON, and of broken JSON what stands before the break.
fn read_any(payload: &str) -> Chunk<'_> {
    let mut chunk = Chunk::default();
    let mut deserializer = serde_json::Deserializer::from_str(payload);
    let mut reader = Reader::new(payload, &mut chunk);
    let walked = deserializer.deserialize_map(Walk { reader: &mut reader, level: Level::Root });
    reader.end_frame();
    if walked.is_err() || deserializer.end().is_err() {
        // What was read before the break stays: a client that is more lenient may show it.
        chunk.known = false;
    }
    chunk
}

/// Reads the payload of an SSE field named `error`.
#[must_use]
pub fn read_error_field(payload: &str) -> Chunk<'_> {
    let mut chunk = Chunk { error: true, known: true, ..Chunk::default() };
    Reader::new(payload, &mut chunk).read_error(payload, MAX_DEPTH);
    chunk
}

/// Which of the two kinds of completion names itself so.
#[must_use]
pub fn dialect_of(envelope: &Envelope<'_>) -> Dialect {
    if envelope.object.is_some_and(|object| object.contains("text_completion")) {
        Dialect::OpenAiCompletions
    } else {
        Dialect::OpenAiChat
    }
}

/// What is written while the walk goes on.
struct Reader<'r, 'de> {
    /// Their choice is its position, until its `index` is known.
    pieces: Pieces<'r, 'de>,
    /// Whether the choice says that it is finished.
    finished: bool,
    /// Whether the choice has a delta, so that its `message` only repeats.
    has_delta: bool,
    /// Where the choice's pieces begin.
    begin: usize,
    /// Where the choice's opaque parts begin.
    opaque_begin: usize,
    /// The pieces of the choice's `message`.
    message: Range<usize>,
    /// The frame has a key that is not of this dialect.
    foreign: bool,
}

/// Where in the frame the walk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Root,
    Choices,
    Choice,
    Delta,
    /// A `message`: the text itself in a whole body, a repeat of it beside a delta.
    Message,
    Logprobs,
}

struct Walk<'w, 'r, 'de> {
    reader: &'w mut Reader<'r, 'de>,
    level: Level,
}

// === impl Walk ===

impl<'de> DeserializeSeed<'de> for Walk<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a completion chunk")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let begin = self.reader.pieces.chunk.pieces.len();
        while let Some(key) = map.next_key_seed(Key)? {
            match (self.level, next_level(self.level, &key)) {
                (Level::Choices, _) => {
                    map.next_value::<IgnoredAny>()?;
                }
                (_, Some(level)) => {
                    self.reader.pieces.chunk.known |= level == Level::Choices;
                    map.next_value_seed(Walk { reader: &mut *self.reader, level })?;
                }
                (level, None) => {
                    let value: &'de RawValue = map.next_value()?;
                    self.reader.leaf(level, &key, value.get());
                }
            }
        }
        self.reader.end_level(self.level, begin);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        if self.level != Level::Choices {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        for position in 0.. {
            self.reader.begin_choice(position);
            if items
                .next_element_seed(Walk { reader: &mut *self.reader, level: Level::Choice })?
                .is_none()
            {
                break;
            }
            self.reader.end_choice();
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

/// [`Walk`] over plain JSON. `None` where anything else is met; then nothing counts that was written.
fn walk_plain<'de>(
    cursor: &mut Cursor<'de>,
    reader: &mut Reader<'_, 'de>,
    level: Level,
) -> Option<()> {
    let begin = reader.pieces.chunk.pieces.len();
    cursor.object(|cursor, key| {
        let Some(next) = next_level(level, key) else {
            let raw = cursor.value()?;
            reader.leaf(level, key, raw);
            return Some(());
        };
        reader.pieces.chunk.known |= next == Level::Choices;
        if cursor.null().is_some() {
            return Some(());
        }
        match next {
            Level::Choices => walk_plain_choices(cursor, reader),
            _ => walk_plain(cursor, reader, next),
        }
    })?;
    reader.end_level(level, begin);
    Some(())
}

fn walk_plain_choices<'de>(cursor: &mut Cursor<'de>, reader: &mut Reader<'_, 'de>) -> Option<()> {
    let mut position = 0;
    reader.begin_choice(position);
    cursor.array(|cursor| {
        walk_plain(cursor, reader, Level::Choice)?;
        reader.end_choice();
        position += 1;
        reader.begin_choice(position);
        Some(())
    })
}

/// The level that the value of `key` is walked at; none for a leaf.
fn next_level(level: Level, key: &str) -> Option<Level> {
    match (level, key) {
        (Level::Root, "choices") => Some(Level::Choices),
        (Level::Choice, "delta") => Some(Level::Delta),
        (Level::Choice, "message") => Some(Level::Message),
        (Level::Choice, "logprobs") => Some(Level::Logprobs),
        _ => None,
    }
}

// === impl Reader ===

impl<'r, 'de> Reader<'r, 'de> {
    fn new(payload: &'de str, chunk: &'r mut Chunk<'de>) -> Self {
        Self {
            pieces: Pieces::new(payload, chunk),
            finished: false,
            has_delta: false,
            begin: 0,
            opaque_begin: 0,
            message: 0..0,
            foreign: false,
        }
    }

    fn end_level(&mut self, level: Level, begin: usize) {
        match level {
            Level::Delta => self.has_delta = true,
            Level::Message => self.message = begin..self.pieces.chunk.pieces.len(),
            Level::Root | Level::Choices | Level::Choice | Level::Logprobs => {}
        }
    }

    fn end_frame(&mut self) {
        // A chunk may tell nothing but the usage.
        self.pieces.chunk.known |= !self.foreign && self.pieces.chunk.usage.is_some();
    }

    fn leaf(&mut self, level: Level, key: &str, raw: &'de str) {
        match level {
            Level::Root => self.root_leaf(key, raw),
            Level::Choice => self.choice_leaf(key, raw),
            Level::Delta | Level::Message => self.message_leaf(level, key, raw),
            Level::Logprobs => self.logprobs_leaf(key, raw),
            Level::Choices => {}
        }
    }

    fn root_leaf(&mut self, key: &str, raw: &'de str) {
        let envelope = &mut self.pieces.chunk.envelope;
        match key {
            "id" => envelope.id = Some(raw),
            "created" => envelope.created = Some(raw),
            "model" => envelope.model = Some(raw),
            "object" => envelope.object = Some(raw),
            "usage" => {
                self.pieces.chunk.usage = (raw != "null").then_some(raw);
            }
            // What other dialects call the places of their text.
            "candidates" | "content" | "delta" | "item" | "message" | "output" | "response"
            | "text" | "type" => {
                self.foreign = true;
            }
            "error" if !says_nothing(raw) => {
                self.pieces.chunk.error = true;
                self.pieces.chunk.known = true;
                self.read_error(raw, MAX_DEPTH);
            }
            _ => {}
        }
    }

    /// Text of the model that an error carries along.
    fn read_error(&mut self, raw: &'de str, depth: usize) {
        each_entry(raw, |key, value| match key {
            "error" if depth > 0 => self.read_error(value, depth - 1),
            "failed_generation" => self.pieces.text(Source::Beside, value),
            _ => {}
        });
    }

    fn begin_choice(&mut self, position: u32) {
        self.pieces.chunk.known = true;
        self.pieces.choice = position;
        self.finished = false;
        self.has_delta = false;
        self.begin = self.pieces.chunk.pieces.len();
        self.opaque_begin = self.pieces.chunk.opaque.len();
        self.message = 0..0;
    }

    /// Sets the choice's index, which may stand after its text, and tells repeats from texts.
    fn end_choice(&mut self) {
        let choice = self.pieces.choice;
        self.pieces.chunk.choices.push((choice, self.finished));
        for opaque in self.pieces.chunk.opaque.iter_mut().skip(self.opaque_begin) {
            opaque.0 = choice;
        }
        if self.has_delta {
            let message =
                self.pieces.chunk.pieces.get_mut(self.message.clone()).unwrap_or_default();
            for piece in
                message.iter_mut().filter(|piece| piece.source != Source::CumulativeContent)
            {
                piece.source = Source::Beside;
            }
        }
        let pieces = self.pieces.chunk.pieces.get_mut(self.begin..).unwrap_or_default();
        let has_content = pieces.iter().any(|piece| piece.source == Source::Content);
        for piece in pieces {
            piece.choice = choice;
            // `text` is a text completion's own text unless it stands beside the same text in a delta.
            if piece.source == Source::TextBesideDelta && !has_content {
                piece.source = Source::Content;
            }
        }
    }

    fn choice_leaf(&mut self, key: &str, raw: &'de str) {
        match key {
            "index" => self.pieces.choice = raw.parse().unwrap_or(self.pieces.choice),
            "finish_reason" => self.finished |= !says_nothing(raw),
            "text" => self.pieces.text(Source::TextBesideDelta, raw),
            "native_finish_reason"
            | "stop_reason"
            | "matched_stop"
            | "seed"
            | "content_filter_results"
            | "content_filter_result"
            | "content_filter_offsets" => {}
            _ => self.pieces.opaque(Opaque::Field, raw),
        }
    }

    fn message_leaf(&mut self, level: Level, key: &str, raw: &'de str) {
        let content =
            if level == Level::Message { Source::CumulativeContent } else { Source::Content };
        match key {
            "content" => {
                self.set_aside_repeated_key(content);
                self.content(content, raw);
            }
            "reasoning_content" => self.field(Source::ReasoningContent, raw),
            "reasoning" => self.field(Source::Reasoning, raw),
            "refusal" => self.field(Source::Refusal, raw),
            "reasoning_details" => self.reasoning_details(raw),
            "thinking_blocks" => {
                each_item(raw, |block| self.thinking_block(block));
            }
            "encrypted_content" => self.pieces.opaque(Opaque::Encrypted, raw),
            "signature" | "reasoning_signature" => self.pieces.opaque(Opaque::Signature, raw),
            "tool_calls" => {
                let mut position = 0;
                each_item(raw, |call| {
                    self.tool_call(position, call);
                    position += 1;
                });
            }
            "function_call" => self.tool_call(0, raw),
            "executed_tools" => self.pieces.every_string(raw, MAX_DEPTH),
            "audio" | "images" => self.media(raw),
            "role" | "name" | "channel" | "id" | "tool_call_id" | "extra_content" => {}
            _ => self.pieces.opaque(Opaque::Field, raw),
        }
    }

    /// A field that holds one string.
    fn field(&mut self, source: Source, raw: &'de str) {
        self.set_aside_repeated_key(source);
        self.pieces.text(source, raw);
    }

    /// All values of a repeated key are scanned; the last is the text, as clients read it.
    fn set_aside_repeated_key(&mut self, source: Source) {
        let earlier = self.pieces.chunk.pieces.get_mut(self.begin..).unwrap_or_default();
        for piece in earlier.iter_mut().filter(|piece| piece.source == source) {
            piece.source = Source::RepeatedKey;
        }
    }

    /// A string, or Mistral's array of parts.
    fn content(&mut self, source: Source, raw: &'de str) {
        if raw.starts_with('[') {
            each_item(raw, |part| self.content_part(source, part));
        } else {
            self.pieces.text(source, raw);
        }
    }

    fn content_part(&mut self, source: Source, part: &'de str) {
        if part.starts_with('"') {
            return self.pieces.text(source, part);
        }
        let mut kind = "";
        each_entry(part, |key, value| {
            if key == "type" {
                kind = value;
            }
        });
        let media = matches!(
            kind,
            "\"image_url\"" | "\"image\"" | "\"input_audio\"" | "\"audio\"" | "\"file\""
        );
        if media {
            return self.pieces.opaque(Opaque::Media, part);
        }
        each_entry(part, |key, value| match key {
            "text" => self.pieces.text(source, value),
            "thinking" if value.starts_with('[') => {
                each_item(value, |inner| self.thinking_part(inner));
            }
            "thinking" => self.pieces.text(Source::ThinkingPart, value),
            "signature" => self.pieces.opaque(Opaque::Signature, value),
            "type" | "closed" => {}
            _ => self.pieces.opaque(Opaque::Field, value),
        });
    }

    fn thinking_block(&mut self, block: &'de str) {
        each_entry(block, |key, value| match key {
            "thinking" => self.pieces.text(Source::ThinkingBlocks, value),
            "data" => self.pieces.opaque(Opaque::Encrypted, value),
            "signature" => self.pieces.opaque(Opaque::Signature, value),
            "type" | "cache_control" => {}
            _ => self.pieces.opaque(Opaque::Field, value),
        });
    }

    fn thinking_part(&mut self, part: &'de str) {
        if part.starts_with('"') {
            return self.pieces.text(Source::ThinkingPart, part);
        }
        each_entry(part, |key, value| match key {
            "text" => self.pieces.text(Source::ThinkingPart, value),
            "type" => {}
            _ => self.pieces.opaque(Opaque::Field, value),
        });
    }

    fn reasoning_details(&mut self, raw: &'de str) {
        each_item(raw, |detail| {
            each_entry(detail, |key, value| match key {
                "text" | "summary" => self.pieces.text(Source::ReasoningDetails, value),
                "data" | "encrypted_content" => self.pieces.opaque(Opaque::Encrypted, value),
                "signature" => self.pieces.opaque(Opaque::Signature, value),
                "type" | "format" | "id" | "index" => {}
                _ => self.pieces.opaque(Opaque::Field, value),
            });
        });
    }

    fn tool_call(&mut self, position: u32, raw: &'de str) {
        let mut index = position;
        each_entry(raw, |key, value| {
            if key == "index" {
                index = value.parse().unwrap_or(position);
            }
        });
        self.pieces.call(index, raw);
        each_entry(raw, |key, value| match key {
            "function" | "custom" => {
                each_entry(value, |key, value| match key {
                    "arguments" | "input" => self.pieces.arguments(index, value),
                    "name" => {}
                    _ => self.pieces.opaque(Opaque::Field, value),
                });
            }
            "arguments" => self.pieces.arguments(index, value),
            "index" | "id" | "type" | "name" => {}
            _ => self.pieces.opaque(Opaque::Field, value),
        });
    }

    fn media(&mut self, raw: &'de str) {
        if raw.starts_with('{') {
            each_entry(raw, |key, value| match key {
                "transcript" => self.pieces.text(Source::Transcript, value),
                "id" | "expires_at" => {}
                _ => self.pieces.opaque(Opaque::Media, value),
            });
        } else {
            self.pieces.opaque(Opaque::Media, raw);
        }
    }

    fn logprobs_leaf(&mut self, key: &str, raw: &'de str) {
        let source = match key {
            "content" => Source::ContentLogprobs,
            "reasoning_content" | "reasoning" => Source::ReasoningLogprobs,
            "refusal" => Source::RefusalLogprobs,
            // Text completions name parallel arrays instead.
            "tokens" => {
                each_item(raw, |token| self.pieces.text(Source::ContentLogprobs, token));
                return;
            }
            "top_logprobs" => {
                each_item(raw, |alternatives| {
                    each_entry(alternatives, |token, _| {
                        self.pieces.alternative(token.to_owned().into(), alternatives);
                    });
                });
                return;
            }
            "token_logprobs" | "text_offset" => return,
            _ => return self.pieces.opaque(Opaque::Field, raw),
        };
        self.pieces.logprobs(source, raw);
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::Index};

    use super::*;

    type Read = Vec<(u32, Source, String)>;

    fn pieces(payload: &str) -> Read {
        read(payload)
            .pieces
            .into_iter()
            .map(|piece| (piece.choice, piece.source, piece.text.into_owned()))
            .collect()
    }

    fn one(source: Source, text: &str) -> Read {
        vec![(0, source, text.to_owned())]
    }

    #[test]
    fn reads_the_text_of_every_dialect() {
        use Source::*;
        let cases: [(&str, Read); 10] = [
            (
                r#"{"choices":[{"delta":{"reasoning_content":"a","content":null}}]}"#,
                one(ReasoningContent, "a"),
            ),
            (r#"{"choices":[{"delta":{"reasoning":"a","content":""}}]}"#, one(Reasoning, "a")),
            (
                r#"{"choices":[{"delta":{"reasoning_details":[{"type":"reasoning.text","text":"a"}]}}]}"#,
                one(ReasoningDetails, "a"),
            ),
            (
                r#"{"choices":[{"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"a"}]}]}}]}"#,
                one(ThinkingPart, "a"),
            ),
            (r#"{"choices":[{"delta":{"content":"\u003cthink\u003e"}}]}"#, one(Content, "<think>")),
            (r#"{"choices":[{"text":"a","index":0}]}"#, one(Content, "a")),
            (
                r#"{"choices":[{"message":{"content":"ab"},"delta":{"content":"b"}}]}"#,
                vec![(0, CumulativeContent, "ab".into()), (0, Content, "b".into())],
            ),
            (
                r#"{"choices":[{"text":"b","delta":{"content":"b","token_id":7}}]}"#,
                vec![(0, TextBesideDelta, "b".into()), (0, Content, "b".into())],
            ),
            (
                r#"{"choices":[{"delta":{"tool_calls":[{"index":2,"function":{"name":"f","arguments":"{}"}}]},"index":1}]}"#,
                vec![(1, ToolArguments(2), String::new()), (1, ToolArguments(2), "{}".into())],
            ),
            (r#"{"error":{"message":"m","failed_generation":"a"}}"#, one(Beside, "a")),
        ];
        for (payload, expected) in cases {
            assert_eq!(pieces(payload), expected, "{payload}");
        }
    }

    #[test]
    fn takes_the_last_of_a_repeated_key_and_keeps_the_others_beside() {
        let payload = r#"{"choices":[{"delta":{"content":"a","content":"b"}}]}"#;
        let expected =
            vec![(0, Source::RepeatedKey, "a".to_owned()), (0, Source::Content, "b".to_owned())];
        assert_eq!(pieces(payload), expected);
    }

    #[test]
    fn tells_the_place_of_every_piece() {
        let payload = r#"{"id":"x","choices":[{"delta":{"content":"h\u00e9"},"finish_reason":"stop","index":3}],"usage":{"n":1}}"#;
        let chunk = read(payload);
        assert_eq!(&payload[chunk.pieces[0].json.clone()], r#""h\u00e9""#);
        assert_eq!(chunk.choices, [(3, true)]);
        assert_eq!(chunk.envelope.id, Some(r#""x""#));
        assert_eq!(chunk.usage, Some(r#"{"n":1}"#));
        assert!(chunk.known && !chunk.error && !chunk.done);
    }

    #[test]
    fn counts_what_it_does_not_read() {
        let payload = r#"{"choices":[{"delta":{"novel":"text","empty":"","reasoning_details":[{"type":"reasoning.encrypted","data":"gAAA"}]},"extra":7}]}"#;
        assert_eq!(read(payload).opaque, [(0, Opaque::Field, 6), (0, Opaque::Encrypted, 6)]);
    }

    #[test]
    fn knows_its_shape_from_others() {
        for payload in
            ["[DONE]", r#"{"choices":[]}"#, r#"{"choices":null,"usage":{}}"#, r#"{"error":"x"}"#]
        {
            assert!(read(payload).known, "{payload}");
        }
        for payload in
            ["", "[]", "x", r#"{"type":"message_start"}"#, r#"{"choices":[{"delta":{"content":"a"#]
        {
            assert!(!read(payload).known, "{payload}");
        }
    }

    #[test]
    fn survives_deep_nesting() {
        let deep = format!(
            r#"{{"choices":[{{"delta":{{"executed_tools":{}1{}}}}}]}}"#,
            "[".repeat(5000),
            "]".repeat(5000)
        );
        assert_eq!(read(&deep).opaque.len(), 1);
        let deep = format!("{}1{}", "{\"choices\":[".repeat(5000), "]}".repeat(5000));
        assert!(read(&deep).pieces.is_empty());
    }

    /// Chunks of many shapes, and pieces of JSON to break them with.
    const SHAPES: [&str; 8] = [
        r#"{"id":"x","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"a"},"logprobs":null,"finish_reason":null}]}"#,
        r#" { "object" : "chat.completion.chunk", "choices" : [ { "delta" : { "reasoning_content" : "a\n\u00e9" } , "index" : 1 } , {} ] , "usage" : {"a":[1,-2.5e+3,true,false,null,"\\"]} } "#,
        r#"{"choices":[{"index":0,"message":{"content":"all","reasoning":"why"},"finish_reason":"stop"}],"usage":null}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":1}"}}]}}]}"#,
        r#"{"choices":[{"delta":{"content":"a"},"logprobs":{"content":[{"token":"a","bytes":[97],"top_logprobs":[]}]}}]}"#,
        r#"{"choices":[],"usage":{"total_tokens":3}}"#,
        r#"{"error":{"message":"no","code":500}}"#,
        r#"{"choices":[{"text":"我们","index":0}],"c\u0068oices":null}"#,
    ];
    const BITS: [&str; 20] = [
        "\"", "\\", "{", "}", "[", "]", ",", ":", "null", "true", "1", "-", "e", ".", " ", "\n",
        "\u{1}", "\\u12", "é", "0",
    ];

    #[test]
    fn reads_the_common_shapes_without_the_general_parser() {
        for shape in SHAPES.iter().take(7) {
            assert!(read_plain(shape).is_some(), "{shape}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn reads_plain_json_as_any_json(
            shape in proptest::sample::select(&SHAPES[..]),
            edits in proptest::collection::vec(
                (any::<Index>(), 0..3_usize, proptest::sample::select(&BITS[..])),
                0..4,
            ),
        ) {
            let mut payload: Vec<char> = shape.chars().collect();
            for (place, removed, bit) in edits {
                let at = place.index(payload.len() + 1);
                let end = (at + removed).min(payload.len());
                payload.splice(at..end, bit.chars());
            }
            let payload: String = payload.into_iter().collect();
            if let Some(chunk) = read_plain(&payload) {
                prop_assert_eq!(chunk, read_any(&payload));
            }
        }
    }
}
