# `make run` and `make test` need only make and Python ≥ 3.11. uv is used when it is there, else put into .venv by pip.
PY ?= python3
BIN := .venv/bin
# Our commands are started many times: they are compiled at the first start, and what they import when it is installed.
unexport PYTHONDONTWRITEBYTECODE
UV := $(shell command -v uv 2>/dev/null || echo $(BIN)/uv)

.DEFAULT_GOAL := help
.PHONY: help setup run test test-postgres15 peers check screenshots explore schedules faults faults-audit faults-wallet bench bench-audit bench-scale clean

help: ## What can be made
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/.ok: pyproject.toml uv.lock
	@command -v uv >/dev/null || [ -x $(BIN)/uv ] || { $(PY) -m venv .venv && $(BIN)/pip install -q uv; }
	@$(UV) sync -q --frozen --inexact --compile-bytecode --python $(PY)
	@touch $@

setup: .venv/.ok ## Install everything into .venv

run: .venv/.ok ## The service on an embedded PostgreSQL, until Ctrl-C (LOYALTY_DEMO=1 for demo data)
	@exec $(BIN)/loyalty-ledger run

test: .venv/.ok ## All tests but the long ones
	@$(BIN)/pytest --timeout 600

test-postgres15: .venv/.ok ## Ledger, tables, migrations, main journeys on Debian's PostgreSQL 15 (installs it when root)
	@$(BIN)/python -m tests.with_debian_postgres

peers: .venv/.ok ## Install what the tests hold our passes against (npm's packages; Debian's when run as root)
	@$(BIN)/python -m tests.wallet_sync.peers

check: .venv/.ok ## Format, lint, types, imports, dependencies, tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/deptry .
	@$(BIN)/pytest --timeout 600

screenshots: .venv/.ok ## Every page into docs/pictures (needs Chromium; ONLY=card takes those whose name begins so)
	@$(BIN)/python -m tests.pages.screenshots $(ONLY)

explore: .venv/.ok ## The properties with examples nobody has tried yet; a minute or two, other ones each time
	@$(BIN)/pytest --timeout 900 --hypothesis-profile=explore tests/journeys/test_properties.py tests/ledger

schedules: .venv/.ok ## 10 000 orders in which wallets may be told, half of them for each; ~20 minutes
	@SCHEDULES_FROM=$${SCHEDULES_FROM:-$$(date +%s)} $(BIN)/pytest -m schedules tests/schedules

faults: .venv/.ok ## Kill the service and the database under load; minutes
	@$(BIN)/pytest -n 0 -m faults --timeout 900 -s

faults-wallet: .venv/.ok ## Of these, tills beside a provider of wallets that fails in every way; ~6 minutes
	@$(BIN)/pytest -n 0 -m faults --timeout 900 -s tests/faults/test_wallet.py

faults-audit: .venv/.ok ## Of these, somebody who changes the past in every way, and how soon it is named; ~5 minutes
	@$(BIN)/pytest -n 0 -m faults --timeout 900 -s tests/faults/test_audit.py

bench: .venv/.ok ## Compare with the database's own speed and with peers; ~10 minutes
	@$(BIN)/python -m tests.benchmarks

bench-scale: .venv/.ok ## Stamps and a rebuild among 1 million cards, 10 million events; ~30 minutes, 25 GB
	@$(BIN)/python -m tests.benchmarks --scale

bench-audit: .venv/.ok ## A million events verified, checked, archived and loaded by one core; ~20 minutes, 6 GB
	@$(BIN)/python -m tests.benchmarks --audit

clean: ## Remove what was installed and built (never the data in .data)
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache tests/wallet_sync/peers/node_modules
