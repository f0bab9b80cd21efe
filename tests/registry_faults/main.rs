//! Look-ups at a registry that does everything wrong, one fault at a time.

#[path = "../common/mod.rs"]
mod common;

mod answers;
mod authorization;
mod endpoints;
mod guard;
mod hangs;
mod reviews;
mod sharing;
mod tls;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::{StreamExt, stream};
use surepull::config::Cache;
use surepull::credentials::Credential;
use surepull::image::Digest;
use surepull::registry::{Class, Error, Image, Resolver};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use common::faulty::{Faulty, MANIFEST, OCI_INDEX, Seen, digest, good, reply};
use common::{soon, wait_for};

/// A resolver that looks up `registry.test` there.
fn resolver(server: &Faulty) -> Resolver {
    trusting(&[&server.endpoint])
}

/// A resolver that looks up `registry.test` at the first of these, and knows the others as endpoints too.
fn trusting(endpoints: &[&str]) -> Resolver {
    let entry = |(index, endpoint): (usize, &&str)| {
        let pattern = if index == 0 {
            "registry.test".to_owned()
        } else {
            format!("other{index}.test")
        };
        common::entry(&pattern, &[endpoint], None)
    };
    let registries: Vec<_> = endpoints.iter().enumerate().map(entry).collect();
    Resolver::new(&registries, &Cache::default()).unwrap()
}

fn image() -> Image<'static> {
    Image {
        registry: "registry.test".to_owned().into(),
        repository: "app".to_owned().into(),
        tag: "1".to_owned().into(),
    }
}

async fn ask(resolver: &Resolver) -> Result<Digest, Arc<Error>> {
    resolver.resolve(&image(), &[], false, soon()).await
}

fn credential(password: &str) -> Credential {
    Credential {
        username: "alice".into(),
        password: password.as_bytes().to_vec().into(),
        source: "test".into(),
    }
}

/// The metrics as they are scraped.
fn metrics(resolver: &Resolver) -> String {
    let mut registry = prometheus_client::registry::Registry::default();
    resolver.metrics().register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    text
}

/// The table of faults is for people; what it says of tests must be so.
#[test]
fn every_row_of_the_documentation_names_tests_that_there_are() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let page = read("docs/reliability.md");
    let (_, table) = page.split_once("## Faults").unwrap();
    let rows: Vec<&str> = table
        .lines()
        .skip_while(|line| !line.starts_with("|---"))
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert!(rows.len() > 30, "{}", rows.len());
    for row in rows {
        let cell = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let mut source = String::new();
        let quoted = cell.split('`').skip(1).step_by(2);
        for name in quoted {
            let path = if name == "registry.rs" {
                "tests/registry.rs".to_owned()
            } else {
                format!("tests/registry_faults/{name}.rs")
            };
            if root.join(&path).is_file() {
                source = read(&path);
                continue;
            }
            let test = format!("async fn {}", name.trim_end_matches('…'));
            assert!(source.contains(&test), "{name}: {row}");
        }
        assert!(source.contains("[tokio::test]"), "{row}");
    }
}
