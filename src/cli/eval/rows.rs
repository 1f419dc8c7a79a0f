//! Labelled exchanges, one JSON object a line, and which of them are wanted.

use std::{io::BufRead, str::FromStr};

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use thinkgate::channel::Channel;

use super::super::traces::{self, Lines};

/// The channels that are labelled, in the order of an exchange.
pub(super) const CHANNELS: [Channel; 3] = [Channel::Prompt, Channel::Thinking, Channel::Answer];

/// Labels' short names of categories, and the categories' own.
const SHORT_NAMES: &[(&str, &str)] = &[
    ("offense", "offense_prejudice"),
    ("regulated", "regulated_items"),
    ("property", "property_infringement"),
    ("privacy", "privacy_confidentiality"),
    ("health", "physical_mental_health"),
    ("violence", "violence_terrorism"),
    ("ethics", "ethics_morality"),
    ("sexual_adult", "ethics_morality"),
    ("minors", "child_safety"),
    ("cyber", "cybercrime"),
];

/// One labelled exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Where it comes from; `-` where the row does not say.
    pub(super) set: String,
    /// Its language as the row names it; `-` where it does not.
    pub(super) language: String,
    /// The kinds of harm that it is labelled with, by the names of the rules' categories where there is one.
    pub(super) categories: Vec<String>,
    /// The texts that are not empty.
    pub(super) parts: Vec<Part>,
}

/// The text of one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) channel: Channel,
    pub(super) text: String,
    pub(super) label: Option<Label>,
}

/// What people or models judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    Safe,
    Unsafe,
}

/// A line that is no labelled exchange.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub(super) struct BadLine {
    line: u64,
    reason: String,
}

/// Which rows are wanted: those that every condition holds for.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) conditions: Vec<Condition>,
    pub(super) half: Option<Half>,
}

/// `key=value[,value…]`: the row's field is one of the values, or a list that holds one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    key: String,
    values: Vec<String>,
}

/// One half of all rows, by the last bit of the SHA-256 of their id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Half {
    Even,
    Odd,
}

/// The rows of one input.
#[derive(Debug)]
pub(super) struct Rows<R> {
    lines: Lines<R>,
    wanted: Wanted,
}

// === impl Row ===

impl Row {
    /// The text of a channel, where there is one.
    pub(super) fn part(&self, channel: Channel) -> Option<&Part> {
        self.parts.iter().find(|part| part.channel == channel)
    }

    /// What is said of a channel's text.
    pub(super) fn label(&self, channel: Channel) -> Option<Label> {
        self.part(channel)?.label
    }

    /// Whether every text of it is labelled safe.
    pub(super) fn is_benign(&self) -> bool {
        self.parts.iter().all(|part| part.label == Some(Label::Safe))
    }

    fn read(mut fields: Map<String, Value>) -> Result<Self, String> {
        let mut parts = Vec::new();
        for channel in CHANNELS {
            let name = channel.name();
            let label = label_of(&fields, name)?;
            match fields.remove(name) {
                None | Some(Value::Null) => {}
                Some(Value::String(text)) if text.is_empty() => {}
                Some(Value::String(text)) => parts.push(Part { channel, text, label }),
                Some(_) => return Err(format!("{name} is no text")),
            }
        }
        if parts.is_empty() {
            return Err("has no prompt, thinking or answer".to_owned());
        }
        let categories = match fields.get("risk") {
            Some(Value::Array(risks)) => risks.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(risk)) => vec![risk.as_str()],
            _ => Vec::new(),
        };
        let mut categories: Vec<String> = categories.into_iter().map(category).collect();
        categories.sort_unstable();
        categories.dedup();
        Ok(Self {
            set: text_of(&fields, "set"),
            language: text_of(&fields, "lang"),
            categories,
            parts,
        })
    }
}

fn label_of(fields: &Map<String, Value>, channel: &str) -> Result<Option<Label>, String> {
    let name = format!("label_{channel}");
    match fields.get(&name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(label)) if label == "safe" => Ok(Some(Label::Safe)),
        Some(Value::String(label)) if label == "unsafe" => Ok(Some(Label::Unsafe)),
        Some(_) => Err(format!("{name} is neither safe nor unsafe nor null")),
    }
}

fn text_of(fields: &Map<String, Value>, name: &str) -> String {
    fields.get(name).and_then(Value::as_str).unwrap_or("-").to_owned()
}

fn category(name: &str) -> String {
    let own = SHORT_NAMES.iter().find(|(short, _)| *short == name);
    own.map_or(name, |(_, own)| own).to_owned()
}

// === impl Wanted ===

impl Wanted {
    fn holds(&self, fields: &Map<String, Value>, line: u64) -> bool {
        self.conditions.iter().all(|condition| condition.holds(fields))
            && self.half.is_none_or(|half| half == Half::of(fields, line))
    }
}

// === impl Condition ===

impl Condition {
    fn holds(&self, fields: &Map<String, Value>) -> bool {
        let is_wanted = |value: &Value| match value {
            Value::String(text) => self.values.contains(text),
            other => self.values.contains(&other.to_string()),
        };
        match fields.get(&self.key) {
            Some(Value::Array(several)) => several.iter().any(is_wanted),
            Some(one) => is_wanted(one),
            None => false,
        }
    }
}

impl FromStr for Condition {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, values) = text.split_once('=').ok_or("is not KEY=VALUE[,VALUE…]")?;
        let values = values.split(',').map(str::to_owned).collect();
        Ok(Self { key: key.to_owned(), values })
    }
}

// === impl Half ===

impl Half {
    /// The half of a row; one without an id is known by its line.
    fn of(fields: &Map<String, Value>, line: u64) -> Self {
        let id = traces::id_of(fields.get("id")).unwrap_or_else(|| format!("line:{line}"));
        let last = Sha256::digest(id).last().copied().unwrap_or_default();
        if last & 1 == 0 { Self::Even } else { Self::Odd }
    }
}

// === impl Rows ===

impl<R: BufRead> Rows<R> {
    /// The rows of `input` that are wanted.
    pub(super) const fn new(input: R, wanted: Wanted) -> Self {
        Self { lines: Lines::of(input), wanted }
    }

    /// A line's row; none where it is not wanted.
    fn read(&self, number: u64, line: &[u8]) -> Result<Option<Row>, String> {
        let fields: Map<String, Value> = traces::json("JSON object", line)?;
        if self.wanted.holds(&fields, number) { Row::read(fields).map(Some) } else { Ok(None) }
    }
}

impl<R: BufRead> Iterator for Rows<R> {
    type Item = Result<Row, BadLine>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some((number, line)) = self.lines.next() {
            match line.and_then(|line| self.read(number, &line)) {
                Ok(None) => {}
                Ok(Some(row)) => return Some(Ok(row)),
                Err(reason) => return Some(Err(BadLine { line: number, reason })),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, wanted: Wanted) -> Vec<Result<Row, String>> {
        let rows = Rows::new(text.as_bytes(), wanted);
        rows.map(|row| row.map_err(|bad| bad.to_string())).collect()
    }

    #[test]
    fn reads_texts_labels_and_categories() {
        let line = r#"{"id":"a","set":"s","lang":"en","prompt":"p","thinking":"","answer":"q","label_prompt":"unsafe",
            "label_answer":null,"risk":["cyber","ethics","sexual_adult"],"other":{"x":1}}"#
            .replace('\n', " ");
        let rows = read(&line, Wanted::default());
        let row = rows[0].as_ref().unwrap();
        assert_eq!((row.set.as_str(), row.language.as_str()), ("s", "en"));
        assert_eq!(row.categories, ["cybercrime", "ethics_morality"]);
        assert_eq!(row.label(Channel::Prompt), Some(Label::Unsafe));
        assert_eq!(row.part(Channel::Thinking), None);
        assert_eq!(row.label(Channel::Answer), None);
        assert!(!row.is_benign());
    }

    #[test]
    fn bad_lines_are_told_by_number_and_without_their_text() {
        let text = "{\"prompt\":\"a\"}\n\nsecret\n{\"prompt\":1}\n{}\n{\"prompt\":\"a\",\"label_prompt\":\"bad\"}";
        let rows = read(text, Wanted::default());
        let bad: Vec<&str> =
            rows.iter().filter_map(|row| row.as_ref().err().map(String::as_str)).collect();
        assert_eq!(
            bad,
            [
                "line 3: is no JSON object: Syntax error at column 1",
                "line 4: prompt is no text",
                "line 5: has no prompt, thinking or answer",
                "line 6: label_prompt is neither safe nor unsafe nor null",
            ]
        );
        assert_eq!(rows.len(), 5);
    }

    #[test]
    fn only_wanted_rows_are_given() {
        let text = r#"{"id":"a","set":"x","risk":["b","c"],"prompt":"1"}
            {"id":"b","set":"y","risk":["c"],"prompt":"2"}
            {"id":"c","set":"z","prompt":"3"}"#;
        let wanted = |conditions: &[&str], half| Wanted {
            conditions: conditions.iter().map(|text| text.parse().unwrap()).collect(),
            half,
        };
        let texts = |wanted| {
            let rows = read(text, wanted).into_iter();
            rows.map(|row| row.unwrap().parts[0].text.clone()).collect::<Vec<_>>()
        };
        assert_eq!(texts(wanted(&["set=x,z"], None)), ["1", "3"]);
        assert_eq!(texts(wanted(&["risk=c", "set=y"], None)), ["2"]);
        // SHA-256 of a ends in …bb, of b in …9d, of c in …e6.
        assert_eq!(texts(wanted(&[], Some(Half::Odd))), ["1", "2"]);
        assert_eq!(texts(wanted(&[], Some(Half::Even))), ["3"]);
        assert!("set".parse::<Condition>().is_err());
    }
}
