//! How an exchange ends whose response is not let through.

use bytes::{Bytes, BytesMut};

use crate::{
    dialect::refusal::{self, Ending},
    policy::Action,
};

use super::{Body, OwnedEnvelope, Session};
use crate::session::{
    choice::Choice,
    effect::{Delivery, Effect, LocalResponse},
};

impl Session {
    pub(super) fn fail_closed(&mut self) {
        self.action = Action::FailClosed;
        if self.delivery == Delivery::Whole {
            self.hold.clear();
            self.ended = true;
            self.reading.end_detectors();
            let message = "the upstream's response could not be inspected";
            let (kind, code) = ("upstream_error", "uninspectable_response");
            let body = refusal::error_body(self.dialect, message, kind, None, code);
            self.effects.push_back(Effect::Respond(json_response(502, body)));
        } else {
            self.stop();
        }
    }

    /// Ends the exchange with a refusal; what was held is dropped.
    pub(in crate::session) fn stop(&mut self) {
        self.finish_choices();
        self.hold.clear();
        self.ended = true;
        self.reading.end_detectors();
        let effect = match self.delivery {
            Delivery::Whole => {
                self.effects.clear();
                Effect::Respond(json_response(200, self.whole_refusal()))
            }
            Delivery::Held | Delivery::AsRead => Effect::Stop(self.stream_refusal()),
        };
        self.effects.push_back(effect);
    }

    /// Leaves the answer that is being read for another one: nothing of it is delivered any more.
    pub(in crate::session) fn leave_answer(&mut self) {
        self.finish_choices();
        self.hold.clear();
        if self.delivery == Delivery::Whole {
            self.effects.clear();
        }
        self.reading.end_detectors();
        self.reading.blocked = false;
        self.body = Body::Sniffing(BytesMut::new());
        self.together.forget();
        self.over = false;
        self.done = false;
        self.attempt += 1;
    }

    /// Takes the names of the answer to come, where the client has seen none yet.
    pub(in crate::session) fn forget_identity(&mut self) {
        self.envelope = OwnedEnvelope::default();
    }

    /// How a choice that is not finished ends.
    pub(in crate::session) fn end_of(&self, choice: &Choice) -> refusal::ChoiceEnd {
        // Where content itself is inside the thinking, the notice would be read as thinking.
        let notice = (!choice.answer_sent()).then(|| self.plan().notice().to_owned());
        refusal::ChoiceEnd {
            index: choice.index,
            role: !choice.named,
            close_tag: notice.as_ref().and_then(|_| choice.tag_to_close()),
            notice,
        }
    }

    fn stream_refusal(&self) -> Bytes {
        let mut ends: Vec<refusal::ChoiceEnd> = self
            .last_choices()
            .filter(|choice| !choice.finished)
            .map(|choice| self.end_of(choice))
            .collect();
        if self.choices.is_empty() {
            let notice = Some(self.plan().notice().to_owned());
            ends.push(refusal::ChoiceEnd { index: 0, role: true, close_tag: None, notice });
        }
        ends.sort_by_key(|end| end.index);
        let wanted = self.wants_usage || self.dialect.tells_usage_unasked();
        let usage = self.usage_of_all().filter(|_| wanted && !self.usage_sent);
        self.stream_end(&ends, usage.as_deref())
    }

    /// What ends a stream in which these choices are not finished.
    pub(in crate::session) fn stream_end(
        &self,
        choices: &[refusal::ChoiceEnd],
        usage: Option<&str>,
    ) -> Bytes {
        let identity = &self.refusal_identity();
        self.vocabulary.stream_end(self.dialect, &Ending { identity, choices, usage })
    }

    pub(in crate::session) fn whole_refusal(&self) -> Bytes {
        let mut indices: Vec<u32> = self.last_choices().map(|choice| choice.index).collect();
        indices.sort_unstable();
        if indices.is_empty() {
            indices.push(0);
        }
        self.vocabulary.whole_body(
            self.dialect,
            &self.refusal_identity(),
            &indices,
            self.plan().notice(),
            self.usage_of_all().as_deref(),
        )
    }

    pub(in crate::session) fn refusal_identity(&self) -> refusal::Identity {
        let id = format!("{}{}", self.dialect.id_prefix(), self.identity.id);
        let model = self.model.as_deref().unwrap_or_default();
        refusal::Identity::of(&self.envelope.borrow(), &id, self.identity.created, model)
    }
}

pub(in crate::session) fn json_response(status: u16, body: Bytes) -> LocalResponse {
    LocalResponse { status, content_type: "application/json", body }
}
