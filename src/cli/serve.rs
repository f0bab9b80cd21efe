//! `surepull serve`: the webhook, from its arguments to its end.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use prometheus_client::registry::Registry;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Exit;
use crate::admission::Admission;
use crate::cluster::{Cluster, Given, Live};
use crate::config::{self, Configuration};
use crate::credentials;
use crate::pipeline::Pipeline;
use crate::registry::Resolver;
use crate::server::{Certificates, Limits, Listeners, Server};
use crate::telemetry;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The configuration file; without it all settings have their defaults.
    #[arg(long, value_name = "FILE", env = "SUREPULL_CONFIG")]
    config: Option<PathBuf>,

    /// Where reviews are taken, over HTTPS; port 0 takes a free one. `[::]` takes IPv4 too.
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "[::]:8443",
        env = "SUREPULL_LISTEN"
    )]
    listen: SocketAddr,

    /// Where /livez, /readyz and /metrics are, over plain HTTP.
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "[::]:8080",
        env = "SUREPULL_OPS_LISTEN"
    )]
    ops_listen: SocketAddr,

    /// The certificate, followed by its chain, in PEM; without it one is made for localhost, which nobody trusts.
    #[arg(long, value_name = "FILE", env = "SUREPULL_TLS_CERT")]
    tls_cert: Option<PathBuf>,

    /// The certificate's private key, in PEM.
    #[arg(long, value_name = "FILE", env = "SUREPULL_TLS_KEY")]
    tls_key: Option<PathBuf>,

    /// Runs without a cluster: service accounts and pull secrets are not read.
    #[arg(long, env = "SUREPULL_STANDALONE")]
    standalone: bool,

    /// How to reach the cluster; without it by the mounted service account token, or as kubectl does.
    #[arg(
        long,
        value_name = "FILE",
        env = "SUREPULL_KUBECONFIG",
        conflicts_with = "standalone"
    )]
    kubeconfig: Option<PathBuf>,

    /// How long to go on serving after SIGTERM, not ready any more, before connections are closed.
    #[arg(long, value_name = "DURATION", default_value = "4s", value_parser = duration, env = "SUREPULL_DRAIN")]
    drain: Duration,
}

fn duration(text: &str) -> Result<Duration, config::InvalidDuration> {
    config::parse_duration(text)
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let certificates = Arc::new(certificates(arguments)?);
    let configuration = match &arguments.config {
        Some(file) => config::load(file)?,
        None => Configuration::default(),
    };
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot start")?
        .block_on(serve(arguments, configuration, certificates))
}

async fn serve(
    arguments: &Arguments,
    configuration: Configuration,
    certificates: Arc<Certificates>,
) -> anyhow::Result<Exit> {
    let mut signals = Signals::new().context("signals cannot be received")?;
    let mut registry = telemetry::registry();
    let cluster = cluster(arguments, &mut registry).await?;
    let admission = admission(configuration, cluster, &mut registry)?;
    let listeners = Listeners::bind(arguments.listen, arguments.ops_listen)?;
    announce(&listeners)?;
    let limits = Limits {
        drain: arguments.drain,
        ..Limits::default()
    };
    let server = Server::new(admission, certificates, registry).limits(limits);
    let (stop, stopping) = tokio::sync::oneshot::channel();
    let life = server.run(listeners, async {
        let _ = stopping.await;
    });
    let impatience = async {
        signals.next().await;
        let _ = stop.send(());
        signals.next().await;
    };
    tokio::select! {
        end = life => end?,
        () = impatience => tracing::warn!("told to stop twice: stopping at once"),
    }
    Ok(Exit::Done)
}

/// The cluster that the arguments name, with its metrics registered.
async fn cluster(
    arguments: &Arguments,
    registry: &mut Registry,
) -> anyhow::Result<Arc<dyn Cluster>> {
    if arguments.standalone {
        return Ok(Arc::new(Given::default()));
    }
    let cluster = Live::connect(arguments.kubeconfig.as_deref()).await?;
    cluster.metrics().register(registry);
    Ok(Arc::new(cluster))
}

/// What answers the reviews, with its metrics registered.
fn admission(
    configuration: Configuration,
    cluster: Arc<dyn Cluster>,
    registry: &mut Registry,
) -> anyhow::Result<Admission> {
    let resolver = Resolver::new(&configuration.registries, &configuration.cache)?;
    let keyring = credentials::read(&configuration.credentials.docker_config)?;
    let pipeline = Pipeline::new(configuration.settings, resolver, keyring, cluster);
    pipeline.register(registry);
    Ok(Admission::new(configuration.kinds, pipeline))
}

fn certificates(arguments: &Arguments) -> anyhow::Result<Certificates> {
    match (&arguments.tls_cert, &arguments.tls_key) {
        (Some(certificate), Some(key)) => Ok(Certificates::from_files(certificate, key)?),
        (None, None) => {
            tracing::warn!(
                "no --tls-cert: a certificate for localhost is made, which nobody trusts"
            );
            Ok(Certificates::self_made()?)
        }
        (Some(_), None) => bail!("--tls-cert needs its key: name it with --tls-key"),
        (None, Some(_)) => bail!("--tls-key needs its certificate: name it with --tls-cert"),
    }
}

/// Says on stdout where the server is, for programs that started it on port 0, and in the log.
fn announce(listeners: &Listeners) -> anyhow::Result<()> {
    let (https, ops) = (listeners.https_address()?, listeners.ops_address()?);
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(version, %https, %ops, "listening");
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "listening on https://{https}")?;
    writeln!(stdout, "ops on http://{ops}")?;
    stdout.flush()?;
    Ok(())
}

/// The signals that mean: stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
