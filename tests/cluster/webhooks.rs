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

use super::lifecycle::pod;
use crate::common::client::Authority;
use crate::common::cluster::{Registration, Rule};
use crate::world::{DEFAULT, World};
use crate::{Case, Test};

pub fn tests() -> Vec<(String, Test)> {
    let cases: [Case; 2] = [
        ("what_a_later_webhook_adds_is_pinned", reinvocation),
        ("another_version_of_a_kind_is_converted", equivalent_version),
    ];
    crate::named("webhooks", cases)
}

/// A webhook that adds a container to a Pod that does not have it.
struct Injector;

impl Review for Injector {
    async fn mutate(&self, body: &[u8], _: Duration) -> Result<Vec<u8>, BadRequest> {
        let review: Value = serde_json::from_slice(body).expect("a review");
        let request = &review["request"];
        let containers = request["object"]["spec"]["containers"]
            .as_array()
            .expect("containers");
        let mut response = json!({"uid": request["uid"], "allowed": true});
        if !containers
            .iter()
            .any(|container| container["name"] == "injected")
        {
            let container = json!({"name": "injected", "image": "registry.test/tools:1.0"});
            let patch = json!([{"op": "add", "path": "/spec/containers/-", "value": container}]);
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

fn reinvocation(world: &World) {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(folder.path());
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let address = {
        let _runtime = world.runtime.enter();
        let listeners = Listeners::bind(loopback, loopback).expect("two ports");
        let address = listeners.https_address().expect("an address");
        let certificates = Certificates::from_files(&authority.certificate, &authority.key);
        let certificates = Arc::new(certificates.expect("a certificate"));
        let server = Server::new(Injector, certificates, Registry::default());
        world.runtime.spawn(server.run(listeners, async {
            let _ = stopped.await;
        }));
        address
    };
    // Its name sorts behind surepull's: it is called later.
    let mut registration =
        Registration::new("later", &format!("https://{address}/mutate"), &authority.ca);
    registration.rules = vec![Rule::new("", &["v1"], &["pods"])];
    let mut object = registration.mutating();
    object["webhooks"][0]["namespaceSelector"] = json!({"matchLabels": {"inject": "yes"}});
    world.cluster.kubectl().apply(&object).success();
    let space = world.namespace("reinvocation", DEFAULT);
    space
        .run(&["label", "namespace", "reinvocation", "inject=yes"])
        .success();

    let tried = space.until("both webhooks are asked", || {
        let arguments = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
        let tried = space
            .run_with(&arguments, &pod("p", "registry.test/app:1.0").to_string())
            .json();
        (tried["spec"]["containers"].as_array()?.len() == 2).then_some(tried)
    });
    let containers = &tried["spec"]["containers"];
    let images = [&containers[0]["image"], &containers[1]["image"]];
    assert_eq!(
        images,
        [
            &world.pinned("registry.test/app:1.0"),
            &world.pinned("registry.test/tools:1.0")
        ]
    );
    let record = tried["metadata"]["annotations"]["surepull.dev/pinned"]
        .as_str()
        .expect("a record");
    let record: Value = serde_json::from_str(record).expect("JSON");
    let recorded =
        ["/spec/containers/c", "/spec/containers/injected"].map(|slot| &record[slot]["image"]);
    assert_eq!(
        recorded,
        ["registry.test/app:1.0", "registry.test/tools:1.0"]
    );
    space
        .run(&["delete", "mutatingwebhookconfiguration", "later"])
        .success();
    drop(stop);
}

fn equivalent_version(world: &World) {
    let space = world.namespace("equivalent-version", DEFAULT);
    let rollout = json!({
        // surepull is registered for v1; this is served too.
        "apiVersion": "rig.test/v1alpha1", "kind": "Rollout", "metadata": {"name": "r"},
        "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "registry.test/app:1.0"}]}}},
    });
    space.apply(&rollout).success();
    let stored = space.get("rollouts.v1.rig.test", "r");
    let container = &stored["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], world.pinned("registry.test/app:1.0"));
    assert_eq!(container["imagePullPolicy"], "IfNotPresent");
}
