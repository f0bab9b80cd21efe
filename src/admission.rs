//! `AdmissionReview` bytes in, `AdmissionReview` bytes out.

use std::time::Duration;

/// A request that is no admission review; answered with an HTTP status instead of a review.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct BadRequest {
    /// The HTTP status, 400 to 499.
    pub status: u16,
    /// One sentence for the caller.
    pub message: String,
}

/// The admission side of the webhook.
#[derive(Debug, Default)]
pub struct Admission {}

impl Admission {
    /// Answers a review sent to `/mutate`; `budget` is the `timeout` of the request's URL.
    pub async fn mutate(&self, _body: &[u8], _budget: Duration) -> Result<Vec<u8>, BadRequest> {
        Err(BadRequest {
            status: 400,
            message: "skeleton".into(),
        })
    }

    /// Answers a review sent to `/validate`.
    pub fn validate(&self, _body: &[u8]) -> Result<Vec<u8>, BadRequest> {
        Err(BadRequest {
            status: 400,
            message: "skeleton".into(),
        })
    }
}
