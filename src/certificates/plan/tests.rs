use super::*;

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;
const YEAR: Duration = Duration::from_hours(360 * 24);

fn trust(made: i64) -> Trust {
    Trust::renew(None, made, YEAR).unwrap()
}

fn planned(
    stored: Result<&Trust, Defect>,
    ours: Option<&Trust>,
    now: i64,
) -> Option<(Trust, Reason)> {
    plan(stored, ours, now, YEAR).unwrap()
}

fn all(trust: &Trust) -> Vec<Certificate> {
    trust.all().cloned().collect()
}

#[test]
fn what_is_good_stays() {
    let stored = trust(NOW);
    for now in [NOW - 3600, NOW, NOW + 240 * DAY] {
        assert!(planned(Ok(&stored), None, now).is_none(), "{now}");
        assert!(planned(Ok(&stored), Some(&stored), now).is_none(), "{now}");
    }
}

#[test]
fn a_ca_is_replaced_in_time_or_when_a_clock_has_jumped() {
    let stored = trust(NOW);
    for (now, expected) in [
        (NOW + 240 * DAY + 1, Reason::Due),
        (NOW + 360 * DAY - 1, Reason::Due),
        (NOW + 360 * DAY, Reason::Expired),
        (NOW + 3600 * DAY, Reason::Expired),
        (NOW - 3601, Reason::NotYetValid),
        (NOW - 3600 * DAY, Reason::NotYetValid),
    ] {
        let (next, reason) = planned(Ok(&stored), Some(&stored), now).unwrap();
        assert_eq!(reason, expected, "{now}");
        let current = next.authority.certificate();
        assert!(current.is_valid(now) && current.not_after() == now + 360 * DAY);
        // The one before stays trusted: certificates of it are still shown.
        assert_eq!(next.previous, all(&stored));
        assert!(planned(Ok(&next), Some(&next), now).is_none(), "{now}");
    }
}

#[test]
fn a_clock_that_jumps_to_and_fro_leaves_the_first_ca_trusted() {
    let first = trust(NOW);
    let (second, _) = planned(Ok(&first), Some(&first), NOW + 3600 * DAY).unwrap();
    let (third, reason) = planned(Ok(&second), Some(&second), NOW + 60).unwrap();
    assert_eq!(reason, Reason::NotYetValid);
    assert!(third.previous.contains(first.authority.certificate()));
    assert!(planned(Ok(&third), Some(&third), NOW + 60).is_none());
}

#[test]
fn few_stay_trusted() {
    let mut stored = trust(NOW);
    for round in 1..=5 {
        let before = all(&stored);
        let now = NOW + round * 250 * DAY;
        let (next, reason) = planned(Ok(&stored), Some(&stored), now).unwrap();
        assert_eq!(reason, Reason::Due);
        assert_eq!(next.previous, before[..before.len().min(2)]);
        stored = next;
    }
}

#[test]
fn what_is_lost_is_restored_from_memory() {
    let ours = trust(NOW);
    for defect in [
        Defect::Absent,
        Defect::Certificate,
        Defect::Key,
        Defect::Mismatch,
    ] {
        let (next, reason) = planned(Err(defect), Some(&ours), NOW + DAY).unwrap();
        assert_eq!(reason, Reason::Restored(defect));
        assert_eq!(all(&next), all(&ours));
        // Without anything in memory, or nothing that is valid, there has to be a new one.
        let (next, reason) = planned(Err(defect), None, NOW).unwrap();
        assert_eq!((reason, next.previous.len()), (Reason::Made(defect), 0));
        let (next, reason) = planned(Err(defect), Some(&ours), NOW + 400 * DAY).unwrap();
        assert_eq!(reason, Reason::Made(defect));
        assert_eq!(next.previous, all(&ours));
    }
}

#[test]
fn another_ca_is_adopted_and_ours_stays_trusted() {
    let (ours, stored) = (trust(NOW), trust(NOW + DAY));
    let (next, reason) = planned(Ok(&stored), Some(&ours), NOW + DAY).unwrap();
    assert_eq!(reason, Reason::Adopted);
    assert_eq!(next.authority.certificate(), stored.authority.certificate());
    assert_eq!(next.previous, all(&ours));
    assert!(planned(Ok(&next), Some(&ours), NOW + DAY).is_none());
    assert!(planned(Ok(&next), Some(&next), NOW + DAY).is_none());
}

#[test]
fn a_bundle_has_all_that_are_trusted() {
    let stored = trust(NOW);
    let (next, _) = planned(Ok(&stored), None, NOW + 250 * DAY).unwrap();
    assert_eq!(Certificate::read_all(next.bundle().as_bytes()), all(&next));
}
