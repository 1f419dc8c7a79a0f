//! Chat chunks as `DeepSeek` sends them, some 290 bytes each.

use super::{Shape, Token, Whole};

pub(super) struct Chat;

impl Shape for Chat {
    fn path(&self) -> &'static str {
        "/v1/chat/completions"
    }

    fn request(&self) -> &'static str {
        r#"{"model":"deepseek-reasoner","stream":true,"messages":[{"role":"user","content":"How can a small bakery plan its deliveries for the week?"}]}"#
    }

    fn before_stamp(&self) -> &'static str {
        r#""fp_"#
    }

    fn token(&self, token: &Token<'_>) -> String {
        let Token { is_thinking, text, stamp, .. } = *token;
        let (field, other) = if is_thinking {
            ("reasoning_content", "content")
        } else {
            ("content", "reasoning_content")
        };
        format!(
            "data: {{\"id\":\"930c60df-bf64-41c9-a88e-3ec75f81e00e\",\"object\":\"chat.completion.chunk\",\
             \"created\":1763747000,\"model\":\"deepseek-reasoner\",\"system_fingerprint\":\"fp_{stamp}\",\
             \"choices\":[{{\"index\":0,\"delta\":{{\"{other}\":null,\"{field}\":{text}}},\
             \"logprobs\":null,\"finish_reason\":null}}]}}\n\n"
        )
    }

    fn ending(&self, _whole: &Whole) -> String {
        "data: [DONE]\n\n".to_owned()
    }
}
