//! The credentials room against the answers of Kubernetes' own code.

mod common;

use std::sync::Arc;

use common::vectors::{agree, same};
use secrecy::ExposeSecret;
use serde::Deserialize;
use surepull::credentials::{Document, Form, HubFallback, Keyring, candidates, urls_match};
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

/// The keyring of the pull secrets and that of the node.
fn keyrings(configs: &[Config]) -> Result<[Keyring; 2], String> {
    let mut secrets = Keyring::new(HubFallback::Kubelet);
    let mut node = Keyring::new(HubFallback::Kubelet);
    for (number, config) in configs.iter().enumerate() {
        let data = config.data.as_bytes();
        let (keyring, document, source) = if config.r#type == "node" {
            let document = Document::decode(Form::ConfigJson, data).map(Some);
            // The kubelet passes over a file that it cannot read.
            (
                &mut node,
                Ok(document.unwrap_or_default()),
                "node".to_owned(),
            )
        } else {
            let document = Document::from_secret(&config.r#type, |key| {
                let (_, own) = Form::of_secret(&config.r#type)?;
                (key == own).then_some(data)
            });
            (&mut secrets, document, format!("secret:s{number}"))
        };
        if let Some(document) = document.map_err(|error| error.to_string())? {
            keyring.add(document, &Arc::from(source));
        }
    }
    Ok([secrets, node])
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
                Ok((repository, [secrets, node])),
                Found::Found {
                    lookup,
                    creds,
                    any_of,
                    index,
                },
            ) => {
                same(&repository, lookup)?;
                same(
                    &secrets.keys().collect::<Vec<_>>(),
                    &index.iter().map(Into::into).collect(),
                )?;
                let ours: Vec<Login> = candidates([&secrets, &node], &repository)
                    .iter()
                    .map(|found| Login {
                        username: shown(&found.username),
                        password: shown(found.password.expose_secret()),
                        source: found.source.to_string(),
                    })
                    .collect();
                if creds.iter().chain(any_of).any(|theirs| *theirs == ours) {
                    Ok(())
                } else {
                    Err(format!("{ours:?}"))
                }
            }
        }
    });
}
