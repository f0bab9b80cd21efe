//! A circuit breaker: who has failed several times in a row is left alone for a while, then tried by one.

use std::time::Duration;

use tokio::time::Instant;

/// After how many failures in a row the circuit opens; of those that are about a repository one counts.
pub(super) const FAILURES: usize = 5;
/// How long it stays open.
pub(super) const OPEN: Duration = Duration::from_secs(10);

/// Whether to go on asking.
#[derive(Debug, Default)]
pub(super) struct Breaker(State);

#[derive(Debug)]
enum State {
    /// With the failures so far: of which repository the host complained, none where it was silent.
    Closed {
        failures: Vec<Option<u64>>,
    },
    Open {
        until: Instant,
    },
    HalfOpen,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// There was an answer, welcome or not.
    Answer,
    /// There was none.
    Silence,
    /// There was one that says no more than that there is none, about this repository. It may be out of order alone: the
    /// upstream of a cache, for one.
    Complaint(u64),
    /// Nothing was asked.
    Nothing,
}

impl Default for State {
    fn default() -> Self {
        Self::Closed {
            failures: Vec::new(),
        }
    }
}

impl Breaker {
    /// How long until somebody may ask; `None` is now.
    pub(super) fn wait(&self) -> Option<Duration> {
        match self.0 {
            State::Closed { .. } => None,
            State::Open { until } => {
                let left = until.saturating_duration_since(Instant::now());
                (!left.is_zero()).then_some(left)
            }
            // One is asking; what becomes of that is soon known.
            State::HalfOpen => Some(Duration::from_secs(1)),
        }
    }

    /// Lets somebody ask, or says how long that is not wanted. When the time is over, it is one who may.
    pub(super) fn admit(&mut self) -> Result<(), Duration> {
        if let Some(wait) = self.wait() {
            return Err(wait);
        }
        if let State::Open { .. } = self.0 {
            self.0 = State::HalfOpen;
        }
        Ok(())
    }

    /// Takes note of what became of one who was admitted. Returns whether that opens the circuit.
    pub(super) fn note(&mut self, outcome: Outcome) -> bool {
        let failure = match outcome {
            Outcome::Answer => {
                self.0 = State::default();
                return false;
            }
            Outcome::Nothing => {
                if let State::HalfOpen = self.0 {
                    self.0 = State::Open {
                        until: Instant::now(),
                    };
                }
                return false;
            }
            Outcome::Silence => None,
            Outcome::Complaint(repository) => Some(repository),
        };
        match &mut self.0 {
            // Those who were under way when it opened say nothing new.
            State::Open { .. } => return false,
            State::Closed { failures } => {
                if failure.is_none() || !failures.contains(&failure) {
                    failures.push(failure);
                }
                if failures.len() < FAILURES {
                    return false;
                }
            }
            State::HalfOpen => {}
        }
        self.0 = State::Open {
            until: Instant::now() + super::jittered(OPEN),
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const FAILURE: Outcome = Outcome::Silence;

    /// One that has just opened.
    fn open() -> Breaker {
        let mut breaker = Breaker::default();
        for nth in 1..=FAILURES {
            assert_eq!(breaker.admit(), Ok(()));
            assert_eq!(breaker.note(FAILURE), nth == FAILURES);
        }
        assert!(breaker.admit().is_err());
        breaker
    }

    /// Waits as long as it says.
    async fn half_open() -> Breaker {
        let mut breaker = open();
        let wait = breaker.admit().unwrap_err();
        assert!(wait >= OPEN / 2 && wait <= OPEN * 3 / 2, "{wait:?}");
        advance(wait).await;
        assert_eq!(breaker.admit(), Ok(()), "one may");
        assert!(breaker.admit().is_err(), "and no other");
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn only_failures_in_a_row_open_it() {
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            for _ in 1..FAILURES {
                assert!(!breaker.note(FAILURE));
            }
            assert!(!breaker.note(Outcome::Nothing));
            assert!(!breaker.note(Outcome::Answer));
        }
        assert_eq!(breaker.admit(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_decides_whether_it_closes() {
        let mut breaker = half_open().await;
        breaker.note(Outcome::Answer);
        assert_eq!(breaker.admit(), Ok(()));
        assert_eq!(breaker.admit(), Ok(()));

        let mut breaker = half_open().await;
        assert!(breaker.note(FAILURE));
        let wait = breaker.admit().unwrap_err();
        assert!(wait >= OPEN / 2, "{wait:?}");

        let mut breaker = half_open().await;
        breaker.note(Outcome::Nothing);
        assert_eq!(breaker.admit(), Ok(()), "the next one is the probe");
        assert!(breaker.admit().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn late_news_count_if_they_are_good() {
        let mut breaker = open();
        let wait = breaker.admit().unwrap_err();
        breaker.note(FAILURE);
        assert_eq!(breaker.admit(), Err(wait));
        breaker.note(Outcome::Answer);
        assert_eq!(breaker.admit(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn one_repository_does_not_open_it_alone() {
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            assert!(!breaker.note(Outcome::Complaint(1)));
        }
        assert_eq!(breaker.admit(), Ok(()));
        for repository in 2..5 {
            assert!(!breaker.note(Outcome::Complaint(repository)));
        }
        assert!(breaker.note(Outcome::Complaint(5)));
        assert!(breaker.admit().is_err());
    }
}
