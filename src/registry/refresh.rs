//! Digests in use are looked up again shortly before their time is over, so that nobody has to wait for that.

use std::sync::{Arc, Weak};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use super::cache::{Kept, Key};
use super::flight::Flight;
use super::manners::jittered;
use super::{Image, Inner, Resolver};
use crate::credentials::Credential;

/// How many digests may wait for their refresh. Others are looked up when their time is over and they are asked for.
const PLANNED: usize = 4096;
/// How many are looked up at once.
const AT_ONCE: usize = 8;

/// The bounds of what is done in the background.
#[derive(Debug)]
pub(super) struct Refreshes {
    planned: Arc<Semaphore>,
    turns: Semaphore,
}

/// One that waits for its time. It keeps the credentials of who asked first, and no resolver alive that has been
/// replaced.
struct Refresh {
    inner: Weak<Inner>,
    key: Key,
    credentials: Vec<Credential>,
    kept: Arc<Kept>,
    _planned: OwnedSemaphorePermit,
}

impl Refreshes {
    pub(super) fn new() -> Self {
        Self {
            planned: Arc::new(Semaphore::new(PLANNED)),
            turns: Semaphore::new(AT_ONCE),
        }
    }
}

impl Resolver {
    /// Takes note that a remembered digest is used: from the first time on it is one in use, until it is replaced.
    pub(super) fn note_use(&self, kept: &Arc<Kept>, image: &Image<'_>, credentials: &[Credential]) {
        if !kept.is_first_use() {
            return;
        }
        let inner = &self.0;
        // The last fifth of its time, roughly; not all at once where all were found at once.
        let ttl = inner.answers.ttl();
        let due = kept
            .entry
            .ended
            .checked_add(ttl.saturating_sub(jittered(ttl / 5)));
        let planned = Arc::clone(&inner.refreshes.planned).try_acquire_owned();
        let (Some(due), Ok(planned), Ok(runtime)) = (due, planned, Handle::try_current()) else {
            return;
        };
        let refresh = Refresh {
            inner: Arc::downgrade(inner),
            key: Key::new(image, inner.audiences.of(credentials)),
            credentials: credentials.to_vec(),
            kept: Arc::clone(kept),
            _planned: planned,
        };
        runtime.spawn(refresh.run(due));
    }
}

impl Refresh {
    async fn run(self, due: Instant) {
        sleep_until(due).await;
        let Some(inner) = self.inner.upgrade() else {
            return;
        };
        let turn = inner.refreshes.turns.acquire().await;
        // Who is looking it up already, or has done so, does it for us; people go first where there is no room for all.
        let place = inner.flights.join(self.key.clone());
        let line = place.lock().try_lock_owned();
        let room = inner.flights.room();
        let (Ok(line), Some(room)) = (line, room) else {
            return;
        };
        if !inner.answers.is_current(&self.key, &self.kept) {
            return;
        }
        inner.metrics.refreshes.inc();
        let flight = Flight {
            inner: Arc::clone(&inner),
            key: self.key,
            credentials: self.credentials,
            room,
        };
        // A failure takes nothing away from a digest that is still good.
        let _ = flight.run(line, place).await;
        drop(turn);
    }
}
