//! A real Prometheus on loopback that scrapes one surepull.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::common::{assets, child};

/// How often the port that was free may be gone when Prometheus wants it.
const ATTEMPTS: usize = 10;

/// A running Prometheus; dropped, it is gone.
pub struct Prometheus {
    child: Child,
    url: String,
    folder: tempfile::TempDir,
}

impl Prometheus {
    /// Starts one that scrapes these addresses every second, and evaluates the rules as often.
    pub fn start(targets: [SocketAddr; 2], rules: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [rules.canonicalize().unwrap()],
            "scrape_configs": [{"job_name": "surepull", "static_configs": [{"targets": targets}]}],
        });
        // JSON is YAML.
        fs::write(folder.path().join("prometheus.yml"), config.to_string()).unwrap();
        for _ in 0..ATTEMPTS {
            let free = TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap();
            let mut child = launch(folder.path(), free);
            let url = format!("http://{free}");
            while child.try_wait().unwrap().is_none() {
                if promtool(&["query", "instant", &url, "1"]).0 {
                    return Self { child, url, folder };
                }
                thread::sleep(Duration::from_millis(100));
            }
        }
        let log = fs::read_to_string(folder.path().join("log"));
        panic!("prometheus does not start: {}", log.unwrap_or_default());
    }

    /// What a query gives at this moment; none where that is nothing.
    pub fn ask(&self, query: &str) -> Option<String> {
        let (done, said) = promtool(&["query", "instant", &self.url, query]);
        assert!(done, "{query}: {said}");
        (!said.trim().is_empty()).then_some(said)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log"));
            println!("log of prometheus:\n{}", log.unwrap_or_default());
        }
    }
}

fn launch(folder: &Path, address: SocketAddr) -> Child {
    let log = fs::File::create(folder.join("log")).unwrap();
    let mut command = child::bound(assets::program("prometheus"));
    command
        .arg(format!(
            "--config.file={}",
            folder.join("prometheus.yml").display()
        ))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.join("data").display()
        ))
        .arg(format!("--web.listen-address={address}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    child::spawn(&mut command)
}

/// Runs promtool: whether it succeeded, and what it said.
pub fn promtool(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(assets::program("promtool"))
        .args(arguments)
        .output();
    let output = output.expect("promtool runs");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}
