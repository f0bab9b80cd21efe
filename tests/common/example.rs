//! The folders of `examples`, each set up as its README says, but on loopback.

mod readme;
mod running;

pub use readme::{Step, steps};
pub use running::Running;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::cluster::Cluster;
use super::registry::TestRegistry;

/// A folder of `examples`, and what its manifests want to be there.
#[derive(Debug)]
pub struct Example {
    pub name: &'static str,
    /// What its README adds to `helm install`, in the folder of all examples.
    pub helm: &'static [&'static str],
    registries: &'static [Host],
}

/// A registry: its host in image names, the one user whom it knows (none: it is public), and repositories with tags.
#[derive(Debug)]
struct Host(
    &'static str,
    Option<&'static str>,
    &'static [(&'static str, &'static str)],
);

/// All of them, from the simplest on.
pub const EXAMPLES: [Example; 4] = [
    Example {
        name: "public-images-only",
        helm: &[],
        registries: &[Host(
            "docker.io",
            None,
            &[("library/nginx", "1.29"), ("library/busybox", "latest")],
        )],
    },
    Example {
        name: "private-images-for-all",
        helm: &[
            "--set-file",
            "configFiles.docker-config\\.json=private-images-for-all/docker-config.json",
        ],
        registries: &[
            Host(
                "registry.example.com",
                Some("everybody"),
                &[("shop", "1.0"), ("report", "1.0")],
            ),
            Host("partner.example.com", Some("reports"), &[("feed", "1.0")]),
        ],
    },
    Example {
        name: "private-images-stricter",
        helm: &[],
        registries: &[
            Host(
                "registry.example.com",
                Some("everybody"),
                &[("intranet", "1.0")],
            ),
            Host("vault.example.com", Some("finance"), &[("ledger", "1.0")]),
        ],
    },
    Example {
        name: "multi-tenant",
        helm: &[],
        registries: &[
            Host(
                "acme.example.com",
                Some("acme"),
                &[("api", "1.0"), ("api", "2.0")],
            ),
            Host("globex.example.com", Some("globex"), &[("site", "1.0")]),
        ],
    },
];

/// The folder of them all.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// The objects in a file of that folder.
pub fn objects(file: impl AsRef<Path>) -> Vec<Value> {
    let path = folder().join(file);
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

// === impl Example ===

impl Example {
    /// The example in the folder of this name.
    pub fn named(name: &str) -> &'static Self {
        let mut examples = EXAMPLES.iter();
        examples
            .find(|example| example.name == name)
            .expect("an example")
    }

    /// Its README.
    pub fn readme(&self) -> String {
        fs::read_to_string(folder().join(self.name).join("README.md")).expect("a README")
    }

    /// The commands of its README.
    pub fn steps(&self) -> Vec<Step> {
        readme::steps(&self.readme())
    }

    /// The namespaces of its manifests.
    fn namespaces(&self) -> BTreeSet<String> {
        let files = fs::read_dir(folder().join(self.name)).expect("a folder");
        files
            .map(|file| file.expect("a file").path())
            .filter(|file| {
                file.extension()
                    .is_some_and(|extension| extension == "yaml")
            })
            .flat_map(objects)
            .filter_map(|object| Some(object["metadata"]["namespace"].as_str()?.to_owned()))
            .collect()
    }

    /// The values of the chart, with the registries that stand in for those of the manifests.
    fn values(&self, registries: &[(&str, TestRegistry)]) -> Value {
        let path = folder().join(self.name).join("values.yaml");
        let text = fs::read_to_string(path).expect("values");
        let mut values: Value = serde_saphyr::from_str(&text).expect("YAML");
        let entry = |(host, registry): &(&str, TestRegistry)| json!({"match": host, "endpoints": [registry.endpoint()]});
        values["config"]["registries"] = registries.iter().map(entry).collect();
        values
    }

    /// Starts its registries, and installs surepull as its README says, with further arguments for `helm template`, for
    /// the namespaces of the manifests.
    pub async fn start(&'static self, cluster: &Cluster, helm: &[&str]) -> Running {
        let mut registries = Vec::new();
        for Host(host, user, images) in self.registries {
            let registry = user.map_or_else(TestRegistry::start, TestRegistry::with_user);
            for (repository, tag) in *images {
                registry.push_index(repository, tag).await;
            }
            registries.push((*host, registry));
        }
        Running::start(self, registries, cluster, helm)
    }
}
