//! Docker configuration documents: `DockerConfigJSON` and `DockerConfig` in `pkg/credentialprovider/config.go`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use secrecy::zeroize::Zeroize;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::error::Category;

use super::entry::{Fields, InvalidAuth, Login};
use super::json::{Text, to_utf8};
use super::key::Key;

/// The two forms of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `{"auths": {KEY: ENTRY}}`: `config.json` of Docker, and Secrets of type `kubernetes.io/dockerconfigjson`.
    ConfigJson,
    /// `{KEY: ENTRY}`: the older `.dockercfg`, and Secrets of type `kubernetes.io/dockercfg`.
    Dockercfg,
}

impl Form {
    /// The form that a Secret of this type has, and the key of the Secret's data that holds it.
    pub fn of_secret(secret_type: &str) -> Option<(Self, &'static str)> {
        match secret_type {
            "kubernetes.io/dockerconfigjson" => Some((Self::ConfigJson, ".dockerconfigjson")),
            "kubernetes.io/dockercfg" => Some((Self::Dockercfg, ".dockercfg")),
            _ => None,
        }
    }
}

/// A docker configuration document: keys that name registries, each with a user name and a password.
///
/// The entries are in the order of the document. Upstream keeps them in a map of Go, whose order is random (for up to
/// eight entries: that of the document, but from a random one on); it shows where several keys of one document have
/// the same normal form.
#[derive(Clone, Debug)]
pub struct Document {
    pub(super) entries: Vec<Entry>,
}

/// What a document says of a key that is a URL or a documented pattern.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) login: Login,
}

impl Document {
    /// How many entries it has.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Reads a document by the rules of Go's `encoding/json`: names in any case, of a repeated name the last value
    /// (repeated `auths` are merged), `null` as if absent, no text after the value, and a wrong type anywhere in what
    /// is read is an error.
    ///
    /// A key that is neither URL nor documented pattern is left out; upstream leaves out the patterns too, with a line in
    /// the log.
    pub fn decode(form: Form, document: &[u8]) -> Result<Self, Malformed> {
        let mut text = to_utf8(document);
        let mut logins = Logins::default();
        let outcome = logins.read(form, &text);
        if let Cow::Owned(text) = &mut text {
            text.zeroize();
        }
        outcome.map_err(|error| Malformed::json(&error))?;
        if let Some(malformed) = logins.malformed {
            return Err(malformed);
        }
        let mut logins: Vec<_> = logins.by_key.into_iter().collect();
        logins.sort_unstable_by_key(|(_, (number, _))| *number);
        let entries = logins.into_iter().filter_map(|(text, (_, login))| {
            let key = Key::parse(&text)?;
            Some(Entry { key, login })
        });
        Ok(Self {
            entries: entries.collect(),
        })
    }

    /// A document of these entries. One whose key is no URL is left out.
    pub(super) fn of<'k>(logins: impl IntoIterator<Item = (&'k str, Login)>) -> Self {
        let entries = logins.into_iter().filter_map(|(text, login)| {
            let key = Key::parse(text.as_bytes())?;
            Some(Entry { key, login })
        });
        Self {
            entries: entries.collect(),
        }
    }

    /// Reads a pull secret, given its type and its data. `None` where the kubelet passes over it: another type, or
    /// no data under the key that belongs to the type. `MakeDockerKeyring` in `pkg/credentialprovider/secrets`.
    pub fn from_secret<'d>(
        secret_type: &str,
        data: impl FnOnce(&str) -> Option<&'d [u8]>,
    ) -> Result<Option<Self>, Malformed> {
        let Some((form, key)) = Form::of_secret(secret_type) else {
            return Ok(None);
        };
        data(key)
            .filter(|document| !document.is_empty())
            .map(|document| Self::decode(form, document))
            .transpose()
    }
}

/// Why a text is no docker configuration document. Says where, never what was found there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is not JSON.
    #[error("it is not JSON, see line {line}, column {column}")]
    Json {
        /// The line, from 1.
        line: usize,
        /// The byte in the line, from 1.
        column: usize,
    },
    /// A value has the wrong type.
    #[error(
        "it is JSON, but a value has the wrong type for a docker configuration, see line {line}, column {column}"
    )]
    Type {
        /// The line, from 1.
        line: usize,
        /// The byte in the line, from 1.
        column: usize,
    },
    /// The `auth` of an entry is not base64.
    #[error("the `auth` of {0} is not base64")]
    Base64(String),
    /// The `auth` of an entry has no colon.
    #[error("the `auth` of {0} is not base64 of USERNAME:PASSWORD, there is no colon")]
    NoColon(String),
}

impl Malformed {
    fn json(error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        match error.classify() {
            Category::Data => Self::Type { line, column },
            Category::Io | Category::Syntax | Category::Eof => Self::Json { line, column },
        }
    }

    fn auth(error: InvalidAuth, key: &[u8]) -> Self {
        // The normal form, as the key may hold a user name and a password in front of the host; with a slash in them
        // they are in the path.
        let name = match Key::parse(key).map(|key| key.to_string()) {
            Some(key) if key.contains('@') => "an entry whose key is not shown".to_owned(),
            Some(key) => format!("entry {:?}", key.chars().take(256).collect::<String>()),
            None => "an entry whose key is not a URL".to_owned(),
        };
        match error {
            InvalidAuth::Base64 => Self::Base64(name),
            InvalidAuth::NoColon => Self::NoColon(name),
        }
    }
}

/// What has been read so far.
#[derive(Default)]
struct Logins {
    /// With the number of the key among those of the document; of a repeated key that of the first.
    by_key: BTreeMap<Vec<u8>, (usize, Login)>,
    malformed: Option<Malformed>,
}

impl Logins {
    fn read(&mut self, form: Form, text: &[u8]) -> serde_json::Result<()> {
        // Like Go's `checkValid`: [`Text`] would let pass a control character that is not escaped.
        serde_json::from_slice::<IgnoredAny>(text)?;
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        match form {
            Form::ConfigJson => Config(self).deserialize(&mut deserializer),
            Form::Dockercfg => self.deserialize(&mut deserializer),
        }
    }
}

/// `{KEY: ENTRY}`; `null` takes back what an earlier value of the same name said.
impl<'de> DeserializeSeed<'de> for &mut Logins {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for &mut Logins {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of entries")
    }

    fn visit_none<E>(self) -> Result<(), E> {
        self.by_key.clear();
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Text(mut key)) = map.next_key()? {
            let fields: Option<Fields> = map.next_value()?;
            match fields.unwrap_or_default().login() {
                Ok(login) => {
                    let number = self.by_key.len();
                    let entry = self.by_key.entry(std::mem::take(&mut key));
                    entry.or_insert((number, Login::default())).1 = login;
                }
                // The document is malformed even if the key is repeated later.
                Err(error) => {
                    let malformed = Malformed::auth(error, &key);
                    self.malformed.get_or_insert(malformed);
                }
            }
        }
        Ok(())
    }
}

/// `{"auths": {KEY: ENTRY}}`.
struct Config<'a>(&'a mut Logins);

impl<'de> DeserializeSeed<'de> for Config<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Config<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the field `auths`")
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Text>()? {
            if name.is_name("auths") {
                map.next_value_seed(&mut *self.0)?;
            } else if name.is_name("HttpHeaders") {
                map.next_value::<Option<Headers>>()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// Upstream reads `HttpHeaders` and has no use for it, but it must be an object of strings.
struct Headers;

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeadersVisitor)
    }
}

struct HeadersVisitor;

impl<'de> Visitor<'de> for HeadersVisitor {
    type Value = Headers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
        while map.next_entry::<Text, Option<Text>>()?.is_some() {}
        Ok(Headers)
    }
}

#[cfg(test)]
mod tests;
