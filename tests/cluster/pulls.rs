//! What users see on a real node: what surepull lets through is pulled by a kubelet with its pull secrets, and run by
//! containerd.

use std::fs;
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::common::cluster::{Kubectl, LABEL};
use crate::common::registry::{PASSWORD, TestRegistry, USERNAME};
use crate::node::image::Waiter;
use crate::node::{self, Node};
use crate::world::World;
use crate::{Case, Test};

/// The surepull with the default configuration, but for the registry.
const DEFAULT: &str = "pulls";
/// The surepull with `always: pods`, that pins nothing.
const ALWAYS: &str = "pulls-always";

/// The private registry, as images name it.
const REGISTRY: &str = "private.test";

pub fn tests() -> Vec<(String, Test)> {
    let cases: [Case; 3] = [
        ("private_deployment", private_deployment),
        ("cached_private_image", cached_private_image),
        ("debug_container", debug_container),
    ];
    crate::named("pulls", cases)
}

/// What these tests share, made by the first of them.
static PULLS: OnceLock<Pulls> = OnceLock::new();

/// A private registry that surepull and the node know.
struct Pulls {
    registry: TestRegistry,
    waiter: Waiter,
}

impl Pulls {
    fn of(world: &World) -> &'static Self {
        let node = world.node().expect("a node");
        PULLS.get_or_init(|| Self::start(world, node))
    }

    fn start(world: &World, node: &Node) -> Self {
        let registry = TestRegistry::with_basic_auth();
        node.pull_from(REGISTRY, &registry);
        let registries = format!(
            "registries:\n- {{match: registry.test, endpoints: ['{}']}}\n- {{match: {REGISTRY}, endpoints: ['{}']}}\n",
            world.registry.endpoint(),
            registry.endpoint(),
        );
        world.serve(DEFAULT, &registries);
        world.serve(
            ALWAYS,
            &format!("{registries}always: pods\npin: {{targets: none}}\n"),
        );
        let folder = world.cluster.folder().join("pulls");
        fs::create_dir(&folder).expect("a folder");
        Self {
            registry,
            waiter: Waiter::build(&folder),
        }
    }

    /// Pushes an image that runs to the private registry, for two architectures; gives the digest of the index.
    fn push(&self, world: &World, repository: &str, tag: &str, version: &str) -> String {
        // The node takes equal images of several names for one.
        let title = format!("{repository} {version}");
        let image = |architecture: &_| self.waiter.image(architecture, &title);
        let push = self.registry.push_index_of(repository, tag, image);
        world.runtime.block_on(push)
    }
}

/// Lets a surepull be asked in a namespace from here on, though the API server may need a moment to know.
fn switch_on(namespace: &Kubectl, surepull: &str) {
    let label = format!("{LABEL}={surepull}");
    let arguments = ["label", "namespace", namespace.name(), &label];
    namespace.run(&arguments).success();
}

/// Makes a pull secret for a registry.
fn pull_secret(namespace: &Kubectl, name: &str, registry: &str) {
    let user = json!({"username": USERNAME, "password": PASSWORD});
    let document = json!({"auths": {registry: user}}).to_string();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
        "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": document},
    });
    namespace.apply(&secret).success();
}

/// A Deployment of a private image is pinned with the secret of its account, and runs what it was pinned to with that
/// secret, also after its tag has moved and it was applied again.
fn private_deployment(world: &World) {
    let pulls = Pulls::of(world);
    let space = world.cluster.namespace("private-deployment", &[]);
    let digest = pulls.push(world, "app", "1.0", "old");
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

    assert_ne!(pulls.push(world, "app", "1.0", "new"), digest);
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
    let pulls = Pulls::of(world);
    pulls.push(world, "secret", "1.0", "1");
    let owner = world.cluster.namespace("owner", &[]);
    pull_secret(&owner, "own", REGISTRY);
    let mut pod = pod("app", "secret:1.0");
    pod["spec"]["imagePullSecrets"] = json!([{"name": "own"}]);
    owner.apply(&pod).success();
    until_runs(&owner, "containerStatuses");

    let stranger = world.cluster.namespace("stranger", &[]);
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
    let pulls = Pulls::of(world);
    let space = world.cluster.namespace("debug-container", &[]);
    pulls.push(world, "service", "1.0", "1");
    let digest = pulls.push(world, "tools", "1.0", "1");
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
    let mut spec = node::placement();
    spec["containers"] = json!([{"name": "c", "image": image}]);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
}
