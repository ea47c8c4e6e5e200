# make run: everything on this machine. make test: everything checked. Both set themselves up in .venv.
PYTHON ?= python3
BIN := .venv/bin
PROTOS := $(wildcard proto/engine_*/v1/*.proto)
WEB := $(shell find web -type f -not -path '*/node_modules/*' -not -path '*/dist/*' -not -path '*/generated/*' -not -path '*/test/*')
PAGE := ws_gateway/page_files/index.html

.PHONY: help gen page run engine bridge gateway test web faults badinput fuzz soak page-soak page-figures page-pictures \
	bench bench-short lint types check proto-check audit lock clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 16

INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check

$(BIN)/.run: locks/run.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(INSTALL) --require-hashes --requirement $<
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(BIN)/.dev $(BIN)/.bench $(BIN)/.fuzz $(BIN)/.lock: $(BIN)/.%: locks/%.txt $(BIN)/.run
	$(INSTALL) --require-hashes --requirement $<
	@touch $@

proto/gen/.done: $(PROTOS) proto/generate.py | $(BIN)/.run
	$(BIN)/python proto/generate.py
	@touch $@

gen: proto/gen/.done ## generate the proto packages into proto/gen

$(PAGE): $(WEB) $(PROTOS) web/build.py | $(BIN)/.run
	$(BIN)/python web/build.py $(PAGE_FLAGS)

page: $(PAGE) ## build the live page, with Node from PyPI where there is no npm

run: PAGE_FLAGS := --optional
run: $(BIN)/.run gen $(PAGE) ## run engine, bridge and gateway; Ctrl-C stops them
	@$(MAKE) --no-print-directory -k -j3 engine bridge gateway

engine: $(BIN)/.run gen ## run the host engine alone
	@exec $(BIN)/python -m host_engine

bridge: $(BIN)/.run gen ## run the bridge alone
	@exec $(BIN)/python -m engine_bridge

gateway: $(BIN)/.run gen ## run the gateway alone
	@exec $(BIN)/python -m ws_gateway

test: check ## everything that CI runs: check, then all tests, most of which wait and so run three at a time
	$(BIN)/python -m pytest -m "not alone" --numprocesses 3 --dist loadscope $(ARGS)
	$(BIN)/python -m pytest -m alone $(ARGS) || test $$? -eq 5 # none of those that ARGS names

faults: $(BIN)/.dev gen ## every fault RUNS times (5, half an hour); writes the table in docs/RELIABILITY.md
	$(BIN)/python -m tests.faults $(or $(RUNS),5) docs/RELIABILITY.md

badinput: $(BIN)/.dev gen ## every bad input beside 1,000 clients, ten minutes; writes the table in docs/SECURITY.md
	$(BIN)/python -m tests.badinput docs/SECURITY.md $(ARGS)

fuzz: $(BIN)/.dev $(BIN)/.fuzz gen ## each fuzzing target for SECONDS (60), or only those in ARGS
	$(BIN)/python -m tests.fuzz $(or $(SECONDS),60) $(ARGS)

soak: $(BIN)/.dev gen ## clients and programs in chaos for MINUTES (30), at random from SEED
	$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),30) $(if $(SEED),--seed $(SEED))

page-soak: $(BIN)/.dev gen $(PAGE) ## the live page under 100 events a second for MINUTES (10)
	$(BIN)/python -m tests.browser soak --minutes $(or $(MINUTES),10)

page-figures: $(BIN)/.dev gen $(PAGE) ## time to first data, and the page's size; writes them into docs/BROWSER.md
	$(BIN)/python -m tests.browser figures docs/BROWSER.md

page-pictures: $(BIN)/.dev gen $(PAGE) ## the README's pictures of the page, of this machine
	$(BIN)/python -m tests.browser pictures docs/images

bench: $(BIN)/.bench gen ## the real programs beside their peers, half an hour; writes bench/RESULTS.md
	$(BIN)/python -m bench $(ARGS)

bench-short: $(BIN)/.dev gen ## the ratios that CI watches, a minute
	$(BIN)/python -m bench --short

check: lint types proto-check web audit ## lint, types, proto, web, audit

lint: $(BIN)/.dev gen ## ruff
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(BIN)/.dev gen ## strict mypy
	$(BIN)/mypy

web: $(BIN)/.dev gen $(PAGE) ## eslint, prettier, tsc and vitest over web/
	$(BIN)/python web/build.py lint types test

proto-check: $(BIN)/.dev ## buf lint, and buf breaking against the last release's protos
	$(BIN)/buf lint proto && $(BIN)/buf breaking proto --against proto/released.json

audit: $(BIN)/.dev ## known vulnerabilities in what is locked, where the network allows to ask
	@$(BIN)/python locks/audit.py

lock: $(BIN)/.lock ## renew locks/ with the newest versions that pyproject.toml allows
	$(BIN)/python locks/renew.py

clean: ## remove everything that was built
	rm -rf .venv bench/out proto/gen ws_gateway/page_files web/node_modules web/*/node_modules web/*/dist dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
