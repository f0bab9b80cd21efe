//! `AdmissionReview` bytes in, `AdmissionReview` bytes out.

mod decode;
mod depth;
mod encode;
mod envelope;

use std::time::Duration;

use tokio::time::Instant;

use crate::mutation::{self, Mode, Outcome};
use crate::pipeline::Pipeline;
use crate::workload::Kinds;

pub use decode::{Request, decode};
use encode::Answer;

/// A request that is no admission review; answered with an HTTP status instead of a review, so that the
/// `failurePolicy` of the webhook's registration decides.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct BadRequest {
    /// The HTTP status, 400 to 499.
    pub status: u16,
    /// One sentence for the caller.
    pub message: String,
}

impl BadRequest {
    fn new(message: impl Into<String>) -> Self {
        Self {
            status: 400,
            // It may repeat what was sent.
            message: mutation::clean(&message.into(), 500),
        }
    }
}

/// The admission side of the webhook.
pub struct Admission {
    kinds: Kinds,
    pipeline: Pipeline,
}

impl Admission {
    /// Answers for objects of these kinds, by way of this pipeline.
    pub fn new(kinds: Kinds, pipeline: Pipeline) -> Self {
        Self { kinds, pipeline }
    }

    /// The pipeline.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Answers a review sent to `/mutate`. `budget` is the `timeout` of the request's URL: how long the API server
    /// waits.
    pub async fn mutate(&self, body: &[u8], budget: Duration) -> Result<Vec<u8>, BadRequest> {
        let deadline = Instant::now() + working_time(budget);
        let request = decode(body, &self.kinds)?;
        let outcome = match &request.review {
            Some(review) => self
                .pipeline
                .decide(review, deadline)
                .await
                .unwrap_or_default(),
            None => Outcome::default(),
        };
        log(&request, &outcome);
        let uid = request.uid.clone();
        Ok(encode::review(&uid, &Answer::of(outcome)))
    }

    /// Answers a review sent to `/validate`: the validating half of the `AlwaysPullImages` semantics.
    pub fn validate(&self, body: &[u8]) -> Result<Vec<u8>, BadRequest> {
        let request = decode(body, &self.kinds)?;
        let settings = self.pipeline.settings();
        let violations = match &request.review {
            Some(review) => mutation::violations(review, settings),
            None => Vec::new(),
        };
        let answer = match (&*violations, settings.mode) {
            ([], _) => Answer::default(),
            (violations, Mode::Audit) => Answer::warning(violations),
            ([violation], Mode::Enforce) => Answer::denied(violation.clone()),
            (violations, Mode::Enforce) => Answer::denied(format!("[{}]", violations.join(", "))),
        };
        Ok(encode::review(&request.uid, &answer))
    }
}

/// The longest name that is logged, in bytes: the longest that the API server takes.
const NAME: usize = 253;

/// One line for each review: at info where the object is changed or refused, else at debug.
fn log(request: &Request<'_>, outcome: &Outcome<'_>) {
    let (edits, denied) = (outcome.edits.len(), outcome.denied.is_some());
    let uid = &*request.uid;
    let Some(review) = request.review.as_ref().filter(|_| edits > 0 || denied) else {
        tracing::debug!(uid, edits, denied, "reviewed");
        return;
    };
    let meta = &review.object.meta;
    // The API server gives the other one its end only after the review.
    let name = [&meta.name, &meta.generate_name];
    let name = name.into_iter().find(|name| !name.is_empty());
    // None of these has been validated yet.
    let text = |text: &str| mutation::clean(text, NAME);
    tracing::info!(
        uid = text(uid),
        kind = text(&request.kind),
        namespace = text(&review.namespace),
        name = text(name.map_or("", |name| name)),
        subresource = text(&review.subresource),
        edits,
        denied,
        "{}",
        match (denied, outcome.mode) {
            (true, _) => "refused",
            (false, Mode::Enforce) => "mutated",
            (false, Mode::Audit) => "would be mutated",
        }
    );
}

/// How much of the API server's time may be spent: all but a tenth of it, or 300 ms if that is more.
fn working_time(budget: Duration) -> Duration {
    budget.saturating_sub(Duration::from_millis(300).max(budget / 10))
}

#[cfg(test)]
mod tests;
