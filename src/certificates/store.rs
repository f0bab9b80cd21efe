//! The Secret: the CA under `ca.crt` and `ca.key`, and the certificates of those before it under `previous.crt`.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::api::{Api, Error};
use super::authority::{Authority, Certificate, Defect};
use super::plan::Trust;

const CERTIFICATE: &str = "ca.crt";
const KEY: &str = "ca.key";
const PREVIOUS: &str = "previous.crt";

/// A Secret as it was read.
pub(super) struct Stored {
    pub(super) trust: Result<Trust, Defect>,
    /// What a replacement keeps; none where there is no Secret.
    secret: Option<Secret>,
}

#[derive(Deserialize)]
struct Secret {
    metadata: Map<String, Value>,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    data: Option<HashMap<String, Bytes>>,
}

/// A value of a Secret's data: base64 in JSON. Empty where it is not; zeroized.
#[derive(Default)]
struct Bytes(Zeroizing<Vec<u8>>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(from)?);
        let bytes = BASE64_STANDARD.decode(&*text).unwrap_or_default();
        Ok(Self(Zeroizing::new(bytes)))
    }
}

/// Where Secrets of a namespace are.
fn collection(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/secrets")
}

/// Reads the Secret.
pub(super) async fn read(api: &Api, namespace: &str, name: &str) -> Result<Stored, Error> {
    let path = format!("{}/{name}", collection(namespace));
    let Some(secret) = api.get::<Secret>(&path).await? else {
        return Ok(Stored {
            trust: Err(Defect::Absent),
            secret: None,
        });
    };
    Ok(Stored {
        trust: secret.data.as_ref().map_or(Err(Defect::Absent), decode),
        secret: Some(secret),
    })
}

fn decode(data: &HashMap<String, Bytes>) -> Result<Trust, Defect> {
    let value = |key| data.get(key).map_or(&[][..], |Bytes(bytes)| bytes);
    if value(CERTIFICATE).is_empty() && value(KEY).is_empty() {
        return Err(Defect::Absent);
    }
    Ok(Trust {
        authority: Arc::new(Authority::read(value(CERTIFICATE), value(KEY))?),
        previous: Certificate::read_all(value(PREVIOUS)),
    })
}

/// Writes the Secret, if nobody has since it was read.
pub(super) async fn write(
    api: &Api,
    namespace: &str,
    name: &str,
    trust: &Trust,
    stored: &Stored,
) -> Result<(), Error> {
    let previous: String = trust.previous.iter().map(Certificate::pem).collect();
    let mut data = Map::new();
    let mut add = |key: &str, bytes: &[u8]| {
        data.insert(key.to_owned(), BASE64_STANDARD.encode(bytes).into());
    };
    // What else somebody keeps there stays.
    let others = stored.secret.iter().flat_map(|secret| &secret.data);
    for (key, Bytes(bytes)) in others.flatten() {
        add(key, bytes);
    }
    let certificate = trust.authority.certificate().pem();
    add(CERTIFICATE, certificate.as_bytes());
    add(KEY, trust.authority.key_pem().as_bytes());
    add(PREVIOUS, previous.as_bytes());
    let mut secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": data,
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "surepull"}},
    });
    let collection = collection(namespace);
    let Some(replaced) = &stored.secret else {
        return api.create(&collection, &secret).await;
    };
    secret["type"] = replaced.kind.clone().into();
    // Its resourceVersion makes it a compare and swap.
    secret["metadata"] = replaced.metadata.clone().into();
    api.replace(&format!("{collection}/{name}"), &secret).await
}
