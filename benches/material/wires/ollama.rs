//! Ollama's own wire: a line a token, 140 to 150 bytes each.
//!
//! The time is the fraction of a second in `created_at`, with more digits than Ollama gives it (6 to 9).

use super::{Shape, Token, Whole};

pub(super) struct Ollama;

impl Shape for Ollama {
    fn path(&self) -> &'static str {
        "/api/chat"
    }

    fn request(&self) -> &'static str {
        r#"{"model":"qwen3:4b","stream":true,"think":true,"messages":[{"role":"user","content":"How can a small bakery plan its deliveries for the week?"}]}"#
    }

    fn content_type(&self) -> &'static str {
        "application/x-ndjson"
    }

    fn before_stamp(&self) -> &'static str {
        r#""created_at":"2026-11-22T09:30:00."#
    }

    fn end_of_event(&self) -> &'static str {
        "\n"
    }

    fn token(&self, token: &Token<'_>) -> String {
        let Token { is_thinking, text, stamp, .. } = *token;
        let (content, thinking) = if is_thinking {
            ("\"\"", format!(",\"thinking\":{text}"))
        } else {
            (text, String::new())
        };
        format!(
            "{{\"model\":\"qwen3:4b\",\"created_at\":\"2026-11-22T09:30:00.{stamp}Z\",\
             \"message\":{{\"role\":\"assistant\",\"content\":{content}{thinking}}},\"done\":false}}\n"
        )
    }

    fn ending(&self, whole: &Whole) -> String {
        format!(
            "{{\"model\":\"qwen3:4b\",\"created_at\":\"2026-11-22T09:30:10.480301Z\",\
             \"message\":{{\"role\":\"assistant\",\"content\":\"\"}},\"done\":true,\"done_reason\":\"stop\",\
             \"total_duration\":10361393875,\"load_duration\":57104209,\"prompt_eval_count\":22,\
             \"prompt_eval_duration\":241604750,\"eval_count\":{},\"eval_duration\":9993918179}}\n",
            whole.tokens
        )
    }
}
