# `make demo` and `make test` need Python 3.10 or newer and access to PyPI.
PYTHON ?= python3
VENV ?= .venv
# The pinned CPU build of torch is the default; for a GPU, set TORCH="torch".
TORCH ?= torch==2.13.0
BIN := $(VENV)/bin
OUT ?= demo_output

.PHONY: demo test test-slow lint types docs clean

demo: $(VENV)/.installed
	$(BIN)/segment-concept demo --out $(OUT) --overwrite

test: $(VENV)/.installed-dev
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest

test-slow: $(VENV)/.installed-dev
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -m slow --timeout 1800

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

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

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet "$(TORCH)" --editable ".[docs]"
	touch $@

clean:
	rm -rf $(VENV) $(OUT) site
