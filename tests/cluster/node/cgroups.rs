//! The cgroups of the node's containers: the one thing that namespaces do not take away by themselves.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;

/// Where cgroups are.
const ROOT: &str = "/sys/fs/cgroup";

/// What containerd makes for the containers of Pods, in every hierarchy.
const NAME: &str = "k8s.io";

/// Whether cgroups can be made.
pub fn probe() -> Result<(), String> {
    hierarchies().iter().try_for_each(|folder| {
        let group = folder.join(format!("surepull-{}", process::id()));
        let tried = fs::create_dir(&group).and_then(|()| fs::remove_dir(&group));
        tried.map_err(|error| format!("{}: {error}", group.display()))
    })
}

/// Removes those that have no process, as all have whose containers are gone, also after a test that was killed.
pub fn remove_empty() {
    for folder in hierarchies() {
        let _ = remove_tree(&folder.join(NAME));
    }
}

fn remove_tree(group: &Path) -> io::Result<()> {
    for inner in folders(group) {
        let _ = remove_tree(&inner);
    }
    fs::remove_dir(group)
}

/// The roots of all hierarchies: of version 2 the one, of version 1 one for each controller.
fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").exists() {
        vec![root.to_owned()]
    } else {
        folders(root)
    }
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}
