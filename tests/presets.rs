//! Each preset, on the custom resources of its project: `tests/presets/NAME.yaml` holds, of each kind, the definition cut
//! down to what leads to its pods, and then sample objects. The comment before a sample lists what surepull changes:
//! `…` stands for the digest of the image before it. What is not listed has to stay.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::mutate::{Change, mutate_with};
use common::presets::{Sample, names, preset, projects};
use serde_json::{Value, json};
use surepull::image::Digest;
use surepull::mutation::{Always, PINNED, Question, Settings};
use surepull::workload::{Kinds, Leaf};

/// The kinds, as a configuration that names the preset has them.
fn kinds(name: &str) -> Kinds {
    let text =
        format!("apiVersion: surepull.dev/v1alpha1\nkind: Configuration\npresets: [{name}]\n");
    let configuration = surepull::config::parse(text.as_bytes());
    configuration.expect("a configuration").kinds
}

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn look_up(question: &Question<'_>) -> Digest {
    digest(question.image.text())
}

fn mutate(kinds: &Kinds, change: &Change<'_>) -> (Value, Vec<Value>) {
    mutate_with(kinds, change, &Settings::default(), None, |question| {
        Ok(look_up(question))
    })
}

/// The edits of a patch as the samples state them, but for the record.
fn edits(patch: &[Value]) -> Vec<String> {
    let edits = patch.iter().filter(|edit| {
        !edit["path"]
            .as_str()
            .is_some_and(|path| path.starts_with("/metadata"))
    });
    let line = |edit: &Value| {
        let value = edit["value"].as_str().expect("a text");
        let value = match value.split_once('@') {
            Some((image, found)) if *found == *digest(image).as_str() => format!("{image}@…"),
            _ => value.to_owned(),
        };
        format!("{}: {value}", edit["path"].as_str().expect("a path"))
    };
    edits.map(line).collect()
}

#[test]
fn samples_get_the_edits_that_they_list() {
    let mut differences = Vec::new();
    for project in projects() {
        let kinds = kinds(&project.name);
        for sample in &project.samples {
            let (once, patch) = mutate(&kinds, &Change::create(&sample.object));
            let edits = edits(&patch);
            if edits != sample.edits {
                let (file, title) = (&project.name, sample.title());
                let made = edits.join("\n#   ");
                differences.push(format!("{file}.yaml, {title}:\n#   {made}"));
            }
            assert_recorded(&once, &edits);
            let (_, again) = mutate(&kinds, &Change::create(&once));
            assert_eq!(again, [] as [Value; 0], "{}, again", sample.title());
            let (stored, _) = mutate(&kinds, &Change::update(&once, &sample.object));
            assert_eq!(stored, once, "{}, sent again as it was", sample.title());
        }
    }
    assert!(
        differences.is_empty(),
        "surepull makes:\n{}",
        differences.join("\n")
    );
}

/// Each new image has an entry of its own in the record.
fn assert_recorded(object: &Value, edits: &[String]) {
    let record = object["metadata"]["annotations"][PINNED].as_str();
    let record: BTreeMap<String, Value> =
        serde_json::from_str(record.unwrap_or("{}")).expect("a record");
    let mut recorded: Vec<_> = record
        .values()
        .map(|entry| entry["image"].as_str().expect("an image"))
        .collect();
    let mut pinned: Vec<_> = edits
        .iter()
        .filter_map(|edit| edit.split_once(": ")?.1.strip_suffix("@…"))
        .collect();
    recorded.sort_unstable();
    pinned.sort_unstable();
    assert_eq!(recorded, pinned);
}

/// A Tekton Task with these steps: name and image.
fn task(steps: &[(&str, &str)]) -> Value {
    let step = |(name, image): &(&str, &str)| json!({"name": name, "image": image});
    let steps: Vec<_> = steps.iter().map(step).collect();
    json!({"apiVersion": "tekton.dev/v1", "kind": "Task", "metadata": {"name": "t"}, "spec": {"steps": steps}})
}

#[test]
fn a_step_that_moves_keeps_its_digest() {
    let kinds = kinds("tekton");
    let (stored, _) = mutate(
        &kinds,
        &Change::create(&task(&[("a", "a:1"), ("b", "b:1")])),
    );
    let again = task(&[("z", "z:1"), ("a", "a:1"), ("b", "b:2")]);
    let change = Change::update(&stored, &again);
    let moved = |_: &Question<'_>| Ok(digest("moved"));
    let (task, _) = mutate_with(&kinds, &change, &Settings::default(), None, moved);
    let steps = task["spec"]["steps"].as_array().expect("steps");
    let images: Vec<_> = steps.iter().map(|step| step["image"].clone()).collect();
    let wanted = [("z:1", "moved"), ("a:1", "a:1"), ("b:2", "moved")];
    assert_eq!(
        images,
        wanted.map(|(image, content)| format!("{image}@{}", digest(content)))
    );
    let record = task["metadata"]["annotations"][PINNED].as_str();
    let record: BTreeMap<String, Value> =
        serde_json::from_str(record.expect("a record")).expect("JSON");
    let keys = ["/spec/steps/a", "/spec/steps/b", "/spec/steps/z"];
    assert!(record.keys().eq(keys), "{record:?}");
}

/// Filling in a default could undo a policy that `stepTemplate` brings; `always` is meant to win over any.
#[test]
fn always_reaches_every_container() {
    let settings = Settings {
        always: Always::All,
        ..Settings::default()
    };
    let mut task = task(&[("a", "a:1"), ("b", "$(params.image)")]);
    task["spec"]["stepTemplate"] = json!({"imagePullPolicy": "Never"});
    let change = Change::create(&task);
    let (task, _) = mutate_with(&kinds("tekton"), &change, &settings, None, |question| {
        Ok(look_up(question))
    });
    for at in ["/steps/0", "/steps/1", "/stepTemplate"] {
        let container = task["spec"].pointer(at).expect("a container");
        assert_eq!(container["imagePullPolicy"], "Always", "{at}");
    }
}

/// What the schema of a definition has at a path; an error is the segment that it does not have.
fn below<'s>(schema: &'s Value, path: &str) -> Result<&'s Value, String> {
    let mut schema = schema;
    for segment in path.split('/').skip(1) {
        if is_opaque(schema) {
            break;
        }
        let (list, map) = (&schema["items"], &schema["additionalProperties"]);
        schema = match segment {
            "*" if list.is_object() => list,
            "*" if map.is_object() => map,
            _ => &schema["properties"][segment],
        };
        if schema.is_null() {
            return Err(segment.to_owned());
        }
    }
    Ok(schema)
}

/// Whether anything may stand there.
fn is_opaque(schema: &Value) -> bool {
    schema["x-kubernetes-preserve-unknown-fields"] == true && schema["properties"].is_null()
}

/// Whether what stands there may be what the path says.
fn fits(schema: &Value, leaf: Leaf) -> bool {
    let has = |key: &str| !schema["properties"][key].is_null();
    is_opaque(schema)
        || match leaf {
            Leaf::Template => has("spec"),
            Leaf::Spec => has("containers") || has("ephemeralContainers"),
            Leaf::Container => has("image") && has("imagePullPolicy"),
        }
}

/// In one version at least: that is what a path is for.
#[test]
fn paths_lead_to_what_the_definitions_have() {
    for project in projects() {
        for resource in project.preset.resources() {
            let definition = |definition: &&Value| {
                let spec = &definition["spec"];
                spec["group"] == resource.group && spec["names"]["kind"] == resource.kind
            };
            let definition = project.definitions.iter().find(definition);
            let definition = definition.unwrap_or_else(|| panic!("no {resource:?}"));
            let versions = definition["spec"]["versions"].as_array().expect("versions");
            for (path, leaf) in &resource.paths {
                let leads = |version: &Value| {
                    let schema = &version["schema"]["openAPIV3Schema"];
                    below(schema, path).is_ok_and(|schema| fits(schema, *leaf))
                };
                assert!(versions.iter().any(leads), "{}: {path}", resource.kind);
            }
        }
    }
}

#[test]
fn a_path_that_is_not_there_is_noticed() {
    let schema = json!({"properties": {
        "list": {"items": {"properties": {"image": {}, "imagePullPolicy": {}}}},
        "map": {"additionalProperties": {"properties": {"spec": {}}}},
        "open": {"x-kubernetes-preserve-unknown-fields": true},
    }});
    assert!(below(&schema, "/list/*").is_ok_and(|schema| fits(schema, Leaf::Container)));
    assert!(below(&schema, "/map/*").is_ok_and(|schema| fits(schema, Leaf::Template)));
    assert!(below(&schema, "/open/a/*/b").is_ok_and(|schema| fits(schema, Leaf::Spec)));
    assert!(below(&schema, "/list/*").is_ok_and(|schema| !fits(schema, Leaf::Spec)));
    for (path, missing) in [
        ("/lists/*", "lists"),
        ("/list/name", "name"),
        ("/map/*/specs", "specs"),
    ] {
        assert_eq!(below(&schema, path), Err(missing.to_owned()));
    }
}

/// A kind that no sample shows is a kind that nobody has tried.
#[test]
fn every_kind_has_a_sample_that_is_changed() {
    for project in projects() {
        let changed = project
            .samples
            .iter()
            .filter(|sample| !sample.edits.is_empty());
        let changed: BTreeSet<_> = changed.map(Sample::kind).collect();
        let resources = project.preset.resources();
        let known: BTreeSet<_> = resources
            .map(|resource| (resource.group, resource.kind))
            .collect();
        assert_eq!(changed, known, "{}", project.name);
    }
}

/// The page has a row for each preset, and both it and the schema name each of its kinds.
#[test]
fn presets_are_documented() {
    let page = include_str!("../docs/configuration.md");
    let (_, section) = page.split_once("\n## Presets\n").expect("a section");
    let (section, _) = section.split_once("\n## ").expect("its end");
    let rows: BTreeMap<_, _> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .collect();
    let presets = names();
    assert!(
        rows.keys().copied().eq(presets.keys().map(|name| &**name)),
        "{rows:?}"
    );
    for (name, description) in &presets {
        let (kinds, _) = rows[&**name].split_once(" | ").expect("a column of kinds");
        let documented: BTreeSet<_> = kinds.split(", ").collect();
        let known: BTreeSet<_> = preset(name)
            .resources()
            .map(|resource| resource.kind)
            .collect();
        assert_eq!(documented, known, "{name}");
        let lacks = known.iter().find(|kind| !description.contains(**kind));
        assert_eq!(lacks, None, "{description}");
    }
}

/// The presets have no kind in common, and none of Kubernetes' own: all of them can be named together.
#[test]
fn presets_do_not_overlap() {
    let mut all = Kinds::default();
    for name in names().keys() {
        for resource in preset(name).resources() {
            assert!(
                all.find(resource.group, resource.kind).is_none(),
                "{resource:?}"
            );
        }
        all.add_preset(preset(name));
    }
}
