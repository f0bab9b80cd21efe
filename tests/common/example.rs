//! The folders of `examples`, each set up as its README says, but on loopback.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::assets;
use super::cluster::{Cluster, Kubectl, Output};
use super::registry::TestRegistry;
use super::serve::Served;

/// A command of a README, and what it says according to that.
#[derive(Debug)]
pub struct Step {
    pub command: String,
    pub said: String,
}

/// The commands in the `console` blocks of a README: what follows `$ `, with the lines that follow `> `.
fn steps(readme: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let blocks = readme.split("```console\n").skip(1);
    for line in blocks.flat_map(|rest| rest.split("```").next().unwrap_or(rest).lines()) {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step {
                command: command.to_owned(),
                said: String::new(),
            });
            continue;
        }
        let step = steps.last_mut().expect("a command comes first");
        match line.strip_prefix("> ") {
            Some(more) => step.command = format!("{}\n{more}", step.command),
            None => step.said = format!("{}{line}\n", step.said),
        }
    }
    steps
}

/// A folder of `examples`, and what its manifests want to be there.
#[derive(Debug)]
pub struct Example {
    pub name: &'static str,
    registries: &'static [Host],
}

/// A registry: its host in image names, the one user whom it knows (none: it is public), and repositories with tags.
#[derive(Debug)]
struct Host(
    &'static str,
    Option<&'static str>,
    &'static [(&'static str, &'static str)],
);

/// All of them, from the simplest on.
pub const EXAMPLES: [Example; 4] = [
    Example {
        name: "public-images-only",
        registries: &[Host(
            "docker.io",
            None,
            &[("library/nginx", "1.29"), ("library/busybox", "latest")],
        )],
    },
    Example {
        name: "private-images-for-all",
        registries: &[
            Host(
                "registry.example.com",
                Some("everybody"),
                &[("shop", "1.0"), ("report", "1.0")],
            ),
            Host("partner.example.com", Some("reports"), &[("feed", "1.0")]),
        ],
    },
    Example {
        name: "private-images-stricter",
        registries: &[
            Host(
                "registry.example.com",
                Some("everybody"),
                &[("intranet", "1.0")],
            ),
            Host("vault.example.com", Some("finance"), &[("ledger", "1.0")]),
        ],
    },
    Example {
        name: "multi-tenant",
        registries: &[
            Host(
                "acme.example.com",
                Some("acme"),
                &[("api", "1.0"), ("api", "2.0")],
            ),
            Host("globex.example.com", Some("globex"), &[("site", "1.0")]),
        ],
    },
];

/// What makes the API server ask surepull, and lets surepull ask the API server.
const FILES: [&str; 3] = [
    "install/access.yaml",
    "install/mutating-webhook.yaml",
    "install/validating-webhook.yaml",
];

/// The folder of them all.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// The objects in a file of that folder.
pub fn objects(file: impl AsRef<Path>) -> Vec<Value> {
    let path = folder().join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

// === impl Example ===

impl Example {
    /// The example in the folder of this name.
    pub fn named(name: &str) -> &'static Self {
        let mut examples = EXAMPLES.iter();
        examples
            .find(|example| example.name == name)
            .expect("an example")
    }

    /// Its README.
    pub fn readme(&self) -> String {
        fs::read_to_string(folder().join(self.name).join("README.md")).expect("a README")
    }

    /// The commands of its README.
    pub fn steps(&self) -> Vec<Step> {
        steps(&self.readme())
    }

    /// The namespaces of its manifests.
    fn namespaces(&self) -> BTreeSet<String> {
        let files = fs::read_dir(folder().join(self.name)).expect("a folder");
        files
            .map(|file| file.expect("a file").path())
            .filter(|file| {
                file.extension()
                    .is_some_and(|extension| extension == "yaml")
            })
            .flat_map(objects)
            .filter_map(|object| Some(object["metadata"]["namespace"].as_str()?.to_owned()))
            .collect()
    }

    /// Its configuration with the registries that stand in for those of the manifests, and files where they are here.
    fn configuration(&self, registries: &[(&str, TestRegistry)]) -> String {
        let own = folder().join(self.name);
        let text = fs::read_to_string(own.join("surepull.yaml")).expect("a configuration");
        let mut text = text.replace("/etc/surepull", own.to_str().expect("a path"));
        text.push_str("registries:\n");
        for (host, registry) in registries {
            let endpoint = registry.endpoint();
            writeln!(text, "- {{match: {host}, endpoints: ['{endpoint}']}}").expect("memory");
        }
        text
    }

    /// Starts its registries and a surepull that may do in the cluster what `install` allows, registered for the
    /// namespaces of the manifests as the files say but for what `change` changes.
    pub async fn start(&'static self, cluster: &Cluster, change: impl Fn(&mut Value)) -> Running {
        let mut registries = Vec::new();
        for Host(host, user, images) in self.registries {
            let registry = user.map_or_else(TestRegistry::start, TestRegistry::with_user);
            for (repository, tag) in *images {
                registry.push_index(repository, tag).await;
            }
            registries.push((*host, registry));
        }
        allow(cluster);
        let account = "system:serviceaccount:surepull:surepull";
        let kubeconfig = cluster.user(&format!("surepull-{}", self.name), account, None);
        let surepull = Served::start_in(&kubeconfig, &self.configuration(&registries));
        let running = Running {
            example: self,
            registries,
            kubeconfig: cluster.kubeconfig(),
            probe: cluster.namespace(&format!("probe-{}", self.name), &[]),
            surepull,
        };
        running.register(change);
        running
    }
}

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

    /// Creates an object in the namespace beside, without storing it.
    pub fn try_out(&self, object: &Value) -> Output {
        let arguments = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
        self.probe.run_with(&arguments, &object.to_string())
    }

    /// Runs a command of the README, in the folder of all examples; all that it says.
    pub async fn run(&self, command: &str) -> String {
        self.bring_about(command).await;
        let output = Command::new("sh")
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
