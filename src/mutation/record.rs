//! What surepull pinned, kept with the object.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use crate::image::Digest;
use crate::workload::{Slot, SlotName, Template};

use super::json_text;

/// The annotation on the object's own metadata that holds the [`Record`]. Never on a template's: that would be a
/// roll-out of its own.
pub const PINNED: &str = "surepull.dev/pinned";

/// Which slots surepull pinned: from which text, to which digest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Record(BTreeMap<String, Entry>);

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Entry {
    image: String,
    digest: String,
}

impl Entry {
    /// The text as written, where `now` is that with the digest.
    fn written<'t>(&self, now: &'t str) -> Option<&'t str> {
        let written = now.strip_suffix(&*self.digest)?.strip_suffix('@')?;
        (written == self.image).then_some(written)
    }
}

impl Record {
    /// The record in an annotation; empty where it is not one, because then somebody else wrote it.
    pub fn parse(annotation: &str) -> Self {
        if annotation.is_empty() {
            Self::default()
        } else {
            serde_json::from_str(annotation).unwrap_or_default()
        }
    }

    /// The annotation's text.
    pub fn text(&self) -> String {
        let mut out = Vec::with_capacity(192 * self.0.len());
        out.push(b'{');
        for (key, entry) in &self.0 {
            if out.len() > 1 {
                out.push(b',');
            }
            json_text(&mut out, key);
            out.extend_from_slice(br#":{"image":"#);
            json_text(&mut out, &entry.image);
            out.extend_from_slice(br#","digest":"#);
            json_text(&mut out, &entry.digest);
            out.push(b'}');
        }
        out.push(b'}');
        String::from_utf8(out).unwrap_or_default()
    }

    /// Whether nothing is recorded.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key of a slot: where its pod spec is, its list, its name. A single container is where it is.
    pub fn key(template: &Template<'_>, slot: &Slot<'_>) -> String {
        let Some(list) = slot.kind.list() else {
            return template.path().to_owned();
        };
        let identity = match slot.identity() {
            SlotName::Named(name) => Cow::Borrowed(name),
            nameless @ SlotName::Nameless(_) => Cow::Owned(nameless.to_string()),
        };
        [template.path(), "/", list, "/", &*identity].concat()
    }

    /// The text as the user wrote it, if what the slot holds now is what surepull made of that.
    pub fn written<'t>(&self, key: &str, now: &'t str) -> Option<&'t str> {
        self.0.get(key)?.written(now)
    }

    /// Notes that a slot was pinned.
    pub fn note(&mut self, key: String, written: &str, digest: &Digest) {
        self.0.insert(
            key,
            Entry {
                image: written.to_owned(),
                digest: digest.as_str().to_owned(),
            },
        );
    }

    /// Takes over what another record says of a slot, if it still holds.
    pub fn keep(&mut self, key: &str, other: &Self, now: &str) -> bool {
        let Some(entry) = other
            .0
            .get(key)
            .filter(|entry| entry.written(now).is_some())
        else {
            return false;
        };
        self.0.insert(key.to_owned(), entry.clone());
        true
    }

    /// The slots and their digests, in the order of the keys.
    pub fn digests(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, entry)| (&**key, &*entry.digest))
    }
}
