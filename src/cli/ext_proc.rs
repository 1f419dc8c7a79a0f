//! `thinkgate ext-proc`.

use std::process::ExitCode;

use thinkgate::{
    app::Front,
    config::{Config, ConfigErrors},
};

use super::serve::{Common, serve_as};

/// What `ext-proc` takes. Each flag is one key of the configuration, and beats the environment and the file.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where Envoy connects, default 127.0.0.1:9002 [env: `THINKGATE_EXT_PROC__LISTEN`]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Serves until a signal ends it.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    serve_as(Front::ExternalProcessor, move || read_config(arguments.clone()))
}

fn read_config(arguments: Arguments) -> Result<Config, ConfigErrors> {
    let Arguments { listen, common } = arguments;
    let tree = super::file_and_environment(common.config())?;
    let flags = common.into_tree([("--listen", &["ext_proc", "listen"], listen)]);
    Config::read_without_upstream(tree.under(flags))
}
