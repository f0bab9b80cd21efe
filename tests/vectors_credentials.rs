//! The credentials room against the answers of Kubernetes' own code.

mod common;

use std::sync::Arc;

use common::vectors::{agree, same};
use secrecy::ExposeSecret;
use serde::Deserialize;
use surepull::credentials::{
    Credential, Document, Form, HubFallback, Keyring, candidates, urls_match,
};
use surepull::image::Reference;

#[derive(Deserialize)]
struct Pair {
    glob: String,
    target: String,
}

#[derive(Deserialize)]
struct Match {
    r#match: bool,
    error: Option<String>,
}

#[test]
fn urlsmatch() {
    agree("urlsmatch", |question: &Pair, theirs: &Match| {
        let ours = urls_match(&question.glob, &question.target);
        let theirs = (theirs.r#match, theirs.error.is_some());
        same(&(ours == Ok(true), ours.is_err()), &theirs)
    });
}

#[derive(Deserialize)]
struct Lookup {
    image: String,
    #[serde(default)]
    configs: Vec<Config>,
    #[serde(default)]
    raw: bool,
}

#[derive(Deserialize)]
struct Config {
    r#type: String,
    data: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Found {
    Error {
        stage: String,
    },
    Found {
        lookup: String,
        creds: Option<Vec<Login>>,
        #[serde(rename = "anyOf", default)]
        any_of: Vec<Vec<Login>>,
        #[serde(default)]
        index: Vec<String>,
    },
}

#[derive(Debug, PartialEq, Deserialize)]
struct Login {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    source: String,
}

fn login(found: &Credential) -> Login {
    Login {
        username: shown(found.username.expose_secret()),
        password: shown(found.password.expose_secret()),
        source: found.source.to_string(),
    }
}

/// What the credentials of an image are looked up in.
struct Keyrings {
    /// One of each pull secret.
    secrets: Vec<Keyring>,
    /// One of all of them.
    together: Keyring,
    node: Keyring,
}

fn keyrings(configs: &[Config]) -> Result<Keyrings, String> {
    let new = || Keyring::new(HubFallback::Kubelet);
    let (mut secrets, mut together, mut node) = (Vec::new(), new(), new());
    for (number, config) in configs.iter().enumerate() {
        let data = config.data.as_bytes();
        if config.r#type == "node" {
            // The kubelet passes over a file that it cannot read.
            if let Ok(document) = Document::decode(Form::ConfigJson, data) {
                node.add(document, &Arc::from("node"));
            }
            continue;
        }
        let document = Document::from_secret(&config.r#type, |key| {
            let (_, own) = Form::of_secret(&config.r#type)?;
            (key == own).then_some(data)
        });
        if let Some(document) = document.map_err(|error| error.to_string())? {
            let source = Arc::from(format!("secret:s{number}"));
            let mut secret = new();
            secret.add(document.clone(), &source);
            secrets.push(secret);
            together.add(document, &source);
        }
    }
    Ok(Keyrings {
        secrets,
        together,
        node,
    })
}

/// As Go's JSON shows bytes: those that are not UTF-8 are U+FFFD, each.
fn shown(bytes: &[u8]) -> String {
    bytes
        .utf8_chunks()
        .flat_map(|chunk| {
            let replacements = chunk.invalid().iter().map(|_| '\u{fffd}');
            chunk.valid().chars().chain(replacements)
        })
        .collect()
}

#[test]
fn keyring() {
    agree("keyring", |question: &Lookup, theirs: &Found| {
        let repository = match Reference::parse(&question.image) {
            _ if question.raw => Ok(question.image.clone()),
            Ok(reference) => Ok(reference.repository()),
            Err(_) => Err("image"),
        };
        let answer = repository.and_then(|repository| {
            Ok((
                repository,
                keyrings(&question.configs).map_err(|_| "configs")?,
            ))
        });
        match (answer, theirs) {
            (Err(ours), Found::Error { stage }) => same(&ours, &stage.as_str()),
            (Err(ours), Found::Found { .. }) => Err(format!("an error of stage {ours}")),
            (Ok(_), Found::Error { .. }) => Err("no error".into()),
            (
                Ok((repository, keyrings)),
                Found::Found {
                    lookup,
                    creds,
                    any_of,
                    index,
                },
            ) => {
                same(&repository, lookup)?;
                same(
                    &keyrings.together.keys().collect::<Vec<_>>(),
                    &index.iter().map(Into::into).collect(),
                )?;
                let logins = |found: Vec<&Credential>| -> Vec<Login> {
                    found.into_iter().map(login).collect()
                };
                let ours = logins(candidates(&keyrings.secrets, &keyrings.node, &repository));
                let together = [&keyrings.together];
                same(
                    &ours,
                    &logins(candidates(together, &keyrings.node, &repository)),
                )?;

                if creds.iter().chain(any_of).any(|theirs| *theirs == ours) {
                    Ok(())
                } else {
                    Err(format!("{ours:?}"))
                }
            }
        }
    });
}
