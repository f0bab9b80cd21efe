//! A cluster whose in-tree plugins are set the other way: `AlwaysPullImages` on, `ServiceAccount` off. All other tests
//! run with the first one off and the second one on, as Kubernetes does.

use serde_json::{Value, json};

use super::lifecycle::pod;
use crate::Test;
use crate::common::cluster::{Cluster, Kubectl, Registration, access};
use crate::common::serve::Served;
use crate::world::World;

pub fn tests() -> Vec<(String, Test)> {
    crate::named(
        "plugins",
        [("always_pull_images_on_service_account_off", other_way)],
    )
}

fn other_way(world: &World) {
    let cluster = Cluster::start(&[
        "--enable-admission-plugins=AlwaysPullImages",
        "--disable-admission-plugins=ServiceAccount",
    ]);
    let surepull = serve(world, &cluster);
    let registration =
        Registration::new("surepull", &surepull.url("/mutate"), &surepull.authority.ca);
    cluster.kubectl().apply(&registration.mutating()).success();
    let space = cluster.namespace("plugins", &[("surepull", "surepull")]);
    let secrets = r#"{"imagePullSecrets": [{"name": "account"}]}"#;
    space
        .run(&["patch", "serviceaccount", "default", "-p", secrets])
        .success();
    let mut object = pod("p", "registry.test/app:1.0");
    object["spec"]["containers"][0]["imagePullPolicy"] = "IfNotPresent".into();
    space.until("surepull is asked and knows the account", || {
        let tried = space.try_out(&object).json();
        (tried["spec"]["imagePullSecrets"] == json!([{"name": "account"}])).then_some(())
    });
    stored(world, &space, &object);
}

/// What becomes of a Pod, of its ephemeral container, and of the Pod once more.
fn stored(world: &World, space: &Kubectl, object: &Value) {
    // Nobody else gives the Pod its account's secrets here, and nobody else pins.
    space.apply(object).success();
    let stored = space.get("pod", "p");
    let container = &stored["spec"]["containers"][0];
    assert_eq!(container["image"], world.pinned("registry.test/app:1.0"));
    assert_eq!(container["imagePullPolicy"], "Always");
    assert_eq!(
        stored["spec"]["imagePullSecrets"],
        json!([{"name": "account"}])
    );
    // The plugin fills in no policy of an ephemeral container, and checks none: surepull does.
    let image = "--image=registry.test/tools:1.0";
    space
        .run(&["debug", "p", image, "--container=e", "--attach=false"])
        .success();
    let ephemeral = &space.get("pod", "p")["spec"]["ephemeralContainers"][0];
    assert_eq!(ephemeral["image"], world.pinned("registry.test/tools:1.0"));
    assert_eq!(ephemeral["imagePullPolicy"], "Always");
    // The plugin takes the tag for a new image and sets Always anew; surepull gives the digest back.
    let before = space.get("pod", "p")["spec"].clone();
    space.apply(object).success();
    assert_eq!(space.get("pod", "p")["spec"], before);
}

/// Starts surepull with what the chart allows it.
fn serve(world: &World, cluster: &Cluster) -> Served {
    let subject =
        json!({"kind": "User", "name": "surepull", "apiGroup": "rbac.authorization.k8s.io"});
    cluster.kubectl().apply(&access(&subject)).success();
    let configuration = format!(
        "apiVersion: surepull.dev/v1alpha1\nkind: Configuration\nalways: pods\n\
         registries: [{{match: registry.test, endpoints: ['{}']}}]\n",
        world.registry.endpoint()
    );
    Served::start_in(&cluster.user("surepull", "surepull", None), &configuration)
}
