//! The digests of a review's images: from memory, or from their registries all at once, but for a bound.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::purse::Purse;
use crate::credentials::{Credential, Keyring, candidates};
use crate::image::{Digest, Reference};
use crate::mutation::{Action, Errors, Failure, Question};
use crate::registry::{Class, Error, Image, Resolver};

/// How many look-ups of one review may be under way at once. A Pod has a handful of images; this bounds a hostile one.
pub(super) const AT_ONCE: usize = 64;

/// How many credentials are tried for one image. A pull secret has one entry for a registry; this bounds a hostile one.
const CREDENTIALS: usize = 32;
/// How many of the credentials that were tried are named.
const NAMED: usize = 2;

/// A digest, or why there is none.
type Answer = Result<Digest, Failure>;

/// An answer, and what else the user has to know of it: a sentence.
type Remarked = (Answer, Option<String>);

/// One question on its way to the registry.
pub(super) struct LookUp<'q> {
    written: Reference<'q>,
    image: Image<'q>,
    credentials: Vec<Credential>,
    fresh: bool,
    purse: &'q Purse,
    errors: &'q Errors,
}

/// The answers to all questions, in their order, and what there is to say of them.
pub(super) async fn answer<'q>(
    look_ups: impl Iterator<Item = LookUp<'q>>,
    resolver: &Resolver,
    deadline: Instant,
) -> (Vec<Answer>, Vec<String>) {
    let mut missing = Vec::new();
    let known = |(index, look_up): (usize, LookUp<'q>)| {
        look_up.known(resolver).unwrap_or_else(|| {
            let action = look_up.errors.timed_out;
            missing.push((index, look_up));
            let why = "there was no time left to look it up".to_owned();
            (Err(Failure { why, action }), None)
        })
    };
    let mut answers: Vec<Remarked> = look_ups.enumerate().map(known).collect();
    if !missing.is_empty() {
        ask(missing, &mut answers, resolver, deadline).await;
    }
    let (answers, remarks): (Vec<_>, Vec<_>) = answers.into_iter().unzip();
    (answers, remarks.into_iter().flatten().collect())
}

/// Asks the registries.
async fn ask(
    missing: Vec<(usize, LookUp<'_>)>,
    answers: &mut [Remarked],
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
    /// Looks the image up as its puller would pull it: with its pull secrets, then with those of the configuration.
    pub(super) fn new(
        question: &Question<'q>,
        purse: &'q Purse,
        configured: &Keyring,
        errors: &'q Errors,
    ) -> Self {
        let reference = &question.image;
        let credentials = if purse.keyrings.is_empty() && configured.is_empty() {
            Vec::new()
        } else {
            let secrets = purse.keyrings.iter().map(|keyring| &**keyring);
            candidates(secrets, configured, &reference.repository())
                .into_iter()
                .take(CREDENTIALS)
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
            written: question.image,
            image,
            credentials,
            fresh: question.fresh,
            purse,
            errors,
        }
    }

    /// The answer that is remembered, if that is recent enough.
    fn known(&self, resolver: &Resolver) -> Option<Remarked> {
        if self.fresh {
            return None;
        }
        let answer = resolver.cached(&self.image, &self.credentials);
        answer.map(|answer| self.settle(resolver, answer))
    }

    async fn run(&self, resolver: &Resolver, deadline: Instant) -> Remarked {
        let answer = resolver
            .resolve(&self.image, &self.credentials, self.fresh, deadline)
            .await;
        self.settle(resolver, answer)
    }

    /// The digest, else that of before if it may be used, else the error.
    fn settle(&self, resolver: &Resolver, answer: Result<Digest, Arc<Error>>) -> Remarked {
        let error = match answer {
            Ok(digest) => return (Ok(digest), None),
            Err(error) => error,
        };
        if !self.fresh
            && let Some(stale) = resolver.last_good(&self.image, &self.credentials, &error)
        {
            let remark = format!(
                "surepull: image {} gets the digest that it had {} ago: {error}",
                self.written,
                in_words(stale.age)
            );
            return (Ok(stale.digest), Some(remark));
        }
        (Err(self.explain(&error)), None)
    }

    /// An error as a sentence for the user, with what was tried and the remedy.
    fn explain(&self, error: &Error) -> Failure {
        let remedy = match (self.purse.remedy(error), self.tried(error)) {
            (Some(unread), None) => unread,
            (Some(unread), Some(tried)) => format!("{tried}; {unread}"),
            (None, Some(tried)) if error.class() == Class::Unauthorized => {
                format!("{tried}; check that the image exists and that these may read it")
            }
            (None, Some(tried)) => format!("{tried}; {}", error.remedy()),
            (None, None) => error.remedy().to_owned(),
        };
        Failure {
            why: format!("{error}; {remedy}"),
            action: action(self.errors, error.class()),
        }
    }

    /// Which credentials there were to try, by where they were found, where that may be why it failed.
    fn tried(&self, error: &Error) -> Option<String> {
        if self.credentials.is_empty() || !error.class().may_depend_on_credential() {
            return None;
        }
        let mut sources: Vec<&str> = Vec::new();
        for credential in &self.credentials {
            if !sources.contains(&&*credential.source) {
                sources.push(&credential.source);
            }
        }
        let more = sources.len().saturating_sub(NAMED);
        let named = sources[..sources.len() - more].join(", ");
        Some(match more {
            0 => format!("tried with {named}"),
            more => format!("tried with {named} and {more} more"),
        })
    }
}

/// A length of time, as exactly as matters: `59 s`, `12 min`, `3 h`.
fn in_words(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

/// What the configuration says of errors of this class.
fn action(errors: &Errors, class: Class) -> Action {
    match class {
        Class::NotFound => errors.not_found,
        Class::Unauthorized => errors.unauthorized,
        Class::Forbidden => errors.forbidden,
        Class::RateLimited => errors.rate_limited,
        Class::Unavailable => errors.unavailable,
        Class::TimedOut => errors.timed_out,
        Class::Refused => errors.refused,
        Class::Invalid => errors.invalid,
    }
}
