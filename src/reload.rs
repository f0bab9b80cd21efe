//! Files that are read again when they change.
//!
//! They are polled and compared by content: a notification about a file misses how Kubernetes updates a mounted Secret
//! or `ConfigMap`, by swapping a symlink above it. What is read takes effect only if the files were the same before and
//! after, so that it never is half of one version and half of the next.

mod metrics;
mod snapshot;

pub use metrics::Metrics;
pub use snapshot::Snapshot;

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::bail;

use metrics::Tally;

/// How long changed files have to be still before they are read: who writes a file empties it first.
const STILL: Duration = Duration::from_millis(250);
/// How often files that do not keep still are read before the next check has to do.
const ATTEMPTS: usize = 5;

/// What is made of files.
pub trait Reload {
    /// What reading comes to, before it is in effect.
    type Fresh;
    /// What logs and metrics call it.
    const WHAT: &'static str;

    /// Reads: which files that took, also where it failed, and what it came to.
    fn read(&self) -> (Vec<PathBuf>, anyhow::Result<Self::Fresh>);

    /// Puts into effect what was read; says what is different now.
    fn apply(&mut self, fresh: Self::Fresh) -> String;
}

/// Something that is made of files, with what these held when they were last read.
#[derive(Debug)]
pub struct Watched<R> {
    what: R,
    seen: Snapshot,
    /// Whether they were of use when they were last read.
    good: bool,
    tally: Tally,
}

impl<R: Reload> Watched<R> {
    /// Reads the files for the first time.
    pub fn begin(mut what: R, metrics: &Metrics) -> anyhow::Result<Self> {
        let (files, _) = what.read();
        let Some((seen, outcome)) = read_still(&what, Snapshot::of(files)) else {
            bail!("the files of the {} change while they are read", R::WHAT);
        };
        what.apply(outcome?);
        let tally = metrics.of(R::WHAT);
        let good = true;
        Ok(Self {
            what,
            seen,
            good,
            tally,
        })
    }

    /// Reads the files again if they have changed, or if somebody `asked` for it and they were of no use. Where they are
    /// of no use, all stays as it was, and that is said once. Blocks.
    pub fn check(&mut self, asked: bool) {
        let now = self.seen.again();
        if now == self.seen && (self.good || !asked) {
            return;
        }
        thread::sleep(STILL);
        let Some((seen, outcome)) = read_still(&self.what, now) else {
            tracing::debug!(what = R::WHAT, "its files change while they are read");
            return;
        };
        self.seen = seen;
        self.good = outcome.is_ok();
        match outcome {
            Ok(fresh) => {
                let changed = self.what.apply(fresh);
                self.tally.succeeded();
                tracing::info!(what = R::WHAT, changed, "reloaded");
            }
            Err(error) => {
                self.tally.failed();
                let error = format!("{error:#}");
                tracing::warn!(
                    what = R::WHAT,
                    error,
                    "its files are of no use: what was read before stays in effect"
                );
            }
        }
    }
}

/// Reads until the files are as they were before; `None` where that does not come to pass.
fn read_still<R: Reload>(
    what: &R,
    mut before: Snapshot,
) -> Option<(Snapshot, anyhow::Result<R::Fresh>)> {
    for _ in 0..ATTEMPTS {
        let (files, outcome) = what.read();
        let after = Snapshot::of(files);
        if after == before {
            return Some((after, outcome));
        }
        before = after;
        thread::sleep(STILL);
    }
    None
}

#[cfg(test)]
mod tests;
