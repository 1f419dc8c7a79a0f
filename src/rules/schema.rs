//! The JSON Schema of packs, for editors.
//!
//! Packs are read by hand, so that every fault has its place; these types only say the same thing in the way that
//! schemars can turn into a schema. A test holds their keys against those that the reader knows, and every shipped
//! pack against the schema.

#![expect(
    dead_code,
    reason = "the types are what the schema is made of, and nothing is read into them"
)]

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde_json::Value;

use crate::channel::Channel;

use super::{Category, Kind, RuleAction, Severity, Validator};

/// The schema (draft 2020-12) that `docs/pack.schema.json` holds.
#[must_use]
pub fn schema() -> Schema {
    let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(plain));
    let mut schema = settings.into_generator().into_root_schema_for::<Pack>();
    schema.insert("title".to_owned(), "thinkgate rule pack".into());
    schema
}

/// Takes out what is true of Rust's types and not of packs: that a key may be null, how wide a number is, and
/// what a missing list is.
fn plain(schema: &mut Schema) {
    schema.remove("format");
    if schema.get("default").is_some_and(|default| default.is_array() || default == "") {
        schema.remove("default");
    }
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_mut_slice() {
            let only = only.take();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(cases)) = schema.get_mut("anyOf") {
        cases.retain(|case| case.get("type").is_none_or(|name| name != "null"));
        if let [Value::Object(only)] = cases.as_mut_slice() {
            let only = std::mem::take(only);
            schema.remove("anyOf");
            for (key, value) in only {
                schema.insert(key, value);
            }
        }
    }
}

/// Rules, and what is changed about other packs' rules.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("anyOf" = [{"required": ["rules"]}, {"required": ["overrides"]}]))]
#[expect(clippy::struct_field_names, reason = "the key is called so")]
struct Pack {
    /// The pack's name: a-z, 0-9, `_`, `.` and `-`.
    #[schemars(regex(pattern = r"^[a-z0-9_.-]+$"))]
    pack: String,
    /// A whole number, or a version in quotes.
    version: Version,
    /// What the pack is about, for people.
    #[schemars(default)]
    description: String,
    /// Lists of literals that patterns of this pack name as `set`.
    #[schemars(default)]
    sets: BTreeMap<String, Set>,
    /// The rules.
    #[schemars(default)]
    rules: Vec<Rule>,
    /// Changes to rules of any loaded pack; the later one holds.
    #[schemars(default)]
    overrides: Vec<Override>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Version {
    Number(u64),
    Text(#[schemars(regex(pattern = r"^[a-z0-9_.-]+$"))] String),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Set {
    /// The literals.
    Literals(#[schemars(length(min = 1))] Vec<String>),
    /// A file of them.
    File(LiteralsFile),
}

/// A file beside the pack, one literal a line; `#` begins a comment.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct LiteralsFile {
    /// Its name.
    literals_file: String,
}

/// What is looked for, where, and what a match means.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend(
    "oneOf" = [{"required": ["any"]}, {"required": ["all"]}],
    "anyOf" = [
        {"required": ["kind"], "properties": {"kind": {"not": {"const": "risk"}}}},
        {"required": ["category", "severity"]},
    ],
))]
struct Rule {
    /// Unique over all loaded packs: a-z, 0-9, `_`, `.` and `-`.
    #[schemars(regex(pattern = r"^[a-z0-9_.-]+$"))]
    id: String,
    /// What the rule is about, for people.
    #[schemars(default)]
    description: String,
    /// What a match says about the text; only `risk`, the default, can flag, redact or block.
    #[schemars(default)]
    kind: Kind,
    /// The kind of harm; needed for `risk`.
    category: Option<Category>,
    /// How grave a match is: critical and high block, medium and low flag, info gives no verdict. Needed for `risk`.
    severity: Option<Severity>,
    /// Where the rule looks; everywhere by default.
    #[schemars(default, length(min = 1))]
    channels: Vec<Channel>,
    /// Patterns of which one must match.
    #[schemars(default, length(min = 1))]
    any: Vec<Pattern>,
    /// Patterns of which every one must match somewhere in the text.
    #[schemars(default, length(min = 1, max = 64))]
    all: Vec<Pattern>,
    /// Patterns that excuse a match which they overlap.
    #[schemars(default, length(min = 1))]
    unless: Vec<Pattern>,
    /// What the rule asks for, in place of its severity's default.
    action: Option<RuleAction>,
    /// What a match adds to a channel's risk.
    #[schemars(range(min = 0.0, max = 1.0))]
    weight: Option<f64>,
    /// Texts that `thinkgate rules test` tries.
    examples: Option<Examples>,
    /// Where the rule comes from.
    #[schemars(default)]
    references: Vec<String>,
}

/// One of `literal`, `literals_file`, `set`, `regex` and `near`, and what goes with it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend(
    "oneOf" = [
        {"required": ["literal"]},
        {"required": ["literals_file"]},
        {"required": ["set"]},
        {"required": ["regex"]},
        {"required": ["near"]},
    ],
    "dependentSchemas" = {
        "bound": {"required": ["regex"]},
        "head": {"required": ["regex"]},
        "validator": {"required": ["regex"]},
        "entropy": {"required": ["regex"]},
        "word": {"not": {"anyOf": [{"required": ["regex"]}, {"required": ["near"]}]}},
    },
))]
struct Pattern {
    /// A text to be found, folded like the text it is looked for in.
    literal: Option<String>,
    /// A file beside the pack with one literal a line.
    literals_file: Option<String>,
    /// One of the pack's `sets`.
    set: Option<String>,
    /// Whether a literal must not stand inside a longer word; true by default.
    word: Option<bool>,
    /// A regular expression over folded text. No look-around but `(?-u:\b)`.
    regex: Option<String>,
    /// The longest match of a regex that has no limit of its own, in bytes.
    #[schemars(range(min = 1, max = 4096))]
    bound: Option<u32>,
    /// So many first characters of a regex's match do not count to it: they are never held, masked or blocked.
    #[schemars(range(min = 1))]
    head: Option<u32>,
    /// The number with a check digit that a regex's match must end in.
    validator: Option<Validator>,
    /// The least entropy of the last token of a regex's match, in bits a character.
    #[schemars(range(min = 0.0, max = 6.0))]
    entropy: Option<f64>,
    /// Words near each other.
    near: Option<Near>,
}

/// Matches where all its words stand within so many characters, in any order.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Near {
    /// Literals, of one word or more.
    #[schemars(length(min = 2, max = 16))]
    words: Vec<String>,
    /// The widest span from the first to the last, in characters.
    #[schemars(range(min = 1, max = 1000))]
    within_chars: u32,
    /// Whether a word must not stand inside a longer one; true by default.
    word: Option<bool>,
}

/// Texts that a rule must and must not match.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Examples {
    /// Texts that it must match.
    #[schemars(default, rename = "match")]
    matches: Vec<String>,
    /// Texts that it must not match.
    #[schemars(default, rename = "pass")]
    passes: Vec<String>,
}

/// A change to rules of any loaded pack. One that selects or changes nothing is an error.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("minProperties" = 2))]
struct Override {
    /// Which rules: an id with `*` and `?`, a list of them, or keys of which all must hold.
    rules: Selector,
    /// Whether they are there at all.
    enabled: Option<bool>,
    /// What they ask for.
    action: Option<RuleAction>,
    /// How grave their matches are.
    severity: Option<Severity>,
    /// Where they look.
    #[schemars(default, length(min = 1))]
    channels: Vec<Channel>,
    /// What their matches add to a channel's risk.
    #[schemars(range(min = 0.0, max = 1.0))]
    weight: Option<f64>,
    /// Exceptions beside their own.
    #[schemars(default, length(min = 1))]
    unless: Vec<Pattern>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Selector {
    /// Ids.
    Ids(OneOrMore<NamePattern>),
    /// Keys of which all must hold.
    Keys(SelectorKeys),
}

/// A name in which `*` stands for anything and `?` for one character.
#[derive(JsonSchema)]
struct NamePattern(#[schemars(regex(pattern = r"^[a-z0-9_.*?-]+$"))] String);

/// Rules of which all this holds.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("minProperties" = 1))]
struct SelectorKeys {
    /// Ids, with `*` and `?`.
    id: Option<OneOrMore<NamePattern>>,
    /// Names of packs, with `*` and `?`.
    pack: Option<OneOrMore<NamePattern>>,
    /// What a match says.
    kind: Option<OneOrMore<Kind>>,
    /// The kind of harm.
    category: Option<OneOrMore<Category>>,
    /// How grave a match is, as the rule's pack says.
    severity: Option<OneOrMore<Severity>>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum OneOrMore<T> {
    One(T),
    More(#[schemars(length(min = 1))] Vec<T>),
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::rules::{builtin, pack};

    const FILE: &str = include_str!("../../docs/pack.schema.json");

    /// Whether a value is as a schema says, by the keywords that this schema uses; a crate that knows all of them
    /// brings twenty-eight others, and more than a minute of building, for two tests.
    fn is_valid(schema: &Value, value: &Value, root: &Value) -> bool {
        let Value::Object(keywords) = schema else { return schema == &Value::Bool(true) };
        keywords.iter().all(|(keyword, want)| holds(keyword, want, keywords, value, root))
    }

    fn holds(
        keyword: &str,
        want: &Value,
        beside: &Map<String, Value>,
        value: &Value,
        root: &Value,
    ) -> bool {
        let valid = |schema: &Value, value: &Value| is_valid(schema, value, root);
        let count = |cases: &Value| {
            cases.as_array().unwrap().iter().filter(|case| valid(case, value)).count()
        };
        let least = |have: usize| have as u64 >= want.as_u64().unwrap();
        let most = |have: usize| have as u64 <= want.as_u64().unwrap();
        match (keyword, value) {
            ("$ref", _) => {
                let name = want.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                valid(&root["$defs"][name], value)
            }
            ("const", _) => want == value,
            ("type", _) => match want.as_str().unwrap() {
                "string" => value.is_string(),
                "integer" => value.is_u64() || value.is_i64(),
                "number" => value.is_number(),
                "boolean" => value.is_boolean(),
                "array" => value.is_array(),
                "object" => value.is_object(),
                other => panic!("type {other}"),
            },
            ("oneOf", _) => count(want) == 1,
            ("anyOf", _) => count(want) > 0,
            ("not", _) => !valid(want, value),
            ("pattern", Value::String(text)) => {
                let wild = want.as_str().unwrap().contains('*');
                text.chars().all(|c| {
                    matches!(c, 'a'..='z' | '0'..='9' | '_' | '.' | '-')
                        || (wild && (c == '*' || c == '?'))
                }) && !text.is_empty()
            }
            ("minimum", Value::Number(number)) => number.as_f64() >= want.as_f64(),
            ("maximum", Value::Number(number)) => number.as_f64() <= want.as_f64(),
            ("items", Value::Array(list)) => list.iter().all(|item| valid(want, item)),
            ("minItems", Value::Array(list)) => least(list.len()),
            ("maxItems", Value::Array(list)) => most(list.len()),
            ("minProperties", Value::Object(map)) => least(map.len()),
            ("required", Value::Object(map)) => {
                want.as_array().unwrap().iter().all(|key| map.contains_key(key.as_str().unwrap()))
            }
            ("properties", Value::Object(map)) => map
                .iter()
                .all(|(key, value)| want.get(key).is_none_or(|schema| valid(schema, value))),
            ("additionalProperties", Value::Object(map)) => {
                let known = beside.get("properties");
                map.iter()
                    .filter(|(key, _)| known.is_none_or(|known| known.get(key).is_none()))
                    .all(|(_, value)| valid(want, value))
            }
            ("dependentSchemas", Value::Object(map)) => {
                map.keys().all(|key| want.get(key).is_none_or(|schema| valid(schema, value)))
            }
            (
                "$schema"
                | "$defs"
                | "title"
                | "description"
                | "default"
                | "pattern"
                | "minimum"
                | "maximum"
                | "items"
                | "minItems"
                | "maxItems"
                | "minProperties"
                | "required"
                | "properties"
                | "additionalProperties"
                | "dependentSchemas",
                _,
            ) => true,
            (other, _) => panic!("keyword {other}"),
        }
    }

    #[test]
    fn the_published_schema_is_that_of_the_code() {
        let published: Value = serde_json::from_str(FILE).unwrap();
        assert_eq!(published, schema().to_value(), "print it with `thinkgate rules schema`");
    }

    #[test]
    fn its_keys_are_those_that_packs_may_have() {
        let schema = schema().to_value();
        let keys = |object: &Value| -> Vec<String> {
            object["properties"].as_object().unwrap().keys().cloned().collect()
        };
        let sorted = |known: &[&str]| {
            let mut known: Vec<String> = known.iter().map(|key| (*key).to_owned()).collect();
            known.sort();
            known
        };
        for (object, known) in [
            (&schema, pack::PACK_KEYS),
            (&schema["$defs"]["Rule"], pack::RULE_KEYS),
            (&schema["$defs"]["Pattern"], pack::PATTERN_KEYS),
            (&schema["$defs"]["Override"], pack::OVERRIDE_KEYS),
            (&schema["$defs"]["SelectorKeys"], pack::SELECTOR_KEYS),
        ] {
            let mut keys = keys(object);
            keys.sort();
            assert_eq!(keys, sorted(known));
            assert_eq!(object["additionalProperties"], false);
        }
    }

    #[test]
    fn shipped_packs_are_valid() {
        let schema = schema().to_value();
        for source in builtin::packs() {
            let pack: Value = serde_saphyr::from_str(&source.yaml).unwrap();
            for rule in pack["rules"].as_array().unwrap() {
                let valid = is_valid(&schema["$defs"]["Rule"], rule, &schema);
                assert!(valid, "{}: {}", source.origin, rule["id"]);
            }
            assert!(is_valid(&schema, &pack, &schema), "{}", source.origin);
        }
    }

    #[test]
    fn it_refuses_what_the_reader_refuses() {
        let schema = schema().to_value();
        let rule = "id: a, category: cbrn, severity: low, any: [{literal: a}]";
        for (broken, yaml) in [
            (false, format!("rules: [{{{rule}}}]")),
            (true, format!("rules: [{{{rule}, extra: 1}}]")),
            (true, format!("rules: [{{{rule}, all: [{{literal: b}}]}}]")),
            (true, "rules: [{id: a, category: cbrn, any: [{literal: a}]}]".to_owned()),
            (false, "rules: [{id: a, kind: refusal, any: [{literal: a}]}]".to_owned()),
            (
                false,
                "rules: [{id: a, kind: refusal, any: [{regex: a, validator: luhn}]}]".to_owned(),
            ),
            (
                true,
                "rules: [{id: a, kind: refusal, any: [{literal: a, validator: luhn}]}]".to_owned(),
            ),
            (true, "rules: [{id: a, kind: refusal, any: [{regex: a, word: false}]}]".to_owned()),
            (
                true,
                "rules: [{id: a, kind: refusal, category: null, any: [{literal: a}]}]".to_owned(),
            ),
            (true, "description: nothing else".to_owned()),
            (false, "overrides: [{rules: 'a.*', enabled: false}]".to_owned()),
            (false, "overrides: [{rules: {category: [cbrn]}, severity: low}]".to_owned()),
            (true, "overrides: [{rules: 'a.*'}]".to_owned()),
            (true, "overrides: [{rules: {}, enabled: false}]".to_owned()),
            (false, "rules: []\nsets: {a: [b], c: {literals_file: d}}".to_owned()),
        ] {
            let pack: Value =
                serde_saphyr::from_str(&format!("pack: a\nversion: 1\n{yaml}")).unwrap();
            assert_eq!(!is_valid(&schema, &pack, &schema), broken, "{yaml}");
        }
    }
}
