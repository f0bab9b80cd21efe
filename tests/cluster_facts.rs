//! Accounts and pull secrets from an API server that answers as it is told, and counts.

mod common;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use secrecy::ExposeSecret;
use surepull::cluster::{Answer, Cluster, Live, Unreadable};
use surepull::credentials::Keyring;
use surepull::mutation::{Account, AccountQuestion};
use surepull::telemetry;
use tempfile::TempDir;
use tokio::sync::Notify;

use common::fake_api::{ACCOUNTS, FakeApi, Reply, failure, kubeconfig, secret};

const CONFIG_TYPE: &str = "kubernetes.io/dockerconfigjson";

/// A cluster whose API server is the fake one.
struct Subject {
    live: Live,
    metrics: Registry,
    _folder: TempDir,
}

impl Subject {
    async fn of(api: &FakeApi) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let live = Live::connect(Some(&api.kubeconfig(folder.path())))
            .await
            .unwrap();
        let mut metrics = Registry::default();
        live.metrics().register(&mut metrics);
        Self {
            live,
            metrics,
            _folder: folder,
        }
    }

    async fn account(&self, name: &str) -> Answer<Account> {
        let question = AccountQuestion {
            namespace: "ns",
            name,
        };
        self.live.account(question).await
    }

    /// The pull secrets of an account that must be there.
    async fn names(&self, name: &str) -> Vec<String> {
        self.account(name).await.unwrap().pull_secrets.clone()
    }

    async fn secret(&self, name: &str) -> Answer<Keyring> {
        self.live.pull_secret("ns", name).await
    }

    fn metrics(&self) -> String {
        telemetry::encode(&self.metrics).unwrap()
    }

    /// Waits for a line of the metrics.
    async fn counts(&self, line: &str) {
        let line = format!("{line}\n");
        common::wait_for(|| self.metrics().contains(&line)).await;
    }
}

fn account_path(name: &str) -> String {
    format!("/api/v1/namespaces/ns/serviceaccounts/{name}")
}

fn secret_path(name: &str) -> String {
    format!("/api/v1/namespaces/ns/secrets/{name}")
}

/// A pull secret for `r.io` with this password.
fn pull_secret(password: &str) -> Reply {
    let config =
        format!(r#"{{"auths": {{"r.io": {{"username": "u", "password": "{password}"}}}}}}"#);
    secret(CONFIG_TYPE, &[(".dockerconfigjson", &config)])
}

fn passwords(keyring: &Keyring) -> Vec<String> {
    let found = keyring.lookup("r.io/app").into_iter();
    found
        .map(|found| String::from_utf8_lossy(found.password.expose_secret()).into_owned())
        .collect()
}

#[tokio::test]
async fn accounts_are_followed() {
    let api = FakeApi::start().await;
    api.set_account("ns", "a", &["one"]);
    api.set_account("other", "a", &[]);
    let cluster = Subject::of(&api).await;
    cluster.counts("surepull_cluster_watch_synced 1").await;
    cluster.counts("surepull_cluster_accounts 2").await;
    assert_eq!(cluster.names("a").await, ["one"]);
    api.set_account("ns", "b", &["two", "three"]);
    cluster.counts("surepull_cluster_accounts 3").await;
    assert_eq!(cluster.names("b").await, ["two", "three"]);
    api.set_account("ns", "a", &[]);
    api.delete_account("ns", "b");
    cluster.counts("surepull_cluster_accounts 2").await;
    assert!(cluster.names("a").await.is_empty());
    let log = api.log();
    assert!(log.iter().all(|line| line.contains(ACCOUNTS)), "{log:?}");
    assert_eq!(cluster.account("b").await, Err(Unreadable::NotFound));
    assert_eq!(api.gets(&account_path("b")), 1, "asked for, to be sure");
}

#[tokio::test]
async fn a_broken_watch_is_resumed_where_it_was() {
    let api = FakeApi::start().await;
    api.set_account("ns", "a", &["one"]);
    let cluster = Subject::of(&api).await;
    cluster.counts("surepull_cluster_accounts 1").await;
    common::wait_for(|| api.lists_and_watches() == (1, 1)).await;
    api.reply(ACCOUNTS, failure(500, "out of order"));
    api.break_watches();
    cluster
        .counts("surepull_cluster_watch_failures_total 1")
        .await;
    assert_eq!(cluster.names("a").await, ["one"], "as it was last seen");
    api.set_account("ns", "b", &["two"]);
    api.forget(ACCOUNTS);
    cluster.counts("surepull_cluster_accounts 2").await;
    let (lists, watches) = api.lists_and_watches();
    assert_eq!(lists, 1, "resumed, not begun anew");
    assert!(watches >= 3, "{watches}");
    assert_eq!(api.gets(&account_path("b")), 0);
}

#[tokio::test]
async fn a_watch_that_is_too_old_begins_anew() {
    let api = FakeApi::start().await;
    api.set_account("ns", "a", &["one"]);
    api.set_account("ns", "gone", &[]);
    let cluster = Subject::of(&api).await;
    cluster.counts("surepull_cluster_accounts 2").await;
    common::wait_for(|| api.lists_and_watches() == (1, 1)).await;
    api.lose_account("ns", "gone");
    api.expire_watches();
    cluster.counts("surepull_cluster_accounts 1").await;
    assert_eq!(cluster.names("a").await, ["one"]);
    assert_eq!(api.lists_and_watches().0, 2);
}

#[tokio::test]
async fn an_account_that_the_watch_has_not_shown_is_asked_for_once() {
    let api = FakeApi::start().await;
    let never = Arc::new(Notify::new());
    api.reply(ACCOUNTS, Reply::Hang(never));
    api.set_account("ns", "a", &["one"]);
    let cluster = Subject::of(&api).await;
    let all = (0..20).map(|_| cluster.names("a"));
    for names in futures_util::future::join_all(all).await {
        assert_eq!(names, ["one"]);
    }
    assert_eq!(api.gets(&account_path("a")), 1);
    assert!(
        cluster
            .metrics()
            .contains("surepull_cluster_watch_synced 0\n")
    );
    let found = r#"surepull_cluster_requests_total{resource="serviceaccounts",result="found"} 1"#;
    assert!(cluster.metrics().contains(found), "{}", cluster.metrics());
}

#[tokio::test]
async fn a_pull_secret_is_read_once_in_a_while() {
    let api = FakeApi::start().await;
    let path = secret_path("s");
    let go = Arc::new(Notify::new());
    api.reply(&path, Reply::Hang(go.clone()));
    let cluster = Subject::of(&api).await;
    let all = futures_util::future::join_all((0..20).map(|_| cluster.secret("s")));
    let release = async {
        common::wait_for(|| api.gets(&path) == 1).await;
        api.reply(&path, pull_secret("first"));
        go.notify_one();
    };
    // The one that hangs is answered as usual: there is no such secret.
    let (answers, ()) = tokio::join!(all, release);
    assert!(
        answers
            .iter()
            .all(|answer| *answer.as_ref().unwrap_err() == Unreadable::NotFound)
    );
    assert_eq!(api.gets(&path), 1);
    let later = async |seconds| {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(seconds)).await;
        tokio::time::resume();
    };
    later(1).await;
    assert_eq!(passwords(&cluster.secret("s").await.unwrap()), ["first"]);
    api.reply(&path, pull_secret("second"));
    assert_eq!(passwords(&cluster.secret("s").await.unwrap()), ["first"]);
    assert_eq!(api.gets(&path), 2);
    later(10).await;
    assert_eq!(passwords(&cluster.secret("s").await.unwrap()), ["second"]);
    assert_eq!(api.gets(&path), 3);
    api.assert_secrets_are_read_by_name();
}

#[tokio::test]
async fn what_cannot_be_read_has_a_reason() {
    let api = FakeApi::start().await;
    let cluster = Subject::of(&api).await;
    let reply = |name, reply| api.reply(&secret_path(name), reply);
    reply(
        "forbidden",
        failure(403, "secrets is forbidden: User cannot get"),
    );
    reply("broken", failure(500, "etcd is away"));
    reply("opaque", secret("Opaque", &[(".dockerconfigjson", "{}")]));
    reply("empty", secret(CONFIG_TYPE, &[]));
    reply(
        "malformed",
        secret(CONFIG_TYPE, &[(".dockerconfigjson", "hunter2")]),
    );
    reply("nonsense", Reply::Is(200, "hunter2".into()));
    for (name, expected) in [
        ("absent", "not found"),
        ("forbidden", "surepull is not allowed to get it (RBAC)"),
        ("broken", "the API server answered with status 500"),
        (
            "opaque",
            "it is not of type kubernetes.io/dockerconfigjson or kubernetes.io/dockercfg",
        ),
        ("empty", "its .dockerconfigjson is empty"),
        (
            "malformed",
            "it makes the kubelet fail every pull: it is not JSON, see line 1, column 1",
        ),
        ("nonsense", "the API server's answer makes no sense"),
    ] {
        let why = cluster.secret(name).await.unwrap_err();
        assert_eq!(why.to_string(), expected, "{name}");
    }
    let metrics = cluster.metrics();
    for (result, count) in [
        ("found", 4),
        ("notFound", 1),
        ("forbidden", 1),
        ("failed", 1),
    ] {
        let line = format!(
            "surepull_cluster_requests_total{{resource=\"secrets\",result=\"{result}\"}} {count}\n"
        );
        assert!(metrics.contains(&line), "{metrics}");
    }
    api.assert_secrets_are_read_by_name();
}

#[tokio::test]
async fn what_no_object_can_be_called_is_not_asked_for() {
    let api = FakeApi::start().await;
    let cluster = Subject::of(&api).await;
    for name in [
        "../../other/secrets/s",
        "s?watch=true",
        "s/..",
        "",
        "S",
        "a b",
        "%2e%2e",
    ] {
        assert_eq!(
            cluster.secret(name).await.unwrap_err(),
            Unreadable::NotFound
        );
        assert_eq!(cluster.account(name).await, Err(Unreadable::NotFound));
        let elsewhere = cluster.live.pull_secret(name, "s").await;
        assert_eq!(elsewhere.unwrap_err(), Unreadable::NotFound);
    }
    let log = api.log();
    assert!(log.iter().all(|line| line.contains(ACCOUNTS)), "{log:?}");
}

#[tokio::test]
async fn no_value_of_a_secret_is_shown() {
    let api = FakeApi::start().await;
    api.reply(&secret_path("s"), pull_secret("hunter2"));
    let cluster = Subject::of(&api).await;
    let keyring = cluster.secret("s").await.unwrap();
    assert_eq!(passwords(&keyring), ["hunter2"]);
    let shown = format!("{:?} {keyring:?} {}", cluster.live, cluster.metrics());
    let numbers = format!("{:?}", b"hunter2");
    let numbers = numbers.trim_matches(['[', ']']);
    assert!(
        !shown.contains("hunter2") && !shown.contains(numbers),
        "{shown}"
    );
}

#[tokio::test]
async fn an_api_server_that_is_away_keeps_nobody_from_starting() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let folder = tempfile::tempdir().unwrap();
    let path = kubeconfig(folder.path(), address);
    let live = Live::connect(Some(&path)).await.unwrap();
    let why = live.pull_secret("ns", "s").await.unwrap_err();
    assert_eq!(why, Unreadable::NoAnswer);
}
