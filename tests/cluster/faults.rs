//! What can fail fails in turn, while the API server asks without a pause and takes no missing answer: those are counted.

mod cut;
mod load;

use std::fs;
use std::process::Command;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::common::cluster::{Kubectl, LABEL};
use crate::node::image;
use crate::release::{Shell, serving};
use crate::world::World;
use crate::{Case, Test};
use cut::Cut;
use load::Load;

/// The release, the namespace that it is asked for, and the tag of its image.
const NAME: &str = "faults";

/// Where its Pods have metrics.
const OPS: u16 = 10_255;

/// How the API server tells that whom it asked is gone.
const ENDS: [&str; 5] = [
    "EOF",
    "connection refused",
    "connection reset",
    "broken pipe",
    "server closed idle connection",
];

pub fn tests() -> Vec<(String, Test)> {
    let cases: [Case; 1] = [("every_review_is_answered_while_one_replica_is_up", counted)];
    crate::named(NAME, cases)
}

/// Makes something fail, waits until it is seen to, and mends it.
type Fault = fn(&Release);

/// A release of two replicas, and its namespace.
struct Release<'w> {
    world: &'w World,
    shell: Shell,
    own: Kubectl,
    /// The CA of the beginning.
    ca: Value,
}

fn counted(world: &World) {
    let release = Release::install(world);
    let load = Load::start(world, world.namespace(NAME, NAME));
    let faults: [(&str, Fault); 7] = [
        ("a replica is deleted", deleted),
        (
            "the holder of the Lease is cut off from the API server",
            holder_cut_off,
        ),
        ("all are cut off from the API server", all_cut_off),
        ("the registry is silent", registry_cut_off),
        ("clocks jump", clocks_jump),
        ("configurations change", reloaded),
        ("certificates are rotated", rotated),
    ];
    load.goes_on();
    for (what, fault) in faults {
        fault(&release);
        load.goes_on();
        assert_eq!(load.unanswered(), [""; 0], "{what}");
        assert_eq!(load.unasked(), 0, "{what}: the API server is there");
    }
    world.cluster.restart(&world.runtime);
    load.goes_on();
    assert_eq!(load.unanswered(), [""; 0], "the API server restarts");
    assert!(load.unasked() > 0, "it was away");
    // What the dead one was asked is lost, and what it is asked until its endpoint is gone: the API server asks once.
    release.kill(&release.holder());
    let lost = load.unanswered();
    load.goes_on();
    assert_eq!(load.unanswered(), lost, "after a replica was killed");
    for said in &lost {
        let is_its_end = ENDS.iter().any(|end| said.contains(end));
        assert!(is_its_end, "{said}");
    }
    eprintln!(
        "{} answered, {} lost with one that was killed",
        load.answered(),
        lost.len()
    );
    drop(load);
    release.helm("uninstall");
}

/// A Pod is asked to end, as by a drained node.
fn deleted(release: &Release) {
    let holder = release.holder();
    release.own.run(&["delete", "pod", &holder]).success();
    release.until_ready();
}

fn holder_cut_off(release: &Release) {
    let holder = release.holder();
    let _cut = Cut::new(release.world.cluster.url(), &release.address(&holder));
    release.until("another holds the Lease", || release.holder() != holder);
}

fn all_cut_off(release: &Release) {
    let cut = || release.cut_off(release.world.cluster.url());
    drop(release.until_each_counts("surepull_certificate_failures_total", cut));
}

fn registry_cut_off(release: &Release) {
    let stale = "surepull_registry_stale_answers_total{registry=\"registry.test\"}";
    let cut = || release.cut_off(&release.world.registry.endpoint());
    drop(release.until_each_counts(stale, cut));
}

fn clocks_jump(release: &Release) {
    for days in [3650, -3650, 0] {
        release.write("clock", &format!("{days:+}d"));
        release.until("the clock of each is there", || {
            let pods = release.pods();
            let ahead = pods.iter().map(|pod| release.days_ahead(pod));
            ahead.into_iter().all(|ahead| ahead == Some(days))
        });
    }
}

fn reloaded(release: &Release) {
    let before = release.read("surepull.yaml");
    for (more, result) in [
        ("always: all", "success"),
        ("always: [", "failure"),
        ("", "success"),
    ] {
        let metric =
            format!("surepull_reloads_total{{what=\"configuration\",result=\"{result}\"}}");
        let text = format!("{before}\n{more}\n");
        release.until_each_counts(&metric, || release.write("surepull.yaml", &text));
    }
}

fn rotated(release: &Release) {
    release.until("a CA of later", || release.find_ca() != release.ca);
    let mints = |pod: &String| {
        let log = release.own.run(&["logs", pod, "--tail=-1"]).success();
        log.matches("a certificate is minted from a new").count()
    };
    release.until("each has a certificate of it", || {
        release.pods().iter().all(|pod| mints(pod) >= 2)
    });
}

impl<'w> Release<'w> {
    fn install(world: &'w World) -> Self {
        let file = "/etc/surepull/clock";
        let push = image::push_with_clock(&world.registry, world.cluster.folder(), NAME, file);
        world.runtime.block_on(push);
        let config = world.configuration("cache: {ttl: 1s}\n");
        let config: Value = serde_saphyr::from_str(&config).expect("YAML");
        let values = json!({
            "config": config,
            "configFiles": {"clock": "+0"},
            "ports": {"https": 10250, "ops": OPS},
            "args": ["--tls-ca-validity=180s", "--tls-leaf-validity=40s"],
            "webhook": {
                "failurePolicy": "Fail",
                "timeoutSeconds": 10,
                "namespaceSelector": [{"key": LABEL, "operator": "In", "values": [NAME]}],
                "resources": {"Rollout.rig.test": "rollouts", "Sidecar.rig.test": "sidecars"},
            },
        });
        let own = world.cluster.kubectl().namespace("surepull-faults");
        let mut release = Self {
            world,
            shell: Shell::new(world, NAME, values),
            own,
            ca: Value::Null,
        };
        let image = format!("charts/surepull --set image.tag={NAME}");
        release.helm(&format!("install {image} --create-namespace"));
        release.ca = release.find_ca();
        release
    }

    fn helm(&self, arguments: &str) {
        let (command, rest) = arguments.split_once(' ').unwrap_or((arguments, ""));
        let command = format!(
            "helm {command} {NAME} {rest} --namespace surepull-faults --wait --timeout 150s"
        );
        self.shell.run(&command).success();
    }

    fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        self.own.until(what, || is_so().then_some(()));
    }

    fn pods(&self) -> Vec<String> {
        let names = serving(&self.own).into_keys();
        names
            .map(|name| name.trim_matches('"').to_owned())
            .collect()
    }

    fn until_ready(&self) {
        self.until("two are ready", || self.pods().len() == 2);
    }

    /// The replica that writes the CA.
    fn holder(&self) -> String {
        self.own.until("a replica holds the Lease", || {
            let lease = self.own.get("lease", "faults-surepull-ca");
            let holder = lease["spec"]["holderIdentity"].as_str()?;
            let (pod, _) = holder.split_once('_')?;
            self.pods()
                .contains(&pod.to_owned())
                .then(|| pod.to_owned())
        })
    }

    fn find_ca(&self) -> Value {
        self.own.get("secret", "faults-surepull-ca")["data"]["ca.crt"].clone()
    }

    fn address(&self, pod: &str) -> String {
        let pod = self.own.get("pod", pod);
        pod["status"]["podIP"]
            .as_str()
            .expect("an address")
            .to_owned()
    }

    /// Cuts all replicas off from a server.
    fn cut_off(&self, server: &str) -> Vec<Cut> {
        let cut = |pod: &String| Cut::new(server, &self.address(pod));
        self.pods().iter().map(cut).collect()
    }

    /// Does this, and waits until each replica has counted more than before.
    fn until_each_counts<T>(&self, metric: &str, does: impl FnOnce() -> T) -> T {
        let pods = self.pods();
        let counts = |pod: &String| self.metric(pod, metric);
        let before: Vec<_> = pods.iter().map(counts).collect();
        let done = does();
        self.until(&format!("each counts {metric}"), || {
            let now = pods.iter().map(counts);
            now.zip(&before).all(|(now, before)| now > *before)
        });
        done
    }

    fn metric(&self, pod: &str, metric: &str) -> u64 {
        let own = self.own.name();
        let path = format!("/api/v1/namespaces/{own}/pods/{pod}:{OPS}/proxy/metrics");
        let text = self.own.run(&["get", "--raw", &path]).success();
        let value = text.lines().find_map(|line| line.strip_prefix(metric));
        value.map_or(0, |value| value.trim().parse().expect("a number"))
    }

    /// How many days a replica's clock is ahead, by its last line in the log.
    fn days_ahead(&self, pod: &str) -> Option<i64> {
        let line = self.own.run(&["logs", pod, "--tail=1"]).success();
        let line: Value = serde_json::from_str(&line).ok()?;
        let time: Timestamp = line["timestamp"].as_str()?.parse().ok()?;
        let ahead = time.as_second() - Timestamp::now().as_second();
        // A line is some seconds old.
        Some((ahead + 3600).div_euclid(86_400))
    }

    /// The files of the configuration, which the kubelet brings to each replica.
    fn read(&self, file: &str) -> String {
        let files = self.own.get("configmap", "faults-surepull");
        files["data"][file].as_str().expect("a file").to_owned()
    }

    fn write(&self, file: &str, text: &str) {
        let change = json!({"data": {file: text}}).to_string();
        let patch = ["patch", "configmap", "faults-surepull", "-p", &change];
        self.own.run(&patch).success();
    }

    /// Ends the program of a replica without a word, and waits until the kubelet has started it again.
    fn kill(&self, pod: &str) {
        let container = |pod: Value| pod["status"]["containerStatuses"][0].clone();
        let killed = container(self.own.get("pod", pod));
        let id = killed["containerID"].as_str().expect("an id");
        let process = process_of(id.trim_start_matches("containerd://"));
        let done = Command::new("kill").args(["-KILL", &process]).status();
        assert!(done.expect("kill runs").success());
        self.until("it has been started again", || {
            let now = container(self.own.get("pod", pod));
            now["containerID"] != killed["containerID"] && now["ready"] == true
        });
        self.until_ready();
    }
}

/// The process of a container.
fn process_of(container: &str) -> String {
    let processes = fs::read_dir("/proc").expect("processes").flatten();
    let mut found = processes.filter(|process| {
        let groups = fs::read_to_string(process.path().join("cgroup")).unwrap_or_default();
        groups.contains(container)
    });
    let process = found.next().expect("a process of the container");
    process.file_name().into_string().expect("a number")
}
