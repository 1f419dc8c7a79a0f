//! The model asked again where its thinking was blocked.

use super::*;
use crate::{
    channel::ThinkingStart,
    policy::{AskAgain, AskAgainWhen, OutcomeAction},
    record::AskAgainResult,
    rules::Category,
};

/// What comes back to the second request, and to those after it.
#[derive(Clone)]
enum Answer {
    Events(Vec<String>),
    /// The upstream breaks off behind them.
    Broken(Vec<String>),
    Whole(Value),
    Status(u16),
    /// There is no response.
    Unreachable,
    /// There is none in time.
    Silent,
}

/// What a client and an operator get of one exchange.
struct Talk {
    sent: String,
    responded: Option<LocalResponse>,
    asked: Vec<Value>,
    report: ExchangeReport,
}

fn policy() -> Policy {
    let ask_again = AskAgain { when: AskAgainWhen::BlockedThinking, ..AskAgain::default() };
    Policy { mode: Mode::Enforce, ask_again, ..Policy::default() }
}

fn request() -> Value {
    json!({"model": "m", "stream": true, "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": "hi"}]})
}

fn of(events: &[String]) -> Answer {
    Answer::Events(events.to_vec())
}

fn talk(policy: Policy, first: Answer, others: &[Answer]) -> Talk {
    talk_with(&plan(policy, Settings::default()), first, others)
}

fn talk_with(plan: &Arc<Plan>, first: Answer, others: &[Answer]) -> Talk {
    let identity = Identity { id: "own".into(), created: 9 };
    let mut session = Session::new(Arc::clone(plan), Some(Endpoint::ChatCompletions), identity);
    let RequestDecision::Forward(_) = session.on_request(request().to_string().into()) else {
        panic!("refused")
    };
    let mut talk =
        Talk { sent: String::new(), responded: None, asked: Vec::new(), report: session.report() };
    let head = |kind: &str| ResponseHead {
        status: 200,
        content_type: Some(kind.to_owned()),
        undecodable: false,
    };
    session.on_response(&head(kind_of(&first)));
    let mut now = some_time();
    let mut others = others.iter();
    let mut answer = Some(first);
    while let Some(present) = answer.take() {
        let (chunks, end) = match present {
            Answer::Events(events) => (events, BodyEnd::Complete),
            Answer::Broken(events) => (events, BodyEnd::Reset),
            Answer::Whole(body) => (vec![body.to_string()], BodyEnd::Complete),
            Answer::Status(_) | Answer::Unreachable | Answer::Silent => unreachable!(),
        };
        let mut ended = false;
        let last = chunks.len();
        for at in 0..=last {
            match chunks.get(at) {
                Some(chunk) => session.on_chunk(now, chunk.clone().into()),
                None => session.on_end(now, end),
            }
            let (over, next) = take(&mut session, &mut now, &mut talk, &mut others);
            ended |= over || next.is_some();
            answer = next;
            if ended {
                break;
            }
        }
        if let Some(next) = &answer
            && !session.on_response_again(&head(kind_of(next)))
        {
            answer = None;
            take(&mut session, &mut now, &mut talk, &mut others);
        }
    }
    talk.report = session.report();
    talk
}

fn kind_of(answer: &Answer) -> &'static str {
    if matches!(answer, Answer::Whole(_)) { "application/json" } else { "text/event-stream" }
}

/// Carries out the effects: whether the exchange is over, and the answer that is read next.
fn take<'a>(
    session: &mut Session,
    now: &mut Instant,
    talk: &mut Talk,
    others: &mut impl Iterator<Item = &'a Answer>,
) -> (bool, Option<Answer>) {
    let (mut over, mut next) = (false, None);
    while let Some(effect) = session.next_effect() {
        match effect {
            Effect::Forward(bytes) => talk.sent.push_str(std::str::from_utf8(&bytes).unwrap()),
            Effect::Stop(bytes) => {
                talk.sent.push_str(std::str::from_utf8(&bytes).unwrap());
                over = true;
            }
            Effect::Respond(response) => {
                talk.responded = Some(response);
                over = true;
            }
            Effect::Tell(_) => {}
            Effect::AskAgain(body) => {
                talk.asked.push(serde_json::from_slice(&body).unwrap());
                match others.next().expect("an answer to every request") {
                    Answer::Status(status) => {
                        let head = ResponseHead { status: *status, ..ResponseHead::default() };
                        assert!(!session.on_response_again(&head));
                    }
                    Answer::Unreachable => session.on_no_response_again(),
                    Answer::Silent => {
                        *now = session.deadline().unwrap();
                        session.on_timeout(*now);
                    }
                    answer => next = Some(answer.clone()),
                }
            }
        }
    }
    (over, next)
}

/// An event of another response than that of [`event`].
fn other(delta: &Value, finish: Option<&str>) -> String {
    let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
    let chunk = json!({"id": "up-2", "object": "chat.completion.chunk", "created": 8, "model": "m-2", "choices": [choice]});
    format!("data: {chunk}\n\n")
}

/// What `event` of the second response is in the first one's stream.
fn renamed(event: &str) -> String {
    event
        .replace("\"up-2\"", "\"up-1\"")
        .replace("\"created\":8", "\"created\":7")
        .replace("\"m-2\"", "\"m\"")
}

fn bad_thinking() -> Vec<String> {
    vec![
        event(&json!({"role": "assistant", "content": ""}), None),
        event(&json!({"reasoning_content": "a thought, "}), None),
        event(&json!({"reasoning_content": "then the forbidden falcon "}), None),
        event(&json!({"content": "never read"}), None),
    ]
}

fn good_answer() -> Vec<String> {
    let usage = json!({"id": "up-2", "created": 8, "model": "m-2", "choices": [], "usage": {"total_tokens": 3}});
    vec![
        other(&json!({"role": "assistant", "content": ""}), None),
        ": a comment\n\n".to_owned(),
        other(&json!({"reasoning_content": "a better thought"}), None),
        other(&json!({"content": "No falcons here."}), None),
        other(&json!({}), Some("stop")),
        format!("data: {usage}\n\n"),
        DONE.to_owned(),
    ]
}

#[test]
fn the_new_answer_goes_on_in_the_same_stream() {
    let talk = talk(policy(), of(&bad_thinking()), &[of(&good_answer())]);
    // All but the role, which was told, and the names.
    let second: String = good_answer()[1..].iter().map(|event| renamed(event)).collect();
    assert_eq!(talk.sent, bad_thinking()[..2].concat() + &second);
    let [asked] = &talk.asked[..] else { panic!("{:?}", talk.asked) };
    assert_eq!(asked["messages"][1], request()["messages"][0]);
    let rules = asked["messages"][0]["content"].as_str().unwrap();
    assert!(rules.contains("working attack"), "the rule of the category that was flagged: {rules}");

    let report = talk.report;
    assert_eq!((report.action, report.verdict), (Action::Steer, Verdict::Block));
    assert_eq!(report.choices.len(), 1);
    assert_eq!((report.choices[0].outcome, report.cut), (Outcome::Benign, None));
    let again = report.asked_again.unwrap();
    assert_eq!((again.result, again.attempts), (AskAgainResult::Answered, 1));
    assert_eq!(
        (again.findings, again.categories),
        (vec!["test.block".to_owned()], vec![Category::Cybercrime])
    );
    assert_eq!(again.usages, [None, Some("{\"total_tokens\":3}".to_owned())]);
    assert_eq!(again.cut.map(|cut| (cut.channel, cut.char)), Some((Channel::Thinking, 20)));
    assert_eq!(again.choices[0].thinking.verdict, Verdict::Block);
    // What was sent of both answers is told, and no more.
    assert_eq!(report.bytes.released.get(&Some(Channel::Thinking)), Some(&(11 + 16)));
}

#[test]
fn a_byte_order_mark_does_not_stand_in_the_middle() {
    let mut second = good_answer();
    second.remove(0);
    second[0].insert(0, '\u{feff}');
    let marked = talk(policy(), of(&bad_thinking()), &[of(&second)]);
    let plain = talk(policy(), of(&bad_thinking()), &[of(&good_answer())]);
    assert_eq!(marked.sent, plain.sent);
}

#[test]
fn the_new_stream_passes_as_it_came_where_nothing_was_sent() {
    let first = [event(&json!({"reasoning_content": "forbidden falcon "}), None)];
    let talk = talk(policy(), of(&first), &[of(&good_answer())]);
    assert_eq!(talk.sent, good_answer().concat());
}

#[test]
fn ends_in_the_usual_way_where_there_is_no_new_answer() {
    let usual = talk(Policy { mode: Mode::Enforce, ..Policy::default() }, of(&bad_thinking()), &[]);
    assert!(usual.sent.ends_with(DONE) && usual.sent.contains(DEFAULT_NOTICE));
    let error = format!("data: {}\n\n", json!({"error": {"message": "overloaded"}}));
    for (answer, result) in [
        (Answer::Status(503), AskAgainResult::Failed),
        (Answer::Unreachable, AskAgainResult::Failed),
        (Answer::Silent, AskAgainResult::TimedOut),
        (Answer::Whole(json!({"choices": []})), AskAgainResult::Failed),
        (of(&[]), AskAgainResult::Failed),
        (of(&[error]), AskAgainResult::Failed),
        (Answer::Broken(Vec::new()), AskAgainResult::Failed),
    ] {
        let talk = talk(policy(), of(&bad_thinking()), &[answer]);
        assert_eq!(talk.sent, usual.sent, "{result:?}");
        assert_eq!(talk.report.action, Action::Block);
        let again = talk.report.asked_again.unwrap();
        assert_eq!((again.result, again.attempts), (result, 1));
        // The first answer is the only one.
        assert_eq!((talk.report.choices.len(), again.choices.len()), (1, 0));
    }
}

#[test]
fn a_new_answer_that_breaks_off_is_ended_well_as_long_as_nothing_of_it_was_said() {
    let thinking = [other(&json!({"reasoning_content": "a better thought"}), None)];
    let silent = talk(policy(), of(&bad_thinking()), &[Answer::Broken(thinking.to_vec())]);
    assert!(silent.sent.contains("a better thought") && silent.sent.ends_with(DONE));
    assert_eq!(sent_text(&silent.sent, "content"), DEFAULT_NOTICE);
    let said = [other(&json!({"content": "No "}), None)];
    let broken = talk(policy(), of(&bad_thinking()), &[Answer::Broken(said.to_vec())]);
    assert_eq!(broken.sent, bad_thinking()[..2].concat() + &renamed(&said[0]));
}

#[test]
fn a_second_block_ends_the_exchange() {
    let second = [
        other(&json!({"role": "assistant", "reasoning_content": "again: "}), None),
        other(&json!({"reasoning_content": "falcon-1234 "}), None),
    ];
    let talk = talk(policy(), of(&bad_thinking()), &[of(&second)]);
    assert_eq!(talk.asked.len(), 1);
    assert!(!talk.sent.contains("falcon") && talk.sent.ends_with(DONE));
    assert_eq!(sent_text(&talk.sent, "reasoning_content"), "a thought, again: ");
    assert_eq!(sent_text(&talk.sent, "content"), DEFAULT_NOTICE);
    let chunks = sent_chunks(&talk.sent);
    let finishes = chunks.iter().filter(|chunk| chunk["choices"][0]["finish_reason"].is_string());
    assert_eq!(finishes.count(), 1);
    assert!(chunks.iter().all(|chunk| chunk["id"] == "up-1"), "{}", talk.sent);
    assert_eq!(talk.report.action, Action::Block);
    let again = talk.report.asked_again.unwrap();
    assert_eq!(again.result, AskAgainResult::Blocked);
    assert_eq!((again.choices.len(), talk.report.choices.len()), (1, 1));
}

#[test]
fn a_second_answer_is_guarded_as_the_first_one_is() {
    let second = [
        other(&json!({"content": "Go: "}), None),
        other(&json!({"content": "forbidden falcon "}), None),
    ];
    let blocked = talk(policy(), of(&bad_thinking()), &[of(&second)]);
    assert_eq!(sent_text(&blocked.sent, "content"), "Go: ");
    assert_eq!(blocked.report.asked_again.unwrap().result, AskAgainResult::Blocked);
    let masked = [other(&json!({"content": "at sesame street, "}), None), DONE.to_owned()];
    let masked = talk(policy(), of(&bad_thinking()), &[of(&masked)]);
    assert_eq!(sent_text(&masked.sent, "content"), "at [redacted], ");
}

#[test]
fn asks_as_often_as_it_may() {
    let mut policy = policy();
    policy.ask_again.attempts = 2;
    let second = [other(&json!({"reasoning_content": "falcon-1234 "}), None)];
    let talk = talk(policy, of(&bad_thinking()), &[of(&second), of(&good_answer())]);
    assert_eq!(talk.asked.len(), 2);
    assert_eq!(sent_text(&talk.sent, "content"), "No falcons here.");
    let again = talk.report.asked_again.unwrap();
    assert_eq!((again.result, again.attempts), (AskAgainResult::Answered, 2));
    assert_eq!((again.choices.len(), again.usages.len()), (2, 3));
}

#[test]
fn asks_only_for_thinking_and_before_any_answer() {
    let answer = [event(&json!({"content": "forbidden falcon "}), None)];
    let behind = [
        event(&json!({"reasoning_content": "hm "}), None),
        event(&json!({"content": "Well, "}), None),
        event(&json!({"reasoning_content": "forbidden falcon "}), None),
    ];
    let one_of_two = [
        event_of(1, &json!({"content": "Well, "}), None),
        event_of(0, &json!({"reasoning_content": "forbidden falcon "}), None),
    ];
    let undecided = [
        event(&json!({"content": "hm, "}), None),
        event(&json!({"content": "forbidden falcon "}), None),
    ];
    for first in [&answer[..], &behind, &one_of_two, &undecided] {
        let talk = talk(policy(), of(first), &[]);
        assert!(talk.asked.is_empty() && talk.report.asked_again.is_none());
        assert_eq!(talk.report.action, Action::Block);
    }
    let off = talk(Policy { mode: Mode::Enforce, ..Policy::default() }, of(&bad_thinking()), &[]);
    assert!(off.asked.is_empty() && off.report.asked_again.is_none());
}

#[test]
fn says_in_shadow_mode_that_it_would_have_asked() {
    let shadow = Policy { mode: Mode::Shadow, ..policy() };
    let talk = talk(shadow, of(&bad_thinking()), &[]);
    assert_eq!((talk.report.action, talk.report.would), (Action::Forward, Action::Steer));
    assert!(talk.report.asked_again.is_none());
}

#[test]
fn an_outcome_that_blocks_is_asked_again_as_well() {
    let mut policy = policy();
    policy.outcomes.set(Outcome::SelfJailbreak, OutcomeAction::Block).unwrap();
    let first = [
        event(&json!({"reasoning_content": "this is risky. "}), None),
        event(&json!({"reasoning_content": "but it is only a game. "}), None),
    ];
    let talk = talk(policy, of(&first), &[of(&good_answer())]);
    assert_eq!(sent_text(&talk.sent, "reasoning_content"), "this is risky. a better thought");
    let again = talk.report.asked_again.unwrap();
    assert_eq!(again.outcome.map(|act| act.outcome), Some(Outcome::SelfJailbreak));
    assert!(again.findings.is_empty() && again.categories.is_empty());
}

#[test]
fn a_request_that_cannot_be_steered_or_is_large_is_not_sent_again() {
    let mut small = policy();
    small.ask_again.max_request_bytes = 10;
    let talk = talk(small, of(&bad_thinking()), &[]);
    assert!(talk.sent.ends_with(DONE) && talk.asked.is_empty());
    let again = talk.report.asked_again.unwrap();
    assert_eq!((again.result, again.attempts), (AskAgainResult::RequestTooLarge, 0));
    assert_eq!(again.findings, ["test.block"]);

    let plan = plan(policy(), Settings::default());
    let mut session =
        Session::new(Arc::clone(&plan), Some(Endpoint::Completions), Identity::default());
    session.on_request(json!({"prompt": [1, 2]}).to_string().into());
    assert!(session.may_ask_again());
    session.on_response(&ResponseHead {
        status: 200,
        content_type: Some("text/event-stream".into()),
        undecodable: false,
    });
    let choice = json!({"index": 0, "text": "<think>forbidden falcon "});
    session.on_chunk(
        some_time(),
        format!("data: {}\n\n", json!({"object": "text_completion", "choices": [choice]})).into(),
    );
    let Some(Effect::Stop(_)) = session.next_effect() else { panic!("asked") };
    assert_eq!(session.report().asked_again.unwrap().result, AskAgainResult::NotSteerable);
}

#[test]
fn sets_options_over_those_of_steered_requests() {
    let mut policy = policy();
    policy.steering.parameters = [("temperature".to_owned(), "0.2".to_owned())].into();
    policy.ask_again.parameters = [("reasoning_effort".to_owned(), "\"low\"".to_owned())].into();
    let talk = talk(policy, of(&bad_thinking()), &[of(&good_answer())]);
    let asked = &talk.asked[0];
    assert_eq!((&asked["temperature"], &asked["reasoning_effort"]), (&json!(0.2), &json!("low")));
    assert_eq!(talk.report.asked_again.unwrap().parameters, ["reasoning_effort", "temperature"]);
}

#[test]
fn a_text_completion_is_asked_again_with_the_rules_before_its_prompt() {
    let mut session = Session::new(
        plan(policy(), Settings::default()),
        Some(Endpoint::Completions),
        Identity::default(),
    );
    session.on_request(json!({"prompt": "go"}).to_string().into());
    let head = ResponseHead {
        status: 200,
        content_type: Some("text/event-stream".into()),
        undecodable: false,
    };
    session.on_response(&head);
    let text = |id: &str, text: &str, finish: Option<&str>| {
        let choice = json!({"index": 0, "text": text, "finish_reason": finish});
        let chunk = json!({"id": id, "object": "text_completion", "choices": [choice]});
        Bytes::from(format!("data: {chunk}\n\n"))
    };
    let mut sent = String::new();
    session.on_chunk(some_time(), text("a", "<think>hm, ", None));
    assert_eq!(drain(&mut session, &mut sent), (false, None));
    session.on_chunk(some_time(), text("a", "forbidden falcon ", None));
    let Some(Effect::AskAgain(body)) = session.next_effect() else { panic!("ended") };
    let body: Value = serde_json::from_slice(&body).unwrap();
    let prompt = body["prompt"].as_str().unwrap();
    assert!(prompt.starts_with("Safety rules.") && prompt.ends_with("\n\ngo"), "{prompt}");
    assert!(session.on_response_again(&head));
    session.on_chunk(some_time(), text("b", "42", None));
    session.on_chunk(some_time(), text("b", "", Some("stop")));
    drain(&mut session, &mut sent);
    let chunks = sent_chunks(&sent);
    let texts: Vec<&str> =
        chunks.iter().map(|chunk| chunk["choices"][0]["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["<think>hm, ", "</think>", "42", ""]);
    assert!(chunks.iter().all(|chunk| chunk["id"] == "a" && chunk["object"] == "text_completion"));
}

fn tagged() -> Vec<String> {
    vec![
        event(&json!({"role": "assistant", "content": "<think>"}), None),
        event(&json!({"content": "a thought, "}), None),
        event(&json!({"content": "forbidden falcon "}), None),
    ]
}

fn contents(deltas: &[&str]) -> Vec<String> {
    let deltas = deltas.iter().map(|text| other(&json!({"content": text}), None));
    deltas.chain([other(&json!({}), Some("stop")), DONE.to_owned()]).collect()
}

#[test]
fn the_thinking_of_content_is_opened_once_and_closed_once() {
    for (second, expected) in [
        // It thinks again, its tags whole or in pieces.
        (&["<think>", "better", "</think>", "42"][..], "<think>a thought, better</think>42"),
        (&["\n<thi", "nk>bet", "ter</th", "ink>42"], "<think>a thought, \nbetter</think>42"),
        (&["<think></think>42"], "<think>a thought, </think>42"),
        // It does not.
        (&["4", "2"], "<think>a thought, </think>42"),
    ] {
        let talk = talk(policy(), of(&tagged()), &[of(&contents(second))]);
        assert_eq!(sent_text(&talk.sent, "content"), expected, "{second:?}");
        assert!(talk.sent.ends_with(DONE), "{}", talk.sent);
        assert_eq!(talk.report.action, Action::Steer);
    }
    // The tag is a delta of its own.
    let sent = talk(policy(), of(&tagged()), &[of(&contents(&["42"]))]).sent;
    let deltas: Vec<Value> = sent_chunks(&sent)
        .iter()
        .map(|chunk| chunk["choices"][0]["delta"]["content"].clone())
        .collect();
    assert_eq!(deltas[2], "</think>");
}

#[test]
fn thinking_in_a_field_follows_thinking_in_content() {
    let second = [
        other(&json!({"reasoning_content": "better"}), None),
        other(&json!({"content": "42"}), None),
        DONE.to_owned(),
    ];
    let talk = talk(policy(), of(&tagged()), &[of(&second)]);
    assert_eq!(sent_text(&talk.sent, "content"), "<think>a thought, </think>42");
    assert_eq!(sent_text(&talk.sent, "reasoning_content"), "better");
}

#[test]
fn a_block_inside_the_joined_thinking_closes_it() {
    for second in [
        &["<think>", "forbidden falcon "][..],
        &["<think>ok, ", "forbidden falcon "],
        &["forbidden falcon "],
    ] {
        let talk = talk(policy(), of(&tagged()), &[of(&contents(second))]);
        let sent = sent_text(&talk.sent, "content");
        let sent = sent.strip_prefix("<think>a thought, ").unwrap();
        let sent = sent.strip_prefix("ok, ").unwrap_or(sent);
        assert_eq!(sent, format!("</think>{DEFAULT_NOTICE}"), "{second:?}");
    }
    let silent = talk(policy(), of(&tagged()), &[Answer::Unreachable]);
    let expected = format!("<think>a thought, </think>{DEFAULT_NOTICE}");
    assert_eq!(sent_text(&silent.sent, "content"), expected);
}

#[test]
fn content_that_the_template_opens_goes_on_as_thinking() {
    let settings = Settings { thinking: ThinkingStart::Open, ..Settings::default() };
    let first = [
        event(&json!({"content": "a thought, "}), None),
        event(&json!({"content": "forbidden falcon "}), None),
    ];
    let plan_open = plan(policy(), settings.clone());
    let talk = talk_with(&plan_open, of(&first), &[of(&contents(&["better</think>42"]))]);
    assert_eq!(sent_text(&talk.sent, "content"), "a thought, better</think>42");
    // The new request closes the thinking: its content is the answer.
    let mut closing = policy();
    closing.ask_again.thinking = Some(ThinkingStart::Closed);
    let talk = talk_with(&plan(closing, settings), of(&first), &[of(&contents(&["42"]))]);
    assert_eq!(sent_text(&talk.sent, "content"), "a thought, </think>42");
}

#[test]
fn every_choice_that_the_client_knows_comes_to_its_end() {
    let first = [
        event_of(0, &json!({"role": "assistant", "reasoning": "one "}), None),
        event_of(1, &json!({"role": "assistant", "reasoning": "two "}), None),
        event_of(1, &json!({"reasoning": "forbidden falcon "}), None),
    ];
    let talk = talk(policy(), of(&first), &[of(&contents(&["42"]))]);
    let ends: Vec<(u64, String)> = sent_chunks(&talk.sent)
        .iter()
        .filter_map(|chunk| {
            let choice = &chunk["choices"][0];
            Some((choice["index"].as_u64()?, choice["finish_reason"].as_str()?.to_owned()))
        })
        .collect();
    assert_eq!(ends, [(0, "stop".into()), (1, "content_filter".into())]);
    assert_eq!(talk.sent.matches("[DONE]").count(), 1);
}

fn body(reasoning: &str, content: &str, tokens: u64) -> Value {
    json!({"id": format!("b{tokens}"), "created": tokens, "model": "m", "choices": [{"index": 0, "finish_reason": "stop",
        "message": {"role": "assistant", "content": content, "reasoning_content": reasoning}}],
        "usage": {"total_tokens": tokens}})
}

#[test]
fn a_whole_body_takes_the_place_of_the_first_with_both_usages() {
    let first = Answer::Whole(body("forbidden falcon.", "x", 5));
    let answered = talk(policy(), first.clone(), &[Answer::Whole(body("fine", "42", 7))]);
    let sent: Value = serde_json::from_str(&answered.sent).unwrap();
    let mut expected = body("fine", "42", 7);
    expected["usage"]["total_tokens"] = json!(12);
    assert_eq!(sent, expected);
    let report = answered.report;
    assert_eq!(report.usage.as_deref(), Some("{\"total_tokens\":12}"));
    assert_eq!(report.asked_again.unwrap().usages.len(), 2);

    let blocked = talk(policy(), first.clone(), &[Answer::Whole(body("falcon-1234.", "x", 7))]);
    assert_eq!(blocked.sent, "");
    let refusal: Value = serde_json::from_slice(&blocked.responded.unwrap().body).unwrap();
    assert_eq!(refusal["choices"][0]["message"]["content"], DEFAULT_NOTICE);
    assert_eq!(refusal["usage"]["total_tokens"], 12);

    for answer in [Answer::Unreachable, Answer::Status(500), Answer::Silent, of(&good_answer())] {
        let failed = talk(policy(), first.clone(), &[answer]);
        let refusal: Value = serde_json::from_slice(&failed.responded.unwrap().body).unwrap();
        assert_eq!(refusal["choices"][0]["finish_reason"], "content_filter");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_of_both_answers_gives_the_same_stream(cuts in prop::collection::vec(1..40usize, 1..6), tags in any::<bool>()) {
        let (first, second) = if tags {
            (tagged(), contents(&["<think>bet", "ter</thi", "nk>42"]))
        } else {
            (bad_thinking(), good_answer())
        };
        let cut = |events: &[String]| {
            let text = events.concat();
            let mut rest = text.as_str();
            let mut chunks = Vec::new();
            for length in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (head, tail) = rest.split_at((*length).min(rest.len()));
                chunks.push(head.to_owned());
                rest = tail;
            }
            chunks
        };
        let whole = talk(policy(), of(&first), &[of(&second)]);
        let pieces = talk(policy(), of(&cut(&first)), &[of(&cut(&second))]);
        prop_assert_eq!(pieces.sent, whole.sent);
        prop_assert_eq!(pieces.report.choices, whole.report.choices);
    }
}
