//! A thinkgate in this process.

use std::net::SocketAddr;

use thinkgate::{
    app::{App, Drained, Front},
    config::{Config, from_yaml},
};

use super::{Client, eventually, open_connections, pack, soon};

/// A running thinkgate before one upstream.
#[derive(Debug)]
pub(crate) struct Gate {
    app: App,
}

// === impl Gate ===

impl Gate {
    /// With the defaults.
    pub(crate) async fn before(upstream: &str) -> Self {
        Self::configured(upstream, "").await
    }

    /// With more keys, as in the file; without the classifier unless they speak of it.
    pub(crate) async fn configured(upstream: &str, more: &str) -> Self {
        Self::started_as(Front::Proxy, upstream, more).await
    }

    /// As an Envoy's external processor.
    pub(crate) async fn beside_envoy(more: &str) -> Self {
        Self::started_as(Front::ExternalProcessor, "http://nobody.invalid", more).await
    }

    async fn started_as(front: Front, upstream: &str, more: &str) -> Self {
        let classifier =
            if more.contains("classifier:") { "" } else { "classifier: {enabled: false}" };
        let text = format!(
            "upstream: {upstream}\nlisten: 127.0.0.1:0\nadmin_listen: 127.0.0.1:0\n\
             ext_proc: {{listen: 127.0.0.1:0}}\nrules: [{}]\n{classifier}\n{more}\n",
            pack().display()
        );
        let tree = from_yaml("test.yaml", &text).expect("YAML");
        let config = Config::read(tree).unwrap_or_else(|errors| panic!("{errors}"));
        let app = App::start_as(front, config).await.expect("a start");
        Self { app }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.app.listening()
    }

    pub(crate) fn app(&self) -> &App {
        &self.app
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address()).await
    }

    /// What the operator reads.
    pub(crate) async fn metrics(&self) -> String {
        metrics(self.app.admin()).await
    }

    /// The value of the series that begins with `name` (labels included, in the exposition's order).
    pub(crate) async fn metric(&self, series: &str) -> Option<f64> {
        metric(self.app.admin(), series).await
    }

    /// Waits until nothing of an exchange is left: no task, no connection of either side.
    pub(crate) async fn is_as_at_the_start(&self, upstream: SocketAddr) {
        eventually("the end of every client task", || self.app.client_tasks() == 1).await;
        eventually("the end of every exchange", || self.app.metrics().streams_active() == 0).await;
        let port = self.address().port();
        eventually("the close of client connections", || open_connections(port) == 0).await;
        eventually("the close of upstream connections", || open_connections(upstream.port()) == 0)
            .await;
    }

    /// Drains without a deadline.
    pub(crate) async fn drain(self) -> Drained {
        soon("a drain", self.app.drain(std::future::pending())).await
    }

    pub(crate) fn into_app(self) -> App {
        self.app
    }
}

async fn metrics(admin: SocketAddr) -> String {
    let mut client = Client::connect(admin).await;
    client.send("GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    String::from_utf8(client.response().await.body).expect("text")
}

/// The value of a series at the operator's listener `admin`.
pub(super) async fn metric(admin: SocketAddr, series: &str) -> Option<f64> {
    let metrics = metrics(admin).await;
    let line = metrics.lines().find(|line| {
        line.strip_prefix("thinkgate_")
            .and_then(|line| line.strip_prefix(series))
            .is_some_and(|rest| rest.starts_with(' '))
    })?;
    line.rsplit(' ').next()?.parse().ok()
}
