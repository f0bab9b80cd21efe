//! A node: containerd and a kubelet, with Pods for surepull and for what it lets through.
//!
//! Needs root and some Debian packages (`make node-packages`); `E2E_NODE=skip` does without. The program starts itself
//! once more, in namespaces of its own, so that nothing of the node outlives it, however it ends.

mod cgroups;
pub mod image;
pub mod machine;
pub mod namespaces;

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::common::cluster::{Cluster, Process};
use crate::common::pods::Pods;
use crate::common::registry::TestRegistry;
use namespaces::ADDRESS;

/// The node's name.
const NAME: &str = "node";

/// Keeps Pods away that do not mean this node.
const TAINT: &str = "surepull.dev/real";

/// Where a node can run, sets up what it needs; says whether it is there.
pub fn set_up() -> bool {
    if !namespaces::entered() {
        return false;
    }
    namespaces::set_up();
    let mut values = placement();
    values["image"] = image::value();
    let address = ADDRESS.parse().expect("an address");
    Pods { address, values }.are_here();
    true
}

/// What lets a Pod, or those of the chart, run on this node.
pub fn placement() -> Value {
    json!({
        "nodeSelector": {"kubernetes.io/hostname": NAME},
        "tolerations": [{"key": TAINT, "operator": "Exists"}],
    })
}

/// Where Debian has the network plugins.
const NETWORK_PLUGINS: &str = "/usr/lib/cni";

/// A node that is Ready.
pub struct Node {
    // Dropped in this order.
    kubelet: Process,
    containerd: Process,
    folder: PathBuf,
}

impl Node {
    /// Starts it, and waits until it is Ready.
    pub fn start(cluster: &Cluster, registry: &TestRegistry) -> Self {
        let folder = cluster.folder().join("node");
        let networks = network(&folder).to_string();
        write(&folder.join("networks/10-pods.conflist"), &networks);
        let node = Self {
            containerd: containerd(&folder),
            kubelet: kubelet(&folder, cluster),
            folder,
        };
        node.pull_from(image::HOST, registry);
        node
    }

    /// Lets it pull images of this host from a registry.
    pub fn pull_from(&self, host: &str, registry: &TestRegistry) {
        let url = registry.endpoint();
        let hosts = format!("server = '{url}'\n[host.'{url}']\n");
        let file = self.folder.join(format!("hosts/{host}/hosts.toml"));
        write(&file, &hosts);
    }

    /// The ends of the logs.
    pub fn log(&self) -> String {
        let (kubelet, containerd) = (self.kubelet.log(), self.containerd.log());
        format!("containerd:\n{containerd}\nkubelet:\n{kubelet}")
    }
}

fn containerd(folder: &Path) -> Process {
    let (at, file) = (folder.display(), folder.join("containerd.toml"));
    let pause = image::name("pause");
    let configuration = format!(
        "version = 2
root = '{at}/containerd/root'
state = '{at}/containerd/state'
[grpc]
  address = '{at}/containerd.sock'
[plugins.'io.containerd.internal.v1.opt']
  path = '{at}/containerd/opt'
[plugins.'io.containerd.grpc.v1.cri']
  sandbox_image = '{pause}'
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins.'io.containerd.grpc.v1.cri'.cni]
    bin_dir = '{NETWORK_PLUGINS}'
    conf_dir = '{at}/networks'
  [plugins.'io.containerd.grpc.v1.cri'.registry]
    config_path = '{at}/hosts'
"
    );
    write(&file, &configuration);
    let mut command = Command::new("containerd");
    command.arg("--config").arg(&file);
    let mut process = Process::spawn(folder, "containerd", &mut command);
    let socket = folder.join("containerd.sock");
    let serves = process.serves(|| UnixStream::connect(&socket).is_ok());
    assert!(serves, "containerd ended:\n{}", process.log());
    process
}

fn kubelet(folder: &Path, cluster: &Cluster) -> Process {
    let user = format!("system:node:{NAME}");
    let names = [ADDRESS, NAME];
    let pki = cluster.pki();
    pki.sign("kubelet", &user, Some("system:nodes"), &names);
    let kubeconfig = folder.join("kubelet.kubeconfig");
    pki.kubeconfig(&kubeconfig, cluster.url(), "kubelet");
    let configuration = folder.join("kubelet.json");
    write(&configuration, &settings(folder, cluster).to_string());
    let at = |name: &str, path: PathBuf| format!("--{name}={}", path.display());
    let arguments = [
        at("config", configuration),
        at("kubeconfig", kubeconfig),
        at("root-dir", folder.join("kubelet")),
        at("cert-dir", folder.join("kubelet-pki")),
        format!("--hostname-override={NAME}"),
        format!("--node-ip={ADDRESS}"),
    ];
    let mut process = Process::start(folder, "kubelet", arguments);
    let kubectl = cluster.kubectl();
    let node = format!("node/{NAME}");
    let is_ready = ["wait", "--for=condition=Ready", &node, "--timeout=1s"];
    let ready = process.serves(|| kubectl.succeeds(&is_ready));
    assert!(ready, "kubelet ended:\n{}", process.log());
    process
}

/// A kubelet for a small node that shares its machine, on cgroups of either version.
fn settings(folder: &Path, cluster: &Cluster) -> Value {
    let file = |name: &str| cluster.pki().path(name);
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": ADDRESS,
        "healthzPort": 0,
        "authentication": {
            "x509": {"clientCAFile": file("ca.crt")},
            "anonymous": {"enabled": false},
            "webhook": {"enabled": false},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "tlsCertFile": file("kubelet.crt"),
        "tlsPrivateKeyFile": file("kubelet.key"),
        "containerRuntimeEndpoint": format!("unix://{}/containerd.sock", folder.display()),
        // The kubelet before 1.35: whoever may run a Pod on the node may use what is cached there. Today's default,
        // NeverVerifyPreloadedImages, refuses by itself.
        "imagePullCredentialsVerificationPolicy": "NeverVerify",
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": false,
        "enforceNodeAllocatable": [],
        "failCgroupV1": false,
        "failSwapOn": false,
        "makeIPTablesUtilChains": false,
        "localStorageCapacityIsolation": false,
        "evictionHard": {
            "memory.available": "10Mi", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%",
        },
        "imageGCHighThresholdPercent": 100,
        "serializeImagePulls": false,
        "podLogsDir": folder.join("logs"),
        "volumePluginDir": folder.join("volume-plugins"),
        // Where nobody answers, which is known at once.
        "clusterDNS": [ADDRESS],
        // Configurations are to change while somebody waits.
        "syncFrequency": "5s",
        "registerWithTaints": [{"key": TAINT, "effect": "NoSchedule"}],
        "resolvConf": "",
    })
}

/// Pods get addresses of a network that ends at the node.
fn network(folder: &Path) -> Value {
    json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [{
            "type": "ptp",
            "ipam": {
                "type": "host-local",
                "dataDir": folder.join("addresses"),
                "ranges": [[{"subnet": "10.244.0.0/24"}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }],
    })
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
}
