//! Objects as JSON trees through the mutation room, with given facts.

use std::sync::Arc;

use serde::de::DeserializeSeed;
use serde_json::Value;
use surepull::image::Digest;
use surepull::mutation::{Account, Facts, Failure, Question, Review, Settings, draft};
use surepull::workload::{Kinds, Object, Operation, Survey};

/// What is done to an object.
pub(crate) struct Change<'v> {
    pub(crate) operation: Operation,
    pub(crate) subresource: &'v str,
    pub(crate) object: &'v Value,
    pub(crate) old: Option<&'v Value>,
}

impl<'v> Change<'v> {
    pub(crate) fn create(object: &'v Value) -> Self {
        Self {
            operation: Operation::Create,
            subresource: "",
            object,
            old: None,
        }
    }

    pub(crate) fn update(old: &'v Value, object: &'v Value) -> Self {
        Self {
            operation: Operation::Update,
            subresource: "",
            object,
            old: Some(old),
        }
    }
}

/// Group and kind of an object; a Pod where it has none.
fn group_kind(object: &Value) -> (&str, &str) {
    let version = object["apiVersion"].as_str().unwrap_or("v1");
    (
        version.split_once('/').map_or("", |(group, _)| group),
        object["kind"].as_str().unwrap_or("Pod"),
    )
}

pub(crate) fn survey<'v>(kinds: &Kinds, object: &'v Value) -> Option<Object<'v>> {
    let (group, kind) = group_kind(object);
    let shape = &kinds.find(group, kind).expect("the kind is known").shape;
    Survey(shape)
        .deserialize(object)
        .expect("a tree has no repeated keys")
}

/// The review of a change; none where there is no object.
pub(crate) fn review<'v>(kinds: &Kinds, change: &Change<'v>) -> Option<Review<'v>> {
    let (group, kind) = group_kind(change.object);
    Some(Review {
        class: kinds.find(group, kind).expect("the kind is known").class,
        operation: change.operation,
        subresource: change.subresource.into(),
        namespace: "ns".into(),
        object: survey(kinds, change.object)?,
        old: change.old.and_then(|old| survey(kinds, old)),
    })
}

/// The object after surepull, and the patch that made it; `look_up` stands for the registries. Of the Secrets those hold an
/// entry for an image of the Pod whose names have an `r`.
pub(crate) fn mutate_with(
    kinds: &Kinds,
    change: &Change<'_>,
    settings: &Settings,
    account: Option<&Account>,
    look_up: impl Fn(&Question<'_>) -> Result<Digest, Failure>,
) -> (Value, Vec<Value>) {
    let Some(review) = review(kinds, change) else {
        return (change.object.clone(), Vec::new());
    };
    let Ok(draft) = draft(&review, settings) else {
        return (change.object.clone(), Vec::new());
    };
    let digests = draft.questions().iter().map(look_up).collect();
    let account = draft.account().and(account).cloned().map(Arc::new);
    let conditional = account
        .as_deref()
        .map(|account| draft.conditional_pull_secrets(account));
    let names = conditional
        .iter()
        .flatten()
        .map(|secret| secret.name.to_owned());
    let matching = names.filter(|name| name.contains('r')).collect();
    let outcome = draft.settle(&Facts {
        digests,
        account,
        matching,
        ..Facts::default()
    });
    apply(
        change.object,
        &outcome.patch().unwrap_or_else(|| b"[]".to_vec()),
    )
}

/// As [`mutate_with`] for built-in kinds, where every image has the digest of its text.
pub(crate) fn mutate(
    change: &Change<'_>,
    settings: &Settings,
    account: Option<&Account>,
) -> (Value, Vec<Value>) {
    mutate_with(&Kinds::default(), change, settings, account, |question| {
        Ok(Digest::of(question.image.text().as_bytes()))
    })
}

fn apply(object: &Value, patch: &[u8]) -> (Value, Vec<Value>) {
    let patch: Value = serde_json::from_slice(patch).expect("the patch is JSON");
    let operations: json_patch::Patch =
        serde_json::from_value(patch.clone()).expect("the patch is a JSON patch");
    let mut object = object.clone();
    json_patch::patch(&mut object, &operations)
        .expect("the patch applies to what it was made from");
    (object, patch.as_array().cloned().unwrap_or_default())
}
