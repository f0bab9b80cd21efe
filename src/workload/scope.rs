//! What an operation may change of which kind: decided here, once.
//!
//! From the validation of updates in `pkg/apis/core/validation/validation.go` and the registry strategies of
//! Kubernetes: a webhook that changes more makes the API server answer 422, or has its change thrown away in silence.

use serde::Deserialize;

use super::{Class, SlotKind};

/// The operation of an admission request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// POST, or a PUT or apply that creates.
    Create,
    /// PUT, PATCH or apply of something that exists.
    Update,
    /// DELETE.
    Delete,
    /// A connection, such as `exec`.
    Connect,
}

/// Which of the slots of some kind may get a new value. What is not reached may still be given back the value that
/// is stored, because that is no change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// None of them.
    None,
    /// Those that the old object does not have.
    New,
    /// Those, and those that the user changed.
    Changed,
    /// All of them.
    All,
}

/// What one operation may change of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    containers: Reach,
    volumes: Reach,
    ephemeral: Reach,
    policies: bool,
    /// Whether pull secrets may be added.
    pub pull_secrets: bool,
    /// Whether the object's metadata may change.
    pub metadata: bool,
}

impl Scope {
    /// Whether the image of a slot of this kind may get a new value.
    pub fn image(&self, kind: SlotKind) -> Reach {
        match kind {
            SlotKind::Init | SlotKind::Container | SlotKind::Single => self.containers,
            SlotKind::Ephemeral => self.ephemeral,
            SlotKind::Volume => self.volumes,
        }
    }

    /// Whether the pull policy of a slot of this kind may get a new value.
    pub fn policy(&self, kind: SlotKind) -> Reach {
        if self.policies {
            self.image(kind)
        } else {
            Reach::None
        }
    }
}

/// What may change; none where there is nothing to decide.
#[rustfmt::skip]
pub fn scope(class: Class, subresource: &str, operation: Operation) -> Option<Scope> {
    use Class::{Custom, Job, Pod, Template};
    use Operation::{Create, Update};
    use Reach::{All, Changed, New, None as Nothing};

    let (containers, volumes, ephemeral, policies, pull_secrets, metadata) = match (class, subresource, operation) {
        //                                         containers volumes  ephemeral policies secrets metadata
        (Pod, "", Create)                       => (All,      All,     All,      true,    true,   true),
        (Pod, "", Update)                       => (Changed,  Nothing, Nothing,  false,   false,  true),
        (Pod, "ephemeralcontainers", Update)    => (Nothing,  Nothing, New,      true,    false,  false),
        (Job | Template | Custom, "", Create)   => (All,      All,     All,      true,    false,  true),
        (Job, "", Update)                       => (Nothing,  Nothing, Nothing,  false,   false,  true),
        (Template | Custom, "", Update)         => (Changed,  Changed, Changed,  true,    false,  true),
        _ => return None,
    };
    Some(Scope { containers, volumes, ephemeral, policies, pull_secrets, metadata })
}
