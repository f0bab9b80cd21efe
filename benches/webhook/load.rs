//! Load on a server, and what it costs the server.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::version::TLS13;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::common::client::Authority;

const CONNECTIONS: usize = 16;

#[derive(Clone, Copy)]
pub(crate) struct Cost {
    /// CPU time of the server a request, in microseconds.
    pub(crate) cpu_micros: f64,
    /// Requests a second.
    pub(crate) throughput: f64,
}

/// Posts the body so many times over kept connections to a server, which is its address and process.
pub(crate) fn run(
    server: (SocketAddr, u32),
    authority: &Authority,
    body: &[u8],
    requests: usize,
) -> Cost {
    let (address, pid) = server;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let left = Arc::new(AtomicUsize::new(requests));
    let body = Bytes::copy_from_slice(body);
    let (before, start) = (cpu_nanos(pid), Instant::now());
    runtime.block_on(async {
        // Keeps this side awake: to wake it up would be charged to the server, and to the slower one more often.
        tokio::spawn(async {
            loop {
                tokio::task::yield_now().await;
            }
        });
        let connector = TlsConnector::from(Arc::new(authority.trust(&[&TLS13])));
        let tasks: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                tokio::spawn(connection(
                    connector.clone(),
                    address.clone(),
                    body.clone(),
                    Arc::clone(&left),
                ))
            })
            .collect();
        for task in tasks {
            task.await.expect("every request is answered");
        }
    });
    let (seconds, nanos) = (start.elapsed().as_secs_f64(), cpu_nanos(pid) - before);
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    let (nanos, requests) = (nanos as f64, requests as f64);
    Cost {
        cpu_micros: nanos / 1000.0 / requests,
        throughput: requests / seconds,
    }
}

pub(crate) fn median(mut costs: Vec<Cost>) -> Cost {
    let middle = costs.len() / 2;
    costs.sort_by(|a, b| a.cpu_micros.total_cmp(&b.cpu_micros));
    let cpu_micros = costs[middle].cpu_micros;
    costs.sort_by(|a, b| a.throughput.total_cmp(&b.throughput));
    Cost {
        cpu_micros,
        throughput: costs[middle].throughput,
    }
}

async fn connection(
    connector: TlsConnector,
    address: SocketAddr,
    body: Bytes,
    left: Arc<AtomicUsize>,
) {
    let stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    let name = "localhost".try_into().expect("a name");
    let stream = connector.connect(name, stream).await.expect("TLS");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    let driver = tokio::spawn(connection);
    while left
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        })
        .is_ok()
    {
        let request = Request::post("/mutate?timeout=10s")
            .header("host", "localhost")
            .header("content-type", "application/json");
        let request = request.body(Full::new(body.clone())).expect("a request");
        let response = sender.send_request(request).await.expect("an answer");
        assert_eq!(response.status(), 200);
        response
            .into_body()
            .collect()
            .await
            .expect("a whole answer");
    }
    drop(sender);
    driver.await.expect("the connection's task").ok();
}

/// CPU time that all threads of a process have had.
fn cpu_nanos(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("a process");
    let nanos = |thread: fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    threads.flatten().filter_map(nanos).sum()
}
