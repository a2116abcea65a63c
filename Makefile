# `make help` lists the targets.

# ONNX Runtime as `make setup` lays it; an environment that names another library wins.
ORT_VERSION := 1.32.0
export ORT_DYLIB_PATH ?= $(CURDIR)/.secateur/lib/libonnxruntime.so.$(ORT_VERSION)
# Models of the ONNX specification's tests as `make test` unpacks them; the version is that of scripts/onnx.txt.
export SECATEUR_ONNX_PIP ?= $(CURDIR)/.secateur/onnx-1.23.2
BINARY := $(or $(CARGO_TARGET_DIR),target)/debug/secateur
export CARGO_TERM_COLOR ?= auto
DATA := $(or $(SECATEUR_DATA),../shared/data)

.DEFAULT_GOAL := help
.PHONY: help setup build demo test check fmt clippy doc deny openapi openapi-drift sqlx sqlx-drift zoo bench

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is missing (PostgreSQL's server, curl, jq, ONNX Runtime); safe to repeat
	@scripts/setup.sh $(ORT_VERSION)

# A test is named so that cargo chooses the same features for shared dependencies as `make test` does: one build of them
# serves both.
build: setup ## build the service
	cargo build --locked --bins --test architecture

demo: build ## prune, retrain and evaluate a small real model through the HTTP API
	@examples/digits/demo.sh

test: setup ## run every test, starting what they need
	@scripts/onnx.sh "$(SECATEUR_ONNX_PIP)"
	cargo test --locked --no-fail-fast

check: fmt clippy doc deny openapi-drift sqlx-drift test ## everything that must hold before a change lands

fmt:
	cargo fmt --check || { echo "repair with: cargo fmt"; exit 1; }

clippy:
	cargo clippy --locked --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

deny: ## licences, advisories and sources of the dependencies
	@command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny check

openapi: build ## write openapi.yaml from the handlers
	$(BINARY) openapi > openapi.yaml.new && mv openapi.yaml.new openapi.yaml

openapi-drift: build
	$(BINARY) openapi | diff openapi.yaml - || { echo "repair with: make openapi"; exit 1; }

sqlx: ## check the SQL against a real schema and write .sqlx anew
	@scripts/sqlx.sh

sqlx-drift:
	@scripts/sqlx.sh --check

zoo: setup ## prune every model of the folder in SECATEUR_DATA and write docs/zoo.md
	cargo build --locked --example zoo
	$(or $(CARGO_TARGET_DIR),target)/debug/examples/zoo 0.5 $(DATA)/zoo $(DATA)/real > docs/zoo.md.new
	mv docs/zoo.md.new docs/zoo.md

bench: setup ## run the benchmarks (see benches/README.md)
	cargo bench --locked
