//! Programs that do not outlive who started them.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

/// What would send a question for loopback elsewhere.
const PROXIES: [&str; 6] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
];

/// A command for a program that the kernel ends with the thread that started it: where this process is killed, no
/// destructor runs.
pub fn bound(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Starts it, without what the user's environment has for other clusters and networks.
pub fn spawn(command: &mut Command) -> Child {
    let started = apart(command).spawn();
    started.unwrap_or_else(|error| {
        panic!("{command:?} does not start: {error}; setpriv is in Debian's package util-linux")
    })
}

/// Without the proxies of the environment, without the user's preferences for kubectl, and out of reach of Ctrl-C.
pub fn apart(command: &mut Command) -> &mut Command {
    for proxy in PROXIES {
        command.env_remove(proxy);
    }
    command.env("KUBERC", "off").process_group(0)
}
