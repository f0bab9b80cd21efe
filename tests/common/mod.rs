//! What the tests, the demo and the benchmark share.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::print_stdout)]

pub mod client;
pub mod mutate;
pub mod registry;
pub mod serve;
pub mod token_service;
pub mod vectors;

use std::path::PathBuf;

use surepull::config::{Endpoint, Registry};

/// An entry of the configuration's `registries`.
pub fn entry(pattern: &str, endpoints: &[&str], ca: Option<PathBuf>) -> Registry {
    let endpoint = |url: &&str| Endpoint::try_from((*url).to_owned()).expect("a URL");
    Registry {
        pattern: pattern.to_owned(),
        endpoints: endpoints.iter().map(endpoint).collect(),
        ca,
    }
}
