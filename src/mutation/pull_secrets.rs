//! Pull secrets of a Pod (`plugin/pkg/admission/serviceaccount/admission.go`).

use std::borrow::Cow;
use std::collections::HashSet;

use super::PullSecrets;

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
}

/// Whose pull secrets the images of one template are pulled with: what its Pods will have when they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Puller<'r> {
    /// The namespace of the Pods.
    pub namespace: &'r str,
    /// The names in the pod spec.
    pub(super) names: &'r [Cow<'r, str>],
    /// The name of the account whose pull secrets the Pods have too, if they do.
    pub(super) account: Option<&'r str>,
}

impl<'r> Puller<'r> {
    /// The puller of a Pod that is there: its list is immutable.
    pub(super) fn stored(namespace: &'r str, names: &'r [Cow<'r, str>]) -> Self {
        Self {
            namespace,
            names,
            account: None,
        }
    }

    /// The puller of a Pod that is being created. The API server has given an empty list the account's one by now, so
    /// that only what surepull adds is missing.
    pub(super) fn created(
        namespace: &'r str,
        names: &'r [Cow<'r, str>],
        account: &'r str,
        how: PullSecrets,
    ) -> Self {
        Self {
            namespace,
            names,
            account: asks(how, names, None).then_some(account),
        }
    }

    /// The puller of a template. When a Pod is made from it, the API server fills an empty list from the account, and
    /// then surepull does its part.
    pub(super) fn template(
        namespace: &'r str,
        names: &'r [Cow<'r, str>],
        account: &'r str,
        how: PullSecrets,
    ) -> Self {
        let counts = names.is_empty() || how == PullSecrets::Merge;
        Self {
            namespace,
            names,
            account: counts.then_some(account),
        }
    }

    /// The account whose pull secrets count, if they do.
    pub fn account(&self) -> Option<AccountQuestion<'r>> {
        self.account.map(|name| AccountQuestion {
            namespace: self.namespace,
            name,
        })
    }

    /// The names of the pull secrets in their order, each once: those in the pod spec, then those of the account. The
    /// kubelet passes over empty names (`pkg/kubelet/kubelet_pods.go`).
    pub fn pull_secrets<'p>(&self, account: Option<&'p Account>) -> Vec<&'p str>
    where
        'r: 'p,
    {
        let named = self.names.iter().map(|name| &**name);
        let added = account
            .into_iter()
            .flat_map(|account| &account.pull_secrets);
        let mut seen = HashSet::new();
        named
            .chain(added.map(String::as_str))
            .filter(|name| !name.is_empty() && seen.insert(*name))
            .collect()
    }
}

/// The names to be added at the end of a Pod's pull secrets: what is missing, never what replaces.
///
/// All of them are the account's own, so an account annotated `kubernetes.io/enforce-mountable-secrets`, whose Pods
/// may name no other pull secret, accepts them.
pub(super) fn missing<'f>(
    how: PullSecrets,
    names: &[Cow<'_, str>],
    account: &'f Account,
) -> Vec<&'f str> {
    let own = account.pull_secrets.iter().map(String::as_str);
    match how {
        PullSecrets::Fill if names.is_empty() => own.collect(),
        PullSecrets::None | PullSecrets::Fill => Vec::new(),
        PullSecrets::Merge if account.pull_secrets.is_empty() => Vec::new(),
        PullSecrets::Merge => {
            let mut seen: HashSet<&str> = names.iter().map(|name| &**name).collect();
            own.filter(|name| !name.is_empty() && seen.insert(name))
                .collect()
        }
    }
}

/// Whether the account can matter at all: what needs no answer is not asked.
pub(super) fn asks(
    how: PullSecrets,
    names: &[Cow<'_, str>],
    stored: Option<&[Cow<'_, str>]>,
) -> bool {
    let wanting = match how {
        PullSecrets::None => false,
        PullSecrets::Fill => names.is_empty(),
        PullSecrets::Merge => true,
    };
    // On an update pull secrets are immutable: they can but be given back.
    wanting && stored.is_none_or(|stored| stored.len() > names.len() && stored.starts_with(names))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names that a puller ends up with, where the account has `a` and `own`.
    fn names(puller: Puller<'_>) -> Vec<String> {
        let account = Account {
            pull_secrets: ["a", "", "own", "a"].map(String::from).to_vec(),
        };
        let account = puller.account().map(|_| &account);
        let names = puller.pull_secrets(account);
        names.into_iter().map(String::from).collect()
    }

    #[test]
    fn a_puller_has_the_secrets_that_its_pods_will_have() {
        use PullSecrets::{Fill, Merge, None};
        /// Whether the Pod is there already, is made now, or will be made from a template.
        type Rule = for<'r> fn(&'r [Cow<'r, str>], PullSecrets) -> Puller<'r>;
        let stored: Rule = |names, _| Puller::stored("ns", names);
        let created: Rule = |names, how| Puller::created("ns", names, "default", how);
        let template: Rule = |names, how| Puller::template("ns", names, "default", how);
        let (nothing, own, blank): (&[&str], &[&str], &[&str]) = (&[], &["own", "b"], &[""]);
        for (rule, how, list, expected) in [
            (created, None, nothing, &[][..]),
            (created, None, own, &["own", "b"]),
            (created, Fill, nothing, &["a", "own"]),
            (created, Fill, own, &["own", "b"]),
            (created, Fill, blank, &[]),
            (created, Merge, nothing, &["a", "own"]),
            (created, Merge, own, &["own", "b", "a"]),
            (created, Merge, blank, &["a", "own"]),
            (template, None, nothing, &["a", "own"]),
            (template, None, own, &["own", "b"]),
            (template, None, blank, &[]),
            (template, Fill, nothing, &["a", "own"]),
            (template, Fill, own, &["own", "b"]),
            (template, Merge, nothing, &["a", "own"]),
            (template, Merge, own, &["own", "b", "a"]),
            (template, Merge, blank, &["a", "own"]),
            (stored, Merge, nothing, &[]),
            (stored, Merge, own, &["own", "b"]),
        ] {
            let list: Vec<Cow<'_, str>> = list.iter().map(|name| (*name).into()).collect();
            let puller = rule(&list, how);
            assert_eq!(names(puller), expected, "{how:?} {list:?}");
        }
    }

    #[test]
    fn a_created_pod_is_pulled_with_what_it_has_after_the_merge() {
        let account = Account {
            pull_secrets: ["a", "own", "", "a", "z"].map(String::from).to_vec(),
        };
        for how in [PullSecrets::None, PullSecrets::Fill, PullSecrets::Merge] {
            for list in [&[][..], &["own"], &["x", "z"]] {
                let list: Vec<Cow<'_, str>> = list.iter().map(|name| (*name).into()).collect();
                let puller = Puller::created("ns", &list, "default", how);
                let used = puller.pull_secrets(puller.account().map(|_| &account));
                let added = missing(how, &list, &account);
                let mut has: Vec<&str> = list.iter().map(|name| &**name).chain(added).collect();
                has.retain(|name| !name.is_empty());
                let mut seen = HashSet::new();
                has.retain(|name| seen.insert(*name));
                assert_eq!(used, has, "{how:?} {list:?}");
            }
        }
    }
}
