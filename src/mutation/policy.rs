//! Which pull policy a slot gets: `Always` where that is enforced, else Kubernetes' default where there is none
//! (`pkg/apis/core/v1/defaults.go`).

use crate::image::{Reference, default_policy};
use crate::workload::{Reach, Slot, SlotKind};

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

/// Whether the slot of a custom resource is what its container will be, so that a policy that is absent there is absent
/// for good. It is not where the image is yet to come, left out or a placeholder such as `{{inputs.parameters.image}}`:
/// the default depends on it. Nor is it a single container: a controller may lay it over another one that has a policy
/// (`pkg/apis/pipeline/v1/merge.go` of Tekton, `mergedTemplateDefaultsInto` in `workflow/controller/operator.go` of Argo
/// Workflows), or have its own default (`ray-operator/controllers/ray/common/pod.go` of `KubeRay`).
pub(super) fn is_settled(slot: &Slot<'_>) -> bool {
    slot.kind != SlotKind::Single && Reference::parse(&slot.image).is_ok()
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
