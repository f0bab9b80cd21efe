//! Pull secrets that Pods get for what is in them: the account's, and those of the configuration.

use super::*;

/// A cluster for namespace `ns`, where account `default` has some pull secrets, `strict` may have no others than its own,
/// and Secrets hold entries: each is named after its host, `broken` is none, and `opaque` has the wrong type.
fn additions_cluster() -> Known {
    let mut given = Given::default();
    for host in ["registry.test", "other.test", "index.docker.io"] {
        let document = config(PASSWORD).replace("registry.test", host);
        given.add_pull_secret("ns", host, CONFIG_TYPE, |_| Some(document.as_bytes()));
    }
    given.add_pull_secret("ns", "broken", CONFIG_TYPE, |_| Some(b"{"));
    given.add_pull_secret("ns", "opaque", "Opaque", |_| Some(b"{}"));
    for (name, mountable_only) in [("default", false), ("strict", true)] {
        let names = [
            "other.test",
            "",
            "registry.test",
            "opaque",
            "index.docker.io",
            "other.test",
        ];
        let pull_secrets = names.map(String::from).to_vec();
        let account = Account {
            pull_secrets,
            mountable_only,
        };
        given.add_account("ns", name, account);
    }
    for (name, own, mountable_only) in [
        ("broken", "broken", false),
        ("other", "other.test", false),
        ("strict-other", "other.test", true),
    ] {
        let pull_secrets = vec![own.to_owned()];
        let account = Account {
            pull_secrets,
            mountable_only,
        };
        given.add_account("ns", name, account);
    }
    // More than are read; the last one is as good as the first.
    let many = (0..40).map(|number| format!("many{number}"));
    let pull_secrets: Vec<_> = many.collect();
    for name in &pull_secrets {
        let document = config(PASSWORD).replace("registry.test", "many.test");
        given.add_pull_secret("ns", name, CONFIG_TYPE, |_| Some(document.as_bytes()));
    }
    let account = Account {
        pull_secrets,
        mountable_only: false,
    };
    given.add_account("ns", "many", account);
    given.add_account("ns", "bare", Account::default());
    Known(given)
}

/// A cluster of which everything is known: what it was not given does not exist.
struct Known(Given);

impl Cluster for Known {
    fn account<'a>(
        &'a self,
        question: AccountQuestion<'a>,
    ) -> BoxFuture<'a, cluster::Answer<Account>> {
        let answer = self.0.account(question);
        Box::pin(async { answer.await.map_err(|_| Unreadable::NotFound) })
    }

    fn pull_secret<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, cluster::Answer<Keyring>> {
        let answer = self.0.pull_secret(namespace, name);
        let absent = |why| match why {
            Unreadable::NoCluster => Unreadable::NotFound,
            why => why,
        };
        Box::pin(async move { answer.await.map_err(absent) })
    }
}

/// The names that a Pod gets on top, and the warnings.
async fn added(pipeline: &Pipeline, change: &Change<'_>) -> (Vec<String>, Vec<String>) {
    let kinds = kinds();
    let review = review(&kinds, change).unwrap();
    let outcome = pipeline.decide(&review, soon()).await.unwrap();
    let edits = outcome.edits.iter().filter_map(|edit| match &edit.change {
        surepull::mutation::Change::AddNames(names) | surepull::mutation::Change::Append(names) => {
            Some(names.clone())
        }
        _ => None,
    });
    (edits.flatten().collect(), outcome.warnings.clone())
}

fn adding(endpoint: &str, how: PullSecrets, extra: &[&str], mode: Mode) -> Pipeline {
    let registries = [common::entry("registry.test", &[endpoint], None)];
    let resolver = Resolver::new(&registries, &Cache::default()).unwrap();
    let settings = Settings {
        mode,
        pull_secrets: how,
        extra_pull_secrets: extra.iter().map(|name| (*name).to_owned()).collect(),
        ..Settings::default()
    };
    let cluster = Arc::new(additions_cluster());
    Pipeline::new(settings, resolver, Keyring::default(), cluster)
}

/// A Pod of images that are pinned already.
fn pinned_pod(account: &str, own: &[&str], images: &[&str]) -> Value {
    let mut spec = spec(own, account);
    let image = |(index, image): (usize, &&str)| json!({"name": format!("c{index}"), "image": format!("{image}@sha256:{}", "0".repeat(64)), "imagePullPolicy": "Always"});
    spec["containers"] = images.iter().enumerate().map(image).collect();
    pod(&spec)
}

/// What a Pod of an account, with some pull secrets of its own and some images, gets on top.
struct Addition {
    how: PullSecrets,
    extra: &'static [&'static str],
    account: &'static str,
    own: &'static [&'static str],
    images: &'static [&'static str],
    added: &'static [&'static str],
    warning: Option<&'static str>,
}

impl Addition {
    const DEFAULT: Self = Self {
        how: PullSecrets::None,
        extra: &[],
        account: "bare",
        own: &["own"],
        images: &["registry.test/app"],
        added: &[],
        warning: None,
    };
    const ACCOUNTS: Self = Self {
        how: PullSecrets::Matching,
        account: "default",
        ..Self::DEFAULT
    };

    fn pod(&self, images: &[&str]) -> Value {
        pinned_pod(self.account, self.own, images)
    }

    fn pipeline(&self, mode: Mode) -> Pipeline {
        // No image is looked up.
        adding("http://127.0.0.1:1", self.how, self.extra, mode)
    }

    async fn check(&self) {
        let pod = self.pod(self.images);
        let pipeline = self.pipeline(Mode::Enforce);
        let (names, warnings) = added(&pipeline, &Change::create(&pod)).await;
        assert_eq!(names, self.added, "{pod}: {warnings:?}");
        assert_eq!(
            warnings.len(),
            usize::from(self.warning.is_some()),
            "{warnings:?}"
        );
        let told = warnings.join("");
        assert!(told.contains(self.warning.unwrap_or_default()), "{told}");

        // The stored object is no change, and the same manifest again gets the same back; as it must, also with other
        // images.
        let has: Vec<&str> = self.own.iter().chain(self.added).copied().collect();
        let stored = pinned_pod(self.account, &has, self.images);
        let twice = added(&pipeline, &Change::create(&stored)).await;
        assert_eq!(twice.0, [""; 0], "{stored}");
        for images in [self.images, &["quay.test/app"]] {
            let again = self.pod(images);
            let again = added(&pipeline, &Change::update(&stored, &again)).await;
            assert_eq!(again, (names.clone(), Vec::new()), "{stored}");
        }

        let (_, told) = added(&self.pipeline(Mode::Audit), &Change::create(&pod)).await;
        let would = format!(
            "surepull would add {} to imagePullSecrets",
            names.join(", ")
        );
        assert_eq!(told.contains(&would), !names.is_empty(), "{told:?}");
    }
}

#[tokio::test]
async fn pull_secrets_of_the_account_that_match_an_image_are_added() {
    let accounts = Addition::ACCOUNTS;
    for addition in [
        Addition {
            added: &["registry.test"],
            ..accounts
        },
        Addition {
            own: &["own", "registry.test"],
            ..accounts
        },
        Addition {
            account: "bare",
            ..accounts
        },
        Addition {
            account: "unknown",
            ..accounts
        },
        Addition {
            own: &[],
            images: &["app", "other.test/app:1"],
            added: &["other.test", "index.docker.io"],
            ..accounts
        },
        Addition {
            images: &["localhost/app", "not a valid::image"],
            ..accounts
        },
        Addition {
            account: "broken",
            warning: Some(
                r#"surepull: pull secret "broken" is not added: it could not be read: it makes the kubelet fail every pull"#,
            ),
            ..accounts
        },
        Addition {
            account: "strict",
            added: &["registry.test"],
            ..accounts
        },
    ] {
        addition.check().await;
    }
}

#[tokio::test]
async fn pull_secrets_beyond_the_bound_are_added_unseen() {
    let pipeline = adding(
        "http://127.0.0.1:1",
        PullSecrets::Matching,
        &[],
        Mode::Enforce,
    );
    for (image, seen) in [("registry.test/app", 0), ("many.test/app", 32)] {
        let pod = pinned_pod("many", &[], &[image]);
        let (names, warnings) = added(&pipeline, &Change::create(&pod)).await;
        assert_eq!(names.len(), seen + 8, "{names:?}");
        let told = "is added unseen: it could not be read: only the first 32 are read";
        assert!(
            warnings.iter().any(|warning| warning.contains(told)),
            "{warnings:?}"
        );
    }
}

#[tokio::test]
async fn configured_pull_secrets_that_are_there_and_match_are_added() {
    let configured = Addition {
        extra: &[
            "missing",
            "registry.test",
            "opaque",
            "index.docker.io",
            "registry.test",
        ],
        ..Addition::DEFAULT
    };
    for addition in [
        Addition {
            added: &["registry.test"],
            ..configured
        },
        Addition {
            how: PullSecrets::Merge,
            added: &["registry.test"],
            ..configured
        },
        Addition {
            images: &["app", "registry.test/app"],
            added: &["registry.test", "index.docker.io"],
            ..configured
        },
        Addition {
            own: &[],
            added: &["registry.test"],
            ..configured
        },
        Addition {
            own: &["registry.test"],
            ..configured
        },
        Addition {
            images: &["other.test/app"],
            ..configured
        },
        Addition {
            account: "unknown",
            ..configured
        },
        Addition {
            extra: &["broken", "registry.test"],
            added: &["registry.test"],
            warning: Some(r#"surepull: pull secret "broken" is not added"#),
            ..configured
        },
        // The account's own go first.
        Addition {
            how: PullSecrets::Matching,
            account: "other",
            extra: &["registry.test"],
            images: &["registry.test/app", "other.test/app"],
            added: &["other.test", "registry.test"],
            ..configured
        },
        // The API server would refuse a Pod of this account with any but its own.
        Addition {
            account: "strict",
            added: &["registry.test"],
            ..configured
        },
        Addition {
            account: "strict-other",
            ..configured
        },
    ] {
        addition.check().await;
    }
}

#[tokio::test]
async fn a_failed_look_up_says_how_to_make_the_configured_pull_secret() {
    let registry = TestRegistry::with_basic_auth();
    registry.push_manifest("app", "1").await;
    let spec = spec(&[], "bare");
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"template": {"spec": spec}}});
    for (extra, found, command) in [
        ("registry.test", true, ""),
        (
            "missing",
            false,
            "surepull: Pods of namespace ns would get pull secret \"missing\" for registry.test, but there is none; create it: kubectl create secret docker-registry missing -n ns --docker-server=registry.test --docker-username=USER --docker-password=PASSWORD",
        ),
        (
            "other.test",
            false,
            "surepull: Pods of namespace ns do not get pull secret \"other.test\": it has no entry for registry.test/app; add one to those that it has, in config.json, and replace it: kubectl create secret generic other.test -n ns --type=kubernetes.io/dockerconfigjson --from-file=.dockerconfigjson=config.json",
        ),
        (
            "opaque",
            false,
            "surepull: Pods of namespace ns do not get pull secret \"opaque\": it is not of type kubernetes.io/dockerconfigjson",
        ),
        (
            "broken",
            false,
            "surepull: Pods of namespace ns do not get pull secret \"broken\": it makes the kubelet fail every pull",
        ),
    ] {
        let pipeline = adding(
            &registry.endpoint(),
            PullSecrets::Merge,
            &[extra],
            Mode::Enforce,
        );
        for object in [pod(&spec), deployment.clone()] {
            let (pinned, warnings) = create(&pipeline, &object, soon()).await;
            assert_eq!(pinned.len(), usize::from(found), "{extra}: {warnings:?}");
            let told = warnings.join("\n");
            assert!(told.contains(command), "{told}");
            assert_eq!(told.contains("kubectl"), !found, "{told}");
        }
    }
}

#[tokio::test]
async fn configured_pull_secrets_are_missed_where_they_matter() {
    let registry = TestRegistry::with_basic_auth();
    registry.push_manifest("app", "1").await;
    let spec = spec(&[], "bare");
    // Nothing is missed where the image is for everybody.
    let open = TestRegistry::start();
    open.push_manifest("app", "1").await;
    let pipeline = adding(
        &open.endpoint(),
        PullSecrets::Merge,
        &["missing"],
        Mode::Enforce,
    );
    let (pinned, warnings) = create(&pipeline, &pod(&spec), soon()).await;
    assert_eq!((pinned.len(), warnings.len()), (1, 0), "{warnings:?}");
    // The files of the configuration find the image, but the nodes need not have them.
    let mut keyring = Keyring::default();
    let document = Document::decode(Form::ConfigJson, config(PASSWORD).as_bytes()).unwrap();
    keyring.add(document, &Arc::from("file f"));
    let pipeline = adding(
        &registry.endpoint(),
        PullSecrets::Merge,
        &["missing"],
        Mode::Enforce,
    );
    let (settings, resolver) = (pipeline.settings().clone(), pipeline.resolver().clone());
    let pipeline = pipeline.successor(settings, resolver, keyring);
    let (pinned, warnings) = create(&pipeline, &pod(&spec), soon()).await;
    assert_eq!((pinned.len(), warnings.len()), (1, 1), "{warnings:?}");
    assert!(
        warnings[0].contains("docker-registry missing -n ns"),
        "{warnings:?}"
    );
    // An account that may have none but its own is told of that.
    let pipeline = adding(
        &registry.endpoint(),
        PullSecrets::None,
        &["missing"],
        Mode::Enforce,
    );
    let mut strict = pod(&spec);
    strict["spec"]["serviceAccountName"] = json!("strict");
    let (_, warnings) = create(&pipeline, &strict, soon()).await;
    assert!(
        warnings[0].contains("the ServiceAccount enforces mountable secrets"),
        "{warnings:?}"
    );
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}
