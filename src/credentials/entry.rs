//! One entry of a document: `dockerConfigEntryWithAuth` in `pkg/credentialprovider/config.go`.

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::zeroize::Zeroizing;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::json::Text;
use super::secret::Secret;

/// A user name and a password.
#[derive(Clone, Debug, Default)]
pub(super) struct Login {
    pub(super) username: Secret,
    pub(super) password: Secret,
    /// Empty where there is none.
    pub(super) identity_token: Secret,
}

/// The fields that are read. Upstream does not know `identitytoken`: whatever its value, it is no mistake.
#[derive(Default)]
pub(super) struct Fields {
    username: Zeroizing<Vec<u8>>,
    password: Zeroizing<Vec<u8>>,
    email: Zeroizing<Vec<u8>>,
    auth: Zeroizing<Vec<u8>>,
    identity_token: Zeroizing<Vec<u8>>,
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a user name and a password")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = map.next_key::<Text>()? {
            let field = if name.is_name("username") {
                &mut fields.username
            } else if name.is_name("password") {
                &mut fields.password
            } else if name.is_name("email") {
                &mut fields.email
            } else if name.is_name("auth") {
                &mut fields.auth
            } else if name.is_name("identitytoken") {
                let value: &RawValue = map.next_value()?;
                if let Ok(Text(token)) = serde_json::from_str(value.get()) {
                    fields.identity_token = token;
                }
                continue;
            } else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            // `null` leaves what an earlier value of the same name said.
            if let Some(Text(value)) = map.next_value()? {
                *field = value;
            }
        }
        Ok(fields)
    }
}

impl Fields {
    /// The credential: what `auth` says, if it says something.
    pub(super) fn login(mut self) -> Result<Login, InvalidAuth> {
        let identity_token = std::mem::take(&mut *self.identity_token).into();
        if !self.auth.is_empty() {
            let login = decode_auth(&self.auth)?;
            return Ok(Login {
                identity_token,
                ..login
            });
        }
        Ok(Login {
            username: std::mem::take(&mut *self.username).into(),
            password: std::mem::take(&mut *self.password).into(),
            identity_token,
        })
    }
}

/// What is wrong with an `auth`.
#[derive(Clone, Copy)]
pub(super) enum InvalidAuth {
    /// It is not base64.
    Base64,
    /// What it encodes has no colon.
    NoColon,
}

/// `decodeDockerConfigFieldAuth`.
fn decode_auth(auth: &[u8]) -> Result<Login, InvalidAuth> {
    let auth = str::from_utf8(auth).map_err(|_| InvalidAuth::Base64)?;
    let base64 = if auth.trim().ends_with('=') {
        &PADDED
    } else {
        &UNPADDED
    };
    // Go's decoder passes over line ends, wherever they are.
    let line: Zeroizing<Vec<u8>> = Zeroizing::new(
        auth.bytes()
            .filter(|b| !matches!(b, b'\r' | b'\n'))
            .collect(),
    );
    let decoded = base64
        .decode(&*line)
        .map(Zeroizing::new)
        .map_err(|_| InvalidAuth::Base64)?;
    let colon = decoded
        .iter()
        .position(|b| *b == b':')
        .ok_or(InvalidAuth::NoColon)?;
    Ok(Login {
        username: decoded[..colon].to_vec().into(),
        password: decoded[colon + 1..].to_vec().into(),
        ..Login::default()
    })
}

const PADDED: GeneralPurpose = base64(DecodePaddingMode::RequireCanonical);
const UNPADDED: GeneralPurpose = base64(DecodePaddingMode::RequireNone);

/// Like Go's decoder, not strict about the bits that no byte needs.
const fn base64(padding: DecodePaddingMode) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(padding);
    GeneralPurpose::new(&STANDARD, config)
}
