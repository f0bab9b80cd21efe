//! Kubernetes' own answers about whole objects: defaults, `AlwaysPullImages`, pull secrets, updates, patches.

mod common;

use std::collections::BTreeMap;

use common::mutate::{Change, mutate, review, survey};
use common::vectors::{agree, same};
use serde::Deserialize;
use serde_json::Value;
use surepull::mutation::{Account, Always, Mode, Pin, PullSecrets, Settings, Targets, violations};
use surepull::workload::{Class, Kinds, Operation, Reach, Scope, Slot, scope};

/// Everything switched off.
fn nothing() -> Settings {
    Settings {
        mode: Mode::Enforce,
        pull_policy: false,
        always: Always::None,
        pin: Pin {
            targets: Targets::None,
            ..Pin::default()
        },
        pull_secrets: PullSecrets::None,
        extra_pull_secrets: Vec::new(),
        excluded_namespaces: Vec::new(),
    }
}

/// Where a slot and its fields are.
fn pointer(spec: &str, slot: &Slot<'_>, field: &str) -> String {
    let list = slot.kind.list().expect("a built-in kind has pod specs");
    format!("{spec}/{list}/{}/{field}", slot.index)
}

/// The pull policies of an object, by JSON pointer, the empty ones left out.
fn policies(object: &Value) -> BTreeMap<String, String> {
    let object = survey(&Kinds::default(), object).unwrap_or_default();
    let slots = object
        .templates
        .iter()
        .flat_map(|template| template.spec.slots.iter().map(|slot| (&template.at, slot)));
    slots
        .filter_map(|(at, slot)| {
            Some((
                pointer(at, slot, slot.kind.policy()),
                slot.policy.get()?.to_owned(),
            ))
        })
        .filter(|(_, policy)| !policy.is_empty())
        .collect()
}

#[derive(Deserialize)]
struct ObjectQuestion {
    obj: Value,
}

#[derive(Deserialize)]
struct Policies {
    #[serde(default)]
    policies: BTreeMap<String, String>,
}

fn defaulted(object: &Value) -> Value {
    mutate(
        &Change::create(object),
        &Settings {
            pull_policy: true,
            ..nothing()
        },
        None,
    )
    .0
}

#[test]
fn policies_are_defaulted_in_every_kind() {
    agree(
        "defaultobj",
        |question: &ObjectQuestion, answer: &Policies| {
            same(&policies(&defaulted(&question.obj)), &answer.policies)
        },
    );
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodQuestion {
    pod: Value,
    old_pod: Option<Value>,
    #[serde(default)]
    operation: Option<Operation>,
    #[serde(default)]
    subresource: String,
    resource: Option<String>,
    #[serde(default)]
    sa: Value,
}

impl PodQuestion {
    fn change(&self) -> Change<'_> {
        let operation = self.operation.unwrap_or(Operation::Create);
        Change {
            operation,
            subresource: &self.subresource,
            object: &self.pod,
            old: self.old_pod.as_ref(),
        }
    }
}

#[derive(Deserialize)]
struct AlwaysAnswer {
    handles: bool,
    #[serde(default)]
    policies: BTreeMap<String, String>,
    validate: Option<Errors>,
}

#[derive(Deserialize)]
struct Errors {
    messages: Vec<String>,
}

/// The deviations that `src/mutation/always.rs` lists, and no others: where one applies, what surepull does instead.
#[test]
fn always_is_enforced_as_by_the_plugin() {
    let settings = Settings {
        always: Always::Pods,
        ..nothing()
    };
    agree(
        "alwayspull",
        |question: &PodQuestion, answer: &AlwaysAnswer| {
            if question.pod.is_null() || question.resource.is_some() {
                // No Pod: surepull goes by the kind, and has nothing to say of what is not there.
                return Ok(());
            }
            let change = question.change();
            let (pod, patch) = mutate(&change, &settings, None);
            if !answer.handles || !change.subresource.is_empty() {
                // Here `ephemeralcontainers` is a deviation: new entries become Always, all else stays.
                let only_new = patch.iter().all(|operation| {
                    change.subresource == "ephemeralcontainers"
                        && change.operation == Operation::Update
                        && operation["value"] == "Always"
                        && operation["path"]
                            .as_str()
                            .is_some_and(|path| path.starts_with("/spec/ephemeralContainers/"))
                });
                return same(&only_new, &true);
            }
            if change.operation == Operation::Update {
                // A deviation: nothing becomes Always that is not stored as Always.
                let stored = question.old_pod.as_ref().map(policies).unwrap_or_default();
                let given = policies(&question.pod);
                let kept = policies(&pod).into_iter().all(|(place, policy)| {
                    given.get(&place) == Some(&policy)
                        || stored.values().any(|stored| *stored == policy)
                });
                same(&kept, &true)?;
            } else {
                same(&policies(&pod), &answer.policies)?;
            }
            let kinds = Kinds::default();
            let said = violations(&review(&kinds, &change).expect("there is a Pod"), &settings);
            let theirs = answer
                .validate
                .as_ref()
                .map_or(&[][..], |errors| &errors.messages);
            same(&said.as_slice(), &theirs)
        },
    );
}

fn names(list: &Value) -> Vec<String> {
    let elements = list.as_array().map(Vec::as_slice).unwrap_or_default();
    elements
        .iter()
        .map(|secret| secret["name"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SecretsAnswer {
    image_pull_secrets: Option<Vec<String>>,
    admit: Option<Value>,
}

fn with_secrets(question: &PodQuestion, how: PullSecrets) -> Vec<String> {
    let account = Account {
        pull_secrets: names(&question.sa["imagePullSecrets"]),
        ..Account::default()
    };
    let settings = Settings {
        pull_secrets: how,
        ..nothing()
    };
    names(&mutate(&question.change(), &settings, Some(&account)).0["spec"]["imagePullSecrets"])
}

#[test]
fn pull_secrets_are_filled_as_by_the_plugin() {
    agree("sa", |question: &PodQuestion, answer: &SecretsAnswer| {
        let filled = with_secrets(question, PullSecrets::Fill);
        match &answer.image_pull_secrets {
            Some(theirs) => same(&filled, theirs),
            None => Ok(()),
        }
    });
}

/// An account that enforces its mountable secrets rejects a Pod with a pull secret that is not its own: merging never
/// makes such a Pod of one that upstream admits, keeps what is there and its order, and adds nothing twice.
#[test]
fn merged_pull_secrets_are_the_accounts_own() {
    agree("sa", |question: &PodQuestion, answer: &SecretsAnswer| {
        if answer.admit.is_some() {
            return Ok(());
        }
        let before = names(&question.pod["spec"]["imagePullSecrets"]);
        let merged = with_secrets(question, PullSecrets::Merge);
        let own = names(&question.sa["imagePullSecrets"]);
        let added = merged
            .strip_prefix(&before[..])
            .ok_or_else(|| format!("{merged:?}"))?;
        let sound = added.iter().enumerate().all(|(at, name)| {
            own.contains(name)
                && !name.is_empty()
                && !before.contains(name)
                && !added[..at].contains(name)
        });
        same(&sound, &true)
    });
}

#[derive(Deserialize)]
struct UpdateQuestion {
    old: Value,
    new: Value,
    #[serde(default)]
    subresource: String,
}

#[derive(Deserialize)]
struct UpdateAnswer {
    allowed: bool,
    #[serde(default)]
    errors: Vec<FieldError>,
}

#[derive(Deserialize)]
struct FieldError {
    #[serde(rename = "type")]
    class: String,
    detail: String,
}

/// Puts back what the scope lets surepull change, so that what else was changed remains.
fn without_reached(old: &Value, new: &Value, scope: Scope) -> Value {
    let kinds = Kinds::default();
    let (before, after) = (
        survey(&kinds, old).unwrap_or_default(),
        survey(&kinds, new).unwrap_or_default(),
    );
    let mut rest = new.clone();
    for (then, now) in before.templates.iter().zip(&after.templates) {
        let stored = then.spec.by_name();
        for slot in &now.spec.slots {
            let Some(counterpart) = stored.get(&(slot.kind, slot.identity())) else {
                continue;
            };
            let fields = [
                (slot.kind.image(), scope.image(slot.kind)),
                (slot.kind.policy(), scope.policy(slot.kind)),
            ];
            for (field, _) in fields
                .into_iter()
                .filter(|(_, reach)| *reach == Reach::Changed)
            {
                let value = old.pointer(&pointer(&then.at, counterpart, field));
                let place = rest.pointer_mut(&pointer(&now.at, slot, field));
                if let (Some(place), Some(value)) = (place, value) {
                    *place = value.clone();
                }
            }
        }
    }
    rest
}

/// What the scope reaches on an update, the API server lets change: where nothing else was changed, it allows the
/// update, or objects to the new value, never to the change.
#[test]
fn what_an_update_reaches_may_change() {
    let reached = std::cell::Cell::new(0);
    agree(
        "validupdate",
        |question: &UpdateQuestion, answer: &UpdateAnswer| {
            let kinds = Kinds::default();
            let (old, new) = (defaulted(&question.old), defaulted(&question.new));
            let change = Change {
                operation: Operation::Update,
                subresource: &question.subresource,
                object: &new,
                old: Some(&old),
            };
            let class = review(&kinds, &change).map_or(Class::Pod, |review| review.class);
            let Some(scope) = scope(class, &question.subresource, Operation::Update) else {
                return Ok(());
            };
            if old == new || without_reached(&old, &new, scope) != old {
                return Ok(());
            }
            reached.set(reached.get() + 1);
            let refused = answer.errors.iter().any(|error| {
                error.class == "FieldValueForbidden" || error.detail.contains("immutable")
            });
            same(&(answer.allowed || !refused), &true)
        },
    );
    assert!(
        reached.get() > 100,
        "only {} updates change what is reached",
        reached.get()
    );
}

#[derive(Deserialize)]
struct PatchQuestion {
    doc: Value,
    patch: Value,
}

#[derive(Deserialize)]
struct PatchAnswer {
    doc: Option<Value>,
}

/// Of the operations that surepull writes, none of which replaces the whole document, the crate that the tests apply patches with is no more lenient than the API
/// server: what it makes of them, the API server makes of them too.
#[test]
fn patches_apply_as_at_the_api_server() {
    let applied = std::cell::Cell::new(0);
    agree(
        "jsonpatch",
        |question: &PatchQuestion, answer: &PatchAnswer| {
            let operations = question
                .patch
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            let written = |operation: &Value| {
                operation["path"] != ""
                    && matches!(operation["op"].as_str(), Some("add" | "replace" | "remove"))
            };
            let patch = serde_json::from_value::<json_patch::Patch>(question.patch.clone());
            let Some(patch) = patch
                .ok()
                .filter(|_| !operations.is_empty() && operations.iter().all(written))
            else {
                return Ok(());
            };
            let mut doc = question.doc.clone();
            if json_patch::patch(&mut doc, &patch).is_err() {
                return Ok(());
            }
            applied.set(applied.get() + 1);
            same(&Some(&doc), &answer.doc.as_ref())
        },
    );
    assert!(applied.get() > 100, "only {} patches apply", applied.get());
}
