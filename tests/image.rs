//! The image that `make image` built: what is in it, and that it starts on a read-only file system.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use common::child;
use common::registry::TestRegistry;
use common::review::{pod, reviewed};
use common::serve::Served;

/// The most that the layers may hold, in bytes.
const LIMIT: u64 = 15_000_000;

/// An image, unpacked.
struct Image {
    config: Value,
    root: TempDir,
}

impl Image {
    fn read() -> Self {
        let layout = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/image/oci");
        assert!(
            layout.is_dir(),
            "{} is not there: run `deploy/image.sh oci`",
            layout.display()
        );
        let json =
            |path: PathBuf| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
        let blob = |descriptor: &Value| {
            let (algorithm, digest) = descriptor["digest"]
                .as_str()
                .unwrap()
                .split_once(':')
                .unwrap();
            layout.join("blobs").join(algorithm).join(digest)
        };
        let manifest = json(blob(&json(layout.join("index.json"))["manifests"][0]));
        let root = tempfile::tempdir().unwrap();
        for layer in manifest["layers"].as_array().unwrap() {
            let mut tar = Command::new("tar");
            let tar = tar
                .arg("--extract")
                .arg("--file")
                .arg(blob(layer))
                .arg("--directory")
                .arg(root.path());
            assert!(tar.status().unwrap().success());
        }
        Self {
            config: json(blob(&manifest["config"])),
            root,
        }
    }

    /// A command for what is in the image, where the root is read-only and only `/tmp` of this machine is added.
    fn command(&self) -> Command {
        const SCRIPT: &str = "mkdir -p \"$0/$1\" && mount --rbind \"$0\" \"$0\" && mount --bind \"$1\" \"$0/$1\" &&
            mount -o remount,bind,ro \"$0\" && cd \"$0\" && shift && exec chroot \"$0\" /surepull \"$@\"";
        let mut command = child::bound("unshare");
        command
            .args(["--map-root-user", "--mount", "sh", "-c", SCRIPT])
            .arg(self.root.path())
            .arg(std::env::temp_dir());
        command
    }
}

#[test]
fn it_holds_the_program_and_nothing_else() {
    let image = Image::read();
    let config = &image.config["config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Entrypoint"], json!(["/surepull"]));
    let labels = &config["Labels"];
    assert_eq!(
        labels["org.opencontainers.image.version"],
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(labels["org.opencontainers.image.licenses"], "Apache-2.0");
    let files = ["surepull", "licenses/LICENSE", "licenses/third-party.txt"];
    let mut found = Command::new("find");
    let found = found
        .args([".", "-type", "f", "-printf", "%P\\n"])
        .current_dir(image.root.path());
    let found = String::from_utf8(found.output().unwrap().stdout).unwrap();
    assert_eq!(
        found.lines().collect::<BTreeSet<_>>(),
        BTreeSet::from(files)
    );
    let size = |file| fs::metadata(image.root.path().join(file)).unwrap().len();
    let size: u64 = files.map(size).iter().sum();
    assert!(size < LIMIT, "{size} bytes");
    let version = image.command().arg("--version").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    assert_eq!(
        version.trim(),
        concat!("surepull ", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn the_licences_of_all_packages_are_in_it() {
    let image = Image::read();
    let licences = image.root.path().join("licenses/third-party.txt");
    let licences = fs::read_to_string(licences).unwrap();
    let named: BTreeSet<_> = licences.lines().collect();
    for architecture in ["x86_64", "aarch64"] {
        let mut tree = Command::new(env!("CARGO"));
        let tree = tree
            .args([
                "tree",
                "--locked",
                "--edges",
                "normal,no-proc-macro",
                "--prefix",
                "none",
            ])
            .args(["--target", &format!("{architecture}-unknown-linux-musl")])
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        let tree = tree.output().unwrap();
        assert!(tree.status.success(), "{tree:?}");
        let packages = String::from_utf8(tree.stdout).unwrap();
        let packages: BTreeSet<_> = packages.lines().filter_map(package).collect();
        assert!(packages.len() > 100, "{packages:?}");
        let missing = packages.iter().filter(|one| !named.contains(one.as_str()));
        let missing: Vec<_> = missing.collect();
        assert!(missing.is_empty(), "{missing:?}: run `make licenses`");
    }
}

/// `NAME VERSION` of a line `NAME vVERSION …`.
fn package(line: &str) -> Option<String> {
    let mut words = line.split(' ');
    let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
    Some(format!("{name} {version}"))
}

/// Names are resolved as the kubelet's `/etc/hosts` says.
#[tokio::test(flavor = "multi_thread")]
async fn it_pins_a_pod() {
    let image = Image::read();
    let registry = TestRegistry::start();
    let digest = registry.push_index("app", "1.0").await;
    fs::create_dir(image.root.path().join("etc")).unwrap();
    fs::write(
        image.root.path().join("etc/hosts"),
        "127.0.0.1 registry.in-hosts\n",
    )
    .unwrap();
    let host = registry.host().replace("127.0.0.1", "registry.in-hosts");
    let configuration = format!(
        "apiVersion: surepull.dev/v1alpha1\nkind: Configuration\n\
         registries: [{{match: registry.test, endpoints: ['http://{host}']}}]\n"
    );
    let served = Served::start_through(image.command(), &configuration, &["--standalone"]);
    let answer = reviewed(&served, &pod(&["registry.test/app:1.0"]), None, false).await;
    let patch = BASE64_STANDARD
        .decode(answer["patch"].as_str().unwrap())
        .unwrap();
    let patch = String::from_utf8(patch).unwrap();
    assert!(patch.contains(&digest), "{patch}");
}
