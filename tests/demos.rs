//! The demos, as `make demo` and `make demo-cluster` run them.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// One of `examples`, which cargo builds beside the tests.
fn example(name: &str) -> Command {
    let surepull = Path::new(env!("CARGO_BIN_EXE_surepull"));
    let program = surepull.with_file_name("examples").join(name);
    assert!(
        program.exists(),
        "{} is missing: `cargo build --examples` makes it",
        program.display()
    );
    Command::new(program)
}

/// A demo that is running, with the lines that it prints.
struct Demo {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Demo {
    fn start(name: &str) -> Self {
        let mut child = example(name)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a demo");
        let stdout = child.stdout.take().expect("its stdout");
        let lines = BufReader::new(stdout).lines();
        Self { child, lines }
    }

    /// What it prints until a line holds this text, that line included.
    fn until(&mut self, text: &str) -> String {
        let mut printed = String::new();
        for line in &mut self.lines {
            let line = line.expect("text");
            printed = format!("{printed}{line}\n");
            if line.contains(text) {
                return printed;
            }
        }
        panic!("it ended without {text:?}:\n{printed}");
    }

    /// Presses Ctrl-C; says whether all ended well.
    fn interrupt(&mut self) -> bool {
        if let Ok(None) = self.child.try_wait() {
            let pid = self.child.id().to_string();
            let _ = Command::new("kill").args(["-INT", &pid]).status();
        }
        self.child.wait().expect("it ends").success()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.interrupt();
    }
}

#[test]
fn reviews() {
    let Output { status, stdout, .. } = example("demo").output().expect("a demo");
    let shown = String::from_utf8(stdout).expect("text");
    assert!(status.success(), "{shown}");
    let pinned = shown
        .lines()
        .filter(|line| line.starts_with('+') && line.contains("image: "));
    // One of these is a custom resource's.
    assert!(
        pinned.clone().all(|line| line.contains("@sha256:")),
        "{shown}"
    );
    assert!(pinned.count() >= 6, "{shown}");
}

#[test]
fn cluster() {
    let mut demo = Demo::start("demo_cluster");
    let shown = demo.until("  export KUBECONFIG=");
    for title in ["# Public images only", "# Tenants with private registries"] {
        assert!(shown.contains(title), "{title}: {shown}");
    }
    assert!(
        shown.contains("+       - image: nginx:1.29@sha256:"),
        "{shown}"
    );

    // The commands that it offers, as they are printed.
    let setting = shown.lines().last().expect("a line").trim().to_owned();
    let offered = demo.until("Ctrl-C ends it.");
    let commands = offered.lines().filter(|line| line.starts_with("  kubectl"));
    let run = |command: &str| {
        let script = format!("{setting}\n{command}");
        Command::new("sh")
            .args(["-ec", &script])
            .output()
            .expect("a shell")
    };
    let mut said = String::new();
    for command in commands {
        let Output {
            status,
            stdout,
            stderr,
        } = run(command);
        let stderr = String::from_utf8_lossy(&stderr);
        assert!(status.success(), "{command}: {stderr}");
        said = format!("{said}{}{stderr}", String::from_utf8_lossy(&stdout));
    }
    assert!(said.contains("image: nginx:1.29@sha256:"), "{said}");
    assert!(said.contains("ledger:9.9 is not pinned"), "{said}");

    let kubeconfig = setting.split(['=', ' ']).nth(2).map(PathBuf::from);
    let kubeconfig = kubeconfig.expect("a kubeconfig");
    let server = run("kubectl config view -o jsonpath='{..server}'").stdout;
    let server = String::from_utf8(server).expect("text");
    let server = server.trim_start_matches("https://");
    assert!(TcpStream::connect(server).is_ok(), "{server}");
    assert!(demo.interrupt());
    assert!(!kubeconfig.exists(), "{}", kubeconfig.display());
    assert!(TcpStream::connect(server).is_err(), "{server}");
}
