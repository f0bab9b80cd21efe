//! With which credentials an image is looked up: first as the kubelet pulls it, then by what surepull adds to that.

use std::sync::Arc;

use crate::config::{Credentials, Patterns};
use crate::credentials::{
    Credential, Keyring, PatternMatch, Providers, candidates, pattern_candidates,
};

/// How many credentials are tried for one image in one attempt. A pull secret has one entry for a registry; this bounds a
/// hostile one.
const CREDENTIALS: usize = 32;

/// How many sources of credentials, or entries, a sentence names.
const NAMED: usize = 4;

/// Credentials that are tried in turn; without any, one try without.
pub(super) struct Attempt {
    pub(super) credentials: Vec<Credential>,
    pub(super) means: Means,
}

/// Who would make an attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Means {
    /// The kubelet, too.
    Kubelet,
    /// surepull by these entries, which match in the documented grammar only.
    Documented(String),
    /// surepull, by tokens that the kubelet does not read.
    IdentityTokens,
    /// surepull, after the kubelet has given up (`pkg/kubelet/kuberuntime/kuberuntime_image.go` makes no such attempt).
    Anonymous,
}

/// The attempts for an image, in their order; the repository is asked for only where there are credentials at all.
pub(super) fn attempts(
    pull_secrets: &[Arc<Keyring>],
    node: &Keyring,
    providers: &Providers,
    rules: &Credentials,
    repository: impl Fn() -> String,
) -> Vec<Attempt> {
    let mut attempts = vec![Attempt {
        credentials: Vec::new(),
        means: Means::Kubelet,
    }];
    if pull_secrets.is_empty() && node.is_empty() && providers.is_empty() {
        return attempts;
    }
    let repository = repository();
    let secrets = pull_secrets.iter().map(|keyring| &**keyring);
    let mut kubelets = candidates(secrets.clone(), node, &repository);
    kubelets.truncate(CREDENTIALS);
    let logins = kubelets.iter().map(|known| known.without_identity_token());
    attempts[0].credentials = logins.collect();
    if providers.matches(&repository) {
        attempts[0].credentials.push(Credential::of_providers());
    }
    if rules.patterns == Patterns::Documented {
        let mut entries = pattern_candidates(secrets, &repository);
        entries.extend(pattern_candidates([node], &repository));
        entries.truncate(CREDENTIALS);
        let credentials: Vec<_> = entries
            .iter()
            .map(|entry| entry.credential.without_identity_token())
            .collect();
        if !credentials.is_empty() {
            attempts.push(Attempt {
                credentials,
                means: Means::Documented(list(entries.iter().map(PatternMatch::to_string))),
            });
        }
    }
    let mut tokens = kubelets
        .into_iter()
        .filter(|known| known.has_identity_token())
        .cloned()
        .peekable();
    if rules.identity_tokens && tokens.peek().is_some() {
        attempts.push(Attempt {
            credentials: tokens.collect(),
            means: Means::IdentityTokens,
        });
    }
    let kubelets = &attempts[0].credentials;
    // An entry without user name and password is an anonymous attempt already.
    if rules.anonymous_fallback
        && !kubelets.is_empty()
        && !kubelets.iter().any(Credential::is_anonymous)
    {
        attempts.push(Attempt {
            credentials: Vec::new(),
            means: Means::Anonymous,
        });
    }
    attempts
}

/// With what these attempts were made, by source: `with pull secret "s" of namespace ns and without credentials`.
pub(super) fn tried(attempts: &[Attempt]) -> String {
    let credentials = || attempts.iter().flat_map(|attempt| &attempt.credentials);
    let named = credentials().filter(|credential| !credential.is_anonymous());
    let sources = list(named.map(|credential| credential.source.to_string()));
    let anonymous = attempts
        .iter()
        .any(|attempt| attempt.credentials.is_empty())
        || credentials().any(Credential::is_anonymous);
    match (sources.is_empty(), anonymous) {
        (false, true) => format!("with {sources} and without credentials"),
        (false, false) => format!("with {sources}"),
        (true, _) => "without credentials".to_owned(),
    }
}

/// The first few, each once.
pub(super) fn list(all: impl Iterator<Item = String>) -> String {
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
        let kubelet = || "K".to_owned();
        let (documented, anonymous) = (|entries: &str| format!("D {entries}"), || "A".to_owned());
        for (secret, node, expected) in [
            (&[][..], &[][..], vec![kubelet()]),
            (&["q.io"], &["q.io"], vec![kubelet()]),
            (&["r.io"], &[], vec![kubelet(), anonymous()]),
            (&[], &["r.io"], vec![kubelet(), anonymous()]),
            (&["r.io!"], &[], vec![kubelet()]),
            (&["*r.io"], &[], vec![kubelet(), anonymous()]),
            (
                &["r?io"],
                &[],
                vec![kubelet(), documented(r#"entry "r?io" of s"#)],
            ),
            (
                &["r?io", "r.io"],
                &["*io"],
                vec![
                    kubelet(),
                    documented(r#"entry "r?io" of s, entry "*io" of n"#),
                    anonymous(),
                ],
            ),
        ] {
            let (pull_secrets, node) = ([Arc::new(keyring("s", secret))], keyring("n", node));
            let shown = |rules: &Credentials| -> Vec<String> {
                let attempts = attempts(&pull_secrets, &node, &Providers::default(), rules, || {
                    "r.io/app".to_owned()
                });
                let shown = attempts.iter().map(|attempt| match &attempt.means {
                    Means::Kubelet => kubelet(),
                    Means::Documented(entries) => documented(entries),
                    Means::IdentityTokens => "I".to_owned(),
                    Means::Anonymous => anonymous(),
                });
                shown.collect()
            };
            let all = Credentials {
                patterns: Patterns::Documented,
                ..Credentials::default()
            };
            assert_eq!(shown(&all), expected, "{secret:?} {node:?}");
            let kubelets_own = Credentials {
                anonymous_fallback: false,
                ..Credentials::default()
            };
            assert_eq!(shown(&kubelets_own), [kubelet()], "{secret:?} {node:?}");
        }
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
            let attempts = attempts(&[], &node, &Providers::default(), &rules, image);
            let tokens = |attempt: &Attempt| {
                let mut credentials = attempt.credentials.iter();
                credentials
                    .by_ref()
                    .filter(|one| one.has_identity_token())
                    .count()
            };
            assert_eq!(attempts[0].means, Means::Kubelet);
            assert_eq!(
                (attempts[0].credentials.len(), tokens(&attempts[0])),
                (2, 0)
            );
            // The entry with nothing but a token is an anonymous attempt of the kubelet.
            assert_eq!(attempts.len(), 1 + usize::from(identity_tokens));
            if let Some(attempt) = attempts.get(1) {
                assert_eq!(
                    (&attempt.means, tokens(attempt)),
                    (&Means::IdentityTokens, 2)
                );
            }
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
                let attempts = attempts(
                    &[secret.into()],
                    &node,
                    &Providers::default(),
                    &rules,
                    || image.to_owned(),
                );
                let credentials = attempts.iter().flat_map(|attempt| &attempt.credentials);
                assert_eq!(credentials.count(), usize::from(offered), "{image}");
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
            tried(&attempts(
                &keyrings,
                &Keyring::default(),
                &Providers::default(),
                &rules,
                image,
            ))
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
