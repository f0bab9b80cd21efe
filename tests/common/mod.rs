//! What the tests, the demo and the benchmark share.
#![allow(
    dead_code,
    unused_imports,
    missing_docs,
    unreachable_pub,
    clippy::print_stdout
)]

pub mod assets;
pub mod child;
pub mod client;
pub mod cluster;
pub mod example;
pub mod fake_api;
pub mod faulty;
pub mod mount;
pub mod mutate;
pub mod page;
pub mod presets;
pub mod proxy;
pub mod registry;
pub mod review;
pub mod serve;
pub mod show;
pub mod token_service;
pub mod trials;
pub mod vectors;

use std::path::PathBuf;
use std::time::Duration;

use surepull::config::{Configuration, Endpoint, MAX_CONCURRENT, Registry};
use surepull::credentials::Providers;
use surepull::registry::{Metrics, Resolver};
use tokio::time::Instant;

/// An entry of the configuration's `registries`.
pub fn entry(pattern: &str, endpoints: &[&str], ca: Option<PathBuf>) -> Registry {
    Registry {
        pattern: pattern.to_owned(),
        endpoints: urls(endpoints),
        ca,
        ..Registry::default()
    }
}

/// A resolver by a configuration.
pub fn configured(configuration: &Configuration) -> Resolver {
    Resolver::with_providers(configuration, Providers::default(), Metrics::default()).unwrap()
}

/// URLs as the configuration has them.
pub fn urls(urls: &[&str]) -> Vec<Endpoint> {
    let url = |url: &&str| Endpoint::try_from((*url).to_owned()).expect("a URL");
    urls.iter().map(url).collect()
}

/// A deadline that no test comes near.
pub fn soon() -> Instant {
    Instant::now() + Duration::from_mins(1)
}

/// Waits for what another task or process does a moment later, such as logging a request that it has answered.
pub async fn wait_for(condition: impl Fn() -> bool) {
    wait_until(async || condition()).await;
}

/// The same for what has to be asked for.
pub async fn wait_until(condition: impl AsyncFn() -> bool) {
    for _ in 0..3000 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("what was waited for did not happen");
}
