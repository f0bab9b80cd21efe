//! One look after the other: at the Lease, the Secret and the webhook configurations, and what comes of it.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::api::{Api, Error};
use super::authority::{Defect, Leaf};
use super::lease::Lease;
use super::plan::{Trust, plan};
use super::serving::{Sighting, is_due};
use super::store::{self, Stored};
use super::{Metrics, Settings, configurations};
use crate::server::Certificates;

/// How long giving the Lease back may take at the end.
const GOOD_BYE: Duration = Duration::from_secs(2);

/// Keeps the certificate that is served good, and where this replica holds the Lease, the CA and the `caBundle`.
pub struct Keeper {
    api: Api,
    lease: Lease,
    settings: Settings,
    metrics: Metrics,
    served: Arc<Certificates>,
    /// The last good state of the Secret.
    trust: Option<Trust>,
    sighting: Sighting,
    leaf: Option<Leaf>,
    ready: watch::Sender<bool>,
    /// What went wrong last, which is said once.
    complaint: Option<String>,
}

impl Keeper {
    /// One that swaps what is `served`.
    pub fn new(
        client: Client,
        settings: Settings,
        served: Arc<Certificates>,
        metrics: Metrics,
    ) -> Self {
        Self {
            api: Api::new(client),
            lease: Lease::new(&settings.namespace, &settings.secret, settings.lease()),
            settings,
            metrics,
            served,
            trust: None,
            sighting: Sighting::default(),
            leaf: None,
            ready: watch::Sender::new(false),
            complaint: None,
        }
    }

    /// Becomes true, and stays so, when there is a certificate that the API server trusts.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// Looks again and again; never ends.
    pub async fn keep(&mut self) {
        loop {
            let outcome = self.look().await;
            self.complain(outcome);
            let interval = self.settings.interval();
            // Until there is something to serve, others are waited for.
            let hurry = Duration::from_secs(1);
            let steady = *self.ready.borrow();
            sleep(if steady { interval } else { hurry }).await;
        }
    }

    /// Gives the Lease back.
    pub async fn release(&self) {
        // Whoever is next waits a little longer otherwise.
        let _ = timeout(GOOD_BYE, self.lease.release(&self.api)).await;
    }

    /// One look. What this replica has is renewed also where the API server is away.
    async fn look(&mut self) -> Result<(), Error> {
        let held = self.lease.hold(&self.api).await;
        self.mint()?;
        let holds = matches!(held, Ok(true));
        if self.metrics.lease_held.set(holds.into()) != i64::from(holds) {
            tracing::info!(
                holds,
                "the Lease of the certificate authority has changed hands"
            );
        }
        let (namespace, name) = (&self.settings.namespace, &self.settings.secret);
        let stored = store::read(&self.api, namespace, name).await?;
        let defect = self.follow(stored, holds).await?;
        self.trusted(holds).await?;
        self.mint()?;
        held?;
        if let Some(defect) = defect {
            let secret = &self.settings.secret;
            tracing::debug!(%defect, secret, "waiting for the holder of the Lease to write it");
        }
        Ok(())
    }

    /// Takes over what is stored, after having written it where that is due and this replica's business. Says what is
    /// wrong with it otherwise.
    async fn follow(&mut self, stored: Stored, holds: bool) -> Result<Option<Defect>, Error> {
        let now = self.api.clock.now();
        let read = stored.trust.as_ref().map_err(|defect| *defect);
        let planned = if holds {
            let validity = self.settings.ca_validity;
            plan(read, self.trust.as_ref(), now, validity)?
        } else {
            None
        };
        let trust = match planned {
            Some((trust, reason)) => {
                let (namespace, name) = (&self.settings.namespace, &self.settings.secret);
                store::write(&self.api, namespace, name, &trust, &stored).await?;
                self.metrics.wrote("ca");
                tracing::info!(secret = name, %reason, "the certificate authority is written");
                trust
            }
            None => match stored.trust {
                Ok(trust) => trust,
                Err(defect) => return Ok(Some(defect)),
            },
        };
        let end = trust.authority.certificate().not_after();
        self.metrics.ca_expiration.set(end);
        self.trust = Some(trust);
        Ok(None)
    }

    /// Looks at whom the API server trusts, and heals that where it is this replica's business.
    async fn trusted(&mut self, holds: bool) -> Result<(), Error> {
        let Some(trust) = &self.trust else {
            return Ok(());
        };
        let ca = trust.authority.certificate();
        let name = &self.settings.webhook;
        let (mut found, mut before, mut after) = (false, true, true);
        for kind in configurations::KINDS {
            let Some(configuration) = configurations::read(&self.api, kind, name).await? else {
                continue;
            };
            found = true;
            let trusts = configuration.trusts(ca);
            before &= trusts;
            if holds && configuration.heal(&self.api, kind, name, trust).await? {
                self.metrics.wrote("caBundle");
                tracing::info!(kind, name, "its caBundle was another, and is written");
            } else {
                after &= trusts;
            }
        }
        let (now, settle) = (self.api.clock.now(), self.settings.settle());
        self.sighting
            .look(ca, found && before, found && after, now, settle);
        Ok(())
    }

    /// Mints a certificate from the CA, where that is due.
    fn mint(&mut self) -> Result<(), Error> {
        let Some(trust) = &self.trust else {
            return Ok(());
        };
        let (authority, now) = (&trust.authority, self.api.clock.now());
        let settings = &self.settings;
        let settled = self
            .sighting
            .is_settled(authority.certificate(), settings.settle());
        let validity = settings.leaf_validity;
        if !is_due(self.leaf.as_ref(), authority, settled, now, validity) {
            return Ok(());
        }
        let leaf = authority.mint(&names(settings), now, validity)?;
        self.served.replace(&leaf.pair);
        self.metrics.wrote("leaf");
        let seconds = leaf.not_after - now;
        let from = match &self.leaf {
            Some(before) if before.issuer == leaf.issuer => "the same",
            _ => "a new",
        };
        tracing::info!(
            seconds,
            "a certificate is minted from {from} certificate authority"
        );
        self.leaf = Some(leaf);
        self.ready.send_replace(true);
        Ok(())
    }

    /// Says in the log what went wrong, once until something else happens.
    fn complain(&mut self, outcome: Result<(), Error>) {
        let complaint = outcome.err().map(|error| error.to_string());
        if let Some(error) = &complaint {
            self.metrics.failures.inc();
            if self.complaint != complaint {
                tracing::warn!(
                    error,
                    "certificates could not be looked after; trying again"
                );
            }
        } else if self.complaint.is_some() {
            tracing::info!("certificates are looked after again");
        }
        self.complaint = complaint;
    }
}

/// What the API server, or somebody with a forwarded port, calls this replica.
fn names(settings: &Settings) -> Vec<String> {
    let Settings {
        service, namespace, ..
    } = settings;
    let mut names = vec![
        format!("{service}.{namespace}.svc"),
        format!("{service}.{namespace}.svc.cluster.local"),
    ];
    names.extend(["localhost", "127.0.0.1", "::1"].map(String::from));
    names
}
