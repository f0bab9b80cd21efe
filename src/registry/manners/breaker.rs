//! A circuit breaker: who has failed several times in a row is left alone for a while, then tried by one.

use std::time::Duration;

use tokio::time::Instant;

/// After how many failures in a row the circuit opens.
pub(super) const FAILURES: u32 = 5;
/// How long it stays open, where the one who fails does not ask for longer.
pub(super) const OPEN: Duration = Duration::from_secs(10);
/// How long it stays open at most, whatever is asked for: others may share the host.
const LONGEST: Duration = Duration::from_mins(5);

/// Whether to go on asking.
#[derive(Debug, Default)]
pub(super) struct Breaker(State);

#[derive(Debug)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// There was an answer, welcome or not.
    Answer,
    /// There was none, or one that says no more than that; and when to come back, if that was said.
    Failure(Option<Duration>),
    /// Nothing was asked.
    Nothing,
}

impl Default for State {
    fn default() -> Self {
        Self::Closed { failures: 0 }
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
        let failures = match (outcome, &self.0) {
            (Outcome::Answer, _) => {
                self.0 = State::default();
                return false;
            }
            (Outcome::Nothing, State::HalfOpen) => {
                self.0 = State::Open {
                    until: Instant::now(),
                };
                return false;
            }
            // Those who were under way when it opened say nothing new.
            (Outcome::Nothing, _) | (_, State::Open { .. }) => return false,
            (Outcome::Failure(_), State::Closed { failures }) => failures + 1,
            (Outcome::Failure(_), State::HalfOpen) => FAILURES,
        };
        let asked_for = match outcome {
            Outcome::Failure(Some(after)) => after,
            _ => Duration::ZERO,
        };
        if failures < FAILURES && asked_for.is_zero() {
            self.0 = State::Closed { failures };
            return false;
        }
        let open = asked_for.max(super::jittered(OPEN)).min(LONGEST);
        self.0 = State::Open {
            until: Instant::now() + open,
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const FAILURE: Outcome = Outcome::Failure(None);

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
    async fn who_asks_for_time_gets_it_at_once_but_not_for_ever() {
        for (asked_for, given) in [(60, 60), (u64::MAX, 300)] {
            let mut breaker = Breaker::default();
            assert!(breaker.note(Outcome::Failure(Some(Duration::from_secs(asked_for)))));
            assert_eq!(breaker.admit(), Err(Duration::from_secs(given)));
        }
    }
}
