//! Rules and policy for the commands that read what was recorded.

use std::{path::Path, sync::Arc};

use thinkgate::{
    config::{Config, ConfigErrors, load_rules},
    policy::Mode,
    rules::RuleSet,
    session::{Plan, Settings},
};

/// A checked configuration with its rules.
#[derive(Debug)]
pub(super) struct Loaded {
    config: Config,
    rules: Arc<RuleSet>,
}

/// Loads the configuration (the flag's file, else the environment's) and its rules, or those of `--rules`.
pub(super) fn load(config: Option<&Path>, rules: Vec<String>) -> Result<Loaded, ConfigErrors> {
    let tree = super::file_and_environment(config)?;
    let tree = match super::rules_flag(rules) {
        Some(rules) => tree.under(rules),
        None => tree,
    };
    let (config, errors) = Config::check(tree);
    if !errors.0.is_empty() {
        return Err(errors);
    }
    let rules = Arc::new(load_rules(&config.rules)?);
    Ok(Loaded { config, rules })
}

// === impl Loaded ===

impl Loaded {
    /// The rules.
    pub(super) const fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// The default route's policy with nothing carried out.
    pub(super) fn shadow(&self) -> Arc<Plan> {
        self.plan(Mode::Shadow)
    }

    /// The default route's policy with everything carried out.
    pub(super) fn enforce(&self) -> Arc<Plan> {
        self.plan(Mode::Enforce)
    }

    fn plan(&self, mode: Mode) -> Arc<Plan> {
        let route = &self.config.default_route;
        let mut policy = route.policy.clone();
        policy.mode = mode;
        for channel in policy.channels.values_mut() {
            channel.mode = None;
        }
        for category in policy.categories.values_mut() {
            category.mode = None;
        }
        let settings = Settings { whole_prompt: true, ..self.config.session_settings(route) };
        Arc::new(Plan::new(Arc::clone(&self.rules), policy, settings))
    }
}
