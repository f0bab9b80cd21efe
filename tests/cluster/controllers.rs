//! Objects that the real controllers make, and what runs, which is not to be restarted.

use serde_json::{Value, json};

use super::lifecycle::{deployment, image, pod};
use crate::common::cluster::Kubectl;
use crate::world::{DEFAULT, PODS, World};
use crate::{Case, Test};

const APP: &str = "registry.test/app:1.0";

pub fn tests() -> Vec<(String, Test)> {
    let cases: [Case; 4] = [
        ("a_new_replica_set_is_left_alone", new_replica_set),
        ("one_replica_set_with_surepull_off_on_off", off_on_off),
        (
            "pods_of_controllers_are_pinned_by_themselves",
            generated_pods,
        ),
        ("applied_again_nothing_restarts", nothing_restarts),
    ];
    crate::named("controllers", cases)
}

/// Waits until a Deployment's Pods run.
fn roll_out(space: &Kubectl, name: &str) {
    let deployment = format!("deployment/{name}");
    space
        .run(&["rollout", "status", &deployment, "--timeout=120s"])
        .success();
}

/// The one `ReplicaSet` has the image as it is written: a Deployment makes another one, without end, if it differs.
fn one_replica_set(space: &Kubectl, when: &str) {
    // What makes the controller compare them once more.
    for replicas in ["--replicas=2", "--replicas=1"] {
        space.run(&["scale", "deployment/d", replicas]).success();
        roll_out(space, "d");
    }
    let sets = space.list("replicasets");
    let images: Vec<_> = sets.iter().map(image).collect();
    assert_eq!(images, [APP], "{when}");
    assert_eq!(
        space.get("deployment", "d")["status"]["collisionCount"],
        Value::Null,
        "{when}"
    );
}

fn new_replica_set(world: &World) {
    // The Deployment stays as it is written, so its ReplicaSets have something to pin.
    let only = r#"webhook.matchConditions=[{"name": "no-deployments", "expression": "request.resource.resource != 'deployments'"}]"#;
    world.serve_with("replica-sets", "", &["--set-json", only]);
    let space = world.namespace("new-replica-set", "replica-sets");
    space.apply(&deployment("d", APP, 1)).success();
    roll_out(&space, "d");
    assert_eq!(image(&space.get("deployment", "d")), APP);
    one_replica_set(&space, "made with surepull on");
    // One that nobody owns is surepull's business.
    let mut own = deployment("own", APP, 0);
    own["kind"] = "ReplicaSet".into();
    space.apply(&own).success();
    assert_eq!(image(&space.get("replicaset", "own")), world.pinned(APP));
}

fn off_on_off(world: &World) {
    let space = world.cluster.namespace("off-on-off", &[]);
    let object = deployment("d", APP, 1);
    let touch = |mark: &str| {
        space
            .run(&[
                "annotate",
                "deployment/d",
                "--overwrite",
                &format!("mark={mark}"),
            ])
            .success();
        space
            .run(&[
                "annotate",
                "replicaset",
                "--all",
                "--overwrite",
                &format!("mark={mark}"),
            ])
            .success();
        space.apply(&object).success();
        one_replica_set(&space, mark);
        // Without its ReplicaSet, the Deployment makes a new one of the template that is stored.
        space.run(&["delete", "replicaset", "--all"]).success();
        space.until("there is a new ReplicaSet", || {
            (!space.list("replicasets").is_empty()).then_some(())
        });
        one_replica_set(&space, mark);
    };
    space.apply(&object).success();
    roll_out(&space, "d");
    touch("off");
    World::switch_on(&space, DEFAULT);
    touch("on");
    World::switch_off(&space);
    touch("off again");
}

fn generated_pods(world: &World) {
    let space = world.namespace("generated-pods", PODS);
    let deployment = deployment("d", APP, 1);
    let mut set = deployment.clone();
    set["kind"] = "StatefulSet".into();
    set["metadata"]["name"] = "s".into();
    let mut daemons = deployment.clone();
    daemons["kind"] = "DaemonSet".into();
    daemons["metadata"]["name"] = "e".into();
    daemons["spec"]
        .as_object_mut()
        .expect("a spec")
        .remove("replicas");
    for (object, name) in [(&deployment, "d"), (&set, "s"), (&daemons, "e")] {
        let mut object = object.clone();
        object["spec"]["selector"]["matchLabels"]["app"] = name.into();
        object["spec"]["template"]["metadata"]["labels"]["app"] = name.into();
        space.apply(&object).success();
        let kind = object["kind"].as_str().expect("a kind").to_lowercase();
        assert_eq!(image(&space.get(&kind, name)), APP, "the template stays");
    }
    space.apply(&job("j", APP)).success();
    let owners = ["ReplicaSet", "StatefulSet", "DaemonSet", "Job"];
    for owner in owners {
        let pod = space.until(&format!("a Pod of the {owner}"), || {
            space
                .list("pods")
                .into_iter()
                .find(|pod| pod["metadata"]["ownerReferences"][0]["kind"] == owner)
        });
        assert_eq!(image(&pod), world.pinned(APP), "{owner}");
        // When it is reviewed a Pod has no name yet, but a StatefulSet's.
        assert!(pod["metadata"]["generateName"].is_string(), "{owner}");
    }
    assert_eq!(space.list("replicasets").len(), 1);
}

fn job(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "c", "image": image}],
        }}},
    })
}

/// Who runs: names, uids, images and restarts.
fn running(space: &Kubectl) -> Vec<[Value; 4]> {
    let pods = space.list("pods");
    let mut running: Vec<_> = pods
        .iter()
        .map(|pod| {
            let status = &pod["status"]["containerStatuses"][0];
            [
                &pod["metadata"]["name"],
                &pod["metadata"]["uid"],
                &pod["spec"]["containers"][0]["image"],
                &status["restartCount"],
            ]
            .map(Clone::clone)
        })
        .collect();
    running.sort_by_key(|pod| pod[0].to_string());
    running
}

/// The image whose tag moves.
const MOVING: &str = "registry.test/moving:1.0";

fn nothing_restarts(world: &World) {
    // Nothing is remembered, so that a moved tag is seen at once.
    world.serve("forgetful", "cache: {ttl: 0s}\n");
    let space = world.namespace("nothing-restarts", "forgetful");
    let first = world.registry.push_index("moving", "1.0");
    world.runtime.block_on(first);
    let pinned = world.pinned(MOVING);
    let objects = [
        deployment("d", MOVING, 2),
        pod("p", MOVING),
        job("j", MOVING),
    ];
    let before = all_run(&space, &objects);
    assert!(before.iter().all(|pod| pod[2] == pinned), "{before:?}");

    let second = world.registry.push_manifest("moving", "1.0");
    world.runtime.block_on(second);
    assert_ne!(world.pinned(MOVING), pinned, "the tag moves");
    apply_in_all_ways(&space, &objects);
    roll_out(&space, "d");
    assert_eq!(running(&space), before);
    let revision = "deployment.kubernetes.io/revision";
    let deployment = space.get("deployment", "d");
    assert_eq!(deployment["metadata"]["annotations"][revision], "1");
    assert_eq!(space.list("replicasets").len(), 1);

    space.run(&["rollout", "restart", "deployment/d"]).success();
    let deployment = space.get("deployment", "d");
    let anew = world.pinned(MOVING);
    assert_eq!(image(&deployment), anew, "a restart asks anew");
}

/// Applies the objects; who runs then.
fn all_run(space: &Kubectl, objects: &[Value]) -> Vec<[Value; 4]> {
    for object in objects {
        space.apply(object).success();
    }
    roll_out(space, "d");
    space.until("all Pods run", || {
        let pods = space.list("pods");
        (pods.len() == 4 && pods.iter().all(|pod| pod["status"]["phase"] == "Running"))
            .then_some(())
    });
    running(space)
}

/// Applies the objects once more, by the client and by the server.
fn apply_in_all_ways(space: &Kubectl, objects: &[Value]) {
    let by_server = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    for object in objects {
        space.apply(object).success();
        space.run_with(&by_server, &object.to_string()).success();
        space.apply_server_side(object).success();
    }
}
