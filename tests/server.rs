//! The server as its callers meet it: the real binary where its own limits do, a server within the test where a
//! test needs others.

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use rustls::ProtocolVersion;
use rustls::version::{TLS12, TLS13};
use surepull::admission::BadRequest;
use surepull::server::{Certificates, Limits, Listeners, Review, Server};
use surepull::telemetry;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use common::client::{Authority, Client, connect};
use common::serve::Served;

/// Longer than anything here takes; a test that waits for it fails.
const FOREVER: Duration = Duration::from_mins(1);

/// Answers at once, or when told to.
struct Slow {
    begun: Notify,
    release: Semaphore,
}

struct Shared(Arc<Slow>);

impl Review for Shared {
    async fn mutate(&self, body: &[u8], _budget: Duration) -> Result<Vec<u8>, BadRequest> {
        if body == b"wait" {
            self.0.begun.notify_one();
            let _ = self.0.release.acquire().await;
        }
        Ok(body.to_vec())
    }

    fn validate(&self, body: &[u8]) -> Result<Vec<u8>, BadRequest> {
        assert_ne!(body, b"panic", "as told");
        Ok(body.to_vec())
    }
}

/// A server within the test.
struct Local {
    addr: SocketAddr,
    ops: SocketAddr,
    client: Client,
    authority: Authority,
    slow: Arc<Slow>,
    stop: Option<oneshot::Sender<()>>,
    life: JoinHandle<()>,
    _folder: TempDir,
}

impl Local {
    fn start(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path());
        let certificates =
            Certificates::from_files(&authority.certificate, &authority.key).unwrap();
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let listeners = Listeners::bind(loopback, loopback).unwrap();
        let (addr, ops) = (
            listeners.https_address().unwrap(),
            listeners.ops_address().unwrap(),
        );
        let slow = Arc::new(Slow {
            begun: Notify::new(),
            release: Semaphore::new(0),
        });
        let review = Shared(slow.clone());
        let server =
            Server::new(review, Arc::new(certificates), telemetry::registry()).limits(limits);
        let (stop, stopping) = oneshot::channel::<()>();
        let life = tokio::spawn(async move {
            let told = async {
                let _ = stopping.await;
            };
            server.run(listeners, told).await.unwrap();
        });
        Self {
            addr,
            ops,
            client: Client::new(authority.trust(&[&TLS13])),
            authority,
            slow,
            stop: Some(stop),
            life,
            _folder: folder,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.addr)
    }

    /// Sends bytes on a connection of their own, and reads until its end.
    async fn raw(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // How a connection ends (with or without good-bye) is not what is asked.
        let _ = timeout(FOREVER, stream.read_to_end(&mut answer))
            .await
            .expect("an end");
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn connect(&self) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
        connect(self.authority.trust(&[&TLS13]), self.addr)
            .await
            .unwrap()
    }

    fn wait(&self) -> JoinHandle<u16> {
        let (client, url) = (self.client.clone(), self.url("/mutate"));
        tokio::spawn(async move {
            client
                .json(Method::POST, &url, "wait")
                .await
                .status
                .as_u16()
        })
    }
}

const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn the_binary_answers_over_https() {
    let served = Served::start("");
    for (method, path, status) in [
        (Method::POST, "/", 404),
        (Method::POST, "/metrics", 404),
        (Method::GET, "/mutate", 405),
        (Method::DELETE, "/validate", 405),
        (Method::POST, "/mutate", 400),
        (Method::POST, "/validate?timeout=10s", 400),
    ] {
        let answer = served
            .client
            .json(method.clone(), &served.url(path), "not json")
            .await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert!(!answer.body.is_empty(), "{method} {path}");
    }
    let text = http::Request::post(served.url("/mutate"))
        .header("content-type", "text/plain")
        .body("{}".into())
        .unwrap();
    assert_eq!(served.client.send(text).await.status, 415);
    let large = vec![b' '; 8 * 1024 * 1024];
    assert_eq!(served.post("/mutate", large).await.0, 400, "8 MiB are read");
}

#[tokio::test]
async fn too_large_is_told_before_it_is_sent() {
    let served = Served::start("");
    let mut stream = connect(served.authority.trust(&[&TLS13]), served.addr)
        .await
        .unwrap();
    let request = "POST /mutate HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
                   content-length: 8388609\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_http_2_is_not() {
    let served = Served::start("");
    for (version, expected) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let mut tls = served.authority.trust(&[version]);
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let stream = connect(tls.clone(), served.addr).await.unwrap();
        let (_, session) = stream.get_ref();
        assert_eq!(session.protocol_version(), Some(expected));
        assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
        tls.alpn_protocols = vec![b"h2".to_vec()];
        assert!(connect(tls, served.addr).await.is_err());
    }
}

#[tokio::test]
async fn probes_and_metrics_are_on_the_plain_port() {
    let served = Served::start("");
    assert_eq!(served.ops("/livez").await.status, 200);
    assert_eq!(served.ops("/readyz").await.status, 200);
    assert_eq!(served.ops("/mutate").await.status, 404);
    served.post("/mutate", "not json").await;
    let metrics = served.ops("/metrics").await;
    let kind = metrics.headers["content-type"].to_str().unwrap();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    let text = metrics.text();
    for part in [
        "surepull_build_info{version=\"",
        "surepull_admission_requests_total{path=\"/mutate\",code=\"400\"} 1",
        "surepull_admission_duration_seconds_bucket{le=\"0.005\",path=\"/mutate\"}",
        "# EOF",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[tokio::test]
async fn sigterm_ends_the_binary_with_0() {
    let mut served = Served::start_with("", &["--drain", "0s"]);
    served.post("/mutate", "{}").await;
    served.terminate();
    assert_eq!(served.wait().code(), Some(0));
    assert!(served.log().contains("stopped"));
}

#[tokio::test]
async fn a_header_that_does_not_end_is_cut_off() {
    let local = Local::start(Limits {
        header: SHORT,
        ..Limits::default()
    });
    assert_eq!(local.raw("POST /mutate HTTP/1.1\r\nhost:").await, "");
    assert_eq!(local.raw("").await, "", "nor one that does not begin");
    // Between requests another limit holds, and with the next one's first byte the header's again.
    let mut stream = local.connect().await;
    let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    for _ in 0..2 {
        stream.write_all(request).await.unwrap();
        let mut answer = [0; 1024];
        let length = stream.read(&mut answer).await.unwrap();
        assert!(answer[..length].starts_with(b"HTTP/1.1 404"));
        tokio::time::sleep(2 * SHORT).await;
    }
    stream.write_all(b"GET").await.unwrap();
    let mut rest = Vec::new();
    let _ = timeout(FOREVER, stream.read_to_end(&mut rest))
        .await
        .expect("an end");
    assert!(rest.is_empty());
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let local = Local::start(Limits {
        idle: SHORT,
        ..Limits::default()
    });
    let answer = local.raw("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_cut_off() {
    let local = Local::start(Limits {
        handshake: SHORT,
        ..Limits::default()
    });
    let mut stream = tokio::net::TcpStream::connect(local.addr).await.unwrap();
    let mut answer = Vec::new();
    timeout(FOREVER, stream.read_to_end(&mut answer))
        .await
        .expect("an end")
        .unwrap();
    assert!(answer.is_empty());
    let metrics = local
        .client
        .get(&format!("http://{}/metrics", local.ops))
        .await
        .text();
    assert!(
        metrics.contains("surepull_tls_handshake_failures_total 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408() {
    let local = Local::start(Limits {
        body: SHORT,
        ..Limits::default()
    });
    let header = "POST /mutate HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
    for rest in [
        "content-length: 5\r\n\r\n{",
        "transfer-encoding: chunked\r\n\r\n1\r\n{\r\n",
    ] {
        let answer = local.raw(&format!("{header}{rest}")).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
}

#[tokio::test]
async fn a_chunked_body_is_bounded_too() {
    let local = Local::start(Limits {
        body_bytes: 8,
        ..Limits::default()
    });
    let header = "POST /mutate HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
                  transfer-encoding: chunked\r\n\r\n";
    let answer = local
        .raw(&format!("{header}5\r\n01234\r\n5\r\n56789\r\n"))
        .await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let whole = format!("{header}4\r\n0123\r\n4\r\n4567\r\n0\r\n\r\n");
    let whole = whole.replacen("host: a", "host: a\r\nconnection: close", 1);
    let answer = local.raw(&whole).await;
    assert!(answer.ends_with("\r\n\r\n01234567"), "{answer}");
}

#[tokio::test]
async fn connections_beyond_the_bound_wait() {
    let local = Local::start(Limits {
        connections: 1,
        ..Limits::default()
    });
    let first = local.connect().await;
    let mut second = Box::pin(local.connect());
    assert!(
        timeout(SHORT, &mut second).await.is_err(),
        "no slot is free"
    );
    drop(first);
    timeout(FOREVER, second).await.expect("its turn");
}

#[tokio::test]
async fn reviews_beyond_the_bound_are_429() {
    let local = Local::start(Limits {
        reviews: 1,
        ..Limits::default()
    });
    let waiting = local.wait();
    local.slow.begun.notified().await;
    let answer = local
        .client
        .json(Method::POST, &local.url("/mutate"), "{}")
        .await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["retry-after"]),
        (429, &"1".parse().unwrap())
    );
    local.slow.release.add_permits(1);
    assert_eq!(waiting.await.unwrap(), 200);
}

#[tokio::test]
async fn a_panic_spares_the_connection() {
    let local = Local::start(Limits::default());
    let request = |body: &str, close: &str| {
        format!(
            "POST /validate HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n{close}content-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let both = request("panic", "") + &request("{}", "connection: close\r\n");
    let answer = local.raw(&both).await;
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    assert!(answer.contains("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn draining_lets_requests_finish() {
    let mut local = Local::start(Limits {
        drain: SHORT,
        ..Limits::default()
    });
    let ready = format!("http://{}/readyz", local.ops);
    let idle = local.connect().await;
    drop(idle);
    let waiting = local.wait();
    local.slow.begun.notified().await;
    assert_eq!(local.client.get(&ready).await.status, 200);
    local.stop.take().unwrap().send(()).unwrap();
    // Not ready from here on, until the end.
    while local.client.get(&ready).await.status == 200 {
        tokio::task::yield_now().await;
    }
    // No new connection once the drain period is over, and still the request is not lost.
    while tokio::net::TcpStream::connect(local.addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(local.client.get(&ready).await.status, 503);
    assert!(!local.life.is_finished());
    local.slow.release.add_permits(1);
    assert_eq!(waiting.await.unwrap(), 200);
    timeout(FOREVER, local.life).await.expect("an end").unwrap();
}

#[tokio::test]
async fn what_does_not_finish_is_dropped() {
    let mut local = Local::start(Limits {
        drain: Duration::ZERO,
        grace: SHORT,
        ..Limits::default()
    });
    let waiting = local.wait();
    local.slow.begun.notified().await;
    local.stop.take().unwrap().send(()).unwrap();
    timeout(FOREVER, local.life).await.expect("an end").unwrap();
    waiting.abort();
}
