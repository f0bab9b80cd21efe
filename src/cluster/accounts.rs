//! All `ServiceAccount`s as a watch shows them, and of each no more than the names of its pull secrets.

use std::borrow::Cow;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use serde::{Deserialize, Deserializer};
use tokio::sync::watch;

use super::Metrics;
use super::access::{WATCH, told};
use crate::mutation::Account;

/// The name of the resource in URLs.
pub(super) const PLURAL: &str = "serviceaccounts";

/// The accounts that the watch has shown. Where it is broken they stay as they were last seen.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    known: RwLock<Known>,
    /// Whether all have been listed once.
    listed: watch::Sender<bool>,
}

/// By namespace and name.
type Known = HashMap<String, HashMap<String, Arc<Account>>>;

/// A `ServiceAccount` as far as it is read: managed fields, annotations and the names of tokens are dropped on the way.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceAccount {
    #[serde(deserialize_with = "trimmed")]
    metadata: ObjectMeta,
    #[serde(default)]
    image_pull_secrets: Option<Vec<SecretName>>,
}

#[derive(Clone, Debug, Deserialize)]
struct SecretName {
    #[serde(default)]
    name: Option<String>,
}

fn trimmed<'de, D: Deserializer<'de>>(from: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Kept {
        name: Option<String>,
        namespace: Option<String>,
        resource_version: Option<String>,
        annotations: Option<Annotations>,
    }
    Kept::deserialize(from).map(|kept| ObjectMeta {
        name: kept.name,
        namespace: kept.namespace,
        resource_version: kept.resource_version,
        annotations: kept.annotations.and_then(|annotations| {
            let (key, value) = (MOUNTABLE_ONLY.to_owned(), annotations.mountable_only?);
            Some([(key, value)].into())
        }),
        ..ObjectMeta::default()
    })
}

/// Whether Pods of an account may name no other secrets than its own (`plugin/pkg/admission/serviceaccount`).
const MOUNTABLE_ONLY: &str = "kubernetes.io/enforce-mountable-secrets";

#[derive(Deserialize)]
struct Annotations {
    #[serde(rename = "kubernetes.io/enforce-mountable-secrets")]
    mountable_only: Option<String>,
}

// === impl ServiceAccount ===

impl Resource for ServiceAccount {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "ServiceAccount".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        PLURAL.into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl From<ServiceAccount> for Account {
    fn from(account: ServiceAccount) -> Self {
        let names = account.image_pull_secrets.unwrap_or_default().into_iter();
        let annotations = account.metadata.annotations.unwrap_or_default();
        let mountable_only = annotations.get(MOUNTABLE_ONLY);
        // `strconv.ParseBool`.
        let is_true =
            |value: &String| matches!(&**value, "1" | "t" | "T" | "TRUE" | "true" | "True");
        Self {
            mountable_only: mountable_only.is_some_and(is_true),
            pull_secrets: names
                .map(|secret| secret.name.unwrap_or_default())
                .collect(),
        }
    }
}

// === impl Accounts ===

impl Accounts {
    /// The account, if it has been seen.
    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<Arc<Account>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(namespace)?.get(name).cloned()
    }

    /// Becomes true, and stays so, when all have been listed once.
    pub(super) fn listed(&self) -> watch::Receiver<bool> {
        self.listed.subscribe()
    }

    /// Follows all accounts of the cluster, and never ends: what fails is tried again, later and later.
    pub(super) async fn follow(&self, client: Client, metrics: &Metrics) {
        let api = Api::<ServiceAccount>::all(client);
        let config = watcher::Config::default().timeout(WATCH);
        let mut events = pin!(watcher(api, config).default_backoff());
        let mut listed = Known::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.apply(event, &mut listed, metrics),
                Err(error) => {
                    metrics.watch_failures.inc();
                    let error = told(&error);
                    tracing::warn!(
                        error,
                        "the watch of service accounts is broken and will be begun again"
                    );
                }
            }
        }
    }

    /// Takes over a change; while all accounts are listed anew, the earlier ones stay.
    fn apply(&self, event: Event<ServiceAccount>, listed: &mut Known, metrics: &Metrics) {
        let known = || self.known.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Init => {
                listed.clear();
                metrics.watch_synced.set(0);
            }
            Event::InitApply(account) => {
                insert(listed, account);
            }
            Event::InitDone => {
                let count: usize = listed.values().map(HashMap::len).sum();
                *known() = std::mem::take(listed);
                metrics.watch_synced.set(1);
                self.listed.send_replace(true);
                metrics.accounts.set(count.try_into().unwrap_or(i64::MAX));
            }
            Event::Apply(account) => {
                if insert(&mut known(), account) {
                    metrics.accounts.inc();
                }
            }
            Event::Delete(account) => {
                if remove(&mut known(), account) {
                    metrics.accounts.dec();
                }
            }
        }
    }
}

/// Says whether it is a new one.
fn insert(known: &mut Known, mut account: ServiceAccount) -> bool {
    let metadata = &mut account.metadata;
    let namespace = metadata.namespace.take().unwrap_or_default();
    let name = metadata.name.take().unwrap_or_default();
    let accounts = known.entry(namespace).or_default();
    accounts.insert(name, Arc::new(account.into())).is_none()
}

/// Says whether it was there.
fn remove(known: &mut Known, account: ServiceAccount) -> bool {
    let metadata = account.metadata;
    let namespace = metadata.namespace.unwrap_or_default();
    let Some(accounts) = known.get_mut(&namespace) else {
        return false;
    };
    let was_there = accounts
        .remove(&metadata.name.unwrap_or_default())
        .is_some();
    if accounts.is_empty() {
        known.remove(&namespace);
    }
    was_there
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_names_are_kept() {
        let account: ServiceAccount = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "secrets": [{"name": "kept-not"}],
            "metadata": {"name": "a", "namespace": "ns", "resourceVersion": "7", "uid": "kept-not",
                "labels": {"x": "kept-not"}, "annotations": {"x": "kept-not"}, "managedFields": [{"manager": "kept-not"}]},
            "imagePullSecrets": [{"name": "s"}, {}, {"name": null}, {"name": "s"}],
        }))
        .unwrap();
        assert!(!format!("{account:?}").contains("kept-not"));
        assert_eq!(account.metadata.resource_version.as_deref(), Some("7"));
        assert_eq!(Account::from(account).pull_secrets, ["s", "", "", "s"]);
        let bare: ServiceAccount =
            serde_json::from_str(r#"{"metadata": {}, "imagePullSecrets": null}"#).unwrap();
        assert_eq!(Account::from(bare), Account::default());
        for (value, expected) in [
            ("true", true),
            ("T", true),
            ("1", true),
            ("yes", false),
            ("", false),
        ] {
            let annotations = json!({"x": "kept-not", MOUNTABLE_ONLY: value});
            let account = json!({"metadata": {"name": "a", "annotations": annotations}});
            let account: ServiceAccount = serde_json::from_value(account).unwrap();
            assert!(!format!("{account:?}").contains("kept-not"));
            assert_eq!(Account::from(account).mountable_only, expected, "{value}");
        }
    }
}
