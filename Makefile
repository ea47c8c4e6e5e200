# make run: everything on this machine. make test: everything checked. Both set themselves up in .venv.
PYTHON ?= python3
BIN := .venv/bin
PROTOS := $(wildcard proto/engine_*/v1/*.proto)

.PHONY: help gen run engine bridge gateway test faults soak bench bench-short lint types check proto-check clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 16

$(BIN)/.run: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[gen]'
	@touch $@

$(BIN)/.dev: $(BIN)/.run
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[gen,dev]'
	@touch $@

$(BIN)/.bench: $(BIN)/.run
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[gen,bench]'
	@touch $@

proto/gen/.done: $(PROTOS) proto/generate.py | $(BIN)/.run
	$(BIN)/python proto/generate.py
	@touch $@

gen: proto/gen/.done ## generate the proto packages into proto/gen

run: $(BIN)/.run gen ## run engine, bridge and gateway; Ctrl-C stops them
	@$(MAKE) --no-print-directory -k -j3 engine bridge gateway

engine: $(BIN)/.run gen ## run the host engine alone
	@exec $(BIN)/python -m host_engine

bridge: $(BIN)/.run gen ## run the bridge alone
	@exec $(BIN)/python -m engine_bridge

gateway: $(BIN)/.run gen ## run the gateway alone
	@exec $(BIN)/python -m ws_gateway

test: check ## everything that CI runs: check, then all tests
	$(BIN)/python -m pytest $(ARGS)

faults: $(BIN)/.dev gen ## every fault RUNS times (5, half an hour); writes the table in docs/RELIABILITY.md
	$(BIN)/python -m tests.faults $(or $(RUNS),5) docs/RELIABILITY.md

soak: $(BIN)/.dev gen ## clients and programs in chaos for MINUTES (30), at random from SEED
	$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),30) $(if $(SEED),--seed $(SEED))

bench: $(BIN)/.bench gen ## the real programs beside their peers, half an hour; writes bench/RESULTS.md
	$(BIN)/python -m bench $(ARGS)

bench-short: $(BIN)/.dev gen ## the ratios that CI watches, a minute
	$(BIN)/python -m bench --short

check: lint types proto-check ## lint, types, proto

lint: $(BIN)/.dev gen ## ruff
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(BIN)/.dev gen ## strict mypy
	$(BIN)/mypy

proto-check: $(BIN)/.dev ## buf lint, and buf breaking against the last release's protos
	$(BIN)/buf lint proto && $(BIN)/buf breaking proto --against proto/released.json

clean: ## remove everything that was built
	rm -rf .venv bench/out proto/gen dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
