//! surepull as the chart installs it: what `helm template` renders is applied with `kubectl`.
//!
//! Where there are Pods that run, the kubelet runs it in the chart's Deployment, and the API server reaches it through the
//! chart's Service. Else its program runs here, with a token of the chart's account, and is reached by URL.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::cluster::{Cluster, Kubectl};
use super::serve::Served;
use super::{helm, pods};

/// One release of the chart.
pub struct Installed {
    /// Its namespace.
    space: Kubectl,
    /// The program, where no Pod runs it.
    served: Option<Served>,
}

impl Installed {
    /// Installs it with further arguments for `helm template`, and waits until it is ready to be asked.
    pub fn new(cluster: &Cluster, release: &str, mut values: Value, helm: &[&str]) -> Self {
        values["replicas"] = 1.into();
        if let Some(pods) = pods() {
            json_patch::merge(&mut values, &pods.values(cluster.url()));
        }
        let restricted = ("pod-security.kubernetes.io/enforce", "restricted");
        let space = cluster.namespace(&format!("surepull-{release}"), &[restricted]);
        let arguments = [&["--skip-tests", "--namespace", space.name()], helm].concat();
        let rendered = helm::render(release, &values.to_string(), &arguments);
        let rendered = rendered.expect("the chart renders");
        let served = if pods().is_some() {
            space.run_with(&["apply", "-f", "-"], &rendered).success();
            let rollout = ["rollout", "status", "deployment", "--timeout=150s"];
            space.run(&rollout).success();
            None
        } else {
            Some(beside(cluster, &space, helm::documents(&rendered)))
        };
        Self { space, served }
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        let arguments = [
            "logs",
            "--selector=app.kubernetes.io/name=surepull",
            "--tail=-1",
        ];
        let logs = || self.space.run(&arguments).stdout;
        self.served.as_ref().map_or_else(logs, Served::log)
    }

    /// Takes it away, but not what makes the API server ask it.
    pub fn stop(&self) {
        let scale = ["scale", "deployment", "--all", "--replicas=0"];
        match &self.served {
            Some(served) => served.terminate(),
            None => drop(self.space.run(&scale).success()),
        }
    }
}

/// Runs the program here instead of the Deployment.
fn beside(cluster: &Cluster, space: &Kubectl, mut objects: Vec<Value>) -> Served {
    let take = |objects: &mut Vec<Value>, is_it: fn(&Value) -> bool| -> Vec<Value> {
        objects.extract_if(.., |object| is_it(object)).collect()
    };
    take(&mut objects, |object| object["kind"] == "Deployment");
    let webhooks = take(&mut objects, |object| object["webhooks"].is_array());
    let folder = cluster.folder().join(space.name());
    fs::create_dir(&folder).expect("a folder");
    let configuration = configuration(&folder, &objects);
    space.apply(&list(&objects)).success();
    let served = Served::start_in(&kubeconfig(cluster, space, &folder), &configuration);
    let bundle = BASE64_STANDARD.encode(&served.authority.ca);
    let by_url = |mut object: Value| {
        let client = &mut object["webhooks"][0]["clientConfig"];
        let path = client["service"]["path"].as_str().expect("a path");
        *client = json!({"url": served.url(path), "caBundle": bundle});
        object
    };
    let webhooks: Vec<_> = webhooks.into_iter().map(by_url).collect();
    space.apply(&list(&webhooks)).success();
    served
}

/// What would be mounted, with the files in a folder here.
fn configuration(folder: &Path, objects: &[Value]) -> String {
    let files = objects.iter().find_map(|object| {
        let files = object["data"]
            .as_object()
            .or(object["stringData"].as_object());
        files.filter(|files| files.contains_key("surepull.yaml"))
    });
    for (name, text) in files.expect("the configuration") {
        let text = text.as_str().expect("text");
        let text = text.replace("/etc/surepull", &folder.display().to_string());
        fs::write(folder.join(name), text).expect("a file");
    }
    fs::read_to_string(folder.join("surepull.yaml")).expect("a configuration")
}

/// A kubeconfig with a token of the chart's account.
fn kubeconfig(cluster: &Cluster, space: &Kubectl, folder: &Path) -> PathBuf {
    let accounts = space.list("serviceaccounts");
    let mut names = accounts
        .iter()
        .filter_map(|account| account["metadata"]["name"].as_str());
    let name = names.find(|name| name.ends_with("surepull"));
    let token = space
        .run(&["create", "token", name.expect("an account")])
        .success();
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {
            "server": cluster.url(), "certificate-authority": cluster.pki().path("ca.crt"),
        }}],
        "users": [{"name": "test", "user": {"token": token.trim()}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    });
    let path = folder.join("kubeconfig");
    fs::write(&path, kubeconfig.to_string()).expect("a kubeconfig");
    path
}

fn list(items: &[Value]) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}
