//! Exit codes.

use std::process::ExitCode;

/// What `--help` says of them.
pub(super) const HELP: &str =
    "Exit codes: 0 done; 1 done, and the answer is no (such as a file that is not valid); 2 error.";

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked.
    Done,
    /// It did what it was asked, and the answer is no.
    No,
    /// It could not do what it was asked.
    Error,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => ExitCode::SUCCESS,
            Exit::No => ExitCode::from(1),
            Exit::Error => ExitCode::from(2),
        }
    }
}
