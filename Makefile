# Every target first makes sure of .venv (scripts/setup is quick when there is nothing to do) and calls what lies in it.
# ARGS= goes to pytest: make test ARGS='tests/keys -k anchor'      WHEELS=DIR installs without a network
SHELL := /bin/sh
.DEFAULT_GOAL := help

PYTHON_RUN := .venv/bin/python -m
CODE := $(wildcard keys exchange nodes tests benchmarks scripts)
WORKERS ?= 2

.PHONY: demo test chaos fuzz sabotage mutation lint format typecheck layers docs-check check bench clean help

demo: ## two agencies on this machine exchange an alert
	@scripts/setup run
	@.venv/bin/tocsin demo

test: ## the whole suite, ARGS= for pytest
	@scripts/setup test
	$(PYTHON_RUN) pytest -n $(WORKERS) $(ARGS)

fuzz: ## fuzz every parser by coverage, a minute each; ARGS='--seconds 20 --only round --keep'
	@scripts/setup campaign
	$(PYTHON_RUN) tests.fuzz.run $(ARGS)

sabotage: ## break each promise on purpose, and see that its test notices; ARGS='--only P4'
	@scripts/setup test
	$(PYTHON_RUN) tests.sabotage.run --workers $(WORKERS) $(ARGS)

mutation: ## change keys/ and what decides in exchange/ in every small way, and see that a test notices; ARGS='--only log'
	@scripts/setup test
	$(PYTHON_RUN) tests.mutation.run --workers $(WORKERS) $(ARGS)

lint: ## ruff: rules and formatting
	@scripts/setup dev
	$(PYTHON_RUN) ruff check .
	$(PYTHON_RUN) ruff format --check .

format: ## rewrite the code in its one format
	@scripts/setup dev
	$(PYTHON_RUN) ruff check --select I --fix .
	$(PYTHON_RUN) ruff format .

typecheck: ## mypy, strict
	@scripts/setup dev
	$(PYTHON_RUN) mypy $(CODE)

layers: ## who may import whom
	@scripts/setup dev
	.venv/bin/lint-imports --no-logo

docs-check: ## links, sections, paths and commands that the documents name exist
	@scripts/setup dev
	.venv/bin/python scripts/check_docs.py

check: lint typecheck layers docs-check test ## all of these

chaos: ## ten kinds of faults under load, 100 hits of each, half an hour; ARGS='--seed 7 --hits 10 --only eio'
	@scripts/setup test
	$(PYTHON_RUN) tests.chaos.run --workers $(WORKERS) $(ARGS)

bench: ## measure throughput, latency, size, fan-out, backlog and flood, 8 minutes; nothing here is a test
	@scripts/setup test
	$(PYTHON_RUN) benchmarks
	$(PYTHON_RUN) benchmarks.fanout
	$(PYTHON_RUN) benchmarks.backlog
	$(PYTHON_RUN) benchmarks.flood

clean: ## remove what was built; the next target builds it again
	rm -rf .venv .venv.new .venv.old .venv.lock .venv.log .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
