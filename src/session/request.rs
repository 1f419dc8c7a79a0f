//! The request's half of a session: the prompt is read, and what becomes of the request is decided.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    channel::Channel,
    classify::Voice,
    dialect::{
        Endpoint, refusal,
        request::{Request, read_request, without_side_channels},
        steer::{self, Changes},
    },
    policy::{Action, Mode, OnUnscanned, PromptBlock, SideChannels, Verdict},
    record::UnscannedReason,
    rules::Category,
};

use super::{
    effect::{LocalResponse, RequestDecision},
    machine::{Session, json_response},
    plan::Label,
    scoring::Scoring,
};

impl Session {
    /// Reads the request's body and decides what becomes of it.
    pub fn on_request(&mut self, body: Bytes) -> RequestDecision {
        let decision = self.decide_request(body);
        self.refused = matches!(decision, RequestDecision::Respond(_));
        decision
    }

    fn decide_request(&mut self, body: Bytes) -> RequestDecision {
        let Ok(text) = std::str::from_utf8(&body) else {
            return self.unreadable_request(body, UnscannedReason::Encoding);
        };
        let whole_prompt = self.plan().settings().whole_prompt;
        let endpoint = self.endpoint.unwrap_or(Endpoint::ChatCompletions);
        let request = read_request(endpoint, text, whole_prompt);
        if !request.known {
            return self.unreadable_request(body, UnscannedReason::Shape);
        }
        self.model = request.model.as_deref().map(str::to_owned);
        self.wants_usage = request.include_usage;
        self.wants_stream = request.stream;
        self.read_prompt(&request);
        if self.prompt_is_blocked() {
            self.action = Action::Block;
            return RequestDecision::Respond(self.prompt_refusal());
        }
        let decision = self.decide_side_channels(&request, text, &body);
        match decision {
            RequestDecision::Forward(body) => {
                self.keep_request(&body);
                RequestDecision::Forward(self.steer(endpoint, body))
            }
            RequestDecision::Respond(_) => decision,
        }
    }

    /// The request with what policy adds to it.
    fn steer(&mut self, endpoint: Endpoint, body: Bytes) -> Bytes {
        let plan = Arc::clone(self.plan());
        let policy = plan.policy();
        let (flagged, risky) = self.flagged_in_prompt();
        if !policy.steering.applies(risky) {
            return body;
        }
        if policy.mode != Mode::Enforce {
            self.would_steer = true;
            return body;
        }
        let steering = &policy.steering;
        let system = steering.text(&flagged);
        let changes = Changes { system: &system, parameters: Some(&steering.parameters) };
        let steered = std::str::from_utf8(&body)
            .ok()
            .and_then(|text| steer::steered(endpoint, text, changes));
        match steered {
            Some(steered) => {
                self.action = self.action.max(Action::Steer);
                steered.into()
            }
            // A prompt of token ids has no place for rules.
            None => body,
        }
    }

    /// The categories that are flagged in the prompt, and whether anything is.
    pub(super) fn flagged_in_prompt(&self) -> (Vec<Category>, bool) {
        let found = self.prompt.iter().flat_map(|prompt| &prompt.found);
        let flagged = found.filter(|found| found.verdict >= Verdict::Flag);
        let rules: Vec<_> = flagged.filter_map(|found| self.plan().rule(found.at.rule)).collect();
        let mut categories: Vec<Category> = rules.iter().filter_map(|rule| rule.category).collect();
        categories.sort_unstable();
        categories.dedup();
        (categories, !rules.is_empty())
    }

    pub(super) fn read_prompt(&mut self, request: &Request<'_>) {
        for (reason, bytes) in [
            (UnscannedReason::Media, request.media_bytes),
            (UnscannedReason::Field, request.opaque_bytes),
        ] {
            if bytes > 0 {
                self.note_unscanned(Some(Channel::Prompt), reason, bytes as u64);
            }
        }
        self.reading.speak(Voice::Prompt);
        let mut prompt = self.reading.text(Label::Known(Channel::Prompt), false);
        for (position, text) in request.texts.iter().enumerate() {
            if position > 0 {
                self.reading.push(&mut prompt, "\n");
            }
            self.reading.push(&mut prompt, text);
        }
        self.reading.pause(&mut prompt);
        self.reading.end_prompt();
        self.prompt = Some(prompt.into_read());
    }

    fn prompt_is_blocked(&self) -> bool {
        // A prompt cannot be masked without changing what was asked: a redaction blocks it.
        let carried_out = [Verdict::Block, Verdict::Redact];
        self.prompt.as_ref().is_some_and(|prompt| {
            prompt
                .found
                .iter()
                .any(|found| carried_out.iter().any(|&verdict| found.carries_out(verdict)))
        })
    }

    fn decide_side_channels(
        &self,
        request: &Request<'_>,
        text: &str,
        body: &Bytes,
    ) -> RequestDecision {
        if request.side_channels.is_empty() || !self.plan().enforces_responses() {
            return RequestDecision::Forward(body.clone());
        }
        match self.plan().policy().side_channels {
            SideChannels::Allow => RequestDecision::Forward(body.clone()),
            SideChannels::Strip => RequestDecision::Forward(without_side_channels(text).into()),
            SideChannels::Refuse => {
                let names = request.side_channels.join(", ");
                let message = format!("not allowed by a safety policy: {names}");
                let param = request.side_channels.first().copied();
                RequestDecision::Respond(json_response(
                    400,
                    refusal::error_body(
                        self.dialect,
                        &message,
                        "invalid_request_error",
                        param,
                        "unsupported_parameter",
                    ),
                ))
            }
        }
    }

    fn unreadable_request(&mut self, body: Bytes, reason: UnscannedReason) -> RequestDecision {
        match self.on_request_unscanned(reason, body.len() as u64) {
            Some(response) => RequestDecision::Respond(response),
            None => RequestDecision::Forward(body),
        }
    }

    /// Notes a request body of `bytes` bytes that cannot be inspected; answers it where policy blocks that.
    pub fn on_request_unscanned(
        &mut self,
        reason: UnscannedReason,
        bytes: u64,
    ) -> Option<LocalResponse> {
        let policy = self.plan().policy();
        let blocks =
            policy.may_enforce(Channel::Prompt) && policy.on_unscanned == OnUnscanned::Block;
        if !blocks {
            self.keep_no_request(reason);
            self.note_unscanned(Some(Channel::Prompt), reason, bytes);
            return None;
        }
        self.action = Action::FailClosed;
        let (status, message, code) = match reason {
            UnscannedReason::BodyTooLarge => {
                (413, "the request body is too large to be inspected", "request_too_large")
            }
            UnscannedReason::Encoding => {
                (415, "the request body's encoding is not supported", "unsupported_encoding")
            }
            _ => (
                400,
                "the request body is not a completion request in JSON",
                "invalid_request_body",
            ),
        };
        Some(json_response(
            status,
            refusal::error_body(self.dialect, message, "invalid_request_error", None, code),
        ))
    }

    /// Whether the request waits until its prompt has been scored.
    #[must_use]
    pub fn prompt_waits(&self) -> bool {
        let is_clear =
            |scoring: &Scoring| scoring.is_clear(Voice::Prompt, scoring.mark(Voice::Prompt));
        !self.reading.scoring.as_deref().is_none_or(is_clear)
    }

    /// The answer to a request whose prompt is not to go on before it has its scores, if by them it does not. They may have
    /// come before anybody waited.
    pub fn on_prompt_scored(&mut self) -> Option<LocalResponse> {
        if !self.plan().gates(&[Channel::Prompt]) {
            return None;
        }
        self.refused = self.reading.blocked || self.reading.failed;
        if self.reading.blocked {
            self.action = Action::Block;
            return Some(self.prompt_refusal());
        }
        if self.reading.failed {
            self.action = Action::FailClosed;
            let message = "the prompt could not be inspected";
            let (kind, code) = ("server_error", "inspection_unavailable");
            let body = refusal::error_body(self.dialect, message, kind, None, code);
            return Some(json_response(503, body));
        }
        None
    }

    fn prompt_refusal(&self) -> LocalResponse {
        let dialect = self.dialect;
        match (self.plan().policy().prompt_block, self.wants_stream) {
            (PromptBlock::Status400, _) => {
                let (kind, code) = ("invalid_request_error", "content_policy_violation");
                let param = Some(dialect.prompt_field());
                let notice = self.plan().notice();
                json_response(400, refusal::error_body(dialect, notice, kind, param, code))
            }
            (PromptBlock::Status200, true) => {
                let notice = Some(self.plan().notice().to_owned());
                let choice = refusal::ChoiceEnd { index: 0, role: true, close_tag: None, notice };
                LocalResponse {
                    status: 200,
                    content_type: self.vocabulary.stream_type(dialect),
                    body: self.stream_end(&[choice], None),
                }
            }
            (PromptBlock::Status200, false) => json_response(200, self.whole_refusal()),
        }
    }
}
