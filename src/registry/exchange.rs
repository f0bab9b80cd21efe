//! One HTTP question and its answer: redirects, limits, and errors that name what happened.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RETRY_AFTER, USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use secrecy::zeroize::Zeroizing;
use tokio::time::timeout;

use super::connect::{Origin, Refusal, TooSlow, Wire};
use super::error::{Error, Said, Subject, clean};

/// How many redirects are followed.
const REDIRECT_LIMIT: usize = 3;
/// How long the body of an error may be to be read for its message.
const ERROR_BODY_LIMIT: usize = 64 << 10;

/// From how many bytes on a user name may be a token.
const TOKEN_LENGTH: usize = 8;

/// A question.
pub(super) struct Ask<'a> {
    /// `HEAD` or `GET`, or `POST` for a form.
    pub(super) method: Method,
    /// The absolute URL.
    pub(super) url: Uri,
    /// What kinds of answers are understood.
    pub(super) accept: &'static str,
    /// Goes to this URL's origin, and nowhere else.
    pub(super) authorization: Option<&'a HeaderValue>,
    /// A form with secrets, which goes to this URL, and nowhere else.
    pub(super) form: Option<Bytes>,
    /// Who is asked, for messages: `the registry` or `the token service`.
    pub(super) whom: &'static str,
}

/// An answer, its body still to be read.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Whether it comes from another origin than the one that was asked.
    pub(super) foreign: bool,
    body: Incoming,
    /// How long it may take to end.
    limit: Duration,
    whom: &'static str,
    /// What was sent to get it.
    authorization: Option<HeaderValue>,
}

impl Wire {
    /// Asks, and follows redirects: at most three, never from https to http, and without `Authorization` as soon as the
    /// origin changes. Where they lead is checked when the connection is made.
    pub(super) async fn ask(&self, subject: &Subject, ask: Ask<'_>) -> Result<Reply, Error> {
        let unusable = || subject.refused(format!("{} has no usable address", ask.whom));
        let first = Origin::of(&ask.url).ok_or_else(unusable)?;
        let mut url = ask.url.clone();
        let mut authorization = ask.authorization;
        for _ in 0..=REDIRECT_LIMIT {
            let origin = Origin::of(&url).ok_or_else(unusable)?;
            if origin != first {
                authorization = None;
            }
            let response = self.send(subject, &ask, &url, authorization).await?;
            if !is_redirect(response.status()) {
                let (head, body) = response.into_parts();
                return Ok(Reply {
                    status: head.status,
                    headers: head.headers,
                    foreign: origin != first,
                    body,
                    limit: self.limit,
                    whom: ask.whom,
                    authorization: authorization.cloned(),
                });
            }
            if ask.form.is_some() {
                return Err(subject.invalid(format!("{} redirects a secret elsewhere", ask.whom)));
            }
            url =
                target(&url, response.headers().get(LOCATION)).map_err(
                    |objection| match objection {
                        Objection::Unusable => {
                            subject.invalid(format!("{} redirects to nowhere", ask.whom))
                        }
                        Objection::Userinfo => subject
                            .refused(format!("{} redirects to a URL with credentials", ask.whom)),
                        Objection::Downgrade => {
                            subject.refused(format!("{} redirects from https to http", ask.whom))
                        }
                    },
                )?;
        }
        Err(subject.invalid(format!(
            "{} redirects more than {REDIRECT_LIMIT} times",
            ask.whom
        )))
    }

    async fn send(
        &self,
        subject: &Subject,
        ask: &Ask<'_>,
        url: &Uri,
        authorization: Option<&HeaderValue>,
    ) -> Result<hyper::Response<Incoming>, Error> {
        let mut request = Request::new(Full::new(ask.form.clone().unwrap_or_default()));
        *request.method_mut() = ask.method.clone();
        *request.uri_mut() = url.clone();
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static(ask.accept));
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("surepull/", env!("CARGO_PKG_VERSION"))),
        );
        if ask.form.is_some() {
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            headers.insert(CONTENT_TYPE, form);
        }
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, value.clone());
        }
        let host = clean(url.authority().map_or("", |authority| authority.as_str()));
        match timeout(self.limit, self.client.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(failure(subject, ask.whom, &host, &error)),
            Err(_) => Err(subject.timed_out(format!(
                "{host} is silent for {} s",
                self.limit.as_secs_f64()
            ))),
        }
    }
}

impl Reply {
    /// How long the body is said to be.
    pub(super) fn announced(&self) -> Option<usize> {
        self.headers
            .get(CONTENT_LENGTH)?
            .to_str()
            .ok()?
            .parse()
            .ok()
    }

    /// The whole body, if it is not longer than the limit.
    pub(super) async fn body(self, subject: &Subject, limit: usize) -> Result<Bytes, Error> {
        let too_long = || {
            subject.invalid(format!(
                "the answer of {} is longer than {limit} bytes",
                self.whom
            ))
        };
        if self.announced().is_some_and(|length| length > limit) {
            return Err(too_long());
        }
        match timeout(self.limit, Limited::new(self.body, limit).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_long()),
            Ok(Err(_)) => {
                Err(subject.unreachable(format!("the answer of {} breaks off", self.whom)))
            }
            Err(_) => Err(subject.timed_out(format!("the answer of {} does not end", self.whom))),
        }
    }

    /// The error that this answer is, with the words of its body if it has any that repeat no secret.
    pub(super) async fn error(mut self, subject: &Subject) -> Error {
        let (whom, status) = (self.whom, self.status);
        let authorization = self.authorization.take();
        let retry_after = self.headers.get(RETRY_AFTER).and_then(retry_after);
        let fit = |text: &[u8]| {
            authorization
                .as_ref()
                .is_none_or(|sent| !repeats(text, sent))
        };
        let said = match self.body(subject, ERROR_BODY_LIMIT).await {
            // What JSON escapes is seen in the words only, and what stands elsewhere in the body only there.
            Ok(body) if fit(&body) => Said::from_body(&body, |words| fit(words.as_bytes())),
            _ => Said::default(),
        };
        subject.status(whom, status, retry_after, said)
    }
}

/// Whether a text has the token that was sent, the password, or a user name long enough to be a token: it may be shown to
/// who may not know them.
fn repeats(text: &[u8], authorization: &HeaderValue) -> bool {
    let lower = |text: &[u8]| Zeroizing::new(String::from_utf8_lossy(text).to_lowercase());
    let text = lower(text);
    let has = |secret: &[u8]| !secret.is_empty() && text.contains(&**lower(secret));
    let value = authorization.as_bytes();
    let space = value.iter().position(|byte| *byte == b' ');
    let token = space.map_or(value, |space| &value[space + 1..]);
    let pair = BASE64_STANDARD.decode(token).map(Zeroizing::new);
    let mut login = pair
        .iter()
        .flat_map(|pair| pair.splitn(2, |byte| *byte == b':'));
    let username = login.next().filter(|name| name.len() >= TOKEN_LENGTH);
    has(token) || username.into_iter().chain(login).any(has)
}

fn failure(
    subject: &Subject,
    whom: &str,
    host: &str,
    error: &hyper_util::client::legacy::Error,
) -> Error {
    let mut cause: &(dyn std::error::Error + 'static) = error;
    loop {
        if let Some(refusal) = cause.downcast_ref::<Refusal>() {
            return subject.refused(format!("the address of {whom}, {refusal}"));
        }
        if let Some(slow) = cause.downcast_ref::<TooSlow>() {
            return subject.timed_out(format!("{host}: {slow}"));
        }
        if let Some(parse) = cause
            .downcast_ref::<hyper::Error>()
            .filter(|error| error.is_parse())
        {
            return subject.invalid(format!("{host} does not speak HTTP: {parse}"));
        }
        let Some(deeper) = cause.source() else {
            break;
        };
        cause = deeper;
    }
    // The innermost cause says most: `connection refused`, `invalid peer certificate: …`.
    let stage = if error.is_connect() {
        "cannot connect"
    } else {
        "no answer"
    };
    subject.unreachable(format!("{host}: {stage}: {}", clean(&cause.to_string())))
}

/// A `Retry-After`, in seconds or as a date (RFC 9110, 10.2.3); none where that is over.
fn retry_after(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    date.duration_since(SystemTime::now()).ok()
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Why a redirect is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Objection {
    Unusable,
    Userinfo,
    Downgrade,
}

/// Where a `Location` leads from here (RFC 3986, section 5.2, without dot segments, which registries do not send).
fn target(from: &Uri, location: Option<&HeaderValue>) -> Result<Uri, Objection> {
    let location = location
        .and_then(|location| location.to_str().ok())
        .ok_or(Objection::Unusable)?;
    let scheme = from.scheme_str().unwrap_or("https");
    let authority = from.authority().map_or("", |authority| authority.as_str());
    let has_scheme = location
        .split(['/', '?', '#'])
        .next()
        .is_some_and(|start| start.contains(':'));
    let text = if has_scheme {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.starts_with('?') {
        format!("{scheme}://{authority}{}{location}", from.path())
    } else {
        let folder = from
            .path()
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    };
    let url: Uri = text.parse().map_err(|_| Objection::Unusable)?;
    let origin = Origin::of(&url).ok_or(Objection::Unusable)?;
    if url
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        Err(Objection::Userinfo)
    } else if scheme == "https" && !origin.is_https() {
        Err(Objection::Downgrade)
    } else {
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date() {
        let read = |text: &str| retry_after(&HeaderValue::from_str(text).unwrap());
        assert_eq!(read("0"), Some(Duration::ZERO));
        assert_eq!(read(" 120 "), Some(Duration::from_mins(2)));
        assert_eq!(
            read(&u64::MAX.to_string()),
            Some(Duration::from_secs(u64::MAX))
        );
        let day = Duration::from_hours(24);
        let tomorrow = read(&httpdate::fmt_http_date(SystemTime::now() + day)).unwrap();
        assert!(
            day / 2 < tomorrow && tomorrow <= day,
            "a day less what passed: {tomorrow:?}"
        );
        for none in [
            "",
            "-1",
            "1.5",
            "soon",
            "Fri, 31 Dec 1999 23:59:59 GMT",
            "99999999999999999999",
        ] {
            assert_eq!(read(none), None, "{none}");
        }
    }

    #[test]
    fn redirects_lead_where_the_location_says_but_never_to_plain_http() {
        let from: Uri = "https://r.io:5000/v2/app/manifests/1?x=y".parse().unwrap();
        for (location, expected) in [
            ("https://cdn.test/a?b=c", Ok("https://cdn.test/a?b=c")),
            ("//cdn.test/a", Ok("https://cdn.test/a")),
            ("/v2/other", Ok("https://r.io:5000/v2/other")),
            ("2", Ok("https://r.io:5000/v2/app/manifests/2")),
            ("?z", Ok("https://r.io:5000/v2/app/manifests/1?z")),
            ("http://r.io:5000/v2/", Err(Objection::Downgrade)),
            ("https://user:password@r.io/", Err(Objection::Userinfo)),
            ("ftp://cdn.test/", Err(Objection::Unusable)),
            ("javascript:alert(1)", Err(Objection::Unusable)),
            ("https://", Err(Objection::Unusable)),
            ("https://r.io:99999/", Err(Objection::Unusable)),
        ] {
            let location_header = HeaderValue::from_static(location);
            let target = target(&from, Some(&location_header)).map(|url| url.to_string());
            assert_eq!(target, expected.map(String::from), "{location}");
        }
        assert_eq!(target(&from, None), Err(Objection::Unusable));
        let plain: Uri = "http://r.io/v2/".parse().unwrap();
        assert!(target(&plain, Some(&HeaderValue::from_static("https://r.io/"))).is_ok());
    }
}
