//! How registries are connected to.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

use super::{Cidr, Configuration, Registry, duration, values};

/// How long a whole look-up may take; what one step of it may take cannot be more.
const LONGEST: Duration = Duration::from_secs(30);

/// A certificate and its key, as files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientCertificate {
    /// A PEM file with the certificate, followed by its chain.
    pub certificate: PathBuf,
    /// A PEM file with its private key.
    pub key: PathBuf,
}

/// Where look-ups may lead. The author of a Pod chooses the registry, so what only surepull can reach is not asked:
/// loopback, link-local, multicast, unspecified and cloud metadata addresses. Private networks are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Network {
    /// Networks whose addresses are asked all the same; a cloud metadata address only if it is named by itself. The
    /// endpoints and mirrors of `registries` need not be named here.
    pub allow_addresses: Vec<Cidr>,
    /// The registries that are asked, by patterns as in `registries[].match`; all where there is none.
    #[serde(deserialize_with = "values::registry_matches")]
    #[schemars(inner(length(min = 1), regex(pattern = r"^[^\s]+$")))]
    pub allow_registries: Vec<String>,
    /// The registries that are not asked, in the same way, even if they are allowed.
    #[serde(deserialize_with = "values::registry_matches")]
    #[schemars(inner(length(min = 1), regex(pattern = r"^[^\s]+$")))]
    pub deny_registries: Vec<String>,
}

/// How long a registry may take.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Timeouts {
    /// Until a connection stands, name resolution and TLS included.
    #[serde(deserialize_with = "timeout")]
    #[schemars(with = "String", regex(pattern = duration::PATTERN), extend("default" = "5s"))]
    pub connect: Duration,
    /// Until an answer begins, connecting included, and again until it has ended.
    #[serde(deserialize_with = "timeout")]
    #[schemars(with = "String", regex(pattern = duration::PATTERN), extend("default" = "10s"))]
    pub request: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            request: Duration::from_secs(10),
        }
    }
}

fn timeout<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let timeout = duration::deserialize(from)?;
    if timeout.is_zero() || timeout > LONGEST {
        return Err(de::Error::custom(
            "a timeout is longer than 0s and at most 30s, the time that a whole look-up has",
        ));
    }
    Ok(timeout)
}

impl Registry {
    /// The files that the entry names.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let identity = self.client_certificate.iter();
        let identity = identity.flat_map(|identity| [&identity.certificate, &identity.key]);
        self.ca.iter().chain(identity)
    }
}

impl Configuration {
    /// What is valid, and yet dangerous: sentences for whoever is responsible.
    pub fn dangers(&self) -> Vec<String> {
        let insecure = self.registries.iter().enumerate();
        let insecure = insecure.filter(|(_, registry)| registry.insecure_skip_verify);
        let sentence = |(index, registry): (usize, &Registry)| {
            format!(
                "registries[{index}].insecureSkipVerify: the certificates of `{}` are not verified: whoever is on the way can read credentials and choose digests; name its certificate authority in `ca` instead",
                registry.pattern
            )
        };
        insecure.map(sentence).collect()
    }
}
