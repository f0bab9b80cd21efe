//! What follows from a failed look-up: each class of error with each action, over HTTPS, by the real binary.

mod common;

use std::fmt::Write as _;

use serde_json::{Value, json};

use common::faulty::{Faulty, good, reply};
use common::review::{pod, reviewed};
use common::serve::Served;

const ACTIONS: [&str; 3] = ["allow", "warn", "deny"];

/// The classes: how the configuration writes each, its words, and the image that meets with it.
const CLASSES: [(&str, &str, &str); 8] = [
    ("notFound", "not found", "404.test/app:1"),
    ("unauthorized", "not authorized", "401.test/app:1"),
    ("forbidden", "is denied", "403.test/app:1"),
    ("rateLimited", "too many requests", "429.test/app:1"),
    ("unavailable", "unavailable", "503.test/app:1"),
    ("timedOut", "in time", "hang.test/app:1"),
    ("refused", "refused to ask", "169.254.169.254/app:1"),
    ("invalid", "unusable answer", "418.test/app:1"),
];

/// Two registries that answer by the first segment of the path: one that limits the rate, and is left alone then, and
/// one for all else.
async fn registries() -> [Faulty; 2] {
    [registry().await, registry().await]
}

async fn registry() -> Faulty {
    Faulty::start(|request| {
        let path = request.uri().path().to_owned();
        Box::pin(async move {
            match path.split('/').nth(1).unwrap_or_default() {
                "hang" => std::future::pending().await,
                "good" => good(),
                status => reply(status.parse().unwrap(), &[], ""),
            }
        })
    })
    .await
}

/// A configuration where the class at a position has the action at that position plus `shift`.
fn configuration(registries: &[Faulty; 2], mode: &str, shift: usize) -> String {
    let mut text = format!(
        "apiVersion: surepull.dev/v1alpha1\nkind: Configuration\nmode: {mode}\npin:\n  errors:\n"
    );
    for (position, (class, ..)) in CLASSES.iter().enumerate() {
        writeln!(text, "    {class}: {}", ACTIONS[(position + shift) % 3]).unwrap();
    }
    text += "registries:\n";
    for name in ["404", "401", "403", "429", "503", "hang", "418", "good"] {
        let endpoint = &registries[usize::from(name != "429")].endpoint;
        writeln!(
            text,
            "- {{match: {name}.test, endpoints: ['{endpoint}/{name}']}}"
        )
        .unwrap();
    }
    text
}

#[tokio::test]
async fn every_class_has_every_action() {
    let registries = registries().await;
    for (mode, shift) in [
        ("enforce", 0),
        ("enforce", 1),
        ("enforce", 2),
        ("audit", 1),
        ("audit", 2),
    ] {
        let served = Served::start(&configuration(&registries, mode, shift));
        for (position, (class, words, image)) in CLASSES.iter().enumerate() {
            let action = ACTIONS[(position + shift) % 3];
            let answer = reviewed(&served, &pod(&[image]), None, false).await;
            let case = format!("{class} {action} {mode}: {answer}");
            let prefix = match (mode, action) {
                ("audit", "deny") => "surepull would deny: ",
                _ => "surepull: ",
            };
            let sentence = format!("{prefix}container \"c0\": image {image} is not pinned: ");
            let told = |text: &Value| {
                let text = text.as_str().unwrap_or_default();
                text.starts_with(&sentence) && text.contains(words)
            };
            let denied = (mode, action) == ("enforce", "deny");
            assert_eq!(answer["allowed"], !denied, "{case}");
            assert!(answer.get("patch").is_none(), "{case}");
            if denied {
                let status = &answer["status"];
                assert_eq!(
                    (&status["code"], &status["reason"]),
                    (&json!(403), &json!("Forbidden"))
                );
                assert!(told(&status["message"]), "{case}");
            }
            let warned = !denied && action != "allow";
            assert_eq!(told(&answer["warnings"][0]), warned, "{case}");
            assert_eq!(answer.get("warnings").is_some(), warned, "{case}");
            let notes = &answer["auditAnnotations"];
            let unpinned = notes["unpinned"].as_str().unwrap_or_default();
            let says = "surepull: container \"c0\": image ";
            assert!(
                unpinned.starts_with(says) && unpinned.contains(words),
                "{case}"
            );
            let would_be_denied = (mode, action) == ("audit", "deny");
            assert_eq!(told(&notes["would-deny"]), would_be_denied, "{case}");
        }
        let denials = served.metric("surepull_denied_reviews_total").await;
        let expected = (0..CLASSES.len()).filter(|position| (position + shift) % 3 == 2);
        let expected = if mode == "audit" {
            0
        } else {
            expected.count() as u64
        };
        assert_eq!(denials, Some(expected), "{mode} {shift}");
    }
}

#[tokio::test]
async fn a_denial_is_for_what_the_review_looks_up() {
    let registries = registries().await;
    // Position 0, not found, is denied.
    let served = Served::start(&configuration(&registries, "enforce", 2));
    let (gone, good) = ("404.test/app:1", "good.test/app:1");
    for dry_run in [false, true] {
        let answer = reviewed(&served, &pod(&[good, gone]), None, dry_run).await;
        assert_eq!(answer["allowed"], false, "{answer}");
        let message = answer["status"]["message"].as_str().unwrap();
        assert!(
            message.contains("\"c1\"") && !message.contains("\"c0\""),
            "{message}"
        );
    }
    // Stored already: only another field has changed, or another image.
    let stored = pod(&[good, gone]);
    let mut labelled = stored.clone();
    labelled["metadata"]["labels"] = json!({"a": "b"});
    let answer = reviewed(&served, &labelled, Some(&stored), false).await;
    assert_eq!(answer, json!({"uid": "u", "allowed": true}));
    let changed = pod(&["good.test/app:2", gone]);
    let answer = reviewed(&served, &changed, Some(&stored), false).await;
    assert_eq!(answer["allowed"], true, "{answer}");
    assert!(answer["patch"].is_string(), "{answer}");
}

#[tokio::test]
async fn a_registry_that_is_not_allowed_can_be_denied() {
    let registry = registry().await;
    let configuration = format!(
        "apiVersion: surepull.dev/v1alpha1\nkind: Configuration\npin: {{errors: {{refused: deny}}}}\nnetwork: {{denyRegistries: [good.test/team]}}\nregistries: [{{match: good.test, endpoints: ['{}/good']}}]\n",
        registry.endpoint
    );
    let served = Served::start(&configuration);
    let answer = reviewed(&served, &pod(&["good.test/other/app:1"]), None, false).await;
    assert_eq!(answer["allowed"], true, "{answer}");
    let before = registry.lines().len();
    let answer = reviewed(&served, &pod(&["good.test/team/app:1"]), None, false).await;
    assert_eq!(answer["status"]["code"], 403, "{answer}");
    let message = answer["status"]["message"].as_str().unwrap();
    assert!(
        message.contains("network.denyRegistries has `good.test/team`"),
        "{message}"
    );
    assert_eq!(registry.lines().len(), before);
}
