//! A trie of paths that end in pod templates, pod specs or single containers.

/// What a path of a [`Shape`] ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaf {
    /// A `PodTemplateSpec`: `metadata` and `spec`.
    Template,
    /// A bare `PodSpec`.
    Spec,
    /// One `Container`, or what else has its `image` and `imagePullPolicy`, in a place or a list of its own making.
    Container,
}

/// Where the pod templates, pod specs and single containers of one kind of object are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Here.
    Leaf(Leaf),
    /// Under these members of a map.
    Keys(Vec<(String, Shape)>),
    /// Under every element of an array, or every value of a map.
    Each(Box<Shape>),
}

/// A path that cannot be part of a shape.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It is not a JSON pointer.
    #[error("{0:?} is not a JSON pointer: it must begin with \"/\", e.g. \"/spec/template\"")]
    NoPointer(String),
    /// It has a `~` that escapes nothing.
    #[error(
        "{0:?} has a bare `~`: in a JSON pointer `~` is written `~0`, and a `/` within a key `~1`"
    )]
    BareTilde(String),
    /// It runs through the object's own metadata, or through every member of the object.
    #[error(
        "{0:?} begins where every object has its metadata, which holds no pods; begin with the member that does, e.g. \"/spec\""
    )]
    Metadata(String),
    /// It has an empty segment.
    #[error("{0:?} has an empty segment: remove the extra \"/\"")]
    EmptySegment(String),
    /// Another path ends where this one goes on, ends in the same place, or has names where this one has `*`.
    #[error("{0:?} runs through or ends in the same place as another path of this kind")]
    Overlap(String),
}

impl Shape {
    /// The shape with one path: a JSON pointer (RFC 6901) in which a segment `*` means every element or value.
    pub fn path(pointer: &str, leaf: Leaf) -> Result<Self, PathError> {
        let mut shape = Self::Leaf(leaf);
        if pointer.is_empty() {
            return Ok(shape);
        }
        let segments = pointer
            .strip_prefix('/')
            .ok_or_else(|| PathError::NoPointer(pointer.to_owned()))?;
        if segments
            .split('~')
            .skip(1)
            .any(|rest| !rest.starts_with(['0', '1']))
        {
            return Err(PathError::BareTilde(pointer.to_owned()));
        }
        if matches!(segments.split('/').next(), Some("metadata" | "*")) {
            return Err(PathError::Metadata(pointer.to_owned()));
        }
        for segment in segments.split('/').rev() {
            shape = match segment {
                "" => return Err(PathError::EmptySegment(pointer.to_owned())),
                "*" => Self::Each(Box::new(shape)),
                _ => Self::Keys(vec![(segment.replace("~1", "/").replace("~0", "~"), shape)]),
            };
        }
        Ok(shape)
    }

    /// Adds another path of the same kind.
    pub fn add(&mut self, pointer: &str, leaf: Leaf) -> Result<(), PathError> {
        if self.join(Self::path(pointer, leaf)?) {
            Ok(())
        } else {
            Err(PathError::Overlap(pointer.to_owned()))
        }
    }

    fn join(&mut self, other: Self) -> bool {
        match (self, other) {
            (Self::Each(mine), Self::Each(theirs)) => mine.join(*theirs),
            (Self::Keys(mine), Self::Keys(theirs)) => theirs.into_iter().all(|(key, shape)| {
                if let Some((_, known)) = mine.iter_mut().find(|(known, _)| *known == key) {
                    known.join(shape)
                } else {
                    mine.push((key, shape));
                    true
                }
            }),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(key: &str, shape: Shape) -> Shape {
        Shape::Keys(vec![(key.to_owned(), shape)])
    }

    #[test]
    fn pointers_become_tries() {
        let leaf = Shape::Leaf(Leaf::Template);
        assert_eq!(Shape::path("", Leaf::Template), Ok(leaf.clone()));
        assert_eq!(
            Shape::path("/a~1b/c~0d", Leaf::Template),
            Ok(keys("a/b", keys("c~d", leaf.clone())))
        );
        assert_eq!(
            Shape::path("/jobs/*/t", Leaf::Template),
            Ok(keys("jobs", Shape::Each(Box::new(keys("t", leaf)))))
        );
    }

    #[test]
    fn paths_share_their_beginnings() {
        let mut shape = Shape::path("/spec/leader", Leaf::Template).unwrap();
        shape.add("/spec/worker", Leaf::Spec).unwrap();
        let both = vec![
            ("leader".to_owned(), Shape::Leaf(Leaf::Template)),
            ("worker".to_owned(), Shape::Leaf(Leaf::Spec)),
        ];
        assert_eq!(shape, keys("spec", Shape::Keys(both)));
    }

    #[test]
    fn what_cannot_be_walked_is_refused() {
        assert!(matches!(
            Shape::path("spec.template", Leaf::Template),
            Err(PathError::NoPointer(_))
        ));
        assert!(matches!(
            Shape::path("/spec/", Leaf::Template),
            Err(PathError::EmptySegment(_))
        ));
        for pointer in ["/metadata", "/metadata/annotations/a", "/*", "/*/template"] {
            assert_eq!(
                Shape::path(pointer, Leaf::Template),
                Err(PathError::Metadata(pointer.to_owned()))
            );
        }
        assert!(Shape::path("/spec/metadata/*", Leaf::Spec).is_ok());
        for (first, second) in [
            ("/a", "/a"),
            ("/a", "/a/b"),
            ("/a/b", "/a"),
            ("/a/*", "/a/b"),
            ("/a/b", "/a/*"),
        ] {
            let mut shape = Shape::path(first, Leaf::Template).unwrap();
            assert_eq!(
                shape.add(second, Leaf::Template),
                Err(PathError::Overlap(second.to_owned())),
                "{first} {second}"
            );
        }
    }
}
