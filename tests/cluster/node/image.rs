//! Images that run: one static program that only waits, and surepull.

use std::env::consts::ARCH;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use surepull::image::Digest;

use crate::common::registry::{Image, TestRegistry};

/// The registry that the node pulls its own images from, as they name it.
pub const HOST: &str = "registry.test";

/// The tag of surepull's image.
const TAG: &str = env!("CARGO_PKG_VERSION");

/// The name of one of the node's own images.
pub fn name(repository: &str) -> String {
    format!("{HOST}/{repository}:{TAG}")
}

/// The value by which the chart takes surepull's image.
pub fn value() -> Value {
    json!({"repository": format!("{HOST}/surepull"), "tag": TAG})
}

/// Pushes what every Pod's sandbox runs, and surepull.
pub async fn push(registry: &TestRegistry, folder: &Path) {
    let waiter = Waiter::build(folder);
    let pause = |architecture: &_| waiter.image(architecture, "pause");
    registry.push_index_of("pause", TAG, pause).await;
    push_surepull(registry, folder, TAG).await;
}

/// Pushes surepull with another tag, which is another image of the same program.
pub async fn push_surepull(registry: &TestRegistry, folder: &Path, tag: &str) {
    push_program(registry, surepull(folder, "surepull", &[]), tag, &[]).await;
}

/// Pushes surepull with this tag and a clock that jumps: by what this file of the container says.
pub async fn push_with_clock(registry: &TestRegistry, folder: &Path, tag: &str, file: &str) {
    let library = format!("/usr/lib/{ARCH}-linux-gnu/faketime/libfaketimeMT.so.1");
    let layer = surepull(folder, tag, &[&library]);
    let variables = [
        format!("LD_PRELOAD={library}"),
        format!("FAKETIME_TIMESTAMP_FILE={file}"),
        "FAKETIME_CACHE_DURATION=1".to_owned(),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
    ];
    push_program(registry, layer, tag, &variables).await;
}

async fn push_program(registry: &TestRegistry, layer: Vec<u8>, tag: &str, variables: &[String]) {
    let settings = json!({"Entrypoint": ["/surepull"], "Env": variables, "Labels": {"tag": tag}});
    let image = |architecture: &_| Image {
        layer: layer.clone(),
        config: config(architecture, &layer, &settings),
    };
    registry.push_index_of("surepull", tag, image).await;
}

/// The program of these tests with the libraries that it is linked with, and these.
fn surepull(folder: &Path, name: &str, more: &[&str]) -> Vec<u8> {
    let root = folder.join(format!("root-{name}"));
    fs::create_dir_all(&root).expect("a folder");
    let program = env!("CARGO_BIN_EXE_surepull");
    let stripped = root.join("surepull").display().to_string();
    output("strip", &["-o", &stripped, program]);
    let libraries = output("ldd", &[program]);
    let libraries = String::from_utf8(libraries).expect("text");
    // `libc.so.6 => /lib/libc.so.6 (0x…)`, and the loader by its path alone.
    let linked = libraries.split_whitespace();
    let linked = linked.filter(|word| word.starts_with('/'));
    for word in linked.chain(more.iter().copied()) {
        let copy = root.join(word.trim_start_matches('/'));
        fs::create_dir_all(copy.parent().expect("a folder")).expect("a folder");
        fs::copy(word, copy).expect("a library");
    }
    let root = root.to_str().expect("a path");
    output("tar", &["--create", "--directory", root, "."])
}

/// The configuration of an image with one layer.
fn config(architecture: &str, layer: &[u8], config: &Value) -> Value {
    json!({
        "architecture": architecture,
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(layer).as_str()]},
    })
}

/// The layer with the program.
pub struct Waiter {
    layer: Vec<u8>,
}

impl Waiter {
    /// Compiles the program, in a folder.
    pub fn build(folder: &Path) -> Self {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/node/wait.c");
        let folder = folder.to_str().expect("a path");
        let program = format!("{folder}/wait");
        output("gcc", &["-static", "-Os", "-o", &program, source]);
        let layer = output("tar", &["--create", "--directory", folder, "wait"]);
        Self { layer }
    }

    /// The image for an architecture; the program is only in the one that this machine has. Another title makes another
    /// image that does the same.
    pub fn image(&self, architecture: &str, title: &str) -> Image {
        let layer = if architecture == own_architecture() {
            self.layer.clone()
        } else {
            b"for another machine".to_vec()
        };
        let settings =
            json!({"Entrypoint": ["/wait"], "User": "65534", "Labels": {"title": title}});
        let config = config(architecture, &layer, &settings);
        Image { layer, config }
    }
}

/// As images name it.
fn own_architecture() -> &'static str {
    match ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn output(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {said}");
    output.stdout
}
