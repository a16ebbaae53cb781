# Commands for a fresh machine: each first sets up what it needs in .venv.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# Installed is by uv, where there is one, since it is much faster: from the same places as by pip, and by its rule.
UV := $(shell command -v uv)
export UV_EXTRA_INDEX_URL ?= $(PIP_EXTRA_INDEX_URL)
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
export UV_INDEX_STRATEGY ?= unsafe-best-match
INSTALL := $(if $(UV),uv pip install --quiet --python $(BIN)/python,$(PIP) install --no-compile)
# Tests of the local backend need a build of torch for the CPU (constraints.txt). Without one they are left out with a
# message; LOCAL=required makes that an error.
LOCAL ?= if possible
# One worker for each core, but a worker may take 2 GB; one that has no tests left takes some of another.
PARALLEL := --numprocesses auto --maxprocesses 8 --dist worksteal
PYTEST := $(BIN)/python -m pytest $(PARALLEL)
FAST := 'not slow and not models and not browser and not hosts and not ray'

# Tests start many processes; without .pyc files each of them would compile the package again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo check test test-lowest test-browser test-hosts test-ray search lint types format pages docs bench release clean

demo: .venv/demo
	$(BIN)/python examples/demo.py

# The developer's loop: under a minute on two cores.
check: lint types
	$(PYTEST) -m $(FAST)

# All that CI runs in its first job.
test: lint types
	UNTESTED="$$(test -e .venv/no-local && echo 'dinox_mcp/backends/local/*')" \
	  $(PYTEST) -m 'not browser and not hosts and not ray' --cov
	@! test -e .venv/no-local || echo 'NOT TESTED: the local backend, see .venv/no-local'

# The fast tests with the oldest dependencies that pyproject.toml allows, which only uv can choose. Without torch, and
# without the generated pages, which name types as the newest NumPy does.
test-lowest: .venv/dev
	$(if $(UV),,$(PIP) install uv)
	$(or $(UV),$(BIN)/uv) venv --quiet --clear --python $(BIN)/python .venv/lowest
	$(or $(UV),$(BIN)/uv) pip install --quiet --python .venv/lowest --resolution lowest-direct --editable '.[video]' \
	  --group dev
	.venv/lowest/bin/python -m pytest $(PARALLEL) -m $(FAST) --deselect tests/docs/test_reference.py

# The viewer in Chromium, one worker for each file since starting a browser takes long.
test-browser: .venv/dev
	$(PYTEST) --dist loadfile -m browser tests/viewer -rs

# Clients that we did not write, from inspectors to command-line hosts, drive the installed package (docs/hosts.md).
# Their environments are kept in .venv/hosts. What cannot be installed is skipped with a reason; skipping all is an error.
test-hosts: .venv/dev
	$(BIN)/python -m pytest tests/hosts -rs

# Ray on this machine: a batch of two workers, one of them killed, and two replicas of the server. Its environment is kept
# in .venv/ray, since Ray brings packages that change the server, and takes 600 MB.
test-ray: .venv/ray/made
	.venv/ray/bin/python -m pytest -m ray tests/batch/test_ray_engine.py tests/server/test_replicas.py -rs

# Property-based tests with new random examples each time; `make test` repeats the same ones.
search: .venv/dev
	$(PYTEST) -m hypothesis --hypothesis-profile search

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
	$(BIN)/python -m docs.reference
	$(BIN)/python -m docs.readme
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

.venv/made:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dinox-mcp needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	@echo "setting up .venv: about a minute the first time"
	$(PYTHON) -m venv .venv
	$(if $(UV),,$(PIP) install --upgrade 'pip>=25.1')
	touch $@

.venv/demo: .venv/made pyproject.toml
	$(INSTALL) --editable .
	touch $@

.venv/dev: .venv/made pyproject.toml
	$(INSTALL) --editable . --group dev
	touch $@

.venv/ray/made: .venv/made pyproject.toml
	$(PYTHON) -m venv --clear .venv/ray
	$(if $(UV),,.venv/ray/bin/python -m pip install --quiet --upgrade 'pip>=25.1')
	$(if $(UV),uv pip install --quiet --python .venv/ray/bin/python,.venv/ray/bin/python -m pip install --quiet) \
	  --editable '.[ray]' --group dev
	touch $@

.venv/docs: .venv/dev pyproject.toml
	$(INSTALL) --group docs
	touch $@

# Made only when it works: otherwise the next run tries again.
.venv/local: .venv/dev constraints.txt
	rm -f .venv/no-local
	$(INSTALL) --constraint constraints.txt --editable '.[local]' 2> .venv/no-local.log && touch $@ \
	  || { tail -3 .venv/no-local.log >&2; test '$(LOCAL)' != required && mv .venv/no-local.log .venv/no-local; }
