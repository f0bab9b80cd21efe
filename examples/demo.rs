//! `make demo`: surepull's main job, without a cluster and without the internet.
//!
//! A throw-away registry on loopback gets a few images for two platforms; `surepull serve --standalone` is sent reviews
//! that a real API server once sent, over HTTPS; each object is shown before and after.
#![allow(clippy::print_stdout, reason = "it is there to be looked at")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::registry::TestRegistry;
use common::serve::Served;
use common::show::{Style, diff};
use serde_json::Value;

const IMAGES: [(&str, &str); 6] = [
    ("app", "1.0"),
    ("app", "2.0"),
    ("app", "latest"),
    ("tools", "1.0"),
    ("model", "1.0"),
    ("library/busybox", "latest"),
];

/// What is shown, and in which capture it is.
const REVIEWS: [(&str, &str); 6] = [
    ("a Pod is created", "002-pods-create-tag"),
    (
        "a Pod with a short image name: the name stays as it was written",
        "006-pods-create-bare",
    ),
    ("a Pod with an image volume", "012-pods-create-image-volume"),
    (
        "kubectl debug adds an ephemeral container",
        "023-pods-ephemeralcontainers-update-tag",
    ),
    ("a CronJob is created", "037-cronjobs-create-w"),
    (
        "a custom resource with a pod template: it gets its pull policies too",
        "038-rollouts-create-w",
    ),
];

#[tokio::main]
async fn main() {
    let registry = TestRegistry::start();
    for (repository, tag) in IMAGES {
        registry.push_index(repository, tag).await;
    }
    let endpoint = registry.endpoint();
    let surepull = Served::start(&format!(
        "apiVersion: surepull.dev/v1alpha1\nkind: Configuration\n\
         registries:\n\
         - {{match: registry.test, endpoints: ['{endpoint}']}}\n\
         - {{match: docker.io, endpoints: ['{endpoint}']}}\n\
         customResources: [{{group: rig.test, kind: Rollout, templates: [/spec/template]}}]\n"
    ));
    println!(
        "a registry with {} images at {endpoint}, surepull at https://{}",
        IMAGES.len(),
        surepull.addr
    );
    for (title, capture) in REVIEWS {
        show(&surepull, title, &read(capture)).await;
    }

    let mut review = read("025-deployments-create-w");
    let stored = show(&surepull, "a Deployment is created", &review).await;
    registry.push_manifest("app", "1.0").await;
    println!("\nNow somebody pushes another image to app:1.0.");
    review["request"]["operation"] = "UPDATE".into();
    review["request"]["oldObject"] = stored;
    let again = show(
        &surepull,
        "the same Deployment is applied again: what runs stays",
        &review,
    )
    .await;
    assert_eq!(
        again["spec"], review["request"]["oldObject"]["spec"],
        "nothing rolls out"
    );
    println!("  (what is stored; nothing rolls out)");

    let text = read("018-pods-create-runner")
        .to_string()
        .replace("app:1.0", "app:9.9");
    let review = serde_json::from_str(&text).expect("a review");
    show(
        &surepull,
        "an image that is not there: allowed, with a warning",
        &review,
    )
    .await;
}

fn read(capture: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/captures/{capture}.json"));
    serde_json::from_slice(&fs::read(path).expect("a capture")).expect("a review")
}

/// Sends a review and shows what becomes of its object, which is returned.
async fn show(surepull: &Served, title: &str, review: &Value) -> Value {
    let (status, answer) = surepull
        .post("/mutate?timeout=10s", review.to_string())
        .await;
    assert!(status.is_success(), "{status}");
    let answer: Value = serde_json::from_slice(&answer).expect("an answer");
    let before = &review["request"]["object"];
    let mut after = before.clone();
    if let Some(patch) = answer["response"]["patch"].as_str() {
        let patch = STANDARD.decode(patch).expect("base64");
        let patch: json_patch::Patch = serde_json::from_slice(&patch).expect("a JSON patch");
        json_patch::patch(&mut after, &patch).expect("it applies");
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, name) = (text(&before["kind"]), text(&before["metadata"]["name"]));
    println!();
    Style::Title.say(&format!("{title} ({kind} {name})"));
    diff(before, &after);
    let warnings = answer["response"]["warnings"].as_array();
    for warning in warnings.into_iter().flatten() {
        Style::Warning.say(&format!("Warning: {}", text(warning)));
    }
    after
}
