//! How the API server calls webhooks: again after another one, and in another version than the user's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use surepull::admission::BadRequest;
use surepull::server::{Certificates, Listeners, Review, Server};
use tokio::sync::oneshot;

use super::lifecycle::pod;
use crate::common::client::Authority;
use crate::common::cluster::{Kubectl, LABEL, Registration, Rule};
use crate::world::{DEFAULT, World};
use crate::{Case, Test};

pub fn tests() -> Vec<(String, Test)> {
    let cases: [Case; 2] = [
        ("what_a_later_webhook_adds_is_pinned", reinvocation),
        ("another_version_of_a_kind_is_converted", equivalent_version),
    ];
    crate::named("webhooks", cases)
}

/// What a webhook changes of the object in a request.
type Change = fn(&Value) -> Option<Value>;

/// A webhook of somebody else.
struct Other(Change);

impl Review for Other {
    async fn mutate(&self, body: &[u8], _: Duration) -> Result<Vec<u8>, BadRequest> {
        let review: Value = serde_json::from_slice(body).expect("a review");
        let request = &review["request"];
        let mut response = json!({"uid": request["uid"], "allowed": true});
        if let Some(patch) = (self.0)(&request["object"]) {
            response["patchType"] = "JSONPatch".into();
            response["patch"] = STANDARD.encode(patch.to_string()).into();
        }
        let answer = json!({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response});
        Ok(answer.to_string().into_bytes())
    }

    fn validate(&self, _: &[u8]) -> Result<Vec<u8>, BadRequest> {
        unreachable!("it is registered as a mutating webhook only")
    }
}

/// A webhook that is called after surepull for Pods, until this is dropped.
pub struct Later {
    kubectl: Kubectl,
    name: String,
    _stop: oneshot::Sender<()>,
}

impl Later {
    /// Starts it, for namespaces with the label `later=NAME`. Its name has to sort behind that of the surepull there.
    pub fn start(world: &World, name: &str, change: Change) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::new(folder.path());
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let (stop, stopped) = oneshot::channel();
        let _runtime = world.runtime.enter();
        let listeners = Listeners::bind(loopback, loopback).expect("two ports");
        let address = listeners.https_address().expect("an address");
        let certificates = Certificates::from_files(&authority.certificate, &authority.key);
        let certificates = Arc::new(certificates.expect("a certificate"));
        let server = Server::new(Other(change), certificates, Registry::default());
        world.runtime.spawn(server.run(listeners, async {
            let _ = stopped.await;
        }));
        let mut registration =
            Registration::new(name, &format!("https://{address}/mutate"), &authority.ca);
        registration.rules = vec![Rule::new("", &["v1"], &["pods"])];
        let mut object = registration.mutating();
        object["webhooks"][0]["namespaceSelector"] = json!({"matchLabels": {"later": name}});
        let kubectl = world.cluster.kubectl();
        kubectl.apply(&object).success();
        Self {
            kubectl,
            name: name.to_owned(),
            _stop: stop,
        }
    }

    /// Lets it be asked in a namespace.
    pub fn switch_on(&self, namespace: &Kubectl) {
        let label = format!("later={}", self.name);
        let arguments = ["label", "namespace", namespace.name(), &label];
        namespace.run(&arguments).success();
    }
}

impl Drop for Later {
    fn drop(&mut self) {
        self.kubectl
            .run(&["delete", "mutatingwebhookconfiguration", &self.name]);
    }
}

/// Adds a container to a Pod that does not have it.
fn inject(pod: &Value) -> Option<Value> {
    let containers = pod["spec"]["containers"].as_array().expect("containers");
    let is_there = containers.iter().any(|one| one["name"] == "injected");
    let container = json!({"name": "injected", "image": "registry.test/tools:1.0"});
    let patch = json!([{"op": "add", "path": "/spec/containers/-", "value": container}]);
    (!is_there).then_some(patch)
}

fn reinvocation(world: &World) {
    let later = Later::start(world, "zzz-later", inject);
    let space = world.namespace("reinvocation", DEFAULT);
    later.switch_on(&space);
    let pod = pod("p", "registry.test/app:1.0");
    space.until("both webhooks are asked", || {
        let tried = space.try_out(&pod).json();
        (tried["spec"]["containers"].as_array()?.len() == 2).then_some(())
    });
    space.apply(&pod).success();
    let stored = space.get("pod", "p");
    let containers = &stored["spec"]["containers"];
    let images = [&containers[0]["image"], &containers[1]["image"]];
    let tags = ["registry.test/app:1.0", "registry.test/tools:1.0"];
    assert_eq!(images, tags.map(|tag| world.pinned(tag)).each_ref());
    let record = stored["metadata"]["annotations"]["surepull.dev/pinned"]
        .as_str()
        .expect("a record");
    let record: Value = serde_json::from_str(record).expect("JSON");
    let recorded =
        ["/spec/containers/c", "/spec/containers/injected"].map(|slot| &record[slot]["image"]);
    assert_eq!(recorded, tags);
}

fn equivalent_version(world: &World) {
    // A copy of what is installed, which is asked about one version only.
    let name = "zz-only-v1";
    let kubectl = world.cluster.kubectl();
    let mut only_v1 = kubectl.get("mutatingwebhookconfiguration", "zz-default-surepull");
    only_v1["metadata"] = json!({"name": name});
    let webhook = &mut only_v1["webhooks"][0];
    let selected = json!([{"key": LABEL, "operator": "In", "values": [name]}]);
    webhook["namespaceSelector"] = json!({"matchExpressions": selected});
    let rules = webhook["rules"].as_array_mut().expect("rules");
    rules.retain(|rule| rule["apiGroups"] == json!(["rig.test"]) || rule["resources"][0] == "pods");
    for rule in rules {
        rule["apiVersions"] = json!(["v1"]);
    }
    kubectl.apply(&only_v1).success();
    let space = world.namespace("equivalent-version", name);
    let rollout = json!({
        // This is served too.
        "apiVersion": "rig.test/v1alpha1", "kind": "Rollout", "metadata": {"name": "r"},
        "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "registry.test/app:1.0"}]}}},
    });
    space.apply(&rollout).success();
    let stored = space.get("rollouts.v1.rig.test", "r");
    let container = &stored["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], world.pinned("registry.test/app:1.0"));
    assert_eq!(container["imagePullPolicy"], "IfNotPresent");
}
