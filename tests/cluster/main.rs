//! surepull on a real API server, by what `kubectl` reads back. One control plane serves all of these tests: it starts
//! before the first and ends after the last, also when one panics.
#![allow(missing_docs, unreachable_pub, clippy::print_stderr)]

mod certificates;
#[path = "../common/mod.rs"]
mod common;
mod controllers;
mod credentials;
mod examples;
mod failures;
mod faults;
mod lifecycle;
mod matrix;
mod node;
mod pages;
mod plugins;
mod policy;
mod presets;
mod pulls;
mod release;
mod webhooks;
mod world;

use std::env;
use std::process;
use std::sync::Arc;

use common::trials::is_any_chosen;
use libtest_mimic::{Arguments, Trial};
use node::{machine, namespaces};
use world::World;

/// How many tests run at a time, unless `--test-threads` says it: they wait more than they compute.
const AT_ONCE: usize = 4;

/// A test of a module, with its name.
type Case = (&'static str, fn(&World));
/// What a test does.
type Test = Box<dyn FnOnce(&World) + Send>;

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    if node::set_up() {
        run(&arguments);
    }
    if arguments.list || !is_any_chosen(&arguments, &trials(None)) {
        libtest_mimic::run(&arguments, trials(None)).exit();
    }
    if is_node_skipped() {
        eprintln!("surepull runs outside of the cluster, and nothing is pulled: E2E_NODE=skip");
        run(&arguments);
    }
    let lacking = machine::lacking();
    if lacking.is_empty() {
        process::exit(namespaces::run_inside());
    }
    eprintln!("A real node cannot run here (E2E_NODE=skip does without):");
    for lack in lacking {
        eprintln!("- {lack}");
    }
    process::exit(101);
}

/// Whether the user does without a real node.
fn is_node_skipped() -> bool {
    env::var_os("E2E_NODE").is_some_and(|value| value == "skip")
}

/// Runs the tests.
fn run(arguments: &Arguments) -> ! {
    let world = Arc::new(World::start());
    let conclusion = libtest_mimic::run(arguments, trials(Some(&world)));
    if conclusion.has_failed() {
        eprintln!("{}", world.report());
    }
    // Exiting runs no destructors.
    drop(world);
    conclusion.exit();
}

/// All tests; without a world they can be listed.
fn trials(world: Option<&Arc<World>>) -> Vec<Trial> {
    let in_pods = if is_node_skipped() {
        Default::default()
    } else {
        [release::tests(), pulls::tests(), faults::tests()]
    };
    let [releases, pulls, faults] = in_pods;
    let trial = |alone: bool| {
        move |(name, test): (String, Test)| {
            let world = world.map(Arc::clone);
            Trial::test(name, move || {
                world.expect("a world").lend(alone, test);
                Ok(())
            })
        }
    };
    let shared = [
        releases,
        pulls,
        // They mostly wait, while others go on.
        certificates::tests(),
        matrix::tests(),
        lifecycle::tests(),
        controllers::tests(),
        webhooks::tests(),
        failures::tests(),
        plugins::tests(),
        policy::tests(),
        presets::tests(),
        credentials::tests(),
        examples::tests(),
        pages::tests(),
    ]
    .into_iter()
    .flatten()
    .map(trial(false));
    // Last, when all others have ended.
    shared.chain(faults.into_iter().map(trial(true))).collect()
}

/// The tests of a module, by name.
fn named<const N: usize>(module: &str, tests: [Case; N]) -> Vec<(String, Test)> {
    tests
        .into_iter()
        .map(|(name, test)| -> (String, Test) { (format!("{module}::{name}"), Box::new(test)) })
        .collect()
}
