//! Edges of the rules, and laws that hold for every text.

use proptest::prelude::*;

use super::*;
use crate::image::{PullPolicy, default_policy};

const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn class(text: &str) -> &'static str {
    Reference::parse(text).map_or_else(|invalid| invalid.fault.class(), |_| "valid")
}

#[test]
fn parts() {
    let digest = format!("sha256:{HEX}");
    let digest = digest.as_str();
    let cases: &[(&str, &str, &str, Option<&str>, bool)] = &[
        // text, domain, path, tag, whether the digest above is appended
        ("nginx", "docker.io", "library/nginx", Some("latest"), false),
        ("nginx", "docker.io", "library/nginx", None, true),
        (
            "nginx:1.27",
            "docker.io",
            "library/nginx",
            Some("1.27"),
            true,
        ),
        (
            "docker.io/nginx",
            "docker.io",
            "library/nginx",
            Some("latest"),
            false,
        ),
        (
            "index.docker.io/nginx:1",
            "docker.io",
            "library/nginx",
            Some("1"),
            false,
        ),
        (
            "index.docker.io/a/b",
            "docker.io",
            "a/b",
            Some("latest"),
            false,
        ),
        (
            "INDEX.docker.io/nginx",
            "INDEX.docker.io",
            "nginx",
            Some("latest"),
            false,
        ),
        (
            "registry-1.docker.io/a",
            "registry-1.docker.io",
            "a",
            Some("latest"),
            false,
        ),
        ("team/app", "docker.io", "team/app", Some("latest"), false),
        (
            "library/nginx",
            "docker.io",
            "library/nginx",
            Some("latest"),
            false,
        ),
        (
            "localhost",
            "docker.io",
            "library/localhost",
            Some("latest"),
            false,
        ),
        ("localhost/app", "localhost", "app", Some("latest"), false),
        (
            "host:5000",
            "docker.io",
            "library/host",
            Some("5000"),
            false,
        ),
        ("host:5000/app", "host:5000", "app", Some("latest"), false),
        ("host:0/app:_", "host:0", "app", Some("_"), false),
        ("Foo/bar", "Foo", "bar", Some("latest"), false),
        ("[::1]:5000/a/b:c", "[::1]:5000", "a/b", Some("c"), true),
        ("[::1]/a", "[::1]", "a", Some("latest"), false),
        ("a_b.c/d", "", "a_b.c/d", Some("latest"), false),
        ("a__b.c/d:e", "", "a__b.c/d", Some("e"), true),
        (
            "docker.io:443/a",
            "docker.io:443",
            "a",
            Some("latest"),
            false,
        ),
        ("127.0.0.1/a", "127.0.0.1", "a", Some("latest"), false),
    ];
    for (text, domain, path, tag, pinned) in cases {
        let written = if *pinned {
            format!("{text}@{digest}")
        } else {
            (*text).to_owned()
        };
        let reference = Reference::parse(&written).unwrap();
        assert_eq!(reference.text(), written);
        assert_eq!(reference.to_string(), written);
        assert_eq!(reference.domain(), *domain, "{written}");
        assert_eq!(reference.path(), *path, "{written}");
        assert_eq!(reference.tag(), *tag, "{written}");
        assert_eq!(reference.digest(), pinned.then_some(digest), "{written}");
    }
}

#[test]
fn names_and_pins_are_as_written() {
    let digest = Digest::parse(&format!("sha256:{HEX}")).unwrap();
    let other = Digest::of(b"");
    for (text, name) in [
        ("nginx", "nginx"),
        ("nginx:1.27", "nginx"),
        ("docker.io/library/nginx:1", "docker.io/library/nginx"),
        ("index.docker.io/nginx", "index.docker.io/nginx"),
        ("host:5000/app", "host:5000/app"),
        ("a_b.c/d:e", "a_b.c/d"),
        ("[::1]:5000/a", "[::1]:5000/a"),
    ] {
        let pinned = Reference::parse(text).unwrap().pinned(&digest);
        assert_eq!(pinned, format!("{text}@{digest}"));
        let again = Reference::parse(&pinned).unwrap();
        assert_eq!(again.name(), name);
        assert_eq!(again.pinned(&other), format!("{text}@{other}"));
    }
}

#[test]
fn faults() {
    let upper_hex = HEX.to_uppercase();
    for (text, expected) in [
        ("", "format"),
        ("/", "format"),
        ("a/", "format"),
        ("/a", "format"),
        ("a//b", "format"),
        ("a:", "format"),
        ("a@", "format"),
        (":a", "format"),
        ("@", "format"),
        ("a:b:c", "format"),
        ("a:b/c:d:e", "format"),
        ("a@b@c", "format"),
        (" app", "format"),
        ("app\n", "format"),
        ("app\0", "format"),
        ("host/app:\u{442}\u{435}\u{433}", "format"),
        ("a_b:80/c", "format"),
        ("[fe80::1%eth0]/a", "format"),
        ("[::ffff:1.2.3.4]/a", "format"),
        ("https://a/b", "format"),
        ("App", "uppercase"),
        ("foo/Bar:1", "uppercase"),
        ("My_app/web", "uppercase"),
        // U+212A, the sign for kelvin, is `k` in lower case, and U+0130 is `i`.
        ("\u{212a}.io/app", "uppercase"),
        ("app:\u{212a}", "uppercase"),
        ("\u{130}.io/app", "uppercase"),
        ("\u{c9}.io/app", "format"),
        (HEX, "hex-identifier"),
        (&upper_hex, "uppercase"),
        (&format!("{HEX}:1"), "valid"),
        (&format!("sha256:{HEX}"), "valid"),
        (&format!("a@sha256:{HEX}"), "valid"),
        (&format!("a@sha256:{upper_hex}"), "digest-format"),
        (&format!("a:1@SHA256:{HEX}"), "digest-format"),
        (&format!("a@SHA256:{HEX}"), "uppercase"),
        (&format!("a@sha256:{}", &HEX[1..]), "digest-length"),
        (&format!("a@sha256:{}", &HEX[33..]), "format"),
        (&format!("a@sha512:{HEX}"), "digest-length"),
        (&format!("a@sha512:{HEX}{HEX}"), "valid"),
        (&format!("a@sha384:{HEX}{}", &HEX[32..]), "valid"),
        (&format!("a@md5:{}", &HEX[32..]), "digest-unsupported"),
        (&format!("a@sha256+b64:{HEX}"), "digest-unsupported"),
        (&format!("a:{}", "t".repeat(128)), "valid"),
        (&format!("a:{}", "t".repeat(129)), "format"),
        (&"a".repeat(255 - 8), "valid"),
        (&"a".repeat(256 - 8), "too-long"),
        (&format!("docker.io/{}", "a".repeat(256 - 8)), "too-long"),
        (&format!("r.io/{}", "a".repeat(255)), "valid"),
        (&format!("r.io/{}:t", "a".repeat(256)), "too-long"),
        (&format!("{}.io/a", "r".repeat(300)), "valid"),
        (&format!("a_b.{}/a", "r".repeat(300)), "too-long"),
        (&format!("r.io/{}@md5:{HEX}", "a".repeat(256)), "too-long"),
    ] {
        assert_eq!(class(text), expected, "{text:?}");
    }
}

#[test]
fn messages_name_the_text_and_the_fault() {
    let message = |text: &str| Reference::parse(text).unwrap_err().to_string();
    assert_eq!(
        message("App\n:1"),
        r#""App\n:1" is not an image reference: the repository's name must be lower case"#
    );
    assert!(message(&"\u{e9}".repeat(100_000)).len() < 1200);
}

#[test]
fn loopback() {
    for domain in [
        "localhost",
        "localhost:5000",
        "LOCALHOST",
        "127.0.0.1",
        "127.9.9.9:80",
        "[::1]",
        "[::1]:5000",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:7f00:1]",
    ] {
        assert!(is_loopback(domain), "{domain}");
    }
    for domain in [
        "",
        "docker.io",
        "localhost.example.com",
        "128.0.0.1",
        "127.0.0.1.example.com",
        "127.1",
        "[::2]",
        "[::]",
        "0.0.0.0",
        "a:127.0.0.1",
        "[::1",
        "mylocalhost",
    ] {
        assert!(!is_loopback(domain), "{domain}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Any text either parses into parts that make the canonical form, which then parses to the same parts, or
    /// fails; it never panics, and the fast reader agrees.
    #[test]
    fn canonical_form_is_stable(text in "([a-zA-Z0-9._:/@\\[\\]+-]{0,40}|\\PC{0,20}|[a-b]{1,3}(\\.[a-b]{1,2}){0,2}(:[0-9]{1,5})?/[a-z_.-]{1,8}(:[A-Za-z0-9_.-]{1,5})?(@sha256:[a-f0-9]{64})?)") {
        let parsed = Reference::parse(&text);
        prop_assert_eq!(parsed.is_ok(), Reference::read(&text).is_ok());
        let Ok(reference) = parsed else {
            prop_assert_eq!(default_policy(&text), PullPolicy::IfNotPresent);
            return Ok(());
        };
        prop_assert!(text.starts_with(reference.name()));
        let canonical = reference.canonical();
        let again = Reference::parse(&canonical).unwrap();
        prop_assert_eq!(again.repository(), reference.repository());
        prop_assert_eq!(again.tag(), reference.tag());
        prop_assert_eq!(again.digest(), reference.digest());
        prop_assert_eq!(again.canonical(), canonical);
        let digest = Digest::of(text.as_bytes());
        let pinned = reference.pinned(&digest);
        let pinned = Reference::parse(&pinned).unwrap();
        prop_assert_eq!(pinned.name(), reference.name());
        prop_assert_eq!(pinned.digest(), Some(digest.as_str()));
    }
}
