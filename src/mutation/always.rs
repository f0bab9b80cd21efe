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

/// How many violations are told one by one.
const TOLD: usize = 100;
/// How much of a name or a policy is repeated: all of one that the API server takes.
const CHARACTERS: usize = 253;

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
    let name = name.map_or("Unknown", |name| beginning(name));
    let mut offenders = slots(&review.object).filter(is_checked).filter_map(|slot| {
        slot.policy
            .get()
            .filter(|policy| *policy != "Always")
            .map(|policy| (slot, policy))
    });
    let mut violations: Vec<String> = offenders
        .by_ref()
        .take(TOLD)
        .map(|(slot, policy)| {
            let (list, index, field) = (slot.kind.list().unwrap_or_default(), slot.index, slot.kind.policy().replace('/', "."));
            let policy = beginning(policy);
            format!(
                "pods {name:?} is forbidden: spec.{list}[{index}].{field}: Unsupported value: {policy:?}: supported values: \"Always\""
            )
        })
        .collect();
    let more = offenders.count();
    if more > 0 {
        violations.push(format!("and {more} more"));
    }
    violations
}

/// The text, cut where it is longer than anything sensible.
fn beginning(text: &str) -> &str {
    text.char_indices()
        .nth(CHARACTERS)
        .map_or(text, |(end, _)| &text[..end])
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

#[cfg(test)]
mod tests {
    use serde::de::DeserializeSeed;
    use serde_json::json;

    use super::*;
    use crate::workload::{Kinds, Survey};

    #[test]
    fn what_is_said_is_bounded() {
        let policy = "N".repeat(1000);
        let containers = vec![json!({"image": "app", "imagePullPolicy": policy}); 150];
        let object =
            json!({"metadata": {"name": "x".repeat(100_000)}, "spec": {"containers": containers}});
        let kinds = Kinds::default();
        let workload = kinds.find("", "Pod").unwrap();
        let review = Review {
            class: workload.class,
            operation: Operation::Create,
            subresource: "".into(),
            namespace: "ns".into(),
            object: Survey(&workload.shape)
                .deserialize(&object)
                .unwrap()
                .unwrap(),
            old: None,
        };
        let settings = Settings {
            always: Always::Pods,
            ..Settings::default()
        };
        let said = violations(&review, &settings);
        assert_eq!(said.len(), 101);
        assert_eq!(said[100], "and 50 more");
        assert!(said.iter().all(|violation| violation.len() < 700));
    }
}
