# Everything that a person or CI types. `make up` and `make test` work on a fresh Debian machine.

CARGO ?= cargo
SAMPAN_DATA_DIR ?= .sampan
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
SAMPAN := $(TARGET_DIR)/release/sampan
# What hack/setup puts here is found before, or in place of, what the machine has.
export PATH := $(CURDIR)/.tools/bin:$(PATH)
SUDO := $(shell test "$$(id -u)" = 0 || echo 'sudo env "PATH=$$PATH"')

.PHONY: help setup build up down clean status schemas images fmt lint deny test unit e2e tutorial bench docker-images compose-test chart

help: ## Show the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: ## Install what is missing of packages and nats-server
	hack/setup

build: setup ## Build the one binary in release mode
	$(CARGO) build --release --locked -p sampan

up: build ## Start a local cluster (NODES=1) and wait until it is ready
	$(SUDO) $(SAMPAN) up --data-dir $(SAMPAN_DATA_DIR) --nodes $(or $(NODES),1)

down: ## Stop it; its data stays
	$(SUDO) $(SAMPAN) down --data-dir $(SAMPAN_DATA_DIR)

clean: ## Stop it and remove its data
	$(SUDO) $(SAMPAN) clean --data-dir $(SAMPAN_DATA_DIR)

status: ## Show which parts of it run
	$(SUDO) $(SAMPAN) status --data-dir $(SAMPAN_DATA_DIR)

schemas: ## Derive the API's types from their pinned packages and compare with the committed file
	$(CARGO) run --quiet --locked -p xtask -- schemas --check

images: setup ## Make the test images (redis, memcached, busybox, the example operator) without a registry
	$(CARGO) build --locked -p memcached-operator
	hack/images .tools/images $(TARGET_DIR)/debug/memcached-operator

fmt: ## Check the formatting
	$(CARGO) fmt --all --check

lint: setup ## Clippy with warnings denied
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

deny: ## Licences, sources and duplicate versions of dependencies
	hack/deny

unit: setup ## Unit, contract and integration tests on a real nats-server
	$(CARGO) test --workspace --exclude e2e --locked

e2e: build images ## The walk, the tutorial and all else that is shown on a whole cluster with the real kubectl
	$(CARGO) test -p e2e --locked -- --nocapture

tutorial: build images ## The tutorial alone: Redis, Sentinel and an operator on three nodes, two of which fail
	$(CARGO) test -p e2e --locked --test tutorial

bench: build images ## Figures of the store and of a local cluster
	$(CARGO) run --release --locked -p loadtest -- store cas --writers 256
	$(CARGO) run --release --locked -p loadtest -- store cas --writers 1
	$(CARGO) run --release --locked -p e2e --bin figures

docker-images: build images ## Make the images of docker-compose.yml without a registry (needs docker)
	hack/docker-images --offline

compose-test: build images ## Show what docker-compose.yml promises, on a dockerd of its own (needs docker.io)
	$(SUDO) hack/test-compose --own-docker

chart: setup ## Lint the Helm chart and render it over a matrix of values
	hack/test-chart

test: fmt lint deny chart unit e2e ## Everything that CI runs
