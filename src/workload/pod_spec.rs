//! What is read of a pod spec, and of a single container.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::de::{IgnoredAny, MapAccess, SeqAccess};

use super::lenient::{Key, Lenient, Read, TextReader, once};
use super::object::{List, PodSpec, Slot, SlotKind, Text};

pub(super) struct SpecReader;

impl<'de> Lenient<'de> for SpecReader {
    type Value = Option<PodSpec<'de>>;

    fn unfit(self) -> Option<PodSpec<'de>> {
        None
    }

    fn map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<PodSpec<'de>>, A::Error> {
        let mut lists = [None; SlotKind::ALL.len()];
        let mut slots = Vec::new();
        let (mut secrets, mut name, mut alias) = (None, None, None);
        while let Some(key) = map.next_key_seed(Read(Key))? {
            let list = |kind: SlotKind| Some((kind, kind.list().filter(|list| *list == key)?));
            if let Some((kind, list)) = SlotKind::ALL.into_iter().find_map(list) {
                let reader = Read(SlotsReader {
                    kind,
                    slots: &mut slots,
                });
                once(&mut lists[kind as usize], &mut map, list, reader)?;
                continue;
            }
            match &*key {
                "imagePullSecrets" => once(
                    &mut secrets,
                    &mut map,
                    "imagePullSecrets",
                    Read(SecretsReader),
                )?,
                "serviceAccountName" => {
                    once(&mut name, &mut map, "serviceAccountName", Read(TextReader))?;
                }
                "serviceAccount" => once(&mut alias, &mut map, "serviceAccount", Read(TextReader))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        slots.sort_by_key(|slot: &Slot| slot.kind);
        unname_repeated(&mut slots);
        Ok(Some(PodSpec {
            slots,
            pull_secrets: secrets.unwrap_or_default(),
            service_account_name: name.unwrap_or_default(),
            service_account: alias.unwrap_or_default(),
        }))
    }
}

/// A name tells slots apart only where it stands once; the API server refuses others, a custom resource may not.
fn unname_repeated(slots: &mut [Slot<'_>]) {
    let mut seen = HashSet::new();
    let repeated: Vec<usize> = (0..slots.len())
        .filter(|&at| {
            let slot = &slots[at];
            let same = |before: &Slot<'_>| before.kind == slot.kind && before.name == slot.name;
            slot.name.as_deref().is_some_and(|name| {
                // Below a few, looking at each one is cheaper than hashing.
                if slots.len() <= 16 {
                    slots[..at].iter().any(same)
                } else {
                    !seen.insert((slot.kind, name))
                }
            })
        })
        .collect();
    for position in repeated {
        slots[position].name = None;
    }
}

struct SlotsReader<'s, 'de> {
    kind: SlotKind,
    slots: &'s mut Vec<Slot<'de>>,
}

impl<'de> Lenient<'de> for SlotsReader<'_, 'de> {
    type Value = ();

    fn unfit(self) {}

    fn seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut index = 0;
        while let Some(slot) = seq.next_element_seed(Read(SlotReader {
            kind: self.kind,
            index,
        }))? {
            self.slots.extend(slot);
            index += 1;
        }
        Ok(())
    }
}

pub(super) struct SlotReader {
    pub(super) kind: SlotKind,
    pub(super) index: usize,
}

impl<'de> Lenient<'de> for SlotReader {
    type Value = Option<Slot<'de>>;

    fn unfit(self) -> Option<Slot<'de>> {
        None
    }

    fn map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<Slot<'de>>, A::Error> {
        let volume = self.kind == SlotKind::Volume;
        let (mut name, mut image, mut policy, mut source) = (None, None, None, None);
        while let Some(key) = map.next_key_seed(Read(Key))? {
            match &*key {
                "name" => once(&mut name, &mut map, "name", Read(TextReader))?,
                "image" if volume => once(&mut source, &mut map, "image", Read(VolumeSource))?,
                "image" => once(&mut image, &mut map, "image", Read(TextReader))?,
                "imagePullPolicy" if !volume => {
                    once(&mut policy, &mut map, "imagePullPolicy", Read(TextReader))?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if volume {
            let Some((reference, pull_policy)) = source.flatten() else {
                return Ok(None);
            };
            (image, policy) = (Some(reference), Some(pull_policy));
        }
        let image = match image.unwrap_or_default() {
            Text::Is(image) => image,
            Text::Absent | Text::Null => Cow::Borrowed(""),
            Text::Unfit => return Ok(None),
        };
        let name = match name {
            Some(Text::Is(name)) if !name.is_empty() => Some(name),
            _ => None,
        };
        Ok(Some(Slot {
            kind: self.kind,
            index: self.index,
            name,
            image,
            policy: policy.unwrap_or_default(),
        }))
    }
}

/// `volumes[].image`: its `reference` and `pullPolicy`.
struct VolumeSource;

impl<'de> Lenient<'de> for VolumeSource {
    type Value = Option<(Text<'de>, Text<'de>)>;

    fn unfit(self) -> Self::Value {
        None
    }

    fn map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut reference, mut policy) = (None, None);
        while let Some(key) = map.next_key_seed(Read(Key))? {
            match &*key {
                "reference" => once(&mut reference, &mut map, "reference", Read(TextReader))?,
                "pullPolicy" => once(&mut policy, &mut map, "pullPolicy", Read(TextReader))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Some((
            reference.unwrap_or_default(),
            policy.unwrap_or_default(),
        )))
    }
}

struct SecretsReader;

impl<'de> Lenient<'de> for SecretsReader {
    type Value = List<'de>;

    fn unfit(self) -> List<'de> {
        List::Unfit
    }

    fn null(self) -> List<'de> {
        List::Null
    }

    fn seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<List<'de>, A::Error> {
        let (mut names, mut fits) = (Vec::new(), true);
        while let Some(name) = seq.next_element_seed(Read(SecretName))? {
            fits &= name.is_some();
            names.extend(name);
        }
        Ok(if fits {
            List::Names(names)
        } else {
            List::Unfit
        })
    }
}

struct SecretName;

impl<'de> Lenient<'de> for SecretName {
    type Value = Option<Cow<'de, str>>;

    fn unfit(self) -> Self::Value {
        None
    }

    fn map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut name = None;
        while let Some(key) = map.next_key_seed(Read(Key))? {
            match &*key {
                "name" => once(&mut name, &mut map, "name", Read(TextReader))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(match name.unwrap_or_default() {
            Text::Is(name) => Some(name),
            Text::Absent | Text::Null => Some(Cow::Borrowed("")),
            Text::Unfit => None,
        })
    }
}
