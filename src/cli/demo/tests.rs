//! The whole demo, without pauses: every trace through both proxies over real sockets.

use super::{
    arguments::{Colour, ServeMode},
    audit::{ChoiceRecord, Finding},
    received::ReceivedChoice,
    traces::Delivery,
    *,
};

struct Nobody;

impl Audience for Nobody {
    fn streaming(&mut self, _traces: &[Streaming]) -> io::Result<()> {
        Ok(())
    }

    fn ended(&mut self, _shown: &Shown) -> io::Result<()> {
        Ok(())
    }
}

async fn all_shown() -> Vec<Shown> {
    let traces: Arc<[Trace]> = traces::all().unwrap().into();
    let upstream = Upstream::start(Arc::clone(&traces), None).await.unwrap();
    let rules = shipped_rules().await.unwrap();
    let stage = Stage::set(&upstream, &rules).await.unwrap();
    let shown = stage.run(&traces, &mut Nobody).await.unwrap();
    stage.strike().await;
    upstream.shut_down().await;
    shown
}

/// The findings for which enforcing ends an exchange.
fn blocking(record: &ChoiceRecord) -> Vec<&Finding> {
    let blocked = |finding: &&Finding| {
        let verdict = match finding.channel.as_str() {
            "thinking" => &record.thinking.verdict,
            "answer" => &record.answer.verdict,
            _ => &record.tool_call.verdict,
        };
        finding.kind == "risk"
            && matches!(finding.severity.as_str(), "high" | "critical")
            && verdict == "block"
    };
    record.findings.iter().filter(blocked).collect()
}

/// The text of one channel.
fn text<'a>(choice: &'a ReceivedChoice, channel: &str) -> &'a str {
    match channel {
        "thinking" => &choice.thinking,
        "answer" => choice.answer_alone(),
        _ => &choice.arguments,
    }
}

fn slice(text: &str, finding: &Finding) -> String {
    text.chars().skip(finding.start_char).take(finding.end_char - finding.start_char).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_trace_ends_as_it_is_labelled() {
    let shown = all_shown().await;
    let told: Vec<_> =
        shown.iter().map(|shown| (&shown.trace.name, shown.outcomes(), shown.delivery())).collect();
    let expected: Vec<_> = shown
        .iter()
        .map(|shown| {
            let outcomes = shown.trace.choices.iter().map(|choice| choice.outcome.as_str());
            (&shown.trace.name, outcomes.collect::<Vec<_>>(), shown.trace.delivery)
        })
        .collect();
    assert_eq!(told, expected);
    for shown in &shown {
        shadow_changes_nothing(shown);
        enforce_releases_no_match(shown);
    }
}

/// The watching proxy's client has the trace, and the proxy recorded that it only watched.
fn shadow_changes_nothing(shown: &Shown) {
    let name = &shown.trace.name;
    assert_eq!(shown.shadow.record.action, "forward", "{name}");
    assert!(shown.shadow.received.done, "{name}");
    for (received, choice) in shown.shadow.received.choices.values().zip(&shown.trace.choices) {
        assert_eq!(received.thinking.trim(), choice.thinking.trim(), "{name}");
        assert_eq!(received.answer.trim(), choice.answer.trim(), "{name}");
    }
}

/// Nothing of what ended or was masked in an exchange is with the enforcing proxy's client.
fn enforce_releases_no_match(shown: &Shown) {
    let name = &shown.trace.name;
    for record in &shown.shadow.record.choices {
        let whole = &shown.shadow.received.choices[&record.index];
        let got = shown.enforce.received.choices.get(&record.index);
        let Some(first) = blocking(record).into_iter().min_by_key(|finding| finding.end_char)
        else {
            continue;
        };
        assert_eq!(shown.delivery(), Delivery::Cut, "{name}");
        let released = got.map_or("", |choice| text(choice, &first.channel));
        assert!(
            released.chars().count() <= first.start_char,
            "{name}: {released:?} reaches into {:?}",
            slice(text(whole, &first.channel), first)
        );
        assert!(text(whole, &first.channel).starts_with(released), "{name}: {released:?}");
    }
    if shown.trace.delivery == Delivery::Masked {
        assert!(shown.masks() > 0, "{name}");
        for choice in shown.enforce.received.choices.values() {
            for text in [&choice.thinking, &choice.answer, &choice.arguments] {
                assert!(!text.contains("ghp_"), "{name}: {text}");
            }
        }
    }
    assert!(shown.enforce.received.done || shown.delivery() == Delivery::Refused, "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_gets_plain_text_of_80_columns() {
    let address = ([127, 0, 0, 1], 0).into();
    let arguments = Arguments {
        fast: true,
        full: true,
        color: Colour::Never,
        serve: false,
        listen: address,
        admin_listen: address,
        mode: ServeMode::Enforce,
    };
    let terminal = Terminal { paint: Paint { colour: false, width: 80 }, live: false };
    let mut out = Vec::new();
    demo(&arguments, terminal, &mut out).await.unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(!text.contains('\u{1b}'));
    for line in text.lines() {
        assert!(unicode_width::UnicodeWidthStr::width(line) <= 80, "{line}");
    }
    assert!(text.contains("── 16 of 16 ──") && text.contains("added delay p99"), "{text}");
}
