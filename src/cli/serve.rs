//! `surepull serve`: the webhook, from its arguments to its end.

mod configuration;
mod files;
mod self_managed;

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
use crate::certificates::Keeper;
use crate::cluster::{Cluster, Given, Live};
use crate::config;
use crate::reload::{self, Watched};
use crate::server::{Certificates, Limits, Listeners, Server};
use crate::telemetry;

use configuration::{ConfigurationFile, InEffect};
use files::{CertificateFiles, Files};
use self_managed::SelfManaged;

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

    #[command(flatten)]
    self_managed: SelfManaged,

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

    /// How often the files of certificate and configuration are looked at for changes; `0s` leaves it to SIGHUP.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration, env = "SUREPULL_RELOAD_INTERVAL")]
    reload_interval: Duration,

    /// How long to go on serving after SIGTERM, not ready any more, before connections are closed.
    #[arg(long, value_name = "DURATION", default_value = "4s", value_parser = duration, env = "SUREPULL_DRAIN")]
    drain: Duration,
}

fn duration(text: &str) -> Result<Duration, config::InvalidDuration> {
    config::parse_duration(text)
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot start")?
        .block_on(serve(arguments))
}

async fn serve(arguments: &Arguments) -> anyhow::Result<Exit> {
    let mut signals = Signals::new().context("signals cannot be received")?;
    let hangup = signal(SignalKind::hangup()).context("SIGHUP cannot be received")?;
    let mut registry = telemetry::registry();
    let cluster = connect(arguments, &mut registry).await?;
    let facts: Arc<dyn Cluster> = match &cluster {
        Some(cluster) => cluster.clone(),
        None => Arc::new(Given::default()),
    };
    let (admission, certificates, files) = begin(arguments, facts, &mut registry)?;
    let mut keeper = match &cluster {
        Some(cluster) => {
            let managed = &arguments.self_managed;
            managed.keeper(cluster.client(), &certificates, &mut registry)?
        }
        None => None,
    };
    let mut conditions: Vec<_> = cluster
        .iter()
        .map(|cluster| cluster.worked_once())
        .collect();
    conditions.extend(keeper.iter().map(Keeper::ready));
    let listeners = Listeners::bind(arguments.listen, arguments.ops_listen)?;
    announce(&listeners)?;
    let limits = Limits {
        drain: arguments.drain,
        ..Limits::default()
    };
    let server = Server::new(admission, certificates, registry)
        .limits(limits)
        .ready_when(conditions);
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
        () = files.watch(arguments.reload_interval, hangup) => {}
        () = self_managed::keep(keeper.as_mut()) => {}
    }
    if let Some(keeper) = &keeper {
        keeper.release().await;
    }
    Ok(Exit::Done)
}

/// The cluster that the arguments name, if they do, with its metrics registered.
async fn connect(
    arguments: &Arguments,
    registry: &mut Registry,
) -> anyhow::Result<Option<Arc<Live>>> {
    if arguments.standalone {
        return Ok(None);
    }
    let kubeconfig = arguments.kubeconfig.as_deref();
    // An empty variable of the environment is none.
    let kubeconfig = kubeconfig.filter(|path| !path.as_os_str().is_empty());
    let cluster = Live::connect(kubeconfig).await?;
    cluster.metrics().register(registry);
    Ok(Some(Arc::new(cluster)))
}

/// What answers, what it shows, and the files that both are made of; its metrics are registered.
fn begin(
    arguments: &Arguments,
    cluster: Arc<dyn Cluster>,
    registry: &mut Registry,
) -> anyhow::Result<(InEffect, Arc<Certificates>, Files)> {
    let metrics = reload::Metrics::default();
    metrics.register(registry);
    let (certificates, certificate) = certificates(arguments, &metrics)?;
    let admission = configuration::by_default(cluster)?;
    admission.load().pipeline().register(registry);
    let configuration = arguments.config.clone().map(|file| {
        let file = ConfigurationFile::new(file, Arc::clone(&admission));
        Watched::begin(file, &metrics)
    });
    let files = Files {
        certificate,
        configuration: configuration.transpose()?,
    };
    Ok((admission, certificates, files))
}

/// The certificate, and its files if there are such.
fn certificates(
    arguments: &Arguments,
    metrics: &reload::Metrics,
) -> anyhow::Result<(Arc<Certificates>, Option<Watched<CertificateFiles>>)> {
    let served = Arc::new(Certificates::self_made()?);
    let (certificate, key) = match (&arguments.tls_cert, &arguments.tls_key) {
        (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
        (None, None) if arguments.self_managed.is_on() => return Ok((served, None)),
        (None, None) => {
            tracing::warn!(
                "no --tls-cert and no --tls-self: a certificate for localhost is made, which nobody trusts"
            );
            return Ok((served, None));
        }
        (Some(_), None) => bail!("--tls-cert needs its key: name it with --tls-key"),
        (None, Some(_)) => bail!("--tls-key needs its certificate: name it with --tls-cert"),
    };
    let files = CertificateFiles {
        certificate,
        key,
        served: Arc::clone(&served),
    };
    Ok((served, Some(Watched::begin(files, metrics)?)))
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
