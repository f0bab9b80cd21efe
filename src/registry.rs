//! One question: which digest has this image?
//!
//! [`Resolver`] answers it from memory ([`Resolver::cached`]) or by asking the registry ([`Resolver::resolve`]). The
//! parts, from the outside in:
//!
//! - `settings`, `route`: from the configuration and an image to endpoints
//! - `cache`, `audience`: answers that are remembered, and whose they are
//! - `flight`: look-ups under way, which are shared
//! - `refresh`: digests in use, looked up again before their time is over
//! - `lookup`: endpoints and credentials in order; HEAD, and GET where that does not suffice
//! - `challenge`, `token`: authorization
//! - `exchange`: one HTTP question with its redirects and limits
//! - `manners`: how often and how much a host is asked
//! - `connect`, `tls`, `proxy`, `guard`: connections, and where none is made to
//! - `manifest`, `error`, `metrics`: what counts as a manifest, what is said, what is counted

mod attempt;
mod audience;
mod cache;
mod challenge;
mod connect;
mod error;
mod exchange;
mod flight;
mod guard;
mod lookup;
mod manifest;
mod manners;
mod metrics;
mod proxy;
mod refresh;
mod route;
mod settings;
mod tls;
mod token;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::config::{Cache, Configuration, Registry};
use crate::credentials::{Credential, Providers};
use crate::image::Digest;

use audience::{Audience, Audiences};
use cache::{Answer, Answers, Entry, Key};
use error::Subject;
use flight::{Flight, Flights, LOOKUPS};
use manners::Manners;
use refresh::Refreshes;
use route::Routes;
use token::Grants;

pub use error::{Class, Error, Said};
pub use metrics::Metrics;
pub use settings::SettingsError;

/// How long a look-up may take, whoever waits for it: all endpoints and credentials together.
const LOOKUP_LIMIT: Duration = Duration::from_secs(30);
/// When in a look-up credential providers have to have answered, so that it can go on without them.
const PROVIDERS_LIMIT: Duration = Duration::from_secs(25);

/// The part of the time to the deadline that is waited where the last good digest will do.
const SHARE: u32 = 3;

/// The image of which the digest is asked, its name normalised: `docker.io`, `library/nginx`, `1.27`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Image<'a> {
    /// The host, with its port if it has one.
    pub registry: Cow<'a, str>,
    /// The repository.
    pub repository: Cow<'a, str>,
    /// The tag.
    pub tag: Cow<'a, str>,
}

impl Image<'_> {
    /// The same, borrowing from nobody.
    fn detached(&self) -> Image<'static> {
        let own = |text: &Cow<'_, str>| Cow::Owned(text.to_string());
        Image {
            registry: own(&self.registry),
            repository: own(&self.repository),
            tag: own(&self.tag),
        }
    }
}

/// A digest that may be out of date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    /// The digest.
    pub digest: Digest,
    /// How long ago the registry gave it.
    pub age: Duration,
}

/// Finds digests. Clones share connections, tokens and answers.
#[derive(Clone, Debug)]
pub struct Resolver(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    routes: Routes,
    grants: Grants,
    answers: Answers,
    flights: Flights,
    refreshes: Refreshes,
    manners: Manners,
    audiences: Audiences,
    providers: Providers,
    metrics: Metrics,
    verify: bool,
}

impl Resolver {
    /// A resolver by these settings; the files that they name are read here.
    pub fn new(registries: &[Registry], cache: &Cache) -> Result<Self, SettingsError> {
        let configuration = Configuration {
            registries: registries.to_vec(),
            cache: cache.clone(),
            ..Configuration::default()
        };
        Self::with_providers(&configuration, Providers::default(), Metrics::default())
    }

    /// A resolver by all that a configuration says of look-ups, with what [`Credential::of_providers`] stands for, going on
    /// with the metrics of an earlier one.
    pub fn with_providers(
        configuration: &Configuration,
        providers: Providers,
        metrics: Metrics,
    ) -> Result<Self, SettingsError> {
        Ok(Self(Arc::new(Inner {
            routes: Routes::new(&configuration.registries, &configuration.network)?,
            grants: Grants::new(),
            answers: Answers::new(&configuration.cache),
            flights: Flights::new(),
            refreshes: Refreshes::new(),
            manners: Manners::new(),
            audiences: Audiences::new()?,
            providers,
            metrics,
            verify: configuration.settings.pin.verify,
        })))
    }

    /// The credential providers.
    pub fn providers(&self) -> &Providers {
        &self.0.providers
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The remembered answer, if there is one: no I/O, no waiting. `None` means to ask with [`Self::resolve`].
    pub fn cached(
        &self,
        image: &Image<'_>,
        credentials: &[Credential],
    ) -> Option<Result<Digest, Arc<Error>>> {
        let audience = self.0.audiences.of(credentials);
        let kept = self.0.answers.get(image, audience)?;
        self.0.metrics.hits.inc();
        self.note_use(&kept, image, credentials);
        Some(kept.entry.answer.clone())
    }

    /// The last good answer to the same question, for when there is no new one because of this error: only where the
    /// error says nothing about the image, and within the bound that the configuration sets.
    ///
    /// It is nothing for who needs a fresh answer: a digest of before is wrong where the user has just pushed another
    /// one, and says so by a new tag or a restart. Then the tag as written, or the digest that is running, is better.
    pub fn last_good(
        &self,
        image: &Image<'_>,
        credentials: &[Credential],
        error: &Error,
    ) -> Option<Stale> {
        if !error.is_unavailability() {
            return None;
        }
        let audience = self.0.audiences.of(credentials);
        let (digest, age) = self.0.answers.last_good(image, audience)?;
        self.0.metrics.gave_stale(self.0.routes.of(image).label);
        Some(Stale { digest, age })
    }

    /// The position of the credential, among these, with which the image was found the last time; without any, 0. `None` if
    /// that is not known.
    pub fn accepted(&self, image: &Image<'_>, credentials: &[Credential]) -> Option<usize> {
        let key = Key::new(image, self.0.audiences.of(credentials));
        self.0.grants.position(&key)
    }

    /// The digest of this image, as seen with these credentials, each tried in turn; without any, as anybody sees it.
    ///
    /// `fresh` asks for an answer whose look-up begins after this call: what was pushed a moment ago counts. Otherwise a
    /// remembered answer will do. Whoever asks the same at the same time shares one look-up. When the deadline passes,
    /// or a third of the time to it where there is a last good digest and that will do, the answer is
    /// [`Error::TimedOut`]; the look-up goes on for its own time, and its answer is remembered.
    pub async fn resolve(
        &self,
        image: &Image<'_>,
        credentials: &[Credential],
        fresh: bool,
        deadline: Instant,
    ) -> Result<Digest, Arc<Error>> {
        let asked = Instant::now();
        let audience = self.0.audiences.of(credentials);
        if !fresh && let Some(kept) = self.0.answers.get(image, audience) {
            self.0.metrics.hits.inc();
            self.note_use(&kept, image, credentials);
            return kept.entry.answer.clone();
        }
        self.0.metrics.misses.inc();
        let known = !fresh && self.0.answers.last_good(image, audience).is_some();
        let patience = deadline.saturating_duration_since(asked) / if known { SHARE } else { 1 };
        let answer = self.shared(image, audience, credentials, fresh, asked);
        timeout(patience, answer).await.unwrap_or_else(|_| {
            let subject = Subject::new(image);
            Err(Arc::new(
                subject.timed_out("the look-up goes on in the background"),
            ))
        })
    }

    /// Waits for the look-up under way, if any; takes its answer, if it will do; otherwise starts one.
    async fn shared(
        &self,
        image: &Image<'_>,
        audience: Audience,
        credentials: &[Credential],
        fresh: bool,
        asked: Instant,
    ) -> Answer {
        let key = Key::new(image, audience);
        let place = self.0.flights.join(key.clone());
        let line = place.lock().lock_owned().await;
        let usable = |entry: &Entry| asked <= if fresh { entry.began } else { entry.ended };
        if let Some(entry) = line.as_ref().filter(|entry| usable(entry)) {
            return entry.answer.clone();
        }
        if !fresh && let Some(kept) = self.0.answers.get(image, audience) {
            return kept.entry.answer.clone();
        }
        let Some(room) = self.0.flights.room() else {
            let label = self.0.routes.of(image).label;
            self.0.metrics.withheld(label, "overload");
            let why = format!("{LOOKUPS} look-ups are under way already");
            return Err(Arc::new(
                Subject::new(image).withheld(Class::Unavailable, why),
            ));
        };
        let flight = Flight {
            inner: Arc::clone(&self.0),
            key,
            credentials: credentials.to_vec(),
            room,
        };
        // A task of its own: it outlives whoever waits for it.
        let task = tokio::spawn(flight.run(line, place));
        task.await.unwrap_or_else(|_| {
            Err(Arc::new(
                Subject::new(image).unreachable("the look-up was ended"),
            ))
        })
    }
}
