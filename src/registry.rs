//! One question: which digest has this image?
//!
//! [`Resolver`] answers it from memory ([`Resolver::cached`]) or by asking the registry ([`Resolver::resolve`]). The
//! parts, from the outside in:
//!
//! - `settings`, `route`: from the configuration and an image to endpoints
//! - `cache`: answers that are remembered, look-ups that are shared
//! - `lookup`: endpoints and credentials in order; HEAD, and GET where that does not suffice
//! - `challenge`, `token`: authorization
//! - `exchange`: one HTTP question with its redirects and limits
//! - `connect`, `guard`: connections, and where none is made to
//! - `manifest`, `error`, `metrics`: what counts as a manifest, what is said, what is counted

mod cache;
mod challenge;
mod connect;
mod error;
mod exchange;
mod guard;
mod lookup;
mod manifest;
mod metrics;
mod route;
mod settings;
mod token;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OnceCell, OwnedMutexGuard};
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::{Cache, Registry};
use crate::credentials::{Credential, Providers};
use crate::image::Digest;

use cache::{Answer, Answers, Audience, Audiences, Entry, Flights, Key, Place};
use error::Subject;
use lookup::Lookup;
use route::Routes;
use token::Grants;

pub use error::{Class, Error, Said};
pub use metrics::Metrics;
pub use settings::SettingsError;

/// How long a look-up may take, whoever waits for it: all endpoints and credentials together.
const LOOKUP_LIMIT: Duration = Duration::from_secs(30);
/// When in a look-up credential providers have to have answered, so that it can go on without them.
const PROVIDERS_LIMIT: Duration = Duration::from_secs(25);

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

/// Finds digests. Clones share connections, tokens and answers.
#[derive(Clone, Debug)]
pub struct Resolver(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    routes: Routes,
    grants: Grants,
    answers: Answers,
    flights: Flights,
    audiences: Audiences,
    providers: Providers,
    metrics: Metrics,
}

impl Resolver {
    /// A resolver by these settings; the files that they name are read here.
    pub fn new(registries: &[Registry], cache: &Cache) -> Result<Self, SettingsError> {
        Self::with_providers(registries, cache, Providers::default(), Metrics::default())
    }

    /// The same, with what [`Credential::of_providers`] stands for, and going on with the metrics of an earlier one.
    pub fn with_providers(
        registries: &[Registry],
        cache: &Cache,
        providers: Providers,
        metrics: Metrics,
    ) -> Result<Self, SettingsError> {
        Ok(Self(Arc::new(Inner {
            routes: Routes::new(registries)?,
            grants: Grants::new(),
            answers: Answers::new(cache),
            flights: Flights::default(),
            audiences: Audiences::new()?,
            providers,
            metrics,
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
        let entry = self
            .0
            .answers
            .get(image, self.0.audiences.of(credentials))?;
        self.0.metrics.hits.inc();
        Some(entry.answer)
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
    /// the answer is [`Error::TimedOut`]; the look-up goes on for its own time, and its answer is remembered.
    pub async fn resolve(
        &self,
        image: &Image<'_>,
        credentials: &[Credential],
        fresh: bool,
        deadline: Instant,
    ) -> Result<Digest, Arc<Error>> {
        let asked = Instant::now();
        let audience = self.0.audiences.of(credentials);
        if !fresh && let Some(entry) = self.0.answers.get(image, audience) {
            self.0.metrics.hits.inc();
            return entry.answer;
        }
        self.0.metrics.misses.inc();
        let answer = self.shared(image, audience, credentials, fresh, asked);
        timeout_at(deadline, answer).await.unwrap_or_else(|_| {
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
        if !fresh && let Some(entry) = self.0.answers.get(image, audience) {
            return entry.answer;
        }
        let flight = Flight {
            inner: Arc::clone(&self.0),
            key,
            image: image.detached(),
            credentials: credentials.to_vec(),
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

/// A look-up on its way.
struct Flight {
    inner: Arc<Inner>,
    key: Key,
    image: Image<'static>,
    credentials: Vec<Credential>,
}

impl Flight {
    /// Looks up, remembers the answer, good or bad, and lets those in who wait. `line` is released before the place in
    /// it, so that nobody can start a second line meanwhile.
    async fn run(self, mut line: OwnedMutexGuard<Option<Entry>>, place: Place) -> Answer {
        let began = Instant::now();
        let subject = Subject::new(&self.image);
        let route = self.inner.routes.of(&self.image);
        let lookup = Lookup {
            image: &self.image,
            route: &route,
            grants: &self.inner.grants,
            audiences: &self.inner.audiences,
            subject: &subject,
            providers: &self.inner.providers,
            providers_until: began + PROVIDERS_LIMIT,
            provided: OnceCell::new(),
        };
        let answer = timeout(LOOKUP_LIMIT, lookup.run(&self.credentials)).await;
        let too_slow = |_| {
            let why = format!("the look-up takes longer than {} s", LOOKUP_LIMIT.as_secs());
            Err(subject.timed_out(why))
        };
        let answer: Answer = answer.unwrap_or_else(too_slow).map_err(Arc::new);
        let outcome = answer
            .as_ref()
            .map_or_else(|error| error.class().as_str(), |_| "found");
        let seconds = began.elapsed().as_secs_f64();
        self.inner.metrics.looked_up(route.label, outcome, seconds);
        match &answer {
            Ok(digest) => tracing::debug!(image = ?self.image, %digest, seconds, "looked up"),
            Err(error) => tracing::debug!(image = ?self.image, %error, seconds, "look-up failed"),
        }
        let entry = Entry {
            answer: answer.clone(),
            began,
            ended: Instant::now(),
        };
        self.inner.answers.insert(self.key.clone(), entry.clone());
        *line = Some(entry);
        drop(line);
        drop(place);
        answer
    }
}
