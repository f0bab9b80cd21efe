//! Namespaces of the node's own: processes, mounts, networks and addresses in them are gone with the program that runs
//! as their first process, also when it is killed.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::cgroups;

/// The one address besides the loopback's: of a network that is for documentation (RFC 5737), and inside only.
pub const ADDRESS: &str = "192.0.2.1";

/// Where everything is written: a file system in memory.
const SCRATCH: &str = "/run";

/// Tells the program inside that it is.
const INSIDE: &str = "SUREPULL_TEST_NODE";

/// What the kubelet would set for the whole machine (`setupKernelTunables` in its container manager).
const SYSCTLS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// Whether this program is inside.
pub fn entered() -> bool {
    // The variable alone could be a mistake, and what is done inside is not for anybody's machine.
    env::var_os(INSIDE).is_some() && std::process::id() == 1
}

/// Whether namespaces can be made; if not, why.
pub fn probe() -> Result<(), String> {
    let output = unshare().arg("true").output();
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// Runs this program inside, with the same arguments; gives its exit code.
pub fn run_inside() -> i32 {
    let status = unshare()
        .arg(env::current_exe().expect("this program"))
        .args(env::args_os().skip(1))
        .env(INSIDE, "inside")
        .env("TMPDIR", SCRATCH)
        .status();
    cgroups::remove_empty();
    status.expect("unshare runs").code().unwrap_or(101)
}

/// A command in new namespaces. When this process ends, it ends too, and so do all in there.
fn unshare() -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--", "unshare"])
        .args(["--net", "--mount", "--pid", "--mount-proc"])
        .args(["--fork", "--kill-child", "--"])
        .stdin(Stdio::null());
    command
}

/// Makes the namespaces a machine: with an address, and with folders to write to that nobody else sees.
pub fn set_up() {
    run("ip", "link set lo up");
    run("ip", &format!("address add {ADDRESS}/24 dev lo"));
    // Something has to be the default route for Pods to be given one.
    run("ip", &format!("route add default via {ADDRESS} dev lo"));
    run("mount", &format!("-t tmpfs tmpfs {SCRATCH}"));
    // The kubelet and network plugins write below /var, whatever they are told.
    for folder in ["var", "work", "sysctl"] {
        fs::create_dir(Path::new(SCRATCH).join(folder)).expect("a folder");
    }
    let layers = format!("lowerdir=/var,upperdir={SCRATCH}/var,workdir={SCRATCH}/work");
    run("mount", &format!("-t overlay -o {layers} overlay /var"));
    for (key, value) in SYSCTLS {
        let file = format!("{SCRATCH}/sysctl/{}", key.replace('/', "."));
        fs::write(&file, value).expect("a file");
        run("mount", &format!("--bind {file} /proc/sys/{key}"));
    }
}

fn run(program: &str, arguments: &str) {
    let output = Command::new(program)
        .args(arguments.split(' '))
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {said}");
}
