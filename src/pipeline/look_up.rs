//! The digests of a review's images: from memory, or from their registries all at once, but for a bound.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::additions::matches;
use super::attempts::{Attempts, Means};
use super::purse::Purse;
use crate::config::{Credentials, Patterns};
use crate::credentials::{Keyring, PatternMatch, Providers, pattern_candidates};
use crate::image::{Digest, Reference};
use crate::mutation::{Action, Errors, Failure, Question};
use crate::registry::{Class, Error, Image, Resolver};

/// How many look-ups of one review may be under way at once. A Pod has a handful of images; this bounds a hostile one.
pub(super) const AT_ONCE: usize = 64;

/// What comes of a question.
pub(super) struct Answer {
    /// A digest, or why there is none.
    pub(super) digest: Result<Digest, Failure>,
    /// What the user should know besides: sentences.
    pub(super) remarks: Vec<String>,
}

/// One question on its way to the registry.
pub(super) struct LookUp<'q> {
    written: Reference<'q>,
    image: Image<'q>,
    attempts: Attempts,
    fresh: bool,
    purse: &'q Purse,
    configured: &'q Keyring,
    rules: &'q Credentials,
    errors: &'q Errors,
}

/// The answers to all questions, in their order, and what there is to say of them.
pub(super) async fn answer<'q>(
    look_ups: impl Iterator<Item = LookUp<'q>>,
    resolver: &Resolver,
    deadline: Instant,
) -> Vec<Answer> {
    let mut missing = Vec::new();
    let known = |(index, look_up): (usize, LookUp<'q>)| {
        look_up.known(resolver).unwrap_or_else(|| {
            let action = look_up.errors.timed_out;
            missing.push((index, look_up));
            let why = "there was no time left to look it up";
            Answer::none(why, action)
        })
    };
    let mut answers: Vec<_> = look_ups.enumerate().map(known).collect();
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
    fn none(why: impl Into<String>, action: Action) -> Self {
        let why = why.into();
        Self {
            digest: Err(Failure { why, action }),
            remarks: Vec::new(),
        }
    }
}

impl<'q> LookUp<'q> {
    /// Looks the image up as its puller would pull it, and in what other ways the rules say: `attempts`.
    pub(super) fn new(
        question: &Question<'q>,
        purse: &'q Purse,
        configured: &'q Keyring,
        providers: &Providers,
        rules: &'q Credentials,
        errors: &'q Errors,
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
            written: question.image,
            image,
            attempts: Attempts::new(&purse.keyrings, configured, providers, rules, repository),
            fresh: question.fresh,
            purse,
            configured,
            rules,
            errors,
        }
    }

    /// The answer that is remembered, if that is recent enough.
    fn known(&self, resolver: &Resolver) -> Option<Answer> {
        if let Some(why) = &self.purse.broken {
            return Some(Answer::none(why, self.errors.unauthorized));
        }
        if self.fresh {
            return None;
        }
        let answer = resolver.cached(&self.image, &self.attempts.credentials);
        answer.map(|answer| self.settle(answer, resolver))
    }

    async fn run(&self, resolver: &Resolver, deadline: Instant) -> Answer {
        let credentials = &self.attempts.credentials;
        let answer = resolver
            .resolve(&self.image, credentials, self.fresh, deadline)
            .await;
        self.settle(answer, resolver)
    }

    /// The digest, else that of before if it may be used, else the error.
    fn settle(&self, answer: Result<Digest, Arc<Error>>, resolver: &Resolver) -> Answer {
        let error = match answer {
            Ok(digest) => {
                let mut remarks = self.remarks(resolver);
                if !self.purse.keyrings.is_empty() && !self.is_pulled_with_a_secret() {
                    remarks.extend(self.strangers());
                }
                return Answer {
                    digest: Ok(digest),
                    remarks,
                };
            }
            Err(error) => error,
        };
        let credentials = &self.attempts.credentials;
        if !self.fresh
            && let Some(stale) = resolver.last_good(&self.image, credentials, &error)
        {
            let remark = format!(
                "surepull: image {} gets the digest that it had {} ago: {error}",
                self.written,
                in_words(stale.age)
            );
            return Answer {
                digest: Ok(stale.digest),
                remarks: vec![remark],
            };
        }
        self.failed(&error)
    }

    /// What to say of an image that was found: that the kubelet would not have found it, for one.
    fn remarks(&self, resolver: &Resolver) -> Vec<String> {
        let attempts = &self.attempts;
        if !attempts.go_further() && self.purse.extras.is_empty() {
            return Vec::new();
        }
        let Some(position) = resolver.accepted(&self.image, &attempts.credentials) else {
            return Vec::new();
        };
        let name = self.name();
        let remark = match attempts.means(position) {
            Means::Kubelet => None,
            Means::Documented(entry) => Some(format!(
                "surepull: {name} is found only with {entry}; the kubelet would not use that for this image and may fail to pull it"
            )),
            Means::IdentityToken(source) => Some(format!(
                "surepull: {name} is found only by the identity token of {source}; the kubelet knows no identity tokens and may fail to pull it"
            )),
            Means::Anonymous => Some(format!(
                "surepull: {name} is found only without credentials; the kubelet would try {} and then fail to pull it",
                attempts.kubelets()
            )),
        };
        let mut remarks: Vec<String> = remark.into_iter().collect();
        // The nodes need not have the files that did it.
        let accepted = attempts.credentials.get(position);
        if accepted.is_some_and(|one| !one.is_anonymous()) && !self.is_pulled_with_a_secret() {
            remarks.extend(self.extra_remedies());
        }
        remarks
    }

    /// An error as a sentence for the user, with the credentials tried and the remedy.
    fn failed(&self, error: &Error) -> Answer {
        let class = error.class();
        let action = action(self.errors, class);
        if !class.may_depend_on_credential() {
            return Answer::none(format!("{error}; {}", error.remedy()), action);
        }
        let remedy = self.purse.remedy();
        let remedy = remedy.as_deref().unwrap_or(error.remedy());
        let why = format!("{error}, tried {}; {remedy}", self.attempts.tried());
        for entry in self.mistaken([self.configured]) {
            tracing::warn!("{entry}");
        }
        let mut remarks = self.strangers();
        remarks.extend(self.extra_remedies());
        Answer {
            remarks,
            ..Answer::none(why, action)
        }
    }

    /// What would make pull secrets of the configuration useful for this image.
    fn extra_remedies(&self) -> impl Iterator<Item = String> {
        let extras = self.purse.extras.iter();
        extras.filter_map(|extra| extra.remedy(&self.image, self.rules.patterns))
    }

    /// Whether a pull secret of the Pods holds an entry for the image.
    fn is_pulled_with_a_secret(&self) -> bool {
        let repository = self.repository();
        let mut secrets = self.purse.keyrings.iter();
        secrets.any(|keyring| matches(keyring, &repository, self.rules.patterns))
    }

    /// The entries of pull secrets that would name the image in the grammar that is not in effect: told to the user.
    fn strangers(&self) -> Vec<String> {
        let secrets = self.purse.keyrings.iter().map(|keyring| &**keyring);
        let entries = self.mistaken(secrets).into_iter();
        entries.map(|entry| format!("surepull: {entry}")).collect()
    }

    /// What there is to say of such entries.
    fn mistaken<'k>(&self, keyrings: impl IntoIterator<Item = &'k Keyring>) -> Vec<String> {
        if self.rules.patterns == Patterns::Documented {
            return Vec::new();
        }
        let entries = pattern_candidates(keyrings, &self.repository());
        let remark = |entry: &PatternMatch<'_>| {
            let name = self.name();
            format!(
                "{entry} matches {name} by the documented patterns only: for the kubelet a `*` stays within one label of the host, and `?`, `[` and `\\` are no patterns; name each host"
            )
        };
        entries.iter().map(remark).collect()
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
