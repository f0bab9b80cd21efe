//! Whether Pods run: whether this process is in a network of its own, with a node.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::OnceLock;

use serde_json::{Value, json};

static PODS: OnceLock<Pods> = OnceLock::new();

/// What Pods need in order to run.
pub struct Pods {
    /// Where servers of tests listen, so that Pods reach them.
    pub address: IpAddr,
    /// Values of the chart: the image, and the node.
    pub values: Value,
}

impl Pods {
    /// From here on there are Pods that run.
    pub fn are_here(self) {
        assert!(PODS.set(self).is_ok(), "once");
    }

    /// Values of the chart, where no kube-proxy leads to the API server's Service.
    pub fn values(&self, api_server: &str) -> Value {
        let address = api_server.trim_start_matches("https://");
        let (host, port) = address.rsplit_once(':').expect("an address");
        let mut values = self.values.clone();
        values["env"] = json!([
            {"name": "KUBERNETES_SERVICE_HOST", "value": host},
            {"name": "KUBERNETES_SERVICE_PORT", "value": port},
        ]);
        values
    }
}

/// What Pods need, if they run.
pub fn pods() -> Option<&'static Pods> {
    PODS.get()
}

/// Where servers of tests listen: on loopback, or where Pods reach them.
pub fn host() -> IpAddr {
    pods().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |pods| pods.address)
}

/// A listener there, with its address.
pub fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((host(), 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}
