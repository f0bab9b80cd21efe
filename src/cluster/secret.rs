//! From a Secret to a keyring. What is not needed is never kept, and what is needed is zeroized.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use secrecy::zeroize::Zeroizing;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::{Answer, Unreadable};
use crate::credentials::{Document, Form, Keyring};

/// How many registries a pull secret may name: each image is compared with all of them.
const ENTRIES: usize = 256;
/// How many bytes it may have: those that are in use are kept.
const BYTES: usize = 128 << 10;

/// The keyring of a pull secret, by its type and the data under a key: what the kubelet reads of it
/// (`pkg/credentialprovider/secrets/secrets.go`).
pub(super) fn keyring<'d>(
    namespace: &str,
    name: &str,
    secret_type: &str,
    data: impl Fn(&str) -> Option<&'d [u8]>,
) -> Answer<Keyring> {
    let (_, key) = Form::of_secret(secret_type).ok_or(Unreadable::WrongType)?;
    if data(key).is_some_and(|text| text.len() > BYTES) {
        return Err(Unreadable::TooLarge);
    }
    let document = Document::from_secret(secret_type, data)?.ok_or(Unreadable::Empty(key))?;
    if document.len() > ENTRIES {
        return Err(Unreadable::TooLarge);
    }
    let mut keyring = Keyring::default();
    let source = format!("pull secret {name:?} of namespace {namespace}");
    keyring.add(document, &Arc::from(source));
    Ok(Arc::new(keyring))
}

/// The keyring of a Secret as the API server writes it.
pub(super) fn decode(namespace: &str, name: &str, json: &[u8]) -> Answer<Keyring> {
    // The error would quote the text.
    let secret: Secret = serde_json::from_slice(json).map_err(|_| Unreadable::Nonsense)?;
    let data = secret.data.unwrap_or_default();
    keyring(namespace, name, &secret.secret_type, |key| {
        let value = match key {
            ".dockerconfigjson" => &data.docker_config_json,
            _ => &data.dockercfg,
        };
        value.as_ref().map(|Value(bytes)| &***bytes)
    })
}

/// What is read of a Secret.
#[derive(serde::Deserialize)]
struct Secret {
    #[serde(rename = "type", default)]
    secret_type: String,
    #[serde(default)]
    data: Option<Data>,
}

#[derive(Default, serde::Deserialize)]
struct Data {
    #[serde(rename = ".dockerconfigjson", default)]
    docker_config_json: Option<Value>,
    #[serde(rename = ".dockercfg", default)]
    dockercfg: Option<Value>,
}

/// A value of a Secret's data; base64 in JSON. (`ByteString` of k8s-openapi would leave its bytes in memory.)
struct Value(Zeroizing<Vec<u8>>);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(ValueVisitor)
    }
}

struct ValueVisitor;

impl Visitor<'_> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("base64")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        // Of the full length from the beginning, so that no shorter one is left behind.
        let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
        let length = BASE64_STANDARD
            .decode_slice(text, &mut bytes)
            .map_err(|_| E::custom("not base64"))?;
        bytes.truncate(length);
        Ok(Value(bytes))
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use serde_json::json;

    use super::*;
    use crate::credentials::Malformed;

    const CONFIG: &str = r#"{"auths": {"r.io": {"username": "u", "password": "hunter2"}}}"#;
    const CONFIG_TYPE: &str = "kubernetes.io/dockerconfigjson";

    fn read(secret_type: &str, data: &serde_json::Value) -> Answer<Keyring> {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "managedFields": [{}]},
            "type": secret_type, "data": data, "immutable": true,
        });
        decode("ns", "s", secret.to_string().as_bytes())
    }

    #[test]
    fn pull_secrets_become_keyrings() {
        let base64 = |text: &str| BASE64_STANDARD.encode(text);
        let keyring = read(
            CONFIG_TYPE,
            &json!({"x": base64("y"), ".dockerconfigjson": base64(CONFIG), ".dockercfg": base64("{")}),
        );
        let keyring = keyring.unwrap();
        let [found] = keyring.lookup("r.io/app")[..] else {
            panic!("one entry");
        };
        assert_eq!(found.username.expose_secret(), b"u");
        assert_eq!(&*found.source, r#"pull secret "s" of namespace ns"#);
        let old = read(
            "kubernetes.io/dockercfg",
            &json!({".dockercfg": base64(r#"{"r.io": {}}"#)}),
        );
        assert_eq!(old.unwrap().lookup("r.io/app").len(), 1);
    }

    #[test]
    fn what_nobody_writes_is_not_compared_with_every_image() {
        for (count, is_read) in [(ENTRIES, true), (ENTRIES + 1, false)] {
            let entries = (0..count).map(|number| format!(r#""user{number}@r.io": {{}}"#));
            let document = format!("{{{}}}", entries.collect::<Vec<_>>().join(","));
            let data = json!({".dockercfg": BASE64_STANDARD.encode(document)});
            let keyring = read("kubernetes.io/dockercfg", &data);
            assert_eq!(keyring.is_ok(), is_read, "{count}");
        }
        for (length, is_read) in [(BYTES, true), (BYTES + 1, false)] {
            let text = r#"{"r.io": {}}"#;
            let document = text.to_owned() + &" ".repeat(length - text.len());
            let data = json!({".dockercfg": BASE64_STANDARD.encode(document)});
            let keyring = read("kubernetes.io/dockercfg", &data);
            assert_eq!(keyring.is_ok(), is_read, "{length}");
        }
    }

    #[test]
    fn what_is_no_pull_secret_has_a_reason_without_a_value() {
        let base64 = |text: &str| BASE64_STANDARD.encode(text);
        let config = base64(CONFIG);
        for (secret_type, data, expected) in [
            (
                "Opaque",
                json!({".dockerconfigjson": config}),
                Unreadable::WrongType,
            ),
            ("", json!(null), Unreadable::WrongType),
            (
                CONFIG_TYPE,
                json!(null),
                Unreadable::Empty(".dockerconfigjson"),
            ),
            (
                CONFIG_TYPE,
                json!({".dockercfg": config}),
                Unreadable::Empty(".dockerconfigjson"),
            ),
            (
                CONFIG_TYPE,
                json!({".dockerconfigjson": ""}),
                Unreadable::Empty(".dockerconfigjson"),
            ),
            (
                "kubernetes.io/dockercfg",
                json!({".dockercfg": null}),
                Unreadable::Empty(".dockercfg"),
            ),
            (
                CONFIG_TYPE,
                json!({".dockerconfigjson": "hunter2"}),
                Unreadable::Nonsense,
            ),
            (
                CONFIG_TYPE,
                json!({".dockerconfigjson": {"hunter2": 1}}),
                Unreadable::Nonsense,
            ),
            (CONFIG_TYPE, json!("hunter2"), Unreadable::Nonsense),
        ] {
            assert_eq!(read(secret_type, &data).unwrap_err(), expected, "{data}");
        }
        let malformed = json!({".dockerconfigjson": base64(r#"{"auths": {"r.io": "hunter2"}}"#)});
        let error = read(CONFIG_TYPE, &malformed).unwrap_err();
        assert!(matches!(
            &error,
            Unreadable::Malformed(Malformed::Type { line: 1, .. })
        ));
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn a_keyring_shows_no_value() {
        let config = r#"{"auths": {"r.io": {"username": "token", "password": "hunter2"}}}"#;
        let data = json!({".dockerconfigjson": BASE64_STANDARD.encode(config)});
        let shown = format!("{:?}", read(CONFIG_TYPE, &data));
        assert!(shown.contains("pull secret"), "{shown}");
        for value in ["token", "hunter2"] {
            let numbers = format!("{:?}", value.as_bytes());
            let numbers = numbers.trim_matches(['[', ']']);
            assert!(
                !shown.contains(value) && !shown.contains(numbers),
                "{shown}"
            );
        }
    }
}
