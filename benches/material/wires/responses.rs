//! Responses as `OpenAI` streams them: a reasoning item with one summary, then a message, some 270 bytes a token. At the
//! ends of parts and items, and of the response, all text comes again.
//!
//! The time stands in `obfuscation`, which `OpenAI` fills with as many letters as a token is short.

use super::{Shape, Token, Whole};

const REASONING: &str = "rs_0be7c4b0be7c4b0be7c4b0be7c4b0be7c4b0be7c4b0be7c4b0";
const MESSAGE: &str = "msg_0be7c4b0be7c4b0be7c4b0be7c4b0be7c4b0be7c4b0be7c4b0";

/// Events before the first token, and between thinking and answer.
const OPENING: u64 = 4;
const SEAM: u64 = 5;

pub(super) struct Responses;

impl Shape for Responses {
    fn path(&self) -> &'static str {
        "/v1/responses"
    }

    fn request(&self) -> &'static str {
        r#"{"model":"o4-mini","stream":true,"reasoning":{"effort":"high","summary":"detailed"},"input":"How can a small bakery plan its deliveries for the week?"}"#
    }

    fn before_stamp(&self) -> &'static str {
        r#""obfuscation":""#
    }

    fn opening(&self) -> String {
        let begun = response("in_progress", "null", "", "null");
        let item = reasoning("");
        [
            event("created", &begun, 0),
            event("in_progress", &begun, 1),
            event("output_item.added", &format!(r#""item":{item},"output_index":0"#), 2),
            event("reasoning_summary_part.added", &of_summary(&part_field(&summary("\"\""))), 3),
        ]
        .concat()
    }

    fn token(&self, token: &Token<'_>) -> String {
        let Token { is_thinking, text, position, stamp } = *token;
        let number = OPENING + position + if is_thinking { 0 } else { SEAM };
        if is_thinking {
            format!(
                "event: response.reasoning_summary_text.delta\n\
                 data: {{\"type\":\"response.reasoning_summary_text.delta\",\"delta\":{text},\
                 \"item_id\":\"{REASONING}\",\"obfuscation\":\"{stamp}\",\"output_index\":0,\
                 \"sequence_number\":{number},\"summary_index\":0}}\n\n"
            )
        } else {
            format!(
                "event: response.output_text.delta\n\
                 data: {{\"type\":\"response.output_text.delta\",\"content_index\":0,\"delta\":{text},\
                 \"item_id\":\"{MESSAGE}\",\"logprobs\":[],\"obfuscation\":\"{stamp}\",\
                 \"output_index\":1,\"sequence_number\":{number}}}\n\n"
            )
        }
    }

    fn seam(&self, whole: &Whole) -> String {
        let Whole { thinking, thinking_tokens, .. } = whole;
        let number = OPENING + thinking_tokens;
        let part = summary(thinking);
        let (thought, said) = (reasoning(&part), message("in_progress", ""));
        [
            event(
                "reasoning_summary_text.done",
                &of_summary(&format!(r#""text":{thinking}"#)),
                number,
            ),
            event("reasoning_summary_part.done", &of_summary(&part_field(&part)), number + 1),
            event("output_item.done", &format!(r#""item":{thought},"output_index":0"#), number + 2),
            event("output_item.added", &format!(r#""item":{said},"output_index":1"#), number + 3),
            event("content_part.added", &of_message(&part_field(&text("\"\""))), number + 4),
        ]
        .concat()
    }

    fn ending(&self, whole: &Whole) -> String {
        let Whole { thinking, answer, thinking_tokens, tokens } = whole;
        let number = OPENING + SEAM + tokens;
        let part = text(answer);
        let (thought, said) = (reasoning(&summary(thinking)), message("completed", &part));
        let usage = format!(
            r#"{{"input_tokens":22,"input_tokens_details":{{"cached_tokens":0}},"output_tokens":{tokens},"output_tokens_details":{{"reasoning_tokens":{thinking_tokens}}},"total_tokens":{}}}"#,
            tokens + 22
        );
        let response = response("completed", "1763747010", &format!("{thought},{said}"), &usage);
        [
            event(
                "output_text.done",
                &of_message(&format!(r#""logprobs":[],"text":{answer}"#)),
                number,
            ),
            event("content_part.done", &of_message(&part_field(&part)), number + 1),
            event("output_item.done", &format!(r#""item":{said},"output_index":1"#), number + 2),
            event("completed", &response, number + 3),
        ]
        .concat()
    }
}

fn event(kind: &str, fields: &str, number: u64) -> String {
    format!(
        "event: response.{kind}\n\
         data: {{\"type\":\"response.{kind}\",{fields},\"sequence_number\":{number}}}\n\n"
    )
}

fn of_summary(fields: &str) -> String {
    format!(r#""item_id":"{REASONING}","output_index":0,{fields},"summary_index":0"#)
}

fn of_message(fields: &str) -> String {
    format!(r#""content_index":0,"item_id":"{MESSAGE}","output_index":1,{fields}"#)
}

fn part_field(part: &str) -> String {
    format!(r#""part":{part}"#)
}

fn summary(text: &str) -> String {
    format!(r#"{{"type":"summary_text","text":{text}}}"#)
}

fn text(text: &str) -> String {
    format!(r#"{{"type":"output_text","annotations":[],"logprobs":[],"text":{text}}}"#)
}

fn reasoning(summaries: &str) -> String {
    format!(r#"{{"id":"{REASONING}","type":"reasoning","content":[],"summary":[{summaries}]}}"#)
}

fn message(status: &str, parts: &str) -> String {
    format!(
        r#"{{"id":"{MESSAGE}","type":"message","status":"{status}","content":[{parts}],"role":"assistant"}}"#
    )
}

fn response(status: &str, completed_at: &str, output: &str, usage: &str) -> String {
    format!(
        r#""response":{{"id":"resp_0be7c4b0be7c4b0be7c4b0be7c4b0be7c4b0be7c4b0be7c4b0","object":"response","created_at":1763747000,"status":"{status}","background":false,"completed_at":{completed_at},"error":null,"frequency_penalty":0.0,"incomplete_details":null,"instructions":null,"max_output_tokens":null,"max_tool_calls":null,"model":"o4-mini-2025-04-16","output":[{output}],"parallel_tool_calls":true,"presence_penalty":0.0,"previous_response_id":null,"prompt_cache_key":null,"reasoning":{{"effort":"high","summary":"detailed"}},"safety_identifier":null,"service_tier":"default","store":true,"temperature":1.0,"text":{{"format":{{"type":"text"}},"verbosity":"medium"}},"tool_choice":"auto","tools":[],"top_logprobs":0,"top_p":1.0,"truncation":"disabled","usage":{usage},"user":null,"metadata":{{}}}}"#
    )
}
