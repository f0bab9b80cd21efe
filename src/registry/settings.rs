//! What the configuration says about registries and the cache.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

/// How registries are asked, and how long their answers are remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// Registries that are not asked at their own name over HTTPS with public certificates. The first whose `match`
    /// fits an image counts.
    pub registries: Vec<Registry>,
    /// How long answers are remembered.
    pub cache: CacheSettings,
}

/// How the images of some registries are looked up.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Registry {
    /// Which images: a host, with its port if the image has one, and optionally a path that ends at a `/` of the
    /// image's name. `*` stands for any text within one label of the host: `*.example.com/team`.
    pub r#match: String,
    /// Where they are looked up: `https://` or `http://` URLs, tried in order, the next one only where one is
    /// unavailable. By default the image's own host over HTTPS. A URL named here may have any address, loopback
    /// included; `http://` is plain HTTP, which is never used otherwise.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// A PEM file of certificate authorities that are trusted in addition to the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
}

/// How long answers are remembered. Times are written as `90s`, `5m` or `1h30m`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CacheSettings {
    /// How long the digest of a tag is remembered.
    #[serde(with = "duration")]
    #[schemars(with = "String", regex(pattern = "^([0-9]+(ms|s|m|h))+$"))]
    pub ttl: Duration,
    /// How long it is remembered that a look-up failed.
    #[serde(with = "duration")]
    #[schemars(with = "String", regex(pattern = "^([0-9]+(ms|s|m|h))+$"))]
    pub negative_ttl: Duration,
    /// How many answers are remembered.
    pub max_entries: u64,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            ttl: Duration::from_mins(5),
            negative_ttl: Duration::from_secs(10),
            max_entries: 10_000,
        }
    }
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A `match` that is no pattern.
    #[error("registries: match `{pattern}`: {why}")]
    Match {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An endpoint that is no URL of a registry.
    #[error("registries: match `{pattern}`: endpoint `{endpoint}`: {why}")]
    Endpoint {
        /// The pattern of its registry.
        pattern: String,
        /// The endpoint.
        endpoint: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A file of certificate authorities that cannot be used.
    #[error("registries: match `{pattern}`: ca `{}`: {why}", path.display())]
    Ca {
        /// The pattern of its registry.
        pattern: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// TLS cannot be set up at all.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Durations as Kubernetes configuration files write them (Go's `time.ParseDuration`), whole numbers only.
mod duration {
    use std::fmt::Write as _;

    use serde::de::Error;
    use serde::{Deserializer, Serializer};

    use super::{Deserialize, Duration};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).ok_or_else(|| {
            D::Error::custom(format!(
                "`{text}` is not a duration such as `90s`, `5m` or `1h30m`"
            ))
        })
    }

    /// For the default values in the schema.
    pub(super) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&print(*duration))
    }

    fn print(duration: Duration) -> String {
        let mut rest = duration.as_millis();
        let mut text = String::new();
        for (unit, milliseconds) in [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
            if rest >= milliseconds {
                let _ = write!(text, "{}{unit}", rest / milliseconds);
                rest %= milliseconds;
            }
        }
        if text.is_empty() {
            "0s".to_owned()
        } else {
            text
        }
    }

    fn parse(text: &str) -> Option<Duration> {
        let mut rest = text;
        let mut total = Duration::ZERO;
        while !rest.is_empty() {
            let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
            let (unit, after) = after.split_at(
                after
                    .find(|c: char| c.is_ascii_digit())
                    .unwrap_or(after.len()),
            );
            let milliseconds: u64 = match unit {
                "ms" => 1,
                "s" => 1000,
                "m" => 60_000,
                "h" => 3_600_000,
                _ => return None,
            };
            let part = number.parse::<u64>().ok()?.checked_mul(milliseconds)?;
            total = total.checked_add(Duration::from_millis(part))?;
            rest = after;
        }
        // Beyond what the cache can count with, and beyond use.
        (!text.is_empty() && total <= Duration::from_hours(24 * 365)).then_some(total)
    }

    #[cfg(test)]
    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, milliseconds) in [
            ("0s", 0),
            ("90s", 90_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
        ] {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(parse(text), Some(duration), "{text}");
            assert_eq!(parse(&print(duration)), Some(duration), "{text}");
        }
        for text in [
            "",
            "5",
            "m",
            "5 m",
            "-5m",
            "1.5h",
            "5d",
            "99999999999999999999s",
            "9999999999h",
            "1h30",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
