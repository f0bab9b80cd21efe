//! The real API server, with another clock: whoever asks it this way reads that clock's time in `Date`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, DATE, HOST};
use axum::response::Response;
use kube::Client;
use tempfile::TempDir;

use super::replicas::client;
use crate::common::fake_api;
use crate::world::World;

#[derive(Clone)]
struct Clock {
    client: Client,
    ahead: Arc<AtomicI64>,
}

pub struct Skewed {
    clock: Clock,
    folder: TempDir,
}

impl Skewed {
    pub fn start(world: &World) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (clock, listener) = world.runtime.block_on(async {
            let clock = Clock {
                client: client(&world.kubeconfig()).await,
                ahead: Arc::default(),
            };
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
            (clock, listener.expect("a port"))
        });
        let address = listener.local_addr().expect("an address");
        fake_api::kubeconfig(folder.path(), address);
        let routes = Router::new().fallback(forward).with_state(clock.clone());
        world
            .runtime
            .spawn(async move { axum::serve(listener, routes).await });
        Self { clock, folder }
    }

    /// How to ask the API server this way, as surepull.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Sets the clock this far ahead of the real one.
    pub fn jump(&self, seconds: i64) {
        self.clock.ahead.store(seconds, Ordering::Relaxed);
    }
}

async fn forward(State(clock): State<Clock>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    parts.headers.remove(HOST);
    let body = to_bytes(body, 1 << 20).await.expect("a body");
    // The header of the kubeconfig here is not the one that counts there.
    let mut asked = http::Request::builder()
        .method(parts.method)
        .uri(parts.uri.path_and_query().expect("a path").as_str());
    if let Some(kind) = parts.headers.remove(CONTENT_TYPE) {
        asked = asked.header(CONTENT_TYPE, kind);
    }
    let asked = asked.body(body.into()).expect("a request");
    let answer = clock.client.send(asked).await.expect("an answer");
    let mut answer = answer.map(Body::new);
    let ahead = clock.ahead.load(Ordering::Relaxed).cast_unsigned();
    let date = SystemTime::now() + Duration::from_secs(ahead);
    let date = httpdate::fmt_http_date(date).parse().expect("a header");
    answer.headers_mut().insert(DATE, date);
    answer
}
