//! The part of an `AdmissionReview` around the objects, read in one pass: the API server writes a request's kind before
//! its object, so the object's shape is known when the object comes. Where it is not, the object waits as raw text.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::workload::{Class, Kinds, Object, Operation, Survey, Workload};

/// An `AdmissionReview`.
#[derive(Debug, Default)]
pub(super) struct Envelope<'a> {
    pub(super) api_version: Cow<'a, str>,
    pub(super) kind: Cow<'a, str>,
    pub(super) request: Option<Request<'a>>,
}

/// An `AdmissionRequest`.
#[derive(Debug, Default)]
pub(super) struct Request<'a> {
    pub(super) uid: Cow<'a, str>,
    pub(super) kind: Option<GroupVersionKind<'a>>,
    pub(super) subresource: Cow<'a, str>,
    pub(super) namespace: Cow<'a, str>,
    pub(super) operation: Option<Operation>,
    /// What kind of workload it is, if it is one.
    pub(super) class: Option<Class>,
    pub(super) object: Option<Object<'a>>,
    pub(super) old_object: Option<Object<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct GroupVersionKind<'a> {
    #[serde(borrow, default)]
    group: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) kind: Cow<'a, str>,
}

/// Reads an [`Envelope`].
pub(super) struct EnvelopeSeed<'k>(pub(super) &'k Kinds);

impl<'de> DeserializeSeed<'de> for EnvelopeSeed<'_> {
    type Value = Envelope<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Envelope<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EnvelopeSeed<'_> {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an AdmissionReview")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope<'de>, A::Error> {
        let mut envelope = Envelope::default();
        let mut seen = Seen::default();
        while let Some(Text(key)) = map.next_key()? {
            match seen.once(&["apiVersion", "kind", "request", "response"], &key)? {
                "apiVersion" => envelope.api_version = map.next_value::<Text<'de>>()?.0,
                "kind" => envelope.kind = map.next_value::<Text<'de>>()?.0,
                "request" => envelope.request = map.next_value_seed(RequestSeed(self.0))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(envelope)
    }
}

/// The members of an `AdmissionRequest` (`admission.k8s.io/v1`).
const MEMBERS: [&str; 15] = [
    "uid",
    "kind",
    "resource",
    "subResource",
    "requestKind",
    "requestResource",
    "requestSubResource",
    "name",
    "namespace",
    "operation",
    "userInfo",
    "object",
    "oldObject",
    "dryRun",
    "options",
];

struct RequestSeed<'k>(&'k Kinds);

impl<'de> DeserializeSeed<'de> for RequestSeed<'_> {
    type Value = Option<Request<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for RequestSeed<'_> {
    type Value = Option<Request<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an AdmissionRequest")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut request = Request::default();
        let mut seen = Seen::default();
        let mut known = Known::NotYet;
        let (mut object, mut old_object) = (Raw::default(), Raw::default());
        while let Some(Text(key)) = map.next_key()? {
            match seen.once(&MEMBERS, &key)? {
                "uid" => request.uid = map.next_value::<Text<'de>>()?.0,
                "kind" => {
                    let kind: GroupVersionKind<'de> = map.next_value()?;
                    known = self
                        .0
                        .find(&kind.group, &kind.kind)
                        .map_or(Known::NoWorkload, Known::Workload);
                    request.kind = Some(kind);
                }
                "subResource" => request.subresource = optional(&mut map)?,
                "namespace" => request.namespace = optional(&mut map)?,
                "operation" => request.operation = Some(map.next_value()?),
                "object" => object.read(&mut map, &known, &mut request.object)?,
                "oldObject" => old_object.read(&mut map, &known, &mut request.old_object)?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if let Known::Workload(workload) = known {
            request.class = Some(workload.class);
            object.survey(workload, &mut request.object)?;
            old_object.survey(workload, &mut request.old_object)?;
        }
        Ok(Some(request))
    }
}

/// What is known of the kind when an object comes.
enum Known<'k> {
    /// Nothing: the kind is still to come.
    NotYet,
    /// It holds no pod specs.
    NoWorkload,
    /// It is this one.
    Workload(&'k Workload),
}

/// An object that came before its kind.
#[derive(Default)]
struct Raw<'de>(Option<&'de RawValue>);

impl<'de> Raw<'de> {
    fn read<A: MapAccess<'de>>(
        &mut self,
        map: &mut A,
        known: &Known<'_>,
        object: &mut Option<Object<'de>>,
    ) -> Result<(), A::Error> {
        match known {
            Known::NotYet => self.0 = map.next_value()?,
            Known::NoWorkload => drop(map.next_value::<IgnoredAny>()?),
            Known::Workload(workload) => *object = map.next_value_seed(Survey(&workload.shape))?,
        }
        Ok(())
    }

    fn survey<E: Error>(
        self,
        workload: &Workload,
        object: &mut Option<Object<'de>>,
    ) -> Result<(), E> {
        if let Some(raw) = self.0 {
            let mut json = serde_json::Deserializer::from_str(raw.get());
            *object = Survey(&workload.shape)
                .deserialize(&mut json)
                .map_err(E::custom)?;
        }
        Ok(())
    }
}

fn optional<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Cow<'de, str>, A::Error> {
    Ok(map
        .next_value::<Option<Text<'de>>>()?
        .map(|text| text.0)
        .unwrap_or_default())
}

/// Text that is borrowed where it has no escapes; a plain `Cow` would always be copied.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Refuses a second member of the same name: readers differ in which of the two they take.
#[derive(Default)]
struct Seen(u32);

impl Seen {
    fn once<E: Error>(&mut self, members: &[&'static str], key: &str) -> Result<&'static str, E> {
        let Some(position) = members.iter().position(|member| *member == key) else {
            return Ok("");
        };
        let bit = 1 << position;
        if self.0 & bit != 0 {
            return Err(E::duplicate_field(members[position]));
        }
        self.0 |= bit;
        Ok(members[position])
    }
}
