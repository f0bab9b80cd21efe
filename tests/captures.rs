//! Every review that a real API server sent, in `tests/captures`, to the real binary over HTTPS, with a real registry
//! behind it. `tests/captures/answers.txt` states the answers.

mod common;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::registry::TestRegistry;
use common::serve::Served;
use http::StatusCode;
use serde_json::Value;
use surepull::image::Reference;

/// The images of the captures, but for those that are pinned or on loopback already.
const IMAGES: [&str; 12] = [
    "registry.test/app:1.0",
    "registry.test/app:2.0",
    "registry.test/app:3.0",
    "registry.test/app:latest",
    "registry.test/tools:1.0",
    "registry.test/model:1.0",
    "busybox:latest",
    "a:1",
    "b:1",
    "c:1",
    "d:1",
    "t:1",
];

/// What `answers.txt` says first.
const HEADER: &str = "\
# What surepull answers to each captured review: `FILE: edit; edit`, `-` where nothing changes. IMAGE@[IMAGE] is the image
# with the digest that the registry has for it; a record names the slots and the images that they were pinned from.
# The configuration is the default one, with the Rollout as a custom resource.
";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures")
}

/// Reviews by name, in order.
fn reviews() -> BTreeMap<String, Vec<u8>> {
    let mut reviews = BTreeMap::new();
    for folder in [folder(), folder().join("with-controllers")] {
        for file in fs::read_dir(&folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
        {
            if file
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                let name = file.with_extension("");
                let name = name
                    .strip_prefix(self::folder())
                    .expect("below it")
                    .display()
                    .to_string();
                reviews.insert(name, fs::read(&file).expect("a review"));
            }
        }
    }
    reviews
}

/// Pushes the images: their digests, each with the image that it stands for.
async fn digests(registry: &TestRegistry) -> Vec<(String, &'static str)> {
    let mut digests = Vec::new();
    for image in IMAGES {
        let reference = Reference::parse(image).expect("an image");
        let tag = reference.tag().expect("a tag");
        digests.push((registry.push_index(&reference.path(), tag).await, image));
    }
    digests
}

/// The edits of an answer, as `answers.txt` writes them.
fn edits(answer: &Value, review: &Value, digests: &[(String, &str)]) -> String {
    let response = &answer["response"];
    assert_eq!(
        (&answer["apiVersion"], &answer["kind"]),
        (&review["apiVersion"], &review["kind"])
    );
    assert_eq!(response["uid"], review["request"]["uid"]);
    assert_eq!(response["allowed"], true);
    assert_eq!(response["warnings"], Value::Null, "{response}");
    assert_eq!(response["patch"].is_null(), response["patchType"].is_null());
    let Some(patch) = response["patch"].as_str() else {
        return "-".to_owned();
    };
    let patch = STANDARD.decode(patch).expect("base64");
    let operations: json_patch::Patch = serde_json::from_slice(&patch).expect("a JSON patch");
    let mut object = review["request"]["object"].clone();
    json_patch::patch(&mut object, &operations).expect("it applies to what was sent");
    let operations: Vec<Value> = serde_json::from_slice(&patch).expect("a JSON patch");
    operations
        .iter()
        .map(|operation| edit(operation, digests))
        .collect::<Vec<_>>()
        .join("; ")
}

/// One operation: where, and what becomes of it.
fn edit(operation: &Value, digests: &[(String, &str)]) -> String {
    let path = operation["path"].as_str().expect("a path");
    let value = match &operation["value"] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let is_record = path.starts_with("/metadata");
    // The digests of what is pinned, by the slots that the record names.
    let recorded = |image: &str, digest: &str| {
        let (entry, nested) = (
            r#"{"image":"IMAGE","digest":"DIGEST"}"#,
            r#"{\"image\":\"IMAGE\",\"digest\":\"DIGEST\"}"#,
        );
        [entry, nested].map(|entry| entry.replace("IMAGE", image).replace("DIGEST", digest))
    };
    let value = digests.iter().fold(value, |value, (digest, image)| {
        let written = [*image, image.trim_end_matches(":latest")];
        written.into_iter().fold(value, |value, image| {
            let entries = recorded(image, digest);
            let value = entries.iter().fold(value, |value, entry| {
                value.replace(entry, &format!("[{image}]"))
            });
            if value == format!("{image}@{digest}") {
                format!("{image}@[{image}]")
            } else {
                value
            }
        })
    });
    if is_record {
        format!("record {}", value.replace(['\\', '"'], ""))
    } else {
        format!("{path}={value}")
    }
}

#[tokio::test]
async fn the_answers_are_those_of_the_table() {
    let registry = TestRegistry::start();
    let digests = digests(&registry).await;
    let endpoint = registry.endpoint();
    let configuration = format!(
        "apiVersion: surepull.dev/v1alpha1\nkind: Configuration\n\
         registries:\n\
         - {{match: registry.test, endpoints: ['{endpoint}']}}\n\
         - {{match: docker.io, endpoints: ['{endpoint}']}}\n\
         customResources: [{{group: rig.test, kind: Rollout, templates: [/spec/template]}}]\n"
    );
    let surepull = Served::start(&configuration);
    let mut answers = HEADER.to_owned();
    for (name, body) in reviews() {
        let review: Value = serde_json::from_slice(&body).expect("a review");
        let (status, answer) = surepull.post("/mutate?timeout=10s", body.clone()).await;
        assert_eq!(status, StatusCode::OK, "{name}");
        let answer = serde_json::from_slice(&answer).expect("an answer");
        writeln!(answers, "{name}: {}", edits(&answer, &review, &digests)).expect("memory");
        let (status, answer) = surepull.post("/validate", body).await;
        let answer = serde_json::from_slice(&answer).expect("an answer");
        assert_eq!(
            (status, edits(&answer, &review, &digests)),
            (StatusCode::OK, "-".to_owned()),
            "{name}"
        );
    }
    let path = folder().join("answers.txt");
    let stated = fs::read_to_string(&path).unwrap_or_default();
    if stated != answers {
        let given = Path::new(env!("CARGO_TARGET_TMPDIR")).join("answers.txt");
        fs::write(&given, &answers).expect("a file");
        let differs = answers
            .lines()
            .zip(stated.lines().chain(std::iter::repeat("")))
            .find(|(given, stated)| given != stated);
        panic!(
            "the answers differ from tests/captures/answers.txt; those given are in {}; the first: {differs:?}",
            given.display()
        );
    }
}
