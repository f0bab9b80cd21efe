//! Answers that are kept for seconds, each asked for once at a time.

use std::fmt;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use moka::Equivalent;
use moka::sync::Cache;
use tokio::time::Instant;

use super::object_name::ObjectName;
use super::{Answer, Unreadable};

/// How long something that is there is believed to be so still.
const KEPT: Duration = Duration::from_secs(10);
/// How long something that is not there, or could not be read, is not asked for again.
const MISSED: Duration = Duration::from_secs(1);
/// When even what nobody asks for again is dropped: longer than any question and its answer's life.
const DROPPED: Duration = Duration::from_secs(30);
/// How many answers are kept at most.
const ENTRIES: u64 = 512;

/// Answers about objects by namespace and name.
pub(super) struct Memory<T>(Cache<ObjectName, Flight<T>>);

/// An [`ObjectName`], borrowed: looking up allocates nothing.
#[derive(Hash)]
struct Borrowed<'a> {
    namespace: &'a str,
    name: &'a str,
}

/// A question under way, or answered.
struct Flight<T>(Shared<BoxFuture<'static, (Instant, Answer<T>)>>);

// === impl Memory ===

impl<T: Send + Sync + 'static> Memory<T> {
    pub(super) fn new() -> Self {
        Self(
            Cache::builder()
                .max_capacity(ENTRIES)
                .time_to_live(DROPPED)
                .build(),
        )
    }

    /// The answer that is remembered, or that of the question under way, or else of `ask`, which goes on when nobody
    /// waits for it any more. What cannot be there is not asked for.
    pub(super) async fn get<F>(
        &self,
        namespace: &str,
        name: &str,
        ask: impl FnOnce(ObjectName) -> F,
    ) -> Answer<T>
    where
        F: Future<Output = Answer<T>> + Send + 'static,
    {
        let known = self.0.get(&Borrowed { namespace, name });
        let flight = if let Some(flight) = known.filter(|flight| !flight.is_over()) {
            flight
        } else {
            let object = ObjectName::new(namespace, name).ok_or(Unreadable::NotFound)?;
            self.begin(object, ask)
        };
        flight.0.await.1
    }

    /// Begins to ask, unless somebody else has just done so.
    fn begin<F>(&self, object: ObjectName, ask: impl FnOnce(ObjectName) -> F) -> Flight<T>
    where
        F: Future<Output = Answer<T>> + Send + 'static,
    {
        self.0
            .entry(object.clone())
            .or_insert_with_if(|| Flight::begin(ask(object)), Flight::is_over)
            .into_value()
    }

    /// Drops what is not used any more; without it that would wait for the next question.
    pub(super) fn tidy(&self) {
        self.0.run_pending_tasks();
    }
}

impl<T> fmt::Debug for Memory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

impl Equivalent<ObjectName> for Borrowed<'_> {
    fn equivalent(&self, key: &ObjectName) -> bool {
        self.namespace == key.namespace && self.name == key.name
    }
}

// === impl Flight ===

impl<T: Send + Sync + 'static> Flight<T> {
    /// Begins in a task of its own, so that it does not end with the first who waits.
    fn begin(ask: impl Future<Output = Answer<T>> + Send + 'static) -> Self {
        let ask = AssertUnwindSafe(ask).catch_unwind();
        let answer = ask.map(|answer| {
            let answer = answer.unwrap_or(Err(Unreadable::NoAnswer));
            (Instant::now(), answer)
        });
        let answer = answer.boxed().shared();
        tokio::spawn(answer.clone());
        Self(answer)
    }

    /// Whether it has been answered too long ago.
    fn is_over(&self) -> bool {
        let life = |answer: &Answer<T>| if answer.is_ok() { KEPT } else { MISSED };
        let answered = self.0.peek();
        answered.is_some_and(|(since, answer)| since.elapsed() >= life(answer))
    }
}

impl<T> Clone for Flight<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;
    use tokio::time::advance;

    use super::*;

    /// Asks, and counts when it was really asked.
    async fn ask(memory: &Memory<usize>, asked: &Arc<AtomicUsize>, found: bool) -> Answer<usize> {
        let asked = Arc::clone(asked);
        let ask = |_| async move {
            let number = asked.fetch_add(1, Ordering::SeqCst) + 1;
            found.then(|| Arc::new(number)).ok_or(Unreadable::NotFound)
        };
        memory.get("ns", "name", ask).await
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_there_is_kept_longer_than_what_is_not() {
        let (memory, asked) = (Memory::new(), Arc::default());
        for (found, life) in [(true, KEPT), (false, MISSED)] {
            let first = ask(&memory, &asked, found).await;
            assert_eq!(first.is_ok(), found);
            advance(life / 2).await;
            assert_eq!(ask(&memory, &asked, true).await, first);
            advance(life / 2).await;
            let second = ask(&memory, &asked, true).await;
            assert_ne!(second, first, "asked anew");
            advance(KEPT).await;
        }
        let other = memory.get("ns", "other", |_| async { Ok(Arc::new(0)) });
        assert_eq!(other.await, Ok(Arc::new(0)), "each name has its own answer");
    }

    #[tokio::test]
    async fn who_asks_at_the_same_time_shares_one_question_that_outlives_the_first() {
        let (memory, asked) = (Memory::new(), Arc::new(AtomicUsize::new(0)));
        let go = Arc::new(Notify::new());
        let ask = || {
            let (asked, go) = (Arc::clone(&asked), Arc::clone(&go));
            memory.get("ns", "name", |_| async move {
                asked.fetch_add(1, Ordering::SeqCst);
                go.notified().await;
                Ok(Arc::new(7))
            })
        };
        let first = tokio::time::timeout(Duration::ZERO, ask()).await;
        assert!(first.is_err(), "it gave up");
        let (second, third, ()) = tokio::join!(ask(), ask(), async { go.notify_one() });
        assert_eq!((second, third), (Ok(Arc::new(7)), Ok(Arc::new(7))));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn what_cannot_be_there_is_not_remembered() {
        let (memory, asked) = (Memory::<usize>::new(), Arc::default());
        for name in ["A", "a/b", &"a".repeat(1 << 20)] {
            let answer = memory.get("ns", name, |_| async { Ok(Arc::new(0)) });
            assert_eq!(answer.await, Err(Unreadable::NotFound));
        }
        memory.tidy();
        assert_eq!(memory.0.entry_count(), 0);
        ask(&memory, &asked, true).await.unwrap();
        memory.tidy();
        assert_eq!(memory.0.entry_count(), 1);
    }

    #[tokio::test]
    async fn a_question_that_panics_is_answered() {
        let memory = Memory::<usize>::new();
        for _ in 0..2 {
            let answer = memory.get("ns", "name", |_| async { panic!("a mistake") });
            assert_eq!(answer.await, Err(Unreadable::NoAnswer));
        }
    }
}
