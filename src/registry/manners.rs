//! How registries are treated: not too many look-ups at once, none while they ask for rest or are out of order.
//!
//! The author of a Pod chooses hosts, so that what is remembered of them is bounded, and none may take all places.

mod breaker;
mod retry;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moka::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::audience::Audience;
use super::connect::Origin;
use super::error::{Class, Error};

use breaker::{Breaker, Outcome};
pub(super) use retry::Retries;

/// Of how many hosts something is remembered, and of how many pairs of host and credential.
const HOSTS: u64 = 1024;
const RESTING: u64 = 8192;
/// How long a host is remembered that nobody asks for.
const IDLE: Duration = Duration::from_mins(10);
/// How many look-ups may wait for one host, those under way included.
const PLACES: usize = 512;
/// How many KiB of manifests are held at once: a registry may send as much as the limit of one, and take its time.
const MEMORY: u32 = 64 << 10;
/// One host may have this part of it.
const SHARES: u32 = 4;
/// How long a registry is left alone after status 429 without `Retry-After`, and at most.
const REST: Duration = Duration::from_secs(10);
const LONGEST_REST: Duration = Duration::from_hours(1);
/// How long at most after another failure with `Retry-After`: others may share the host.
const LONGEST_OUTAGE: Duration = Duration::from_mins(5);

/// What is known of hosts.
pub(super) struct Manners {
    /// By the number of look-ups at once as well: two entries of the configuration may name the same host.
    hosts: Cache<(Origin, u32), Arc<Host>>,
    /// Until when who must not ask where. Limits are for accounts, or for addresses where there is none.
    resting: Cache<(Origin, Audience), Rest>,
    memory: Semaphore,
}

/// What a registry has asked for.
#[derive(Clone)]
struct Rest {
    until: Instant,
    /// Whether it had too many requests, rather than being out of order.
    limited: bool,
    /// About which repository; none where it has said so about two. One alone may be out of order or too much in demand
    /// behind a host that serves many.
    repository: Option<Arc<str>>,
}

/// A host, for all who ask there.
pub(super) struct Host {
    name: String,
    places: Arc<Semaphore>,
    slots: Arc<Semaphore>,
    memory: Semaphore,
    breaker: Mutex<Breaker>,
    hasher: RandomState,
}

/// One look-up at a host.
pub(super) struct Visit {
    host: Arc<Host>,
    ended: bool,
    /// Whether what went wrong last did so elsewhere, at the token service.
    excused: AtomicBool,
    _permits: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

/// Held while a manifest is.
pub(super) type Memory<'m> = (Option<SemaphorePermit<'m>>, Option<SemaphorePermit<'m>>);

/// Why nobody is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Withheld {
    /// Too many wait already.
    Full,
    /// It failed again and again, or asked for this time.
    Open(Duration),
    /// It had too many requests.
    Resting(Duration),
}

// === impl Manners ===

impl Manners {
    pub(super) fn new() -> Self {
        let hosts = Cache::builder().max_capacity(HOSTS).time_to_idle(IDLE);
        let resting = Cache::builder()
            .max_capacity(RESTING)
            .time_to_live(LONGEST_REST);
        Self {
            hosts: hosts.build(),
            resting: resting.build(),
            memory: Semaphore::new(MEMORY as usize),
        }
    }

    /// A host, at which this many may ask at once.
    pub(super) fn host(&self, origin: &Origin, at_once: u32) -> Arc<Host> {
        let key = (origin.clone(), at_once);
        self.hosts
            .get_with(key, || Arc::new(Host::new(origin.host(), at_once)))
    }

    /// Whether this audience may ask there about a repository.
    pub(super) fn may_ask(
        &self,
        origin: &Origin,
        audience: Audience,
        repository: &str,
    ) -> Result<(), Withheld> {
        let Some(rest) = self.resting.get(&(origin.clone(), audience)) else {
            return Ok(());
        };
        let left = rest.until.saturating_duration_since(Instant::now());
        let is_meant = rest
            .repository
            .is_none_or(|resting| *resting == *repository);
        match (is_meant && !left.is_zero(), rest.limited) {
            (false, _) => Ok(()),
            (true, true) => Err(Withheld::Resting(left)),
            (true, false) => Err(Withheld::Open(left)),
        }
    }

    /// Takes note of what one who was allowed to ask about a repository was told.
    pub(super) fn note<T>(
        &self,
        origin: &Origin,
        audience: Audience,
        repository: &str,
        answer: &Result<T, Error>,
    ) {
        let (time, limited) = match answer {
            Err(Error::RateLimited { retry_after, .. }) => {
                (retry_after.unwrap_or(REST).min(LONGEST_REST), true)
            }
            Err(Error::Unavailable {
                retry_after: Some(time),
                ..
            }) => ((*time).min(LONGEST_OUTAGE), false),
            _ => return,
        };
        let (key, now) = ((origin.clone(), audience), Instant::now());
        let before = self.resting.get(&key).filter(|rest| rest.until > now);
        let is_another = before.is_some_and(|rest| rest.repository.as_deref() != Some(repository));
        let rest = Rest {
            until: now + time,
            limited,
            repository: (!is_another).then(|| repository.into()),
        };
        self.resting.insert(key, rest);
    }
}

impl fmt::Debug for Manners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manners").finish_non_exhaustive()
    }
}

// === impl Host ===

impl Host {
    fn new(name: &str, at_once: u32) -> Self {
        let slots = usize::try_from(at_once).unwrap_or(PLACES);
        Self {
            name: name.to_owned(),
            places: Arc::new(Semaphore::new(PLACES)),
            slots: Arc::new(Semaphore::new(slots.min(PLACES))),
            memory: Semaphore::new((MEMORY / SHARES) as usize),
            breaker: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    /// Waits until there is room to ask, or says at once why nobody asks now.
    pub(super) async fn enter(self: Arc<Self>) -> Result<Visit, Withheld> {
        if let Some(wait) = self.breaker().wait() {
            return Err(Withheld::Open(wait));
        }
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| Withheld::Full)?;
        // Never closed.
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        let slot = slot.map_err(|_| Withheld::Full)?;
        self.breaker().admit().map_err(Withheld::Open)?;
        Ok(Visit {
            host: self,
            ended: false,
            excused: AtomicBool::new(false),
            _permits: (place, slot),
        })
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Visit ===

impl Visit {
    /// Waits until there is memory for this many bytes, at this host and in all; dropped, it is free again.
    pub(super) async fn memory<'m>(&'m self, manners: &'m Manners, bytes: usize) -> Memory<'m> {
        let most = MEMORY / SHARES;
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(most);
        // Never closed.
        let own = self.host.memory.acquire_many(kib.min(most)).await.ok();
        (own, manners.memory.acquire_many(kib.min(most)).await.ok())
    }

    /// Says whether what went wrong did so elsewhere.
    pub(super) fn excuse(&self, excused: bool) {
        self.excused.store(excused, Ordering::Relaxed);
    }

    /// Ends with what the look-up about a repository came to.
    pub(super) fn end<T>(mut self, repository: &str, answer: &Result<T, Error>) {
        self.ended = true;
        let outcome = match answer {
            Err(Error::Withheld { .. } | Error::Refused { .. }) => Outcome::Nothing,
            Err(Error::Unavailable { .. } | Error::TimedOut { .. })
                if self.excused.load(Ordering::Relaxed) =>
            {
                Outcome::Nothing
            }
            Err(Error::Unavailable {
                status: Some(_), ..
            }) => Outcome::Complaint(self.host.hasher.hash_one(repository)),
            Err(Error::Unavailable { .. } | Error::TimedOut { .. }) => Outcome::Silence,
            Ok(_) | Err(_) => Outcome::Answer,
        };
        self.note(outcome);
    }

    fn note(&self, outcome: Outcome) {
        if self.host.breaker().note(outcome) {
            let host = &*self.host.name;
            tracing::debug!(host, "the host fails and is left alone for a while");
        }
    }
}

impl Drop for Visit {
    /// Given up half way, it says nothing: the time may have gone elsewhere.
    fn drop(&mut self) {
        if !self.ended {
            self.note(Outcome::Nothing);
        }
    }
}

// === impl Withheld ===

impl Withheld {
    /// What metrics call it.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Open(_) => "circuit_open",
            Self::Resting(_) => "rate_limited",
        }
    }

    /// The class of the error that it is.
    pub(super) fn class(self) -> Class {
        match self {
            Self::Full | Self::Open(_) => Class::Unavailable,
            Self::Resting(_) => Class::RateLimited,
        }
    }
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rounded up: who comes back then is not turned away.
        let seconds = |time: &Duration| time.as_nanos().div_ceil(1_000_000_000);
        match self {
            Self::Full => write!(f, "{PLACES} look-ups wait for it already"),
            Self::Open(left) => write!(f, "it has been failing, again in {} s", seconds(left)),
            Self::Resting(left) => {
                write!(
                    f,
                    "it has had too many requests, again in {} s",
                    seconds(left)
                )
            }
        }
    }
}

/// This time, half of it more or less, so that not all come back at once.
pub(super) fn jittered(time: Duration) -> Duration {
    let [random, ..] = RandomState::new().hash_one(()).to_ne_bytes();
    time / 2 + time * u32::from(random) / 255
}

#[cfg(test)]
mod tests;
