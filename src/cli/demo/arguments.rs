//! The flags of `thinkgate demo`.

use std::{
    io::{self, IsTerminal as _},
    net::SocketAddr,
};

use thinkgate::policy::Mode;

use super::paint::Paint;

/// The widest that a card becomes; longer lines read badly.
const WIDEST: usize = 100;

/// The narrowest; in a narrower terminal lines break where they break.
const NARROWEST: usize = 60;

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

/// What standard output can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terminal {
    /// Colours and width.
    pub(super) paint: Paint,
    /// Whether lines can be drawn over.
    pub(super) live: bool,
}

// === impl Terminal ===

impl Terminal {
    /// The terminal at standard output; a file or a pipe is one of 80 columns.
    pub(super) fn of_stdout(colour: Colour) -> Self {
        let terminal = io::stdout().is_terminal();
        let columns = match terminal_size::terminal_size_of(io::stdout()) {
            Some((terminal_size::Width(columns), _)) => usize::from(columns),
            None => 80,
        };
        let colour = match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => {
                let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                terminal && !unwanted
            }
        };
        let width = columns.clamp(NARROWEST, WIDEST);
        Self { paint: Paint { colour, width }, live: terminal && columns >= NARROWEST }
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
