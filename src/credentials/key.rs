//! The key of an entry: the normal form of the kubelet, and what it says in the documented grammar.

use std::borrow::Cow;
use std::fmt;

use super::documented::Documented;
use super::url::Url;

/// The key of an entry, as each of the two grammars reads it; at least one of them can.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) kubelet: Option<Normal>,
    pub(super) documented: Option<Documented>,
}

/// The kubelet's normal form of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Normal {
    /// Host, with the port as written, and path.
    pub(super) text: Vec<u8>,
    /// The normal form parsed once more, as upstream does at every look-up; `None` where that fails, and then the key
    /// matches nothing.
    pub(super) url: Option<Url<'static>>,
}

impl Key {
    /// `None` for what is no key in either grammar.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let schemeless = [&b"https://"[..], b"http://"]
            .iter()
            .find_map(|scheme| text.strip_prefix(*scheme))
            .unwrap_or(text);
        let (kubelet, documented) = (Normal::parse(schemeless), Documented::parse(schemeless));
        (kubelet.is_some() || documented.is_some()).then_some(Self {
            kubelet,
            documented,
        })
    }
}

impl Normal {
    /// Without scheme, user, query, fragment, and `/v1` or `/v2` in front of a `/`. `None` for what is no URL.
    fn parse(schemeless: &[u8]) -> Option<Self> {
        let url = Url::parse(schemeless).ok()?;
        let text = [&url.host, normal_path(&url.path)].concat();
        let url = Url::parse(&text).ok().map(|url| Url {
            host: Cow::Owned(url.host.into_owned()),
            path: Cow::Owned(url.path.into_owned()),
        });
        Some(Self { text, url })
    }
}

/// Without `/v1` or `/v2` in front of a `/`, and empty where it is but a `/`.
pub(super) fn normal_path(path: &[u8]) -> &[u8] {
    let path = match path {
        [b'/', b'v', b'1' | b'2', rest @ ..] if rest.starts_with(b"/") => rest,
        path => path,
    };
    if path == b"/" { b"" } else { path }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.kubelet, &self.documented) {
            (_, Some(documented)) => f.write_str(&String::from_utf8_lossy(&documented.text())),
            (Some(kubelet), _) => f.write_str(&String::from_utf8_lossy(&kubelet.text)),
            (None, None) => Ok(()),
        }
    }
}
