//! The admin listener's numbers, read from the Prometheus text format.

use std::collections::BTreeMap;

/// One scrape.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    samples: Vec<Sample>,
}

/// One line of a scrape.
#[derive(Clone, Debug, PartialEq)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

// === impl Metrics ===

impl Metrics {
    /// Reads a scrape; lines that cannot be read are left out.
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self { samples: lines.filter_map(Sample::parse).collect() }
    }

    /// The sum of all series of `name`.
    pub(crate) fn total(&self, name: &str) -> f64 {
        self.of(name).map(|sample| sample.value).sum()
    }

    /// The sums of the series of `name` by the value of `label`.
    pub(crate) fn by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for sample in self.of(name) {
            if let Some(value) = sample.labels.get(label)
                && sample.value != 0.0
            {
                *sums.entry(value.clone()).or_insert(0.0) += sample.value;
            }
        }
        sums
    }

    /// The `quantile` of the histogram `name`, laid straight through the bucket in which it lies.
    pub(crate) fn quantile(&self, name: &str, quantile: f64) -> Option<f64> {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for sample in self.of(&format!("{name}_bucket")) {
            let bound: f64 = sample.labels.get("le")?.parse().ok()?;
            match buckets.iter_mut().find(|(known, _)| known.total_cmp(&bound).is_eq()) {
                Some((_, count)) => *count += sample.value,
                None => buckets.push((bound, sample.value)),
            }
        }
        buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let rank = buckets.last()?.1 * quantile;
        let (mut below, mut seen) = (0.0, 0.0);
        for (bound, count) in buckets {
            if count >= rank && count > seen {
                let share = (rank - seen) / (count - seen);
                return Some(if bound.is_finite() {
                    below + (bound - below) * share
                } else {
                    below
                });
            }
            (below, seen) = (bound, count);
        }
        None
    }

    /// The series of `name`.
    fn of(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| sample.name == name)
    }
}

// === impl Sample ===

impl Sample {
    /// Reads a line.
    fn parse(line: &str) -> Option<Self> {
        let (series, value) = line.rsplit_once(' ')?;
        let value = value.parse().ok()?;
        let Some((name, labels)) = series.split_once('{') else {
            return Some(Self { name: series.to_owned(), labels: BTreeMap::new(), value });
        };
        // The labels' values come from closed sets, without quotes or commas in them.
        let labels = labels
            .strip_suffix('}')?
            .split(',')
            .filter_map(|label| label.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned()))
            .collect();
        Some(Self { name: name.to_owned(), labels, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRAPE: &str = r#"# HELP delay_seconds Delay.
# TYPE delay_seconds histogram
delay_seconds_bucket{route="default",le="0.001"} 50
delay_seconds_bucket{route="default",le="0.01"} 100
delay_seconds_bucket{route="default",le="+Inf"} 100
findings_total{category="cbrn",channel="answer"} 2
findings_total{category="cbrn",channel="thinking"} 3
findings_total{category="secrets",channel="thinking"} 1
up 1
"#;

    #[test]
    fn sums_by_label() {
        let metrics = Metrics::parse(SCRAPE);
        let by = metrics.by("findings_total", "category");
        assert_eq!(by, BTreeMap::from([("cbrn".into(), 5.0), ("secrets".into(), 1.0)]));
        assert!((metrics.total("up") - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn quantiles_lie_inside_their_bucket() {
        let metrics = Metrics::parse(SCRAPE);
        let quantile = |q| metrics.quantile("delay_seconds", q).unwrap();
        assert!((quantile(0.5) - 0.001).abs() < 1e-9);
        assert!((quantile(0.75) - 0.0055).abs() < 1e-9);
        assert_eq!(metrics.quantile("absent", 0.5), None);
    }
}
