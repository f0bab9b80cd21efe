//! surepull before a real node: what it lets through is pulled by a kubelet with its pull secrets, and run by containerd.
//!
//! Needs root and some Debian packages (`make node-packages`); `E2E_NODE=skip` does without. The program starts itself
//! once more, in namespaces of its own, so that nothing of the node outlives it, however it ends.
#![allow(missing_docs, unreachable_pub, clippy::print_stderr)]

mod cases;
mod cgroups;
#[path = "../common/mod.rs"]
mod common;
mod image;
mod machine;
mod namespaces;
mod node;
mod world;

use std::env;
use std::process;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use world::World;

fn main() {
    let arguments = Arguments::from_args();
    if namespaces::entered() {
        run(&arguments);
    }
    if env::var_os("E2E_NODE").is_some_and(|value| value == "skip") {
        eprintln!("no test on a real node: E2E_NODE=skip");
        libtest_mimic::run(&arguments, Vec::new()).exit();
    }
    if arguments.list || !is_any_chosen(&arguments) {
        libtest_mimic::run(&arguments, trials(None)).exit();
    }
    let lacking = machine::lacking();
    if lacking.is_empty() {
        process::exit(namespaces::run_inside());
    }
    eprintln!("The tests on a real node cannot run here (E2E_NODE=skip leaves them out):");
    for lack in lacking {
        eprintln!("- {lack}");
    }
    process::exit(101);
}

/// Runs the tests, inside.
fn run(arguments: &Arguments) -> ! {
    namespaces::set_up();
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
    let trial = |(name, case): (&str, fn(&World))| {
        let world = world.map(Arc::clone);
        Trial::test(name, move || {
            case(&world.expect("a world"));
            Ok(())
        })
    };
    cases::ALL.into_iter().map(trial).collect()
}

/// A filter that is meant for other test binaries needs no node.
fn is_any_chosen(arguments: &Arguments) -> bool {
    let filter = arguments.filter.as_deref().unwrap_or_default();
    cases::ALL.iter().any(|(name, _)| name.contains(filter))
}
