//! One trace as the demo has seen it: through the watching proxy and through the enforcing one.

use http::StatusCode;

use super::{
    audit::{ChoiceRecord, Record},
    received::{Received, ReceivedChoice},
    traces::{Delivery, Trace},
};

/// What thinkgate writes in place of an answer that it stopped.
pub(crate) const NOTICE: &str = "This response was stopped by a safety policy.";

/// What thinkgate writes over a masked span.
pub(crate) const MASK: &str = "[redacted]";

/// A trace's exchange with one of the two proxies.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exchange {
    /// The status code.
    pub(crate) status: StatusCode,
    /// The error's code, where there was an error.
    pub(crate) code: Option<String>,
    /// What the client got.
    pub(crate) received: Received,
    /// What the proxy recorded.
    pub(crate) record: Record,
    /// Tokens that the upstream wrote before its reader left.
    pub(crate) written: usize,
    /// Tokens that the upstream had to write; 0 if it was never asked.
    pub(crate) planned: usize,
}

/// One trace, seen twice.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    /// The trace.
    pub(crate) trace: Trace,
    /// Through the proxy that only watches.
    pub(crate) shadow: Exchange,
    /// Through the proxy that enforces.
    pub(crate) enforce: Exchange,
}

/// Where the enforcing proxy ended an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The choice.
    pub(crate) choice: u64,
    /// The channel.
    pub(crate) channel: &'static str,
    /// Characters of the channel that the client got.
    pub(crate) at: usize,
}

// === impl Shown ===

impl Shown {
    /// What the enforcing proxy's client got.
    pub(crate) fn delivery(&self) -> Delivery {
        if self.enforce.status.is_client_error() {
            Delivery::Refused
        } else if self.enforce.received.choices.values().any(ReceivedChoice::filtered) {
            Delivery::Cut
        } else if self.enforce.received.choices == self.shadow.received.choices {
            Delivery::Whole
        } else {
            Delivery::Masked
        }
    }

    /// Where the exchange was cut: the end of what came of the blocked channel.
    pub(crate) fn cut(&self) -> Option<Cut> {
        let blocked = |choice: &ChoiceRecord| {
            [
                ("thinking", &choice.thinking),
                ("answer", &choice.answer),
                ("tool call", &choice.tool_call),
            ]
            .into_iter()
            .find(|(_, channel)| channel.verdict == "block")
            .map(|(channel, _)| (choice.index, channel))
        };
        let (choice, channel) = self.enforce.record.choices.iter().find_map(blocked)?;
        let received = self.enforce.received.choices.get(&choice);
        let at = received.map_or(0, |received| match channel {
            "thinking" => received.thinking.chars().count(),
            "answer" => received.answer_alone().chars().count(),
            _ => received.arguments.chars().count(),
        });
        Some(Cut { choice, channel, at })
    }

    /// How many spans were masked.
    pub(crate) fn masks(&self) -> usize {
        let count = |text: &str| text.matches(MASK).count();
        let choices = self.enforce.received.choices.values();
        choices
            .map(|choice| {
                count(&choice.thinking) + count(&choice.answer) + count(&choice.arguments)
            })
            .sum()
    }

    /// Characters that the watching proxy's client got and the enforcing one's did not.
    pub(crate) fn spared(&self) -> usize {
        let enforce = &self.enforce.received;
        let ours: usize = enforce.choices.values().map(ReceivedChoice::notice_chars).sum();
        let ours = ours + self.masks() * MASK.len();
        self.shadow.received.chars().saturating_sub(enforce.chars().saturating_sub(ours))
    }

    /// Whether outcomes and delivery are what the trace's author labelled it with.
    pub(crate) fn as_labelled(&self) -> bool {
        let labels = self.trace.choices.iter().map(|choice| choice.outcome.as_str());
        self.outcomes().into_iter().eq(labels) && self.delivery() == self.trace.delivery
    }

    /// The outcomes of the choices, as the watching proxy concluded them.
    pub(crate) fn outcomes(&self) -> Vec<&str> {
        self.shadow.record.choices.iter().map(|choice| choice.outcome.as_str()).collect()
    }
}

// === impl ReceivedChoice ===

impl ReceivedChoice {
    /// Whether thinkgate ended it.
    fn filtered(&self) -> bool {
        self.finish.as_deref() == Some("content_filter")
    }

    /// The answer without thinkgate's notice.
    pub(crate) fn answer_alone(&self) -> &str {
        match self.answer.strip_suffix(NOTICE) {
            Some(answer) if self.filtered() => answer,
            _ => &self.answer,
        }
    }

    /// Characters of thinkgate's notice in it.
    fn notice_chars(&self) -> usize {
        if self.has_notice() { NOTICE.len() } else { 0 }
    }

    /// Whether thinkgate's notice stands in it.
    pub(crate) fn has_notice(&self) -> bool {
        self.filtered() && (self.answer.ends_with(NOTICE) || self.thinking.ends_with(NOTICE))
    }
}

#[cfg(test)]
pub(crate) mod fixture {
    use super::*;
    use crate::cli::demo::{audit::Finding, traces};

    /// A trace as if both proxies had seen it; `events` are what their clients got.
    pub(crate) fn shown(name: &str, shadow: &str, enforce: &str) -> Shown {
        let trace = traces::all().unwrap().into_iter().find(|trace| trace.name == name).unwrap();
        Shown { trace, shadow: exchange(shadow), enforce: exchange(enforce) }
    }

    /// A risky sentence in the thinking, and what became of it.
    pub(crate) fn leaky() -> Shown {
        let begin = r#"{"delta":{"reasoning":"The scene is about a villain. "}}"#;
        let rest = r#"{"delta":{"reasoning":"I could explain how to build a bomb, and so on."}},{"delta":{"content":"I'm sorry, I can't help with that."},"finish_reason":"stop"}"#;
        let cut = r#"{"delta":{"content":"This response was stopped by a safety policy."},"finish_reason":"content_filter"}"#;
        let mut shown =
            shown("workshop-scene", &format!("{begin},{rest}"), &format!("{begin},{cut}"));
        let finding = Finding {
            id: "violence_terrorism.give_explosives".into(),
            kind: "risk".into(),
            severity: "high".into(),
            channel: "thinking".into(),
            start_char: 30,
            end_char: 65,
            repeat: false,
        };
        let mut choice =
            ChoiceRecord { outcome: "leaky_thinking".into(), ..ChoiceRecord::default() };
        choice.thinking.verdict = "block".into();
        choice.findings.push(finding);
        for (exchange, action) in [(&mut shown.shadow, "forward"), (&mut shown.enforce, "block")] {
            exchange.record.choices.push(choice.clone());
            exchange.record.verdict = "block".into();
            exchange.record.action = action.into();
            exchange.record.would = "block".into();
        }
        shown.enforce.planned = 262;
        shown.enforce.written = 58;
        shown
    }

    fn exchange(choices: &str) -> Exchange {
        let mut received = Received::default();
        for choice in choices.split(",{\"delta\"").map(|rest| rest.trim_start_matches("{\"delta\""))
        {
            received.read(format!("data: {{\"choices\":[{{\"delta\"{choice}]}}\n").as_bytes());
        }
        Exchange { received, ..Exchange::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_where_the_text_ends() {
        let shown = fixture::leaky();
        assert_eq!(shown.delivery(), Delivery::Cut);
        assert_eq!(shown.cut(), Some(Cut { choice: 0, channel: "thinking", at: 30 }));
    }

    #[test]
    fn the_notice_spares_nothing() {
        let shown = fixture::leaky();
        assert_eq!(shown.shadow.received.chars() - shown.spared(), 30);
    }
}
