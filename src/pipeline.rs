//! The one way from an object to its edits: draft (pure), gather facts (I/O, one deadline), settle (pure).
//!
//! - `additions`: the pull secrets that a new Pod gets for what is in them
//! - `purse`: the credentials that each template of the object is pulled with
//! - `extra`: pull secrets of the configuration that do not help, and what would mend it
//! - `attempts`: with which of them an image is looked up, and in which order
//! - `look_up`: the digests, as seen with them

mod additions;
mod attempts;
mod extra;
mod look_up;
mod purse;

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use crate::cluster::{Cluster, Unreadable};
use crate::config::Credentials;
use crate::credentials::Keyring;
use crate::mutation::{
    Draft, Facts, Field, Mode, Outcome, Review, Settings, Skipped, clean, draft,
};
use crate::registry::Resolver;

use additions::Additions;
use look_up::LookUp;
use purse::NAME;

/// Decides about objects, with facts from registries and from the cluster.
pub struct Pipeline {
    settings: Settings,
    resolver: Resolver,
    keyring: Keyring,
    credentials: Credentials,
    cluster: Arc<dyn Cluster>,
    metrics: Metrics,
}

impl Pipeline {
    /// A pipeline with these settings and sources of facts.
    pub fn new(
        settings: Settings,
        resolver: Resolver,
        keyring: Keyring,
        cluster: Arc<dyn Cluster>,
    ) -> Self {
        Self {
            metrics: Metrics::default().in_mode(settings.mode),
            settings,
            resolver,
            keyring,
            credentials: Credentials::default(),
            cluster,
        }
    }

    /// The same, with other rules for credentials than the default; their files are in the keyring.
    #[must_use]
    pub fn with_credentials(self, credentials: Credentials) -> Self {
        Self {
            credentials,
            ..self
        }
    }

    /// What takes this one's place when the configuration has changed: the same cluster, and the metrics go on.
    #[must_use]
    pub fn successor(&self, settings: Settings, resolver: Resolver, keyring: Keyring) -> Self {
        Self {
            metrics: self.metrics.in_mode(settings.mode),
            settings,
            resolver,
            keyring,
            credentials: Credentials::default(),
            cluster: Arc::clone(&self.cluster),
        }
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whom it asks for digests.
    pub fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// Registers the metric families of the pipeline and of what it asks.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
        self.resolver.metrics().register(registry);
        self.resolver.providers().metrics().register(registry);
    }

    /// Decides about one object. What is not known at the deadline counts as not known.
    pub async fn decide<'r>(
        &'r self,
        review: &'r Review<'r>,
        deadline: Instant,
    ) -> Result<Outcome<'r>, Skipped> {
        let draft = draft(review, &self.settings)?;
        let facts = self.gather(&draft, deadline).await;
        let outcome = draft.settle(&facts);
        self.metrics.count(&outcome, &facts);
        Ok(outcome)
    }

    async fn gather(&self, draft: &Draft<'_>, deadline: Instant) -> Facts {
        let account = self.account(draft, deadline);
        if draft.questions().is_empty() {
            return account.await;
        }
        // Boxed: the longer way must not make every review's future large.
        let digests = Box::pin(self.digests(draft, deadline));
        let (digests, account) = tokio::join!(digests, account);
        let mut remarks = digests.remarks;
        remarks.extend(account.remarks);
        Facts {
            digests: digests.digests,
            remarks,
            ..account
        }
    }

    /// The account whose pull secrets the Pod may get and which it gets for what is in them, or what to say if it should
    /// have got them. Nobody adds them later: this is worth all of the time that there is.
    async fn account(&self, draft: &Draft<'_>, deadline: Instant) -> Facts {
        let mut facts = Facts::default();
        let Some(question) = draft.account() else {
            return facts;
        };
        match purse::in_time(deadline, self.cluster.account(question)).await {
            Ok(account) => {
                let secrets = draft.conditional_pull_secrets(&account);
                if !secrets.is_empty() {
                    let patterns = self.credentials.patterns;
                    let additions =
                        Additions::of(&*self.cluster, draft, &secrets, patterns, deadline);
                    let additions = Box::pin(additions).await;
                    facts.matching = additions.names;
                    facts.remarks = additions.remarks;
                }
                facts.account = Some(account);
            }
            // Where there is no such account the API server refuses the Pod; without a cluster there is none ever.
            Err(Unreadable::NotFound | Unreadable::NoCluster) => {}
            Err(why) => facts.remarks.push(format!(
                "surepull: the pull secrets of ServiceAccount {:?} are not added: it could not be read: {why}",
                clean(question.name, NAME)
            )),
        }
        facts
    }

    async fn digests(&self, draft: &Draft<'_>, deadline: Instant) -> Facts {
        let rules = &self.credentials;
        let purses = purse::purses(&*self.cluster, draft.pullers(), rules, deadline).await;
        let look_ups = draft.questions().iter().map(|question| {
            let purse = &purses[question.puller];
            LookUp::new(
                question,
                purse,
                &self.keyring,
                self.resolver.providers(),
                rules,
                &self.settings.pin.errors,
            )
        });
        let answers = look_up::answer(look_ups, &self.resolver, deadline).await;
        let mut facts = Facts::default();
        let mut remarks: Vec<String> = purse::remarks(&purses).cloned().collect();
        for answer in answers {
            facts.digests.push(answer.digest);
            remarks.extend(answer.remarks);
        }
        for remark in remarks {
            if !facts.remarks.contains(&remark) {
                facts.remarks.push(remark);
            }
        }
        facts
    }
}

/// What was done, counted. The counters are looked up once, not for each review.
#[derive(Debug, Default)]
struct Metrics {
    mutations: Family<Labels, Counter>,
    pin: Counter,
    pull_policy: Counter,
    pull_secrets: Counter,
    unpinned: Counter,
    denied: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    function: &'static str,
    mode: &'static str,
}

impl Metrics {
    /// The same families, with the counters of this mode at hand.
    fn in_mode(&self, mode: Mode) -> Self {
        let mutations = self.mutations.clone();
        let mode = if mode == Mode::Audit {
            "audit"
        } else {
            "enforce"
        };
        let counter = |function| mutations.get_or_create(&Labels { function, mode }).clone();
        Self {
            pin: counter("pin"),
            pull_policy: counter("pull_policy"),
            pull_secrets: counter("pull_secrets"),
            unpinned: self.unpinned.clone(),
            denied: self.denied.clone(),
            mutations,
        }
    }

    fn register(&self, registry: &mut Registry) {
        let help = "Fields changed, or in audit mode to be changed, by function";
        registry.register("surepull_mutations", help, self.mutations.clone());
        let help = "Images that could not be pinned";
        registry.register("surepull_unpinned_images", help, self.unpinned.clone());
        let help = "Reviews refused because an image could not be pinned";
        registry.register("surepull_denied_reviews", help, self.denied.clone());
    }

    fn count(&self, outcome: &Outcome<'_>, facts: &Facts) {
        for edit in &outcome.edits {
            let counter = match edit.field {
                Field::Image(..) => &self.pin,
                Field::Policy(..) => &self.pull_policy,
                Field::PullSecrets => &self.pull_secrets,
                Field::Annotation => continue,
            };
            counter.inc();
        }
        let unpinned = facts
            .digests
            .iter()
            .filter(|digest| digest.is_err())
            .count();
        self.unpinned.inc_by(unpinned as u64);
        self.denied.inc_by(outcome.denied.is_some().into());
    }
}

#[cfg(test)]
mod tests;
