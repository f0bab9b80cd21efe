//! `matrix.txt`, cell by cell.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use crate::Test;
use crate::common::cluster::Kubectl;
use crate::world::{ALWAYS, DEFAULT, World};

/// The columns of each function: where the slots of a pod spec are.
const SLOTS: [&str; 4] = [
    "containers",
    "initContainers",
    "ephemeralContainers",
    "volumes",
];
/// The functions; the last one has one column.
const FUNCTIONS: [&str; 4] = ["pin", "policy", "always", "pull secrets"];

/// The cells of a row: by function and slot.
type Row = BTreeMap<(&'static str, &'static str), String>;

/// Kinds with their rows, by operation.
fn table() -> Vec<(String, BTreeMap<String, Row>)> {
    let mut kinds: Vec<(String, BTreeMap<String, Row>)> = Vec::new();
    let lines = include_str!("matrix.txt").lines();
    for line in lines.filter(|line| !line.starts_with('#')).skip(1) {
        let (kind, rest) = line.split_at(27);
        let mut words = rest.split_whitespace();
        let operation = words.next().expect("an operation").to_owned();
        let mut row = Row::new();
        for function in FUNCTIONS {
            let slots = if function == "pull secrets" {
                &["spec"][..]
            } else {
                &SLOTS
            };
            for slot in slots {
                let cell = words
                    .next()
                    .unwrap_or_else(|| panic!("a cell is missing: {line}"));
                row.insert((function, slot), cell.to_owned());
            }
        }
        assert_eq!(words.next(), None, "{line}");
        let kind = kind.split(" (").next().unwrap_or(kind).trim().to_owned();
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, rows)) => assert!(rows.insert(operation, row).is_none(), "{line}"),
            None => kinds.push((kind, BTreeMap::from([(operation, row)]))),
        }
    }
    kinds
}

/// One test a kind.
pub fn tests() -> Vec<(String, Test)> {
    let test = |(kind, rows): (String, BTreeMap<String, Row>)| {
        let name = format!("matrix::{kind}");
        let test: Test = Box::new(move |world| check(world, &kind, &rows));
        (name, test)
    };
    table().into_iter().map(test).collect()
}

/// What is stored in one namespace, before the operation where that is a change, and after it.
struct Stored {
    before: Value,
    after: Value,
}

/// In three namespaces: without surepull, with it, and with `always: all`.
struct Everywhere([Stored; 3]);

fn check(world: &World, kind: &str, rows: &BTreeMap<String, Row>) {
    let spaces = ["off", DEFAULT, ALWAYS].map(|surepull| {
        let name = format!(
            "matrix-{}-{surepull}",
            kind.to_lowercase().replace('/', "-")
        );
        let space = world.cluster.namespace(&name, &[]);
        let secrets = r#"{"imagePullSecrets": [{"name": "account"}]}"#;
        space
            .run(&["patch", "serviceaccount", "default", "-p", secrets])
            .success();
        if let Some(row) = rows.get("update") {
            space
                .apply(&object(kind, "update", &pod_spec(row, |_| false)))
                .success();
        }
        space
    });
    for (space, surepull) in spaces.iter().zip(["off", DEFAULT, ALWAYS]).skip(1) {
        World::switch_on(space, surepull);
        World::until_account_is_known(space);
    }
    let mut wrong = String::new();
    for (operation, row) in rows {
        let stored = Everywhere(
            spaces
                .each_ref()
                .map(|space| store(space, kind, operation, row)),
        );
        for (&(function, slot), cell) in row {
            if let Err(message) = stored.agrees(world, function, slot, cell) {
                writeln!(wrong, "{operation} {function} {slot}: {message}").expect("memory");
            }
        }
        for space in &spaces {
            refuses(space, kind, operation, row);
        }
    }
    assert!(wrong.is_empty(), "{kind}:\n{wrong}");
}

/// Does the operation, and applies the same again.
fn store(space: &Kubectl, kind: &str, operation: &str, row: &Row) -> Stored {
    if kind == "pods/ephemeralcontainers" {
        return debug(space, operation, row);
    }
    let before = if operation == "change" {
        let object = object(kind, operation, &pod_spec(row, |_| false));
        space.apply(&object).success();
        spec(kind, &space.get(kind, operation))
    } else {
        Value::Null
    };
    let changed = |slot| operation != "create" && row[&("pin", slot)] == "yes";
    let object = object(kind, operation, &pod_spec(row, changed));
    space.apply(&object).success();
    let stored = space.get(kind, operation);
    let by_server = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    for arguments in [&["apply", "-f", "-"][..], &by_server] {
        space.run_with(arguments, &object.to_string()).success();
        let again = space.get(kind, operation);
        assert_eq!(lasting(&again), lasting(&stored), "{arguments:?} again");
    }
    let after = spec(kind, &stored);
    Stored { before, after }
}

/// Adds an ephemeral container: the first one to a Pod that is stored, or a second one to a new Pod.
fn debug(space: &Kubectl, operation: &str, row: &Row) -> Stored {
    let add = |container: &str, image: &str| {
        let image = format!("--image=registry.test/{image}");
        let name = format!("--container={container}");
        let arguments = ["debug", operation, &image, &name, "--attach=false"];
        space.run(&arguments).success();
        space.get("pod", operation)["spec"].clone()
    };
    let mut before = Value::Null;
    if operation == "change" {
        let pod = object("Pod", operation, &pod_spec(row, |_| false));
        space.apply(&pod).success();
        before = add("first", "tools:1.0");
    }
    let after = add("e", "tools:2.0");
    if operation == "change" {
        let first = |spec: &Value| spec["ephemeralContainers"][0].clone();
        assert_eq!(first(&after), first(&before), "the first one stays");
    }
    Stored { before, after }
}

/// What Kubernetes refuses in this row, it refuses.
fn refuses(space: &Kubectl, kind: &str, operation: &str, row: &Row) {
    if kind == "pods/ephemeralcontainers" {
        return;
    }
    for refused in SLOTS {
        let name = if operation == "create" {
            "refused"
        } else {
            operation
        };
        let spec = match row[&("pin", refused)].as_str() {
            "eph" => {
                let mut spec = pod_spec(row, |_| false);
                spec[refused] = element(refused, false);
                spec
            }
            "imm" => pod_spec(row, |slot| slot == refused),
            _ => continue,
        };
        let said = space.apply(&object(kind, name, &spec)).refused();
        let reasons = ["Forbidden", "immutable"];
        assert!(
            reasons.iter().any(|reason| said.contains(reason)),
            "{kind} {refused}: {said}"
        );
        assert!(
            !said.contains("admission webhook"),
            "{kind} {refused}: {said}"
        );
    }
}

impl Everywhere {
    fn agrees(&self, world: &World, function: &str, slot: &str, cell: &str) -> Result<(), String> {
        let Self([off, on, always]) = self;
        let on = if function == "always" { always } else { on };
        let with = value(&on.after, function, slot);
        let without = value(&off.after, function, slot);
        let wanted = match (cell, function) {
            ("yes", "pin") => world.pinned(&without),
            ("yes", "always") => "Always".to_owned(),
            // The one image without a tag.
            ("yes", "policy") if slot == "initContainers" => "Always".to_owned(),
            ("yes", "policy") => "IfNotPresent".to_owned(),
            ("yes", _) => "own account".to_owned(),
            ("api", _) => without.clone(),
            // All else is as it was, as surepull stored it.
            _ if on.before.is_object() => value(&on.before, function, slot),
            _ => without.clone(),
        };
        if with == wanted {
            Ok(())
        } else {
            Err(format!(
                "{with:?} instead of {wanted:?}; without surepull {without:?}"
            ))
        }
    }
}

/// What a function is about, as text; empty where there is none.
fn value(spec: &Value, function: &str, slot: &str) -> String {
    if function == "pull secrets" {
        let names = spec["imagePullSecrets"].as_array().into_iter().flatten();
        let names: Vec<_> = names.filter_map(|secret| secret["name"].as_str()).collect();
        return names.join(" ");
    }
    // The API server adds volumes of its own behind it, and `kubectl debug` a second container.
    let element = if slot == "ephemeralContainers" {
        spec[slot].as_array().and_then(|list| list.last())
    } else {
        spec[slot].get(0)
    };
    let element = element.unwrap_or(&Value::Null);
    let found = match (slot, function) {
        ("volumes", "pin") => &element["image"]["reference"],
        ("volumes", _) => &element["image"]["pullPolicy"],
        (_, "pin") => &element["image"],
        (_, _) => &element["imagePullPolicy"],
    };
    found.as_str().unwrap_or_default().to_owned()
}

/// The one element of a slot's list.
fn element(slot: &str, changed: bool) -> Value {
    let image = match (slot, changed) {
        ("containers", false) => "app:1.0",
        ("containers", true) => "app:2.0",
        ("initContainers", false) => "app",
        ("initContainers", true) => "tools",
        ("ephemeralContainers", false) => "tools:1.0",
        ("ephemeralContainers", true) => "tools:2.0",
        (_, false) => "model:1.0",
        (_, true) => "model:2.0",
    };
    let image = format!("registry.test/{image}");
    if slot == "volumes" {
        json!([{"name": "v", "image": {"reference": image}}])
    } else {
        json!([{"name": slot[..1].to_owned(), "image": image}])
    }
}

/// A pod spec with one element in each slot that the row's kind may have.
fn pod_spec(row: &Row, changed: impl Fn(&'static str) -> bool) -> Value {
    let mut spec = json!({"imagePullSecrets": [{"name": "own"}]});
    for slot in SLOTS {
        let has = slot != "ephemeralContainers"
            || (row[&("pin", slot)] == "yes" && row[&("pin", "containers")] == "yes");
        if has {
            spec[slot] = element(slot, changed(slot));
        }
    }
    spec
}

/// Where the pod spec of a kind is.
fn spec(kind: &str, object: &Value) -> Value {
    let pointer = match kind {
        "Pod" => "/spec",
        "PodTemplate" => "/template/spec",
        "CronJob" => "/spec/jobTemplate/spec/template/spec",
        "Sidecar" => "/spec/pod",
        _ => "/spec/template/spec",
    };
    object.pointer(pointer).expect("a pod spec").clone()
}

/// An object of the kind that runs nothing.
fn object(kind: &str, name: &str, spec: &Value) -> Value {
    let mut spec = spec.clone();
    let labels = json!({"app": name});
    let selector = json!({"matchLabels": labels});
    let group = match kind {
        "Job" | "CronJob" => {
            spec["restartPolicy"] = "Never".into();
            "batch/v1"
        }
        "Rollout" | "Sidecar" => "rig.test/v1",
        "Pod" | "pods/ephemeralcontainers" | "PodTemplate" | "ReplicationController" => "v1",
        _ => "apps/v1",
    };
    let mut template = json!({"metadata": {"labels": labels}, "spec": spec});
    let body = match kind {
        "Pod" | "pods/ephemeralcontainers" => {
            // The scheduler would fill it in between two looks.
            spec["nodeName"] = "fake".into();
            spec
        }
        "Sidecar" => json!({"pod": spec}),
        "Rollout" => json!({"template": template}),
        "ReplicationController" => json!({"replicas": 0, "selector": labels, "template": template}),
        "DaemonSet" => {
            template["spec"]["nodeSelector"] = json!({"no": "node"});
            json!({"selector": selector, "template": template})
        }
        "Job" => json!({"suspend": true, "template": template}),
        "CronJob" => json!({
            "suspend": true, "schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": template}},
        }),
        "PodTemplate" => Value::Null,
        _ => json!({"replicas": 0, "selector": selector, "template": template}),
    };
    let kind = if kind == "pods/ephemeralcontainers" {
        "Pod"
    } else {
        kind
    };
    let mut object = json!({"apiVersion": group, "kind": kind, "metadata": {"name": name}});
    if kind == "PodTemplate" {
        object["template"] = template;
    } else {
        object["spec"] = body;
    }
    object
}

/// What a user and surepull wrote: of metadata, to which controllers write too, the record alone.
fn lasting(object: &Value) -> Value {
    json!({
        "spec": object["spec"],
        "template": object["template"],
        "record": object["metadata"]["annotations"]["surepull.dev/pinned"],
    })
}
