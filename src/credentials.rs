//! Registry credentials, read and matched as the kubelet does (`pkg/credentialprovider` of Kubernetes).
//!
//! A [`Document`] is one docker configuration; a [`Keyring`] is asked which of the credentials of its documents an
//! image gets, and in which order they are tried. The kubelet reads no tokens: an `identitytoken` is kept apart
//! ([`CredentialKind::Identity`]), a `registrytoken` is not read. [`Providers`] are programs that know
//! credentials. Values never appear in an error or in `Debug` output.

mod document;
mod documented;
mod entry;
mod file;
mod json;
mod key;
mod keyring;
mod pattern;
mod provider;
mod secret;
mod url;

use std::sync::Arc;

use secrecy::ExposeSecret;

pub use document::{Document, Form, Malformed};
pub use file::{FileError, Files};
pub use keyring::{HubFallback, Keyring, PatternMatch, candidates, pattern_candidates};
pub use pattern::{InvalidPattern, urls_match};
pub use provider::{ProviderError, ProviderMetrics, Providers};
pub use secret::Secret;

/// Something that may be tried at a registry: as a rule a user name and a password.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The user name as stored; need not be UTF-8, may be empty. Some registries take a token for it.
    pub username: Secret,
    /// The password as stored; need not be UTF-8, may be empty.
    pub password: Secret,
    /// Where it was found, for messages: never a value, e.g. `file /etc/surepull/config.json`.
    pub source: Arc<str>,
    /// What it is else, or instead.
    pub kind: CredentialKind,
}

/// What a credential is besides a user name and a password.
#[derive(Clone, Debug, Default)]
pub enum CredentialKind {
    /// Nothing else.
    #[default]
    Login,
    /// A refresh token for token services (`identitytoken`); user name and password are for registries without one.
    Identity(Secret),
    /// In the place of those that credential providers have, which are asked when it is its turn.
    Providers,
}

impl Credential {
    /// A user name and a password.
    pub fn login(
        username: impl Into<Secret>,
        password: impl Into<Secret>,
        source: Arc<str>,
    ) -> Self {
        Self {
            username: username.into(),
            password: password.into(),
            source,
            kind: CredentialKind::Login,
        }
    }

    /// What stands for the credentials of [`Providers`].
    pub fn of_providers() -> Self {
        Self {
            kind: CredentialKind::Providers,
            ..Self::login("", "", "credential providers".into())
        }
    }

    /// The same as the kubelet takes it, which does not know identity tokens.
    #[must_use]
    pub fn without_identity_token(&self) -> Self {
        let (username, password) = (self.username.clone(), self.password.clone());
        match self.kind {
            CredentialKind::Identity(_) => {
                Self::login(username, password, Arc::clone(&self.source))
            }
            CredentialKind::Login | CredentialKind::Providers => self.clone(),
        }
    }

    /// Whether it has an identity token.
    pub fn has_identity_token(&self) -> bool {
        matches!(self.kind, CredentialKind::Identity(_))
    }

    /// Whether it has neither user name nor password: the kubelet's runtime makes an anonymous attempt of it.
    pub fn is_anonymous(&self) -> bool {
        matches!(self.kind, CredentialKind::Login)
            && self.username.expose_secret().is_empty()
            && self.password.expose_secret().is_empty()
    }
}
