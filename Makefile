# seedpod: see `make help`.  Everything that a target needs it installs itself: Debian packages and PyPI, no more.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin

C_SOURCES := $(wildcard csrc/*.c csrc/*.h csrc/*.py)
FUZZ_SECONDS ?= 120

# Those that use podmon and the extension most.  A gibibyte through the sanitizers says no more than a megabyte.
SANITIZED := $(addprefix tests/sandbox/,linux/test_ops_fail.py $(addprefix pod/test_,podmon.py podmon_peers.py attach.py \
	joining.py sandbox.py sharing.py))

.PHONY: help setup demo test crashes faults soak bench docs lint clean check-c analyze sanitize valgrind fuzz

help:  ## show every target
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 16

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

soak: setup  ## long forms of tests: 10 GiB of logs, 20,000 execs, 2,000 pods whose engine and podmons are killed
	@SEEDPOD_LONG=1 $(BIN)/python -m pytest -s tests/system/test_size.py tests/system/test_cycles.py

crashes: setup  ## kill an engine before each thing that it does in three lives of pods, each time that it does it (15 minutes)
	@SEEDPOD_LONG=1 $(BIN)/python -m pytest tests/system/test_crash_points.py $(PYTEST_ARGS)

faults: setup  ## make every system call of podmon, its children and a spawn fail, each time that it is made (10 minutes)
	@SEEDPOD_LONG=1 $(BIN)/python -m pytest tests/sandbox/pod/test_*_faults.py $(PYTEST_ARGS)

bench: setup  ## measure pods beside other runtimes, and write docs/benchmarks.md (as root)
	@scripts/bench.sh $(BENCH_ARGS)

docs: setup  ## write the list of fields in docs/manifest.md anew, after a change in sandbox/manifest/
	@$(BIN)/python -m scripts.manifest_page

lint: setup  ## format, lint and type checks
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

check-c: analyze sanitize valgrind fuzz  ## all checks of csrc: the four that follow, see docs/decisions/0014-checks-of-csrc.md

build/.c-tools: scripts/setup.sh $(VENV)/.installed
	@scripts/setup.sh c-tools
	@mkdir -p build && touch $@

analyze: build/.c-tools  ## clang-tidy over csrc, as .clang-tidy says
	@printf '%s\n' csrc/*.c $(filter-out csrc/fuzz/life.c,$(wildcard csrc/fuzz/*.c)) | \
		xargs -P "$$(nproc)" -I {} clang-tidy --quiet {} -- -std=gnu11 -Icsrc 2> >(grep -v 'warnings\? generated' >&2)

sanitize: build/.c-tools  ## tests with podmon and the extension built with ASan and UBSan
	@$(BIN)/python -m tests.sanitized
	@rm -f build/sanitized/python.*
	@LD_PRELOAD="$$(gcc -print-file-name=libasan.so)" \
		ASAN_OPTIONS=detect_leaks=0:log_path=$(CURDIR)/build/sanitized/python \
		$(BIN)/python -m pytest -p tests.sanitized -k 'not gibibyte' $(SANITIZED) $(PYTEST_ARGS) || \
		{ cat build/sanitized/python.* 2>/dev/null; exit 1; }

valgrind: build/.c-tools  ## podmon and the walk of a spec under memcheck, on the inputs that are kept for the fuzzer
	@$(MAKE) -s -C csrc/fuzz OUT=../../build/valgrind CHECKS= replay
	@rm -rf build/seeds && $(BIN)/python -m tests.fuzz.seeds build/seeds
	@for harness in ops podmon; do \
		valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,possible \
			--log-file=build/valgrind/$$harness.log build/valgrind/replay_$$harness \
			build/seeds/$$harness/* tests/fuzz/corpus/$$harness/* > build/valgrind/$$harness.out || \
			{ cat build/valgrind/$$harness.log; tail -n 1 build/valgrind/$$harness.out; exit 1; }; \
	done

fuzz: build/.c-tools  ## FUZZ_SECONDS (120) of fuzzing podmon's messages and its ops, from the kept corpus
	@$(MAKE) -s -C csrc/fuzz OUT=../../build/fuzz fuzz
	@PYTHON=$(BIN)/python FUZZ_SECONDS=$(FUZZ_SECONDS) scripts/fuzz.sh

clean:  ## remove what setup and the tests made in this directory
	rm -rf $(VENV) build dist *.egg-info sandbox/linux/podmon sandbox/linux/_*.so tests/probe
