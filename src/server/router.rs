//! The routes of the webhook, and all that is said before and after the admission room has its say.

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::body::{self, Unreadable};
use super::metrics::Measure;
use super::{Health, Limits, Metrics};
use crate::admission::{Admission, BadRequest};
use crate::config::parse_duration;

/// The budget of a request that names none: the API server's default for webhooks.
const BUDGET: Duration = Duration::from_secs(10);
/// The largest budget: the API server's limit for webhooks.
const LARGEST_BUDGET: Duration = Duration::from_secs(30);

/// The bytes of a review for which it takes one part of the room.
const PART: usize = 64 * 1024;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// What answers reviews: the admission room, or a stand-in of a test.
pub trait Review: Send + Sync + 'static {
    /// Answers a review sent to `/mutate`; `budget` is what the caller waits.
    fn mutate(
        &self,
        body: &[u8],
        budget: Duration,
    ) -> impl Future<Output = Result<Vec<u8>, BadRequest>> + Send;

    /// Answers a review sent to `/validate`.
    fn validate(&self, body: &[u8]) -> Result<Vec<u8>, BadRequest>;
}

impl Review for Admission {
    async fn mutate(&self, body: &[u8], budget: Duration) -> Result<Vec<u8>, BadRequest> {
        Admission::mutate(self, body, budget).await
    }

    fn validate(&self, body: &[u8]) -> Result<Vec<u8>, BadRequest> {
        Admission::validate(self, body)
    }
}

/// Whoever is there when a review comes answers the whole of it, also when another takes the place meanwhile.
impl<R: Review> Review for Arc<ArcSwap<R>> {
    async fn mutate(&self, body: &[u8], budget: Duration) -> Result<Vec<u8>, BadRequest> {
        self.load_full().mutate(body, budget).await
    }

    fn validate(&self, body: &[u8]) -> Result<Vec<u8>, BadRequest> {
        self.load().validate(body)
    }
}

/// What the routes share.
#[derive(Debug)]
pub struct Webhook<R> {
    review: R,
    limits: Limits,
    slots: Semaphore,
    metrics: Metrics,
    health: Arc<Health>,
}

impl<R: Review> Webhook<R> {
    /// A webhook that asks `review` within `limits`.
    pub fn new(review: R, limits: Limits, metrics: Metrics, health: Arc<Health>) -> Self {
        Self {
            review,
            slots: Semaphore::new(limits.reviews as usize),
            limits,
            metrics,
            health,
        }
    }

    /// Reads a review, if there is room for one more. The permit is held until it is answered, so that room is also what
    /// bounds the memory of bodies.
    async fn receive(&self, request: Request) -> Result<Received<'_>, Refusal> {
        check_content_type(request.headers())?;
        let declared = request.body().size_hint().lower();
        if declared > self.limits.body_bytes as u64 {
            return Err(self.unreadable(Unreadable::TooLarge));
        }
        let Ok(permit) = self.slots.try_acquire_many(self.room(request.body())) else {
            return Err(Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too many reviews at a time; try again in a second",
            ));
        };
        let budget = budget(request.uri().query());
        let Limits {
            body_bytes, body, ..
        } = self.limits;
        let body = body::read(request.into_body(), body_bytes, body)
            .await
            .map_err(|error| self.unreadable(error))?;
        Ok(Received {
            body,
            budget,
            _permit: permit,
        })
    }

    /// How much of the room a review takes. One that does not say how long it is counts as the longest.
    fn room(&self, body: &Body) -> u32 {
        let length = body.size_hint().upper();
        let length = length.unwrap_or(self.limits.body_bytes as u64);
        let parts = u32::try_from(length / PART as u64 + 1).unwrap_or(u32::MAX);
        parts.min(self.limits.reviews)
    }

    fn unreadable(&self, error: Unreadable) -> Refusal {
        match error {
            Unreadable::TooLarge => Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the review is larger than {} bytes", self.limits.body_bytes),
            ),
            Unreadable::TooSlow => Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                format!("the review did not come within {:?}", self.limits.body),
            ),
            Unreadable::Broken => Refusal::new(
                StatusCode::BAD_REQUEST,
                "the body of the request breaks off",
            ),
        }
    }

    fn respond(&self, measure: Measure<'_>, outcome: Result<Vec<u8>, Refusal>) -> Response {
        let mut response = match outcome {
            Ok(review) => {
                let mut response = Response::new(Body::from(review));
                response.headers_mut().insert(header::CONTENT_TYPE, JSON);
                response
            }
            Err(refusal) => refusal.into(),
        };
        if self.health.draining() {
            // Callers keep their connections to one replica: this one asks them to move on.
            close(&mut response);
        }
        measure.answered(response.status());
        response
    }
}

struct Received<'w> {
    body: Bytes,
    budget: Duration,
    _permit: SemaphorePermit<'w>,
}

/// The routes of the HTTPS listener; a test can ask them without sockets.
pub fn router<R: Review>(webhook: Arc<Webhook<R>>) -> Router {
    Router::new()
        .route("/mutate", post(mutate::<R>).fallback(wrong_method::<R>))
        .route("/validate", post(validate::<R>).fallback(wrong_method::<R>))
        .fallback(unknown_path::<R>)
        .with_state(webhook)
}

async fn mutate<R: Review>(State(webhook): State<Arc<Webhook<R>>>, request: Request) -> Response {
    let measure = webhook.metrics.mutate.begin();
    let outcome = match webhook.receive(request).await {
        Ok(received) => guard(webhook.review.mutate(&received.body, received.budget)).await,
        Err(refusal) => Err(refusal),
    };
    webhook.respond(measure, outcome)
}

async fn validate<R: Review>(State(webhook): State<Arc<Webhook<R>>>, request: Request) -> Response {
    let measure = webhook.metrics.validate.begin();
    let outcome = match webhook.receive(request).await {
        Ok(received) => guard(async { webhook.review.validate(&received.body) }).await,
        Err(refusal) => Err(refusal),
    };
    webhook.respond(measure, outcome)
}

/// A panic ends the review, not the connection.
async fn guard(
    review: impl Future<Output = Result<Vec<u8>, BadRequest>>,
) -> Result<Vec<u8>, Refusal> {
    // Unwind safe: what a review shares with others are caches and counters that stay whole.
    match AssertUnwindSafe(review).catch_unwind().await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(BadRequest { status, message })) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
            Err(Refusal::new(status, message))
        }
        Err(_) => Err(Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the review failed by a fault of surepull, which its log shows",
        )),
    }
}

async fn wrong_method<R: Review>(State(webhook): State<Arc<Webhook<R>>>) -> Response {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    webhook.metrics.stray("other", status);
    let mut response: Response = Refusal::new(status, "reviews are sent with POST").into();
    let allow = HeaderValue::from_static("POST");
    response.headers_mut().insert(header::ALLOW, allow);
    response
}

async fn unknown_path<R: Review>(State(webhook): State<Arc<Webhook<R>>>) -> Response {
    let status = StatusCode::NOT_FOUND;
    webhook.metrics.stray("other", status);
    Refusal::new(status, "the paths here are /mutate and /validate").into()
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let found = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let kind = found.unwrap_or_default().split(|byte| *byte == b';').next();
    if kind.is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"application/json")) {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "a review is sent with Content-Type: application/json",
    ))
}

/// The `timeout` of the query: how long the caller waits.
fn budget(query: Option<&str>) -> Duration {
    query
        .unwrap_or_default()
        .split('&')
        .find_map(|pair| pair.strip_prefix("timeout="))
        .and_then(|text| parse_duration(text).ok())
        .filter(|budget| !budget.is_zero())
        .unwrap_or(BUDGET)
        .min(LARGEST_BUDGET)
}

/// An answer that is no review.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    message: Cow<'static, str>,
}

impl Refusal {
    fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        Self { status, message }
    }
}

impl From<Refusal> for Response {
    fn from(Refusal { status, message }: Refusal) -> Self {
        let mut response = Response::new(Body::from(message.into_owned() + "\n"));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
        match status {
            StatusCode::TOO_MANY_REQUESTS => {
                // Callers of the API server's kind try again only when told when.
                let second = HeaderValue::from_static("1");
                response.headers_mut().insert(header::RETRY_AFTER, second);
            }
            // The rest of the body is not read.
            StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE => close(&mut response),
            _ => {}
        }
        response
    }
}

fn close(response: &mut Response) {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
}

#[cfg(test)]
mod tests;
