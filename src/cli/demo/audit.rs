//! What the proxies record: their audit lines, read as any other reader would.

use std::{io, path::PathBuf, time::Duration};

use serde::Deserialize;
use tokio::time::{Instant, sleep};

/// How long a line may take to be written after the response has ended.
const PATIENCE: Duration = Duration::from_secs(5);

/// The audit file of one proxy.
#[derive(Clone, Debug)]
pub(crate) struct AuditFile {
    path: PathBuf,
}

/// One exchange, as far as the demo shows it.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Record {
    /// The id that the client gave its request.
    #[serde(default)]
    pub(crate) request_id: Option<String>,
    /// The gravest verdict.
    pub(crate) verdict: String,
    /// What was done.
    pub(crate) action: String,
    /// What would have been done in enforce mode.
    #[serde(default)]
    pub(crate) would: String,
    /// Findings in the prompt.
    #[serde(default)]
    pub(crate) prompt_findings: Vec<Finding>,
    /// What each choice has shown.
    #[serde(default)]
    pub(crate) choices: Vec<ChoiceRecord>,
}

/// What one choice has shown.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct ChoiceRecord {
    /// The choice's index.
    pub(crate) index: u64,
    /// The joint verdict over thinking and answer.
    pub(crate) outcome: String,
    /// The thinking.
    #[serde(default)]
    pub(crate) thinking: ChannelRecord,
    /// The answer.
    #[serde(default)]
    pub(crate) answer: ChannelRecord,
    /// The tool calls' arguments.
    #[serde(default)]
    pub(crate) tool_call: ChannelRecord,
    /// Every finding.
    #[serde(default)]
    pub(crate) findings: Vec<Finding>,
}

/// What one channel has shown.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct ChannelRecord {
    /// The gravest verdict.
    #[serde(default)]
    pub(crate) verdict: String,
}

/// One claim about a span of text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Finding {
    /// The rule.
    pub(crate) id: String,
    /// `risk`, `safety_thinking`, `rationalisation` or `refusal`.
    pub(crate) kind: String,
    /// How grave it is.
    pub(crate) severity: String,
    /// Where it stands.
    pub(crate) channel: String,
    /// Its first character.
    pub(crate) start_char: usize,
    /// One past its last character.
    pub(crate) end_char: usize,
    /// Whether it stands in a copy of the text.
    #[serde(default)]
    pub(crate) repeat: bool,
}

// === impl AuditFile ===

impl AuditFile {
    /// The file at `path`.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The line of the request with `request_id`, as soon as it has been written.
    pub(crate) async fn record_of(&self, request_id: &str) -> io::Result<Record> {
        let start = Instant::now();
        loop {
            let text = std::fs::read_to_string(&self.path).unwrap_or_default();
            if let Some(record) = find(&text, request_id) {
                return Ok(record);
            }
            if start.elapsed() > PATIENCE {
                let reason = format!("no audit line for {request_id} in {}", self.path.display());
                return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The record of the request with `request_id` in the file's text; its last line may not be whole yet.
fn find(text: &str, request_id: &str) -> Option<Record> {
    text.lines()
        .filter_map(|line| serde_json::from_str::<Record>(line).ok())
        .find(|record| record.request_id.as_deref() == Some(request_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_line_is_not_there_yet() {
        let whole = r#"{"request_id":"a","verdict":"pass","action":"forward","choices":[]}"#;
        let text = format!("{whole}\n{{\"request_id\":\"b\",\"verd");
        assert_eq!(find(&text, "a").map(|record| record.verdict).as_deref(), Some("pass"));
        assert!(find(&text, "b").is_none());
    }
}
