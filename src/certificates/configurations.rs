//! The `caBundle` of all webhooks in the configurations of one name.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::json;

use super::api::{Api, Error};
use super::authority::Certificate;
use super::plan::Trust;

/// The two kinds of configurations.
pub(super) const KINDS: [&str; 2] = [
    "mutatingwebhookconfigurations",
    "validatingwebhookconfigurations",
];

/// A configuration as far as it is read.
#[derive(Deserialize)]
pub(super) struct Configuration {
    metadata: Metadata,
    #[serde(default)]
    webhooks: Vec<Webhook>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    resource_version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Webhook {
    name: String,
    #[serde(default)]
    client_config: ClientConfig,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientConfig {
    #[serde(default)]
    ca_bundle: Option<String>,
}

impl Webhook {
    /// Its bundle, decoded; empty where there is none.
    fn bundle(&self) -> Vec<u8> {
        let bundle = self.client_config.ca_bundle.as_deref().unwrap_or_default();
        BASE64_STANDARD.decode(bundle).unwrap_or_default()
    }
}

fn path(kind: &str, name: &str) -> String {
    format!("/apis/admissionregistration.k8s.io/v1/{kind}/{name}")
}

/// Reads the configuration of this kind and name, if there is one.
pub(super) async fn read(
    api: &Api,
    kind: &str,
    name: &str,
) -> Result<Option<Configuration>, Error> {
    api.get(&path(kind, name)).await
}

impl Configuration {
    /// Whether the API server trusts this CA whichever webhook it calls.
    pub(super) fn trusts(&self, ca: &Certificate) -> bool {
        let trusts = |webhook: &Webhook| Certificate::read_all(&webhook.bundle()).contains(ca);
        self.webhooks.iter().all(trusts)
    }

    /// Writes the bundle into those webhooks that have another, if nobody has changed the configuration since it was read.
    /// Says whether there were any.
    pub(super) async fn heal(
        &self,
        api: &Api,
        kind: &str,
        name: &str,
        trust: &Trust,
    ) -> Result<bool, Error> {
        let bundle = trust.bundle();
        let others = self.webhooks.iter();
        let others = others.filter(|webhook| webhook.bundle() != bundle.as_bytes());
        let bundle = BASE64_STANDARD.encode(&bundle);
        let webhooks: Vec<_> = others
            .map(|webhook| json!({"name": webhook.name, "clientConfig": {"caBundle": bundle}}))
            .collect();
        if webhooks.is_empty() {
            return Ok(false);
        }
        // The version makes it a compare and swap; the list is merged by the names of webhooks.
        let version = &self.metadata.resource_version;
        let change = json!({"metadata": {"resourceVersion": version}, "webhooks": webhooks});
        api.patch(&path(kind, name), &change).await?;
        Ok(true)
    }
}
