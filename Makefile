# Every task of the project. `make help` lists them; the two that matter are `make run` and `make test`.

# Checkouts share one target folder in the user's cache, so that a fresh clone does not compile 500 crates again.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/apportion
export CARGO_TARGET_DIR ?= $(CACHE)/target

JOB ?= J4
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run test fix setup web openapi bench soak audit

help: ## List these tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Build the server, start it with demo data and print URL, token and leaderboard
	@scripts/run

test: ## Everything CI runs: format, tidy, clippy, tests, pages, OpenAPI drift, Python checks, cargo-deny
	@scripts/test

fix: ## Format and apply the machine-made fixes of clippy
	cargo fmt --all
	cargo clippy --locked --workspace --all-targets --fix --allow-dirty --allow-staged

setup: ## Install what `make test` needs: Debian packages, Node, Python venv, cargo-nextest, cargo-deny
	@scripts/setup test

web: ## Build the pages into web/dist; `make run` and `make test` do so themselves
	@scripts/setup run
	@scripts/web

openapi: ## Write openapi.json anew from the code
	@cargo xtask openapi

bench: ## Measure one job against a peer: `make bench JOB=J4` (J1 to J5, J8 to J15)
	@scripts/setup bench
	@scripts/bench $(JOB)

soak: ## The random tests at their long counts (hours)
	@scripts/soak

audit: ## Look up security advisories of all dependencies (needs the network)
	@scripts/setup test
	@scripts/cargo-deny check advisories
