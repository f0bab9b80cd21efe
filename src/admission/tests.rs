//! What is a review, and what is not.

use serde_json::{Value, json};

use super::encode::{Answer, review};
use super::*;
use crate::workload::{Class, Operation, Text};

fn body() -> Value {
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "u-1",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "name": "p",
            "namespace": "demo",
            "operation": "CREATE",
            "userInfo": {"username": "admin"},
            "object": {
                "metadata": {"name": "p"},
                "spec": {"containers": [{"name": "c", "image": "app\u{e9}:1", "imagePullPolicy": "Always"}]},
            },
            "oldObject": null,
            "dryRun": false,
        },
    })
}

#[test]
fn a_review_is_read() {
    let text = body().to_string();
    let request = decode(text.as_bytes(), &Kinds::default()).unwrap();
    assert_eq!(request.uid, "u-1");
    let review = request.review.unwrap();
    assert_eq!(
        (review.class, review.operation, &*review.namespace),
        (Class::Pod, Operation::Create, "demo")
    );
    let template = &review.object.templates[0];
    assert_eq!((&*template.at, &*review.object.meta.name), ("/spec", "p"));
    let slot = &template.spec.slots[0];
    assert_eq!(
        (&*slot.image, &slot.policy),
        ("appé:1", &Text::Is("Always".into()))
    );
    assert!(review.old.is_none());
}

#[test]
fn the_order_of_members_does_not_matter() {
    let object = body()["request"]["object"].to_string();
    let text = format!(
        r#"{{"request":{{"object":{object},"oldObject":{object},"operation":"UPDATE","kind":{{"kind":"Pod"}},"uid":"u"}},"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}}"#
    );
    let review = decode(text.as_bytes(), &Kinds::default())
        .unwrap()
        .review
        .unwrap();
    assert_eq!(review.object.templates[0].spec.slots.len(), 1);
    assert_eq!(review.old.unwrap().templates[0].spec.slots.len(), 1);
}

#[test]
fn escapes_and_strange_values_are_read_over() {
    let mut review = body();
    review["request"]["object"]["spec"] = json!({
        "containers": [7, {"image": 5}, {"name": 1, "image": "a\"\\b"}, null, {"name": "d", "image": null, "imagePullPolicy": []}],
        "initContainers": {"image": "x"}, "volumes": [{"name": "v"}, {"name": "w", "image": {"reference": "m:1"}}],
        "imagePullSecrets": "none",
    });
    let text = review.to_string();
    let review = decode(text.as_bytes(), &Kinds::default())
        .unwrap()
        .review
        .unwrap();
    let slots: Vec<_> = review.object.templates[0]
        .spec
        .slots
        .iter()
        .map(|slot| (slot.index, &*slot.image))
        .collect();
    assert_eq!(slots, [(2, "a\"\\b"), (4, ""), (1, "m:1")]);
}

#[test]
fn objects_of_no_concern_are_allowed_unread() {
    for (kind, object) in [
        ("Service", json!({"spec": 1})),
        ("Pod", Value::Null),
        ("Pod", json!("text")),
    ] {
        let mut review = body();
        review["request"]["kind"]["kind"] = kind.into();
        review["request"]["object"] = object;
        assert!(
            decode(review.to_string().as_bytes(), &Kinds::default())
                .unwrap()
                .review
                .is_none(),
            "{kind}"
        );
    }
}

#[test]
fn what_is_no_review_is_refused_with_a_reason() {
    let without = |pointer: &str, member: &str| {
        let mut review = body();
        review
            .pointer_mut(pointer)
            .unwrap()
            .as_object_mut()
            .unwrap()
            .remove(member);
        review.to_string()
    };
    let with = |pointer: &str, value: Value| {
        let mut review = body();
        *review.pointer_mut(pointer).unwrap() = value;
        review.to_string()
    };
    let text = body().to_string();
    let twice = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    };
    let cases = [
        (String::new(), "EOF while parsing"),
        ("no JSON".to_owned(), "line 1 column"),
        ("[]".to_owned(), "expected an AdmissionReview"),
        (format!("{text} x"), "trailing characters"),
        (with("/kind", "Pod".into()), "send an AdmissionReview"),
        (
            with("/apiVersion", "admission.k8s.io/v1beta1".into()),
            "admissionReviewVersions: [v1]",
        ),
        (without("", "request"), "has no request"),
        (with("/request", Value::Null), "has no request"),
        (without("/request", "uid"), "has no uid"),
        (with("/request/uid", "".into()), "has no uid"),
        (with("/request/uid", 7.into()), "invalid type: integer"),
        (without("/request", "kind"), "has no kind"),
        (without("/request", "operation"), "has no operation"),
        (
            with("/request/operation", "PATCH".into()),
            "unknown variant `PATCH`",
        ),
        (
            twice(r#""uid":"#, r#""uid":"other","uid":"#),
            "duplicate field `uid`",
        ),
        (
            twice(r#""dryRun":"#, r#""dryRun":true,"dryRun":"#),
            "duplicate field `dryRun`",
        ),
        (
            twice(r#""request":"#, r#""request":null,"request":"#),
            "duplicate field `request`",
        ),
        (
            twice(r#""containers":"#, r#""containers":[],"containers":"#),
            "duplicate field `containers`",
        ),
        (
            twice(r#""image":"#, r#""image":"a","image":"#),
            "duplicate field `image`",
        ),
        (
            with("/request/dryRun", Value::Null).replacen("null", &"[".repeat(20_000), 1),
            "levels deep",
        ),
    ];
    for (text, reason) in cases {
        let error = decode(text.as_bytes(), &Kinds::default()).expect_err(&text);
        assert_eq!(error.status, 400);
        assert!(
            error.message.contains(reason),
            "{reason:?} is not in {:?}",
            error.message
        );
    }
    let mut bytes = text.into_bytes();
    let position = bytes.len() - 20;
    bytes[position] = 0xff;
    assert!(
        decode(&bytes, &Kinds::default())
            .unwrap_err()
            .message
            .contains("not UTF-8")
    );
}

#[test]
fn answers_are_reviews() {
    let answer =
        |answer: &Answer| serde_json::from_slice::<Value>(&review("u\"1", answer)).unwrap();
    let response = |response: Value| json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    assert_eq!(
        answer(&Answer::default()),
        response(json!({"uid": "u\"1", "allowed": true}))
    );
    let status = json!({"status": "Failure", "message": "no", "reason": "Forbidden", "code": 403});
    let denied = response(json!({"uid": "u\"1", "allowed": false, "status": status}));
    assert_eq!(answer(&Answer::denied("no".into())), denied);
    let outcome = Outcome {
        denied: None,
        edits: vec![crate::mutation::Edit {
            spec: "",
            field: crate::mutation::Field::Annotation,
            change: crate::mutation::Change::Remove,
        }],
        mode: Mode::Enforce,
        warnings: vec!["careful".into()],
        audit: vec![("pinned", "x".into())],
    };
    let patch = "W3sib3AiOiJyZW1vdmUiLCJwYXRoIjoiL21ldGFkYXRhL2Fubm90YXRpb25zL3N1cmVwdWxsLmRldn4xcGlubmVkIn1d";
    let changed = json!({
        "uid": "u\"1", "allowed": true, "patchType": "JSONPatch", "patch": patch,
        "warnings": ["careful"], "auditAnnotations": {"pinned": "x"},
    });
    assert_eq!(answer(&Answer::of(outcome)), response(changed));
}

#[test]
fn some_of_the_api_servers_time_is_kept_back() {
    let cases = [
        (10_000, 9_000),
        (30_000, 27_000),
        (2_000, 1_700),
        (1_000, 700),
        (100, 0),
    ];
    for (budget, working) in cases {
        assert_eq!(
            working_time(Duration::from_millis(budget)),
            Duration::from_millis(working),
            "{budget}"
        );
    }
}

proptest::proptest! {
    /// Whatever is sent is a review or refused with a status, and what is a review can be decided about.
    #[test]
    fn no_bytes_are_too_strange(
        changes in proptest::collection::vec((0_usize..4000, proptest::prelude::any::<u8>()), 0..6),
        end in 0_usize..4000,
    ) {
        let mut bytes = include_bytes!("../../tests/captures/042-pods-ephemeralcontainers-update-eph.json").to_vec();
        for (position, byte) in changes {
            let position = position % bytes.len();
            bytes[position] = byte;
        }
        if end % 3 == 0 {
            bytes.truncate(end);
        }
        match decode(&bytes, &Kinds::default()) {
            Err(refused) => assert_eq!(refused.status, 400),
            Ok(request) => {
                let settings = crate::mutation::Settings::default();
                if let Some(review) = &request.review && let Ok(draft) = crate::mutation::draft(review, &settings) {
                    draft.settle(&crate::mutation::Facts::default());
                }
            }
        }
    }
}
