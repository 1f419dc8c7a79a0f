//! The flags of `thinkgate demo`.

use std::{
    io::{self, IsTerminal as _},
    net::SocketAddr,
};

use thinkgate::policy::Mode;

use super::paint::Paint;

/// The widest that a card becomes; longer lines read badly.
const WIDEST: usize = 100;

/// What `demo` takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Replay without pauses instead of 50 tokens a second
    #[arg(long)]
    pub(super) fast: bool,
    /// Show thinking and answers in full length
    #[arg(long, conflicts_with = "serve")]
    pub(super) full: bool,
    /// When to use colours; auto: on a terminal, unless `NO_COLOR` is set
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Colour::Auto, hide_possible_values = true)]
    pub(super) color: Colour,
    /// Leave the upstream and one proxy running, for curl and SDKs
    #[arg(long)]
    pub(super) serve: bool,
    /// With --serve: the proxy's address
    #[arg(long, value_name = "ADDRESS", requires = "serve", default_value = "127.0.0.1:8080")]
    pub(super) listen: SocketAddr,
    /// With --serve: the address of the proxy's metrics
    #[arg(long, value_name = "ADDRESS", requires = "serve", default_value = "127.0.0.1:9090")]
    pub(super) admin_listen: SocketAddr,
    /// With --serve: off, shadow or enforce
    #[arg(long, requires = "serve", value_enum, default_value_t = ServeMode::Enforce, hide_possible_values = true)]
    pub(super) mode: ServeMode,
}

/// When colours are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The mode of the proxy that `--serve` leaves running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ServeMode {
    /// Everything is forwarded unread.
    Off,
    /// It records and changes nothing.
    Shadow,
    /// It redacts and cuts.
    Enforce,
}

// === impl Colour ===

impl Colour {
    /// The abilities of the terminal at standard output.
    pub(super) fn paint(self) -> Paint {
        let colour = match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                io::stdout().is_terminal() && !unwanted
            }
        };
        let width = match terminal_size::terminal_size_of(io::stdout()) {
            Some((terminal_size::Width(columns), _)) => usize::from(columns).clamp(60, WIDEST),
            None => 80,
        };
        Paint { colour, width }
    }
}

// === impl ServeMode ===

impl ServeMode {
    /// The proxy's mode.
    pub(super) fn mode(self) -> Mode {
        match self {
            Self::Off => Mode::Off,
            Self::Shadow => Mode::Shadow,
            Self::Enforce => Mode::Enforce,
        }
    }
}
