//! An edit: an address and a change, never text. A JSON patch and a manifest each render the same edits.

use std::fmt;

use crate::workload::{SlotKind, SlotName};

use super::PINNED;

/// One change of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit<'r> {
    /// JSON pointer of the pod spec, or of a single container; unused for the object's annotation.
    pub spec: &'r str,
    /// Which field.
    pub field: Field<'r>,
    /// What becomes of it.
    pub change: Change,
}

/// The fields that surepull ever changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'r> {
    /// The image of a slot: list, position, name for messages.
    Image(SlotKind, usize, &'r str),
    /// The pull policy of a slot.
    Policy(SlotKind, usize, &'r str),
    /// `imagePullSecrets` of the pod spec.
    PullSecrets,
    /// The record, in the object's own metadata.
    Annotation,
}

/// What becomes of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is absent, or `null`, and gets this text.
    Add(String),
    /// It gets this text instead of another.
    Replace(String),
    /// It goes.
    Remove,
    /// The list is absent, or `null`, and becomes a list of these names.
    AddNames(Vec<String>),
    /// The list is there, and gets these names at its end.
    Append(Vec<String>),
    /// The map that holds the field is absent, and becomes a map with this text in it alone.
    AddToNewMap(String),
    /// So is the map that would hold that map.
    AddToNewMaps(String),
}

/// What the edit does, as a half sentence with a verb: `set the image of container "c" to app@sha256:…`.
impl fmt::Display for Edit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.field {
            Field::Image(kind, index, name) => {
                format!("the image of {}", place(kind, index, name, self.spec))
            }
            Field::Policy(kind, index, name) => {
                format!("the pull policy of {}", place(kind, index, name, self.spec))
            }
            Field::PullSecrets => "imagePullSecrets".to_owned(),
            Field::Annotation => format!("annotation {PINNED}"),
        };
        match &self.change {
            Change::Add(to)
            | Change::Replace(to)
            | Change::AddToNewMap(to)
            | Change::AddToNewMaps(to) => {
                write!(f, "set {what} to {to}")
            }
            Change::Remove => write!(f, "remove {what}"),
            Change::AddNames(names) | Change::Append(names) => {
                write!(f, "add {} to {what}", names.join(", "))
            }
        }
    }
}

/// A slot as people call it: by its name, or for want of one by its position or its place.
pub(super) fn place(kind: SlotKind, index: usize, name: &str, at: &str) -> String {
    let noun = match kind {
        SlotKind::Init => "init container",
        SlotKind::Container | SlotKind::Single => "container",
        SlotKind::Ephemeral => "ephemeral container",
        SlotKind::Volume => "volume",
    };
    match (name, kind) {
        ("", SlotKind::Single) => format!("{noun} at {at}"),
        ("", _) => format!("{noun} \"{}\"", SlotName::Nameless(index)),
        _ => format!("{noun} {name:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_without_a_name_is_called_by_its_place() {
        for (kind, index, name, called) in [
            (SlotKind::Init, 2, "c", "init container \"c\""),
            (SlotKind::Init, 2, "", "init container \"#2\""),
            (SlotKind::Single, 0, "c", "container \"c\""),
            (SlotKind::Single, 0, "", "container at /spec/script"),
        ] {
            let edit = Edit {
                spec: "/spec/script",
                field: Field::Image(kind, index, name),
                change: Change::Replace("app:1".to_owned()),
            };
            assert_eq!(
                edit.to_string(),
                format!("set the image of {called} to app:1")
            );
        }
    }
}
