//! The handler alone: bytes in, bytes out, in this process.

use std::fs;
use std::path::Path;
use std::time::Duration;

use surepull::admission::Admission;
use surepull::cluster::Given;
use surepull::config::Configuration;
use surepull::credentials;
use surepull::pipeline::Pipeline;
use surepull::registry::Resolver;

use crate::servers::StubRegistry;

pub(crate) fn run(body: &Path, reviews: usize) {
    let body = fs::read(body).expect("a review");
    let registry = StubRegistry::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let configuration = Configuration::parse(&registry.configuration()).expect("a configuration");
    runtime.block_on(async {
        let resolver = Resolver::new(&configuration.registries()).expect("a resolver");
        let keyring = credentials::read(&configuration.credentials).expect("a keyring");
        let pipeline = Pipeline::new(configuration.settings(), resolver, keyring, Box::new(Given::default()));
        let admission = Admission::new(configuration.kinds().expect("kinds"), pipeline);
        for _ in 0..reviews {
            let answer = admission.mutate(&body, Duration::from_secs(10)).await.expect("an answer");
            assert!(answer.len() > 200, "the Pod is changed");
        }
    });
}
