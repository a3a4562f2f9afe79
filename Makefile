# Every target sets up what it needs: a virtual environment in .venv with pinned versions.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Tests that run libvirt beside ours need its Python binding, which is built against libvirt's headers.
LIBVIRT := $(shell pkg-config --exists libvirt 2>/dev/null && echo libvirt)
READY := $(VENV)/.ready$(LIBVIRT:%=-%)

.PHONY: help demo test check bench fuzz grid format clean
.DEFAULT_GOAL := help

help:  ## say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY)  ## allocate volumes in a terminal: under a minute, under 10 GiB, cleaned up after
	@$(BIN)/python examples/demo.py

test: $(READY)  ## run the tests
	$(BIN)/pytest

check: $(READY)  ## types, style and the import rules
	$(BIN)/mypy
	$(BIN)/mypy tests benchmarks examples fuzz
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

bench: $(READY)  ## print the figures that the README carries
	$(BIN)/python -m benchmarks

fuzz: $(READY)  ## fuzz each recogniser of an image format, an hour in all; SECONDS=600 for ten minutes
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[fuzz]'
	$(BIN)/python -m fuzz --seconds $(or $(SECONDS),3600)

grid: $(READY)  ## make a qcow2 with every combination of options, and check each with qemu-img
	$(BIN)/python -m tests.system.qcow2_grid

format: $(READY)  ## put the source into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove what these targets made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name '*.egg-info' -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Volary needs Python 3.11 or later; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	$(if $(LIBVIRT),$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[libvirt]' || echo "libvirt-python cannot be built here (it wants gcc and python3-dev): tests that need it are skipped")
	@touch $@
