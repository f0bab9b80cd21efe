//! Pull secrets of a Pod (`plugin/pkg/admission/serviceaccount/admission.go`).

use std::borrow::Cow;

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
        PullSecrets::Merge => {
            let mut missing = Vec::new();
            for name in
                own.filter(|name| !name.is_empty() && !names.iter().any(|known| known == name))
            {
                if !missing.contains(&name) {
                    missing.push(name);
                }
            }
            missing
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
