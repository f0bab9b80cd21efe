//! Files that change under a running `surepull serve`: the real binary, its files as they are mounted, and plain ones.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::version::TLS13;
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use common::client::{Authority, connect};
use common::mount::mount;
use common::registry::{PASSWORD, TestRegistry, USERNAME};
use common::serve::Served;
use common::{wait_for, wait_until};

/// A Pod with the image `registry.test/app:1.0` and the pull policy `IfNotPresent`.
const REVIEW: &str = "tests/captures/002-pods-create-tag.json";
/// Looks at the files as often as is sensible.
const EAGER: [&str; 2] = ["--reload-interval", "20ms"];

/// A configuration with these further lines, from line 3 on.
fn configuration(lines: &str) -> String {
    format!("apiVersion: surepull.dev/v1alpha1\nkind: Configuration\n{lines}")
}

/// A server on files as they are mounted.
fn mounted(configuration: &str) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let read = |file| fs::read_to_string(file).unwrap();
    let files = [
        ("surepull.yaml", configuration),
        ("tls.crt", &read(&authority.certificate)),
        ("tls.key", &read(&authority.key)),
    ];
    mount(folder.path(), &files);
    let arguments = [&["--standalone"][..], &EAGER].concat();
    Served::launch(folder, authority, &arguments)
}

/// A server on plain files.
fn plain(configuration: &str) -> Served {
    Served::start_with(configuration, &EAGER)
}

/// Puts another file in the place of one.
fn write(served: &Served, name: &str, text: &str) {
    let file = served.folder().join(name);
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, file).unwrap();
}

fn review() -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(REVIEW)).unwrap()
}

/// The patch that answers the review; empty where there is none.
async fn patch(served: &Served) -> String {
    let (status, answer) = served.post("/mutate", review()).await;
    assert_eq!(status, 200);
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["response"]["allowed"], true);
    let patch = answer["response"]["patch"].as_str().unwrap_or_default();
    String::from_utf8(BASE64_STANDARD.decode(patch).unwrap()).unwrap()
}

async fn is_always(served: &Served) -> bool {
    patch(served).await.contains("\"Always\"")
}

async fn reloads(served: &Served, what: &str, result: &str) -> u64 {
    let name = format!("surepull_reloads_total{{what=\"{what}\",result=\"{result}\"}}");
    served.metric(&name).await.expect("it is watched")
}

async fn reloaded(served: &Served, what: &str, result: &str, times: u64) {
    wait_until(async || reloads(served, what, result).await == times).await;
}

async fn last_was_good(served: &Served, what: &str) -> bool {
    let name = format!("surepull_last_reload_successful{{what=\"{what}\"}}");
    served.metric(&name).await.expect("it is watched") == 1
}

/// What a new connection is shown.
async fn chain(served: &Served) -> Vec<CertificateDer<'static>> {
    let stream = connect(served.authority.trust(&[&TLS13]), served.addr).await;
    let stream = stream.unwrap();
    stream.get_ref().1.peer_certificates().unwrap().to_vec()
}

/// A connection that is kept.
async fn keep(served: &Served) -> SendRequest<Full<Bytes>> {
    let stream = connect(served.authority.trust(&[&TLS13]), served.addr).await;
    let (sender, connection) = handshake(TokioIo::new(stream.unwrap())).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn ask(kept: &mut SendRequest<Full<Bytes>>) {
    let request = Request::post("/mutate")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(review().into());
    let answer = kept.send_request(request.unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn a_swapped_secret_is_shown_to_new_connections() {
    let text = configuration("pin: {targets: none}\n");
    let served = mounted(&text);
    let before = chain(&served).await;
    let mut kept = keep(&served).await;
    ask(&mut kept).await;
    let issued = served.authority.issue();
    let files = [
        ("surepull.yaml", &*text),
        ("tls.crt", &issued.certificate),
        ("tls.key", &issued.key),
    ];
    mount(served.folder(), &files);
    wait_until(async || chain(&served).await != before).await;
    assert_eq!(chain(&served).await, issued.chain, "the chain is whole");
    ask(&mut kept).await;
    reloaded(&served, "certificate", "success", 1).await;
    assert!(last_was_good(&served, "certificate").await);
    assert_eq!(reloads(&served, "configuration", "success").await, 0);
    wait_for(|| served.log().contains("valid for")).await;
    for metric in [
        "surepull_certificate_expiration_timestamp_seconds",
        "surepull_last_reload_success_timestamp_seconds{what=\"certificate\"}",
        "surepull_last_reload_success_timestamp_seconds{what=\"configuration\"}",
    ] {
        assert!(served.metric(metric).await > Some(0), "{metric}");
    }
}

#[tokio::test]
async fn half_a_pair_keeps_the_last_good_one() {
    let served = plain("");
    let before = chain(&served).await;
    let issued = served.authority.issue();
    write(&served, "tls.crt", &issued.certificate);
    reloaded(&served, "certificate", "failure", 1).await;
    assert!(!last_was_good(&served, "certificate").await);
    assert_eq!(chain(&served).await, before);
    // Two further looks at all files.
    for (times, text) in [(1, "mode: audit\n"), (2, "mode: enforce\n")] {
        write(&served, "surepull.yaml", &configuration(text));
        reloaded(&served, "configuration", "success", times).await;
    }
    let log = served.log();
    assert_eq!(log.matches("does not belong to").count(), 1, "{log}");
    assert_eq!(reloads(&served, "certificate", "failure").await, 1);
    write(&served, "tls.key", &issued.key);
    reloaded(&served, "certificate", "success", 1).await;
    assert!(last_was_good(&served, "certificate").await);
    assert_eq!(chain(&served).await, issued.chain);
}

#[tokio::test]
async fn an_expired_certificate_does_not_replace_a_valid_one() {
    let served = mounted("");
    let before = chain(&served).await;
    let expired = served.authority.issue_until(2001);
    let files = [
        ("surepull.yaml", ""),
        ("tls.crt", &expired.certificate),
        ("tls.key", &expired.key),
    ];
    mount(served.folder(), &files);
    reloaded(&served, "certificate", "failure", 1).await;
    assert_eq!(chain(&served).await, before);
    wait_for(|| served.log().contains("has expired")).await;
}

/// What is in effect follows the file, and stays where that is of no use.
async fn the_configuration_follows(served: &Served, write: impl Fn(&str)) {
    assert!(!is_always(served).await);
    write(&configuration("always: pods\npin: {targets: none}\n"));
    wait_until(async || is_always(served).await).await;
    reloaded(served, "configuration", "success", 1).await;
    wait_for(|| served.log().contains("changed=\"always\"")).await;
    let of_no_use = [
        ("always: podz\n", ":3:9: always: `podz` is not a value"),
        ("always: pods\n :\n", ":4:"),
        ("alwayz: none\n", ":3:1: alwayz: unknown key; did you mean"),
        (
            "registries: [{match: r.test, ca: absent.pem}]\n",
            "ca `absent.pem`: ",
        ),
        (
            "credentials: {dockerConfig: [absent.json]}\n",
            "credentials file absent.json; mount it",
        ),
        (
            "credentials: {dockerConfig: [Cargo.toml]}\n",
            "Cargo.toml is not a docker configuration",
        ),
    ];
    for (times, (lines, said)) in (1..).zip(of_no_use) {
        write(&configuration(lines));
        reloaded(served, "configuration", "failure", times).await;
        wait_for(|| served.log().contains(said)).await;
        assert!(is_always(served).await, "{lines}");
        assert!(!last_was_good(served, "configuration").await, "{lines}");
    }
    write(&configuration("pin: {targets: none}\n"));
    wait_until(async || !is_always(served).await).await;
    reloaded(served, "configuration", "success", 2).await;
    assert!(last_was_good(served, "configuration").await);
    let log = served.log();
    for (_, said) in of_no_use {
        assert_eq!(log.matches(said).count(), 1, "{said}\n{log}");
    }
}

#[tokio::test]
async fn a_rewritten_configuration_takes_effect() {
    let served = plain(&configuration("pin: {targets: none}\n"));
    let file = served.folder().join("surepull.yaml");
    the_configuration_follows(&served, |text| fs::write(&file, text).unwrap()).await;
    fs::remove_file(&file).unwrap();
    wait_for(|| served.log().contains("the configuration cannot be read")).await;
    assert!(patch(&served).await.is_empty(), "the last good one holds");
}

#[tokio::test]
async fn a_swapped_config_map_takes_effect() {
    let served = mounted(&configuration("pin: {targets: none}\n"));
    let read = |file| fs::read_to_string(file).unwrap();
    let (certificate, key) = (
        read(&served.authority.certificate),
        read(&served.authority.key),
    );
    let write = |text: &str| {
        let files = [
            ("surepull.yaml", text),
            ("tls.crt", &certificate),
            ("tls.key", &key),
        ];
        mount(served.folder(), &files);
    };
    the_configuration_follows(&served, write).await;
    assert_eq!(reloads(&served, "certificate", "success").await, 0);
}

#[tokio::test]
async fn a_mistake_in_the_configuration_does_not_keep_renewed_credentials_out() {
    let registry = TestRegistry::with_basic_auth();
    let digest = registry.push_index("app", "1.0").await;
    let folder = tempfile::tempdir().unwrap();
    let docker = folder.path().join("docker.json");
    let log_in = |password: &str| {
        let entry = format!(r#"{{"username": "{USERNAME}", "password": "{password}"}}"#);
        let text = format!(r#"{{"auths": {{"registry.test": {entry}}}}}"#);
        fs::write(&docker, text).unwrap();
    };
    log_in("no longer");
    let (endpoint, path) = (registry.endpoint(), docker.display());
    let text = configuration(&format!(
        "registries: [{{match: registry.test, endpoints: [\"{endpoint}\"]}}]\ncredentials: {{dockerConfig: [{path}]}}\n"
    ));
    let served = plain(&text);
    assert!(!patch(&served).await.contains(&digest));
    write(&served, "surepull.yaml", &(text + "mode: [\n"));
    reloaded(&served, "configuration", "failure", 1).await;
    log_in(PASSWORD);
    wait_until(async || patch(&served).await.contains(&digest)).await;
    assert!(!last_was_good(&served, "configuration").await);
}

#[tokio::test]
async fn what_is_known_of_registries_outlives_other_changes() {
    let registry = TestRegistry::start();
    let digest = registry.push_index("app", "1.0").await;
    // What the configuration names, beside the folder of the server.
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let authority = Authority::new(folder.path());
    let docker = |user: &str| {
        let text =
            format!(r#"{{"auths": {{"other.test": {{"username": "{user}", "password": "p"}}}}}}"#);
        fs::write(path("docker.json"), text).unwrap();
    };
    docker("alice");
    fs::write(path("ca.pem"), authority.issue().certificate).unwrap();
    let text = |more: &str| {
        let (endpoint, ca, docker) = (registry.endpoint(), path("ca.pem"), path("docker.json"));
        let registries = format!(
            "registries: [{{match: registry.test, endpoints: [\"{endpoint}\"], ca: {ca}}}]\ncredentials: {{dockerConfig: [{docker}]}}\n"
        );
        configuration(&(registries + more))
    };
    let served = plain(&text(""));
    let config = |more: &str| write(&served, "surepull.yaml", &text(more));
    let ca = || fs::write(path("ca.pem"), authority.issue().certificate).unwrap();
    let steps: [(&dyn Fn(), _, _); 6] = [
        (&|| config("always: pods\n"), "always", 1),
        (&|| config("mode: audit\n"), "mode, always", 1),
        (&|| docker("bob"), "credentials", 1),
        (&|| ca(), "registries", 2),
        (&|| config("cache: {ttl: 4m}\n"), "mode, cache", 3),
        (
            &|| config("cache: {ttl: 4m}\n# end"),
            "nothing that counts",
            3,
        ),
    ];
    assert!(patch(&served).await.contains(&digest));
    for (times, (change, changed, misses)) in (1..).zip(steps) {
        change();
        reloaded(&served, "configuration", "success", times).await;
        let said = format!("changed=\"{changed}\"");
        wait_for(|| served.log().contains(&said)).await;
        patch(&served).await;
        let asked = served
            .metric("surepull_registry_cache_requests_total{result=\"miss\"}")
            .await;
        assert_eq!(asked, Some(misses), "{changed}");
    }
    assert!(patch(&served).await.contains(&digest));
    // Two that were changed, then three in audit mode, then three that were changed.
    for (mode, times) in [("enforce", 5), ("audit", 3)] {
        let name = format!("surepull_mutations_total{{function=\"pin\",mode=\"{mode}\"}}");
        assert_eq!(served.metric(&name).await, Some(times), "{mode}");
    }
    assert_no_family_twice(&served.ops("/metrics").await.text());
}

fn assert_no_family_twice(metrics: &str) {
    let is_type = |line: &&str| line.starts_with("# TYPE");
    let types: Vec<_> = metrics.lines().filter(is_type).collect();
    let distinct: BTreeSet<_> = types.iter().collect();
    assert_eq!(types.len(), distinct.len(), "{metrics}");
}

#[tokio::test]
async fn reviews_go_on_and_none_is_answered_by_two_configurations() {
    let (one, other) = (TestRegistry::start(), TestRegistry::start());
    one.push_index("app", "1.0").await;
    other.push_manifest("app", "1.0").await;
    let text = |always: &str, registry: &TestRegistry| {
        let endpoint = registry.endpoint();
        configuration(&format!(
            "always: {always}\nregistries: [{{match: registry.test, endpoints: [\"{endpoint}\"]}}]\n"
        ))
    };
    let texts = [text("none", &one), text("pods", &other)];
    let served = plain(&texts[0]);
    let first = patch(&served).await;
    write(&served, "surepull.yaml", &texts[1]);
    reloaded(&served, "configuration", "success", 1).await;
    let answers = [first, patch(&served).await];
    assert_ne!(answers[0], answers[1]);

    let done = AtomicBool::new(false);
    let stream = async || {
        let mut seen = [0, 0];
        while !done.load(Ordering::Relaxed) {
            let answer = patch(&served).await;
            let which = answers.iter().position(|known| *known == answer);
            seen[which.unwrap_or_else(|| panic!("mixed: {answer}"))] += 1;
        }
        seen
    };
    let changes = async {
        for times in 2..22 {
            // The first change was to the second text.
            let next = usize::from(times % 2 == 1);
            write(&served, "surepull.yaml", &texts[next]);
            reloaded(&served, "configuration", "success", times).await;
            assert_eq!(patch(&served).await, answers[next]);
        }
        done.store(true, Ordering::Relaxed);
    };
    let (a, b, c, ()) = tokio::join!(stream(), stream(), stream(), changes);
    let seen = [a, b, c].concat();
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
    assert_eq!(reloads(&served, "configuration", "failure").await, 0);
}

#[tokio::test]
async fn sighup_looks_at_once() {
    let text = configuration("pin: {targets: none}\n");
    let served = Served::start_with(&text, &["--reload-interval", "0s"]);
    served.hang_up();
    wait_for(|| served.log().contains("looking for changed files")).await;
    write(
        &served,
        "surepull.yaml",
        &configuration("always: pods\npin: {targets: none}\n"),
    );
    assert!(!is_always(&served).await);
    served.hang_up();
    wait_until(async || is_always(&served).await).await;
}

#[tokio::test]
async fn credential_providers_follow_their_files() {
    let registry = TestRegistry::with_basic_auth();
    let digest = registry.push_index("app", "1.0").await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["bin", "config"] {
        fs::create_dir(path(name)).unwrap();
    }
    symlink("/bin/sh", path("bin/provider")).unwrap();
    let provider = |file: &str, name: &str, password: &str| {
        let answer = json!({
            "kind": "CredentialProviderResponse", "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
            "cacheKeyType": "Global", "auth": {"registry.test": {"username": USERNAME, "password": password}},
        });
        let config = json!({
            "apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig", "providers": [{
                "name": name, "apiVersion": "credentialprovider.kubelet.k8s.io/v1", "matchImages": ["*.test"],
                "defaultCacheDuration": "1h", "args": ["-c", format!("echo '{answer}'; echo $SECRET >&2")],
                "env": [{"name": "SECRET", "value": "swordfish"}],
            }],
        });
        fs::write(path("new"), config.to_string()).unwrap();
        fs::rename(path("new"), path("config").join(file)).unwrap();
    };
    provider("a.json", "provider", "swordfish");
    let (endpoint, config, bin) = (registry.endpoint(), path("config"), path("bin"));
    let served = plain(&configuration(&format!(
        "registries: [{{match: registry.test, endpoints: [\"{endpoint}\"]}}]\ncredentials: {{providers: {{config: {}, binDir: {}}}}}\n",
        config.display(),
        bin.display()
    )));
    assert!(!patch(&served).await.contains(&digest));
    provider("a.json", "provider", PASSWORD);
    reloaded(&served, "configuration", "success", 1).await;
    wait_for(|| served.log().contains("changed=\"credentials\"")).await;
    assert!(patch(&served).await.contains(&digest));
    // One more file is a change of the folder; this one's program is not there.
    provider("b.json", "absent", "swordfish");
    reloaded(&served, "configuration", "failure", 1).await;
    wait_for(|| served.log().contains("for provider `absent`; put it there")).await;
    assert!(patch(&served).await.contains(&digest));
    let calls =
        "surepull_credential_provider_calls_total{provider=\"provider\",result=\"success\"}";
    assert_eq!(served.metric(calls).await, Some(2));
    let said = served.log() + &served.ops("/metrics").await.text();
    for secret in ["swordfish", PASSWORD] {
        assert!(!said.contains(secret), "{said}");
    }
}

#[tokio::test]
async fn folders_of_docker_configuration_are_followed() {
    let registry = TestRegistry::with_basic_auth();
    let digest = registry.push_index("app", "1.0").await;
    let folder = tempfile::tempdir().unwrap();
    let (endpoint, path) = (registry.endpoint(), folder.path().display());
    let served = plain(&configuration(&format!(
        "registries: [{{match: registry.test, endpoints: [\"{endpoint}\"]}}]\ncredentials: {{dockerConfig: [{path}]}}\n"
    )));
    let nothing = format!("there are no credentials in {path}: ");
    assert_eq!(served.log().matches(&nothing).count(), 1);
    assert!(!patch(&served).await.contains(&digest));
    let entry = json!({"registry.test": {"username": USERNAME, "password": PASSWORD}});
    for (times, (name, text, is_pinned)) in (1..).zip([
        (".dockercfg", entry.to_string(), true),
        ("config.json", "{}".to_owned(), false),
        ("config.json", "swordfish".to_owned(), true),
    ]) {
        fs::write(folder.path().join("new"), text).unwrap();
        fs::rename(folder.path().join("new"), folder.path().join(name)).unwrap();
        reloaded(&served, "configuration", "success", times).await;
        let answer = patch(&served).await;
        assert_eq!(answer.contains(&digest), is_pinned, "{name} {times}");
    }
    let log = served.log();
    let passed_over = "config.json is not a docker configuration";
    assert_eq!(log.matches(passed_over).count(), 1, "{log}");
    assert!(
        !log.contains("swordfish") && !log.contains(PASSWORD),
        "{log}"
    );
}
