//! What the cluster knows of image pulls: the pull secrets of `ServiceAccount`s, and what is in them.
//!
//! [`Live`] asks an API server; [`Given`] knows what it was given. The parts of the former:
//!
//! - `access`: where the API server is, and who asks
//! - `accounts`: the watch of all `ServiceAccount`s, and what is kept of them
//! - `reader`: one GET by name, its limits and its errors
//! - `object_name`: what can be asked for at all
//! - `memory`: answers kept for seconds, each asked for once at a time
//! - `secret`: from a Secret to a keyring

mod access;
mod accounts;
mod given;
mod live;
mod memory;
mod metrics;
mod object_name;
mod reader;
mod secret;

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::credentials::{Keyring, Malformed};
use crate::mutation::{Account, AccountQuestion};

pub use access::AccessError;
pub(crate) use access::told;
pub use given::Given;
pub use live::Live;
pub use metrics::Metrics;
pub(crate) use object_name::is_name as is_object_name;
pub(crate) use reader::{Broken, message, read_body};

/// Where facts about the cluster come from.
pub trait Cluster: Send + Sync {
    /// The account.
    fn account<'a>(&'a self, question: AccountQuestion<'a>) -> BoxFuture<'a, Answer<Account>>;

    /// The credentials in the pull secret of this namespace and name.
    fn pull_secret<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Answer<Keyring>>;
}

/// Something of the cluster, or why it is not known.
pub type Answer<T> = Result<Arc<T>, Unreadable>;

/// Why something of the cluster is not known. Never holds a value of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// There is no cluster to be asked.
    #[error("surepull runs without access to the cluster")]
    NoCluster,
    /// There is no such object.
    #[error("not found")]
    NotFound,
    /// The API server does not know who asks.
    #[error("the API server does not accept surepull's own credentials")]
    Unauthenticated,
    /// The API server refuses to show it.
    #[error("surepull is not allowed to get it (RBAC)")]
    Forbidden,
    /// There is no answer, or none in time.
    #[error("the API server did not answer")]
    NoAnswer,
    /// An answer of another kind.
    #[error("the API server answered with status {0}")]
    Status(u16),
    /// An answer that is no such object.
    #[error("the API server's answer makes no sense")]
    Nonsense,
    /// A Secret that the kubelet passes over because of its type.
    #[error("it is not of type kubernetes.io/dockerconfigjson or kubernetes.io/dockercfg")]
    WrongType,
    /// A Secret that the kubelet passes over because the member that belongs to its type is absent or empty.
    #[error("its {0} is empty")]
    Empty(&'static str),
    /// One pull secret more than are read for one Pod.
    #[error("only the first 32 are read")]
    TooMany,
    /// A Secret that is larger than anybody has use for; the kubelet would read it.
    #[error("it has more than 256 entries or 128 KiB, which surepull does not read")]
    TooLarge,
    /// A Secret that makes the kubelet fail every pull of the Pod; here it is passed over.
    #[error("it makes the kubelet fail every pull: {0}")]
    Malformed(#[from] Malformed),
}
