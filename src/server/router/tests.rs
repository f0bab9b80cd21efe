//! The routes, asked without sockets.

use futures_util::stream;
use http::Method;
use http_body_util::BodyExt;
use prometheus_client::registry::Registry;
use tokio::sync::Notify;
use tower::ServiceExt;

use super::*;

/// Answers with what it was asked, or does what the body says.
#[derive(Default)]
struct Echo {
    release: Notify,
}

impl Review for Echo {
    async fn mutate(&self, body: &[u8], budget: Duration) -> Result<Vec<u8>, BadRequest> {
        match body {
            b"panic" => panic!("as told"),
            b"wait" => self.release.notified().await,
            b"budget" => return Ok(format!("{budget:?}").into_bytes()),
            b"bad" => {
                return Err(BadRequest {
                    status: 422,
                    message: "not a review".to_owned(),
                });
            }
            _ => {}
        }
        Ok(body.to_vec())
    }

    fn validate(&self, body: &[u8]) -> Result<Vec<u8>, BadRequest> {
        assert_ne!(body, b"panic", "as told");
        Ok([b"valid: ", body].concat())
    }
}

struct Bench {
    webhook: Arc<Webhook<Echo>>,
    registry: Registry,
}

impl Bench {
    fn new(reviews: u32) -> Self {
        Self::within(reviews, 100)
    }

    fn within(reviews: u32, body_bytes: usize) -> Self {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let limits = Limits {
            reviews,
            body_bytes,
            ..Limits::default()
        };
        let health = Arc::new(Health::default());
        let webhook = Webhook::new(Echo::default(), limits, metrics, health);
        Self {
            webhook: Arc::new(webhook),
            registry,
        }
    }

    async fn send(&self, request: Request) -> (u16, HeaderMap, String) {
        let router = router(self.webhook.clone());
        let response = router.oneshot(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        (parts.status.as_u16(), parts.headers, body)
    }

    async fn post(&self, path: &str, body: impl Into<Body>) -> (u16, HeaderMap, String) {
        self.send(request(path, body)).await
    }

    fn metrics(&self) -> String {
        crate::telemetry::encode(&self.registry).expect("text")
    }
}

fn request(path: &str, body: impl Into<Body>) -> Request {
    Request::post(path)
        .header("content-type", "application/json")
        .body(body.into())
        .expect("a request")
}

#[tokio::test]
async fn reviews_are_answered_as_json() {
    let bench = Bench::new(1);
    let (status, headers, body) = bench.post("/mutate?timeout=10s", "{}").await;
    assert_eq!((status, &*body), (200, "{}"));
    assert_eq!(headers["content-type"], "application/json");
    assert!(!headers.contains_key("connection"));
    let (status, headers, body) = bench.post("/validate", "{}").await;
    assert_eq!((status, &*body), (200, "valid: {}"));
    assert_eq!(headers["content-type"], "application/json");
}

#[tokio::test]
async fn what_is_no_review_gets_a_status_and_a_message() {
    let bench = Bench::new(1);
    let (status, headers, body) = bench.post("/mutate", "bad").await;
    assert_eq!((status, &*body), (422, "not a review\n"));
    assert_eq!(headers["content-type"], "text/plain; charset=utf-8");
    for path in ["/", "/mutate/", "/metrics", "/mutatex"] {
        assert_eq!(bench.post(path, "{}").await.0, 404, "{path}");
    }
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::OPTIONS] {
        let mut request = request("/validate", Body::empty());
        *request.method_mut() = method.clone();
        let (status, headers, _) = bench.send(request).await;
        assert_eq!((status, text(&headers, "allow")), (405, "POST"), "{method}");
    }
}

#[tokio::test]
async fn only_json_is_taken() {
    let bench = Bench::new(1);
    for (content_type, status) in [
        ("application/json", 200),
        ("Application/JSON;charset=utf-8", 200),
        ("application/json ; charset=utf-8", 200),
        ("application/jsonp", 415),
        ("application/yaml", 415),
        ("text/plain", 415),
        ("", 415),
    ] {
        let mut request = request("/mutate", "{}");
        let value = HeaderValue::from_static(content_type);
        request.headers_mut().insert("content-type", value);
        assert_eq!(bench.send(request).await.0, status, "{content_type}");
    }
    let mut request = request("/mutate", "{}");
    request.headers_mut().remove("content-type");
    assert_eq!(bench.send(request).await.0, 415);
}

#[tokio::test]
async fn large_bodies_are_refused() {
    let bench = Bench::new(1);
    assert_eq!(bench.post("/mutate", vec![b'x'; 100]).await.0, 200);
    let (status, headers, _) = bench.post("/mutate", vec![b'x'; 101]).await;
    assert_eq!((status, text(&headers, "connection")), (413, "close"));
    let pieces = stream::repeat_with(|| Ok::<_, std::io::Error>("0123456789"));
    let (status, ..) = bench.post("/mutate", Body::from_stream(pieces)).await;
    assert_eq!(status, 413);
}

#[tokio::test(start_paused = true)]
async fn bodies_that_do_not_come_time_out() {
    let bench = Bench::new(1);
    let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let (status, headers, _) = bench.post("/mutate", body).await;
    assert_eq!((status, text(&headers, "connection")), (408, "close"));
    assert_eq!(
        bench.post("/mutate", "{}").await.0,
        200,
        "the slot is free again"
    );
}

#[tokio::test]
async fn one_too_many_is_sent_away() {
    let bench = Bench::new(1);
    let waiting = bench.post("/mutate", "wait");
    let meanwhile = async {
        let (status, headers, _) = bench.post("/mutate", "{}").await;
        assert_eq!((status, text(&headers, "retry-after")), (429, "1"));
        assert!(bench.metrics().contains("surepull_admission_in_flight 1"));
        bench.webhook.review.release.notify_one();
    };
    let ((status, ..), ()) = tokio::join!(biased; waiting, meanwhile);
    assert_eq!(status, 200);
    assert_eq!(bench.post("/mutate", "{}").await.0, 200);
}

#[tokio::test]
async fn a_long_one_counts_as_several() {
    let (length, long) = (PART, "x".repeat(PART));
    for (reviews, while_one_waits) in [(2, 429), (3, 200)] {
        let bench = Bench::within(reviews, length);
        assert_eq!(bench.post("/mutate", long.clone()).await.0, 200);
        let waiting = bench.post("/mutate", "wait");
        let meanwhile = async {
            assert_eq!(bench.post("/mutate", long.clone()).await.0, while_one_waits);
            // One that does not say how long it is may be as long.
            let pieces = stream::iter([Ok::<_, std::io::Error>("{}")]);
            let (status, ..) = bench.post("/mutate", Body::from_stream(pieces)).await;
            assert_eq!(status, while_one_waits);
            assert_eq!(bench.post("/mutate", "{}").await.0, 200);
            bench.webhook.review.release.notify_one();
        };
        let ((status, ..), ()) = tokio::join!(biased; waiting, meanwhile);
        assert_eq!(status, 200);
    }
}

#[tokio::test]
async fn a_panic_is_an_answer() {
    let bench = Bench::new(1);
    assert_eq!(bench.post("/mutate", "panic").await.0, 500);
    assert_eq!(bench.post("/validate", "panic").await.0, 500);
    assert_eq!(
        bench.post("/mutate", "{}").await.0,
        200,
        "the slot is free again"
    );
}

#[tokio::test]
async fn a_draining_server_sends_its_callers_on() {
    let bench = Bench::new(1);
    bench.webhook.health.drain();
    let (status, headers, _) = bench.post("/mutate", "{}").await;
    assert_eq!((status, text(&headers, "connection")), (200, "close"));
}

#[tokio::test]
async fn every_request_is_counted() {
    let bench = Bench::new(1);
    bench.post("/mutate", "{}").await;
    bench.post("/mutate", "{}").await;
    bench.post("/mutate", "bad").await;
    bench.post("/elsewhere", "{}").await;
    {
        let mut abandoned = Box::pin(bench.post("/mutate", "wait"));
        assert!((&mut abandoned).now_or_never().is_none());
    }
    let metrics = bench.metrics();
    for line in [
        "surepull_admission_requests_total{path=\"/mutate\",code=\"200\"} 2",
        "surepull_admission_requests_total{path=\"/mutate\",code=\"422\"} 1",
        "surepull_admission_requests_total{path=\"/mutate\",code=\"499\"} 1",
        "surepull_admission_requests_total{path=\"/validate\",code=\"200\"} 0",
        "surepull_admission_requests_total{path=\"other\",code=\"404\"} 1",
        "surepull_admission_in_flight 0",
        "surepull_admission_duration_seconds_count{path=\"/mutate\"} 4",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn the_budget_is_the_callers() {
    let bench = Bench::new(1);
    for (path, budget) in [
        ("/mutate", "10s"),
        ("/mutate?timeout=5s", "5s"),
        ("/mutate?a=b&timeout=1m30s", "30s"),
        ("/mutate?timeout=1.5s&a", "1.5s"),
        ("/mutate?timeout=500ms", "500ms"),
        ("/mutate?timeout=", "10s"),
        ("/mutate?timeout=5", "10s"),
        ("/mutate?timeout=-5s", "10s"),
        ("/mutate?timeout=0s", "10s"),
        ("/mutate?xtimeout=5s", "10s"),
    ] {
        assert_eq!(bench.post(path, "budget").await.2, budget, "{path}");
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers[name].to_str().expect("text")
}

/// Answers with its name, when told to.
struct Named(&'static str, Notify);

impl Review for Named {
    async fn mutate(&self, _body: &[u8], _budget: Duration) -> Result<Vec<u8>, BadRequest> {
        self.1.notified().await;
        Ok(self.0.into())
    }

    fn validate(&self, _body: &[u8]) -> Result<Vec<u8>, BadRequest> {
        Ok(self.0.into())
    }
}

#[tokio::test]
async fn whoever_began_a_review_ends_it() {
    let [old, new] = ["old", "new"].map(|name| Arc::new(Named(name, Notify::new())));
    let live = Arc::new(ArcSwap::new(old.clone()));
    let swap = async {
        live.store(new);
        assert_eq!(live.validate(b"").expect("an answer"), b"new");
        old.1.notify_one();
    };
    let (answer, ()) = tokio::join!(live.mutate(b"", BUDGET), swap);
    assert_eq!(answer.expect("an answer"), b"old");
}
