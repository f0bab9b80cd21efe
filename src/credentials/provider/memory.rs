//! What a credential provider has answered, for as long as it says, and the calls under way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use tokio::time::Instant;

use super::protocol::CacheKeyType;
use crate::credentials::keyring::Keyring;

/// How many answers are kept of one provider.
const ANSWERS: usize = 1000;

/// What a call comes to: nothing where it fails.
pub(super) type Outcome = Option<Arc<Keyring>>;

/// The memory of one provider. What is dropped is zeroized.
#[derive(Default)]
pub(super) struct Memory {
    answers: Mutex<HashMap<Key, Answer>>,
    calls: Mutex<HashMap<String, WeakShared<BoxFuture<'static, Outcome>>>>,
}

/// What an answer is good for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Image(String),
    Registry(String),
    Global,
}

struct Answer {
    keyring: Arc<Keyring>,
    until: Instant,
}

impl Key {
    fn new(kind: CacheKeyType, repository: &str) -> Self {
        match kind {
            CacheKeyType::Image => Self::Image(repository.to_owned()),
            CacheKeyType::Registry => {
                let registry = repository.split('/').next().unwrap_or_default();
                Self::Registry(registry.to_owned())
            }
            CacheKeyType::Global => Self::Global,
        }
    }
}

impl Memory {
    /// What is known of this repository: of it, of its registry, of all.
    pub(super) fn get(&self, repository: &str) -> Outcome {
        let now = Instant::now();
        let answers = lock(&self.answers);
        let kinds = [
            CacheKeyType::Image,
            CacheKeyType::Registry,
            CacheKeyType::Global,
        ];
        let mut known = kinds
            .iter()
            .filter_map(|kind| answers.get(&Key::new(*kind, repository)));
        let fresh = known.find(|answer| now < answer.until);
        fresh.map(|answer| Arc::clone(&answer.keyring))
    }

    /// Keeps an answer for this long; where there are too many, at the cost of that which ends first.
    pub(super) fn keep(
        &self,
        kind: CacheKeyType,
        repository: &str,
        keyring: &Arc<Keyring>,
        duration: Duration,
    ) {
        let now = Instant::now();
        // Far longer than any process lives, where the clock cannot count that far.
        let until = now
            .checked_add(duration)
            .unwrap_or_else(|| now + Duration::from_hours(24 * 365));
        let keyring = Arc::clone(keyring);
        let mut answers = lock(&self.answers);
        answers.retain(|_, answer| now < answer.until);
        if until <= now {
            return;
        }
        let key = Key::new(kind, repository);
        if answers.len() >= ANSWERS && !answers.contains_key(&key) {
            let first = answers.iter().min_by_key(|(_, answer)| answer.until);
            if let Some(first) = first.map(|(key, _)| key.clone()) {
                answers.remove(&first);
            }
        }
        answers.insert(key, Answer { keyring, until });
    }

    /// The call under way about this repository, or a new one. It ends when nobody waits for it any more.
    pub(super) fn join(
        &self,
        repository: &str,
        call: impl FnOnce() -> BoxFuture<'static, Outcome>,
    ) -> Shared<BoxFuture<'static, Outcome>> {
        let mut calls = lock(&self.calls);
        let under_way = calls.get(repository).and_then(WeakShared::upgrade);
        if let Some(call) = under_way.filter(|call| call.peek().is_none()) {
            return call;
        }
        calls.retain(|_, call| call.upgrade().is_some());
        let call = call().shared();
        // `None` only of what has ended.
        if let Some(weak) = call.downgrade() {
            calls.insert(repository.to_owned(), weak);
        }
        call
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
