//! What differs between two configurations, in the words of the file.

use super::Configuration;
use crate::mutation::Settings;

impl Configuration {
    /// The top-level keys of the file that mean something else in `other`.
    pub fn changes(&self, other: &Self) -> Vec<&'static str> {
        // Taken apart, so that what is added cannot be forgotten here.
        let Self {
            settings:
                Settings {
                    mode,
                    pull_policy,
                    always,
                    pin,
                    pull_secrets,
                    extra_pull_secrets,
                    excluded_namespaces,
                },
            kinds,
            registries,
            network,
            cache,
            credentials,
        } = self;
        let settings = &other.settings;
        let keys = [
            ("mode", *mode != settings.mode),
            ("pullPolicy", *pull_policy != settings.pull_policy),
            ("always", *always != settings.always),
            ("pin", *pin != settings.pin),
            ("pullSecrets", *pull_secrets != settings.pull_secrets),
            (
                "extraPullSecrets",
                *extra_pull_secrets != settings.extra_pull_secrets,
            ),
            (
                "excludedNamespaces",
                *excluded_namespaces != settings.excluded_namespaces,
            ),
            ("customResources", *kinds != other.kinds),
            ("registries", *registries != other.registries),
            ("network", *network != other.network),
            ("cache", *cache != other.cache),
            ("credentials", *credentials != other.credentials),
        ];
        let changed = keys.into_iter().filter(|(_, changed)| *changed);
        changed.map(|(key, _)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Configuration, parse};

    #[test]
    fn every_top_level_key_is_told() {
        for (key, text) in [
            ("mode", "audit"),
            ("pullPolicy", "none"),
            ("always", "pods"),
            ("pin", "{targets: none}"),
            ("pullSecrets", "fill"),
            ("extraPullSecrets", "[s]"),
            ("excludedNamespaces", "[]"),
            (
                "customResources",
                "[{group: g.io, kind: K, templates: [/spec]}]",
            ),
            ("registries", "[{match: r.io}]"),
            ("network", "{allowAddresses: [127.0.0.1]}"),
            ("cache", "{ttl: 1s}"),
            ("credentials", "{dockerConfig: [f]}"),
            ("credentials", "{identityTokens: true}"),
            ("credentials", "{providers: {config: f, binDir: b}}"),
        ] {
            let text =
                format!("apiVersion: surepull.dev/v1alpha1\nkind: Configuration\n{key}: {text}\n");
            let other = parse(text.as_bytes()).unwrap();
            assert_eq!(Configuration::default().changes(&other), [key]);
            assert!(other.changes(&other).is_empty());
        }
    }
}
