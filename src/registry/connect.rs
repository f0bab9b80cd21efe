//! Connections to registries: what is checked is what is connected to.

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http::uri::Scheme;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use super::guard;

/// How long name resolution, TCP and TLS may take together.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long one address may take where there is another one to try.
const ADDRESS_LIMIT: Duration = Duration::from_millis(1500);
/// How long an unused connection is kept.
const IDLE_LIMIT: Duration = Duration::from_mins(1);
/// How many unused connections are kept for one host.
const IDLE_COUNT: usize = 16;
/// How long the head of an answer may be.
const HEAD_LIMIT: usize = 64 << 10;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type BoxFuture<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// Scheme, host and port: what credentials and trust belong to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    https: bool,
    host: String,
    port: u16,
}

/// The origins that the configuration vouches for, whatever their address.
#[derive(Clone, Debug, Default)]
pub(super) struct Trust(Arc<HashSet<Origin>>);

/// A pool of connections with the same trust.
#[derive(Clone)]
pub(super) struct Wire {
    pub(super) client: Client<Connector, Full<Bytes>>,
}

/// A connection was not made because of where it would have led.
#[derive(Debug, thiserror::Error)]
#[error("{host} is {kind}, and not configured as an endpoint")]
pub(super) struct Refusal {
    host: String,
    kind: &'static str,
}

/// A connection took too long to come about.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {} s", CONNECT_LIMIT.as_secs())]
pub(super) struct TooSlow;

// === impl Origin ===

impl Origin {
    /// The origin of an absolute `http` or `https` URL.
    pub(super) fn of(url: &Uri) -> Option<Self> {
        let https = match url.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return None,
        };
        let authority = url.authority()?;
        let text = authority.as_str().rsplit('@').next()?;
        // `host:` is legal, and means the default port.
        let port = match text.strip_prefix(authority.host())?.strip_prefix(':') {
            Some(port) if !port.is_empty() => port.parse().ok().filter(|port| *port > 0)?,
            _ if https => 443,
            _ => 80,
        };
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_ascii_lowercase();
        (!host.is_empty()).then_some(Self { https, host, port })
    }

    pub(super) fn is_https(&self) -> bool {
        self.https
    }
}

impl Trust {
    pub(super) fn new(origins: impl IntoIterator<Item = Origin>) -> Self {
        Self(Arc::new(origins.into_iter().collect()))
    }
}

// === impl Wire ===

impl Wire {
    pub(super) fn new(roots: Arc<RootCertStore>, trust: Trust) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tls = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(Dial { trust });
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_LIMIT)
            .pool_max_idle_per_host(IDLE_COUNT)
            .http1_max_buf_size(HEAD_LIMIT)
            .build(Connector { tls });
        Ok(Self { client })
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}

/// The system's certificate authorities (`SSL_CERT_FILE` and `SSL_CERT_DIR` are heeded), or where there are none, as in
/// an image from scratch, Mozilla's.
pub(super) fn system_roots() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    Arc::new(roots)
}

/// These and the certificate authorities of a PEM file.
pub(super) fn with_ca(roots: &RootCertStore, path: &Path) -> Result<Arc<RootCertStore>, String> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| error.to_string())?;
    if certificates.is_empty() {
        return Err("holds no certificate".to_owned());
    }
    let mut roots = roots.clone();
    for certificate in certificates {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    Ok(Arc::new(roots))
}

// === impl Connector ===

/// A connection of [`Dial`] with TLS where the URL says so, all within [`CONNECT_LIMIT`].
#[derive(Clone)]
pub(super) struct Connector {
    tls: HttpsConnector<Dial>,
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = BoxFuture<Self::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tls.poll_ready(context)
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let connection = self.tls.call(url);
        Box::pin(async move {
            timeout(CONNECT_LIMIT, connection)
                .await
                .map_err(|_| TooSlow)?
        })
    }
}

/// A TCP connection to an address that has been checked after name resolution, so that no second resolution can
/// answer differently.
#[derive(Clone)]
pub(super) struct Dial {
    trust: Trust,
}

impl Service<Uri> for Dial {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = BoxFuture<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let trust = self.trust.clone();
        Box::pin(async move {
            let origin = Origin::of(&url).ok_or("not an address of a registry")?;
            let stream = dial(&trust, &origin).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        })
    }
}

async fn dial(trust: &Trust, origin: &Origin) -> Result<TcpStream, BoxError> {
    let resolved = tokio::net::lookup_host((origin.host.as_str(), origin.port)).await;
    let resolved: Vec<SocketAddr> = resolved
        .map_err(|error| format!("name resolution: {error}"))?
        .collect();
    let trusted = trust.0.contains(origin);
    let objection = |address: &SocketAddr| {
        if trusted {
            None
        } else {
            guard::objection(address.ip())
        }
    };
    let allowed: Vec<SocketAddr> = resolved
        .iter()
        .copied()
        .filter(|address| objection(address).is_none())
        .collect();
    if let (true, Some(kind)) = (allowed.is_empty(), resolved.iter().find_map(objection)) {
        let host = origin.host.clone();
        return Err(Refusal { host, kind }.into());
    }
    let mut failure: BoxError = "name resolution gives no address".into();
    for (index, address) in allowed.iter().enumerate() {
        let limit = if index + 1 < allowed.len() {
            ADDRESS_LIMIT
        } else {
            CONNECT_LIMIT
        };
        match timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = error.into(),
            Err(_) => failure = TooSlow.into(),
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let origin = |url: &str| Origin::of(&url.parse().unwrap());
        assert_eq!(origin("https://R.io/v2/"), origin("https://r.io:443"));
        assert_eq!(origin("http://r.io"), origin("http://r.io:80/x"));
        assert_ne!(origin("http://r.io:443"), origin("https://r.io:443"));
        assert_ne!(origin("https://r.io"), origin("https://r.io:5000"));
        assert_eq!(origin("https://[::1]:5000").unwrap().host, "::1");
        for none in [
            "/v2/",
            "r.io:443",
            "ftp://r.io",
            "https://r.io:0",
            "https://r.io:70000",
        ] {
            let url: Result<Uri, _> = none.parse();
            assert_eq!(url.ok().and_then(|url| Origin::of(&url)), None, "{none}");
        }
    }

    #[tokio::test]
    async fn names_and_literals_are_checked_after_resolution() {
        for url in [
            "https://localhost:1",
            "https://127.0.0.1:1",
            "https://[::1]:1",
            "http://127.1:1",
            "http://0x7f000001:1",
            "https://[::ffff:127.0.0.1]:1",
        ] {
            let origin = Origin::of(&url.parse().unwrap()).unwrap();
            let error = dial(&Trust::default(), &origin).await.unwrap_err();
            assert!(error.is::<Refusal>(), "{url}: {error}");
            let error = dial(&Trust::new([origin.clone()]), &origin)
                .await
                .unwrap_err();
            assert!(!error.is::<Refusal>(), "{url}: {error}");
        }
    }
}
