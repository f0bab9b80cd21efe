//! Each preset, with its project's kinds: what is stored is what the library makes of each sample, and stays so.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};
use surepull::image::{Digest, Reference};
use surepull::mutation::{PINNED, Question, Settings};
use surepull::workload::Kinds;

use crate::common::cluster::Kubectl;
use crate::common::mutate::{Change, mutate_with};
use crate::common::presets::{Project, projects};
use crate::world::World;
use crate::{Case, Test};

/// The surepull that is told all presets.
const PRESETS: &str = "presets";

pub fn tests() -> Vec<(String, Test)> {
    let cases: [Case; 1] = [("what_is_stored_is_what_the_samples_list", samples)];
    crate::named("presets", cases)
}

fn samples(world: &World) {
    let projects: Vec<_> = projects().collect();
    define(&world.cluster.kubectl(), &projects);
    let digests = push(world, &projects);
    let endpoint = world.registry.endpoint();
    let registry = |host| format!("- {{match: {host}, endpoints: ['{endpoint}']}}\n");
    let registries = ["registry.test", "registry.example", "docker.io"].map(registry);
    let names: Vec<_> = projects.iter().map(|project| &*project.name).collect();
    let settings = format!(
        "registries:\n{}presets: [{}]\n",
        registries.concat(),
        names.join(", ")
    );
    world.serve(PRESETS, &settings);
    let space = world.namespace("presets", PRESETS);
    for project in &projects {
        check(&space, project, &digests);
    }
}

/// Lets the API server know all kinds.
fn define(kubectl: &Kubectl, projects: &[Project]) {
    let all: Vec<_> = projects
        .iter()
        .flat_map(|project| &project.definitions)
        .collect();
    kubectl.apply(&list(&all)).success();
    let mut arguments = vec![
        "wait",
        "--for=condition=Established",
        "--timeout=120s",
        "crd",
    ];
    let name = |definition: &&'_ Value| definition["metadata"]["name"].as_str().map(String::from);
    let names: Vec<_> = all.iter().filter_map(name).collect();
    arguments.extend(names.iter().map(|name| &**name));
    kubectl.run(&arguments).success();
}

fn list(items: &[impl serde::Serialize]) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

/// Fills the registry with the images that are pinned; their digests.
fn push(world: &World, projects: &[Project]) -> HashMap<String, Digest> {
    let images: BTreeSet<_> = projects.iter().flat_map(Project::images).collect();
    let push = |image: &str| {
        let reference = Reference::parse(image).expect("an image");
        let tag = reference.tag().unwrap_or("latest");
        let path = reference.path();
        let pushed = world.registry.push_manifest(&path, tag);
        let digest = world.runtime.block_on(pushed);
        (image.to_owned(), Digest::parse(&digest).expect("a digest"))
    };
    images.into_iter().map(push).collect()
}

fn check(space: &Kubectl, project: &Project, digests: &HashMap<String, Digest>) {
    let mut kinds = Kinds::default();
    kinds.add_preset(project.preset);
    let look_up = |question: &Question<'_>| Ok(digests[question.image.text()].clone());
    let expected = project.samples.iter().map(|sample| {
        let change = Change::create(&sample.object);
        let (object, _) = mutate_with(&kinds, &change, &Settings::default(), None, look_up);
        written(&object)
    });
    let expected: Vec<_> = expected.collect();
    let objects: Vec<_> = project
        .samples
        .iter()
        .map(|sample| &sample.object)
        .collect();
    for arguments in [
        &["apply", "-f", "-", "-o", "json"][..],
        // Sent again as they were.
        &["apply", "-f", "-", "-o", "json"],
        &[
            "apply",
            "--server-side",
            "--force-conflicts",
            "-f",
            "-",
            "-o",
            "json",
        ],
    ] {
        let stored = space
            .run_with(arguments, &list(&objects).to_string())
            .json();
        // Of one object kubectl prints no list.
        let stored = match stored["items"].as_array() {
            Some(items) => items.clone(),
            None => vec![stored],
        };
        assert_eq!(stored.len(), expected.len(), "{}", project.name);
        for ((stored, expected), sample) in stored.iter().zip(&expected).zip(&project.samples) {
            assert_eq!(
                written(stored),
                *expected,
                "{} {arguments:?}",
                sample.title()
            );
        }
    }
}

/// What the sample and surepull wrote: the API server adds to metadata.
fn written(object: &Value) -> Value {
    json!({
        "kind": object["kind"],
        "name": object["metadata"]["name"],
        "spec": object["spec"],
        "record": object["metadata"]["annotations"][PINNED],
    })
}
