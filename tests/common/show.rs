//! How the demos show what surepull does: objects before and after, in colour where a terminal shows it.

use std::io::IsTerminal;

use serde_json::Value;
use similar::{ChangeTag, TextDiff};

/// What is emphasised, or means something.
#[derive(Clone, Copy, Debug)]
pub enum Style {
    Title,
    Warning,
    Added,
    Removed,
    Faint,
}

impl Style {
    /// Prints a text, its lines each in this style.
    pub fn say(self, text: &str) {
        for line in text.lines() {
            println!("{}", self.paint(line));
        }
    }

    fn paint(self, text: &str) -> String {
        let code = match self {
            Self::Title => "1",
            Self::Warning => "33",
            Self::Added => "32",
            Self::Removed => "31",
            Self::Faint => "2",
        };
        if std::io::stdout().is_terminal() {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Shows what is different between two objects, or says that nothing is.
pub fn diff(before: &Value, after: &Value) {
    let (before, after) = (manifest(before), manifest(after));
    if before == after {
        Style::Faint.say("  (nothing is different)");
    }
    let diff = TextDiff::from_lines(&before, &after);
    for group in diff.grouped_ops(1) {
        let changes = group
            .iter()
            .flat_map(|operation| diff.iter_changes(operation));
        for change in changes {
            let (sign, style) = match change.tag() {
                ChangeTag::Delete => ("-", Style::Removed),
                ChangeTag::Insert => ("+", Style::Added),
                ChangeTag::Equal => (" ", Style::Faint),
            };
            style.say(&format!("{sign} {}", change.value().trim_end()));
        }
    }
}

/// The object as people write it: without what the API server and controllers add.
fn manifest(object: &Value) -> String {
    let mut object = object.clone();
    remove(&mut object, "", &["status"]);
    remove(&mut object, "/spec", &["nodeName"]);
    let own = [
        "creationTimestamp",
        "generation",
        "managedFields",
        "resourceVersion",
        "uid",
    ];
    remove(&mut object, "/metadata", &own);
    let added = [
        "deployment.kubernetes.io/revision",
        "kubectl.kubernetes.io/last-applied-configuration",
    ];
    remove(&mut object, "/metadata/annotations", &added);
    if object.pointer("/metadata/annotations") == Some(&Value::Object(serde_json::Map::new())) {
        remove(&mut object, "/metadata", &["annotations"]);
    }
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(&object, options).expect("YAML")
}

/// Removes members of an object in an object, if they are there.
fn remove(object: &mut Value, pointer: &str, members: &[&str]) {
    if let Some(map) = object.pointer_mut(pointer).and_then(Value::as_object_mut) {
        map.retain(|name, _| !members.contains(&name.as_str()));
    }
}
