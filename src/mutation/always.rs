//! The semantics of the `AlwaysPullImages` plugin (`plugin/pkg/admission/alwayspullimages/admission.go`).
//!
//! Where surepull deliberately differs from the plugin:
//! - `pods/ephemeralcontainers` is handled, its new entries only; the plugin lets them escape.
//! - An update of a Pod is validated as by the plugin, but not changed: the pull policy of a stored Pod is immutable,
//!   so the plugin's change ends in a 422.
//! - Pods that surepull never touches (mirror Pods, Pods being deleted, Pods of excluded namespaces) are not validated.
//! - Pod templates can be included.
//! - A violation is denied with 403, not with 500.

use std::collections::HashSet;

use crate::workload::{Class, Object, Operation, Slot, SlotKind};

use super::{Always, Review, Settings};

/// Whether the policy of every slot of this kind of object has to be `Always`.
pub(super) fn applies(class: Class, settings: &Settings) -> bool {
    match settings.always {
        Always::None => false,
        Always::Pods => class == Class::Pod,
        Always::All => true,
    }
}

/// The slots of a Pod whose policy is not `Always` although it has to be, each as a sentence in the plugin's words.
pub fn violations(review: &Review<'_>, settings: &Settings) -> Vec<String> {
    if review.class != Class::Pod
        || !applies(review.class, settings)
        || review.scope(settings).is_err()
    {
        return Vec::new();
    }
    let old = review.old.as_ref();
    let update = review.operation == Operation::Update;
    let ephemeral_only = !review.subresource.is_empty();
    if update && !ephemeral_only && old.is_some_and(|old| !has_new_image(&review.object, old)) {
        return Vec::new();
    }
    let stored: HashSet<_> = old
        .into_iter()
        .flat_map(slots)
        .map(|slot| (slot.kind, slot.identity()))
        .collect();
    let is_checked = |slot: &&Slot<'_>| {
        !ephemeral_only
            || (slot.kind == SlotKind::Ephemeral && !stored.contains(&(slot.kind, slot.identity())))
    };
    let name = [&review.object.meta.name, &review.object.meta.generate_name]
        .into_iter()
        .find(|name| !name.is_empty());
    let name = name.map_or("Unknown", |name| name);
    slots(&review.object)
        .filter(is_checked)
        .filter_map(|slot| slot.policy.get().filter(|policy| *policy != "Always").map(|policy| (slot, policy)))
        .map(|(slot, policy)| {
            let (list, index, field) = (slot.kind.list(), slot.index, slot.kind.policy().replace('/', "."));
            format!(
                "pods {name:?} is forbidden: spec.{list}[{index}].{field}: Unsupported value: {policy:?}: supported values: \"Always\""
            )
        })
        .collect()
}

/// Whether a container has an image that no container of the stored Pod has. A test of sets: where an image moves
/// from one container to another, none is new. Image volumes do not count.
fn has_new_image(object: &Object<'_>, old: &Object<'_>) -> bool {
    let container = |slot: &&Slot<'_>| slot.kind != SlotKind::Volume;
    let stored: HashSet<&str> = slots(old)
        .filter(container)
        .map(|slot| &*slot.image)
        .collect();
    slots(object)
        .filter(container)
        .any(|slot| !stored.contains(&*slot.image))
}

fn slots<'o, 'a>(object: &'o Object<'a>) -> impl Iterator<Item = &'o Slot<'a>> {
    object
        .templates
        .iter()
        .flat_map(|template| &template.spec.slots)
}
