use super::*;

const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;
const YEAR: Duration = Duration::from_hours(360 * 24);
const MONTH: Duration = Duration::from_hours(30 * 24);
const SETTLE: Duration = Duration::from_secs(5);

fn authority(made: i64) -> Authority {
    Authority::make(made, YEAR).unwrap()
}

fn leaf(authority: &Authority, now: i64) -> Leaf {
    authority.mint(&["a".to_owned()], now, MONTH).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_new_ca_needs_time_to_get_around() {
    let ca = authority(NOW).certificate().clone();
    let mut sighting = Sighting::default();
    assert!(!sighting.is_settled(&ca, SETTLE));
    // Nobody trusts it, then somebody heals that.
    sighting.look(&ca, false, false, NOW, SETTLE);
    assert!(!sighting.is_settled(&ca, SETTLE));
    sighting.look(&ca, false, true, NOW, SETTLE);
    assert!(!sighting.is_settled(&ca, SETTLE));
    tokio::time::advance(SETTLE / 2).await;
    sighting.look(&ca, true, true, NOW, SETTLE);
    assert!(!sighting.is_settled(&ca, SETTLE));
    tokio::time::advance(SETTLE / 2).await;
    assert!(sighting.is_settled(&ca, SETTLE));
    // Once more.
    sighting.look(&ca, false, true, NOW, SETTLE);
    assert!(!sighting.is_settled(&ca, SETTLE));
    tokio::time::advance(SETTLE).await;
    assert!(sighting.is_settled(&ca, SETTLE));
    let other = authority(NOW).certificate().clone();
    assert!(!sighting.is_settled(&other, SETTLE));
    sighting.look(&other, true, true, NOW, SETTLE);
    assert!(!sighting.is_settled(&other, SETTLE));
    assert!(!sighting.is_settled(&ca, SETTLE));
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_starts_later_need_not_wait() {
    let ca = authority(NOW).certificate().clone();
    for (before, now, settled) in [
        (true, NOW + DAY, true),
        (true, NOW + 1, false),
        (false, NOW + DAY, false),
    ] {
        let mut sighting = Sighting::default();
        sighting.look(&ca, before, true, now, SETTLE);
        assert_eq!(sighting.is_settled(&ca, SETTLE), settled, "{before} {now}");
    }
}

#[test]
fn nothing_is_shown_before_everybody_trusts_it() {
    let (old, new) = (authority(NOW), authority(NOW));
    let shown = leaf(&old, NOW);
    for (shown, settled) in [
        (None, false),
        (None, true),
        (Some(&shown), false),
        (Some(&shown), true),
    ] {
        assert_eq!(is_due(shown, &new, settled, NOW, MONTH), settled);
    }
}

#[test]
fn a_certificate_is_renewed_in_time_trusted_or_not() {
    let ca = authority(NOW);
    let shown = leaf(&ca, NOW);
    for (now, due) in [
        (NOW, false),
        (NOW + 20 * DAY - 1, false),
        (NOW + 20 * DAY, true),
        (NOW + 40 * DAY, true),
        // A clock that goes back behind its beginning; the CA began an hour before it was made.
        (NOW - 3601, false),
    ] {
        for settled in [false, true] {
            assert_eq!(is_due(Some(&shown), &ca, settled, now, MONTH), due, "{now}");
        }
    }
    let later = leaf(&ca, NOW + 10 * DAY);
    assert!(is_due(Some(&later), &ca, false, NOW, MONTH));
}

#[test]
fn what_would_not_last_longer_is_not_minted() {
    let ca = authority(NOW);
    let last = leaf(&ca, NOW + 350 * DAY);
    assert_eq!(last.not_after, NOW + 360 * DAY);
    assert!(!is_due(Some(&last), &ca, true, NOW + 355 * DAY, MONTH));
    assert!(!is_due(None, &ca, true, NOW + 360 * DAY, MONTH));
}
