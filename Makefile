# `make help` lists the targets.

# What is built once for the tests, the demo and the benchmark, outside of the repository.
SUREPULL_ASSETS ?= $(HOME)/.cache/surepull-assets
export SUREPULL_ASSETS

# The registry that tests run against: https://github.com/distribution/distribution
REGISTRY_VERSION := v3.1.2
REGISTRY_MODULE := github.com/distribution/distribution/v3/cmd/registry
CARGO_DENY_VERSION := 0.20.2
CYCLONEDX_VERSION := 0.5.9
ABOUT_VERSION := 0.9.3

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: registry ## run the main job on real reviews, with a registry on loopback; no cluster, no internet
	cargo build --locked --bin surepull --example demo
	cargo run --locked --quiet --example demo

.PHONY: demo-cluster
demo-cluster: assets ## run the examples on a real API server, and leave you a cluster to try; no internet
	cargo build --locked --bin surepull --example demo_cluster
	cargo run --locked --quiet --example demo_cluster

.PHONY: test
test: assets node-packages prometheus oci-image ## run all tests; E2E_NODE=skip leaves out those on a real node
	cargo test --locked --no-fail-fast

.PHONY: check
check: test lint docs deny ## run all that a change has to pass

.PHONY: lint
lint: ## check format and lints
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings

.PHONY: docs
docs: ## build the crate's documentation, warnings denied
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps

.PHONY: deny
deny: ## check licences, bans and sources of the dependencies
	@cargo deny --version 2>/dev/null | grep -qx 'cargo-deny $(CARGO_DENY_VERSION)' || cargo install --locked cargo-deny@$(CARGO_DENY_VERSION)
	cargo deny check licenses bans sources

.PHONY: bench
bench: ## measure the served binary beside a bare echo, and count the handler's instructions
	@command -v valgrind h2load taskset | grep -c . | grep -qx 3 || { apt-get update && apt-get install -y valgrind nghttp2-client util-linux; }
	cargo bench --locked --bench webhook

.PHONY: registry
registry: ## build the registry that demos and tests run (needs Go)
	@REGISTRY="$(REGISTRY_MODULE)@$(REGISTRY_VERSION)" tests/kube/build.sh registry

.PHONY: assets
assets: registry ## build what tests need beside the crate: that registry, a real Kubernetes, Helm (needs Go)
	@tests/kube/build.sh kube
	@tests/kube/build.sh helm
	@tests/kube/build.sh schemas

.PHONY: chart
chart: assets ## write what is generated of the chart: its schema and README, and deploy/
	SUREPULL_WRITE=1 cargo test --locked --test chart the_generated_schema
	SUREPULL_WRITE=1 cargo test --locked --test chart generated

.PHONY: reference
reference: ## write what is generated of the configuration: docs/configuration.schema.json and docs/settings.md
	cargo run --locked --quiet -- config schema > docs/configuration.schema.json
	SUREPULL_WRITE=1 cargo test --locked --test reference

.PHONY: metrics
metrics: assets prometheus ## write the table of docs/metrics.md
	SUREPULL_WRITE=1 cargo test --locked --test telemetry every_metric

.PHONY: image
image: ## build the image, with Docker or without
	deploy/image.sh

.PHONY: oci-image
oci-image: # the same, always without, for the tests
	@deploy/image.sh oci

.PHONY: sbom
sbom: ## list what is in the program, with licences (CycloneDX), in target/surepull.cdx.json
	@cargo cyclonedx --version 2>/dev/null | grep -q ' $(CYCLONEDX_VERSION)$$' || cargo install --locked cargo-cyclonedx@$(CYCLONEDX_VERSION)
	cargo cyclonedx --quiet --format json --describe binaries --no-build-deps --spec-version 1.5 --target x86_64-unknown-linux-musl
	mkdir -p target && mv surepull_bin.cdx.json target/surepull.cdx.json

.PHONY: licenses
licenses: ## write the licences of all that is in the program, for the image
	@cargo about --version 2>/dev/null | grep -qx 'cargo-about $(ABOUT_VERSION)' || cargo install --locked --features cli cargo-about@$(ABOUT_VERSION)
	cd deploy/licenses && cargo about generate --locked --manifest-path ../../Cargo.toml --config about.toml template.hbs --output-file third-party.txt

.PHONY: kind
kind: ## follow the quick start in a cluster of kind's (needs Docker, kind, kubectl, helm, the internet)
	deploy/kind.sh

.PHONY: prometheus
prometheus: ## fetch the Prometheus that tests ask (Debian's, unpacked only)
	@tests/telemetry/prometheus.sh

.PHONY: node-packages
node-packages: ## install what the tests on a real node need (Debian packages), where root runs this
	@[ "$(E2E_NODE)" = skip ] || [ "$$(id -u)" != 0 ] || tests/cluster/node/packages.sh install
