//! Content digests, valid by the rules of `digest.go` and `algorithm.go` of `github.com/opencontainers/go-digest` v1.0.0.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// A hash function that a digest may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// `sha256`, the one in common use.
    Sha256,
    /// `sha384`.
    Sha384,
    /// `sha512`.
    Sha512,
}

impl Algorithm {
    /// The name in front of the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Sha384, Self::Sha512]
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
    }

    /// The number of hex digits.
    fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha384 => 96,
            Self::Sha512 => 128,
        }
    }

    fn digest(self, bytes: &[u8]) -> String {
        match self {
            Self::Sha256 => self.text(&Sha256::digest(bytes)),
            Self::Sha384 => self.text(&Sha384::digest(bytes)),
            Self::Sha512 => self.text(&Sha512::digest(bytes)),
        }
    }

    fn text(self, hash: &[u8]) -> String {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(self.as_str().len() + 1 + self.hex_len());
        text.push_str(self.as_str());
        text.push(':');
        for byte in hash {
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
        text
    }
}

/// A valid digest: `sha256`, `sha384` or `sha512`, a colon, and the right number of lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Digest {
    // Shared: a remembered digest is handed out with every review.
    text: Arc<str>,
    algorithm: Algorithm,
}

impl Digest {
    /// Reads a digest as `digest.Parse` of go-digest does.
    pub fn parse(text: &str) -> Result<Self, InvalidDigest> {
        let algorithm = check(text)?;
        Ok(Self {
            text: text.into(),
            algorithm,
        })
    }

    /// The `sha256` digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let algorithm = Algorithm::Sha256;
        Self {
            text: algorithm.digest(bytes).into(),
            algorithm,
        }
    }

    /// Whether these bytes have this digest, by the digest's own algorithm.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        *self.algorithm.digest(bytes) == *self.text
    }

    /// The digest as it is written, `sha256:…`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The hash function.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a text is not a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDigest {
    /// It is not an algorithm, a colon, and lower-case hex digits.
    #[error("the digest is not an algorithm, a colon and lower-case hex digits")]
    Format,
    /// The algorithm is none of [`Algorithm`].
    #[error("the digest's algorithm is not sha256, sha384 or sha512")]
    Unsupported,
    /// The number of hex digits is not that of the algorithm.
    #[error("the digest has not as many hex digits as its algorithm needs")]
    Length,
}

/// `Digest.Validate`: the algorithm of a valid digest.
pub(super) fn check(text: &str) -> Result<Algorithm, InvalidDigest> {
    let Some((name, encoded)) = text.split_once(':') else {
        return Err(InvalidDigest::Format);
    };
    let Some(algorithm) = Algorithm::of_name(name) else {
        return Err(if is_well_formed(name, encoded) {
            InvalidDigest::Unsupported
        } else {
            InvalidDigest::Format
        });
    };
    if encoded.is_empty() {
        return Err(InvalidDigest::Format);
    }
    if encoded.len() != algorithm.hex_len() {
        return Err(InvalidDigest::Length);
    }
    if !encoded
        .bytes()
        .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    {
        return Err(InvalidDigest::Format);
    }
    Ok(algorithm)
}

/// `DigestRegexp`, which allows any algorithm and URL-safe base64.
fn is_well_formed(algorithm: &str, encoded: &str) -> bool {
    algorithm.split(['.', '+', '_', '-']).all(|part| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    }) && !encoded.is_empty()
        && encoded
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'=' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_bytes() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").as_str(), empty);
        assert_eq!(Digest::of(b"").to_string(), empty);
        assert!(Digest::of(b"abc").matches(b"abc"));
        assert!(!Digest::of(b"abc").matches(b"abd"));
        let sha512 = "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                      2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
        let sha384 = "sha384:cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed\
                      8086072ba1e7cc2358baeca134c825a7";
        for (text, algorithm) in [(sha512, Algorithm::Sha512), (sha384, Algorithm::Sha384)] {
            let digest = Digest::parse(text).unwrap();
            assert_eq!(digest.algorithm(), algorithm);
            assert!(digest.matches(b"abc"));
            assert!(!digest.matches(b""));
        }
    }

    #[test]
    fn invalid_digests() {
        let hex = "a".repeat(64);
        for (text, why) in [
            (String::new(), InvalidDigest::Format),
            ("sha256".into(), InvalidDigest::Format),
            ("sha256:".into(), InvalidDigest::Format),
            ("md5:".into(), InvalidDigest::Format),
            (format!(":{hex}"), InvalidDigest::Format),
            (hex.clone(), InvalidDigest::Format),
            (format!("SHA256:{hex}"), InvalidDigest::Format),
            (
                format!("sha256:{}", hex.to_uppercase()),
                InvalidDigest::Format,
            ),
            (format!("sha256:{}g", &hex[1..]), InvalidDigest::Format),
            (format!("sha256:{}", &hex[1..]), InvalidDigest::Length),
            (format!("sha256:{hex}a"), InvalidDigest::Length),
            (format!("sha256:{hex}\n"), InvalidDigest::Length),
            (format!("sha512:{hex}"), InvalidDigest::Length),
            (format!("sha384:{hex}"), InvalidDigest::Length),
            (format!("md5:{hex}"), InvalidDigest::Unsupported),
            (format!("sha256+b64:{hex}=="), InvalidDigest::Unsupported),
            (format!("sha1:{hex}!"), InvalidDigest::Format),
            (format!("a..b:{hex}"), InvalidDigest::Format),
        ] {
            assert_eq!(Digest::parse(&text), Err(why), "{text}");
        }
    }
}
