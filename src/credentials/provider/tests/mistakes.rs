//! Configurations that are not as they should be.

use super::*;

/// A configuration with one provider.
fn file(entry: &str) -> String {
    format!(
        "apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\nproviders:\n- {entry}\n"
    )
}

/// One with a good provider, and more in it.
fn entry(more: &str) -> String {
    file(&format!(
        "{{name: ecr, apiVersion: {V1}, matchImages: ['*.io'], defaultCacheDuration: 1h{more}}}"
    ))
}

#[test]
fn mistakes_name_place_and_remedy() {
    let world = World::new();
    assert!(
        world
            .load(&entry(", args: [a], env: [{name: A, value: b}]"))
            .is_ok()
    );
    // What is left empty is as if it were not there, as in Go.
    for empty in [
        ", args: , env: ",
        ", args: null, env: ~",
        ", env: [{name: A, value: }]",
    ] {
        let loaded = world.load(&entry(empty));
        assert!(loaded.is_ok(), "{empty}: {loaded:?}");
    }
    for (text, message) in [
        (entry(", foo: 1"), "4:114: providers[0].foo: unknown key; "),
        (
            entry("").replace("ecr", "a/b"),
            ":4:10: providers[0].name: `a/b` is not the name of a provider",
        ),
        (
            entry("").replace("ecr", ".."),
            "`..` is not the name of a provider",
        ),
        (
            entry("").replace("ecr", "'a b'"),
            "`a b` is not the name of a provider",
        ),
        (
            entry("").replace("name: ecr,", ""),
            "providers[0]: the key `name` is missing",
        ),
        (
            entry("").replace("ecr", "gcr"),
            "bin/gcr` for provider `gcr`; put it there",
        ),
        (
            entry("").replace("['*.io']", "[]"),
            "matchImages: there is no pattern; name at least one image",
        ),
        (
            entry("").replace("*.io", "r io"),
            "matchImages: `r io` is not a pattern of images",
        ),
        (
            entry("").replace("1h", "1d"),
            "defaultCacheDuration: `1d` is not a duration",
        ),
        (
            entry("").replace("1h", "-1h"),
            "defaultCacheDuration: `-1h` is not a duration",
        ),
        (
            entry("").replace(", defaultCacheDuration: 1h", ""),
            "the key `defaultCacheDuration` is missing",
        ),
        (
            entry("").replace(&format!(" apiVersion: {V1},"), ""),
            "the key `apiVersion` is missing",
        ),
        (
            entry("").replace(V1, "credentialprovider.kubelet.k8s.io/v2"),
            "providers[0].apiVersion: `credentialprovider.kubelet.k8s.io/v2` is not a value of this key",
        ),
        (
            entry(", tokenAttributes: {serviceAccountTokenAudience: a}"),
            "tokenAttributes: only a kubelet can give a provider the token of a service account",
        ),
        (
            entry("").replace("- {", "- {name: ecr, "),
            "stands here twice",
        ),
        (file("{}\n").replace("- {}", ""), "providers"),
        (
            "apiVersion: v1\nkind: Pod\n".to_owned(),
            "apiVersion: `v1` is not a value of this key",
        ),
        (
            "kind: CredentialProviderConfig\n".to_owned(),
            "the key `apiVersion` is missing",
        ),
        (String::new(), "config.yaml"),
    ] {
        let error = anyhow::Error::from(world.load(&text).unwrap_err());
        let error = format!("{error:#}");
        assert!(error.starts_with("credentials.providers."), "{error}");
        assert!(error.contains(message), "{error}\n{message}\n{text}");
        assert_eq!(
            error.matches("config.yaml").count(),
            usize::from(!error.contains("binDir")),
            "{error}"
        );
    }
}

#[test]
fn a_folder_is_read_in_the_order_of_its_files() {
    let world = World::new();
    let folder = world.path().join("config");
    fs::create_dir_all(folder.join("sub.yaml")).unwrap();
    let settings = crate::config::Providers {
        config: folder.clone(),
        ..world.settings()
    };
    let load = || Providers::load(Some(&settings), ProviderMetrics::default());
    let error = load().unwrap_err().to_string();
    assert!(
        error.contains("holds no *.json, *.yaml or *.yml"),
        "{error}"
    );
    let file = |version: &str, name: &str| {
        let text = json!({
            "apiVersion": format!("kubelet.config.k8s.io/{version}"), "kind": "CredentialProviderConfig",
            "providers": [world.entry(name, "")],
        });
        text.to_string()
    };
    fs::write(folder.join("b.json"), file("v1alpha1", "ecr")).unwrap();
    fs::write(folder.join("a.yml"), file("v1beta1", "acr")).unwrap();
    fs::write(folder.join("c.txt"), "hunter2").unwrap();
    let providers = load().unwrap();
    let names = providers
        .all
        .iter()
        .map(|provider| &*provider.settings.name);
    assert_eq!(names.collect::<Vec<_>>(), ["acr", "ecr"]);
    assert_eq!(
        Providers::files(&settings),
        [folder.join("a.yml"), folder.join("b.json"), folder.clone()]
    );
    fs::write(folder.join("c.yaml"), file("v1", "ecr")).unwrap();
    let error = load().unwrap_err().to_string();
    assert!(
        error.contains("c.yaml: a second provider `ecr`, after that of "),
        "{error}"
    );
    let absent = crate::config::Providers {
        config: world.path().join("absent"),
        ..settings
    };
    let error = Providers::load(Some(&absent), ProviderMetrics::default()).unwrap_err();
    let error = format!("{:#}", anyhow::Error::from(error));
    assert!(error.contains("absent` cannot be read"), "{error}");
    assert_eq!(error.matches("No such file").count(), 1, "{error}");
}
