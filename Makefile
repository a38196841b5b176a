# seedpod: see `make help`.  Everything that a target needs it installs itself: Debian packages and PyPI, no more.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin

C_SOURCES := $(wildcard csrc/*.c csrc/*.h csrc/*.py)

.PHONY: help setup demo test soak bench lint clean

help:  ## show every target
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

setup: $(VENV)/.installed  ## install what is missing and build; afterwards nothing needs the network
	@true

# The native parts are built by the editable install, so a change to csrc/ installs anew.
$(VENV)/.installed: pyproject.toml scripts/setup.sh $(C_SOURCES)
	@PYTHON=$(PYTHON) VENV=$(VENV) scripts/setup.sh
	@touch $@

demo: setup  ## run a pod with a file puller, a web server and a reader; leaves nothing behind
	@scripts/demo.sh

test: setup  ## run the whole test suite (as root; says what it could not run, and why)
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

soak: setup  ## long forms of tests of size: 10 GiB of logs, 20,000 execs
	@SEEDPOD_LONG=1 $(BIN)/python -m pytest -s tests/system/test_size.py

bench: setup  ## measure pods beside other runtimes, and write docs/benchmarks.md (as root)
	@scripts/bench.sh $(BENCH_ARGS)

lint: setup  ## format, lint and type checks
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

clean:  ## remove what setup and the tests made in this directory
	rm -rf $(VENV) build dist *.egg-info sandbox/linux/podmon sandbox/linux/_*.so tests/probe
