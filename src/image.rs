//! Image references as Kubernetes reads them, digests, and the pull policy that Kubernetes gives an image.
//!
//! A [`Reference`] keeps the user's text: what surepull writes back is that text with a digest appended, never the
//! normalised name, because container runtimes and the kubelet's pull records look at the text as written.

mod digest;
mod grammar;
mod invalid;
mod policy;
mod reference;

pub use digest::{Algorithm, Digest, InvalidDigest};
pub use invalid::{Fault, Invalid};
pub use policy::{PullPolicy, default_policy};
pub use reference::{DOCKER_HUB, Reference, is_loopback};
