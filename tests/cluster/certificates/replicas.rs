//! Two replicas of surepull that start at once, and what is seen of them from outside.

use std::path::Path;
use std::thread;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};

use crate::common::cluster::{Kubectl, Registration};
use crate::common::serve::Served;
use crate::world::World;

/// Both replicas; each is asked about the Pods of its own namespace, by a webhook of its own in one configuration.
pub struct Replicas {
    name: String,
    /// The namespace of Secret and Lease.
    pub space: Kubectl,
    served: Vec<Served>,
}

impl Replicas {
    /// Starts them where there is nothing yet, and waits until they are ready.
    pub fn start(world: &World, name: &str, lives: &[&str], kubeconfig: &Path) -> Self {
        Self::start_by(Served::start_bare, world, name, lives, kubeconfig)
    }

    /// The same in this way.
    pub fn start_by(
        start: fn(&str, &[&str]) -> Served,
        world: &World,
        name: &str,
        lives: &[&str],
        kubeconfig: &Path,
    ) -> Self {
        let space = world.cluster.namespace(name, &[]);
        let kubeconfig = kubeconfig.to_str().expect("a path");
        let common = [
            "--tls-self",
            "--namespace",
            name,
            "--webhook",
            name,
            "--kubeconfig",
            kubeconfig,
        ];
        let arguments = [&common, lives].concat();
        let configuration = world.configuration("");
        let served = [(); 2].map(|()| start(&configuration, &arguments));
        let replicas = Self {
            name: name.to_owned(),
            space,
            served: served.into(),
        };
        // Until here they are allowed nothing: now both begin at once.
        rights(world, name);
        // Nobody can call them yet.
        replicas.until("there is a CA", || replicas.find_ca().is_some());
        for served in &replicas.served {
            let answer = world.runtime.block_on(served.ops("/readyz"));
            assert_eq!(answer.status, 503);
        }
        let mut configuration = Registration::new(name, "", "").mutating();
        let template = configuration["webhooks"][0].take();
        let webhooks = replicas.served.iter().enumerate().map(|(index, served)| {
            let mut webhook = template.clone();
            let own = replicas.own(index);
            webhook["name"] = format!("{own}.surepull.dev").into();
            webhook["clientConfig"] = json!({"url": served.url("/mutate")});
            webhook["timeoutSeconds"] = 10.into();
            webhook["namespaceSelector"]["matchLabels"] =
                json!({"kubernetes.io/metadata.name": own});
            webhook
        });
        configuration["webhooks"] = webhooks.collect();
        space_of(world, &replicas);
        world.cluster.kubectl().apply(&configuration).success();
        replicas.until("both are ready", || {
            let ready =
                |served: &Served| world.runtime.block_on(served.ops("/readyz")).status == 200;
            replicas.served.iter().all(ready)
        });
        replicas
    }

    fn own(&self, index: usize) -> String {
        format!("{}-{index}", self.name)
    }

    /// Waits until it is so.
    pub fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        self.space.until(what, || is_so().then_some(()));
    }

    /// The CA in the Secret, if there is one.
    pub fn find_ca(&self) -> Option<String> {
        let secret = self
            .space
            .run(&["get", "secret", "surepull-ca", "-o", "json"]);
        let secret: Value = serde_json::from_str(&secret.stdout).ok()?;
        Some(text(&secret["data"]["ca.crt"]))
    }

    /// The CA in the Secret.
    pub fn ca(&self) -> String {
        self.find_ca().expect("a CA")
    }

    /// How many say that they hold the Lease.
    pub fn holders(&self) -> usize {
        let holds = |served: &&Served| metric(served, "surepull_ca_lease_held ") == 1;
        self.served.iter().filter(holds).count()
    }

    /// The bundles of both webhooks.
    pub fn bundles(&self) -> Vec<String> {
        let configuration = self.space.get("mutatingwebhookconfiguration", &self.name);
        let webhooks = configuration["webhooks"].as_array().expect("webhooks");
        let bundle = |webhook: &Value| text(&webhook["clientConfig"]["caBundle"]);
        webhooks.iter().map(bundle).collect()
    }

    /// Waits until both have this bundle.
    pub fn until_bundle_is(&self, bundle: &str) {
        self.until("the caBundle is right", || {
            self.bundles() == [bundle, bundle]
        });
    }

    /// Waits until both show a certificate of the CA that this is the how-manieth of, at the earliest.
    pub fn until_shown(&self, cas: usize) {
        self.until("both show a new certificate", || {
            let leaves = |served: &Served| {
                metric(served, "surepull_certificate_writes_total{what=\"leaf\"} ")
            };
            let issuers = |served: &Served| {
                served
                    .log()
                    .matches("a certificate is minted from a new")
                    .count()
            };
            self.served
                .iter()
                .all(|served| issuers(served) >= cas && leaves(served) >= cas as u64)
        });
    }

    /// Each is asked by the API server, and answers.
    pub fn assert_reviewed(&self, world: &World) {
        let pods = self.pods(world);
        for pods in &pods {
            self.until("a Pod is reviewed", || {
                world.runtime.block_on(review(pods)).is_ok()
            });
        }
    }

    /// Sends Pods one after the other to both until told to stop: how many. Each has to be answered.
    pub fn load(&self, world: &World, over: impl Fn() -> bool + Sync) -> usize {
        let pods = self.pods(world);
        thread::scope(|scope| {
            let steady = |pods| {
                let over = &over;
                move || {
                    let mut reviews = 0;
                    while !over() {
                        world.runtime.block_on(review(pods)).expect("an answer");
                        reviews += 1;
                        thread::sleep(std::time::Duration::from_millis(20));
                    }
                    reviews
                }
            };
            let all: Vec<_> = pods.iter().map(|pods| scope.spawn(steady(pods))).collect();
            all.into_iter()
                .map(|load| load.join().expect("all are answered"))
                .sum()
        })
    }

    fn pods(&self, world: &World) -> Vec<Api<Pod>> {
        let client = world.runtime.block_on(client(&world.cluster.kubeconfig()));
        let pods = |index| Api::namespaced(client.clone(), &self.own(index));
        (0..2).map(pods).collect()
    }

    /// Changes an object.
    pub fn patch(&self, object: &str, change: &Value) {
        let arguments = ["patch", object, "--type=merge", "-p", &change.to_string()];
        self.space.run(&arguments).success();
    }

    /// Changes the configuration of the webhooks.
    pub fn patch_webhooks(&self, change: &Value) {
        let object = format!("mutatingwebhookconfiguration/{}", self.name);
        let arguments = ["patch", &object, "--type=json", "-p", &change.to_string()];
        self.space.run(&arguments).success();
    }

    /// The private key in the Secret, in all forms in which it could be shown, cut into lines.
    pub fn key_lines(&self) -> Vec<String> {
        let base64 = &self.space.get("secret", "surepull-ca")["data"]["ca.key"];
        let pem = text(base64);
        let lines = pem.lines().filter(|line| !line.starts_with('-'));
        let mut lines: Vec<_> = lines.map(str::to_owned).collect();
        let base64 = base64.as_str().expect("a key");
        // In the middle, where a key has no end in common with others.
        lines.push(base64[100..160].to_owned());
        lines
    }

    /// What they have logged.
    pub fn logs(&self) -> Vec<String> {
        self.served.iter().map(Served::log).collect()
    }

    /// Ends the one that holds the Lease, at once.
    pub fn kill_holder(&mut self) {
        self.served
            .retain(|served| metric(served, "surepull_ca_lease_held ") != 1);
        assert_eq!(self.served.len(), 1);
    }

    /// Asks those that are left to stop, and waits for it.
    pub fn stop(&mut self) {
        for served in &mut self.served {
            served.terminate();
            assert!(served.wait().success());
        }
    }
}

/// What the docs say that surepull needs, and a binding.
fn rights(world: &World, name: &str) {
    let docs = include_str!("../../../docs/certificates.md");
    let yaml = docs
        .split("```yaml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let yaml = yaml.expect("the rights");
    for needed in [
        "namespace: surepull}",
        "resourceNames: [surepull]",
        "name: surepull-ca",
    ] {
        assert!(yaml.contains(needed), "{yaml}");
    }
    let role = format!("{name}-ca");
    let yaml = yaml
        .replace("namespace: surepull}", &format!("namespace: {name}}}"))
        .replace(
            "resourceNames: [surepull]",
            &format!("resourceNames: [{name}]"),
        )
        .replace("name: surepull-ca", &format!("name: {role}"));
    let kubectl = world.cluster.kubectl().namespace(name);
    kubectl.run_with(&["apply", "-f", "-"], &yaml).success();
    for (kind, of) in [
        ("rolebinding", "--role"),
        ("clusterrolebinding", "--clusterrole"),
    ] {
        let of = format!("{of}={role}");
        kubectl
            .run(&["create", kind, &role, &of, "--user=surepull"])
            .success();
    }
}

/// A namespace for the Pods of each.
fn space_of(world: &World, replicas: &Replicas) {
    for index in 0..2 {
        world.cluster.namespace(&replicas.own(index), &[]);
    }
}

/// Lets a Pod be reviewed, and not be stored; says what the API server says if it is refused.
pub async fn review(pods: &Api<Pod>) -> Result<(), String> {
    let image = try_out(pods).await.map_err(|error| error.to_string())?;
    image.contains("@sha256:").then_some(()).ok_or(image)
}

/// Lets a Pod be reviewed, and not be stored: the image that it would have.
pub async fn try_out(pods: &Api<Pod>) -> kube::Result<String> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "registry.test/app:1.0"}]},
    });
    let pod: Pod = serde_json::from_value(pod).expect("a Pod");
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let made = pods.create(&dry_run, &pod).await?;
    let image = made.spec.and_then(|spec| spec.containers[0].image.clone());
    Ok(image.unwrap_or_default())
}

/// A client by a kubeconfig.
pub async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    Client::try_from(config.expect("a configuration")).expect("a client")
}

/// A metric of a replica; 0 where it does not answer.
fn metric(served: &Served, name: &str) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let value = runtime.expect("a runtime").block_on(served.metric(name));
    value.unwrap_or_default()
}

fn text(base64: &Value) -> String {
    let bytes = BASE64_STANDARD.decode(base64.as_str().unwrap_or_default());
    String::from_utf8(bytes.expect("base64")).expect("text")
}

pub fn base64(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

/// A CA that somebody else made: certificate and key.
pub fn make_ca() -> (String, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let ca = CertifiedIssuer::self_signed(params, key).expect("a CA");
    (ca.pem(), ca.key().serialize_pem())
}
