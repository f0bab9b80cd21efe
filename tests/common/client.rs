//! An HTTPS client that trusts one certificate authority, made here, and raw connections for what no client does.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A certificate authority and the certificate of a server, as files for `--tls-cert` and `--tls-key`.
#[derive(Clone, Debug)]
pub struct Authority {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Where the server listens.
    pub address: String,
    names: Vec<String>,
    /// The authority's certificate, in PEM.
    pub ca: String,
    root: Arc<CertifiedIssuer<'static, KeyPair>>,
}

/// A server certificate with that of its authority behind it, and its key, in PEM.
#[derive(Debug)]
pub struct Issued {
    pub certificate: String,
    pub key: String,
    /// What a client is shown.
    pub chain: Vec<CertificateDer<'static>>,
}

impl Issued {
    /// A server that shows this certificate, and asks for those of clients that this authority has signed.
    pub fn server(&self, clients: Option<&Authority>) -> ServerConfig {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.root.der().clone()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        .allow_unauthenticated()
                        .build();
                builder.with_client_cert_verifier(verifier.unwrap())
            }
        };
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        builder.with_single_cert(self.chain.clone(), key).unwrap()
    }
}

impl Authority {
    /// For a server on loopback.
    pub fn new(folder: &Path) -> Self {
        Self::of(folder, "127.0.0.1", &["localhost", "::1"])
    }

    /// For a server on this address, which has these names too.
    pub fn of(folder: &Path, address: &str, names: &[&str]) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self {
            certificate: folder.join("tls.crt"),
            key: folder.join("tls.key"),
            address: address.to_owned(),
            names: [&[address], names]
                .concat()
                .iter()
                .map(ToString::to_string)
                .collect(),
            ca: root.pem(),
            root: Arc::new(root),
        };
        authority.renew();
        authority
    }

    /// The same authority for another server like this one.
    pub fn sibling(&self, folder: &Path) -> Self {
        let sibling = Self {
            certificate: folder.join("tls.crt"),
            key: folder.join("tls.key"),
            ..self.clone()
        };
        sibling.renew();
        sibling
    }

    /// Puts a new certificate into the files.
    pub fn renew(&self) {
        let issued = self.issue();
        fs::write(&self.certificate, issued.certificate).unwrap();
        fs::write(&self.key, issued.key).unwrap();
    }

    /// A new certificate for the server.
    pub fn issue(&self) -> Issued {
        self.issue_until(4096)
    }

    /// One that ends when this year begins.
    pub fn issue_until(&self, year: i32) -> Issued {
        let mut leaf = CertificateParams::new(self.names.clone()).unwrap();
        leaf.not_after = rcgen::date_time_ymd(year, 1, 1);
        self.sign(&leaf)
    }

    /// A certificate as asked for.
    pub fn sign(&self, leaf: &CertificateParams) -> Issued {
        let key = KeyPair::generate().unwrap();
        let leaf = leaf.signed_by(&key, &*self.root).unwrap();
        Issued {
            certificate: leaf.pem() + &self.ca,
            key: key.serialize_pem(),
            chain: vec![leaf.der().clone(), self.root.der().clone()],
        }
    }

    /// A client's configuration that trusts this authority, and speaks only `versions`.
    pub fn trust(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.der().clone()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }
}

/// Status, headers and body of an answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A pooled client for https and http.
#[derive(Clone, Debug)]
pub struct Client(Pool<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Client {
    pub fn new(tls: ClientConfig) -> Self {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        Self(Pool::builder(TokioExecutor::new()).build(connector))
    }

    pub async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let what = format!("{} {}", request.method(), request.uri());
        let answer = self.try_send(request).await;
        answer.unwrap_or_else(|error| panic!("{what}: {error:?}"))
    }

    /// The same where there may be no answer.
    pub async fn try_send(&self, request: Request<Full<Bytes>>) -> Result<Answer, BoxError> {
        let (parts, body) = self.0.request(request).await?.into_parts();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await?.to_bytes(),
        })
    }

    /// A request with a JSON body.
    pub async fn json(&self, method: Method, url: &str, body: impl Into<Bytes>) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header("content-type", "application/json")
            .body(Full::new(body.into()));
        self.send(request.expect("a request")).await
    }

    pub async fn get(&self, url: &str) -> Answer {
        let request = Request::get(url).body(Full::default());
        self.send(request.expect("a request")).await
    }
}

/// A TLS connection without an HTTP client on it.
pub async fn connect(
    tls: ClientConfig,
    address: SocketAddr,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::IpAddress(address.ip().into());
    TlsConnector::from(Arc::new(tls))
        .connect(name, stream)
        .await
}
