//! Which pull policy a slot gets: `Always` where that is enforced, else Kubernetes' default where there is none
//! (`pkg/apis/core/v1/defaults.go`).

use crate::image::default_policy;
use crate::workload::{Reach, Slot};

/// What the policy of one slot depends on, besides the slot itself.
#[derive(Clone, Copy)]
pub(super) struct Rule {
    /// `Always` is enforced.
    pub(super) always: bool,
    /// An absent policy is filled.
    pub(super) fill: bool,
    /// Which slots may get a new policy.
    pub(super) reach: Reach,
}

/// The new policy of a slot, if it gets one. `same_image` says that the image is the one that is stored.
pub(super) fn policy(
    slot: &Slot<'_>,
    old: Option<&Slot<'_>>,
    same_image: bool,
    rule: Rule,
) -> Option<&'static str> {
    let current = slot.policy.get()?;
    let wanted = if rule.always {
        "Always"
    } else if rule.fill && current.is_empty() {
        default_policy(&slot.image).as_str()
    } else {
        return None;
    };
    let stored = old.and_then(|old| old.policy.get());
    let touched = !same_image || stored != Some(current);
    let reached = match (rule.reach, old) {
        (Reach::None, _) | (Reach::New, Some(_)) => false,
        (Reach::Changed, Some(_)) => touched,
        _ => true,
    };
    // The stored value may always be given back: it is what this configuration makes of the slot.
    (wanted != current && (reached || stored == Some(wanted))).then_some(wanted)
}
