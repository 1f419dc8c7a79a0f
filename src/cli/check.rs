//! `thinkgate check`: everything that is wrong, in one run.

use std::{path::PathBuf, process::ExitCode};

use thinkgate::{
    config::{Config, load_rules},
    proxy::Remote,
    scorer::Models,
};

/// What `check` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The configuration file; the environment is laid over it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Prints every broken key and rule.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let mut broken = false;
    let mut tell = |message: &dyn std::fmt::Display| {
        broken = true;
        super::complain(message);
    };
    match super::file_and_environment(arguments.config.as_deref()) {
        Err(errors) => tell(&errors),
        Ok(tree) => {
            let (config, errors) = Config::check(tree);
            if !errors.0.is_empty() {
                tell(&errors);
            }
            if let Err(errors) = load_rules(&config.rules) {
                tell(&errors);
            }
            if let Err(errors) = Models::configured(&config.classifier) {
                tell(&errors);
            }
            if let Some(Err(error)) = config.remote.as_ref().map(Remote::check) {
                tell(&error);
            }
        }
    }
    if broken { ExitCode::from(super::USAGE) } else { ExitCode::SUCCESS }
}
