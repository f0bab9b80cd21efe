//! What becomes of the image of a slot.

use crate::image::{Reference, is_loopback};
use crate::workload::{Reach, Slot};

use super::Skip;

/// The decision about one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision<'r> {
    /// It stays: the user did not touch it, or it is the user's own choice.
    Leave,
    /// It is what surepull once pinned, sent again as it was written: it gets the stored text back.
    Carry(&'r str),
    /// The registry is asked which digest it has.
    Ask {
        /// The image as written.
        image: Reference<'r>,
        /// Whether an answer of some minutes ago is too old.
        fresh: bool,
        /// What it becomes if there is no answer; else it stays.
        fallback: Option<&'r str>,
    },
}

/// What is stored of a slot.
#[derive(Clone, Copy)]
pub(super) struct Stored<'r> {
    /// The stored text.
    pub(super) image: &'r str,
    /// The text that surepull made it from, if it did.
    pub(super) written: Option<&'r str>,
    /// The user asked for a restart of what is running, which resolves recorded slots anew.
    pub(super) restarted: bool,
}

/// Decides about one image. `policy` is the pull policy that the slot will have.
pub(super) fn decide<'r>(
    slot: &'r Slot<'_>,
    stored: Option<Stored<'r>>,
    reach: Reach,
    policy: &str,
    skip: Option<&Skip>,
) -> Decision<'r> {
    let image = &*slot.image;
    let ask = |image, fresh, fallback| {
        let image = skip.and_then(|skip| eligible(image, policy, skip))?;
        Some(Decision::Ask {
            image,
            fresh,
            fallback,
        })
    };
    let Some(stored) = stored else {
        return if reach == Reach::None {
            None
        } else {
            ask(image, false, None)
        }
        .unwrap_or(Decision::Leave);
    };
    let mine = reach == Reach::Changed || reach == Reach::All;
    let sent_again = stored.written == Some(image);
    if image == stored.image || sent_again {
        let anew = stored.written.filter(|_| stored.restarted && mine);
        let stay = if sent_again {
            Decision::Carry(stored.image)
        } else {
            Decision::Leave
        };
        return anew
            .and_then(|written| ask(written, true, Some(stored.image)))
            .unwrap_or(stay);
    }
    mine.then(|| ask(image, true, None))
        .flatten()
        .unwrap_or(Decision::Leave)
}

/// The longest host with a port: DNS has no longer names, so no image can be pulled from there.
const LONGEST_HOST: usize = 253 + ":65535".len();

/// The image, if it is one to be pinned.
fn eligible<'r>(image: &'r str, policy: &str, skip: &Skip) -> Option<Reference<'r>> {
    if skip.never && policy == "Never" {
        return None;
    }
    let image = Reference::parse(image)
        .ok()
        .filter(|image| image.digest().is_none())?;
    let host = image.domain();
    // `a_b.c/d` has no host at all.
    let unreachable = host.is_empty() || host.len() > LONGEST_HOST;
    let skipped = unreachable
        || (skip.loopback && is_loopback(host))
        || skip.registries.iter().any(|skipped| skipped == host);
    (!skipped).then_some(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_possible_host_is_not_asked_for() {
        let is_eligible = |image: &str| eligible(image, "", &Skip::default()).is_some();
        let label = format!("{}.", "a".repeat(62));
        let host = format!("{}b:65535", label.repeat(4));
        assert_eq!(host.len(), 253 + 6);
        assert!(is_eligible(&format!("{host}/app:1")));
        assert!(!is_eligible(&format!("a{host}/app:1")));
        assert!(!is_eligible("a_b.c/d:1"));
    }
}
