//! What all tests of this program share: a control plane, a registry, and surepull in several configurations, as the
//! chart installs it.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError, RwLock};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::Test;
use crate::common::cluster::{Cluster, Kubectl, LABEL, access};
use crate::common::installed::Installed;
use crate::common::registry::TestRegistry;
use crate::common::{host, pods};
use crate::node::{Node, image};

/// The default configuration.
pub const DEFAULT: &str = "default";
/// `always: all`, and nothing is pinned.
pub const ALWAYS: &str = "always";
/// Pods are pinned, templates are not.
pub const PODS: &str = "pods";

/// The images in the registry.
const IMAGES: [(&str, &str); 8] = [
    ("app", "1.0"),
    ("app", "2.0"),
    ("app", "latest"),
    ("tools", "1.0"),
    ("tools", "2.0"),
    ("tools", "latest"),
    ("model", "1.0"),
    ("model", "2.0"),
];

/// Everything that runs.
pub struct World {
    // Dropped in this order: who asks before who is asked.
    installed: Mutex<Vec<Installed>>,
    node: Option<Node>,
    kubeconfig: PathBuf,
    pub cluster: Cluster,
    pub registry: TestRegistry,
    pub runtime: Runtime,
    /// Who uses it: many at a time, or one alone.
    users: RwLock<()>,
}

impl World {
    /// Starts it all: with a real node, whose Pods surepull runs in, if this process is where there can be one.
    pub fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let registry = TestRegistry::start();
        for (repository, tag) in IMAGES {
            runtime.block_on(registry.push_index(repository, tag));
        }
        let cluster = Cluster::start_at(&host().to_string(), &[])
            .with_controllers()
            .with_scheduler()
            .with_fake_node();
        let subject =
            json!({"kind": "User", "name": "surepull", "apiGroup": "rbac.authorization.k8s.io"});
        cluster.kubectl().apply(&access(&subject)).success();
        for kind in ["Rollout", "Sidecar"] {
            let crd = custom_resource(kind);
            cluster.kubectl().apply(&crd).success();
            let name = crd["metadata"]["name"].as_str().expect("a name");
            cluster.kubectl().wait_for(&[
                "wait",
                "--for=condition=Established",
                &format!("crd/{name}"),
                "--timeout=1s",
            ]);
        }
        let node = pods().map(|_| {
            let push = image::push(&registry, cluster.folder());
            runtime.block_on(push);
            Node::start(&cluster, &registry)
        });
        let world = Self {
            installed: Mutex::default(),
            node,
            kubeconfig: cluster.user("surepull", "surepull", None),
            cluster,
            registry,
            runtime,
            users: RwLock::default(),
        };
        world.serve(DEFAULT, "");
        world.serve(ALWAYS, "always: all\npin: {targets: none}\n");
        world.serve(PODS, "pin: {targets: pods}\n");
        world
    }

    /// Lets a test use it: beside others, or alone.
    pub fn lend(&self, alone: bool, test: Test) {
        // A test that fails leaves it to the others.
        if alone {
            let _alone = self.users.write().unwrap_or_else(PoisonError::into_inner);
            test(self);
        } else {
            let _shared = self.users.read().unwrap_or_else(PoisonError::into_inner);
            test(self);
        }
    }

    /// Installs surepull with further settings, for the namespaces that [`Self::switch_on`] gives its name.
    pub fn serve(&self, name: &str, settings: &str) {
        self.serve_with(name, settings, &[]);
    }

    /// The same with further arguments for `helm template`.
    pub fn serve_with(&self, name: &str, settings: &str, helm: &[&str]) {
        let configuration = self.configuration(settings);
        let config: Value = serde_saphyr::from_str(&configuration).expect("a configuration");
        let values = json!({
            "config": config,
            "webhook": {
                // Where surepull does not answer, a test fails.
                "failurePolicy": "Fail",
                "timeoutSeconds": 30,
                "namespaceSelector": [{"key": LABEL, "operator": "In", "values": [name]}],
                "resources": {"Rollout.rig.test": "rollouts", "Sidecar.rig.test": "sidecars"},
            },
        });
        let installed = Installed::new(&self.cluster, name, values, helm);
        let mut all = self.installed.lock().expect("no panic inside");
        all.push(installed);
    }

    /// The node, if there is one.
    pub fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    /// A configuration for `registry.test` and the custom resources here, with further settings.
    pub fn configuration(&self, settings: &str) -> String {
        let endpoint = self.registry.endpoint();
        let registries = if settings.contains("registries:") {
            String::new()
        } else {
            format!("registries: [{{match: registry.test, endpoints: ['{endpoint}']}}]\n")
        };
        format!(
            "apiVersion: surepull.dev/v1alpha1\nkind: Configuration\n{registries}{settings}\
             customResources:\n\
             - {{group: rig.test, kind: Rollout, templates: [/spec/template]}}\n\
             - {{group: rig.test, kind: Sidecar, podSpecs: [/spec/pod]}}\n"
        )
    }

    /// The kubeconfig of a surepull that a test starts itself, with the rights that users give it.
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig.clone()
    }

    /// What there is to know when a test has failed.
    pub fn report(&self) -> String {
        let kubectl = self.cluster.kubectl();
        let pods = kubectl.run(&["get", "pods", "-A", "-o", "wide"]).stdout;
        let events = kubectl.run(&["get", "events", "-A"]).stdout;
        let server = self.cluster.log();
        let node = self.node.as_ref().map(Node::log).unwrap_or_default();
        let installed = self.installed.lock().expect("no panic inside");
        let surepulls: String = installed.iter().map(Installed::log).collect();
        format!("{pods}\n{events}\n{node}\nAPI server:\n{server}\nsurepull:\n{surepulls}")
    }

    /// A namespace in which a surepull is asked.
    pub fn namespace(&self, name: &str, surepull: &str) -> Kubectl {
        let namespace = self.cluster.namespace(name, &[]);
        Self::switch_on(&namespace, surepull);
        namespace
    }

    /// Lets a surepull be asked in a namespace from here on.
    pub fn switch_on(namespace: &Kubectl, surepull: &str) {
        let label = format!("surepull={surepull}");
        namespace
            .run(&[
                "label",
                "namespace",
                namespace.name(),
                "--overwrite",
                &label,
            ])
            .success();
        Self::until_asked(namespace, true);
    }

    /// Lets none be asked any more.
    pub fn switch_off(namespace: &Kubectl) {
        namespace
            .run(&["label", "namespace", namespace.name(), "surepull-"])
            .success();
        Self::until_asked(namespace, false);
    }

    /// Waits until the API server has seen the label: until a Pod that is only tried is changed, or no longer.
    fn until_asked(namespace: &Kubectl, asked: bool) {
        let probe = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"},
            "spec": {"containers": [
                {"name": "c", "image": "registry.test/app:1.0", "imagePullPolicy": "IfNotPresent"},
            ]},
        });
        namespace.until("the API server asks surepull", || {
            let tried = namespace.try_out(&probe).json();
            let changed = tried["spec"]["containers"] != probe["spec"]["containers"]
                && (tried["spec"]["containers"][0]["image"] != "registry.test/app:1.0"
                    || tried["spec"]["containers"][0]["imagePullPolicy"] != "IfNotPresent");
            (changed == asked).then_some(())
        });
    }

    /// Waits until surepull has seen the pull secret `account` of the namespace's default account.
    pub fn until_account_is_known(namespace: &Kubectl) {
        let probe = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"},
            "spec": {
                "containers": [{"name": "c", "image": "registry.test/app:1.0"}],
                "imagePullSecrets": [{"name": "own"}],
            },
        });
        namespace.until("surepull knows the account", || {
            let tried = namespace.try_out(&probe).json();
            let secrets = tried["spec"]["imagePullSecrets"].as_array()?;
            secrets.contains(&json!({"name": "account"})).then_some(())
        });
    }

    /// The digest of an image of `registry.test`.
    pub fn digest(&self, image: &str) -> String {
        let path = image
            .strip_prefix("registry.test/")
            .expect("an image of the registry");
        let (repository, tag) = path.split_once(':').unwrap_or((path, "latest"));
        self.runtime.block_on(self.registry.digest(repository, tag))
    }

    /// An image as surepull pins it.
    pub fn pinned(&self, image: &str) -> String {
        format!("{image}@{}", self.digest(image))
    }
}

/// A namespaced custom resource of `rig.test`, in two versions, whose spec may hold anything.
fn custom_resource(kind: &str) -> Value {
    let plural = format!("{}s", kind.to_lowercase());
    let version = |name: &str, stored: bool| {
        json!({
            "name": name, "served": true, "storage": stored,
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.rig.test")},
        "spec": {
            "group": "rig.test",
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            "versions": [version("v1", true), version("v1alpha1", false)],
        },
    })
}
