//! Where pod specs live in an object, the image slots of a pod spec, and what an operation may change.

mod kinds;
mod lenient;
mod meta;
mod object;
mod pod_spec;
mod presets;
mod scope;
mod shape;
mod survey;

pub use kinds::{Class, Conflict, Kinds, Workload};
pub use object::{
    Annotations, List, Meta, Object, PodSpec, Presence, Slot, SlotKind, SlotName, Template, Text,
};
pub use presets::{Preset, Resource};
pub use scope::{Operation, Reach, Scope, scope};
pub use shape::{Leaf, PathError, Shape};
pub use survey::Survey;
