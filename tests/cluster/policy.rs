//! The chart's `ValidatingAdmissionPolicy`: the API server itself demands what must hold of a Pod in its final form.

use serde_json::json;

use super::lifecycle::pod;
use crate::common::cluster::LABEL;
use crate::world::World;
use crate::{Case, Test};

const APP: &str = "registry.test/app:1.0";

pub fn tests() -> Vec<(String, Test)> {
    let cases: [Case; 2] = [("digests", digests), ("always", always)];
    crate::named("policy", cases)
}

/// Nothing is pinned here, so that what has no digest is refused.
fn digests(world: &World) {
    let arguments = ["--set", "validation.type=policy"];
    world.serve_with("digests", "pin: {targets: none}\n", &arguments);
    let space = world.cluster.namespace("digests", &[]);
    space.apply(&pod("old", APP)).success();
    let label = format!("{LABEL}=digests");
    space
        .run(&["label", "namespace", space.name(), &label])
        .success();
    let words = "containers: this cluster demands a digest in every image";
    space.until("the API server knows the policy", || {
        space
            .try_out(&pod("new", APP))
            .stderr
            .contains(words)
            .then_some(())
    });
    let pinned = world.pinned(APP);
    space.apply(&pod("new", &pinned)).success();
    let mut others = pod("others", &pinned);
    others["spec"]["initContainers"] = json!([{"name": "i", "image": APP}]);
    let refused = space.apply(&others).refused();
    assert!(
        refused.contains("initContainers: this cluster demands"),
        "{refused}"
    );
    others["spec"]["initContainers"].take();
    others["spec"]["volumes"] = json!([{"name": "v", "image": {"reference": APP}}]);
    let refused = space.apply(&others).refused();
    assert!(
        refused.contains("image volumes: this cluster demands"),
        "{refused}"
    );
    // What was there before can be labelled and deleted, but gets no other image without a digest.
    space.run(&["label", "pod/old", "seen=yes"]).success();
    let set_image = ["set", "image", "pod/old", "c=registry.test/app:2.0"];
    space.run(&set_image).refused();
    let debug = |image: &str| {
        let image = format!("--image={image}");
        space.run(&["debug", "old", &image, "--container=e", "--attach=false"])
    };
    let refused = debug("registry.test/tools:1.0").refused();
    assert!(
        refused.contains("this cluster demands a digest"),
        "{refused}"
    );
    space.run(&["delete", "pod/old", "--wait=false"]).success();
}

/// Nothing sets it here, so that what has another one is refused.
fn always(world: &World) {
    let arguments = ["--set", "validation.type=policy,validation.require=Always"];
    world.serve_with("policy-always", "pin: {targets: none}\n", &arguments);
    let space = world
        .cluster
        .namespace("policy-always", &[(LABEL, "policy-always")]);
    let words = "containers: this cluster demands imagePullPolicy Always";
    space.until("the API server knows the policy", || {
        space
            .try_out(&pod("p", APP))
            .stderr
            .contains(words)
            .then_some(())
    });
    let mut pod = pod("p", APP);
    pod["spec"]["containers"][0]["imagePullPolicy"] = "Always".into();
    space.apply(&pod).success();
}
