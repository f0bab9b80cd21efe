//! Whose pull secrets an image is pulled with.

use std::borrow::Cow;
use std::collections::HashSet;

use super::pull_secrets::{Rules, additions, asks};
use super::{Account, AccountQuestion, PullSecret, PullSecrets, When};

/// Whose pull secrets the images of one template are pulled with: what its Pods will have when they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Puller<'r> {
    /// The namespace of the Pods.
    pub namespace: &'r str,
    /// The names in the pod spec.
    names: &'r [Cow<'r, str>],
    /// The name of the account whose pull secrets the Pods have too, if they do.
    account: Option<&'r str>,
    /// Whether the API server will fill the list from the account.
    filled: bool,
    /// What surepull does then.
    rules: Rules<'r>,
}

impl<'r> Puller<'r> {
    /// The puller of a Pod that is there: its list is immutable.
    pub(super) fn stored(namespace: &'r str, names: &'r [Cow<'r, str>]) -> Self {
        Self {
            namespace,
            names,
            account: None,
            filled: false,
            rules: Rules {
                how: PullSecrets::None,
                extra: &[],
            },
        }
    }

    /// The puller of a Pod that is being created. The API server has given an empty list the account's one by now, so
    /// that only what surepull adds is missing.
    pub(super) fn created(
        namespace: &'r str,
        names: &'r [Cow<'r, str>],
        account: &'r str,
        rules: Rules<'r>,
    ) -> Self {
        Self {
            namespace,
            names,
            account: asks(rules, names, None).then_some(account),
            filled: false,
            rules,
        }
    }

    /// The puller of a template. When a Pod is made from it, the API server fills an empty list from the account, and
    /// then surepull does its part.
    pub(super) fn template(
        namespace: &'r str,
        names: &'r [Cow<'r, str>],
        account: &'r str,
        rules: Rules<'r>,
    ) -> Self {
        let filled = names.is_empty();
        Self {
            namespace,
            names,
            account: (filled || asks(rules, names, None)).then_some(account),
            filled,
            rules,
        }
    }

    /// The account whose pull secrets count, if they do.
    pub fn account(&self) -> Option<AccountQuestion<'r>> {
        self.account.map(|name| AccountQuestion {
            namespace: self.namespace,
            name,
        })
    }

    /// The pull secrets in their order, each once: those in the pod spec, then those of the account, then those of the
    /// configuration. The kubelet passes over empty names (`pkg/kubelet/kubelet_pods.go`).
    pub fn pull_secrets<'p>(&self, account: Option<&'p Account>) -> Vec<PullSecret<'p>>
    where
        'r: 'p,
    {
        let mut all: Vec<_> = self.names.iter().map(|name| has(name)).collect();
        if let Some(account) = account {
            if self.filled {
                let own = &account.pull_secrets;
                all.extend(own.iter().map(|name| has(name)));
                all.extend(additions(self.rules, own, account));
            } else {
                all.extend(additions(self.rules, self.names, account));
            }
        }
        let mut seen = HashSet::new();
        all.retain(|secret| !secret.name.is_empty() && seen.insert(secret.name));
        all
    }

    /// Whether the Pods do not get pull secrets of the configuration because their account forbids it.
    pub fn is_refused_extras(&self, account: &Account) -> bool {
        self.rules.extra.iter().any(|name| !account.allows(name))
    }
}

/// A pull secret that is there.
fn has(name: &str) -> PullSecret<'_> {
    PullSecret {
        name,
        when: When::Always,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names that a puller ends up with, where the account has `a` and `own`.
    fn names(puller: Puller<'_>) -> Vec<String> {
        let account = Account {
            pull_secrets: ["a", "", "own", "a"].map(String::from).to_vec(),
            mountable_only: false,
        };
        let account = puller.account().map(|_| &account);
        let secrets = puller.pull_secrets(account);
        secrets
            .iter()
            .map(|secret| secret.name.to_owned())
            .collect()
    }

    #[test]
    fn a_puller_has_the_secrets_that_its_pods_will_have() {
        use PullSecrets::{Fill, Matching, Merge, None};
        /// Whether the Pod is there already, is made now, or will be made from a template.
        type Rule = for<'r> fn(&'r [Cow<'r, str>], Rules<'r>) -> Puller<'r>;
        let stored: Rule = |names, _| Puller::stored("ns", names);
        let created: Rule = |names, rules| Puller::created("ns", names, "default", rules);
        let template: Rule = |names, rules| Puller::template("ns", names, "default", rules);
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
            (created, Matching, own, &["own", "b", "a"]),
            (template, Matching, nothing, &["a", "own"]),
            (template, Matching, own, &["own", "b", "a"]),
            (stored, Merge, nothing, &[]),
            (stored, Merge, own, &["own", "b"]),
        ] {
            let list: Vec<Cow<'_, str>> = list.iter().map(|name| (*name).into()).collect();
            let rules = Rules { how, extra: &[] };
            assert_eq!(names(rule(&list, rules)), expected, "{how:?} {list:?}");
            let extra = ["own", "e"].map(String::from);
            let mut with_extra = expected.to_vec();
            if !std::ptr::fn_addr_eq(rule, stored) {
                with_extra.extend(["own", "e"].iter().filter(|name| !expected.contains(name)));
            }
            let rules = Rules { how, extra: &extra };
            assert_eq!(names(rule(&list, rules)), with_extra, "{how:?} {list:?}");
        }
    }

    #[test]
    fn a_created_pod_is_pulled_with_what_it_may_have_in_the_end() {
        let account = Account {
            pull_secrets: ["a", "own", "", "a", "z"].map(String::from).to_vec(),
            mountable_only: false,
        };
        let extra = ["x", "e"].map(String::from);
        for how in [
            PullSecrets::None,
            PullSecrets::Fill,
            PullSecrets::Merge,
            PullSecrets::Matching,
        ] {
            for list in [&[][..], &["own"], &["x", "z"]] {
                let rules = Rules { how, extra: &extra };
                let list: Vec<Cow<'_, str>> = list.iter().map(|name| (*name).into()).collect();
                let puller = Puller::created("ns", &list, "default", rules);
                let used = puller.pull_secrets(puller.account().map(|_| &account));
                let mut has: Vec<_> = list.iter().map(|name| super::has(name)).collect();
                has.extend(additions(rules, &list, &account));
                has.retain(|secret| !secret.name.is_empty());
                let mut seen = HashSet::new();
                has.retain(|secret| seen.insert(secret.name));
                assert_eq!(used, has, "{how:?} {list:?}");
            }
        }
    }
}
