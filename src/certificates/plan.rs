//! What the holder of the Lease has to write, if anything. Pure: time is given.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::authority::{Authority, Certificate, Defect, seconds};
use crate::server;

/// How many earlier CAs stay trusted.
const PREVIOUS: usize = 2;

/// Who is trusted: the CA that everybody mints from, and those before it, newest first, whose certificates may still be
/// shown.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    pub(super) authority: Arc<Authority>,
    pub(super) previous: Vec<Certificate>,
}

/// Why something is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// What is stored is of no use, and nobody has another.
    Made(Defect),
    /// What is stored is of no use, and this replica has it in memory.
    Restored(Defect),
    /// A third of its time is left.
    Due,
    /// By the API server's clock its time is over.
    Expired,
    /// By the API server's clock its time has not begun: that clock, or that of whoever made it, was wrong.
    NotYetValid,
    /// Somebody stored another; ours stays trusted.
    Adopted,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Made(Defect::Absent) => f.write_str("there was none"),
            Self::Made(defect) => write!(f, "the stored one was of no use: {defect}"),
            Self::Restored(defect) => {
                write!(
                    f,
                    "restored from memory, the stored one is of no use: {defect}"
                )
            }
            Self::Due => f.write_str("two thirds of its time are over"),
            Self::Expired => f.write_str("it has expired"),
            Self::NotYetValid => f.write_str("it is not valid yet: a clock was wrong"),
            Self::Adopted => {
                f.write_str("somebody stored another; the one before it stays trusted")
            }
        }
    }
}

impl Trust {
    /// A new CA in the place of the one before.
    fn renew(before: Option<&Self>, now: i64, validity: Duration) -> Result<Self, server::Error> {
        let authority = Arc::new(Authority::make(now, validity)?);
        let mut trust = Self {
            authority,
            previous: Vec::new(),
        };
        if let Some(before) = before {
            trust.remember(before);
        }
        Ok(trust)
    }

    /// Trusts whom `before` trusted, as far as there is room for it. Says whether that is anybody new.
    fn remember(&mut self, before: &Self) -> bool {
        let known = self.previous.len();
        for certificate in before.all() {
            let is_new = self.all().all(|other| other != certificate);
            if is_new && self.previous.len() < PREVIOUS {
                self.previous.push(certificate.clone());
            }
        }
        self.previous.len() > known
    }

    /// All that are trusted, the current one first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Certificate> {
        [self.authority.certificate()]
            .into_iter()
            .chain(&self.previous)
    }

    /// All of them as a `caBundle`.
    pub(super) fn bundle(&self) -> String {
        self.all().map(Certificate::pem).collect()
    }
}

/// What is to be written in place of what is stored, where this replica remembers what was stored before. A CA is made
/// for `validity`.
pub(super) fn plan(
    stored: Result<&Trust, Defect>,
    remembered: Option<&Trust>,
    now: i64,
    validity: Duration,
) -> Result<Option<(Trust, Reason)>, server::Error> {
    let renew = |before, reason| {
        let trust = Trust::renew(before, now, validity)?;
        Ok(Some((trust, reason)))
    };
    let stored = match (stored, remembered) {
        (Ok(stored), _) => stored,
        (Err(defect), Some(ours)) if ours.authority.certificate().is_valid(now) => {
            return Ok(Some((ours.clone(), Reason::Restored(defect))));
        }
        (Err(defect), ours) => return renew(ours, Reason::Made(defect)),
    };
    let certificate = stored.authority.certificate();
    let left = certificate.not_after().saturating_sub(now);
    if left <= 0 {
        return renew(Some(stored), Reason::Expired);
    }
    if !certificate.is_valid(now) {
        return renew(Some(stored), Reason::NotYetValid);
    }
    if left < seconds(validity / 3) {
        return renew(Some(stored), Reason::Due);
    }
    match remembered {
        Some(ours) if ours.authority.certificate() != certificate => {
            let mut both = stored.clone();
            let added = both.remember(ours);
            Ok(added.then_some((both, Reason::Adopted)))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests;
