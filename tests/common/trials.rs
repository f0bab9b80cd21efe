//! What test binaries that start something for all of their tests have to know before.

use libtest_mimic::{Arguments, Trial};

/// Whether the arguments choose any of these: a filter that is meant for other test binaries needs nothing started.
pub fn is_any_chosen(arguments: &Arguments, trials: &[Trial]) -> bool {
    let matches = |name: &str, filter: &String| {
        if arguments.exact {
            name == filter
        } else {
            name.contains(filter)
        }
    };
    trials.iter().map(Trial::name).any(|name| {
        arguments
            .filter
            .as_ref()
            .is_none_or(|filter| matches(name, filter))
            && !arguments.skip.iter().any(|skip| matches(name, skip))
    })
}
