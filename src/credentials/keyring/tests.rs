//! Normal forms, order, and who gets Docker Hub's password.

use proptest::prelude::*;

use secrecy::ExposeSecret;

use super::*;
use crate::credentials::Form;

/// A keyring of documents in the old form; each entry's user name is its key.
fn keyring(fallback: HubFallback, documents: &[&[&str]]) -> Keyring {
    let mut keyring = Keyring::new(fallback);
    for (number, keys) in documents.iter().enumerate() {
        let entries = keys.iter().map(|key| {
            let key = serde_json::Value::from(*key);
            format!(r#"{key}: {{"username": {key}}}"#)
        });
        let document = format!("{{{}}}", entries.collect::<Vec<_>>().join(","));
        let document = Document::decode(Form::Dockercfg, document.as_bytes()).unwrap();
        keyring.add(document, &Arc::from(number.to_string()));
    }
    keyring
}

fn users(found: &[&Credential]) -> Vec<String> {
    found
        .iter()
        .map(|found| String::from_utf8_lossy(found.username.expose_secret()).into_owned())
        .collect()
}

#[test]
fn normal_forms() {
    for (key, expected) in [
        ("r.io", Some("r.io")),
        ("https://r.io", Some("r.io")),
        ("http://r.io/", Some("r.io")),
        ("HTTPS://r.io", Some("HTTPS://r.io")),
        ("oci://r.io", Some("oci://r.io")),
        ("https://https://r.io", Some("https://r.io")),
        ("https://index.docker.io/v1/", Some("index.docker.io")),
        ("https://index.docker.io/v2/", Some("index.docker.io")),
        ("https://index.docker.io/v1", Some("index.docker.io/v1")),
        ("r.io/v2/team", Some("r.io/team")),
        ("r.io/v2/v1/team", Some("r.io/v1/team")),
        ("r.io/v3/", Some("r.io/v3/")),
        ("r.io/v1//", Some("r.io//")),
        ("r.io/%762/team", Some("r.io/team")),
        ("r.io:5000/a/", Some("r.io:5000/a/")),
        ("u:p@r.io/a?b#c", Some("r.io/a")),
        ("r.io/a%20b", Some("r.io/a b")),
        ("//r.io", Some("//r.io")),
        ("", Some("")),
        ("https://", Some("")),
        ("https:///team", Some("/team")),
        ("r io", None),
        ("%zz", None),
        ("fo[o].io", None),
        ("::1", None),
    ] {
        let normal = Key::parse(key.as_bytes()).and_then(|key| key.kubelet);
        let normal = normal.map(|key| String::from_utf8(key.text).unwrap());
        assert_eq!(normal.as_deref(), expected, "{key}");
    }
}

#[test]
fn normal_forms_are_parsed_again() {
    let keyring = keyring(
        HubFallback::Hub,
        &[&["r.io/a%253Fb", "r.io/%2561", "r.io/%25zz"]],
    );
    assert_eq!(
        keyring.keys().collect::<Vec<_>>(),
        ["r.io/a%3Fb", "r.io/%zz", "r.io/%61"]
    );
    assert_eq!(users(&keyring.lookup("r.io/abc")), ["r.io/%2561"]);
}

#[test]
fn keys_are_tried_in_descending_byte_order() {
    let keyring = keyring(
        HubFallback::Hub,
        &[
            &["*.io/team/app", "r.io"],
            &["r.io/team", "*.io", "https://r.io"],
            &["r.io/team"],
        ],
    );
    assert_eq!(
        keyring.keys().collect::<Vec<_>>(),
        ["r.io/team", "r.io", "*.io/team/app", "*.io"]
    );
    let found = keyring.lookup("r.io/team/app");
    assert_eq!(
        users(&found),
        [
            "r.io/team",
            "r.io/team",
            "r.io",
            "https://r.io",
            "*.io/team/app",
            "*.io"
        ]
    );
    let sources: Vec<_> = found.iter().map(|found| &*found.source).collect();
    assert_eq!(sources, ["1", "2", "0", "1", "0", "1"]);
}

#[test]
fn keys_of_one_normal_form_in_one_document() {
    let keys = ["http://r.io", "r.io/v1/", "r.io", "https://r.io/"];
    let keyring = keyring(HubFallback::Hub, &[&keys]);
    assert_eq!(users(&keyring.lookup("r.io/app")), keys);
}

#[test]
fn hub_fallback() {
    let hub = "https://index.docker.io/v1/";
    for (repository, safe, kubelet) in [
        ("docker.io/library/nginx", true, true),
        ("docker.io/team/app", true, true),
        ("index.docker.io/library/nginx", true, true),
        ("localhost/app", false, true),
        ("Foo/bar", false, true),
        ("nginx", false, true),
        ("", false, false),
        ("/app", false, false),
        ("docker.io:443/app", false, false),
        ("docker.io.example.com/app", false, false),
        ("registry-1.docker.io/app", false, false),
        ("localhost:5000/app", false, false),
        ("a_b.c/d", false, false),
    ] {
        for (fallback, expected) in [(HubFallback::Hub, safe), (HubFallback::Kubelet, kubelet)] {
            let found = keyring(fallback, &[&[hub, "quay.io"]]);
            let found = users(&found.lookup(repository));
            assert_eq!(
                found.first().map(String::as_str),
                expected.then_some(hub),
                "{repository}"
            );
        }
    }
    // A key that matches goes before it, and a bare `/v1` is a path.
    let with_match = keyring(HubFallback::Hub, &[&[hub, "*.io"]]);
    assert_eq!(
        users(&with_match.lookup("docker.io/library/nginx")),
        ["*.io"]
    );
    let bare = keyring(HubFallback::Hub, &[&["https://index.docker.io/v1"]]);
    assert!(bare.lookup("docker.io/library/nginx").is_empty());
}

#[test]
fn pull_secrets_count_as_one_keyring_and_the_node_comes_last() {
    let hub = HubFallback::Hub;
    let secrets = [
        &keyring(hub, &[&["*.io", "index.docker.io"]]),
        &keyring(hub, &[&["r.io/app", "r.io"]]),
    ];
    let node = keyring(hub, &[&["r.io/app/x", "index.docker.io"]]);
    let found = |repository| users(&candidates(secrets, &node, repository));
    assert_eq!(
        found("r.io/app/x/y"),
        ["r.io/app", "r.io", "*.io", "r.io/app/x"]
    );
    assert_eq!(
        found("docker.io/library/a"),
        ["*.io", "index.docker.io"],
        "no fallback where a pull secret matches; the node's own fallback does not care"
    );
    assert!(Keyring::default().is_empty() && Keyring::default().lookup("r.io/a").is_empty());
}

#[test]
fn hosts_that_nobody_has_are_not_matched() {
    for (length, found) in [(300, 1), (301, 0), (400_000, 0)] {
        let image = format!("{}/app", "a".repeat(length));
        for key in ["*".to_owned(), format!("*{}", "a".repeat(length / 2))] {
            let keyring = keyring(HubFallback::Hub, &[&[&key]]);
            assert_eq!(keyring.lookup(&image).len(), found, "{length}");
        }
        let long = format!("*{}b", "a".repeat(length));
        let keyring = keyring(HubFallback::Hub, &[&[&long]]);
        assert!(keyring.lookup(&image).is_empty());
        assert!(documented(&keyring, &image).is_empty());
    }
}

/// The keys that only the documented grammar takes for names of the repository.
fn documented(keyring: &Keyring, repository: &str) -> Vec<String> {
    let found = pattern_candidates([keyring], repository);
    found.into_iter().map(|found| found.key).collect()
}

#[test]
fn both_entries_for_one_image_are_tried_in_either_grammar() {
    let keys = ["my-registry.io/images", "my-registry.io/images/subpath"];
    let literal = keyring(HubFallback::Hub, &[&keys]);
    let image = "my-registry.io/images/subpath/my-image";
    assert_eq!(users(&literal.lookup(image)), [keys[1], keys[0]]);
    assert!(
        documented(&literal, image).is_empty(),
        "the kubelet's are not told twice"
    );
    let keys = keys.map(|key| format!("*{key}"));
    let globs = keyring(HubFallback::Hub, &[&[&keys[0], &keys[1]]]);
    let image = format!("sub.{image}");
    assert!(globs.lookup(&image).is_empty());
    assert_eq!(documented(&globs, &image), [&*keys[1], &keys[0]]);
}

#[test]
fn the_kubelet_reads_no_documented_pattern() {
    let keys = [
        "r[0-9].io/team",
        "r?.io",
        "u:hunter2@*.r.io",
        "*-r.io",
        "r.io",
    ];
    let keyring = keyring(HubFallback::Hub, &[&keys]);
    for (repository, theirs, documented_only) in [
        ("r1.io/team/app", &[][..], &["r[0-9].io/team", "r?.io"][..]),
        ("a.b.r.io/app", &[], &["*.r.io"]),
        ("a.r.io/app", &["u:hunter2@*.r.io"], &[]),
        ("a.b-r.io/app", &[], &["*-r.io"]),
        ("a-r.io/app", &["*-r.io"], &[]),
        ("r.io/app", &["r.io"], &[]),
    ] {
        assert_eq!(users(&keyring.lookup(repository)), theirs, "{repository}");
        assert_eq!(
            documented(&keyring, repository),
            documented_only,
            "{repository}"
        );
    }
    let remarks = |patterns| keyring.pattern_remarks(patterns).join("\n");
    let kubelet = remarks(Patterns::Kubelet);
    assert!(
        kubelet.contains(r#"entry "r[0-9].io/team" of 0 has characters"#),
        "{kubelet}"
    );
    assert_eq!(kubelet.lines().count(), 2, "{kubelet}");
    let documented = remarks(Patterns::Documented);
    assert!(
        documented.starts_with(r#"entry "*-r.io" of 0 has a `*` that no dot"#),
        "{documented}"
    );
    assert_eq!(documented.lines().count(), 1, "{documented}");
}

#[test]
fn documented_entries_of_several_keyrings_count_as_one() {
    let hub = HubFallback::Hub;
    let secrets = [
        &keyring(hub, &[&["*.io"]]),
        &keyring(hub, &[&["*r.io", "*.io"]]),
    ];
    let found = pattern_candidates(secrets, "a.a.r.io/app");
    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
    let expected = [r#""*r.io" of 0"#, r#""*.io" of 0"#, r#""*.io" of 0"#];
    assert_eq!(found, expected.map(|entry| format!("entry {entry}")));
}

proptest! {
    /// Any key and repository; a key that names the repository's very host and path, if it is a URL, matches unless
    /// it holds a pattern.
    #[test]
    fn look_ups_never_panic(keys: Vec<String>, repository in "\\PC*|[a-z.:/*\\[\\]%0-9@#?]*") {
        let keys: Vec<&str> = keys.iter().map(String::as_str).chain([&*repository]).collect();
        let keyring = keyring(HubFallback::Kubelet, &[&keys]);
        let _ = (keyring.lookup(&repository), pattern_candidates([&keyring], &repository));
    }

    #[test]
    fn a_repository_matches_itself_and_its_prefixes(repository in "[a-z0-9]{1,5}(\\.[a-z]{1,3}){0,2}(:[0-9]{1,3})?/[a-z0-9/_-]{1,10}") {
        for end in repository.find('/').unwrap()..=repository.len() {
            let key = &repository[..end];
            let keyring = keyring(HubFallback::Hub, &[&[key]]);
            let expected = !key.contains("/v1/") && !key.contains("/v2/");
            prop_assert!(!expected || keyring.lookup(&repository).len() == 1, "{}", key);
        }
    }
}
