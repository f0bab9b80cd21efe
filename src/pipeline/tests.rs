//! Accounts, credentials and deadlines; the registry room's tests have the look-ups themselves.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::de::DeserializeSeed;
use serde_json::json;

use super::*;
use crate::cluster::{Answer, Given};
use crate::mutation::{Account, AccountQuestion, PullSecrets};
use crate::workload::{Kinds, Operation, Survey};

/// The review of a Pod that is created in namespace `ns`.
fn created<'v>(kinds: &Kinds, pod: &'v serde_json::Value) -> Review<'v> {
    let workload = kinds.find("", "Pod").unwrap();
    Review {
        class: workload.class,
        operation: Operation::Create,
        subresource: "".into(),
        namespace: "ns".into(),
        object: Survey(&workload.shape).deserialize(pod).unwrap().unwrap(),
        old: None,
    }
}

fn pipeline(cluster: Given) -> Pipeline {
    let resolver = Resolver::new(&[], &crate::config::Cache::default()).unwrap();
    Pipeline::new(
        Settings::default(),
        resolver,
        Keyring::default(),
        Arc::new(cluster),
    )
}

#[tokio::test]
async fn a_pod_gets_the_pull_secrets_of_its_own_account() {
    let mut cluster = Given::default();
    let account = |name: &str| Account {
        pull_secrets: vec![name.to_owned()],
        ..Account::default()
    };
    cluster.add_account("ns", "default", account("a"));
    cluster.add_account("ns", "builder", account("b"));
    cluster.add_account("other", "builder", account("c"));
    let pipeline = pipeline(cluster);
    for (name, added) in [("", Some("a")), ("builder", Some("b")), ("unknown", None)] {
        let pod = json!({"metadata": {}, "spec": {"serviceAccountName": name, "imagePullSecrets": [{"name": "own"}]}});
        let kinds = Kinds::default();
        let review = created(&kinds, &pod);
        let outcome = pipeline.decide(&review, Instant::now()).await.unwrap();
        let patch = outcome
            .patch()
            .map(|patch| String::from_utf8(patch).unwrap());
        let expected = added.map(|added| {
            format!(
                r#"[{{"op":"add","path":"/spec/imagePullSecrets/-","value":{{"name":"{added}"}}}}]"#
            )
        });
        assert_eq!(patch, expected, "{name}");
    }
}

#[tokio::test]
async fn after_the_deadline_no_further_look_up_begins() {
    let image = |tag| json!({"name": format!("c{tag}"), "image": format!("169.254.1.1/app:{tag}")});
    let images: Vec<_> = (0..look_up::AT_ONCE + 10).map(image).collect();
    let object = json!({"metadata": {"name": "p"}, "spec": {"containers": images}});
    let kinds = Kinds::default();
    let review = created(&kinds, &object);
    let pipeline = pipeline(Given::default());
    let mut registry = Registry::default();
    pipeline.register(&mut registry);
    pipeline.decide(&review, Instant::now()).await.unwrap();
    let mut metrics = String::new();
    prometheus_client::encoding::text::encode(&mut metrics, &registry).unwrap();
    let misses = format!(
        "surepull_registry_cache_requests_total{{result=\"miss\"}} {}\n",
        look_up::AT_ONCE
    );
    assert!(metrics.contains(&misses), "{metrics}");
    let is_full = |line: &str| line.starts_with('#') || line.starts_with("surepull_");
    assert!(metrics.lines().all(is_full), "{metrics}");
}

/// A cluster that never answers, and counts what it is asked.
#[derive(Default)]
struct Silent {
    accounts: AtomicUsize,
    pull_secrets: AtomicUsize,
}

impl Cluster for Silent {
    fn account<'a>(&'a self, _: AccountQuestion<'a>) -> BoxFuture<'a, Answer<Account>> {
        self.accounts.fetch_add(1, Ordering::SeqCst);
        Box::pin(pending())
    }

    fn pull_secret<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Answer<Keyring>> {
        self.pull_secrets.fetch_add(1, Ordering::SeqCst);
        Box::pin(pending())
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_cluster_holds_a_review_up_to_its_deadline_and_its_look_ups_for_a_third_of_it() {
    let spec = json!({"imagePullSecrets": [{"name": "s"}], "containers": [{"name": "c", "image": "169.254.1.1/app"}]});
    let object = json!({"metadata": {}, "spec": spec});
    let kinds = Kinds::default();
    let review = created(&kinds, &object);
    for (pull_secrets, seconds) in [(PullSecrets::Merge, 9), (PullSecrets::None, 3)] {
        let settings = Settings {
            pull_secrets,
            ..Settings::default()
        };
        let cache = crate::config::Cache::default();
        let resolver = Resolver::new(&[], &cache).unwrap();
        let cluster = Arc::new(Silent::default());
        let pipeline = Pipeline::new(settings, resolver, Keyring::default(), cluster.clone());
        let begun = Instant::now();
        let deadline = begun + Duration::from_secs(9);
        let outcome = pipeline.decide(&review, deadline).await.unwrap();
        assert_eq!(begun.elapsed(), Duration::from_secs(seconds));
        assert_eq!(cluster.pull_secrets.load(Ordering::SeqCst), 1);
        assert!(
            outcome.warnings[0].contains("refused"),
            "looked up: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn without_a_look_up_no_pull_secret_is_read() {
    let image = format!("app@sha256:{}", "0".repeat(64));
    let spec =
        json!({"imagePullSecrets": [{"name": "s"}], "containers": [{"name": "c", "image": image}]});
    let object = json!({"metadata": {}, "spec": spec});
    let kinds = Kinds::default();
    let review = created(&kinds, &object);
    let cache = crate::config::Cache::default();
    let resolver = Resolver::new(&[], &cache).unwrap();
    let cluster = Arc::new(Silent::default());
    let keyring = Keyring::default();
    let pipeline = Pipeline::new(Settings::default(), resolver, keyring, cluster.clone());
    pipeline.decide(&review, Instant::now()).await.unwrap();
    assert_eq!(cluster.accounts.load(Ordering::SeqCst), 1, "for the merge");
    assert_eq!(cluster.pull_secrets.load(Ordering::SeqCst), 0);
}
