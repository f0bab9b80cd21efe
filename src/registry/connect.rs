//! Connections to registries: what is checked is what is connected to.

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
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
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use super::guard::{self, Allowed};
use super::proxy::{self, Known, Proxies};
use super::tls::Tls;
use crate::config::Timeouts;

/// How long one address may take where there is another one to try.
const ADDRESS_LIMIT: Duration = Duration::from_millis(1500);
/// How long an unused connection is kept.
const IDLE_LIMIT: Duration = Duration::from_mins(1);
/// How many unused connections are kept for one host.
const IDLE_COUNT: usize = 16;
/// How long the head of an answer may be.
const HEAD_LIMIT: usize = 64 << 10;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;
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

/// Whether a registry is one that an entry of the configuration means, rather than one that it leads to.
pub(super) type IsOwn = Arc<dyn Fn(&Origin) -> bool + Send + Sync>;

/// A pool of connections with the same trust.
#[derive(Clone)]
pub(super) struct Wire {
    pub(super) client: Client<Connector, Full<Bytes>>,
    /// How long an answer may take to begin, and again to end.
    pub(super) limit: Duration,
}

/// How the connections of a pool are made.
pub(super) struct Manner {
    pub(super) tls: Tls,
    pub(super) is_own: IsOwn,
    pub(super) trust: Trust,
    /// What is allowed wherever it leads, and what only to the entry's own registries.
    pub(super) allowed: Allowed,
    pub(super) own_allowed: Allowed,
    pub(super) proxies: Proxies,
    pub(super) timeouts: Timeouts,
}

/// A connection was not made because of where it would have led.
#[derive(Debug, thiserror::Error)]
#[error("{host} is {kind}, which the configuration does not allow")]
pub(super) struct Refusal {
    host: String,
    kind: &'static str,
}

/// A connection took too long to come about.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {} s", .0.as_secs_f64())]
pub(super) struct TooSlow(Duration);

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

    /// The host in small letters, an IPv6 address without brackets.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

impl Trust {
    pub(super) fn new(origins: impl IntoIterator<Item = Origin>) -> Self {
        Self(Arc::new(origins.into_iter().collect()))
    }
}

// === impl Wire ===

impl Wire {
    pub(super) fn new(manner: Manner) -> Self {
        let dial = Dial {
            trust: manner.trust,
            allowed: manner.allowed,
            own_allowed: manner.own_allowed,
            is_own: Arc::clone(&manner.is_own),
            proxies: manner.proxies,
            limit: manner.timeouts.connect,
        };
        let https = |tls: ClientConfig| {
            HttpsConnectorBuilder::new()
                .with_tls_config(tls)
                .https_or_http()
                .enable_http1()
                .wrap_connector(dial.clone())
        };
        let connector = Connector {
            any: https(manner.tls.any),
            own: manner.tls.own.map(https),
            is_own: manner.is_own,
            limit: manner.timeouts.connect,
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_LIMIT)
            .pool_max_idle_per_host(IDLE_COUNT)
            .http1_max_buf_size(HEAD_LIMIT)
            .build(connector);
        let limit = manner.timeouts.request;
        Self { client, limit }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").finish_non_exhaustive()
    }
}

// === impl Connector ===

/// A connection of [`Dial`] with TLS where the URL says so, all within a time.
#[derive(Clone)]
pub(super) struct Connector {
    any: HttpsConnector<Dial>,
    own: Option<HttpsConnector<Dial>>,
    is_own: IsOwn,
    limit: Duration,
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = BoxFuture<Self::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // All of them are always ready.
        self.any.poll_ready(context)
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let is_own = |url: &Uri| Origin::of(url).is_some_and(|origin| (self.is_own)(&origin));
        let connection = match &mut self.own {
            Some(own) if is_own(&url) => own.call(url),
            _ => self.any.call(url),
        };
        let limit = self.limit;
        Box::pin(async move {
            let connection = timeout(limit, connection).await;
            connection.map_err(|_| TooSlow(limit))?
        })
    }
}

/// A TCP connection to an address that has been checked after name resolution, so that no second resolution can
/// answer differently; or a tunnel through a proxy, as far as can be checked.
#[derive(Clone)]
pub(super) struct Dial {
    trust: Trust,
    allowed: Allowed,
    own_allowed: Allowed,
    is_own: IsOwn,
    proxies: Proxies,
    limit: Duration,
}

impl Service<Uri> for Dial {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = BoxFuture<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let dial = self.clone();
        Box::pin(async move {
            let origin = Origin::of(&url).ok_or("not an address of a registry")?;
            if let Some(proxy) = dial.proxies.of(&url) {
                dial.check_name(&origin)?;
                return proxy.tunnel(url).await;
            }
            let stream = dial.connect(&origin).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        })
    }
}

impl Dial {
    /// What is wrong with an address, if anything.
    fn objection(&self, origin: &Origin, address: IpAddr) -> Option<&'static str> {
        if self.trust.0.contains(origin) {
            return guard::objection_to_named(&origin.host, address);
        }
        let objection = self.allowed.objection(address)?;
        if (self.is_own)(origin) {
            return self.own_allowed.objection(address);
        }
        Some(objection)
    }

    /// Checks what can be checked of a host that a proxy will resolve.
    fn check_name(&self, origin: &Origin) -> Result<(), Refusal> {
        let kind = match proxy::known(&origin.host) {
            Known::Inside if !self.trust.0.contains(origin) => Some("a name from inside"),
            Known::Address(address) => self.objection(origin, address),
            Known::Inside | Known::Nothing => None,
        };
        let host = origin.host.clone();
        kind.map_or(Ok(()), |kind| Err(Refusal { host, kind }))
    }

    async fn connect(&self, origin: &Origin) -> Result<TcpStream, BoxError> {
        let resolved = tokio::net::lookup_host((origin.host.as_str(), origin.port)).await;
        let resolved: Vec<SocketAddr> = resolved
            .map_err(|error| format!("name resolution: {error}"))?
            .collect();
        let objection = |address: &SocketAddr| self.objection(origin, address.ip());
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
                self.limit
            };
            match timeout(limit, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failure = error.into(),
                Err(_) => failure = TooSlow(limit).into(),
            }
        }
        Err(failure)
    }
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
            let mut dial = Dial {
                trust: Trust::default(),
                allowed: Allowed::default(),
                own_allowed: Allowed::default(),
                is_own: Arc::new(|_| true),
                proxies: Proxies::from_env().unwrap(),
                limit: Timeouts::default().connect,
            };
            let error = dial.connect(&origin).await.unwrap_err();
            assert!(error.is::<Refusal>(), "{url}: {error}");
            dial.trust = Trust::new([origin.clone()]);
            let error = dial.connect(&origin).await.unwrap_err();
            assert!(!error.is::<Refusal>(), "{url}: {error}");
        }
    }
}
