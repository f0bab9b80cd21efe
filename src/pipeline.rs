//! The one way from an object to its edits: draft (pure), gather facts (I/O, one deadline), settle (pure).

use futures_util::StreamExt;
use futures_util::stream;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::time::{Instant, timeout_at};

use crate::cluster::Cluster;
use crate::credentials::{Credential, Keyring};
use crate::image::{Digest, Reference};
use crate::mutation::{
    Account, Draft, Facts, Field, Outcome, Question, Review, Settings, Skipped, draft,
};
use crate::registry::{Image, Resolver};

/// How many look-ups of one review may be under way at once. A Pod has a handful of images; this bounds a hostile one.
const LOOK_UPS_AT_ONCE: usize = 64;

/// Decides about objects, with facts from registries and from the cluster.
pub struct Pipeline {
    settings: Settings,
    resolver: Resolver,
    keyring: Keyring,
    cluster: Box<dyn Cluster>,
    metrics: Metrics,
}

impl Pipeline {
    /// A pipeline with these settings and sources of facts.
    pub fn new(
        settings: Settings,
        resolver: Resolver,
        keyring: Keyring,
        cluster: Box<dyn Cluster>,
    ) -> Self {
        Self {
            settings,
            resolver,
            keyring,
            cluster,
            metrics: Metrics::default(),
        }
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The pipeline's metric families.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
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
        let (digests, account) = tokio::join!(
            self.digests(draft.questions(), deadline),
            self.account(draft, deadline)
        );
        Facts { digests, account }
    }

    async fn account(&self, draft: &Draft<'_>, deadline: Instant) -> Option<Account> {
        timeout_at(deadline, self.cluster.account(draft.account()?))
            .await
            .ok()
            .flatten()
    }

    async fn digests(
        &self,
        questions: &[Question<'_>],
        deadline: Instant,
    ) -> Vec<Result<Digest, String>> {
        let look_ups = questions
            .iter()
            .map(|question| self.digest(question, deadline));
        stream::iter(look_ups)
            .buffered(LOOK_UPS_AT_ONCE)
            .collect()
            .await
    }

    async fn digest(&self, question: &Question<'_>, deadline: Instant) -> Result<Digest, String> {
        let image = look_up(&question.image);
        let credentials: Vec<Credential> = self
            .keyring
            .lookup(&question.image.repository())
            .into_iter()
            .cloned()
            .collect();
        let known = if question.fresh {
            None
        } else {
            self.resolver.cached(&image, &credentials)
        };
        let answer = match known {
            Some(answer) => answer,
            None => {
                self.resolver
                    .resolve(&image, &credentials, question.fresh, deadline)
                    .await
            }
        };
        answer.map_err(|error| {
            let remedy = error.remedy();
            format!("{error}; {remedy}")
        })
    }
}

/// What the registry is asked for: an image without digest always has a tag.
fn look_up(image: &Reference<'_>) -> Image {
    Image {
        registry: image.domain().to_owned(),
        repository: image.path().into_owned(),
        tag: image.tag().unwrap_or("latest").to_owned(),
    }
}

/// What was done, counted.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    mutations: Family<Function, Counter>,
    unpinned: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Function {
    function: &'static str,
}

impl Metrics {
    /// Registers the families.
    pub fn register(&self, registry: &mut prometheus_client::registry::Registry) {
        registry.register(
            "surepull_mutations",
            "Fields changed, by function",
            self.mutations.clone(),
        );
        registry.register(
            "surepull_unpinned_images",
            "Images that could not be pinned",
            self.unpinned.clone(),
        );
    }

    fn count(&self, outcome: &Outcome<'_>, facts: &Facts) {
        for edit in &outcome.edits {
            let function = match edit.field {
                Field::Image(..) => "pin",
                Field::Policy(..) => "pull_policy",
                Field::PullSecrets => "pull_secrets",
                Field::Annotation => continue,
            };
            self.mutations.get_or_create(&Function { function }).inc();
        }
        self.unpinned.inc_by(
            facts
                .digests
                .iter()
                .filter(|digest| digest.is_err())
                .count() as u64,
        );
    }
}
