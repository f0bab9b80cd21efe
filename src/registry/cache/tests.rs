//! What is remembered for how long and for whom, on a clock that the tests move.

use tokio::time::advance;

use super::super::audience::Audiences;
use super::super::error::{Said, Subject};
use super::*;
use crate::credentials::{Credential, CredentialKind};

const TTL: Duration = Duration::from_mins(5);
const STALE: Duration = Duration::from_hours(1);
const SECOND: Duration = Duration::from_secs(1);

fn image(tag: &str) -> Image<'_> {
    Image {
        registry: "r.io".into(),
        repository: "app".into(),
        tag: tag.into(),
    }
}

fn key(tag: &str) -> Key {
    Key::new(&image(tag), Audience::ANYBODY)
}

fn credential(username: &str, password: &str) -> Credential {
    Credential::login(username, password, "test".into())
}

fn entry(answer: Result<Digest, Error>) -> Entry {
    let now = Instant::now();
    Entry {
        answer: answer.map_err(Arc::new),
        began: now,
        ended: now,
    }
}

fn found() -> Entry {
    entry(Ok(Digest::of(b"x")))
}

fn status(status: u16) -> Entry {
    let status = http::StatusCode::from_u16(status).unwrap();
    let subject = Subject::new(&image("1"));
    entry(Err(subject.status("it", status, None, Said::default())))
}

fn silent() -> Entry {
    entry(Err(Subject::new(&image("1")).timed_out("silent")))
}

/// The age of the last good digest.
fn age(answers: &Answers) -> Option<Duration> {
    let (digest, age) = answers.last_good(&image("1"), Audience::ANYBODY)?;
    assert_eq!(digest, Digest::of(b"x"));
    Some(age)
}

/// Whether there is an answer that needs no asking, and whether that is a digest.
fn fresh(answers: &Answers) -> Option<bool> {
    let kept = answers.get(&image("1"), Audience::ANYBODY)?;
    Some(kept.entry.answer.is_ok())
}

#[test]
fn an_answer_belongs_to_its_image_and_audience() {
    let audiences = Audiences::new().unwrap();
    let alice = audiences.of(&[credential("alice", "a")]);
    let answers = Answers::new(&config::Cache::default());
    answers.remember(Key::new(&image("1"), alice), found());
    assert!(answers.get(&image("1"), alice).is_some());
    assert!(answers.last_good(&image("1"), alice).is_some());
    assert!(answers.get(&image("2"), alice).is_none());
    for other in [
        audiences.of(&[]),
        audiences.of(&[credential("bob", "a")]),
        audiences.of(&[credential("alic", "ea")]),
        audiences.of(&[credential("alice", "a"), credential("bob", "b")]),
        audiences.of(&[credential("alice", "a"), Credential::of_providers()]),
        audiences.of(&[Credential::of_providers()]),
        audiences.of(&[credential("", "")]),
        audiences.of(&[Credential {
            kind: CredentialKind::Identity("t".into()),
            ..credential("alice", "a")
        }]),
        Audiences::new().unwrap().of(&[credential("alice", "a")]),
    ] {
        assert!(answers.get(&image("1"), other).is_none());
        assert!(answers.last_good(&image("1"), other).is_none());
    }
    assert!(!format!("{:?}", Key::new(&image("1"), alice)).contains("Some"));
}

#[tokio::test(start_paused = true)]
async fn the_last_good_digest_outlives_unavailability_up_to_its_bound() {
    for failure in [status(500), status(503), status(429), silent()] {
        let answers = Answers::new(&config::Cache::default());
        answers.remember(key("1"), found());
        advance(TTL.saturating_sub(SECOND)).await;
        assert_eq!(fresh(&answers), Some(true));
        // A failure takes nothing away from what is fresh.
        answers.remember(key("1"), failure.clone());
        assert_eq!(fresh(&answers), Some(true));
        advance(SECOND).await;
        assert_eq!(fresh(&answers), None);
        assert_eq!(age(&answers), Some(TTL));
        let now = Instant::now();
        let failure = Entry {
            ended: now,
            ..failure
        };
        answers.remember(key("1"), failure.clone());
        assert_eq!(fresh(&answers), Some(false));
        advance(Duration::from_secs(10)).await;
        assert_eq!(fresh(&answers), None);
        // Its age is that of the digest, however often the registry fails.
        answers.remember(key("1"), failure);
        advance(STALE.saturating_sub(Duration::from_secs(11))).await;
        assert_eq!(age(&answers), Some(TTL + STALE.saturating_sub(SECOND)));
        advance(SECOND).await;
        assert_eq!(age(&answers), None);
    }
}

#[tokio::test(start_paused = true)]
async fn any_other_error_ends_what_was_known() {
    let invalid = || entry(Err(Subject::new(&image("1")).invalid("junk")));
    let refused = || entry(Err(Subject::new(&image("1")).refused("no")));
    for error in [status(404), status(401), status(403), invalid(), refused()] {
        let answers = Answers::new(&config::Cache::default());
        answers.remember(key("1"), found());
        answers.remember(key("1"), error);
        assert_eq!((fresh(&answers), age(&answers)), (Some(false), None));
        answers.remember(key("1"), silent());
        assert_eq!(age(&answers), None);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_stale_is_given_where_that_is_not_wanted() {
    let answers = Answers::new(&config::Cache {
        stale_if_error: Duration::ZERO,
        ..config::Cache::default()
    });
    answers.remember(key("1"), found());
    assert_eq!((fresh(&answers), age(&answers)), (Some(true), None));
    let answers = Answers::new(&config::Cache {
        ttl: Duration::ZERO,
        // As long as the configuration can say.
        stale_if_error: Duration::from_nanos(u64::MAX / 2),
        ..config::Cache::default()
    });
    answers.remember(key("1"), found());
    assert_eq!(
        (fresh(&answers), age(&answers)),
        (None, Some(Duration::ZERO))
    );
}

#[test]
fn what_is_kept_is_bounded_by_number_and_by_bytes() {
    let held = |max_entries, max_bytes, length: usize| {
        let answers = Answers::new(&config::Cache {
            max_entries,
            max_bytes,
            ..config::Cache::default()
        });
        for tag in 0..1000 {
            let tag = format!("{tag:0length$}");
            answers.remember(Key::new(&image(&tag), Audience::ANYBODY), found());
        }
        answers.kept.run_pending_tasks();
        answers.kept.entry_count()
    };
    assert_eq!(held(10_000, 16 << 20, 1), 1000);
    assert_eq!(held(100, 16 << 20, 1), 100);
    assert_eq!(held(0, 16 << 20, 1), 0);
    assert_eq!(held(10_000, 0, 1), 0);
    let (short, long) = (held(10_000, 100_000, 1), held(10_000, 100_000, 2000));
    assert!(0 < long && long < short && short < 1000, "{long} {short}");
}
