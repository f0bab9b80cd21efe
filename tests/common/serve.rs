//! A served surepull: the real binary on free ports, of loopback as a rule, ended with its test.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Lines};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use bytes::Bytes;
use http::{Method, StatusCode};
use rustls::version::{TLS12, TLS13};
use tempfile::TempDir;

use super::child;
use super::client::{Answer, Authority, Client};

/// A running `surepull serve`; dropped, it is gone.
#[derive(Debug)]
pub struct Served {
    /// Where reviews are taken.
    pub addr: SocketAddr,
    /// Where probes and metrics are.
    pub ops: SocketAddr,
    /// A client that trusts it.
    pub client: Client,
    /// Who signed its certificate.
    pub authority: Authority,
    folder: TempDir,
    child: Child,
}

/// Runs the binary to its end: whether it succeeded, and what it said.
pub fn run(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(binary()).args(arguments).output();
    let output = output.expect("surepull runs");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// The binary that was built with this program: Cargo names it to tests and benchmarks, an example is its neighbour.
fn binary() -> PathBuf {
    option_env!("CARGO_BIN_EXE_surepull").map_or_else(
        || {
            let example = std::env::current_exe().expect("this program");
            example
                .ancestors()
                .nth(2)
                .expect("a target folder")
                .join("surepull")
        },
        PathBuf::from,
    )
}

impl Served {
    /// Starts the binary without a cluster, with a configuration; an empty text means the defaults.
    pub fn start(configuration: &str) -> Self {
        Self::start_with(configuration, &[])
    }

    /// Starts the binary with further arguments, without a cluster.
    pub fn start_with(configuration: &str, arguments: &[&str]) -> Self {
        Self::start_bare(configuration, &[&["--standalone"], arguments].concat())
    }

    /// Starts the binary with access to a cluster.
    pub fn start_in(kubeconfig: &Path, configuration: &str) -> Self {
        let kubeconfig = kubeconfig.to_str().expect("a path");
        Self::start_bare(configuration, &["--kubeconfig", kubeconfig])
    }

    /// The same, logging all that it can.
    pub fn start_tracing_in(kubeconfig: &Path, configuration: &str) -> Self {
        let kubeconfig = kubeconfig.to_str().expect("a path");
        Self::start_tracing(configuration, &["--kubeconfig", kubeconfig])
    }

    /// Starts the binary with exactly these further arguments, logging all that it can.
    pub fn start_tracing(configuration: &str, arguments: &[&str]) -> Self {
        let (folder, authority) = Self::files(configuration, Authority::new);
        let mut command = Command::new(binary());
        command.env("SUREPULL_LOG", "trace");
        Self::launch_by(command, folder, authority, arguments)
    }

    /// Starts what this command starts, as if it were the binary, with exactly these further arguments.
    pub fn start_through(command: Command, configuration: &str, arguments: &[&str]) -> Self {
        let (folder, authority) = Self::files(configuration, Authority::new);
        Self::launch_by(command, folder, authority, arguments)
    }

    /// Starts the binary with exactly these further arguments.
    pub fn start_bare(configuration: &str, arguments: &[&str]) -> Self {
        let (folder, authority) = Self::files(configuration, Authority::new);
        Self::launch(folder, authority, arguments)
    }

    /// Starts the binary as one more replica: with access to a cluster, and a certificate of the same authority.
    pub fn start_beside(authority: &Authority, kubeconfig: &Path, configuration: &str) -> Self {
        let kubeconfig = kubeconfig.to_str().expect("a path");
        let (folder, authority) = Self::files(configuration, |folder| authority.sibling(folder));
        let arguments = [
            "--kubeconfig",
            kubeconfig,
            "--reload-interval",
            "100ms",
            "--drain",
            "1s",
        ];
        Self::launch(folder, authority, &arguments)
    }

    /// Starts the binary on another address, with a certificate for it and for this name.
    pub fn start_at(address: &str, name: &str, configuration: &str, arguments: &[&str]) -> Self {
        let authority = |folder: &Path| Authority::of(folder, address, &[name]);
        let (folder, authority) = Self::files(configuration, authority);
        Self::launch(folder, authority, arguments)
    }

    /// Starts the binary without a cluster, with these variables in its environment.
    pub fn start_with_env(configuration: &str, variables: &[(&str, &str)]) -> Self {
        let (folder, authority) = Self::files(configuration, Authority::new);
        // Those of this process are taken away when it starts.
        let mut command = child::bound("env");
        let variables = variables.iter();
        command.args(variables.map(|(name, value)| format!("{name}={value}")));
        command.arg(binary());
        Self::launch_by(command, folder, authority, &["--standalone"])
    }

    fn files(
        configuration: &str,
        authority: impl FnOnce(&Path) -> Authority,
    ) -> (TempDir, Authority) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("surepull.yaml");
        fs::write(&file, configuration).expect("the configuration is written");
        let authority = authority(folder.path());
        (folder, authority)
    }

    /// Starts the binary on what is in a folder: `surepull.yaml`, and the files of the authority.
    pub fn launch(folder: TempDir, authority: Authority, arguments: &[&str]) -> Self {
        Self::launch_by(child::bound(binary()), folder, authority, arguments)
    }

    fn launch_by(
        mut command: Command,
        folder: TempDir,
        authority: Authority,
        arguments: &[&str],
    ) -> Self {
        let log = File::create(folder.path().join("log")).expect("a log");
        command
            .arg("serve")
            .args(["--listen", &format!("{}:0", authority.address)])
            .args(["--ops-listen", "127.0.0.1:0"])
            .arg("--config")
            .arg(folder.path().join("surepull.yaml"));
        if !arguments.contains(&"--tls-self") {
            let (certificate, key) = (&authority.certificate, &authority.key);
            command.arg("--tls-cert").arg(certificate);
            command.arg("--tls-key").arg(key);
        }
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = child::spawn(&mut command);
        let stdout = child.stdout.take().expect("its stdout");
        let mut lines = BufReader::new(stdout).lines();
        let addresses = (
            address(&mut lines, "listening on https://"),
            address(&mut lines, "ops on http://"),
        );
        let (Some(addr), Some(ops)) = addresses else {
            let _ = child.kill();
            let _ = child.wait();
            let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            panic!("surepull did not say where it listens; its log:\n{log}");
        };
        let client = Client::new(authority.trust(&[&TLS13, &TLS12]));
        Self {
            addr,
            ops,
            client,
            authority,
            folder,
            child,
        }
    }

    /// Sends a JSON body: status and answer.
    pub async fn post(&self, path: &str, body: impl Into<Bytes>) -> (StatusCode, Bytes) {
        let Answer { status, body, .. } =
            self.client.json(Method::POST, &self.url(path), body).await;
        (status, body)
    }

    /// A URL of the webhook.
    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.addr)
    }

    /// What the plain listener says.
    pub async fn ops(&self, path: &str) -> Answer {
        self.client.get(&format!("http://{}{path}", self.ops)).await
    }

    /// The value of a metric, named with its labels as `/metrics` writes them; none where there is no such line.
    pub async fn metric(&self, name: &str) -> Option<u64> {
        let text = self.ops("/metrics").await.text();
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    }

    /// The folder with its files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The process, for its CPU time or a signal.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop, as the kubelet does.
    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Ends it at once.
    pub fn kill(&self) {
        self.signal("-KILL");
    }

    /// Asks it to look at its files at once.
    pub fn hang_up(&self) {
        self.signal("-HUP");
    }

    fn signal(&self, signal: &str) {
        let done = Command::new("kill")
            .args([signal, &self.pid().to_string()])
            .status();
        assert!(done.expect("kill runs").success());
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("it ends")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("log of surepull serve:\n{}", self.log());
        }
    }
}

fn address(lines: &mut Lines<BufReader<ChildStdout>>, before: &str) -> Option<SocketAddr> {
    let line = lines.next()?.ok()?;
    line.strip_prefix(before)?.parse().ok()
}
