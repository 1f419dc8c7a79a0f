use std::{fs, time::Duration};

use thinkgate::{
    channel::Channel,
    config::{Config, Node, Origin, Value, from_environment, from_flag, from_yaml, known_keys},
    policy::{Mask, Mode},
};

fn text(value: &str) -> Value {
    Value::Scalar(value.to_owned())
}

fn environment(variables: &[(&str, &str)]) -> Node {
    let variables = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    from_environment(variables).unwrap()
}

/// The complaints about a file, one a line.
fn complaints(yaml: &str) -> String {
    let tree = match from_yaml("c.yaml", yaml) {
        Ok(tree) => tree,
        Err(error) => return error.to_string(),
    };
    Config::check(tree).1.to_string()
}

#[test]
fn every_key_is_documented_and_nothing_else() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/config.md")).unwrap();
    let mut documented: Vec<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(key, _)| key.to_owned())
        .collect();
    documented.sort();
    let known: Vec<String> = known_keys().into_iter().filter(|key| key != "routes").collect();
    assert_eq!(documented, known);
}

#[test]
fn the_configuration_to_begin_with_is_a_good_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/thinkgate.yaml");
    assert_eq!(complaints(&fs::read_to_string(path).unwrap()), "");
}

#[test]
fn flags_beat_the_environment_which_beats_the_file() {
    let file =
        from_yaml("c.yaml", "upstream: http://file\nmode: off\nhold: {deadline: 1s}").unwrap();
    let variables = environment(&[
        ("THINKGATE_UPSTREAM", "http://environment"),
        ("THINKGATE_MODE", "shadow"),
        ("THINKGATE_HOLD__MAX_BYTES", "1 KiB"),
        ("THINKGATE_POLICY__CHANNELS__THINKING__MODE", "enforce"),
        ("THINKGATE_RULES", "a.yaml:builtin"),
        ("THINKGATE_SERVICE_HOST", "10.0.0.1"),
        ("THINKGATE_PORT", "tcp://10.0.0.1:80"),
        ("THINKGATE_LOG", "debug"),
        ("OTHER", "x"),
    ]);
    let flag = from_flag("--mode", &["mode"], text("enforce"));
    let config = Config::read(file.under(variables).under(flag)).unwrap();
    assert_eq!(config.default_route.upstream.to_string(), "http://environment");
    assert_eq!(config.default_route.policy.mode, Mode::Enforce);
    assert_eq!(config.hold.deadline, Duration::from_secs(1));
    assert_eq!(config.hold.max_bytes, 1024);
    let thinking = config.default_route.policy.channels[&Channel::Thinking];
    assert_eq!(thinking.mode, Some(Mode::Enforce));
    assert_eq!(config.rules.len(), 2);
}

#[test]
fn off_is_a_mode_and_no_boolean() {
    let tree = from_yaml("c.yaml", "upstream: http://x\nmode: off").unwrap();
    assert_eq!(Config::read(tree).unwrap().default_route.policy.mode, Mode::Off);
}

#[test]
fn every_broken_key_is_told_with_its_place_and_without_its_value() {
    let yaml = "mode: sk-secret
lisen: sk-secret
hold:
  max_bytes: sk-secret
  deadline: 10
policy:
  channels:
    thinkin: {mode: enforce}
  categories:
    cbrn: {action: sk-secret}
audit:
  file: [sk-secret]
routes:
  - name: a b
    path: x
    upstream: ftp://sk-secret@host
";
    let told = complaints(yaml);
    assert!(!told.contains("sk-secret"), "{told}");
    for line in [
        "c.yaml:1:1: mode: expected one of off, shadow, enforce",
        "c.yaml:2:1: lisen: unknown key",
        "c.yaml:4:3: hold.max_bytes: expected a size like 32 MiB",
        "c.yaml:5:3: hold.deadline: expected a duration like 30s or 500ms",
        "c.yaml:8:5: policy.channels.thinkin: unknown key: expected one of prompt, thinking, answer, tool_call, refusal",
        "c.yaml:10:12: policy.categories.cbrn.action: expected one of none, flag, redact, block",
        "c.yaml:12:3: audit.file: expected one value",
        "c.yaml:14:5: routes[0].name: expected at most 64 of the letters A-Z a-z 0-9 _ . -",
        "c.yaml:15:5: routes[0].path: expected the beginning of a path, like /team-a",
        "c.yaml:16:5: routes[0].upstream: expected an http or https URL",
    ] {
        assert!(told.lines().any(|told| told == line), "{line}\nis not in\n{told}");
    }
    assert_eq!(told.lines().count(), 10, "{told}");
}

#[test]
fn what_is_no_yaml_is_told_by_its_place_alone() {
    for yaml in [
        "a: [sk-secret",
        "a: b: sk-secret",
        "\"sk-secret",
        "mode: off\nmode: sk-secret\n",
        "- &a [*a]",
    ] {
        let told = complaints(yaml);
        assert!(told.starts_with("c.yaml"), "{told}");
        assert!(!told.contains("sk-secret"), "{told}");
    }
    assert_eq!(complaints("mode: off\nmode: shadow\n"), "c.yaml:2:1: the key stands here twice");
}

#[test]
fn an_empty_file_says_nothing_and_a_missing_upstream_is_told() {
    for yaml in ["", "# nothing\n\n", "---\n"] {
        assert_eq!(complaints(yaml), "");
    }
    let nothing = Node { origin: Origin::Flag("--"), value: Value::Null };
    let told = Config::read(nothing).unwrap_err().to_string();
    assert_eq!(told, "upstream: missing: give --upstream URL, THINKGATE_UPSTREAM or the key");
}

#[test]
fn unknown_variables_are_told_by_name() {
    let told = Config::check(environment(&[("THINKGATE_HOLD__DEDLINE", "1s")])).1.to_string();
    assert_eq!(told, "environment variable THINKGATE_HOLD__DEDLINE: hold.dedline: unknown key");
}

#[test]
fn routes_take_over_what_they_do_not_say() {
    let yaml = "upstream: http://x/base/
mode: enforce
policy: {notice: stop, severity: {low: block}, mask: blocks, hide_thinking: true}
routes:
  - {name: a, path: /a/, mode: off}
  - {name: b, path: /a/b, policy: {notice: halt, hide_thinking: false}}
  - {name: c, path: /, upstream: https://y, thinking: open}
";
    let config = Config::read(from_yaml("c.yaml", yaml).unwrap()).unwrap();
    let named = |path: &str| config.route(path).name.as_str();
    assert_eq!([named("/a"), named("/a/b"), named("/ab"), named("/")], ["a", "a", "c", "c"]);
    let [a, b, c] = &config.routes[..] else { panic!("three routes") };
    assert_eq!((a.policy.mode, a.notice.as_str()), (Mode::Off, "stop"));
    assert_eq!((b.policy.mode, b.notice.as_str()), (Mode::Enforce, "halt"));
    assert_eq!(b.policy.severity.len(), 1);
    assert_eq!((b.policy.mask, b.policy.hide_thinking), (Mask::Blocks, false));
    assert_eq!((c.policy.mask, c.policy.hide_thinking), (Mask::Blocks, true));
    assert_eq!(c.upstream.to_string(), "https://y");
    assert_eq!(a.upstream.to_string(), "http://x/base");
}

#[test]
fn a_capture_needs_a_folder_and_names_what_is_there() {
    let yaml = "routes: [{name: team, path: /team, upstream: 'http://x'}]\n\
                capture:\n  routes: [team, default, crew]\n  sample: 2\n  mask: [secrets, passwords]\n  \
                exchange_bytes: 9 MiB\n  files: 0\n  retention: 10ms\n  folders: x\n";
    assert_eq!(
        complaints(yaml),
        "c.yaml:2:1: capture.folder: missing\n\
         c.yaml:3:27: capture.routes: expected names of routes, or default\n\
         c.yaml:4:3: capture.sample: expected a number from 0 to 1\n\
         c.yaml:5:19: capture.mask: expected one of offense_prejudice, regulated_items, property_infringement, \
         privacy_confidentiality, physical_mental_health, violence_terrorism, ethics_morality, rumors, child_safety, \
         cybercrime, cbrn, prompt_injection, jailbreak, secrets, all or none\n\
         c.yaml:6:3: capture.exchange_bytes: expected at most 8 MiB\n\
         c.yaml:7:3: capture.files: expected a whole number from 1\n\
         c.yaml:8:3: capture.retention: expected a duration from 1s to ten years, like 168h\n\
         c.yaml:9:3: capture.folders: unknown key"
    );
}

#[test]
fn what_a_capture_masks_has_to_be_said_where_it_is_not_secrets() {
    use thinkgate::rules::Category;
    let mask = |mask: &str| {
        let yaml = format!("upstream: http://x\ncapture: {{folder: c{mask}}}");
        Config::read(from_yaml("c.yaml", &yaml).unwrap()).unwrap().capture.unwrap().mask
    };
    assert_eq!(mask(""), [Category::Secrets]);
    assert_eq!(mask(", mask: []"), [Category::Secrets]);
    assert_eq!(mask(", mask: none"), []);
    assert_eq!(mask(", mask: [cbrn]"), [Category::Cbrn]);
    assert_eq!(mask(", mask: all").len(), 14);
}
