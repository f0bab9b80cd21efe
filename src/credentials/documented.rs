//! The grammar of patterns that the Kubernetes page on images described until 2024, and that no kubelet ever had.
//!
//! Host and port are one text, the root URL, in which the characters of Go's `filepath.Match` have their meaning: `*`
//! any run of characters, dots included, `?` any one, `[…]` and `[^…]` one of a class, `\` takes the next character as
//! it is. The path is compared as the kubelet compares it: the image's starts with that of the key.

use super::key::normal_path;
use super::keyring::KEY_HOST_LIMIT;
use super::pattern::{glob_matches, is_glob};
use super::url::{Url, is_host};

/// The characters that make a pattern of a root URL.
const SPECIAL: &[u8] = b"*?[\\";

/// A key that holds a pattern. All other keys mean the same in both grammars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Documented {
    root: Vec<u8>,
    path: Vec<u8>,
}

impl Documented {
    /// `None` for what holds no pattern, or a malformed one, which matches nothing.
    pub(super) fn parse(schemeless: &[u8]) -> Option<Self> {
        let slash = schemeless.iter().position(|b| *b == b'/');
        let (root, path) = schemeless.split_at(slash.unwrap_or(schemeless.len()));
        let user = root.iter().rposition(|b| *b == b'@');
        let root = &root[user.map_or(0, |at| at + 1)..];
        let root = root.strip_suffix(b":").unwrap_or(root);
        let is_address = root.starts_with(b"[") && Url::parse(root).is_ok();
        let legal = |b: &u8| !b.is_ascii() || is_host(*b) || b"?\\^".contains(b);
        // An `@` in the path may end a user name and a password that hold a slash: not to be shown, and in no image.
        if !root.iter().any(|b| SPECIAL.contains(b))
            || is_address
            || !root.iter().all(legal)
            || path.contains(&b'@')
            || root.len() > KEY_HOST_LIMIT
            || !is_glob(root)
        {
            return None;
        }
        let path = Url::parse(path).ok()?.path;
        Some(Self {
            root: root.to_vec(),
            path: normal_path(&path).to_vec(),
        })
    }

    /// The normal form.
    pub(super) fn text(&self) -> Vec<u8> {
        [&*self.root, &self.path].concat()
    }

    /// Whether it names this target, which is parsed without a scheme.
    pub(super) fn matches(&self, target: &Url<'_>) -> bool {
        target.path.starts_with(&self.path)
            && glob_matches(&self.root, &target.host).unwrap_or(false)
    }

    /// Whether it holds a character that only this grammar knows, so that the kubelet never reads it as it is meant.
    pub(super) fn is_foreign(&self) -> bool {
        self.root.iter().any(|b| b"?[\\".contains(b))
    }

    /// Whether a `*` is not followed by a dot, so that it also matches the domain of a stranger: `*example.com` is
    /// `evil-example.com` too. In a port there are no strangers.
    pub(super) fn is_loose(&self) -> bool {
        let port = self.root.iter().rposition(|b| *b == b':');
        let host = &self.root[..port.unwrap_or(self.root.len())];
        let mut rest = host;
        while let [first, tail @ ..] = rest {
            rest = match first {
                b'\\' => tail.get(1..).unwrap_or_default(),
                b'*' if !matches!(tail, [b'.' | b'*', ..]) => return true,
                _ => tail,
            };
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(key: &str, image: &str) -> Option<bool> {
        let target = Url::parse(image.as_bytes()).unwrap();
        Documented::parse(key.as_bytes()).map(|key| key.matches(&target))
    }

    #[test]
    fn the_examples_of_the_page() {
        for image in [
            "my-registry.io/images",
            "my-registry.io/images/my-image",
            "my-registry.io/images/another-image",
            "sub.my-registry.io/images/my-image",
            "a.sub.my-registry.io/images/my-image",
        ] {
            assert_eq!(
                matches("*my-registry.io/images", image),
                Some(true),
                "{image}"
            );
        }
        for image in [
            "my-registry.io/other",
            "my-registry.com/images/my-image",
            "my-registry.io:5000/images/my-image",
        ] {
            assert_eq!(
                matches("*my-registry.io/images", image),
                Some(false),
                "{image}"
            );
        }
    }

    #[test]
    fn roots_are_patterns_and_paths_are_not() {
        for (key, image, expected) in [
            ("*.r.io", "r.io/app", Some(false)),
            ("*.r.io", "a.b.r.io/app", Some(true)),
            ("r?.io", "r1.io/app", Some(true)),
            ("r?.io", "r.io/app", Some(false)),
            ("r[0-9].io/team", "r7.io/team/app", Some(true)),
            ("r[^0-9].io", "r7.io/app", Some(false)),
            ("r[^0-9].io", "rx.io/app", Some(true)),
            ("r[1\\-9].io", "r-.io/app", Some(true)),
            ("r\\1.io", "r1.io/app", Some(true)),
            ("r.io:*", "r.io:5000/app", Some(true)),
            ("r.io:*", "r.io/app", Some(false)),
            ("*", "localhost:5000/app", Some(true)),
            ("u:p@*.io:/v1/", "r.io/app", Some(true)),
            ("*.io/v2/team", "r.io/team/app", Some(true)),
            ("*.io/te", "r.io/team/app", Some(true)),
            ("*.io/*/app", "r.io/team/app", Some(false)),
            ("*.io/team?x#y", "r.io/team/app", Some(true)),
            ("[::1]:*", "[::1]:5000/app", Some(false)),
            ("[::1]:5000", "[::1]:5000/app", None),
            ("r.io/*", "r.io/app", None),
            ("r[0-.io", "r0.io/app", None),
            ("r io*", "r.io/app", None),
            ("u*:p/w@r.io", "r.io/app", None),
            ("*.io/%zz", "r.io/app", None),
        ] {
            assert_eq!(matches(key, image), expected, "{key} {image}");
        }
    }

    #[test]
    fn loose_and_foreign_patterns() {
        for (key, loose, foreign) in [
            ("*.r.io", false, false),
            ("**.r.io", false, false),
            ("*r.io", true, false),
            ("r.*", true, false),
            ("*", true, false),
            ("a*.r.io:*", false, false),
            ("\\*.r.i?", false, true),
            ("\\*r.io", false, true),
            ("r[ab].io", false, true),
        ] {
            let key = Documented::parse(key.as_bytes()).unwrap();
            assert_eq!(
                (key.is_loose(), key.is_foreign()),
                (loose, foreign),
                "{key:?}"
            );
        }
    }
}
