//! Image references.

mod digest;

pub use digest::{Digest, InvalidDigest};
