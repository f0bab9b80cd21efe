//! The server: an HTTPS listener for reviews, a plain one for probes and metrics, limits for both, an orderly end.
//!
//! A connection's way: `listen` accepts while there is a free slot, `connection` shakes hands and keeps time over it,
//! `router` answers. `tls` holds the certificate behind a pointer that can be swapped while connections run.

mod body;
mod connection;
mod listen;
mod metrics;
mod ops;
mod pace;
mod router;
mod tls;

pub use listen::Listeners;
pub use metrics::Metrics;
pub use ops::Health;
pub use router::{Review, Webhook, router};
pub use tls::Certificates;

use std::future::pending;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::time::timeout;

use listen::Door;

/// What one client, and all of them together, may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; further ones wait in the backlog of the kernel.
    pub connections: usize,
    /// Reviews at a time; further ones are answered with 429. One of more than 64 KiB counts as several.
    pub reviews: u32,
    /// Bytes of a review.
    pub body_bytes: usize,
    /// Time for the TLS handshake.
    pub handshake: Duration,
    /// Time from the first byte of a request to the end of its header.
    pub header: Duration,
    /// Time for the rest of the body, once it is slow to come.
    pub body: Duration,
    /// Time between two requests of a connection; longer than the 90 seconds after which the API server closes it.
    pub idle: Duration,
    /// How long a server that is told to stop goes on as before, so that the endpoints can forget it.
    pub drain: Duration,
    /// How long the reviews that are then left may take.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            reviews: 1024,
            body_bytes: 8 * 1024 * 1024,
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(10),
            body: Duration::from_secs(10),
            idle: Duration::from_mins(2),
            drain: Duration::from_secs(4),
            grace: Duration::from_secs(20),
        }
    }
}

/// A server that cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// A file of the certificate cannot be used.
    #[error("{}: {message}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what belongs there.
        message: String,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// No certificate could be made.
    #[error("no certificate could be made: {0}")]
    SelfMade(#[from] rcgen::Error),
}

/// All that serves; [`Server::run`] is its life.
#[derive(Debug)]
pub struct Server<R> {
    review: R,
    certificates: Arc<Certificates>,
    registry: Registry,
    limits: Limits,
    conditions: Vec<watch::Receiver<bool>>,
}

impl<R: Review> Server<R> {
    /// A server of `review`; `registry` holds the metrics of all other rooms already.
    pub fn new(review: R, certificates: Arc<Certificates>, registry: Registry) -> Self {
        Self {
            review,
            certificates,
            registry,
            limits: Limits::default(),
            conditions: Vec::new(),
        }
    }

    /// Says that it is ready only once these have all been true; what becomes of them later does not matter.
    #[must_use]
    pub fn ready_when(mut self, conditions: Vec<watch::Receiver<bool>>) -> Self {
        self.conditions = conditions;
        self
    }

    /// Sets other limits than the defaults.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Serves until `shutdown` is done, then drains: not ready, then no new connections, then the last answers.
    pub async fn run(
        mut self,
        listeners: Listeners,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let limits = self.limits;
        self.certificates.register(&mut self.registry);
        let tls = tls::server_config(self.certificates)?;
        let metrics = Metrics::register(&mut self.registry);
        let health = Arc::new(Health::default());
        let webhook = Webhook::new(self.review, limits, metrics.clone(), health.clone());
        let (https, ops) = listeners.into_parts()?;

        // Sockets are there: whoever gets an answer from a server with nothing to wait for gets this one.
        let mut begin = pin!(begin(self.conditions, &health));
        let _ = begin.as_mut().now_or_never();
        let (close, closing) = watch::channel(());
        let door = Door {
            router: router(Arc::new(webhook)),
            tls: Some(tls.into()),
            limits,
            connections: metrics.connections,
            handshake_failures: metrics.handshake_failures,
        };
        tokio::spawn(Arc::new(door).open(https, closing));

        let (close_ops, closing) = watch::channel(());
        let door = Door {
            router: ops::router(health.clone(), Arc::new(self.registry)),
            tls: None,
            limits: Limits {
                connections: 64,
                ..limits
            },
            connections: Gauge::default(),
            handshake_failures: Counter::default(),
        };
        tokio::spawn(Arc::new(door).open(ops, closing));

        tokio::select! {
            () = begin => {}
            () = shutdown => {}
        }
        health.drain();
        tracing::info!(drain = ?limits.drain, "told to stop: not ready from here on");
        tokio::time::sleep(limits.drain).await;
        tracing::info!("finishing what is in flight");
        close.send_replace(());
        if timeout(limits.grace, close.closed()).await.is_err() {
            tracing::warn!(grace = ?limits.grace, "some requests did not finish in time and are dropped");
        }
        close_ops.send_replace(());
        // A scrape in flight is not worth more than a moment.
        let _ = timeout(Duration::from_millis(500), close_ops.closed()).await;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Becomes ready when all conditions have been true, and never ends.
async fn begin(conditions: Vec<watch::Receiver<bool>>, health: &Health) {
    for mut condition in conditions {
        // Who could still make it true may have ended, and then it stays as it is.
        if condition.wait_for(|is_true| *is_true).await.is_err() {
            return pending().await;
        }
    }
    health.ready();
    pending::<()>().await;
}
