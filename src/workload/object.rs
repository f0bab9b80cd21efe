//! What a survey reads of an object: a few borrowed texts and where they stand.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

/// An object as far as image pulls are concerned.
#[derive(Debug, Default)]
pub struct Object<'a> {
    /// The object's own metadata.
    pub meta: Meta<'a>,
    /// Its pod templates, in document order. A Pod is one template at the root.
    pub templates: Vec<Template<'a>>,
}

/// A pod template, or a bare pod spec or a single container inside a custom resource.
#[derive(Debug, Default)]
pub struct Template<'a> {
    /// JSON pointer of the pod spec, e.g. `/spec/template/spec`, or of the single container.
    pub at: String,
    /// The pointer with the names of array elements in place of their positions, where they have names.
    pub named: Option<String>,
    /// The template's annotations.
    pub annotations: Annotations<'a>,
    /// The pod spec.
    pub spec: PodSpec<'a>,
}

impl Template<'_> {
    /// What tells this template from the others of the object, in this and in another state of it.
    pub fn path(&self) -> &str {
        self.named.as_deref().unwrap_or(&self.at)
    }
}

/// What is read of `metadata`.
#[derive(Debug, Default)]
pub struct Meta<'a> {
    /// Whether the object has a `metadata` member that is a map.
    pub presence: Presence,
    /// `name`; empty where absent.
    pub name: Cow<'a, str>,
    /// `generateName`; empty where absent.
    pub generate_name: Cow<'a, str>,
    /// `annotations`.
    pub annotations: Annotations<'a>,
    /// Some `ownerReferences` entry has `controller: true`.
    pub controlled: bool,
    /// `deletionTimestamp` is set.
    pub deleting: bool,
}

/// Whether a member is there, and of use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// No such member.
    #[default]
    Absent,
    /// `null`, which the API server treats as absent.
    Null,
    /// There, and of the expected type.
    Present,
    /// There, and of another type: nobody's business here.
    Unfit,
}

/// The annotations that matter here.
#[derive(Debug, Default)]
pub struct Annotations<'a> {
    /// Whether there is a map of annotations.
    pub presence: Presence,
    /// `surepull.dev/pinned`.
    pub pinned: Text<'a>,
    /// `kubectl.kubernetes.io/restartedAt`.
    pub restarted_at: Text<'a>,
    /// `kubernetes.io/config.mirror` is there, with any value: a mirror of a static Pod.
    pub mirror: bool,
}

/// A member that should be text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Text<'a> {
    /// No such member.
    #[default]
    Absent,
    /// `null`.
    Null,
    /// Text, perhaps empty.
    Is(Cow<'a, str>),
    /// Something that is not text.
    Unfit,
}

impl Text<'_> {
    /// The text; empty where absent or `null`, as in Go; none where it is no text.
    pub fn get(&self) -> Option<&str> {
        match self {
            Self::Absent | Self::Null => Some(""),
            Self::Is(text) => Some(text),
            Self::Unfit => None,
        }
    }
}

/// A member that should be a list of `{name: …}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum List<'a> {
    /// No such member.
    #[default]
    Absent,
    /// `null`.
    Null,
    /// The names in order; empty where an element has none.
    Names(Vec<Cow<'a, str>>),
    /// No list, or a list with something else in it.
    Unfit,
}

impl<'a> List<'a> {
    /// The names; none of them where absent or `null`; none at all where it is no such list.
    pub fn names(&self) -> Option<&[Cow<'a, str>]> {
        match self {
            Self::Absent | Self::Null => Some(&[]),
            Self::Names(names) => Some(names),
            Self::Unfit => None,
        }
    }
}

/// What is read of a pod spec.
#[derive(Debug, Default)]
pub struct PodSpec<'a> {
    /// The image slots, in the order init, ordinary, ephemeral containers, image volumes.
    pub slots: Vec<Slot<'a>>,
    /// `imagePullSecrets`.
    pub pull_secrets: List<'a>,
    /// `serviceAccountName`.
    pub service_account_name: Text<'a>,
    /// `serviceAccount`, the old alias.
    pub service_account: Text<'a>,
}

impl<'a> PodSpec<'a> {
    /// The `ServiceAccount` that Pods of this spec run as: `default` where none is named
    /// (`plugin/pkg/admission/serviceaccount/admission.go`).
    pub fn account(&self) -> &str {
        [&self.service_account_name, &self.service_account]
            .into_iter()
            .find_map(|text| text.get().filter(|name| !name.is_empty()))
            .unwrap_or("default")
    }

    /// The slots by kind and name, for finding the counterpart of a slot in another state of the same spec.
    pub fn by_name(&self) -> HashMap<(SlotKind, SlotName<'_>), &Slot<'a>> {
        self.slots
            .iter()
            .map(|slot| ((slot.kind, slot.identity()), slot))
            .collect()
    }
}

/// The places that name images: the lists of a pod spec, and containers outside of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SlotKind {
    /// `initContainers[]`
    Init,
    /// `containers[]`
    Container,
    /// `ephemeralContainers[]`
    Ephemeral,
    /// `volumes[].image`
    Volume,
    /// A container that is in no list of a pod spec: a path of a custom resource leads to it.
    Single,
}

impl SlotKind {
    /// All that a pod spec lists, in the order in which Kubernetes' `AlwaysPullImages` plugin visits them.
    pub const ALL: [Self; 4] = [Self::Init, Self::Container, Self::Ephemeral, Self::Volume];

    /// The member of the pod spec that lists slots of this kind, if one does.
    pub fn list(self) -> Option<&'static str> {
        match self {
            Self::Init => Some("initContainers"),
            Self::Container => Some("containers"),
            Self::Ephemeral => Some("ephemeralContainers"),
            Self::Volume => Some("volumes"),
            Self::Single => None,
        }
    }

    /// Where the image text stands below the list's element.
    pub fn image(self) -> &'static str {
        if self == Self::Volume {
            "image/reference"
        } else {
            "image"
        }
    }

    /// Where the pull policy stands below the list's element.
    pub fn policy(self) -> &'static str {
        if self == Self::Volume {
            "image/pullPolicy"
        } else {
            "imagePullPolicy"
        }
    }
}

/// One place that names an image.
#[derive(Debug)]
pub struct Slot<'a> {
    /// In which list it stands.
    pub kind: SlotKind,
    /// At which position of that list; 0 for a single container.
    pub index: usize,
    /// Its name, if it has one that no other slot of its list has before it.
    pub name: Option<Cow<'a, str>>,
    /// The image as written; empty where absent.
    pub image: Cow<'a, str>,
    /// The pull policy as written.
    pub policy: Text<'a>,
}

impl Slot<'_> {
    /// What tells this slot from the others of its list. A single container has no others: its place is enough.
    pub fn identity(&self) -> SlotName<'_> {
        match self.name.as_deref() {
            Some(name) if self.kind != SlotKind::Single => SlotName::Named(name),
            _ => SlotName::Nameless(self.index),
        }
    }
}

/// The identity of a slot within its list: its name, or, for want of one, its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlotName<'s> {
    /// By name.
    Named(&'s str),
    /// By position.
    Nameless(usize),
}

/// The name, or `#` and the position, which no name of a built-in kind can be.
impl fmt::Display for SlotName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Nameless(index) => write!(f, "#{index}"),
        }
    }
}
