//! `tests/presets`: of each preset the definitions of its kinds, and samples with what becomes of them.

use std::collections::BTreeMap;
use std::fs;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde_json::Value;
use surepull::workload::Preset;

/// The file of one preset.
pub struct Project {
    pub name: String,
    pub preset: Preset,
    pub definitions: Vec<Value>,
    pub samples: Vec<Sample>,
}

/// An object, and the edits that surepull makes, as `/path: value`; `…` is the digest of the image before it.
pub struct Sample {
    pub object: Value,
    pub edits: Vec<String>,
}

impl Sample {
    /// Group and kind.
    pub fn kind(&self) -> (&str, &str) {
        let text = |key: &str| self.object[key].as_str().expect(key);
        let (group, _) = text("apiVersion").split_once('/').expect("a group");
        (group, text("kind"))
    }

    /// What tells it from the others.
    pub fn title(&self) -> String {
        format!("{} {}", self.kind().1, self.object["metadata"]["name"])
    }
}

impl Project {
    /// The images that get digests.
    pub fn images(&self) -> impl Iterator<Item = &str> {
        let edits = self.samples.iter().flat_map(|sample| &sample.edits);
        edits.filter_map(|edit| edit.split_once(": ")?.1.strip_suffix("@…"))
    }
}

/// The names of the presets, as the schema of the configuration has them, with their descriptions.
pub fn names() -> BTreeMap<String, String> {
    let schema: Value = serde_json::from_str(&surepull::config::schema()).expect("JSON");
    let texts = |preset: &Value| {
        let text = |key: &str| preset[key].as_str().expect(key).replace('`', "");
        (text("const"), text("description"))
    };
    let presets = schema["$defs"]["Preset"]["oneOf"].as_array();
    presets.expect("presets").iter().map(texts).collect()
}

/// The preset of this name.
pub fn preset(name: &str) -> Preset {
    let name: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
        name.into_deserializer();
    Preset::deserialize(name).expect("a preset")
}

fn project(name: String) -> Project {
    let path = format!("{}/tests/presets/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let yaml = |text| -> Value {
        serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let mut documents = text.split("\n---\n");
    let definitions = yaml(documents.next().expect("definitions"));
    let sample = |text| Sample {
        object: yaml(text),
        edits: text
            .lines()
            .filter_map(|line| line.strip_prefix("#   "))
            .map(String::from)
            .collect(),
    };
    Project {
        preset: preset(&name),
        definitions: definitions["items"].as_array().expect("a list").clone(),
        samples: documents.map(sample).collect(),
        name,
    }
}

/// All presets.
pub fn projects() -> impl Iterator<Item = Project> {
    names().into_keys().map(project)
}
