//! What the cluster knows: `ServiceAccount`s, and later Secrets and Namespaces.

use std::collections::HashMap;

use futures_util::future::BoxFuture;

use crate::mutation::{Account, AccountQuestion};

/// Where facts about the cluster come from.
pub trait Cluster: Send + Sync {
    /// The account, if there is such a one.
    fn account<'a>(&'a self, question: AccountQuestion<'a>) -> BoxFuture<'a, Option<Account>>;
}

/// A cluster that is given, not asked: what it does not hold is not there. Empty, it is what `--standalone` serves.
#[derive(Debug, Default)]
pub struct Given {
    accounts: HashMap<(String, String), Account>,
}

impl Given {
    /// Adds the account of this namespace and name.
    pub fn add_account(&mut self, namespace: &str, name: &str, account: Account) {
        self.accounts
            .insert((namespace.to_owned(), name.to_owned()), account);
    }
}

impl Cluster for Given {
    fn account<'a>(&'a self, question: AccountQuestion<'a>) -> BoxFuture<'a, Option<Account>> {
        let account = if self.accounts.is_empty() {
            None
        } else {
            self.accounts
                .get(&(question.namespace.to_owned(), question.name.to_owned()))
                .cloned()
        };
        Box::pin(std::future::ready(account))
    }
}
