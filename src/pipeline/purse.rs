//! The credentials that the images of a template are pulled with, as far as they can be known in time.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::extra::Extra;
use crate::cluster::{Answer, Cluster, Unreadable};
use crate::config::{Credentials, Patterns};
use crate::credentials::Keyring;
use crate::mutation::{AccountQuestion, PullSecret, Puller, When, clean};

/// Of how many templates of one object the pull secrets are read, and how many of each: more than anybody has use for.
const TEMPLATES: usize = 16;
pub(super) const PULL_SECRETS: usize = 32;

/// How many characters of a name the user is told: as many as an object's name can have.
pub(super) const NAME: usize = 253;
/// How many reasons for what could not be read are told of.
const REASONS: usize = 3;

/// The part of a review's time that the cluster may take. If it takes longer, the look-ups go on with what is known.
const SHARE: u32 = 3;

/// The pull secrets of one puller.
#[derive(Default)]
pub(super) struct Purse {
    /// What is in them, in their order.
    pub(super) keyrings: Vec<Arc<Keyring>>,
    /// What could not be read, each a clause for the user.
    unread: Vec<String>,
    /// What the Pods get from the configuration, whether it is of use or not.
    pub(super) extras: Vec<Extra>,
    /// What makes the kubelet fail, and what is risky, each a sentence for the user.
    remarks: Vec<String>,
    /// Why there is no look-up at all, if the kubelet's failure is to count.
    pub(super) broken: Option<String>,
}

/// A purse for each puller.
pub(super) async fn purses(
    cluster: &dyn Cluster,
    pullers: &[Puller<'_>],
    rules: &Credentials,
    deadline: Instant,
) -> Vec<Purse> {
    let now = Instant::now();
    let until = now + deadline.saturating_duration_since(now) / SHARE;
    let few = pullers.iter().take(TEMPLATES);
    let mut purses = join_all(few.map(|puller| Purse::of(cluster, puller, rules, until))).await;
    purses.resize_with(pullers.len(), || Purse {
        unread: vec![
            "this object has too many templates to read the pull secrets of all".to_owned(),
        ],
        ..Purse::default()
    });
    purses
}

impl Purse {
    async fn of(
        cluster: &dyn Cluster,
        puller: &Puller<'_>,
        rules: &Credentials,
        until: Instant,
    ) -> Self {
        let mut purse = Self::default();
        let account = match puller.account() {
            Some(question) => {
                let account = in_time(until, cluster.account(question)).await;
                account
                    .map_err(|why| purse.miss_account(question, &why))
                    .ok()
            }
            None => None,
        };
        if let Some(account) = &account
            && puller.is_refused_extras(account)
        {
            purse.unread.push("the ServiceAccount enforces mountable secrets, so that its Pods get no others of `extraPullSecrets`; add them to its imagePullSecrets".to_owned());
        }
        let secrets = puller.pull_secrets(account.as_deref());
        let namespace = puller.namespace;
        let few = &secrets[..secrets.len().min(PULL_SECRETS)];
        let read = few
            .iter()
            .map(|secret| in_time(until, cluster.pull_secret(namespace, secret.name)));
        for (secret, answer) in few.iter().zip(join_all(read).await) {
            purse.take(namespace, *secret, answer, rules);
        }
        if secrets.len() > PULL_SECRETS {
            purse
                .unread
                .push(format!("only {PULL_SECRETS} pull secrets are read"));
        }
        purse
    }

    fn take(
        &mut self,
        namespace: &str,
        secret: PullSecret<'_>,
        answer: Answer<Keyring>,
        rules: &Credentials,
    ) {
        let PullSecret { name, when } = secret;
        let is_known = match &answer {
            Ok(_)
            | Err(
                Unreadable::NotFound
                | Unreadable::WrongType
                | Unreadable::Empty(_)
                | Unreadable::TooLarge
                | Unreadable::Malformed(_),
            ) => true,
            Err(_) => false,
        };
        if when == When::Extra && is_known {
            self.extras.push(Extra {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                keyring: answer.clone(),
            });
        }
        match answer {
            Ok(keyring) => self.add(keyring, rules.patterns),
            Err(_) if when == When::Extra && is_known => {}
            Err(why) => self.miss_pull_secret(namespace, secret, &why, rules),
        }
    }

    fn add(&mut self, keyring: Arc<Keyring>, patterns: Patterns) {
        // What the kubelet cannot match is told where it explains a failed look-up.
        if patterns == Patterns::Documented {
            let remarks = keyring.pattern_remarks(patterns);
            let remarks = remarks.iter().map(|remark| format!("surepull: {remark}"));
            self.remarks.extend(remarks);
        }
        self.keyrings.push(keyring);
    }

    fn miss_pull_secret(
        &mut self,
        namespace: &str,
        secret: PullSecret<'_>,
        why: &Unreadable,
        rules: &Credentials,
    ) {
        let (name, when) = (clean(secret.name, NAME), secret.when);
        let clause =
            format!("pull secret {name:?} of namespace {namespace} could not be read: {why}");
        match why {
            // The kubelet does not pass over that one, so it matters whatever the registry says.
            Unreadable::Malformed(_) if when != When::Always => self.unread.push(clause),
            Unreadable::Malformed(_) if rules.skip_broken_pull_secrets => {
                self.remarks.push(format!("surepull: {clause}"));
            }
            Unreadable::Malformed(_) => self.broken = Some(clause),
            _ => self.unread.push(clause),
        }
    }

    fn miss_account(&mut self, question: AccountQuestion<'_>, why: &Unreadable) {
        let AccountQuestion { namespace, name } = question;
        let name = clean(name, NAME);
        // Without a cluster that is so for every Pod, and no news.
        if *why != Unreadable::NoCluster {
            self.unread.push(format!(
                "ServiceAccount {name:?} of namespace {namespace} could not be read: {why}"
            ));
        }
    }

    /// The pull secrets that are missing, and could have made a difference.
    pub(super) fn remedy(&self) -> Option<String> {
        let reasons = &self.unread[..self.unread.len().min(REASONS)];
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

/// What there is to say of all purses.
pub(super) fn remarks(purses: &[Purse]) -> impl Iterator<Item = &String> {
    purses.iter().flat_map(|purse| &purse.remarks)
}

/// The answer, if it comes in time.
pub(super) async fn in_time<T>(
    until: Instant,
    answer: impl Future<Output = Answer<T>>,
) -> Answer<T> {
    let answer = timeout_at(until, answer).await;
    answer.unwrap_or(Err(Unreadable::NoAnswer))
}
