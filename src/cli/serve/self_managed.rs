//! The arguments of certificates that surepull manages itself.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use kube::Client;
use prometheus_client::registry::Registry;

use crate::certificates::{Keeper, Metrics, Settings};
use crate::config;
use crate::server::Certificates;

#[derive(Debug, Args)]
pub(super) struct SelfManaged {
    /// Manages certificates itself: a certificate authority in a Secret, a certificate in memory, and the caBundle of the
    /// webhook configurations (docs/certificates.md).
    #[arg(
        long,
        env = "SUREPULL_TLS_SELF",
        conflicts_with_all = ["tls_cert", "tls_key", "standalone"]
    )]
    tls_self: bool,

    /// The namespace of Service, Secret and Lease; without it that of the mounted service account.
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE", value_parser = object_name)]
    namespace: Option<String>,

    /// The Service that the API server reaches surepull by.
    #[arg(long, value_name = "NAME", default_value = "surepull", env = "SUREPULL_SERVICE", value_parser = object_name)]
    service: String,

    /// The Secret of the certificate authority, and the name of the Lease of whoever writes it.
    #[arg(long, value_name = "NAME", default_value = "surepull-ca", env = "SUREPULL_CA_SECRET", value_parser = object_name)]
    ca_secret: String,

    /// The webhook configurations whose caBundle it is: the mutating one, and the validating one if there is one.
    #[arg(long, value_name = "NAME", default_value = "surepull", env = "SUREPULL_WEBHOOK", value_parser = object_name)]
    webhook: String,

    /// How long a certificate authority is valid; it is replaced when a third of that is left.
    #[arg(long, value_name = "DURATION", default_value = "8760h", value_parser = validity, env = "SUREPULL_TLS_CA_VALIDITY")]
    tls_ca_validity: Duration,

    /// How long a replica's certificate is valid, at most half as long; it is replaced when a third of that is left.
    #[arg(long, value_name = "DURATION", default_value = "720h", value_parser = validity, env = "SUREPULL_TLS_LEAF_VALIDITY")]
    tls_leaf_validity: Duration,
}

/// What is less makes no sense, seeing how long a change takes to get around.
const SHORTEST: Duration = Duration::from_secs(15);

fn validity(text: &str) -> Result<Duration, String> {
    let validity = config::parse_duration(text).map_err(|error| error.to_string())?;
    if validity < SHORTEST {
        return Err("too short; write at least `15s`".to_owned());
    }
    Ok(validity)
}

fn object_name(text: &str) -> Result<String, String> {
    if crate::cluster::is_object_name(text) {
        Ok(text.to_owned())
    } else {
        Err(
            "not the name of a Kubernetes object; write lower case letters, digits, `-` and `.`"
                .to_owned(),
        )
    }
}

impl SelfManaged {
    /// Whether certificates are managed.
    pub(super) fn is_on(&self) -> bool {
        self.tls_self
    }

    /// Who manages them, if anybody does, with its metrics registered.
    pub(super) fn keeper(
        &self,
        client: &Client,
        served: &Arc<Certificates>,
        registry: &mut Registry,
    ) -> anyhow::Result<Option<Keeper>> {
        if !self.tls_self {
            return Ok(None);
        }
        ensure!(
            self.tls_ca_validity / 2 >= self.tls_leaf_validity,
            "--tls-ca-validity is less than twice --tls-leaf-validity: certificates have to end before their authority"
        );
        let namespace = self.namespace.as_deref();
        let namespace = namespace.unwrap_or_else(|| client.default_namespace());
        let settings = Settings {
            namespace: namespace.to_owned(),
            service: self.service.clone(),
            secret: self.ca_secret.clone(),
            webhook: self.webhook.clone(),
            ca_validity: self.tls_ca_validity,
            leaf_validity: self.tls_leaf_validity,
        };
        let metrics = Metrics::default();
        metrics.register(registry);
        let served = Arc::clone(served);
        Ok(Some(Keeper::new(client.clone(), settings, served, metrics)))
    }
}

/// Lets somebody manage certificates; never ends.
pub(super) async fn keep(keeper: Option<&mut Keeper>) {
    match keeper {
        Some(keeper) => keeper.keep().await,
        None => pending().await,
    }
}
