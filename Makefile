# Indelible's own checks. `make help` lists them.

CARGO ?= cargo
SEED ?= 1
N ?= 2000
SEEDS ?= 20
TARGET := $(shell $(CARGO) metadata --locked --no-deps --format-version 1 2>/dev/null | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
HOST := $(shell rustc -vV | sed -n 's/^host: //p')
STRACE := $(shell command -v strace)
PEERS_CACHE := $(or $(INDELIBLE_BENCH_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/indelible-bench)
MOUNTS := $(shell unshare --mount true 2>/dev/null && echo yes)
# In the path, or the one that tests/cluster/up builds.
HELM ?= $(firstword $(shell command -v helm) $(wildcard $(or $(INDELIBLE_CLUSTER_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/indelible-cluster)/*/bin/helm))
export HELM
RELEASE := $(TARGET)/$(HOST)/release

.DEFAULT_GOAL := help
.PHONY: help demo test check generate check-generated fmt clippy doc unit tamper attacks soak row11 build where cluster-up cluster-down cluster-shell e2e e2e-core e2e-kind e2e-selftest skew bench bench-deps bench-short foreign fuzz mutants clean

help: ## Show this help
	@echo "Indelible: immutable audit logs for Kubernetes"; echo
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22
	@echo; echo "  SEED=n chooses the random schedule of demo, tamper and attacks, N=n the number of mutations, SEEDS=n how many seeds from there."

demo: build ## Build (minutes, the first time), then show the product on this machine: no Kubernetes, about 20 seconds
	@$(RELEASE)/indelible demo --seed $(SEED) $(DEMO_FLAGS)

build: ## Build the optimised, static binaries
	@echo "Building indelible, indelible-collector and indelible-sidecar, optimised, into"
	@echo "  $(RELEASE)"
	@echo "The first time this takes 7 to 10 minutes on two cores; after that only what has changed is built."
	$(CARGO) build --locked --release -p indelible -p indelible-collector -p indelible-sidecar
	@ln -sf indelible $(RELEASE)/kubectl-indelible

where: ## Print the directory that the binaries are built into; in PATH it gives kubectl indelible, too
	@echo $(RELEASE)

test: fmt clippy doc ## Everything that needs no cluster: format, lints, docs, all tests
	$(CARGO) build --locked --workspace --all-targets
	$(CARGO) test --locked --workspace --no-fail-fast -- $(if $(STRACE),,--skip strace::) $(if $(MOUNTS),,--skip root::) $(if $(HELM),,--skip helm::)
	$(if $(STRACE),,@echo "Left out: what is seen with strace, which is not installed (tests/tests/durability.rs)")
	$(if $(MOUNTS),,@echo "Left out: what mounts, which needs root (csi/tests/node.rs)")
	$(if $(HELM),,@echo "Left out: what Helm makes of the chart; there is none in the path, and tests/cluster/up has built none (tests/tests/chart.rs)")
	$(if $(wildcard $(PEERS_CACHE)/rsyslog/usr/sbin/rsyslogd),,@echo "Left out: row 11 with rsyslog, which make bench-deps installs (tests/tests/row11.rs)")
	$(if $(wildcard $(PEERS_CACHE)/otelcol/otelcol),,@echo "Left out: row 11 with the OpenTelemetry Collector, which make bench-deps installs (tests/tests/row11.rs)")
	@echo "Left out: what needs Go and its modules: make foreign (tests/tests/foreign.rs)"
	@echo "Left out: what needs another version's programs: make skew (tests/tests/skew.rs)"

check: fmt clippy unit ## What green at each commit means: format, lints, unit tests (under a minute when warm)

generate: ## Renew the CRD, its page, deploy/, the values table (needs Helm)
	UPDATE_EXPECT=1 $(MAKE) --no-print-directory check-generated

check-generated: ## Whether these are what they would be made to
	$(CARGO) test --locked -q -p indelible-operator the_committed_definition
	$(CARGO) test --locked -q -p indelible-tests --test chart -- --test-threads=1 the_charts_definition the_bundle_is the_readme_has

fmt:
	$(CARGO) fmt --all -- --check

clippy:
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items

unit:
	$(CARGO) test --locked --workspace --lib --bins

tamper: build ## Change N bytes of kept evidence one at a time; an independent model says what verify must answer
	$(CARGO) run --locked --release -p indelible-tests --bin tamper -- --count $(N) --seed $(SEED)

# Programs with debug assertions have the steps at which they are killed, and the clock that steps. The selection is that
# of `make test`, which leaves nothing to build here.
MINUTES ?= 20
soak: ## Pods print for MINUTES while everything is killed, stopped, cut off, filled up; then nothing may be missing
	$(CARGO) build --locked --workspace --bins
	@$(if $(MOUNTS),unshare --mount) $(TARGET)/$(HOST)/debug/soak --seed $(SEED) --minutes $(MINUTES) $(if $(MOUNTS),--small-disks) $(SOAK_FLAGS)
	$(if $(MOUNTS),,@echo "Left out: full disks, which need root")

row11: ## The fault run of row 11: lines lost and duplicated by us and by each peer that is installed, on one SEED (root for a full disk)
	$(MAKE) --no-print-directory soak SOAK_FLAGS="--row11 --subject $(or $(SUBJECT),all)"

# As a debug build the collector can be killed at each step of its store (A14).
PROFILE ?= release
attacks: ## Play each attack of docs/threat-model.md for SEEDS seeds, with its legitimate twin; ONLY=A2 or A2-witness plays one
	$(CARGO) build --locked $(if $(filter debug,$(PROFILE)),--workspace,--release -p indelible -p indelible-collector -p indelible-sidecar -p indelible-tests) --bins
	@$(TARGET)/$(HOST)/$(PROFILE)/attacks --seeds $(SEEDS) --seed $(SEED) --only "$(ONLY)"

cluster-up: ## Bring a real Kubernetes up on this machine, in namespaces of its own (root; tests/cluster/README.md)
	@tests/cluster/up

cluster-shell: ## A shell on its node, with kubectl, helm and KUBECONFIG
	@tests/cluster/shell

cluster-down: ## Take it down, completely
	@tests/cluster/down

e2e: ## The end-to-end suite, on the cluster of KUBECONFIG or on one of its own (at most 65 minutes from nothing)
	@tests/cluster/e2e

e2e-core: ## Its core, as CI runs it
	@tests/cluster/e2e core

e2e-kind: ## The suite on a cluster of kind's, where Docker, kind, kubectl and helm are
	@tests/cluster/e2e-kind

e2e-selftest: ## Whether each planted fault turns exactly its case of the core red (root; an hour on two cores, 6 GB)
	@tests/cluster/selftest

# Releases whose data and sidecars are to work with this version. There is none yet: a revision that stands for one.
PREVIOUS ?= 25fc212
skew: ## Sidecars, collectors and data of the versions PREVIOUS (tags or revisions) together with this one's
	@tests/skew $(PREVIOUS)

# What a row compares with and what it must be: docs/benchmarks.md. ROWS=2,3 chooses, PAIRS and SIZE (MB) say how long.
BENCH = $(CARGO) build --locked --release -p indelible -p indelible-collector -p indelible-sidecar -p indelible-bench && $(RELEASE)/indelible-bench
bench: ## Measure against other programs, keep the results, renew the table of docs/benchmarks.md (ROWS=, PAIRS=, SIZE=, NOTE=)
	$(BENCH) $(if $(ROWS),--rows $(ROWS)) $(if $(PAIRS),--pairs $(PAIRS)) $(if $(SIZE),--size $(SIZE)) $(if $(NOTE),--note "$(NOTE)")

bench-short: ## Whether each row of it runs, with tiny inputs; figures mean nothing
	$(BENCH) --short $(if $(ROWS),--rows $(ROWS))

bench-deps: ## Install the programs that it compares with, into a cache (PEERS= chooses)
	@bench/deps $(PEERS)

foreign: ## Logs of ours by what others wrote, and the other way round: Python, Go's sumdb, Tessera (docs/outsider.md)
	@tests/foreign/run

SECONDS ?= 600
# 0 draws one.
FUZZ_SEED ?= 0
fuzz: ## Fuzz the parsers of bytes from outside, all of them in SECONDS together (fuzz/README.md)
	@SEED=$(FUZZ_SEED) fuzz/run $(SECONDS)

mutants: ## Change the soak's judge in each way that cargo-mutants knows; its tests must see it (half an hour; tests/survivors)
	@tests/mutants $(MUTANTS_FLAGS)

clean: ## Remove what was built
	$(CARGO) clean
