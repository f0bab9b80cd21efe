//! With which credentials an image is looked up: first as the kubelet pulls it, then by what surepull adds to that.

use std::sync::Arc;

use crate::config::{Credentials, Patterns};
use crate::credentials::{
    Credential, Keyring, PatternMatch, Secret, candidates, pattern_candidates,
};

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
    /// The entries of those that follow, which match in the documented grammar only.
    documented: Vec<String>,
}

/// Who would find an image.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Means<'a> {
    /// The kubelet, too.
    Kubelet,
    /// surepull by this entry, which matches in the documented grammar only.
    Documented(&'a str),
    /// surepull, after the kubelet has given up (`pkg/kubelet/kuberuntime/kuberuntime_image.go` makes no such attempt).
    Anonymous,
}

impl Attempts {
    /// The attempts for an image; the repository is asked for only where there are credentials at all.
    pub(super) fn new(
        pull_secrets: &[Arc<Keyring>],
        node: &Keyring,
        rules: &Credentials,
        repository: impl Fn() -> String,
    ) -> Self {
        let mut attempts = Self {
            credentials: Vec::new(),
            kubelets: 0,
            documented: Vec::new(),
        };
        if pull_secrets.is_empty() && node.is_empty() {
            return attempts;
        }
        let repository = repository();
        let secrets = pull_secrets.iter().map(|keyring| &**keyring);
        let mut entries = Vec::new();
        if rules.patterns == Patterns::Documented {
            entries = pattern_candidates(secrets.clone(), &repository);
            entries.extend(pattern_candidates([node], &repository));
            entries.truncate(CREDENTIALS);
        }
        let kubelets = candidates(secrets, node, &repository);
        let kubelets = kubelets.into_iter().take(CREDENTIALS).cloned();
        let all = &mut attempts.credentials;
        all.extend(kubelets);
        // Without credentials the kubelet tries without; only then is one given away that it would not use.
        if all.is_empty() && !entries.is_empty() {
            all.push(nobody());
        }
        attempts.kubelets = all.len();
        // An entry without user name and password is such a try already.
        let has_anonymous = all.is_empty() || all.iter().any(Credential::is_anonymous);
        all.extend(entries.iter().map(|entry| entry.credential.clone()));
        attempts.documented = entries.iter().map(PatternMatch::to_string).collect();
        if rules.anonymous_fallback && !has_anonymous {
            all.push(nobody());
        }
        attempts
    }

    /// Whether the kubelet would not make them all.
    pub(super) fn go_further(&self) -> bool {
        self.credentials.len() > self.kubelets
    }

    /// Who would find an image with the credential at this position.
    pub(super) fn means(&self, position: usize) -> Means<'_> {
        if position < self.kubelets || self.credentials.is_empty() {
            return Means::Kubelet;
        }
        let documented = self.documented.get(position - self.kubelets);
        documented.map_or(Means::Anonymous, |entry| Means::Documented(entry))
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
    Credential {
        username: Secret::default(),
        password: Secret::default(),
        source: "nowhere".into(),
    }
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
                let attempts = Attempts::new(&pull_secrets, &node, rules, || "r.io/app".to_owned());
                let all = attempts.credentials.iter().enumerate();
                let shown = all.map(|(position, credential)| match attempts.means(position) {
                    Means::Kubelet => format!("K {}", credential.source),
                    Means::Documented(entry) => format!("D {entry}"),
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
            &Credentials::default(),
            String::new,
        );
        assert_eq!(alone.means(0), Means::Kubelet);
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
                let attempts = Attempts::new(&[secret.into()], &node, &rules, || image.to_owned());
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
            Attempts::new(&keyrings, &Keyring::default(), &rules, image).tried()
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
