//! Look-ups on their way, which whoever asks the same shares.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{
    Mutex as AsyncMutex, OnceCell, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore,
};
use tokio::time::{Instant, timeout};

use super::cache::{Answer, Entry, Key};
use super::error::Subject;
use super::lookup::Lookup;
use super::{Inner, LOOKUP_LIMIT, PROVIDERS_LIMIT};
use crate::credentials::Credential;

/// How many look-ups may be under way, those that wait for their registry included. They outlive whoever waits for them:
/// without a bound their number would have none.
pub(super) const LOOKUPS: usize = 1024;

/// The look-ups under way: one at a time for each key. What the last one found stays in its lock for those who wait
/// for it, whatever the cache does.
#[derive(Clone, Debug)]
pub(super) struct Flights {
    lines: Arc<Mutex<HashMap<Key, Lock>>>,
    room: Arc<Semaphore>,
}

/// Held while a look-up is under way.
pub(super) type Lock = Arc<AsyncMutex<Option<Entry>>>;

/// A place in the line for one key; the line is given up when the last one leaves.
#[derive(Debug)]
pub(super) struct Place {
    flights: Flights,
    key: Key,
    /// Until it is dropped.
    lock: Option<Lock>,
}

impl Flights {
    pub(super) fn new() -> Self {
        Self {
            lines: Arc::default(),
            room: Arc::new(Semaphore::new(LOOKUPS)),
        }
    }

    /// Room for one look-up more, if there is any.
    pub(super) fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).try_acquire_owned().ok()
    }

    /// Joins the line for a key.
    pub(super) fn join(&self, key: Key) -> Place {
        let mut lines = self.lines();
        let lock = Arc::clone(lines.entry(key.clone()).or_default());
        drop(lines);
        Place {
            flights: self.clone(),
            key,
            lock: Some(lock),
        }
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<Key, Lock>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The lock of the line. What is made of it must be dropped before the place is.
    pub(super) fn lock(&self) -> Lock {
        self.lock.clone().unwrap_or_default()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.flights.lines();
        // Given up before it is counted, and nobody else can while the map is held: the last one sees the map's alone.
        drop(self.lock.take());
        if lines
            .get(&self.key)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            lines.remove(&self.key);
        }
    }
}

/// A look-up on its way.
pub(super) struct Flight {
    pub(super) inner: Arc<Inner>,
    pub(super) key: Key,
    pub(super) credentials: Vec<Credential>,
    /// Given back when it ends.
    pub(super) room: OwnedSemaphorePermit,
}

impl Flight {
    /// Looks up, remembers the answer, good or bad, and lets those in who wait. `line` is released before the place in
    /// it, so that nobody can start a second line meanwhile.
    pub(super) async fn run(
        self,
        mut line: OwnedMutexGuard<Option<Entry>>,
        place: Place,
    ) -> Answer {
        let began = Instant::now();
        let image = self.key.image();
        let subject = Subject::new(image);
        let route = self.inner.routes.of(image);
        let lookup = Lookup {
            image,
            route: &route,
            grants: &self.inner.grants,
            audiences: &self.inner.audiences,
            manners: &self.inner.manners,
            metrics: &self.inner.metrics,
            subject: &subject,
            verify: self.inner.verify,
            providers: &self.inner.providers,
            providers_until: began + PROVIDERS_LIMIT,
            provided: OnceCell::new(),
        };
        let answer = match self.inner.routes.objection(image) {
            Some(why) => Ok(Err(subject.refused(why))),
            None => timeout(LOOKUP_LIMIT, lookup.run(&self.credentials)).await,
        };
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
            Ok(digest) => tracing::debug!(?image, %digest, seconds, "looked up"),
            Err(error) => tracing::debug!(?image, %error, seconds, "look-up failed"),
        }
        let entry = Entry {
            answer: answer.clone(),
            began,
            ended: Instant::now(),
        };
        // What was not even asked is soon said again.
        if !matches!(&answer, Err(error) if error.is_withheld()) {
            self.inner.answers.remember(self.key.clone(), entry.clone());
        }
        *line = Some(entry);
        drop(line);
        drop(place);
        drop(self.room);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::super::Image;
    use super::super::audience::Audience;
    use super::*;

    fn key(tag: &str) -> Key {
        let image = Image {
            registry: "r.io".into(),
            repository: "app".into(),
            tag: tag.into(),
        };
        Key::new(&image, Audience::ANYBODY)
    }

    #[tokio::test]
    async fn a_line_is_given_up_by_its_last_member() {
        let flights = Flights::new();
        let first = flights.join(key("1"));
        let second = flights.join(key("1"));
        let other = flights.join(key("2"));
        assert!(Arc::ptr_eq(&first.lock(), &second.lock()));
        assert_eq!(flights.lines().len(), 2);
        drop((first, other));
        assert_eq!(flights.lines().len(), 1);
        let guard = second.lock().lock_owned().await;
        let third = flights.join(key("1"));
        drop(second);
        assert!(third.lock().try_lock().is_err());
        drop(guard);
        assert!(third.lock().try_lock().is_ok());
        drop(third);
        assert_eq!(flights.lines().len(), 0);
    }
}
