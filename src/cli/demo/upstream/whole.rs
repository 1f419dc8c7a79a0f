//! Responses that are not streamed: a trace as one JSON body.

use serde_json::{Value, json};

use super::script::{in_content, inline_content};
use super::{CREATED, usage::Usage};
use crate::cli::demo::traces::{Choice, Dialect, Trace};

/// The body of a response with the first `choices` choices of `trace`.
pub(super) fn body(trace: &Trace, id: &str, choices: usize) -> String {
    let rendered: Vec<Value> = trace
        .choices
        .iter()
        .take(choices)
        .enumerate()
        .map(|(index, choice)| {
            let reason = if choice.tool_calls.is_empty() { "stop" } else { "tool_calls" };
            json!({
                "index": index,
                "message": message(trace, choice),
                "logprobs": null,
                "finish_reason": reason,
            })
        })
        .collect();
    let usage: Value =
        serde_json::from_str(&Usage::of(trace, choices).to_string()).unwrap_or_default();
    json!({
        "id": id,
        "object": "chat.completion",
        "created": CREATED,
        "model": trace.model(),
        "choices": rendered,
        "usage": usage,
    })
    .to_string()
}

/// A choice's `message`.
fn message(trace: &Trace, choice: &Choice) -> Value {
    let mut message = json!({"role": "assistant", "content": choice.answer});
    let Some(fields) = message.as_object_mut() else { return message };
    let thinking = choice.thinking.as_str();
    match trace.dialect {
        dialect if in_content(dialect) => {
            fields.insert("content".into(), inline_content(dialect, choice).into());
        }
        Dialect::Deepseek => {
            fields.insert("reasoning_content".into(), thinking.into());
        }
        Dialect::Openrouter if trace.encrypted => {
            fields.insert("reasoning".into(), Value::Null);
            fields.insert(
                "reasoning_details".into(),
                json!([{"type": "reasoning.encrypted", "data": "gAAAAABkZW1vLW9wYXF1ZS1ibG9i",
                    "id": "rs_demo", "format": "openai-responses-v1", "index": 0}]),
            );
        }
        Dialect::Openrouter => {
            fields.insert("reasoning".into(), thinking.into());
            fields.insert(
                "reasoning_details".into(),
                json!([{"type": "reasoning.text", "text": thinking, "format": "unknown", "index": 0}]),
            );
        }
        Dialect::Mistral => {
            let content = json!([
                {"type": "thinking", "thinking": [{"type": "text", "text": thinking}]},
                {"type": "text", "text": choice.answer},
            ]);
            fields.insert("content".into(), content);
        }
        Dialect::Vllm | Dialect::ThinkTags | Dialect::CloseOnly => {
            fields.insert("reasoning".into(), thinking.into());
        }
    }
    if !choice.tool_calls.is_empty() {
        fields.insert("tool_calls".into(), tool_calls(choice));
    }
    message
}

/// A message's `tool_calls`.
fn tool_calls(choice: &Choice) -> Value {
    choice
        .tool_calls
        .iter()
        .map(|call| {
            json!({
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::traces;

    fn message_of(name: &str) -> Value {
        let traces = traces::all().unwrap();
        let trace = traces.iter().find(|trace| trace.name == name).unwrap();
        let body: Value = serde_json::from_str(&body(trace, "id", 9)).unwrap();
        body["choices"][0]["message"].clone()
    }

    #[test]
    fn mistral_has_an_array() {
        let message = message_of("pills-by-mail");
        assert_eq!(message["content"][0]["type"], "thinking");
        assert_eq!(message["content"][1]["type"], "text");
    }

    #[test]
    fn tags_stand_in_the_content() {
        let message = message_of("mail-drill");
        let content = message["content"].as_str().unwrap();
        assert!(content.starts_with("<think>\nThe user"), "{content}");
        assert!(message.get("reasoning").is_none());
    }

    #[test]
    fn encrypted_thinking_is_a_blob() {
        let message = message_of("sealed-thinking");
        assert_eq!(message["reasoning_details"][0]["type"], "reasoning.encrypted");
    }
}
