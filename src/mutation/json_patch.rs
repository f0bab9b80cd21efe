//! Edits as a JSON patch (RFC 6902), written without an intermediate tree.
//!
//! A patch that cannot be applied is an error 500 at the API server, whatever the `failurePolicy`
//! (`pkg/admission/plugin/webhook/mutating/dispatcher.go`). So there is no `test`, and every path has its parent in
//! the object that was received.

use super::edit::{Change, Edit, Field};
use super::text::json_text as string;
use crate::workload::SlotKind;

const ANNOTATION: &str = "/metadata/annotations/surepull.dev~1pinned";

/// The patch; `[]` where there is no edit.
pub fn json_patch(edits: &[Edit<'_>]) -> Vec<u8> {
    let mut patch = Patch(Vec::with_capacity(2 + 192 * edits.len()));
    for edit in edits {
        patch.edit(edit);
    }
    patch.finish()
}

struct Patch(Vec<u8>);

impl Patch {
    fn edit(&mut self, edit: &Edit<'_>) {
        match &edit.change {
            Change::Add(text) => self.operation("add", edit, "", |out| string(out, text)),
            Change::Replace(text) => self.operation("replace", edit, "", |out| string(out, text)),
            Change::Remove => self.operation("remove", edit, "", |_| ()),
            Change::AddNames(names) => self.operation("add", edit, "", |out| list(out, names)),
            Change::Append(names) => {
                for name in names {
                    self.operation("add", edit, "/-", |out| element(out, name));
                }
            }
            Change::AddToNewMap(text) | Change::AddToNewMaps(text) => {
                self.operation("add", edit, "", |out| {
                    map(out, super::PINNED, |out| string(out, text));
                });
            }
        }
    }

    fn operation(
        &mut self,
        op: &str,
        edit: &Edit<'_>,
        suffix: &str,
        value: impl FnOnce(&mut Vec<u8>),
    ) {
        let out = &mut self.0;
        out.push(if out.is_empty() { b'[' } else { b',' });
        out.extend_from_slice(br#"{"op":""#);
        out.extend_from_slice(op.as_bytes());
        out.extend_from_slice(br#"","path":"#);
        string(out, &(path(edit) + suffix));
        if op != "remove" {
            out.extend_from_slice(br#","value":"#);
            match edit.change {
                Change::AddToNewMaps(_) => map(out, "annotations", value),
                _ => value(out),
            }
        }
        out.push(b'}');
    }

    fn finish(mut self) -> Vec<u8> {
        if self.0.is_empty() {
            self.0.push(b'[');
        }
        self.0.push(b']');
        self.0
    }
}

/// The JSON pointer of the field, or of the map that has to be added first.
fn path(edit: &Edit<'_>) -> String {
    let spec = edit.spec;
    let slot = |kind: SlotKind, index: usize, field| match kind.list() {
        Some(list) => [spec, "/", list, "/", &index.to_string(), "/", field].concat(),
        None => [spec, "/", field].concat(),
    };
    match (edit.field, &edit.change) {
        (Field::Image(kind, index, _), _) => slot(kind, index, kind.image()),
        (Field::Policy(kind, index, _), _) => slot(kind, index, kind.policy()),
        (Field::PullSecrets, _) => [spec, "/imagePullSecrets"].concat(),
        (Field::Annotation, Change::AddToNewMaps(_)) => "/metadata".to_owned(),
        (Field::Annotation, Change::AddToNewMap(_)) => "/metadata/annotations".to_owned(),
        (Field::Annotation, _) => ANNOTATION.to_owned(),
    }
}

fn element(out: &mut Vec<u8>, name: &str) {
    map(out, "name", |out| string(out, name));
}

fn list(out: &mut Vec<u8>, names: &[String]) {
    out.push(b'[');
    for (position, name) in names.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        element(out, name);
    }
    out.push(b']');
}

fn map(out: &mut Vec<u8>, key: &str, value: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'{');
    string(out, key);
    out.push(b':');
    value(out);
    out.push(b'}');
}
