//! Configuration: flags, environment and file become one checked value.
//!
//! Each source is read into a tree of [`Node`]s that know where they came from. The trees are laid over each
//! other (flags over environment over file), and one pass turns the result into a [`Config`], gathering
//! every error on its way: a broken configuration is told whole, in one run.

mod acting;
mod capture;
mod error;
mod reader;
mod restart;
mod rules;
mod settings;
mod tree;

pub use capture::Capture;
pub use error::{ConfigError, ConfigErrors};
pub use rules::{RuleSource, load_rules};
pub use settings::{
    Audit, Classifier, Config, ConnectionLimits, ExtProc, Remote, Route, Timeouts, UpstreamTls,
    UpstreamUrl, known_keys,
};
pub use tree::{Node, Origin, Value, from_environment, from_flag, from_yaml};
