# Perch's one command surface: people, README and CI use the same targets. `make help` lists them.
# Every port comes from contract/ports.env; a variable of the environment goes before it.
$(foreach line,$(shell sed -n 's/^\(PERCH_[A-Z]*[_A-Z]*\)=/\1?=/p' contract/ports.env),$(eval $(line)))
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
export PATH := $(CURDIR)/.perch/bin:$(PATH)

# Programs are built optimised; `make test` takes the profile in which the tests build everything anyway.
PROFILE ?= release
BIN   := target/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
STORE ?= sqlite://.perch/data/perch.sqlite
export PERCH_STORE := $(STORE)
GATEWAY := http://$(PERCH_HOST):$(PERCH_GATEWAY_PORT)
# The card is the full training's; a first model's quick one does not take its place.
TRAIN_FLAGS ?= --card models/README.md
# no: `up` and `demo` without Prometheus and Alertmanager
MONITORING ?= yes
# Set up while the compiler works, since it is network that they wait for.
FETCHED := envoy $(if $(filter no,$(MONITORING)),,monitoring)
# What `build` leaves out, unless a target needs it.
LEFT_OUT := --exclude bench --exclude e2e
# Where `install` puts its links.
BINDIR ?= $(HOME)/.local/bin
STACK_FLAGS := $(if $(filter no,$(MONITORING)),--no-monitoring)

##@ See it
.PHONY: demo up down status
demo up: FETCHED += $(if $(wildcard models/registry/champion),,training)
demo: build data model ## Walk a whole rollout on the real thing, then stop everything
	$(BIN)/stack demo $(STACK_FLAGS)
up: build data model ## Start everything and leave it running
	$(BIN)/stack up $(STACK_FLAGS)
	@command -v perch >/dev/null || echo "  \`make install\` makes perch a command that works from any folder"
down: ## Stop what `up` started
	@if [ -x $(BIN)/stack ]; then $(BIN)/stack down; else echo "nothing is built, so nothing runs"; fi
status: ## What runs, and how the rollout stands
	@code=0; $(BIN)/stack status || code=$$?; $(BIN)/perch status || code=$$((code ? code : $$?)); exit $$code

##@ Set the share of users who are given the candidate
.PHONY: canary-0 canary-10 canary-50 canary-100
canary-0 canary-10 canary-50 canary-100: canary-%: ## 0, 10, 50, 100 percent
	$(BIN)/perch canary set $*%

##@ The model
.PHONY: ml-features ml-train ml-status ml-predict ml-smoke
ml-features: build data ## Export training rows, by the function that serving uses
	$(BIN)/rules-backend features --out models/features
ml-train: ml-features ## Train, judge, and deploy by the policy
	setup/run training
	.perch/venv/bin/python models/train.py $(TRAIN_FLAGS)
ml-status: ## What serves, how it does, whether it drifts
	@models/ask $(GATEWAY) $(BIN)/shadow-scorer /ml/v2/model/status
ml-predict: ## One prediction
	@models/ask $(GATEWAY) $(BIN)/shadow-scorer /ml/v2/predict '{"txn_id": 88}'
ml-smoke: ## Three smoke tests of the API, against the running stack
	setup/run browser
	cd tests/browser && npx playwright test ml-smoke.spec

##@ Build
.PHONY: setup build install filter data model
setup: ## Install and pin what is missing (setup/README.md)
	setup/run system wasm envoy monitoring
build: ## Set up, then every program and both modules of the filter, optimised
	setup/run system wasm
	@trap 'jobs -p | xargs --no-run-if-empty kill' EXIT; \
	setup/run $(FETCHED) & fetching=$$!; \
	setup/build-filter & filter=$$!; \
	(set -x; cargo build --locked --profile $(PROFILE) --workspace $(LEFT_OUT) --bins); \
	wait $$filter; wait $$fetching; trap - EXIT
install: build ## Make `perch` and `stack` commands, by links in BINDIR
	@mkdir -p "$(BINDIR)"
	@for program in perch stack; do ln -sfn "$(CURDIR)/$(BIN)/$$program" "$(BINDIR)/$$program"; done
	@case ":$$PATH:" in *":$(BINDIR):"*) echo "perch and stack are in $(BINDIR)";; \
	  *) echo "perch and stack are in $(BINDIR), which is not on your PATH: export PATH=\"$(BINDIR):\$$PATH\"";; esac
filter: ## The filter's two modules
	setup/build-filter
data: ## Demo transactions, if there are none
	@mkdir -p .perch/data
	$(BIN)/rules-backend seed
model: ## A model, if there is none of today's feature schema
	@wanted=$$(sed -n 's/^pub const VERSION: u32 = \([0-9]*\);/\1/p' examples/suggestions/src/features/schema.rs); \
	champion=$$(cat models/registry/champion 2>/dev/null || true); \
	schema=$$(sed -n '/"feature_schema"/,/}/s/.*"version": \([0-9]*\).*/\1/p' "models/registry/$$champion/manifest.json" 2>/dev/null || true); \
	if [ "$$schema" = "$$wanted" ]; then echo "the model is $$champion"; \
	else $(MAKE) ml-train TRAIN_FLAGS=--quick; fi

##@ Check
.PHONY: test test-rust test-native-asan test-models test-load test-soak test-files console-smoke lint references
test: lint test-files test-models test-rust console-smoke ## Everything that CI checks
lint: ## Format, clippy, documentation, dependencies, scripts
	setup/run system checks
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet
	@# Other systems' dependencies too, which no build here has fetched: licences are checked of all.
	cargo fetch --locked --quiet
	cargo-deny --offline --locked --log-level warn check bans licenses sources
	shellcheck -x -P SCRIPTDIR .ci/run models/ask setup/run setup/build-filter setup/*.sh
test-files: ## Every configuration by its own tool
	setup/run checks dashboard
	$(MAKE) build PROFILE=dev
	target/debug/stack check
	.perch/node/node_modules/.bin/dclint docker-compose.yml
	cd grafana && npm run --silent check
test-models: ## The training's own tests
	setup/run training
	.perch/venv/bin/python -m unittest discover --quiet --start-directory models
test-rust: ## Unit, property and end-to-end tests, on SQLite and PostgreSQL and with both of the filter's modules, with a model that is trained if there is none
	setup/run training postgres
	$(MAKE) build model PROFILE=dev
	setup/build-filter fault-injection
	cargo test --locked --workspace --no-run
	shadow-scorer/tests/with-postgres cargo test --locked --workspace
	PERCH_FILTER=$(CURDIR)/target/libperch_filter.so shadow-scorer/tests/with-postgres cargo test --locked --workspace --test e2e
test-native-asan: ## The native module's tests in a faked Envoy, under address and leak sanitizer
	@# The sanitizer is an unstable option of the stable compiler; proc macros are built for the host, without it.
	RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address cargo test --locked --package filter-native --lib \
	  --target "$$(rustc -vV | sed -n 's/^host: //p')" --target-dir target/asan
console-smoke: ## The console in a browser, with a real guard; screenshots in tests/browser/test-results/screens
	setup/run browser
	$(MAKE) build PROFILE=dev
	cd tests/browser && npm run --silent check && npx playwright test console.spec
references: ## Write docs/cli.md, docs/configuration.md and docs/metrics.md, as the code is now
	$(MAKE) build PROFILE=dev
	PERCH_WRITE_REFERENCES=1 cargo test --locked --package e2e --test references
test-soak: build data model ## 45 minutes under load, with some ill-behaved clients, while the guard drives a rollout; fails if an alert fires
	$(BIN)/stack soak
test-load: ## The accounting at full size: 200,000 requests while the scorer dies twice (`test-rust` has a tenth of it)
	$(MAKE) build model PROFILE=dev
	PERCH_E2E_FULL=1 cargo test --locked --workspace --test e2e accounting

##@ Measure (each writes target/bench/NAME.json; gateway and system also docs/benchmarks.md's tables, gateway README's chart)
.PHONY: bench-gateway bench-scorer bench-system
bench-%: LEFT_OUT :=
bench-gateway: build model ## What a request costs with Perch, without, and with other ways to mirror it
	$(BIN)/bench gateway $(BENCH_FLAGS)
bench-system: build model ## How many gateway cores one scorer core observes, and how its cost grows
	setup/run training
	$(BIN)/bench system
bench-scorer: build ## Trees beside LightGBM, onnxruntime and stock tract
	setup/run training
	cargo bench --locked --workspace --bench scorer

.PHONY: guard-trials
guard-trials: ## The guard on 10,000 simulated rollouts: false alarms, delays, coverage; into perch/README.md
	cargo bench --locked --workspace --bench guard-trials -- --card perch/README.md

.PHONY: help
help: ## This list
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z][a-z0-9 -]*:.*## / { printf "  make %-44s %s\n", $$1, $$2 }' Makefile
