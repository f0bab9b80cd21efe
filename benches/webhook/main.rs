//! What a review costs, everything in cache: CPU time and throughput of the real binary beside a bare axum echo on the
//! same TLS stack in the same run, and the instructions of the handler alone.
//!
//! `make bench` runs it, with surepull's default configuration: images are pinned, `always` is off. Machines differ and
//! are shared: read the ratios.
#![allow(clippy::print_stdout, reason = "it prints a table")]

#[path = "../../tests/common/mod.rs"]
mod common;
mod handler;
mod load;
mod servers;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use common::serve::Served;
use servers::{Echo, StubRegistry};

/// Counted requests of one round, and how many rounds; the two servers take turns.
const REQUESTS: u32 = 20_000;
const ROUNDS: usize = 5;
/// The difference between two runs of the handler alone is what so many reviews cost.
const REVIEWS: usize = 1_000;

const BODIES: [(&str, &str); 2] = [
    ("captured Pod", "tests/captures/002-pods-create-tag.json"),
    ("6 KB Pod", "benches/webhook/pod.json"),
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "echo", certificate, key] => servers::echo(certificate, key),
        [_, "handler", body, reviews] => handler::run(body, reviews.parse().expect("a number")),
        _ => bench(),
    }
}

fn bench() {
    let registry = StubRegistry::start();
    let surepull = Served::start(&registry.configuration());
    let echo = Echo::start(&surepull.authority);
    // The servers on one processor; the load is on another.
    for pid in [surepull.pid(), echo.pid()] {
        let mut taskset = Command::new("taskset");
        taskset
            .args(["-a", "-c", "-p", "1", &pid.to_string()])
            .stdout(Stdio::null());
        assert!(
            taskset
                .status()
                .expect("taskset: apt-get install util-linux")
                .success()
        );
    }
    for (name, path) in BODIES {
        let body = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let cost = |server| load::run(server, &body, REQUESTS);
            let pair = (
                cost((surepull.addr, surepull.pid())),
                cost((echo.address, echo.pid())),
            );
            // The first round warms up.
            if round > 0 {
                ours.push(pair.0);
                theirs.push(pair.1);
            }
        }
        let bytes = fs::metadata(&body).expect("a review").len();
        report(name, bytes, load::median(ours), load::median(theirs));
        println!(
            "  instructions of the handler a review: {}",
            instructions(path)
        );
    }
}

fn report(name: &str, bytes: u64, ours: load::Cost, theirs: load::Cost) {
    println!(
        "{name}, {bytes} bytes; surepull beside a bare axum echo, medians of {ROUNDS} rounds of {REQUESTS} requests"
    );
    let rows = [
        ("CPU time a request, us", ours.cpu_micros, theirs.cpu_micros),
        (
            "requests a second, one processor",
            ours.throughput,
            theirs.throughput,
        ),
    ];
    for (what, ours, theirs) in rows {
        println!(
            "  {what}: {ours:.1} beside {theirs:.1}, {:.2} times",
            ours / theirs
        );
    }
}

/// Instructions of one review, by callgrind: repeatable, whatever else the machine does.
fn instructions(body: &str) -> usize {
    let count = |reviews: usize| {
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        command.arg(std::env::current_exe().expect("this program"));
        command.args(["handler", body, &reviews.to_string()]);
        let output = command
            .output()
            .expect("valgrind: apt-get install valgrind");
        let said = String::from_utf8_lossy(&output.stderr);
        let collected = said
            .lines()
            .find_map(|line| line.split_once("Collected : "));
        let count = collected
            .unwrap_or_else(|| panic!("no instruction count in: {said}"))
            .1;
        count.trim().parse::<usize>().expect("a count")
    };
    (count(2 * REVIEWS) - count(REVIEWS)) / REVIEWS
}
