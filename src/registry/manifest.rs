//! Whether bytes are a manifest, and which of them may be pinned.

use serde::Deserialize;
use serde::de::IgnoredAny;

/// What a look-up asks for: an index before a single manifest, OCI's and Docker's, so that the digest of a
/// multi-architecture image is that of its index.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// What a media type says about the bytes it goes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One of the four that [`ACCEPT`] names.
    Manifest,
    /// Docker's schema 1: its digest is not that of its bytes, and runtimes no longer pull it.
    Schema1,
    /// Anything else.
    Other,
}

/// The refusal of schema 1, in words.
pub(super) const SCHEMA_1: &str = "the image has an outdated schema 1 manifest, which is not supported: push it again with a current tool";

/// Reads a media type, its parameters aside.
pub(super) fn kind(media_type: &str) -> Kind {
    let essence = media_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match essence.as_str() {
        "application/vnd.oci.image.index.v1+json"
        | "application/vnd.docker.distribution.manifest.list.v2+json"
        | "application/vnd.oci.image.manifest.v1+json"
        | "application/vnd.docker.distribution.manifest.v2+json" => Kind::Manifest,
        "application/vnd.docker.distribution.manifest.v1+json"
        | "application/vnd.docker.distribution.manifest.v1+prettyjws" => Kind::Schema1,
        _ => Kind::Other,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    schema_version: Option<serde_json::Value>,
    media_type: Option<serde_json::Value>,
    manifests: Option<Vec<IgnoredAny>>,
    config: Option<IgnoredAny>,
    layers: Option<Vec<IgnoredAny>>,
}

/// Whether these bytes are a manifest whose digest may be pinned; if not, why.
pub(super) fn check(body: &[u8]) -> Result<(), &'static str> {
    // serde reads an array as a struct too; a manifest is an object.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err("the body is not a manifest");
    }
    let outline: Outline =
        serde_json::from_slice(body).map_err(|_| "the body is not a manifest")?;
    let media_type = outline
        .media_type
        .as_ref()
        .map(|text| kind(text.as_str().unwrap_or_default()));
    let version = outline
        .schema_version
        .as_ref()
        .and_then(serde_json::Value::as_u64);
    match (version, media_type) {
        (Some(1), _) | (_, Some(Kind::Schema1)) => Err(SCHEMA_1),
        (Some(2), Some(Kind::Manifest)) => Ok(()),
        (Some(2), None) if outline.manifests.is_some() => Ok(()),
        (Some(2), None) if outline.config.is_some() && outline.layers.is_some() => Ok(()),
        (Some(2), Some(Kind::Other)) => Err("the body has an unknown media type"),
        _ => Err("the body is not a manifest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_and_what_only_looks_like_one() {
        let oci = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
        let schema_1 = r#"{"schemaVersion":1,"name":"a","tag":"1","fsLayers":[],"signatures":[]}"#;
        for (body, expected) in [
            (oci, Ok(())),
            (r#"{"schemaVersion":2,"manifests":[{}]}"#, Ok(())),
            (r#"{"schemaVersion":2,"config":{},"layers":[]}"#, Ok(())),
            (
                r#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json"}"#,
                Ok(()),
            ),
            (schema_1, Err(SCHEMA_1)),
            (
                r#"{"schemaVersion":2,"mediaType":"text/html","manifests":[]}"#,
                Err("the body has an unknown media type"),
            ),
            (r#"{"schemaVersion":2}"#, Err("the body is not a manifest")),
            (
                r#"{"schemaVersion":"2","manifests":[]}"#,
                Err("the body is not a manifest"),
            ),
            (r#"{"errors":[]}"#, Err("the body is not a manifest")),
            (
                r#"[2,"application/vnd.oci.image.index.v1+json",[],null,null]"#,
                Err("the body is not a manifest"),
            ),
            ("[]", Err("the body is not a manifest")),
            ("<html></html>", Err("the body is not a manifest")),
            ("", Err("the body is not a manifest")),
        ] {
            assert_eq!(check(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn media_types_are_read_without_their_parameters() {
        assert_eq!(
            kind("application/vnd.oci.image.manifest.v1+json; charset=utf-8"),
            Kind::Manifest
        );
        assert_eq!(
            kind("Application/Vnd.Docker.Distribution.Manifest.v1+prettyjws"),
            Kind::Schema1
        );
        assert_eq!(kind("text/html"), Kind::Other);
        assert!(
            ACCEPT
                .split(", ")
                .all(|media_type| kind(media_type) == Kind::Manifest)
        );
    }
}
