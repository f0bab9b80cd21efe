//! A real control plane on loopback: etcd, kube-apiserver with RBAC, and on request the controller-manager, the
//! scheduler and a fake node (kwok). All of it ends when it is dropped.

mod kubectl;
mod pki;
mod process;
mod registration;

pub use kubectl::{Kubectl, Output};
pub use pki::Pki;
pub use process::Process;
pub use registration::{LABEL, Registration, Rule, access};

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The program of the API server.
const SERVER: &str = "kube-apiserver";

/// How often a start is tried again where another process took a port in between.
const ATTEMPTS: usize = 5;

/// The label of the node that is kwok's.
const FAKE: &str = "kwok.x-k8s.io/fake";

/// A running control plane.
pub struct Cluster {
    // Fields are dropped in this order: clients first.
    clients: Vec<Process>,
    server: Mutex<Process>,
    etcd: Process,
    url: String,
    /// How the API server is started.
    arguments: Vec<String>,
    pki: Pki,
    folder: TempDir,
}

impl Cluster {
    /// Starts etcd and the API server, with further flags for the latter.
    pub fn start(flags: &[&str]) -> Self {
        Self::start_at("127.0.0.1", flags)
    }

    /// The same on another address, in the network namespace that this process is in.
    pub fn start_at(address: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let pki = Pki::new(folder.path().join("pki"));
        let names = [
            "localhost",
            "kubernetes.default.svc",
            "127.0.0.1",
            "10.96.0.1",
            address,
        ];
        pki.sign("apiserver", "kube-apiserver", None, &names);
        pki.sign("admin", "admin", Some("system:masters"), &[]);
        let (etcd, etcd_url) = etcd(folder.path());
        let mut log = String::new();
        let started = (0..ATTEMPTS).find_map(|_| {
            let url = format!("https://{}", free_port(address));
            let arguments = api_server(&pki, &url, &etcd_url, flags);
            let mut server = Process::start(folder.path(), SERVER, &arguments);
            pki.kubeconfig(&folder.path().join("kubeconfig"), &url, "admin");
            let kubectl = Kubectl::new(folder.path());
            let is_up = server.serves(|| kubectl.succeeds(&["get", "--raw=/readyz"]));
            log = server.log();
            is_up.then_some((server, url, arguments))
        });
        let (server, url, arguments) =
            started.unwrap_or_else(|| panic!("kube-apiserver ended:\n{log}"));
        Self {
            clients: Vec::new(),
            server: server.into(),
            etcd,
            url,
            arguments,
            pki,
            folder,
        }
    }

    /// Adds the controller-manager.
    #[must_use]
    pub fn with_controllers(mut self) -> Self {
        let pki = &self.pki;
        let arguments = [
            "--use-service-account-credentials".to_owned(),
            format!(
                "--service-account-private-key-file={}",
                pki.path("accounts.key")
            ),
            format!("--root-ca-file={}", pki.path("ca.crt")),
        ];
        self.add_component("kube-controller-manager", &arguments);
        self
    }

    /// Adds the scheduler.
    #[must_use]
    pub fn with_scheduler(mut self) -> Self {
        self.add_component("kube-scheduler", &[]);
        self
    }

    /// Adds a node that only says it runs its Pods: kwok's.
    #[must_use]
    pub fn with_fake_node(mut self) -> Self {
        let stages = self.folder().join("stages.yaml");
        fs::write(&stages, include_str!("stages.yaml")).expect("a file");
        let arguments = [
            format!("--kubeconfig={}", self.kubeconfig().display()),
            format!("--config={}", stages.display()),
            format!("--manage-nodes-with-label-selector={FAKE}"),
            "--node-lease-duration-seconds=40".to_owned(),
        ];
        let process = Process::start(self.folder(), "kwok", arguments);
        self.clients.push(process);
        let capacity = serde_json::json!({"cpu": "32", "memory": "64Gi", "pods": "1000"});
        let node = serde_json::json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "fake", "labels": {FAKE: ""}},
            "status": {"capacity": capacity, "allocatable": capacity},
        });
        self.kubectl().apply(&node).success();
        self.kubectl()
            .run(&[
                "wait",
                "--for=condition=Ready",
                "node/fake",
                "--timeout=120s",
            ])
            .success();
        self
    }

    fn add_component(&mut self, name: &str, arguments: &[String]) {
        let kubeconfig = self.user(name, &format!("system:{name}"), None);
        // Port 0 is none: nobody asks these for anything.
        let common = [
            format!("--kubeconfig={}", kubeconfig.display()),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
        ];
        let process = Process::start(self.folder(), name, common.iter().chain(arguments));
        self.clients.push(process);
    }

    /// A kubeconfig for a user with a certificate.
    pub fn user(&self, file: &str, user: &str, group: Option<&str>) -> PathBuf {
        self.pki.sign(file, user, group, &[]);
        let path = self.folder().join(format!("{file}.kubeconfig"));
        self.pki.kubeconfig(&path, &self.url, file);
        path
    }

    /// The kubeconfig of the cluster's administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder().join("kubeconfig")
    }

    /// The API server's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The certificate authority and its files.
    pub fn pki(&self) -> &Pki {
        &self.pki
    }

    /// The folder of everything.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `kubectl` as the administrator.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(self.folder())
    }

    /// Makes a namespace with labels, and waits until Pods can be created there.
    pub fn namespace(&self, name: &str, labels: &[(&str, &str)]) -> Kubectl {
        let labels: serde_json::Map<_, _> = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).into()))
            .collect();
        let namespace = serde_json::json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels},
        });
        self.kubectl().apply(&namespace).success();
        let kubectl = self.kubectl().namespace(name);
        if !self.has_controllers() {
            let account = serde_json::json!({
                "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"},
            });
            kubectl.apply(&account).success();
        }
        kubectl.wait_for(&["get", "serviceaccount", "default"]);
        kubectl
    }

    fn has_controllers(&self) -> bool {
        !self.clients.is_empty()
    }

    /// What the API server logged last, for a test that fails.
    pub fn log(&self) -> String {
        self.server().log()
    }

    /// The process ids of etcd and the API server, for their memory and CPU time.
    pub fn ids(&self) -> [u32; 2] {
        [self.etcd.id(), self.server().id()]
    }

    /// Ends the API server at once, and starts it again, on a thread of this runtime: it ends with the one that starts it.
    pub fn restart(&self, runtime: &Runtime) {
        let mut server = self.server();
        server.kill();
        let (folder, arguments) = (self.folder().to_owned(), self.arguments.clone());
        let start = async move { Process::start(&folder, SERVER, arguments) };
        *server = runtime.block_on(runtime.spawn(start)).expect("a start");
        let kubectl = self.kubectl();
        let is_up = server.serves(|| kubectl.succeeds(&["get", "--raw=/readyz"]));
        assert!(is_up, "kube-apiserver ended:\n{}", server.log());
    }

    fn server(&self) -> MutexGuard<'_, Process> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn etcd(folder: &Path) -> (Process, String) {
    let mut log = String::new();
    let started = (0..ATTEMPTS).find_map(|attempt| {
        let [client, peer] = [(); 2].map(|()| format!("http://{}", free_port("127.0.0.1")));
        let arguments = [
            format!(
                "--data-dir={}",
                folder.join(format!("etcd{attempt}")).display()
            ),
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
        ];
        let mut process = Process::start(folder, "etcd", arguments);
        let address = client.trim_start_matches("http://").to_owned();
        let serves = process.serves(|| std::net::TcpStream::connect(&address).is_ok());
        log = process.log();
        serves.then_some((process, client))
    });
    started.unwrap_or_else(|| panic!("etcd ended:\n{log}"))
}

fn api_server(pki: &Pki, url: &str, etcd: &str, flags: &[&str]) -> Vec<String> {
    let address: SocketAddr = url
        .trim_start_matches("https://")
        .parse()
        .expect("an address");
    let (ip, port) = (address.ip(), address.port());
    let file = |flag: &str, file: &str| format!("--{flag}={}", pki.path(file));
    let mut arguments = vec![
        format!("--etcd-servers={etcd}"),
        format!("--bind-address={ip}"),
        format!("--secure-port={port}"),
        file("tls-cert-file", "apiserver.crt"),
        file("tls-private-key-file", "apiserver.key"),
        file("client-ca-file", "ca.crt"),
        file("service-account-signing-key-file", "accounts.key"),
        file("service-account-key-file", "accounts.pub"),
        file("kubelet-client-certificate", "admin.crt"),
        file("kubelet-client-key", "admin.key"),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        "--enable-aggregator-routing".to_owned(),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--allow-privileged".to_owned(),
    ];
    arguments.extend(flags.iter().map(ToString::to_string));
    arguments
}

/// An address whose port is free now.
fn free_port(address: &str) -> SocketAddr {
    let listener = TcpListener::bind((address, 0)).expect("a port");
    listener.local_addr().expect("an address")
}
