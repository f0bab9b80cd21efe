//! Settings that turn out to be of no use.

use std::path::PathBuf;

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A file of certificate authorities that cannot be used.
    #[error("registries: match `{pattern}`: ca `{}`: {why}", path.display())]
    Ca {
        /// The pattern of its registry.
        pattern: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// TLS cannot be set up at all.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}
