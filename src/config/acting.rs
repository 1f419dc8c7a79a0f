//! What of a policy says what is done about a trace as a whole: outcomes, and asking again.

use super::{
    reader::{Findings, Section, boolean, count, duration, named, size},
    settings::{known, read_parameters, with_template},
};
use crate::policy::{AskAgain, OutcomeAction, Outcomes};

/// How often a model may be asked again at most.
const MOST_ATTEMPTS: u8 = 3;

pub(super) fn read_outcomes(
    section: &mut Section,
    findings: &mut Findings,
    outcomes: &mut Outcomes,
) {
    if let Some(tell) = section.value("tell_outcome", findings, boolean) {
        outcomes.tell = tell;
    }
    let mut section = section.section("outcomes", findings);
    for name in with_template(section.names()) {
        let outcome = known(&section, findings, &name);
        let origin = section.origin_of(&name);
        let action = section.value_like(&name, "<outcome>", findings, action);
        if let (Some(outcome), Some(action)) = (outcome, action)
            && let Err(impossible) = outcomes.set(outcome, action)
        {
            section.complain(findings, &name, origin, &impossible.to_string());
        }
    }
}

pub(super) fn read_ask_again(
    section: &mut Section,
    findings: &mut Findings,
    ask_again: &mut AskAgain,
) {
    let mut section = section.section("ask_again", findings);
    if let Some(when) = section.value("when", findings, named) {
        ask_again.when = when;
    }
    if let Some(attempts) = section.value("attempts", findings, attempts) {
        ask_again.attempts = attempts;
    }
    if let Some(timeout) = section.value("timeout", findings, duration) {
        ask_again.timeout = timeout;
    }
    if let Some(bytes) = section.value("max_request_bytes", findings, size) {
        ask_again.max_request_bytes = bytes;
    }
    if let Some(thinking) = section.value("thinking", findings, named) {
        ask_again.thinking = Some(thinking);
    }
    read_parameters(&mut section, findings, &mut ask_again.parameters);
    section.finish(findings);
}

/// YAML 1.1 reads `off` as a boolean; it is taken for what was meant.
fn action(text: &str) -> Result<OutcomeAction, String> {
    if text == "false" { Ok(OutcomeAction::Off) } else { named(text) }
}

fn attempts(text: &str) -> Result<u8, String> {
    let number = count(text).ok().and_then(|number| u8::try_from(number).ok());
    number
        .filter(|number| (1..=MOST_ATTEMPTS).contains(number))
        .ok_or_else(|| format!("expected a whole number from 1 to {MOST_ATTEMPTS}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{
        config::{Config, from_yaml},
        policy::{AskAgainWhen, OutcomeAction},
        trace::Outcome,
    };

    fn check(policy: &str) -> (Config, Vec<String>) {
        let tree = from_yaml("t.yaml", &format!("policy: {policy}")).unwrap();
        let (config, errors) = Config::check(tree);
        (config, errors.0.iter().map(|error| format!("{}: {}", error.key, error.reason)).collect())
    }

    #[test]
    fn reads_what_is_done_about_outcomes_and_when_to_ask_again() {
        let (config, errors) = check(
            "{outcomes: {self_jailbreak: block, leaky_thinking: hide, superficial: flag, unsafe: off}, \
             tell_outcome: true, ask_again: {when: blocked_thinking, attempts: 2, timeout: 5s, \
             max_request_bytes: 2 KiB, thinking: closed, parameters: {temperature: 0}}}",
        );
        assert_eq!(errors, [""; 0]);
        let policy = &config.default_route.policy;
        assert_eq!(policy.outcomes.action(Outcome::SelfJailbreak), OutcomeAction::Block);
        assert_eq!(policy.outcomes.action(Outcome::LeakyThinking), OutcomeAction::Hide);
        assert_eq!(policy.outcomes.action(Outcome::Superficial), OutcomeAction::Flag);
        assert_eq!(policy.outcomes.action(Outcome::Unsafe), OutcomeAction::Off);
        assert!(policy.outcomes.tell);
        let again = &policy.ask_again;
        assert_eq!((again.when, again.attempts), (AskAgainWhen::BlockedThinking, 2));
        assert_eq!((again.timeout, again.max_request_bytes), (Duration::from_secs(5), 2048));
        assert_eq!(again.parameters.get("temperature").map(String::as_str), Some("0"));
    }

    #[test]
    fn names_what_cannot_be_done() {
        let (_, errors) = check(
            "{outcomes: {superficial: block, unsafe: hide, benig: flag, leaky_thinking: redact}, \
             ask_again: {attempts: 9, when: always}}",
        );
        let expected = [
            "policy.ask_again.when: expected",
            "policy.ask_again.attempts: expected a whole number from 1 to 3",
            "policy.outcomes.benig: unknown key",
            "policy.outcomes.leaky_thinking: expected one of off, flag, hide, block",
            "policy.outcomes.superficial: it is known only when the answer has ended",
            "policy.outcomes.unsafe: only leaky_thinking can be hidden",
        ];
        for (error, expected) in errors.iter().zip(expected) {
            assert!(error.starts_with(expected), "{error}");
        }
        assert_eq!(errors.len(), expected.len(), "{errors:?}");
    }
}
