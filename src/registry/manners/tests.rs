//! Hosts and their limits, on a clock that the tests move.

use futures_util::FutureExt;
use http::StatusCode;
use tokio::time::advance;

use super::super::Image;
use super::super::audience::Audiences;
use super::super::error::{Said, Subject};
use super::*;
use crate::credentials::Credential;

const SECOND: Duration = Duration::from_secs(1);

fn origin(url: &str) -> Origin {
    Origin::of(&url.parse().unwrap()).unwrap()
}

fn subject() -> Subject {
    Subject::new(&Image {
        registry: "r.io".into(),
        repository: "app".into(),
        tag: "1".into(),
    })
}

fn status(status: u16, retry_after: Option<Duration>) -> Result<(), Error> {
    let status = StatusCode::from_u16(status).unwrap();
    Err(subject().status("it", status, retry_after, Said::default()))
}

#[tokio::test(start_paused = true)]
async fn who_is_asked_for_rest_gives_it_as_long_as_the_registry_says() {
    let audiences = Audiences::new().unwrap();
    let alice = audiences.of(&[Credential::login("alice", "a", "test".into())]);
    let (here, there) = (origin("https://r.io"), origin("https://r.io:5000"));
    let minute = Duration::from_mins(1);
    for (code, asked_for, rest) in [
        (429, None, REST),
        (429, Some(SECOND * 90), SECOND * 90),
        (429, Some(Duration::MAX), LONGEST_REST),
        (503, Some(minute), minute),
        (503, Some(Duration::MAX), LONGEST_OUTAGE),
    ] {
        let manners = Manners::new();
        for answer in [Ok(()), status(404, None), status(503, None)] {
            manners.note(&here, alice, "app", &answer);
            assert_eq!(manners.may_ask(&here, alice, "app"), Ok(()));
        }
        manners.note(&here, alice, "app", &status(code, asked_for));
        let withheld = match code {
            429 => Withheld::Resting,
            _ => Withheld::Open,
        };
        assert_eq!(manners.may_ask(&here, alice, "app"), Err(withheld(rest)));
        assert_eq!(manners.may_ask(&here, Audience::ANYBODY, "app"), Ok(()));
        assert_eq!(manners.may_ask(&there, alice, "app"), Ok(()));
        advance(rest.saturating_sub(SECOND)).await;
        let left = manners.may_ask(&here, alice, "app").unwrap_err();
        assert_eq!(left, withheld(SECOND));
        assert!(left.to_string().ends_with("again in 1 s"), "{left}");
        advance(SECOND).await;
        assert_eq!(manners.may_ask(&here, alice, "app"), Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_repository_rests_alone_and_with_a_second_one_all_do() {
    let (manners, host) = (Manners::new(), origin("https://r.io"));
    let may_ask = |repository| manners.may_ask(&host, Audience::ANYBODY, repository);
    let limit = |repository| {
        let answer = status(429, Some(SECOND * 20));
        manners.note(&host, Audience::ANYBODY, repository, &answer);
    };
    limit("a");
    assert_eq!((may_ask("a").is_ok(), may_ask("b").is_ok()), (false, true));
    limit("a");
    assert!(may_ask("b").is_ok());
    limit("b");
    assert_eq!((may_ask("a").is_ok(), may_ask("c").is_ok()), (false, false));
    advance(SECOND * 20).await;
    limit("c");
    assert_eq!((may_ask("a").is_ok(), may_ask("c").is_ok()), (true, false));
}

#[tokio::test(start_paused = true)]
async fn a_failing_host_is_left_alone_then_tried_by_one() {
    let manners = Manners::new();
    let host = || manners.host(&origin("https://r.io"), 4);
    for repository in 0..breaker::FAILURES {
        let visit = host().enter().await.unwrap();
        visit.end(&repository.to_string(), &status(503, None));
    }
    let Err(Withheld::Open(wait)) = host().enter().await else {
        panic!("it is left alone")
    };
    assert!(
        manners
            .host(&origin("https://other.io"), 4)
            .enter()
            .await
            .is_ok()
    );
    advance(wait).await;
    let probe = host().enter().await.unwrap();
    assert!(host().enter().await.is_err(), "one is enough");
    probe.end("app", &Ok(()));
    let visits = [host().enter().await, host().enter().await];
    assert!(visits.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn only_silence_and_outage_count_as_failures() {
    let refused: Result<(), _> = Err(subject().refused("no"));
    let invalid = Err(subject().invalid("junk"));
    for answer in [
        status(404, None),
        status(401, None),
        status(429, None),
        refused,
        invalid,
    ] {
        let manners = Manners::new();
        let host = || manners.host(&origin("https://r.io"), 4);
        for repository in 0..=breaker::FAILURES {
            let visit = host().enter().await.unwrap();
            visit.end(&repository.to_string(), &answer);
        }
        assert!(host().enter().await.is_ok(), "{answer:?}");
    }
    let manners = Manners::new();
    let host = || manners.host(&origin("https://r.io"), 4);
    let silent: Result<(), _> = Err(subject().timed_out("silent"));
    for _ in 0..=breaker::FAILURES {
        // Given up half way, a look-up says nothing, nor does what goes wrong elsewhere.
        drop(host().enter().await.unwrap());
        let visit = host().enter().await.unwrap();
        visit.excuse(true);
        visit.end("app", &silent);
    }
    for _ in 0..breaker::FAILURES {
        host().enter().await.unwrap().end("app", &silent);
    }
    assert!(host().enter().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn those_that_find_no_slot_wait_and_those_that_find_no_place_do_not() {
    let manners = Manners::new();
    let host = manners.host(&origin("https://r.io"), 2);
    let mut visits = Vec::new();
    for _ in 0..2 {
        visits.push(Arc::clone(&host).enter().await.unwrap());
    }
    let waiting: Vec<_> = (2..PLACES)
        .map(|_| tokio::spawn(Arc::clone(&host).enter()))
        .collect();
    while host.places.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(waiting.iter().all(|visit| !visit.is_finished()));
    let full = Arc::clone(&host).enter().await;
    assert_eq!(full.err(), Some(Withheld::Full));
    for visit in visits {
        visit.end("app", &Ok(()));
    }
    // Each that ends lets the next one in.
    for visit in waiting {
        visit.await.unwrap().unwrap().end("app", &Ok(()));
    }
    assert!(host.enter().await.is_ok());
}

#[tokio::test]
async fn what_manifests_take_is_bounded_for_a_host_and_in_all() {
    const LARGE: usize = 4 << 20;
    let manners = Manners::new();
    let mut visits = Vec::new();
    for port in 1..=5 {
        let host = manners.host(&origin(&format!("https://r.io:{port}")), 4);
        visits.push(host.enter().await.unwrap());
    }
    let mut held = Vec::new();
    for visit in &visits[..4] {
        for _ in 0..4 {
            held.push(visit.memory(&manners, LARGE).await);
        }
        let more = visit.memory(&manners, 1).now_or_never();
        assert!(more.is_none(), "a quarter for one host");
    }
    let last = &visits[4];
    assert!(last.memory(&manners, 1).now_or_never().is_none());
    held.pop();
    assert!(last.memory(&manners, LARGE).now_or_never().is_some());
    // Who wants more than there is gets it when nobody else has anything.
    held.clear();
    assert!(last.memory(&manners, usize::MAX).now_or_never().is_some());
}

#[test]
fn no_more_hosts_are_remembered_than_is_good() {
    let manners = Manners::new();
    for port in 1..3000 {
        manners.host(&origin(&format!("https://r.io:{port}")), 4);
    }
    manners.hosts.run_pending_tasks();
    assert!(manners.hosts.entry_count() <= HOSTS);
}

#[test]
fn jitter_is_half_of_the_time_more_or_less() {
    let times: Vec<_> = (0..100).map(|_| jittered(SECOND)).collect();
    assert!(
        times
            .iter()
            .all(|time| (SECOND / 2..=SECOND * 3 / 2).contains(time))
    );
    assert!(times.iter().any(|time| *time != times[0]));
}
