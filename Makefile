# Two commands for a fresh machine: `make demo` and `make test`. Each sets up a virtual environment first.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# Tests of the local backend need a build of torch for the CPU (constraints.txt). Where pip finds none they are left
# out, aloud; with LOCAL=required that is an error.
LOCAL ?= if possible

.PHONY: demo test test-hosts lint types format pages docs bench release clean

demo: .venv/demo
	$(BIN)/python examples/demo.py

test: lint types
	UNTESTED="$$(test -e .venv/no-local && echo 'dinox_mcp/backends/local/*')" $(BIN)/python -m pytest --cov
	@! test -e .venv/no-local || echo 'NOT TESTED: the local backend, see .venv/no-local'

# Clients that we did not write, from inspectors to command-line hosts, drive the installed package (docs/hosts.md).
# Their environments stand in .venv/hosts; what cannot be had is skipped with a reason, and skipping all is an error.
test-hosts: .venv/dev
	$(BIN)/python -m pytest tests/hosts -rs

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/dev .venv/local
	if test -e .venv/no-local; then \
	  $(BIN)/mypy --exclude dinox_mcp/backends/local/ --follow-imports silent; else $(BIN)/mypy; fi

format: .venv/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What is written by programs from the source, except the gallery, which is slow: python -m examples.gallery.
pages: .venv/dev
	$(BIN)/python docs/reference.py
	$(BIN)/python -m tests.readme
	$(BIN)/python packaging/describe.py

docs: .venv/docs
	$(BIN)/python docs/site.py

bench: .venv/dev
	$(BIN)/python -m benchmarks

# The distributions, the MCP Bundle (by the tool mcpb from npm) and the registry's entry, into dist/.
release: .venv/dev
	$(BIN)/python packaging/release.py

clean:
	rm -rf .venv out dist

.venv/demo: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dinox-mcp needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	@echo "setting up .venv: about a minute the first time"
	$(PYTHON) -m venv .venv
	$(PIP) install --editable .
	touch $@

.venv/dev: .venv/demo pyproject.toml
	$(PIP) install --upgrade 'pip>=25.1'
	$(PIP) install --group dev
	touch $@

.venv/docs: .venv/dev pyproject.toml
	$(PIP) install --group docs
	touch $@

# Made only when it works: otherwise the next run tries again.
.venv/local: .venv/dev constraints.txt
	rm -f .venv/no-local
	$(PIP) install --constraint constraints.txt --editable '.[local]' 2> .venv/no-local.log && touch $@ \
	  || { tail -3 .venv/no-local.log >&2; test '$(LOCAL)' != required && mv .venv/no-local.log .venv/no-local; }
