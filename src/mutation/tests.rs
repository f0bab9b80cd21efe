//! The rules for one object, as tables; `tests/vectors_mutation.rs` and `tests/property.rs` have the breadth.

mod errors;
mod updates;

use std::sync::Arc;

use serde::de::DeserializeSeed;
use serde_json::{Value, json};

use super::*;
use crate::image::Digest;
use crate::workload::{Kinds, Operation, Survey};

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

/// `text` pinned, where the registry's answer is `content`.
fn pinned(text: &str, content: &str) -> String {
    format!("{text}@{}", digest(content))
}

fn review<'v>(
    operation: Operation,
    subresource: &'v str,
    object: &'v Value,
    old: Option<&'v Value>,
) -> Review<'v> {
    let kinds = Kinds::default();
    let group = object["apiVersion"]
        .as_str()
        .and_then(|version| version.split_once('/'))
        .map_or("", |(group, _)| group);
    let workload = kinds.find(group, object["kind"].as_str().unwrap()).unwrap();
    let survey = |object| Survey(&workload.shape).deserialize(object).unwrap();
    Review {
        class: workload.class,
        operation,
        subresource: subresource.into(),
        namespace: "ns".into(),
        object: survey(object).unwrap(),
        old: old.and_then(survey),
    }
}

/// What is asked, the patch, and the warnings, where every image but those named `gone` has the digest of `content`.
fn run(
    review: &Review<'_>,
    settings: &Settings,
    content: &str,
) -> (Vec<(String, bool)>, Value, Vec<String>) {
    let Ok(draft) = draft(review, settings) else {
        return (Vec::new(), json!([]), Vec::new());
    };
    let asked = draft
        .questions()
        .iter()
        .map(|question| (question.image.text().to_owned(), question.fresh))
        .collect();
    let answer = |question: &Question<'_>| {
        if question.image.path().contains("gone") {
            Err(Failure {
                why: "manifest unknown".to_owned(),
                action: Action::Warn,
            })
        } else {
            Ok(digest(content))
        }
    };
    let digests = draft.questions().iter().map(answer).collect();
    let outcome = draft.settle(&Facts {
        digests,
        ..Facts::default()
    });
    (
        asked,
        outcome
            .patch()
            .map_or(json!([]), |patch| serde_json::from_slice(&patch).unwrap()),
        outcome.warnings,
    )
}

/// Makes an object of some kind with this image.
type Kind = fn(&str) -> Value;

fn pod(image: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": image, "imagePullPolicy": "IfNotPresent"}]}})
}

fn deployment(image: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"template": {"metadata": {}, "spec": {"containers": [{"name": "c", "image": image, "imagePullPolicy": "IfNotPresent"}]}}}})
}

fn job(image: &str) -> Value {
    let mut job = deployment(image);
    job["apiVersion"] = "batch/v1".into();
    job["kind"] = "Job".into();
    job
}

fn image(object: &mut Value) -> &mut Value {
    let pointer = if object["kind"] == "Pod" {
        "/spec/containers/0/image"
    } else {
        "/spec/template/spec/containers/0/image"
    };
    object.pointer_mut(pointer).unwrap()
}

/// The object as surepull left it when it was created.
fn stored(mut object: Value, content: &str) -> Value {
    let (_, patch, _) = run(
        &review(Operation::Create, "", &object.clone(), None),
        &Settings::default(),
        content,
    );
    ::json_patch::patch(
        &mut object,
        &serde_json::from_value::<::json_patch::Patch>(patch).unwrap(),
    )
    .unwrap();
    object
}

#[test]
fn a_created_pod_is_pinned_and_recorded() {
    let (asked, patch, warnings) = run(
        &review(Operation::Create, "", &pod("nginx:1"), None),
        &Settings::default(),
        "x",
    );
    assert_eq!(asked, [("nginx:1".to_owned(), false)]);
    let record = r#"{"/spec/containers/c":{"image":"nginx:1","digest":"D"}}"#;
    let record = record.replace('D', digest("x").as_str());
    assert_eq!(
        patch,
        json!([
            {"op": "replace", "path": "/spec/containers/0/image", "value": pinned("nginx:1", "x")},
            {"op": "add", "path": "/metadata/annotations", "value": {"surepull.dev/pinned": record}},
        ])
    );
    assert!(warnings.is_empty());
}

#[test]
fn what_is_not_pinned_is_not_asked_for() {
    let user_digest = pinned("app:1", "user");
    for image in [
        "",
        " app",
        "App:1",
        "localhost/app",
        "127.0.0.1:5000/app",
        "ko.local/app",
        user_digest.as_str(),
    ] {
        let (asked, patch, warnings) = run(
            &review(Operation::Create, "", &pod(image), None),
            &Settings::default(),
            "x",
        );
        assert_eq!(
            (asked, patch, warnings),
            (vec![], json!([]), vec![]),
            "{image}"
        );
    }
    let mut never = pod("app:1");
    never["spec"]["containers"][0]["imagePullPolicy"] = "Never".into();
    assert_eq!(
        run(
            &review(Operation::Create, "", &never, None),
            &Settings::default(),
            "x"
        )
        .0,
        []
    );
    let templates = Settings {
        pin: Pin {
            targets: Targets::Templates,
            ..Pin::default()
        },
        ..Settings::default()
    };
    assert_eq!(
        run(
            &review(Operation::Create, "", &pod("app:1"), None),
            &templates,
            "x"
        )
        .0,
        []
    );
    assert_eq!(
        run(
            &review(Operation::Create, "", &job("app:1"), None),
            &templates,
            "x"
        )
        .0
        .len(),
        1
    );
}

#[test]
fn objects_that_are_nobodys_business() {
    let controller = json!([{"kind": "Deployment", "controller": true}]);
    let cases = [
        (
            "/metadata/ownerReferences",
            controller.clone(),
            deployment("app"),
            Err(Skipped::Controlled),
        ),
        (
            "/metadata/ownerReferences",
            json!([{"kind": "X", "controller": false}]),
            deployment("app"),
            Ok(()),
        ),
        ("/metadata/ownerReferences", controller, pod("app"), Ok(())),
        (
            "/metadata/deletionTimestamp",
            json!("2026-01-01T00:00:00Z"),
            pod("app"),
            Err(Skipped::Deleting),
        ),
        (
            "/metadata/annotations",
            json!({"kubernetes.io/config.mirror": ""}),
            pod("app"),
            Err(Skipped::Mirror),
        ),
        (
            "/metadata/annotations",
            json!("text"),
            pod("app"),
            Err(Skipped::Unfit),
        ),
    ];
    for (pointer, value, mut object, expected) in cases {
        let member = pointer.strip_prefix("/metadata/").unwrap();
        object["metadata"][member] = value;
        let review = review(Operation::Create, "", &object, None);
        assert_eq!(
            review.scope(&Settings::default()).map(|_| ()),
            expected,
            "{object}"
        );
    }
    let excluded = Settings {
        excluded_namespaces: vec!["ns".into()],
        ..Settings::default()
    };
    let object = pod("app");
    assert_eq!(
        review(Operation::Create, "", &object, None).scope(&excluded),
        Err(Skipped::Namespace)
    );
    for (operation, subresource) in [
        (Operation::Update, "status"),
        (Operation::Update, "resize"),
        (Operation::Delete, ""),
        (Operation::Create, "binding"),
    ] {
        let review = review(operation, subresource, &object, None);
        assert_eq!(
            review.scope(&Settings::default()),
            Err(Skipped::OutOfScope),
            "{subresource}"
        );
    }
}

#[test]
fn audit_mode_tells_and_changes_nothing() {
    let settings = Settings {
        mode: Mode::Audit,
        always: Always::Pods,
        ..Settings::default()
    };
    let (_, patch, warnings) = run(
        &review(Operation::Create, "", &pod("app:1"), None),
        &settings,
        "x",
    );
    assert_eq!(patch, json!([]));
    let image = format!(
        "surepull would set the image of container \"c\" to {}",
        pinned("app:1", "x")
    );
    assert_eq!(
        warnings,
        [
            &*image,
            "surepull would set the pull policy of container \"c\" to Always"
        ]
    );
}

#[test]
fn a_stale_record_goes_and_a_foreign_one_stays() {
    let mut object = pod(&pinned("app:1", "user"));
    let entry = json!({"/spec/containers/c": {"image": "app:2", "digest": digest("x").as_str()}})
        .to_string();
    object["metadata"]["annotations"] = json!({PINNED: entry});
    let (_, patch, _) = run(
        &review(Operation::Create, "", &object, None),
        &Settings::default(),
        "x",
    );
    assert_eq!(
        patch,
        json!([{"op": "remove", "path": "/metadata/annotations/surepull.dev~1pinned"}])
    );
    object["metadata"]["annotations"] = json!({PINNED: "somebody else's"});
    assert_eq!(
        run(
            &review(Operation::Create, "", &object, None),
            &Settings::default(),
            "x"
        )
        .1,
        json!([])
    );
}

#[test]
fn an_element_of_an_array_is_known_by_its_name() {
    let mut kinds = Kinds::default();
    kinds
        .add(
            "x.io",
            "Set",
            [("/jobs/*/template", crate::workload::Leaf::Template)],
        )
        .unwrap();
    let workload = kinds.find("x.io", "Set").unwrap();
    let job = |name: &str, image: &str| json!({"template": {"spec": {"containers": [{"name": "c", "image": image}]}}, "name": name});
    let set = |jobs: &[Value]| json!({"metadata": {"name": "s"}, "jobs": jobs});
    let survey = |object| {
        Survey(&workload.shape)
            .deserialize(object)
            .unwrap()
            .unwrap()
    };
    let review = |operation, object, old: Option<&'static Value>| Review {
        class: workload.class,
        operation,
        subresource: "".into(),
        namespace: "ns".into(),
        object: survey(object),
        old: old.map(survey),
    };
    let created: &'static Value = Box::leak(Box::new(set(&[job("a", "a:1"), job("b/c", "b:1")])));
    let (_, patch, _) = run(
        &review(Operation::Create, created, None),
        &Settings::default(),
        "old",
    );
    let mut stored = created.clone();
    ::json_patch::patch(
        &mut stored,
        &serde_json::from_value::<::json_patch::Patch>(patch).unwrap(),
    )
    .unwrap();
    let stored: &'static Value = Box::leak(Box::new(stored));
    // Sent again with another job in front: those that were there keep what they have.
    let again: &'static Value = Box::leak(Box::new(set(&[
        job("z", "z:1"),
        job("a", "a:1"),
        job("b/c", "b:1"),
    ])));
    let (asked, patch, _) = run(
        &review(Operation::Update, again, Some(stored)),
        &Settings::default(),
        "new",
    );
    assert_eq!(asked, [("z:1".to_owned(), false)]);
    let image = |index: usize| format!("/jobs/{index}/template/spec/containers/0/image");
    let images: Vec<_> = patch
        .as_array()
        .unwrap()
        .iter()
        .filter(|edit| edit["path"].as_str().unwrap().ends_with("/image"))
        .collect();
    let expected = [
        (image(0), pinned("z:1", "new")),
        (image(1), pinned("a:1", "old")),
        (image(2), pinned("b:1", "old")),
    ];
    for (edit, (path, value)) in images.iter().zip(expected) {
        assert_eq!(
            (&edit["path"], &edit["value"]),
            (&json!(path), &json!(value))
        );
    }
    assert_eq!(images.len(), 3);
}
