# What a working copy needs of the machine is installed by tests/setup.sh, where it may.

.DEFAULT_GOAL := help

help: ## what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | while IFS='	' read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done

demo: setup ## the traffic-mirroring page, live on port 8000: one service answers, another gets true copies
	@tests/demo.sh

test: setup ## everything that needs no cluster
	cargo test --workspace --locked

bench: ## this gateway, nginx and Envoy side by side: CPU time per request, throughput, latency, memory
	@tests/bench/bench.sh

image: setup ## the images doppel:dev and doppel-tests:dev, with Docker or without
	@k8s/image.sh

cluster-test: ## what can go wrong in a cluster, on that of KUBECONFIG, with Doppel installed (tests/cluster/lab makes one)
	@tests/cluster/run.sh

conformance: ## the official conformance suite, on the cluster of KUBECONFIG
	@tests/conformance/run.py $(CONFORMANCE_FLAGS)

fuzz: setup ## documents, manifests, requests and mirrors that nobody thought of, a minute each
	DOPPEL_FUZZ_SECONDS=$${DOPPEL_FUZZ_SECONDS:-60} cargo test --workspace --locked --test 'fuzz_*' --test mirror_property

lint: format clippy deny table ## the style of the code, and the rules for dependencies

format: ## whether rustfmt would change anything (cargo fmt --all does)
	cargo fmt --all --check

clippy: setup ## what clippy says, warnings included
	cargo clippy --workspace --all-targets --locked -- -D warnings

deny: ## which dependencies may be used, from where, under which licences, and by whom: deny.toml
	@cargo deny --version >/dev/null 2>&1 || { echo 'make deny needs cargo-deny: cargo install --locked cargo-deny'; exit 1; }
	cargo deny check --hide-inclusion-graph bans licenses sources

table: ## whether the README says what the conformance reports say (tests/conformance/table.py makes it so)
	@tests/conformance/table.py --check

setup: ## what building needs beside Rust: installed with apt-get, or named
	@tests/setup.sh

.PHONY: help demo test bench image cluster-test conformance fuzz lint format clippy deny table setup
