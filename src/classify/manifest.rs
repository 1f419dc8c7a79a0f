//! A model's `manifest.json`: what its files are, what its outputs mean, where its thresholds lie.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IntoDeserializer, de::value::Error as ValueError};

use super::{
    CHANNELS, Consult, Frame, Rate, STEPS, Spaces, Spelling, Unknown, WindowShape,
    rubric::{Activation, Calibration, Head, Outputs, Pooling, Rubric},
};
use crate::{channel::Channel, rules::Category};

/// The version of the manifest's format.
pub const SCHEMA: u32 = 1;

/// The largest state that is carried for a stream, in numbers.
const MAX_STATE: usize = 4096;

/// The longest window, in tokens.
const MAX_WINDOW: usize = 8192;

/// A model's manifest, checked.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The model's name.
    pub name: String,
    /// The model's version.
    pub version: String,
    /// The SHA-256 of each file beside the manifest, in hexadecimal digits.
    pub files: BTreeMap<String, String>,
    /// How the network reads.
    pub kind: Kind,
    /// When the model is asked as a second one, where it can be.
    pub consult: Option<Consult>,
    raw: Raw,
    heads: Vec<Head>,
    outputs: Outputs,
}

/// How a model's network reads, as its manifest says.
#[derive(Clone, Debug)]
pub enum Kind {
    /// In chunks, with a state that is carried along.
    Causal,
    /// In windows of text.
    Window(Windows),
}

/// What a manifest says of windows.
#[derive(Clone, Debug)]
pub struct Windows {
    /// The graph's inputs, by their names.
    pub inputs: Vec<Input>,
    raw: RawWindow,
    /// What stands before each channel's text, by the channel's number.
    prefix: [String; CHANNELS.len()],
}

/// An input of a network that reads windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// The tokens.
    InputIds,
    /// 1 for every token.
    AttentionMask,
    /// The tokens' types.
    TokenTypeIds,
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
    /// The channels are not those that are read, in their order; a model that reads windows may leave some out.
    #[error("manifest.json names other channels than prompt, thinking, answer")]
    Channels,
    /// A window is missing, or makes no sense.
    #[error("manifest.json has no usable window: {0}")]
    Window(String),
    /// The inputs are not a network's that reads windows.
    #[error("manifest.json needs input_ids among its inputs, and each once")]
    Inputs,
    /// When a second model is asked makes no sense.
    #[error(
        "manifest.json has no usable consult: it needs 0 <= from < to <= 1 and a weight above 0, at most 1"
    )]
    Consult,
    /// One output alone is said to be one of several classes.
    #[error("manifest.json says softmax over a single output")]
    Softmax,
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
    #[serde(default)]
    kind: RawKind,
    #[serde(default)]
    state: usize,
    #[serde(default)]
    steps: usize,
    #[serde(default)]
    inputs: Vec<Input>,
    window: Option<RawWindow>,
    channels: Vec<String>,
    /// What each output is; nothing where nobody reads it.
    heads: Vec<Option<String>>,
    #[serde(default)]
    activation: Activation,
    consult: Option<Consult>,
    calibration: BTreeMap<String, BTreeMap<String, Calibration>>,
    decision: RawDecision,
    thresholds: BTreeMap<String, BTreeMap<String, BTreeMap<String, f32>>>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawKind {
    #[default]
    Causal,
    Window,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWindow {
    tokens: usize,
    stride: usize,
    #[serde(default)]
    prompt_tokens: usize,
    #[serde(default)]
    prefix: BTreeMap<String, String>,
    #[serde(default)]
    text: RawText,
    unknown: Option<RawUnknown>,
}

/// By what windows are told of which the network knows too little.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUnknown {
    token: String,
    percent: u8,
}

/// How text is given to the tokeniser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawText {
    /// As it came.
    #[default]
    Verbatim,
    /// In NFKC and small letters, without marks and format characters.
    Normalised,
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
        let kind = raw.kind()?;
        if let Some(missing) =
            [Self::MODEL, Self::TOKENIZER].into_iter().find(|file| !raw.files.contains_key(*file))
        {
            return Err(ManifestError::File(missing));
        }
        if raw.consult.is_some_and(|consult| !consult.makes_sense()) {
            return Err(ManifestError::Consult);
        }
        let (heads, outputs) = heads(&raw.heads, raw.activation)?;
        let manifest = Self {
            name: raw.name.clone(),
            version: raw.version.clone(),
            files: raw.files.clone(),
            kind,
            consult: raw.consult,
            heads,
            outputs,
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
            outputs: self.outputs.clone(),
            reads: CHANNELS.map(|channel| self.raw.reads(channel)),
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
        if !self.raw.reads(channel) {
            return Ok(Vec::new());
        }
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
        if !self.raw.reads(channel) {
            return Ok(Vec::new());
        }
        let of_channel = self.raw.thresholds.get(channel.name());
        let of_head = |head: &Head| {
            let rates = of_channel.and_then(|heads| heads.get(head.name()));
            let at = |rate: Rate| rates.and_then(|rates| rates.get(rate.name())).copied();
            let value = head.own_rate().and_then(at).or_else(|| at(rate));
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

/// The heads, and which outputs they are.
fn heads(
    names: &[Option<String>],
    activation: Activation,
) -> Result<(Vec<Head>, Outputs), ManifestError> {
    let (mut heads, mut places) = (Vec::new(), Vec::new());
    for (place, name) in names.iter().enumerate() {
        let Some(name) = name else { continue };
        let head = head(name).ok_or_else(|| ManifestError::Head(name.clone()))?;
        if heads.contains(&head) {
            return Err(ManifestError::Heads);
        }
        heads.push(head);
        places.push(place);
    }
    if !heads.contains(&Head::Risk) {
        return Err(ManifestError::Heads);
    }
    if names.len() == 1 && activation == Activation::Softmax {
        return Err(ManifestError::Softmax);
    }
    Ok((heads, Outputs { count: names.len(), places, activation }))
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

// === impl Windows ===

impl Windows {
    /// Tokens of a window at most.
    #[must_use]
    pub const fn tokens(&self) -> usize {
        self.raw.tokens
    }

    /// What stands before each channel's text, by the channel's number, without white space at its end: that belongs
    /// to the text's first word.
    #[must_use]
    pub fn prefix(&self) -> [&str; CHANNELS.len()] {
        self.prefix.each_ref().map(|prefix| prefix.trim_end())
    }

    /// How windows look where the tokeniser has these special tokens, makes this of the prefixes, and `number_of` tells the
    /// number of a token.
    pub fn shape(
        &self,
        frame: Frame,
        prefix: [Vec<u32>; CHANNELS.len()],
        number_of: impl Fn(&str) -> Option<u32>,
    ) -> Result<WindowShape, ManifestError> {
        let RawWindow { tokens, stride, prompt_tokens, text, .. } = self.raw;
        let unknown = match &self.raw.unknown {
            None => None,
            Some(RawUnknown { token, percent }) => {
                let token = number_of(token).ok_or_else(|| {
                    ManifestError::Window(format!("the tokenizer has no token {token:?}"))
                })?;
                Some(Unknown { token, percent: *percent })
            }
        };
        let space_first =
            self.prefix.each_ref().map(|prefix| prefix.ends_with(char::is_whitespace));
        let verbatim = text == RawText::Verbatim;
        let spelling = Spelling { spaces: Spaces::Before, verbatim, space_first };
        let shape = WindowShape { tokens, stride, prompt_tokens, frame, prefix, spelling, unknown };
        let room = (0..CHANNELS.len()).map(|channel| shape.room(channel)).min().unwrap_or_default();
        if room < stride {
            let reason = format!(
                "its {tokens} tokens leave {room} for text, fewer than the stride of {stride}"
            );
            return Err(ManifestError::Window(reason));
        }
        Ok(shape)
    }
}

// === impl Raw ===

impl Raw {
    fn kind(&self) -> Result<Kind, ManifestError> {
        match self.kind {
            RawKind::Causal => self.causal(),
            RawKind::Window => self.windows().map(Kind::Window),
        }
    }

    fn causal(&self) -> Result<Kind, ManifestError> {
        if self.steps != STEPS {
            return Err(ManifestError::Steps(self.steps));
        }
        if !(1..=MAX_STATE).contains(&self.state) {
            return Err(ManifestError::State(self.state));
        }
        if !self.channels.iter().map(String::as_str).eq(CHANNELS.map(Channel::name)) {
            return Err(ManifestError::Channels);
        }
        // Its outputs are read in place.
        if self.heads.iter().any(Option::is_none) || self.activation == Activation::Softmax {
            return Err(ManifestError::Heads);
        }
        Ok(Kind::Causal)
    }

    fn windows(&self) -> Result<Windows, ManifestError> {
        let unusable = |reason: &str| ManifestError::Window(reason.to_owned());
        let window = self.window.clone().ok_or_else(|| unusable("it is missing"))?;
        if !(1..=MAX_WINDOW).contains(&window.tokens) {
            return Err(unusable("tokens are not 1 to 8192"));
        }
        if window.stride == 0 {
            return Err(unusable("stride is 0"));
        }
        let known = |name: &String| CHANNELS.iter().any(|channel| channel.name() == name);
        let mut channels = self.channels.clone();
        channels.sort();
        channels.dedup();
        if channels.len() != self.channels.len()
            || channels.is_empty()
            || !channels.iter().all(known)
        {
            return Err(ManifestError::Channels);
        }
        if window.unknown.as_ref().is_some_and(|unknown| !(1..=100).contains(&unknown.percent)) {
            return Err(unusable("unknown has a percent that is not 1 to 100"));
        }
        if !window.prefix.keys().all(known) {
            return Err(unusable("prefix names an unknown channel"));
        }
        let twice = |input: &Input| self.inputs.iter().filter(|other| *other == input).count() > 1;
        if !self.inputs.contains(&Input::InputIds) || self.inputs.iter().any(twice) {
            return Err(ManifestError::Inputs);
        }
        let prefix = CHANNELS.map(|channel| window.prefix.get(channel.name()).cloned());
        let prefix = prefix.map(Option::unwrap_or_default);
        Ok(Windows { inputs: self.inputs.clone(), raw: window, prefix })
    }

    fn reads(&self, channel: Channel) -> bool {
        self.channels.iter().any(|name| name == channel.name())
    }
}

// === impl Input ===

impl Input {
    /// The input's name in the graph.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InputIds => "input_ids",
            Self::AttentionMask => "attention_mask",
            Self::TokenTypeIds => "token_type_ids",
        }
    }
}

// === impl Consult ===

impl Consult {
    fn makes_sense(&self) -> bool {
        let Self { from, to, weight } = *self;
        0.0 <= from && from < to && to <= 1.0 && 0.0 < weight && weight <= 1.0
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
    fn safety_thinking_is_claimed_at_the_strict_rate() {
        let mut manifest = example();
        let per_channel =
            |value: &Value| json!({"prompt": value, "thinking": value, "answer": value});
        manifest["heads"] = json!(["risk", "safety_thinking"]);
        let calibration = json!({"scale": 1.0, "bias": 0.0});
        manifest["calibration"] =
            per_channel(&json!({"risk": calibration, "safety_thinking": calibration}));
        let threshold = |thresholds: Value| {
            let mut manifest = manifest.clone();
            manifest["thresholds"] = per_channel(
                &json!({"risk": {"fpr_1": 0.6, "fpr_0.1": 0.9}, "safety_thinking": thresholds}),
            );
            let rubric = parse(&manifest).unwrap().rubric(Rate::OneInHundred).unwrap();
            assert_eq!(rubric.threshold(Channel::Thinking, Head::Risk), Some(0.6));
            rubric.threshold(Channel::Thinking, Head::SafetyThinking)
        };
        assert_eq!(threshold(json!({"fpr_1": 0.4, "fpr_0.1": 0.7})), Some(0.7));
        assert_eq!(threshold(json!({"fpr_1": 0.4})), Some(0.4));
        assert_eq!(threshold(json!({})), None);
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

    /// The manifest of a model that reads windows; one of its three outputs is nobody's.
    pub(in crate::classify) fn window_example() -> Value {
        let mut manifest = example();
        let fields = manifest.as_object_mut().unwrap();
        fields.remove("state");
        fields.remove("steps");
        let more = json!({
            "kind": "window",
            "inputs": ["input_ids", "attention_mask", "token_type_ids"],
            "window": {"tokens": 16, "stride": 4, "prompt_tokens": 3,
                       "prefix": {"thinking": "thinking: ", "answer": "answer:"},
                       "text": "verbatim"},
            "heads": ["risk", null, "cybercrime"],
            "consult": {"from": 0.2, "to": 0.9, "weight": 0.5},
        });
        fields.extend(more.as_object().unwrap().clone());
        manifest
    }

    #[test]
    fn reads_a_model_of_windows() {
        let manifest = parse(&window_example()).unwrap();
        let Kind::Window(windows) = &manifest.kind else { unreachable!() };
        assert_eq!(windows.prefix(), ["", "thinking:", "answer:"]);
        let shape =
            windows.shape(Frame::default(), [vec![], vec![1, 2], vec![3]], |_| None).unwrap();
        assert_eq!(shape.spelling.space_first, [false, true, false]);
        assert_eq!((shape.room(0), shape.room(1), shape.room(2)), (16, 11, 12));
        let rubric = manifest.rubric(Rate::OneInHundred).unwrap();
        assert_eq!((rubric.outputs(), rubric.heads().len()), (3, 2));
        assert_eq!(manifest.consult, Some(Consult { from: 0.2, to: 0.9, weight: 0.5 }));
        let narrow =
            windows.shape(Frame::default(), [vec![], vec![7; 12], vec![]], |_| None).unwrap_err();
        let told = "its 16 tokens leave 1 for text, fewer than the stride of 4";
        assert!(narrow.to_string().ends_with(told), "{narrow}");
    }

    #[test]
    fn a_token_that_stands_for_the_unknown_has_to_be_the_tokenisers() {
        let mut manifest = window_example();
        manifest["window"]["unknown"] = json!({"token": "[UNK]", "percent": 25});
        let manifest = parse(&manifest).unwrap();
        let Kind::Window(windows) = &manifest.kind else { unreachable!() };
        let shape = |number| windows.shape(Frame::default(), Default::default(), |_| number);
        assert_eq!(shape(Some(9)).unwrap().unknown, Some(Unknown { token: 9, percent: 25 }));
        let told = shape(None).unwrap_err().to_string();
        assert!(told.ends_with("the tokenizer has no token \"[UNK]\""), "{told}");
    }

    #[test]
    fn a_model_of_windows_may_leave_channels_out() {
        let mut manifest = window_example();
        manifest["channels"] = json!(["answer"]);
        manifest["calibration"].as_object_mut().unwrap().remove("thinking");
        manifest["thresholds"].as_object_mut().unwrap().remove("thinking");
        let rubric = parse(&manifest).unwrap().rubric(Rate::OneInHundred).unwrap();
        assert_eq!(
            CHANNELS.map(|channel| rubric.threshold(channel, Head::Risk).is_some()),
            [false, false, true]
        );
    }

    #[test]
    fn names_what_is_wrong_with_windows() {
        let cases: [(&str, Value, &str); 15] = [
            ("/kind", json!("other"), "unknown variant `other`"),
            ("/window", json!(null), "no usable window: it is missing"),
            ("/window/tokens", json!(0), "tokens are not 1 to 8192"),
            ("/window/stride", json!(0), "stride is 0"),
            (
                "/window",
                json!({"tokens": 16, "stride": 4, "unknown": {"token": "x", "percent": 0}}),
                "unknown has a percent that is not 1 to 100",
            ),
            ("/window/prefix", json!({"tool": "x"}), "prefix names an unknown channel"),
            ("/window/text", json!("other"), "unknown variant `other`"),
            ("/channels", json!(["answer", "answer"]), "other channels"),
            ("/channels", json!([]), "other channels"),
            ("/inputs", json!(["attention_mask"]), "needs input_ids among its inputs"),
            ("/inputs", json!(["input_ids", "images"]), "unknown variant `images`"),
            ("/heads", json!([null, "cybercrime"]), "needs the head risk"),
            ("/heads", json!(["hazard"]), "unknown head \"hazard\""),
            ("/consult", json!({"from": 0.9, "to": 0.2, "weight": 0.5}), "no usable consult"),
            ("/consult", json!({"from": 0.1, "to": 0.2, "weight": 0}), "no usable consult"),
        ];
        for (place, value, expected) in cases {
            let mut manifest = window_example();
            *manifest.pointer_mut(place).unwrap() = value;
            let told = parse(&manifest).unwrap_err().to_string();
            assert!(told.contains(expected), "{told} lacks {expected}");
        }
        let mut manifest = window_example();
        manifest["heads"] = json!(["risk"]);
        manifest["activation"] = json!("softmax");
        assert!(matches!(parse(&manifest), Err(ManifestError::Softmax)));
        let mut manifest = example();
        manifest["heads"] = json!(["risk", null]);
        assert!(matches!(parse(&manifest), Err(ManifestError::Heads)));
    }

    #[test]
    fn a_head_may_lack_thresholds_where_it_never_flags() {
        let mut manifest = example();
        *manifest.pointer_mut("/thresholds/prompt").unwrap() = json!({});
        let rubric = parse(&manifest).unwrap().rubric(Rate::OneInHundred).unwrap();
        assert_eq!(rubric.threshold(Channel::Prompt, Head::Risk), None);
    }
}
