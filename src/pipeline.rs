//! The one way from an object to its edits: draft (pure), gather facts (I/O, one deadline), settle (pure).

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::time::{Instant, timeout_at};

use crate::cluster::Cluster;
use crate::credentials::{Credential, Keyring};
use crate::image::Digest;
use crate::mutation::{
    Account, Draft, Facts, Field, Mode, Outcome, Question, Review, Settings, Skipped, draft,
};
use crate::registry::{Error, Image, Resolver};

/// How many look-ups of one review may be under way at once. A Pod has a handful of images; this bounds a hostile one.
const LOOK_UPS_AT_ONCE: usize = 64;

/// Decides about objects, with facts from registries and from the cluster.
pub struct Pipeline {
    settings: Settings,
    resolver: Resolver,
    keyring: Keyring,
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
            cluster,
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
        let (mut digests, missing) = self.remembered(draft.questions());
        let account = self.account(draft, deadline);
        if missing.is_empty() {
            return Facts {
                digests,
                account: account.await,
            };
        }
        // Boxed: the rarer way must not make every review's future large.
        let look_ups = Box::pin(self.look_up(missing, &mut digests, deadline));
        let ((), account) = tokio::join!(look_ups, account);
        Facts { digests, account }
    }

    async fn account(&self, draft: &Draft<'_>, deadline: Instant) -> Option<Account> {
        timeout_at(deadline, self.cluster.account(draft.account()?))
            .await
            .ok()
            .flatten()
    }

    /// The answers that are remembered, and the look-ups that are missing, with their places among the answers.
    #[allow(clippy::type_complexity, reason = "two lists, used at once")]
    fn remembered<'q>(
        &self,
        questions: &[Question<'q>],
    ) -> (Vec<Result<Digest, String>>, Vec<(usize, LookUp<'q>)>) {
        let mut missing = Vec::new();
        let answer = |(index, question)| {
            let look_up = LookUp::new(question, &self.keyring);
            look_up.known(&self.resolver).unwrap_or_else(|| {
                missing.push((index, look_up));
                Err("there was no time left to look it up".to_owned())
            })
        };
        let answers = questions.iter().enumerate().map(answer).collect();
        (answers, missing)
    }

    /// Asks the registries, all at once, but for a bound.
    async fn look_up(
        &self,
        missing: Vec<(usize, LookUp<'_>)>,
        answers: &mut [Result<Digest, String>],
        deadline: Instant,
    ) {
        let mut under_way = FuturesUnordered::new();
        for (begun, (index, look_up)) in missing.into_iter().enumerate() {
            if begun >= LOOK_UPS_AT_ONCE {
                if let Some((index, answer)) = under_way.next().await {
                    answers[index] = answer;
                }
                // A look-up outlives the review, so that it is not for nothing; one too late for its review is not
                // begun.
                if Instant::now() >= deadline {
                    break;
                }
            }
            let resolver = &self.resolver;
            under_way.push(async move { (index, look_up.run(resolver, deadline).await) });
        }
        while let Some((index, answer)) = under_way.next().await {
            answers[index] = answer;
        }
    }
}

/// One question on its way to the registry.
struct LookUp<'q> {
    image: Image<'q>,
    credentials: Vec<Credential>,
    fresh: bool,
}

impl<'q> LookUp<'q> {
    fn new(question: &Question<'q>, keyring: &Keyring) -> Self {
        let reference = &question.image;
        let credentials = if keyring.is_empty() {
            Vec::new()
        } else {
            keyring
                .lookup(&reference.repository())
                .into_iter()
                .cloned()
                .collect()
        };
        let image = Image {
            registry: reference.domain().into(),
            repository: reference.path(),
            // An image without a digest always has a tag.
            tag: reference.tag().unwrap_or("latest").into(),
        };
        Self {
            image,
            credentials,
            fresh: question.fresh,
        }
    }

    /// The answer that is remembered, if that is recent enough.
    fn known(&self, resolver: &Resolver) -> Option<Result<Digest, String>> {
        if self.fresh {
            None
        } else {
            resolver.cached(&self.image, &self.credentials).map(explain)
        }
    }

    async fn run(&self, resolver: &Resolver, deadline: Instant) -> Result<Digest, String> {
        explain(
            resolver
                .resolve(&self.image, &self.credentials, self.fresh, deadline)
                .await,
        )
    }
}

/// An error as a sentence for the user, with the remedy.
fn explain(answer: Result<Digest, Arc<Error>>) -> Result<Digest, String> {
    answer.map_err(|error| format!("{error}; {}", error.remedy()))
}

/// What was done, counted. The counters are looked up once, not for each review.
#[derive(Debug, Default)]
struct Metrics {
    mutations: Family<Labels, Counter>,
    pin: Counter,
    pull_policy: Counter,
    pull_secrets: Counter,
    unpinned: Counter,
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
            mutations,
        }
    }

    fn register(&self, registry: &mut Registry) {
        let help = "Fields changed, or in audit mode to be changed, by function";
        registry.register("surepull_mutations", help, self.mutations.clone());
        let help = "Images that could not be pinned";
        registry.register("surepull_unpinned_images", help, self.unpinned.clone());
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
    }
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeSeed;
    use serde_json::json;

    use super::*;
    use crate::cluster::Given;
    use crate::workload::{Kinds, Operation, Survey};

    /// The review of a Pod that is created in namespace `ns`.
    fn created<'v>(kinds: &Kinds, pod: &'v serde_json::Value) -> Review<'v> {
        let workload = kinds.find("", "Pod").unwrap();
        Review {
            class: workload.class,
            operation: Operation::Create,
            subresource: "".into(),
            namespace: "ns".into(),
            object: Survey(&workload.shape).deserialize(pod).unwrap().unwrap(),
            old: None,
        }
    }

    fn pipeline(cluster: Given) -> Pipeline {
        let resolver = Resolver::new(&[], &crate::config::Cache::default()).unwrap();
        Pipeline::new(
            Settings::default(),
            resolver,
            Keyring::default(),
            Arc::new(cluster),
        )
    }

    #[tokio::test]
    async fn a_pod_gets_the_pull_secrets_of_its_own_account() {
        let mut cluster = Given::default();
        let account = |name: &str| Account {
            pull_secrets: vec![name.to_owned()],
        };
        cluster.add_account("ns", "default", account("a"));
        cluster.add_account("ns", "builder", account("b"));
        cluster.add_account("other", "builder", account("c"));
        let pipeline = pipeline(cluster);
        for (name, added) in [("", Some("a")), ("builder", Some("b")), ("unknown", None)] {
            let pod = json!({"metadata": {}, "spec": {"serviceAccountName": name, "imagePullSecrets": [{"name": "own"}]}});
            let kinds = Kinds::default();
            let review = created(&kinds, &pod);
            let outcome = pipeline.decide(&review, Instant::now()).await.unwrap();
            let patch = outcome
                .patch()
                .map(|patch| String::from_utf8(patch).unwrap());
            let expected = added.map(|added| {
                format!(r#"[{{"op":"add","path":"/spec/imagePullSecrets/-","value":{{"name":"{added}"}}}}]"#)
            });
            assert_eq!(patch, expected, "{name}");
        }
    }

    #[tokio::test]
    async fn after_the_deadline_no_further_look_up_begins() {
        let image =
            |tag| json!({"name": format!("c{tag}"), "image": format!("169.254.1.1/app:{tag}")});
        let images: Vec<_> = (0..LOOK_UPS_AT_ONCE + 10).map(image).collect();
        let object = json!({"metadata": {"name": "p"}, "spec": {"containers": images}});
        let kinds = Kinds::default();
        let review = created(&kinds, &object);
        let pipeline = pipeline(Given::default());
        let mut registry = Registry::default();
        pipeline.register(&mut registry);
        pipeline.decide(&review, Instant::now()).await.unwrap();
        let mut metrics = String::new();
        prometheus_client::encoding::text::encode(&mut metrics, &registry).unwrap();
        let misses = format!(
            "surepull_registry_cache_requests_total{{result=\"miss\"}} {LOOK_UPS_AT_ONCE}\n"
        );
        assert!(metrics.contains(&misses), "{metrics}");
        let is_full = |line: &str| line.starts_with('#') || line.starts_with("surepull_");
        assert!(metrics.lines().all(is_full), "{metrics}");
    }
}
