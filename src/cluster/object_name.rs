//! What objects can be called.

/// Namespace and name of an object that may exist: short, and fit for a URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ObjectName {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl ObjectName {
    /// Pods name what they like; what no object can be called is neither asked for nor remembered.
    pub(super) fn new(namespace: &str, name: &str) -> Option<Self> {
        (is_name(namespace) && is_name(name)).then(|| Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }
}

/// Whether an object may be called so: `IsDNS1123Subdomain` in `apimachinery/pkg/util/validation`.
pub(crate) fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        let inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        !label.is_empty()
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_are_asked_for() {
        let longest = format!("{}.b", "a".repeat(251));
        for name in ["a", "a-b.c-1", "0", &longest] {
            assert!(is_name(name), "{name}");
        }
        let too_long = format!("{longest}c");
        for name in [
            "", "A", "a/b", "..", "../b", "a..b", ".a", "a.", "-a", "a-", "a-.b", "a?b", "a#b",
            "a%2fb", "a b", "a\n", "ä", &too_long,
        ] {
            assert!(!is_name(name), "{name}");
        }
    }
}
