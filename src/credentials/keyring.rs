//! Which credentials an image gets: `BasicDockerKeyring` in `pkg/credentialprovider/keyring.go`.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use secrecy::ExposeSecret;

use super::document::Document;
use super::entry::Login;
use super::pattern;
use super::url::Url;
use super::{Credential, CredentialKind};

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
    /// By the keys' normal forms.
    slots: BTreeMap<Order, Slot>,
}

/// The normal form of a key; larger ones come first.
type Order = Reverse<Vec<u8>>;

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
            let Login {
                username,
                password,
                identity_token,
            } = entry.login;
            let mut credential = Credential::login(username, password, Arc::clone(source));
            if !identity_token.expose_secret().is_empty() {
                credential.kind = CredentialKind::Identity(identity_token);
            }
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
        lookup_together([self], repository)
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

    /// The slots whose key matches.
    fn matching<'k>(&'k self, target: &Url<'_>) -> impl Iterator<Item = (&'k Order, &'k Slot)> {
        self.slots.iter().filter(|(_, slot)| {
            let url = slot.url.as_ref();
            url.is_some_and(|key| pattern::matches(key, target).unwrap_or(false))
        })
    }

    /// The slot for Docker Hub's images, if the repository is to be taken for one of them.
    fn hub(&self, repository: &str) -> Option<&Slot> {
        self.fallback
            .applies(repository)
            .then(|| self.slots.get(&Reverse(HUB.to_vec())))
            .flatten()
    }
}

/// The credentials for a repository that one keyring of all the documents would have, without making it.
pub(super) fn lookup_together<'k>(
    keyrings: impl IntoIterator<Item = &'k Keyring> + Clone,
    repository: &str,
) -> Vec<&'k Credential> {
    let target = Url::parse(repository.as_bytes()).ok();
    let mut found: Vec<_> = target
        .iter()
        .flat_map(|target| {
            let keyrings = keyrings.clone().into_iter();
            keyrings.flat_map(|keyring| keyring.matching(target))
        })
        .collect();
    // Stable: entries of one key keep the order of their keyrings.
    found.sort_by_key(|(key, _)| *key);
    let credentials = |slot: &'k Slot| &slot.credentials;
    if found.is_empty() {
        let keyrings = keyrings.into_iter();
        let hub = keyrings.filter_map(|keyring| keyring.hub(repository));
        return hub.flat_map(credentials).collect();
    }
    found
        .into_iter()
        .flat_map(|(_, slot)| credentials(slot))
        .collect()
}

/// The credentials for a repository, in the order in which they are tried: those of the pull secrets, which count as
/// one keyring, then those of the node, each by its own rules (`UnionDockerKeyring`).
pub fn candidates<'k>(
    pull_secrets: impl IntoIterator<Item = &'k Keyring> + Clone,
    node: &'k Keyring,
    repository: &str,
) -> Vec<&'k Credential> {
    let mut candidates = lookup_together(pull_secrets, repository);
    candidates.extend(node.lookup(repository));
    candidates
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
