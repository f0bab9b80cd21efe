//! What happens to objects besides being applied.

use serde_json::{Value, json};

use super::webhooks::Later;
use crate::common::cluster::Kubectl;
use crate::world::{DEFAULT, World};
use crate::{Case, Test};

const APP: &str = "registry.test/app:1.0";

pub fn tests() -> Vec<(String, Test)> {
    let cases: [Case; 9] = [
        ("a_dry_run_shows_what_would_be_and_stores_nothing", dry_run),
        ("server_side_apply", server_side_apply),
        ("scaling_leaves_a_template_alone", scale),
        ("status_leaves_a_template_alone", status),
        ("a_pod_made_before_can_be_labelled", label),
        ("what_is_being_deleted_is_left_alone", deletion),
        ("a_mirror_pod_is_left_alone", mirror_pod),
        ("another_image_by_kubectl_set_image", set_image),
        ("always_is_validated_for_pods", validated),
    ];
    crate::named("lifecycle", cases)
}

/// A Pod with one container.
pub fn pod(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": image}]},
    })
}

/// A Deployment with one container.
pub fn deployment(name: &str, image: &str, replicas: u32) -> Value {
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "c", "image": image}]},
            },
        },
    })
}

/// The image of the first container, of a Pod or a template.
pub fn image(object: &Value) -> &str {
    let pod_spec = object
        .pointer("/spec/template/spec")
        .unwrap_or(&object["spec"]);
    pod_spec["containers"][0]["image"]
        .as_str()
        .expect("an image")
}

/// A namespace with objects that were stored before surepull was there.
fn with_old(world: &World, name: &str, objects: &[Value]) -> Kubectl {
    let space = world.cluster.namespace(name, &[]);
    for object in objects {
        space.apply(object).success();
    }
    World::switch_on(&space, DEFAULT);
    space
}

fn dry_run(world: &World) {
    let space = world.namespace("dry-run", DEFAULT);
    let pod = pod("p", APP);
    let arguments = ["apply", "--dry-run=server", "-o", "json", "-f", "-"];
    let tried = space.run_with(&arguments, &pod.to_string()).json();
    assert_eq!(image(&tried), world.pinned(APP));
    assert!(space.list("pods").is_empty());
    space.apply(&pod).success();
    let stored = space.get("pod", "p");
    assert_eq!(
        stored["spec"]["containers"][0]["image"],
        tried["spec"]["containers"][0]["image"]
    );
    assert_eq!(
        stored["metadata"]["annotations"]["surepull.dev/pinned"],
        tried["metadata"]["annotations"]["surepull.dev/pinned"]
    );
}

fn server_side_apply(world: &World) {
    let space = world.namespace("server-side-apply", DEFAULT);
    let deployment = deployment("d", APP, 0);
    space.apply_server_side(&deployment).success();
    let stored = space.get("deployment", "d");
    assert_eq!(image(&stored), world.pinned(APP));
    // No conflict, although what is stored is not what this manager applied.
    space.apply_server_side(&deployment).success();
    let again = space.get("deployment", "d");
    assert_eq!(
        (image(&again), &again["metadata"]["generation"]),
        (image(&stored), &json!(1))
    );
    space
        .apply_server_side(&self::deployment("d", "registry.test/app:2.0", 0))
        .success();
    assert_eq!(
        image(&space.get("deployment", "d")),
        world.pinned("registry.test/app:2.0")
    );
}

fn scale(world: &World) {
    let space = with_old(world, "scale", &[deployment("d", APP, 0)]);
    space
        .run(&["scale", "deployment/d", "--replicas=2"])
        .success();
    let scaled = space.get("deployment", "d");
    assert_eq!(
        (image(&scaled), &scaled["spec"]["replicas"]),
        (APP, &json!(2))
    );
}

fn status(world: &World) {
    let space = with_old(world, "status", &[deployment("d", APP, 0), pod("p", APP)]);
    let condition = r#"{"status": {"conditions": [{"type": "test.io/Seen", "status": "True"}]}}"#;
    for object in ["deployment/d", "pod/p"] {
        space
            .run(&[
                "patch",
                object,
                "--subresource=status",
                "--type=merge",
                "-p",
                condition,
            ])
            .success();
        let (kind, name) = object.split_once('/').expect("kind and name");
        assert_eq!(image(&space.get(kind, name)), APP);
    }
}

fn label(world: &World) {
    let space = with_old(world, "label", &[pod("p", APP), deployment("d", APP, 1)]);
    for object in ["pod/p", "deployment/d"] {
        space.run(&["label", object, "seen=yes"]).success();
        let (kind, name) = object.split_once('/').expect("kind and name");
        let stored = space.get(kind, name);
        assert_eq!(
            (image(&stored), &stored["metadata"]["labels"]["seen"]),
            (APP, &json!("yes"))
        );
        assert_eq!(
            stored["metadata"]["annotations"]["surepull.dev/pinned"],
            Value::Null
        );
    }
}

fn deletion(world: &World) {
    let mut objects = [deployment("d", APP, 0), pod("p", APP)];
    for object in &mut objects {
        object["metadata"]["finalizers"] = json!(["test.io/hold"]);
    }
    let space = with_old(world, "deletion", &objects);
    for object in ["deployment/d", "pod/p"] {
        space.run(&["delete", object, "--wait=false"]).success();
        space
            .run(&["set", "image", object, "c=registry.test/app:2.0"])
            .success();
        let (kind, name) = object.split_once('/').expect("kind and name");
        let stored = space.get(kind, name);
        assert_ne!(stored["metadata"]["deletionTimestamp"], Value::Null);
        assert_eq!(image(&stored), "registry.test/app:2.0");
        let release = r#"{"metadata": {"finalizers": null}}"#;
        space
            .run(&["patch", object, "--type=merge", "-p", release])
            .success();
    }
}

fn mirror_pod(world: &World) {
    let space = world.namespace("mirror-pod", DEFAULT);
    let mut mirror = pod("p", APP);
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "0123"});
    mirror["spec"]["nodeName"] = "fake".into();
    space.apply(&mirror).success();
    assert_eq!(image(&space.get("pod", "p")), APP);
}

fn set_image(world: &World) {
    let space = world.namespace("set-image", DEFAULT);
    space.apply(&deployment("d", APP, 0)).success();
    space
        .run(&["set", "image", "deployment/d", "c=registry.test/app:2.0"])
        .success();
    let stored = space.get("deployment", "d");
    assert_eq!(image(&stored), world.pinned("registry.test/app:2.0"));
    let record = &stored["metadata"]["annotations"]["surepull.dev/pinned"];
    let record: Value = serde_json::from_str(record.as_str().expect("a record")).expect("JSON");
    assert_eq!(
        record["/spec/template/spec/containers/c"]["image"],
        "registry.test/app:2.0"
    );
}

/// Sets the policy of a Pod's first container back.
fn set_back(pod: &Value) -> Option<Value> {
    let path = "/spec/containers/0/imagePullPolicy";
    (pod.pointer(path)? != "Never").then(|| json!([{"op": "add", "path": path, "value": "Never"}]))
}

fn validated(world: &World) {
    let settings = "always: pods\npin: {targets: none}\n";
    let both = ["--set", "validation.type=webhook"];
    world.serve_with("always-pods", settings, &both);
    let space = world.cluster.namespace("always-pods", &[]);
    space.apply(&pod("old", APP)).success();
    World::switch_on(&space, "always-pods");
    let refusal = "spec.containers[0].imagePullPolicy: Unsupported value: ";

    let later = Later::start(world, "zzz-later-policy", set_back);
    later.switch_on(&space);
    // surepull is asked again and sets Always again; so is the other one, and has the last word but for this.
    let said = space.until("the Pod is refused", || {
        let output = space.try_out(&pod("new", APP));
        (!output.ok).then_some(output.stderr)
    });
    let words = format!(r#"{refusal}"Never": supported values: "Always""#);
    assert!(said.contains(&words), "{said}");
    space.apply(&pod("new", APP)).refused();
    assert!(!space.succeeds(&["get", "pod", "new"]));
    drop(later);

    let policies =
        |name: &str, list: &str| space.get("pod", name)["spec"][list][0]["imagePullPolicy"].clone();
    // A Pod that was made before keeps its policy, which nobody can change: what brings no new image is allowed.
    space.run(&["label", "pod/old", "seen=yes"]).success();
    assert_eq!(space.get("pod", "old")["metadata"]["labels"]["seen"], "yes");
    assert_eq!(policies("old", "containers"), "IfNotPresent");
    let image = "--image=registry.test/tools:1.0";
    space
        .run(&["debug", "old", image, "--container=e", "--attach=false"])
        .success();
    assert_eq!(policies("old", "ephemeralContainers"), "Always");
    // Another image would be used without asking its registry, so it is refused, as AlwaysPullImages refuses it.
    let set_image = ["set", "image", "pod/old", "c=registry.test/app:2.0"];
    let said = space.run(&set_image).refused();
    let words = format!(r#"{refusal}"IfNotPresent": supported values: "Always""#);
    assert!(said.contains(&words), "{said}");
    assert_eq!(self::image(&space.get("pod", "old")), APP);
}
