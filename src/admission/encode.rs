//! An answer as `AdmissionReview` bytes, written without an intermediate tree.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::mutation::{Outcome, annotation_value, json_text, warnings};

/// What the API server is told.
#[derive(Debug, Default)]
pub(super) struct Answer {
    denied: Option<String>,
    patch: Option<Vec<u8>>,
    warnings: Vec<String>,
    audit: Vec<(&'static str, String)>,
}

impl Answer {
    pub(super) fn of(outcome: Outcome<'_>) -> Self {
        Self {
            patch: outcome.patch(),
            denied: outcome.denied,
            warnings: outcome.warnings,
            audit: outcome.audit,
        }
    }

    pub(super) fn denied(message: String) -> Self {
        Self {
            denied: Some(message),
            ..Self::default()
        }
    }

    pub(super) fn warning(violations: &[String]) -> Self {
        let told: Vec<String> = violations
            .iter()
            .map(|violation| format!("surepull would deny: {violation}"))
            .collect();
        Self {
            warnings: warnings(&told),
            audit: annotation_value(violations)
                .map(|value| ("would-deny", value))
                .into_iter()
                .collect(),
            ..Self::default()
        }
    }
}

/// The `AdmissionReview` (`admission.k8s.io/v1`) that answers the request with this uid.
pub(super) fn review(uid: &str, answer: &Answer) -> Vec<u8> {
    let patch = answer.patch.as_deref().unwrap_or_default();
    let mut out = Vec::with_capacity(1024 + patch.len() / 3 * 4);
    out.extend_from_slice(
        br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"#,
    );
    json_text(&mut out, uid);
    member(&mut out, "allowed", &answer.denied.is_none());
    if let Some(message) = &answer.denied {
        member(
            &mut out,
            "status",
            &Status {
                status: "Failure",
                message,
                reason: "Forbidden",
                code: 403,
            },
        );
    }
    if answer.patch.is_some() {
        member(&mut out, "patchType", "JSONPatch");
        // Base64 has no character that JSON escapes.
        out.extend_from_slice(br#","patch":""#);
        base64(&mut out, patch);
        out.push(b'"');
    }
    if !answer.warnings.is_empty() {
        member(&mut out, "warnings", &answer.warnings);
    }
    for (position, (key, value)) in answer.audit.iter().enumerate() {
        out.extend_from_slice(if position == 0 {
            br#","auditAnnotations":{"#
        } else {
            b","
        });
        json_text(&mut out, key);
        out.push(b':');
        json_text(&mut out, value);
    }
    if !answer.audit.is_empty() {
        out.push(b'}');
    }
    out.extend_from_slice(b"}}");
    out
}

#[derive(Serialize)]
#[allow(clippy::struct_field_names, reason = "the names of metav1.Status")]
struct Status<'a> {
    status: &'static str,
    message: &'a str,
    reason: &'static str,
    code: u16,
}

fn member(out: &mut Vec<u8>, key: &str, value: &(impl Serialize + ?Sized)) {
    out.push(b',');
    json_text(out, key);
    out.push(b':');
    serde_json::to_writer(out, value).expect("texts and numbers can be written to memory");
}

fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    STANDARD
        .encode_slice(bytes, &mut out[start..])
        .expect("there is room for four characters for three bytes");
}
