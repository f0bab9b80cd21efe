//! Answers that are remembered.
//!
//! An answer belongs to an image and an audience, the credentials it was asked with: what one tenant may see is never
//! told to another, not even when its registry is out of order.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant as StdInstant};

use moka::sync::Cache;
use moka::{Equivalent, Expiry};
use tokio::time::Instant;

use super::Image;
use super::audience::Audience;
use super::error::Error;
use crate::config;
use crate::image::Digest;

/// What an entry takes besides what it holds: its places in the cache's tables, and allocations.
const OVERHEAD: usize = 256;

/// What a look-up comes to; an error is an answer too.
pub(super) type Answer = Result<Digest, Arc<Error>>;

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

/// The last answer, and the digest of the last good one.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) entry: Entry,
    good: Option<Good>,
    in_use: AtomicBool,
}

/// A digest, and when it was found.
#[derive(Clone, Debug)]
struct Good {
    digest: Digest,
    found: Instant,
}

/// All remembered answers.
#[derive(Clone)]
pub(super) struct Answers {
    kept: Cache<Key, Arc<Kept>>,
    lifetimes: Lifetimes,
}

#[derive(Clone, Copy, Debug)]
struct Lifetimes {
    positive: Duration,
    negative: Duration,
    stale: Duration,
}

// === impl Key ===

impl Key {
    pub(super) fn new(image: &Image, audience: Audience) -> Self {
        Self {
            image: image.detached(),
            audience,
        }
    }

    pub(super) fn image(&self) -> &Image<'static> {
        &self.image
    }

    fn borrowed(&self) -> Borrowed<'_> {
        Borrowed {
            image: &self.image,
            audience: self.audience,
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

// === impl Kept ===

impl Kept {
    /// Takes note that somebody uses a digest; whether nobody did before.
    pub(super) fn is_first_use(&self) -> bool {
        // Read first: of a value that is only read, each processor has a copy.
        self.entry.answer.is_ok()
            && !self.in_use.load(Ordering::Relaxed)
            && !self.in_use.swap(true, Ordering::Relaxed)
    }
}

// === impl Lifetimes ===

impl Lifetimes {
    /// Whether an answer may be used without asking again.
    fn is_fresh(self, entry: &Entry) -> bool {
        let lifetime = if entry.answer.is_ok() {
            self.positive
        } else {
            self.negative
        };
        entry.ended.elapsed() < lifetime
    }

    /// How long a digest may still be used where there is no better answer.
    fn left(self, good: &Good) -> Duration {
        if self.stale.is_zero() {
            return Duration::ZERO;
        }
        let limit = self.positive.saturating_add(self.stale);
        limit.saturating_sub(good.found.elapsed())
    }
}

/// When the cache may let go of what it holds; whether it may still be used is decided when it is asked for.
impl Expiry<Key, Arc<Kept>> for Lifetimes {
    fn expire_after_create(&self, _: &Key, kept: &Arc<Kept>, _: StdInstant) -> Option<Duration> {
        let fresh = if kept.entry.answer.is_ok() {
            self.positive
        } else {
            self.negative
        };
        let good = kept.good.as_ref().map(|good| self.left(good));
        Some(fresh.max(good.unwrap_or_default()))
    }

    fn expire_after_update(
        &self,
        key: &Key,
        kept: &Arc<Kept>,
        now: StdInstant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(key, kept, now)
    }
}

// === impl Answers ===

impl Answers {
    pub(super) fn new(settings: &config::Cache) -> Self {
        let lifetimes = Lifetimes {
            positive: settings.ttl,
            negative: settings.negative_ttl,
            stale: settings.stale_if_error,
        };
        // Each entry weighs at least its share of the bytes, so that one bound by weight is a bound by number too.
        let (bytes, entries) = (u64::from(settings.max_bytes), settings.max_entries);
        let share = bytes.checked_div(entries).unwrap_or(u64::MAX).max(1);
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        let kept = Cache::builder()
            .max_capacity(if entries == 0 { 0 } else { bytes })
            .weigher(move |key: &Key, kept: &Arc<Kept>| {
                let size = u32::try_from(size(key, kept)).unwrap_or(u32::MAX);
                size.max(share)
            })
            .expire_after(lifetimes)
            .build();
        Self { kept, lifetimes }
    }

    /// What may be used without asking again.
    pub(super) fn get(&self, image: &Image, audience: Audience) -> Option<Arc<Kept>> {
        let kept = self.kept.get(&Borrowed { image, audience })?;
        self.lifetimes.is_fresh(&kept.entry).then_some(kept)
    }

    /// Whether this is what is remembered still.
    pub(super) fn is_current(&self, key: &Key, kept: &Arc<Kept>) -> bool {
        let current = self.kept.get(&key.borrowed());
        current.is_some_and(|current| Arc::ptr_eq(&current, kept))
    }

    /// How long a digest is used without asking again.
    pub(super) fn ttl(&self) -> Duration {
        self.lifetimes.positive
    }

    /// The last good digest, and how old it is, if it is not too old for when the registry cannot be asked.
    pub(super) fn last_good(
        &self,
        image: &Image,
        audience: Audience,
    ) -> Option<(Digest, Duration)> {
        let kept = self.kept.get(&Borrowed { image, audience })?;
        let good = kept.good.as_ref()?;
        let usable = !self.lifetimes.left(good).is_zero();
        usable.then(|| (good.digest.clone(), good.found.elapsed()))
    }

    /// Remembers an answer. One of unavailability takes nothing away: not from a digest that is still fresh, and the last
    /// good one stays known behind it. Any other error ends what was known: who is no longer authorized, for one, is not
    /// told what he was once.
    ///
    /// Answers for the same key must not be remembered at the same time.
    pub(super) fn remember(&self, key: Key, entry: Entry) {
        let good = match &entry.answer {
            Ok(digest) => Some(Good {
                digest: digest.clone(),
                found: entry.ended,
            }),
            Err(error) if error.is_unavailability() => {
                let before = self.kept.get(&key.borrowed());
                let fresh = |kept: &Arc<Kept>| {
                    kept.entry.answer.is_ok() && self.lifetimes.is_fresh(&kept.entry)
                };
                if before.as_ref().is_some_and(fresh) {
                    return;
                }
                before.and_then(|kept| kept.good.clone())
            }
            Err(_) => None,
        };
        let in_use = AtomicBool::new(false);
        let kept = Kept {
            entry,
            good,
            in_use,
        };
        self.kept.insert(key, Arc::new(kept));
    }
}

/// How many bytes an entry takes, roughly.
fn size(key: &Key, kept: &Kept) -> usize {
    let Image {
        registry,
        repository,
        tag,
    } = &key.image;
    let answer = match &kept.entry.answer {
        Ok(digest) => digest.as_str().len(),
        Err(error) => size_of::<Error>() + error.to_string().len(),
    };
    let good = kept
        .good
        .as_ref()
        .map_or(0, |good| good.digest.as_str().len());
    let text = registry.len() + repository.len() + tag.len() + answer + good;
    OVERHEAD + size_of::<Key>() + size_of::<Kept>() + text
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
