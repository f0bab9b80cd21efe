//! An answer as `AdmissionReview` bytes.

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::mutation::{Outcome, json_patch, warnings};

/// What the API server is told.
#[derive(Debug, Default)]
pub(super) struct Answer {
    denied: Option<String>,
    patch: Option<Vec<u8>>,
    warnings: Vec<String>,
    audit: Vec<(&'static str, String)>,
}

impl Answer {
    pub(super) fn of(outcome: &Outcome<'_>) -> Self {
        Self {
            denied: None,
            // A patch without operations would count as no patch, but cost the API server its application.
            patch: (!outcome.edits.is_empty()).then(|| json_patch(&outcome.edits)),
            warnings: outcome.warnings.clone(),
            audit: outcome.audit.clone(),
        }
    }

    pub(super) fn denied(message: String) -> Self {
        Self {
            denied: Some(message),
            ..Self::default()
        }
    }

    pub(super) fn warning(violations: &[String]) -> Self {
        Self {
            warnings: warnings(violations.to_vec()),
            ..Self::default()
        }
    }
}

/// The `AdmissionReview` (`admission.k8s.io/v1`) that answers the request with this uid.
pub(super) fn review(uid: &str, answer: &Answer) -> Vec<u8> {
    let review = Review {
        api_version: "admission.k8s.io/v1",
        kind: "AdmissionReview",
        response: Response { uid, answer },
    };
    serde_json::to_vec(&review).expect("an answer has text keys and can be written to memory")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
}

struct Response<'a> {
    uid: &'a str,
    answer: &'a Answer,
}

#[derive(Serialize)]
struct Status<'a> {
    status: &'static str,
    message: &'a str,
    reason: &'static str,
    code: u16,
}

impl Serialize for Response<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let answer = self.answer;
        let mut response = serializer.serialize_map(None)?;
        response.serialize_entry("uid", self.uid)?;
        response.serialize_entry("allowed", &answer.denied.is_none())?;
        if let Some(message) = &answer.denied {
            let status = Status {
                status: "Failure",
                message,
                reason: "Forbidden",
                code: 403,
            };
            response.serialize_entry("status", &status)?;
        }
        if let Some(patch) = &answer.patch {
            response.serialize_entry("patchType", "JSONPatch")?;
            response.serialize_entry("patch", &Base64(patch))?;
        }
        if !answer.warnings.is_empty() {
            response.serialize_entry("warnings", &answer.warnings)?;
        }
        if !answer.audit.is_empty() {
            response.serialize_entry("auditAnnotations", &Map(&answer.audit))?;
        }
        response.end()
    }
}

struct Base64<'a>(&'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(self.0, &STANDARD))
    }
}

struct Map<'a>(&'a [(&'static str, String)]);

impl Serialize for Map<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}
