//! What a review costs, everything in cache: CPU time and throughput of the real binary beside a bare axum echo on the
//! same TLS stack in the same run, and the instructions of the handler alone.
//!
//! `make bench` runs it. Machines differ and are shared: read the ratios.

mod handler;
mod load;
mod servers;

use std::fs;
use std::path::Path;
use std::process::Command;

use servers::{Certificate, Child, StubRegistry};

/// Counted requests of one round, and how many rounds; the two servers take turns.
const REQUESTS: usize = 20_000;
const ROUNDS: usize = 5;
/// The difference between two runs of the handler alone is what so many reviews cost.
const REVIEWS: usize = 1_000;

const BODIES: [(&str, &str); 2] = [
    ("captured Pod", "tests/captures/002-pods-create-tag.json"),
    ("6 KB Pod", "benches/pod.json"),
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "echo", certificate, key] => servers::echo(certificate, key),
        [_, "handler", body, reviews] => handler::run(Path::new(body), reviews.parse().expect("a number")),
        _ => bench(),
    }
}

fn bench() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Certificate::new(folder.path());
    let registry = StubRegistry::start();
    let config = folder.path().join("surepull.yaml");
    fs::write(&config, registry.configuration()).expect("a configuration");
    let echo = Child::echo(&certificate);
    let surepull = Child::surepull(&certificate, &config);
    println!("{:<14}{:>8}{:>22}{:>22}{:>12}{:>12}{:>16}", "", "bytes", "CPU us a request", "CPU us of the echo", "CPU ratio", "rps ratio", "instructions");
    for (name, path) in BODIES {
        let body = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a review");
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let pair = (load::run(&surepull, &certificate, &body, REQUESTS), load::run(&echo, &certificate, &body, REQUESTS));
            // The first round warms up.
            if round > 0 {
                ours.push(pair.0);
                theirs.push(pair.1);
            }
        }
        let (ours, theirs) = (load::median(ours), load::median(theirs));
        println!(
            "{name:<14}{:>8}{:>22.1}{:>22.1}{:>12.2}{:>12.2}{:>16}",
            body.len(),
            ours.cpu_micros,
            theirs.cpu_micros,
            ours.cpu_micros / theirs.cpu_micros,
            ours.throughput / theirs.throughput,
            instructions(path),
        );
    }
}

/// Instructions of one review, by callgrind: repeatable, whatever else the machine does.
fn instructions(body: &str) -> String {
    let count = |reviews: usize| {
        let this = std::env::current_exe().expect("this program");
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(this);
        command.args(["handler", body, &reviews.to_string()]).current_dir(env!("CARGO_MANIFEST_DIR"));
        let output = command.output().expect("valgrind: apt-get install valgrind");
        let said = String::from_utf8_lossy(&output.stderr);
        let collected = said.lines().find_map(|line| line.split_once("Collected : "));
        let count = collected.unwrap_or_else(|| panic!("no instruction count in: {said}")).1;
        count.trim().parse::<usize>().expect("a count")
    };
    let (few, many) = (count(REVIEWS), count(2 * REVIEWS));
    format!("{} a review", (many - few) / REVIEWS)
}
