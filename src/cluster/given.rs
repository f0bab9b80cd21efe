//! A cluster that is given, not asked.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::{BoxFuture, ready};

use super::{Answer, Cluster, Unreadable, secret};
use crate::credentials::Keyring;
use crate::mutation::{Account, AccountQuestion};

/// A cluster that is given, not asked: of what it does not hold nothing is known. Empty, it is what `--standalone`
/// serves.
#[derive(Debug, Default)]
pub struct Given {
    accounts: HashMap<(String, String), Arc<Account>>,
    pull_secrets: HashMap<(String, String), Answer<Keyring>>,
}

impl Given {
    /// Adds the account of this namespace and name.
    pub fn add_account(&mut self, namespace: &str, name: &str, account: Account) {
        self.accounts
            .insert((namespace.to_owned(), name.to_owned()), account.into());
    }

    /// Adds the Secret of this namespace and name, by its type and the data under a key.
    pub fn add_pull_secret<'d>(
        &mut self,
        namespace: &str,
        name: &str,
        secret_type: &str,
        data: impl Fn(&str) -> Option<&'d [u8]>,
    ) {
        let keyring = secret::keyring(namespace, name, secret_type, data);
        self.pull_secrets
            .insert((namespace.to_owned(), name.to_owned()), keyring);
    }
}

impl Cluster for Given {
    fn account<'a>(&'a self, question: AccountQuestion<'a>) -> BoxFuture<'a, Answer<Account>> {
        let account = if self.accounts.is_empty() {
            None
        } else {
            self.accounts
                .get(&(question.namespace.to_owned(), question.name.to_owned()))
                .cloned()
        };
        Box::pin(ready(account.ok_or(Unreadable::NoCluster)))
    }

    fn pull_secret<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Answer<Keyring>> {
        let key = (namespace.to_owned(), name.to_owned());
        let keyring = self.pull_secrets.get(&key).cloned();
        Box::pin(ready(keyring.unwrap_or(Err(Unreadable::NoCluster))))
    }
}
