//! What a kubelet says to a credential provider and what it answers: `CredentialProviderRequest` and
//! `CredentialProviderResponse` (`pkg/apis/credentialprovider` of `k8s.io/kubelet`), in JSON.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::config::Protocol;
use crate::config::parse_duration;
use crate::credentials::document::Document;
use crate::credentials::entry::Login;
use crate::credentials::json::Text;
use crate::credentials::keyring::Keyring;
use crate::credentials::secret::Secret;

/// For which images an answer is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
pub(super) enum CacheKeyType {
    /// For the repository that was asked about.
    Image,
    /// For all of its registry.
    Registry,
    /// For all that the provider is asked about.
    Global,
}

/// An answer.
pub(super) struct Response {
    pub(super) cache_key_type: CacheKeyType,
    /// `None` where it does not say: then what is configured counts.
    pub(super) cache_duration: Option<Duration>,
    pub(super) keyring: Keyring,
}

/// An answer that cannot be used; never with a text out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidResponse {
    #[error(
        "its answer is not a CredentialProviderResponse in JSON, see line {line}, column {column}"
    )]
    Malformed { line: usize, column: usize },
    #[error("its answer is not of kind CredentialProviderResponse")]
    Kind,
    #[error("its answer has another apiVersion than the request")]
    Version,
    #[error("its answer has a cacheDuration that is no duration")]
    Duration,
}

/// The request about a repository, without tag and digest.
pub(super) fn request(version: Protocol, repository: &str) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Request<'a> {
        kind: &'static str,
        api_version: Protocol,
        image: &'a str,
    }
    let request = Request {
        kind: "CredentialProviderRequest",
        api_version: version,
        image: repository,
    };
    // Infallible: texts only.
    serde_json::to_vec(&request).unwrap_or_default()
}

/// Unknown fields are passed over, as by the kubelet.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    cache_key_type: CacheKeyType,
    cache_duration: Option<String>,
    /// Two keys of one normal form are tried in the order of their texts; that of the kubelet is random.
    auth: Option<BTreeMap<String, Option<Auth>>>,
}

#[derive(Default, Deserialize)]
struct Auth {
    username: Option<Text>,
    password: Option<Text>,
}

/// Which kind and version the answer says it has; read first, as the rest depends on it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Header {
    api_version: Option<String>,
    kind: Option<String>,
}

impl Response {
    /// Reads an answer to a request of this version. Its credentials are said to be from `source`.
    pub(super) fn parse(
        version: Protocol,
        bytes: &[u8],
        source: &Arc<str>,
    ) -> Result<Self, InvalidResponse> {
        let malformed = |error: serde_json::Error| InvalidResponse::Malformed {
            line: error.line(),
            column: error.column(),
        };
        let header: Header = serde_json::from_slice(bytes).map_err(malformed)?;
        if header.kind.as_deref() != Some("CredentialProviderResponse") {
            return Err(InvalidResponse::Kind);
        }
        if header.api_version.as_deref() != Some(version.as_str()) {
            return Err(InvalidResponse::Version);
        }
        let answer: Answer = serde_json::from_slice(bytes).map_err(malformed)?;
        let duration = answer.cache_duration.as_deref().map(cache_duration);
        let auth = answer.auth.unwrap_or_default();
        let logins = auth
            .iter()
            .map(|(key, auth)| (&**key, auth.as_ref().map(Auth::login).unwrap_or_default()));
        let mut keyring = Keyring::default();
        keyring.add(Document::of(logins), source);
        Ok(Self {
            cache_key_type: answer.cache_key_type,
            cache_duration: duration.transpose()?,
            keyring,
        })
    }
}

impl Auth {
    fn login(&self) -> Login {
        let text = |text: &Option<Text>| {
            let text = text.as_ref().map(|text| Secret::from(text.0.to_vec()));
            text.unwrap_or_default()
        };
        Login {
            username: text(&self.username),
            password: text(&self.password),
            ..Login::default()
        }
    }
}

/// One below zero is over before it begins.
fn cache_duration(text: &str) -> Result<Duration, InvalidResponse> {
    let invalid = |_| InvalidResponse::Duration;
    match text.strip_prefix('-') {
        Some(text) => parse_duration(text)
            .map(|_| Duration::ZERO)
            .map_err(invalid),
        None => parse_duration(text).map_err(invalid),
    }
}

impl Protocol {
    fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "credentialprovider.kubelet.k8s.io/v1",
            Self::V1Beta1 => "credentialprovider.kubelet.k8s.io/v1beta1",
            Self::V1Alpha1 => "credentialprovider.kubelet.k8s.io/v1alpha1",
        }
    }
}
