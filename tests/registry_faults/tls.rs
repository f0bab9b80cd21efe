//! TLS: whom it trusts, and as whom.

use std::path::PathBuf;

use common::client::{Authority, Issued};
use rcgen::{CertificateParams, date_time_ymd};
use surepull::config::{ClientCertificate, Registry};
use tempfile::TempDir;

use super::*;

/// A certificate authority in a folder, its certificate as `ca.pem`.
fn authority() -> (TempDir, Authority, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &authority.ca).unwrap();
    (folder, authority, ca)
}

fn certificate(authority: &Authority, name: &str, expired: bool) -> Issued {
    let mut leaf = CertificateParams::new([name.to_owned()]).unwrap();
    if expired {
        leaf.not_before = date_time_ymd(2001, 1, 1);
        leaf.not_after = date_time_ymd(2002, 1, 1);
    }
    authority.sign(&leaf)
}

async fn serving(issued: &Issued) -> Faulty {
    Faulty::start_tls(issued.server(None), |_| Box::pin(async { good() })).await
}

fn resolver_of(registry: Registry) -> Resolver {
    Resolver::new(&[registry], &Cache::default()).unwrap()
}

#[tokio::test]
async fn certificates_are_verified_unless_that_is_switched_off() {
    let (_folder, known, ca) = authority();
    let (_other_folder, unknown, _) = authority();
    for (issued, words) in [
        (certificate(&known, "localhost", false), None),
        (
            certificate(&known, "other.test", false),
            Some("not valid for name"),
        ),
        (certificate(&known, "localhost", true), Some("expired")),
        (
            certificate(&unknown, "localhost", false),
            Some("invalid peer certificate"),
        ),
    ] {
        let server = serving(&issued).await;
        let registry = |insecure_skip_verify| Registry {
            insecure_skip_verify,
            ..common::entry("registry.test", &[&server.endpoint], Some(ca.clone()))
        };
        let answer = ask(&resolver_of(registry(false))).await;
        match words {
            None => assert_eq!(answer, Ok(digest())),
            Some(words) => {
                let error = answer.unwrap_err();
                assert_eq!(error.class(), Class::Unavailable, "{error}");
                assert!(error.to_string().contains(words), "{words}: {error}");
                assert!(server.lines().is_empty());
            }
        }
        assert_eq!(ask(&resolver_of(registry(true))).await, Ok(digest()));
    }
}

#[tokio::test]
async fn what_is_switched_off_for_a_registry_is_not_for_where_it_leads() {
    let (_folder, unknown, _) = authority();
    let issued = certificate(&unknown, "localhost", false);
    let elsewhere = serving(&issued).await;
    let location = format!("{}/v2/app/manifests/1", elsewhere.endpoint);
    let server = Faulty::start_tls(issued.server(None), move |_| {
        let answer = reply(307, &[("location", &location)], "");
        Box::pin(async { answer })
    })
    .await;
    let registry = Registry {
        insecure_skip_verify: true,
        ..common::entry("registry.test", &[&server.endpoint], None)
    };
    // Trusted for its address, not for its certificate.
    let other = common::entry("other.test", &[&elsewhere.endpoint], None);
    let resolver = Resolver::new(&[registry, other], &Cache::default()).unwrap();
    let error = ask(&resolver).await.unwrap_err();
    assert_eq!(error.class(), Class::Unavailable, "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");
    assert!(elsewhere.lines().is_empty());
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_its_registry_alone() {
    let (folder, authority, ca) = authority();
    let issued = certificate(&authority, "localhost", false);
    let server = issued.server(Some(&authority));
    let elsewhere = Faulty::start_tls(server.clone(), |_| Box::pin(async { good() })).await;
    let location = format!("{}/v2/app/manifests/1", elsewhere.endpoint);
    let redirecting = Faulty::start_tls(server, move |_| {
        let answer = reply(307, &[("location", &location)], "");
        Box::pin(async { answer })
    })
    .await;
    let (certificate, key) = (
        folder.path().join("client.crt"),
        folder.path().join("client.key"),
    );
    let client = authority.issue();
    std::fs::write(&certificate, &client.certificate).unwrap();
    std::fs::write(&key, &client.key).unwrap();
    let registry = |certificate: &PathBuf, key: &PathBuf| Registry {
        client_certificate: Some(ClientCertificate {
            certificate: certificate.clone(),
            key: key.clone(),
        }),
        ..common::entry("registry.test", &[&redirecting.endpoint], Some(ca.clone()))
    };
    let other = common::entry("other.test", &[&elsewhere.endpoint], None);
    let resolver =
        Resolver::new(&[registry(&certificate, &key), other], &Cache::default()).unwrap();
    assert_eq!(ask(&resolver).await, Ok(digest()));
    assert_eq!(
        (redirecting.clients(), elsewhere.clients()),
        (vec![true], vec![false])
    );

    // What cannot be used is named by its file; a key is never quoted.
    let (another, absent) = (
        folder.path().join("another.key"),
        folder.path().join("absent"),
    );
    std::fs::write(&another, authority.issue().key).unwrap();
    for (certificate, key, words) in [
        (&absent, &key, "clientCertificate.certificate `"),
        (&key, &key, "holds no certificate"),
        (&certificate, &absent, "clientCertificate.key `"),
        (&certificate, &another, "clientCertificate.key `"),
        (&certificate, &certificate, "clientCertificate.key `"),
    ] {
        let error = Resolver::new(&[registry(certificate, key)], &Cache::default());
        let error = error.unwrap_err().to_string();
        assert!(
            error.starts_with("registries: match `registry.test`: "),
            "{error}"
        );
        assert!(error.contains(words) && !error.contains("BEGIN"), "{error}");
    }
}

#[tokio::test]
async fn a_file_of_authorities_must_hold_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, "nothing").unwrap();
    for unusable in [path, folder.path().join("absent")] {
        let entry = common::entry("registry.test", &["https://r.test"], Some(unusable));
        let error = Resolver::new(&[entry], &Cache::default()).unwrap_err();
        let error = error.to_string();
        assert!(
            error.starts_with("registries: match `registry.test`: ca `"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn plain_http_and_tls_do_not_understand_each_other() {
    let (_folder, authority, ca) = authority();
    let secure = serving(&certificate(&authority, "localhost", false)).await;
    let plain = Faulty::answering(|_| good()).await;
    let swap = |endpoint: &str, from, to| endpoint.replacen(from, to, 1);
    for endpoint in [
        swap(&plain.endpoint, "http:", "https:"),
        swap(&secure.endpoint, "https:", "http:"),
    ] {
        let entry = common::entry("registry.test", &[&endpoint], Some(ca.clone()));
        let error = ask(&resolver_of(entry)).await.unwrap_err();
        let class = error.class();
        assert!(
            matches!(class, Class::Unavailable | Class::Invalid),
            "{error}"
        );
    }
    assert!(plain.lines().is_empty() && secure.lines().is_empty());
}
