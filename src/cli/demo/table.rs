//! The demo's end: a table of the traces, and the numbers of the two admin listeners.

use std::collections::BTreeSet;

use super::{
    card::outcome_tone,
    metrics::Metrics,
    paint::{Paint, Tone, fit, grouped, pad},
    shown::{Cut, Shown},
    traces::Delivery,
};

/// The prefix of every metric.
const PREFIX: &str = "thinkgate_";

/// The table of all traces.
pub(crate) fn traces(paint: &Paint, shown: &[Shown]) -> String {
    let heading = format!(
        "  {:<16}{:<16}{:<9}{:<26}{:>10}",
        "trace", "outcome", "verdict", "enforced: client got", "spared"
    );
    let mut table = format!("{}\n", paint.tone(Tone::Strong, &heading));
    let mut spared = 0;
    for trace in shown {
        spared += trace.spared();
        table.push_str(&row(paint, trace));
    }
    let total = format!("  {:<67}{:>10}", "characters spared", grouped(spared));
    table.push_str(&paint.tone(Tone::Strong, &total));
    table.push('\n');
    table.push_str(&labels(paint, shown));
    table
}

/// How the rules' conclusions compare with what the traces' author labelled them with.
fn labels(paint: &Paint, shown: &[Shown]) -> String {
    let others: Vec<&str> = shown
        .iter()
        .filter(|shown| !shown.as_labelled())
        .map(|shown| shown.trace.name.as_str())
        .collect();
    let right = shown.len() - others.len();
    let mut text = format!("{right} of {} traces ended as their author labelled them", shown.len());
    let tone = if others.is_empty() {
        Tone::Dim
    } else {
        text = format!("{text}; not so: {}", others.join(", "));
        Tone::Warn
    };
    let lines = paint.flow(&vec![(tone, text)], 2);
    lines.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n") + "\n"
}

/// A trace's row.
fn row(paint: &Paint, shown: &Shown) -> String {
    let outcomes = shown.outcomes();
    let gravest =
        outcomes.iter().map(|outcome| outcome_tone(outcome)).max_by_key(|tone| match tone {
            Tone::Bad => 2,
            Tone::Warn => 1,
            _ => 0,
        });
    let verdict = shown.shadow.record.verdict.as_str();
    let verdict_tone = match verdict {
        "pass" => Tone::Good,
        "block" => Tone::Bad,
        _ => Tone::Warn,
    };
    let spared = match shown.spared() {
        0 => "–".to_owned(),
        spared => grouped(spared),
    };
    format!(
        "  {}{}{}{}{:>10}\n",
        pad(&fit(&shown.trace.name, 15), 16),
        paint.tone(gravest.unwrap_or(Tone::Dim), &pad(&fit(&outcomes.join(", "), 15), 16)),
        paint.tone(verdict_tone, &pad(verdict, 9)),
        pad(&got(shown), 26),
        spared
    )
}

/// What the enforcing proxy's client got, in a few words.
fn got(shown: &Shown) -> String {
    match (shown.delivery(), shown.cut()) {
        (Delivery::Whole, _) => "everything".to_owned(),
        (Delivery::Masked, _) => match shown.masks() {
            1 => "all but 1 masked span".to_owned(),
            masks => format!("all but {masks} masked spans"),
        },
        (Delivery::Refused, _) => format!("a {}, no model asked", shown.enforce.status.as_u16()),
        (Delivery::Cut, Some(Cut { channel, at, .. })) => {
            format!("{channel} up to {}", grouped(at))
        }
        (Delivery::Cut, None) => "a cut response".to_owned(),
    }
}

/// The numbers of both proxies, side by side.
pub(crate) fn numbers(paint: &Paint, shadow: &Metrics, enforce: &Metrics) -> String {
    let mut table = Numbers { paint, columns: [shadow, enforce], text: String::new() };
    table.heading();
    table.total("requests", "requests_total");
    table.group("traces", "traces_total", "outcome");
    table.group("findings", "findings_total", "category");
    table.group("actions", "actions_total", "action");
    table.group("scanned bytes", "scanned_bytes_total", "channel");
    table.group("released bytes", "released_bytes_total", "channel");
    table.total("released unscanned", "unscanned_released_bytes_total");
    table.delay("added delay p50", 0.5);
    table.delay("added delay p99", 0.99);
    table.text
}

/// A table that is being written.
#[derive(Debug)]
struct Numbers<'a> {
    paint: &'a Paint,
    columns: [&'a Metrics; 2],
    text: String,
}

// === impl Numbers ===

impl Numbers<'_> {
    /// The columns' names.
    fn heading(&mut self) {
        let heading = format!("  {:<45}{:>16}{:>16}", "from /metrics", "shadow", "enforce");
        self.text.push_str(&self.paint.tone(Tone::Strong, &heading));
        self.text.push('\n');
    }

    /// A row.
    fn row(&mut self, label: &str, detail: &str, values: [String; 2]) {
        let [shadow, enforce] = values;
        let label = pad(&format!("  {label}"), 22);
        let row = format!(
            "{}{}{shadow:>16}{enforce:>16}\n",
            self.paint.tone(Tone::Dim, &label),
            pad(detail, 25)
        );
        self.text.push_str(&row);
    }

    /// A counter's sum.
    fn total(&mut self, label: &str, name: &str) {
        let values = self.columns.map(|metrics| whole(metrics.total(&format!("{PREFIX}{name}"))));
        self.row(label, "", values);
    }

    /// A counter's sums by a label.
    fn group(&mut self, label: &str, name: &str, by: &str) {
        let sums = self.columns.map(|metrics| metrics.by(&format!("{PREFIX}{name}"), by));
        let keys: BTreeSet<&String> = sums.iter().flat_map(|sums| sums.keys()).collect();
        let mut label = label;
        for key in &keys {
            let values = [0, 1].map(|column| {
                whole(sums.get(column).and_then(|sums| sums.get(*key)).copied().unwrap_or(0.0))
            });
            // Findings of other kinds than risk have no category.
            let key = if *key == "none" { "none (not a risk)" } else { key };
            self.row(label, key, values);
            label = "";
        }
        if keys.is_empty() {
            self.row(label, "", ["–".to_owned(), "–".to_owned()]);
        }
    }

    /// A quantile of the delay that thinkgate added.
    fn delay(&mut self, label: &str, quantile: f64) {
        let name = format!("{PREFIX}added_delay_seconds");
        let values = self.columns.map(|metrics| match metrics.quantile(&name, quantile) {
            Some(seconds) => format!("{:.2} ms", seconds * 1000.0),
            None => "–".to_owned(),
        });
        self.row(label, "", values);
    }
}

/// A counter's value as a person writes it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counters are whole, not negative and far below 2^52"
)]
fn whole(value: f64) -> String {
    grouped(value.round() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::shown::fixture;

    const PAINT: Paint = Paint { colour: false, width: 80 };

    #[test]
    fn a_row_says_what_the_client_got() {
        let expected = "  \
workshop-scene  leaky_thinking  block    thinking up to 30                 81
";
        assert_eq!(row(&PAINT, &fixture::leaky()), expected);
    }

    #[test]
    fn numbers_stand_side_by_side() {
        let shadow = Metrics::parse("thinkgate_traces_total{outcome=\"benign\"} 4\n");
        let enforce = Metrics::parse("thinkgate_traces_total{outcome=\"unsafe\"} 1200\n");
        let table = numbers(&PAINT, &shadow, &enforce);
        let rows: Vec<String> = table
            .lines()
            .filter(|line| line.contains("benign") || line.contains("unsafe"))
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(rows, ["traces benign 4 0", "unsafe 0 1,200"]);
    }

    #[test]
    fn no_line_is_wider_than_80() {
        let table = traces(&PAINT, &[fixture::leaky()])
            + &numbers(&PAINT, &Metrics::default(), &Metrics::default());
        assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    }
}
