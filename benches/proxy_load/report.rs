//! What is printed: a table for people, JSON for everything else.

use std::io::Write as _;

use serde_json::{Value, json};

use super::audit::Audited;

/// All figures of one run.
#[derive(Debug)]
pub(crate) struct Report {
    /// What was run.
    pub(crate) title: String,
    /// One row a server; the floor is the first.
    pub(crate) rows: Vec<Row>,
}

/// One server's figures.
#[derive(Debug)]
pub(crate) struct Row {
    /// The server.
    pub(crate) name: String,
    /// Its figures by name; the same names in every row.
    pub(crate) figures: Vec<(&'static str, Figure)>,
    /// Its CPU time over the floor's, of all rounds together.
    pub(crate) of_sums: Option<Ratio>,
    /// Streams that did not end well.
    pub(crate) errors: usize,
    /// Streams with wrong bytes.
    pub(crate) wrong: usize,
    /// What it tells of the streams itself, where it tells anything.
    pub(crate) audited: Option<Audited>,
}

/// The median over the rounds, and how far they spread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    median: f64,
    least: f64,
    most: f64,
}

impl Figure {
    /// The figure of these rounds.
    pub(crate) fn of(rounds: impl Iterator<Item = f64>) -> Self {
        let mut rounds: Vec<f64> = rounds.collect();
        rounds.sort_by(f64::total_cmp);
        let at = |share| quantile(&rounds, share).unwrap_or(f64::NAN);
        Self { median: at(0.5), least: at(0.0), most: at(1.0) }
    }
}

/// The ratio of two sums over the rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ratio {
    value: f64,
    /// None of one round.
    standard_error: Option<f64>,
}

impl Ratio {
    /// The ratio of these rounds, each given as what is above and what is below the line.
    ///
    /// Its standard error is that of a ratio estimate (Cochran, Sampling Techniques, section 2.11): from what a
    /// round has above the line beyond the ratio's share of what it has below.
    pub(crate) fn of_sums(rounds: impl Iterator<Item = (f64, f64)> + Clone) -> Self {
        let (above, below) = rounds.clone().fold((0.0, 0.0), |(a, b), (c, d)| (a + c, b + d));
        let value = above / below;
        let count = rounds.clone().count() as f64;
        let squares: f64 = rounds.map(|(above, below)| (above - value * below).powi(2)).sum();
        let error = (squares * count / (count - 1.0)).sqrt() / below;
        Self { value, standard_error: (count > 1.0).then_some(error) }
    }
}

/// The value below which this share of the sorted values lies.
pub(crate) fn quantile<T: Copy>(sorted: &[T], share: f64) -> Option<T> {
    let last = sorted.len().checked_sub(1)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of an index is an index"
    )]
    let at = (last as f64 * share).round() as usize;
    sorted.get(at).copied()
}

impl Report {
    /// Whether every byte came through, and was read where it was to be.
    pub(crate) fn is_sound(&self) -> bool {
        let is_read = |row: &Row| row.audited.is_none_or(|audited| audited.unread == 0);
        self.rows.iter().all(|row| row.wrong == 0 && row.errors == 0 && is_read(row))
    }

    /// The figures as one JSON object.
    pub(crate) fn json(&self) -> String {
        let figure = |(name, figure): &(&str, Figure)| {
            let Figure { median, least, most } = *figure;
            ((*name).to_owned(), json!({"median": median, "min": least, "max": most}))
        };
        let row = |row: &Row| {
            let figures: serde_json::Map<String, Value> = row.figures.iter().map(figure).collect();
            let of_sums = row.of_sums.map(|Ratio { value, standard_error }| {
                json!({"value": value, "standard_error": standard_error})
            });
            let audited = row.audited.map(|Audited { unread, unscored_percent }| {
                json!({"unread_streams": unread, "unscored_percent": unscored_percent})
            });
            json!({"server": row.name, "figures": figures, "x_floor_of_sums": of_sums,
                "errors": row.errors, "wrong_streams": row.wrong, "audited": audited})
        };
        let rows: Vec<Value> = self.rows.iter().map(row).collect();
        json!({"run": self.title, "servers": rows}).to_string()
    }

    /// The table, then the JSON, to standard output.
    pub(crate) fn print(&self) {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}: median (least to most)", self.title).unwrap();
        for row in &self.rows {
            writeln!(
                out,
                "{}: {} streams broken, {} with wrong bytes",
                row.name, row.errors, row.wrong
            )
            .unwrap();
            if let Some(Audited { unread, unscored_percent }) = row.audited {
                let audited = format!("{unread} not read, {unscored_percent:.1} % without scores");
                writeln!(out, "  its audit log: {audited}").unwrap();
            }
            for (name, Figure { median, least, most }) in &row.figures {
                writeln!(out, "  {name:>15} {median:>9.2}  ({least:.2} to {most:.2})").unwrap();
            }
            if let Some(Ratio { value, standard_error }) = row.of_sums {
                let name = "x floor of sums";
                let error = standard_error
                    .map_or_else(|| "unknown".to_owned(), |error| format!("{error:.3}"));
                writeln!(out, "  {name:>15} {value:>9.3}  (standard error {error})").unwrap();
            }
        }
        writeln!(out, "{}", self.json()).unwrap();
    }
}
