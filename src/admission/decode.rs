//! `AdmissionReview` bytes as a review, borrowed from them.

use std::borrow::Cow;

use crate::mutation::Review;
use crate::workload::{Kinds, Operation};

use super::BadRequest;
use super::depth::is_too_deep;
use super::envelope::{Envelope, EnvelopeSeed};

use serde::de::DeserializeSeed;

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// A well-formed request.
#[derive(Debug)]
pub struct Request<'a> {
    /// What the answer has to repeat.
    pub uid: Cow<'a, str>,
    /// The kind of the object, without its group.
    pub kind: Cow<'a, str>,
    /// What is to be decided, if the kind is one that holds pod specs and there is an object.
    pub review: Option<Review<'a>>,
}

/// Reads a request. Only what the `Shape` of the kind leads to is looked at; the rest is skipped.
pub fn decode<'a>(body: &'a [u8], kinds: &Kinds) -> Result<Request<'a>, BadRequest> {
    let text = std::str::from_utf8(body).map_err(|error| {
        BadRequest::new(format!(
            "the body is not UTF-8, from byte {} on",
            error.valid_up_to()
        ))
    })?;
    if is_too_deep(text) {
        return Err(BadRequest::new(
            "the body is nested more than 10000 levels deep",
        ));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let envelope = EnvelopeSeed(kinds)
        .deserialize(&mut json)
        .and_then(|envelope| json.end().map(|()| envelope))
        .map_err(|error| {
            BadRequest::new(format!("the body is no AdmissionReview in JSON: {error}"))
        })?;
    request(envelope)
}

fn request(envelope: Envelope<'_>) -> Result<Request<'_>, BadRequest> {
    if envelope.kind != KIND {
        let found = &envelope.kind;
        return Err(BadRequest::new(format!(
            "the body's kind is {found:?}; send an AdmissionReview"
        )));
    }
    if envelope.api_version != API_VERSION {
        let found = &envelope.api_version;
        return Err(BadRequest::new(format!(
            "the review's apiVersion is {found:?}; register the webhook with admissionReviewVersions: [v1] to get {API_VERSION}"
        )));
    }
    let request = envelope
        .request
        .ok_or_else(|| BadRequest::new("the review has no request"))?;
    if request.uid.is_empty() {
        return Err(BadRequest::new("the review's request has no uid"));
    }
    let missing = |what| BadRequest::new(format!("the review's request has no {what}"));
    let kind = request.kind.ok_or_else(|| missing("kind"))?;
    let operation = request.operation.ok_or_else(|| missing("operation"))?;
    if kind.kind.is_empty() {
        return Err(missing("kind.kind"));
    }
    let review = request
        .class
        .zip(request.object)
        .map(|(class, object)| Review {
            class,
            operation,
            subresource: request.subresource,
            namespace: request.namespace,
            object,
            old: if operation == Operation::Update {
                request.old_object
            } else {
                None
            },
        });
    Ok(Request {
        uid: request.uid,
        kind: kind.kind,
        review,
    })
}
