//! What the kubelet and Prometheus ask: `/livez`, `/readyz`, `/metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use prometheus_client::registry::Registry;

use crate::telemetry;

const STARTING: u8 = 0;
const READY: u8 = 1;
const DRAINING: u8 = 2;

/// Whether reviews should be sent here.
#[derive(Debug, Default)]
pub struct Health(AtomicU8);

impl Health {
    /// From here on, yes.
    pub fn ready(&self) {
        self.0.store(READY, Ordering::Relaxed);
    }

    /// From here on, no more: the server is about to end.
    pub fn drain(&self) {
        self.0.store(DRAINING, Ordering::Relaxed);
    }

    /// Whether the server is about to end.
    pub fn draining(&self) -> bool {
        self.0.load(Ordering::Relaxed) == DRAINING
    }

    fn answer(&self) -> (StatusCode, &'static str) {
        match self.0.load(Ordering::Relaxed) {
            STARTING => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
            READY => (StatusCode::OK, "ready\n"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        }
    }
}

/// The routes of the plain listener.
pub(super) fn router(health: Arc<Health>, registry: Arc<Registry>) -> Router {
    Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(async move || health.answer()))
        .route("/metrics", get(async move || metrics(&registry)))
}

fn metrics(registry: &Registry) -> Response {
    match telemetry::encode(registry) {
        Ok(text) => (
            [(header::CONTENT_TYPE, telemetry::METRICS_CONTENT_TYPE)],
            text,
        )
            .into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn readiness_follows_the_life_of_the_server() {
        let health = Arc::new(Health::default());
        let router = router(health.clone(), Arc::new(telemetry::registry()));
        let ask = async |path: &str| {
            let request = Request::get(path).body(Body::empty()).expect("a request");
            let answer = router.clone().oneshot(request).await.expect("infallible");
            answer.status().as_u16()
        };
        assert_eq!((ask("/livez").await, ask("/readyz").await), (200, 503));
        health.ready();
        assert_eq!((ask("/livez").await, ask("/readyz").await), (200, 200));
        health.drain();
        assert_eq!((ask("/livez").await, ask("/readyz").await), (200, 503));
        assert_eq!((ask("/metrics").await, ask("/").await), (200, 404));
    }
}
