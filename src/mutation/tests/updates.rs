//! What becomes of stored objects.

use super::*;

/// The update rules: (what was created, what is sent, what is asked and how fresh, the image that is stored then).
#[test]
fn an_update_touches_only_what_the_user_changed() {
    let old = pinned("app:1", "old");
    let cases: &[(Kind, &str, Option<&str>, &str)] = &[
        // Sent again as written: the stored digest, and no question.
        (deployment, "app:1", None, &old),
        (job, "app:1", None, &old),
        (pod, "app:1", None, &old),
        // Sent as stored.
        (deployment, &old, None, &old),
        // Another tag: resolved anew, but never for a Job, which would be refused.
        (deployment, "app:2", Some("app:2"), "app:2@NEW"),
        (pod, "app:2", Some("app:2"), "app:2@NEW"),
        (job, "app:2", None, "app:2"),
        // A digest that the user chose.
        (
            deployment,
            "app:1@sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
            None,
            "app:1@sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
        ),
        // No digest to be had: what the user wrote.
        (deployment, "gone:1", Some("gone:1"), "gone:1"),
    ];
    for (kind, sent, asks, expected) in cases {
        let before = stored(kind("app:1"), "old");
        let mut after = before.clone();
        *image(&mut after) = Value::from(*sent);
        let (asked, patch, _) = run(
            &review(Operation::Update, "", &after, Some(&before)),
            &Settings::default(),
            "new",
        );
        let asks: Vec<_> = asks
            .iter()
            .map(|image| ((*image).to_owned(), true))
            .collect();
        assert_eq!(asked, asks, "{sent}");
        let mut result = after.clone();
        ::json_patch::patch(
            &mut result,
            &serde_json::from_value::<::json_patch::Patch>(patch).unwrap(),
        )
        .unwrap();
        assert_eq!(
            *image(&mut result),
            expected.replace("NEW", digest("new").as_str()),
            "{sent}"
        );
    }
}

#[test]
fn an_untouched_slot_of_before_surepull_stays_unpinned() {
    let before = deployment("app:1");
    let mut after = before.clone();
    after["metadata"]["labels"] = json!({"touched": "yes"});
    assert_eq!(
        run(
            &review(Operation::Update, "", &after, Some(&before)),
            &Settings::default(),
            "x"
        )
        .1,
        json!([])
    );
}

#[test]
fn a_digest_that_the_user_wrote_is_theirs_to_drop() {
    let before = deployment(&pinned("app:1", "user"));
    let after = deployment("app:1");
    let (asked, ..) = run(
        &review(Operation::Update, "", &after, Some(&before)),
        &Settings::default(),
        "x",
    );
    assert_eq!(asked, [("app:1".to_owned(), true)]);
}

#[test]
fn a_restart_resolves_recorded_slots_anew() {
    let before = stored(deployment("app:1"), "old");
    let restart = |mut object: Value| {
        object["spec"]["template"]["metadata"]["annotations"] =
            json!({"kubectl.kubernetes.io/restartedAt": "now"});
        object
    };
    let after = restart(before.clone());
    let (asked, patch, _) = run(
        &review(Operation::Update, "", &after, Some(&before)),
        &Settings::default(),
        "new",
    );
    assert_eq!(asked, [("app:1".to_owned(), true)]);
    assert_eq!(patch[0]["value"], pinned("app:1", "new"));
    assert!(
        patch[1]["value"]
            .as_str()
            .unwrap()
            .contains(digest("new").as_str()),
        "the record follows: {patch}"
    );

    // A digest that the user wrote is not surepull's to change.
    let theirs = deployment(&pinned("app:1", "user"));
    let after = restart(theirs.clone());
    assert_eq!(
        run(
            &review(Operation::Update, "", &after, Some(&theirs)),
            &Settings::default(),
            "new"
        )
        .0,
        []
    );

    // No answer: the digest that runs now stays, and the user is told.
    let before = {
        let mut gone = stored(deployment("gone:1"), "old");
        let text = Value::from(pinned("gone:1", "old"));
        *image(&mut gone) = text;
        gone["metadata"]["annotations"] = json!({PINNED: json!({"/spec/template/spec/containers/c": {"image": "gone:1", "digest": digest("old").as_str()}}).to_string()});
        gone
    };
    let after = restart(before.clone());
    let (asked, patch, warnings) = run(
        &review(Operation::Update, "", &after, Some(&before)),
        &Settings::default(),
        "new",
    );
    assert_eq!((asked.len(), patch), (1, json!([])));
    assert_eq!(
        warnings,
        ["surepull: container \"c\": image gone:1 keeps the digest it has: manifest unknown"]
    );
}

#[test]
fn a_stored_policy_is_given_back_and_no_other_set() {
    let always = Settings {
        always: Always::All,
        ..Settings::default()
    };
    let with = |mut object: Value, policy: &str| {
        let pointer = if object["kind"] == "Pod" {
            "/spec/containers/0"
        } else {
            "/spec/template/spec/containers/0"
        };
        object.pointer_mut(pointer).unwrap()["imagePullPolicy"] = policy.into();
        object
    };
    let cases: &[(Kind, &str, &str, Option<&str>)] = &[
        // Sent again as written: the stored Always, on a Pod and a Job too, where another value would be a 422.
        (pod, "Always", "IfNotPresent", Some("Always")),
        (job, "Always", "IfNotPresent", Some("Always")),
        (deployment, "Always", "IfNotPresent", Some("Always")),
        // Stored before Always was enforced: a change would be a 422, or touch what the user did not.
        (pod, "IfNotPresent", "IfNotPresent", None),
        (job, "IfNotPresent", "IfNotPresent", None),
        (deployment, "IfNotPresent", "IfNotPresent", None),
        // The user changed it.
        (deployment, "IfNotPresent", "Never", Some("Always")),
        (pod, "IfNotPresent", "Never", None),
    ];
    for (kind, before, after, expected) in cases {
        let image = pinned("app:1", "user");
        let (old, new) = (with(kind(&image), before), with(kind(&image), after));
        let (_, patch, _) = run(
            &review(Operation::Update, "", &new, Some(&old)),
            &always,
            "x",
        );
        assert_eq!(
            patch[0]["value"].as_str(),
            *expected,
            "{} from {before} to {after}",
            old["kind"]
        );
    }
}

#[test]
fn of_ephemeral_containers_only_new_ones_change() {
    let always = Settings {
        always: Always::Pods,
        ..Settings::default()
    };
    let mut before = pod("app:1");
    before["spec"]["ephemeralContainers"] =
        json!([{"name": "e0", "image": "tools:1", "imagePullPolicy": "IfNotPresent"}]);
    let mut after = before.clone();
    let new = json!({"name": "e1", "image": "tools:1", "imagePullPolicy": "IfNotPresent"});
    after["spec"]["ephemeralContainers"]
        .as_array_mut()
        .unwrap()
        .push(new);
    let review = review(
        Operation::Update,
        "ephemeralcontainers",
        &after,
        Some(&before),
    );
    let (_, patch, _) = run(&review, &always, "x");
    let at = |field: &str| format!("/spec/ephemeralContainers/1/{field}");
    let expected = json!([
        {"op": "replace", "path": at("image"), "value": pinned("tools:1", "x")},
        {"op": "replace", "path": at("imagePullPolicy"), "value": "Always"},
    ]);
    assert_eq!(patch, expected);
    let said = "pods \"p\" is forbidden: spec.ephemeralContainers[1].imagePullPolicy: Unsupported value: \"IfNotPresent\": supported values: \"Always\"";
    assert_eq!(violations(&review, &always), [said]);
}

#[test]
fn pull_secrets_of_a_stored_pod_are_given_back() {
    let account = Some(Account {
        pull_secrets: vec!["b".into(), "c".into()],
        ..Account::default()
    });
    let with = |names: &[&str]| {
        let mut pod = pod(&pinned("app", "user"));
        pod["spec"]["imagePullSecrets"] = names.iter().map(|name| json!({"name": name})).collect();
        pod
    };
    let add = |name: &str| json!({"op": "add", "path": "/spec/imagePullSecrets/-", "value": {"name": name}});
    let cases: &[(&[&str], &[&str], Value)] = &[
        (&["a", "b", "c"], &["a"], json!([add("b"), add("c")])),
        (&["a", "b", "c"], &["a", "b", "c"], json!([])),
        // Not what today's configuration makes of it: the user's own change, for the API server to refuse.
        (&["a", "x"], &["a"], json!([])),
        (&["a"], &["a"], json!([])),
    ];
    for (before, after, expected) in cases {
        let (old, new) = (with(before), with(after));
        let review = review(Operation::Update, "", &new, Some(&old));
        let settings = Settings::default();
        let draft = draft(&review, &settings).unwrap();
        let account = draft.account().and(account.clone()).map(Arc::new);
        let outcome = draft.settle(&Facts {
            account,
            ..Facts::default()
        });
        let patch: Value = outcome
            .patch()
            .map_or(json!([]), |patch| serde_json::from_slice(&patch).unwrap());
        assert_eq!(patch, *expected, "{before:?} {after:?}");
    }
}
