//! A registry for tests that does everything wrong.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::serve::Listener;
use rustls::ServerConfig;
use surepull::config::Cache;
use surepull::credentials::Credential;
use surepull::image::Digest;
use surepull::registry::{Error, Image, Resolver};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::soon;

pub const MANIFEST: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub type Answer = Pin<Box<dyn Future<Output = Response> + Send>>;

/// A server on loopback that answers every request with the same function, and notes what it was asked.
pub struct Faulty {
    /// `http://127.0.0.1:PORT`
    pub endpoint: String,
    requests: Arc<Mutex<Vec<Seen>>>,
    /// Of each TLS connection, whether the client showed a certificate.
    clients: Arc<Mutex<Vec<bool>>>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Method and URL.
    pub line: String,
    pub headers: HashMap<String, String>,
}

impl Faulty {
    pub async fn start(answer: impl Fn(Request) -> Answer + Clone + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        Self::serve(listener, endpoint, Arc::default(), answer)
    }

    /// The same over TLS, as `localhost`.
    pub async fn start_tls(
        tls: ServerConfig,
        answer: impl Fn(Request) -> Answer + Clone + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!(
            "https://localhost:{}",
            listener.local_addr().unwrap().port()
        );
        let listener = TlsListener::new(listener, tls);
        let clients = Arc::clone(&listener.clients);
        Self::serve(listener, endpoint, clients, answer)
    }

    fn serve<L: Listener>(
        listener: L,
        endpoint: String,
        clients: Arc<Mutex<Vec<bool>>>,
        answer: impl Fn(Request) -> Answer + Clone + Send + Sync + 'static,
    ) -> Self
    where
        L::Addr: std::fmt::Debug,
    {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let routes = Router::new().fallback(move |request: Request| {
            let headers = request.headers().iter();
            let headers = headers.map(|(name, value)| {
                (
                    name.to_string(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            });
            let line = format!("{} {}", request.method(), request.uri());
            seen.lock().unwrap().push(Seen {
                line,
                headers: headers.collect(),
            });
            answer(request)
        });
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self {
            endpoint,
            requests,
            clients,
        }
    }

    /// A server whose answers need no waiting.
    pub async fn answering(
        answer: impl Fn(&Request) -> Response + Clone + Send + Sync + 'static,
    ) -> Self {
        Self::start(move |request| {
            let response = answer(&request);
            Box::pin(async move { response })
        })
        .await
    }

    /// A server that keeps its answers back until it gets permits for them.
    pub async fn gated(
        answer: impl Fn() -> Response + Copy + Send + Sync + 'static,
    ) -> (Self, Arc<Semaphore>) {
        let gate = Arc::new(Semaphore::new(0));
        let closed = Arc::clone(&gate);
        let server = Self::start(move |_| {
            let gate = Arc::clone(&closed);
            Box::pin(async move {
                let _permit = gate.acquire().await;
                answer()
            })
        });
        (server.await, gate)
    }

    /// Of each TLS connection, whether the client showed a certificate.
    pub fn clients(&self) -> Vec<bool> {
        self.clients.lock().unwrap().clone()
    }

    pub fn lines(&self) -> Vec<String> {
        self.requests
            .lock()
            .unwrap()
            .iter()
            .map(|seen| seen.line.clone())
            .collect()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.requests.lock().unwrap().clone()
    }

    pub fn resolver(&self) -> Resolver {
        trusting(&[&self.endpoint])
    }
}

/// Takes connections with TLS; those without are closed.
pub struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    clients: Arc<Mutex<Vec<bool>>>,
}

impl TlsListener {
    pub fn new(listener: TcpListener, tls: ServerConfig) -> Self {
        Self {
            listener,
            acceptor: Arc::new(tls).into(),
            clients: Arc::default(),
        }
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.listener.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                let shown = stream.get_ref().1.peer_certificates().is_some();
                self.clients.lock().unwrap().push(shown);
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

pub fn reply(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.into()).unwrap()
}

pub fn digest() -> Digest {
    Digest::of(MANIFEST.as_bytes())
}

/// An honest answer to HEAD and GET.
pub fn good() -> Response {
    let digest = digest();
    reply(
        200,
        &[
            ("content-type", OCI_INDEX),
            ("docker-content-digest", digest.as_str()),
        ],
        MANIFEST,
    )
}

/// A resolver that looks up `registry.test` at the first of these, and knows the others as endpoints too.
pub fn trusting(endpoints: &[&str]) -> Resolver {
    let entry = |(index, endpoint): (usize, &&str)| {
        let pattern = if index == 0 {
            "registry.test".to_owned()
        } else {
            format!("other{index}.test")
        };
        super::entry(&pattern, &[endpoint], None)
    };
    let registries: Vec<_> = endpoints.iter().enumerate().map(entry).collect();
    Resolver::new(&registries, &Cache::default()).unwrap()
}

pub fn image() -> Image<'static> {
    Image {
        registry: "registry.test".to_owned().into(),
        repository: "app".to_owned().into(),
        tag: "1".to_owned().into(),
    }
}

pub async fn ask(resolver: &Resolver) -> Result<Digest, Arc<Error>> {
    resolver.resolve(&image(), &[], false, soon()).await
}

pub fn credential(password: &str) -> Credential {
    Credential::login("alice", password, "test".into())
}

/// The metrics as they are scraped.
pub fn metrics(resolver: &Resolver) -> String {
    let mut registry = prometheus_client::registry::Registry::default();
    resolver.metrics().register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    text
}
