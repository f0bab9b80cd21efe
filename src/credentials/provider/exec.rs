//! Running a credential provider: a request on its stdin, an answer on its stdout, exit status 0.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process_group, waitid, waitpgid,
};
use secrecy::zeroize::Zeroizing;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::config::Settings;

/// How long an answer may be; the longest tokens of clouds have a few KiB.
const ANSWER_LIMIT: usize = 256 << 10;

/// How often, and how many times, it is tried to take notice of the end of what was killed with the provider.
const REAP_INTERVAL: Duration = Duration::from_millis(100);
const REAP_ATTEMPTS: usize = 100;

/// Why a run came to nothing; never with what the provider wrote, which may hold secrets.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("it cannot be run: {0}")]
    Start(io::Error),
    #[error("its answer cannot be read: {0}")]
    Read(io::Error),
    #[error("its answer is longer than {ANSWER_LIMIT} bytes")]
    TooLong,
    #[error(
        "it ended with {0}; run it by hand with the same request to see why: what it says on stderr is not logged, as that may hold secrets"
    )]
    Exit(ExitStatus),
}

/// Runs the provider once. However this ends, also by being dropped, all that the provider has started ends with it.
pub(super) async fn run(
    binary: &Path,
    settings: &Settings,
    request: Vec<u8>,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let variables = settings.env.iter();
    // From before there is a process, so that no end is missed.
    let mut ends = signal(SignalKind::child()).map_err(Failure::Start)?;
    let mut child = Command::new(binary)
        .args(&settings.args)
        .envs(variables.map(|variable| (&variable.name, &variable.value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(Failure::Start)?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let running = Running(Some(child));
    let write = async {
        if let Some(mut stdin) = stdin {
            // One that does not read its request may still know the answer.
            let _ = stdin.write_all(&request).await;
        }
    };
    // All of it at once, so that no part is left behind where it has grown; memory that is not written to costs nothing.
    let mut answer = Zeroizing::new(Vec::with_capacity(ANSWER_LIMIT + 64));
    let read = async {
        match stdout {
            Some(stdout) => {
                let mut stdout = stdout.take(ANSWER_LIMIT as u64 + 1);
                stdout.read_to_end(&mut answer).await.map_err(Failure::Read)
            }
            None => Ok(0),
        }
    };
    let ((), length) = tokio::join!(write, read);
    if length? > ANSWER_LIMIT {
        return Err(Failure::TooLong);
    }
    let status = loop {
        match running.status().map_err(Failure::Read)? {
            Some(status) => break status,
            None => ends.recv().await,
        };
    };
    if status.success() {
        Ok(answer)
    } else {
        Err(Failure::Exit(status))
    }
}

/// A process that is the first of a group of its own. It is not waited for before this is dropped: until then neither its
/// number nor that of the group, which is the same, is anybody else's.
struct Running(Option<Child>);

impl Running {
    fn group(&self) -> Option<Pid> {
        let number = self.0.as_ref()?.id()?;
        Pid::from_raw(i32::try_from(number).ok()?)
    }

    /// How it has ended, if it has.
    fn status(&self) -> io::Result<Option<ExitStatus>> {
        let process = self.group().ok_or(io::ErrorKind::NotFound)?;
        let peek = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(process), peek)?;
        Ok(status.map(|status| {
            let raw = match status.exit_status() {
                Some(code) => code << 8,
                None => status.terminating_signal().unwrap_or_default(),
            };
            ExitStatus::from_raw(raw)
        }))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(group) = self.group() else {
            return;
        };
        let _ = kill_process_group(group, Signal::KILL);
        if let (Some(child), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(reap(child, group));
        }
    }
}

/// Takes notice of the end of all processes of a group that has been killed. Those that the provider started become
/// surepull's where it is the first process of a container, and then would stay as zombies.
async fn reap(mut first: Child, group: Pid) {
    let _ = first.wait().await;
    for _ in 0..REAP_ATTEMPTS {
        match waitpgid(group, WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => sleep(REAP_INTERVAL).await,
            Err(_) => return,
        }
    }
}
