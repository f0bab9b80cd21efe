//! What is read of `metadata`.

use std::borrow::Cow;

use serde::de::{IgnoredAny, MapAccess, SeqAccess};

use super::lenient::{Key, Lenient, Read, TextReader, once};
use super::object::{Annotations, Meta, Presence, Text};

pub(super) struct MetaReader;

impl<'de> Lenient<'de> for MetaReader {
    type Value = Meta<'de>;

    fn unfit(self) -> Meta<'de> {
        Meta {
            presence: Presence::Unfit,
            ..Meta::default()
        }
    }

    fn null(self) -> Meta<'de> {
        Meta {
            presence: Presence::Null,
            ..Meta::default()
        }
    }

    fn map<A: MapAccess<'de>>(self, mut map: A) -> Result<Meta<'de>, A::Error> {
        let (mut name, mut generate_name, mut annotations, mut controlled, mut deleting) =
            (None, None, None, None, None);
        while let Some(key) = map.next_key_seed(Read(Key))? {
            match &*key {
                "name" => once(&mut name, &mut map, "name", Read(TextReader))?,
                "generateName" => once(
                    &mut generate_name,
                    &mut map,
                    "generateName",
                    Read(TextReader),
                )?,
                "annotations" => once(
                    &mut annotations,
                    &mut map,
                    "annotations",
                    Read(AnnotationsReader),
                )?,
                "ownerReferences" => once(
                    &mut controlled,
                    &mut map,
                    "ownerReferences",
                    Read(Any(Controls)),
                )?,
                "deletionTimestamp" => once(
                    &mut deleting,
                    &mut map,
                    "deletionTimestamp",
                    Read(TextReader),
                )?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let text = |text: Option<Text<'de>>| match text {
            Some(Text::Is(text)) => text,
            _ => Cow::Borrowed(""),
        };
        Ok(Meta {
            presence: Presence::Present,
            name: text(name),
            generate_name: text(generate_name),
            annotations: annotations.unwrap_or_default(),
            controlled: controlled.unwrap_or_default(),
            deleting: !matches!(deleting, None | Some(Text::Absent | Text::Null)),
        })
    }
}

struct AnnotationsReader;

impl<'de> Lenient<'de> for AnnotationsReader {
    type Value = Annotations<'de>;

    fn unfit(self) -> Annotations<'de> {
        Annotations {
            presence: Presence::Unfit,
            ..Annotations::default()
        }
    }

    fn null(self) -> Annotations<'de> {
        Annotations {
            presence: Presence::Null,
            ..Annotations::default()
        }
    }

    fn map<A: MapAccess<'de>>(self, mut map: A) -> Result<Annotations<'de>, A::Error> {
        let (mut pinned, mut restarted_at, mut mirror) = (None, None, None);
        while let Some(key) = map.next_key_seed(Read(Key))? {
            match &*key {
                "surepull.dev/pinned" => once(
                    &mut pinned,
                    &mut map,
                    "surepull.dev/pinned",
                    Read(TextReader),
                )?,
                "kubectl.kubernetes.io/restartedAt" => {
                    once(
                        &mut restarted_at,
                        &mut map,
                        "kubectl.kubernetes.io/restartedAt",
                        Read(TextReader),
                    )?;
                }
                "kubernetes.io/config.mirror" => {
                    once(
                        &mut mirror,
                        &mut map,
                        "kubernetes.io/config.mirror",
                        Read(TextReader),
                    )?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Annotations {
            presence: Presence::Present,
            pinned: pinned.unwrap_or_default(),
            restarted_at: restarted_at.unwrap_or_default(),
            mirror: mirror.is_some(),
        })
    }
}

/// Whether any element of a list is so.
struct Any<L>(L);

impl<'de, L: Lenient<'de, Value = bool> + Copy> Lenient<'de> for Any<L> {
    type Value = bool;

    fn unfit(self) -> bool {
        false
    }

    fn seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<bool, A::Error> {
        let mut any = false;
        while let Some(one) = seq.next_element_seed(Read(self.0))? {
            any |= one;
        }
        Ok(any)
    }
}

/// Whether an owner reference has `controller: true`.
#[derive(Clone, Copy)]
struct Controls;

impl<'de> Lenient<'de> for Controls {
    type Value = bool;

    fn unfit(self) -> bool {
        false
    }

    fn map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut controller = None;
        while let Some(key) = map.next_key_seed(Read(Key))? {
            match &*key {
                "controller" => once(&mut controller, &mut map, "controller", Read(Truth))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(controller == Some(true))
    }
}

struct Truth;

impl Lenient<'_> for Truth {
    type Value = bool;

    fn unfit(self) -> bool {
        false
    }

    fn truth(self, truth: bool) -> bool {
        truth
    }
}
