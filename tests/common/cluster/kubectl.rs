//! The real `kubectl`, as a user would call it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::super::assets;

/// How often a condition is looked at, with a tenth of a second in between: more than two minutes.
const LOOKS: usize = 1200;

/// `kubectl` with a kubeconfig, and a namespace.
#[derive(Clone, Debug)]
pub struct Kubectl {
    folder: PathBuf,
    namespace: String,
}

/// What a call of `kubectl` did.
#[derive(Debug)]
pub struct Output {
    pub ok: bool,
    pub stdout: String,
    pub stderr: String,
    command: String,
}

impl Output {
    /// It succeeded; its stdout.
    pub fn success(self) -> String {
        assert!(self.ok, "{}: {}", self.command, self.stderr);
        self.stdout
    }

    /// It was refused; its stderr.
    pub fn refused(self) -> String {
        assert!(!self.ok, "{}: not refused: {}", self.command, self.stdout);
        self.stderr
    }

    /// Its stdout as JSON.
    pub fn json(self) -> Value {
        serde_json::from_str(&self.success()).expect("JSON")
    }
}

impl Kubectl {
    /// As the administrator of the cluster in this folder.
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            namespace: "default".to_owned(),
        }
    }

    /// In a namespace.
    #[must_use]
    pub fn namespace(mut self, name: &str) -> Self {
        name.clone_into(&mut self.namespace);
        self
    }

    /// The namespace's name.
    pub fn name(&self) -> &str {
        &self.namespace
    }

    /// Runs it.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, "")
    }

    /// Runs it with something to read.
    pub fn run_with(&self, arguments: &[&str], stdin: &str) -> Output {
        let mut kubectl = Command::new(assets::program("kubectl"));
        let kubectl = kubectl.args(["--namespace", &self.namespace]);
        let command = format!("kubectl {}", arguments.join(" "));
        self.complete(kubectl.args(arguments), stdin, &command)
    }

    /// Runs something that calls `kubectl`, to its end, in the cluster's folder.
    fn complete(&self, program: &mut Command, stdin: &str, command: &str) -> Output {
        let mut child = program
            .env("KUBECONFIG", self.folder.join("kubeconfig"))
            .env("KUBECACHEDIR", self.folder.join("kubectl"))
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        let mut pipe = child.stdin.take().expect("its stdin");
        // It may end without having read all.
        let _ = pipe.write_all(stdin.as_bytes());
        drop(pipe);
        let output = child.wait_with_output().expect("kubectl ends");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Output {
            ok: output.status.success(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
            command: command.to_owned(),
        }
    }

    /// Runs a command line in which `kubectl` is this one.
    pub fn shell(&self, command: &str) -> Output {
        let (kubectl, namespace) = (assets::program("kubectl"), &self.namespace);
        let kubectl = kubectl.display();
        let script =
            format!("kubectl() {{ '{kubectl}' --namespace '{namespace}' \"$@\"; }}\n{command}");
        let mut shell = Command::new("sh");
        self.complete(shell.args(["-ec", &script]), "", command)
    }

    /// Whether it succeeds.
    pub fn succeeds(&self, arguments: &[&str]) -> bool {
        self.run(arguments).ok
    }

    /// `kubectl apply` of an object.
    pub fn apply(&self, object: &Value) -> Output {
        self.run_with(&["apply", "-f", "-"], &object.to_string())
    }

    /// `kubectl apply --server-side` of an object.
    pub fn apply_server_side(&self, object: &Value) -> Output {
        self.run_with(&["apply", "--server-side", "-f", "-"], &object.to_string())
    }

    /// Creates an object without storing it: what would be stored.
    pub fn try_out(&self, object: &Value) -> Output {
        let arguments = ["create", "--dry-run=server", "-o", "json", "-f", "-"];
        self.run_with(&arguments, &object.to_string())
    }

    /// The object as it is stored.
    pub fn get(&self, kind: &str, name: &str) -> Value {
        self.run(&["get", kind, name, "-o", "json"]).json()
    }

    /// All objects of a kind.
    pub fn list(&self, kind: &str) -> Vec<Value> {
        let list = self.run(&["get", kind, "-o", "json"]).json();
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until it succeeds.
    pub fn wait_for(&self, arguments: &[&str]) {
        self.until(&format!("kubectl {}", arguments.join(" ")), || {
            self.succeeds(arguments).then_some(())
        });
    }

    /// Waits until there is something.
    pub fn until<T>(&self, what: &str, look: impl Fn() -> Option<T>) -> T {
        for _ in 0..LOOKS {
            if let Some(found) = look() {
                return found;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("{what}: did not come true in {}", self.namespace);
    }
}
