//! A partition: packets between two that vanish.

use std::process::Command;

use crate::node::namespaces::ADDRESS;

/// Lets nothing through from a server of the node's network to a Pod; dropped, it does again.
pub struct Cut {
    rule: Vec<String>,
}

impl Cut {
    /// Between the server with this URL and the Pod with this address. Connections stay open, and silent.
    pub fn new(server: &str, pod: &str) -> Self {
        let (_, port) = server.rsplit_once(':').expect("a port");
        let rule = format!("from {ADDRESS} to {pod} ipproto tcp sport {port} blackhole");
        let rule = rule.split(' ').map(str::to_owned).collect();
        let cut = Self { rule };
        cut.rule("add");
        cut
    }

    fn rule(&self, action: &str) {
        let mut ip = Command::new("ip");
        ip.args(["rule", action, "priority", "100"])
            .args(&self.rule);
        let status = ip.status().expect("ip runs");
        assert!(status.success(), "{ip:?}");
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.rule("del");
    }
}
