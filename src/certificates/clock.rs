//! The time of the API server, which is who checks certificates: by the `Date` of its answers, and between two of them by
//! a clock that nobody can set. The clock of this machine counts only before the first answer.

use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::DATE;
use tokio::time::Instant;

use super::authority::seconds;

/// By how many seconds clocks may differ before that is worth a line in the log.
const TOLERATED: i64 = 60;

#[derive(Debug, Default)]
pub(super) struct Clock {
    told: Mutex<Option<Told>>,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    unix: i64,
    at: Instant,
    differs: bool,
}

impl Clock {
    /// Seconds of Unix time.
    pub(super) fn now(&self) -> i64 {
        let told = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.map_or_else(local, |told| {
            told.unix.saturating_add(seconds(told.at.elapsed()))
        })
    }

    /// Takes over the time of an answer.
    pub(super) fn set(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        let Some(Ok(date)) = date.map(httpdate::parse_http_date) else {
            return;
        };
        let unix = unix(date);
        let by = local() - unix;
        let differs = by.abs() > TOLERATED;
        let at = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let before = told.replace(Told { unix, at, differs });
        drop(told);
        if differs && !before.is_some_and(|before| before.differs) {
            tracing::warn!(
                seconds = by,
                "the clock of this machine is ahead of the API server's, or behind it; certificates go by the latter"
            );
        }
    }
}

fn local() -> i64 {
    unix(SystemTime::now())
}

fn unix(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, seconds)
}
