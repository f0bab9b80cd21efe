//! Settings of registries, as the real binary follows them.

mod common;

use std::fs;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::CertificateParams;
use serde_json::Value;

use common::client::Authority;
use common::faulty::{Faulty, digest, good, reply};
use common::proxy::Proxy;
use common::review::{pod, reviewed};
use common::serve::{Served, run};
use common::{wait_for, wait_until};

const HEAD: &str = "apiVersion: surepull.dev/v1alpha1\nkind: Configuration\n";
const IMAGE: &str = "registry.test/app:1";

/// A server with a certificate for `registry.test`.
async fn registry(authority: &Authority, wants_clients: bool) -> Faulty {
    let leaf = CertificateParams::new(["registry.test".to_owned(), "localhost".to_owned()]);
    let issued = authority.sign(&leaf.unwrap());
    let tls = issued.server(wants_clients.then_some(authority));
    Faulty::start_tls(tls, |request| {
        let answer = if request.uri().path().contains("/metadata/") {
            reply(307, &[("location", "https://169.254.169.254/")], "")
        } else {
            good()
        };
        Box::pin(async { answer })
    })
    .await
}

fn is_pinned(answer: &Value) -> bool {
    let patch = answer["patch"].as_str().unwrap_or_default();
    let patch = String::from_utf8(BASE64_STANDARD.decode(patch).unwrap()).unwrap();
    patch.contains(digest().as_str())
}

async fn review(served: &Served, image: &str) -> Value {
    reviewed(served, &pod(&[image]), None, false).await
}

#[tokio::test]
async fn what_is_dangerous_is_told_at_every_turn() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let upstream = registry(&authority, false).await;
    let configuration = format!(
        "{HEAD}registries:\n- match: registry.test\n  endpoints: ['{}']\n  insecureSkipVerify: true\n",
        upstream.endpoint
    );
    let words =
        "registries[0].insecureSkipVerify: the certificates of `registry.test` are not verified";
    let served = Served::start_with(&configuration, &["--reload-interval", "20ms"]);
    assert!(is_pinned(&review(&served, IMAGE).await));
    let told = || served.log().matches(words).count();
    assert_eq!(told(), 1, "{}", served.log());
    let file = served.folder().join("surepull.yaml");
    let (valid, said) = run(&["config", "check", file.to_str().unwrap()]);
    assert!(
        valid && said.contains("valid\n") && said.contains(words),
        "{said}"
    );
    // Another change is a reload, too.
    fs::write(&file, configuration + "always: pods\n").unwrap();
    wait_for(|| told() == 2).await;
}

#[tokio::test]
async fn a_client_certificate_is_read_again_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let upstream = registry(&authority, true).await;
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("ca.pem"), &authority.ca).unwrap();
    let other = tempfile::tempdir().unwrap();
    let put = |issued: common::client::Issued| {
        fs::write(path("client.crt"), issued.certificate).unwrap();
        fs::write(path("client.key"), issued.key).unwrap();
    };
    put(Authority::new(other.path()).issue());
    let configuration = format!(
        "{HEAD}cache: {{negativeTtl: 0s}}\nregistries:\n- match: registry.test\n  endpoints: ['{}']\n  ca: '{}'\n  clientCertificate: {{certificate: '{}', key: '{}'}}\n",
        upstream.endpoint,
        path("ca.pem"),
        path("client.crt"),
        path("client.key")
    );
    let served = Served::start_with(&configuration, &["--reload-interval", "20ms"]);
    let answer = review(&served, IMAGE).await;
    assert!(
        !is_pinned(&answer) && upstream.clients().is_empty(),
        "{answer}"
    );
    put(authority.issue());
    wait_until(async || is_pinned(&review(&served, IMAGE).await)).await;
    assert!(upstream.clients().iter().all(|shown| *shown));
}

#[tokio::test]
async fn registries_are_reached_through_the_proxy_of_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let upstream = registry(&authority, false).await;
    let port: u16 = upstream
        .endpoint
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let proxy = Proxy::start(([127, 0, 0, 1], port).into()).await;
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, &authority.ca).unwrap();
    let configuration = format!(
        "{HEAD}registries: [{{match: registry.test, ca: '{}'}}]\n",
        ca.display()
    );
    let url = format!("http://alice:swordfish@{}", proxy.address);
    let served = Served::start_with_env(&configuration, &[("HTTPS_PROXY", &url)]);
    // Nobody but the proxy knows the name.
    let answer = review(&served, IMAGE).await;
    assert!(is_pinned(&answer), "{answer}");
    let requests = proxy.requests();
    let credentials = BASE64_STANDARD.encode("alice:swordfish");
    assert!(
        requests[0].starts_with("CONNECT registry.test:443 HTTP/1.1\r\n"),
        "{requests:?}"
    );
    assert!(
        requests[0].contains(&format!("Basic {credentials}")),
        "{requests:?}"
    );

    // What is known of an address or a name is checked before the proxy is asked.
    for image in [
        "169.254.169.254/app:1",
        "metadata.google.internal/app:1",
        "registry.test/metadata/app:1",
    ] {
        let answer = review(&served, image).await;
        let told = answer["warnings"][0].as_str().unwrap_or_default();
        assert!(told.contains("refused to ask"), "{image}: {answer}");
    }
    let all = proxy.requests();
    assert!(
        all.iter()
            .all(|head| head.starts_with("CONNECT registry.test:443 ")),
        "{all:?}"
    );

    // Excepted, it has to be resolved here.
    let variables = [
        ("HTTPS_PROXY", &*url),
        ("NO_PROXY", "example.test,registry.test"),
    ];
    let direct = Served::start_with_env(&configuration, &variables);
    let answer = review(&direct, IMAGE).await;
    assert!(!is_pinned(&answer), "{answer}");
    assert_eq!(proxy.requests().len(), all.len());
    for served in [&served, &direct] {
        assert!(!served.log().contains("swordfish"), "{}", served.log());
    }
}

#[tokio::test]
async fn a_proxy_that_is_of_no_use_is_named_without_its_password() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    let url = format!("http://alice:swordfish@{address}");
    let served = Served::start_with_env(HEAD, &[("https_proxy", &url)]);
    let answer = review(&served, IMAGE).await;
    let told = answer["warnings"][0].as_str().unwrap();
    let expected =
        format!("unavailable: registry.test: cannot connect: by way of the proxy {address}: ");
    assert!(
        told.contains(&expected) && !told.contains("swordfish"),
        "{told}"
    );
}

#[tokio::test]
async fn what_is_verified_and_allowed_follows_the_configuration() {
    // It names a digest that it does not have.
    let upstream = Faulty::answering(|request| {
        if request.uri().path().contains("sha256:") {
            reply(404, &[], "")
        } else {
            good()
        }
    })
    .await;
    let base = format!(
        "{HEAD}registries: [{{match: registry.test, endpoints: ['{}']}}]\n",
        upstream.endpoint
    );
    let served = Served::start_with(&base, &["--reload-interval", "20ms"]);
    assert!(is_pinned(&review(&served, IMAGE).await));
    for (lines, words) in [
        ("pin: {verify: true}\n", "and does not have it"),
        (
            "network: {denyRegistries: [registry.test]}\n",
            "network.denyRegistries has `registry.test`",
        ),
    ] {
        fs::write(
            served.folder().join("surepull.yaml"),
            format!("{base}{lines}"),
        )
        .unwrap();
        wait_until(async || {
            let answer = review(&served, IMAGE).await;
            let told = answer["warnings"][0].as_str().unwrap_or_default();
            told.contains(words)
        })
        .await;
    }
}
