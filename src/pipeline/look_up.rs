//! The digests of a review's images: from memory, or from their registries all at once, but for a bound.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::purse::Purse;
use crate::config::Credentials;
use crate::credentials::{Credential, Keyring, Providers, candidates};
use crate::image::Digest;
use crate::mutation::Question;
use crate::registry::{Error, Image, Resolver};

/// How many look-ups of one review may be under way at once. A Pod has a handful of images; this bounds a hostile one.
pub(super) const AT_ONCE: usize = 64;

/// How many credentials are tried for one image. A pull secret has one entry for a registry; this bounds a hostile one.
const CREDENTIALS: usize = 32;

/// A digest, or a sentence for the user that says why there is none.
type Answer = Result<Digest, String>;

/// One question on its way to the registry.
pub(super) struct LookUp<'q> {
    image: Image<'q>,
    credentials: Vec<Credential>,
    fresh: bool,
    purse: &'q Purse,
}

/// The answers to all questions, in their order.
pub(super) async fn answer<'q>(
    look_ups: impl Iterator<Item = LookUp<'q>>,
    resolver: &Resolver,
    deadline: Instant,
) -> Vec<Answer> {
    let mut missing = Vec::new();
    let known = |(index, look_up): (usize, LookUp<'q>)| {
        look_up.known(resolver).unwrap_or_else(|| {
            missing.push((index, look_up));
            Err("there was no time left to look it up".to_owned())
        })
    };
    let mut answers: Vec<Answer> = look_ups.enumerate().map(known).collect();
    if !missing.is_empty() {
        ask(missing, &mut answers, resolver, deadline).await;
    }
    answers
}

/// Asks the registries.
async fn ask(
    missing: Vec<(usize, LookUp<'_>)>,
    answers: &mut [Answer],
    resolver: &Resolver,
    deadline: Instant,
) {
    let mut under_way = FuturesUnordered::new();
    for (begun, (index, look_up)) in missing.into_iter().enumerate() {
        if begun >= AT_ONCE {
            if let Some((index, answer)) = under_way.next().await {
                answers[index] = answer;
            }
            // A look-up outlives the review, so that it is not for nothing; one too late for its review is not begun.
            if Instant::now() >= deadline {
                break;
            }
        }
        under_way.push(async move { (index, look_up.run(resolver, deadline).await) });
    }
    while let Some((index, answer)) = under_way.next().await {
        answers[index] = answer;
    }
}

impl<'q> LookUp<'q> {
    /// Looks the image up as its puller would pull it: with its pull secrets, then with those of the configuration,
    /// then those of credential providers; last, if the rules say so, with identity tokens, of which the kubelet does
    /// not know.
    pub(super) fn new(
        question: &Question<'q>,
        purse: &'q Purse,
        configured: &Keyring,
        rules: &Credentials,
        providers: &Providers,
    ) -> Self {
        let reference = &question.image;
        let mut credentials = Vec::new();
        if !(purse.keyrings.is_empty() && configured.is_empty() && providers.is_empty()) {
            let repository = reference.repository();
            let secrets = purse.keyrings.iter().map(|keyring| &**keyring);
            let mut found = candidates(secrets, configured, &repository);
            found.truncate(CREDENTIALS);
            credentials.extend(found.iter().map(|found| found.without_identity_token()));
            if providers.matches(&repository) {
                credentials.push(Credential::of_providers());
            }
            if rules.identity_tokens {
                let tokens = found.into_iter().filter(|found| found.has_identity_token());
                credentials.extend(tokens.cloned());
            }
        }
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
            purse,
        }
    }

    /// The answer that is remembered, if that is recent enough.
    fn known(&self, resolver: &Resolver) -> Option<Answer> {
        if self.fresh {
            return None;
        }
        let answer = resolver.cached(&self.image, &self.credentials);
        answer.map(|answer| self.explain(answer))
    }

    async fn run(&self, resolver: &Resolver, deadline: Instant) -> Answer {
        let answer = resolver
            .resolve(&self.image, &self.credentials, self.fresh, deadline)
            .await;
        self.explain(answer)
    }

    /// An error as a sentence for the user, with the remedy.
    fn explain(&self, answer: Result<Digest, Arc<Error>>) -> Answer {
        answer.map_err(|error| match self.purse.remedy(&error) {
            Some(remedy) => format!("{error}; {remedy}"),
            None => format!("{error}; {}", error.remedy()),
        })
    }
}
