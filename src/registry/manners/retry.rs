//! Whether and when a question is asked once more.

use std::time::Duration;

use super::super::error::Error;
use super::jittered;

/// How long to wait before each further attempt, on average. All of them are for one endpoint and one look-up, whatever
/// the number of credentials.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];
/// Who asks for more than this is not asked again by the same look-up.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is left of the further attempts.
#[derive(Debug)]
pub(in super::super) struct Retries(std::array::IntoIter<Duration, 2>);

impl Retries {
    pub(in super::super) fn new() -> Self {
        Self(PAUSES.into_iter())
    }

    /// How long to wait before the same question is asked again after this error; `None` where that is of no use.
    pub(in super::super) fn pause(&mut self, error: &Error) -> Option<Duration> {
        let Error::Unavailable {
            status: None | Some(500 | 502 | 503 | 504),
            retry_after,
            ..
        } = error
        else {
            return None;
        };
        let wanted = retry_after.unwrap_or_default();
        if wanted > PATIENCE {
            return None;
        }
        self.0.next().map(|pause| jittered(pause).max(wanted))
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::super::super::Image;
    use super::super::super::error::{Said, Subject};
    use super::*;

    fn subject() -> Subject {
        Subject::new(&Image {
            registry: "r.io".into(),
            repository: "app".into(),
            tag: "1".into(),
        })
    }

    fn status(status: u16, retry_after: Option<u64>) -> Error {
        let status = StatusCode::from_u16(status).unwrap();
        let retry_after = retry_after.map(Duration::from_secs);
        subject().status("it", status, retry_after, Said::default())
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for (error, again) in [
            (subject().unreachable("refused"), true),
            (status(500, None), true),
            (status(502, None), true),
            (status(503, None), true),
            (status(504, None), true),
            (status(503, Some(1)), true),
            (status(503, Some(2)), false),
            (status(501, None), false),
            (status(408, None), false),
            (status(429, None), false),
            (status(404, None), false),
            (status(401, None), false),
            (subject().timed_out("silent"), false),
            (subject().refused("no"), false),
            (subject().invalid("junk"), false),
        ] {
            assert_eq!(Retries::new().pause(&error).is_some(), again, "{error}");
        }
    }

    #[test]
    fn it_is_tried_again_twice_and_not_before_it_is_wanted() {
        let mut retries = Retries::new();
        for nth in 0..4 {
            let pause = retries.pause(&status(503, Some(1)));
            assert_eq!(pause, (nth < 2).then_some(Duration::from_secs(1)));
        }
    }
}
