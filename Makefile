# `make run` starts everything with the demo company; `make test` runs every check.
# Both need Python 3.11 or later and make, nothing else, and set up .venv by themselves.

.DEFAULT_GOAL := help
.PHONY: help setup protos run test check tests docs accuracy pictures bench clean

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)

VENV := .venv
BIN := $(VENV)/bin
GENERATED := gen/finops/descriptors.binpb
# Folders count too, so that a deleted contract is noticed; `protos` itself is a target's name.
PROTOS := $(shell find protos -mindepth 1)

help: ## Shows the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/\1|\2/' | \
		while IFS='|' read -r target text; do printf '  %-8s %s\n' "$$target" "$$text"; done

setup: $(VENV)/.installed $(GENERATED) ## Makes .venv with everything in it, when something changed

protos: $(VENV)/.installed ## Generates the Python code of the contracts anew
	$(BIN)/python hatch_build.py

run: setup ## Starts the whole suite with the demo company; Ctrl-C ends it
	@exec $(BIN)/finops up --demo

test: check tests ## Runs every check and every test

check: setup ## Runs the static checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/contracts

tests: setup
	@tools/apt-packages.sh
	@# Without groups this hands out one test at a time, to the worker that is free.
	$(BIN)/pytest -n 2 --dist loadgroup

docs: setup ## Writes the API reference to build/docs/api.md
	$(BIN)/python -m tools.apidocs

accuracy: setup ## Measures forecasts, anomalies and detectors into docs/accuracy*.md
	@$(BIN)/python -m tools.accuracy $(FINOPS_SHARED_DATA)
	@$(BIN)/python -m tests.optimizer.domain.test_accuracy

pictures: setup ## Draws docs/charts and docs/reports anew, beside `make run`
	@$(BIN)/python -m tools.charts
	@exec $(BIN)/python -m tools.report_pictures

bench: setup ## Measures: one JSON object a line; ONLY=name,name runs some
	@exec $(BIN)/python -m tests.bench $(if $(ONLY),--only $(ONLY))

clean: ## Ends the stack and deletes everything that was made, the local database included
	@if [ -x $(BIN)/finops ]; then $(BIN)/finops down --purge --yes; fi
	rm -rf $(VENV) gen dist build .finops .mypy_cache .ruff_cache .pytest_cache \
		.import_linter_cache .hypothesis

$(VENV)/.python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed; name it: make PYTHON=/path/to/python3"; exit 1; }
	@$(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		$(PYTHON) -m venv --clear $(VENV) || { \
		echo "$(PYTHON) cannot make virtual environments; install its venv package (python3-venv)"; \
		rm -rf $(VENV); exit 1; }
	@touch $@

# uv installs the lock in seconds; where it cannot be had, pip does the same, slower.
$(VENV)/.locked: requirements.lock tools/uv.lock | $(VENV)/.python
	@echo "installing the locked packages"
	@if $(BIN)/pip install -q --require-hashes -r tools/uv.lock && \
		$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements.lock; then :; else \
		echo "uv is not available here; installing with pip"; \
		$(BIN)/pip install -q --require-hashes -r requirements.lock; fi
	@touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.locked
	@$(BIN)/pip install -q --no-deps --no-build-isolation --no-index -e .
	@touch $@

# The install above generates the code; afterwards only a change of a contract does.
$(GENERATED): $(PROTOS) hatch_build.py | $(VENV)/.installed
	@$(BIN)/python hatch_build.py
	@touch $@
