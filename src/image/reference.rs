//! The parser of image references, and what a reference is made of.

use std::borrow::Cow;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::digest::{self, Digest};
use super::grammar::{is_component, is_digest, is_domain, is_path, is_tag};
use super::invalid::{Fault, Invalid};

/// The domain that images without one belong to.
pub const DOCKER_HUB: &str = "docker.io";

/// The prefix of Docker Hub's repositories that are named by one component.
const LIBRARY: &str = "library/";

/// `RepositoryNameTotalLengthMax`, which in spite of its name bounds the path only.
pub(super) const MAX_PATH: usize = 255;

/// A text that Kubernetes takes as an image reference, and its parts.
///
/// Parsed by the rules of `ParseImageName` in `pkg/util/parsers/parsers.go` of Kubernetes, which are those of
/// `ParseNormalizedNamed` in `github.com/distribution/reference` v0.6.0. The parts are normalised, the text is
/// not touched: [`Reference::text`], [`Reference::name`] and [`Reference::pinned`] are as the user wrote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reference<'a> {
    text: &'a str,
    name: &'a str,
    domain: &'a str,
    /// The path is `library/` and this text.
    library: bool,
    path: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

impl<'a> Reference<'a> {
    /// Reads an image reference.
    pub fn parse(text: &'a str) -> Result<Self, Invalid> {
        Self::read(text).map_err(|fault| {
            let fault = match fault {
                Fault::Format if is_lower_case_all_it_needs(text) => Fault::Uppercase,
                fault => fault,
            };
            Invalid::new(text, fault)
        })
    }

    /// [`Reference::parse`] without the work for an error's message; takes some faults of case for faults of format.
    pub(super) fn read(text: &'a str) -> Result<Self, Fault> {
        if is_identifier(text) {
            return Err(Fault::Identifier);
        }
        let (domain, library, rest) = split_domain(text);
        if lowering_changes(rest.split_once(':').map_or(rest, |(name, _)| name)) {
            return Err(Fault::Uppercase);
        }
        let parts = Parts::read(domain, rest).ok_or(Fault::Format)?;
        let tail = rest.len() - parts.path.len();
        let name = &text[..text.len() - tail];
        // `a_b.c/d` is no domain and a path, but it is a path of two components, and then there is no domain at all.
        let (domain, path) = if parts.is_without_domain {
            ("", name)
        } else {
            (domain, parts.path)
        };
        let prefix = if library { LIBRARY.len() } else { 0 };
        if prefix + path.len() > MAX_PATH {
            return Err(Fault::TooLong);
        }
        if let Some(digest) = parts.digest {
            digest::check(digest)?;
        }
        Ok(Self {
            text,
            name,
            domain,
            library,
            path,
            tag: parts.tag,
            digest: parts.digest,
        })
    }

    /// The text as the user wrote it.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The text as the user wrote it, without tag and digest.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// The registry's host, with its port if one is written; `docker.io` if none is written.
    ///
    /// Empty for a name like `a_b.c/d`, whose first part looks like a host but is not a legal one.
    pub fn domain(&self) -> &'a str {
        self.domain
    }

    /// The path at the registry, `library/` of Docker Hub included.
    pub fn path(&self) -> Cow<'a, str> {
        if self.library {
            Cow::Owned(format!("{LIBRARY}{}", self.path))
        } else {
            Cow::Borrowed(self.path)
        }
    }

    /// The normalised name: domain, `/`, path. Credentials are matched against this.
    pub fn repository(&self) -> String {
        let slash = if self.domain.is_empty() { "" } else { "/" };
        let library = if self.library { LIBRARY } else { "" };
        [self.domain, slash, library, self.path].concat()
    }

    /// The tag; `latest` where neither a tag nor a digest is written.
    pub fn tag(&self) -> Option<&'a str> {
        match self.digest {
            None => self.tag.or(Some("latest")),
            Some(_) => self.tag,
        }
    }

    /// The digest; valid, should one be written.
    pub fn digest(&self) -> Option<&'a str> {
        self.digest
    }

    /// The normalised name with the tag and digest that are written: `Named.String` upstream.
    pub fn canonical(&self) -> String {
        self.with_suffix(&self.repository())
    }

    /// The short form that users of Docker know, with the tag and digest that are written: `FamiliarString` upstream.
    pub fn familiar(&self) -> String {
        if self.domain != DOCKER_HUB {
            return self.canonical();
        }
        let official = self.path.strip_prefix(LIBRARY);
        self.with_suffix(match official {
            Some(path) if !self.library && !path.contains('/') => path,
            _ => self.path,
        })
    }

    /// The text as the user wrote it, with this digest in place of any other.
    pub fn pinned(&self, digest: &Digest) -> String {
        let unpinned = match self.digest {
            Some(old) => &self.text[..self.text.len() - old.len() - 1],
            None => self.text,
        };
        [unpinned, "@", digest.as_str()].concat()
    }

    fn with_suffix(&self, name: &str) -> String {
        let (colon, tag) = self.tag.map_or(("", ""), |tag| (":", tag));
        let (at, digest) = self.digest.map_or(("", ""), |digest| ("@", digest));
        [name, colon, tag, at, digest].concat()
    }
}

impl fmt::Display for Reference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

/// Whether a domain is this very machine: `localhost`, `127.0.0.0/8` or `[::1]`, with any port. On each node of
/// a cluster that is another machine.
pub fn is_loopback(domain: &str) -> bool {
    if let Some((address, _)) = domain
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        return address
            .parse::<Ipv6Addr>()
            .is_ok_and(|address| address.to_canonical().is_loopback());
    }
    let host = domain.split_once(':').map_or(domain, |(host, _)| host);
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback())
}

/// `referencePat`: the parts of a text `domain/rest` that follows the grammar.
struct Parts<'a> {
    is_without_domain: bool,
    path: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn read(domain: &str, rest: &'a str) -> Option<Self> {
        let (name, digest) = match rest.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (rest, None),
        };
        let (path, tag) = match name.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (name, None),
        };
        let is_without_domain = !is_domain(domain);
        let legal = is_path(path)
            && tag.is_none_or(is_tag)
            && digest.is_none_or(is_digest)
            && (!is_without_domain || is_component(domain));
        legal.then_some(Self {
            is_without_domain,
            path,
            tag,
            digest,
        })
    }
}

/// `anchoredIdentifierRegexp`.
fn is_identifier(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// `splitDockerDomain`: the domain, whether `library/` comes before the rest, and the rest.
fn split_domain(text: &str) -> (&str, bool, &str) {
    let Some((first, rest)) = text.split_once('/') else {
        return (DOCKER_HUB, true, text);
    };
    let (domain, rest) = if first == "index.docker.io" {
        (DOCKER_HUB, rest)
    } else if first == "localhost" || first.contains(['.', ':']) || lowering_changes(first) {
        (first, rest)
    } else {
        (DOCKER_HUB, text)
    };
    (domain, domain == DOCKER_HUB && !rest.contains('/'), rest)
}

/// Whether `strings.ToLower` of Go would change the text.
fn lowering_changes(text: &str) -> bool {
    if text.is_ascii() {
        text.bytes().any(|b| b.is_ascii_uppercase())
    } else {
        text.chars().any(|c| lower(c) != c)
    }
}

/// `unicode.ToLower` of Go: one character for one; only U+0130 has more than one here. The two may know different
/// versions of Unicode, which then changes the fault that is named, never what is refused.
fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// Whether a text that does not follow the grammar would do so in lower case. Upstream then speaks of upper case.
#[cold]
fn is_lower_case_all_it_needs(text: &str) -> bool {
    let (domain, _, rest) = split_domain(text);
    let lowered = |text: &str| text.chars().map(lower).collect::<String>();
    Parts::read(&lowered(domain), &lowered(rest)).is_some()
}

#[cfg(test)]
mod tests;
