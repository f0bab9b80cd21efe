//! Private images, looked up with the pull secrets that the kubelet would use.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::lifecycle::{deployment, image, pod};
use crate::Test;
use crate::common::cluster::Kubectl;
use crate::common::registry::{PASSWORD, TestRegistry, USERNAME};
use crate::world::World;

const IMAGE: &str = "private.test/app:1.0";

pub fn tests() -> Vec<(String, Test)> {
    crate::named(
        "credentials",
        [
            ("private_images_by_pull_secrets", private_images),
            (
                "pull_secrets_for_what_is_in_them",
                added_for_what_is_in_them,
            ),
        ],
    )
}

/// A pull secret, of the older type or of today's.
fn pull_secret(name: &str, kind: &str, password: &str) -> Value {
    let auth = STANDARD.encode(format!("{USERNAME}:{password}"));
    let entries = json!({"private.test": {"auth": auth}});
    let (key, document) = if kind == "kubernetes.io/dockercfg" {
        (".dockercfg", entries)
    } else {
        (".dockerconfigjson", json!({"auths": entries}))
    };
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": kind,
        "stringData": {key: document.to_string()},
    })
}

/// A service account with a pull secret.
fn account(name: &str, secret: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name},
        "imagePullSecrets": [{"name": secret}],
    })
}

fn with_account(mut object: Value, account: &str) -> Value {
    let spec = if object["kind"] == "Pod" {
        &mut object["spec"]
    } else {
        &mut object["spec"]["template"]["spec"]
    };
    spec["serviceAccountName"] = account.into();
    object
}

/// What is stored of an object, and what was said about it.
fn applied(space: &Kubectl, object: &Value) -> (Value, String) {
    let output = space.apply(object);
    let said = output.stderr.clone();
    output.success();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    (
        space.get(&text(&object["kind"]), &text(&object["metadata"]["name"])),
        said,
    )
}

fn private_images(world: &World) {
    let registry = TestRegistry::with_basic_auth();
    let digest = world.runtime.block_on(registry.push_index("app", "1.0"));
    let pinned = format!("{IMAGE}@{digest}");
    world.serve("private", &format!(
        "registries:\n- {{match: registry.test, endpoints: ['{}']}}\n- {{match: private.test, endpoints: ['{}']}}\n",
        world.registry.endpoint(), registry.endpoint(),
    ));
    let space = world.namespace("private", "private");
    for object in [
        pull_secret("good", "kubernetes.io/dockerconfigjson", PASSWORD),
        pull_secret("old-form", "kubernetes.io/dockercfg", PASSWORD),
        pull_secret("wrong", "kubernetes.io/dockerconfigjson", "guess"),
        account("by-good", "good"),
        account("by-old-form", "old-form"),
        account("by-wrong", "wrong"),
        account("by-absent", "absent"),
    ] {
        space.apply(&object).success();
    }
    with_a_secret(&space, &pinned);
    // Whoever has no secret learns nothing of what others have looked up.
    without_one(&space);
}

/// An account's secret is used, for templates and Pods, and so is the Pod's own.
fn with_a_secret(space: &Kubectl, pinned: &str) {
    for account in ["by-good", "by-old-form"] {
        let deployment = with_account(deployment(account, IMAGE, 0), account);
        let (stored, said) = applied(space, &deployment);
        assert_eq!((image(&stored), &*said), (pinned, ""), "{account}");
        assert_eq!(
            stored["spec"]["template"]["spec"]["imagePullSecrets"],
            Value::Null,
            "templates get none"
        );
        let (stored, said) = applied(space, &with_account(pod(account, IMAGE), account));
        assert_eq!((image(&stored), &*said), (pinned, ""), "{account}");
    }
    // The Pod's own secrets come first, its account's are added.
    let mut own = with_account(pod("own", IMAGE), "by-good");
    own["spec"]["imagePullSecrets"] = json!([{"name": "wrong"}]);
    let (stored, said) = applied(space, &own);
    assert_eq!((image(&stored), &*said), (pinned, ""));
    assert_eq!(
        stored["spec"]["imagePullSecrets"],
        json!([{"name": "wrong"}, {"name": "good"}])
    );
}

/// Without the right secret the image stays, and the user reads why.
fn without_one(space: &Kubectl) {
    for account in ["default", "by-wrong", "by-absent"] {
        let deployment = with_account(deployment(account, IMAGE, 0), account);
        let (stored, said) = applied(space, &deployment);
        assert_eq!(image(&stored), IMAGE, "{account}");
        let why = "not authorized to read app:1.0";
        assert!(said.contains(why), "{account}: {said}");
        let told = said.contains("guess") || said.contains(PASSWORD);
        assert!(!told, "{said}");
        assert_eq!(said.contains("absent"), account == "by-absent", "{said}");
    }
}

/// Pull secrets that are added for what is in them, and what the API server, its plugin and `kubectl` make of that.
fn added_for_what_is_in_them(world: &World) {
    let registry = TestRegistry::with_basic_auth();
    let digest = world.runtime.block_on(registry.push_index("app", "1.0"));
    let pinned = format!("{IMAGE}@{digest}");
    world.serve("adding", &format!(
        "pullSecrets: matching\nextraPullSecrets: [extra, elsewhere]\n\
         registries:\n- {{match: registry.test, endpoints: ['{}']}}\n- {{match: private.test, endpoints: ['{}']}}\n",
        world.registry.endpoint(), registry.endpoint(),
    ));
    let space = world.namespace("adding", "adding");
    let kind = "kubernetes.io/dockerconfigjson";
    let mut elsewhere = pull_secret("elsewhere", kind, PASSWORD);
    let document = json!({"auths": {"other.test": {"username": "u", "password": "p"}}});
    elsewhere["stringData"] = json!({".dockerconfigjson": document.to_string()});
    let mut both = account("both", "elsewhere");
    both["imagePullSecrets"] = json!([{"name": "elsewhere"}, {"name": "good"}]);
    let mut strict = account("strict", "own");
    strict["metadata"]["annotations"] = json!({"kubernetes.io/enforce-mountable-secrets": "true"});
    let objects = [elsewhere, pull_secret("good", kind, PASSWORD), both, strict];
    for object in objects {
        space.apply(&object).success();
    }

    // The command of the warning makes the missing one.
    let by_extra = deployment("by-extra", IMAGE, 0);
    let (stored, said) = applied(&space, &by_extra);
    assert_eq!(image(&stored), IMAGE);
    let (_, command) = said.split_once("create it: kubectl ").expect(&said);
    let command = command.lines().next().expect("a command");
    let command = command.replace("USER", USERNAME);
    let arguments = command
        .split(' ')
        .map(|word| word.replace("PASSWORD", PASSWORD));
    let arguments: Vec<String> = arguments.collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    space.run(&arguments).success();
    space.until("the pull secret is found", || {
        let tried = ["create", "--dry-run=server", "-f", "-", "-o", "json"];
        let other = deployment("tried", IMAGE, 0).to_string();
        (image(&space.run_with(&tried, &other).json()) == pinned).then_some(())
    });

    let mut own = with_account(pod("own", IMAGE), "both");
    own["spec"]["imagePullSecrets"] = json!([{"name": "mine"}]);
    let (stored, said) = applied(&space, &own);
    assert_eq!((image(&stored), &*said), (&*pinned, ""));
    let names = json!([{"name": "mine"}, {"name": "good"}, {"name": "extra"}]);
    assert_eq!(stored["spec"]["imagePullSecrets"], names);
    // The same once more, in every way: what was added can but stay.
    for arguments in [
        &["apply", "-f", "-"][..],
        &["apply", "--server-side", "--force-conflicts", "-f", "-"],
    ] {
        let again = space.run_with(arguments, &own.to_string());
        again.success();
        assert_eq!(
            space.get("pod", "own")["spec"],
            stored["spec"],
            "{arguments:?}"
        );
    }

    // Of this account the API server takes no Pod with another pull secret.
    let mut other = with_account(pod("other", IMAGE), "strict");
    other["spec"]["imagePullSecrets"] = json!([{"name": "extra"}]);
    let refused = space.apply(&other).refused();
    assert!(
        refused.contains("does not reference that imagePullSecret"),
        "{refused}"
    );
    let (stored, said) = applied(&space, &with_account(pod("strict", IMAGE), "strict"));
    assert_eq!(stored["spec"]["imagePullSecrets"], json!([{"name": "own"}]));
    assert!(said.contains("enforces mountable secrets"), "{said}");
}
