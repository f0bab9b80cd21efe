//! An example that is set up: its registries, its surepull, and a shell.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::super::cluster::{Cluster, Kubectl, Output};
use super::super::installed::Installed;
use super::super::registry::TestRegistry;
use super::super::{assets, child};
use super::{Example, folder};

/// An example that is set up.
pub struct Running {
    pub example: &'static Example,
    /// By host.
    registries: Vec<(&'static str, TestRegistry)>,
    kubeconfig: PathBuf,
    /// A namespace beside those of the example, to try things out.
    probe: Kubectl,
    surepull: Installed,
}

// === impl Running ===

impl Running {
    pub(super) fn start(
        example: &'static Example,
        registries: Vec<(&'static str, TestRegistry)>,
        cluster: &Cluster,
        helm: &[&str],
    ) -> Self {
        let probe = cluster.namespace(&format!("probe-{}", example.name), &[]);
        let mut namespaces = example.namespaces();
        namespaces.insert(probe.name().to_owned());
        let mut values = example.values(&registries);
        let own = json!({"webhook": {
            "name": format!("example-{}", example.name),
            // A busy machine is no reason to go on without surepull.
            "timeoutSeconds": 30,
            "namespaceSelector": [
                {"key": "kubernetes.io/metadata.name", "operator": "In", "values": namespaces},
            ],
        }});
        json_patch::merge(&mut values, &own);
        let helm: Vec<&str> = example.helm.iter().chain(helm).copied().collect();
        let running = Self {
            surepull: Installed::new(cluster, example.name, values, &helm),
            example,
            registries,
            kubeconfig: cluster.kubeconfig(),
            probe,
        };
        running.until_asked();
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

    /// Waits until surepull is asked.
    fn until_asked(&self) {
        // surepull goes to no such address, and says so.
        let refused = probe("169.254.169.254/app:1.0");
        self.probe.until("surepull is asked", || {
            let tried = self.try_out(&refused);
            tried.stderr.contains("surepull: ").then_some(())
        });
    }

    /// Stops surepull.
    pub fn stop(&self) {
        self.surepull.stop();
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
            .env("KUBECACHEDIR", self.kubeconfig.with_file_name("kubectl"))
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
