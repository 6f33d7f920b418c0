# `make demo` and `make test` need Python 3.10 or newer and access to PyPI.
PYTHON ?= python3
VENV ?= .venv
# The pinned CPU build of torch is the default; for a GPU, set TORCH="torch".
TORCH ?= torch==2.13.0
BIN := $(VENV)/bin
NPM := $(VENV)/npm
OUT ?= demo_output

# The two ends of the dependency ranges, each with the Python at that end: names or paths for uv.
LOWEST_PYTHON ?= 3.10
NEWEST_PYTHON ?= 3.13

.PHONY: demo test test-slow test-ranges test-lowest test-newest lint types types-js docs clean

demo: $(VENV)/.installed
	$(BIN)/segment-concept demo --out $(OUT) --overwrite

test: $(VENV)/.installed-dev
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest

test-slow: $(VENV)/.installed-dev
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -m slow --timeout 1800

# Slow: two more environments (some GB of downloads) and the whole suite in each.
test-ranges: test-lowest test-newest

test-lowest test-newest: test-%: $(VENV)-%/.installed-dev
	OMP_WAIT_POLICY=passive $(VENV)-$*/bin/python -m pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev types-js
	$(BIN)/mypy

# The types of the page's scripts. axe-core, for the test of accessibility, is installed with the compiler.
types-js:
	@if $(MAKE) --no-print-directory $(NPM)/.installed; \
	then $(NPM)/node_modules/.bin/tsc -p tests/web/browser/jsconfig.json; \
	else echo "Node's npm cannot install TypeScript: the types of the page's scripts are not checked"; fi

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet "$(TORCH)" --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet "$(TORCH)" --editable ".[dev]"
	touch $@

$(VENV)-lowest/.installed-dev: pyproject.toml | $(BIN)/uv
	$(BIN)/uv venv --quiet --clear --python $(LOWEST_PYTHON) $(VENV)-lowest
	$(BIN)/uv pip install --quiet --python $(VENV)-lowest --resolution lowest-direct --editable ".[dev]"
	touch $@

$(VENV)-newest/.installed-dev: pyproject.toml | $(BIN)/uv
	$(BIN)/uv venv --quiet --clear --python $(NEWEST_PYTHON) $(VENV)-newest
	$(BIN)/uv pip install --quiet --python $(VENV)-newest --upgrade --editable ".[dev]"
	touch $@

$(BIN)/uv: | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet uv

$(NPM)/.installed: | $(VENV)/bin/python
	npm install --silent --no-audit --no-fund --prefix $(NPM) typescript@5.9.3 axe-core@4.14.1
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet "$(TORCH)" --editable ".[docs]"
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-lowest $(VENV)-newest $(OUT) site
