//! Registry credentials, read and matched as the kubelet does (`pkg/credentialprovider` of Kubernetes).
//!
//! A [`Document`] is one docker configuration; a [`Keyring`] is asked which of the credentials of its documents an
//! image gets, and in which order they are tried. Tokens (`identitytoken`, `registrytoken`) are not read, as the
//! kubelet does not read them. Values never appear in an error or in `Debug` output.

mod document;
mod documented;
mod entry;
mod file;
mod json;
mod key;
mod keyring;
mod pattern;
mod secret;
mod url;

use std::sync::Arc;

use secrecy::ExposeSecret;

pub use document::{Document, Form, Malformed};
pub use file::{FileError, read};
pub use keyring::{HubFallback, Keyring, PatternMatch, candidates, pattern_candidates};
pub use pattern::{InvalidPattern, urls_match};
pub use secret::Secret;

/// One user name and password that may be tried at a registry.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The user name as stored; need not be UTF-8, may be empty. Some registries take a token for it.
    pub username: Secret,
    /// The password as stored; need not be UTF-8, may be empty.
    pub password: Secret,
    /// Where it was found, for messages: never a value, e.g. `file /etc/surepull/config.json`.
    pub source: Arc<str>,
}

impl Credential {
    /// Whether it has neither user name nor password: the kubelet's runtime makes an anonymous attempt of it.
    pub fn is_anonymous(&self) -> bool {
        self.username.expose_secret().is_empty() && self.password.expose_secret().is_empty()
    }
}
