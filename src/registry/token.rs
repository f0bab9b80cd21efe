//! Authorization: from a challenge to the header that answers it, and the headers that may be used again.
//!
//! The protocol is that of the distribution project's "Token Authentication Specification".

use std::fmt;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, Uri};
use moka::Expiry;
use moka::sync::Cache;
use secrecy::ExposeSecret;
use secrecy::zeroize::Zeroizing;
use serde::Deserialize;

use super::audience::Audience;
use super::cache::Key;
use super::challenge::Challenge;
use super::connect::{Origin, Wire};
use super::error::{Error, Said, Subject};
use super::exchange::Ask;
use crate::credentials::{Credential, CredentialKind};

/// How long the answer of a token service may be.
const TOKEN_BODY_LIMIT: usize = 64 << 10;
/// How long a token lives that does not say so (token specification, `expires_in`).
const DEFAULT_LIFETIME: Duration = Duration::from_mins(1);
/// How long a token is used at most, and user name and password without being asked for.
const MAX_LIFETIME: Duration = Duration::from_hours(1);
/// How long before its end a token is no longer used.
const MARGIN: Duration = Duration::from_secs(10);
/// How long a token may be: longer ones are more than most servers take for a header.
const TOKEN_LIMIT: usize = 16 << 10;
/// How many bytes of headers are remembered, and for how many images the credential.
const GRANT_BYTES: u64 = 16 << 20;
const POSITION_COUNT: u64 = 10_000;

/// What registries accepted.
#[derive(Clone)]
pub(super) struct Grants {
    /// Authorization headers, for the time they last.
    headers: Cache<GrantKey, Grant>,
    /// The position of the credential that an image was found with, among those tried.
    positions: Cache<Key, usize>,
}

/// For what a header may be used again: the same repository at the same endpoint with the same credential. Realm,
/// service and scope follow from these, as the endpoint's last challenge named them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct GrantKey {
    pub(super) endpoint: String,
    pub(super) repository: String,
    pub(super) audience: Audience,
}

/// An `Authorization` header, marked as sensitive, and how long to use it.
#[derive(Clone)]
pub(super) struct Grant {
    pub(super) header: HeaderValue,
    lifetime: Duration,
}

/// What a remembered header takes besides its texts, roughly.
const GRANT_SIZE: usize = 256;

struct Lifetime;

impl Expiry<GrantKey, Grant> for Lifetime {
    fn expire_after_create(&self, _: &GrantKey, grant: &Grant, _: Instant) -> Option<Duration> {
        Some(grant.lifetime)
    }

    fn expire_after_update(
        &self,
        _: &GrantKey,
        grant: &Grant,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(grant.lifetime)
    }
}

impl Grants {
    pub(super) fn new() -> Self {
        Self {
            headers: Cache::builder()
                .max_capacity(GRANT_BYTES)
                .weigher(|key: &GrantKey, grant: &Grant| {
                    let text = key.endpoint.len() + key.repository.len() + grant.header.len();
                    u32::try_from(text + GRANT_SIZE).unwrap_or(u32::MAX)
                })
                .expire_after(Lifetime)
                .build(),
            positions: Cache::new(POSITION_COUNT),
        }
    }

    /// Which of its credentials was accepted for an image the last time.
    pub(super) fn position(&self, key: &Key) -> Option<usize> {
        self.positions.get(key)
    }

    pub(super) fn remember_position(&self, key: Key, position: usize) {
        self.positions.insert(key, position);
    }

    pub(super) fn get(&self, key: &GrantKey) -> Option<HeaderValue> {
        self.headers.get(key).map(|grant| grant.header)
    }

    pub(super) fn remember(&self, key: &GrantKey, grant: Grant) {
        self.headers.insert(key.clone(), grant);
    }

    pub(super) fn forget(&self, key: &GrantKey) {
        self.headers.invalidate(key);
    }
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grants").finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<f64>,
}

/// The header that answers a challenge; none where it asks for a password and there is none.
pub(super) async fn answer(
    wire: &Wire,
    subject: &Subject,
    endpoint: &Uri,
    repository: &str,
    challenge: Challenge,
    credential: Option<&Credential>,
) -> Result<Option<Grant>, Error> {
    let basic = credential.map(basic_header);
    match challenge {
        Challenge::Basic => Ok(basic.map(|header| Grant {
            header,
            lifetime: MAX_LIFETIME,
        })),
        Challenge::Bearer {
            realm,
            service,
            scope,
        } => {
            let realm = Realm {
                scope: scope.unwrap_or_else(|| format!("repository:{repository}:pull")),
                url: realm,
                service,
            };
            let identity = credential.and_then(|credential| match &credential.kind {
                CredentialKind::Identity(token) => Some(token.expose_secret()),
                CredentialKind::Login | CredentialKind::Providers => None,
            });
            let url = match identity {
                Some(_) => realm.uri(),
                None => realm.uri_with_query(),
            };
            let url = usable(subject, endpoint, url)?;
            let ask = Ask {
                method: identity.map_or(Method::GET, |_| Method::POST),
                url,
                accept: "application/json",
                authorization: basic.as_ref().filter(|_| identity.is_none()),
                form: identity.map(|token| realm.form(token)),
                whom: "the token service",
            };
            fetch(wire, subject, ask).await.map(Some)
        }
    }
}

/// A realm's URL, if a registry at this endpoint may name it.
fn usable(subject: &Subject, endpoint: &Uri, url: Option<Uri>) -> Result<Uri, Error> {
    let has_user = |url: &Uri| {
        let authority = url.authority();
        authority.is_none_or(|authority| authority.as_str().contains('@'))
    };
    let url = url.filter(|url| !has_user(url)).ok_or_else(|| {
        subject.invalid("the registry names a token service without a usable URL")
    })?;
    let is_https = |url: &Uri| Origin::of(url).is_some_and(|origin| origin.is_https());
    if is_https(endpoint) && !is_https(&url) {
        return Err(subject.refused("the registry names a token service without TLS"));
    }
    Ok(url)
}

/// The token that a service gives.
async fn fetch(wire: &Wire, subject: &Subject, ask: Ask<'_>) -> Result<Grant, Error> {
    let (whom, is_form) = (ask.whom, ask.form.is_some());
    let reply = wire.ask(subject, ask).await?;
    if is_form && !reply.status.is_success() {
        // A refresh token that is refused (RFC 6749, section 5.2). What else is said may repeat it.
        let status = match reply.status {
            StatusCode::BAD_REQUEST => StatusCode::UNAUTHORIZED,
            status => status,
        };
        return Err(not_there(
            subject,
            subject.status(whom, status, None, Said::default()),
        ));
    }
    if !reply.status.is_success() {
        return Err(not_there(subject, reply.error(subject).await));
    }
    let body = reply.body(subject, TOKEN_BODY_LIMIT).await?;
    bearer_grant(&body).map_err(|why| subject.invalid(why))
}

/// The same error, unless it speaks of what is not there: that is the token service, not the image.
fn not_there(subject: &Subject, error: Error) -> Error {
    match error {
        Error::NotFound { .. } => subject.invalid("the token service answers with status 404"),
        error => error,
    }
}

/// User name and password may be any bytes; the kubelet hands them on as they are.
fn basic_header(credential: &Credential) -> HeaderValue {
    let (name, password) = (&credential.username, &credential.password);
    let pair = [name.expose_secret(), b":", password.expose_secret()].concat();
    let pair = Zeroizing::new(BASE64_STANDARD.encode(Zeroizing::new(pair)));
    sensitive(&Zeroizing::new(format!("Basic {}", *pair))).unwrap_or(HeaderValue::from_static(""))
}

fn bearer_grant(body: &[u8]) -> Result<Grant, &'static str> {
    let answer: TokenAnswer = serde_json::from_slice(body)
        .map_err(|_| "the answer of the token service is not a token")?;
    let token = answer
        .token
        .filter(|token| !token.is_empty())
        .or(answer.access_token)
        .unwrap_or_default();
    if token.is_empty() {
        return Err("the token service gives no token");
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the token service gives a token with illegal characters");
    }
    if token.len() > TOKEN_LIMIT {
        return Err("the token service gives a token of more than 16 KiB");
    }
    let header = sensitive(&format!("Bearer {token}"))
        .ok_or("the token service gives a token that cannot be sent")?;
    let lifetime = answer
        .expires_in
        .filter(|seconds| *seconds > 0.0)
        .map_or(DEFAULT_LIFETIME, |seconds| {
            Duration::try_from_secs_f64(seconds).unwrap_or(MAX_LIFETIME)
        });
    let lifetime = lifetime.saturating_sub(MARGIN).min(MAX_LIFETIME);
    Ok(Grant { header, lifetime })
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// Where tokens are given, for whom and for what.
struct Realm {
    url: String,
    service: Option<String>,
    scope: String,
}

impl Realm {
    fn uri(&self) -> Option<Uri> {
        let url = self.url.split('#').next()?;
        url.parse().ok().filter(|url| Origin::of(url).is_some())
    }

    /// With service and scopes in the query; each of several scopes is a parameter of its own.
    fn uri_with_query(&self) -> Option<Uri> {
        let mut url = self.url.split('#').next()?.to_owned();
        let scopes = self.scope.split(' ').filter(|scope| !scope.is_empty());
        let service = self.service.iter().map(|service| ("service", &**service));
        for (key, value) in service.chain(scopes.map(|scope| ("scope", scope))) {
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(key);
            url.push('=');
            encode(&mut url, value.as_bytes());
        }
        url.parse().ok().filter(|url| Origin::of(url).is_some())
    }

    /// The form that asks for a token by a refresh token (token specification, "`OAuth2` Token Authentication").
    fn form(&self, refresh_token: &[u8]) -> Bytes {
        let mut form = "grant_type=refresh_token&client_id=surepull".to_owned();
        let service = self
            .service
            .iter()
            .map(|service| ("service", service.as_bytes()));
        let secret = [
            ("scope", self.scope.as_bytes()),
            ("refresh_token", refresh_token),
        ];
        for (key, value) in service.chain(secret) {
            form.push('&');
            form.push_str(key);
            form.push('=');
            encode(&mut form, value);
        }
        form.into()
    }
}

/// Percent-encoding of all but the unreserved characters (RFC 3986, 2.3), and `:`, `/` and `,`, which scopes have.
pub(super) fn encode(into: &mut String, text: &[u8]) {
    use fmt::Write as _;
    for &byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~:/,".contains(&byte) {
            into.push(char::from(byte));
        } else {
            let _ = write!(into, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_url_carries_service_and_scopes() {
        for (realm, service, scope, expected) in [
            (
                "https://a/t",
                Some("s t&u"),
                "repository:x/y:pull,push",
                Some("https://a/t?service=s%20t%26u&scope=repository:x/y:pull,push"),
            ),
            (
                "https://a/t?x=y#f",
                None,
                "a b",
                Some("https://a/t?x=y&scope=a&scope=b"),
            ),
            ("https://a", None, "a", Some("https://a/?scope=a")),
            ("/token", None, "a", None),
            ("ftp://a/", None, "a", None),
            ("https://a b/", None, "a", None),
        ] {
            let realm = Realm {
                url: realm.to_owned(),
                service: service.map(str::to_owned),
                scope: scope.to_owned(),
            };
            let url = realm.uri_with_query().map(|url| url.to_string());
            assert_eq!(url.as_deref(), expected, "{}", realm.url);
        }
    }

    #[test]
    fn a_form_carries_the_refresh_token() {
        let mut realm = Realm {
            url: "https://a/t?x=y#f".to_owned(),
            service: Some("s&t".to_owned()),
            scope: "a:b:pull c".to_owned(),
        };
        let form = |realm: &Realm| String::from_utf8(realm.form(b"r+/=\xff").to_vec()).unwrap();
        assert_eq!(
            form(&realm),
            "grant_type=refresh_token&client_id=surepull&service=s%26t&scope=a:b:pull%20c&refresh_token=r%2B/%3D%FF"
        );
        assert_eq!(realm.uri().unwrap().to_string(), "https://a/t?x=y");
        realm.service = None;
        assert!(!form(&realm).contains("service"));
    }

    #[test]
    fn what_is_remembered_is_bounded_by_bytes() {
        let grants = Grants::new();
        let header = sensitive(&format!("Bearer {}", "a".repeat(TOKEN_LIMIT))).unwrap();
        let audience = Audience::ANYBODY;
        for number in 0..2 * GRANT_BYTES / TOKEN_LIMIT as u64 {
            let key = GrantKey {
                endpoint: "https://r.io".to_owned(),
                repository: number.to_string(),
                audience,
            };
            let lifetime = MAX_LIFETIME;
            let header = header.clone();
            grants.remember(&key, Grant { header, lifetime });
        }
        grants.headers.run_pending_tasks();
        let size = grants.headers.weighted_size();
        assert!(size > GRANT_BYTES / 2 && size <= GRANT_BYTES, "{size}");
        let token =
            |length| bearer_grant(format!(r#"{{"token":"{}"}}"#, "a".repeat(length)).as_bytes());
        assert!(token(TOKEN_LIMIT).is_ok() && token(TOKEN_LIMIT + 1).is_err());
    }

    #[test]
    fn tokens_live_until_shortly_before_they_expire() {
        let lifetime =
            |body: &str| bearer_grant(body.as_bytes()).map(|grant| grant.lifetime.as_secs());
        assert_eq!(lifetime(r#"{"token":"t","expires_in":300}"#), Ok(290));
        assert_eq!(lifetime(r#"{"access_token":"t"}"#), Ok(50));
        assert_eq!(
            lifetime(r#"{"token":"","access_token":"t","expires_in":3}"#),
            Ok(0)
        );
        assert_eq!(lifetime(r#"{"token":"t","expires_in":-1}"#), Ok(50));
        assert_eq!(lifetime(r#"{"token":"t","expires_in":1e300}"#), Ok(3590));
        for body in [
            "",
            "{}",
            "[]",
            r#"{"token":""}"#,
            r#"{"token":"a\nb"}"#,
            r#"{"token":"a b"}"#,
            r#"{"token":"ä"}"#,
            r#"{"token":7}"#,
        ] {
            assert!(lifetime(body).is_err(), "{body}");
        }
    }

    #[test]
    fn no_secret_shows_in_debug() {
        let credential = Credential::login("user", "swordfish", "test".into());
        let header = basic_header(&credential);
        assert_eq!(header.to_str().unwrap(), "Basic dXNlcjpzd29yZGZpc2g=");
        assert_eq!(format!("{header:?}"), "Sensitive");
    }
}
