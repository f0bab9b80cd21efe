//! Where surepull does more than the kubelet, and how that is told and turned off.

use super::*;

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

#[tokio::test]
async fn an_entry_that_is_of_no_use_is_told_also_where_the_image_is_for_everybody() {
    let registry = TestRegistry::start();
    registry.push_manifest("app", "1").await;
    for (key, told) in [("*test", true), ("*.test", false), ("other*", false)] {
        let document = json!({"auths": {key: {"username": USERNAME, "password": PASSWORD}}});
        let rules = Credentials::default();
        let pipeline = ruled(&registry.endpoint(), &document.to_string(), rules);
        let (pinned, warnings) = create(&pipeline, &pod(&spec(&["s"], "")), soon()).await;
        assert_eq!(pinned.len(), 1, "{warnings:?}");
        let says = |warning: &String| warning.contains("by the documented patterns only");
        assert_eq!(warnings.iter().any(says), told, "{key}: {warnings:?}");
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
