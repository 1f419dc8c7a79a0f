//! What waits, why, how long, and until when.

use super::*;
use crate::record::HoldReason;

const SECOND: Duration = Duration::from_secs(1);

/// One chunk a second, and then the end: how long frames had waited for what, and what was held on the way.
fn waits(
    plan: &Arc<Plan>,
    content_type: &str,
    chunks: &[String],
) -> (Vec<(HoldReason, u64)>, Vec<Option<HoldReason>>) {
    let (mut session, _) = start(plan, content_type);
    let mut now = some_time();
    let mut waited = Vec::new();
    let mut held = Vec::new();
    let mut note = |session: &mut Session| {
        let progress = session.take_progress();
        waited.extend(progress.holds.into_iter().map(|(why, waited)| (why, waited.as_secs())));
        assert!(progress.held.is_none_or(|(_, bytes)| bytes > 0));
        held.push(progress.held.map(|(why, _)| why));
    };
    for chunk in chunks {
        session.on_chunk(now, chunk.clone().into());
        note(&mut session);
        now += SECOND;
    }
    session.on_end(now, BodyEnd::Complete);
    note(&mut session);
    (waited, held)
}

fn content(text: &str) -> String {
    event(&json!({"content": text}), None)
}

#[test]
fn tells_once_how_long_a_frame_waited_and_for_what() {
    use HoldReason::{Body, Rules, Tag, ToolCall, Undecided};
    let call = |arguments: &str| {
        event(&json!({"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]}), None)
    };
    let hiding = plan(
        Policy { mode: Mode::Enforce, hide_thinking: true, ..Policy::default() },
        Settings::default(),
    );
    let stream = "text/event-stream";
    let enforce = enforce();
    let cases: [(&str, _, _, Vec<String>, _, Vec<_>); 7] = [
        (
            "nothing",
            &enforce,
            stream,
            vec![content("so "), content("it is ")],
            vec![],
            vec![None; 3],
        ),
        (
            "rules",
            &enforce,
            stream,
            vec![content("the "), content("forb"), content("idden "), content("fruit ")],
            vec![(Rules, 2), (Rules, 1)],
            vec![None, Some(Rules), Some(Rules), None, None],
        ),
        (
            "tag",
            &enforce,
            stream,
            vec![content("so"), content("<"), content("/th"), content("is")],
            vec![(Tag, 2), (Tag, 1)],
            vec![None, Some(Tag), Some(Tag), None, None],
        ),
        (
            "tool call, and what is behind it",
            &enforce,
            stream,
            vec![call("{"), call("}"), ": ping\n\n".into(), event(&json!({}), Some("tool_calls"))],
            vec![(ToolCall, 3), (ToolCall, 2), (ToolCall, 1)],
            vec![Some(ToolCall), Some(ToolCall), Some(ToolCall), None, None],
        ),
        (
            "undecided",
            &hiding,
            stream,
            vec![content("so "), content("what "), content("now")],
            vec![(Undecided, 3), (Undecided, 2), (Undecided, 1)],
            vec![Some(Undecided), Some(Undecided), Some(Undecided), None],
        ),
        (
            "body",
            &enforce,
            "application/json",
            vec!["{\"choices\":".into(), "[{\"message\":{\"content\":\"forb\"}}]}".into()],
            vec![(Body, 2)],
            vec![Some(Body), Some(Body), None],
        ),
        (
            "a body that is mislabelled",
            &enforce,
            "application/json",
            vec![content("forb"), content("idden "), content("fruit ")],
            vec![(Body, 3)],
            vec![Some(Body), Some(Body), Some(Body), None],
        ),
    ];
    for (name, plan, content_type, chunks, waited, held) in cases {
        assert_eq!(waits(plan, content_type, &chunks), (waited, held), "{name}");
    }
}

/// A way for an exchange with held frames to end.
#[derive(Clone, Copy, Debug)]
enum End {
    Body(BodyEnd),
    Deadline(OnDeadline),
    TooMuch(OnDeadline),
    Blocked,
}

#[test]
fn holds_nothing_once_it_has_ended_however_it_ends() {
    let ends = [
        End::Body(BodyEnd::Complete),
        End::Body(BodyEnd::Reset),
        End::Body(BodyEnd::ClientGone),
        End::Deadline(OnDeadline::Block),
        End::Deadline(OnDeadline::Release),
        End::TooMuch(OnDeadline::Block),
        End::TooMuch(OnDeadline::Release),
        End::Blocked,
    ];
    for end in ends {
        let (on_deadline, max_bytes) = match end {
            End::TooMuch(on_deadline) => (on_deadline, 300),
            End::Deadline(on_deadline) => (on_deadline, 1000),
            End::Body(_) | End::Blocked => (OnDeadline::Block, 1000),
        };
        let hold = Hold { deadline: SECOND, on_deadline, max_bytes };
        let policy = Policy { mode: Mode::Enforce, ..Policy::default() };
        let plan = plan(policy, Settings { hold, ..Settings::default() });
        let (mut session, _) = start(&plan, "text/event-stream");
        let now = some_time();
        session.on_chunk(now, content("the forbidden").into());
        let (why, bytes) = session.take_progress().held.unwrap();
        assert_eq!((why, bytes), (HoldReason::Rules, content("the forbidden").len() as u64));
        let released = match end {
            End::Body(end) => {
                session.on_end(now + SECOND, end);
                end != BodyEnd::ClientGone
            }
            End::Deadline(on_deadline) => {
                assert_eq!(session.deadline(), Some(now + SECOND));
                session.on_timeout(now + SECOND / 2);
                assert!(session.next_effect().is_none());
                session.on_timeout(now + SECOND);
                on_deadline == OnDeadline::Release
            }
            End::TooMuch(on_deadline) => {
                // It waits behind the first.
                session.on_chunk(now + SECOND, format!(": {}\n\n", "x".repeat(300)).into());
                on_deadline == OnDeadline::Release
            }
            End::Blocked => {
                session.on_chunk(now + SECOND, content(" falcon ").into());
                false
            }
        };
        let progress = session.take_progress();
        assert_eq!(progress.held, None, "{end:?}");
        let waited: Vec<_> = if released { vec![(HoldReason::Rules, SECOND)] } else { vec![] };
        assert_eq!(progress.holds, waited, "{end:?}");
        assert_eq!(session.deadline(), None, "{end:?}");
        session.on_end(now + SECOND, BodyEnd::Complete);
        let after = session.take_progress();
        assert!(after.held.is_none() && after.holds.is_empty(), "{end:?}");
    }
}

#[test]
fn a_tool_call_has_no_deadline_and_each_wait_has_its_own() {
    let hold = Hold { deadline: SECOND, ..Hold::default() };
    let policy = Policy { mode: Mode::Enforce, ..Policy::default() };
    let plan = plan(policy, Settings { hold, ..Settings::default() });
    let (mut session, _) = start(&plan, "text/event-stream");
    let now = some_time();
    session.on_chunk(now, content("forb").into());
    assert_eq!(session.deadline(), Some(now + SECOND));
    // The first is decided by what follows, which waits for itself.
    session.on_chunk(now + SECOND / 2, content(" forb").into());
    assert_eq!(session.deadline(), Some(now + SECOND + SECOND / 2));
    session.on_chunk(now + SECOND, content("x ").into());
    let call = json!({"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]});
    session.on_chunk(now + SECOND, event(&call, None).into());
    assert_eq!(session.deadline(), None);
    session.on_timeout(now + 100 * SECOND);
    assert!(matches!(session.next_effect(), Some(Effect::Forward(_))));
    session.on_end(now + 100 * SECOND, BodyEnd::Complete);
    assert_eq!(session.report().action, Action::Forward);
}
