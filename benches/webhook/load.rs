//! Load on a server, and what it costs the server.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

#[derive(Clone, Copy)]
pub(crate) struct Cost {
    /// CPU time of the server a request, in microseconds.
    pub(crate) cpu_micros: f64,
    /// Requests a second.
    pub(crate) throughput: f64,
}

/// Posts the file so many times over 16 kept connections to a server, which is its address and process.
pub(crate) fn run(server: (SocketAddr, u32), body: &Path, requests: u32) -> Cost {
    let (address, pid) = server;
    let before = cpu_nanos(pid);
    let mut h2load = Command::new("taskset");
    h2load.args([
        "-c",
        "0",
        "h2load",
        "--h1",
        "-t",
        "1",
        "-c",
        "16",
        "-n",
        &requests.to_string(),
    ]);
    h2load
        .args(["-H", "content-type: application/json", "-d"])
        .arg(body);
    h2load.arg(format!("https://{address}/mutate?timeout=10s"));
    let output = h2load
        .output()
        .expect("taskset: apt-get install util-linux");
    let nanos = cpu_nanos(pid) - before;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains(&format!("status codes: {requests} 2xx")),
        "apt-get install nghttp2-client; {said}"
    );
    let rate = said
        .split(", ")
        .find_map(|part| part.strip_suffix(" req/s"));
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    let cpu_micros = nanos as f64 / 1000.0 / f64::from(requests);
    Cost {
        cpu_micros,
        throughput: rate.expect("a rate").parse().expect("a number"),
    }
}

pub(crate) fn median(mut costs: Vec<Cost>) -> Cost {
    let middle = costs.len() / 2;
    costs.sort_by(|a, b| a.cpu_micros.total_cmp(&b.cpu_micros));
    let cpu_micros = costs[middle].cpu_micros;
    costs.sort_by(|a, b| a.throughput.total_cmp(&b.throughput));
    Cost {
        cpu_micros,
        throughput: costs[middle].throughput,
    }
}

/// CPU time that all threads of a process have had.
fn cpu_nanos(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("a process");
    let nanos = |thread: fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    threads.flatten().filter_map(nanos).sum()
}
