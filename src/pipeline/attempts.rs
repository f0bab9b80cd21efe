//! With which credentials an image is looked up: first as the kubelet pulls it, then by what surepull adds to that.

use std::sync::Arc;

use crate::config::{Credentials, Patterns};
use crate::credentials::{Credential, Keyring, Providers, candidates, pattern_candidates};

/// How many credentials are tried for one image in one attempt. A pull secret has one entry for a registry; this bounds a
/// hostile one.
const CREDENTIALS: usize = 32;

/// How many sources of credentials, or entries, a sentence names.
const NAMED: usize = 4;

/// The credentials that an image is looked up with, in the order in which they are tried; if there are none, it is looked up
/// without.
pub(super) struct Attempts {
    pub(super) credentials: Vec<Credential>,
    /// How many of them the kubelet would try.
    kubelets: usize,
    /// Who would try each of those that follow.
    further: Vec<Means>,
}

/// Who would find an image.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Means {
    /// The kubelet, too.
    Kubelet,
    /// surepull by this entry, which matches in the documented grammar only.
    Documented(String),
    /// surepull by a token of this source, which the kubelet does not read.
    IdentityToken(Arc<str>),
    /// surepull, after the kubelet has given up (`pkg/kubelet/kuberuntime/kuberuntime_image.go` makes no such attempt).
    Anonymous,
}

impl Attempts {
    /// The attempts for an image; the repository is asked for only where there are credentials at all.
    pub(super) fn new(
        pull_secrets: &[Arc<Keyring>],
        node: &Keyring,
        providers: &Providers,
        rules: &Credentials,
        repository: impl Fn() -> String,
    ) -> Self {
        let mut attempts = Self {
            credentials: Vec::new(),
            kubelets: 0,
            further: Vec::new(),
        };
        if pull_secrets.is_empty() && node.is_empty() && providers.is_empty() {
            return attempts;
        }
        let repository = repository();
        let secrets = pull_secrets.iter().map(|keyring| &**keyring);
        let mut kubelets = candidates(secrets.clone(), node, &repository);
        kubelets.truncate(CREDENTIALS);
        let all = &mut attempts.credentials;
        all.extend(kubelets.iter().map(|known| known.without_identity_token()));
        if providers.matches(&repository) {
            all.push(Credential::of_providers());
        }
        let mut entries = Vec::new();
        if rules.patterns == Patterns::Documented {
            entries = pattern_candidates(secrets, &repository);
            entries.extend(pattern_candidates([node], &repository));
            entries.truncate(CREDENTIALS);
        }
        let mut further: Vec<_> = entries
            .iter()
            .map(|entry| {
                let means = Means::Documented(entry.to_string());
                (means, entry.credential.without_identity_token())
            })
            .collect();
        if rules.identity_tokens {
            let all = entries.iter().map(|entry| entry.credential);
            let tokens = kubelets.into_iter().chain(all);
            let tokens = tokens.filter(|known| known.has_identity_token());
            further.extend(tokens.map(|known| {
                let means = Means::IdentityToken(Arc::clone(&known.source));
                (means, known.clone())
            }));
        }
        // Without credentials the kubelet tries without; only then is one given away that it would not use.
        if all.is_empty() && !further.is_empty() {
            all.push(nobody());
        }
        attempts.kubelets = all.len();
        // An entry without user name and password is such a try already.
        let has_anonymous = all.is_empty() || all.iter().any(Credential::is_anonymous);
        if rules.anonymous_fallback && !has_anonymous {
            further.push((Means::Anonymous, nobody()));
        }
        for (means, credential) in further {
            attempts.further.push(means);
            attempts.credentials.push(credential);
        }
        attempts
    }

    /// Whether the kubelet would not make them all.
    pub(super) fn go_further(&self) -> bool {
        !self.further.is_empty()
    }

    /// Who would find an image with the credential at this position.
    pub(super) fn means(&self, position: usize) -> &Means {
        let further = position.checked_sub(self.kubelets);
        let means = further.and_then(|further| self.further.get(further));
        means.unwrap_or(&Means::Kubelet)
    }

    /// With what all of them are made, by source: `with pull secret "s" of namespace ns and without credentials`.
    pub(super) fn tried(&self) -> String {
        sources(&self.credentials)
    }

    /// With what the kubelet would make its own.
    pub(super) fn kubelets(&self) -> String {
        sources(&self.credentials[..self.kubelets])
    }
}

/// No credential: what an attempt without is made with, where there are others.
fn nobody() -> Credential {
    Credential::login("", "", "nowhere".into())
}

/// Where credentials come from, in words.
fn sources(credentials: &[Credential]) -> String {
    let named = credentials.iter().filter(|one| !one.is_anonymous());
    let sources = list(named.map(|credential| credential.source.to_string()));
    let anonymous = credentials.iter().any(Credential::is_anonymous);
    match (sources.is_empty(), anonymous) {
        (false, true) => format!("with {sources} and without credentials"),
        (false, false) => format!("with {sources}"),
        (true, _) => "without credentials".to_owned(),
    }
}

/// The first few, each once.
fn list(all: impl Iterator<Item = String>) -> String {
    let mut each: Vec<String> = Vec::new();
    for one in all {
        if !each.contains(&one) {
            each.push(one);
        }
    }
    let more = each.len().saturating_sub(NAMED);
    each.truncate(NAMED);
    if more > 0 {
        each.push(format!("{more} more"));
    }
    each.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::{Document, Form};

    /// A keyring with entries of these keys; one that ends in `!` has neither user name nor password.
    fn keyring(source: &str, keys: &[&str]) -> Keyring {
        let mut keyring = Keyring::default();
        for key in keys {
            let entry = match key.strip_suffix('!') {
                Some(key) => format!(r#"{{"{key}": {{}}}}"#),
                None => format!(r#"{{"{key}": {{"username": "u", "password": "hunter2"}}}}"#),
            };
            let document = Document::decode(Form::Dockercfg, entry.as_bytes()).unwrap();
            keyring.add(document, &source.into());
        }
        keyring
    }

    #[test]
    fn the_kubelet_goes_first_and_each_deviation_can_be_left_out() {
        for (secret, node, expected, kubelets_own) in [
            (&[][..], &[][..], &[][..], &[][..]),
            (&["q.io"], &["q.io"], &[], &[]),
            (&["r.io"], &[], &["K s", "A nowhere"], &["K s"]),
            (&[], &["r.io"], &["K n", "A nowhere"], &["K n"]),
            (&["r.io!"], &[], &["K s"], &["K s"]),
            (
                &["*r.io"],
                &["r.io"],
                &["K s", "K n", "A nowhere"],
                &["K s", "K n"],
            ),
            (
                &["r?io"],
                &[],
                &["K nowhere", r#"D entry "r?io" of s"#],
                &[],
            ),
            (
                &["r?io", "r.io"],
                &["*io"],
                &[
                    "K s",
                    r#"D entry "r?io" of s"#,
                    r#"D entry "*io" of n"#,
                    "A nowhere",
                ],
                &["K s"],
            ),
        ] {
            let (pull_secrets, node) = ([Arc::new(keyring("s", secret))], keyring("n", node));
            let shown = |rules: &Credentials| -> Vec<String> {
                let attempts =
                    Attempts::new(&pull_secrets, &node, &Providers::default(), rules, || {
                        "r.io/app".to_owned()
                    });
                let all = attempts.credentials.iter().enumerate();
                let shown = all.map(|(position, credential)| match attempts.means(position) {
                    Means::Kubelet => format!("K {}", credential.source),
                    Means::Documented(entry) => format!("D {entry}"),
                    Means::IdentityToken(source) => format!("I {source}"),
                    Means::Anonymous => format!("A {}", credential.source),
                });
                let shown: Vec<_> = shown.collect();
                let further = shown.iter().any(|shown| !shown.starts_with('K'));
                assert_eq!(attempts.go_further(), further);
                shown
            };
            let all = Credentials {
                patterns: Patterns::Documented,
                ..Credentials::default()
            };
            assert_eq!(shown(&all), expected, "{secret:?} {node:?}");
            let kubelet = Credentials {
                anonymous_fallback: false,
                ..Credentials::default()
            };
            assert_eq!(shown(&kubelet), kubelets_own, "{secret:?} {node:?}");
        }
        let alone = Attempts::new(
            &[],
            &Keyring::default(),
            &Providers::default(),
            &Credentials::default(),
            String::new,
        );
        assert_eq!(alone.means(0), &Means::Kubelet);
    }

    #[test]
    fn identity_tokens_come_after_what_the_kubelet_tries_and_only_on_request() {
        let entries = r#"{"r.io": {"identitytoken": "t"}, "*.io": {"username": "u", "identitytoken": "t"}, "q.io": {"identitytoken": "t"}}"#;
        let mut node = Keyring::default();
        node.add(
            Document::decode(Form::Dockercfg, entries.as_bytes()).unwrap(),
            &"n".into(),
        );
        for identity_tokens in [false, true] {
            let rules = Credentials {
                identity_tokens,
                ..Credentials::default()
            };
            let image = || "r.io/app".to_owned();
            let attempts = Attempts::new(&[], &node, &Providers::default(), &rules, image);
            let tokens = attempts.credentials.iter().enumerate();
            let tokens = tokens.filter(|(_, one)| one.has_identity_token());
            let positions: Vec<_> = tokens.map(|(position, _)| position).collect();
            // The entry with nothing but a token is an anonymous attempt of the kubelet.
            let expected: &[usize] = if identity_tokens { &[2, 3] } else { &[] };
            assert_eq!(positions, expected);
            assert_eq!(attempts.credentials.len(), 2 + expected.len());
            for &position in expected {
                let means = Means::IdentityToken("n".into());
                assert_eq!(attempts.means(position), &means);
            }
            assert_eq!(attempts.means(1), &Means::Kubelet);

            // Of an entry that matches in the documented grammar only, both are tried.
            let rules = Credentials {
                patterns: Patterns::Documented,
                ..rules
            };
            let image = || "a.b.io/app".to_owned();
            let attempts = Attempts::new(&[], &node, &Providers::default(), &rules, image);
            let kinds = attempts
                .credentials
                .iter()
                .map(Credential::has_identity_token);
            let kinds: Vec<_> = kinds.collect();
            let expected: &[bool] = if identity_tokens {
                &[false, false, true]
            } else {
                &[false, false]
            };
            assert_eq!(kinds, expected);
        }
    }

    #[test]
    fn the_entry_of_docker_hub_is_offered_to_no_other_host() {
        let hub = || keyring("s", &["https://index.docker.io/v1/"]);
        let rules = Credentials {
            patterns: Patterns::Documented,
            ..Credentials::default()
        };
        for (image, offered) in [
            ("docker.io/library/nginx", true),
            ("localhost/app", false),
            ("Foo/app", false),
            ("registry:5000/app", false),
            ("registry-1.docker.io/library/nginx", false),
            ("docker.io.example.com/library/nginx", false),
        ] {
            for (secret, node) in [(hub(), Keyring::default()), (Keyring::default(), hub())] {
                let attempts = Attempts::new(
                    &[secret.into()],
                    &node,
                    &Providers::default(),
                    &rules,
                    || image.to_owned(),
                );
                let mut credentials = attempts.credentials.iter();
                let is_offered = credentials.any(|credential| !credential.is_anonymous());
                assert_eq!(is_offered, offered, "{image}");
            }
        }
    }

    #[test]
    fn sources_are_named_once_and_not_all() {
        let tried = |keyrings: &[(&str, &str)]| {
            let keyrings: Vec<_> = keyrings
                .iter()
                .map(|(source, key)| Arc::new(keyring(source, &[key])))
                .collect();
            let rules = Credentials::default();
            let image = || "r.io/app".to_owned();
            Attempts::new(
                &keyrings,
                &Keyring::default(),
                &Providers::default(),
                &rules,
                image,
            )
            .tried()
        };
        assert_eq!(tried(&[]), "without credentials");
        assert_eq!(tried(&[("a", "r.io!")]), "without credentials");
        assert_eq!(
            tried(&[("a", "r.io"), ("a", "*.io")]),
            "with a and without credentials"
        );
        let many = [
            ("a", "r.io"),
            ("b", "r.io"),
            ("c", "r.io"),
            ("d", "r.io"),
            ("e", "r.io"),
            ("f", "r.io"),
        ];
        assert_eq!(
            tried(&many),
            "with a, b, c, d, 2 more and without credentials"
        );
    }
}
