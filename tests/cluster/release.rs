//! Releases of the chart, by the real `helm`: the quick start, and years of changes under a steady load.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use serde_json::{Value, json};

use super::certificates::replicas::{client, review};
use super::lifecycle::pod;
use crate::common::assets::program;
use crate::common::cluster::{Kubectl, LABEL, Output};
use crate::common::example::steps;
use crate::common::helm::path;
use crate::common::pods;
use crate::node::image;
use crate::world::World;
use crate::{Case, Test};

pub fn tests() -> Vec<(String, Test)> {
    let cases: [Case; 2] = [
        ("quick_start", quick_start),
        ("upgraded_and_rolled_back_under_load", under_load),
    ];
    crate::named("release", cases)
}

/// Who runs `helm` and `kubectl` in the root of the repository, with values that this cluster needs.
pub struct Shell {
    kubectl: Kubectl,
    prelude: String,
}

impl Shell {
    pub fn new(world: &World, name: &str, mut values: Value) -> Self {
        let pods = pods().expect("Pods that run").values(world.cluster.url());
        json_patch::merge(&mut values, &pods);
        let folder = world.cluster.folder().join(format!("shell-{name}"));
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join("values.yaml"), values.to_string()).expect("values");
        let (kubectl, helm) = (program("kubectl"), program("helm"));
        let folder = folder.display();
        for (name, script) in [
            ("kubectl", format!("exec '{}' \"$@\"", kubectl.display())),
            (
                "helm",
                format!(
                    "command=$1; shift
case $command in install|upgrade) set -- --values '{folder}/values.yaml' \"$@\";; esac
exec '{}' $command \"$@\"",
                    helm.display()
                ),
            ),
            // What `make kind` needs besides: this cluster is there, and its node has the image.
            ("docker", format!("echo docker \"$@\" >> '{folder}/done'")),
            ("kind", format!("echo kind \"$@\" >> '{folder}/done'")),
        ] {
            let path = format!("{folder}/{name}");
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a script");
            fs::set_permissions(path, Permissions::from_mode(0o755)).expect("a program");
        }
        let root = path("");
        let prelude = format!(
            "unset -f kubectl; cd '{}'; export PATH='{folder}':\"$PATH\" HELM_CACHE_HOME='{folder}' \
             HELM_CONFIG_HOME='{folder}' HELM_DATA_HOME='{folder}'\nexec 2>&1\n",
            root.display()
        );
        Self {
            kubectl: world.cluster.kubectl(),
            prelude,
        }
    }

    pub fn run(&self, command: &str) -> Output {
        self.kubectl.shell(&format!("{}{command}", self.prelude))
    }
}

/// The page, command by command, in a cluster whose node pulls the image from where the page has it.
fn quick_start(world: &World) {
    let node = world.node().expect("a node");
    node.pull_from("registry.example.com", &world.registry);
    let push = world.registry.push_index("library/nginx", "1.29");
    world.runtime.block_on(push);
    let endpoint = world.registry.endpoint();
    let registries = json!([{"match": "docker.io", "endpoints": [endpoint]}]);
    let own =
        json!([{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["default"]}]);
    let values = json!({
        "config": {"registries": registries},
        // Not those of the other tests.
        "webhook": {"namespaceSelector": own},
    });
    let shell = Shell::new(world, "quick-start", values);
    let page = fs::read_to_string(path("docs/quick-start.md")).expect("a page");
    let steps = steps(&page);
    assert!(steps.len() > 8, "{steps:?}");
    for step in steps {
        let said = shell.run(&step.command).success();
        let (said, expected) = (said.trim(), step.said.trim());
        assert!(
            is_like(said, expected),
            "$ {}\n{said}\ninstead of\n{expected}",
            step.command
        );
    }
    let left = shell
        .run("kubectl get mutatingwebhookconfigurations,clusterroles,clusterrolebindings -o name");
    let left = left.success();
    let ours = left
        .lines()
        .find(|line| line.ends_with("/surepull") || line.ends_with("/zz-surepull"));
    assert_eq!(ours, None);
}

/// Whether a text is what is expected, where `…` stands for anything.
fn is_like(text: &str, expected: &str) -> bool {
    let mut parts = expected.split('…').map(str::trim);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut last = first;
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
        last = part;
    }
    // What ends in `…` may go on.
    rest.is_empty() || (last.is_empty() && expected.contains('…'))
}

/// Two replicas that are upgraded, given another configuration, and rolled back, while the API server asks them and
/// takes no missing answer.
fn under_load(world: &World) {
    const NAME: &str = "steady";
    let next = "next";
    let push = image::push_surepull(&world.registry, world.cluster.folder(), next);
    world.runtime.block_on(push);
    let config: Value = serde_saphyr::from_str(&world.configuration("")).expect("YAML");
    let values = json!({
        "config": config,
        "webhook": {
            "failurePolicy": "Fail",
            "timeoutSeconds": 30,
            "namespaceSelector": [{"key": LABEL, "operator": "In", "values": [NAME]}],
            "resources": {"Rollout.rig.test": "rollouts", "Sidecar.rig.test": "sidecars"},
        },
    });
    let shell = Shell::new(world, NAME, values);
    let helm = |arguments: &str| {
        let command = format!("helm {arguments} --namespace surepull-steady --wait --timeout 150s");
        shell.run(&command).success()
    };
    helm("install steady charts/surepull --create-namespace");
    let space = world.namespace(NAME, NAME);
    let own = world.cluster.kubectl().namespace("surepull-steady");
    let (reviews, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let client = world.runtime.block_on(client(&world.cluster.kubeconfig()));
    let asked: Api<Pod> = Api::namespaced(client, NAME);
    let upgrade = format!("upgrade steady charts/surepull --set image.tag={next}");
    let mut seen = BTreeSet::new();
    thread::scope(|scope| {
        // Two at a time.
        for _ in 0..2 {
            scope.spawn(|| {
                let _told = Told(&over);
                while !over.load(Ordering::Relaxed) {
                    world.runtime.block_on(review(&asked)).expect("an answer");
                    reviews.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(20));
                }
            });
        }
        let _told = Told(&over);
        let upgraded = scope.spawn(|| helm(&upgrade));
        while !upgraded.is_finished() {
            seen.insert(images(&serving(&own)));
        }
        upgraded.join().expect("an upgrade");
        // The kubelet changes the files of the Pods, and they take them up.
        let pods = serving(&own);
        helm(&format!("{upgrade} --set config.always=all"));
        space.until("the new configuration is in effect", || {
            let tried = space.try_out(&pod("p", "registry.test/app:1.0")).json();
            (tried["spec"]["containers"][0]["imagePullPolicy"] == "Always").then_some(())
        });
        assert_eq!(serving(&own), pods, "no Pod is made anew for that");
        helm("rollback steady 1");
    });
    let both = seen.iter().any(|images| images.len() == 2);
    assert!(both, "both versions serve for a while: {seen:?}");
    let reviews = reviews.into_inner();
    assert!(reviews > 200, "{reviews}");
    helm("uninstall steady");
}

/// Tells others that it is over, also where it ends by a panic.
struct Told<'a>(&'a AtomicBool);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn images(pods: &BTreeMap<String, String>) -> BTreeSet<String> {
    pods.values().cloned().collect()
}

/// The Pods that the Service leads to, with their images.
pub fn serving(own: &Kubectl) -> BTreeMap<String, String> {
    let pods = own.list("pods").into_iter().filter(|pod| {
        let ends = pod["metadata"]["deletionTimestamp"].is_string();
        let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
        !ends && conditions.any(|one| one["type"] == "Ready" && one["status"] == "True")
    });
    let image = |pod: Value| {
        let image = &pod["spec"]["containers"][0]["image"];
        (pod["metadata"]["name"].to_string(), image.to_string())
    };
    pods.map(image).collect()
}
