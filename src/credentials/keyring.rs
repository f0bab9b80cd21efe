//! Which credentials an image gets: `BasicDockerKeyring` in `pkg/credentialprovider/keyring.go`.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::Credential;
use super::document::Document;
use super::pattern;
use super::url::Url;

/// The key whose entries are offered to Docker Hub's images when no key matched.
const HUB: &[u8] = b"index.docker.io";

/// Which images are offered the entries of `index.docker.io` when no key matched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HubFallback {
    /// Those of the domain `docker.io`.
    ///
    /// A deliberate deviation: the kubelet's rule hands the password of Docker Hub to any registry whose host has
    /// neither a dot nor a port, `localhost` among them.
    #[default]
    Hub,
    /// Those that `isDefaultRegistryMatch` of the kubelet takes for Docker Hub's, to say what the kubelet would do.
    Kubelet,
}

impl HubFallback {
    fn applies(self, repository: &str) -> bool {
        let first = repository.split('/').next().unwrap_or_default();
        match self {
            Self::Hub => first == "docker.io" && first.len() < repository.len(),
            Self::Kubelet => {
                !first.is_empty()
                    && (first.len() == repository.len()
                        || matches!(first, "docker.io" | "index.docker.io")
                        || !first.contains(['.', ':']))
            }
        }
    }
}

/// The credentials of some documents, to be asked for those of an image.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    fallback: HubFallback,
    /// By the keys' normal forms, in descending byte order.
    slots: BTreeMap<Reverse<Vec<u8>>, Slot>,
}

#[derive(Clone, Debug)]
struct Slot {
    url: Option<Url<'static>>,
    credentials: Vec<Credential>,
}

impl Keyring {
    /// An empty keyring.
    pub fn new(fallback: HubFallback) -> Self {
        Self {
            fallback,
            slots: BTreeMap::new(),
        }
    }

    /// Adds the entries of a document. Entries of one normal form keep the order in which they were added.
    pub fn add(&mut self, document: Document, source: &Arc<str>) {
        for entry in document.entries {
            let credential = Credential {
                username: entry.login.username,
                password: entry.login.password,
                source: Arc::clone(source),
            };
            let Key { text, url } = entry.key;
            let slot = self.slots.entry(Reverse(text)).or_insert(Slot {
                url,
                credentials: Vec::new(),
            });
            slot.credentials.push(credential);
        }
    }

    /// The credentials for a repository, in the order in which they are tried. The repository is normalised and
    /// has neither tag nor digest: [`crate::image::Reference::repository`].
    ///
    /// All keys that match contribute all their credentials, keys in descending byte order; only if there are none,
    /// those of `index.docker.io` may do ([`HubFallback`]).
    pub fn lookup(&self, repository: &str) -> Vec<&Credential> {
        let target = Url::parse(repository.as_bytes()).ok();
        self.lookup_url(repository, target.as_ref())
    }

    /// Whether there is no credential at all.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The normal forms of the keys, in the order in which they are tried.
    pub fn keys(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.slots
            .keys()
            .map(|Reverse(key)| String::from_utf8_lossy(key))
    }

    fn lookup_url(&self, repository: &str, target: Option<&Url<'_>>) -> Vec<&Credential> {
        let matches = |slot: &&Slot| match (&slot.url, target) {
            (Some(key), Some(target)) => pattern::matches(key, target).unwrap_or(false),
            _ => false,
        };
        let matching = self.slots.values().filter(matches);
        let found: Vec<_> = matching.flat_map(|slot| &slot.credentials).collect();
        if !found.is_empty() || !self.fallback.applies(repository) {
            return found;
        }
        let hub = self.slots.get(&Reverse(HUB.to_vec()));
        hub.map_or(found, |hub| hub.credentials.iter().collect())
    }
}

/// The credentials of several keyrings for a repository: those of the first, then those of the next, each by its
/// own rules. `UnionDockerKeyring`: the kubelet asks one keyring of all pull secrets and then that of the node.
pub fn candidates<'k>(
    keyrings: impl IntoIterator<Item = &'k Keyring>,
    repository: &str,
) -> Vec<&'k Credential> {
    let target = Url::parse(repository.as_bytes()).ok();
    keyrings
        .into_iter()
        .flat_map(|keyring| keyring.lookup_url(repository, target.as_ref()))
        .collect()
}

/// The key of an entry, in normal form.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// Host, with the port as written, and path.
    text: Vec<u8>,
    /// The normal form parsed once more, as upstream does at every look-up; `None` where that fails, and then the key
    /// matches nothing.
    url: Option<Url<'static>>,
}

impl Key {
    /// The normal form of a key: without scheme, user, query, fragment, and `/v1` or `/v2` in front of a `/`. `None`
    /// for what is no URL.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let schemeless = [&b"https://"[..], b"http://"]
            .iter()
            .find_map(|scheme| text.strip_prefix(*scheme))
            .unwrap_or(text);
        let url = Url::parse(schemeless).ok()?;
        let path = match &*url.path {
            [b'/', b'v', b'1' | b'2', rest @ ..] if rest.starts_with(b"/") => rest,
            path => path,
        };
        let path = if path == b"/" { b"" } else { path };
        let text = [&url.host, path].concat();
        let url = Url::parse(&text).ok().map(|url| Url {
            host: Cow::Owned(url.host.into_owned()),
            path: Cow::Owned(url.path.into_owned()),
        });
        Some(Self { text, url })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text))
    }
}

#[cfg(test)]
mod tests;
