//! One walk over an object, along its [`Shape`], in any format that serde reads.

use std::collections::HashSet;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess};

use super::lenient::{Key, Lenient, Read, TextReader, once};
use super::meta::MetaReader;
use super::object::{Meta, Object, PodSpec, SlotKind, Template, Text};
use super::pod_spec::{SlotReader, SpecReader};
use super::shape::{Leaf, Shape};

/// The longest key of a map that a `*` of a shape runs through: a prefix of 253 characters, `/`, and a name of 63. The
/// address of each pod spec holds the key, and each edit the address: a longer one is for nothing but to exhaust memory.
const LONGEST_KEY: usize = 317;

/// Reads an [`Object`] along a shape. A repeated key along the way is an error, because readers differ in which of
/// the two they take; whatever else does not fit is left out.
#[derive(Clone, Copy, Debug)]
pub struct Survey<'s>(pub &'s Shape);

impl<'de> DeserializeSeed<'de> for Survey<'_> {
    /// None where the value is no map, such as the `null` of an absent old object.
    type Value = Option<Object<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let mut object = Object::default();
        let mut at = String::new();
        let walk = Walk {
            shape: self.0,
            at: &mut at,
            templates: &mut object.templates,
            root: Some(&mut object.meta),
            element: None,
        };
        let is_map = Read(walk).deserialize(deserializer)?;
        Ok(is_map.then_some(object))
    }
}

/// Walks the shape; at the root it reads the object's metadata as well.
struct Walk<'w, 'de> {
    shape: &'w Shape,
    at: &'w mut String,
    templates: &'w mut Vec<Template<'de>>,
    root: Option<&'w mut Meta<'de>>,
    /// Where the name goes, if this is an element of an array.
    element: Option<&'w mut Text<'de>>,
}

impl<'de> Walk<'_, 'de> {
    fn below<R>(
        &mut self,
        segment: &str,
        shape: &Shape,
        element: Option<&mut Text<'de>>,
        read: impl FnOnce(Read<Walk<'_, 'de>>) -> R,
    ) -> R {
        let length = self.at.len();
        self.at.push('/');
        push_escaped(self.at, segment);
        let result = read(Read(Walk {
            shape,
            at: self.at,
            templates: self.templates,
            root: None,
            element,
        }));
        self.at.truncate(length);
        result
    }

    fn template<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut meta, mut spec) = (None, None);
        while let Some(key) = map.next_key_seed(Read(Key))? {
            match &*key {
                "metadata" => once(&mut meta, &mut map, "metadata", Read(MetaReader))?,
                "spec" => once(&mut spec, &mut map, "spec", Read(SpecReader))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let meta = meta.unwrap_or_default();
        let mut template = Template {
            at: format!("{}/spec", self.at),
            ..Template::default()
        };
        match self.root {
            // A Pod: its annotations are the object's.
            Some(root) => *root = meta,
            None => template.annotations = meta.annotations,
        }
        if let Some(spec) = spec.flatten() {
            template.spec = spec;
            self.templates.push(template);
        }
        Ok(())
    }

    fn spec<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        if let Some(spec) = SpecReader.map(map)? {
            self.templates.push(Template {
                at: self.at.clone(),
                spec,
                ..Template::default()
            });
        }
        Ok(())
    }

    fn container<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let reader = SlotReader {
            kind: SlotKind::Single,
            index: 0,
        };
        let Some(slot) = reader.map(map)? else {
            return Ok(());
        };
        if let (Some(element), Some(name)) = (self.element, &slot.name) {
            *element = Text::Is(name.clone());
        }
        self.templates.push(Template {
            at: self.at.clone(),
            spec: PodSpec {
                slots: vec![slot],
                ..PodSpec::default()
            },
            ..Template::default()
        });
        Ok(())
    }

    fn keys<A: MapAccess<'de>>(
        mut self,
        keys: &[(String, Shape)],
        mut map: A,
    ) -> Result<(), A::Error> {
        let mut seen = vec![false; keys.len()];
        let (mut meta, mut name) = (None, None);
        while let Some(key) = map.next_key_seed(Read(Key))? {
            if let Some(index) = keys.iter().position(|(known, _)| *known == key) {
                if std::mem::replace(&mut seen[index], true) {
                    return Err(A::Error::custom(format!(
                        "duplicate field `{key}` at {:?}",
                        self.at
                    )));
                }
                self.below(&key, &keys[index].1, None, |walk| map.next_value_seed(walk))?;
            } else if self.root.is_some() && key == "metadata" {
                once(&mut meta, &mut map, "metadata", Read(MetaReader))?;
            } else if self.element.is_some() && key == "name" {
                once(&mut name, &mut map, "name", Read(TextReader))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if let (Some(element), Some(name)) = (self.element, name) {
            *element = name;
        }
        if let (Some(root), Some(meta)) = (self.root, meta) {
            *root = meta;
        }
        Ok(())
    }
}

impl<'de> Lenient<'de> for Walk<'_, 'de> {
    /// Whether the value is a map.
    type Value = bool;

    fn unfit(self) -> bool {
        false
    }

    fn map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<bool, A::Error> {
        match self.shape {
            Shape::Leaf(Leaf::Template) => self.template(map)?,
            Shape::Leaf(Leaf::Spec) => self.spec(map)?,
            Shape::Leaf(Leaf::Container) => self.container(map)?,
            Shape::Keys(keys) => self.keys(keys, map)?,
            Shape::Each(shape) => {
                let mut seen = HashSet::new();
                while let Some(key) = map.next_key_seed(Read(Key))? {
                    if key.len() > LONGEST_KEY {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    self.below(&key, shape, None, |walk| map.next_value_seed(walk))?;
                    if let Some(key) = seen.replace(key) {
                        return Err(A::Error::custom(format!(
                            "duplicate field `{key}` at {:?}",
                            self.at
                        )));
                    }
                }
            }
        }
        Ok(true)
    }

    fn seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<bool, A::Error> {
        let Shape::Each(shape) = self.shape else {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(false);
        };
        let mut elements = Vec::new();
        loop {
            let (index, first) = (elements.len(), self.templates.len());
            let mut name = Text::Absent;
            let element = self.below(&index.to_string(), shape, Some(&mut name), |walk| {
                seq.next_element_seed(walk)
            })?;
            if element.is_none() {
                break;
            }
            elements.push((name, first));
        }
        self.name_elements(&elements);
        Ok(false)
    }
}

impl Walk<'_, '_> {
    /// Lets the templates below the elements of an array go by the elements' names, where each has one of its own: an
    /// element that moves is still the same. `elements` holds names, and how many templates there were before.
    fn name_elements(&mut self, elements: &[(Text<'_>, usize)]) {
        let mut seen = HashSet::with_capacity(elements.len());
        let mut is_own = |name: &'_ Text<'_>| match name.get() {
            Some(name) if !name.is_empty() && name.len() <= LONGEST_KEY => {
                seen.insert(name.to_owned())
            }
            _ => false,
        };
        if !elements.iter().all(|(name, _)| is_own(name)) {
            return;
        }
        let prefix = self.at.len();
        let ends = elements
            .iter()
            .skip(1)
            .map(|(_, first)| *first)
            .chain([self.templates.len()]);
        for (index, ((name, first), end)) in elements.iter().zip(ends).enumerate() {
            for template in &mut self.templates[*first..end] {
                let path = template.path();
                let rest = path[prefix + 1 + index.to_string().len()..].to_owned();
                let mut by_name = path[..=prefix].to_owned();
                push_escaped(&mut by_name, name.get().unwrap_or_default());
                template.named = Some(by_name + &rest);
            }
        }
    }
}

/// Appends a segment of a JSON pointer (RFC 6901, section 3).
fn push_escaped(pointer: &mut String, segment: &str) {
    for character in segment.chars() {
        match character {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            _ => pointer.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_that_is_no_name_is_passed_over() {
        let shape = Shape::path("/spec/*", Leaf::Spec).unwrap();
        let spec = json!({"containers": [{"name": "c", "image": "app:1"}]});
        let (name, longer) = ("k".repeat(317), "k".repeat(318));
        let object = json!({"spec": {name.clone(): spec.clone(), longer: spec}});
        let object = Survey(&shape).deserialize(&object).unwrap().unwrap();
        let at: Vec<_> = object
            .templates
            .iter()
            .map(|template| &template.at)
            .collect();
        assert_eq!(at, [&format!("/spec/{name}")]);
    }
}
