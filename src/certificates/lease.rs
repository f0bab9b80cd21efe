//! Who writes: the holder of a Lease, as client-go's leader election has it (`tools/leaderelection/leaderelection.go`).
//! Whether a holder is gone is told by a clock of this process that nobody can set: by how long its Lease has not changed.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::api::{Api, Error};

/// A Lease that this replica would hold.
pub(super) struct Lease {
    collection: String,
    name: String,
    /// What this replica calls itself.
    identity: String,
    duration: Duration,
    /// The version that was last seen, and since when.
    seen: Option<(String, Instant)>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Object {
    metadata: Metadata,
    spec: Spec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    resource_version: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    holder_identity: Option<String>,
    lease_transitions: Option<i32>,
}

impl Lease {
    /// The Lease of this name, not held.
    pub(super) fn new(namespace: &str, name: &str, duration: Duration) -> Self {
        // The name of the Pod, as everywhere in Kubernetes, and what tells two processes of one machine apart.
        let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "surepull".to_owned());
        let random = RandomState::new().hash_one(std::process::id());
        Self {
            collection: format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"),
            name: name.to_owned(),
            identity: format!("{host}_{random:016x}"),
            duration,
            seen: None,
        }
    }

    /// Takes the Lease if it is free, or renews it. Says whether this replica holds it.
    pub(super) async fn hold(&mut self, api: &Api) -> Result<bool, Error> {
        let path = format!("{}/{}", self.collection, self.name);
        let Some(lease) = api.get::<Object>(&path).await? else {
            let lease = json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": self.name, "labels": {"app.kubernetes.io/managed-by": "surepull"}},
                "spec": self.spec(api, Some(0)),
            });
            return won(api.create(&self.collection, &lease).await);
        };
        let holder = lease.spec.holder_identity.unwrap_or_default();
        let is_ours = holder == self.identity;
        if !is_ours && !holder.is_empty() && !self.is_stale(&lease.metadata.resource_version) {
            return Ok(false);
        }
        let transitions = lease.spec.lease_transitions.unwrap_or_default();
        let transitions = (!is_ours).then(|| transitions.saturating_add(1));
        let change = json!({
            "metadata": {"resourceVersion": lease.metadata.resource_version},
            "spec": self.spec(api, transitions),
        });
        won(api.patch(&path, &change).await)
    }

    /// Gives the Lease back, if this replica holds it, so that nobody has to wait for it.
    pub(super) async fn release(&self, api: &Api) -> Result<(), Error> {
        let path = format!("{}/{}", self.collection, self.name);
        match api.get::<Object>(&path).await? {
            Some(lease) if lease.spec.holder_identity.as_ref() == Some(&self.identity) => {
                let version = lease.metadata.resource_version;
                let change = json!({
                    "metadata": {"resourceVersion": version},
                    "spec": {"holderIdentity": "", "leaseDurationSeconds": 1},
                });
                api.patch(&path, &change).await
            }
            _ => Ok(()),
        }
    }

    /// Whether the Lease has been at this version for longer than its holder may be silent.
    fn is_stale(&mut self, version: &str) -> bool {
        match &self.seen {
            Some((seen, since)) if seen == version => since.elapsed() >= self.duration,
            _ => {
                self.seen = Some((version.to_owned(), Instant::now()));
                false
            }
        }
    }

    /// Held by this replica from now on; with the count of holders where that is another.
    fn spec(&self, api: &Api, transitions: Option<i32>) -> Value {
        let now = Timestamp::from_second(api.clock.now()).unwrap_or_default();
        let now = MicroTime(now);
        let mut spec = json!({
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self.duration.as_secs(),
            "renewTime": now,
        });
        if let Some(transitions) = transitions {
            spec["acquireTime"] = json!(now);
            spec["leaseTransitions"] = transitions.into();
        }
        spec
    }
}

/// Whether it was written, or somebody else was faster.
fn won(written: Result<(), Error>) -> Result<bool, Error> {
    match written {
        Ok(()) => Ok(true),
        Err(Error::Conflict(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
