# Two commands for a fresh machine: `make demo` and `make test`. Each sets up a virtual environment first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint types format bench clean

demo: .venv/demo
	$(BIN)/python examples/demo.py

test: lint types
	$(BIN)/python -m pytest --cov

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/dev
	$(BIN)/mypy

format: .venv/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/dev
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv out

.venv/demo: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dinox-mcp needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	@echo "setting up .venv: about a minute the first time"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

.venv/dev: .venv/demo pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group dev
	touch $@
