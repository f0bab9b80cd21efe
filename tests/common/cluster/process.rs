//! Processes that end when they are dropped, and when this one is killed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::super::{assets, child};

/// How long a program may take until it serves; far more than it needs.
const START_LIMIT: Duration = Duration::from_mins(3);

/// A running program with its log.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts one of the programs of `make assets`; it logs to `FOLDER/NAME.log`.
    pub fn start<S: AsRef<str>>(
        folder: &Path,
        name: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Self {
        let mut command = child::bound(assets::program(name));
        command.args(arguments.into_iter().map(|text| text.as_ref().to_owned()));
        Self::spawn(folder, name, &mut command)
    }

    /// Starts a command.
    pub fn spawn(folder: &Path, name: &str, command: &mut Command) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log).expect("a log");
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a log"))
            .stderr(file);
        let child = child::spawn(command);
        Self {
            name: name.to_owned(),
            log,
            child,
        }
    }

    /// Waits until it serves; says no if it has ended instead, as it does where another process took its port.
    pub fn serves(&mut self, serves: impl Fn() -> bool) -> bool {
        let started = Instant::now();
        while started.elapsed() < START_LIMIT {
            if self.child.try_wait().expect("a child").is_some() {
                return false;
            }
            if serves() {
                return true;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!(
            "{} does not serve; the end of its log:\n{}",
            self.name,
            self.log()
        );
    }

    /// The end of what it has logged.
    pub fn log(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(4000)..]).into_owned()
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
