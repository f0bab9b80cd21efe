//! What the tests share: a cluster with a node, a private registry, and surepull behind Services.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::common::cluster::{Cluster, Kubectl, LABEL, Registration, access};
use crate::common::registry::{PASSWORD, TestRegistry, USERNAME};
use crate::common::serve::Served;
use crate::image::Waiter;
use crate::namespaces::ADDRESS;
use crate::node::{Images, Node};

/// The surepull with the default configuration.
pub const DEFAULT: &str = "default";
/// The surepull with `always: pods`, that pins nothing.
pub const ALWAYS: &str = "always";

/// The private registry, as images name it.
pub const REGISTRY: &str = "registry.test";

/// Where surepull's Services are.
const NAMESPACE: &str = "surepull";

/// Everything that runs.
pub struct World {
    // Dropped in this order: who asks before who is asked.
    node: Node,
    surepulls: Vec<Served>,
    cluster: Cluster,
    registry: TestRegistry,
    _pauses: TestRegistry,
    waiter: Waiter,
    runtime: Runtime,
}

impl World {
    /// Starts it all.
    pub fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let (registry, pauses) = (TestRegistry::with_basic_auth(), TestRegistry::start());
        let cluster = Cluster::start_at(ADDRESS, &[])
            .with_controllers()
            .with_scheduler();
        let waiter = Waiter::build(cluster.folder());
        let pause = |architecture: &_| waiter.image(architecture, "pause");
        runtime.block_on(pauses.push_index_of("pause", "1", pause));
        let images = Images {
            pause: &format!("{}/pause:1", pauses.host()),
            registry: (REGISTRY, &registry.endpoint()),
        };
        let node = Node::start(&cluster, &images);
        let mut world = Self {
            node,
            surepulls: Vec::new(),
            cluster,
            registry,
            _pauses: pauses,
            waiter,
            runtime,
        };
        let kubeconfig = world.account();
        world.serve(&kubeconfig, DEFAULT, "");
        world.serve(&kubeconfig, ALWAYS, "always: pods\npin: {targets: none}\n");
        world
    }

    /// A user that may do what surepull needs, and nothing else; gives its kubeconfig.
    fn account(&self) -> PathBuf {
        let kubectl = self.cluster.namespace(NAMESPACE, &[]);
        let user =
            json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "surepull"});
        kubectl.apply(&access(&user)).success();
        self.cluster.user("surepull", "surepull", None)
    }

    /// Starts surepull with further settings, as a Service, for the namespaces that [`switch_on`] gives its name.
    fn serve(&mut self, kubeconfig: &Path, name: &str, settings: &str) {
        let endpoint = self.registry.endpoint();
        let configuration = format!(
            "apiVersion: surepull.dev/v1alpha1\nkind: Configuration\n\
             registries: [{{match: {REGISTRY}, endpoints: ['{endpoint}']}}]\n{settings}"
        );
        let dns = format!("{name}.{NAMESPACE}.svc");
        let kubeconfig = kubeconfig.to_str().expect("a path");
        let access = ["--kubeconfig", kubeconfig];
        let surepull = Served::start_at(ADDRESS, &dns, &configuration, &access);
        let kubectl = self.cluster.kubectl().namespace(NAMESPACE);
        for object in service(name, surepull.addr.port()) {
            kubectl.apply(&object).success();
        }
        let mut registration = Registration::new(name, "", &surepull.authority.ca);
        registration.client =
            json!({"service": {"namespace": NAMESPACE, "name": name, "path": "/mutate"}});
        kubectl.apply(&registration.mutating()).success();
        self.surepulls.push(surepull);
    }

    /// A namespace in which no surepull is asked.
    pub fn namespace(&self, name: &str) -> Kubectl {
        self.cluster.namespace(name, &[])
    }

    /// Pushes an image that runs to the private registry, for two architectures; gives the digest of the index.
    pub fn push(&self, repository: &str, tag: &str, version: &str) -> String {
        // The node takes equal images of several names for one.
        let title = format!("{repository} {version}");
        let image = |architecture: &_| self.waiter.image(architecture, &title);
        let push = self.registry.push_index_of(repository, tag, image);
        self.runtime.block_on(push)
    }

    /// What there is to know when a test has failed.
    pub fn report(&self) -> String {
        let kubectl = self.cluster.kubectl();
        let pods = kubectl.run(&["get", "pods", "-A", "-o", "wide"]).success();
        let events = kubectl.run(&["get", "events", "-A"]).success();
        let surepulls: String = self.surepulls.iter().map(Served::log).collect();
        let (node, server) = (self.node.log(), self.cluster.log());
        format!("{pods}\n{events}\n{node}\nAPI server:\n{server}\nsurepull:\n{surepulls}")
    }
}

/// Lets a surepull be asked in a namespace from here on, though the API server may need a moment to know.
pub fn switch_on(namespace: &Kubectl, surepull: &str) {
    let label = format!("{LABEL}={surepull}");
    let arguments = ["label", "namespace", namespace.name(), &label];
    namespace.run(&arguments).success();
}

/// Makes a pull secret for a registry.
pub fn pull_secret(namespace: &Kubectl, name: &str, registry: &str) {
    let user = json!({"username": USERNAME, "password": PASSWORD});
    let document = json!({"auths": {registry: user}}).to_string();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
        "type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": document},
    });
    namespace.apply(&secret).success();
}

/// A Service and where it leads to: nobody but the API server asks it, and that looks up the latter itself.
fn service(name: &str, port: u16) -> [Value; 2] {
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"ports": [{"name": "https", "port": 443}]},
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [ADDRESS], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": port}],
    });
    [service, slice]
}
