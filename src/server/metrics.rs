//! The metric families of the server, with the handles of the hot path looked up once.

use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// The API server's own buckets for webhooks (5 ms to 25 s), with finer ones below and between.
const SECONDS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 25.0,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Requested {
    path: &'static str,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct At {
    path: &'static str,
}

/// What the server counts.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(super) mutate: Arc<Route>,
    pub(super) validate: Arc<Route>,
    pub(super) connections: Gauge,
    pub(super) handshake_failures: Counter,
    requests: Family<Requested, Counter>,
}

impl Metrics {
    /// Registers the families.
    pub fn register(registry: &mut Registry) -> Self {
        let requests = Family::<Requested, Counter>::default();
        let in_flight = Gauge::default();
        let durations = Family::<At, Histogram, fn() -> Histogram>::new_with_constructor(|| {
            Histogram::new(SECONDS)
        });
        let connections = Gauge::default();
        let handshake_failures = Counter::default();
        registry.register(
            "surepull_admission_requests",
            "Requests to the webhook, by path and HTTP status (499: the caller went away)",
            requests.clone(),
        );
        registry.register(
            "surepull_admission_in_flight",
            "Requests to the webhook that are being answered",
            in_flight.clone(),
        );
        registry.register_with_unit(
            "surepull_admission_duration",
            "Time from a request's header to its answer",
            Unit::Seconds,
            durations.clone(),
        );
        registry.register(
            "surepull_connections",
            "Open connections to the webhook",
            connections.clone(),
        );
        registry.register(
            "surepull_tls_handshake_failures",
            "TLS handshakes that failed or took too long",
            handshake_failures.clone(),
        );
        let route = |path| {
            let answered = Requested { path, code: 200 };
            Arc::new(Route {
                path,
                ok: requests.get_or_create_owned(&answered),
                duration: durations.get_or_create_owned(&At { path }),
                in_flight: in_flight.clone(),
                requests: requests.clone(),
            })
        };
        Self {
            mutate: route("/mutate"),
            validate: route("/validate"),
            connections,
            handshake_failures,
            requests,
        }
    }

    /// Counts an answer that is no review's: an unknown path, another method.
    pub(super) fn stray(&self, path: &'static str, status: StatusCode) {
        let code = status.as_u16();
        self.requests.get_or_create(&Requested { path, code }).inc();
    }
}

/// The handles of one path.
#[derive(Debug)]
pub(super) struct Route {
    path: &'static str,
    ok: Counter,
    duration: Histogram,
    in_flight: Gauge,
    requests: Family<Requested, Counter>,
}

impl Route {
    /// Begins to measure a request.
    pub(super) fn begin(&self) -> Measure<'_> {
        self.in_flight.inc();
        Measure {
            route: self,
            begun: Instant::now(),
            code: 499,
        }
    }
}

/// One request under measure; counted when dropped, also when its caller went away.
#[derive(Debug)]
pub(super) struct Measure<'r> {
    route: &'r Route,
    begun: Instant,
    code: u16,
}

impl Measure<'_> {
    pub(super) fn answered(mut self, status: StatusCode) {
        self.code = status.as_u16();
    }
}

impl Drop for Measure<'_> {
    fn drop(&mut self) {
        let Self { route, begun, code } = self;
        let elapsed = begun.elapsed();
        route.in_flight.dec();
        route.duration.observe(elapsed.as_secs_f64());
        if *code == 200 {
            route.ok.inc();
        } else {
            let (path, code) = (route.path, *code);
            route
                .requests
                .get_or_create(&Requested { path, code })
                .inc();
        }
        tracing::debug!(path = route.path, code, ?elapsed, "answered");
    }
}
