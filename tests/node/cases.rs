//! What users see on a node.

use serde_json::{Value, json};

use crate::common::cluster::Kubectl;
use crate::world::{ALWAYS, DEFAULT, REGISTRY, World, pull_secret, switch_on};

/// A test and its name.
type Case = (&'static str, fn(&World));

/// All tests.
pub const ALL: [Case; 3] = [
    ("private_deployment", private_deployment),
    ("cached_private_image", cached_private_image),
    ("debug_container", debug_container),
];

/// A Deployment of a private image is pinned with the secret of its account, and runs what it was pinned to with that
/// secret, also after its tag has moved and it was applied again.
fn private_deployment(world: &World) {
    let space = world.namespace("private-deployment");
    let digest = world.push("app", "1.0", "old");
    pull_secret(&space, "account", REGISTRY);
    pull_secret(&space, "own", "elsewhere.test");
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "app"},
        "imagePullSecrets": [{"name": "account"}],
    });
    space.apply(&account).success();
    switch_on(&space, DEFAULT);
    let deployment = deployment();
    let image = "/spec/template/spec/containers/0/image";
    let pinned = format!("{REGISTRY}/app:1.0@{digest}");
    until_tried(&space, &deployment, image, &pinned);

    space.apply(&deployment).success();
    let stored = space.get("deployment", "app");
    assert_eq!(stored.pointer(image), Some(&pinned.into()));
    let rolled_out = ["rollout", "status", "deployment/app", "--timeout=150s"];
    space.run(&rolled_out).success();
    let pods = space.list("pods");
    assert_eq!(pods.len(), 2);
    for pod in &pods {
        assert_eq!(
            pod["status"]["containerStatuses"][0]["imageID"],
            format!("{REGISTRY}/app@{digest}")
        );
        // The API server's own plugin adds nothing where a Pod has a secret, and this one opens no door.
        let secrets = json!([{"name": "own"}, {"name": "account"}]);
        assert_eq!(pod["spec"]["imagePullSecrets"], secrets);
    }

    assert_ne!(world.push("app", "1.0", "new"), digest);
    space.apply(&deployment).success();
    space.run(&rolled_out).success();
    let again = space.get("deployment", "app");
    assert_eq!(again["spec"], stored["spec"]);
    assert_eq!(lives(&space.list("pods")), lives(&pods));
}

/// A Pod without a secret gets a private image that is cached on its node, unless its pull policy is `Always`.
///
/// The kubelet here has the rule that was the only one before Kubernetes 1.35; today's default refuses by itself.
fn cached_private_image(world: &World) {
    world.push("secret", "1.0", "1");
    let owner = world.namespace("owner");
    pull_secret(&owner, "own", REGISTRY);
    let mut pod = pod("app", "secret:1.0");
    pod["spec"]["imagePullSecrets"] = json!([{"name": "own"}]);
    owner.apply(&pod).success();
    until_runs(&owner, "containerStatuses");

    let stranger = world.namespace("stranger");
    pod["spec"]["imagePullSecrets"].take();
    pod["spec"]["containers"][0]["imagePullPolicy"] = "IfNotPresent".into();
    stranger.apply(&pod).success();
    until_runs(&stranger, "containerStatuses");

    stranger.run(&["delete", "pod", "app"]).success();
    switch_on(&stranger, ALWAYS);
    let policy = "/spec/containers/0/imagePullPolicy";
    until_tried(&stranger, &pod, policy, "Always");
    stranger.apply(&pod).success();
    let refusal = stranger.until("the image is refused", || {
        let pod = stranger.get("pod", "app");
        let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
        let refusals = ["ErrImagePull", "ImagePullBackOff"];
        refusals
            .contains(&waiting["reason"].as_str()?)
            .then(|| waiting["message"].to_string())
    });
    // Which word it is depends on containerd's release.
    let words = ["401 Unauthorized", "authorization failed"];
    assert!(words.iter().any(|word| refusal.contains(word)), "{refusal}");
}

/// A container that `kubectl debug` adds to a running Pod is pinned, with the Pod's secret, and runs.
fn debug_container(world: &World) {
    let space = world.namespace("debug-container");
    world.push("service", "1.0", "1");
    let digest = world.push("tools", "1.0", "1");
    pull_secret(&space, "own", REGISTRY);
    let mut pod = pod("app", "service:1.0");
    pod["spec"]["imagePullSecrets"] = json!([{"name": "own"}]);
    space.apply(&pod).success();
    until_runs(&space, "containerStatuses");
    switch_on(&space, DEFAULT);
    let mut probe = pod;
    probe["metadata"]["name"] = "probe".into();
    let image = format!("{REGISTRY}/tools:1.0");
    let pinned = format!("{image}@{digest}");
    probe["spec"]["containers"][0]["image"] = image.clone().into();
    until_tried(&space, &probe, "/spec/containers/0/image", &pinned);

    let image = format!("--image={image}");
    let debug = ["debug", "app", &image, "--container=debugger"];
    space.run(&debug).success();
    let runs = until_runs(&space, "ephemeralContainerStatuses");
    assert_eq!(runs, format!("{REGISTRY}/tools@{digest}"));
    let stored = space.get("pod", "app");
    assert_eq!(stored["spec"]["ephemeralContainers"][0]["image"], pinned);
}

/// Waits until the API server would store this value if the object were created.
fn until_tried(space: &Kubectl, object: &Value, pointer: &str, wanted: &str) {
    let arguments = ["create", "--dry-run=server", "-f", "-", "-o", "json"];
    space.until(&format!("{pointer} is {wanted}"), || {
        let tried = space.run_with(&arguments, &object.to_string()).json();
        (tried.pointer(pointer)? == wanted).then_some(())
    });
}

/// Waits until the first container of Pod `app` runs, in this list of its status; gives what image it runs.
fn until_runs(space: &Kubectl, list: &str) -> String {
    space.until(&format!("{list} of Pod app run"), || {
        let pod = space.get("pod", "app");
        let status = &pod["status"][list][0];
        status["state"]["running"].as_object()?;
        status["imageID"].as_str().map(str::to_owned)
    })
}

/// Which Pods these are, and how often their containers were started again.
fn lives(pods: &[Value]) -> Vec<[&Value; 2]> {
    let restarts = "/status/containerStatuses/0/restartCount";
    let life = ["/metadata/uid", restarts];
    let look = |pod| life.map(|pointer| Value::pointer(pod, pointer).expect("a started Pod"));
    pods.iter().map(look).collect()
}

fn deployment() -> Value {
    let labels = json!({"app": "app"});
    let mut template = pod("app", "app:1.0");
    template["metadata"] = json!({"labels": labels});
    template["spec"]["serviceAccountName"] = "app".into();
    template["spec"]["imagePullSecrets"] = json!([{"name": "own"}]);
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app"},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": labels},
            "template": {"metadata": template["metadata"], "spec": template["spec"]},
        },
    })
}

/// A Pod with one container of an image of the private registry.
fn pod(name: &str, image: &str) -> Value {
    let image = format!("{REGISTRY}/{image}");
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": image}]},
    })
}
