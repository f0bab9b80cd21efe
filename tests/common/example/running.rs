//! An example that is set up: its registries, its surepull, and a shell.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::cluster::{Cluster, Kubectl, Output};
use super::super::registry::TestRegistry;
use super::super::serve::Served;
use super::super::{assets, child};
use super::{Example, folder, objects};

/// What makes the API server ask surepull, and lets surepull ask the API server.
const FILES: [&str; 3] = [
    "install/access.yaml",
    "install/mutating-webhook.yaml",
    "install/validating-webhook.yaml",
];

/// An example that is set up.
pub struct Running {
    pub example: &'static Example,
    /// By host.
    registries: Vec<(&'static str, TestRegistry)>,
    kubeconfig: PathBuf,
    /// A namespace beside those of the example, to try things out.
    probe: Kubectl,
    surepull: Served,
}

// === impl Running ===

impl Running {
    pub(super) fn start(
        example: &'static Example,
        registries: Vec<(&'static str, TestRegistry)>,
        cluster: &Cluster,
        change: impl Fn(&mut Value),
    ) -> Self {
        allow(cluster);
        let account = "system:serviceaccount:surepull:surepull";
        let kubeconfig = cluster.user(&format!("surepull-{}", example.name), account, None);
        let surepull = Served::start_in(&kubeconfig, &example.configuration(&registries));
        let running = Self {
            example,
            registries,
            kubeconfig: cluster.kubeconfig(),
            probe: cluster.namespace(&format!("probe-{}", example.name), &[]),
            surepull,
        };
        running.register(change);
        running
    }

    /// The registry that stands in for this host.
    pub fn registry(&self, host: &str) -> &TestRegistry {
        let mut registries = self.registries.iter();
        let found = registries.find(|(name, _)| *name == host);
        &found.expect("a registry").1
    }

    /// An image as surepull pins it, by host, repository and tag.
    pub async fn pinned(&self, host: &str, repository: &str, tag: &str) -> String {
        let digest = self.registry(host).digest(repository, tag).await;
        let (name, hub) = (format!("{host}/{repository}"), "docker.io/library/");
        let name = name.strip_prefix(hub).unwrap_or(&name);
        format!("{name}:{tag}@{digest}")
    }

    /// Registers surepull, and waits until it is asked.
    fn register(&self, change: impl Fn(&mut Value)) {
        for object in FILES.iter().flat_map(objects) {
            if let Some(mut webhook) = self.registration(&object) {
                change(&mut webhook);
                self.probe.apply(&webhook).success();
            }
        }
        // surepull goes to no such address, and says so.
        let refused = probe("169.254.169.254/app:1.0");
        self.probe.until("surepull is asked", || {
            let tried = self.try_out(&refused);
            tried.stderr.contains("surepull: ").then_some(())
        });
    }

    /// A webhook configuration as in the file, but for this example's namespaces and surepull, wherever that is.
    fn registration(&self, object: &Value) -> Option<Value> {
        let service = &object["webhooks"][0]["clientConfig"]["service"];
        let url = self.surepull.url(service["path"].as_str()?);
        let mut namespaces = self.example.namespaces();
        namespaces.insert(self.probe.name().to_owned());
        let mut object = object.clone();
        object["metadata"]["name"] = format!("example-{}", self.example.name).into();
        let webhook = &mut object["webhooks"][0];
        let ca = STANDARD.encode(&self.surepull.authority.ca);
        webhook["clientConfig"] = json!({"url": url, "caBundle": ca});
        webhook["namespaceSelector"]["matchExpressions"] = json!([
            {"key": "kubernetes.io/metadata.name", "operator": "In", "values": namespaces},
        ]);
        // A busy machine is no reason to go on without surepull.
        webhook["timeoutSeconds"] = 30.into();
        Some(object)
    }

    /// Stops surepull.
    pub fn stop(&self) {
        self.surepull.terminate();
    }

    /// Creates an object in the namespace beside, without storing it.
    pub fn try_out(&self, object: &Value) -> Output {
        let arguments = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
        self.probe.run_with(&arguments, &object.to_string())
    }

    /// Runs a command of the README, in the folder of all examples; all that it says.
    pub async fn run(&self, command: &str) -> String {
        self.bring_about(command).await;
        let mut shell = Command::new("sh");
        let output = child::apart(&mut shell)
            .args(["-c", &format!("exec 2>&1\n{command}")])
            .current_dir(folder())
            .env("PATH", path())
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBECACHEDIR", self.surepull.folder().join("kubectl"))
            .stdin(Stdio::null())
            .output()
            .expect("a shell");
        if command.contains("access.yaml") {
            self.until_accounts_are_seen();
        }
        String::from_utf8(output.stdout).expect("text")
    }

    /// A command that ends in `# IMAGE:TAG has moved` is given after somebody has pushed another image of Docker Hub.
    async fn bring_about(&self, command: &str) {
        let note = command.split_once("# ").map(|(_, note)| note);
        if let Some(image) = note.and_then(|note| note.strip_suffix(" has moved")) {
            let (name, tag) = image.split_once(':').expect("a tag");
            let repository = format!("library/{name}");
            self.registry("docker.io")
                .push_manifest(&repository, tag)
                .await;
        }
    }

    /// Waits until surepull has seen all accounts as they are now: it sees their changes in their order.
    fn until_accounts_are_seen(&self) {
        let secrets = r#"{"imagePullSecrets": [{"name": "seen"}]}"#;
        let patch = ["patch", "serviceaccount", "default", "-p", secrets];
        self.probe.run(&patch).success();
        let mut pod = probe("localhost/app:1.0");
        pod["spec"]["imagePullSecrets"] = json!([{"name": "own"}]);
        self.probe.until("surepull has seen the accounts", || {
            let tried = self.try_out(&pod).json();
            let names = tried["spec"]["imagePullSecrets"].as_array()?;
            names.contains(&json!({"name": "seen"})).then_some(())
        });
    }
}

/// Lets surepull's account do what it has to.
fn allow(cluster: &Cluster) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let kubectl = cluster.kubectl().namespace("surepull");
    for object in FILES.iter().flat_map(objects) {
        if object["webhooks"].is_null() {
            kubectl.apply_server_side(&object).success();
        }
    }
}

/// A Pod to try things out with.
fn probe(image: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"},
        "spec": {"containers": [{"name": "c", "image": image}]},
    })
}

/// Where a shell finds `kubectl`, and everything else.
fn path() -> OsString {
    let kubectl = assets::program("kubectl");
    let own = kubectl.parent().expect("a folder").to_owned();
    let path = env::var_os("PATH").unwrap_or_default();
    env::join_paths([own].into_iter().chain(env::split_paths(&path))).expect("a path")
}
