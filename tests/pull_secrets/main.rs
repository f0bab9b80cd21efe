//! Look-ups with the pull secrets that the Pods will have, at a real registry that wants them.

#[path = "../common/mod.rs"]
mod common;

mod additions;
mod deviations;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::Request;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use surepull::cluster::{self, Cluster, Given, Live, Unreadable};
use surepull::config::{Cache, Credentials, Patterns};
use surepull::credentials::{Document, Form, Keyring};
use surepull::mutation::{Account, AccountQuestion, Mode, PullSecrets, Settings};
use surepull::pipeline::Pipeline;
use surepull::registry::Resolver;
use surepull::workload::{Kinds, Leaf};
use tokio::sync::Notify;
use tokio::time::Instant;

use common::fake_api::{ACCOUNTS, FakeApi, Reply, failure, kubeconfig, secret};
use common::mutate::{Change, review};
use common::registry::{PASSWORD, TestRegistry, USERNAME};
use common::serve::Served;
use common::{soon, wait_until};

const CONFIG_TYPE: &str = "kubernetes.io/dockerconfigjson";

/// A docker configuration for `registry.test`.
fn config(password: &str) -> String {
    json!({"auths": {"registry.test": {"username": USERNAME, "password": password}}}).to_string()
}

/// A resolver for a registry that calls itself `registry.test`.
fn resolver(registry: &TestRegistry) -> Resolver {
    let mut registries = vec![common::entry(
        "registry.test",
        &[&registry.endpoint()],
        None,
    )];
    if let Some(tokens) = registry.tokens() {
        registries.push(common::entry("tokens.test", &[&tokens.endpoint()], None));
    }
    Resolver::new(&registries, &Cache::default()).unwrap()
}

fn pipeline(registry: &TestRegistry, cluster: impl Cluster + 'static) -> Pipeline {
    let keyring = Keyring::default();
    Pipeline::new(
        Settings::default(),
        resolver(registry),
        keyring,
        Arc::new(cluster),
    )
}

/// The built-in kinds, and one with two pod specs.
fn kinds() -> Kinds {
    let mut kinds = Kinds::default();
    let specs = [("/spec/one", Leaf::Spec), ("/spec/two", Leaf::Spec)];
    kinds.add("x.test", "Pair", specs).unwrap();
    kinds
}

/// The paths of the images that got digests when the object was created, and the warnings.
async fn create(
    pipeline: &Pipeline,
    object: &Value,
    deadline: Instant,
) -> (Vec<String>, Vec<String>) {
    let kinds = kinds();
    let review = review(&kinds, &Change::create(object)).unwrap();
    let outcome = pipeline.decide(&review, deadline).await.unwrap();
    let patch = outcome.patch().unwrap_or_else(|| b"[]".to_vec());
    let patch: Vec<Value> = serde_json::from_slice(&patch).unwrap();
    let pinned = patch.iter().filter(|edit| {
        let value = edit["value"].as_str();
        value.is_some_and(|value| value.starts_with("registry.test/app:1@sha256:"))
    });
    let paths = pinned.map(|edit| edit["path"].as_str().unwrap().to_owned());
    (paths.collect(), outcome.warnings.clone())
}

fn spec(pull_secrets: &[&str], account: &str) -> Value {
    let secrets: Vec<_> = pull_secrets
        .iter()
        .map(|name| json!({"name": name}))
        .collect();
    json!({"imagePullSecrets": secrets, "serviceAccountName": account,
        "containers": [{"name": "c", "image": "registry.test/app:1"}]})
}

fn pair(one: &Value, two: &Value) -> Value {
    json!({"apiVersion": "x.test/v1", "kind": "Pair", "metadata": {"name": "p"}, "spec": {"one": one, "two": two}})
}

fn pod(spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
}

/// A cluster where namespace `ns` has a pull secret that is right, one that is wrong, and accounts with them.
fn given() -> Given {
    let mut given = Given::default();
    for (name, password) in [("right", PASSWORD), ("wrong", "guess")] {
        let config = config(password);
        given.add_pull_secret("ns", name, CONFIG_TYPE, |_| Some(config.as_bytes()));
        let pull_secrets = vec![name.to_owned()];
        let account = Account {
            pull_secrets,
            ..Account::default()
        };
        given.add_account("ns", name, account);
    }
    given.add_account("ns", "default", Account::default());
    given
}

#[tokio::test]
async fn each_template_is_looked_up_with_its_own_pull_secrets() {
    for registry in [
        TestRegistry::with_basic_auth(),
        TestRegistry::with_token_auth().await,
    ] {
        registry.push_manifest("app", "1").await;
        let (one, two) = (
            "/spec/one/containers/0/image",
            "/spec/two/containers/0/image",
        );
        let (right, wrong, none) = (spec(&["right"], ""), spec(&["wrong"], ""), spec(&[], ""));
        let (by_account, not_by_account) = (spec(&[], "right"), spec(&[], "wrong"));
        let both = spec(&["wrong"], "right");
        let pipeline = pipeline(&registry, given());
        // Twice: what is remembered of one must not be told to the other.
        for _ in 0..2 {
            for (object, expected) in [
                (pair(&right, &wrong), &[one][..]),
                (pair(&wrong, &right), &[two]),
                (pair(&right, &none), &[one]),
                (pair(&none, &by_account), &[two]),
                (pair(&by_account, &not_by_account), &[one]),
                (pair(&both, &right), &[one, two]),
                (pair(&none, &wrong), &[]),
            ] {
                let (pinned, warnings) = create(&pipeline, &object, soon()).await;
                assert_eq!(pinned, expected, "{object}: {warnings:?}");
                assert_eq!(pinned.len() + warnings.len(), 2, "{object}: {warnings:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_pod_is_looked_up_with_the_pull_secrets_that_it_gets() {
    let registry = TestRegistry::with_basic_auth();
    registry.push_manifest("app", "1").await;
    let pipeline = pipeline(&registry, given());
    for (spec, expected) in [
        (spec(&["right"], "default"), 1),
        (spec(&["absent", "wrong", "right"], "default"), 1),
        // Merged by surepull in the same review.
        (spec(&["wrong"], "right"), 1),
        (spec(&[], "right"), 1),
        (spec(&["wrong"], "default"), 0),
        (spec(&[], "default"), 0),
    ] {
        let (pinned, warnings) = create(&pipeline, &pod(&spec), soon()).await;
        assert_eq!(pinned.len(), expected, "{spec}: {warnings:?}");
    }
}

#[tokio::test]
async fn a_failed_look_up_names_the_pull_secret_that_could_not_be_read() {
    let registry = TestRegistry::with_basic_auth();
    registry.push_manifest("app", "1").await;
    let api = FakeApi::start().await;
    let path = |name: &str| format!("/api/v1/namespaces/ns/secrets/{name}");
    api.set_account("ns", "default", &["forbidden"]);
    api.reply(
        &path("forbidden"),
        failure(403, "forbidden: User cannot get"),
    );
    api.reply(&path("opaque"), secret("Opaque", &[]));
    api.reply(
        &path("right"),
        secret(CONFIG_TYPE, &[(".dockerconfigjson", &config(PASSWORD))]),
    );
    let folder = tempfile::tempdir().unwrap();
    let live = Live::connect(Some(&api.kubeconfig(folder.path())))
        .await
        .unwrap();
    let pipeline = pipeline(&registry, live);
    for (names, account, expected) in [
        (
            &["absent"][..],
            "default",
            r#"pull secret "absent" of namespace ns could not be read: not found"#,
        ),
        (
            &[],
            "default",
            r#"pull secret "forbidden" of namespace ns could not be read: surepull is not allowed to get it (RBAC)"#,
        ),
        (
            &["opaque"],
            "default",
            r#"pull secret "opaque" of namespace ns could not be read: it is not of type kubernetes.io/"#,
        ),
        (
            &[],
            "nobody",
            r#"ServiceAccount "nobody" of namespace ns could not be read: not found"#,
        ),
    ] {
        let (pinned, warnings) = create(&pipeline, &pod(&spec(names, account)), soon()).await;
        assert!(pinned.is_empty());
        assert!(warnings[0].contains(expected), "{warnings:?}");
    }
    // What was tried is named, by where it was found.
    let guess = secret(CONFIG_TYPE, &[(".dockerconfigjson", &config("guess"))]);
    api.set_account("ns", "bare", &[]);
    api.reply(&path("wrong"), guess);
    let tried = r#", tried with pull secret "wrong" of namespace ns and without credentials; "#;
    for (names, then) in [
        (
            &["wrong"][..],
            "check that the image exists and that a pull",
        ),
        (&["wrong", "absent"], r#"pull secret "absent" of"#),
    ] {
        let (_, warnings) = create(&pipeline, &pod(&spec(names, "bare")), soon()).await;
        let expected = format!("{tried}{then}");
        assert!(warnings[0].contains(&expected), "{warnings:?}");
        assert!(!warnings[0].contains("guess"));
    }
    // The kubelet would pull nothing, whatever the registry says.
    api.reply(
        &path("malformed"),
        secret(CONFIG_TYPE, &[(".dockerconfigjson", "hunter2")]),
    );
    let (pinned, warnings) =
        create(&pipeline, &pod(&spec(&["malformed", "right"], "")), soon()).await;
    let expected = r#"surepull: pull secret "malformed" of namespace ns could not be read: it makes the kubelet fail every pull: it is not JSON, see line 1, column 1"#;
    assert_eq!((pinned.len(), &*warnings), (1, &[expected.to_owned()][..]));
    // What can be read is used, and nobody is bothered with the rest.
    let found = create(&pipeline, &pod(&spec(&["absent", "right"], "")), soon()).await;
    assert_eq!((found.0.len(), found.1.len()), (1, 0));
    api.assert_secrets_are_read_by_name();
}

#[tokio::test]
async fn an_api_server_that_hangs_leaves_time_for_the_look_ups() {
    let registry = TestRegistry::with_basic_auth();
    registry.push_manifest("app", "1").await;
    let api = FakeApi::start().await;
    let never = Arc::new(Notify::new());
    let path = |name: &str| format!("/api/v1/namespaces/ns/secrets/{name}");
    api.set_account("ns", "default", &[]);
    api.reply(&path("slow"), Reply::Hang(never.clone()));
    api.reply(
        &path("right"),
        secret(CONFIG_TYPE, &[(".dockerconfigjson", &config(PASSWORD))]),
    );
    let folder = tempfile::tempdir().unwrap();
    let live = Live::connect(Some(&api.kubeconfig(folder.path())))
        .await
        .unwrap();
    let pipeline = pipeline(&registry, live);
    let deadline = || Instant::now() + Duration::from_secs(6);
    let (pinned, _) = create(&pipeline, &pod(&spec(&["slow", "right"], "")), deadline()).await;
    assert_eq!(pinned.len(), 1, "what is known suffices");
    let (pinned, warnings) = create(&pipeline, &pod(&spec(&["slow"], "")), deadline()).await;
    assert!(pinned.is_empty());
    let expected =
        r#"pull secret "slow" of namespace ns could not be read: the API server did not answer"#;
    assert!(warnings[0].contains(expected), "{warnings:?}");
}

#[tokio::test]
async fn pull_secrets_that_are_not_added_are_told() {
    let registry = TestRegistry::start();
    registry.push_manifest("app", "1").await;
    let api = FakeApi::start().await;
    let denied = || failure(403, "forbidden: User cannot list");
    api.reply(ACCOUNTS, denied());
    api.reply("/api/v1/namespaces/ns/serviceaccounts/builder", denied());
    let folder = tempfile::tempdir().unwrap();
    let live = Live::connect(Some(&api.kubeconfig(folder.path())))
        .await
        .unwrap();
    let pipeline = pipeline(&registry, live);
    let (pinned, warnings) = create(&pipeline, &pod(&spec(&[], "builder")), soon()).await;
    let expected = r#"surepull: the pull secrets of ServiceAccount "builder" are not added: it could not be read: surepull is not allowed to get it (RBAC)"#;
    assert_eq!((pinned.len(), &*warnings), (1, &[expected.to_owned()][..]));
    // The API server itself refuses a Pod without an account.
    let (pinned, warnings) = create(&pipeline, &pod(&spec(&[], "nobody")), soon()).await;
    assert_eq!((pinned.len(), warnings.len()), (1, 0), "{warnings:?}");
}

/// What the served binary answers to the creation of a Pod: the operations of the patch.
async fn reviewed(served: &Served, pod: &Value) -> Vec<Value> {
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u", "operation": "CREATE", "namespace": "ns", "object": pod, "oldObject": null,
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
    }});
    let (status, body) = served.post("/mutate?timeout=10s", review.to_string()).await;
    assert_eq!(status, 200);
    let answer: Value = serde_json::from_slice(&body).unwrap();
    let patch = answer["response"]["patch"].as_str().unwrap_or("W10=");
    let patch = BASE64_STANDARD.decode(patch).unwrap();
    serde_json::from_slice(&patch).unwrap()
}

#[tokio::test]
async fn the_served_binary_asks_the_cluster_of_its_kubeconfig() {
    let registry = TestRegistry::with_basic_auth();
    let digest = registry.push_manifest("app", "1").await;
    let api = FakeApi::start().await;
    api.set_account("ns", "default", &["right"]);
    let right = secret(CONFIG_TYPE, &[(".dockerconfigjson", &config(PASSWORD))]);
    api.reply("/api/v1/namespaces/ns/secrets/right", right);
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = api.kubeconfig(folder.path());
    let configuration = format!(
        "apiVersion: surepull.dev/v1alpha1\nkind: Configuration\nregistries: [{{match: registry.test, endpoints: ['{}']}}]\n",
        registry.endpoint()
    );

    let served = Served::start_in(&kubeconfig, &configuration);
    let patch = reviewed(&served, &pod(&spec(&["own"], ""))).await;
    let image = format!("registry.test/app:1@{digest}");
    assert!(
        patch.iter().any(|edit| edit["value"] == image.as_str()),
        "{patch:?}"
    );
    let added =
        json!({"op": "add", "path": "/spec/imagePullSecrets/-", "value": {"name": "right"}});
    assert!(patch.contains(&added), "{patch:?}");
    let metrics = served.ops("/metrics").await.text();
    let found = r#"surepull_cluster_requests_total{resource="secrets",result="found"} 1"#;
    assert!(metrics.contains(found), "{metrics}");
    assert!(!served.log().contains(PASSWORD), "{}", served.log());
    api.assert_secrets_are_read_by_name();
}

#[tokio::test]
async fn the_served_binary_starts_without_the_api_server() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let folder = tempfile::tempdir().unwrap();
    let path = kubeconfig(folder.path(), address);
    let served = Served::start_in(&path, "");
    // Not ready; whoever asks all the same is answered.
    assert_eq!(served.ops("/readyz").await.status, 503);
    let image = format!("app@sha256:{}", "0".repeat(64));
    let containers = json!([{"name": "c", "image": image, "imagePullPolicy": "Always"}]);
    let object = pod(&json!({"containers": containers}));
    assert!(reviewed(&served, &object).await.is_empty());
}

#[tokio::test]
async fn the_served_binary_is_ready_once_the_api_server_has_answered_and_stays_so() {
    let api = FakeApi::start().await;
    let folder = tempfile::tempdir().unwrap();
    api.reply(ACCOUNTS, failure(403, "not yet"));
    let served = Served::start_in(&api.kubeconfig(folder.path()), "");
    let (failures, ready) = (
        async || served.metric("surepull_cluster_watch_failures_total").await,
        async || served.ops("/readyz").await.status == 200,
    );
    wait_until(async || failures().await > Some(1)).await;
    assert!(!ready().await);
    api.forget(ACCOUNTS);
    wait_until(&ready).await;
    let before = failures().await;
    api.reply(ACCOUNTS, failure(503, "away"));
    api.break_watches();
    wait_until(async || failures().await > before).await;
    assert!(ready().await);
}
