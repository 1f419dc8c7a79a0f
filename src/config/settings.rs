//! The checked configuration, and how it is read out of a tree. docs/config.md lists every key.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use serde::Deserialize;

use super::{
    acting::{read_ask_again, read_outcomes},
    capture::{self, Capture},
    error::{ConfigError, ConfigErrors},
    reader::{Findings, Section, boolean, count, duration, named, path, size, some, text},
    rules::RuleSource,
    tree::{Node, Origin, Value},
};
use crate::{
    channel::{Channel, ThinkingStart},
    classify::{CHANNELS, Rate},
    consult::Guard,
    policy::{CategoryPolicy, ChannelPolicy, Mode, OnFailure, Policy, Steering},
    rules::RuleAction,
    session::{ClassifierHold, Consultant, DEFAULT_NOTICE, Hold, Limits, Settings},
};

/// The name of the route that holds where no other matches.
pub(super) const DEFAULT_ROUTE: &str = "default";

/// Everything that an operator decides, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where callers connect, default 127.0.0.1:8080.
    pub listen: SocketAddr,
    /// Where `/livez`, `/readyz` and `/metrics` are served, default 127.0.0.1:9090.
    pub admin_listen: SocketAddr,
    /// Envoy's external processor, where it is what runs.
    pub ext_proc: ExtProc,
    /// Which rule packs are loaded, default the built-in ones.
    pub rules: Vec<RuleSource>,
    /// The audit log.
    pub audit: Audit,
    /// Exchanges that are written with their content, if any are.
    pub capture: Option<Capture>,
    /// The classifier.
    pub classifier: Classifier,
    /// The guard model elsewhere that is asked, if there is one.
    pub remote: Option<Remote>,
    /// What may be held back.
    pub hold: Hold,
    /// Sizes that no exchange may exceed.
    pub limits: Limits,
    /// How many connections are served, and by how many threads.
    pub connections: ConnectionLimits,
    /// How long each thing may take.
    pub timeouts: Timeouts,
    /// How an `https` upstream is verified.
    pub upstream_tls: UpstreamTls,
    /// What differs by path, in the order of the file; the first that matches holds.
    pub routes: Vec<Route>,
    /// What holds where no route matches.
    pub default_route: Route,
}

/// The decisions for the requests of some paths.
#[derive(Clone, Debug)]
pub struct Route {
    /// The name in metrics and records.
    pub name: String,
    /// The beginning of the paths.
    pub path: String,
    /// The model server.
    pub upstream: UpstreamUrl,
    /// What is done with what is seen.
    pub policy: Policy,
    /// The text of a refusal.
    pub notice: String,
    /// How the beginning of content is read.
    pub thinking: ThinkingStart,
}

/// A model server's address. Its path is put before each request's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamUrl {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Host and port.
    pub authority: Authority,
    /// The path before every request's path, without a slash at its end.
    pub path: String,
}

/// Envoy's external processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtProc {
    /// Where Envoy connects, default 127.0.0.1:9002.
    pub listen: SocketAddr,
}

/// The audit log.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    /// The file to which lines are appended; none without it.
    pub file: Option<PathBuf>,
    /// Whether lines carry the exchange's text, default no.
    pub text: bool,
    /// The file with the key under which prompts are hashed; without it, a random key per process.
    pub hash_key_file: Option<PathBuf>,
}

/// The classifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classifier {
    /// Whether it runs, default yes.
    pub enabled: bool,
    /// The folder of the model; the built-in one where absent.
    pub model: Option<PathBuf>,
    /// The folder of a second model, which is asked where the first is unsure; none where absent.
    pub second: Option<PathBuf>,
    /// Threads that score; half of the machine's cores where absent, and never more than there are.
    pub threads: Option<usize>,
    /// How many benign texts may be flagged, default one in a hundred.
    pub threshold: Rate,
    /// What a text that is flagged for its risk asks for, default `flag`.
    pub action: RuleAction,
    /// Whether text that it may block waits for its scores, default no.
    pub hold: ClassifierHold,
    /// What happens in enforce mode where scores that may block do not come, default `closed`.
    pub on_failure: OnFailure,
    /// How long text may wait for its scores, default 5 s.
    pub deadline: Duration,
    /// Bytes of one text that may wait for their scores, default 16 KiB.
    pub waiting_bytes: usize,
}

/// A guard model elsewhere, behind an OpenAI-compatible endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The endpoint's base, to which `/chat/completions` is added.
    pub url: UpstreamUrl,
    /// The model's name there.
    pub model: String,
    /// The environment variable with the key; none is sent where absent.
    pub api_key_env: Option<String>,
    /// What kind of guard it is, default Qwen3Guard.
    pub kind: Guard,
    /// The channels that it is asked about, default prompt, thinking and answer.
    pub channels: Vec<Channel>,
    /// Characters of new text after which it is asked again; only at a channel's end where absent.
    pub every_chars: Option<usize>,
    /// Characters of one question's text, default 8,000.
    pub max_chars: usize,
    /// What a text that it calls unsafe asks for, default `flag`.
    pub action: RuleAction,
    /// How long an answer may take, default 10 s.
    pub timeout: Duration,
    /// What happens in enforce mode where an answer that may block does not come, default `closed`.
    pub on_failure: OnFailure,
    /// Questions that are asked at a time, default 64.
    pub max_in_flight: usize,
}

/// How many connections are served, and by how many threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectionLimits {
    /// Client connections at a time; further ones wait in the socket's queue. No limit where absent.
    pub clients: Option<usize>,
    /// Threads that serve them; half of the machine's cores and at least two where absent, and never more than there are.
    pub threads: Option<usize>,
}

/// How long each thing may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until an upstream connection stands, default 10 s.
    pub connect: Duration,
    /// Silence of the upstream, before its answer and inside it, default 300 s.
    pub upstream_idle: Duration,
    /// A write, or a frame of HTTP/2, that the client does not take, default 60 s.
    pub client_write: Duration,
    /// Until a request's head has come, default 30 s.
    pub request_header: Duration,
    /// Until open exchanges are broken off at the end, default 30 s.
    pub drain: Duration,
}

/// How an `https` upstream is verified.
#[derive(Clone, Debug, Default)]
pub struct UpstreamTls {
    /// Certificates (PEM) of the authorities that are trusted; the system's where absent.
    pub ca_file: Option<PathBuf>,
}

/// Every key that [`Config::read`] knows, with `<channel>` and the like for what the operator names.
#[must_use]
pub fn known_keys() -> BTreeSet<String> {
    let mut findings = Findings::default();
    let origin = Origin::Flag("");
    let root = Node { origin, value: Value::Map(BTreeMap::new()) };
    let _ = read(Section::root(root, &mut findings), &mut findings, NeedUpstream::No);
    findings.keys
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum NeedUpstream {
    Yes,
    No,
}

// === impl Classifier ===

impl Default for Classifier {
    fn default() -> Self {
        Self {
            enabled: true,
            model: None,
            second: None,
            threads: None,
            threshold: Rate::default(),
            action: RuleAction::Flag,
            hold: ClassifierHold::default(),
            on_failure: OnFailure::default(),
            deadline: Duration::from_secs(5),
            waiting_bytes: 16 << 10,
        }
    }
}

// === impl Remote ===

impl Remote {
    /// Its part in a route's plan.
    #[must_use]
    pub fn consultant(&self) -> Consultant {
        Consultant {
            guard: self.kind,
            action: self.action,
            on_failure: self.on_failure,
            channels: self.channels.clone(),
            every_chars: self.every_chars,
            max_chars: self.max_chars,
        }
    }
}

// === impl Config ===

impl Config {
    /// Reads the tree of a server that is to be started.
    pub fn read(tree: Node) -> Result<Self, ConfigErrors> {
        let (config, errors) = Self::checked(tree, NeedUpstream::Yes);
        if errors.0.is_empty() { Ok(config) } else { Err(errors) }
    }

    /// Reads the tree of a server that needs no upstream, because another gateway has one.
    pub fn read_without_upstream(tree: Node) -> Result<Self, ConfigErrors> {
        let (config, errors) = Self::checked(tree, NeedUpstream::No);
        if errors.0.is_empty() { Ok(config) } else { Err(errors) }
    }

    /// Reads a tree to see what is wrong with it; the upstream may come from a flag later. What is broken has its
    /// default in the configuration that comes back.
    #[must_use]
    pub fn check(tree: Node) -> (Self, ConfigErrors) {
        Self::checked(tree, NeedUpstream::No)
    }

    fn checked(tree: Node, need: NeedUpstream) -> (Self, ConfigErrors) {
        let mut findings = Findings::default();
        let config = read(Section::root(tree, &mut findings), &mut findings, need);
        (config, ConfigErrors(findings.errors))
    }

    /// What the sessions of `route` need beside its rules and its policy.
    #[must_use]
    pub fn session_settings(&self, route: &Route) -> Settings {
        Settings {
            limits: self.limits,
            hold: self.hold,
            thinking: route.thinking,
            notice: Some(route.notice.clone()),
            whole_prompt: false,
        }
    }

    /// The first route whose path begins `path`.
    #[must_use]
    pub fn route(&self, path: &str) -> &Route {
        self.routes.iter().find(|route| route.matches(path)).unwrap_or(&self.default_route)
    }
}

fn read(mut root: Section, findings: &mut Findings, need: NeedUpstream) -> Config {
    let upstream = root.value("upstream", findings, UpstreamUrl::parse);
    let mode = root.value("mode", findings, mode).unwrap_or_default();
    let thinking = root.value("thinking", findings, named).unwrap_or_default();
    let mut policy_section = root.section("policy", findings);
    let (policy, notice) = read_policy(
        &mut policy_section,
        findings,
        Policy { mode, ..Policy::default() },
        DEFAULT_NOTICE,
    );
    policy_section.finish(findings);
    let routes_have_upstreams = root.has("routes");
    let missing = upstream.is_none() && need == NeedUpstream::Yes;
    let default_route = Route {
        name: DEFAULT_ROUTE.to_owned(),
        path: String::new(),
        upstream: upstream.unwrap_or_else(UpstreamUrl::nowhere),
        policy,
        notice,
        thinking,
    };
    let routes = read_routes(&mut root, findings, &default_route);
    if missing && findings.errors.iter().all(|error| error.key != "upstream") {
        let reason = if routes_have_upstreams {
            "missing: it is needed for paths that no route matches"
        } else {
            "missing: give --upstream URL, THINKGATE_UPSTREAM or the key"
        };
        root.complain(findings, "upstream", None, reason);
    }
    let config = Config {
        listen: root
            .value("listen", findings, address)
            .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080))),
        admin_listen: root
            .value("admin_listen", findings, address)
            .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 9090))),
        ext_proc: read_ext_proc(&mut root, findings),
        rules: read_rules(&mut root, findings),
        audit: read_audit(&mut root, findings),
        capture: capture::read(&mut root, findings, &routes),
        classifier: read_classifier(&mut root, findings),
        remote: read_remote(&mut root, findings),
        hold: read_hold(&mut root, findings),
        connections: ConnectionLimits::default(),
        limits: Limits { request_bytes: 0, frame_bytes: 0, choices: 0, tool_calls: 0 },
        timeouts: read_timeouts(&mut root, findings),
        upstream_tls: read_upstream_tls(&mut root, findings),
        routes,
        default_route,
    };
    let threads = root.value("threads", findings, some);
    let (limits, clients) = read_limits(&mut root, findings);
    root.finish(findings);
    Config { limits, connections: ConnectionLimits { clients, threads }, ..config }
}

fn read_ext_proc(root: &mut Section, findings: &mut Findings) -> ExtProc {
    let mut section = root.section("ext_proc", findings);
    let listen = section.value("listen", findings, address);
    section.finish(findings);
    ExtProc { listen: listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 9002))) }
}

fn read_rules(root: &mut Section, findings: &mut Findings) -> Vec<RuleSource> {
    let mut sources = Vec::new();
    for node in root.list("rules", findings) {
        match node.value {
            Value::Scalar(text) => sources.push(RuleSource::parse(&text)),
            Value::Null | Value::List(_) | Value::Map(_) => {
                let reason = "expected a file, a folder, or builtin";
                root.complain(findings, "rules", Some(node.origin), reason);
            }
        }
    }
    if sources.is_empty() { vec![RuleSource::Builtin] } else { sources }
}

fn read_audit(root: &mut Section, findings: &mut Findings) -> Audit {
    let mut section = root.section("audit", findings);
    let audit = Audit {
        file: section.value("file", findings, path),
        text: section.value("text", findings, boolean).unwrap_or(false),
        hash_key_file: section.value("hash_key_file", findings, path),
    };
    section.finish(findings);
    audit
}

fn read_classifier(root: &mut Section, findings: &mut Findings) -> Classifier {
    let mut section = root.section("classifier", findings);
    let default = Classifier::default();
    let classifier = Classifier {
        enabled: section.value("enabled", findings, boolean).unwrap_or(default.enabled),
        model: section.value("model", findings, path),
        second: section.value("second", findings, path),
        threads: section.value("threads", findings, some),
        threshold: section.value("threshold", findings, named).unwrap_or(default.threshold),
        action: section.value("action", findings, detector_action).unwrap_or(default.action),
        hold: section.value("hold", findings, named).unwrap_or(default.hold),
        on_failure: section.value("on_failure", findings, named).unwrap_or(default.on_failure),
        deadline: section.value("deadline", findings, duration).unwrap_or(default.deadline),
        waiting_bytes: section
            .value("waiting_bytes", findings, size)
            .unwrap_or(default.waiting_bytes),
    };
    section.finish(findings);
    classifier
}

fn read_remote(root: &mut Section, findings: &mut Findings) -> Option<Remote> {
    let is_there = root.has("remote");
    let mut section = root.section("remote", findings);
    let url = section.value("url", findings, UpstreamUrl::parse);
    let model = section.value("model", findings, text);
    for (key, missing) in [("url", url.is_none()), ("model", model.is_none())] {
        let known = findings.errors.iter().any(|error| error.key == format!("remote.{key}"));
        if is_there && missing && !known {
            section.complain(findings, key, section.origin.clone(), "missing");
        }
    }
    let channels = read_remote_channels(&mut section, findings);
    let remote = Remote {
        url: url.unwrap_or_else(UpstreamUrl::nowhere),
        model: model.unwrap_or_default(),
        api_key_env: section.value("api_key_env", findings, text),
        kind: section.value("kind", findings, named).unwrap_or_default(),
        channels,
        every_chars: section.value("every_chars", findings, some),
        max_chars: section.value("max_chars", findings, some).unwrap_or(8_000),
        action: section.value("action", findings, detector_action).unwrap_or(RuleAction::Flag),
        timeout: section.value("timeout", findings, duration).unwrap_or(Duration::from_secs(10)),
        on_failure: section.value("on_failure", findings, named).unwrap_or_default(),
        max_in_flight: section.value("max_in_flight", findings, some).unwrap_or(64),
    };
    section.finish(findings);
    is_there.then_some(remote)
}

fn read_remote_channels(section: &mut Section, findings: &mut Findings) -> Vec<Channel> {
    let mut channels = Vec::new();
    for node in section.list("channels", findings) {
        let Value::Scalar(name) = &node.value else {
            section.complain(findings, "channels", Some(node.origin), "expected names of channels");
            continue;
        };
        if let Some(channel) = named(name).ok().filter(|channel| CHANNELS.contains(channel)) {
            channels.push(channel);
        } else {
            let reason = "expected some of prompt, thinking, answer";
            section.complain(findings, "channels", Some(node.origin), reason);
        }
    }
    if channels.is_empty() { CHANNELS.to_vec() } else { channels }
}

fn read_hold(root: &mut Section, findings: &mut Findings) -> Hold {
    let mut section = root.section("hold", findings);
    let default = Hold::default();
    let hold = Hold {
        max_bytes: section.value("max_bytes", findings, size).unwrap_or(default.max_bytes),
        deadline: section.value("deadline", findings, duration).unwrap_or(default.deadline),
        on_deadline: section.value("on_deadline", findings, named).unwrap_or(default.on_deadline),
    };
    section.finish(findings);
    hold
}

fn read_limits(root: &mut Section, findings: &mut Findings) -> (Limits, Option<usize>) {
    let mut section = root.section("limits", findings);
    let default = Limits::default();
    let limits = Limits {
        request_bytes: section
            .value("request_bytes", findings, size)
            .unwrap_or(default.request_bytes),
        frame_bytes: section.value("frame_bytes", findings, size).unwrap_or(default.frame_bytes),
        choices: section.value("choices", findings, count).unwrap_or(default.choices),
        tool_calls: section.value("tool_calls", findings, count).unwrap_or(default.tool_calls),
    };
    let clients = section.value("connections", findings, count);
    section.finish(findings);
    (limits, clients)
}

fn read_timeouts(root: &mut Section, findings: &mut Findings) -> Timeouts {
    let mut section = root.section("timeouts", findings);
    let mut seconds = |key, default| {
        section.value(key, findings, duration).unwrap_or_else(|| Duration::from_secs(default))
    };
    let timeouts = Timeouts {
        connect: seconds("connect", 10),
        upstream_idle: seconds("upstream_idle", 300),
        client_write: seconds("client_write", 60),
        request_header: seconds("request_header", 30),
        drain: seconds("drain", 30),
    };
    section.finish(findings);
    timeouts
}

fn read_upstream_tls(root: &mut Section, findings: &mut Findings) -> UpstreamTls {
    let mut section = root.section("upstream_tls", findings);
    let ca_file = section.value("ca_file", findings, path);
    section.finish(findings);
    UpstreamTls { ca_file }
}

fn read_routes(root: &mut Section, findings: &mut Findings, default: &Route) -> Vec<Route> {
    let mut template = root.template("routes");
    // The template only makes the keys known; what an empty route lacks is nobody's error.
    let mut unused = Findings::default();
    let _ = read_route(&mut template, &mut unused, default);
    findings.keys.append(&mut unused.keys);
    let mut routes: Vec<Route> = Vec::new();
    for mut section in root.sections("routes", findings) {
        let route = read_route(&mut section, findings, default);
        if routes.iter().any(|other| other.name == route.name) || route.name == DEFAULT_ROUTE {
            let origin = section.origin.clone();
            section.complain(findings, "name", origin, "the name is already taken");
        }
        section.finish(findings);
        routes.push(route);
    }
    routes
}

fn read_route(section: &mut Section, findings: &mut Findings, default: &Route) -> Route {
    for key in ["name", "path"] {
        if !section.has(key) {
            section.complain(findings, key, section.origin.clone(), "missing");
        }
    }
    let name = section.value("name", findings, route_name).unwrap_or_default();
    let path = section.value("path", findings, route_path).unwrap_or_default();
    let upstream = section.value("upstream", findings, UpstreamUrl::parse);
    let mode = section.value("mode", findings, mode).unwrap_or(default.policy.mode);
    let thinking = section.value("thinking", findings, named).unwrap_or(default.thinking);
    let mut policy_section = section.section("policy", findings);
    let base = Policy { mode, ..default.policy.clone() };
    let (policy, notice) = read_policy(&mut policy_section, findings, base, &default.notice);
    policy_section.finish(findings);
    Route {
        name,
        path,
        upstream: upstream.unwrap_or_else(|| default.upstream.clone()),
        policy,
        notice,
        thinking,
    }
}

/// Reads what a policy section says over `base`.
fn read_policy(
    section: &mut Section,
    findings: &mut Findings,
    mut base: Policy,
    notice: &str,
) -> (Policy, String) {
    read_severities(section, findings, &mut base);
    read_channels(section, findings, &mut base);
    read_categories(section, findings, &mut base);
    if let Some(value) = section.value("on_unscanned", findings, named) {
        base.on_unscanned = value;
    }
    if let Some(value) = section.value("side_channels", findings, named) {
        base.side_channels = value;
    }
    if let Some(value) = section.value("prompt_block", findings, named) {
        base.prompt_block = value;
    }
    if let Some(value) = section.value("mask", findings, named) {
        base.mask = value;
    }
    if let Some(value) = section.value("hide_thinking", findings, boolean) {
        base.hide_thinking = value;
    }
    if let Some(value) = section.value("disguises", findings, boolean) {
        base.plain_only = !value;
    }
    read_steering(section, findings, &mut base.steering);
    read_ask_again(section, findings, &mut base.ask_again);
    read_outcomes(section, findings, &mut base.outcomes);
    let notice = section.value("notice", findings, text).unwrap_or_else(|| notice.to_owned());
    (base, notice)
}

fn read_steering(section: &mut Section, findings: &mut Findings, steering: &mut Steering) {
    let mut section = section.section("steer", findings);
    if let Some(when) = section.value("when", findings, named) {
        steering.when = when;
    }
    if let Some(own) = section.value("text", findings, text) {
        steering.text = Some(own);
    }
    read_parameters(&mut section, findings, &mut steering.parameters);
    section.finish(findings);
}

/// Options of a request, by name.
pub(super) fn read_parameters(
    section: &mut Section,
    findings: &mut Findings,
    parameters: &mut BTreeMap<String, String>,
) {
    let mut section = section.section("parameters", findings);
    for name in with_template(section.names()) {
        if let Some(value) = section.value_like(&name, "<parameter>", findings, json) {
            parameters.insert(name, value);
        }
    }
    section.finish(findings);
}

/// A value in JSON; what is none is a string.
#[expect(clippy::unnecessary_wraps, reason = "it stands beside the other readers of values")]
fn json(text: &str) -> Result<String, String> {
    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_else(|_| text.into());
    Ok(value.to_string())
}

fn read_severities(section: &mut Section, findings: &mut Findings, policy: &mut Policy) {
    let mut severities = section.section("severity", findings);
    for name in with_template(severities.names()) {
        let severity = known(&severities, findings, &name);
        let action = severities.value_like(&name, "<severity>", findings, named);
        if let (Some(severity), Some(action)) = (severity, action) {
            policy.severity.insert(severity, action);
        }
    }
}

fn read_channels(section: &mut Section, findings: &mut Findings, policy: &mut Policy) {
    let mut channels = section.section("channels", findings);
    for name in with_template(channels.names()) {
        let channel = known(&channels, findings, &name);
        let mut one = channels.section_like(&name, "<channel>", findings);
        let mode = one.value("mode", findings, mode);
        one.finish(findings);
        if let Some(channel) = channel {
            policy.channels.insert(channel, ChannelPolicy { mode });
        }
    }
}

fn read_categories(section: &mut Section, findings: &mut Findings, policy: &mut Policy) {
    let mut categories = section.section("categories", findings);
    for name in with_template(categories.names()) {
        let category = known(&categories, findings, &name);
        let mut one = categories.section_like(&name, "<category>", findings);
        let mode = one.value("mode", findings, mode);
        let action = one.value("action", findings, named);
        one.finish(findings);
        if let Some(category) = category {
            policy.categories.insert(category, CategoryPolicy { mode, action });
        }
    }
}

/// A name that no operator writes, so that the keys below it are asked for once even in an empty section.
const TEMPLATE: &str = "";

pub(super) fn with_template(names: Vec<String>) -> impl Iterator<Item = String> {
    std::iter::once(TEMPLATE.to_owned()).chain(names)
}

/// The value of a closed set that `name` stands for; complains where there is none.
pub(super) fn known<T: for<'de> Deserialize<'de>>(
    section: &Section,
    findings: &mut Findings,
    name: &str,
) -> Option<T> {
    if name == TEMPLATE {
        return None;
    }
    match named(name) {
        Ok(value) => Some(value),
        Err(expected) => {
            let origin = section.origin_of(name);
            section.complain(findings, name, origin, &format!("unknown key: {expected}"));
            None
        }
    }
}

// === impl Route ===

impl Route {
    /// Whether `path` begins with the route's path, at the border of a segment.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let route = self.path.trim_end_matches('/');
        path.strip_prefix(route).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

// === impl UpstreamUrl ===

impl UpstreamUrl {
    /// Reads an `http` or `https` URL without query and user.
    pub fn parse(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|_| "expected an http or https URL".to_owned())?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err("expected an http or https URL".to_owned());
        };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err("expected an http or https URL".to_owned());
        }
        if authority.as_str().contains('@') {
            return Err("credentials do not belong into the URL".to_owned());
        }
        let path_and_query = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        if path_and_query.query().is_some() {
            return Err("a query is not supported here".to_owned());
        }
        let path = path_and_query.path().trim_end_matches('/').to_owned();
        Ok(Self { scheme, authority, path })
    }

    /// Stands where an upstream is missing in a configuration that is only checked.
    fn nowhere() -> Self {
        Self {
            scheme: Scheme::HTTP,
            authority: Authority::from_static("upstream.invalid"),
            path: String::new(),
        }
    }

    /// The address of `path_and_query` behind this upstream.
    pub fn join(&self, path_and_query: Option<&PathAndQuery>) -> Result<Uri, http::Error> {
        let asked = path_and_query.map_or("/", PathAndQuery::as_str);
        let asked = if asked == "*" { "/*" } else { asked };
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(format!("{}{asked}", self.path))
            .build()
    }
}

impl std::fmt::Display for UpstreamUrl {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}://{}{}", self.scheme, self.authority, self.path)
    }
}

// === what values look like ===

/// A mode. YAML 1.1 reads `off` as a boolean; it is taken for what was meant.
fn mode(text: &str) -> Result<Mode, String> {
    if text == "false" { Ok(Mode::Off) } else { named(text) }
}

/// What a model may ask for: it knows no span that could be masked.
fn detector_action(text: &str) -> Result<RuleAction, String> {
    match named(text) {
        Ok(RuleAction::Redact) | Err(_) => Err("expected one of none, flag, block".to_owned()),
        Ok(action) => Ok(action),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let text = text
        .strip_prefix("localhost:")
        .map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    text.parse().map_err(|_| "expected an address with a port, like 127.0.0.1:8080".to_owned())
}

fn route_path(text: &str) -> Result<String, String> {
    if text.starts_with('/') {
        Ok(text.to_owned())
    } else {
        Err("expected the beginning of a path, like /team-a".to_owned())
    }
}

/// Route names become metric labels, so they are kept short and plain.
fn route_name(text: &str) -> Result<String, String> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_.-".contains(letter);
    if !text.is_empty() && text.len() <= 64 && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("expected at most 64 of the letters A-Z a-z 0-9 _ . -".to_owned())
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}
