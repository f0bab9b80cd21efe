//! What follows from a failed look-up.

use super::*;

/// The outcome where every look-up fails with this action.
fn failing<'r>(review: &'r Review<'r>, settings: &'r Settings, action: Action) -> Outcome<'r> {
    let draft = draft(review, settings).unwrap();
    let failure = Failure {
        why: "the registry says no".to_owned(),
        action,
    };
    let digests = vec![Err(failure); draft.questions().len()];
    draft.settle(&Facts {
        digests,
        ..Facts::default()
    })
}

const SENTENCE: &str = "container \"c\": image app:1 is not pinned: the registry says no";

fn settings(mode: Mode) -> Settings {
    Settings {
        mode,
        always: Always::Pods,
        ..Settings::default()
    }
}

#[test]
fn an_image_without_a_digest_is_allowed_warned_of_or_denied() {
    let object = pod("app:1");
    let review = review(Operation::Create, "", &object, None);
    let settings = settings(Mode::Enforce);
    let told = vec![format!("surepull: {SENTENCE}")];
    let noted = vec![("unpinned", told[0].clone())];
    for (action, warnings, denied) in [
        (Action::Allow, vec![], None),
        (Action::Warn, told.clone(), None),
        (Action::Deny, vec![], Some(told[0].clone())),
    ] {
        let outcome = failing(&review, &settings, action);
        assert_eq!(outcome.denied, denied);
        assert_eq!(outcome.warnings, warnings);
        assert_eq!(outcome.audit, noted);
        // The pull policy is set whatever becomes of the image, unless there will be no object.
        assert_eq!(outcome.patch().is_some(), denied.is_none());
    }
}

#[test]
fn in_audit_mode_a_denial_is_only_told() {
    let object = pod("app:1");
    let review = review(Operation::Create, "", &object, None);
    let settings = settings(Mode::Audit);
    let outcome = failing(&review, &settings, Action::Deny);
    let told = format!("surepull would deny: {SENTENCE}");
    let change = "surepull would set the pull policy of container \"c\" to Always".to_owned();
    assert_eq!((&outcome.denied, outcome.patch()), (&None, None));
    assert_eq!(outcome.warnings, [told.clone(), change.clone()]);
    assert_eq!(
        outcome.audit,
        [
            ("would-deny", told),
            ("would-change", change),
            ("unpinned", format!("surepull: {SENTENCE}")),
        ]
    );
}

#[test]
fn what_is_not_looked_up_is_not_denied() {
    let settings = Settings::default();
    // Stored without a digest before surepull came, or before this was configured.
    let before = deployment("app:1");
    let mut after = before.clone();
    after["spec"]["replicas"] = 3.into();
    let scaled = review(Operation::Update, "", &after, Some(&before));
    assert_eq!(
        failing(&scaled, &settings, Action::Deny),
        Outcome::default()
    );
    // A digest of the user's.
    let object = pod(&pinned("app:1", "x"));
    let created = review(Operation::Create, "", &object, None);
    assert_eq!(failing(&created, &settings, Action::Deny).denied, None);
    // Only the image that changed is in question.
    let mut anew = after.clone();
    *image(&mut anew) = "app:2".into();
    let changed = review(Operation::Update, "", &anew, Some(&before));
    assert!(failing(&changed, &settings, Action::Deny).denied.is_some());
}

#[test]
fn an_image_that_keeps_its_digest_is_never_denied() {
    let settings = Settings::default();
    let before = stored(deployment("app:1"), "old");
    let mut after = before.clone();
    after["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] =
        "now".into();
    let restarted = review(Operation::Update, "", &after, Some(&before));
    for (action, warned) in [(Action::Allow, 0), (Action::Warn, 1), (Action::Deny, 1)] {
        let outcome = failing(&restarted, &settings, action);
        assert_eq!((outcome.denied, outcome.warnings.len()), (None, warned));
    }
}

#[test]
fn a_denial_tells_of_every_image_within_bounds() {
    let container = |index| json!({"name": format!("c{index}"), "image": "app:1"});
    let many: Vec<Value> = (0..500).map(container).collect();
    let object =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {"containers": many}});
    let settings = Settings::default();
    let review = review(Operation::Create, "", &object, None);
    let denied = failing(&review, &settings, Action::Deny).denied.unwrap();
    assert!(
        denied.contains("; surepull: container \"c1\": "),
        "{denied}"
    );
    assert_eq!(denied.chars().count(), 4096);
}
