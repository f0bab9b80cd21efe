//! Entries with an `identitytoken`, which the kubelet ignores: the real binary, a real registry, and a token service.

mod common;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::{LOCATION, WWW_AUTHENTICATE};
use axum::routing::{any, post};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use surepull::config::Cache;
use surepull::credentials::{Credential, CredentialKind};
use surepull::registry::{Class, Image, Resolver};

use common::registry::TestRegistry;
use common::serve::Served;
use common::soon;
use common::token_service::REFRESH_TOKEN;

/// Whether the image `registry.test/app:1` of a Pod is pinned, and what is said.
async fn created(served: &Served, digest: &str) -> (bool, String) {
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u", "operation": "CREATE", "namespace": "ns", "oldObject": null,
        "object": {"metadata": {}, "spec": {"containers": [{"name": "c", "image": "registry.test/app:1"}]}},
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
    }});
    let (status, body) = served.post("/mutate?timeout=10s", review.to_string()).await;
    assert_eq!(status, 200);
    let answer: Value = serde_json::from_slice(&body).unwrap();
    let patch = answer["response"]["patch"].as_str().unwrap_or_default();
    let patch = BASE64_STANDARD.decode(patch).unwrap();
    let is_pinned = String::from_utf8(patch).unwrap().contains(digest);
    (is_pinned, answer["response"]["warnings"].to_string())
}

#[tokio::test]
async fn an_identity_token_is_used_where_that_is_asked_for() {
    let registry = TestRegistry::with_token_auth().await;
    let digest = registry.push_manifest("app", "1").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    let token_service = registry.tokens().unwrap();
    let configuration = |identity_tokens: &str| {
        format!(
            "apiVersion: surepull.dev/v1alpha1\nkind: Configuration\nregistries:\n- {{match: registry.test, endpoints: ['{}']}}\n- {{match: tokens.test, endpoints: ['{}']}}\ncredentials: {{dockerConfig: [{}]{identity_tokens}}}\n",
            registry.endpoint(),
            token_service.endpoint(),
            file.display()
        )
    };
    for (entry, switch, expected) in [
        (json!({"identitytoken": REFRESH_TOKEN}), "", false),
        (
            json!({"identitytoken": REFRESH_TOKEN}),
            ", identityTokens: true",
            true,
        ),
        // As `docker login` writes it for Azure.
        (
            json!({"auth": BASE64_STANDARD.encode("00000000-0000-0000-0000-000000000000:"), "identitytoken": REFRESH_TOKEN}),
            ", identityTokens: true",
            true,
        ),
        (
            json!({"identitytoken": "swordfish"}),
            ", identityTokens: true",
            false,
        ),
        (
            json!({"identitytoken": ["swordfish"]}),
            ", identityTokens: true",
            false,
        ),
    ] {
        let document = json!({"auths": {"registry.test": entry}});
        fs::write(&file, document.to_string()).unwrap();
        let served = Served::start(&configuration(switch));
        let (is_pinned, warnings) = created(&served, &digest).await;
        assert_eq!(is_pinned, expected, "{document} {switch} {warnings}");
        let told = format!(
            "registry.test/app:1 is found only by the identity token of file {}; the kubelet knows no identity tokens",
            file.display()
        );
        assert_eq!(warnings.contains(&told), expected, "{warnings}");
        let said = warnings + &served.log() + &served.ops("/metrics").await.text();
        for secret in [REFRESH_TOKEN, "swordfish"] {
            assert!(!said.contains(secret), "{said}");
        }
    }
}

/// Serves these routes for as long as the test runs; gives the address.
async fn serve(routes: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    format!("http://{address}")
}

#[tokio::test]
async fn a_refresh_token_follows_no_redirect() {
    let stolen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&stolen);
    let steal = any(async move || count.fetch_add(1, Ordering::SeqCst).to_string());
    let thief = serve(Router::new().route("/token", steal)).await;
    for status in [301, 302, 303, 307, 308] {
        let status = StatusCode::from_u16(status).unwrap();
        let location = format!("{thief}/token");
        let redirect = post(async move || (status, [(LOCATION, location)]));
        let tokens = serve(Router::new().route("/token", redirect)).await;
        let challenge = format!("Bearer realm=\"{tokens}/token\",service=\"s\"");
        let refuse = any(async move || (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, challenge)]));
        let registry = serve(Router::new().fallback_service(refuse)).await;
        let registries = [
            common::entry("registry.test", &[&registry], None),
            common::entry("tokens.test", &[&tokens, &thief], None),
        ];
        let resolver = Resolver::new(&registries, &Cache::default()).unwrap();
        let image = Image {
            registry: "registry.test".into(),
            repository: "app".into(),
            tag: "1".into(),
        };
        let credential = Credential {
            kind: CredentialKind::Identity(REFRESH_TOKEN.into()),
            ..Credential::login("", "", "test".into())
        };
        let answer = resolver.resolve(&image, &[credential], false, soon()).await;
        let error = answer.unwrap_err();
        assert_eq!(error.class(), Class::Invalid, "{error}");
        assert!(
            error.to_string().contains("redirects a secret elsewhere"),
            "{error}"
        );
        assert_eq!(stolen.load(Ordering::SeqCst), 0, "{status}");
    }
}
