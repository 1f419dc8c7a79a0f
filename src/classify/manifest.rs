//! A model's `manifest.json`: what its files are, what its outputs mean, where its thresholds lie.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IntoDeserializer, de::value::Error as ValueError};

use super::{
    CHANNELS, Rate, STEPS,
    rubric::{Calibration, Head, Pooling, Rubric},
};
use crate::{channel::Channel, rules::Category};

/// The version of the manifest's format.
pub const SCHEMA: u32 = 1;

/// The largest state that is carried for a stream, in numbers.
const MAX_STATE: usize = 4096;

/// A model's manifest, checked.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The model's name.
    pub name: String,
    /// The model's version.
    pub version: String,
    /// The SHA-256 of each file beside the manifest, in hexadecimal digits.
    pub files: BTreeMap<String, String>,
    raw: Raw,
    heads: Vec<Head>,
}

/// What is wrong with a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is no JSON, or not of a manifest's shape.
    #[error("manifest.json is no model manifest: {0}")]
    Json(#[from] serde_json::Error),
    /// It is of another format.
    #[error("manifest.json has schema {0}, and {SCHEMA} is known")]
    Schema(u32),
    /// The graph reads another number of tokens in a run.
    #[error("manifest.json says {0} steps, and the runtime does {STEPS}")]
    Steps(usize),
    /// The state is empty or beyond all measure.
    #[error("manifest.json says a state of {0} numbers, expected 1 to {MAX_STATE}")]
    State(usize),
    /// The channels are not those that are read, in their order.
    #[error("manifest.json names other channels than prompt, thinking, answer")]
    Channels,
    /// A head is neither `risk`, `safety_thinking`, `refusal` nor a category.
    #[error("manifest.json names an unknown head {0:?}")]
    Head(String),
    /// No head is `risk`, or one stands there twice.
    #[error("manifest.json needs the head risk, and each head once")]
    Heads,
    /// A value is missing, or out of its range.
    #[error("manifest.json has no usable {what} for {head} in {channel}")]
    Value {
        /// What is missing.
        what: &'static str,
        /// The channel.
        channel: &'static str,
        /// The head.
        head: &'static str,
    },
    /// The way of pooling is unknown, or its numbers make no sense.
    #[error("manifest.json has no usable decision: {0}")]
    Decision(&'static str),
    /// A file's checksum is missing.
    #[error("manifest.json has no checksum of {0}")]
    File(&'static str),
}

/// The document as it stands; keys that nobody reads here (`figures`) may stand in it.
#[derive(Clone, Debug, Deserialize)]
struct Raw {
    schema: u32,
    name: String,
    version: String,
    files: BTreeMap<String, String>,
    state: usize,
    steps: usize,
    channels: Vec<String>,
    heads: Vec<String>,
    calibration: BTreeMap<String, BTreeMap<String, Calibration>>,
    decision: RawDecision,
    thresholds: BTreeMap<String, BTreeMap<String, BTreeMap<String, f32>>>,
}

#[derive(Clone, Debug, Deserialize)]
struct RawDecision {
    pool: String,
    #[serde(default)]
    alpha: Option<f32>,
    #[serde(default)]
    burn_in_tokens: u32,
    consecutive: u32,
}

// === impl Manifest ===

impl Manifest {
    /// The name of the graph's file.
    pub const MODEL: &str = "model.onnx";
    /// The name of the tokeniser's file.
    pub const TOKENIZER: &str = "tokenizer.json";

    /// Reads and checks a manifest.
    pub fn parse(json: &[u8]) -> Result<Self, ManifestError> {
        let raw: Raw = serde_json::from_slice(json)?;
        if raw.schema != SCHEMA {
            return Err(ManifestError::Schema(raw.schema));
        }
        if raw.steps != STEPS {
            return Err(ManifestError::Steps(raw.steps));
        }
        if !(1..=MAX_STATE).contains(&raw.state) {
            return Err(ManifestError::State(raw.state));
        }
        if !raw.channels.iter().map(String::as_str).eq(CHANNELS.map(Channel::name)) {
            return Err(ManifestError::Channels);
        }
        if let Some(missing) =
            [Self::MODEL, Self::TOKENIZER].into_iter().find(|file| !raw.files.contains_key(*file))
        {
            return Err(ManifestError::File(missing));
        }
        let heads = heads(&raw.heads)?;
        let manifest = Self {
            name: raw.name.clone(),
            version: raw.version.clone(),
            files: raw.files.clone(),
            heads,
            raw,
        };
        for rate in [Rate::OneInHundred, Rate::OneInThousand] {
            manifest.rubric(rate)?;
        }
        Ok(manifest)
    }

    /// How the model's logits are read where so many benign texts may be flagged.
    pub fn rubric(&self, rate: Rate) -> Result<Rubric, ManifestError> {
        let decision = &self.raw.decision;
        if decision.consecutive == 0 {
            return Err(ManifestError::Decision("consecutive is 0"));
        }
        let [prompt, thinking, answer] = CHANNELS;
        Ok(Rubric {
            heads: self.heads.clone(),
            state: self.raw.state,
            calibration: [
                self.calibration(prompt)?,
                self.calibration(thinking)?,
                self.calibration(answer)?,
            ],
            thresholds: [
                self.thresholds(prompt, rate)?,
                self.thresholds(thinking, rate)?,
                self.thresholds(answer, rate)?,
            ],
            pooling: decision.pooling()?,
            consecutive: decision.consecutive,
        })
    }

    fn calibration(&self, channel: Channel) -> Result<Vec<Calibration>, ManifestError> {
        let of_channel = self.raw.calibration.get(channel.name());
        let of_head = |head: &Head| {
            of_channel
                .and_then(|heads| heads.get(head.name()))
                .copied()
                .filter(|value| value.scale.is_finite() && value.bias.is_finite())
                .ok_or_else(|| missing("calibration", channel, *head))
        };
        self.heads.iter().map(of_head).collect()
    }

    /// The thresholds of a channel; a head without any never flags there, but risk has to in what a model writes.
    fn thresholds(&self, channel: Channel, rate: Rate) -> Result<Vec<Option<f32>>, ManifestError> {
        let of_channel = self.raw.thresholds.get(channel.name());
        let of_head = |head: &Head| {
            let rates = of_channel.and_then(|heads| heads.get(head.name()));
            let value = rates.and_then(|rates| rates.get(rate.name())).copied();
            let needed = *head == Head::Risk && channel != Channel::Prompt;
            match value {
                Some(value) if value.is_finite() => Ok(Some(value)),
                None if !needed => Ok(None),
                Some(_) | None => Err(missing("threshold", channel, *head)),
            }
        };
        self.heads.iter().map(of_head).collect()
    }
}

const fn missing(what: &'static str, channel: Channel, head: Head) -> ManifestError {
    ManifestError::Value { what, channel: channel.name(), head: head.name() }
}

fn heads(names: &[String]) -> Result<Vec<Head>, ManifestError> {
    let mut heads = Vec::new();
    for name in names {
        let head = head(name).ok_or_else(|| ManifestError::Head(name.clone()))?;
        if heads.contains(&head) {
            return Err(ManifestError::Heads);
        }
        heads.push(head);
    }
    if heads.contains(&Head::Risk) { Ok(heads) } else { Err(ManifestError::Heads) }
}

fn head(name: &str) -> Option<Head> {
    match name {
        "risk" => Some(Head::Risk),
        "safety_thinking" => Some(Head::SafetyThinking),
        "refusal" => Some(Head::Refusal),
        name => {
            let category: Result<Category, ValueError> =
                Category::deserialize(name.into_deserializer());
            category.ok().map(Head::Category)
        }
    }
}

// === impl RawDecision ===

impl RawDecision {
    fn pooling(&self) -> Result<Pooling, ManifestError> {
        let burn_in = self.burn_in_tokens;
        match self.pool.as_str() {
            "mean" => Ok(Pooling::Mean { burn_in }),
            "last" => Ok(Pooling::Last),
            "max" => Ok(Pooling::Max),
            "ewma" => match self.alpha {
                Some(alpha) if alpha > 0.0 && alpha <= 1.0 => Ok(Pooling::Ewma { alpha }),
                Some(_) | None => Err(ManifestError::Decision("ewma needs an alpha in 0..=1")),
            },
            _ => Err(ManifestError::Decision("pool is none of mean, last, max, ewma")),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A manifest with the heads risk and cybercrime, calibrated to the logit itself.
    pub(in crate::classify) fn example() -> Value {
        let per_channel =
            |value: &Value| json!({"prompt": value, "thinking": value, "answer": value});
        let per_head = |value: Value| json!({"risk": value, "cybercrime": value});
        json!({
            "schema": 1, "name": "example", "version": "7",
            "files": {"model.onnx": "00", "tokenizer.json": "11"},
            "state": 2, "steps": 8, "channels": ["prompt", "thinking", "answer"],
            "heads": ["risk", "cybercrime"],
            "calibration": per_channel(&per_head(json!({"scale": 1.0, "bias": 0.0}))),
            "decision": {"pool": "mean", "alpha": 0.1, "burn_in_tokens": 0, "consecutive": 2},
            "thresholds": per_channel(&per_head(json!({"fpr_1": 0.6, "fpr_0.1": 0.9}))),
            "figures": {"anything": [1]},
        })
    }

    fn parse(manifest: &Value) -> Result<Manifest, ManifestError> {
        Manifest::parse(manifest.to_string().as_bytes())
    }

    #[test]
    fn reads_what_it_needs() {
        let manifest = parse(&example()).unwrap();
        assert_eq!((manifest.name.as_str(), manifest.version.as_str()), ("example", "7"));
        let rubric = manifest.rubric(Rate::OneInThousand).unwrap();
        assert_eq!(rubric.heads(), [Head::Risk, Head::Category(Category::Cybercrime)]);
        assert_eq!(rubric.threshold(Channel::Answer, Head::Risk), Some(0.9));
        assert_eq!(rubric.threshold(Channel::ToolCall, Head::Risk), None);
    }

    #[test]
    fn names_what_is_wrong() {
        let cases: [(&str, Value, &str); 11] = [
            ("/schema", json!(2), "has schema 2, and 1 is known"),
            ("/steps", json!(16), "says 16 steps"),
            ("/state", json!(0), "a state of 0 numbers"),
            ("/channels", json!(["thinking"]), "other channels"),
            ("/heads", json!(["risk", "nonsense"]), "unknown head \"nonsense\""),
            ("/heads", json!(["cybercrime"]), "needs the head risk"),
            ("/heads", json!(["risk", "risk"]), "each head once"),
            ("/files", json!({"model.onnx": "00"}), "no checksum of tokenizer.json"),
            ("/calibration/answer", json!({}), "no usable calibration for risk in answer"),
            ("/thresholds/thinking", json!({}), "no usable threshold for risk in thinking"),
            ("/decision/pool", json!("median"), "none of mean, last, max, ewma"),
        ];
        for (place, value, expected) in cases {
            let mut manifest = example();
            *manifest.pointer_mut(place).unwrap() = value;
            let told = parse(&manifest).unwrap_err().to_string();
            assert!(told.contains(expected), "{told} lacks {expected}");
        }
        assert!(matches!(Manifest::parse(b"{"), Err(ManifestError::Json(_))));
    }

    #[test]
    fn a_head_may_lack_thresholds_where_it_never_flags() {
        let mut manifest = example();
        *manifest.pointer_mut("/thresholds/prompt").unwrap() = json!({});
        let rubric = parse(&manifest).unwrap().rubric(Rate::OneInHundred).unwrap();
        assert_eq!(rubric.threshold(Channel::Prompt, Head::Risk), None);
    }
}
