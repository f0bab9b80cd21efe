//! `docs/settings.md` is what the schema of the configuration says: `make reference` writes it.

use std::env::var_os;
use std::fs;

use serde_json::{Map, Value};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/settings.md");

const HEAD: &str = "# Settings

Every setting of the [configuration](configuration.md), as the schema has it; `make reference` writes this page. `[]` stands for
each entry of a list. A setting without a default is off, or has to be given where its entry is.

| setting | values | default | says |
|---|---|---|---|
";

#[test]
fn the_reference_has_every_setting() {
    let schema: Value = serde_json::from_str(&surepull::config::schema()).expect("JSON");
    let mut rows = Vec::new();
    list("", &schema, &schema["$defs"], &mut rows);
    let text = format!("{HEAD}{}\n", rows.join("\n"));
    if var_os("SUREPULL_WRITE").is_some() {
        fs::write(PAGE, &text).expect(PAGE);
    }
    let held = fs::read_to_string(PAGE).unwrap_or_default();
    assert!(
        held == text,
        "docs/settings.md is not current: run `make reference`"
    );
}

/// A row for each setting of an object.
fn list(before: &str, object: &Value, parts: &Value, rows: &mut Vec<String>) {
    for (key, property) in object["properties"].as_object().expect("properties") {
        let name = format!("{before}{key}");
        let property = whole(property, parts);
        let items = whole(&property["items"], parts);
        if property["properties"].is_object() {
            list(&format!("{name}."), &property, parts, rows);
        } else if items["properties"].is_object() {
            list(&format!("{name}[]."), &items, parts, rows);
        } else {
            let (values, says) = (values(&property, &items), says(&property, &items));
            let default = match &property["default"] {
                Value::Null => String::new(),
                Value::String(text) => format!("`{text}`"),
                default => format!("`{default}`"),
            };
            rows.push(format!("| `{name}` | {values} | {default} | {says} |"));
        }
    }
}

/// A part of the schema with what it refers to; where it has a text of its own, that counts.
fn whole(part: &Value, parts: &Value) -> Value {
    let all = part["anyOf"].as_array();
    let part = all.and_then(|all| all.first()).map_or(part.clone(), |one| {
        let mut one = one.clone();
        one["description"] = part["description"].clone();
        one
    });
    let name = part["$ref"]
        .as_str()
        .and_then(|path| path.rsplit('/').next());
    let mut whole = name.map_or(Value::Object(Map::new()), |name| parts[name].clone());
    json_patch::merge(&mut whole, &part);
    whole
}

fn values(property: &Value, items: &Value) -> String {
    let kind = |one: &Value| match &one["type"] {
        Value::Array(kinds) => kinds[0].as_str().map(str::to_owned),
        kind => kind.as_str().map(str::to_owned),
    };
    if items["type"].is_string() || items["oneOf"].is_array() {
        return "list of texts".to_owned();
    }
    if let Some(all) = choices(property) {
        let names: Vec<_> = all.into_iter().map(|(name, _)| name).collect();
        return names.join(", ");
    }
    if let Some(all) = property["enum"].as_array() {
        return format!("`{}`", all[0].as_str().expect("text"));
    }
    match kind(property).as_deref() {
        Some("string") if property["pattern"].to_string().contains("ns|us") => "duration",
        Some("string") => "text",
        Some("integer") => "number",
        Some("boolean") => "`true`, `false`",
        other => panic!("{other:?}: {property}"),
    }
    .to_owned()
}

/// What there is to choose from, and what each means.
fn choices(property: &Value) -> Option<Vec<(String, String)>> {
    let all = property["oneOf"].as_array()?;
    let choice = |one: &Value| {
        let name = format!("`{}`", one["const"].as_str().expect("a constant"));
        (name, line(&one["description"]))
    };
    Some(all.iter().map(choice).collect())
}

fn says(property: &Value, items: &Value) -> String {
    let all = choices(property).or_else(|| choices(items));
    let meanings = all.into_iter().flatten();
    let meanings = meanings.map(|(name, meaning)| format!(" {name}: {meaning}"));
    line(&property["description"]) + &meanings.collect::<String>()
}

/// A description in one line of a table.
fn line(description: &Value) -> String {
    let text = description.as_str().expect("a description");
    text.replace('\n', " ").replace('|', "\\|")
}
