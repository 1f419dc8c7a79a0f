//! The exchanges: every trace through both proxies, several at the same time.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tempfile::TempDir;
use thinkgate::{policy::Mode, rules::RuleSet};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use super::{
    DemoError,
    client::{Client, Live},
    guard::{Guard, Settings},
    metrics::Metrics,
    screen::Streaming,
    shown::{Exchange, Shown},
    traces::Trace,
    upstream::{Ledger, Upstream},
};

/// Traces that stream at the same time; each of them twice.
const LANES: usize = 6;

/// How often the lines of streaming traces are drawn.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// What the exchanges share.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    /// The proxy that only watches.
    pub(crate) shadow: Arc<Guard>,
    /// The proxy that enforces.
    pub(crate) enforce: Arc<Guard>,
    client: Client,
    ledger: Arc<Ledger>,
    /// Where the proxies' audit files are, until the end.
    _records: Arc<TempDir>,
}

/// Whoever looks on.
pub(crate) trait Audience {
    /// Some traces are streaming.
    fn streaming(&mut self, traces: &[Streaming]) -> io::Result<()>;
    /// A trace has ended; traces come in their order.
    fn ended(&mut self, shown: &Shown) -> io::Result<()>;
}

/// A trace that is streaming.
#[derive(Debug)]
struct Running {
    place: usize,
    name: String,
    shadow: Live,
    enforce: Live,
}

// === impl Stage ===

impl Stage {
    /// Starts the two proxies in front of `upstream`.
    pub(crate) async fn set(upstream: &Upstream, rules: &Arc<RuleSet>) -> Result<Self, DemoError> {
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (records, url) = (tempfile::tempdir()?, upstream.url());
        let (shadow, enforce) =
            (records.path().join("shadow.jsonl"), records.path().join("enforce.jsonl"));
        let start = |mode, audit| {
            let settings = Settings {
                listen: anywhere,
                admin_listen: anywhere,
                upstream: &url,
                mode,
                audit: Some(audit),
            };
            Guard::start(settings, Arc::clone(rules))
        };
        Ok(Self {
            shadow: Arc::new(start(Mode::Shadow, shadow.as_path()).await?),
            enforce: Arc::new(start(Mode::Enforce, enforce.as_path()).await?),
            client: Client::new(),
            ledger: Arc::clone(upstream.ledger()),
            _records: Arc::new(records),
        })
    }

    /// Runs every trace through both proxies.
    pub(crate) async fn run(
        &self,
        traces: &[Trace],
        audience: &mut dyn Audience,
    ) -> Result<Vec<Shown>, DemoError> {
        let mut waiting = traces.iter().cloned().enumerate();
        let mut tasks = JoinSet::new();
        let mut running: Vec<Running> = Vec::new();
        let mut ended: Vec<Option<Shown>> = vec![None; traces.len()];
        let mut told = 0;
        let mut ticks = interval(DRAW_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while tasks.len() < LANES
                && let Some((place, trace)) = waiting.next()
            {
                let began = Running::new(place, &trace);
                let (stage, shadow, enforce) =
                    (self.clone(), began.shadow.clone(), began.enforce.clone());
                tasks.spawn(async move { (place, stage.show(trace, shadow, enforce).await) });
                running.push(began);
            }
            tokio::select! {
                next = tasks.join_next() => {
                    let Some(next) = next else { break };
                    let (place, shown) = next.map_err(io::Error::other)?;
                    running.retain(|running| running.place != place);
                    if let Some(slot) = ended.get_mut(place) {
                        *slot = Some(shown?);
                    }
                    while let Some(Some(shown)) = ended.get(told) {
                        audience.ended(shown)?;
                        told += 1;
                    }
                }
                _ = ticks.tick() => {
                    let lines: Vec<Streaming> = running.iter().map(Running::line).collect();
                    audience.streaming(&lines)?;
                }
            }
        }
        Ok(ended.into_iter().flatten().collect())
    }

    /// What the two admin listeners tell.
    pub(crate) async fn metrics(&self) -> Result<(Metrics, Metrics), DemoError> {
        let shadow = self.client.text(self.shadow.admin(), "/metrics").await?;
        let enforce = self.client.text(self.enforce.admin(), "/metrics").await?;
        Ok((Metrics::parse(&shadow), Metrics::parse(&enforce)))
    }

    /// Ends the two proxies.
    pub(crate) async fn strike(self) {
        drop(self.client);
        for guard in [self.shadow, self.enforce] {
            if let Some(guard) = Arc::into_inner(guard) {
                guard.shut_down().await;
            }
        }
    }

    /// One trace through both proxies at the same time.
    async fn show(&self, trace: Trace, shadow: Live, enforce: Live) -> Result<Shown, DemoError> {
        let (shadow, enforce) = tokio::try_join!(
            self.exchange(&trace, &self.shadow, &shadow),
            self.exchange(&trace, &self.enforce, &enforce),
        )?;
        Ok(Shown { trace, shadow, enforce })
    }

    /// One exchange with one of the proxies, and what was recorded of it.
    async fn exchange(
        &self,
        trace: &Trace,
        guard: &Guard,
        live: &Live,
    ) -> Result<Exchange, DemoError> {
        let id = format!("demo-{}-{}", trace.name, guard.mode().name());
        let entry = self.ledger.watch(&id);
        let (status, code) = self.client.chat(guard.address(), trace, &id, live).await?;
        let record = guard.audit().record_of(&id).await?;
        Ok(Exchange {
            status,
            code,
            received: live.snapshot(),
            record,
            written: entry.written(),
            planned: entry.planned(),
        })
    }
}

// === impl Running ===

impl Running {
    /// A trace that begins.
    fn new(place: usize, trace: &Trace) -> Self {
        let (shadow, enforce) = (Live::default(), Live::default());
        Self { place, name: trace.name.clone(), shadow, enforce }
    }

    /// How far it is.
    fn line(&self) -> Streaming {
        Streaming {
            name: self.name.clone(),
            shadow: self.shadow.snapshot(),
            enforce: self.enforce.snapshot(),
        }
    }
}
