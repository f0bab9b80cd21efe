//! Pull secrets of a Pod (`plugin/pkg/admission/serviceaccount/admission.go`).

use std::borrow::Cow;
use std::collections::HashSet;

use super::{PullSecrets, Settings};

/// The `ServiceAccount` that a Pod runs as, asked for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountQuestion<'r> {
    /// The Pod's namespace.
    pub namespace: &'r str,
    /// The account's name.
    pub name: &'r str,
}

/// What matters of a `ServiceAccount`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// `imagePullSecrets`, in order; empty names and repeated ones included.
    pub pull_secrets: Vec<String>,
    /// Whether it is annotated `kubernetes.io/enforce-mountable-secrets: "true"`: the API server refuses a Pod of it that
    /// names another pull secret than these.
    pub mountable_only: bool,
}

/// What the configuration says of the pull secrets of Pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules<'r> {
    pub(super) how: PullSecrets,
    pub(super) extra: &'r [String],
}

/// The name of a pull secret that a Pod has, or may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PullSecret<'p> {
    /// The name.
    pub name: &'p str,
    /// Whether the Pod gets it.
    pub when: When,
}

/// Whether a Pod gets a pull secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// It does, or has it already; whatever is in it.
    Always,
    /// If it holds an entry for one of the Pod's images.
    Matching,
    /// So too; it is one of the configuration's, which need not exist in the Pod's namespace.
    Extra,
}

impl Rules<'_> {
    /// Whether what is in a Secret can matter.
    pub(super) fn are_conditional(self) -> bool {
        self.how == PullSecrets::Matching || !self.extra.is_empty()
    }
}

impl Settings {
    /// What is said of pull secrets.
    pub(super) fn pull_secret_rules(&self) -> Rules<'_> {
        Rules {
            how: self.pull_secrets,
            extra: &self.extra_pull_secrets,
        }
    }
}

impl Account {
    /// Whether a Pod of this account may name the pull secret.
    pub(super) fn allows(&self, name: &str) -> bool {
        !self.mountable_only || self.pull_secrets.iter().any(|own| own == name)
    }
}

/// What may be added at the end of a Pod's pull secrets, in this order: what is missing of the account's, then of the
/// configuration's; never what replaces.
pub(super) fn additions<'f>(
    rules: Rules<'f>,
    names: &[impl AsRef<str>],
    account: &'f Account,
) -> Vec<PullSecret<'f>> {
    let (own, when): (&[String], _) = match rules.how {
        PullSecrets::Merge => (&account.pull_secrets, When::Always),
        PullSecrets::Matching => (&account.pull_secrets, When::Matching),
        PullSecrets::Fill if names.is_empty() => (&account.pull_secrets, When::Always),
        PullSecrets::None | PullSecrets::Fill => (&[], When::Always),
    };
    if own.is_empty() && rules.extra.is_empty() {
        return Vec::new();
    }
    let own = own.iter().map(|name| PullSecret { name, when });
    let extra = rules.extra.iter().filter(|name| account.allows(name));
    let when = When::Extra;
    let extra = extra.map(|name| PullSecret { name, when });
    let mut seen: HashSet<&str> = names.iter().map(AsRef::as_ref).collect();
    // The plugin copies the account's list as it is.
    let verbatim =
        |secret: &PullSecret<'_>| rules.how == PullSecrets::Fill && secret.when == When::Always;
    own.chain(extra)
        .filter(|secret| {
            let is_new = !secret.name.is_empty() && seen.insert(secret.name);
            is_new || verbatim(secret)
        })
        .collect()
}

/// What a stored Pod has beyond these names, if the additions explain it: pull secrets are immutable, so that it can but
/// be given back. Of those that depend on what was in a Secret, any may have been added.
pub(super) fn added<'s, 'n>(
    names: &[Cow<'n, str>],
    stored: &'s [Cow<'n, str>],
    additions: &[PullSecret<'_>],
) -> Option<Vec<&'s str>> {
    let added = stored.strip_prefix(names)?;
    let mut left = added;
    for addition in additions {
        match left {
            [first, rest @ ..] if first == addition.name => left = rest,
            _ if addition.when == When::Always => return None,
            _ => {}
        }
    }
    left.is_empty()
        .then(|| added.iter().map(|name| &**name).collect())
}

/// Whether the account can matter at all: what needs no answer is not asked.
pub(super) fn asks(
    rules: Rules<'_>,
    names: &[Cow<'_, str>],
    stored: Option<&[Cow<'_, str>]>,
) -> bool {
    let wanting = match rules.how {
        PullSecrets::None => false,
        PullSecrets::Fill => names.is_empty(),
        PullSecrets::Merge | PullSecrets::Matching => true,
    };
    // On an update pull secrets are immutable: they can but be given back.
    (wanting || !rules.extra.is_empty())
        && stored.is_none_or(|stored| stored.len() > names.len() && stored.starts_with(names))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cows<'n>(names: &[&'n str]) -> Vec<Cow<'n, str>> {
        names.iter().map(|name| (*name).into()).collect()
    }

    fn account(mountable_only: bool) -> Account {
        Account {
            pull_secrets: ["a", "own", "", "a", "z"].map(String::from).to_vec(),
            mountable_only,
        }
    }

    #[test]
    fn additions_are_missing_allowed_and_each_once() {
        use PullSecrets::{Fill, Matching, Merge, None};
        let (a, z, e) = ("always a", "always z", "extra e");
        let (if_a, if_z) = ("matching a", "matching z");
        let extra = ["e", "own", "e", "z", ""].map(String::from);
        for (how, names, extra, mountable_only, expected) in [
            (None, &["own"][..], &[][..], false, &[][..]),
            (None, &["own"], &extra, false, &[e, "extra z"]),
            (None, &["own"], &extra, true, &["extra z"]),
            (Fill, &["own"], &[], false, &[]),
            (Fill, &["own"], &extra, false, &[e, "extra z"]),
            (
                Fill,
                &[],
                &extra,
                false,
                &[a, "always own", "always ", a, z, e],
            ),
            (Merge, &["own"], &[], false, &[a, z]),
            (Merge, &["own"], &[], true, &[a, z]),
            (Merge, &["own"], &extra, false, &[a, z, e]),
            (Merge, &["own"], &extra, true, &[a, z]),
            (Matching, &["own"], &extra, false, &[if_a, if_z, e]),
            (Matching, &["own", "a", "z", "e"], &extra, false, &[]),
        ] {
            let (rules, account) = (Rules { how, extra }, account(mountable_only));
            let found = additions(rules, names, &account);
            let found: Vec<_> = found
                .iter()
                .map(|PullSecret { name, when }| format!("{when:?} {name}").to_lowercase())
                .collect();
            assert_eq!(found, expected, "{how:?} {names:?} {extra:?}");
            assert!(asks(rules, &cows(names), Option::None) || found.is_empty());
        }
    }

    #[test]
    fn what_additions_explain_is_given_back() {
        let extra = ["e", "f"].map(String::from);
        for (how, stored, given_back) in [
            (PullSecrets::Merge, &["own", "a", "z"][..], true),
            (PullSecrets::Merge, &["own", "a", "z", "f"], true),
            (PullSecrets::Merge, &["own", "a"], false),
            (PullSecrets::Merge, &["own", "a", "z", "f", "e"], false),
            (PullSecrets::Merge, &["other", "a", "z"], false),
            (PullSecrets::Matching, &["own", "a", "z"], true),
            (PullSecrets::Matching, &["own", "z", "e"], true),
            (PullSecrets::Matching, &["own", "f"], true),
            (PullSecrets::Matching, &["own", "z", "a"], false),
            (PullSecrets::Matching, &["own", "a", "x"], false),
            (PullSecrets::None, &["own", "e"], true),
            (PullSecrets::None, &["own", "a"], false),
        ] {
            let (rules, account) = (Rules { how, extra: &extra }, account(false));
            let (names, stored) = (cows(&["own"]), cows(stored));
            let additions = additions(rules, &names, &account);
            let expected = given_back.then(|| stored[1..].to_vec());
            let added = added(&names, &stored, &additions).map(|added| cows(&added));
            assert_eq!(added, expected, "{how:?} {stored:?}");
            assert!(asks(rules, &names, Some(&stored)) || !given_back);
        }
    }
}
