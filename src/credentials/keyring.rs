//! Which credentials an image gets: `BasicDockerKeyring` in `pkg/credentialprovider/keyring.go`.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use secrecy::ExposeSecret;

use super::document::Document;
use super::documented::Documented;
use super::entry::Login;
use super::key::Key;
use super::pattern;
use super::url::Url;
use super::{Credential, CredentialKind};
use crate::config::Patterns;

/// The key whose entries are offered to Docker Hub's images when no key matched.
const HUB: &[u8] = b"index.docker.io";

/// How long the host of an image may be, port included, to be looked at: no DNS name is longer. Matching takes as many steps as
/// both lengths multiplied, and a tenant chooses both.
const HOST_LIMIT: usize = 300;
/// The same for the host of a key.
pub(super) const KEY_HOST_LIMIT: usize = 2 * HOST_LIMIT;

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
    /// Those whose keys hold a pattern once more, by what the documented grammar reads.
    patterns: BTreeMap<Order, PatternSlot>,
}

/// The normal form of a key; larger ones come first.
type Order = Reverse<Vec<u8>>;

#[derive(Clone, Debug)]
struct Slot {
    url: Option<Url<'static>>,
    credentials: Vec<Credential>,
}

#[derive(Clone, Debug)]
struct PatternSlot {
    pattern: Documented,
    /// What the kubelet reads.
    url: Option<Url<'static>>,
    credentials: Vec<Credential>,
}

/// An entry that names an image in the documented grammar only.
#[derive(Clone, Debug)]
pub struct PatternMatch<'k> {
    /// The key's normal form, which holds no user name or password; for messages, cut.
    pub key: String,
    /// The credential.
    pub credential: &'k Credential,
}

impl Keyring {
    /// An empty keyring.
    pub fn new(fallback: HubFallback) -> Self {
        Self {
            fallback,
            ..Self::default()
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
            let Key {
                kubelet,
                documented,
            } = entry.key;
            let url = || kubelet.as_ref().and_then(|key| key.url.clone());
            if let Some(pattern) = documented {
                let new = || PatternSlot {
                    url: url(),
                    pattern: pattern.clone(),
                    credentials: Vec::new(),
                };
                let order = Reverse(pattern.text());
                let slot = self.patterns.entry(order).or_insert_with(new);
                slot.credentials.push(credential.clone());
            }
            if let Some(key) = kubelet {
                let slot = self.slots.entry(Reverse(key.text)).or_insert(Slot {
                    url: key.url,
                    credentials: Vec::new(),
                });
                slot.credentials.push(credential);
            }
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
        self.slots.is_empty() && self.patterns.is_empty()
    }

    /// What there is to say of the entries with patterns, whatever the image: a clause for each, with its source.
    pub fn pattern_remarks(&self, patterns: Patterns) -> Vec<String> {
        let remark = |slot: &PatternSlot| match patterns {
            Patterns::Kubelet if slot.pattern.is_foreign() => Some(
                "has characters of the documented patterns, which the kubelet does not match; name each host, or use `*` for one label",
            ),
            Patterns::Documented if slot.pattern.is_loose() => {
                Some("has a `*` that no dot follows: it also matches the domains of strangers")
            }
            Patterns::Kubelet | Patterns::Documented => None,
        };
        let told = self.patterns.iter().filter_map(|(key, slot)| {
            let source = &slot.credentials.first()?.source;
            Some(format!(
                "entry {:?} of {source} {}",
                shown(key),
                remark(slot)?
            ))
        });
        told.collect()
    }

    /// The normal forms of the keys, in the order in which they are tried.
    pub fn keys(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.slots
            .keys()
            .map(|Reverse(key)| String::from_utf8_lossy(key))
    }

    /// The slots whose key matches.
    fn matching<'k>(&'k self, target: &Url<'_>) -> impl Iterator<Item = (&'k Order, &'k Slot)> {
        let slots = self.slots.iter();
        slots.filter(|(_, slot)| names(slot.url.as_ref(), target))
    }

    /// The slot for Docker Hub's images, if the repository is to be taken for one of them.
    fn hub(&self, repository: &str) -> Option<&Slot> {
        self.fallback
            .applies(repository)
            .then(|| self.slots.get(&Reverse(HUB.to_vec())))
            .flatten()
    }
}

/// The normal form of a key, for messages.
fn shown(Reverse(key): &Order) -> String {
    String::from_utf8_lossy(key).chars().take(128).collect()
}

/// The credentials for a repository that one keyring of all the documents would have, without making it.
pub(super) fn lookup_together<'k>(
    keyrings: impl IntoIterator<Item = &'k Keyring> + Clone,
    repository: &str,
) -> Vec<&'k Credential> {
    let target = target(repository);
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

/// The entries that name a repository in the documented grammar, but not to the kubelet; the keyrings count as one.
pub fn pattern_candidates<'k>(
    keyrings: impl IntoIterator<Item = &'k Keyring>,
    repository: &str,
) -> Vec<PatternMatch<'k>> {
    let Some(target) = target(repository) else {
        return Vec::new();
    };
    let mut found: Vec<_> = keyrings
        .into_iter()
        .flat_map(|keyring| &keyring.patterns)
        .filter(|(_, slot)| slot.pattern.matches(&target) && !names(slot.url.as_ref(), &target))
        .collect();
    found.sort_by_key(|(key, _)| *key);
    let matches = |(key, slot): (&'k Order, &'k PatternSlot)| {
        let of = move |credential| PatternMatch {
            key: shown(key),
            credential,
        };
        slot.credentials.iter().map(of)
    };
    found.into_iter().flat_map(matches).collect()
}

/// The entry, by key and source.
impl fmt::Display for PatternMatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {:?} of {}", self.key, self.credential.source)
    }
}

/// What is matched against keys; nothing for a host that can never be reached.
fn target(repository: &str) -> Option<Url<'_>> {
    let target = Url::parse(repository.as_bytes()).ok()?;
    (target.host.len() <= HOST_LIMIT).then_some(target)
}

/// Whether the kubelet reads a key as a name of this target.
fn names(key: Option<&Url<'_>>, target: &Url<'_>) -> bool {
    key.is_some_and(|key| {
        key.host.len() <= KEY_HOST_LIMIT && pattern::matches(key, target).unwrap_or(false)
    })
}

#[cfg(test)]
mod tests;
