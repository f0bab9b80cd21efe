//! What can go wrong between the question and the digest, by class, each a sentence for the user.

use std::fmt;
use std::time::Duration;

use http::StatusCode;

use super::Image;

/// How many characters of a registry's own words are repeated.
const SAID_LIMIT: usize = 100;

/// Why an image has no digest. `Display` is a sentence for the user; no variant ever holds a secret value.
///
/// In every variant `registry` is the host as the image names it, and `image` the repository and tag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry has no such repository or tag.
    #[error("{registry}: manifest for {image} not found{said}")]
    NotFound {
        /// The registry's host.
        registry: String,
        /// Repository and tag.
        image: String,
        /// The registry's own words.
        said: Said,
    },
    /// The registry wants credentials, or none of those tried was accepted.
    #[error("{registry}: not authorized to read {image}{said}")]
    Unauthorized {
        /// The registry's host.
        registry: String,
        /// Repository and tag.
        image: String,
        /// The registry's own words.
        said: Said,
    },
    /// The registry knows who asks, and refuses.
    #[error("{registry}: access to {image} is denied{said}")]
    Forbidden {
        /// The registry's host.
        registry: String,
        /// Repository and tag.
        image: String,
        /// The registry's own words.
        said: Said,
    },
    /// The registry has been asked too often.
    #[error("{registry}: too many requests, no answer about {image}{said}")]
    RateLimited {
        /// The registry's host.
        registry: String,
        /// Repository and tag.
        image: String,
        /// The registry's own words.
        said: Said,
        /// What the registry's `Retry-After` asks for.
        retry_after: Option<Duration>,
    },
    /// The registry cannot be reached, or is out of order.
    #[error("{registry}: unavailable: {why}{said}")]
    Unavailable {
        /// The registry's host.
        registry: String,
        /// Repository and tag.
        image: String,
        /// What happened.
        why: String,
        /// The registry's own words.
        said: Said,
        /// The HTTP status, if there was an answer at all.
        status: Option<u16>,
        /// What its `Retry-After` asks for.
        retry_after: Option<Duration>,
    },
    /// There was no answer in time.
    #[error("{registry}: no answer about {image} in time ({why})")]
    TimedOut {
        /// The registry's host.
        registry: String,
        /// Repository and tag.
        image: String,
        /// Which limit passed.
        why: String,
    },
    /// Nobody was asked: not again so soon, or not this many at once.
    #[error("{registry}: not asked about {image}: {why}")]
    Withheld {
        /// The registry's host.
        registry: String,
        /// Repository and tag.
        image: String,
        /// What stands against it, and for how long.
        why: String,
        /// The class of what came before.
        class: Class,
    },
    /// surepull itself refuses to go where the image, a redirect or a token realm points.
    #[error("{registry}: refused to ask about {image}: {why}")]
    Refused {
        /// The registry's host.
        registry: String,
        /// Repository and tag.
        image: String,
        /// What is refused.
        why: String,
    },
    /// The registry answers with something that cannot be trusted to be a manifest or a token.
    #[error("{registry}: unusable answer about {image}: {why}{said}")]
    Invalid {
        /// The registry's host.
        registry: String,
        /// Repository and tag.
        image: String,
        /// What is wrong with it.
        why: String,
        /// The registry's own words.
        said: Said,
    },
}

/// The classes of [`Error`], each named after its main variant, for metrics and for the action that the configuration names for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// [`Error::NotFound`]
    NotFound,
    /// [`Error::Unauthorized`]
    Unauthorized,
    /// [`Error::Forbidden`]
    Forbidden,
    /// [`Error::RateLimited`]
    RateLimited,
    /// [`Error::Unavailable`]
    Unavailable,
    /// [`Error::TimedOut`]
    TimedOut,
    /// [`Error::Refused`]
    Refused,
    /// [`Error::Invalid`]
    Invalid,
}

/// A registry's own words, from its JSON error body: cleaned of control characters, and cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said(Option<Box<str>>);

/// Who is asked about what: makes errors that name both.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    registry: String,
    image: String,
}

// === impl Error ===

impl Error {
    /// The class of this error.
    pub fn class(&self) -> Class {
        match self {
            Self::NotFound { .. } => Class::NotFound,
            Self::Unauthorized { .. } => Class::Unauthorized,
            Self::Forbidden { .. } => Class::Forbidden,
            Self::RateLimited { .. } => Class::RateLimited,
            Self::Unavailable { .. } => Class::Unavailable,
            Self::TimedOut { .. } => Class::TimedOut,
            Self::Withheld { class, .. } => *class,
            Self::Refused { .. } => Class::Refused,
            Self::Invalid { .. } => Class::Invalid,
        }
    }

    /// What the user may do about it.
    pub fn remedy(&self) -> &'static str {
        self.class().remedy()
    }

    /// Whether it says nothing about the image, only that the registry does not answer now: another endpoint of it may
    /// know better, and what was known before still counts for a while.
    pub(super) fn is_unavailability(&self) -> bool {
        matches!(
            self.class(),
            Class::Unavailable | Class::TimedOut | Class::RateLimited
        )
    }

    /// Whether it says no more than that these credentials were not enough.
    pub(super) fn is_about_authorization(&self) -> bool {
        matches!(self, Self::Unauthorized { .. } | Self::Forbidden { .. })
    }

    /// Whether nobody was asked.
    pub(super) fn is_withheld(&self) -> bool {
        matches!(self, Self::Withheld { .. })
    }

    /// Whether other credentials may lead to another outcome: not where none was ever sent.
    pub(super) fn may_depend_on_credential(&self) -> bool {
        !matches!(
            self,
            Self::Refused { .. } | Self::TimedOut { .. } | Self::Unavailable { status: None, .. }
        )
    }
}

// === impl Class ===

impl Class {
    /// The name of the class, as metrics and configuration write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "notFound",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::RateLimited => "rateLimited",
            Self::Unavailable => "unavailable",
            Self::TimedOut => "timedOut",
            Self::Refused => "refused",
            Self::Invalid => "invalid",
        }
    }

    /// Whether other credentials may lead to another answer.
    pub fn may_depend_on_credential(self) -> bool {
        match self {
            Self::NotFound | Self::Unauthorized | Self::Forbidden | Self::RateLimited => true,
            Self::Unavailable | Self::TimedOut | Self::Refused | Self::Invalid => false,
        }
    }

    /// What the user may do about an error of this class.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::NotFound => "check the image's name and tag, and that it has been pushed",
            Self::Unauthorized => {
                "check that the image exists and that a pull secret of the Pod or its ServiceAccount is valid for it"
            }
            Self::Forbidden => "check that the account of the pull secret may read this repository",
            Self::RateLimited => {
                "try again later, use credentials with a higher limit, or configure a mirror"
            }
            Self::Unavailable => "check that it is up and that surepull reaches it",
            Self::TimedOut => {
                "try again: the look-up goes on and its answer is remembered for a while"
            }
            Self::Refused => "if it is to be trusted, have it allowed in surepull's configuration",
            Self::Invalid => {
                "check that the name is that of a container registry, and what stands before it"
            }
        }
    }
}

// === impl Said ===

impl Said {
    /// Reads the first error of an OCI error body (distribution specification, "Error Codes"), or the `details` or
    /// `message` that token services answer with. What is not `fit` to be shown is left out.
    pub(super) fn from_body(body: &[u8], fit: impl Fn(&str) -> bool) -> Self {
        let Ok(body) = serde_json::from_slice::<serde_json::Value>(body) else {
            return Self::default();
        };
        let text = |value: &serde_json::Value, key: &str| {
            let text = value.get(key).and_then(serde_json::Value::as_str);
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let said = match body.pointer("/errors/0") {
            Some(first) => match (text(first, "code"), text(first, "message")) {
                (Some(code), Some(message)) => Some(format!("{code}: {message}")),
                (code, message) => code.or(message),
            },
            None => text(&body, "details").or_else(|| text(&body, "message")),
        };
        Self(
            said.filter(|said| fit(said))
                .map(|said| clean(&said).into()),
        )
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(said) => write!(f, " ({said})"),
            None => Ok(()),
        }
    }
}

/// Text from outside, fit for a message: no control or invisible characters, no line or direction changes, and
/// not long.
pub(super) fn clean(text: &str) -> String {
    let unfit = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    let mut clean: String = text
        .chars()
        .take(SAID_LIMIT)
        .map(|c| if unfit(c) { ' ' } else { c })
        .collect();
    if text.chars().nth(SAID_LIMIT).is_some() {
        clean.push('…');
    }
    clean
}

// === impl Subject ===

impl Subject {
    pub(super) fn new(image: &Image) -> Self {
        Self {
            registry: clean(&image.registry),
            image: clean(&format!("{}:{}", image.repository, image.tag)),
        }
    }

    fn parts(&self) -> (String, String) {
        (self.registry.clone(), self.image.clone())
    }

    pub(super) fn unreachable(&self, why: impl Into<String>) -> Error {
        let (registry, image) = self.parts();
        Error::Unavailable {
            registry,
            image,
            why: why.into(),
            said: Said::default(),
            status: None,
            retry_after: None,
        }
    }

    pub(super) fn timed_out(&self, why: impl Into<String>) -> Error {
        let (registry, image) = self.parts();
        Error::TimedOut {
            registry,
            image,
            why: why.into(),
        }
    }

    pub(super) fn withheld(&self, class: Class, why: impl Into<String>) -> Error {
        let (registry, image) = self.parts();
        Error::Withheld {
            registry,
            image,
            why: why.into(),
            class,
        }
    }

    pub(super) fn refused(&self, why: impl Into<String>) -> Error {
        let (registry, image) = self.parts();
        Error::Refused {
            registry,
            image,
            why: why.into(),
        }
    }

    pub(super) fn invalid(&self, why: impl Into<String>) -> Error {
        let (registry, image) = self.parts();
        Error::Invalid {
            registry,
            image,
            why: why.into(),
            said: Said::default(),
        }
    }

    /// What an HTTP status other than success means; `whose` is what was asked, for the message.
    pub(super) fn status(
        &self,
        whose: &str,
        status: StatusCode,
        retry_after: Option<Duration>,
        said: Said,
    ) -> Error {
        let (registry, image) = self.parts();
        match status.as_u16() {
            401 => Error::Unauthorized {
                registry,
                image,
                said,
            },
            403 => Error::Forbidden {
                registry,
                image,
                said,
            },
            404 | 410 => Error::NotFound {
                registry,
                image,
                said,
            },
            429 => Error::RateLimited {
                registry,
                image,
                said,
                retry_after,
            },
            408 | 500..=599 => Error::Unavailable {
                registry,
                image,
                why: format!("{whose} answers with status {}", status.as_u16()),
                said,
                status: Some(status.as_u16()),
                retry_after,
            },
            code => Error::Invalid {
                registry,
                image,
                why: format!("{whose} answers with status {code}"),
                said,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Subject {
        Subject::new(&Image {
            registry: "registry.test".into(),
            repository: "app".into(),
            tag: "1".into(),
        })
    }

    #[test]
    fn a_sentence_repeats_the_registrys_own_words() {
        let said = Said::from_body(
            br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
            |_| true,
        );
        let error = subject().status("the registry", StatusCode::NOT_FOUND, None, said);
        assert_eq!(
            error.to_string(),
            "registry.test: manifest for app:1 not found (MANIFEST_UNKNOWN: manifest unknown)"
        );
        assert_eq!(error.class(), Class::NotFound);
    }

    #[test]
    fn words_are_cleaned_and_cut() {
        let long = format!(
            r#"{{"errors":[{{"code":"A\u001b[31m\nB","message":"{}"}}]}}"#,
            "x".repeat(500)
        );
        let said = Said::from_body(long.as_bytes(), |_| true).to_string();
        assert!(said.starts_with(" (A [31m B: xxx"), "{said}");
        assert!(
            said.ends_with("…)") && said.chars().count() == SAID_LIMIT + 4,
            "{said}"
        );
        for unusable in [
            &b"<html>"[..],
            b"",
            b"[]",
            b"{\"errors\":[]}",
            b"{\"errors\":[{\"code\":7}]}",
        ] {
            assert_eq!(Said::from_body(unusable, |_| true), Said::default());
        }
        assert_eq!(
            Said::from_body(br#"{"details":"bad password"}"#, |_| true).to_string(),
            " (bad password)"
        );
    }

    #[test]
    fn a_status_has_a_class() {
        for (status, class) in [
            (400, Class::Invalid),
            (401, Class::Unauthorized),
            (403, Class::Forbidden),
            (404, Class::NotFound),
            (418, Class::Invalid),
            (429, Class::RateLimited),
            (500, Class::Unavailable),
            (503, Class::Unavailable),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                subject()
                    .status("it", status, None, Said::default())
                    .class(),
                class
            );
        }
    }
}
