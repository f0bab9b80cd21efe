//! When this replica changes over to another certificate. Pure but for what it is told of time.

use std::time::Duration;

use tokio::time::Instant;

use super::authority::{Authority, Certificate, Leaf, seconds};

/// Since when everybody trusts which CA.
#[derive(Debug, Default)]
pub(super) struct Sighting {
    seen: Option<(Certificate, Option<Instant>)>,
    looked: bool,
}

impl Sighting {
    /// The configurations have been looked at: whether all of them trusted this CA before anybody changed them, and
    /// whether they do now.
    pub(super) fn look(
        &mut self,
        ca: &Certificate,
        before: bool,
        after: bool,
        now: i64,
        settle: Duration,
    ) {
        let first = !std::mem::replace(&mut self.looked, true);
        let same = self.seen.as_ref().is_some_and(|(seen, _)| seen == ca);
        if !after {
            self.seen = None;
        } else if !(same && before) {
            // A CA that was there, and trusted, before this replica was needs no more time.
            let old = first && before && now - ca.made() > seconds(settle);
            self.seen = Some((ca.clone(), (!old).then(Instant::now)));
        }
    }

    /// Whether this CA has been trusted for that long.
    pub(super) fn is_settled(&self, ca: &Certificate, settle: Duration) -> bool {
        let Some((seen, since)) = &self.seen else {
            return false;
        };
        seen == ca && since.is_none_or(|since| since.elapsed() >= settle)
    }
}

/// Whether a certificate has to be minted from this CA; `settled` where everybody trusts it.
pub(super) fn is_due(
    leaf: Option<&Leaf>,
    authority: &Authority,
    settled: bool,
    now: i64,
    validity: Duration,
) -> bool {
    let ca = authority.certificate();
    if !ca.is_valid(now) {
        return false;
    }
    let Some(leaf) = leaf.filter(|leaf| leaf.issuer == *ca) else {
        return settled;
    };
    let due = leaf.not_after.saturating_sub(seconds(validity / 3));
    let longer = authority.leaf_end(now, validity) > leaf.not_after;
    now < leaf.not_before || (now >= due && longer)
}

#[cfg(test)]
mod tests;
