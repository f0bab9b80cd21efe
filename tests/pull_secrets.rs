//! Look-ups with the pull secrets that the Pods will have, at a real registry that wants them.

mod common;

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
use common::soon;

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
    for name in ["wrong", "worse", "4", "5"] {
        api.reply(&path(name), guess.clone());
    }
    let tried = |names: &[&str]| {
        let sources = names.iter();
        let sources = sources.map(|name| format!("pull secret {name:?} of namespace ns"));
        format!("; tried with {}", sources.collect::<Vec<_>>().join(", "))
    };
    for (names, expected) in [
        (
            &["wrong"][..],
            tried(&["wrong"]) + "; check that the image exists and that these may read it",
        ),
        (
            &["wrong", "absent"],
            tried(&["wrong"]) + r#"; pull secret "absent" of"#,
        ),
        (
            &["wrong", "worse", "4", "5"],
            tried(&["wrong", "worse"]) + " and 2 more; check",
        ),
    ] {
        let (_, warnings) = create(&pipeline, &pod(&spec(names, "bare")), soon()).await;
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

/// A pipeline for namespace `ns`, where pull secret `s` holds this document, by these rules.
fn ruled(endpoint: &str, document: &str, rules: Credentials) -> Pipeline {
    let mut given = Given::default();
    given.add_pull_secret("ns", "s", CONFIG_TYPE, |_| Some(document.as_bytes()));
    given.add_account("ns", "default", Account::default());
    let registries = [common::entry("registry.test", &[endpoint], None)];
    let resolver = Resolver::new(&registries, &Cache::default()).unwrap();
    let keyring = Keyring::default();
    Pipeline::new(Settings::default(), resolver, keyring, Arc::new(given)).with_credentials(rules)
}

#[tokio::test]
async fn documented_patterns_count_where_the_configuration_says_so() {
    let registry = TestRegistry::with_basic_auth();
    registry.push_manifest("app", "1").await;
    let pod = pod(&spec(&["s"], ""));
    for (key, kubelet, documented, remark) in [
        ("registry.test", true, true, None),
        ("*.test", true, true, None),
        (
            "regist[a-z]y.test/app",
            false,
            true,
            Some(
                r#"surepull: registry.test/app:1 is found only with entry "regist[a-z]y.test/app" of pull secret "s" of namespace ns; the kubelet would not use that"#,
            ),
        ),
        (
            "*.tes?",
            false,
            true,
            Some(r#"found only with entry "*.tes?" of"#),
        ),
        (
            "*test",
            false,
            true,
            Some(
                r#"surepull: entry "*test" of pull secret "s" of namespace ns has a `*` that no dot follows: it also matches the domains of strangers"#,
            ),
        ),
        ("*.example", false, false, None),
    ] {
        let document = json!({"auths": {key: {"username": USERNAME, "password": PASSWORD}}});
        for (patterns, found) in [
            (Patterns::Kubelet, kubelet),
            (Patterns::Documented, documented),
        ] {
            let rules = Credentials {
                patterns,
                ..Credentials::default()
            };
            let pipeline = ruled(&registry.endpoint(), &document.to_string(), rules);
            // Twice: what is remembered is explained as well as what is new.
            for _ in 0..2 {
                let (pinned, warnings) = create(&pipeline, &pod, soon()).await;
                let told = warnings.join("\n");
                assert_eq!(
                    pinned.len(),
                    usize::from(found),
                    "{key} {patterns:?}: {told}"
                );
                match (patterns, remark) {
                    (Patterns::Documented, Some(remark)) => {
                        assert!(told.contains(remark), "{told}");
                    }
                    (Patterns::Kubelet, Some(_)) => {
                        let expected = format!(
                            r#"surepull: entry "{key}" of pull secret "s" of namespace ns matches registry.test/app:1 by the documented patterns only: for the kubelet"#
                        );
                        assert!(told.contains(&expected), "{told}");
                    }
                    _ => assert_eq!(warnings.len(), usize::from(!found), "{told}"),
                }
                assert!(!told.contains(PASSWORD), "{told}");
            }
        }
    }
}

/// A registry of public images, whose token service refuses who shows an outdated password.
///
/// And how many requests it has had.
async fn public_registry() -> (String, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let challenge = format!(r#"Bearer realm="{endpoint}/token""#);
    let digest = format!("sha256:{}", "a".repeat(64));
    let requests = Arc::new(AtomicUsize::new(0));
    let count = requests.clone();
    let answer = move |request: Request| {
        count.fetch_add(1, Ordering::SeqCst);
        let authorized = request.headers().contains_key("authorization");
        let is_token = request.uri().path() == "/token";
        let header = match (is_token, authorized) {
            (true, _) => ("x-none", String::new()),
            (false, true) => ("docker-content-digest", digest.clone()),
            (false, false) => ("www-authenticate", challenge.clone()),
        };
        let status = if is_token == authorized {
            StatusCode::UNAUTHORIZED
        } else {
            StatusCode::OK
        };
        let index = "application/vnd.oci.image.index.v1+json".to_owned();
        async move {
            (
                status,
                [header, ("content-type", index)],
                r#"{"token":"t"}"#,
            )
        }
    };
    let routes = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (endpoint, requests)
}

#[tokio::test]
async fn an_image_found_only_without_credentials_is_told_or_not_found() {
    let (endpoint, requests) = public_registry().await;
    let pod = pod(&spec(&["s"], ""));
    let kubelet = Credentials {
        anonymous_fallback: false,
        ..Credentials::default()
    };
    for (rules, document, found, remark) in [
        (
            Credentials::default(),
            config("guess"),
            true,
            Some(
                r#"surepull: registry.test/app:1 is found only without credentials; the kubelet would try with pull secret "s" of namespace ns and then fail to pull it"#,
            ),
        ),
        (
            kubelet.clone(),
            config("guess"),
            false,
            Some(r#", tried with pull secret "s" of namespace ns; check that"#),
        ),
        // The kubelet tries without credentials where there are none, and where they are empty.
        (
            kubelet.clone(),
            config("guess").replace("registry", "other"),
            true,
            None,
        ),
        (
            kubelet.clone(),
            r#"{"auths": {"registry.test": {}}}"#.to_owned(),
            true,
            None,
        ),
        (
            Credentials::default(),
            r#"{"auths": {"registry.test": {}}}"#.to_owned(),
            true,
            None,
        ),
    ] {
        let pipeline = ruled(&endpoint, &document, rules);
        let mut asked = Vec::new();
        for _ in 0..2 {
            let (pinned, warnings) = create(&pipeline, &pod, soon()).await;
            asked.push(requests.load(Ordering::SeqCst));
            assert_eq!(pinned.len(), usize::from(found), "{warnings:?}");
            assert_eq!(
                warnings.len(),
                usize::from(remark.is_some()),
                "{warnings:?}"
            );
            let told = warnings.join("");
            assert!(told.contains(remark.unwrap_or_default()), "{warnings:?}");
        }
        assert_eq!(asked[0], asked[1], "what is known is not asked again");
    }
}

#[tokio::test]
async fn a_broken_pull_secret_is_passed_over_or_ends_the_look_up() {
    let (endpoint, _) = public_registry().await;
    let pod = pod(&spec(&["s"], ""));
    for skip_broken_pull_secrets in [true, false] {
        let rules = Credentials {
            skip_broken_pull_secrets,
            ..Credentials::default()
        };
        let pipeline = ruled(&endpoint, "{", rules);
        let (pinned, warnings) = create(&pipeline, &pod, soon()).await;
        assert_eq!(pinned.len(), usize::from(skip_broken_pull_secrets));
        let [warning] = &warnings[..] else {
            panic!("one warning: {warnings:?}");
        };
        let expected = r#"pull secret "s" of namespace ns could not be read: it makes the kubelet fail every pull"#;
        assert!(warning.contains(expected), "{warning}");
    }
}

/// A cluster for namespace `ns`, where account `default` has some pull secrets, `strict` may have no others than its own,
/// and Secrets hold entries: each is named after its host, `broken` is none, and `opaque` has the wrong type.
fn additions_cluster() -> Known {
    let mut given = Given::default();
    for host in ["registry.test", "other.test", "index.docker.io"] {
        let document = config(PASSWORD).replace("registry.test", host);
        given.add_pull_secret("ns", host, CONFIG_TYPE, |_| Some(document.as_bytes()));
    }
    given.add_pull_secret("ns", "broken", CONFIG_TYPE, |_| Some(b"{"));
    given.add_pull_secret("ns", "opaque", "Opaque", |_| Some(b"{}"));
    for (name, mountable_only) in [("default", false), ("strict", true)] {
        let names = [
            "other.test",
            "",
            "registry.test",
            "opaque",
            "index.docker.io",
            "other.test",
        ];
        let pull_secrets = names.map(String::from).to_vec();
        let account = Account {
            pull_secrets,
            mountable_only,
        };
        given.add_account("ns", name, account);
    }
    for (name, own, mountable_only) in [
        ("broken", "broken", false),
        ("other", "other.test", false),
        ("strict-other", "other.test", true),
    ] {
        let pull_secrets = vec![own.to_owned()];
        let account = Account {
            pull_secrets,
            mountable_only,
        };
        given.add_account("ns", name, account);
    }
    given.add_account("ns", "bare", Account::default());
    Known(given)
}

/// A cluster of which everything is known: what it was not given does not exist.
struct Known(Given);

impl Cluster for Known {
    fn account<'a>(
        &'a self,
        question: AccountQuestion<'a>,
    ) -> BoxFuture<'a, cluster::Answer<Account>> {
        let answer = self.0.account(question);
        Box::pin(async { answer.await.map_err(|_| Unreadable::NotFound) })
    }

    fn pull_secret<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, cluster::Answer<Keyring>> {
        let answer = self.0.pull_secret(namespace, name);
        let absent = |why| match why {
            Unreadable::NoCluster => Unreadable::NotFound,
            why => why,
        };
        Box::pin(async move { answer.await.map_err(absent) })
    }
}

/// The names that a Pod gets on top, and the warnings.
async fn added(pipeline: &Pipeline, change: &Change<'_>) -> (Vec<String>, Vec<String>) {
    let kinds = kinds();
    let review = review(&kinds, change).unwrap();
    let outcome = pipeline.decide(&review, soon()).await.unwrap();
    let edits = outcome.edits.iter().filter_map(|edit| match &edit.change {
        surepull::mutation::Change::AddNames(names) | surepull::mutation::Change::Append(names) => {
            Some(names.clone())
        }
        _ => None,
    });
    (edits.flatten().collect(), outcome.warnings.clone())
}

fn adding(endpoint: &str, how: PullSecrets, extra: &[&str], mode: Mode) -> Pipeline {
    let registries = [common::entry("registry.test", &[endpoint], None)];
    let resolver = Resolver::new(&registries, &Cache::default()).unwrap();
    let settings = Settings {
        mode,
        pull_secrets: how,
        extra_pull_secrets: extra.iter().map(|name| (*name).to_owned()).collect(),
        ..Settings::default()
    };
    let cluster = Arc::new(additions_cluster());
    Pipeline::new(settings, resolver, Keyring::default(), cluster)
}

/// A Pod of images that are pinned already.
fn pinned_pod(account: &str, own: &[&str], images: &[&str]) -> Value {
    let mut spec = spec(own, account);
    let image = |(index, image): (usize, &&str)| json!({"name": format!("c{index}"), "image": format!("{image}@sha256:{}", "0".repeat(64)), "imagePullPolicy": "Always"});
    spec["containers"] = images.iter().enumerate().map(image).collect();
    pod(&spec)
}

/// What a Pod of an account, with some pull secrets of its own and some images, gets on top.
struct Addition {
    how: PullSecrets,
    extra: &'static [&'static str],
    account: &'static str,
    own: &'static [&'static str],
    images: &'static [&'static str],
    added: &'static [&'static str],
    warning: Option<&'static str>,
}

impl Addition {
    const DEFAULT: Self = Self {
        how: PullSecrets::None,
        extra: &[],
        account: "bare",
        own: &["own"],
        images: &["registry.test/app"],
        added: &[],
        warning: None,
    };
    const ACCOUNTS: Self = Self {
        how: PullSecrets::Matching,
        account: "default",
        ..Self::DEFAULT
    };

    fn pod(&self, images: &[&str]) -> Value {
        pinned_pod(self.account, self.own, images)
    }

    fn pipeline(&self, mode: Mode) -> Pipeline {
        // No image is looked up.
        adding("http://127.0.0.1:1", self.how, self.extra, mode)
    }

    async fn check(&self) {
        let pod = self.pod(self.images);
        let pipeline = self.pipeline(Mode::Enforce);
        let (names, warnings) = added(&pipeline, &Change::create(&pod)).await;
        assert_eq!(names, self.added, "{pod}: {warnings:?}");
        assert_eq!(
            warnings.len(),
            usize::from(self.warning.is_some()),
            "{warnings:?}"
        );
        let told = warnings.join("");
        assert!(told.contains(self.warning.unwrap_or_default()), "{told}");

        // The stored object is no change, and the same manifest again gets the same back; as it must, also with other
        // images.
        let has: Vec<&str> = self.own.iter().chain(self.added).copied().collect();
        let stored = pinned_pod(self.account, &has, self.images);
        let twice = added(&pipeline, &Change::create(&stored)).await;
        assert_eq!(twice.0, [""; 0], "{stored}");
        for images in [self.images, &["quay.test/app"]] {
            let again = self.pod(images);
            let again = added(&pipeline, &Change::update(&stored, &again)).await;
            assert_eq!(again, (names.clone(), Vec::new()), "{stored}");
        }

        let (_, told) = added(&self.pipeline(Mode::Audit), &Change::create(&pod)).await;
        let would = format!(
            "surepull would add {} to imagePullSecrets",
            names.join(", ")
        );
        assert_eq!(told.contains(&would), !names.is_empty(), "{told:?}");
    }
}

#[tokio::test]
async fn pull_secrets_of_the_account_that_match_an_image_are_added() {
    let accounts = Addition::ACCOUNTS;
    for addition in [
        Addition {
            added: &["registry.test"],
            ..accounts
        },
        Addition {
            own: &["own", "registry.test"],
            ..accounts
        },
        Addition {
            account: "bare",
            ..accounts
        },
        Addition {
            account: "unknown",
            ..accounts
        },
        Addition {
            own: &[],
            images: &["app", "other.test/app:1"],
            added: &["other.test", "index.docker.io"],
            ..accounts
        },
        Addition {
            images: &["localhost/app", "not a valid::image"],
            ..accounts
        },
        Addition {
            account: "broken",
            warning: Some(
                r#"surepull: pull secret "broken" is not added: it could not be read: it makes the kubelet fail every pull"#,
            ),
            ..accounts
        },
        Addition {
            account: "strict",
            added: &["registry.test"],
            ..accounts
        },
    ] {
        addition.check().await;
    }
}

#[tokio::test]
async fn configured_pull_secrets_that_are_there_and_match_are_added() {
    let configured = Addition {
        extra: &[
            "missing",
            "registry.test",
            "opaque",
            "index.docker.io",
            "registry.test",
        ],
        ..Addition::DEFAULT
    };
    for addition in [
        Addition {
            added: &["registry.test"],
            ..configured
        },
        Addition {
            how: PullSecrets::Merge,
            added: &["registry.test"],
            ..configured
        },
        Addition {
            images: &["app", "registry.test/app"],
            added: &["registry.test", "index.docker.io"],
            ..configured
        },
        Addition {
            own: &[],
            added: &["registry.test"],
            ..configured
        },
        Addition {
            own: &["registry.test"],
            ..configured
        },
        Addition {
            images: &["other.test/app"],
            ..configured
        },
        Addition {
            account: "unknown",
            ..configured
        },
        Addition {
            extra: &["broken", "registry.test"],
            added: &["registry.test"],
            warning: Some(r#"surepull: pull secret "broken" is not added"#),
            ..configured
        },
        // The account's own go first.
        Addition {
            how: PullSecrets::Matching,
            account: "other",
            extra: &["registry.test"],
            images: &["registry.test/app", "other.test/app"],
            added: &["other.test", "registry.test"],
            ..configured
        },
        // The API server would refuse a Pod of this account with any but its own.
        Addition {
            account: "strict",
            added: &["registry.test"],
            ..configured
        },
        Addition {
            account: "strict-other",
            ..configured
        },
    ] {
        addition.check().await;
    }
}

#[tokio::test]
async fn a_failed_look_up_says_how_to_make_the_configured_pull_secret() {
    let registry = TestRegistry::with_basic_auth();
    registry.push_manifest("app", "1").await;
    let spec = spec(&[], "bare");
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"template": {"spec": spec}}});
    for (extra, found, command) in [
        ("registry.test", true, ""),
        (
            "missing",
            false,
            "surepull: Pods of namespace ns would get pull secret \"missing\" for registry.test, but there is none; create it: kubectl create secret docker-registry missing -n ns --docker-server=registry.test --docker-username=USER --docker-password=PASSWORD",
        ),
        (
            "other.test",
            false,
            "surepull: Pods of namespace ns do not get pull secret \"other.test\": it has no entry for registry.test/app; replace it: kubectl create secret generic other.test -n ns --type=kubernetes.io/dockerconfigjson --from-file=.dockerconfigjson=config.json",
        ),
        (
            "opaque",
            false,
            "surepull: Pods of namespace ns do not get pull secret \"opaque\": it is not of type kubernetes.io/dockerconfigjson",
        ),
        (
            "broken",
            false,
            "surepull: Pods of namespace ns do not get pull secret \"broken\": it makes the kubelet fail every pull",
        ),
    ] {
        let pipeline = adding(
            &registry.endpoint(),
            PullSecrets::Merge,
            &[extra],
            Mode::Enforce,
        );
        for object in [pod(&spec), deployment.clone()] {
            let (pinned, warnings) = create(&pipeline, &object, soon()).await;
            assert_eq!(pinned.len(), usize::from(found), "{extra}: {warnings:?}");
            let told = warnings.join("\n");
            assert!(told.contains(command), "{told}");
            assert_eq!(told.contains("kubectl"), !found, "{told}");
        }
    }
}

#[tokio::test]
async fn configured_pull_secrets_are_missed_where_they_matter() {
    let registry = TestRegistry::with_basic_auth();
    registry.push_manifest("app", "1").await;
    let spec = spec(&[], "bare");
    // Nothing is missed where the image is for everybody.
    let open = TestRegistry::start();
    open.push_manifest("app", "1").await;
    let pipeline = adding(
        &open.endpoint(),
        PullSecrets::Merge,
        &["missing"],
        Mode::Enforce,
    );
    let (pinned, warnings) = create(&pipeline, &pod(&spec), soon()).await;
    assert_eq!((pinned.len(), warnings.len()), (1, 0), "{warnings:?}");
    // The files of the configuration find the image, but the nodes need not have them.
    let mut keyring = Keyring::default();
    let document = Document::decode(Form::ConfigJson, config(PASSWORD).as_bytes()).unwrap();
    keyring.add(document, &Arc::from("file f"));
    let pipeline = adding(
        &registry.endpoint(),
        PullSecrets::Merge,
        &["missing"],
        Mode::Enforce,
    );
    let (settings, resolver) = (pipeline.settings().clone(), pipeline.resolver().clone());
    let pipeline = pipeline.successor(settings, resolver, keyring);
    let (pinned, warnings) = create(&pipeline, &pod(&spec), soon()).await;
    assert_eq!((pinned.len(), warnings.len()), (1, 1), "{warnings:?}");
    assert!(
        warnings[0].contains("docker-registry missing -n ns"),
        "{warnings:?}"
    );
    // An account that may have none but its own is told of that.
    let pipeline = adding(
        &registry.endpoint(),
        PullSecrets::None,
        &["missing"],
        Mode::Enforce,
    );
    let mut strict = pod(&spec);
    strict["spec"]["serviceAccountName"] = json!("strict");
    let (_, warnings) = create(&pipeline, &strict, soon()).await;
    assert!(
        warnings[0].contains("the ServiceAccount enforces mountable secrets"),
        "{warnings:?}"
    );
    assert_eq!(warnings.len(), 1, "{warnings:?}");
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
    assert_eq!(served.ops("/readyz").await.status, 200);
    let image = format!("app@sha256:{}", "0".repeat(64));
    let containers = json!([{"name": "c", "image": image, "imagePullPolicy": "Always"}]);
    let object = pod(&json!({"containers": containers}));
    assert!(reviewed(&served, &object).await.is_empty());
}
