//! Values of the file that are checked as they are read, so that an error has the place of the value.

use std::net::IpAddr;

use http::Uri;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

use crate::workload::{Leaf, PathError, Shape};

/// A JSON pointer (RFC 6901) into the object, its metadata aside; a segment `*` runs through every element of an array or every value of a
/// map.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(extend("pattern" = r"^(/([^/~]|~[01])+)+$", "not" = {"pattern": r"^/(metadata|\*)(/|$)"}))]
pub struct Pointer(String);

impl Pointer {
    /// The pointer as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Pointer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() {
            return Err(PathError::NoPointer(text).to_string());
        }
        Shape::path(&text, Leaf::Spec).map_err(|error| error.to_string())?;
        Ok(Self(text))
    }
}

/// The URL of a registry: `http` or `https`, a host, perhaps a port and a path.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(extend("pattern" = r"^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@\s]+(/[^?#\s]*)?$"))]
pub struct Endpoint(#[schemars(with = "String")] Uri);

impl Endpoint {
    /// The URL; it has a scheme and a host, and neither user nor query.
    pub fn uri(&self) -> &Uri {
        &self.0
    }
}

impl TryFrom<String> for Endpoint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let Ok(uri) = text.parse::<Uri>() else {
            return Err(format!(
                "`{text}` is not a URL; write `https://registry.example:5000`"
            ));
        };
        let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(format!(
                "`{text}` is not an http or https URL; start it with `https://`, or with `http://` for plain HTTP"
            ));
        };
        if authority.as_str().contains('@') {
            // Not quoted: it may hold a password.
            return Err(
                "the URL holds a user name; credentials belong into a pull secret or `credentials.dockerConfig`"
                    .to_owned(),
            );
        }
        if authority.host().is_empty() || (authority.as_str().ends_with(':')) {
            return Err(format!("`{text}` lacks its host or port"));
        }
        if authority.as_str().len() > authority.host().len() && authority.port_u16().is_none() {
            return Err(format!("`{text}` has no valid port: 1 to 65535"));
        }
        if text.contains(['?', '#']) {
            return Err(format!(
                "`{text}` has a query or fragment, which a registry's address cannot have; remove it"
            ));
        }
        Ok(Self(uri))
    }
}

/// A network: `10.0.0.0/8`, `fd00::/8`, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(extend("pattern" = r"^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$"))]
pub struct Cidr(#[schemars(with = "String")] IpNet);

impl Cidr {
    /// The network.
    pub fn net(&self) -> &IpNet {
        &self.0
    }
}

impl TryFrom<String> for Cidr {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let single = |text: &str| text.parse::<IpAddr>().map(IpNet::from).ok();
        let Some(net) = text.parse::<IpNet>().ok().or_else(|| single(&text)) else {
            return Err(format!(
                "`{text}` is not a network; write it as `10.0.0.0/8`, or a single address"
            ));
        };
        if net.trunc() != net {
            return Err(format!(
                "`{text}` has bits set behind its prefix; write `{}`",
                net.trunc()
            ));
        }
        Ok(Self(net))
    }
}

pub(super) fn group<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    name(
        from,
        "an API group, without a version, such as `argoproj.io`",
    )
}

pub(super) fn kind<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    name(from, "a kind, such as `Rollout`")
}

/// Names of namespaces; whole, because a pattern that is taken for a name would exclude nothing.
pub(super) fn namespaces<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    let is_name = |name: &String| name.len() <= 63 && is_label(name);
    match names.iter().find(|name| !is_name(name)) {
        Some(name) => Err(de::Error::custom(format!(
            "`{name}` is not the name of a namespace; write it in full, such as `kube-system`: patterns are not read here"
        ))),
        None => Ok(names),
    }
}

/// Names of Secrets.
pub(super) fn secrets<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    let is_name = |name: &String| name.len() <= 253 && name.split('.').all(is_label);
    match names.iter().find(|name| !is_name(name)) {
        Some(name) => Err(de::Error::custom(format!(
            "`{name}` is not the name of a Secret; write it as it stands in its metadata, such as `registry-credentials`"
        ))),
        None => Ok(names),
    }
}

/// A part of the name of a Kubernetes object (RFC 1123), but for its length.
fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.bytes().all(inner) && text.trim_matches('-') == text
}

fn name<'de, D: Deserializer<'de>>(from: D, wanted: &str) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() || text.contains(['/', ' ', '\t', '\n']) {
        return Err(de::Error::custom(format!("`{text}` is not {wanted}")));
    }
    Ok(text)
}

pub(super) fn default_max_concurrent() -> u32 {
    super::MAX_CONCURRENT
}

/// How many look-ups at once: some, and not more than may wait for one host.
pub(super) fn max_concurrent<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let number = u32::deserialize(from)?;
    if !(1..=512).contains(&number) {
        return Err(de::Error::custom(format!(
            "`{number}` is not a usable number of look-ups at once; write 1 to 512"
        )));
    }
    Ok(number)
}

pub(super) fn registry_match<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    check_match(&text).map_err(de::Error::custom)?;
    Ok(text)
}

pub(super) fn registry_matches<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Vec<String>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    for text in &texts {
        check_match(text).map_err(de::Error::custom)?;
    }
    Ok(texts)
}

fn check_match(text: &str) -> Result<(), String> {
    if let Some((_, host)) = text.split_once("://") {
        return Err(format!(
            "`{text}` has a scheme, which image names do not have; write `{host}` here, and a URL into `registries[].endpoints`"
        ));
    }
    let (host, path) = text.split_once('/').unwrap_or((text, ""));
    let strange = |c: char| c.is_whitespace() || c.is_control() || "?#@\\".contains(c);
    let is_address = host.starts_with('[') && host.contains(']');
    if !is_address && host.contains(['[', ']']) {
        return Err(format!(
            "`{text}` has a bracket, which only an IPv6 address such as `[::1]:5000` has; of patterns there is only `*`"
        ));
    }
    if host.is_empty() || text.contains(strange) {
        return Err(format!(
            "`{text}` is not a registry; write its host as it stands in image names, such as `registry.example:5000`"
        ));
    }
    if path.contains('*') {
        return Err(format!(
            "`{text}` has a `*` in its path, where it has no meaning; end it before"
        ));
    }
    Ok(())
}
