//! A stream of chat chunks as `DeepSeek` sends them: one token an event, thinking first.

use super::text::pieces;

/// Digits of the time that an event carries, in nanoseconds since 1970.
pub(crate) const STAMP_DIGITS: usize = 19;

/// What stands before an event's time.
pub(crate) const BEFORE_STAMP: &[u8] = b"\"fp_";

/// The end mark.
pub(crate) const DONE: &[u8] = b"data: [DONE]\n\n";

/// Every event of the script, ready to be sent but for its time.
#[derive(Debug)]
pub(crate) struct Script {
    thinking: Vec<Vec<u8>>,
    answer: Vec<Vec<u8>>,
    stamp_at: usize,
}

impl Script {
    /// Builds every event once.
    pub(crate) fn new() -> Self {
        let events = |field: &str, other: &str| -> Vec<Vec<u8>> {
            pieces().into_iter().map(|piece| event(field, other, piece)).collect()
        };
        let thinking = events("reasoning_content", "content");
        let answer = events("content", "reasoning_content");
        let first = thinking.first().unwrap();
        let stamp_at = memchr::memmem::find(first, BEFORE_STAMP).unwrap() + BEFORE_STAMP.len();
        Self { thinking, answer, stamp_at }
    }

    /// Where in an event its time stands.
    pub(crate) const fn stamp_at(&self) -> usize {
        self.stamp_at
    }

    /// Event `position` of `count` of the stream with this number: each stream begins elsewhere in the text.
    pub(crate) fn event(&self, stream: u64, position: u64, count: u64) -> &[u8] {
        let events = if position * 10 < count * 7 { &self.thinking } else { &self.answer };
        let at = (stream * 37 + position) % events.len() as u64;
        events.get(usize::try_from(at).unwrap()).unwrap()
    }
}

fn event(field: &str, other: &str, piece: &str) -> Vec<u8> {
    let text = serde_json::to_string(piece).unwrap();
    let stamp = "0".repeat(STAMP_DIGITS);
    let event = format!(
        "data: {{\"id\":\"930c60df-bf64-41c9-a88e-3ec75f81e00e\",\"object\":\"chat.completion.chunk\",\
         \"created\":1763747000,\"model\":\"deepseek-reasoner\",\"system_fingerprint\":\"fp_{stamp}\",\
         \"choices\":[{{\"index\":0,\"delta\":{{\"{other}\":null,\"{field}\":{text}}},\
         \"logprobs\":null,\"finish_reason\":null}}]}}\n\n"
    );
    event.into_bytes()
}
