//! Whose an answer is.

use std::fmt;

use secrecy::ExposeSecret;
use sha2::{Digest as _, Sha256};

use crate::credentials::{Credential, CredentialKind};

/// Whose an answer is: nobody's in particular, or a keyed hash of the credentials in their order.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Audience(Option<[u8; 32]>);

/// Makes audiences; its key differs from process to process, so that a hash tells nothing outside of it.
#[derive(Clone)]
pub(super) struct Audiences([u8; 32]);

impl Audience {
    /// Whoever comes without credentials.
    #[cfg(test)]
    pub(super) const ANYBODY: Self = Self(None);
}

impl Audiences {
    pub(super) fn new() -> Result<Self, rustls::Error> {
        let mut key = [0; 32];
        let provider = rustls::crypto::ring::default_provider();
        provider
            .secure_random
            .fill(&mut key)
            .map_err(|_| rustls::Error::FailedToGetRandomBytes)?;
        Ok(Self(key))
    }

    /// The audience of these credentials. Where they were found makes no difference. Those of credential providers are
    /// not asked for: they are for all who may use them, and change where the audience does not.
    pub(super) fn of(&self, credentials: &[Credential]) -> Audience {
        if credentials.is_empty() {
            return Audience(None);
        }
        let mut hash = Sha256::new_with_prefix(self.0);
        for credential in credentials {
            let (kind, token): (_, &[u8]) = match &credential.kind {
                CredentialKind::Login => (0, &[]),
                CredentialKind::Providers => (1, &[]),
                CredentialKind::Identity(token) => (2, token.expose_secret()),
            };
            hash.update([kind]);
            for part in [
                credential.username.expose_secret(),
                credential.password.expose_secret(),
                token,
            ] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
        Audience(Some(hash.finalize().into()))
    }
}

impl fmt::Debug for Audiences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audiences").finish_non_exhaustive()
    }
}

impl fmt::Debug for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Audience(credentials)"
        } else {
            "Audience(anonymous)"
        })
    }
}
