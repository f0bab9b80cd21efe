//! The handler alone: bytes in, bytes out, in this process.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use surepull::admission::Admission;
use surepull::cluster::Given;
use surepull::config;
use surepull::credentials::Files;
use surepull::pipeline::Pipeline;
use surepull::registry::Resolver;

use crate::servers::StubRegistry;

pub(crate) fn run(body: &str, reviews: usize) {
    let body = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(body)).expect("a review");
    let registry = StubRegistry::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let configuration =
        config::parse(registry.configuration().as_bytes()).expect("a configuration");
    runtime.block_on(async {
        let resolver =
            Resolver::new(&configuration.registries, &configuration.cache).expect("a resolver");
        let files = Files::read(&configuration.credentials.docker_config).expect("credentials");
        let pipeline = Pipeline::new(
            configuration.settings,
            resolver,
            files.keyring,
            Arc::new(Given::default()),
        );
        let admission = Admission::new(configuration.kinds, pipeline);
        for _ in 0..reviews {
            let answer = admission
                .mutate(&body, Duration::from_secs(10))
                .await
                .expect("an answer");
            assert!(answer.len() > 200, "the Pod is changed");
        }
    });
}
