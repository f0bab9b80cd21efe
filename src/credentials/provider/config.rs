//! `CredentialProviderConfig`: which credential providers there are, for which images, and how they are run.
//!
//! Read and checked as by the kubelet (`pkg/credentialprovider/plugin/config.go`); what it would refuse to start with
//! is an error here.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny};

use crate::config::{self, deserialize_duration, load_as};
use crate::credentials::urls_match;

/// One provider as configured.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Settings {
    /// What it is called, and its binary in the folder of binaries.
    #[serde(deserialize_with = "name")]
    pub(super) name: Arc<str>,
    /// Patterns of the images that it is asked about.
    #[serde(deserialize_with = "match_images")]
    pub(super) match_images: Vec<String>,
    /// How long an answer is kept that does not say so.
    #[serde(deserialize_with = "deserialize_duration")]
    pub(super) default_cache_duration: Duration,
    /// The version of the protocol.
    pub(super) api_version: Protocol,
    /// Arguments of the command.
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) args: Vec<String>,
    /// Environment of the command besides surepull's own.
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) env: Vec<Variable>,
    #[serde(default, rename = "tokenAttributes", deserialize_with = "no_tokens")]
    _no_tokens: (),
}

/// A variable of the environment; its value may be a secret.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Variable {
    pub(super) name: String,
    #[serde(default, deserialize_with = "or_empty")]
    pub(super) value: String,
}

/// The versions of the protocol between kubelet and provider; they differ in nothing that is used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub(super) enum Protocol {
    #[serde(rename = "credentialprovider.kubelet.k8s.io/v1")]
    V1,
    #[serde(rename = "credentialprovider.kubelet.k8s.io/v1beta1")]
    V1Beta1,
    #[serde(rename = "credentialprovider.kubelet.k8s.io/v1alpha1")]
    V1Alpha1,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    #[expect(dead_code, reason = "read to be checked")]
    api_version: ApiVersion,
    #[expect(dead_code, reason = "read to be checked")]
    kind: Kind,
    #[serde(deserialize_with = "providers")]
    providers: Vec<Settings>,
}

#[derive(serde::Deserialize)]
enum ApiVersion {
    #[serde(rename = "kubelet.config.k8s.io/v1")]
    V1,
    #[serde(rename = "kubelet.config.k8s.io/v1beta1")]
    V1Beta1,
    #[serde(rename = "kubelet.config.k8s.io/v1alpha1")]
    V1Alpha1,
}

#[derive(serde::Deserialize)]
enum Kind {
    CredentialProviderConfig,
}

/// Credential providers that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderError {
    /// The file or folder of the configuration cannot be read.
    #[error(
        "credentials.providers.config: `{}` cannot be read: {reason}; put it there, or make it readable for this user",
        path.display()
    )]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        reason: io::Error,
    },
    /// There is nothing in the folder.
    #[error(
        "credentials.providers.config: the folder `{}` holds no *.json, *.yaml or *.yml; put a CredentialProviderConfig there",
        .0.display()
    )]
    Empty(PathBuf),
    /// A file is not as it should be.
    #[error("credentials.providers.config: {0}")]
    Malformed(config::Error),
    /// A name stands in two places.
    #[error(
        "credentials.providers.config: {}: a second provider `{name}`, after that of {}; give one of them another name",
        path.display(),
        first.display()
    )]
    Duplicate {
        /// The name.
        name: Arc<str>,
        /// Where it stands for the first time.
        first: PathBuf,
        /// And again.
        path: PathBuf,
    },
    /// The binary is not there.
    #[error(
        "credentials.providers.binDir: there is no program `{}` for provider `{name}`; put it there, and make it executable",
        path.display()
    )]
    NoBinary {
        /// The provider.
        name: Arc<str>,
        /// Where its binary should be.
        path: PathBuf,
    },
}

/// All providers of a file, or of a folder, in their order.
pub(super) fn load(path: &Path) -> Result<Vec<Settings>, ProviderError> {
    let files = files(path).map_err(|reason| ProviderError::Unreadable {
        path: path.to_owned(),
        reason,
    })?;
    if files.is_empty() {
        return Err(ProviderError::Empty(path.to_owned()));
    }
    let mut seen: HashMap<Arc<str>, &Path> = HashMap::new();
    let mut all = Vec::new();
    for path in &files {
        let file: File = load_as(path).map_err(ProviderError::Malformed)?;
        for settings in file.providers {
            let name = Arc::clone(&settings.name);
            if let Some(first) = seen.insert(Arc::clone(&name), path) {
                return Err(ProviderError::Duplicate {
                    name,
                    first: first.to_owned(),
                    path: path.clone(),
                });
            }
            all.push(settings);
        }
    }
    Ok(all)
}

/// The files of the configuration: it itself, or in byte order those of the folder that it is.
pub(super) fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.metadata()?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = path
        .read_dir()?
        .map(|entry| entry.map(|entry| entry.path()));
    let mut files = entries.collect::<io::Result<Vec<_>>>()?;
    let extensions = ["json", "yaml", "yml"].map(|extension| Some(OsStr::new(extension)));
    files.retain(|file| extensions.contains(&file.extension()) && !file.is_dir());
    files.sort_unstable();
    Ok(files)
}

impl Settings {
    /// Whether the provider is asked about this repository.
    pub(super) fn matches(&self, repository: &str) -> bool {
        let mut patterns = self.match_images.iter();
        patterns.any(|pattern| urls_match(pattern, repository).unwrap_or(false))
    }

    /// Its binary, which must be there.
    pub(super) fn binary(&self, folder: &Path) -> Result<PathBuf, ProviderError> {
        let path = folder.join(&*self.name);
        let is_program = path
            .metadata()
            .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0);
        if is_program {
            return Ok(path);
        }
        let name = Arc::clone(&self.name);
        Err(ProviderError::NoBinary { name, path })
    }
}

/// Without arguments and environment, which may hold secrets.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

fn name<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<str>, D::Error> {
    let name = String::deserialize(from)?;
    if matches!(&*name, "" | "." | "..") || name.contains(['/', ' ', '\0']) {
        return Err(D::Error::custom(format!(
            "`{name}` is not the name of a provider; write the name of its binary, without `/` or spaces"
        )));
    }
    Ok(name.into())
}

/// What is left empty is as if it were not there, as in Go.
fn or_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

fn match_images<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let patterns = Vec::<String>::deserialize(from)?;
    if patterns.is_empty() {
        return Err(D::Error::custom(
            "there is no pattern; name at least one image, such as `*.registry.example`",
        ));
    }
    match patterns
        .iter()
        .find(|pattern| urls_match(pattern, "").is_err())
    {
        Some(pattern) => Err(D::Error::custom(format!(
            "`{pattern}` is not a pattern of images; write a host, perhaps with port and path, such as `*.registry.example/team`"
        ))),
        None => Ok(patterns),
    }
}

fn providers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Settings>, D::Error> {
    let providers = Vec::deserialize(from)?;
    if providers.is_empty() {
        return Err(D::Error::custom("there is no provider; name at least one"));
    }
    Ok(providers)
}

/// The kubelet asks for a token of the Pod's service account, bound to the Pod; nobody else can, and in a review there
/// is no Pod yet.
fn no_tokens<'de, D: Deserializer<'de>>(from: D) -> Result<(), D::Error> {
    match Option::<IgnoredAny>::deserialize(from)? {
        Some(_) => Err(D::Error::custom(
            "only a kubelet can give a provider the token of a service account; remove this provider from what surepull reads, and use pull secrets or another provider for its images",
        )),
        None => Ok(()),
    }
}
