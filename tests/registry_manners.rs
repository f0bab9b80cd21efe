//! How registries are treated, and what is done while they fail: by the counts of a registry that does as it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use surepull::config::Cache;
use surepull::registry::{Class, Resolver};

mod common;

use common::faulty::{Faulty, credential, digest, good, image, reply};
use common::serve::Served;
use common::soon;

/// A registry whose answers have a status that can be changed; 200 is a good answer.
async fn changeable(headers: &'static [(&'static str, &'static str)]) -> (Faulty, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let current = Arc::clone(&status);
    let server = Faulty::answering(move |_| match current.load(Ordering::SeqCst) {
        200 => good(),
        status => reply(status, headers, ""),
    })
    .await;
    (server, status)
}

fn resolver(server: &Faulty, cache: &Cache) -> Resolver {
    let registries = [common::entry("registry.test", &[&server.endpoint], None)];
    Resolver::new(&registries, cache).unwrap()
}

/// A cache that does not spare the registry a question.
fn forgetful() -> Cache {
    Cache {
        ttl: Duration::ZERO,
        negative_ttl: Duration::ZERO,
        ..Cache::default()
    }
}

/// A served surepull that asks this registry, with these further lines in its configuration.
fn served(server: &Faulty, more: &str) -> Served {
    let endpoint = &server.endpoint;
    Served::start(&format!(
        "apiVersion: surepull.dev/v1alpha1\nkind: Configuration\n\
         registries: [{{match: registry.test, endpoints: [\"{endpoint}\"]}}]\n{more}"
    ))
}

/// The answer to a review of a Pod that is created with these images.
async fn review(served: &Served, images: &[String]) -> Value {
    let container =
        |(index, image): (usize, &String)| json!({"name": format!("c{index}"), "image": image});
    let containers: Vec<_> = images.iter().enumerate().map(container).collect();
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "1", "operation": "CREATE", "namespace": "default",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "object": {
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": containers},
            },
        },
    });
    let (status, body) = served.post("/mutate?timeout=30s", review.to_string()).await;
    assert_eq!(status, 200);
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(answer["response"]["allowed"], true);
    answer["response"].clone()
}

/// The patch of an answer, as text.
fn patch(answer: &Value) -> String {
    let patch = BASE64_STANDARD.decode(answer["patch"].as_str().unwrap());
    String::from_utf8(patch.unwrap()).unwrap()
}

#[tokio::test]
async fn while_a_registry_fails_its_last_good_answer_counts_with_a_warning() {
    let (server, status) = changeable(&[]).await;
    let served = served(&server, "cache: {ttl: 0s, negativeTtl: 0s}\n");
    let images = ["registry.test/app:1".to_owned()];
    let good = review(&served, &images).await;
    assert!(patch(&good).contains(digest().as_str()), "{good}");
    assert!(good["warnings"].is_null(), "{good}");
    status.store(503, Ordering::SeqCst);
    let stale = review(&served, &images).await;
    assert_eq!(stale["patch"], good["patch"]);
    let warning = stale["warnings"][0].as_str().unwrap();
    for part in [
        "surepull: image registry.test/app:1 gets the digest that it had ",
        " s ago: registry.test: ",
        "503",
    ] {
        assert!(warning.contains(part), "{warning}");
    }
    let name = r#"surepull_registry_stale_answers_total{registry="registry.test"}"#;
    assert_eq!(served.metric(name).await, Some(1));
    // What says something about the image is an answer, and ends what was known.
    status.store(404, Ordering::SeqCst);
    let gone = review(&served, &images).await;
    assert!(gone["warnings"][0].as_str().unwrap().contains("not found"));
    status.store(503, Ordering::SeqCst);
    let unknown = review(&served, &images).await;
    assert!(!patch(&unknown).contains("sha256:"), "{unknown}");
    assert_eq!(served.metric(name).await, Some(1));
}

#[tokio::test]
async fn a_stale_digest_is_for_those_who_asked_with_the_same_credentials() {
    let (server, status) = changeable(&[]).await;
    let resolver = resolver(&server, &forgetful());
    let alice = [credential("a")];
    let found = resolver.resolve(&image(), &alice, false, soon()).await;
    assert_eq!(found, Ok(digest()));
    status.store(503, Ordering::SeqCst);
    for (credentials, known) in [
        (&alice[..], true),
        (&[credential("b")], false),
        (&[], false),
    ] {
        let found = resolver.resolve(&image(), credentials, false, soon()).await;
        let error = found.unwrap_err();
        assert_eq!(error.class(), Class::Unavailable, "{error}");
        let stale = resolver.last_good(&image(), credentials, &error);
        assert_eq!(stale.is_some_and(|stale| stale.digest == digest()), known);
    }
}
