# `make help` lists the targets.

# What is built once for the tests, the demo and the benchmark, outside of the repository.
SUREPULL_ASSETS ?= $(HOME)/.cache/surepull-assets
export SUREPULL_ASSETS

# The registry that tests run against: https://github.com/distribution/distribution
REGISTRY_VERSION := v3.1.2
REGISTRY_MODULE := github.com/distribution/distribution/v3/cmd/registry

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: assets
assets: ## build what tests and demo need beside the crate: a real registry (needs Go)
	@stamp="$(SUREPULL_ASSETS)/bin/registry.version"; \
	if [ -x "$(SUREPULL_ASSETS)/bin/registry" ] && [ "$$(cat "$$stamp" 2>/dev/null)" = "$(REGISTRY_VERSION)" ]; then exit 0; fi; \
	set -e; \
	command -v go >/dev/null || { echo "make assets needs Go, see https://go.dev/doc/install" >&2; exit 1; }; \
	mkdir -p "$(SUREPULL_ASSETS)/bin"; \
	echo "building the distribution registry $(REGISTRY_VERSION)"; \
	GOBIN="$(SUREPULL_ASSETS)/bin" CGO_ENABLED=0 go install -trimpath -ldflags '-s -w' $(REGISTRY_MODULE)@$(REGISTRY_VERSION); \
	echo "$(REGISTRY_VERSION)" > "$$stamp"
