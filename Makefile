# recon: everything a person or CI does here. `make` lists it.
.DEFAULT_GOAL := help
SHELL := /bin/sh

PYTHON_BIN := .venv/bin/python
RECON := .venv/bin/recon
PACKAGES := cluster actors api producers sources wire schemas

# Options of single targets, for example: make demo DEMO_SECONDS=60
DEMO_SECONDS ?=
HISTORIES ?= 1000
SEED ?= 1
# Tests run in random order; CI has one order of its own, so that what fails there can be run again as it was.
PYTEST_ARGS ?= $(if $(CI),--randomly-seed=674981936)

.PHONY: help
help: ## List what can be done
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[36m%-12s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Set up this machine to run recon (virtual environment, system packages)
	@scripts/bootstrap.sh

.PHONY: setup-dev
setup-dev: ## Set up this machine to develop and test recon
	@scripts/bootstrap.sh --dev

.PHONY: demo
demo: setup ## Start everything and watch verdicts arrive (DEMO_SECONDS=60 ends by itself)
	@$(RECON) demo $(if $(DEMO_SECONDS),--seconds $(DEMO_SECONDS))

.PHONY: up
up: setup ## Start the local stack and the pipeline
	@$(RECON) up

.PHONY: down
down: setup ## Stop the local stack and the pipeline
	@$(RECON) down

.PHONY: status
status: setup ## Show every service and endpoint
	@$(RECON) status

.PHONY: test
test: setup-dev lint ## Run every check and every test, as CI does
	$(PYTHON_BIN) -m pytest --cov --cov-report=term $(PYTEST_ARGS)

.PHONY: test-quick
test-quick: setup-dev ## Run the tests that need no service
	$(PYTHON_BIN) -m pytest -m "not stack and not browser" $(PYTEST_ARGS)

.PHONY: simulate
simulate: setup-dev ## Play the engine under a seeded scheduler, then bugs planted in it (HISTORIES=1000 SEED=1)
	$(PYTHON_BIN) -m tests.simulation --histories $(HISTORIES) --seed $(SEED)
	$(PYTHON_BIN) -m tests.simulation.mutants

.PHONY: lint
lint: setup-dev ## Check import directions, style and types
	.venv/bin/lint-imports
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

.PHONY: format
format: setup-dev ## Format the code and mend what can be mended
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

.PHONY: bench
bench: setup ## Measure the pipeline on this machine
	@$(RECON) bench

COMPILE := uv pip compile pyproject.toml scripts/build-requirements.in --extra stack \
	--universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet

.PHONY: lock
lock: ## Renew the locks: Python packages (needs uv) and Java artifacts
	$(COMPILE) --output-file requirements.txt
	$(COMPILE) --group dev --constraint requirements.txt --output-file requirements-dev.txt
	@! grep -nE 'https?://' requirements.txt requirements-dev.txt
	$(PYTHON_BIN) -m cluster.stack.lock

.PHONY: clean
clean: ## Stop the stack and delete its state, caches and build results (not .venv)
	@if [ -x $(RECON) ]; then $(RECON) down --wipe; fi
	rm -rf .coverage .coverage.* htmlcov .pytest_cache .mypy_cache .ruff_cache .import_linter_cache dist build
