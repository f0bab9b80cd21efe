//! The configuration as users write it, and as they get it wrong.

use crate::workload::{Leaf, Shape};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::mutation::{Action, Always, Errors, Mode, PullSecrets, Targets};

const HEAD: &str = "apiVersion: surepull.dev/v1alpha1\nkind: Configuration\n";

fn error(body: &str) -> String {
    parse(format!("{HEAD}{body}").as_bytes())
        .expect_err(body)
        .to_string()
}

#[test]
fn an_empty_file_is_the_default() {
    for text in [
        "",
        "\n\n",
        "# nothing yet\n",
        "---\n",
        "--- # nothing\n...\n",
        "null\n",
        "\u{feff}",
    ] {
        let read = parse(text.as_bytes());
        assert_eq!(read.ok(), Some(Configuration::default()), "{text:?}");
    }
    assert_eq!(
        parse(HEAD.as_bytes()).expect("a header alone"),
        Configuration::default()
    );
}

#[test]
fn the_full_example_of_the_documentation_is_read() {
    let page = include_str!("../../docs/configuration.md");
    let (_, example) = page.split_once("```yaml\n").expect("an example");
    let (example, _) = example.split_once("```").expect("its end");
    let read = parse(example.as_bytes()).expect("the example is valid");
    assert_eq!(read.settings.mode, Mode::Enforce);
    assert_eq!(read.cache, Cache::default());
    assert_eq!(read.registries[0].pattern, "registry.test");
    assert_eq!(
        read.registries[0].endpoints[0].uri().to_string(),
        "http://127.0.0.1:5000/"
    );
    assert_eq!(read.registries[0].max_concurrent, MAX_CONCURRENT);
    assert!(read.kinds.find("example.com", "Rollout").is_some());
}

#[test]
fn every_setting_is_taken_over() {
    let text = format!(
        "{HEAD}{}",
        "mode: audit\npullPolicy: none\nalways: pods\npin: {targets: pods, verify: true, skip: {never: false}, errors: {notFound: deny, timedOut: allow}}\n\
         pullSecrets: matching\nextraPullSecrets: [a.b-c]\nexcludedNamespaces: []\ncache: {ttl: 1m30s, negativeTtl: '0', staleIfError: 2h, maxEntries: 5, maxBytes: 7}\n\
         credentials: {dockerConfig: [/etc/docker.json], patterns: documented, anonymousFallback: false, skipBrokenPullSecrets: false}\n\
         presets: [tekton, jobset, tekton]\n\
         customResources:\n- {group: a.b, kind: C, podSpecs: ['/a/*/b~1c'], containers: [/c]}\n\
         - {group: jobset.x-k8s.io, kind: JobSet, templates: [/mine]}\n"
    );
    let read = parse(text.as_bytes()).expect("valid");
    assert_eq!(read.settings.mode, Mode::Audit);
    assert!(!read.settings.pull_policy);
    assert_eq!(read.settings.always, Always::Pods);
    assert_eq!(read.settings.pin.targets, Targets::Pods);
    assert!(!read.settings.pin.skip.never && read.settings.pin.skip.loopback);
    assert_eq!(read.settings.pin.skip.registries.len(), 3);
    let errors = Errors {
        not_found: Action::Deny,
        timed_out: Action::Allow,
        ..Errors::default()
    };
    assert_eq!(read.settings.pin.errors, errors);
    assert!(read.settings.pin.verify);
    assert_eq!(read.settings.pull_secrets, PullSecrets::Matching);
    assert_eq!(read.settings.extra_pull_secrets, ["a.b-c"]);
    assert!(read.settings.excluded_namespaces.is_empty());
    assert_eq!(read.cache.ttl, Duration::from_secs(90));
    assert_eq!(read.cache.negative_ttl, Duration::ZERO);
    assert_eq!(read.cache.stale_if_error, Duration::from_hours(2));
    assert_eq!(read.cache.max_entries, 5);
    assert_eq!(read.cache.max_bytes, 7);
    assert_eq!(
        read.credentials.docker_config[0].to_str(),
        Some("/etc/docker.json")
    );
    let credentials = &read.credentials;
    assert_eq!(credentials.patterns, Patterns::Documented);
    assert!(!credentials.anonymous_fallback && !credentials.skip_broken_pull_secrets);
    let shape = |group, kind| &read.kinds.find(group, kind).expect("the kind").shape;
    let mut paths = Shape::path("/a/*/b~1c", Leaf::Spec).expect("a path");
    paths.add("/c", Leaf::Container).expect("another path");
    assert_eq!(*shape("a.b", "C"), paths);
    let mut task = Shape::path("/spec/steps/*", Leaf::Container).expect("a path");
    task.add("/spec/sidecars/*", Leaf::Container)
        .expect("another path");
    task.add("/spec/stepTemplate", Leaf::Container)
        .expect("another path");
    assert_eq!(*shape("tekton.dev", "Task"), task);
    // The user's entry counts, not the preset's.
    let mine = Shape::path("/mine", Leaf::Template).expect("a path");
    assert_eq!(*shape("jobset.x-k8s.io", "JobSet"), mine);
    assert!(read.kinds.find("serving.knative.dev", "Service").is_none());
}

#[test]
fn the_header_is_asked_for() {
    for (text, message) in [
        (
            "mode: audit\n",
            "line 1, column 1: apiVersion: the file must say `apiVersion: surepull.dev/v1alpha1`",
        ),
        (
            "apiVersion: surepull.dev/v1alpha1\nmode: audit\n",
            "line 1, column 1: kind: the file must say `kind: Configuration`",
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\n",
            "line 1, column 13: apiVersion: this is `v1`; surepull 0.1.0 reads `surepull.dev/v1alpha1`",
        ),
        (
            "apiVersion: surepull.dev/v1alpha1\nkind: Config\n",
            "line 2, column 7: kind: this is `Config`; surepull 0.1.0 reads `Configuration`",
        ),
        (
            "apiVersion: [a]\n",
            "line 1, column 13: apiVersion: a text belongs here; write one, or remove the key",
        ),
        (
            "[a]\n",
            "line 1, column 1: a mapping (`key: value`) belongs here; write one, or remove the key",
        ),
    ] {
        assert_eq!(parse(text.as_bytes()).expect_err(text).to_string(), message);
    }
}

#[test]
fn mistakes_about_look_ups_name_place_key_and_remedy() {
    for (body, message) in [
        (
            "network: {allowAddresses: [10.1.2.3/8]}\n",
            "line 3, column 28: network.allowAddresses[0]: `10.1.2.3/8` has bits set behind its prefix; write `10.0.0.0/8`",
        ),
        (
            "network: {allowAddresses: [localhost]}\n",
            "line 3, column 28: network.allowAddresses[0]: `localhost` is not a network; write it as `10.0.0.0/8`, or a single address",
        ),
        (
            "network: {denyRegistries: [a.io, 'https://r.io']}\n",
            "line 3, column 27: network.denyRegistries: `https://r.io` has a scheme, which image names do not have; write `r.io` here, and a URL into `registries[].endpoints`",
        ),
        (
            "pin: {errors: {notfound: deny}}\n",
            "line 3, column 16: pin.errors.notfound: unknown key; did you mean `notFound`?",
        ),
        (
            "pin: {errors: {notFound: refuse}}\n",
            "line 3, column 26: pin.errors.notFound: `refuse` is not a value of this key; the values are allow, warn, deny",
        ),
        (
            "registries: [{match: r.io, timeouts: {connect: 0s}}]\n",
            "line 3, column 48: registries[0].timeouts.connect: a timeout is longer than 0s and at most 30s, the time that a whole look-up has",
        ),
        (
            "registries: [{match: r.io, timeouts: {request: 31s}}]\n",
            "line 3, column 48: registries[0].timeouts.request: a timeout is longer than 0s and at most 30s, the time that a whole look-up has",
        ),
        (
            "registries: [{match: r.io, clientCertificate: {certificate: c.pem}}]\n",
            "line 3, column 48: registries[0].clientCertificate: the key `key` is missing",
        ),
    ] {
        assert_eq!(error(body), message);
    }
}

#[test]
fn mistakes_name_place_key_and_remedy() {
    for (body, message) in [
        (
            "pinn: {}\n",
            "line 3, column 1: pinn: unknown key; did you mean `pin`?",
        ),
        (
            "pin:\n  target: all\n",
            "line 4, column 3: pin.target: unknown key; did you mean `targets`?",
        ),
        (
            "pin: {skip: {foo: 1}}\n",
            "line 3, column 14: pin.skip.foo: unknown key; the keys here are never, loopback, registries",
        ),
        (
            "mode: enforc\n",
            "line 3, column 7: mode: `enforc` is not a value of this key; did you mean `enforce`?",
        ),
        (
            "always: true\n",
            "line 3, column 9: always: `true` is not a value of this key; the values are none, pods, all",
        ),
        (
            "mode: [a]\n",
            "line 3, column 7: mode: one of the named values belongs here, not a list",
        ),
        (
            "pin: all\n",
            "line 3, column 6: pin: a mapping (`key: value`) belongs here; write one, or remove the key",
        ),
        (
            "excludedNamespaces: a\n",
            "line 3, column 21: excludedNamespaces: a list (`- value`) belongs here; write one, or remove the key",
        ),
        (
            "excludedNamespaces: [{}]\n",
            "line 3, column 22: excludedNamespaces[0]: a text belongs here; write one, or remove the key",
        ),
        (
            "mode: audit\nmode: audit\n",
            "line 4, column 1: the key `mode` stands here twice; keep one of the two",
        ),
        (
            "---\nmode: audit\n",
            "line 4, column 1: a second YAML document begins here; the configuration is one document",
        ),
        (
            "cache: {ttl: 5}\n",
            "line 3, column 14: cache.ttl: `5` is not a duration; write a number with a unit (ms, s, m, h), such as `10s` or `1m30s`",
        ),
        (
            "registries: [{match: r.io, maxConcurrent: 0}]\n",
            "line 3, column 43: registries[0].maxConcurrent: `0` is not a usable number of look-ups at once; write 1 to 512",
        ),
        (
            "cache: {maxEntries: -1}\n",
            "line 3, column 21: cache.maxEntries: invalid u64",
        ),
        (
            "customResources:\n- {group: a, templates: [/b]}\n",
            "line 4, column 14: customResources[0]: the key `kind` is missing",
        ),
        (
            "customResources:\n- {group: a, kind: B}\n",
            "line 4, column 3: customResources[0]: B of group \"a\" has no templates, podSpecs or containers; give at least one path",
        ),
        (
            "customResources:\n- {group: a/v1, kind: B, templates: [/b]}\n",
            "line 4, column 11: customResources[0].group: `a/v1` is not an API group, without a version, such as `argoproj.io`",
        ),
        (
            "customResources:\n- {group: a, kind: '', templates: [/b]}\n",
            "line 4, column 20: customResources[0].kind: `` is not a kind, such as `Rollout`",
        ),
        (
            "customResources:\n- {group: a, kind: B, templates: [/b]}\n- {group: a, kind: B, podSpecs: [/c]}\n",
            "line 5, column 3: customResources[1]: a second entry for `a/B`, after that of line 4; name all paths in one entry",
        ),
        (
            "registries: [{match: 'https://a.b'}]\n",
            "line 3, column 22: registries[0].match: `https://a.b` has a scheme, which image names do not have; write `a.b` here, and a URL into `registries[].endpoints`",
        ),
        (
            "customResources:\n- {group: apps, kind: Deployment, templates: [/b]}\n",
            "line 4, column 3: customResources[0]: Deployment of group \"apps\" is known already; name each kind once, with all its paths",
        ),
        (
            "customResources:\n- {group: a, kind: B, templates: [/b, /b/c]}\n",
            "line 4, column 3: customResources[0]: \"/b/c\" runs through or ends in the same place as another path of this kind",
        ),
        (
            "presets: [knative, argo-rollout]\n",
            "line 3, column 20: presets[1]: `argo-rollout` is not a value of this key; did you mean `argo-rollouts`?",
        ),
        (
            "registries: [{match: 'r.io/*'}]\n",
            "line 3, column 22: registries[0].match: `r.io/*` has a `*` in its path, where it has no meaning; end it before",
        ),
        (
            "network: {denyRegistries: ['r[.io']}\n",
            "line 3, column 27: network.denyRegistries: `r[.io` has a bracket, which only an IPv6 address such as `[::1]:5000` has; of patterns there is only `*`",
        ),
        (
            "registries: [{match: ''}]\n",
            "line 3, column 22: registries[0].match: `` is not a registry; write its host as it stands in image names, such as `registry.example:5000`",
        ),
        (
            "registries:\n- match: a.b\n- match: a.b\n",
            "line 5, column 3: registries[1]: a second entry for `a.b`, after that of line 4; name all endpoints in one entry",
        ),
    ] {
        assert_eq!(error(body), message, "{body}");
    }
}

#[test]
fn pointers_are_pointers() {
    for (pointer, part) in [
        ("spec/template", "must begin with"),
        ("", "must begin with"),
        ("/", "empty segment"),
        ("/spec/", "empty segment"),
        ("/spec//template", "empty segment"),
        ("/a~b", "bare `~`"),
        ("/a~", "bare `~`"),
        ("/metadata/annotations", "its metadata"),
        ("/*/template", "its metadata"),
    ] {
        let body = format!("customResources: [{{group: a, kind: B, templates: ['{pointer}']}}]\n");
        let error = error(&body);
        assert!(
            error.contains("customResources[0].templates[0]: "),
            "{error}"
        );
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn endpoints_are_addresses() {
    for (url, part) in [
        ("registry.test:5000", "not an http or https URL"),
        ("ftp://registry.test", "not an http or https URL"),
        ("/v2", "not an http or https URL"),
        ("https://", "not a URL"),
        ("https://a b", "not a URL"),
        ("https://a:", "lacks its host or port"),
        ("https://a:70000", "no valid port"),
        ("https://a/?x=y", "query or fragment"),
        ("https://a/#x", "query or fragment"),
        ("https://user:hunter2@a", "credentials belong"),
    ] {
        let error = error(&format!(
            "registries: [{{match: a, endpoints: ['{url}']}}]\n"
        ));
        assert!(error.contains("registries[0].endpoints[0]: "), "{error}");
        assert!(error.contains(part), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    for url in [
        "http://[::1]:5000",
        "https://a.b/mirror",
        "HTTPS://a.b:443/",
    ] {
        let text = format!("{HEAD}registries: [{{match: a, endpoints: ['{url}']}}]\n");
        assert!(parse(text.as_bytes()).is_ok(), "{url}");
    }
}

#[test]
fn a_pattern_is_not_taken_for_a_name() {
    for name in ["kube-*", "Kube", "", "-a", "a-", "a.b", &"a".repeat(64)] {
        let error = error(&format!("excludedNamespaces: [demo, '{name}']\n"));
        assert!(error.contains(": excludedNamespaces: "), "{error}");
        assert!(error.contains("is not the name of a namespace"), "{error}");
    }
    for name in ["*", "Reg", "", "a..b", "a.", "-a", "a_b", &"a".repeat(254)] {
        let error = error(&format!("extraPullSecrets: [reg.cred-1, '{name}']\n"));
        assert!(error.contains(": extraPullSecrets: "), "{error}");
        assert!(error.contains("is not the name of a Secret"), "{error}");
    }
    for host in [
        "*.local",
        "https://a.io",
        "a.io/team",
        "",
        "index.docker.io",
    ] {
        let error = error(&format!(
            "pin: {{skip: {{registries: [a.io, '{host}']}}}}\n"
        ));
        assert!(error.contains("pin.skip.registries: "), "{error}");
        assert!(error.contains("is not the host of an image"), "{error}");
    }
}

#[test]
fn what_is_no_text_or_too_large_is_refused() {
    let error = parse(b"# fine\n\xff\n").expect_err("not UTF-8");
    assert_eq!(error.to_string(), "line 2 is not UTF-8 text");
    let large = " ".repeat(usize::try_from(MAX_BYTES).expect("small") + 1);
    assert!(parse(large.as_bytes()).is_err());
}

#[test]
fn an_error_of_a_file_names_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("surepull.yaml");
    let error = load(&file).expect_err("absent").to_string();
    assert!(
        error.starts_with(&format!("{}: ", file.display())),
        "{error}"
    );
    std::fs::write(&file, format!("{HEAD}pinn: 1\n")).expect("written");
    let error = load(&file).expect_err("wrong");
    assert_eq!(error.place(), Some((3, 1)));
    assert_eq!(error.path(), "pinn");
    assert!(
        error
            .to_string()
            .starts_with(&format!("{}:3:1: pinn: ", file.display())),
        "{error}"
    );
}

#[test]
fn the_committed_schema_is_current() {
    assert!(
        include_str!("../../docs/configuration.schema.json") == schema(),
        "the schema has changed: run `make reference`"
    );
}

#[test]
fn the_schema_knows_the_form_of_every_checked_text() {
    let schema: serde_json::Value = serde_json::from_str(&schema()).expect("JSON");
    for at in [
        "/$defs/Pointer",
        "/$defs/Endpoint",
        "/$defs/Cidr",
        "/$defs/Network/properties/allowRegistries/items",
        "/$defs/Network/properties/denyRegistries/items",
        "/$defs/Timeouts/properties/connect",
        "/$defs/Skip/properties/registries/items",
        "/properties/excludedNamespaces/items",
        "/properties/extraPullSecrets/items",
    ] {
        let place = schema.pointer(at).expect(at);
        assert!(place["pattern"].is_string(), "{at}: {place}");
    }
}

proptest! {
    #[test]
    fn junk_never_panics(text in ".*") {
        let _ = parse(text.as_bytes());
    }

    #[test]
    fn bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }

    /// Words of the format in any order and nesting reach further into the reader than junk does.
    #[test]
    fn near_misses_never_panic(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "pin", "skip", "cache", "ttl", "registries", "match", "endpoints", "customResources", "templates",
                "mode", "audit", ": ", ":\n  ", "\n", "\n- ", "- ", "[", "]", "{", "}", ", ", "&a ", "*a", "!!str ",
                "'", "\"", "<<", "? ", "|\n", ">-\n ", "#", "---\n", "...\n", "%YAML 1.2\n", "\t", "5m", "null", "~",
                "é", "\u{0}", "http://", "/",
            ]),
            0..40,
        ),
        head in any::<bool>(),
    ) {
        let text = pieces.concat();
        let _ = parse(if head { format!("{HEAD}{text}") } else { text }.as_bytes());
    }
}
