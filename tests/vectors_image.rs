//! The image room against the answers of Kubernetes' own code.

mod common;

use common::vectors::{agree, same};
use serde::Deserialize;
use surepull::image::{Reference, default_policy};

#[derive(Deserialize)]
struct Image {
    image: String,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Parsed {
    Reference {
        repo: String,
        tag: String,
        digest: String,
        domain: String,
        path: String,
        familiar: String,
        canonical: String,
    },
    Invalid {
        class: String,
    },
}

#[test]
fn parse() {
    agree("parse", |question: &Image, theirs: &Parsed| {
        let ours = match Reference::parse(&question.image) {
            Ok(reference) => Parsed::Reference {
                repo: reference.repository(),
                tag: reference.tag().unwrap_or_default().into(),
                digest: reference.digest().unwrap_or_default().into(),
                domain: reference.domain().into(),
                path: reference.path().into(),
                familiar: reference.familiar(),
                canonical: reference.canonical(),
            },
            Err(invalid) => Parsed::Invalid {
                class: invalid.fault.class().into(),
            },
        };
        same(&ours, theirs)
    });
}

#[derive(Deserialize)]
struct Container {
    image: String,
    #[serde(default)]
    policy: String,
}

#[derive(Deserialize)]
struct Policy {
    policy: String,
}

#[test]
fn default() {
    agree("default", |question: &Container, theirs: &Policy| {
        let ours = if question.policy.is_empty() {
            default_policy(&question.image).as_str()
        } else {
            &question.policy
        };
        same(&ours, &theirs.policy.as_str())
    });
}
