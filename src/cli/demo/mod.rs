//! `thinkgate demo`: recorded-like streams through a real thinkgate, shown to a person.
//!
//! It starts an upstream that replays the traces of `traces/`, a thinkgate in shadow mode and one in enforce mode
//! in front of it, and sends every trace through both over real sockets, several at a time. With `--serve`
//! it leaves an upstream and one proxy running for curl and SDKs. Nothing but this binary is needed.

mod audit;
mod card;
mod client;
mod excerpt;
mod guard;
mod hints;
mod metrics;
mod paint;
mod received;
mod run;
mod screen;
mod shown;
mod table;
mod tokens;
mod traces;
mod upstream;

use std::{
    io::{self, IsTerminal as _, Write},
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use thinkgate::policy::Mode;

use self::{
    client::{Client, RequestFailed},
    guard::{Guard, Settings},
    hints::{Places, hints},
    metrics::Metrics,
    paint::{Paint, Tone},
    run::{Audience, Stage},
    screen::{Screen, Streaming},
    shown::Shown,
    traces::{BrokenTrace, Trace},
    upstream::Upstream,
};

/// The pause between two tokens: 50 of them a second.
const PAUSE: Duration = Duration::from_millis(20);

/// The widest that a card becomes; longer lines read badly.
const WIDEST: usize = 100;

/// An address of this machine with a free port.
const ANYWHERE: &str = "127.0.0.1:0";

/// Flags of `thinkgate demo`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Replay without pauses instead of 50 tokens a second
    #[arg(long)]
    pub(crate) fast: bool,
    /// Show thinking and answers in full length
    #[arg(long, conflicts_with = "serve")]
    pub(crate) full: bool,
    /// When to use colours; `auto`: on a terminal, unless `NO_COLOR` is set
    #[arg(long, value_enum, default_value_t = Colour::Auto)]
    pub(crate) color: Colour,
    /// Leave the upstream and one proxy running, for curl and SDKs
    #[arg(long)]
    pub(crate) serve: bool,
    /// The proxy's address
    #[arg(long, requires = "serve", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// The address of the proxy's metrics
    #[arg(long, requires = "serve", default_value = "127.0.0.1:9090")]
    pub(crate) admin_listen: SocketAddr,
    /// What the proxy does with what it sees
    #[arg(long, requires = "serve", value_enum, default_value_t = ServeMode::Enforce)]
    pub(crate) mode: ServeMode,
}

/// When colours are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The mode of the proxy that `--serve` leaves running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ServeMode {
    /// Forward everything unread
    Off,
    /// Record, change nothing
    Shadow,
    /// Redact and cut
    Enforce,
}

/// Why the demo ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// A trace cannot be read.
    #[error(transparent)]
    Trace(#[from] BrokenTrace),
    /// A socket, a file or the terminal failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// One of the demo's requests failed.
    #[error(transparent)]
    Request(#[from] RequestFailed),
    /// A proxy did not start or did not end.
    #[error("run a proxy: {0}")]
    Proxy(String),
    /// A person pressed Ctrl-C before the end.
    #[error("interrupted")]
    Interrupted,
}

/// Runs the demo.
pub(crate) async fn run(args: &DemoArgs, out: &mut dyn Write) -> Result<(), DemoError> {
    let traces: Arc<[Trace]> = traces::all()?.into();
    let pause = (!args.fast).then_some(PAUSE);
    let upstream = Upstream::start(Arc::clone(&traces), pause).await?;
    let done = if args.serve {
        serve(args, &traces, &upstream, out).await
    } else {
        show(args, &traces, &upstream, out).await
    };
    upstream.shut_down().await;
    done
}

/// Sends every trace through both proxies and shows what happened.
async fn show(
    args: &DemoArgs,
    traces: &[Trace],
    upstream: &Upstream,
    out: &mut dyn Write,
) -> Result<(), DemoError> {
    let (terminal, paint) = (io::stdout().is_terminal(), args.color.paint());
    let records = tempfile::tempdir()?;
    let stage = stage(upstream, records.path()).await?;
    let mut house = House {
        screen: Screen::new(out, paint, terminal),
        paint,
        full: args.full,
        told: 0,
        count: traces.len(),
    };
    house.screen.print(&preface(&paint, traces.len(), args.fast))?;
    let shown = tokio::select! {
        shown = stage.run(traces, &mut house) => shown,
        _ = tokio::signal::ctrl_c() => Err(DemoError::Interrupted),
    }?;
    house.screen.print(&format!("{}\n", table::traces(&paint, &shown)))?;
    let (shadow, enforce) = stage.metrics().await?;
    house.screen.print(&table::numbers(&paint, &shadow, &enforce))?;
    house.screen.print(&farewell(&paint))?;
    stage.shut_down().await
}

/// Leaves the upstream and one proxy running until Ctrl-C.
async fn serve(
    args: &DemoArgs,
    traces: &[Trace],
    upstream: &Upstream,
    out: &mut dyn Write,
) -> Result<(), DemoError> {
    let records = tempfile::tempdir()?;
    let url = upstream.url();
    let mode = args.mode.mode();
    let guard = Guard::start(Settings {
        listen: args.listen,
        admin_listen: args.admin_listen,
        upstream: &url,
        mode,
        audit: records.path().join("audit.jsonl"),
    })
    .await?;
    let places = Places {
        listening: guard.address(),
        admin: guard.admin(),
        upstream: &url,
        mode: mode.name(),
    };
    out.write_all(hints(&args.color.paint(), places, traces).as_bytes())?;
    out.flush()?;
    tokio::signal::ctrl_c().await?;
    guard.shut_down().await
}

/// The two proxies in front of `upstream`, with their records in `folder`.
async fn stage(upstream: &Upstream, folder: &Path) -> Result<Stage, DemoError> {
    let anywhere: SocketAddr = ANYWHERE.parse().map_err(io::Error::other)?;
    let url = upstream.url();
    let start = |mode: Mode| {
        Guard::start(Settings {
            listen: anywhere,
            admin_listen: anywhere,
            upstream: &url,
            mode,
            audit: folder.join(format!("{}.jsonl", mode.name())),
        })
    };
    Ok(Stage {
        client: Client::new(),
        shadow: Arc::new(start(Mode::Shadow).await?),
        enforce: Arc::new(start(Mode::Enforce).await?),
        ledger: Arc::clone(upstream.ledger()),
    })
}

/// The demo's first lines.
fn preface(paint: &Paint, count: usize, fast: bool) -> String {
    let pace = if fast { "without pauses" } else { "at 50 tokens a second" };
    let title = paint.tone(Tone::Strong, "thinkgate demo");
    let text = format!(
        "{count} model streams, {pace}, each through two real proxies at the same time: one in shadow mode, \
         which records, and one in enforce mode, which redacts and cuts. Nothing leaves this machine."
    );
    let lines = paint.flow(&vec![(Tone::Plain, text)], 2);
    let body: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    format!("\n  {title}\n{body}\n")
}

/// The demo's last lines.
fn farewell(paint: &Paint) -> String {
    let next = "`thinkgate demo --serve` leaves it running for curl and SDKs; \
                `thinkgate serve --upstream URL` stands in front of a model of yours.";
    let lines = paint.flow(&vec![(Tone::Dim, next.to_owned())], 2);
    let body: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    format!("\n{body}")
}

/// Where a person looks on.
struct House<'a> {
    screen: Screen<'a>,
    paint: Paint,
    full: bool,
    told: usize,
    count: usize,
}

// === impl House ===

impl Audience for House<'_> {
    fn streaming(&mut self, traces: &[Streaming]) -> io::Result<()> {
        self.screen.draw(traces)
    }

    fn ended(&mut self, shown: &Shown) -> io::Result<()> {
        self.told += 1;
        let card = card::card(&self.paint, shown, (self.told, self.count), self.full);
        self.screen.print(&card)
    }
}

// === impl Stage ===

impl Stage {
    /// What the two admin listeners tell.
    async fn metrics(&self) -> Result<(Metrics, Metrics), DemoError> {
        let shadow = self.client.text(self.shadow.admin(), "/metrics").await?;
        let enforce = self.client.text(self.enforce.admin(), "/metrics").await?;
        Ok((Metrics::parse(&shadow), Metrics::parse(&enforce)))
    }

    /// Ends the two proxies.
    async fn shut_down(self) -> Result<(), DemoError> {
        for guard in [self.shadow, self.enforce] {
            if let Some(guard) = Arc::into_inner(guard) {
                guard.shut_down().await?;
            }
        }
        Ok(())
    }
}

// === impl Colour ===

impl Colour {
    /// The abilities of the terminal at standard output.
    fn paint(self) -> Paint {
        let colour = match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                io::stdout().is_terminal() && !unwanted
            }
        };
        let width = match terminal_size::terminal_size() {
            Some((terminal_size::Width(columns), _)) => usize::from(columns).clamp(60, WIDEST),
            None => 80,
        };
        Paint { colour, width }
    }
}

// === impl ServeMode ===

impl ServeMode {
    /// The proxy's mode.
    fn mode(self) -> Mode {
        match self {
            Self::Off => Mode::Off,
            Self::Shadow => Mode::Shadow,
            Self::Enforce => Mode::Enforce,
        }
    }
}
