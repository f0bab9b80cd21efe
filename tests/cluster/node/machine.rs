//! What a machine needs so that a node can run on it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use super::{cgroups, namespaces};

/// What is missing here, each with the remedy; nothing where all is there.
pub fn lacking() -> Vec<String> {
    if !is_root() {
        return vec![
            "this is not root, or only root of a user namespace: run `make node-packages` and the tests as root".to_owned(),
        ];
    }
    let packages = missing_packages();
    if !packages.is_empty() {
        return vec![format!(
            "Debian packages are missing ({packages}): run `make node-packages`"
        )];
    }
    let machine = "run them on a machine, or in a container that is privileged";
    let namespaces = namespaces::probe().map_err(|why| format!("no namespaces: {why}: {machine}"));
    let cgroups = cgroups::probe().map_err(|why| format!("no cgroups: {why}: {machine}"));
    [namespaces, cgroups]
        .into_iter()
        .filter_map(Result::err)
        .collect()
}

/// Whether this is root, and the namespace of users is the machine's.
fn is_root() -> bool {
    let users = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let all = ["0", "0", "4294967295"];
    users.split_whitespace().eq(all)
        && fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn missing_packages() -> String {
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/cluster/node/packages.sh"
    );
    let output = Command::new(script).output().expect("packages.sh runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
