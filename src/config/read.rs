//! From the text to a checked configuration, or to the one error that says what to mend first.

use std::collections::HashMap;
use std::fs::File as FsFile;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_path_to_error::{Segment, Track};
use serde_saphyr::{Error as Yaml, Location, MessageFormatter, UserMessageFormatter};

use super::error::nearest;
use super::file::{Entries, File, Header};
use super::{API_VERSION, Configuration, CustomResource, Error, KIND};
use crate::workload::{Kinds, Leaf, Preset};

/// The largest file that is read: what a `ConfigMap` can hold.
pub const MAX_BYTES: u64 = 1024 * 1024;

/// Reads and checks a configuration file.
pub fn load(path: &Path) -> Result<Configuration, Error> {
    let configuration = bytes(path).and_then(|bytes| parse(&bytes));
    configuration.map_err(|error| error.file(path))
}

/// Checks the text of a configuration file.
pub fn parse(bytes: &[u8]) -> Result<Configuration, Error> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(too_large());
    }
    let text = utf8(bytes)?;
    let Some(header) = read::<Option<Header>>(text)? else {
        return Ok(Configuration::default());
    };
    check_header(&header)?;
    let file = read::<File>(text)?;
    check_unique(
        "customResources",
        &file.custom_resources,
        |entry| format!("{}/{}", entry.group, entry.kind),
        "name all paths in one entry",
    )?;
    let kinds = kinds(&file.custom_resources, &file.presets)?;
    check_unique(
        "registries",
        &file.registries,
        |entry| entry.pattern.clone(),
        "name all endpoints in one entry",
    )?;
    Ok(file.into_configuration(kinds))
}

fn utf8(bytes: &[u8]) -> Result<&str, Error> {
    str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()]
            .split(|byte| *byte == b'\n')
            .count();
        Error::new(format!("line {line} is not UTF-8 text"))
    })
}

/// Reads another file of YAML or JSON as strictly as the types say, with errors that name place and key.
pub(crate) fn load_as<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let document = || {
        let bytes = bytes(path)?;
        let text = utf8(&bytes)?;
        read(text)
    };
    document().map_err(|error| error.file(path))
}

fn bytes(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    FsFile::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| Error::unreadable(&error))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(too_large());
    }
    Ok(bytes)
}

fn too_large() -> Error {
    Error::new("the configuration is larger than 1 MiB")
}

/// The built-in kinds, these, and those of the presets that are not among these.
fn kinds(entries: &Entries<CustomResource>, presets: &[Preset]) -> Result<Kinds, Error> {
    let mut kinds = Kinds::default();
    for (index, entry) in entries.0.iter().enumerate() {
        let CustomResource {
            group,
            kind,
            templates,
            pod_specs,
            containers,
        } = &entry.value;
        let lists = [
            (templates, Leaf::Template),
            (pod_specs, Leaf::Spec),
            (containers, Leaf::Container),
        ];
        let paths = lists.iter().flat_map(|(paths, leaf)| {
            let leaf = *leaf;
            paths.iter().map(move |path| (path.as_str(), leaf))
        });
        kinds.add(group, kind, paths).map_err(|conflict| {
            let error = Error::new(conflict.to_string()).key(format!("customResources[{index}]"));
            placed(error, entry.referenced)
        })?;
    }
    for preset in presets {
        kinds.add_preset(*preset);
    }
    Ok(kinds)
}

fn check_header(header: &Header) -> Result<(), Error> {
    let pairs = [
        ("apiVersion", &header.api_version, API_VERSION),
        ("kind", &header.kind, KIND),
    ];
    for (key, value, wanted) in pairs {
        let error = match value {
            Some(value) if value.value == wanted => continue,
            Some(value) => {
                let found = &value.value;
                let message = format!(
                    "this is `{found}`; surepull {} reads `{wanted}`",
                    env!("CARGO_PKG_VERSION")
                );
                placed(Error::new(message), value.referenced)
            }
            None => Error::new(format!("the file must say `{key}: {wanted}`")).at(1, 1),
        };
        return Err(error.key(key));
    }
    Ok(())
}

fn check_unique<T>(
    list: &str,
    entries: &Entries<T>,
    identity: impl Fn(&T) -> String,
    remedy: &str,
) -> Result<(), Error> {
    let mut seen = HashMap::new();
    for (index, entry) in entries.0.iter().enumerate() {
        let identity = identity(&entry.value);
        if let Some(line) = seen.get(&identity) {
            let message =
                format!("a second entry for `{identity}`, after that of line {line}; {remedy}");
            return Err(
                placed(Error::new(message), entry.referenced).key(format!("{list}[{index}]"))
            );
        }
        seen.insert(identity, entry.referenced.line());
    }
    Ok(())
}

/// Reads one document, and knows the path of the key when it fails.
fn read<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, Error> {
    let options = serde_saphyr::options! { with_snippet: false };
    let mut track = Track::new();
    serde_saphyr::with_deserializer_from_str_with_options(text, options, |document| {
        T::deserialize(serde_path_to_error::Deserializer::new(document, &mut track))
    })
    .map_err(|error| explain(&error, &path(track)))
}

fn path(track: Track) -> String {
    let mut text = String::new();
    let mut spanned = false;
    for segment in &track.path() {
        match segment {
            Segment::Seq { index } => text = format!("{text}[{index}]"),
            // Entries of lists, and the header's fields, know their places: a wrapper that is not in the file.
            Segment::Map { key } if key == "value" && spanned => {
                spanned = false;
                continue;
            }
            Segment::Map { key } | Segment::Enum { variant: key } => {
                if !text.is_empty() {
                    text.push('.');
                }
                text += key;
            }
            Segment::Unknown => {}
        }
        spanned = text.ends_with(']') || text == "apiVersion" || text == "kind";
    }
    text
}

fn explain(error: &Yaml, key: &str) -> Error {
    let location = error.location();
    // What an alias or a snippet wraps is the error; the place is still that of the wrapped use.
    let mut inner = error.without_snippet();
    while let Yaml::AliasError { error, .. } = inner {
        inner = error;
    }
    let message = match inner {
        Yaml::SerdeUnknownField {
            expected, field, ..
        } => {
            format!("unknown key; {}", suggestion(field, expected, "keys here"))
        }
        Yaml::SerdeUnknownVariant {
            variant, expected, ..
        } => format!(
            "`{variant}` is not a value of this key; {}",
            suggestion(variant, expected, "values")
        ),
        Yaml::SerdeMissingField { field, .. } => format!("the key `{field}` is missing"),
        Yaml::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key `{key}` stands here twice; keep one of the two")
        }
        Yaml::MultipleDocuments { .. } => {
            "a second YAML document begins here; the configuration is one document".to_owned()
        }
        Yaml::NullIntoString { .. } => "there is no value; write one, or remove the key".to_owned(),
        Yaml::ExternallyTaggedEnumExpectedScalarOrMapping { .. } => {
            "one of the named values belongs here, not a list".to_owned()
        }
        Yaml::Unexpected { expected, .. } => expectation(expected),
        other => UserMessageFormatter.format_message(other).into_owned(),
    };
    let error = Error::new(message).key(key);
    match location {
        Some(location) => placed(error, location),
        None => error,
    }
}

fn suggestion(word: &str, known: &[&str], what: &str) -> String {
    match nearest(word, known) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("the {what} are {}", known.join(", ")),
    }
}

fn expectation(expected: &str) -> String {
    let wanted = match expected {
        "mapping start" => "a mapping (`key: value`)",
        "sequence start" => "a list (`- value`)",
        "string scalar" => "a text",
        other => other,
    };
    format!("{wanted} belongs here; write one, or remove the key")
}

fn placed(error: Error, location: Location) -> Error {
    if location == Location::UNKNOWN {
        return error;
    }
    error.at(location.line(), location.column())
}
