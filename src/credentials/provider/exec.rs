//! Running a credential provider: a request on its stdin, an answer on its stdout, exit status 0.

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, waitpgid};
use secrecy::zeroize::Zeroizing;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::config::Settings;

/// How long an answer may be; the longest tokens of clouds have a few KiB.
const ANSWER_LIMIT: usize = 256 << 10;

/// How often, and how many times, it is tried to take notice of the end of what was killed.
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

/// Runs the provider once. When this is dropped before its end, the provider is killed with all that it has started.
pub(super) async fn run(
    binary: &Path,
    settings: &Settings,
    request: Vec<u8>,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let variables = settings.env.iter();
    let mut running = Command::new(binary)
        .args(&settings.args)
        .envs(variables.map(|variable| (&variable.name, &variable.value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map(Running)
        .map_err(Failure::Start)?;
    let (stdin, stdout) = (running.0.stdin.take(), running.0.stdout.take());
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
    let status = running.0.wait().await.map_err(Failure::Read)?;
    if status.success() {
        Ok(answer)
    } else {
        Err(Failure::Exit(status))
    }
}

/// A process that is the first of a group of its own.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // While it has not been waited for its number is nobody else's.
        let number = self.0.id().and_then(|id| i32::try_from(id).ok());
        let Some(group) = number.and_then(Pid::from_raw) else {
            return;
        };
        let _ = kill_process_group(group, Signal::KILL);
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(reap(group));
        }
    }
}

/// Takes notice of the end of all processes of a group. Those that the provider started become surepull's where it is the
/// first process of a container, and then would stay as zombies.
async fn reap(group: Pid) {
    for _ in 0..REAP_ATTEMPTS {
        match waitpgid(group, WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => sleep(REAP_INTERVAL).await,
            Err(_) => return,
        }
    }
}
