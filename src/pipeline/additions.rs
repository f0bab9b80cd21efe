//! Which pull secrets a new Pod gets for what is in them.

use futures_util::future::join_all;
use tokio::time::Instant;

use super::purse::{NAME, PULL_SECRETS, in_time};
use crate::cluster::{Cluster, Unreadable};
use crate::config::Patterns;
use crate::credentials::{Keyring, pattern_candidates};
use crate::mutation::{Draft, PullSecret, When, clean};

/// What is known of the pull secrets that depend on what is in them.
#[derive(Default)]
pub(super) struct Additions {
    /// The names of those that the Pod gets.
    pub(super) names: Vec<String>,
    /// What could not be decided: sentences for the user.
    pub(super) remarks: Vec<String>,
}

impl Additions {
    /// Reads the Secrets.
    pub(super) async fn of(
        cluster: &dyn Cluster,
        draft: &Draft<'_>,
        secrets: &[PullSecret<'_>],
        patterns: Patterns,
        deadline: Instant,
    ) -> Self {
        let mut additions = Self::default();
        let Some(namespace) = draft.account().map(|account| account.namespace) else {
            return additions;
        };
        let repositories: Vec<String> = draft.repositories().collect();
        let (few, rest) = secrets.split_at(secrets.len().min(PULL_SECRETS));
        let read = few
            .iter()
            .map(|secret| in_time(deadline, cluster.pull_secret(namespace, secret.name)));
        for (secret, answer) in few.iter().zip(join_all(read).await) {
            match answer {
                Ok(keyring) => {
                    let mut images = repositories.iter();
                    if images.any(|repository| matches(&keyring, repository, patterns)) {
                        additions.names.push(secret.name.to_owned());
                    }
                }
                Err(why) => additions.miss(*secret, &why),
            }
        }
        for secret in rest {
            additions.miss(*secret, &Unreadable::TooMany);
        }
        additions
    }

    /// Nobody misses one that the kubelet would pass over, and one that makes it fail is better not there. What is merely
    /// not known of the account's is added as `merge` would; of the configuration's it may not exist at all.
    fn miss(&mut self, secret: PullSecret<'_>, why: &Unreadable) {
        let (name, when) = (clean(secret.name, NAME), secret.when);
        let is_added = match why {
            Unreadable::NotFound | Unreadable::WrongType | Unreadable::Empty(_) => return,
            Unreadable::NoCluster if when == When::Extra => return,
            Unreadable::Malformed(_) => false,
            _ => when == When::Matching,
        };
        let what = if is_added {
            self.names.push(secret.name.to_owned());
            "is added unseen"
        } else {
            "is not added"
        };
        self.remarks.push(format!(
            "surepull: pull secret {name:?} {what}: it could not be read: {why}"
        ));
    }
}

/// Whether a pull secret holds an entry for an image.
pub(super) fn matches(keyring: &Keyring, repository: &str, patterns: Patterns) -> bool {
    !keyring.lookup(repository).is_empty()
        || (patterns == Patterns::Documented
            && !pattern_candidates([keyring], repository).is_empty())
}
