//! A trace as the files of other commands hold it: `samples.jsonl` of `eval model`, flat traces, `scan --text`, audit
//! lines; and captures, which are read for it.
//!
//! In: a line. Out: its traces, one for each choice, or why the line is none. What else stands in the line is not looked at.

use serde::Deserialize;
use serde_json::Value;
use thinkgate::record::{
    Capture, ChannelReport, ChoiceReport, ExchangeReport, audit::ExchangeEnd, capture::Piece,
};

use super::super::traces;

/// One exchange's texts and what is known of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Trace {
    pub(super) id: Option<String>,
    pub(super) model: Option<String>,
    pub(super) arm: Option<String>,
    pub(super) sample: Option<u64>,
    pub(super) choice: Option<u64>,
    /// What was asked, where it is more than the prompt's text: a conversation, with the roles of its messages.
    pub(super) messages: Option<Vec<Value>>,
    pub(super) prompt: String,
    pub(super) thinking: String,
    pub(super) answer: String,
    pub(super) outcome: String,
    /// The detectors and their versions, where the file tells.
    pub(super) detectors: Option<String>,
    /// A text was cut off, by a limit on tokens or on what is kept.
    pub(super) cut: bool,
    /// What rules found of it was masked.
    pub(super) masked: bool,
    /// A judge has called the answer unsafe.
    pub(super) judged_unsafe: bool,
}

#[derive(Debug, Deserialize)]
struct Line {
    #[serde(default)]
    id: Option<Value>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    arm: Option<String>,
    #[serde(default)]
    sample: Option<u64>,
    #[serde(flatten)]
    texts: Texts,
    #[serde(default)]
    detectors: Option<Value>,
    #[serde(default)]
    finish: Option<String>,
    #[serde(default)]
    judge: Option<Value>,
    #[serde(default)]
    choices: Option<Vec<Choice>>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    #[serde(default)]
    index: Option<u64>,
    #[serde(flatten)]
    texts: Texts,
}

/// The texts of an exchange or of one of its choices, and their joint verdict.
#[derive(Debug, Deserialize)]
struct Texts {
    #[serde(default)]
    prompt: Option<Text>,
    #[serde(default)]
    thinking: Option<Text>,
    #[serde(default)]
    answer: Option<Text>,
    #[serde(default)]
    outcome: Option<String>,
}

/// A text as it stands, or in a channel's report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Text {
    text: Option<String>,
    cut: bool,
}

/// The traces of a line; an error says why there are none, without the line's text.
pub(super) fn read(line: &[u8]) -> Result<Vec<Trace>, String> {
    let line: Line = traces::json("trace", line)?;
    let judged = line.judge.as_ref().and_then(|judge| judge.pointer("/answer/result"));
    let common = Trace {
        id: traces::id_of(line.id.as_ref()),
        model: line.model,
        arm: line.arm,
        sample: line.sample,
        detectors: line.detectors.as_ref().and_then(Value::as_str).map(str::to_owned),
        cut: line.finish.as_deref() == Some("length"),
        judged_unsafe: judged.and_then(Value::as_str) == Some("Unsafe"),
        ..Trace::default()
    };
    let Some(choices) = line.choices else {
        return Ok(vec![common.with(line.texts)?]);
    };
    let of = |choice: Choice| {
        let own = choice.texts.prompt.filter(|prompt| prompt.text.is_some());
        let prompt = own.or_else(|| line.texts.prompt.clone());
        let trace = common.clone().with(Texts { prompt, ..choice.texts })?;
        Ok(Trace { choice: choice.index, ..trace })
    };
    choices.into_iter().map(of).collect()
}

/// The traces of a capture that `detectors` have read as `report` says.
pub(super) fn of_capture(
    capture: &Capture,
    report: &ExchangeReport,
    detectors: &str,
) -> Result<Vec<Trace>, String> {
    let request: Option<Value> =
        capture.request.as_ref().and_then(|Piece(body)| serde_json::from_slice(body).ok());
    let messages = request.as_ref().and_then(|request| request.get("messages")?.as_array());
    let text = |channel: &ChannelReport| channel.text.clone().unwrap_or_default();
    let prompt = report.prompt.as_ref().map(text).ok_or("has no prompt")?;
    let of = |choice: &ChoiceReport| Trace {
        id: Some(capture.id.clone()),
        model: report.model.clone(),
        choice: Some(choice.index.into()),
        messages: messages.cloned(),
        prompt: prompt.clone(),
        thinking: text(&choice.thinking),
        answer: text(&choice.answer),
        outcome: choice.outcome.name().to_owned(),
        detectors: Some(detectors.to_owned()),
        cut: capture.truncated.is_some() || capture.end != ExchangeEnd::Complete,
        masked: capture.masked,
        ..Trace::default()
    };
    Ok(report.choices.iter().map(of).collect())
}

// === impl Trace ===

impl Trace {
    fn with(self, texts: Texts) -> Result<Self, String> {
        let outcome = texts.outcome.ok_or("has no outcome")?;
        let texts = [texts.prompt, texts.thinking, texts.answer].map(Option::unwrap_or_default);
        let cut = self.cut || texts.iter().any(|text| text.cut);
        let [prompt, thinking, answer] = texts.map(|text| text.text);
        let prompt = prompt.ok_or(
            "has no prompt's text (audit lines have texts with audit.text, scan with --text)",
        )?;
        Ok(Self {
            prompt,
            thinking: thinking.unwrap_or_default(),
            answer: answer.unwrap_or_default(),
            outcome,
            cut,
            ..self
        })
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self { text: Some(text), cut: false }),
            Value::Object(mut channel) => {
                let cut = channel.get("text_cut").and_then(Value::as_bool).unwrap_or_default();
                match channel.remove("text") {
                    Some(Value::String(text)) => Ok(Self { text: Some(text), cut }),
                    _ => Ok(Self { text: None, cut }),
                }
            }
            Value::Null => Ok(Self::default()),
            _ => Err(serde::de::Error::custom("is no text")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_lines_and_reports_are_read() {
        let flat = r#"{"id":7,"model":"m","prompt":"p","thinking":"t","answer":"a","outcome":"safety_aware","finish":"length","judge":{"answer":{"said":"judged","result":"Unsafe"}}}"#;
        let trace = &read(flat.as_bytes()).unwrap()[0];
        assert_eq!((trace.id.as_deref(), trace.prompt.as_str()), (Some("7"), "p"));
        assert!(trace.cut && trace.judged_unsafe);
        let report = r#"{"id":"x","prompt":{"chars":1,"text":"p"},"choices":[
            {"index":0,"prompt":null,"thinking":{"text":"t","text_cut":true},"answer":{"text":"a"},"outcome":"benign"},
            {"index":1,"prompt":{"text":"q"},"thinking":{},"answer":{"text":"b"},"outcome":"unsafe"}]}"#
            .replace('\n', " ");
        let traces = read(report.as_bytes()).unwrap();
        assert_eq!((traces[0].prompt.as_str(), traces[0].cut), ("p", true));
        assert_eq!((traces[1].prompt.as_str(), traces[1].thinking.as_str()), ("q", ""));
        assert_eq!(traces[1].choice, Some(1));
    }

    #[test]
    fn what_is_no_trace_is_told_without_its_text() {
        for (line, told) in [
            ("secret", "is no trace: Syntax error at column 1"),
            (r#"{"prompt":"p"}"#, "has no outcome"),
            (r#"{"outcome":"benign","answer":"a"}"#, "has no prompt's text"),
            (r#"{"outcome":"benign","prompt":7}"#, "is no trace: Data error"),
        ] {
            let error = read(line.as_bytes()).unwrap_err();
            assert!(error.starts_with(told), "{error}");
        }
    }
}
