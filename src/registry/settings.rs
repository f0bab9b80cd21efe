//! Settings that turn out to be of no use.

use std::path::PathBuf;

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A file that cannot be used.
    #[error("registries: match `{pattern}`: {key} `{}`: {why}", path.display())]
    File {
        /// The pattern of its registry.
        pattern: String,
        /// The key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A proxy of the environment that cannot be used.
    #[error("HTTPS_PROXY: a proxy with the scheme `{0}` is not supported; name one with `http://`")]
    Proxy(String),
    /// TLS cannot be set up at all.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}
