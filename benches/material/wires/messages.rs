//! Messages as Anthropic streams them: a signed thinking block, then a text block, 130 to 150 bytes a token.
//!
//! No field of theirs changes from event to event. The time stands in an `id:` line, which is as long as the spaces are, or
//! a little longer, with which Anthropic fills up its events.

use super::{Shape, Token, Whole};

pub(super) struct Messages;

impl Shape for Messages {
    fn path(&self) -> &'static str {
        "/v1/messages"
    }

    fn request(&self) -> &'static str {
        r#"{"model":"claude-sonnet-4-0","stream":true,"max_tokens":16000,"thinking":{"type":"enabled","budget_tokens":8000},"messages":[{"role":"user","content":"How can a small bakery plan its deliveries for the week?"}]}"#
    }

    fn before_stamp(&self) -> &'static str {
        "\nid: "
    }

    fn opening(&self) -> String {
        [
            event(
                "message_start",
                r#""message":{"model":"claude-sonnet-4-20250514","id":"msg_01BenchBenchBenchBenchBe","type":"message","role":"assistant","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":43,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":1,"service_tier":"standard","inference_geo":"not_available"}}"#,
            ),
            event(
                "content_block_start",
                r#""index":0,"content_block":{"type":"thinking","thinking":"","signature":""}"#,
            ),
            "event: ping\ndata: {\"type\": \"ping\"}\n\n".to_owned(),
        ]
        .concat()
    }

    fn token(&self, token: &Token<'_>) -> String {
        let Token { is_thinking, text, stamp, .. } = *token;
        let (index, field) = if is_thinking { (0, "thinking") } else { (1, "text") };
        format!(
            "event: content_block_delta\nid: {stamp}\ndata: {{\"type\":\"content_block_delta\",\
             \"index\":{index},\"delta\":{{\"type\":\"{field}_delta\",\"{field}\":{text}}}}}\n\n"
        )
    }

    fn seam(&self, _whole: &Whole) -> String {
        // Of no meaning, and as long as one of a short thinking.
        let signature = "EvMCCkYI".repeat(60);
        let delta =
            format!(r#""index":0,"delta":{{"type":"signature_delta","signature":"{signature}"}}"#);
        [
            event("content_block_delta", &delta),
            event("content_block_stop", r#""index":0"#),
            event("content_block_start", r#""index":1,"content_block":{"type":"text","text":""}"#),
        ]
        .concat()
    }

    fn ending(&self, whole: &Whole) -> String {
        let delta = format!(
            r#""delta":{{"stop_reason":"end_turn","stop_sequence":null}},"usage":{{"input_tokens":43,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":{}}}"#,
            whole.tokens
        );
        [
            event("content_block_stop", r#""index":1"#),
            event("message_delta", &delta),
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n".to_owned(),
        ]
        .concat()
    }
}

fn event(kind: &str, fields: &str) -> String {
    format!("event: {kind}\ndata: {{\"type\":\"{kind}\",{fields}}}\n\n")
}
