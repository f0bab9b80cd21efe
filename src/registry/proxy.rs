//! The proxy that the environment names: `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, in capitals or not.
//!
//! Only HTTPS goes through it, in a tunnel (`CONNECT`). It resolves names by itself, so that of them only those that are
//! an address, and well-known ones, can be checked.

use std::net::IpAddr;
use std::sync::Arc;

use http::uri::Scheme;
use http::{HeaderValue, Uri};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::SettingsError;
use super::connect::{BoxError, Origin};
use crate::image::is_loopback;

/// Names of metadata services, and of the host itself.
const INSIDE: [&str; 6] = [
    "localhost",
    "localhost.localdomain",
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "instance-data",
];

/// Which proxy is on the way to which registry.
#[derive(Clone)]
pub(super) struct Proxies(Arc<Matcher>);

/// A proxy on the way.
pub(super) struct Proxy {
    url: Uri,
    authorization: Option<HeaderValue>,
}

impl Proxies {
    /// As the environment says.
    pub(super) fn from_env() -> Result<Self, SettingsError> {
        Self::new(Matcher::from_env())
    }

    fn new(matcher: Matcher) -> Result<Self, SettingsError> {
        // What any registry is asked through, if it is not excepted.
        let any = Uri::from_static("https://registry-1.docker.io/");
        match matcher.intercept(&any) {
            Some(proxy) if proxy.uri().scheme() != Some(&Scheme::HTTP) => {
                let scheme = proxy.uri().scheme_str().unwrap_or_default();
                Err(SettingsError::Proxy(scheme.to_owned()))
            }
            _ => Ok(Self(Arc::new(matcher))),
        }
    }

    /// The proxy on the way to this URL, if there is one: to loopback there is none (`ProxyFromEnvironment` of Go's
    /// `net/http`, and so containerd's).
    pub(super) fn of(&self, url: &Uri) -> Option<Proxy> {
        let proxied = url.scheme() == Some(&Scheme::HTTPS) && !is_loopback(url.host()?);
        let proxy = proxied.then(|| self.0.intercept(url)).flatten()?;
        Some(Proxy {
            url: proxy.uri().clone(),
            authorization: proxy.basic_auth().cloned(),
        })
    }
}

impl Proxy {
    /// A connection to the registry through the proxy.
    pub(super) async fn tunnel(self, registry: Uri) -> Result<TokioIo<TcpStream>, BoxError> {
        let host = self.url.authority().map(ToString::to_string);
        let dial = tower::service_fn(|url: Uri| async move {
            let origin = Origin::of(&url).ok_or("the proxy has no usable address")?;
            let stream = TcpStream::connect((origin.host(), origin.port())).await?;
            stream.set_nodelay(true)?;
            Ok::<_, BoxError>(TokioIo::new(stream))
        });
        let mut tunnel = Tunnel::new(self.url, dial);
        if let Some(authorization) = self.authorization {
            tunnel = tunnel.with_auth(authorization);
        }
        tunnel.call(registry).await.map_err(|error| {
            let host = host.unwrap_or_default();
            let why = std::error::Error::source(&error)
                .map_or_else(|| error.to_string(), ToString::to_string);
            format!("by way of the proxy {host}: {why}").into()
        })
    }
}

/// What of a host is known without resolving it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It means this host, or a metadata service.
    Inside,
    /// It is an address. One in another notation, such as `127.1`, is nothing that TLS connects to.
    Address(IpAddr),
    /// It is a name.
    Nothing,
}

/// Looks at a host that the proxy will resolve.
pub(super) fn known(host: &str) -> Known {
    let host = host.trim_end_matches('.');
    if INSIDE.contains(&host) || host.ends_with(".localhost") {
        return Known::Inside;
    }
    host.parse().map_or(Known::Nothing, Known::Address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_goes_through_a_proxy_that_is_not_excepted() {
        let matcher = Matcher::builder()
            .all("http://user:secret@proxy.test:3128")
            .no("inside.test,10.0.0.0/8")
            .build();
        let proxies = Proxies::new(matcher).unwrap();
        for (url, expected) in [
            ("https://r.io/", Some("proxy.test:3128")),
            ("http://r.io/", None),
            ("https://inside.test/", None),
            ("https://r.inside.test:5000/", None),
            ("https://10.1.2.3/", None),
            ("https://localhost:5000/", None),
            ("https://127.0.0.2/", None),
            ("https://[::1]/", None),
        ] {
            let proxy = proxies.of(&url.parse().unwrap());
            let host = proxy.as_ref().and_then(|proxy| proxy.url.authority());
            assert_eq!(host.map(http::uri::Authority::as_str), expected, "{url}");
            assert!(proxy.is_none_or(|proxy| proxy.authorization.unwrap().is_sensitive()));
        }
        for scheme in ["https", "socks5"] {
            let matcher = Matcher::builder()
                .https(format!("{scheme}://user:secret@p"))
                .build();
            let error = Proxies::new(matcher).err().unwrap().to_string();
            assert!(
                error.contains(scheme) && !error.contains("secret"),
                "{error}"
            );
        }
    }

    #[test]
    fn addresses_and_names_from_inside_are_known() {
        let address = |text: &str| Known::Address(text.parse().unwrap());
        for (url, expected) in [
            ("https://127.0.0.1", address("127.0.0.1")),
            ("https://127.0.0.1.:5000", address("127.0.0.1")),
            ("https://[::ffff:127.0.0.1]", address("::ffff:127.0.0.1")),
            ("https://LOCALHOST", Known::Inside),
            ("https://a.localhost.", Known::Inside),
            ("https://metadata.google.internal", Known::Inside),
            ("https://r.io", Known::Nothing),
            ("https://metadata.r.io", Known::Nothing),
        ] {
            let origin = Origin::of(&url.parse().unwrap()).unwrap();
            assert_eq!(known(origin.host()), expected, "{url}");
        }
    }
}
