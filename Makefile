# make demo    set up, then run the main job: a network trained beside a running simulation
# make test    set up, then run the tests
# make help    everything else
#
# Set-up is a .venv with pinned packages and the database module compiled against the installed torch.
# It is done once; running a target again takes it as done.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help demo quick test test-slow smartsim lint format setup sanitize fuzz bench clean

# With 3.10 and 3.11 comes SmartRedis' Python client too, which has no wheels for newer ones: these go first.
SUITABLE := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
OLDER := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 11))
PYTHON ?= $(shell for p in python3 python3.11 python3.10; do \
	"$$p" -c '$(OLDER)' 2>/dev/null && { echo "$$p"; exit; }; done; \
	for p in python3 python3.13 python3.12; do \
	"$$p" -c '$(SUITABLE)' 2>/dev/null && { echo "$$p"; break; }; done)
BIN := .venv/bin

# A terminal sees pip's own progress; a file gets one line per package.
PIP := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
PLAIN := grep --line-buffered -E '^(Collecting|Installing|ERROR|error)' || true
INSTALL = if [ -t 1 ]; then $(PIP) $(1); else $(PIP) --progress-bar off $(1) 2>&1 | { $(PLAIN); }; fi

# How many processes run the tests of `make test`.
WORKERS ?= 2

help:
	@echo 'make setup     make .venv and compile the database module, and run nothing'
	@echo 'make demo      run the main job: a network trained beside a running simulation (about 2 minutes)'
	@echo 'make quick     the same, shortened (under 45 seconds)'
	@echo 'make test      run the tests, in two processes (WORKERS=1: in one)'
	@echo 'make test-slow run the slow and the randomized ones, the experiments among them'
	@echo 'make smartsim  install SmartSim in a Python of its own, with which test-slow tries it'
	@echo 'make lint      ruff, mypy, import arrows, clang-format'
	@echo 'make sanitize  the C++ tests under ASan and UBSan, then TSan'
	@echo 'make fuzz      a million inputs for each fuzzer of the module (minutes; FUZZ_RUNS says how many)'
	@echo 'make bench     measure, into bench-results/'
	@echo 'make clean     remove .venv and build leftovers'

demo: setup
	@$(BIN)/penstock run experiments/heat_surrogate

quick: setup
	@$(BIN)/penstock run experiments/heat_surrogate --quick

test: .venv/.ready-dev
	@$(BIN)/penstock build
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m 'not slow and not fuzz and not sanitize'

test-slow: .venv/.ready-dev
	@$(BIN)/penstock build
	@$(BIN)/python -m pytest -m 'slow or fuzz'

setup: .venv/.ready
	@$(BIN)/penstock build

.venv/bin/python:
	@if [ -z "$(PYTHON)" ]; then \
	  echo 'Penstock needs Python 3.10 to 3.13: install one of them, or say where it is:' \
	    'make $(MAKECMDGOALS) PYTHON=/path/to/python3.11' >&2; exit 1; fi
	@"$(PYTHON)" -c '$(SUITABLE)' || { echo "$(PYTHON) is not Python 3.10 to 3.13" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make a virtual environment: install its venv package (Debian: apt install python3-venv)" >&2; exit 1; }
	@echo "[set-up] making .venv with $$("$(PYTHON)" --version)"
	@"$(PYTHON)" -m venv .venv

.venv/.ready: .venv/bin/python pyproject.toml constraints.txt
	@echo '[set-up] installing the pinned packages (the first time takes minutes: torch is large)'
	@$(call INSTALL,-e .)
	@touch $@

.venv/.ready-dev: .venv/.ready
	@echo '[set-up] installing the developers'\'' tools'
	@$(call INSTALL,-e .[dev])
	@touch $@

# Its pins (protobuf 3.20) are not ours; the other packages are what its own validation needs.
smartsim: .venv-smartsim/.ready

.venv-smartsim/.ready: | .venv/bin/python
	@echo '[set-up] installing SmartSim'
	@"$(BIN)/python" -m venv .venv-smartsim
	@.venv-smartsim/bin/python -m pip install --disable-pip-version-check --quiet smartsim==0.8.0 \
	  onnx==1.15.0 skl2onnx==1.16.0 scikit-learn==1.3.2
	@touch $@

lint: .venv/.ready-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/clang-format --dry-run --Werror $$(git ls-files '*.cc' '*.c' '*.h' '*.hpp')

format: .venv/.ready-dev
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/clang-format -i $$(git ls-files '*.cc' '*.c' '*.h' '*.hpp')

sanitize: .venv/.ready-dev
	@$(BIN)/python -m pytest -m sanitize tests/unit/module tests/integration/module

FUZZ_RUNS ?= 1000000
fuzz: .venv/.ready-dev
	@$(BIN)/penstock build
	@PENSTOCK_FUZZ_RUNS=$(FUZZ_RUNS) PENSTOCK_FUZZ_COMMANDS=100000 $(BIN)/python -m pytest -m fuzz tests/fuzz tests/integration/module

bench: .venv/.ready-dev
	@$(BIN)/penstock build
	@$(BIN)/python -m tests.bench

clean:
	rm -rf .venv .venv-smartsim build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
	@echo "left alone: runs/ and bench-results/, which are yours, and the compiled module in the user's cache"
