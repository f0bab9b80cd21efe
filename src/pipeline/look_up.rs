//! Look-ups: all images of a review at once, but for a bound.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::attempts::{Attempt, Means, attempts, list, tried};
use super::purse::Purse;
use crate::config::{Credentials, Patterns};
use crate::credentials::{Keyring, PatternMatch, Providers, pattern_candidates};
use crate::image::Digest;
use crate::mutation::Question;
use crate::registry::{Class, Error, Image, Resolver};

/// How many look-ups of one review may be under way at once. A Pod has a handful of images; this bounds a hostile one.
pub(super) const AT_ONCE: usize = 64;

/// What comes of a question.
pub(super) struct Answer {
    /// A digest, or a sentence for the user that says why there is none.
    pub(super) digest: Result<Digest, String>,
    /// What the user should know besides: sentences.
    pub(super) remarks: Vec<String>,
}

/// One question on its way to the registry.
pub(super) struct LookUp<'q> {
    image: Image<'q>,
    attempts: Vec<Attempt>,
    fresh: bool,
    purse: &'q Purse,
    configured: &'q Keyring,
    rules: &'q Credentials,
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
            Answer::none("there was no time left to look it up")
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

impl Answer {
    fn none(why: impl Into<String>) -> Self {
        Self {
            digest: Err(why.into()),
            remarks: Vec::new(),
        }
    }
}

impl<'q> LookUp<'q> {
    /// Looks the image up as its puller would pull it: with its pull secrets, then with those of the configuration, and so on: `attempts`.
    pub(super) fn new(
        question: &Question<'q>,
        purse: &'q Purse,
        configured: &'q Keyring,
        rules: &'q Credentials,
        providers: &Providers,
    ) -> Self {
        let reference = &question.image;
        let image = Image {
            registry: reference.domain().into(),
            repository: reference.path(),
            // An image without a digest always has a tag.
            tag: reference.tag().unwrap_or("latest").into(),
        };
        let repository = || reference.repository();
        Self {
            image,
            attempts: attempts(&purse.keyrings, configured, providers, rules, repository),
            fresh: question.fresh,
            purse,
            configured,
            rules,
        }
    }

    /// The answer that is remembered, if that is recent enough.
    fn known(&self, resolver: &Resolver) -> Option<Answer> {
        if let Some(why) = &self.purse.broken {
            return Some(Answer::none(why));
        }
        if self.fresh {
            return None;
        }
        let mut failures = Vec::new();
        for attempt in &self.attempts {
            match resolver.cached(&self.image, &attempt.credentials)? {
                Ok(digest) => return Some(self.found(attempt, digest)),
                Err(error) => failures.push(error),
            }
            if !goes_on(&failures) {
                break;
            }
        }
        Some(self.failed(&failures))
    }

    async fn run(&self, resolver: &Resolver, deadline: Instant) -> Answer {
        let mut failures = Vec::new();
        for attempt in &self.attempts {
            let credentials = &attempt.credentials;
            let answer = resolver.resolve(&self.image, credentials, self.fresh, deadline);
            match answer.await {
                Ok(digest) => return self.found(attempt, digest),
                Err(error) => failures.push(error),
            }
            if !goes_on(&failures) {
                break;
            }
        }
        self.failed(&failures)
    }

    /// A digest; and where the kubelet would not have found the image, that.
    fn found(&self, attempt: &Attempt, digest: Digest) -> Answer {
        let name = self.name();
        let remark = match &attempt.means {
            Means::Kubelet => None,
            Means::Documented(entries) => Some(format!(
                "surepull: {name} is found only with {entries}; the kubelet would not use that for this image and may fail to pull it"
            )),
            Means::IdentityTokens => Some(format!(
                "surepull: {name} is found only by the identity token of {}; the kubelet knows no identity tokens and may fail to pull it",
                list(
                    attempt
                        .credentials
                        .iter()
                        .map(|credential| credential.source.to_string())
                )
            )),
            Means::Anonymous => Some(format!(
                "surepull: {name} is found only without credentials; the kubelet would try {} and then fail to pull it",
                tried(&self.attempts[..1])
            )),
        };
        let mut remarks: Vec<String> = remark.into_iter().collect();
        // The nodes need not have the files that did it.
        if !attempt.credentials.is_empty() && !self.is_pulled_with_a_secret() {
            remarks.extend(self.extra_remedies());
        }
        Answer {
            digest: Ok(digest),
            remarks,
        }
    }

    /// The error that says most, as a sentence for the user, with the credentials tried and the remedy.
    fn failed(&self, failures: &[Arc<Error>]) -> Answer {
        let Some(error) = telling(failures) else {
            return Answer::none("nothing was tried");
        };
        if !credentials_may_help(error) {
            return Answer::none(format!("{error}; {}", error.remedy()));
        }
        let tried = tried(&self.attempts[..failures.len()]);
        let remedy = self.purse.remedy();
        let remedy = remedy.as_deref().unwrap_or(error.remedy());
        let mut remarks = self.strangers();
        remarks.extend(self.extra_remedies());
        Answer {
            digest: Err(format!("{error}, tried {tried}; {remedy}")),
            remarks,
        }
    }

    /// What would make pull secrets of the configuration useful for this image.
    fn extra_remedies(&self) -> impl Iterator<Item = String> {
        let extras = self.purse.extras.iter();
        extras.filter_map(|extra| extra.remedy(&self.image))
    }

    /// Whether a pull secret of the Pods holds an entry for the image.
    fn is_pulled_with_a_secret(&self) -> bool {
        let repository = self.repository();
        let mut secrets = self.purse.keyrings.iter();
        secrets.any(|keyring| !keyring.lookup(&repository).is_empty())
    }

    /// The entries that would name the image in the grammar that is not in effect: told to the user, or for files, which
    /// are not the user's, to the operator.
    fn strangers(&self) -> Vec<String> {
        if self.rules.patterns == Patterns::Documented {
            return Vec::new();
        }
        let name = self.name();
        let repository = self.repository();
        let secrets = self.purse.keyrings.iter().map(|keyring| &**keyring);
        let remark = |entry: &PatternMatch<'_>| {
            format!(
                "{entry} does not match {name}: for the kubelet a `*` stays within one label of the host, and `?`, `[` and `\\` are no patterns; name each host"
            )
        };
        for entry in pattern_candidates([self.configured], &repository) {
            tracing::warn!("{}", remark(&entry));
        }
        let told = pattern_candidates(secrets, &repository);
        told.iter()
            .map(|entry| format!("surepull: {}", remark(entry)))
            .collect()
    }

    /// What entries are matched against.
    fn repository(&self) -> String {
        format!("{}/{}", self.image.registry, self.image.repository)
    }

    /// The image, for messages.
    fn name(&self) -> String {
        format!("{}:{}", self.repository(), self.image.tag)
    }
}

/// Of the failures in their order the one that says most.
fn telling(failures: &[Arc<Error>]) -> Option<&Error> {
    let last = failures.last()?;
    if !last.may_depend_on_credential() {
        return Some(last);
    }
    // The first that is more than a refused credential: that an account finds nothing, for one.
    let telling = failures
        .iter()
        .find(|error| !error.is_about_authorization());
    telling.or(failures.first()).map(|error| &**error)
}

/// Whether the error may be due to the credentials.
fn credentials_may_help(error: &Error) -> bool {
    match error.class() {
        Class::NotFound | Class::Unauthorized | Class::Forbidden | Class::RateLimited => true,
        Class::Unavailable | Class::TimedOut | Class::Refused | Class::Invalid => false,
    }
}

/// Whether other credentials may do better.
fn goes_on(failures: &[Arc<Error>]) -> bool {
    failures
        .last()
        .is_none_or(|error| error.may_depend_on_credential())
}
