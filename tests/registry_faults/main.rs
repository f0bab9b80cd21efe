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
use surepull::registry::{Class, Error, Image, Resolver};
use tokio::net::TcpListener;
use tokio::time::Instant;

use common::faulty::{
    Faulty, MANIFEST, OCI_INDEX, Seen, ask, credential, digest, good, image, metrics, reply,
    trusting,
};
use common::{soon, wait_for};

/// The table of faults is for people; what it says of tests must be so.
#[test]
fn every_row_of_the_documentation_names_tests_that_there_are() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let page = read("docs/reliability.md");
    let (_, table) = page.split_once("## Wrong answers").unwrap();
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
