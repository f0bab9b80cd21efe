//! Look-ups at a real registry: the distribution project's. `oci-client` finds the same digests.

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use surepull::config::{self, Cache, Configuration};
use surepull::credentials::{Credential, CredentialKind, ProviderMetrics, Providers};
use surepull::image::Digest;
use surepull::registry::{Class, Image, Metrics, Resolver};

use common::registry::{Auth, PASSWORD, TestRegistry, USERNAME};
use common::token_service::REFRESH_TOKEN;
use common::{soon, wait_for};

fn resolver(registry: &TestRegistry) -> Resolver {
    let mut registries = vec![common::entry(
        "registry.test",
        &[&registry.endpoint()],
        registry.ca(),
    )];
    if let Some(tokens) = registry.tokens() {
        registries.push(common::entry("tokens.test", &[&tokens.endpoint()], None));
    }
    Resolver::new(&registries, &Cache::default()).unwrap()
}

fn image(repository: &str, tag: &str) -> Image<'static> {
    Image {
        registry: "registry.test".to_owned().into(),
        repository: repository.to_owned().into(),
        tag: tag.to_owned().into(),
    }
}

fn credential(username: &str, password: &str) -> Credential {
    Credential::login(username, password, "test".into())
}

#[tokio::test]
async fn every_image_has_the_digest_that_another_client_finds() {
    same_digests(TestRegistry::start(), &[]).await;
    let user = [credential(USERNAME, PASSWORD)];
    same_digests(TestRegistry::with_basic_auth(), &user).await;
    same_digests(TestRegistry::with_token_auth().await, &user).await;
}

#[tokio::test]
async fn over_tls_too() {
    let user = [credential(USERNAME, PASSWORD)];
    for (auth, credentials) in [
        (Auth::None, &[][..]),
        (Auth::Basic, &user),
        (Auth::Token, &user),
    ] {
        same_digests(TestRegistry::with_tls(auth).await, credentials).await;
    }
}

/// Pushes images of all kinds with `oci-client`, and finds the digests that it finds.
async fn same_digests(registry: TestRegistry, credentials: &[Credential]) {
    let resolver = resolver(&registry);
    let mut digests = Vec::new();
    for (repository, tag) in [
        ("app", "1.0"),
        ("app", "2.0"),
        ("team/nested/app", "latest"),
    ] {
        let digest = registry.push_index(repository, tag).await;
        digests.push((repository, tag, digest));
    }
    for (repository, tag) in [
        ("single", "1.0"),
        ("app", "1.0-arm64"),
        ("library/tool_x", "V_1.2-rc"),
    ] {
        let digest = registry.push_manifest(repository, tag).await;
        digests.push((repository, tag, digest));
    }
    let (list, manifest) = registry.push_docker("docker", "1").await;
    digests.extend([("docker", "1", list), ("docker", "1-amd64", manifest)]);
    for (repository, tag, digest) in digests {
        let image = image(repository, tag);
        assert!(resolver.cached(&image, credentials).is_none());
        let found = resolver.resolve(&image, credentials, false, soon()).await;
        assert_eq!(
            found.as_ref().map(Digest::as_str),
            Ok(&*digest),
            "{repository}:{tag}"
        );
        assert_eq!(
            registry.digest(repository, tag).await,
            digest,
            "{repository}:{tag}"
        );
        assert_eq!(resolver.cached(&image, credentials), Some(found));
    }
}

#[tokio::test]
async fn a_look_up_is_one_request_and_a_remembered_answer_none() {
    let registry = TestRegistry::start();
    registry.push_manifest("other", "1").await;
    let digest = registry.push_index("app", "1").await;
    let resolver = resolver(&registry);
    let before =
        registry.manifest_requests("HEAD", "app") + registry.manifest_requests("GET", "app");
    for _ in 0..5 {
        let found = resolver
            .resolve(&image("app", "1"), &[], false, soon())
            .await
            .unwrap();
        assert_eq!(found.as_str(), digest);
    }
    // What comes later in the log shows that nothing is missing from it.
    resolver
        .resolve(&image("other", "1"), &[], false, soon())
        .await
        .unwrap();
    let ours = |log: String| {
        log.lines()
            .filter(|line| line.contains("surepull/") && line.contains("\"HEAD /v2/"))
            .count()
    };
    wait_for(|| ours(registry.log()) >= 2).await;
    let after =
        registry.manifest_requests("HEAD", "app") + registry.manifest_requests("GET", "app");
    assert_eq!(after - before, 1, "{}", registry.log());
}

#[tokio::test]
async fn a_fresh_look_up_sees_what_was_pushed_a_moment_ago() {
    let registry = TestRegistry::start();
    let resolver = resolver(&registry);
    let first = registry.push_manifest("app", "1").await;
    let ask = async |fresh| {
        resolver
            .resolve(&image("app", "1"), &[], fresh, soon())
            .await
            .unwrap()
    };
    assert_eq!(ask(false).await.as_str(), first);
    let second = registry.push_index("app", "1").await;
    assert_ne!(first, second);
    assert_eq!(ask(false).await.as_str(), first);
    assert_eq!(ask(true).await.as_str(), second);
    assert_eq!(ask(false).await.as_str(), second);
}

#[tokio::test]
async fn what_is_not_there_is_said_in_the_registrys_words() {
    let registry = TestRegistry::start();
    registry.push_manifest("app", "1").await;
    let resolver = resolver(&registry);
    for (repository, tag, words) in [
        (
            "app",
            "2",
            "registry.test: manifest for app:2 not found (MANIFEST_UNKNOWN: manifest unknown)",
        ),
        (
            "nobody",
            "1",
            "registry.test: manifest for nobody:1 not found (NAME_UNKNOWN: repository name not known to registry)",
        ),
    ] {
        let error = resolver
            .resolve(&image(repository, tag), &[], false, soon())
            .await
            .unwrap_err();
        assert_eq!(error.class(), Class::NotFound);
        // Which of the two codes a missing repository gets is the registry's business.
        let manifest_unknown = words.replace(
            "NAME_UNKNOWN: repository name not known to registry",
            "MANIFEST_UNKNOWN: manifest unknown",
        );
        assert!(
            [words, &manifest_unknown].contains(&error.to_string().as_str()),
            "{error}"
        );
    }
}

#[tokio::test]
async fn basic_authentication() {
    authentication(TestRegistry::with_basic_auth()).await;
}

#[tokio::test]
async fn token_authentication_over_tls() {
    authentication(TestRegistry::with_tls(Auth::Token).await).await;
}

#[tokio::test]
async fn token_authentication() {
    let registry = TestRegistry::with_token_auth().await;
    authentication(registry).await;
}

/// What holds whichever way the registry wants to be convinced.
async fn authentication(registry: TestRegistry) {
    let digest = registry.push_index("team/app", "1").await;
    registry.push_manifest("team/app", "2").await;
    let resolver = resolver(&registry);
    let image = image("team/app", "1");
    let (good, bad) = (
        credential(USERNAME, PASSWORD),
        credential(USERNAME, "swordfish"),
    );

    let error = resolver
        .resolve(&image, &[], false, soon())
        .await
        .unwrap_err();
    assert_eq!(error.class(), Class::Unauthorized, "{error}");
    let error = resolver
        .resolve(&image, std::slice::from_ref(&bad), false, soon())
        .await
        .unwrap_err();
    assert_eq!(error.class(), Class::Unauthorized, "{error}");
    assert!(!format!("{error} {error:?}").contains("swordfish"));

    let both = [bad, good];
    let found = resolver
        .resolve(&image, &both, false, soon())
        .await
        .unwrap();
    assert_eq!(found.as_str(), digest);
    assert_eq!(registry.digest("team/app", "1").await, digest);

    // What one may see is nothing to another: neither the answer nor the error is shared.
    assert!(matches!(resolver.cached(&image, &[]), Some(Err(_))));
    assert!(resolver.cached(&image, &both[1..]).is_none());
    let found = resolver
        .resolve(&image, &both[1..], false, soon())
        .await
        .unwrap();
    assert_eq!(found.as_str(), digest);

    // A token is used again for the same repository and credential.
    let tokens = registry
        .tokens()
        .map(common::token_service::TokenService::requests);
    let second = Image {
        tag: "2".to_owned().into(),
        ..image
    };
    resolver
        .resolve(&second, &both[1..], false, soon())
        .await
        .unwrap();
    assert_eq!(
        registry
            .tokens()
            .map(common::token_service::TokenService::requests),
        tokens
    );
    if let Some(service) = registry.tokens() {
        let expected = "service=registry.test&scope=repository:team/app:pull";
        assert!(
            service.queries().iter().any(|query| query == expected),
            "{:?}",
            service.queries()
        );
    }
}

/// A resolver with a credential provider: a shell under another name that prints these credentials and notes its runs.
fn with_provider(registry: &TestRegistry, folder: &Path, password: &str) -> Resolver {
    fs::create_dir(folder.join("bin")).unwrap();
    symlink("/bin/sh", folder.join("bin/provider")).unwrap();
    let answer = json!({
        "kind": "CredentialProviderResponse", "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        "cacheKeyType": "Registry", "auth": {"registry.test": {"username": USERNAME, "password": password}},
    });
    let script = format!("echo run >> {}/runs; echo '{answer}'", folder.display());
    let settings = json!({
        "name": "provider", "apiVersion": "credentialprovider.kubelet.k8s.io/v1", "matchImages": ["*.test"],
        "defaultCacheDuration": "0s", "args": ["-c", script],
    });
    configured_provider(registry, folder, &settings)
}

/// A resolver with the provider in `bin` of the folder that has these settings.
fn configured_provider(registry: &TestRegistry, folder: &Path, provider: &Value) -> Resolver {
    let providers = json!({
        "apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig", "providers": [provider],
    });
    let config = folder.join("providers.json");
    fs::write(&config, providers.to_string()).unwrap();
    let bin_dir = folder.join("bin");
    let settings = Some(&config::Providers { config, bin_dir });
    let providers = Providers::load(settings, ProviderMetrics::default()).unwrap();
    let entries = ["registry.test", "second.test"];
    let entry = |name| common::entry(name, &[&registry.endpoint()], None);
    let configuration = Configuration {
        registries: entries.map(entry).into(),
        ..Configuration::default()
    };
    Resolver::with_providers(&configuration, providers, Metrics::default()).unwrap()
}

#[tokio::test]
async fn a_program_that_speaks_the_protocol_is_a_credential_provider() {
    let registry = TestRegistry::with_basic_auth();
    let digest = registry.push_manifest("app", "1").await;
    let other = registry.push_manifest("team/other", "1").await;
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("bin")).unwrap();
    let source = "tests/programs/credential_provider.rs";
    let built = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition", "2024", source, "-o"])
        .arg(folder.path().join("bin/vendor-provider"))
        .status();
    assert!(built.unwrap().success());

    // Each look-up asks anew, as far as the answer before was not for it.
    let images = [
        ("registry.test", "app", &digest),
        ("registry.test", "team/other", &other),
        ("second.test", "app", &digest),
    ];
    for (version, kind, asked) in [
        (
            "v1",
            "Image",
            &[
                "registry.test/app",
                "registry.test/team/other",
                "second.test/app",
            ][..],
        ),
        (
            "v1beta1",
            "Registry",
            &["registry.test/app", "second.test/app"],
        ),
        ("v1alpha1", "Global", &["registry.test/app"]),
    ] {
        let version = format!("credentialprovider.kubelet.k8s.io/{version}");
        let notes = folder.path().join(kind);
        let settings = json!({
            "name": "vendor-provider", "apiVersion": version, "matchImages": ["*.test"],
            "defaultCacheDuration": "0s", "args": [notes, kind, USERNAME],
            "env": [{"name": "PROVIDER_PASSWORD", "value": PASSWORD}],
        });
        let resolver = configured_provider(&registry, folder.path(), &settings);
        for (name, repository, digest) in images {
            let image = Image {
                registry: name.to_owned().into(),
                ..image(repository, "1")
            };
            let provided = [Credential::of_providers()];
            let found = resolver.resolve(&image, &provided, false, soon()).await;
            // A global answer has credentials only for the registry that it was made for.
            if kind == "Global" && name == "second.test" {
                assert_eq!(found.unwrap_err().class(), Class::Unauthorized);
            } else {
                assert_eq!(
                    found.as_ref().map(Digest::as_str),
                    Ok(&**digest),
                    "{version}"
                );
            }
        }
        let lines = asked.iter().map(|image| format!("{version} {image}\n"));
        let expected = lines.collect::<Vec<_>>().concat();
        assert_eq!(fs::read_to_string(&notes).unwrap(), expected);
    }
}

#[tokio::test]
async fn credential_providers_are_run_where_the_rest_does_not_suffice() {
    let registry = TestRegistry::with_basic_auth();
    let digest = registry.push_manifest("app", "1").await;
    registry.push_manifest("app", "2").await;
    let folder = tempfile::tempdir().unwrap();
    let resolver = with_provider(&registry, folder.path(), PASSWORD);
    let runs = || {
        let runs = fs::read_to_string(folder.path().join("runs"));
        runs.unwrap_or_default().lines().count()
    };
    let (good, bad) = (
        credential(USERNAME, PASSWORD),
        credential(USERNAME, "swordfish"),
    );
    let (first, second) = (image("app", "1"), image("app", "2"));
    let provided = Credential::of_providers;
    for (image, credentials, expected) in [
        (&first, &[good, provided()][..], 0),
        (&first, &[bad, provided()], 1),
        (&first, &[provided()], 2),
        // Remembered, whatever becomes of the credentials.
        (&first, &[provided()], 2),
        (&second, &[provided()], 3),
    ] {
        let found = resolver.resolve(image, credentials, false, soon()).await;
        assert!(found.is_ok(), "{found:?}");
        assert_eq!(runs(), expected);
    }
    let known = resolver.cached(&first, &[provided()]).unwrap();
    assert_eq!(known.unwrap().as_str(), digest);
    // That is no answer for who asks without.
    assert!(resolver.cached(&first, &[]).is_none());
    let anonymous = resolver.resolve(&first, &[], false, soon()).await;
    assert_eq!(anonymous.unwrap_err().class(), Class::Unauthorized);
    assert_eq!(runs(), 3);

    // A provider's own credential is refused like any other.
    let folder = tempfile::tempdir().unwrap();
    let resolver = with_provider(&registry, folder.path(), "swordfish");
    let provided = [provided()];
    let error = resolver.resolve(&first, &provided, false, soon()).await;
    let error = error.unwrap_err();
    assert_eq!(error.class(), Class::Unauthorized, "{error}");
    assert!(!format!("{error} {error:?} {resolver:?}").contains("swordfish"));
}

#[tokio::test]
async fn identity_tokens_are_exchanged_for_access_tokens() {
    let registry = TestRegistry::with_token_auth().await;
    let digest = registry.push_manifest("app", "1").await;
    registry.push_manifest("app", "2").await;
    registry.push_manifest("other", "1").await;
    let resolver = resolver(&registry);
    let service = registry.tokens().unwrap();
    let token = |token: &str| Credential {
        kind: CredentialKind::Identity(token.into()),
        ..credential("00000000-0000-0000-0000-000000000000", "")
    };
    let (good, bad) = (token(REFRESH_TOKEN), token("swordfish"));

    // What is refused is told, but not in the words of the service, which may repeat it.
    let first = image("app", "1");
    let refused = std::slice::from_ref(&bad);
    let error = resolver.resolve(&first, refused, false, soon()).await;
    let error = error.unwrap_err();
    assert_eq!(error.class(), Class::Unauthorized, "{error}");
    assert!(!format!("{error} {error:?} {bad:?}").contains("swordfish"));

    let credentials = [bad, good];
    let found = resolver
        .resolve(&image("app", "1"), &credentials, false, soon())
        .await;
    assert_eq!(found.unwrap().as_str(), digest);
    let forms = service.forms();
    assert_eq!(
        forms.last().unwrap(),
        "grant_type=refresh_token&client_id=surepull&service=registry.test&scope=repository:app:pull&refresh_token=refresh%20me%2B/%3D"
    );
    // An access token is for one repository and credential; the refresh token that came with it is not used.
    for (repository, tag, more) in [("app", "2", 0), ("other", "1", 1)] {
        let before = service.forms().len();
        let found = resolver
            .resolve(&image(repository, tag), &credentials[1..], false, soon())
            .await;
        assert!(found.is_ok(), "{found:?}");
        assert_eq!(service.forms().len(), before + more, "{repository}:{tag}");
        assert!(service.forms().iter().all(|form| !form.contains("another")));
    }
}

#[tokio::test]
async fn what_a_tag_points_to_can_be_verified() {
    let registry = TestRegistry::with_token_auth().await;
    let digest = registry.push_index("team/app", "1").await;
    let mut configuration = Configuration {
        registries: vec![
            common::entry("registry.test", &[&registry.endpoint()], None),
            common::entry(
                "tokens.test",
                &[&registry.tokens().unwrap().endpoint()],
                None,
            ),
        ],
        ..Configuration::default()
    };
    configuration.settings.pin.verify = true;
    let resolver = common::configured(&configuration);
    let user = [credential(USERNAME, PASSWORD)];
    let image = image("team/app", "1");
    let found = resolver.resolve(&image, &user, false, soon()).await;
    assert_eq!(found.unwrap().as_str(), digest);
    wait_for(|| {
        let by_digest = format!("\"GET /v2/team/app/manifests/{digest}");
        registry
            .log()
            .lines()
            .any(|line| line.contains(&by_digest) && line.contains("surepull/"))
    })
    .await;
}

#[tokio::test]
async fn tls_that_is_not_as_it_should_be() {
    let registry = TestRegistry::with_tls(Auth::None).await;
    registry.push_manifest("app", "1").await;
    let endpoint = registry.endpoint();
    let plain = endpoint.replacen("https:", "http:", 1);
    for (endpoint, class, words) in [
        (&endpoint, Class::Unavailable, "certificate"),
        (&plain, Class::Invalid, "status 400"),
    ] {
        let entry = common::entry("registry.test", &[endpoint], None);
        let resolver = Resolver::new(&[entry], &Cache::default()).unwrap();
        let image = image("app", "1");
        let answer = resolver.resolve(&image, &[], false, soon()).await;
        let error = answer.unwrap_err();
        assert_eq!(error.class(), class, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    // A registry with TLS whose token service has none.
    let registry = TestRegistry::with_tls(Auth::TokenInClear).await;
    let user = [credential(USERNAME, PASSWORD)];
    let asked = registry.tokens().unwrap().requests();
    let answer = resolver(&registry)
        .resolve(&image("app", "1"), &user, false, soon())
        .await;
    let error = answer.unwrap_err();
    assert_eq!(error.class(), Class::Refused, "{error}");
    assert!(error.to_string().contains("without TLS"), "{error}");
    assert_eq!(registry.tokens().unwrap().requests(), asked);
}
