//! What is generated of the chart is current: `make chart` writes it.

use std::env::var_os;
use std::fs;

use serde_json::{Map, Value};

use crate::helm::{path, template};

const SCHEMA: &str = "charts/surepull/values.schema.json";

/// The file holds this text, or gets it where `make chart` runs this.
fn check(file: &str, text: &str) {
    if var_os("SUREPULL_WRITE").is_some() {
        fs::write(path(file), text).expect(file);
    }
    let held = fs::read_to_string(path(file)).unwrap_or_default();
    assert!(held == text, "{file} is not current: run `make chart`");
}

/// The schema of the values: the chart's own part as it is, that of `config` from the configuration's schema.
fn schema() -> Value {
    let own = fs::read_to_string(path(SCHEMA)).expect(SCHEMA);
    let mut schema: Value = serde_json::from_str(&own).expect("JSON");
    let mut config: Value = serde_json::from_str(&surepull::config::schema()).expect("JSON");
    let mut parts = config["$defs"].take();
    let top = config.as_object_mut().expect("an object");
    // The chart writes apiVersion and kind.
    for key in ["$defs", "$schema", "title", "description", "required"] {
        top.remove(key);
    }
    parts["Configuration"] = config;
    schema["$defs"] = parts;
    schema
}

#[test]
fn the_generated_schema_has_that_of_the_configuration() {
    let text = serde_json::to_string_pretty(&schema()).expect("JSON");
    check(SCHEMA, &(text + "\n"));
}

#[test]
fn the_generated_readme_lists_all_values() {
    let values = fs::read_to_string(path("charts/surepull/values.yaml")).expect("values");
    let values: Value = serde_saphyr::from_str(&values).expect("YAML");
    let mut rows = Vec::new();
    let schema = schema();
    list(
        "",
        schema["properties"].as_object().expect("properties"),
        &values,
        &mut rows,
    );
    let text = format!("{}{}\n", include_str!("readme.md"), rows.join("\n"));
    check("charts/surepull/README.md", &text);
}

/// A row for each value.
fn list(before: &str, properties: &Map<String, Value>, values: &Value, rows: &mut Vec<String>) {
    for (key, property) in properties.iter().filter(|(key, _)| *key != "global") {
        let name = format!("{before}{key}");
        let value = &values[key];
        let below = property["properties"].as_object();
        // An object that is empty by default is one value.
        if let (Some(below), true) = (below, value.as_object().is_some_and(|map| !map.is_empty())) {
            list(&format!("{name}."), below, value, rows);
            continue;
        }
        assert!(!value.is_null(), "values.yaml has no {name}");
        let says = property["description"].as_str().expect("a description");
        rows.push(format!("| `{name}` | `{value}` | {says} |"));
    }
}

#[test]
fn the_generated_manifests_are_what_the_chart_renders() {
    let rendered = template("{}", &["--skip-tests"]).expect("renders");
    let namespace = include_str!("namespace.yaml");
    check("deploy/surepull.yaml", &format!("{namespace}{rendered}"));
}
