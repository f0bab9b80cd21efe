//! Answers that are remembered, and look-ups that are shared.
//!
//! An answer belongs to an image and an audience, the credentials it was asked with: what one tenant may see is never
//! told to another.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as StdInstant};

use moka::sync::Cache;
use moka::{Equivalent, Expiry};
use secrecy::ExposeSecret;
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use super::Image;
use super::error::Error;
use crate::config;
use crate::credentials::Credential;
use crate::image::Digest;

/// What a look-up comes to; an error is an answer too.
pub(super) type Answer = Result<Digest, Arc<Error>>;

/// Whose an answer is: nobody's in particular, or a keyed hash of the credentials in their order.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Audience(Option<[u8; 32]>);

/// Makes audiences; its key differs from process to process, so that a hash tells nothing outside of it.
#[derive(Clone)]
pub(super) struct Audiences([u8; 32]);

/// Under what an answer is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    image: Image<'static>,
    audience: Audience,
}

/// The same, borrowed: looking up allocates nothing.
struct Borrowed<'a> {
    image: &'a Image<'a>,
    audience: Audience,
}

/// An answer, and when its look-up began and ended.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) answer: Answer,
    pub(super) began: Instant,
    pub(super) ended: Instant,
}

/// All remembered answers.
#[derive(Clone)]
pub(super) struct Answers(Cache<Key, Entry>);

struct Lifetime {
    positive: Duration,
    negative: Duration,
}

// === impl Audience ===

impl Audiences {
    pub(super) fn new() -> Result<Self, rustls::Error> {
        let mut key = [0; 32];
        let provider = rustls::crypto::ring::default_provider();
        provider
            .secure_random
            .fill(&mut key)
            .map_err(|_| rustls::Error::FailedToGetRandomBytes)?;
        Ok(Self(key))
    }

    /// The audience of these credentials. Where they were found makes no difference.
    pub(super) fn of(&self, credentials: &[Credential]) -> Audience {
        if credentials.is_empty() {
            return Audience(None);
        }
        let mut hash = Sha256::new_with_prefix(self.0);
        for credential in credentials {
            for part in [
                credential.username.expose_secret(),
                credential.password.expose_secret(),
            ] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
        Audience(Some(hash.finalize().into()))
    }
}

impl fmt::Debug for Audiences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audiences").finish_non_exhaustive()
    }
}

impl fmt::Debug for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Audience(credentials)"
        } else {
            "Audience(anonymous)"
        })
    }
}

// === impl Key ===

impl Key {
    pub(super) fn new(image: &Image, audience: Audience) -> Self {
        Self {
            image: image.detached(),
            audience,
        }
    }
}

impl Hash for Borrowed<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // As derived for `Key`.
        self.image.hash(state);
        self.audience.hash(state);
    }
}

impl Equivalent<Key> for Borrowed<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.image == key.image && self.audience == key.audience
    }
}

// === impl Answers ===

impl Expiry<Key, Entry> for Lifetime {
    fn expire_after_create(&self, _: &Key, entry: &Entry, _: StdInstant) -> Option<Duration> {
        Some(if entry.answer.is_ok() {
            self.positive
        } else {
            self.negative
        })
    }

    fn expire_after_update(
        &self,
        key: &Key,
        entry: &Entry,
        now: StdInstant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(key, entry, now)
    }
}

impl Answers {
    pub(super) fn new(settings: &config::Cache) -> Self {
        let lifetime = Lifetime {
            positive: settings.ttl,
            negative: settings.negative_ttl,
        };
        Self(
            Cache::builder()
                .max_capacity(settings.max_entries)
                .expire_after(lifetime)
                .build(),
        )
    }

    pub(super) fn get(&self, image: &Image, audience: Audience) -> Option<Entry> {
        self.0.get(&Borrowed { image, audience })
    }

    pub(super) fn insert(&self, key: Key, entry: Entry) {
        self.0.insert(key, entry);
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").finish_non_exhaustive()
    }
}

// === flights ===

/// The look-ups under way: one at a time for each key. What the last one found stays in its lock for those who wait
/// for it, whatever the cache does.
#[derive(Clone, Debug, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<Key, Lock>>>);

/// Held while a look-up is under way.
pub(super) type Lock = Arc<AsyncMutex<Option<Entry>>>;

/// A place in the line for one key; the line is given up when the last one leaves.
#[derive(Debug)]
pub(super) struct Place {
    flights: Flights,
    key: Key,
    lock: Lock,
}

impl Flights {
    /// Joins the line for a key.
    pub(super) fn join(&self, key: Key) -> Place {
        let mut lines = self.lines();
        let lock = Arc::clone(lines.entry(key.clone()).or_default());
        drop(lines);
        Place {
            flights: self.clone(),
            key,
            lock,
        }
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<Key, Lock>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The lock of the line. What is made of it must be dropped before the place is.
    pub(super) fn lock(&self) -> Lock {
        Arc::clone(&self.lock)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.flights.lines();
        // One share is the map's, one this place's.
        if Arc::strong_count(&self.lock) == 2 {
            lines.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(tag: &str) -> Image<'_> {
        Image {
            registry: "r.io".into(),
            repository: "app".into(),
            tag: tag.into(),
        }
    }

    fn credential(username: &str, password: &str) -> Credential {
        Credential {
            username: username.into(),
            password: password.into(),
            source: "test".into(),
        }
    }

    #[test]
    fn an_answer_belongs_to_its_image_and_audience() {
        let audiences = Audiences::new().unwrap();
        let alice = audiences.of(&[credential("alice", "a")]);
        let answers = Answers::new(&config::Cache::default());
        let now = Instant::now();
        let entry = Entry {
            answer: Ok(Digest::of(b"x")),
            began: now,
            ended: now,
        };
        answers.insert(Key::new(&image("1"), alice), entry);
        assert!(answers.get(&image("1"), alice).is_some());
        assert!(answers.get(&image("2"), alice).is_none());
        for other in [
            audiences.of(&[]),
            audiences.of(&[credential("bob", "a")]),
            audiences.of(&[credential("alic", "ea")]),
            audiences.of(&[credential("alice", "a"), credential("bob", "b")]),
            Audiences::new().unwrap().of(&[credential("alice", "a")]),
        ] {
            assert!(answers.get(&image("1"), other).is_none());
        }
        assert!(!format!("{:?}", Key::new(&image("1"), alice)).contains("Some"));
    }

    #[tokio::test]
    async fn a_line_is_given_up_by_its_last_member() {
        let flights = Flights::default();
        let audience = Audience(None);
        let first = flights.join(Key::new(&image("1"), audience));
        let second = flights.join(Key::new(&image("1"), audience));
        let other = flights.join(Key::new(&image("2"), audience));
        assert!(Arc::ptr_eq(&first.lock, &second.lock));
        assert_eq!(flights.lines().len(), 2);
        drop((first, other));
        assert_eq!(flights.lines().len(), 1);
        let guard = second.lock().lock_owned().await;
        let third = flights.join(Key::new(&image("1"), audience));
        drop(second);
        assert!(third.lock().try_lock().is_err());
        drop(guard);
        assert!(third.lock().try_lock().is_ok());
        drop(third);
        assert_eq!(flights.lines().len(), 0);
    }
}
