//! An image that runs: one static program that only waits.

use std::env::consts::ARCH;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use surepull::image::Digest;

use crate::common::registry::Image;

/// The layer with the program.
pub struct Waiter {
    layer: Vec<u8>,
}

impl Waiter {
    /// Compiles the program, in a folder.
    pub fn build(folder: &Path) -> Self {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node/wait.c");
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
        let id = Digest::of(&layer);
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": {"Entrypoint": ["/wait"], "User": "65534", "Labels": {"title": title}},
            "rootfs": {"type": "layers", "diff_ids": [id.as_str()]},
        });
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
